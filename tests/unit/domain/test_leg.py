"""The tracker's state machine: T1 to T7 by name, and the scenarios of tracking.md 13 that they decide."""

import pytest
from tests.unit.domain.history import BP, UPS, event, scan
from tests.unit.domain.parcel import answer, bound, condition_of, conditions, day, seen, standings, track

from milepost.domain.instant import parse_instant
from milepost.domain.tracker import fold_tracker


class TestT1StageIsTheLatestPositionalMilestone:
    def test_the_latest_to_occur_wins_wherever_it_is_listed(self):
        document = seen(
            scan("OUT_FOR_DELIVERY", day(4)), scan("INFO_RECEIVED", day(1)), scan("IN_TRANSIT", day(2))
        )
        assert (document["stage"], document["stageEnteredAt"]) == ("OUT_FOR_DELIVERY", day(4))
        assert [m["code"] for m in document["milestones"]] == [
            "INFO_RECEIVED",
            "IN_TRANSIT",
            "OUT_FOR_DELIVERY",
        ]
        assert document["lastScanAt"] == day(4)

    @pytest.mark.parametrize(
        ("code", "stage"),
        [
            ("PENDING", "PENDING"),
            ("INFO_RECEIVED", "INFO_RECEIVED"),
            ("IN_TRANSIT", "IN_TRANSIT"),
            ("OUT_FOR_DELIVERY", "OUT_FOR_DELIVERY"),
            ("AVAILABLE_FOR_PICKUP", "AVAILABLE_FOR_PICKUP"),
            ("DELIVERED", "DELIVERED"),
            ("RETURN_TO_SENDER", "RETURNING"),
            ("UNDELIVERABLE", "UNDELIVERABLE"),
            ("LOST", "LOST"),
            ("DELAYED", "UNKNOWN"),
            ("DELIVERY_ATTEMPTED", "UNKNOWN"),
            ("EXCEPTION", "UNKNOWN"),
            ("CUSTOMER_ACTION", "UNKNOWN"),
        ],
    )
    def test_each_of_amazons_thirteen_codes(self, code, stage):
        assert seen(scan(code, day(1)))["stage"] == stage

    def test_at_one_instant_the_higher_rank_wins(self):
        listed = [scan("DELIVERED", day(2)), scan("OUT_FOR_DELIVERY", day(2)), scan("IN_TRANSIT", day(2))]
        assert seen(*listed)["stage"] == seen(*reversed(listed))["stage"] == "DELIVERED"

    def test_a_later_step_back_is_legal(self):
        document = seen(scan("OUT_FOR_DELIVERY", day(2)), scan("IN_TRANSIT", day(3)))
        assert document["stage"] == "IN_TRANSIT"

    def test_the_stage_is_entered_by_the_first_scan_of_its_run(self):
        document = seen(scan("IN_TRANSIT", day(1)), scan("IN_TRANSIT", day(2)), scan("IN_TRANSIT", day(3)))
        assert (document["stageEnteredAt"], document["lastScanAt"]) == (day(1), day(3))

    def test_undated_milestones_set_the_stage_only_where_no_dated_one_does(self):
        undated = scan("DELIVERED", None)
        alone = seen(scan("IN_TRANSIT", None), undated)
        assert (alone["stage"], alone["stageEnteredAt"]) == ("DELIVERED", None)
        beside = seen(scan("IN_TRANSIT", day(1)), undated)
        assert beside["stage"] == "IN_TRANSIT"
        assert standings(beside)["DELIVERED", None] == "setAside"
        # A dated condition sets no stage, so the undated scan may.
        assert seen(scan("EXCEPTION", day(1)), scan("IN_TRANSIT", None))["stage"] == "IN_TRANSIT"

    def test_an_undated_attempt_undoes_no_dated_delivery(self):
        document = seen(scan("DELIVERED", day(2)), scan("DELIVERY_ATTEMPTED", None), at=day(3))
        assert (document["stage"], conditions(document)) == ("DELIVERED", {})

    def test_without_facts_the_stage_is_unknown(self):
        empty = fold_tracker(BP, *UPS, [])
        assert (empty.stage, empty.position, empty.document["milestones"]) == ("UNKNOWN", 0, [])
        assert empty.document["orphan"]


