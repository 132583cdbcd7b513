"""T5: when a tracking number is used again, and which order each use belongs to."""

import pytest
from tests.unit.domain.history import BOX, ORDER, scan
from tests.unit.domain.parcel import answer, bound, day, seen, standings, track

from milepost.domain.instant import parse_instant


class TestT5NewGeneration:
    def test_scenario_13_a_number_recycled_after_100_days_is_a_new_generation(self):
        old = [scan("IN_TRANSIT", day(1)), scan("DELIVERED", day(2))]
        new = [scan("INFO_RECEIVED", "2025-04-12T12:00:00Z"), scan("IN_TRANSIT", "2025-04-13T12:00:00Z")]
        window = {"estimatedDeliveryDate": {"latest": "2025-01-03"}}
        tracker = track(answer(day(3), *old, **window), answer("2025-04-14T12:00:00Z", *new))
        document = tracker.document
        assert (document["stage"], document["generation"]) == ("IN_TRANSIT", 2)
        assert [m["generation"] for m in document["milestones"]] == [1, 1, 2, 2]
        # The old parcel's scans are no longer listed; that retracts nothing.
        assert set(standings(document).values()) == {"counts"}
        assert document["instants"]["deliveredAt"] is None
        assert tracker.delivered is None
        assert tracker.shipped.at == parse_instant("2025-04-13T12:00:00Z")
        assert document["estimatedDelivery"] is None
        assert [g.stage for g in tracker.generations] == ["DELIVERED", "IN_TRANSIT"]

    @pytest.mark.parametrize("code", ["PENDING", "INFO_RECEIVED"])
    @pytest.mark.parametrize("outcome", ["DELIVERED", "LOST", "UNDELIVERABLE", "RETURN_TO_SENDER"])
    def test_a_label_after_an_outcome(self, outcome, code):
        document = seen(scan(outcome, day(2)), scan(code, day(3)))
        assert (document["stage"], document["generation"]) == (code, 2)

    @pytest.mark.parametrize(("ordinal", "generation"), [(1, 1), (2, 2)])
    def test_activity_more_than_30_days_after_an_outcome(self, ordinal, generation):
        moved = scan("IN_TRANSIT", f"2025-02-{ordinal:02d}T12:00:00Z")
        document = seen(scan("DELIVERED", day(2)), moved, at="2025-03-01T00:00:00Z")
        assert document["generation"] == generation

    def test_an_unknown_code_starts_no_generation(self):
        document = seen(scan("DELIVERED", day(2)), scan("BLESSED", "2025-06-01T00:00:00Z"))
        assert (document["stage"], document["generation"]) == ("DELIVERED", 1)

    def test_a_number_bound_to_another_order_after_the_outcome(self):
        first = bound(day(2), created=day(1), milestones=[scan("DELIVERED", day(2))])
        other = bound(day(10), "999-OTHER", created=day(9), delivery="box-of-other")
        tracker = track(first, other)
        assert (tracker.stage, tracker.document["generation"]) == ("UNKNOWN", 2)
        assert tracker.orders == ((ORDER, BOX), ("999-OTHER", "box-of-other"))
        assert tracker.of_order(ORDER).delivered.at == parse_instant(day(2))
        assert tracker.of_order("999-OTHER").delivered is None
        assert (tracker.delivered, tracker.shipped) == (None, None)

    def test_two_orders_in_one_parcel_are_one_generation(self):
        first = bound(day(3), created=day(1), milestones=[scan("DELIVERED", day(2))])
        tracker = track(first, bound(day(4), "999-OTHER", created=day(1, 13)))
        assert (tracker.stage, tracker.document["generation"]) == ("DELIVERED", 1)

    def test_an_order_seen_late_is_adopted(self):
        milestones = answer(day(3), scan("DELIVERED", day(2)))
        assert track(milestones, bound(day(5))).document["generation"] == 1
        assert track(milestones, bound(day(5), created=day(1))).document["generation"] == 1
        # The order's clock and the carrier's may differ by a day.
        assert track(milestones, bound(day(5), created=day(3, 11))).document["generation"] == 1
        # It cannot have been delivered before it was ordered.
        assert track(milestones, bound(day(9), created=day(8))).document["generation"] == 2

    def test_scenario_14_a_return_leg_on_the_same_number_delivers_nothing_to_the_shopper(self):
        path = [scan("DELIVERED", day(2)), scan("RETURN_TO_SENDER", day(5)), scan("IN_TRANSIT", day(6))]
        path += [scan("OUT_FOR_DELIVERY", day(7)), scan("DELIVERED", day(8))]
        document = seen(*path)
        assert (document["stage"], document["instants"]["deliveredAt"]) == ("RETURNING", day(2))
        assert standings(document)["DELIVERED", day(8)] == "setAside"
        assert document["lastScanAt"] == day(8)
        again = [scan("DELIVERED", day(2)), scan("INFO_RECEIVED", day(5)), scan("DELIVERED", day(8))]
        tracker = track(bound(day(9), created=day(1), milestones=again))
        assert tracker.document["generation"] == 2
        assert tracker.of_order(ORDER).delivered.at == parse_instant(day(2))
