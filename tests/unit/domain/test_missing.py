"""The timers of deliveries and trackers, and when each is asked."""

from typing import Any

import pytest

from milepost.domain.condition import Policy
from milepost.domain.instant import DAY, HOUR, Instant, parse_instant
from milepost.domain.missing import (
    PAUSES,
    Expected,
    is_asked,
    next_ask,
    of_delivery,
    of_tracker,
    overdue,
    target_of,
)

POLICY = Policy(timezone="America/Los_Angeles")
Document = dict[str, Any]


def tracker(stage: str = "IN_TRANSIT", *scans: str, **more: Any) -> Document:
    return {
        "carrierCode": "UPS",
        "trackingNumber": "1Z1",
        "stage": stage,
        "shippedAt": scans[0] if scans else None,
        "deliveredAt": scans[-1] if stage == "DELIVERED" else None,
        "milestones": [{"occurredAt": at} for at in scans],
        **more,
    }


def delivery(state: str = "IN_TRANSIT", *trackers: Document, **more: Any) -> Document:
    return {
        "id": "d-1",
        "orderId": "o-1",
        "state": state,
        "claimedState": state,
        "shipEvidence": None if state == "PENDING" else {"at": "2025-01-20T12:00:00Z"},
        "estimatedDelivery": None,
        "trackers": list(trackers),
        **more,
    }


def codes(document: Document, order: Document | None = None) -> list[tuple[str, Instant]]:
    return [(one.code, one.due_at) for one in of_delivery(document, order, POLICY)]


def at(text: str) -> Instant:
    return parse_instant(text)


def test_a_shipped_delivery_is_expected_to_be_heard_of_within_two_days_of_the_last_scan() -> None:
    assert codes(delivery()) == [("silent", at("2025-01-22T12:00:00Z"))]
    scanned = tracker("IN_TRANSIT", "2025-01-20T13:00:00Z", "2025-01-21T08:00:00Z")
    assert codes(delivery("IN_TRANSIT", scanned)) == [("silent", at("2025-01-23T08:00:00Z"))]
    odd = tracker("IN_TRANSIT", "no time at all")
    assert codes(delivery("IN_TRANSIT", odd)) == [("silent", at("2025-01-22T12:00:00Z"))]


def test_a_pending_delivery_is_expected_to_ship_within_two_days_of_its_order() -> None:
    created = {"createdAt": "2025-01-18T00:00:00Z"}
    assert codes(delivery("PENDING"), created) == [("notShipped", at("2025-01-20T00:00:00Z"))]
    assert codes(delivery("PENDING"), {"createdAt": None}) == codes(delivery("PENDING")) == []


def test_an_estimate_ends_with_its_local_day_and_the_grace() -> None:
    estimate = {
        "earliest": "2025-01-22",
        "latest": "2025-01-23",
        "earliestDate": "2025-01-22",
        "latestDate": "2025-01-23",
    }
    found = codes(delivery(estimatedDelivery=estimate))
    assert found[1] == ("pastEstimate", at("2025-01-24T10:00:00Z")), "midnight in Los Angeles and two hours"
    early = estimate | {"latest": None, "latestDate": None}
    assert codes(delivery(estimatedDelivery=early))[1][1] == at("2025-01-23T10:00:00Z")
    assert len(codes(delivery(estimatedDelivery=dict.fromkeys(estimate)))) == 1


def test_a_tracker_ahead_of_its_order_gives_the_event_six_hours() -> None:
    there = tracker("DELIVERED", "2025-01-20T13:00:00Z", "2025-01-21T08:00:00Z")
    assert codes(delivery("IN_TRANSIT", there))[1:] == [("trackerAhead", at("2025-01-21T14:00:00Z"))]
    moving = tracker("IN_TRANSIT", "2025-01-20T13:00:00Z")
    unsaid = delivery("IN_TRANSIT", moving, claimedState="PENDING")
    assert codes(unsaid)[1:] == [("trackerAhead", at("2025-01-20T19:00:00Z"))]


@pytest.mark.parametrize("state", ["DELIVERED", "CANCELLED"])
def test_nothing_is_expected_of_a_delivery_that_is_over(state: str) -> None:
    late = tracker("DELIVERED", "2025-01-21T08:00:00Z")
    assert of_delivery(delivery(state, late), {"createdAt": "2025-01-01T00:00:00Z"}, POLICY) == []


@pytest.mark.parametrize("stage", ["DELIVERED", "RETURNED", "LOST"])
def test_nothing_is_expected_of_a_tracker_that_is_over(stage: str) -> None:
    assert of_tracker({"stage": stage, "lastScanAt": "2025-01-20T12:00:00Z"}) == []


def test_a_tracker_is_expected_to_be_scanned_within_two_days() -> None:
    times = {"lastScanAt": None, "stageEnteredAt": None, "lastFactAt": "2025-01-20T12:00:00Z"}
    (one,) = of_tracker({"stage": "UNKNOWN", **times})
    assert (one.code, one.due_at) == ("trackerBehind", at("2025-01-22T12:00:00Z"))
    (one,) = of_tracker({"stage": "IN_TRANSIT", **times, "lastScanAt": "2025-01-21T12:00:00Z"})
    assert one.due_at == at("2025-01-23T12:00:00Z")
    assert of_tracker({"stage": "UNKNOWN", **times, "lastFactAt": None}) == []


def test_what_is_asked_is_the_order_of_a_delivery_and_the_tracker_itself() -> None:
    assert target_of(delivery(), "delivery") == "order/o-1"
    assert target_of(tracker(), "tracker") == "tracker/ups/1Z1"


# ── When it is asked ───────────────────────────────────────────────────────────────────────────────────────

TIMER = [Expected("silent", "", Instant(100 * DAY))]


def test_however_rounds_fall_each_end_of_a_timer_is_asked_once() -> None:
    for step in (7 * 60_000, HOUR, 5 * HOUR):
        looks = range(90 * DAY, 200 * DAY, step)
        asked = sum(is_asked(TIMER, Instant(now), Instant(now + step)) for now in looks)
        assert asked == len(PAUSES)


def test_a_round_after_a_long_pause_asks_once() -> None:
    assert is_asked(TIMER, Instant(0), Instant(110 * DAY))
    assert not is_asked(TIMER, Instant(0), Instant(100 * DAY - 1))
    assert not is_asked(TIMER, Instant(176 * DAY), Instant(500 * DAY))


def test_it_is_overdue_until_it_is_given_up() -> None:
    assert overdue(TIMER, Instant(100 * DAY - 1)) == []
    assert overdue(TIMER, Instant(100 * DAY)) == overdue(TIMER, Instant(175 * DAY)) == TIMER
    assert overdue(TIMER, Instant(175 * DAY + 1)) == []
    both = [*TIMER, Expected("pastEstimate", "", Instant(99 * DAY))]
    assert [one.code for one in overdue(both, Instant(101 * DAY))] == ["pastEstimate", "silent"]


def test_when_it_is_asked_next() -> None:
    assert next_ask(TIMER, Instant(0)) == 100 * DAY
    assert next_ask(TIMER, Instant(100 * DAY)) == 100 * DAY + 6 * HOUR
    assert next_ask(TIMER, Instant(175 * DAY)) is None
    assert next_ask([], Instant(0)) is None
