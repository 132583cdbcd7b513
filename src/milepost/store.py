"""The store's contract: what every database must do for Milepost, and what callers may rely on.

Async outside, sync inside: `Store.write` and `Store.read` take one sync function of a `Transaction` that never
awaits. A write function runs alone (one writer), commits as a whole or not at all, and may run again after a
failed commit, so it must not have effects outside the transaction. Nothing is sent inside one.

- **Journal**: records, arrivals, quarantine, checkpoints. The only source of truth.
- **Views**: what the folds produced, and the indexes that reading needs. Remade by `rebuild` at any time.
- **Work**: hydration asks: what must still be asked of the API, and when.
- **Attempts**: destinations, messages to them, every try to send one, and which endpoints are left alone.
- **Credentials**: API keys, hashed.

Every list is bounded by a `limit`. Times are passed in; nothing here reads a clock. Implementations live in
`sql`; `tests/contract` proves each of them. Errors: `StoreUnavailable` when a write cannot be committed (disk
full, read-only, gone), `StoreLocked` when another hub holds the database.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Literal, Protocol, TypeVar

from msgspec import Struct

from milepost.domain.attempt import Attempt, Destination, Message, MessageState
from milepost.domain.breaker import Breaker
from milepost.domain.envelope import Event
from milepost.domain.instant import Instant
from milepost.domain.record import Kind, Record

T = TypeVar("T")


# ── Journal ────────────────────────────────────────────────────────────────────────────────────────────────


class Arrival(Struct, frozen=True):
    """One authenticated, parsed event at the door: what `Store.append` takes."""

    event: Event
    body: bytes
    received_at: Instant
    road: str


class Receipt(Struct, frozen=True):
    """What became of an arrival: `position` is the record's, for a duplicate the original's."""

    status: Literal["accepted", "duplicate"]
    position: int
    conflict: bool = False
    """The duplicate's canonical `data` differed: a conflict record was kept (or is kept already)."""


class ArrivalRow(Struct, frozen=True):
    """One arrival of a record as the books show it; the first is the record's own."""

    position: int
    received_at: Instant
    road: str
    subscription_id: str
    idempotency_key: str
    event_id: str
    conflict: bool = False


class NewRecord(Struct, frozen=True):
    """Something Milepost itself journals: a snapshot, a condition or a settlement."""

    kind: Kind
    business_product_id: str
    type: str
    received_at: Instant
    published_at: Instant
    road: str
    body: bytes
    origin: int | None = None


class Quarantined(Struct, frozen=True):
    """What came in and could not be read (or was not allowed in), kept with the reason."""

    id: int
    received_at: Instant
    road: str
    code: str
    reason: str
    body: bytes
    business_product_ids: tuple[str, ...]
    """Those that the sender's credential was bound to; empty when it was bound to all."""
    released_at: Instant | None = None
    position: int | None = None
    """Where its record is, once it was ingested again."""


class Counts(Struct, frozen=True):
    """From one read: arrivals = events + duplicates + quarantined."""

    arrivals: int
    events: int
    duplicates: int
    """Conflicts are among them."""
    conflicts: int
    quarantined: int
    """Now in quarantine; a release moves its count to events or duplicates."""
    records: int
    last_position: int
    folded: int
    """Records at or below the projector's checkpoint, failed folds among them."""
    pending: int
    failed_folds: int


class FailedFold(Struct, frozen=True):
    """A record (or a subject) that a consumer could not process; it stopped nothing."""

    consumer: str
    position: int
    business_product_id: str
    subject: str
    error: str
    at: Instant


