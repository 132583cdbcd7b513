"""Orders made and changed by mutations, and their packages moved: events, limits, and every documented refusal."""

import asyncio
from typing import Any

import pytest
from tests.unit.sandbox.asking import DENIED, DOCUMENTED, Asking, validation
from tests.unit.sandbox.test_documented import MONEY, ORDER

from milepost.domain.envelope import Event, parse_event
from milepost.domain.instant import DAY, MINUTE
from milepost.sandbox.package_updates import MOST_MILESTONES

INVALID_TRANSITION = validation("InvalidPackageDeliveryDetailStateTransition")
ITEM = {
    "amount": {"value": 1},
    "product": {"title": "Mug", "price": MONEY},
    "selectedDeliveryOffer": {"details": {"deliveryProvider": "AMAZON"}},
}
MERCHANTS = {**ITEM, "selectedDeliveryOffer": {"summary": {"deliveryProvider": "MERCHANT"}}}


def alias(id: str, type: str = "EXTERNAL_ID") -> dict[str, str]:
    return {"aliasType": type, "aliasId": id}


async def create(asking: Asking, *items: dict[str, Any], **more: Any) -> dict[str, Any]:
    given = {"lineItems": list(items or (ITEM,)), "desiredExecutionState": "STARTED", **more}
    made: dict[str, Any] = (await asking.ask("createOrder", input=given))["order"]
    return made


async def published(asking: Asking) -> list[Event]:
    records = await asking.sandbox.store.read(lambda tx: tx.journal.after(0, 1_000))
    return [parse_event(r.body) for r in records]


async def types(asking: Asking) -> list[str]:
    return [event.type for event in await published(asking)]


