"""Milestones as a set: T8 to T10, and which sightings are one scan."""

import pytest
from tests.unit.domain.history import (
    BOX,
    DELIVERED,
    SHIPPED,
    UPS,
    event,
    null_order_answer,
    order_object,
    package,
    scan,
    tracker_answer,
)
from tests.unit.domain.parcel import answer, bound, condition_of, day, seen, standings, track

from milepost.domain.instant import parse_instant


class TestT8Retraction:
    MOVING, GONE = scan("IN_TRANSIT", day(1)), scan("DELIVERED", day(2))

    def test_scenario_23_a_milestone_that_vanishes_from_a_later_snapshot_is_superseded(self):
        tracker = track(answer(day(3), self.MOVING, self.GONE), answer(day(4), self.MOVING))
        assert (tracker.stage, tracker.delivered) == ("IN_TRANSIT", None)
        assert standings(tracker.document) == {
            ("IN_TRANSIT", day(1)): "counts",
            ("DELIVERED", day(2)): "superseded",
        }

    def test_one_that_comes_back_counts_again(self):
        answers = [answer(day(3), self.MOVING, self.GONE), answer(day(4), self.MOVING)]
        tracker = track(*answers, answer(day(5), self.MOVING, self.GONE))
        assert tracker.stage == "DELIVERED"

    def test_an_older_answer_retracts_nothing(self):
        tracker = track(answer(day(4), self.MOVING, self.GONE), answer(day(3), self.MOVING))
        assert tracker.stage == "DELIVERED"

    @pytest.mark.parametrize(
        "other",
        [
            bound(day(5), milestones=[MOVING]),
            event(
                DELIVERED,
                day(5),
                data={"order": order_object(package(BOX, tracker=UPS, milestones=[MOVING]))},
            ),
        ],
    )
    def test_only_an_answer_of_the_same_query_retracts(self, other):
        assert track(answer(day(3), self.MOVING, self.GONE), other).stage == "DELIVERED"

    def test_what_another_query_showed_later_stands(self):
        answers = [answer(day(3), self.MOVING, self.GONE), answer(day(4), self.MOVING)]
        assert track(*answers, bound(day(5), milestones=[self.GONE])).stage == "DELIVERED"
        assert track(*answers, bound(day(3, 20), milestones=[self.GONE])).stage == "IN_TRANSIT"

    @pytest.mark.parametrize(
        "empty",
        [
            tracker_answer(day(4), UPS),
            tracker_answer(day(4), UPS, latestMilestone=MOVING),
            bound(day(4)),
            null_order_answer(day(4)),
        ],
    )
    def test_scenario_22_an_empty_milestones_snapshot_retracts_nothing(self, empty):
        first = [answer(day(3), self.MOVING, self.GONE), bound(day(3), milestones=[self.MOVING, self.GONE])]
        tracker = track(*first, empty)
        assert tracker.stage == "DELIVERED"
        assert set(standings(tracker.document).values()) == {"counts"}

    def test_a_latest_milestone_without_a_list_retracts_nothing(self):
        def with_latest(at, milestone):
            detail = package(BOX, "IN_TRANSIT", tracker=UPS, latestMilestone=milestone)
            return event(SHIPPED, at, id=at, data={"order": order_object(detail)})

        tracker = track(
            with_latest(day(1), self.MOVING), with_latest(day(3), scan("OUT_FOR_DELIVERY", day(3)))
        )
        assert set(standings(tracker.document).values()) == {"counts"}

    def test_a_retracted_delivery_starts_no_generation(self):
        label = scan("INFO_RECEIVED", day(3))
        tracker = track(answer(day(3), self.MOVING, self.GONE), answer(day(4), self.MOVING, label))
        assert (tracker.stage, tracker.document["generation"]) == ("INFO_RECEIVED", 1)
        assert [m["generation"] for m in tracker.document["milestones"]] == [1, 1, 1]

    def test_a_retracted_scan_is_never_in_a_generation_that_there_is_not(self):
        label = scan("INFO_RECEIVED", day(3))
        listed = [self.MOVING, self.GONE, label, scan("OUT_FOR_DELIVERY", day(4))]
        tracker = track(answer(day(5), *listed), answer(day(6), self.MOVING, label))
        assert (tracker.stage, tracker.document["generation"]) == ("INFO_RECEIVED", 1)
        assert [m["generation"] for m in tracker.document["milestones"]] == [1, 1, 1, 1]


