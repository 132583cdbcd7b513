"""T11: an agent's correction outranks what occurred before it, and nothing that occurred after it."""

from itertools import permutations

from tests.unit.domain.history import (
    BOX,
    CANCELLED,
    DELIVERED,
    ORDER,
    SHIPPED,
    UPS,
    correction,
    event,
    fold,
    order_answer,
    package,
    scan,
    withdrawal,
)
from tests.unit.domain.parcel import SUBJECT, answer, bound, conditions, day, standings, track

from milepost.domain.canonical import canonical
from milepost.domain.condition import Policy, check_at, evaluate
from milepost.domain.correction import expired, next_expiry
from milepost.domain.delivery_news import is_delivered
from milepost.domain.eligibility import due_capture, hold_reason
from milepost.domain.instant import parse_instant
from milepost.domain.record import order_subject
from milepost.domain.status import status_of
from milepost.domain.timeline import timeline

FOUND = correction("DELIVERED", day(4), SUBJECT)


def seen_with(*told, scans):
    return track(bound(day(1)), answer(day(20), *scans), *told).document


class TestTracker:
    def test_it_sets_the_stage_whatever_it_was(self):
        for before in ("IN_TRANSIT", "LOST", "UNDELIVERABLE", "RETURN_TO_SENDER", "DELIVERED"):
            for state in ("IN_TRANSIT", "DELIVERED", "RETURNED", "LOST"):
                told = correction(state, day(4), SUBJECT)
                document = seen_with(told, scans=[scan(before, day(3))])
                assert document["stage"] == state, before

    def test_what_occurs_after_it_is_believed(self):
        found = correction("DELIVERED", day(4, 9), SUBJECT)
        document = seen_with(found, scans=[scan("IN_TRANSIT", day(3)), scan("OUT_FOR_DELIVERY", day(4, 15))])
        assert document["stage"] == "OUT_FOR_DELIVERY"
        assert conditions(document)["CONTRADICTION", "delivered_retracted"], "T5 holds after it"
        assert [c["standing"] for c in document["corrections"]] == ["contradicted"]

    def test_what_occurred_before_it_and_comes_later_fills_history(self):
        document = track(
            bound(day(1)),
            correction("DELIVERED", day(4), SUBJECT),
            answer(day(6), scan("IN_TRANSIT", day(3))),
        ).document
        assert document["stage"] == "DELIVERED"
        assert standings(document) == {("IN_TRANSIT", day(3)): "historyFill"}

    def test_a_delivery_that_an_agent_denies_is_contradicted(self):
        document = seen_with(correction("IN_TRANSIT", day(4), SUBJECT), scans=[scan("DELIVERED", day(3))])
        assert standings(document) == {("DELIVERED", day(3)): "contradicted"}
        assert document["instants"]["deliveredAt"] is None
        assert conditions(document)["CONTRADICTION", "delivered_retracted"]

    def test_returned_needs_distinct_evidence_and_an_agents_word_is_some(self):
        scans = [scan("RETURN_TO_SENDER", day(3)), scan("DELIVERED", day(5))]
        assert seen_with(scans=scans)["stage"] == "RETURNING"
        document = seen_with(correction("RETURNED", day(6), SUBJECT), scans=scans)
        assert (document["stage"], document["stageEnteredAt"]) == ("RETURNED", day(6))

    def test_of_two_the_one_that_speaks_of_the_later_time_holds(self):
        told = [correction("LOST", day(5), SUBJECT), correction("DELIVERED", day(4), SUBJECT)]
        assert seen_with(*told, scans=[])["stage"] == "LOST"

    def test_it_is_about_the_use_of_the_number_that_carries_its_order(self):
        later = bound(day(28), "another-order", created=day(27))
        told = correction("RETURNED", day(29), SUBJECT, told=day(30))
        tracker = track(
            bound(day(1), created=day(1)), answer(day(20), scan("DELIVERED", day(3))), later, told
        )
        assert (tracker.of_order(ORDER).stage, tracker.stage) == ("RETURNED", "UNKNOWN")

    def test_withdrawn_or_expired_it_is_as_if_it_had_not_been_told(self):
        scans = [scan("IN_TRANSIT", day(3))]
        without = canonical(seen_with(scans=scans))
        for outcome in ("withdrawn", "expired"):
            document = seen_with(FOUND, withdrawal(FOUND, day(8), outcome), scans=scans)
            assert [c["standing"] for c in document["corrections"]] == [outcome]
            assert canonical(document) | {"corrections": []} == without

    def test_a_scan_is_better_ship_evidence_than_a_word(self):
        tracker = track(bound(day(1)), correction("IN_TRANSIT", day(2), SUBJECT))
        assert tracker.generations[-1].shipped_is_told
        tracker = track(
            bound(day(1)),
            correction("IN_TRANSIT", day(2), SUBJECT),
            answer(day(9), scan("OUT_FOR_DELIVERY", day(5))),
        )
        assert not tracker.generations[-1].shipped_is_told
        assert tracker.shipped is not None
        assert tracker.shipped.at == parse_instant(day(5))

    def test_it_explains_itself_by_its_rule(self):
        end = withdrawal(FOUND, day(8))
        trace = track(bound(day(1)), answer(day(9), scan("DELIVERED", day(3))), FOUND, explain=True).trace
        told = {(e.kind, e.rule, e.used): e.text for e in trace}
        assert told["correction", "T11", True].startswith(f"ada told that it was delivered at {day(4)}")
        assert any(e.rule == "T11" and e.what == "DELIVERED" and e.kind == "snapshot" for e in trace)
        trace = track(bound(day(1)), FOUND, end, explain=True).trace
        assert [(e.kind, e.used) for e in trace if e.rule == "T11"] == [
            ("correction", False),
            ("withdrawal", True),
        ]