class Journal(Protocol):
    def add(self, records: Sequence[NewRecord]) -> list[int]:
        """Journal what Milepost itself found out; positions in order."""
        ...

    def after(self, position: int, limit: int) -> list[Record]:
        """Records above `position`, lowest first."""
        ...

    def events(
        self, after: int, limit: int, business_products: Collection[str] | None, type: str | None
    ) -> list[Record]:
        """Event records above `after`, lowest first; `None` business products means all, `type` is canonical."""
        ...

    def records(self, positions: Collection[int]) -> dict[int, Record]: ...

    def of_subjects(self, subjects: Collection[tuple[str, str]]) -> dict[tuple[str, str], list[Record]]:
        """All indexed records of each (business product, subject), lowest position first."""
        ...

    def business_products(self) -> list[str]:
        """Every business product that an indexed record is about, sorted."""
        ...

    def last_position(self) -> int: ...

    def arrivals(self, positions: Collection[int]) -> dict[int, list[ArrivalRow]]:
        """Every arrival of each record, the first included, in order."""
        ...

    def quarantine(
        self,
        body: bytes,
        code: str,
        reason: str,
        received_at: Instant,
        road: str,
        business_product_ids: tuple[str, ...],
    ) -> int: ...

    def quarantined(
        self, after: int, limit: int, business_products: Collection[str] | None, released: bool | None
    ) -> list[Quarantined]:
        """Entries with id above `after`, lowest first; `released` None means both."""
        ...

    def quarantine_entry(self, id: int) -> Quarantined | None: ...

    def append_released(self, id: int, arrival: Arrival, at: Instant) -> Receipt:
        """Ingest a quarantined body that can be read now, and move its count. Again on an entry already
        released: the same receipt's position, status duplicate, and nothing counted."""
        ...

    def checkpoint(self, consumer: str) -> int:
        """The position up to which a consumer has processed everything; 0 before the first."""
        ...

    def set_checkpoint(self, consumer: str, position: int) -> None: ...

    def counts(self, projector: str) -> Counts: ...


# ── Views ──────────────────────────────────────────────────────────────────────────────────────────────────

ViewKind = Literal[
    "order", "delivery", "tracker", "world", "credential", "authProfile", "subscription", "eventSource"
]
"""The first three are the journal's views; the others are JSON documents of the sandbox, where the business
product is the target id, or empty where an id is unique all over the world."""


class View(Struct, frozen=True):
    """A view as stored. `id` is the order id, the delivery id, or `{carrierCode, lower case}/{trackingNumber}`;
    `parent` the order id of a delivery. `document` is canonical JSON. `terms` are what search finds it by
    (lower case). `check_at` is the earliest instant at which time alone could change it, for the sweeper."""

    kind: ViewKind
    business_product_id: str
    id: str
    document: bytes
    state: str
    parent: str | None = None
    position: int = 0
    """The highest position among its facts."""
    check_at: Instant | None = None
    terms: tuple[str, ...] = ()


class Found(Struct, frozen=True):
    """One search result: the term that matched, and the view it belongs to."""

    term: str
    kind: ViewKind
    business_product_id: str
    id: str


class Views(Protocol):
    def index(self, subjects: Mapping[int, tuple[str, Sequence[str]]]) -> None:
        """Index records under their subjects: position -> (business product, subjects). Again is harmless."""
        ...

    def put(self, views: Sequence[View]) -> None:
        """Insert or replace views and their search terms."""
        ...

    def remove(self, keys: Collection[tuple[ViewKind, str, str]]) -> None:
        """Remove views by (kind, business product, id), with their search terms."""
        ...

    def get(self, keys: Collection[tuple[ViewKind, str, str]]) -> dict[tuple[ViewKind, str, str], View]: ...

    def find(self, kind: ViewKind, id: str, business_products: Collection[str] | None) -> list[View]:
        """The views of that id, one a business product; more than one means the id is ambiguous. At most 10."""
        ...

    def page(
        self,
        kind: ViewKind,
        after: tuple[int, str, str] | None,
        limit: int,
        business_products: Collection[str] | None,
        state: str | None = None,
    ) -> list[tuple[int, View]]:
        """Views of a kind, oldest first: (first-seen number, view); `after` is (number, business product, id)."""
        ...

    def due(self, at: Instant, limit: int) -> list[View]:
        """Views whose `check_at` is at or before `at`, earliest first."""
        ...

    def recheck(self, checks: Mapping[tuple[ViewKind, str, str], Instant | None]) -> None:
        """Set `check_at` of views and nothing else (the sweeper looked, and found nothing to journal)."""
        ...

    def search(self, term: str, limit: int, business_products: Collection[str] | None) -> list[Found]:
        """Views by a term, whole or as a prefix, lower case; exact matches first."""
        ...

    def flag(self, flags: Mapping[int, Sequence[str]]) -> None:
        """Flags found after the append (keyReuse, conflict), by position. Again is harmless."""
        ...

    def flags(self, positions: Collection[int]) -> dict[int, tuple[str, ...]]: ...

    def fail(self, failures: Sequence[FailedFold]) -> None:
        """List folds that failed; one entry a (consumer, position, subject)."""
        ...

    def failures(
        self, after: int | tuple[int, str, str], limit: int, business_products: Collection[str] | None
    ) -> list[FailedFold]:
        """Failed folds behind a position, or behind (position, consumer, subject), in that order."""
        ...

    def clear(self) -> None:
        """Forget every view of the journal (order, delivery, tracker), index and flag: a rebuild starts so."""
        ...

    def dump(self) -> list[tuple[str, ...]]:
        """Everything `clear` would forget, as sorted text rows: what two builds are compared by."""
        ...


