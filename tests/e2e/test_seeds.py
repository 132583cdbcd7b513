"""The seeds' six example documents, posted to a fresh hub whose API is a sandbox that holds their ids.

Each does what its page says under "Handling the event"; with ids of their own all six live in one hub; as printed
they share one idempotencyKey and one eventId, and come out as the rules of identity say. `docs/conformance.md`
names these tests. Roads, outages and quarantine are `test_roads`'.
"""

from typing import Any

import pytest
from tests.e2e.examples import (
    DELIVERY,
    LABEL,
    MILESTONE_PRODUCT,
    ON_ITS_WAY,
    PICKED_UP,
    PRODUCT,
    TRACKER,
    asked,
    hold_the_order,
    hold_the_tracker,
    of_its_own,
)
from tests.e2e.running import Client, order, over_eventbridge, package, seed, tracker

FORMS = ("webhook", "eventbridge")
ALL = ("in_transit", "delivered", "milestone")


# ── PACKAGE_DELIVERY_IN_TRANSIT ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("state", sorted(ON_ITS_WAY))
async def test_in_transit_asks_the_order_and_finds_the_delivery_in_any_later_state(
    client: Client, form: str, state: str
) -> None:
    await hold_the_order(client, state)
    receipt = await client.send(seed(f"in_transit.{form}"))
    assert receipt == {"status": "accepted", "position": 1}
    await client.settled()
    delivery = await client.get("/v1/deliveries/delivery-id")
    assert (delivery["orderId"], delivery["businessProductId"]) == ("order-id", PRODUCT)
    assert delivery["state"] == state
    assert delivery["reason"] == ("UNDELIVERABLE" if state == "CANCELLED" else None)
    assert await asked(client, "/v1/orders/order-id") == ["order"]
    assert [(t["carrierCode"], t["trackingNumber"]) for t in delivery["trackers"]] == [("UPS", "1Z1")]
    assert delivery["shippedAt"] == "2025-01-19T12:00:00Z"
    assert delivery["conditions"] == []


async def test_the_line_items_of_a_delivery_are_those_of_its_element(client: Client) -> None:
    await hold_the_order(client, "IN_TRANSIT")
    await client.send(seed("in_transit.webhook"))
    await client.settled()
    shown = await client.get("/v1/orders/order-id")
    deliveries = {delivery["id"]: delivery for delivery in shown["deliveries"]}
    assert {delivery["id"]: delivery["state"] for delivery in shown["deliveries"]} == {
        "delivery-id": "IN_TRANSIT",
        "another-delivery": "PENDING",
    }
    # Several line items share one delivery, and one line item is in two.
    assert _quantities(deliveries["delivery-id"]["lineItems"], "id") == {"pen": "2", "ink": "1"}
    assert _quantities(deliveries["another-delivery"]["lineItems"], "id") == {"pen": "1"}
    items = {item["id"]: item for item in shown["lineItems"]}
    assert items["pen"]["quantity"] == "3"
    assert _quantities(items["pen"]["deliveries"], "deliveryId") == {
        "delivery-id": "2",
        "another-delivery": "1",
    }
    assert _quantities(items["ink"]["deliveries"], "deliveryId") == {"delivery-id": "1"}


def _quantities(rows: list[dict[str, Any]], key: str) -> dict[str, str]:
    return {row[key]: row["quantity"] for row in rows}


async def test_packages_that_stand_at_line_items_only_are_found(client: Client) -> None:
    """The page says where the deliveries are: `lineItems.packageInformation.details`."""
    document = order("order-id", ON_ITS_WAY["IN_TRANSIT"])
    at_order_level = document.pop("packageInformation")
    for item in document["lineItems"]:
        item["packageInformation"] = at_order_level
    await client.put_order(PRODUCT, document)
    await client.send(seed("in_transit.webhook"))
    await client.settled()
    delivery = await client.get("/v1/deliveries/delivery-id")
    assert delivery["state"] == "IN_TRANSIT"
    assert _quantities(delivery["lineItems"], "id") == {"pen": "2", "ink": "1"}