def details(order: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = order["packageInformation"]["details"]
    return found


def state(id: str, to: str, reason: str | None = None, **amounts: int) -> dict[str, Any]:
    moved: dict[str, Any] = {"state": to}
    if reason is not None:
        moved["reason"] = reason
    if amounts:
        moved["packageInformationDetailsFor"] = {
            "orderLineItemAmounts": [
                {"lineItemId": {"lineItemId": item}, "amount": {"value": units}}
                for item, units in amounts.items()
            ]
        }
    return {"id": id, "packageState": {"packageInformationState": moved}}


def scan(detail: dict[str, Any], code: str, **more: Any) -> dict[str, Any]:
    identifier = (detail["packageTracker"] or {}).get("packageTrackerIdentifier") or {
        "trackingNumber": "none"
    }
    given = {"packageTrackerIdentifier": identifier, "state": code, **more}
    return {"id": detail["id"], "packageState": {"packageTrackerState": given}}


def update(order: dict[str, Any], *entries: dict[str, Any]) -> dict[str, Any]:
    return {
        "identifier": {"orderId": order["id"]},
        "input": {"packageInformation": {"details": list(entries)}},
    }


async def move(asking: Asking, order: dict[str, Any], *entries: dict[str, Any]) -> dict[str, Any]:
    """The order after the update; the update itself answers it as it was."""
    before = await asking.ask("movePackages", **update(order, *entries))
    assert before["order"]["packageInformation"] == order["packageInformation"]
    after: dict[str, Any] = await asking.order(order["id"])
    return after


# ── Creating ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_order_is_as_it_was_ordered_and_stands_still(asking: Asking) -> None:
    made = (await asking.ask("createOrder", input=ORDER))["order"]
    assert made["metadata"]["executionState"] == "NOT_STARTED"
    assert made["id"].startswith("322-")
    (item,) = made["lineItems"]
    assert item["amount"] == {"unit": "ONE", "value": 3}
    assert item["product"]["price"] == MONEY
    (detail,) = details(made)
    assert (detail["state"], detail["packageTracker"]) == ("PENDING", None)
    assert detail["packageInformationDetailsFor"]["orderLineItems"][0]["amount"]["value"] == 3
    assert made["recipients"][0]["shippingAddress"]["locality"] == "Seattle"
    await asking.step(30 * DAY)
    assert await asking.order(made["id"]) == made
    assert await published(asking) == []
    page = await asking.sandbox.keeper.order(made["id"], None)
    assert page is not None
    assert page.business_product_id == asking.sandbox.keeper.business_product_id


async def test_the_same_order_twice_is_two_orders_and_an_alias_makes_it_one(asking: Asking) -> None:
    first, second = await create(asking), await create(asking)
    assert first["id"] != second["id"]
    named = await create(asking, aliases=[alias("mine")])
    given = {"lineItems": [ITEM], "aliases": [alias("mine")]}
    taken = {"type": "ConflictError", "errorType": "ConflictException", "errorCode": 409}
    taken["code"] = "AliasValueAlreadyExists"
    assert await asking.refused("createOrder", input=given) == taken
    assert (await asking.ask("orderByAlias", alias=alias("mine")))["id"] == named["id"]
    assert (await asking.refused("orderByAlias", alias=alias("Mine")))["type"] == "ResourceNotFoundError"
    await create(asking, aliases=[alias("mine", "OTHER")])
    asking.target = "bp-1"
    await create(asking, aliases=[alias("mine")])


async def test_of_orders_at_once_one_gets_the_alias(asking: Asking) -> None:
    await asking.log_in()
    given = {"lineItems": [ITEM], "aliases": [alias("mine")]}
    answers = await asyncio.gather(
        *(asking.query(DOCUMENTED, {"input": given}, "createOrder") for _ in range(10))
    )
    assert sum("errors" not in answer for answer in answers) == 1
    assert len((await asking.get("/sandbox/orders"))["items"]) == 1


async def test_a_price_is_added_up_when_none_is_given(asking: Asking) -> None:
    two = {**ITEM, "amount": {"value": 2}}
    assert (await create(asking, two, ITEM))["totalPrice"]["value"] == {
        "amount": "37.50",
        "currencyCode": "USD",
    }


async def test_what_the_merchant_delivers_is_in_no_package_of_amazons(asking: Asking) -> None:
    made = await create(asking, ITEM, MERCHANTS)
    (detail,) = details(made)
    entries = detail["packageInformationDetailsFor"]["orderLineItems"]
    assert [e["lineItem"]["id"] for e in entries] == [made["lineItems"][0]["id"]]
    assert made["lineItems"][1]["packageInformation"]["details"] == []


async def test_amazons_older_name_as_a_provider_is_read_and_answered_by_version(asking: Asking) -> None:
    old = {**ITEM, "selectedDeliveryOffer": {"details": {"deliveryProvider": "BUY_WITH_PRIME"}}}
    made = await create(asking, old)
    text = "query($id: ID!) { order(orderId: $id) { lineItems { deliveryOffer { details { deliveryProvider } } } } }"
    for version, name in (("2024-11-01", "AMAZON"), ("2024-04-01", "BUY_WITH_PRIME")):
        answer = await asking.query(text, {"id": made["id"]}, x_api_version=version)
        (item,) = answer["data"]["order"]["lineItems"]
        assert item["deliveryOffer"]["details"]["deliveryProvider"] == name


@pytest.mark.parametrize(
    "given",
    [
        {"lineItems": []},
        {"lineItems": [ITEM] * 21},
        {"lineItems": [MERCHANTS] * 21},
        {"lineItems": [{**ITEM, "amount": {"value": 0}}]},
        {"lineItems": [{**ITEM, "amount": {"value": -1}}]},
        {"lineItems": [{**ITEM, "amount": {"value": 10_001}}]},
        {"lineItems": [{**ITEM, "amount": {"value": "NaN"}}]},
        {"lineItems": [{**ITEM, "amount": {"value": "Infinity"}}]},
        {"lineItems": [{**ITEM, "amount": {"value": True}}]},
        {"lineItems": [{**ITEM, "amount": {"value": [1]}}]},
        {"lineItems": [{**ITEM, "amount": {"value": "1e400"}}]},
        {"lineItems": [{**ITEM, "selectedDeliveryOffer": {}}]},
        {"lineItems": [ITEM], "aliases": [alias(str(n)) for n in range(6)]},
        {"lineItems": [ITEM], "aliases": [alias("a"), alias("A")]},
        {"lineItems": [ITEM], "aliases": [alias("")]},
        {"lineItems": [ITEM], "aliases": [alias("x" * 129)]},
        {"lineItems": [ITEM], "aliases": [alias("\0")]},
        {"lineItems": [ITEM], "orderLinks": [ORDER["orderLinks"][0]] * 6},  # type: ignore[index]
        {"lineItems": [ITEM], "desiredExecutionState": "DONE"},
    ],
)
async def test_an_order_that_cannot_be_is_a_validation_error(asking: Asking, given: Any) -> None:
    assert (await asking.refused("createOrder", input=given))["type"] == "ValidationError"
    assert (await asking.get("/sandbox/orders"))["items"] == []


async def test_forty_items_are_twenty_of_each_sort(asking: Asking) -> None:
    assert len((await create(asking, *[ITEM] * 20, *[MERCHANTS] * 20))["lineItems"]) == 40


# ── Updating ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_fulfilment_is_started_once_and_asking_again_is_no_mistake(asking: Asking) -> None:
    made = await create(asking, desiredExecutionState="NOT_STARTED")
    (detail,) = details(made)
    assert await asking.refused("movePackages", **update(made, state(detail["id"], "IN_TRANSIT"))) == (
        INVALID_TRANSITION
    )
    for _ in range(2):
        start = {"orderId": made["id"], "desiredExecutionState": "STARTED"}
        answer = await asking.ask("updateOrder", input=start)
        assert answer["order"]["metadata"]["executionState"] == "STARTED"
    stop = {"orderIdentifier": {"orderId": made["id"]}, "desiredExecutionState": "NOT_STARTED"}
    assert (await asking.refused("updateOrder", input=stop))["type"] == "ValidationError"


async def test_a_scenario_waits_for_fulfilment(asking: Asking) -> None:
    started = {"scenario": "starts-later"}
    (order_id,) = (await asking.post("/sandbox/scenarios", started))["orderIds"]
    order = await asking.order(order_id)
    assert order["metadata"]["executionState"] == "NOT_STARTED"
    await asking.ask("updateOrder", input={"orderId": order_id, "desiredExecutionState": "STARTED"})
    await asking.step(40 * DAY)
    assert (await asking.order(order_id))["packageInformation"]["summary"]["state"] == "DELIVERED"


async def test_an_update_replaces_what_it_names_and_nothing_else(asking: Asking) -> None:
    made = (await asking.ask("createOrder", input=ORDER))["order"]
    changed = (
        await asking.ask(
            "updateOrder",
            input={
                "orderId": made["id"],
                "totalPrice": {"value": {"amount": 20, "currencyCode": "EUR"}},
                "taxes": None,
                "aliases": [alias("two"), alias("external-1")],
                "payments": {"summary": {"amount": MONEY, "state": "CAPTURED"}},
                "customer": {"contact": {"name": "John Doe", "email": "john@example.com"}},
            },
        )
    )["order"]
    assert changed["totalPrice"]["value"] == {"amount": "20.00", "currencyCode": "EUR"}
    assert changed["payments"]["summary"]["state"] == "CAPTURED"
    assert changed["aliases"] == [alias("external-1"), alias("two")]
    assert changed["customer"]["contact"]["name"] == "John Doe"
    assert changed["customer"]["contact"]["id"] == made["customer"]["contact"]["id"]
    for key in ("taxes", "recipients", "lineItems", "discounts", "packageInformation", "orderLinks"):
        assert changed[key] == made[key]
    assert (await asking.ask("orderByAlias", alias=alias("two")))["id"] == made["id"]


async def test_aliases_of_an_update_are_unique_and_five_at_most(asking: Asking) -> None:
    made = await create(asking, aliases=[alias(str(n)) for n in range(4)])
    await create(asking, aliases=[alias("taken")])
    taken = {"orderId": made["id"], "aliases": [alias("taken")]}
    assert (await asking.refused("updateOrder", input=taken))["code"] == "AliasValueAlreadyExists"
    more = {"orderId": made["id"], "aliases": [alias("4"), alias("5")]}
    assert (await asking.refused("updateOrder", input=more))["code"] == "AliasLimitExceeded"
    assert len((await asking.order(made["id"]))["aliases"]) == 4


@pytest.mark.parametrize(
    ("given", "type"),
    [
        ({"orderId": "322-NONE-NONE"}, "ResourceNotFoundError"),
        ({"orderId": "a\0b"}, "ResourceNotFoundError"),
        ({"orderIdentifier": {"alias": alias("none")}}, "ResourceNotFoundError"),
        ({"orderIdentifier": {"alias": alias("a\0b")}}, "ResourceNotFoundError"),
        ({}, "ValidationError"),
        ({"orderId": "1", "orderIdentifier": {"orderId": "1"}}, "ValidationError"),
        ({"orderIdentifier": {}}, "ValidationError"),
    ],
)
async def test_an_update_of_no_order_is_refused(asking: Asking, given: Any, type: str) -> None:
    assert (await asking.refused("updateOrder", input=given))["type"] == type


async def test_a_refund_that_the_merchant_reports_done_is_completed_once(asking: Asking) -> None:
    made = await create(asking)
    (detail,) = details(made)
    cancelled = await move(asking, made, state(detail["id"], "CANCELLED", "UNFULFILLABLE"))
    (refund,) = cancelled["refunds"]["details"]
    assert await types(asking) == ["PACKAGE_DELIVERY_CANCELLED", "REFUND_REQUESTED"]
    total = {"totalAmount": {"amount": "5", "currencyCode": "USD"}}
    for given, state_then, events in (
        ({"state": "PARTIAL"}, "PARTIAL", 2),
        ({"refundStatusReason": "PARTIALLY_DECLINED"}, "PARTIAL", 2),
        ({"state": "SUCCESS", "aliases": [alias("refund-1", "EXTERNAL_REFUND_ID")]}, "SUCCESS", 3),
        ({"state": "SUCCESS"}, "SUCCESS", 3),
    ):
        one = {"id": refund["id"], "refundTotal": total, **given}
        answer = await asking.ask("updateOrder", input={"orderId": made["id"], "refunds": {"details": [one]}})
        (now,) = answer["order"]["refunds"]["details"]
        assert now["state"] == state_then
        assert now["refundTotal"]["totalAmount"]["amount"] == "5.00"
        assert len(await published(asking)) == events
    assert now["refundStatusReason"] == "PARTIALLY_DECLINED"
    assert len(now["aliases"]) == len(refund["aliases"]) + 1
    event = (await published(asking))[-1]
    assert event.type == "REFUND_COMPLETED"
    assert event.resource_id("refund") == refund["id"]


async def test_a_refund_made_outside_is_added(asking: Asking) -> None:
    made = await create(asking)
    item = {"lineItemId": {"lineItemId": made["lineItems"][0]["id"]}}
    one = {
        "state": "SUCCESS",
        "refundTotal": {"totalAmount": MONEY},
        "refundRequestReason": "DAMAGED_DEFECTIVE_ITEM",
        "refundFor": {"orderLineItems": [item]},
    }
    answer = await asking.ask("updateOrder", input={"orderId": made["id"], "refunds": {"details": [one]}})
    (refund,) = answer["order"]["refunds"]["details"]
    assert (refund["state"], refund["refundRequestReason"]) == ("SUCCESS", "DAMAGED_DEFECTIVE_ITEM")
    assert await types(asking) == ["REFUND_COMPLETED"]
    for wrong in ({"id": "none"}, {"refundFor": {"orderLineItems": [{"lineItemId": {"lineItemId": "x"}}]}}):
        given = {"orderId": made["id"], "refunds": {"details": [{**one, **wrong}]}}
        assert (await asking.refused("updateOrder", input=given))["type"] in (
            "ResourceNotFoundError",
            "ValidationError",
        )


# ── Cancelling ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("reason", "of_package"),
    [(None, "CUSTOMER_REQUESTED"), ("OUT_OF_STOCK", "UNFULFILLABLE"), ("OTHER", "CUSTOMER_REQUESTED")],
)
async def test_an_order_is_cancelled_as_a_whole(asking: Asking, reason: str | None, of_package: str) -> None:
    (order_id,) = (await asking.post("/sandbox/scenarios", {"packages": 2}))["orderIds"]
    given = {"reason": reason, "additionalComments": "Wrong", "aliases": [alias("c-1", "EXT_CANCEL_ID")]}
    answer = (await asking.ask("cancelOrder", identifier={"orderId": order_id}, input=given))["cancellation"]
    assert (answer["state"], answer["reason"], answer["requestedBy"]) == ("PENDING", reason, "MERCHANT")
    order = await asking.order(order_id)
    assert {d["reason"] for d in details(order)} == {of_package}
    assert order["packageInformation"]["summary"]["state"] == "CANCELLED"
    entries = answer["canceledFor"]["orderLineItems"]
    assert sorted(e["lineItem"]["id"] for e in entries) == sorted(
        e["lineItem"]["id"]
        for d in details(order)
        for e in d["packageInformationDetailsFor"]["orderLineItems"]
    )
    for item in order["lineItems"]:
        assert item["cancellations"]["details"][-1]["additionalComments"] == "Wrong"
    assert sorted(await types(asking)) == ["PACKAGE_DELIVERY_CANCELLED"] * 2 + ["REFUND_REQUESTED"] * 2
    await asking.step(40 * DAY)
    assert len(await published(asking)) == 4
    again = await asking.refused("cancelOrder", identifier={"orderId": order_id})
    assert again["type"] == "ConflictError"