def shipped(*more):
    answered = order_answer(day(3), package(state="IN_TRANSIT", tracker=UPS, items=[("li-1", "1")]))
    return fold(event(SHIPPED, day(2)), answered, *more)


class TestDelivery:
    def test_the_shoppers_word_delivers(self):
        delivery = shipped(correction("DELIVERED", "2025-01-04T23:30:00-08:00")).delivery()
        assert delivery["state"] == "DELIVERED"
        assert (delivery["deliveredAt"], delivery["deliveredAtSource"]) == (
            "2025-01-05T07:30:00Z",
            "correction",
        )
        assert (delivery["deliveredOn"], delivery["deliveredAtZone"]) == ("2025-01-04", "offset-explicit")
        assert delivery["claimedState"] == "IN_TRANSIT", "what the order's side says stays apart"
        assert delivery["shipEvidence"]["type"] == SHIPPED, "and is the better evidence"

    def test_it_outranks_what_was_claimed_before_and_not_after(self):
        told = correction("IN_TRANSIT", day(5))
        early, late = event(DELIVERED, day(4)), event(DELIVERED, day(6), id="another")
        assert shipped(early).delivery()["state"] == "DELIVERED"
        denied = shipped(early, told)
        assert denied.delivery()["state"] == "IN_TRANSIT"
        assert not is_delivered(denied.delivery())
        arrived = shipped(early, told, late).delivery()
        assert (arrived["state"], arrived["deliveredAt"]) == ("DELIVERED", day(6))
        assert [c["standing"] for c in arrived["corrections"]] == ["overtaken"]

    def test_an_answer_that_repeats_what_was_known_is_nothing_new(self):
        repeated = order_answer(day(7), package(state="DELIVERED", tracker=UPS))
        told = correction("IN_TRANSIT", day(5))
        assert shipped(event(DELIVERED, day(4)), told, repeated).delivery()["state"] == "IN_TRANSIT"
        assert shipped(told, repeated).delivery()["state"] == "DELIVERED", "shown for the first time"

    def test_a_cancellation_after_it_is_a_contradiction(self):
        after = fold(correction("DELIVERED", day(4)), event(CANCELLED, day(5))).delivery()
        assert after["state"] == "DELIVERED"
        assert conditions(after)["CONTRADICTION", "cancelled_but_moving"]
        before = fold(event(CANCELLED, day(3)), correction("DELIVERED", day(4))).delivery()
        assert (before["state"], conditions(before)) == ("DELIVERED", {})

    def test_alone_it_is_inferred_ship_evidence_and_gone_when_it_is_withdrawn(self):
        told = correction("DELIVERED", day(4))
        known = order_answer(day(3), package(items=[("li-1", "1")]), lineItems=[{"id": "li-1"}])
        folded = fold(known, told)
        delivery = folded.delivery()
        assert delivery["shipEvidence"] | {"position": 0} == {
            "kind": "correction",
            "type": "DELIVERED",
            "position": 0,
            "at": day(4),
            "inferred": True,
        }
        capture = due_capture(folded.document, delivery, "", parse_instant(day(5)))
        assert capture.inferred
        assert capture.evidence[0]["kind"] == "correction"
        taken = fold(known, told, withdrawal(told, day(6)))
        assert taken.delivery()["shipEvidence"] is None
        assert hold_reason(taken.document, taken.delivery()) == "evidence_withdrawn"

    def test_nothing_waits_for_the_carrier_to_say_so_too(self):
        policy, long_after = Policy(), parse_instant("2025-01-09T12:00:00Z")
        said = shipped(event(DELIVERED, day(4))).delivery()
        assert "CONTRADICTION" in evaluate(said, "delivery", long_after, policy).holding
        corrected = shipped(correction("DELIVERED", day(4))).delivery()
        assert "CONTRADICTION" not in evaluate(corrected, "delivery", long_after, policy).holding

    def test_the_explanation_names_it_and_what_it_outranks(self):
        folded = fold(
            order_answer(day(3), package(tracker=UPS)),
            event(DELIVERED, day(4)),
            correction("IN_TRANSIT", day(5)),
            explain=True,
        )
        (delivery,) = folded.order.deliveries
        rules = {(e.kind, e.what): (e.rule, e.used) for e in delivery.trace}
        assert rules["event", DELIVERED] == ("T11", False)
        assert rules["correction", "IN_TRANSIT"] == ("T11", True)
        assert ("correction", "T11") in {(e.kind, e.rule) for e in folded.order.trace}

    def test_a_shopper_is_shown_the_state_and_nothing_else_of_it(self):
        told = correction("DELIVERED", day(4))
        shown = status_of(shipped(told).document)
        assert shown["deliveries"][0]["state"] == "DELIVERED"
        assert not [word for word in ("ada", "called", "cor_") if word in str(shown)]


