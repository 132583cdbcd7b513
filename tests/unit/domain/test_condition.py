"""Which hub conditions hold when (tracking.md 9.7, D3, T7, T12; scenarios 16 and 17), and when that can change."""

from typing import Any

import pytest

from milepost.domain.condition import (
    ALWAYS,
    Policy,
    SubjectKind,
    changes,
    check_at,
    evaluate,
    open_conditions,
    policy_from,
)
from milepost.domain.errors import Misconfigured
from milepost.domain.instant import Instant, parse_instant

POLICY = Policy()


def milestone(code: str, at: str, country: str = "US", **more: Any) -> dict[str, Any]:
    return {"code": code, "occurredAt": at, "address": {"country": country}, "standing": "counts", **more}


def tracker(stage: str, at: str, **more: Any) -> dict[str, Any]:
    return {
        "carrierCode": "UPS",
        "trackingNumber": "1Z1",
        "stage": stage,
        "stageEnteredAt": at,
        "lastScanAt": at,
        "lastFactAt": at,
        "instants": {"readyAt": None},
        "milestones": [],
        "orders": [{"orderId": "o-1", "deliveryId": "d-1"}],
        "conditions": [],
        "shippedAt": None if stage in ("UNKNOWN", "PENDING", "INFO_RECEIVED") else at,
        "deliveredAt": at if stage in ("DELIVERED", "RETURNING") else None,
        **more,
    }


def delivery(state: str, *trackers: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "id": "d-1",
        "orderId": "o-1",
        "state": state,
        "claimedState": state,
        "deliveredAt": None,
        "shipEvidence": None,
        "estimatedDelivery": None,
        "trackers": list(trackers),
        "conditions": [],
        **more,
    }


def shipped(at: str, kind: str = "event") -> dict[str, Any]:
    return {"kind": kind, "at": at, "type": "PACKAGE_DELIVERY_IN_TRANSIT", "position": 1, "inferred": False}


def estimate(latest: str, original: str | None = None) -> dict[str, Any]:
    window = {"earliest": None, "earliestDate": None, "latest": latest, "latestDate": latest[:10]}
    first = original or latest
    return {**window, "original": {**window, "latest": first, "latestDate": first[:10]}, "revisions": 0}


def condition(code: str, kind: str | None = None, **more: Any) -> dict[str, Any]:
    return {
        "code": code,
        "kind": kind,
        "source": "hub",
        "raisedAt": "2025-01-01T00:00:00Z",
        "clearedAt": None,
        "count": None,
        "evidence": {},
        **more,
    }


def holding(document: dict[str, Any], kind: SubjectKind, at: str, policy: Policy = POLICY) -> dict[str, Any]:
    return evaluate(document, kind, parse_instant(at), policy).holding


def flips(document: dict[str, Any], kind: SubjectKind, at: str, policy: Policy = POLICY) -> list[str]:
    """The codes that hold a millisecond before `at`, and those from it on, apart by a bar."""
    moment = parse_instant(at)
    before = evaluate(document, kind, Instant(moment - 1), policy)
    assert before.next_check_at == moment
    return [*before.holding, "|", *evaluate(document, kind, moment, policy).holding]


# ── Silence ────────────────────────────────────────────────────────────────────────────────────────────────


def test_scenario_16_a_weekend_stalls_nothing_and_a_monday_scan_clears() -> None:
    """Tuesday's scan stalls on Friday; Thursday's stays quiet over the weekend; Monday's scan clears."""
    tuesday = tracker("IN_TRANSIT", "2025-01-21T10:00:00Z")
    thursday = tracker("IN_TRANSIT", "2025-01-23T10:00:00Z")
    monday = tracker("IN_TRANSIT", "2025-01-27T08:00:00Z")

    assert flips(tuesday, "tracker", "2025-01-24T10:00:00Z") == ["|", "STALLED"]
    assert not holding(thursday, "tracker", "2025-01-26T23:00:00Z")
    assert flips(thursday, "tracker", "2025-01-28T10:00:00Z") == ["|", "STALLED"]
    assert not holding(monday, "tracker", "2025-01-27T08:00:01Z")


