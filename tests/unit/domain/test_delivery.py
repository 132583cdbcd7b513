"""The delivery fold: D1 to D5 by name, and the scenarios of tracking.md 13 that a delivery decides."""

import pytest
from tests.unit.domain.history import (
    BOX,
    CANCELLED,
    DELIVERED,
    MILESTONE,
    ORDER,
    SECOND_BOX,
    SHIPPED,
    UPS,
    USPS,
    condition,
    event,
    fold,
    order_answer,
    order_object,
    package,
    scan,
    tracker_answer,
)

from milepost.domain.canonical import canonical

T08, T09, T10, T12 = (f"2025-01-20T{h}:00:00Z" for h in ("08", "09", "10", "12"))
NEXT_DAY = "2025-01-21T09:00:00Z"


def delivered_data(delivery=BOX, state="DELIVERED", tracker=None):
    return {"order": order_object(package(delivery, state, tracker=tracker))}


def contradictions(document):
    return [c for c in document["conditions"] if c["code"] == "CONTRADICTION"]


class TestD1EvidenceLattice:
    @pytest.mark.parametrize(
        ("history", "state"),
        [
            ([event("PACKAGE_WEIGHED", T08)], "PENDING"),
            ([order_answer(T08, package(state="PENDING"))], "PENDING"),
            ([event(SHIPPED, T08)], "IN_TRANSIT"),
            ([order_answer(T08, package(state="IN_TRANSIT"))], "IN_TRANSIT"),
            ([event(DELIVERED, T08)], "DELIVERED"),
            ([order_answer(T08, package(state="DELIVERED"))], "DELIVERED"),
            ([event("REFUND_REQUESTED", T08, path="refund/r-1", data=delivered_data())], "DELIVERED"),
            ([event(DELIVERED, T08), order_answer(T09, package(state="IN_TRANSIT"))], "DELIVERED"),
            ([event(SHIPPED, T08), order_answer(T09, package(state="PENDING"))], "IN_TRANSIT"),
            ([order_answer(T08, package(state="TELEPORTED"))], "PENDING"),
        ],
    )
    def test_the_highest_evidence_holds(self, history, state):
        assert fold(*history).delivery()["state"] == state
        assert fold(*reversed(history)).delivery()["state"] == state

    def test_both_levels_of_an_answer_count(self):
        line_items = [{"id": "li-1", "packageInformation": {"details": [package(SECOND_BOX, "IN_TRANSIT")]}}]
        folded = fold(order_answer(T08, package(BOX), lineItems=line_items))
        assert folded.delivery(BOX)["state"] == "PENDING"
        assert folded.delivery(SECOND_BOX)["state"] == "IN_TRANSIT"

    def test_possession_by_a_carrier_is_movement_and_its_delivered_is_not_the_orders(self):
        joined = order_answer(T08, package(tracker=UPS))
        moving = fold(joined, tracker_answer(T10, UPS, scan("IN_TRANSIT", T09)))
        assert moving.delivery()["state"] == "IN_TRANSIT"
        there = fold(joined, tracker_answer(T10, UPS, scan("IN_TRANSIT", T09), scan("DELIVERED", T10)))
        assert there.delivery()["state"] == "IN_TRANSIT"
        assert there.delivery()["deliveredAt"] is None
        assert there.delivery()["trackers"][0]["stage"] == "DELIVERED"

    def test_data_about_another_delivery_is_set_aside_because_resources_hold(self):
        folded = fold(event(SHIPPED, T08, data=delivered_data(SECOND_BOX)), explain=True)
        assert [d.id for d in folded.order.deliveries] == [BOX]
        assert folded.delivery()["state"] == "IN_TRANSIT"
        assert "resources hold" in folded.order.trace[0].text


