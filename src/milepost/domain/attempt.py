"""Messages to destinations and the attempts to send them, as values.

A **message** is one record for one **destination**; an **attempt** is one try to send it, a stored fact
whatever came of it. When the next one is due is `retry`'s, when an endpoint is left alone is `breaker`'s;
sending is a transport's.
"""

from typing import Literal

from msgspec import Struct

from milepost.domain.instant import Instant

MessageState = Literal["pending", "waiting", "held", "delivered", "failed", "dropped"]
"""`waiting` is behind an earlier message of its sequence; `held` is for a disabled destination, or a capture on hold;
`dropped` must not be sent any more (its capture became void or was acknowledged, its replay was cancelled)."""
Form = Literal["", "amazon", "milepost"]


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
    name: str = ""
    """What people call it."""
    form: Form = ""
    """What it receives: Amazon's events as they came, or Milepost's own messages; empty where a publisher has only
    one kind."""
    filter: bytes = b""
    """JSON of what it wants beyond `event_types` and `business_product_id`; read by whoever publishes."""
    ordered: bool = False
    """Messages about one order go one after the other."""
    rate: float = 0.0
    """Most messages a second; 0: as fast as it takes them."""
    after: int | None = 0
    """It gets what is journalled above this position; None while its history is still being sent."""
    failing_since: Instant | None = None
    """When the first attempt failed since the last one that was delivered."""
    created_at: Instant = Instant(0)

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
    sequence: str = ""
    """What it is about, for an ordered destination: behind an unsettled one of the same sequence it waits."""
    origin: str = ""
    """The message that this one repeats under a new id (a replay)."""
    replay: str = ""
    """The replay that it is sent for; empty for what is sent for the first time, also from history."""
    earlier: int = 0
    """Tries before that replay: for it the schedule began anew."""
    reason: str = ""
    """Why it was dropped, in words."""


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


ReplayState = Literal["running", "done", "cancelled"]


class Replay(Struct, frozen=True):
    """Sending past records to a destination: the history of a late subscriber (`kind` backfill), or a replay that
    somebody asked for. `cursor` is how far it is; `until` the last position, None for one that goes live after."""

    id: str
    destination_id: str
    kind: Literal["backfill", "replay"]
    state: ReplayState
    cursor: int
    until: int | None
    created_at: Instant
    filter: bytes = b""
    """JSON of what of the journal it is about (an order, types), beyond what the destination wants."""
    new_ids: bool = False
    """Messages get new ids, linked to the old ones, so that the receiver's duplicate check lets them through."""
    rate: float = 0.0
    """Most messages a second that it enqueues; 0: as the destination takes them."""
    enqueued: int = 0
    ended_at: Instant | None = None
