"""The day on which something happened is the day there, or none."""

from typing import Any

import pytest
from tests.unit.shopper.views import delivery_of

from milepost.shopper.local_days import day_of, delivered_day, promised_day, shipped_day


def scanned(
    occurred: str, written: str, zone: str, region: str | None = None, **fields: Any
) -> dict[str, Any]:
    """A delivery whose only scan is DELIVERED, as a view has it."""
    delivery = delivery_of("delivered", estimatedDelivery=None)
    (tracker,) = delivery["trackers"]
    scan = {
        **tracker["milestones"][-1],
        "occurredAt": occurred,
        "localDate": written,
        "zone": zone,
        "address": {"locality": None, "region": region, "country": "US" if region else None},
    }
    tracker = {**tracker, "milestones": [scan]}
    told = {"deliveredAt": occurred, "deliveredOn": written, "deliveredAtZone": zone}
    return {**delivery, "trackers": [tracker], **told, **fields}


@pytest.mark.parametrize("zone", ["offset-explicit", "date-only", "unknown"])
def test_a_date_that_was_written_there_is_the_day(zone: str) -> None:
    delivery = scanned("2026-01-24T07:30:00Z", "2026-01-23", zone, "NY")
    assert delivered_day(delivery) == day_of(delivery, "DELIVERED") == "2026-01-23"


def test_a_time_in_utc_is_told_by_the_place_of_the_scan() -> None:
    delivery = scanned("2026-01-24T07:30:00Z", "2026-01-24", "utc", "WA")
    assert delivered_day(delivery) == day_of(delivery, "DELIVERED") == "2026-01-23"


def test_else_by_the_zone_of_the_estimate() -> None:
    estimate = {
        "earliest": None,
        "latest": "2026-01-24T18:00:00-08:00",
        "earliestDate": None,
        "latestDate": "2026-01-24",
    }
    delivery = scanned("2026-01-24T07:30:00Z", "2026-01-24", "utc", estimatedDelivery=estimate)
    assert delivered_day(delivery) == "2026-01-23"


def test_where_nothing_tells_the_zone_no_day_is_named() -> None:
    delivery = scanned("2026-01-24T07:30:00Z", "2026-01-24", "utc")
    assert delivered_day(delivery) == day_of(delivery, "DELIVERED") == ""


def test_what_only_carriers_say_is_told_by_their_scan() -> None:
    delivery = scanned("2026-01-24T07:30:00Z", "2026-01-24", "utc", "WA", deliveredAt=None)
    assert delivered_day(delivery) == "2026-01-23"


def test_the_first_or_the_last_of_several_scans() -> None:
    delivery = delivery_of("attempt_failed")
    (tracker,) = delivery["trackers"]
    again = {**tracker["milestones"][-1], "occurredAt": "2026-01-26T20:00:00Z", "localDate": "2026-01-26"}
    tracker["milestones"].append(again)
    assert day_of(delivery, "DELIVERY_ATTEMPTED") == "2026-01-26"
    assert day_of(delivery, "DELIVERY_ATTEMPTED", last=False) == "2026-01-23"
    assert day_of(delivery, "LOST") == ""


def test_a_scan_that_was_taken_back_is_no_day() -> None:
    delivery = delivery_of("attempt_failed")
    for scan in delivery["trackers"][0]["milestones"]:
        scan["standing"] = "superseded"
    assert day_of(delivery, "DELIVERY_ATTEMPTED") == ""


def test_a_carrier_has_it_since_its_first_scan() -> None:
    assert shipped_day(delivery_of("shipped")) == "2026-01-20"
    assert shipped_day(delivery_of("shipped", shippedAtSource="event")) == ""


def test_the_promise_is_the_first_estimate() -> None:
    delivery = delivery_of("estimate_missed")
    delivery["estimatedDelivery"] |= {"earliestDate": "2026-01-27", "latestDate": "2026-01-28"}
    assert promised_day(delivery) == "2026-01-24"
    delivery["estimatedDelivery"]["original"]["latestDate"] = None
    assert promised_day(delivery) == "2026-01-23"
    assert promised_day(delivery_of("estimate_missed", estimatedDelivery=None)) == ""
