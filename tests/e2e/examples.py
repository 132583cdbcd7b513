"""The seeds' examples and the orders that hold their ids, for the tests that post them.

The documents themselves are in `tests/seeds`; how they are posted is `running`'s.
"""

from tests.e2e.running import Client, Document, milestone, order, package, seed, tracker

PRODUCT = "business-product-id"
MILESTONE_PRODUCT = "businessProductId"
DELIVERY = "businessProduct/business-product-id/order/order-id/delivery/delivery-id"
TRACKER = "businessProduct/businessProductId/carrier/carrierCode/tracker/trackingNumber"

LABEL = milestone("INFO_RECEIVED", "2025-01-18T09:00:00Z", "Label made")
PICKED_UP = milestone("IN_TRANSIT", "2025-01-19T12:00:00Z", "Picked up")
ARRIVED = milestone("DELIVERED", "2025-01-20T12:00:00Z", "At the door")

ON_ITS_WAY = {
    "IN_TRANSIT": package(
        "delivery-id", "IN_TRANSIT", {"pen": 2, "ink": 1}, tracker("UPS", "1Z1", PICKED_UP)
    ),
    "DELIVERED": package(
        "delivery-id", "DELIVERED", {"pen": 2, "ink": 1}, tracker("UPS", "1Z1", ARRIVED, PICKED_UP)
    ),
    "CANCELLED": package(
        "delivery-id", "CANCELLED", {"pen": 2, "ink": 1}, tracker("UPS", "1Z1", PICKED_UP), "UNDELIVERABLE"
    ),
}
"""The delivery of the examples, by the state in which it is when somebody asks."""


async def hold_the_order(client: Client, state: str) -> None:
    """The order of the examples: its delivery in `state`, and the rest of it in another one."""
    rest = package("another-delivery", "PENDING", {"pen": 1}, None)
    await client.put_order(PRODUCT, order("order-id", rest, ON_ITS_WAY[state]))


async def hold_the_tracker(client: Client, *milestones: Document) -> None:
    carried = tracker("carrierCode", "trackingNumber", *milestones)
    await client.put_order(
        MILESTONE_PRODUCT, order("tracked", package("parcel", "IN_TRANSIT", {"pen": 1}, carried))
    )


async def asked(client: Client, path: str) -> list[str]:
    """The queries whose answers a view was made of."""
    facts = (await client.get(f"{path}/explain"))["facts"]
    by_position = {fact["position"]: fact["type"] for fact in facts if fact["kind"] == "snapshot"}
    return sorted(by_position.values())


def of_its_own(name: str, form: str) -> Document:
    """An example with an idempotencyKey and an eventId that no other has."""
    return seed(f"{name}.{form}", idempotencyKey=f"key-{name}-{form}", eventId=f"event-{name}-{form}")