# ── Work ───────────────────────────────────────────────────────────────────────────────────────────────────


class Ask(Struct, frozen=True):
    """One thing to ask of the API for the events that wait for it. One a target: a burst coalesces here.

    `target` is an order or tracker subject. `waiting` are the positions of events not answered yet."""

    business_product_id: str
    target: str
    priority: int
    """Lower goes first: 0 money, 1 shopper-visible, 2 the rest."""
    due_at: Instant
    tries: int
    waiting: tuple[int, ...]
    state: Literal["open", "gaveUp"] = "open"
    error: str = ""
    """Why the last try did not answer, for people."""
    fingerprint: str = ""
    """Hash of the last answer: three unchanged answers settle a milestone event."""
    unchanged: int = 0
    carrier_code: str = ""
    """As the event wrote it, where the target is a tracker (subjects compare without case)."""


class Work(Protocol):
    def put(self, asks: Sequence[Ask]) -> None:
        """Insert or replace asks by (business product, target)."""
        ...

    def get(self, targets: Collection[tuple[str, str]]) -> dict[tuple[str, str], Ask]: ...

    def due(self, at: Instant, limit: int) -> list[Ask]:
        """Open asks whose time has come: lowest priority number first, then earliest."""
        ...

    def next_due(self) -> Instant | None: ...

    def done(self, targets: Collection[tuple[str, str]]) -> None: ...

    def page(
        self,
        after: tuple[str, str] | None,
        limit: int,
        business_products: Collection[str] | None,
        state: str | None,
    ) -> list[Ask]: ...

    def count(self) -> dict[str, int]:
        """Asks by state."""
        ...


# ── Attempts ───────────────────────────────────────────────────────────────────────────────────────────────