class TestT2ConditionsNeverMoveTheStage:
    def test_exception_and_customer_action_are_cleared_by_movement(self):
        path = [scan("IN_TRANSIT", day(1)), scan("EXCEPTION", day(2)), scan("CUSTOMER_ACTION", day(3))]
        document = seen(*path)
        assert document["stage"] == "IN_TRANSIT"
        assert conditions(document) == {("CUSTOMER_ACTION", None): True, ("EXCEPTION", None): True}
        document = seen(*path, scan("IN_TRANSIT", day(4)))
        assert conditions(document) == {("CUSTOMER_ACTION", None): False, ("EXCEPTION", None): False}
        assert condition_of(document, "EXCEPTION")["clearedAt"] == day(4)

    def test_movement_of_the_same_instant_clears_nothing(self):
        document = seen(scan("EXCEPTION", day(2)), scan("IN_TRANSIT", day(2)))
        assert conditions(document) == {("EXCEPTION", None): True}

    def test_a_label_is_no_movement(self):
        document = seen(scan("EXCEPTION", day(2)), scan("INFO_RECEIVED", day(3)))
        assert conditions(document) == {("EXCEPTION", None): True}

    def test_delayed_stays_through_movement_and_ends_on_delivery(self):
        path = [scan("DELAYED", day(2)), scan("IN_TRANSIT", day(3)), scan("OUT_FOR_DELIVERY", day(4))]
        assert conditions(seen(*path)) == {("DELAYED", None): True}
        assert conditions(seen(*path, scan("DELIVERED", day(5)))) == {("DELAYED", None): False}

    def test_delayed_ends_when_an_estimate_announced_after_it_is_met(self):
        path = [scan("DELAYED", day(2))]
        ready = scan("AVAILABLE_FOR_PICKUP", day(6))
        window = {"estimatedDeliveryDate": {"latest": "2025-01-06"}}
        met = track(answer(day(3), *path, **window), answer(day(7), *path, ready))
        assert conditions(met.document) == {("DELAYED", None): False}
        before = track(answer(day(1), **window), answer(day(7), *path, ready))
        assert conditions(before.document) == {("DELAYED", None): True}
        missed = {"estimatedDeliveryDate": {"latest": "2025-01-05"}}
        late = track(answer(day(3), *path, **missed), answer(day(7), *path, ready))
        assert conditions(late.document) == {("DELAYED", None): True}

    def test_failed_attempts_are_counted_forever(self):
        path = [scan("OUT_FOR_DELIVERY", day(1)), scan("DELIVERY_ATTEMPTED", day(1, 15))]
        path += [scan("OUT_FOR_DELIVERY", day(2)), scan("DELIVERY_ATTEMPTED", day(2, 15))]
        document = seen(*path)
        assert (document["stage"], document["failedAttempts"]) == ("OUT_FOR_DELIVERY", 2)
        failed = condition_of(document, "ATTEMPT_FAILED")
        assert (failed["count"], failed["raisedAt"], failed["source"]) == (2, day(2, 15), "carrier")
        document = seen(*path, scan("DELIVERED", day(3)))
        assert (document["failedAttempts"], conditions(document)) == (2, {("ATTEMPT_FAILED", None): False})
        assert document["instants"]["firstAttemptAt"] == day(1, 15)

    def test_conditions_after_an_outcome_raise_nothing(self):
        document = seen(scan("DELIVERED", day(2)), scan("DELAYED", day(3)), scan("EXCEPTION", day(3)))
        assert (document["stage"], conditions(document)) == ("DELIVERED", {})
        assert standings(document)["DELAYED", day(3)] == "setAside"


class TestT3SkipsAreNormal:
    def test_delivered_alone_implies_shipped_and_invents_nothing(self):
        tracker = track(answer(day(3), scan("DELIVERED", day(2))))
        assert tracker.shipped_code == "DELIVERED"
        assert tracker.shipped.at == tracker.delivered.at == parse_instant(day(2))
        assert tracker.document["instants"] == {
            "firstInfoAt": None,
            "firstPossessionAt": day(2),
            "firstOutForDeliveryAt": None,
            "firstAttemptAt": None,
            "readyAt": None,
            "deliveredAt": day(2),
            "returnStartedAt": None,
        }

    def test_a_label_is_never_possession(self):
        tracker = track(answer(day(3), scan("PENDING", day(1)), scan("INFO_RECEIVED", day(2))))
        assert (tracker.shipped, tracker.shipped_code, tracker.shipped_position) == (None, "", 0)
        assert tracker.document["instants"]["firstInfoAt"] == day(2)

    def test_an_undated_possession_has_a_code_and_no_time(self):
        tracker = track(answer(day(3), scan("IN_TRANSIT", None)))
        assert (tracker.shipped, tracker.shipped_code, tracker.shipped_position) == (None, "IN_TRANSIT", 1)


