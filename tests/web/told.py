"""Notifications for tests of the read side: put into the ledger as the projector and the notifier would."""

from typing import Any

from tests.web.world import World

from milepost.domain.instant import Instant
from milepost.domain.notification import Notification, Transition, move, notification_id

EMAIL = "ada@example.com"


async def tell(world: World, delivery_id: str = "delivery-1", **fields: Any) -> Notification:
    """A notification that is WAITING since now, or as `fields` say."""
    given: dict[str, Any] = {"product": "bp-1", "order_id": "order-1", "kind": "shipped", "ordinal": ""}
    given |= fields
    product, order_id, kind = given.pop("product"), given.pop("order_id"), given.pop("kind")
    made: dict[str, Any] = {
        "state": "WAITING",
        "occurred_at": world.now,
        "decided_at": world.now,
        "due_at": Instant(world.now + 600_000),
        "history": (Transition(world.now, "WAITING", "projector"),),
    } | given
    notification = Notification(
        id=notification_id(product, order_id, delivery_id, kind, made["ordinal"]),
        business_product_id=product,
        order_id=order_id,
        delivery_id=delivery_id,
        kind=kind,
        **made,
    )
    await world.store.write(lambda tx: tx.notifications.put([notification]))
    return notification


async def went(world: World, notification: Notification, *actions: str, **changes: Any) -> Notification:
    """The notification after these actions of the notifier; `changes` belong to the last."""
    for action in actions:
        more = changes if action == actions[-1] else {}
        notification = move(notification, action, world.now, "notifier", **more)  # type: ignore[arg-type]
    done = notification
    await world.store.write(lambda tx: tx.notifications.put([done]))
    return done


ENDS: dict[str, tuple[str, ...]] = {
    "WAITING": (),
    "SENDING": ("claim",),
    "SENT": ("claim", "sent"),
    "FAILED": ("claim", "refuse"),
    "UNCERTAIN": ("claim", "lose"),
    "SUPPRESSED": ("suppress",),
}
"""What the notifier does to a notification, by the state in which it ends."""


async def every_state(world: World) -> dict[str, Notification]:
    """One in each state, each of a delivery of its own, in the order in which they were decided."""
    changes: dict[str, dict[str, Any]] = {
        "SENDING": {"lease_until": Instant(world.now + 600_000)},
        "SENT": {"channel": "email", "recipient": "rcp_1", "locale": "en", "sent_at": world.now},
        "SUPPRESSED": {"rule": 6, "reason": "delivered came"},
    }
    made: dict[str, Notification] = {}
    for state, actions in ENDS.items():
        first = await tell(world, f"delivery-{state}")
        made[state] = await went(world, first, *actions, **changes.get(state, {}))
    return made