def test_it_stands_in_the_timeline_at_the_time_that_it_speaks_of_and_where_it_ended():
    told = correction("DELIVERED", day(4), told=day(6), expires=day(9))
    folded = shipped(told, withdrawal(told, day(9), "expired"))
    entries = timeline(folded.facts, folded.trackers, folded.tracker_facts, folded.order.deliveries)
    shown = [e for e in entries if e["kind"] == "correction"]
    assert [(e["occurredAt"], e["publishedAt"], e["code"], e["deliveryId"]) for e in shown] == [
        (day(4), day(6), "DELIVERED", BOX),
        (day(9), day(9), "expired", BOX),
    ]
    assert shown[0]["text"] == f"ada corrected it to delivered until {day(9)}. Reason: The shopper called."


def test_what_expires_is_due_then_and_ended_once():
    told = correction("DELIVERED", day(4), expires=day(9))
    delivery = shipped(told).delivery()
    assert next_expiry(delivery) == parse_instant(day(9))
    assert check_at(delivery, "delivery", Policy()) == parse_instant(day(9))
    assert expired(delivery, parse_instant(day(8))) == []
    (end,) = expired(delivery, parse_instant(day(10)))
    assert (end.outcome, end.at, end.about[0]) == ("expired", parse_instant(day(9)), order_subject(ORDER))
    ended = shipped(told, withdrawal(told, day(9), "expired")).delivery()
    assert (next_expiry(ended), expired(ended, parse_instant(day(10)))) == (None, [])


def test_any_order_of_arrival_gives_one_view():
    told = correction("DELIVERED", day(4))
    of_tracker = correction("LOST", day(3), SUBJECT)
    history = [
        order_answer(day(3), package(state="IN_TRANSIT", tracker=UPS)),
        event(SHIPPED, day(2)),
        told,
        of_tracker,
        withdrawal(of_tracker, day(5)),
    ]
    views = {str(canonical(fold(*some).document)) for some in permutations(history)}
    assert len(views) == 1


def test_a_state_that_only_a_later_version_knows_is_set_aside():
    delivery = shipped(correction("TELEPORTED", day(4))).delivery()
    assert delivery["state"] == "IN_TRANSIT"
    assert [c["standing"] for c in delivery["corrections"]] == ["setAside"]