class TestD2Cancellation:
    def test_without_movement_it_is_final(self):
        folded = fold(
            order_answer(T08, package(tracker=UPS)),
            tracker_answer(T09, UPS, scan("INFO_RECEIVED", T08)),
            event(CANCELLED, T10),
            order_answer(T12, package(state="CANCELLED", reason="CUSTOMER_REQUESTED")),
        )
        document = folded.delivery()
        assert (document["state"], document["reason"]) == ("CANCELLED", "CUSTOMER_REQUESTED")
        assert document["shipEvidence"] is None
        assert document["shippedAt"] is None
        assert contradictions(document) == []

    def test_undeliverable_after_movement_is_a_normal_end(self):
        folded = fold(
            event(SHIPPED, T08),
            event(CANCELLED, T10),
            order_answer(T12, package(state="CANCELLED", reason="UNDELIVERABLE")),
        )
        document = folded.delivery()
        assert (document["state"], document["reason"]) == ("CANCELLED", "UNDELIVERABLE")
        assert document["shippedAt"] == T08
        assert document["shipEvidence"]["type"] == SHIPPED
        assert contradictions(document) == []

    @pytest.mark.parametrize("reason", ["CUSTOMER_REQUESTED", "UNFULFILLABLE", None])
    def test_another_reason_with_movement_leaves_the_physical_truth(self, reason):
        document = fold(
            event(SHIPPED, T08),
            event(CANCELLED, T10),
            order_answer(T12, package(state="CANCELLED", reason=reason)),
        ).delivery()
        assert document["state"] == "IN_TRANSIT"
        (contradiction,) = contradictions(document)
        assert contradiction["kind"] == "cancelled_but_moving"
        assert contradiction["evidence"] == {"cancelledAt": T10, "reason": reason, "movedAt": T08}

    def test_delivered_and_cancelled_contradict_whatever_the_reason(self):
        document = fold(
            event(DELIVERED, T08),
            order_answer(T12, package(state="CANCELLED", reason="UNDELIVERABLE")),
        ).delivery()
        assert document["state"] == "DELIVERED"
        assert contradictions(document)[0]["kind"] == "cancelled_but_moving"

    def test_undeliverable_and_then_moving_again_is_a_contradiction(self):
        history = [
            event(SHIPPED, T08),
            order_answer(T09, package(state="CANCELLED", reason="UNDELIVERABLE", tracker=UPS)),
            tracker_answer(T12, UPS, scan("IN_TRANSIT", T08), scan("OUT_FOR_DELIVERY", T10)),
        ]
        document = fold(*history).delivery()
        assert document["state"] == "IN_TRANSIT"
        assert len(contradictions(document)) == 1
        assert canonical(fold(*reversed(history)).delivery()) == canonical(document)

    def test_undeliverable_and_delivered_by_the_carrier_is_a_contradiction(self):
        document = fold(
            event(SHIPPED, T08),
            order_answer(T12, package(state="CANCELLED", reason="UNDELIVERABLE", tracker=UPS)),
            tracker_answer(T12, UPS, scan("IN_TRANSIT", T09), scan("DELIVERED", T10)),
        ).delivery()
        assert document["state"] == "IN_TRANSIT"
        assert len(contradictions(document)) == 1

    def test_scans_of_a_parcel_on_its_way_back_do_not_contradict(self):
        document = fold(
            event(SHIPPED, T08),
            order_answer(T09, package(state="CANCELLED", reason="UNDELIVERABLE", tracker=UPS)),
            tracker_answer(NEXT_DAY, UPS, scan("IN_TRANSIT", T08), scan("RETURN_TO_SENDER", T10)),
        ).delivery()
        assert document["state"] == "CANCELLED"
        assert contradictions(document) == []

    def test_a_stale_answer_before_the_confirmed_cancellation_does_not_contradict(self):
        document = fold(
            event(SHIPPED, T08),
            event(CANCELLED, T09),
            order_answer(T10, package(state="IN_TRANSIT")),
            order_answer(T12, package(state="CANCELLED", reason="UNDELIVERABLE")),
        ).delivery()
        assert document["state"] == "CANCELLED"

    def test_an_answer_that_takes_the_cancellation_back_contradicts(self):
        document = fold(
            event(SHIPPED, T08),
            order_answer(T10, package(state="CANCELLED", reason="UNDELIVERABLE")),
            order_answer(T12, package(state="IN_TRANSIT")),
        ).delivery()
        assert document["state"] == "IN_TRANSIT"
        assert len(contradictions(document)) == 1