async def test_what_is_under_way_is_not_cancelled(asking: Asking) -> None:
    made = await create(asking, {**ITEM, "amount": {"value": 2}})
    (detail,) = details(made)
    item = made["lineItems"][0]["id"]
    await move(asking, made, state(detail["id"], "IN_TRANSIT", **{item: 1}))
    await asking.ask("cancelOrder", identifier={"orderId": made["id"]})
    assert [d["state"] for d in details(await asking.order(made["id"]))] == ["IN_TRANSIT", "CANCELLED"]


async def test_orders_that_callers_put_in_are_changed_like_others(asking: Asking) -> None:
    """With the least that such a document may have: a package, and no line items beside those it names."""
    contents = {"orderLineItems": [{"lineItem": {"id": "line-item-id"}}]}
    packages = [{"id": f"delivery-{n}", "packageInformationDetailsFor": contents} for n in range(2)]
    document = {"id": "order-id", "packageInformation": {"details": packages}}
    await asking.post("/sandbox/orders", {"order": document})
    identifier = {"orderId": "order-id"}
    started = {"orderId": "order-id", "desiredExecutionState": "STARTED", "aliases": [alias("mine")]}
    text = "mutation($input: UpdateOrderInput!) { updateOrder(input: $input) { id order { aliases { aliasId } } } }"
    updated = (await asking.query(text, {"input": started}))["data"]["updateOrder"]
    assert updated == {"id": "order-id", "order": {"aliases": [{"aliasId": "mine"}]}}
    moved = {"packageInformation": {"details": [state("delivery-0", "IN_TRANSIT")]}}
    text = (
        "mutation($id: OrderIdentifierInput!, $input: UpdateOrderPackageInformationInput!) "
        "{ updateOrderPackageInformation(orderIdentifier: $id, input: $input) { order { id } } }"
    )
    assert "errors" not in await asking.query(text, {"id": identifier, "input": moved})
    cancelled = (await asking.ask("cancelOrder", identifier=identifier))["cancellation"]
    assert [e["lineItem"]["id"] for e in cancelled["canceledFor"]["orderLineItems"]] == ["line-item-id"]
    assert await types(asking) == [
        "PACKAGE_DELIVERY_IN_TRANSIT",
        "PACKAGE_DELIVERY_CANCELLED",
        "REFUND_REQUESTED",
    ]