def test_scenario_17_a_label_for_five_business_days_and_then_delivered_without_scans() -> None:
    label = tracker(
        "INFO_RECEIVED",
        "2025-01-20T12:00:00Z",
        milestones=[milestone("INFO_RECEIVED", "2025-01-20T12:00:00Z")],
    )
    waiting = delivery("IN_TRANSIT", label, shipEvidence=shipped("2025-01-20T12:34:56Z"))
    delivered = delivery(
        "DELIVERED", label, shipEvidence=waiting["shipEvidence"], deliveredAt="2025-01-28T09:00:00Z"
    )

    assert flips(waiting, "delivery", "2025-01-24T12:34:56Z") == ["|", "NEVER_SCANNED"]
    assert list(holding(waiting, "delivery", "2025-01-27T12:34:56Z")) == ["NEVER_SCANNED"]
    assert not holding(delivered, "delivery", "2025-01-28T09:00:00Z")


def test_a_label_without_a_ship_event_counts_from_the_label() -> None:
    label = tracker(
        "INFO_RECEIVED",
        "2025-01-20T12:00:00Z",
        milestones=[milestone("INFO_RECEIVED", "2025-01-20T12:00:00Z")],
    )

    assert flips(delivery("PENDING", label), "delivery", "2025-01-24T12:00:00Z") == ["|", "NEVER_SCANNED"]
    assert not holding(delivery("PENDING"), "delivery", "2026-01-24T12:00:00Z")


@pytest.mark.parametrize(
    "scanned",
    [
        tracker("IN_TRANSIT", "2025-01-20T13:00:00Z"),
        tracker(
            "INFO_RECEIVED",
            "2025-01-20T13:00:00Z",
            milestones=[milestone("DELIVERY_ATTEMPTED", "2025-01-20T13:00:00Z")],
        ),
    ],
)
def test_a_scan_ends_never_scanned(scanned: dict[str, Any]) -> None:
    document = delivery("IN_TRANSIT", scanned, shipEvidence=shipped("2025-01-20T12:00:00Z"))

    assert "NEVER_SCANNED" not in holding(document, "delivery", "2025-03-01T00:00:00Z")


def test_an_open_condition_of_the_tracker_that_is_worse_hides_never_scanned() -> None:
    label = tracker("INFO_RECEIVED", "2025-01-20T12:00:00Z")
    document = delivery("IN_TRANSIT", label, shipEvidence=shipped("2025-01-20T12:00:00Z"))

    document["conditions"] = [condition("TRACKING_EXPIRED")]
    assert not holding(document, "delivery", "2025-06-01T00:00:00Z")
    document["conditions"] = [condition("TRACKING_EXPIRED", clearedAt="2025-05-01T00:00:00Z")]
    assert list(holding(document, "delivery", "2025-06-01T00:00:00Z")) == ["NEVER_SCANNED"]


def test_a_parcel_that_crosses_borders_may_be_silent_for_longer() -> None:
    abroad = [
        milestone("IN_TRANSIT", "2025-01-18T10:00:00Z", "DE"),
        milestone("IN_TRANSIT", "2025-01-20T10:00:00Z"),
    ]
    document = tracker("IN_TRANSIT", "2025-01-20T10:00:00Z", milestones=abroad)

    assert flips(document, "tracker", "2025-01-27T10:00:00Z") == ["|", "STALLED"]
    assert holding(document, "tracker", "2025-01-27T10:00:00Z")["STALLED"]["international"] is True


def test_t12_tracking_expires_90_days_after_the_last_new_fact_and_hides_the_stall() -> None:
    document = tracker("IN_TRANSIT", "2025-01-02T10:00:00Z", lastFactAt="2025-01-05T00:00:00Z")

    assert flips(document, "tracker", "2025-04-05T00:00:00Z") == ["STALLED", "|", "TRACKING_EXPIRED"]
    later = {**document, "lastFactAt": "2025-04-06T00:00:00Z", "lastScanAt": "2025-04-06T00:00:00Z"}
    assert not holding(later, "tracker", "2025-04-06T00:00:00Z")