class TestD3BothSidesAreShown:
    def test_delivered_here_and_not_there(self):
        document = fold(
            event(DELIVERED, T12, data=delivered_data(tracker=UPS)),
            tracker_answer(NEXT_DAY, UPS, scan("IN_TRANSIT", T09)),
        ).delivery()
        assert (document["state"], document["deliveredAt"]) == ("DELIVERED", T12)
        assert document["trackers"][0]["stage"] == "IN_TRANSIT"
        assert document["trackers"][0]["deliveredAt"] is None
        assert document["events"] == {"inTransit": None, "delivered": T12, "cancelled": None}

    def test_delivered_there_and_not_here(self):
        document = fold(
            order_answer(T08, package(state="IN_TRANSIT", tracker=UPS)),
            tracker_answer(NEXT_DAY, UPS, scan("IN_TRANSIT", T09), scan("DELIVERED", T12)),
        ).delivery()
        assert document["state"] == "IN_TRANSIT"
        assert document["trackers"][0]["shippedAt"] == T09
        assert document["trackers"][0]["deliveredAt"] == T12
        assert document["events"] == {"inTransit": None, "delivered": None, "cancelled": None}

    def test_moving_there_and_pending_here(self):
        document = fold(
            order_answer(T08, package(tracker=UPS)), tracker_answer(T10, UPS, scan("IN_TRANSIT", T09))
        ).delivery()
        assert (document["state"], document["claimedState"]) == ("IN_TRANSIT", "PENDING")
        assert fold(event(SHIPPED, T08)).delivery()["claimedState"] == "IN_TRANSIT"


class TestD4Times:
    def test_the_first_scan_before_the_event_before_the_answer(self):
        answer = order_answer(T12, package(state="IN_TRANSIT", tracker=UPS))
        only_answer = fold(answer).delivery()
        assert (only_answer["shippedAt"], only_answer["shippedAtSource"]) == (T12, "snapshot")
        with_event = fold(answer, event(SHIPPED, T10)).delivery()
        assert (with_event["shippedAt"], with_event["shippedAtSource"]) == (T10, "event")
        with_scan = fold(
            answer, event(SHIPPED, T08), tracker_answer(T12, UPS, scan("IN_TRANSIT", T09))
        ).delivery()
        assert (with_scan["shippedAt"], with_scan["shippedAtSource"]) == (T09, "possession")

    def test_delivered_at_prefers_the_milestone(self):
        delivered = event(DELIVERED, T12, data=delivered_data(tracker=UPS))
        assert fold(delivered).delivery()["deliveredAtSource"] == "event"
        document = fold(delivered, tracker_answer(T12, UPS, scan("DELIVERED", T10))).delivery()
        assert (document["deliveredAt"], document["deliveredAtSource"]) == (T10, "milestone")
        answered = fold(order_answer(T12, package(state="DELIVERED"))).delivery()
        assert (answered["deliveredAt"], answered["deliveredAtSource"]) == (T12, "snapshot")

    def test_delivered_alone_says_nothing_of_when_it_was_shipped_but_is_ship_evidence(self):
        document = fold(event(DELIVERED, T12)).delivery()
        assert (document["shippedAt"], document["shippedAtSource"]) == (None, None)
        evidence = {"kind": "event", "type": DELIVERED, "position": 1, "at": T12, "inferred": True}
        assert document["shipEvidence"] == evidence

    def test_the_first_ship_evidence_is_the_earliest_by_its_own_time(self):
        history = [
            order_answer(T12, package(state="IN_TRANSIT", tracker=UPS)),
            event(DELIVERED, T08),
            event(SHIPPED, T10),
        ]
        first = fold(*history).delivery()["shipEvidence"]
        assert (first["kind"], first["at"], first["inferred"]) == ("event", T10, False)
        scanned = tracker_answer(T12, UPS, scan("INFO_RECEIVED", T08), scan("IN_TRANSIT", T09))
        first = fold(*history, scanned).delivery()["shipEvidence"]
        assert first == {
            "kind": "milestone",
            "type": "IN_TRANSIT",
            "position": 4,
            "at": T09,
            "inferred": False,
        }

    def test_at_one_time_a_scan_comes_before_an_event_before_an_answer(self):
        answer = order_answer(T10, package(state="IN_TRANSIT", tracker=UPS))
        assert fold(answer).delivery()["shipEvidence"]["kind"] == "snapshot"
        shipped = event(SHIPPED, T10)
        assert fold(answer, shipped).delivery()["shipEvidence"]["kind"] == "event"
        scanned = tracker_answer(T12, UPS, scan("IN_TRANSIT", T10))
        assert fold(answer, shipped, scanned).delivery()["shipEvidence"]["kind"] == "milestone"


