"""Standings: the little of a view that subscribers hear of, as it was last told.

One is kept for each order and tracker, written as a short JSON array, and compared with that of the next fold
(`telling`). What only has to be compared, and is never read, is kept as a checksum.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from zlib import crc32

import msgspec
from msgspec import Struct

from milepost.domain.eligibility import EVIDENCE_WITHDRAWN, hold_reason
from milepost.domain.evidence import CANCELLED, DELIVERED

Document = Mapping[str, Any]

SHIPPED: Final = 1
TOLD_DELIVERED: Final = 2
TOLD_CANCELLED: Final = 4

_DOUBTED = frozenset(("contradicted", "superseded", "corrected"))
_encode = msgspec.json.Encoder().encode


class DeliveryStanding(Struct, frozen=True, array_like=True):
    """A delivery as it was last told."""

    id: str
    flags: int
    """Which of shipped, delivered and cancelled were told."""
    hold: str
    """Why the projector holds its capture; empty when it does not."""
    state: str
    """Empty: the order no longer shows it."""
    reason: str | None = None
    shipped_at: str | None = None
    delivered_at: str | None = None
    estimate: str = ""
    items: int = 0
    conditions: tuple[str, ...] = ()


class OrderStanding(Struct, frozen=True, array_like=True):
    """An order as it was last told."""

    state: str
    worst: str | None
    items: int
    deliveries: tuple[DeliveryStanding, ...]
    conditions: tuple[str, ...] = ()


class TrackerStanding(Struct, frozen=True, array_like=True):
    """A tracker as it was last told."""

    stage: str
    entered_at: str | None
    last_scan_at: str | None
    estimate: str
    milestones: int
    doubted: int
    """How many milestones turned out wrong."""
    conditions: tuple[str, ...] = ()
    """Open ones, while no order shows it."""


read_order = msgspec.json.Decoder(OrderStanding).decode
read_tracker = msgspec.json.Decoder(TrackerStanding).decode


def order_standing(
    order: Document, known: Mapping[str, DeliveryStanding], *, review_inferred: bool = False
) -> OrderStanding:
    """Of an order's view, given the deliveries that were told before: those that it no longer shows stay."""
    deliveries = [
        delivery_standing(order, d, known.get(d["id"]), review_inferred=review_inferred)
        for d in order["deliveries"]
    ]
    if len(known) > len(deliveries) or not known.keys() <= {d.id for d in deliveries}:
        shown = {d.id for d in deliveries}
        deliveries += [_gone(old) for old in known.values() if old.id not in shown and old.flags]
    return OrderStanding(
        order["state"],
        order["summary"]["worstCondition"],
        _digest(order["lineItems"]),
        tuple(deliveries),
        open_conditions(order.get("conditions", ())),
    )


def delivery_standing(
    order: Document, delivery: Document, old: DeliveryStanding | None, *, review_inferred: bool = False
) -> DeliveryStanding:
    flags, hold = (0, "") if old is None else (old.flags, old.hold)
    state = delivery["state"]
    if delivery["shipEvidence"] is not None:
        flags |= SHIPPED
    if flags & SHIPPED:
        hold = hold_reason(order, delivery, review_inferred=review_inferred)
    if state == DELIVERED:
        flags |= TOLD_DELIVERED
    elif state == CANCELLED:
        flags |= TOLD_CANCELLED
    return DeliveryStanding(
        delivery["id"],
        flags,
        hold,
        state,
        delivery["reason"],
        delivery["shippedAt"],
        delivery["deliveredAt"],
        _estimate(delivery["estimatedDelivery"]),
        _digest(delivery["lineItems"]),
        open_conditions(delivery["conditions"]),
    )


def _gone(old: DeliveryStanding) -> DeliveryStanding:
    return DeliveryStanding(old.id, old.flags, EVIDENCE_WITHDRAWN if old.flags & SHIPPED else "", "")


def tracker_standing(tracker: Document) -> TrackerStanding:
    """Of a tracker's view."""
    milestones = tracker["milestones"]
    return TrackerStanding(
        tracker["stage"],
        tracker["stageEnteredAt"],
        tracker["lastScanAt"],
        _estimate(tracker["estimatedDelivery"]),
        _digest([(m["code"], m["occurredAt"], m["standing"], m["address"]["locality"]) for m in milestones]),
        sum(m["standing"] in _DOUBTED for m in milestones),
        () if tracker["orders"] else open_conditions(tracker["conditions"]),
    )


def open_conditions(conditions: Sequence[Document]) -> tuple[str, ...]:
    """The names of open conditions, sorted."""
    if not conditions:
        return ()
    return tuple(sorted({condition_name(c) for c in conditions if c["clearedAt"] is None}))


def condition_name(condition: Document) -> str:
    """What tells conditions of one subject apart: code, kind, parcel, and last the count, since a higher count of one
    is told again."""
    number = (condition["evidence"] or {}).get("trackingNumber") or ""
    return f"{condition['code']}|{condition['kind'] or ''}|{number}|{condition['count'] or ''}"


def without_count(name: str) -> str:
    return name.rpartition("|")[0]


def _digest(value: Sequence[object]) -> int:
    return crc32(_encode(value)) if value else 0


def _estimate(estimate: Document | None) -> str:
    if estimate is None:
        return ""
    earliest = estimate["earliest"] or estimate["earliestDate"] or ""
    return f"{earliest}/{estimate['latest'] or estimate['latestDate'] or ''}"
