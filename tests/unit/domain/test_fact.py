"""Facts: what is read out of records, in every spelling that Amazon's pages use, and that no shape raises."""

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.domain import history
from tests.unit.domain.history import (
    BOX,
    BP,
    MILESTONE,
    ORDER,
    SECOND_BOX,
    SHIPPED,
    UPS,
    USPS,
    event,
    package,
    scan,
)

from milepost.domain.fact import (
    ConditionFact,
    EventFact,
    SettlementFact,
    SnapshotFact,
    fact_of,
    order_answer,
    tracker_answer,
)
from milepost.domain.instant import Instant, parse_instant
from milepost.domain.record import Record, Settlement, Snapshot

NOON = "2025-01-20T12:00:00Z"


def the_fact(arrived):
    [record] = history.journal([arrived])
    return fact_of(record)


def identifier(tracker=UPS):
    return {"packageTrackerIdentifier": {"carrierCode": tracker[0], "trackingNumber": tracker[1]}}


def milestones(*entries, **more):
    return tracker_answer({**identifier(), "milestones": list(entries), **more}).milestones


def coded(code, message=None):
    return {"occurredAt": NOON, "status": {"code": code, "message": message}}


class TestMilestones:
    @pytest.mark.parametrize(
        "raw",
        ["OutForDelivery", "OUT_FOR_DELIVERY", "out_for_delivery", "out-for-delivery", "Out for delivery"],
    )
    def test_every_casing_of_a_code_is_one_and_the_raw_code_is_kept(self, raw):
        [milestone] = milestones(coded(raw))
        assert (milestone.code, milestone.raw_code) == ("OUT_FOR_DELIVERY", raw)

    @pytest.mark.parametrize(
        "message",
        [
            [{"locale": "en-US", "value": "Arrived"}],
            [{"language": "en-US", "content": "Arrived"}],
            {"locale": "en-US", "value": "Arrived"},
            {"language": "en-US", "content": "Arrived"},
        ],
    )
    def test_both_spellings_of_a_message_are_read(self, message):
        [milestone] = milestones(coded("IN_TRANSIT", message))
        assert milestone.messages == (("en-US", "Arrived"),)

    def test_a_status_may_be_a_plain_code(self):
        [milestone] = milestones({"occurredAt": NOON, "status": "DELIVERED"})
        assert (milestone.code, milestone.occurred.at) == ("DELIVERED", parse_instant(NOON))

    def test_sub_second_precision_is_kept(self):
        [milestone] = milestones({**coded("IN_TRANSIT"), "occurredAt": "2025-01-20T12:00:00.250Z"})
        assert milestone.occurred.at == parse_instant(NOON) + 250

    @pytest.mark.parametrize("at", [None, "", "soon", 5, {}, "2025-13-01T00:00:00Z"])
    def test_a_time_that_cannot_be_read_is_none(self, at):
        [milestone] = milestones({**coded("IN_TRANSIT"), "occurredAt": at})
        assert milestone.occurred is None

    def test_the_latest_milestone_is_one_of_them_once(self):
        one, other = coded("IN_TRANSIT"), coded("DELIVERED")
        assert [m.code for m in milestones(one, other, latestMilestone=other)] == ["IN_TRANSIT", "DELIVERED"]
        assert [m.code for m in milestones(one, latestMilestone=other)] == ["IN_TRANSIT", "DELIVERED"]

    @pytest.mark.parametrize(
        ("fields", "count", "listed"),
        [
            ({}, None, False),
            ({"milestones": None}, None, False),
            ({"milestones": []}, 0, False),
            ({"latestMilestone": coded("DELIVERED")}, 1, False),
            ({"milestones": [], "latestMilestone": coded("DELIVERED")}, 1, False),
            ({"milestones": [coded("DELIVERED")]}, 1, True),
        ],
    )
    def test_whether_there_was_a_list_is_known(self, fields, count, listed):
        answer = tracker_answer({**identifier(), **fields})
        assert (None if answer.milestones is None else len(answer.milestones)) == count
        assert answer.listed is listed


