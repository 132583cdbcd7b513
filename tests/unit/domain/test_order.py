"""The order fold: Amazon's summary rule, fields by the newest answer, retraction, and scenarios 9 and 10."""

import itertools

import pytest
from tests.unit.domain.history import (
    BOX,
    BP,
    CANCELLED,
    DELIVERED,
    MILESTONE,
    ORDER,
    SECOND_BOX,
    SHIPPED,
    THIRD_BOX,
    UPS,
    condition,
    event,
    fold,
    null_order_answer,
    order_answer,
    order_object,
    package,
    scan,
    tracker_answer,
)

from milepost.domain.canonical import canonical
from milepost.domain.order import fold_order, roll_up

T08, T09, T10, T12 = (f"2025-01-20T{h}:00:00Z" for h in ("08", "09", "10", "12"))

CUSTOMER = {"contact": {"id": "c-1", "name": "Ana  de Souza", "email": "Ana@Example.com"}}


def ids(folded):
    return [d["id"] for d in folded.document["deliveries"]]


class TestDestination:
    @pytest.mark.parametrize(
        ("region", "country", "known"),
        [
            ("NV", "US", "US-NV"),
            ("nevada", "USA", "US-NV"),
            ("US-NV", "US", "US-NV"),
            ("Québec", "CA", "CA-QC"),
            ("41 Alder Street", "US", None),
            ("NV", "DE", None),
            ("NV", None, None),
            (["NV"], "US", None),
        ],
    )
    def test_it_is_a_known_region_or_nothing(self, region, country, known):
        address = {"streetAddress": "41 Alder Street", "region": region, "countryCode": country}
        folded = fold(order_answer(T08, package(), recipients=[{"shippingAddress": address}]))
        assert folded.document["destination"] == known

    def test_the_newest_answer_that_tells_it_holds(self):
        def going(at, region):
            address = {"region": region, "countryCode": "US"}
            return order_answer(at, package(), recipients=[None, {"shippingAddress": address}])

        answers = [going(T08, "OR"), going(T10, "TX"), order_answer(T12, package(), recipients="none")]
        for arrived in itertools.permutations(answers):
            assert fold(*arrived).document["destination"] == "US-TX"


class TestRollUp:
    @pytest.mark.parametrize(
        ("states", "state"),
        [
            ("", "PENDING"),
            ("P", "PENDING"),
            ("PD", "PENDING"),
            ("PC", "PENDING"),
            ("PTD", "PENDING"),
            ("T", "IN_TRANSIT"),
            ("TD", "IN_TRANSIT"),
            ("TC", "IN_TRANSIT"),
            ("TDC", "IN_TRANSIT"),
            ("D", "DELIVERED"),
            ("DC", "DELIVERED"),
            ("DDC", "DELIVERED"),
            ("C", "CANCELLED"),
            ("CC", "CANCELLED"),
        ],
    )
    def test_amazons_rule_in_any_order(self, states, state):
        names = {"P": "PENDING", "T": "IN_TRANSIT", "D": "DELIVERED", "C": "CANCELLED"}
        for permutation in itertools.permutations(states):
            assert roll_up([names[s] for s in permutation]) == state

    def test_counts_and_the_worst_open_condition(self):
        folded = fold(
            event(SHIPPED, T08, BOX),
            event(SHIPPED, T08, SECOND_BOX),
            event(DELIVERED, T12, SECOND_BOX),
            condition("LATE", True, T10),
            condition("STALLED", True, T10),
            condition("CONTRADICTION", True, T10, kind="moving_without_ship_event"),
            condition("CONTRADICTION", False, T12, kind="moving_without_ship_event"),
        )
        assert folded.document["summary"] == {
            "state": "IN_TRANSIT",
            "deliveries": 2,
            "pending": 0,
            "inTransit": 1,
            "delivered": 1,
            "cancelled": 0,
            "worstCondition": "STALLED",
        }

    def test_what_only_mattered_under_way_is_not_the_worst_of_a_delivered_one(self):
        history = [
            order_answer(T08, package(state="IN_TRANSIT", tracker=UPS)),
            tracker_answer(T10, UPS, scan("IN_TRANSIT", T08), scan("DELIVERY_ATTEMPTED", T09)),
        ]
        assert fold(*history).document["summary"]["worstCondition"] is not None
        delivered = fold(*history, event(DELIVERED, T12)).document
        assert delivered["deliveries"][0]["conditions"] != []
        assert delivered["summary"]["worstCondition"] is None