class TestD5ManyToMany:
    def test_every_tracker_an_answer_named_stays_the_newest_first(self):
        document = fold(
            order_answer(T08, package(tracker=UPS)), order_answer(T09, package(tracker=USPS))
        ).delivery()
        shown = [(t["carrierCode"], t["trackingNumber"]) for t in document["trackers"]]
        assert shown == [USPS, UPS]

    def test_of_several_trackers_the_first_possession_and_the_last_delivered_count(self):
        document = fold(
            order_answer(T08, package(state="DELIVERED", tracker=UPS)),
            order_answer(T09, package(state="DELIVERED", tracker=USPS)),
            tracker_answer(NEXT_DAY, UPS, scan("IN_TRANSIT", T09), scan("DELIVERED", T10)),
            tracker_answer(NEXT_DAY, USPS, scan("IN_TRANSIT", T10), scan("DELIVERED", T12)),
        ).delivery()
        assert (document["shippedAt"], document["deliveredAt"]) == (T09, T12)

    def test_quantities_survive_newer_data_without_them(self):
        document = fold(
            order_answer(T08, package(items=[("li-1", "2"), ("li-2", "1")])),
            event(
                DELIVERED,
                T12,
                data={"order": order_object(package(state="DELIVERED", items=[("li-1", None)]))},
            ),
        ).delivery()
        assert document["lineItems"] == [{"id": "li-1", "quantity": "2", "unit": "ONE"}]


def test_scenario_01_happy_path():
    document = fold(
        order_answer(T08, package(tracker=UPS, items=[("li-1", "1")])),
        event(SHIPPED, T09),
        order_answer(T09, package(state="IN_TRANSIT", tracker=UPS, items=[("li-1", "1")])),
        event(MILESTONE, T10, tracker=UPS),
        tracker_answer(T10, UPS, scan("INFO_RECEIVED", T08), scan("IN_TRANSIT", T09), scan("DELIVERED", T10)),
        event(DELIVERED, T12, data=delivered_data(tracker=UPS)),
    ).delivery()
    assert document["state"] == "DELIVERED"
    assert (document["shippedAt"], document["deliveredAt"]) == (T09, T10)
    assert document["shipEvidence"]["inferred"] is False
    assert [m["code"] for m in document["trackers"][0]["milestones"]] == [
        "INFO_RECEIVED",
        "IN_TRANSIT",
        "DELIVERED",
    ]
    assert document["conditions"] == []
    assert document["orderId"] == ORDER


def test_scenario_03_the_same_event_five_times_is_one():
    once = fold(event(SHIPPED, T08))
    assert fold(*[event(SHIPPED, T08)] * 5).document == once.document


def test_scenario_05_a_legacy_name_and_its_new_name_are_one_ship_and_one_delivered():
    legacy = [event("ITEM_IN_TRANSIT", T09, id="old-1"), event("DELIVERY_COMPLETED", T12, id="old-2")]
    new = [event(SHIPPED, T08, id="new-1"), event(DELIVERED, T10, id="new-2")]
    document = fold(*legacy, *new).delivery()
    assert canonical(document) == canonical(fold(*new).delivery())
    trace = fold(*new, *legacy, explain=True).order.deliveries[0].trace
    assert [(entry.position, entry.used) for entry in trace] == [(1, True), (3, False), (2, True), (4, False)]


def test_scenario_06_the_answer_is_ahead_of_the_event():
    document = fold(event(SHIPPED, T08), order_answer(T09, package(state="DELIVERED"))).delivery()
    assert document["state"] == "DELIVERED"
    assert (document["shippedAt"], document["shippedAtSource"]) == (T08, "event")
    assert (document["deliveredAt"], document["deliveredAtSource"]) == (T09, "snapshot")
    assert document["shipEvidence"]["type"] == SHIPPED


def test_scenario_07_delivered_comes_first_and_in_transit_later_fills_shipped_at():
    before = fold(event(DELIVERED, T12)).delivery()
    after = fold(event(DELIVERED, T12), event(SHIPPED, T10)).delivery()
    assert (before["state"], before["shippedAt"]) == ("DELIVERED", None)
    assert (after["state"], after["shippedAt"]) == ("DELIVERED", T10)
    assert after["deliveredAt"] == before["deliveredAt"] == T12