class TestTrackers:
    @pytest.mark.parametrize(
        "odd", [None, [], "x", {}, {"packageTrackerIdentifier": {"carrierCode": "ups", "trackingNumber": 7}}]
    )
    def test_without_a_number_there_is_none(self, odd):
        assert tracker_answer(odd) is None

    def test_an_estimate_may_be_a_date_and_stays_one(self):
        answer = tracker_answer({**identifier(), "estimatedDeliveryDate": {"latest": "2025-01-22"}})
        assert (answer.earliest, answer.latest.local_date, answer.latest.zone) == (
            None,
            "2025-01-22",
            "date-only",
        )


def order(*at_order, line_items=()):
    return {
        "id": ORDER,
        "packageInformation": {"details": list(at_order)},
        "lineItems": [
            {"id": f"li-{n}", "packageInformation": {"details": [d]}} for n, d in enumerate(line_items)
        ],
    }


class TestOrders:
    def test_packages_of_both_levels_are_read_in_union(self):
        answer = order_answer(order(package(BOX, "DELIVERED"), line_items=[package(SECOND_BOX, "PENDING")]))
        assert [(p.delivery_id, p.state) for p in answer.packages] == [
            (BOX, "DELIVERED"),
            (SECOND_BOX, "PENDING"),
        ]

    def test_one_package_at_both_levels_is_one_with_what_either_shows(self):
        at_order = package(BOX, "IN_TRANSIT", items=[("li-1", None)])
        at_item = package(BOX, "", reason="DAMAGED", tracker=UPS, items=[("li-1", "2"), ("li-2", "1")])
        [merged] = order_answer(order(at_order, line_items=[at_item])).packages
        assert (merged.state, merged.reason, merged.tracker.tracking_number) == (
            "IN_TRANSIT",
            "DAMAGED",
            UPS[1],
        )
        assert merged.line_items == (("li-1", "2", "ONE"), ("li-2", "1", "ONE"))

    def test_one_tracker_at_both_levels_is_one_with_what_either_shows(self):
        bare = package(BOX, tracker=UPS, trackingUrl=None)
        told = package(
            BOX,
            tracker=("UPS", UPS[1]),
            milestones=[scan("IN_TRANSIT", NOON)],
            estimatedDeliveryDate={"latest": "2025-01-22"},
        )
        for one, other in ((bare, told), (told, bare)):
            tracker = order_answer(order(one, line_items=[other])).packages[0].tracker
            assert [m.code for m in tracker.milestones] == ["IN_TRANSIT"]
            assert tracker.listed
            assert (tracker.tracking_url, tracker.latest.local_date) == (
                f"https://track.example/{UPS[1]}",
                "2025-01-22",
            )

    def test_two_numbers_for_one_package_are_not_mixed(self):
        other = package(BOX, tracker=USPS, milestones=[scan("DELIVERED", NOON)])
        tracker = order_answer(order(package(BOX, tracker=UPS), line_items=[other])).packages[0].tracker
        assert (tracker.tracking_number, tracker.milestones) == (UPS[1], None)

    def test_amounts_are_text_whatever_they_were(self):
        amounts = [{"value": 2, "unit": "ONE"}, {"value": "1.5", "unit": "KG"}, {"value": True}, None, {}]
        entries = [{"lineItem": {"id": f"li-{n}"}, "amount": amount} for n, amount in enumerate(amounts)]
        detail = {**package(BOX), "packageInformationDetailsFor": {"orderLineItems": entries}}
        [read] = order_answer(order(detail)).packages
        assert [item[1:] for item in read.line_items] == [
            ("2", "ONE"),
            ("1.5", "KG"),
            (None, None),
            (None, None),
            (None, None),
        ]