class TestFields:
    def test_each_field_is_the_newest_answers_and_never_null_over_known(self):
        known = order_answer(
            T08,
            package(items=[("li-1", "2")]),
            aliases=[{"aliasId": "WEB-1001", "aliasType": "EXTERNAL_ID"}],
            customer=CUSTOMER,
            metadata={"createdAt": "2025-01-19T18:00:00+01:00"},
            totalPrice={"value": {"amount": "41.50", "currencyCode": "USD"}},
            payments={"summary": {"state": "AUTHORIZED", "amount": {"amount": 41.5, "currencyCode": "USD"}}},
            lineItems=[
                {
                    "id": "li-1",
                    "amount": {"value": 3, "unit": "ONE"},
                    "product": {"title": "Kettle", "price": {"amount": "20.75", "currencyCode": "USD"}},
                }
            ],
        )
        newer = order_answer(
            T10, package(state="IN_TRANSIT"), customer=None, payments={"summary": {"state": "CAPTURED"}}
        )
        for history in ([known, newer], [newer, known]):
            document = fold(*history).document
            assert document["aliases"] == [{"aliasId": "WEB-1001", "aliasType": "EXTERNAL_ID"}]
            assert document["customer"] == {"name": "Ana  de Souza", "email": "Ana@Example.com"}
            assert document["payment"] == {
                "state": "CAPTURED",
                "amount": {"amount": "41.5", "currencyCode": "USD"},
            }
            assert document["createdAt"] == "2025-01-19T17:00:00Z"
            assert document["totalPrice"] == {"amount": "41.50", "currencyCode": "USD"}
            assert document["lineItems"] == [
                {
                    "id": "li-1",
                    "title": "Kettle",
                    "quantity": "3",
                    "unit": "ONE",
                    "price": {"amount": "20.75", "currencyCode": "USD"},
                    "deliveries": [{"deliveryId": BOX, "quantity": "2"}],
                }
            ]

    def test_one_line_item_in_several_deliveries(self):
        document = fold(
            order_answer(T08, package(BOX, items=[("li-1", "2")]), package(SECOND_BOX, items=[("li-1", "1")]))
        ).document
        assert document["lineItems"][0]["deliveries"] == [
            {"deliveryId": BOX, "quantity": "2"},
            {"deliveryId": SECOND_BOX, "quantity": "1"},
        ]

    def test_data_of_any_event_describes_the_order(self):
        data = {"order": {"id": ORDER, "aliases": [{"aliasId": "WEB-1001", "aliasType": "EXTERNAL_ID"}]}}
        document = fold(event("REFUND_REQUESTED", T08, path="refund/r-1", data=data)).document
        assert document["aliases"][0]["aliasId"] == "WEB-1001"

    def test_answers_about_another_order_say_nothing(self):
        data = {"order": {"id": "322-OTHER-ORDER0", "aliases": [{"aliasId": "X", "aliasType": "Y"}]}}
        document = fold(event(DELIVERED, T08, data=data)).document
        assert document["aliases"] == []

    def test_unexpected_shapes_leave_fields_out(self):
        document = fold(
            order_answer(
                T08,
                aliases="none",
                customer=[1],
                metadata={"createdAt": "soon"},
                totalPrice=12,
                payments={"summary": {"amount": {"amount": True}}},
                lineItems=[7, {"id": 7}, {"id": "li-1", "amount": "much", "product": []}],
            )
        ).document
        assert (document["aliases"], document["customer"], document["payment"]) == ([], None, None)
        assert (document["createdAt"], document["totalPrice"]) == (None, None)
        assert [item["id"] for item in document["lineItems"]] == ["li-1"]

    def test_answers_of_one_moment_give_one_view(self):
        one = order_answer(T08, package(), customer={"contact": {"name": "Ana"}})
        other = order_answer(T08, package(), customer={"contact": {"name": "Bea"}})
        assert canonical(fold(one, other).document) == canonical(fold(other, one).document)


