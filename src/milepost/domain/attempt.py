"""Messages to destinations and the attempts to send them, as values.

A **message** is one record for one **destination**; an **attempt** is one try to send it, a stored fact
whatever came of it. When the next one is due is `retry`'s, when an endpoint is left alone is `breaker`'s;
sending is a transport's.
"""

from typing import Literal

from msgspec import Struct

from milepost.domain.instant import Instant

MessageState = Literal["pending", "held", "delivered", "failed"]


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
    endpoint: str = ""
    """What really answers (for a webhook its URL): destinations with the same one share concurrency and breaker."""
    reason: str = ""
    """Why it is disabled, in words."""

    @property
    def lane(self) -> str:
        """Whose concurrency and breaker it has part in: its endpoint's, or its own."""
        return self.endpoint or self.id


class Message(Struct, frozen=True):
    """One record for one destination, until it is delivered or given up. `id` is the same at every attempt.

    `held`: its destination is disabled; enabling that makes it pending again."""

    id: str
    destination_id: str
    position: int
    state: MessageState
    tries: int
    due_at: Instant
    """When the next attempt is due."""
    lease_until: Instant | None = None
    fence: int = 0
    """Counts claims: a result is taken only from the holder of the newest."""
    form: str = ""
    """How it is rendered, where that is not the usual way: words of whoever enqueued it."""
    created_at: Instant = Instant(0)
    """When it was enqueued."""
    manual: bool = False
    """The next attempt was asked for by hand."""


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
    target: str = ""
    """Where it went, as the destination's settings said at that time."""
    response: str = ""
    """The beginning of the answer's body, at most 1 KiB."""
    retry_after: int | None = None
    """What the destination asked us to wait, in milliseconds."""
    manual: bool = False
    """Asked for by hand, not by the schedule."""
