"""What the seeds' pages say their events are for, as far as the hub does it by itself: agents, timeline, payment.

What each event does when it comes is `test_seeds`'.
"""

import pytest
from tests.e2e.examples import (
    DELIVERY,
    LABEL,
    PICKED_UP,
    PRODUCT,
    hold_the_order,
    hold_the_tracker,
    of_its_own,
)
from tests.e2e.running import Client, order, package, seed, tracker


@pytest.mark.parametrize(
    ("name", "state", "handle"),
    [
        ("in_transit", "IN_TRANSIT", "order-id"),
        ("in_transit", "IN_TRANSIT", "shop-order-id"),
        ("in_transit", "IN_TRANSIT", "1z1"),
        ("delivered", "DELIVERED", "order-id"),
        ("delivered", "DELIVERED", "1Z1"),
    ],
)
async def test_an_agent_finds_how_the_order_stands_by_any_handle(
    client: Client, name: str, state: str, handle: str
) -> None:
    await hold_the_order(client, state)
    await client.send(seed(f"{name}.webhook"))
    await client.settled()
    items = (await client.get("/v1/search", q=handle))["items"]
    assert "order-id" in {item["orderId"] for item in items}
    delivery = await client.get("/v1/deliveries/delivery-id")
    assert delivery["state"] == state
    assert delivery["estimatedDelivery"]["latestDate"] == "2025-01-24"


async def test_an_agent_finds_an_updated_tracker_by_its_number(client: Client) -> None:
    await hold_the_tracker(client, PICKED_UP)
    await client.send(seed("milestone.webhook"))
    await client.settled()
    (item,) = (await client.get("/v1/search", q="trackingNumber"))["items"]
    assert (item["kind"], item["state"]) == ("tracker", "IN_TRANSIT")


async def test_the_timeline_tells_every_event_of_the_package(client: Client) -> None:
    await hold_the_order(client, "DELIVERED")
    for name in ("in_transit", "delivered"):
        await client.send(of_its_own(name, "webhook"))
    resource = f"businessProduct/{PRODUCT}/order/order-id/carrier/UPS/tracker/1Z1"
    await client.send({**of_its_own("milestone", "webhook"), "resources": [resource]})
    await client.settled()
    items = (await client.get("/v1/orders/order-id/timeline"))["items"]
    told = [(item["kind"], item["code"]) for item in items]
    for entry in (
        ("event", "PACKAGE_DELIVERY_IN_TRANSIT"),
        ("event", "PACKAGE_TRACKER_MILESTONE_CHANGED"),
        ("event", "PACKAGE_DELIVERED"),
        ("milestone", "IN_TRANSIT"),
        ("milestone", "DELIVERED"),
    ):
        assert told.count(entry) == 1
    assert told.index(("milestone", "IN_TRANSIT")) < told.index(("milestone", "DELIVERED"))


async def test_a_delivery_is_shipped_once_its_event_says_so_and_not_by_its_label(client: Client) -> None:
    """What payment waits for: the sign that this delivery's items were shipped."""
    labelled = package("delivery-id", "PENDING", {"pen": 1}, tracker("UPS", "1Z1", LABEL))
    shipped = package("another-delivery", "IN_TRANSIT", {"ink": 1}, tracker("UPS", "1Z2"))
    await client.put_order(PRODUCT, order("order-id", labelled, shipped))
    other = seed(
        "in_transit.webhook",
        idempotencyKey="other",
        eventId="other",
        resources=[DELIVERY.replace("delivery-id", "another-delivery")],
    )
    await client.send(other)
    await client.settled()
    waiting = await client.get("/v1/deliveries/delivery-id")
    assert (waiting["state"], waiting["shipEvidence"], waiting["shippedAt"]) == ("PENDING", None, None)

    gone = package("delivery-id", "IN_TRANSIT", {"pen": 1}, tracker("UPS", "1Z1", LABEL))
    await client.put_order(PRODUCT, order("order-id", gone, shipped))
    await client.send(seed("in_transit.webhook"))
    await client.settled()
    sent = await client.get("/v1/deliveries/delivery-id")
    assert sent["state"] == "IN_TRANSIT"
    assert (sent["shipEvidence"]["kind"], sent["shipEvidence"]["type"]) == (
        "event",
        "PACKAGE_DELIVERY_IN_TRANSIT",
    )
    assert (sent["shippedAt"], sent["shippedOn"]) == ("2025-01-20T12:34:56Z", "2025-01-20")