# ── PACKAGE_DELIVERED ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("form", FORMS)
async def test_delivered_holds_to_its_resources_and_asks_the_order_for_what_data_lacks(
    client: Client, form: str
) -> None:
    """The example's `data` names another order and another delivery than its resources."""
    await hold_the_order(client, "DELIVERED")
    await client.send(seed(f"delivered.{form}"))
    await client.settled()
    (item,) = await client.events()
    assert item["flags"] == ["dataDisagreement"]
    assert item["resources"] == [DELIVERY]
    delivery = await client.get("/v1/deliveries/delivery-id")
    assert (delivery["state"], delivery["orderId"]) == ("DELIVERED", "order-id")
    assert delivery["deliveredAt"] == "2025-01-20T12:00:00Z"
    assert await asked(client, "/v1/orders/order-id") == ["order"]
    assert _quantities(delivery["lineItems"], "id") == {"pen": "2", "ink": "1"}
    # Nothing is made of what only the disagreeing `data` names.
    await client.get("/v1/orders/example-order-id", status=404)
    await client.get("/v1/deliveries/example-delivery-information-id", status=404)
    await client.get("/v1/trackers/example-carrier-code/example-tracking-number", status=404)


async def test_data_that_names_the_resources_ids_tells_the_delivery_before_anybody_asks(
    client: Client,
) -> None:
    """With the API away, the delivery, its line items and its tracker come from `data`."""
    await client.sandbox("faults", {"apiDown": True})
    document = seed("delivered.webhook")
    document["data"]["order"]["id"] = "order-id"
    (element,) = document["data"]["order"]["packageInformation"]["details"]
    element["id"] = "delivery-id"
    element["packageInformationDetailsFor"]["orderLineItems"].append({"lineItem": {"id": "second-line-item"}})
    await client.send(document)
    await client.folded()
    shown = await client.get("/v1/orders/order-id")
    (delivery,) = shown["deliveries"]
    assert shown["aliases"] == [{"aliasId": "example-alias-id", "aliasType": "example-alias-type"}]
    assert (delivery["id"], delivery["state"]) == ("delivery-id", "DELIVERED")
    assert [item["id"] for item in delivery["lineItems"]] == ["example-line-item-id", "second-line-item"]
    (carried,) = delivery["trackers"]
    assert carried["carrierCode"] == "example-carrier-code"
    assert carried["trackingNumber"] == "example-tracking-number"
    assert carried["trackingUrl"] == "example-tracking-url"
    assert (await client.events())[0]["flags"] == []
    assert await asked(client, "/v1/orders/order-id") == []


async def test_data_that_lacks_nothing_costs_no_query(client: Client) -> None:
    """The order is known from an earlier answer; a second PACKAGE_DELIVERED with whole `data` asks nothing."""
    await hold_the_order(client, "DELIVERED")
    await client.send(of_its_own("in_transit", "webhook"))
    await client.settled()
    document = of_its_own("delivered", "webhook")
    document["data"]["order"]["id"] = "order-id"
    (element,) = document["data"]["order"]["packageInformation"]["details"]
    element["id"] = "delivery-id"
    element["packageInformationDetailsFor"]["orderLineItems"] = [
        {"lineItem": {"id": "pen"}},
        {"lineItem": {"id": "ink"}},
    ]
    await client.send(document)
    await client.settled()
    assert (await client.get("/v1/deliveries/delivery-id"))["state"] == "DELIVERED"
    assert await asked(client, "/v1/orders/order-id") == ["order"]


# ── PACKAGE_TRACKER_MILESTONE_CHANGED ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("form", FORMS)
async def test_a_milestone_tracks_the_package(client: Client, form: str) -> None:
    await hold_the_tracker(client, PICKED_UP, LABEL)
    await client.send(seed(f"milestone.{form}"))
    await client.settled()
    shown = await client.get("/v1/trackers/carrierCode/trackingNumber")
    assert shown["businessProductId"] == MILESTONE_PRODUCT
    assert shown["stage"] == "IN_TRANSIT"
    assert [m["code"] for m in shown["milestones"]] == ["INFO_RECEIVED", "IN_TRANSIT"]
    assert [m["message"] for m in shown["milestones"]] == ["Label made", "Picked up"]
    assert shown["trackingUrl"] == "https://track.example.com/carrierCode/trackingNumber"
    assert shown["estimatedDelivery"]["latestDate"] == "2025-01-24"
    assert await asked(client, "/v1/trackers/carrierCode/trackingNumber") == ["packageTracker"]
    # The thin event names no order, and nobody asked for one.
    assert (shown["orphan"], shown["orders"]) == (True, [])
    assert (await client.get("/v1/orders"))["items"] == []


