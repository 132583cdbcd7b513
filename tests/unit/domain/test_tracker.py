"""The tracker view: T12, estimates, orders, conditions by clock, and the explanation."""

from tests.unit.domain.history import (
    BOX,
    MILESTONE,
    ORDER,
    SECOND_BOX,
    SHIPPED,
    UPS,
    USPS,
    condition,
    event,
    order_answer,
    order_object,
    package,
    scan,
    tracker_answer,
)
from tests.unit.domain.parcel import SUBJECT, answer, bound, condition_of, conditions, day, track

from milepost.domain.canonical import canonical


class TestT12Expiry:
    EXPIRED = condition("TRACKING_EXPIRED", True, "2025-06-20T00:00:00Z", SUBJECT)
    PARCEL = answer(day(3), scan("OUT_FOR_DELIVERY", day(2)))

    def test_the_last_state_is_frozen_and_the_condition_shown(self):
        null = tracker_answer("2025-06-21T00:00:00Z", UPS)
        document = track(self.PARCEL, self.EXPIRED, null).document
        assert document["stage"] == "OUT_FOR_DELIVERY"
        assert conditions(document) == {("TRACKING_EXPIRED", None): True}

    def test_a_later_new_fact_reopens(self):
        early = condition("TRACKING_EXPIRED", True, "2025-02-01T00:00:00Z", SUBJECT)
        document = track(early, event(MILESTONE, day(30), tracker=UPS)).document
        assert conditions(document) == {("TRACKING_EXPIRED", None): False}

    def test_an_answer_that_repeats_what_was_known_is_nothing_new(self):
        first = track(self.PARCEL).document["lastFactAt"]
        again = track(self.PARCEL, answer(day(9), scan("OUT_FOR_DELIVERY", day(2)))).document["lastFactAt"]
        more = track(self.PARCEL, answer(day(9), scan("DELIVERED", day(8)))).document["lastFactAt"]
        assert first == again < more


class TestEstimatedDelivery:
    def test_scenario_18_a_date_only_estimate_stays_that_date(self):
        document = track(
            answer(day(2), estimatedDeliveryDate={"earliest": "2025-01-08", "latest": "2025-01-09"})
        )
        estimate = document.document["estimatedDelivery"]
        assert (estimate["earliestDate"], estimate["latestDate"]) == ("2025-01-08", "2025-01-09")
        assert (estimate["earliest"], estimate["zone"]) == ("2025-01-08", "date-only")

    def test_a_time_with_an_offset_names_the_date_written_there(self):
        written = "2025-01-09T22:00:00-08:00"
        estimate = track(answer(day(2), estimatedDeliveryDate={"latest": written})).document[
            "estimatedDelivery"
        ]
        assert (estimate["latest"], estimate["latestDate"]) == (written, "2025-01-09")
        assert estimate["earliest"] is None

    def test_the_original_is_the_first_window_seen_after_shipping_and_revisions_are_counted(self):
        def at(number, latest, *milestones):
            return answer(day(number), *milestones, estimatedDeliveryDate={"latest": latest})

        moving = scan("IN_TRANSIT", day(3))
        before = [at(1, "2025-01-05"), at(2, "2025-01-06")]
        estimate = track(*before).document["estimatedDelivery"]
        assert (estimate["original"]["latest"], estimate["latest"], estimate["revisions"]) == (
            "2025-01-05",
            "2025-01-06",
            1,
        )
        after = [
            at(4, "2025-01-07", moving),
            at(5, "2025-01-09", moving),
            at(6, "2025-01-07", moving),
            at(7, "2025-01-10"),
        ]
        estimate = track(*before, *after).document["estimatedDelivery"]
        assert (estimate["original"]["latest"], estimate["latest"], estimate["revisions"]) == (
            "2025-01-07",
            "2025-01-10",
            2,
        )

    def test_what_is_scanned_on_arrival_alone_was_promised_before(self):
        def at(number, latest, *milestones):
            return answer(day(number), *milestones, estimatedDeliveryDate={"latest": latest})

        detail = package(BOX, tracker=UPS)
        shipped = event(SHIPPED, day(3), id="same", data={"order": order_object(detail)})
        arrived = scan("DELIVERED", day(7))
        told = [at(2, "2025-01-05"), at(4, "2025-01-06"), at(8, "2025-01-09", arrived)]
        for facts, promised in (((shipped, *told), "2025-01-06"), (told, "2025-01-05")):
            estimate = track(*facts).document["estimatedDelivery"]
            assert (estimate["original"]["latest"], estimate["latest"]) == (promised, "2025-01-09")

    def test_an_answer_without_an_estimate_takes_none_away(self):
        window = {"estimatedDeliveryDate": {"latest": "2025-01-09"}}
        tracker = track(answer(day(2), **window), answer(day(3), scan("IN_TRANSIT", day(2))))
        assert tracker.document["estimatedDelivery"]["latest"] == "2025-01-09"

    def test_the_newest_answers_address_wins(self):
        tracker = track(
            answer(day(3), trackingUrl="https://track.example/new"),
            answer(day(2), trackingUrl="https://track.example/old"),
        )
        assert tracker.document["trackingUrl"] == "https://track.example/new"


