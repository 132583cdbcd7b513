"""Messages to destinations and the attempts to send them, as values.

A **message** is one record for one **destination**; an **attempt** is one try to send it, a stored fact
whatever came of it. When the next one is due is `retry`'s; sending is a transport's.
"""

from typing import Literal

from msgspec import Struct

from milepost.domain.instant import Instant


class Destination(Struct, frozen=True):
    """Where messages go. `settings` is JSON that the sender of its `kind` understands (url, auth, …)."""

    id: str
    kind: str
    settings: bytes
    event_types: tuple[str, ...] = ()
    """Canonical types it wants; empty means all."""
    business_product_id: str = ""
    """Empty means every business product."""
    enabled: bool = True


class Message(Struct, frozen=True):
    """One record for one destination, until it is delivered or given up. `id` is the same at every attempt."""

    id: str
    destination_id: str
    position: int
    state: Literal["pending", "delivered", "failed"]
    tries: int
    due_at: Instant
    """When the next attempt is due."""
    lease_until: Instant | None = None
    fence: int = 0
    """Counts claims: a result is taken only from the holder of the newest."""


class Attempt(Struct, frozen=True):
    """One try to send a message: a stored fact, whatever came of it."""

    message_id: str
    number: int
    started_at: Instant
    duration_ms: int
    outcome: Literal["delivered", "failed", "unknown"]
    status: int | None = None
    """HTTP status, when there was an answer."""
    error: str = ""
