"""Captures: the signal that payment for a delivery may be collected, as a ledger (tracking.md 10).

One capture an (order, delivery), for life: its id is made from these, so that whoever collects can use it as the
idempotency key, and importing everything anew gives the same one. It says what may be collected for and why, never
how much: amounts are a suggestion, where the order's prices are known.
"""

from hashlib import blake2b
from typing import Any, Literal

from msgspec import Struct

from milepost.domain.instant import Instant

CaptureState = Literal["NOT_READY", "READY", "SENT", "ACKED", "FAILED", "HELD", "VOID"]
"""NOT_READY stands in no ledger: a delivery without a capture is so."""


class Transition(Struct, frozen=True, rename="camel"):
    """One step of a capture's life."""

    at: Instant
    state: CaptureState
    by: str
    """projector, publisher, a subscriber's id, or an API key's."""
    reason: str = ""


class Capture(Struct, frozen=True, rename="camel"):
    """A capture as the ledger keeps it."""

    id: str
    business_product_id: str
    order_id: str
    delivery_id: str
    state: CaptureState
    ready_at: Instant
    """When ship evidence was first folded."""
    evidence: tuple[dict[str, Any], ...]
    """What showed that it shipped: `{kind, at, position, eventId}` each."""
    line_items: tuple[dict[str, Any], ...]
    """`{id, quantity, unit}` each, as the delivery had them when it became ready."""
    history: tuple[Transition, ...]
    inferred: bool = False
    """No ship event: the delivery was seen delivered, or in an answer."""
    reason: str = ""
    """Why it is held, void or failed."""
    suggestion: dict[str, Any] | None = None
    """A suggested amount: `{currencyCode, amount, lineItems: [{id, amount}], method}`."""
    sent_at: Instant | None = None
    """When a subscriber first took it."""


def capture_id(business_product_id: str, order_id: str, delivery_id: str) -> str:
    """The same (order, delivery) always has the same id."""
    stem = "\x00".join((business_product_id, order_id, delivery_id))
    return f"cap_{blake2b(stem.encode('utf-8', 'surrogatepass'), digest_size=15).hexdigest()}"