class TestT4LateArrival:
    def test_an_older_scan_seen_later_only_fills_history(self):
        late = scan("IN_TRANSIT", day(1))
        tracker = track(
            answer(day(3), scan("OUT_FOR_DELIVERY", day(2))),
            answer(day(4), late, scan("OUT_FOR_DELIVERY", day(2))),
        )
        assert tracker.stage == "OUT_FOR_DELIVERY"
        assert standings(tracker.document) == {
            ("IN_TRANSIT", day(1)): "historyFill",
            ("OUT_FOR_DELIVERY", day(2)): "counts",
        }
        assert tracker.shipped.at == parse_instant(day(1))

    def test_scans_first_seen_together_fill_nothing(self):
        document = seen(scan("IN_TRANSIT", day(1)), scan("OUT_FOR_DELIVERY", day(2)))
        assert set(standings(document).values()) == {"counts"}


class TestT5AfterDelivered:
    DELIVERED = scan("DELIVERED", day(2, 17))

    def test_scenario_11_delivered_at_17_then_out_for_delivery_at_9_the_next_day_reopens(self):
        tracker = track(
            answer(day(2, 18), self.DELIVERED),
            answer(day(3, 10), self.DELIVERED, scan("OUT_FOR_DELIVERY", day(3, 9))),
        )
        assert (tracker.stage, tracker.delivered) == ("OUT_FOR_DELIVERY", None)
        assert tracker.document["instants"]["deliveredAt"] is None
        assert standings(tracker.document)["DELIVERED", day(2, 17)] == "contradicted"
        contradiction = condition_of(tracker.document, "CONTRADICTION")
        assert contradiction["kind"] == "delivered_retracted"
        assert contradiction["source"] == "hub"
        assert contradiction["raisedAt"] == day(3, 9)
        assert contradiction["evidence"] == {
            "deliveredAt": day(2, 17),
            "code": "OUT_FOR_DELIVERY",
            "occurredAt": day(3, 9),
        }

    def test_the_real_delivery_afterwards_counts_and_ends_the_contradiction(self):
        tracker = track(
            answer(day(4), self.DELIVERED, scan("OUT_FOR_DELIVERY", day(3, 9)), scan("DELIVERED", day(3, 15)))
        )
        assert (tracker.stage, tracker.delivered.at) == ("DELIVERED", parse_instant(day(3, 15)))
        assert conditions(tracker.document) == {("CONTRADICTION", "delivered_retracted"): False}

    @pytest.mark.parametrize(
        ("code", "stage"),
        [
            ("IN_TRANSIT", "IN_TRANSIT"),
            ("OUT_FOR_DELIVERY", "OUT_FOR_DELIVERY"),
            ("DELIVERY_ATTEMPTED", "OUT_FOR_DELIVERY"),
        ],
    )
    def test_movement_reopens_up_to_72_hours_and_only_contradicts_afterwards(self, code, stage):
        within = seen(self.DELIVERED, scan(code, day(5, 17)))
        assert within["stage"] == stage
        after = seen(self.DELIVERED, scan(code, day(5, 18)))
        assert (after["stage"], after["instants"]["deliveredAt"]) == ("DELIVERED", day(2, 17))
        assert conditions(after) == {("CONTRADICTION", "scan_after_delivery"): True}
        assert standings(after) == {("DELIVERED", day(2, 17)): "counts", (code, day(5, 18)): "setAside"}

    def test_a_failed_attempt_that_reopens_is_counted(self):
        assert seen(self.DELIVERED, scan("DELIVERY_ATTEMPTED", day(3)))["failedAttempts"] == 1

    @pytest.mark.parametrize("code", ["LOST", "UNDELIVERABLE"])
    def test_lost_or_undeliverable_contradict_and_replace_nothing(self, code):
        document = seen(self.DELIVERED, scan(code, day(3)))
        assert document["stage"] == "DELIVERED"
        assert conditions(document) == {("CONTRADICTION", "scan_after_delivery"): True}

    def test_return_to_sender_is_a_legal_exit(self):
        document = seen(self.DELIVERED, scan("RETURN_TO_SENDER", day(9)))
        assert (document["stage"], conditions(document)) == ("RETURNING", {})
        assert document["instants"]["deliveredAt"] == day(2, 17)
        assert document["instants"]["returnStartedAt"] == day(9)

    def test_scenario_12_delivered_then_available_for_pickup_stays(self):
        document = seen(self.DELIVERED, scan("AVAILABLE_FOR_PICKUP", day(2, 18), "Locker 7"))
        assert (document["stage"], conditions(document)) == ("DELIVERED", {})
        handed_over = document["milestones"][-1]
        assert (handed_over["standing"], handed_over["address"]["locality"]) == ("annotates", "Locker 7")

    def test_a_second_delivered_corrects_the_first(self):
        corrected = scan("DELIVERED", day(2, 16))
        tracker = track(answer(day(3), self.DELIVERED), bound(day(4), milestones=[corrected]))
        assert tracker.delivered.at == parse_instant(day(2, 16))
        assert standings(tracker.document)["DELIVERED", day(2, 17)] == "corrected"
        assert conditions(tracker.document) == {}
        # The other way about: the newest answer's value holds, not the latest time.
        tracker = track(answer(day(4), self.DELIVERED), bound(day(3), milestones=[corrected]))
        assert tracker.delivered.at == tracker.shipped.at == parse_instant(day(2, 17))
        assert standings(tracker.document)["DELIVERED", day(2, 16)] == "corrected"

    def test_two_deliveries_in_one_answer_leave_the_later(self):
        document = seen(self.DELIVERED, scan("DELIVERED", day(2, 19)))
        assert document["instants"]["deliveredAt"] == day(2, 19)