async def test_a_cancellation_of_no_order_or_with_too_much_is_refused(asking: Asking) -> None:
    made = await create(asking)
    unknown = {"identifier": {"orderId": "322-NONE-NONE"}}
    assert (await asking.refused("cancelOrder", **unknown))["type"] == "ResourceNotFoundError"
    for given in (
        {"reason": "BORED"},
        {"additionalComments": "x" * 1_001},
        {"aliases": [alias(str(n)) for n in range(6)]},
    ):
        refused = await asking.refused("cancelOrder", identifier={"orderId": made["id"]}, input=given)
        assert refused["type"] == "ValidationError"
    assert details(await asking.order(made["id"]))[0]["state"] == "PENDING"


# ── Moving packages ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("way", "events"),
    [
        ([("IN_TRANSIT", None)], ["PACKAGE_DELIVERY_IN_TRANSIT"]),
        ([("CANCELLED", "UNFULFILLABLE")], ["PACKAGE_DELIVERY_CANCELLED", "REFUND_REQUESTED"]),
        ([("CANCELLED", "CUSTOMER_REQUESTED")], ["PACKAGE_DELIVERY_CANCELLED", "REFUND_REQUESTED"]),
        ([("IN_TRANSIT", None), ("DELIVERED", None)], ["PACKAGE_DELIVERY_IN_TRANSIT", "PACKAGE_DELIVERED"]),
        (
            [("IN_TRANSIT", None), ("CANCELLED", "UNDELIVERABLE")],
            ["PACKAGE_DELIVERY_IN_TRANSIT", "PACKAGE_DELIVERY_CANCELLED", "REFUND_REQUESTED"],
        ),
    ],
)
async def test_the_transition_table(
    asking: Asking, way: list[tuple[str, str | None]], events: list[str]
) -> None:
    order = await create(asking)
    for to, reason in way:
        order = await move(asking, order, state(details(order)[0]["id"], to, reason))
        (detail,) = details(order)
        assert (detail["state"], detail["reason"]) == (to, reason)
    assert await types(asking) == events
    if way[-1][0] != "IN_TRANSIT":
        for to in ("IN_TRANSIT", "DELIVERED", "CANCELLED"):
            entry = state(detail["id"], to, "UNDELIVERABLE" if to == "CANCELLED" else None)
            assert await asking.refused("movePackages", **update(order, entry)) == INVALID_TRANSITION


