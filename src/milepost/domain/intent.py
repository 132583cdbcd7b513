"""Intents: what the projector decided that subscribers must be told, as journalled with the fold (design, flow 3).

The body of an intent record is an `Intent`; what is sent for it is `message`'s rendering of that. Which intents a
fold gives is decided in `telling`; a rebuild gives none.
"""

from typing import Any, Final, Literal

import msgspec
from msgspec import Struct

from milepost.domain.instant import Instant

ORDER_UPDATED: Final = "order.updated"
DELIVERY_SHIPPED: Final = "delivery.shipped"
DELIVERY_DELIVERED: Final = "delivery.delivered"
DELIVERY_CANCELLED: Final = "delivery.cancelled"
TRACKER_UPDATED: Final = "tracker.updated"
CAPTURE_READY: Final = "capture.ready"
CONDITION_RAISED: Final = "condition.raised"
CONDITION_CLEARED: Final = "condition.cleared"
TEST: Final = "test"
"""A test message to one subscriber, asked for by hand."""

TYPES: Final = (
    ORDER_UPDATED,
    DELIVERY_SHIPPED,
    DELIVERY_DELIVERED,
    DELIVERY_CANCELLED,
    TRACKER_UPDATED,
    CAPTURE_READY,
    CONDITION_RAISED,
    CONDITION_CLEARED,
)
VERSION: Final = "1"
"""Of the messages' schemas. A change that a reader could stumble over makes another."""

Reason = Literal["new", "history_fill", "correction", "replay"]
"""Why it is told: something new; something old that became known late; a correction; sent again by a replay."""


class Intent(Struct, frozen=True, rename="camel"):
    """The body of an intent record. `at` is when it became so: the message's timestamp."""

    type: str
    at: Instant
    reason: Reason
    data: dict[str, Any]
    """As the message's `data`."""
    about: tuple[str, ...]
    """`told_subject` of the order, or of the tracker without one."""
    order_id: str | None = None
    delivery_id: str | None = None
    carrier_codes: tuple[str, ...] = ()
    """Of the parcels that it is about: what subscribers filter by."""


def decode(body: bytes) -> Intent:
    """The intent of a record. Raises what a broken body raises; journalled ones parse."""
    return msgspec.json.decode(body, type=Intent)