@pytest.mark.parametrize("stage", ["DELIVERED", "RETURNED", "LOST"])
def test_an_outcome_ends_every_wait(stage: str) -> None:
    document = tracker(stage, "2025-01-02T10:00:00Z")

    assert evaluate(document, "tracker", ALWAYS, POLICY).next_check_at is None
    assert check_at(document, "tracker", POLICY) is None


def test_t7_a_return_that_is_silent_for_30_days_is_unconfirmed() -> None:
    document = tracker("RETURNING", "2025-01-02T10:00:00Z", lastFactAt="2025-01-02T11:00:00Z")

    assert flips(document, "tracker", "2025-02-01T11:00:00Z") == ["|", "RETURN_UNCONFIRMED"]


def test_pickup_ages_in_three_steps_of_calendar_days() -> None:
    document = tracker("AVAILABLE_FOR_PICKUP", "2025-01-03T10:00:00Z")
    counts = [
        holding(document, "tracker", f"2025-01-{day:02}T10:00:00Z").get("PICKUP_AGING", {}).get("count")
        for day in (5, 6, 8, 10, 20)
    ]

    assert counts == [None, 1, 2, 3, 3]


# ── Promise ────────────────────────────────────────────────────────────────────────────────────────────────


def test_late_from_the_end_of_the_promised_day_and_the_grace() -> None:
    document = delivery("IN_TRANSIT", estimatedDelivery=estimate("2025-01-24"))
    new_york = Policy(timezone="America/New_York", late_grace_hours=0)

    assert flips(document, "delivery", "2025-01-25T02:00:00Z") == ["|", "LATE"]
    assert flips(document, "delivery", "2025-01-25T05:00:00Z", new_york) == ["|", "LATE"]


def test_a_promise_with_an_offset_ends_there_and_not_in_the_hubs_zone() -> None:
    document = delivery("IN_TRANSIT", estimatedDelivery=estimate("2025-01-24T20:00:00-08:00"))

    assert flips(document, "delivery", "2025-01-25T10:00:00Z") == ["|", "LATE"]


def test_an_estimate_moved_back_will_be_late_until_it_is_late() -> None:
    document = delivery("IN_TRANSIT", estimatedDelivery=estimate("2025-01-27", "2025-01-24"))

    assert list(holding(document, "delivery", "2025-01-20T00:00:00Z")) == ["WILL_BE_LATE"]
    assert flips(document, "delivery", "2025-01-25T02:00:00Z") == ["WILL_BE_LATE", "|", "LATE"]
    earlier = delivery("IN_TRANSIT", estimatedDelivery=estimate("2025-01-23", "2025-01-24"))
    assert not holding(earlier, "delivery", "2025-01-20T00:00:00Z")


@pytest.mark.parametrize("stage", ["AVAILABLE_FOR_PICKUP", "DELIVERED", "RETURNING", "LOST", "UNDELIVERABLE"])
def test_what_waits_for_nobody_is_not_late(stage: str) -> None:
    document = delivery(
        "IN_TRANSIT", tracker(stage, "2025-01-20T00:00:00Z"), estimatedDelivery=estimate("2025-01-24")
    )

    assert "LATE" not in holding(document, "delivery", "2025-02-24T00:00:00Z")


# ── Contradictions (D3) ────────────────────────────────────────────────────────────────────────────────────


def test_delivered_and_no_tracker_shows_it_after_24_hours() -> None:
    moving = tracker("OUT_FOR_DELIVERY", "2025-01-20T08:00:00Z")
    document = delivery("DELIVERED", moving, deliveredAt="2025-01-20T12:00:00Z")

    assert flips(document, "delivery", "2025-01-21T12:00:00Z") == ["|", "CONTRADICTION"]
    evidence = holding(document, "delivery", "2025-01-21T12:00:00Z")["CONTRADICTION"]
    assert evidence["kind"] == "delivered_without_tracker"