class TestT6LostAndUndeliverableAreSoft:
    @pytest.mark.parametrize("outcome", ["LOST", "UNDELIVERABLE"])
    @pytest.mark.parametrize(
        ("code", "stage"),
        [
            ("IN_TRANSIT", "IN_TRANSIT"),
            ("DELIVERED", "DELIVERED"),
            ("RETURN_TO_SENDER", "RETURNING"),
            ("DELIVERY_ATTEMPTED", "OUT_FOR_DELIVERY"),
        ],
    )
    def test_found_again_without_contradiction(self, outcome, code, stage):
        document = seen(scan("IN_TRANSIT", day(1)), scan(outcome, day(2)), scan(code, day(9)))
        assert document["stage"] == stage
        assert conditions(document, "CONTRADICTION") == {}

    def test_neither_is_possession(self):
        assert track(answer(day(3), scan("LOST", day(2)))).shipped is None


class TestT7Returning:
    RETURNED = event("RETURN_PACKAGE_DELIVERED", day(9), path=f"return/r-1/carrier/{UPS[0]}/tracker/{UPS[1]}")

    def test_returned_needs_distinct_evidence(self):
        going = answer(day(8), scan("IN_TRANSIT", day(2)), scan("RETURN_TO_SENDER", day(5)))
        assert track(going).stage == "RETURNING"
        tracker = track(going, self.RETURNED)
        assert (tracker.stage, tracker.document["stageEnteredAt"]) == ("RETURNED", day(9))

    def test_a_return_event_about_the_order_alone_is_none(self):
        going = bound(day(8), milestones=[scan("RETURN_TO_SENDER", day(5))])
        other = event("RETURN_PACKAGE_DELIVERED", day(9), path="return/r-1")
        assert track(going, other).stage == "RETURNING"

    def test_after_returned_scans_are_shown_and_change_nothing(self):
        tracker = track(
            answer(day(12), scan("RETURN_TO_SENDER", day(5)), scan("IN_TRANSIT", day(11))), self.RETURNED
        )
        assert tracker.stage == "RETURNED"
        assert standings(tracker.document)["IN_TRANSIT", day(11)] == "setAside"

    def test_a_slow_way_back_is_one_way_back(self):
        back = [
            scan("RETURN_TO_SENDER", day(5)),
            scan("IN_TRANSIT", day(25)),
            scan("IN_TRANSIT", "2025-02-14T12:00:00Z"),
        ]
        document = seen(*back, at="2025-03-01T00:00:00Z")
        assert (document["stage"], document["generation"]) == ("RETURNING", 1)

    def test_a_parcel_lost_on_its_way_back_is_lost(self):
        assert seen(scan("RETURN_TO_SENDER", day(5)), scan("LOST", day(9)))["stage"] == "LOST"