# ── All of them in one hub ─────────────────────────────────────────────────────────────────────────────────


async def test_all_six_with_ids_of_their_own_live_in_one_hub(client: Client) -> None:
    await hold_the_order(client, "DELIVERED")
    # Two events, two milestones: each is answered by one of its own.
    await hold_the_tracker(client, PICKED_UP, LABEL)
    for name in ALL:
        for form in FORMS:
            assert (await client.send(of_its_own(name, form)))["status"] == "accepted"
    await client.settled()
    items = await client.events()
    assert [item["arrivals"] for item in items] == [1] * 6
    for item in items:
        assert item["flags"] == (["dataDisagreement"] if item["type"] == "PACKAGE_DELIVERED" else [])
    shown = await client.get("/v1/orders/order-id")
    assert {d["id"]: d["state"] for d in shown["deliveries"]} == {
        "delivery-id": "DELIVERED",
        "another-delivery": "PENDING",
    }
    assert (await client.get("/v1/trackers/carrierCode/trackingNumber"))["stage"] == "IN_TRANSIT"
    numbers = await client.numbers()
    assert (numbers["arrivals_total"], numbers["events_total"], numbers["duplicates_total"]) == (6, 6, 0)


@pytest.mark.parametrize("first", FORMS)
async def test_all_six_as_printed_are_three_records_of_two_arrivals(client: Client, first: str) -> None:
    """One idempotencyKey and one eventId between six documents: another type or resource is another record, the
    other form of the same event is a duplicate. The milestone's business product is spelled otherwise, so it is
    another one, and its key is not that product's."""
    await hold_the_order(client, "DELIVERED")
    await hold_the_tracker(client, PICKED_UP)
    forms = (first, *(form for form in FORMS if form != first))
    receipts = {form: [await client.send(seed(f"{name}.{form}")) for name in ALL] for form in forms}
    assert [receipt["status"] for receipt in receipts[forms[0]]] == ["accepted"] * 3
    assert [receipt["status"] for receipt in receipts[forms[1]]] == ["duplicate"] * 3
    for one, other in zip(receipts[forms[0]], receipts[forms[1]], strict=True):
        assert other["position"] == one["position"]
    await client.settled()
    items = await client.events()
    assert [(item["type"], item["arrivals"], sorted(item["flags"])) for item in items] == [
        ("PACKAGE_DELIVERY_IN_TRANSIT", 2, ["keyReuse"]),
        ("PACKAGE_DELIVERED", 2, ["dataDisagreement", "keyReuse"]),
        ("PACKAGE_TRACKER_MILESTONE_CHANGED", 2, []),
    ]
    for item in items:
        whole = await client.get("/v1/events/example-event-id", position=item["position"])
        assert [arrival["road"] for arrival in whole["arrivalLog"]] == list(forms)
        assert all(arrival["lagMs"] > 0 for arrival in whole["arrivalLog"])
        assert whole["conflicts"] == []
    assert (await client.get("/v1/deliveries/delivery-id"))["state"] == "DELIVERED"
    assert (await client.get("/v1/trackers/carrierCode/trackingNumber"))["stage"] == "IN_TRANSIT"
    numbers = await client.numbers()
    assert (numbers["arrivals_total"], numbers["events_total"], numbers["duplicates_total"]) == (6, 3, 3)
    ambiguous = await client.get("/v1/events/example-event-id", status=409)
    assert ambiguous["code"] == "ambiguous_id"
    assert ambiguous["positions"] == [item["position"] for item in items]


# ── Envelope and fields ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ALL)
async def test_every_field_comes_back_as_it_was_sent(client: Client, name: str, form: str) -> None:
    document = seed(f"{name}.{form}")
    await client.send(document)
    shown = await client.get("/v1/events/example-event-id")
    assert shown["body"] == document
    assert shown["road"] == form
    body = document.get("detail", document)
    for key in (
        "idempotencyKey",
        "eventDescriptor",
        "resources",
        "eventId",
        "apiVersion",
        "subscriptionId",
        "eventTime",
    ):
        assert shown[key] == body[key]
    assert shown["type"] == body["eventDescriptor"]


