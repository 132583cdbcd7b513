"""Business-day arithmetic: weekends, holidays, zones and the days on which clocks change."""

from datetime import UTC, date, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milepost.domain.business_calendar import LAST_INSTANT, BusinessCalendar
from milepost.domain.instant import DAY, Instant, parse_instant

NEW_YORK = BusinessCalendar("America/New_York")
INSTANTS = st.integers(parse_instant("2000-01-01"), parse_instant("2060-01-01")).map(Instant)


@pytest.mark.parametrize(
    ("start", "days", "end"),
    [
        ("2025-01-20T15:00:00Z", 0, "2025-01-20T15:00:00Z"),
        ("2025-01-20T15:00:00Z", 3, "2025-01-23T15:00:00Z"),
        ("2025-01-24T15:00:00Z", 1, "2025-01-27T15:00:00Z"),
        ("2025-01-25T15:00:00Z", 0, "2025-01-27T00:00:00Z"),
        ("2025-01-25T15:00:00Z", 1, "2025-01-28T00:00:00Z"),
        ("2025-01-26T23:59:59Z", 1, "2025-01-28T00:00:00Z"),
        ("2025-01-22T15:00:00Z", 8, "2025-02-03T15:00:00Z"),
    ],
)
def test_time_stands_still_on_weekends(start: str, days: int, end: str) -> None:
    assert BusinessCalendar().after_business_days(parse_instant(start), days) == parse_instant(end)


def test_holidays_are_skipped_and_counting_starts_after_them() -> None:
    calendar = BusinessCalendar(holidays=frozenset({date(2025, 12, 25), date(2025, 12, 26)}))

    assert calendar.after_business_days(parse_instant("2025-12-24T10:00:00Z"), 1) == parse_instant(
        "2025-12-29T10:00:00Z"
    )
    assert calendar.after_business_days(parse_instant("2025-12-25T10:00:00Z"), 1) == parse_instant(
        "2025-12-30T00:00:00Z"
    )


def test_the_zone_decides_what_a_weekend_is() -> None:
    """Friday 23:30 in New York is Saturday in UTC."""
    at = parse_instant("2025-01-24T23:30:00-05:00")

    assert NEW_YORK.after_business_days(at, 1) == parse_instant("2025-01-27T23:30:00-05:00")
    assert BusinessCalendar().after_business_days(at, 1) == parse_instant("2025-01-28T00:00:00Z")


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2025-03-07T12:00:00-05:00", "2025-03-10T12:00:00-04:00"),
        ("2025-10-31T12:00:00-04:00", "2025-11-03T12:00:00-05:00"),
    ],
)
def test_the_wall_clock_is_kept_over_a_change_of_clocks(start: str, end: str) -> None:
    assert NEW_YORK.after_business_days(parse_instant(start), 1) == parse_instant(end)


def test_a_day_ends_where_it_is() -> None:
    day = date(2025, 1, 24)

    assert NEW_YORK.end_of_day(day) == parse_instant("2025-01-25T00:00:00-05:00")
    assert NEW_YORK.end_of_day(day, UTC) == parse_instant("2025-01-25T00:00:00Z")
    assert NEW_YORK.end_of_day(day, timezone(timedelta(hours=9))) == parse_instant(
        "2025-01-25T00:00:00+09:00"
    )
    assert NEW_YORK.end_of_day(date(2025, 11, 2)) - NEW_YORK.end_of_day(date(2025, 11, 1)) == DAY + DAY // 24


def test_past_the_calendars_end_there_is_one_last_instant() -> None:
    assert BusinessCalendar().end_of_day(date(9999, 12, 31)) == LAST_INSTANT
    assert BusinessCalendar().after_business_days(LAST_INSTANT, 3) == LAST_INSTANT


@given(at=INSTANTS, days=st.integers(1, 30), more=st.integers(0, 5 * DAY))
def test_later_starts_and_more_days_never_end_earlier(at: Instant, days: int, more: int) -> None:
    calendar = BusinessCalendar("America/New_York", frozenset({date(2025, 12, 25)}))
    end = calendar.after_business_days(at, days)

    assert end > at
    assert end >= calendar.after_business_days(at, days - 1)
    # A wall time that clocks repeat comes out up to an hour earlier than the same time a moment before.
    assert calendar.after_business_days(Instant(at + more), days) >= end - DAY // 24


@given(at=INSTANTS, days=st.integers(0, 30))
def test_it_ends_on_a_business_day(at: Instant, days: int) -> None:
    calendar = BusinessCalendar()
    end = calendar.after_business_days(at, days)

    assert calendar.is_business_day(date(1970, 1, 1) + timedelta(days=end // DAY))