@pytest.mark.parametrize(
    "trackers",
    [
        [],
        [tracker("DELIVERED", "2025-01-20T12:00:00Z"), tracker("IN_TRANSIT", "2025-01-19T12:00:00Z")],
        [tracker("RETURNING", "2025-01-22T12:00:00Z")],
    ],
)
def test_a_delivery_that_a_tracker_shows_is_no_contradiction(trackers: list[dict[str, Any]]) -> None:
    document = delivery("DELIVERED", *trackers, deliveredAt="2025-01-20T12:00:00Z")

    assert not holding(document, "delivery", "2025-02-20T12:00:00Z")


def test_a_contradicted_delivery_scan_shows_nothing() -> None:
    reopened = milestone("DELIVERED", "2025-01-20T12:00:00Z", standing="contradicted")
    document = delivery("DELIVERED", tracker("IN_TRANSIT", "2025-01-21T08:00:00Z", milestones=[reopened]))
    document["deliveredAt"] = "2025-01-20T12:00:00Z"

    assert "CONTRADICTION" in holding(document, "delivery", "2025-01-21T12:00:00Z")


def test_a_tracker_that_is_ahead_of_the_orders_events_for_6_hours() -> None:
    scanned = tracker("IN_TRANSIT", "2025-01-20T12:00:00Z")
    there = tracker("DELIVERED", "2025-01-22T12:00:00Z", shippedAt="2025-01-20T12:00:00Z")
    by_scan = shipped("2025-01-20T12:00:00Z", "milestone")

    moving = delivery("IN_TRANSIT", scanned, shipEvidence=by_scan, claimedState="PENDING")
    assert flips(moving, "delivery", "2025-01-20T18:00:00Z") == ["|", "CONTRADICTION"]
    ahead = delivery("IN_TRANSIT", there, shipEvidence=by_scan, claimedState="PENDING")
    kinds = [
        holding(ahead, "delivery", at)["CONTRADICTION"]["kind"]
        for at in ("2025-01-22T17:59:59Z", "2025-01-22T18:00:00Z")
    ]
    assert kinds == ["moving_without_ship_event", "tracker_without_delivered"]


@pytest.mark.parametrize("told", ["IN_TRANSIT", "DELIVERED"])
def test_the_orders_word_ends_moving_without_ship_event(told: str) -> None:
    scanned = tracker("IN_TRANSIT", "2025-01-20T12:00:00Z")
    by_scan = shipped("2025-01-20T12:00:00Z", "milestone")
    document = delivery("IN_TRANSIT", scanned, shipEvidence=by_scan, claimedState="PENDING")

    assert "CONTRADICTION" in holding(document, "delivery", "2025-01-20T19:00:00Z")
    assert "CONTRADICTION" not in holding(
        {**document, "claimedState": told}, "delivery", "2025-01-20T19:00:00Z"
    )


def test_a_cancelled_delivery_has_no_condition_by_clock() -> None:
    document = delivery(
        "CANCELLED", tracker("IN_TRANSIT", "2025-01-20T12:00:00Z"), estimatedDelivery=estimate("2025-01-24")
    )

    assert evaluate(document, "delivery", parse_instant("2026-01-01"), POLICY).holding == {}
    assert check_at(document, "delivery", POLICY) is None


# ── Policy ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_carrier_may_have_limits_of_its_own() -> None:
    policy = policy_from({"carriers": {"UPS": {"stalled_business_days": 1}}, "holidays": ["2025-01-22"]})
    document = tracker("IN_TRANSIT", "2025-01-21T10:00:00Z")

    assert flips(document, "tracker", "2025-01-23T10:00:00Z", policy) == ["|", "STALLED"]
    assert flips({**document, "carrierCode": "usps"}, "tracker", "2025-01-27T10:00:00Z", policy) == [
        "|",
        "STALLED",
    ]
    prompt = policy_from({"carriers": {"ups": {"late_grace_hours": 0}}})
    other = {**document, "carrierCode": "usps"}
    one = delivery("IN_TRANSIT", document, estimatedDelivery=estimate("2025-01-24"))
    both = delivery("IN_TRANSIT", document, other, estimatedDelivery=estimate("2025-01-24"))
    midnight = "2025-01-25T00:00:00Z"
    assert ["LATE" in holding(d, "delivery", midnight, prompt) for d in (one, both)] == [True, False]


