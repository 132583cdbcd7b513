"""Local days and hours where a delivery goes, from what a view tells of the place."""

from datetime import UTC, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from tests.unit.domain.history import BOX, UPS, fold, order_answer, package, scan, tracker_answer

from milepost.domain.instant import parse_instant
from milepost.domain.local_time import day_of_scan, end_of_quiet, latest, local_day, zone_of

WEST, EAST = ZoneInfo("America/Los_Angeles"), ZoneInfo("America/New_York")
QUIET = (21 * 60, 8 * 60)


def delivery(
    *times: str | None, estimate: str | None = None, code: str = "IN_TRANSIT", region: str = "NV"
) -> dict[str, Any]:
    window = {"estimatedDeliveryDate": {"earliest": None, "latest": estimate}} if estimate else {}
    scans = [scan(code, at) for at in times]
    for each in scans:
        each["address"] = {**each["address"], "region": region}
    answer = tracker_answer("2025-03-12T00:00:00Z", UPS, *scans, **window)
    known = order_answer("2025-03-01T00:00:00Z", package(BOX, "IN_TRANSIT", tracker=UPS))
    return fold(known, answer).delivery()


@pytest.mark.parametrize(
    ("code", "region", "zone"),
    [
        ("OUT_FOR_DELIVERY", "NV", WEST),
        ("DELIVERY_ATTEMPTED", "NY", EAST),
        ("AVAILABLE_FOR_PICKUP", "Nevada", WEST),
        ("DELIVERED", "NV", WEST),
        ("IN_TRANSIT", "NV", UTC),  # where it set out
        ("DELIVERED", "Atlantis", UTC),
    ],
)
def test_the_zone_is_that_of_the_place_where_it_arrives(code: str, region: str, zone: object) -> None:
    shown = delivery("2025-03-05T16:00:00Z", code=code, region=region)
    assert str(zone_of(shown, UTC)) == str(zone)


@pytest.mark.parametrize(
    ("estimate", "zone"),
    [
        ("2025-03-06T20:00:00-05:00", EAST),  # what New York has in winter
        ("2025-07-06T20:00:00-05:00", timezone(timedelta(hours=-5))),  # and has not in summer
        ("2025-03-06T20:00:00-08:00", timezone(timedelta(hours=-8))),
        ("2025-03-06T20:00:00Z", EAST),
        ("2025-03-06", EAST),
        (None, EAST),
    ],
)
def test_else_it_is_that_of_the_estimate_else_the_calendars(estimate: str | None, zone: object) -> None:
    assert zone_of(delivery(estimate=estimate), EAST) == zone


@pytest.mark.parametrize(
    ("times", "zone"),
    [
        (["2025-03-05T08:00:00-08:00"], UTC),  # 16:00 in UTC is that day, too
        (["2025-03-05T17:30:00-08:00"], timezone(timedelta(hours=-7))),  # 01:30 the next day: -1:31 to -12:00
        (["2025-03-05T17:30:00-08:00", "2025-03-06T05:00:00-08:00"], timezone(timedelta(hours=-7))),
        (["2025-03-05T17:30:00-08:00", "2025-03-06T00:30:00-08:00"], timezone(timedelta(hours=-5))),
        (["2025-03-05T03:00:00+09:00", "2025-03-06T17:30:00-08:00"], timezone(timedelta(hours=-7))),
        (["2025-03-05T17:30:00Z"], UTC),
        (["2025-03-05T17:30:00"], UTC),
        ([None], UTC),
    ],
)
def test_without_one_it_is_where_the_newest_scans_fall_on_their_days(times: list[str], zone: object) -> None:
    assert zone_of(delivery(*times), UTC) == zone


@pytest.mark.parametrize(
    ("at", "day"),
    [
        ("2025-03-05T23:30:00-05:00", "2025-03-05"),  # as it was written
        ("2025-03-05", "2025-03-05"),
        ("2025-03-05T23:30:00", "2025-03-05"),
        ("2025-03-06T04:30:00Z", "2025-03-05"),  # where the parcel goes
        (None, "2025-03-11"),  # when it was seen
    ],
)
def test_the_day_of_a_scan(at: str | None, day: str) -> None:
    shown = delivery(at, code="OUT_FOR_DELIVERY", region="NY")
    assert day_of_scan(shown["trackers"][0]["milestones"][0], shown, UTC) == day


@pytest.mark.parametrize(
    ("now", "until"),
    [
        ("2025-03-05T20:59:59-08:00", None),
        ("2025-03-05T21:00:00-08:00", "2025-03-06T08:00:00-08:00"),
        ("2025-03-06T07:59:59-08:00", "2025-03-06T08:00:00-08:00"),
        ("2025-03-06T08:00:00-08:00", None),
        ("2025-03-08T22:00:00-08:00", "2025-03-09T08:00:00-07:00"),  # ten hours later
        ("2025-11-01T22:00:00-07:00", "2025-11-02T08:00:00-08:00"),  # eleven
    ],
)
def test_quiet_hours_over_midnight(now: str, until: str | None) -> None:
    over = end_of_quiet(parse_instant(now), WEST, QUIET)
    assert over == (None if until is None else parse_instant(until))


@pytest.mark.parametrize(
    ("now", "until"),
    [
        ("2025-03-05T12:59:00-08:00", None),
        ("2025-03-05T13:00:00-08:00", "2025-03-05T15:30:00-08:00"),
        ("2025-03-05T15:30:00-08:00", None),
    ],
)
def test_quiet_hours_within_a_day(now: str, until: str | None) -> None:
    over = end_of_quiet(parse_instant(now), WEST, (13 * 60, 15 * 60 + 30))
    assert over == (None if until is None else parse_instant(until))


@pytest.mark.parametrize("end", [90, 150])
@pytest.mark.parametrize(
    "day", ["2025-03-09T01:10:00-08:00", "2025-11-02T01:10:00-07:00", "2025-11-02T01:10:00-08:00"]
)
def test_quiet_hours_that_end_while_clocks_change_end_later_and_are_over_then(day: str, end: int) -> None:
    now = parse_instant(day)
    over = end_of_quiet(now, WEST, (60, end))
    assert over is not None
    assert over > now
    assert end_of_quiet(over, WEST, (60, end)) is None


def test_days_and_times_at_the_ends_of_the_calendar() -> None:
    assert local_day(parse_instant("9998-12-31T23:59:59Z"), timezone(timedelta(hours=14))) == "9999-01-01"
    assert local_day(parse_instant("9999-12-31T23:59:59Z"), timezone(timedelta(hours=14))) == "9999-12-31"
    assert latest([None]) is None
    assert latest(["2025-03-05T00:00:00Z", None, "2025-03-06T00:00:00Z"]) == parse_instant(
        "2025-03-06T00:00:00Z"
    )