class TestOrders:
    def test_scenario_8_a_milestone_before_its_order_is_an_orphan_until_adopted(self):
        early = [event(MILESTONE, day(1), tracker=UPS), answer(day(1, 13), scan("IN_TRANSIT", day(1)))]
        orphan = track(*early).document
        assert (orphan["orphan"], orphan["orders"]) == (True, [])
        assert condition_of(orphan, "ORPHAN")["raisedAt"] == day(1)
        adopted = track(*early, bound(day(2))).document
        assert (adopted["orphan"], adopted["orders"]) == (False, [{"orderId": ORDER, "deliveryId": BOX}])
        assert adopted["conditions"] == []
        assert adopted["stage"] == "IN_TRANSIT"

    def test_a_milestone_resource_that_names_an_order_joins_it(self):
        path = f"carrier/{UPS[0]}/tracker/{UPS[1]}"
        named = event(MILESTONE, day(1), tracker=UPS, path=path)
        tracker = track(named)
        assert tracker.orders == ((ORDER, None),)
        assert not tracker.document["orphan"]
        assert track(named, bound(day(2))).orders == ((ORDER, BOX),)

    def test_one_number_in_two_deliveries(self):
        packages = [package(box, tracker=UPS) for box in (SECOND_BOX, BOX)]
        assert track(order_answer(day(1), *packages)).orders == ((ORDER, BOX), (ORDER, SECOND_BOX))

    def test_answers_about_other_numbers_are_not_read(self):
        mine = package(BOX, tracker=UPS, milestones=[scan("IN_TRANSIT", day(1))])
        other = package(SECOND_BOX, tracker=USPS, milestones=[scan("DELIVERED", day(2))])
        assert track(order_answer(day(3), mine, other)).stage == "IN_TRANSIT"

    def test_carrier_codes_are_compared_without_case(self):
        tracker = track(tracker_answer(day(2), ("UPS", UPS[1]), scan("IN_TRANSIT", day(1))))
        assert (tracker.stage, tracker.carrier_code) == ("IN_TRANSIT", "UPS")

    def test_search_terms_are_lower_case(self):
        assert track(event(MILESTONE, day(1), tracker=UPS)).terms == (UPS[1].lower(),)


class TestOtherFacts:
    def test_a_conflicting_copy_is_one_more_fact(self):
        def copy(*milestones):
            detail = package(BOX, tracker=UPS, milestones=list(milestones))
            return event(SHIPPED, day(3), id="same", data={"order": order_object(detail)})

        one, other = copy(scan("IN_TRANSIT", day(1))), copy(scan("OUT_FOR_DELIVERY", day(2)))
        forward, backward = track(one, other), track(other, one)
        assert forward.stage == "OUT_FOR_DELIVERY"
        assert canonical(forward.document) == canonical(backward.document)

    def test_the_sweepers_latest_change_holds(self):
        parcel = answer(day(3), scan("INFO_RECEIVED", day(1)))
        raised = condition("NEVER_SCANNED", True, day(8), SUBJECT, days=4)
        cleared = condition("NEVER_SCANNED", False, day(9), SUBJECT)
        document = track(parcel, raised).document
        entry = condition_of(document, "NEVER_SCANNED")
        assert (entry["source"], entry["raisedAt"], entry["clearedAt"]) == ("hub", day(8), None)
        assert entry["evidence"] == {"days": 4}
        for arrivals in ((parcel, raised, cleared), (cleared, raised, parcel)):
            entry = condition_of(track(*arrivals).document, "NEVER_SCANNED")
            assert (entry["raisedAt"], entry["clearedAt"]) == (day(8), day(9))

    def test_position_is_the_highest(self):
        assert track(answer(day(2)), answer(day(3)), event(MILESTONE, day(1), tracker=UPS)).position == 3


class TestExplain:
    HISTORY = (
        event(MILESTONE, day(1), tracker=UPS),
        answer(day(3), scan("IN_TRANSIT", day(1)), scan("DELIVERED", day(2))),
        answer(day(4), scan("IN_TRANSIT", day(1))),
        tracker_answer(day(5), UPS),
        bound(day(6)),
        condition("NEVER_SCANNED", True, day(8), SUBJECT),
        condition("NEVER_SCANNED", False, day(9), SUBJECT),
        event(SHIPPED, day(3), data={"order": order_object(package(BOX, tracker=UPS))}, id="new"),
        event("ITEM_IN_TRANSIT", day(3), data={"order": order_object(package(BOX, tracker=UPS))}, id="old"),
    )

    def test_every_fact_is_told_of_with_its_rule(self):
        trace = track(*self.HISTORY, explain=True).trace
        assert sorted({e.position for e in trace}) == list(range(1, 10))
        told = {(e.position, e.what): (e.used, e.rule) for e in trace}
        assert told[2, "IN_TRANSIT"] == (True, "T1")
        assert told[2, "DELIVERED"] == (False, "T8")
        assert told[6, "NEVER_SCANNED"] == (False, "design 5")
        assert told[7, "NEVER_SCANNED"] == (True, "design 5")
        assert (9, "event", False, "design 6") in [(e.position, e.kind, e.used, e.rule) for e in trace]
        assert all(e.text.endswith(".") for e in trace)

    def test_without_asking_there_is_none_and_the_view_is_the_same(self):
        plain, told = track(*self.HISTORY), track(*self.HISTORY, explain=True)
        assert plain.trace == ()
        assert plain.document == told.document