class TestKnownByEventsOnly:
    def test_an_order_without_any_answer_has_a_view_with_its_deliveries(self):
        folded = fold(event(SHIPPED, T08, BOX), event(CANCELLED, T09, SECOND_BOX))
        assert ids(folded) == [BOX, SECOND_BOX]
        assert folded.document["state"] == "IN_TRANSIT"
        assert folded.document["customer"] is None
        assert folded.document["position"] == 2

    def test_an_order_named_only_by_a_milestone_has_a_view_without_deliveries(self):
        resource = f"carrier/{UPS[0]}/tracker/{UPS[1]}"
        folded = fold(event(MILESTONE, T08, tracker=UPS, path=resource))
        assert folded.document["deliveries"] == []
        assert folded.document["state"] == "PENDING"

    def test_a_tracker_that_nobody_folded_yet_is_unknown(self):
        facts = fold(order_answer(T08, package(tracker=UPS))).facts
        shown = fold_order(BP, ORDER, facts, {}).document["deliveries"][0]["trackers"][0]
        assert (shown["trackingNumber"], shown["stage"], shown["milestones"]) == (UPS[1], "UNKNOWN", [])


class TestRetraction:
    def test_a_pending_delivery_that_split_is_left_out_and_explained(self):
        history = [
            order_answer(T08, package(BOX, items=[("li-1", "2")])),
            order_answer(
                T09, package(SECOND_BOX, items=[("li-1", "1")]), package(THIRD_BOX, items=[("li-1", "1")])
            ),
        ]
        for arrived in (history, history[::-1]):
            folded = fold(*arrived, explain=True)
            assert ids(folded) == [SECOND_BOX, THIRD_BOX]
            assert [d["deliveryId"] for d in folded.document["lineItems"][0]["deliveries"]] == [
                SECOND_BOX,
                THIRD_BOX,
            ]
            (entry,) = [e for e in folded.order.trace if e.rule == "T8"]
            assert (entry.what, entry.used) == (BOX, False)

    @pytest.mark.parametrize("newer", [order_answer(T10), null_order_answer(T10)])
    def test_an_empty_answer_retracts_nothing(self, newer):
        assert ids(fold(order_answer(T08, package(BOX)), newer)) == [BOX]

    def test_data_of_an_event_retracts_nothing(self):
        data = {"order": order_object(package(SECOND_BOX, "DELIVERED"))}
        folded = fold(order_answer(T08, package(BOX)), event(DELIVERED, T10, SECOND_BOX, data=data))
        assert ids(folded) == [SECOND_BOX, BOX]

    def test_what_comes_back_is_back(self):
        folded = fold(
            order_answer(T08, package(BOX)),
            order_answer(T09, package(SECOND_BOX)),
            order_answer(T10, package(BOX)),
        )
        assert ids(folded) == [BOX]

    @pytest.mark.parametrize("seen", ["IN_TRANSIT", "DELIVERED", "CANCELLED"])
    def test_only_pending_ones_are_superseded(self, seen):
        folded = fold(order_answer(T08, package(BOX, seen)), order_answer(T10, package(SECOND_BOX)))
        assert ids(folded) == [SECOND_BOX, BOX]

    def test_one_that_a_carrier_has_stays(self):
        folded = fold(
            order_answer(T08, package(BOX, tracker=UPS)),
            order_answer(T10, package(SECOND_BOX)),
            tracker_answer(T12, UPS, scan("IN_TRANSIT", T09)),
        )
        assert ids(folded) == [SECOND_BOX, BOX]