@pytest.mark.parametrize(
    ("to", "reason", "refusal"),
    [
        ("DELIVERED", None, INVALID_TRANSITION),
        ("CANCELLED", "UNDELIVERABLE", INVALID_TRANSITION),
        ("IN_TRANSIT", "UNFULFILLABLE", INVALID_TRANSITION),
        ("CANCELLED", None, validation("MissingCancellationReason")),
    ],
)
async def test_what_the_table_has_not_is_refused_whole(
    asking: Asking, to: str, reason: str | None, refusal: dict[str, Any]
) -> None:
    (order_id,) = (await asking.post("/sandbox/scenarios", {"packages": 2}))["orderIds"]
    order = await asking.order(order_id)
    first, second = (d["id"] for d in details(order))
    entries = (state(first, "IN_TRANSIT"), state(second, to, reason))
    assert await asking.refused("movePackages", **update(order, *entries)) == refusal
    assert await asking.order(order_id) == order
    assert await published(asking) == []


async def test_a_package_that_is_moved_has_a_tracker_that_says_the_same(asking: Asking) -> None:
    order = await create(asking)
    order = await move(asking, order, state(details(order)[0]["id"], "IN_TRANSIT"))
    tracker = details(order)[0]["packageTracker"]
    assert tracker["latestMilestone"]["status"]["code"] == "IN_TRANSIT"
    identifier = tracker["packageTrackerIdentifier"]
    assert await asking.tracker(identifier["carrierCode"], identifier["trackingNumber"]) == tracker
    await asking.step(MINUTE)
    order = await move(asking, order, state(details(order)[0]["id"], "DELIVERED"))
    assert details(order)[0]["packageTracker"]["latestMilestone"]["status"]["code"] == "DELIVERED"


