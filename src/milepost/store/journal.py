"""The journal as every store has it: records, arrivals, quarantine, checkpoints, counts."""

from collections.abc import Collection, Sequence
from typing import Literal, Protocol

from msgspec import Struct

from milepost.domain.envelope import Event
from milepost.domain.instant import Instant
from milepost.domain.record import Kind, Record
from milepost.domain.roads import Crossing, Passage


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
    dismissed_at: Instant | None = None
    """When somebody said that nothing is to be done about it."""
    handled_by: str = ""
    """Who released or dismissed it."""


QuarantineState = Literal["waiting", "released", "dismissed"]
"""Of a quarantined body; one that was dismissed and then released is released."""


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
    """Ever journalled; `removed` of them are gone."""
    last_position: int
    folded: int
    """Records at or below the projector's checkpoint, failed folds among them."""
    pending: int
    failed_folds: int
    removed: int = 0
    """Records that retention took away; every other count is of everything that ever came."""
    dismissed: int = 0
    """Of those in quarantine: about which somebody said that nothing is to be done."""

    @property
    def waiting(self) -> int:
        """In quarantine, for somebody to look at."""
        return self.quarantined - self.dismissed


class Journal(Protocol):
    def add(self, records: Sequence[NewRecord]) -> list[int]:
        """Journal what Milepost itself found out; positions in order."""
        ...

    def after(self, position: int, limit: int, size: int | None = None) -> list[Record]:
        """Records above `position`, lowest first; with `size` only as many as have bodies of so many bytes together,
        and one at least."""
        ...

    def events(
        self, after: int, limit: int, business_products: Collection[str] | None, type: str | None
    ) -> list[Record]:
        """Event records above `after`, lowest first; `None` business products means all, `type` is canonical."""
        ...

    def received(
        self,
        low: int,
        high: int,
        limit: int,
        business_products: Collection[str] | None,
        *,
        type: str | None = None,
        road: str | None = None,
        newest_first: bool = True,
    ) -> list[Record]:
        """Events and conflicting copies between two positions (both not included), `type` canonical, `road` the one
        of the first arrival. Every record between the positions may be looked at: keep them near each other."""
        ...

    def of_kind(self, kind: Kind, after: int, upto: int) -> list[Record]:
        """The records of a kind above one position and up to another, lowest first. Every record there is looked at:
        keep the positions near each other."""
        ...

    def records(self, positions: Collection[int]) -> dict[int, Record]: ...

    def of_subjects(self, subjects: Collection[tuple[str, str]]) -> dict[tuple[str, str], list[Record]]:
        """All indexed records of each (business product, subject), lowest position first."""
        ...

    def positions_of(
        self, subjects: Collection[tuple[str, str]], limit: int, *, after: int = 0
    ) -> dict[tuple[str, str], list[int]]:
        """Positions above `after` of the indexed records of each (business product, subject), lowest first, `limit`
        in all at most."""
        ...

    def business_products(self) -> list[str]:
        """Every business product that an indexed record is about, sorted."""
        ...

    def last_position(self) -> int: ...

    def arrivals(self, positions: Collection[int]) -> dict[int, list[ArrivalRow]]:
        """Every arrival of each record, the first included, in order."""
        ...

    def other_bodies(self, position: int) -> dict[str, bytes]:
        """The body of the first arrival by each live road that the record itself did not come by, by road."""
        ...

    def crossings(self, limit: int, business_products: Collection[str] | None) -> list[Crossing]:
        """Events that came by more than one live road, by the first arrival on the later one, newest first. Replays
        are no road of this. Only the journal's newest arrivals are looked through, so that it costs little."""
        ...

    def passages(
        self, limit: int, business_products: Collection[str] | None, *, replays: bool
    ) -> list[Passage]:
        """The newest arrivals of events, first ones and copies, by live roads or (`replays`) by replays; newest
        first. An event whose first arrival is among them has all its live ones there. Bounded as `crossings` is."""
        ...

    def lags(self, limit: int, business_products: Collection[str] | None) -> list[int]:
        """Milliseconds from publishing to the first arrival, of the newest events that came by a live road, newest
        first. Bounded as `crossings` is."""
        ...

    def last_arrivals(self, positions: Collection[int]) -> dict[int, Instant]:
        """When each record came last, of those that came more than once."""
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

    def newest_quarantined(
        self,
        before: int | None,
        limit: int,
        business_products: Collection[str] | None,
        *,
        state: QuarantineState | None = None,
        code: str | None = None,
    ) -> list[Quarantined]:
        """Entries with id below `before`, highest first; visible as in `quarantined`."""
        ...

    def quarantine_entry(self, id: int) -> Quarantined | None: ...

    def quarantined_at(self, position: int) -> Quarantined | None:
        """The entry that was released to this record."""
        ...

    def dismiss(self, id: int, at: Instant, by: str) -> bool:
        """Note that nothing is to be done about an entry; it stays and stays counted, as dismissed. False when it
        was released or dismissed already, or is not there."""
        ...

    def append_released(self, id: int, arrival: Arrival, at: Instant, by: str = "") -> Receipt:
        """Ingest a quarantined body that can be read now, and move its count. Again on an entry already
        released: the same receipt's position, status duplicate, and nothing counted."""
        ...

    def checkpoint(self, consumer: str) -> int:
        """The position up to which a consumer has processed everything; 0 before the first."""
        ...

    def set_checkpoint(self, consumer: str, position: int) -> None: ...

    def counts(self, projector: str) -> Counts: ...

    def freeze(self) -> None:
        """Let nobody else append until this transaction ends, so that what it sees of the journal's end stays
        true. On SQLite nobody can anyway; elsewhere appends wait, so a transaction does this late and briefly."""
        ...

    def remove(self, positions: Collection[int]) -> int:
        """Take records away for good, with their arrivals, what came of them by other roads, and the quarantined
        bodies that were released to them; returns how many there were, and counts them as removed. Raises
        `ValueError` for the journal's last record: its position would be given again."""
        ...