def test_policies_come_from_text_too() -> None:
    policy = policy_from(
        {"late_grace_hours": "5", "timezone": "America/New_York", "holidays": ["2025-07-04"]}
    )

    assert policy.late_grace_hours == 5
    assert policy_from({}) == POLICY


@pytest.mark.parametrize(
    "values",
    [
        {"timezone": "Mars/Olympus"},
        {"timezone": "../etc/passwd"},
        {"timezone": ""},
        {"holidays": ["Christmas"]},
        {"stalled_business_days": -1},
        {"stalled_buisness_days": 3},
        {"pickup_aging_days": [5, 3]},
        {"pickup_aging_days": []},
        {"carriers": {"ups": {"timezone": "UTC"}}},
        {"carriers": {"ups": {"stalled_business_days": -1}}},
        {"carriers": {"ups": {"pickup_aging_days": 3}}},
        {"carriers": {"ups": 3}},
    ],
)
def test_a_wrong_policy_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(Misconfigured):
        policy_from(values)


# ── Changes ────────────────────────────────────────────────────────────────────────────────────────────────

NOW = parse_instant("2025-02-01T00:00:00Z")


def test_only_open_hub_conditions_that_are_decided_here_are_compared() -> None:
    document = delivery("IN_TRANSIT")
    document["conditions"] = [
        condition("LATE"),
        condition("NEVER_SCANNED", clearedAt="2025-01-30T00:00:00Z"),
        condition("DELAYED", source="carrier"),
        condition("STALLED"),
        condition("CONTRADICTION", "cancelled_but_moving"),
        condition("CONTRADICTION", "moving_without_ship_event"),
    ]

    assert open_conditions(document, "delivery") == {
        ("LATE", None): None,
        ("CONTRADICTION", "moving_without_ship_event"): None,
    }
    found = changes(
        document, "delivery", open_conditions(document, "delivery"), {"LATE": {"promised": "x"}}, NOW
    )
    assert [(c.code, c.raised, c.evidence) for c in found] == [
        ("CONTRADICTION", False, {"kind": "moving_without_ship_event", "state": "IN_TRANSIT"})
    ]


def test_a_change_names_its_subject_and_whose_facts_it_is() -> None:
    document = tracker("IN_TRANSIT", "2025-01-01T00:00:00Z")
    of_tracker = changes(document, "tracker", {}, {"STALLED": {"since": "x"}}, NOW)
    of_delivery = changes(delivery("PENDING"), "delivery", {}, {"LATE": {"promised": "x"}}, NOW)

    assert [(c.subject, c.about, c.raised, c.at) for c in (*of_tracker, *of_delivery)] == [
        ("tracker/ups/1Z1", ("tracker/ups/1Z1", "order/o-1"), True, NOW),
        ("delivery/d-1", ("order/o-1", "delivery/d-1"), True, NOW),
    ]


@pytest.mark.parametrize(
    ("open_count", "count", "raised"), [(1, 2, [True]), (3, 1, [False]), (2, 2, []), (None, 2, [])]
)
def test_a_pickup_that_ages_is_raised_again_and_a_new_wait_starts_over(
    open_count: int | None, count: int, raised: list[bool]
) -> None:
    document = tracker("AVAILABLE_FOR_PICKUP", "2025-01-01T00:00:00Z")
    found = changes(
        document, "tracker", {("PICKUP_AGING", None): open_count}, {"PICKUP_AGING": {"count": count}}, NOW
    )

    assert [c.raised for c in found] == raised