def test_scenario_15_cancelled_then_scanned():
    document = fold(
        order_answer(T08, package(tracker=UPS)),
        event(CANCELLED, T09),
        order_answer(T09, package(state="CANCELLED", reason="CUSTOMER_REQUESTED", tracker=UPS)),
        tracker_answer(T12, UPS, scan("IN_TRANSIT", T10)),
    ).delivery()
    assert document["state"] == "IN_TRANSIT"
    assert [c["kind"] for c in contradictions(document)] == ["cancelled_but_moving"]


def test_scenario_17_a_label_alone_is_not_shipped():
    label = [
        order_answer(T08, package(tracker=UPS)),
        tracker_answer(T09, UPS, scan("PENDING", T08), scan("INFO_RECEIVED", T09)),
        condition("NEVER_SCANNED", True, NEXT_DAY),
    ]
    document = fold(*label).delivery()
    assert (document["state"], document["shippedAt"], document["shipEvidence"]) == ("PENDING", None, None)
    assert [c["code"] for c in document["conditions"]] == ["NEVER_SCANNED"]
    cleared = fold(
        *label, event(DELIVERED, NEXT_DAY), condition("NEVER_SCANNED", False, "2025-01-22T09:00:00Z")
    )
    (entry,) = [c for c in cleared.delivery()["conditions"] if c["code"] == "NEVER_SCANNED"]
    assert entry["clearedAt"] == "2025-01-22T09:00:00Z"
    assert cleared.delivery()["state"] == "DELIVERED"


def test_scenario_19_a_scan_late_on_the_last_day_of_a_month_belongs_to_that_local_day():
    document = fold(
        order_answer(T08, package(tracker=UPS)),
        tracker_answer("2025-02-01T06:00:00Z", UPS, scan("IN_TRANSIT", "2025-01-31T23:30:00-05:00")),
    ).delivery()
    assert document["shippedAt"] == "2025-02-01T04:30:00Z"
    assert document["shippedOn"] == "2025-01-31"
    assert document["shippedAtZone"] == "offset-explicit"


class TestConditions:
    def test_the_last_raising_of_each_is_shown_and_a_higher_count_is_the_same_one(self):
        changes = [
            condition("PICKUP_AGING", True, T08, count=1),
            condition("PICKUP_AGING", True, T09, count=2),
            condition("PICKUP_AGING", False, T10),
            condition("PICKUP_AGING", True, T12, count=1),
        ]
        risen = fold(event(SHIPPED, T08), *changes[:2]).delivery()["conditions"]
        assert [(c["raisedAt"], c["clearedAt"], c["count"]) for c in risen] == [(T08, None, 2)]
        document = fold(event(SHIPPED, T08), *changes).delivery()
        entries = [(c["raisedAt"], c["clearedAt"], c["count"]) for c in document["conditions"]]
        assert entries == [(T12, None, 1)]
        again = fold(*reversed(changes), event(SHIPPED, T08)).delivery()
        assert again["conditions"] == document["conditions"]

    def test_a_trackers_conditions_are_shown_with_the_trackers_name(self):
        document = fold(
            order_answer(T08, package(tracker=UPS)),
            tracker_answer(T10, UPS, scan("IN_TRANSIT", T08), scan("EXCEPTION", T09)),
        ).delivery()
        (exception,) = [c for c in document["conditions"] if c["code"] == "EXCEPTION"]
        assert exception["evidence"]["trackingNumber"] == UPS[1]


def test_every_claim_is_explained():
    folded = fold(
        order_answer(T08, package(state="PENDING")),
        event(SHIPPED, T09),
        event(CANCELLED, T10),
        order_answer(T12, package(state="TELEPORTED")),
        explain=True,
    )
    trace = folded.order.deliveries[0].trace
    assert [(e.position, e.used, e.rule) for e in trace] == [
        (1, False, "D1"),
        (2, True, "D1"),
        (3, True, "D2"),
        (4, False, "D1"),
    ]
    assert fold(event(SHIPPED, T09)).order.deliveries[0].trace == ()


def test_terms_are_the_delivery_and_its_tracking_numbers_in_lower_case():
    folded = fold(order_answer(T08, package(tracker=UPS)))
    assert folded.order.deliveries[0].terms == (BOX, UPS[1].lower())