def test_scenario_09_three_deliveries_one_cancelled_two_delivered():
    document = fold(
        order_answer(T08, package(BOX), package(SECOND_BOX), package(THIRD_BOX)),
        event(SHIPPED, T09, BOX),
        event(SHIPPED, T09, SECOND_BOX),
        event(CANCELLED, T09, THIRD_BOX),
        event(DELIVERED, T10, BOX),
        event(DELIVERED, T12, SECOND_BOX),
    ).document
    assert document["state"] == "DELIVERED"
    assert (document["summary"]["delivered"], document["summary"]["cancelled"]) == (2, 1)


def test_scenario_10_a_second_ship_event_does_not_erase_the_first():
    folded = fold(
        event(SHIPPED, T08, BOX),
        order_answer(T08, package(BOX, "IN_TRANSIT")),
        event(SHIPPED, T10, SECOND_BOX),
        order_answer(T10, package(SECOND_BOX, "IN_TRANSIT")),
    )
    shipped = {d["id"]: d["shippedAt"] for d in folded.document["deliveries"]}
    assert shipped == {BOX: T08, SECOND_BOX: T10}


def test_a_conflicting_copy_folds_as_one_more_fact():
    copies = [
        event(DELIVERED, T10, id="e-1", data={"order": order_object(package(items=[("li-1", None)]))}),
        event(DELIVERED, T10, id="e-1", data={"order": order_object(package(items=[("li-2", None)]))}),
    ]
    one, other = fold(*copies), fold(*reversed(copies))
    assert len(one.facts) == 2
    assert canonical(one.document) == canonical(other.document)
    assert one.document["summary"]["delivered"] == 1


def test_a_recycled_number_leaves_the_old_order_as_it_was():
    """Scenario 13, the order's half: the number's next parcel is another order's."""
    first = [
        order_answer(T08, package(state="DELIVERED", tracker=UPS), metadata={"createdAt": T08}),
        event(SHIPPED, T09),
        tracker_answer("2025-01-21T00:00:00Z", UPS, scan("IN_TRANSIT", T10), scan("DELIVERED", T12)),
    ]
    before = fold(*first).delivery()
    again = tracker_answer(
        "2025-05-03T00:00:00Z",
        UPS,
        scan("INFO_RECEIVED", "2025-05-01T00:00:00Z"),
        scan("IN_TRANSIT", "2025-05-02T00:00:00Z"),
    )
    after = fold(*first, again).delivery()
    for key in ("state", "shippedAt", "deliveredAt", "conditions"):
        assert after[key] == before[key]
    assert after["trackers"][0]["stage"] == "DELIVERED"
    assert [m["code"] for m in after["trackers"][0]["milestones"]] == ["IN_TRANSIT", "DELIVERED"]


def test_terms_are_what_people_search_by():
    folded = fold(
        order_answer(T08, aliases=[{"aliasId": "WEB-1001", "aliasType": "EXTERNAL_ID"}], customer=CUSTOMER)
    )
    assert folded.order.terms == (
        ORDER.lower(),
        "web-1001",
        "ana@example.com",
        "ana de souza",
        "ana",
        "de",
        "souza",
    )


def test_every_fact_is_explained_once():
    other = {"order": order_object(package(SECOND_BOX, "DELIVERED"))}
    folded = fold(
        event(SHIPPED, T08),
        event("RETURN_STARTED", T09, path="return/r-1"),
        null_order_answer(T09),
        order_answer(T10, package(state="IN_TRANSIT")),
        event(DELIVERED, T12, data=other),
        condition("LATE", True, T12),
        explain=True,
    )
    told = [(e.position, e.used) for e in folded.order.trace]
    assert told == [(1, True), (2, False), (3, False), (4, True), (5, True), (6, True)]
    assert fold(event(SHIPPED, T08)).order.trace == ()


def test_the_position_is_the_highest_of_its_own_and_its_trackers_facts():
    folded = fold(
        order_answer(T08, package(tracker=UPS)),
        tracker_answer(T10, UPS, scan("IN_TRANSIT", T09)),
    )
    assert folded.order.position == 2
    assert folded.order.deliveries[0].position == 2