async def test_a_pending_package_splits_by_line_items(asking: Asking) -> None:
    order = await create(asking, {**ITEM, "amount": {"value": 5}}, {**ITEM, "amount": {"value": 2}})
    (package,) = details(order)
    one, two = (item["id"] for item in order["lineItems"])
    entries = (
        state(package["id"], "CANCELLED", "UNFULFILLABLE", **{one: 1}),
        state(package["id"], "IN_TRANSIT", **{one: 2, two: 1}),
    )
    order = await move(asking, order, *entries)
    parts = details(order)
    assert len({d["id"] for d in parts} | {package["id"]}) == 4
    contents = [
        {
            e["lineItem"]["id"]: e["amount"]["value"]
            for e in d["packageInformationDetailsFor"]["orderLineItems"]
        }
        for d in parts
    ]
    assert contents == [{one: 1}, {one: 2, two: 1}, {one: 2, two: 1}]
    assert [d["state"] for d in parts] == ["CANCELLED", "IN_TRANSIT", "PENDING"]
    assert sorted(await types(asking)) == [
        "PACKAGE_DELIVERY_CANCELLED",
        "PACKAGE_DELIVERY_IN_TRANSIT",
        "REFUND_REQUESTED",
    ]
    gone = await asking.refused("movePackages", **update(order, state(package["id"], "IN_TRANSIT")))
    assert gone == validation("PackageInformationDetailIdNotFound")