async def test_an_id_minted_by_eventbridge_makes_no_other_record(client: Client) -> None:
    """Two deliveries of one event by EventBridge, `id` neither eventId nor the same twice."""
    body = seed("in_transit.webhook")
    first = await client.send(over_eventbridge(body, "minted-1"))
    again = await client.send(over_eventbridge(body, "minted-2"))
    assert (first["status"], again["status"]) == ("accepted", "duplicate")
    assert again["position"] == first["position"]
    shown = await client.get("/v1/events/example-event-id")
    assert (shown["arrivals"], shown["body"]["id"]) == (2, "minted-1")
    await client.get("/v1/events/minted-1", status=404)


async def test_the_same_id_on_another_event_is_not_taken_for_a_copy(client: Client) -> None:
    body = seed("in_transit.webhook")
    other = {**body, "idempotencyKey": "another-key", "eventId": "another-event"}
    await client.send(over_eventbridge(body, "one-id"))
    assert (await client.send(over_eventbridge(other, "one-id")))["status"] == "accepted"


@pytest.mark.parametrize(
    ("field", "flag"),
    [
        ("detail-type", "typeDisagreement"),
        ("resources", "resourcesDisagreement"),
        ("time", "timeDisagreement"),
    ],
)
async def test_what_the_envelope_says_otherwise_is_recorded_and_the_detail_holds(
    client: Client, field: str, flag: str
) -> None:
    document = over_eventbridge(seed("in_transit.webhook"))
    document[field] = {
        "detail-type": "PACKAGE_DELIVERED",
        "resources": [DELIVERY.replace("order-id", "other-order")],
        "time": "2025-01-21T00:00:00Z",
    }[field]
    await client.send(document)
    shown = await client.get("/v1/events/example-event-id")
    assert shown["flags"] == [flag]
    assert shown["type"] == "PACKAGE_DELIVERY_IN_TRANSIT"
    assert shown["resources"] == [DELIVERY]
    assert shown["eventTime"] == "2025-01-20T12:34:56Z"


@pytest.mark.parametrize(
    ("name", "former"),
    [("in_transit", "DELIVERY_IN_TRANSIT"), ("delivered", "DELIVERY_COMPLETED")],
)
async def test_a_former_name_does_what_todays_does(client: Client, name: str, former: str) -> None:
    await hold_the_order(client, "DELIVERED")
    document = seed(f"{name}.eventbridge", eventDescriptor=former)
    document["detail-type"] = former
    await client.send(document)
    today = seed(f"{name}.webhook")
    # The same ids under the other name are the same event.
    assert (await client.send(today))["status"] == "duplicate"
    await client.settled()
    (item,) = await client.events()
    assert (item["eventDescriptor"], item["type"]) == (former, today["eventDescriptor"])
    assert "typeDisagreement" not in item["flags"]
    assert (await client.get("/v1/deliveries/delivery-id"))["state"] == "DELIVERED"
    assert await asked(client, "/v1/orders/order-id") == ["order"]


async def test_several_resources_are_each_handled(client: Client) -> None:
    """`resources` is an array: one event may be about two deliveries."""
    packages = (ON_ITS_WAY["IN_TRANSIT"], package("second", "IN_TRANSIT", {"cap": 1}, tracker("UPS", "1Z2")))
    await client.put_order(PRODUCT, order("order-id", *packages))
    second = DELIVERY.replace("delivery-id", "second")
    await client.send(seed("in_transit.webhook", resources=[DELIVERY, second]))
    await client.settled()
    for delivery_id in ("delivery-id", "second"):
        assert (await client.get(f"/v1/deliveries/{delivery_id}"))["state"] == "IN_TRANSIT"
    assert await asked(client, "/v1/orders/order-id") == ["order"]


async def test_a_milestone_resource_that_names_its_order_is_read_by_key(client: Client) -> None:
    await hold_the_tracker(client, PICKED_UP)
    named = TRACKER.replace("/carrier/", "/order/tracked/carrier/")
    await client.send(seed("milestone.webhook", resources=[named]))
    await client.settled()
    shown = await client.get("/v1/trackers/carrierCode/trackingNumber")
    assert shown["stage"] == "IN_TRANSIT"
    assert shown["orders"] == [{"orderId": "tracked", "deliveryId": None}]