class TestEvents:
    def test_the_claim_is_what_the_resources_name(self):
        fact = the_fact(event("ITEM_IN_TRANSIT", NOON))
        assert isinstance(fact, EventFact)
        assert (fact.type, fact.descriptor) == (SHIPPED, "ITEM_IN_TRANSIT")
        assert (fact.order_id, fact.delivery_ids, fact.trackers) == (ORDER, (BOX,), ())
        assert (fact.published_at, fact.answer, fact.conflict) == (parse_instant(NOON), None, False)

    def test_a_milestones_resource_may_name_the_order(self):
        assert the_fact(event(MILESTONE, NOON, tracker=UPS)).order_id is None
        named = the_fact(event(MILESTONE, NOON, tracker=UPS, path=f"carrier/{UPS[0]}/tracker/{UPS[1]}"))
        assert (named.order_id, named.trackers) == (ORDER, (UPS,))

    def test_data_about_another_order_is_set_aside(self):
        mine = the_fact(event(SHIPPED, NOON, data={"order": order(package(BOX))}))
        assert mine.answer.order_id == ORDER
        other = the_fact(event(SHIPPED, NOON, data={"order": {**order(package(BOX)), "id": "999-OTHER"}}))
        assert other.answer is None

    def test_a_copy_with_other_data_is_a_conflict(self):
        copies = [
            event(SHIPPED, NOON, data={"order": order(package(BOX, s))}) for s in ("PENDING", "IN_TRANSIT")
        ]
        assert [fact_of(r).conflict for r in history.journal(copies)] == [False, True]


class TestOtherRecords:
    def test_a_null_answer_is_neither_order_nor_tracker(self):
        fact = the_fact(history.null_order_answer(NOON))
        assert isinstance(fact, SnapshotFact)
        assert (fact.query, fact.order_id, fact.order, fact.tracker) == ("order", ORDER, None, None)

    def test_a_tracker_snapshot(self):
        fact = the_fact(history.tracker_answer(NOON, UPS, scan("DELIVERED", NOON)))
        assert (fact.query, fact.carrier_code, fact.tracking_number, fact.order) == (
            "packageTracker",
            *UPS,
            None,
        )
        assert (fact.observed_at, fact.tracker.milestones[0].code) == (parse_instant(NOON), "DELIVERED")

    def test_conditions_and_settlements(self):
        raised = the_fact(history.condition("LATE", True, NOON))
        assert isinstance(raised, ConditionFact)
        assert (raised.change.code, raised.change.raised) == ("LATE", True)
        at = parse_instant(NOON)
        body = msgspec.json.encode(Settlement(4, "gaveUp", at, 9, "unknown tracker", ("tracker/ups/1",)))
        fact = fact_of(Record(7, "settlement", BP, "gaveUp", at, at, "hydration", (), 4, body))
        assert isinstance(fact, SettlementFact)
        assert (fact.position, fact.settlement.position, fact.settlement.tries) == (7, 4, 9)


KEYS = (
    *(
        "id",
        "state",
        "reason",
        "packageInformation",
        "details",
        "lineItems",
        "lineItem",
        "packageTracker",
        "amount",
    ),
    *(
        "packageTrackerIdentifier",
        "carrierCode",
        "trackingNumber",
        "milestones",
        "status",
        "code",
        "message",
        "value",
    ),
    *(
        "packageInformationDetailsFor",
        "orderLineItems",
        "estimatedDeliveryDate",
        "latest",
        "address",
        "locality",
    ),
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5),
    max_leaves=25,
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(st.sampled_from(KEYS), anything, max_size=6), st.sampled_from(["order", "packageTracker"])
)
def test_any_answer_can_be_read(answer, query):
    at = Instant(0)
    snapshot = Snapshot(query, at, at, {"id": ORDER, **identifier(), **answer})
    record = Record(1, "snapshot", BP, query, at, at, "hydration", (), None, msgspec.json.encode(snapshot))
    fact = fact_of(record)
    assert (fact.order is None) or (fact.tracker is None)


@given(anything)
def test_anything_is_an_order_or_a_tracker_or_none(value):
    assert order_answer(value) is None or isinstance(value, dict)
    assert tracker_answer(value) is None or isinstance(value, dict)