async def test_naming_all_of_a_package_is_no_split(asking: Asking) -> None:
    order = await create(asking)
    (package,) = details(order)
    order = await move(asking, order, state(package["id"], "IN_TRANSIT", **{order["lineItems"][0]["id"]: 1}))
    assert [d["id"] for d in details(order)] == [package["id"]]


async def test_of_a_package_in_transit_line_items_are_not_looked_at(asking: Asking) -> None:
    order = await create(asking, {**ITEM, "amount": {"value": 2}})
    (package,) = details(order)
    order = await move(asking, order, state(package["id"], "IN_TRANSIT"))
    item = order["lineItems"][0]["id"]
    order = await move(asking, order, state(package["id"], "DELIVERED", **{item: 1}))
    assert [d["state"] for d in details(order)] == ["DELIVERED"]


@pytest.mark.parametrize(
    "parts",
    [
        [{"ONE": 3}],
        [{"ONE": 2}, {"ONE": 1}],
        [{"ONE": 1}, {}],
        [{"other": 1}],
        [{"ONE": 0}],
        [{"ONE": -1}],
    ],
)
async def test_a_split_of_what_is_not_there_is_a_validation_error(
    asking: Asking, parts: list[dict[str, int]]
) -> None:
    order = await create(asking, {**ITEM, "amount": {"value": 2}})
    item, (package,) = order["lineItems"][0]["id"], details(order)
    entries = [
        state(package["id"], "IN_TRANSIT", **{k.replace("ONE", item): v for k, v in part.items()})
        for part in parts
    ]
    refused = await asking.refused("movePackages", **update(order, *entries))
    assert refused["type"] == "ValidationError"
    assert await asking.order(order["id"]) == order


# ── Moving trackers ────────────────────────────────────────────────────────────────────────────────────────


async def shipped(asking: Asking) -> dict[str, Any]:
    order = await create(asking)
    order = await move(asking, order, state(details(order)[0]["id"], "IN_TRANSIT"))
    await asking.step(MINUTE)
    return order


