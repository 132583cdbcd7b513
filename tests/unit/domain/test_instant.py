"""Times as they are written: instants, local dates, and where a zone came from (scenario 18)."""

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milepost.domain.instant import (
    Instant,
    format_instant,
    instant_of,
    parse_instant,
    parse_stamp,
    to_datetime,
)

MOMENTS = st.integers(parse_instant("0002-01-01"), parse_instant("9998-12-31")).map(
    lambda ms: to_datetime(Instant(ms))
)
OFFSETS = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2025-01-20T12:34:56Z", 1_737_376_496_000),
        ("2025-01-20T12:34:56.789Z", 1_737_376_496_789),
        ("2025-01-20T12:34:56", 1_737_376_496_000),
        ("2025-01-20T07:34:56-05:00", 1_737_376_496_000),
        ("20250120T123456Z", 1_737_376_496_000),
        ("1969-12-31T23:59:59.999Z", -1),
        ("2025-01-20", 1_737_331_200_000),
    ],
)
def test_parse(text: str, at: int) -> None:
    assert parse_instant(text) == at


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "2025-13-01T00:00:00Z",
        "2025-01-20T25:00:00Z",
        "1737376496",
        "2025-01-20T12:34:56 UTC",
        "٢٠٢٥-٠١-٢٠",
    ],
)
def test_no_timestamp(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_instant(text)


@pytest.mark.parametrize(
    "text",
    ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "9999-12-31T23:59:59.999900Z"],
)
def test_what_an_offset_or_a_rounding_leads_out_of_the_calendar_is_no_time(text: str) -> None:
    for parse in (parse_instant, parse_stamp):
        with pytest.raises(ValueError, match="out of range"):
            parse(text)


@pytest.mark.parametrize(
    ("text", "local_date", "zone"),
    [
        ("2025-01-31T23:30:00-08:00", "2025-01-31", "offset-explicit"),
        ("2025-01-31T23:30:00+00:00", "2025-01-31", "offset-explicit"),
        ("2025-02-01T07:30:00Z", "2025-02-01", "utc"),
        ("2025-02-01T07:30:00", "2025-02-01", "unknown"),
        ("2025-02-01", "2025-02-01", "date-only"),
        ("20250201", "2025-02-01", "date-only"),
        ("2025-W05-6", "2025-02-01", "date-only"),
    ],
)
def test_the_local_date_is_the_one_written(text: str, local_date: str, zone: str) -> None:
    stamp = parse_stamp(text)

    assert (stamp.local_date, stamp.zone, stamp.text) == (local_date, zone, text)


def test_a_naive_datetime_is_taken_as_utc() -> None:
    assert instant_of(datetime(1970, 1, 1)) == 0  # noqa: DTZ001 - what is tested


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1, "1970-01-01T00:00:00.001Z"),
        (-62_135_596_800_000, "0001-01-01T00:00:00Z"),
    ],
)
def test_format(at: int, text: str) -> None:
    assert format_instant(Instant(at)) == text


@given(MOMENTS)
def test_formatting_is_the_inverse_of_parsing(moment: datetime) -> None:
    at = instant_of(moment)

    assert parse_instant(format_instant(at)) == at
    assert to_datetime(at) == moment


@given(MOMENTS, OFFSETS)
def test_an_offset_changes_the_date_and_not_the_instant(moment: datetime, offset: timezone) -> None:
    local = moment.astimezone(offset)
    stamp = parse_stamp(local.isoformat())

    assert stamp.at == instant_of(moment) == parse_instant(local.isoformat())
    assert stamp.local_date == local.date().isoformat()


@given(st.text() | st.from_regex(r"\A[0-9TWZ:.+-]{1,32}\Z"))
def test_any_text_is_a_time_that_can_be_written_or_a_value_error(text: str) -> None:
    for parse in (parse_instant, lambda t: parse_stamp(t).at):
        try:
            at = parse(text)
        except ValueError:
            continue
        assert parse_instant(format_instant(at)) == at
