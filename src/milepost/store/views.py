"""Views as every store has them, and the indexes, flags and failed folds that go with them."""

from collections.abc import Collection, Mapping, Sequence
from typing import Literal, Protocol

from msgspec import Struct

from milepost.domain.instant import Instant

ViewKind = Literal[
    "order",
    "delivery",
    "tracker",
    "world",
    "credential",
    "authProfile",
    "subscription",
    "eventSource",
    "signingKeys",
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


class FailedFold(Struct, frozen=True):
    """A record (or a subject) that a consumer could not process; it stopped nothing."""

    consumer: str
    position: int
    business_product_id: str
    subject: str
    error: str
    at: Instant


class Views(Protocol):
    def index(self, subjects: Mapping[int, tuple[str, Sequence[str]]]) -> None:
        """Index records under their subjects: position -> (business product, subjects). Again is harmless."""
        ...

    def unindex(self, subjects: Mapping[int, tuple[str, Sequence[str]]]) -> None:
        """Undo `index` for records that are taken away, and forget their flags and failed folds."""
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
        *,
        newest_first: bool = False,
        walk: bool = False,
    ) -> list[tuple[int, View]]:
        """Views of a kind, oldest first or the other way round: (first-seen number, view); `after` is (number,
        business product, id). With `walk` those of other kinds are passed on the way: so is read who reads all."""
        ...

    def extent(self, kind: ViewKind, business_products: Collection[str] | None) -> tuple[int, int]:
        """(how many there are of a kind, the highest first-seen number or 0)."""
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

    def termed(self, beginning: str, after: Found | None, limit: int) -> list[Found]:
        """Views by terms with this beginning, of every business product, in a fixed order, behind one of them."""
        ...

    def tally(
        self, beginning: str, limit: int, business_products: Collection[str] | None
    ) -> list[tuple[str, int]]:
        """(term, how many views have it) of terms with this beginning, in order."""
        ...

    def flag(self, flags: Mapping[int, Sequence[str]]) -> None:
        """Flags found after the append (keyReuse, conflict), by position. Again is harmless."""
        ...

    def unflag(self, flags: Mapping[int, Sequence[str]]) -> None:
        """Take flags away that what is left of the journal no longer shows."""
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

    def failed(self, positions: Collection[int]) -> set[int]:
        """Those of these positions that any consumer failed at."""
        ...

    def share(self, claims: Collection[tuple[str, str, str]]) -> None:
        """Note orders that were seen to show one delivery: (business product, delivery id, order id). Again is
        harmless. A note may outlive what it says; nothing is folded from it."""
        ...

    def sharing(self, deliveries: Collection[tuple[str, str]]) -> dict[tuple[str, str], tuple[str, ...]]:
        """The orders noted for each (business product, delivery id), sorted; only those with any."""
        ...

    def unshare(self, orders: Collection[tuple[str, str]]) -> None:
        """Forget the notes of orders: (business product, order id)."""
        ...

    def clear(self) -> None:
        """Forget every view of the journal (order, delivery, tracker), index and flag: a rebuild starts so."""
        ...

    def dump(self) -> list[tuple[str, ...]]:
        """Everything `clear` would forget, as sorted text rows: what two builds are compared by."""
        ...