async def test_a_trackers_state_publishes_a_milestone(asking: Asking) -> None:
    order = await shipped(asking)
    order = await move(asking, order, scan(details(order)[0], "OUT_FOR_DELIVERY"))
    latest = details(order)[0]["packageTracker"]["latestMilestone"]
    assert latest["status"]["code"] == "OUT_FOR_DELIVERY"
    milestone = {"status": {"code": "DELAYED"}, "address": {"locality": "Reno", "region": "NV"}}
    await asking.step(MINUTE)
    order = await move(asking, order, scan(details(order)[0], "", state=None, milestone=milestone))
    latest = details(order)[0]["packageTracker"]["latestMilestone"]
    assert latest["address"] == {"locality": "Reno", "region": "NV", "country": "US"}
    assert (await types(asking))[1:] == ["PACKAGE_TRACKER_MILESTONE_CHANGED"] * 2


@pytest.mark.parametrize(
    ("code", "ends", "events"),
    [
        ("DELIVERED", ("DELIVERED", None), ["PACKAGE_DELIVERED"]),
        ("LOST", ("CANCELLED", "UNDELIVERABLE"), ["PACKAGE_DELIVERY_CANCELLED", "REFUND_REQUESTED"]),
        (
            "RETURN_TO_SENDER",
            ("CANCELLED", "UNDELIVERABLE"),
            ["PACKAGE_DELIVERY_CANCELLED", "REFUND_REQUESTED"],
        ),
    ],
)
async def test_a_terminal_tracker_state_ends_its_package(
    asking: Asking, code: str, ends: tuple[str, str | None], events: list[str]
) -> None:
    order = await shipped(asking)
    order = await move(asking, order, scan(details(order)[0], code))
    (detail,) = details(order)
    assert (detail["state"], detail["reason"]) == ends
    assert (await types(asking))[1:] == ["PACKAGE_TRACKER_MILESTONE_CHANGED", *events]
    refused = await asking.refused("movePackages", **update(order, scan(detail, "DELAYED")))
    assert refused == INVALID_TRANSITION


async def test_every_documented_refusal_of_the_sandboxs_mutation(asking: Asking) -> None:
    order = await create(asking)
    (detail,) = details(order)

    async def refusal(*entries: dict[str, Any]) -> dict[str, Any]:
        return await asking.refused("movePackages", **update(order, *entries))

    assert await refusal(scan(detail, "DELAYED")) == validation("PackageTrackerNotAvailableForUpdate")
    assert await refusal(state("none", "IN_TRANSIT")) == validation("PackageInformationDetailIdNotFound")
    both = {**state(detail["id"], "IN_TRANSIT")["packageState"], **scan(detail, "DELAYED")["packageState"]}
    assert await refusal({"id": detail["id"], "packageState": both}) == validation(
        "ConflictingPackageStateInput"
    )
    assert (await refusal({"id": detail["id"], "packageState": {}}))["type"] == "ValidationError"
    assert (await refusal())["type"] == "ValidationError"
    unknown = update({"id": "322-NONE-NONE"}, state(detail["id"], "IN_TRANSIT"))
    assert await asking.refused("movePackages", **unknown) == DENIED

    order = await move(asking, order, state(detail["id"], "IN_TRANSIT"))
    (detail,) = details(order)
    identifier = detail["packageTracker"]["packageTrackerIdentifier"]
    for other in ({**identifier, "trackingNumber": "1Z"}, {**identifier, "carrierCode": "dhl"}):
        assert await refusal(scan(detail, "DELAYED", packageTrackerIdentifier=other)) == validation(
            "PackageTrackerNotFound"
        )
    neither = scan(detail, "", state=None)
    assert (await refusal(neither))["type"] == "ValidationError"
    known = len(detail["packageTracker"]["milestones"])
    order = await move(asking, order, *[scan(detail, "DELAYED")] * (MOST_MILESTONES - known))
    assert await refusal(scan(detail, "DELAYED")) == validation("UpdatePackageTrackerLimitExceeded")