class TestT9Clocks:
    def test_scenario_24_a_time_in_the_future_is_kept_flagged_and_ordered_by_first_observation(self):
        odd = scan("IN_TRANSIT", "2031-01-01T00:00:00Z")
        tracker = track(
            answer(day(5), odd),
            answer(day(7), odd, scan("DELIVERED", day(6))),
            answer(day(8), odd, scan("DELIVERED", day(6))),
        )
        assert tracker.stage == "DELIVERED"
        first = tracker.document["milestones"][0]
        assert (first["code"], first["occurredAt"]) == ("IN_TRANSIT", "2031-01-01T00:00:00Z")
        assert first["flags"] == ["clock_suspect"]
        assert tracker.document["instants"]["firstPossessionAt"] == day(5)
        assert (tracker.shipped.at, tracker.shipped.local_date) == (parse_instant(day(5)), "2025-01-05")

    @pytest.mark.parametrize(("minutes", "flags"), [(15, []), (16, ["clock_suspect"])])
    def test_a_quarter_of_an_hour_is_allowed(self, minutes, flags):
        document = seen(scan("IN_TRANSIT", f"2025-01-05T12:{minutes}:00Z"), at=day(5))
        assert document["milestones"][0]["flags"] == flags

    @pytest.mark.parametrize(("at", "flags"), [(day(9), []), (day(8, 11), ["reusedNumberSuspected"])])
    def test_a_scan_from_more_than_a_day_before_the_order_is_flagged(self, at, flags):
        document = track(bound(day(12), created=day(9), milestones=[scan("IN_TRANSIT", at)])).document
        assert document["milestones"][0]["flags"] == flags
        assert document["stage"] == "IN_TRANSIT"


class TestT10UnknownCodes:
    def test_scenario_20_an_unknown_code_is_kept_and_shown_and_the_stage_stays(self):
        document = seen(scan("IN_TRANSIT", day(1)), scan("PACKAGE_RECEIVED_BY_DRONE", day(2)))
        assert (document["stage"], document["lastScanAt"]) == ("IN_TRANSIT", day(1))
        assert document["milestones"][-1]["code"] == "PACKAGE_RECEIVED_BY_DRONE"
        unmapped = condition_of(document, "UNMAPPED_CODE")
        assert (unmapped["count"], unmapped["source"]) == (1, "hub")
        assert unmapped["evidence"] == {"codes": ["PACKAGE_RECEIVED_BY_DRONE"]}

    def test_scenario_21_out_for_delivery_in_any_casing_is_one_milestone(self):
        one, other = scan("OutForDelivery", day(2)), scan("OUT_FOR_DELIVERY", day(2))
        tracker = track(answer(day(3), one), answer(day(4), other))
        assert tracker.stage == "OUT_FOR_DELIVERY"
        assert [(m["code"], m["rawCode"]) for m in tracker.document["milestones"]] == [
            ("OUT_FOR_DELIVERY", "OUT_FOR_DELIVERY")
        ]


class TestOneMilestone:
    def test_the_same_in_several_answers_is_one(self):
        mine = scan("IN_TRANSIT", day(1))
        data = {"order": order_object(package(BOX, tracker=UPS, milestones=[mine]))}
        tracker = track(
            answer(day(2), mine), bound(day(3), milestones=[mine]), event(DELIVERED, day(4), data=data)
        )
        assert len(tracker.document["milestones"]) == 1
        assert tracker.document["milestones"][0]["observedAt"] == day(2)
        assert tracker.document["milestones"][0]["position"] == 1

    def test_other_text_annotates_the_same_scan(self):
        spoken = {**scan("IN_TRANSIT", day(1)), "status": {"code": "IN_TRANSIT", "message": []}}
        for message in (
            [{"locale": "de-DE", "value": "Unterwegs"}, {"locale": "en-GB", "value": "On its way"}],
            [],
        ):
            newer = {**spoken, "status": {"code": "IN_TRANSIT", "message": message}}
            [milestone] = track(answer(day(2), scan("IN_TRANSIT", day(1))), answer(day(3), newer)).document[
                "milestones"
            ]
            expected = ("On its way", "en-GB") if message else ("IN_TRANSIT in Reno", "en-US")
            assert (milestone["message"], milestone["locale"]) == expected

    def test_sub_second_precision_is_kept_whoever_gave_it(self):
        whole, precise = (
            scan("IN_TRANSIT", "2025-01-01T12:00:00Z"),
            scan("IN_TRANSIT", "2025-01-01T12:00:00.250Z"),
        )
        for first, second in ((whole, precise), (precise, whole)):
            [milestone] = track(answer(day(2), first), answer(day(3), second)).document["milestones"]
            assert milestone["occurredAt"] == "2025-01-01T12:00:00.250Z"

    def test_other_places_are_other_scans_and_a_missing_place_is_none_of_its_own(self):
        reno, sparks = scan("IN_TRANSIT", day(1), "Reno"), scan("IN_TRANSIT", day(1), "Sparks")
        nowhere = {**reno, "address": None}
        assert len(seen(reno, sparks)["milestones"]) == 2
        for answers in (
            (answer(day(2), reno), answer(day(3), nowhere)),
            (answer(day(2), nowhere), answer(day(3), reno)),
        ):
            [milestone] = track(*answers).document["milestones"]
            assert (milestone["address"]["locality"], milestone["standing"]) == ("Reno", "counts")

    def test_local_date_and_zone_are_as_written(self):
        [milestone] = seen(scan("IN_TRANSIT", "2025-01-31T23:30:00-08:00"), at="2025-03-01T00:00:00Z")[
            "milestones"
        ]
        assert milestone["occurredAt"] == "2025-02-01T07:30:00Z"
        assert (milestone["localDate"], milestone["zone"]) == ("2025-01-31", "offset-explicit")