class Attempts(Protocol):
    """A message of a disabled destination is never pending: whatever would make it so makes it `held`."""

    def put_destination(self, destination: Destination) -> None:
        """Insert or replace; its pending messages become held when it is disabled, and the other way round."""
        ...

    def destination(self, id: str) -> Destination | None: ...

    def destinations(self, after: str, limit: int) -> list[Destination]: ...

    def destinations_of(self, ids: Collection[str]) -> dict[str, Destination]: ...

    def remove_destination(self, id: str) -> None: ...

    def disable(self, id: str, reason: str) -> bool:
        """Keep its messages held, the reason beside it. False when there is no such destination."""
        ...

    def enable(self, id: str) -> bool:
        """Make its held messages pending again. False when there is no such destination."""
        ...

    def enqueue(self, messages: Sequence[Message]) -> None:
        """Add messages; one that is there already (same id) stays as it is."""
        ...

    def claim(
        self,
        at: Instant,
        lease_until: Instant,
        limit: int,
        *,
        share: int,
        room: Mapping[str, int],
    ) -> list[Message]:
        """Take due messages that nobody holds: first tries ahead of late ones, then earliest; `fence` goes up.

        A lane gives at most its `room`, or `share` where that names none; one whose breaker is open gives
        nothing, or, once its pause is over, one message as the probe, which is noted in the breaker."""
        ...

    def release(self, messages: Sequence[Message]) -> None:
        """Give claimed messages back unsent; those whose fence is no longer the newest stay as they are."""
        ...

    def record(self, results: Sequence[tuple[Attempt, Message]]) -> list[bool]:
        """Keep attempts, each with its message's new state. False, and nothing kept, where `message.fence` is
        no longer the newest. At most one result a message."""
        ...

    def next_due(self) -> Instant | None:
        """When the next message can be claimed: leases and breakers considered, lanes' shares not."""
        ...

    def breakers(self) -> dict[str, Breaker]:
        """Those that are not plain, by lane."""
        ...

    def put_breakers(self, breakers: Sequence[Breaker]) -> None: ...

    def message(self, id: str) -> Message | None: ...

    def messages(
        self,
        after: tuple[int, str] | None,
        limit: int,
        *,
        position: int | None = None,
        destination_id: str | None = None,
        state: MessageState | None = None,
    ) -> list[Message]:
        """Messages, oldest first; `after` is (position, id)."""
        ...

    def resend(self, id: str, at: Instant) -> Message | None:
        """Make a message due at once, by hand: whatever became of it, ahead of the schedule, as its endpoint's
        probe if that is left alone. A result that is still under way is dropped. None: no such message."""
        ...

    def attempts(
        self, after: tuple[int, int] | tuple[int, int, str], limit: int, message_id: str | None = None
    ) -> list[Attempt]:
        """Attempts, oldest first; `after` is (started_at, number, message id). Without the message id, those
        of other messages that began in the same millisecond are passed over too."""
        ...

    def last_attempt(self, destination_id: str) -> Attempt | None:
        """The newest attempt of whatever message to a destination."""
        ...

    def count(self, destination_id: str | None = None) -> dict[str, int]:
        """Messages by state, those of one destination or all."""
        ...


# ── Credentials ────────────────────────────────────────────────────────────────────────────────────────────

Scope = Literal["read", "operate", "admin"]


class ApiKey(Struct, frozen=True):
    """An API key: only its hash is kept. Bound to business products; empty means all."""

    id: str
    name: str
    hash: bytes
    """SHA-256 of the key (keys are 256 random bits, so that no slow hash is needed)."""
    scope: Scope
    business_product_ids: tuple[str, ...]
    created_at: Instant
    revoked_at: Instant | None = None


class Credentials(Protocol):
    def put_api_key(self, key: ApiKey) -> None: ...

    def api_key_by_hash(self, hash: bytes) -> ApiKey | None: ...

    def api_keys(self, after: str, limit: int) -> list[ApiKey]: ...


# ── Store ──────────────────────────────────────────────────────────────────────────────────────────────────


class Transaction(Protocol):
    """What a write or read function works with; valid only while that function runs."""

    @property
    def journal(self) -> Journal: ...
    @property
    def views(self) -> Views: ...
    @property
    def work(self) -> Work: ...
    @property
    def attempts(self) -> Attempts: ...
    @property
    def credentials(self) -> Credentials: ...


class Store(Protocol):
    async def append(self, arrivals: Sequence[Arrival]) -> list[Receipt]:
        """Journal arrivals durably, each once, and count every duplicate. Returns after the commit.

        Arrivals of concurrent callers share a commit (natural batches, no timer). A duplicate inside the
        batch is one too. Raises `StoreUnavailable`: then none of these arrivals was kept.
        """
        ...

    async def write(self, function: Callable[[Transaction], T]) -> T:
        """Run `function` in a write transaction of its own and commit it."""
        ...

    async def read(self, function: Callable[[Transaction], T]) -> T:
        """Run `function` on one consistent state of the database, beside the writer."""
        ...

    async def changed(self, position: int, timeout: float) -> int:
        """Wait until the journal's last position is above `position`, or `timeout` seconds; returns the last
        position known. A wait for a signal, not a poll."""
        ...

    async def close(self) -> None:
        """Finish what was accepted, commit, release the lock."""
        ...
