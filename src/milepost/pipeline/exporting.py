"""Exports: pages of a dataset's rows, read from the store in constant memory, from where an earlier export ended.

An export is bounded when it begins, by the journal's last position or the highest number that is there: what comes
later is the next export's, so that each one ends. Each page is a read of its own, so that no read transaction is held
open however long the receiver takes, and ends between two records (views, entries): a `Place` says behind which.

What is promised. Of `facts` and `accounting`, whose rows never change: the same rows in the same order, wherever an
export is cut, whatever its pages' size, whatever is journalled meanwhile; only what is removed or erased meanwhile
comes no more, or comes erased. Of the others: every row that is there from the beginning to the end comes once, in
the order in which they were first heard of, each as it stood when its page was read (`position` says as of when);
what is first heard of later does not come. A rebuild numbers views anew: an export that it falls into ends with
`Conflict`.

Which datasets there are, and their rows, are `domain.feed`'s and its neighbours'; files are `export_formats`'.
"""

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from typing import Annotated, Any, Protocol

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from milepost.domain.errors import Conflict, Invalid
from milepost.domain.feed import ROWS_VERSION, Dataset, Row
from milepost.domain.feed_facts import fact_rows
from milepost.domain.feed_rows import (
    capture_row,
    delivery_row,
    entry_row,
    milestone_rows,
    notification_row,
    order_row,
    tracker_row,
)
from milepost.domain.mapping import Mappings
from milepost.pipeline.export_formats import Encoder
from milepost.pipeline.mappings import mappings_of
from milepost.pipeline.projector import NAME as PROJECTOR
from milepost.store import Store, Transaction, View, ViewKind

RECORDS = 500
"""Records a page; so many are read and written in a few milliseconds, in which nobody else has the interpreter."""
BYTES = 1_000_000
"""Bytes of records' bodies a page; a record is at most as large as what the webhook takes, an answer may be more."""
OTHERS = 250
"""Views, or entries of a ledger, a page."""

Reach = Collection[str] | None
"""The business products to look in; None for all."""
Number = Annotated[int, Meta(ge=0, le=2**63 - 1)]


class Limits(Struct, frozen=True):
    """Where a piece of an export ends: behind the page that reaches one of these. Pages are counted for those who see
    little of a long journal: they are answered in time, with nothing if need be."""

    rows: int
    bytes: int
    pages: int


class Place(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Where an export is: all that a cursor holds. It opens nothing: whoever goes on is asked for his key again."""

    rows: int
    business_product_id: str | None
    """What the export was narrowed to."""
    after: Number
    until: Number
    """Positions of records, or numbers: behind which the rest is, and where it ends."""

    @property
    def done(self) -> bool:
        return self.after >= self.until


class _Owned(Protocol):
    """A view, or an entry of a ledger."""

    @property
    def business_product_id(self) -> str: ...


class Page(Struct, frozen=True):
    """A page of rows, and behind which record, view or entry it ends."""

    rows: list[Row]
    after: int


Read = Callable[[Transaction, Reach, int, int], Page]
"""(transaction, reach, after, until) to the next page."""
Extent = Callable[[Transaction, Reach], tuple[int | None, int]]
"""How many records, views or entries there are (None: that would have to be counted), and the highest number."""


class Source(Struct, frozen=True):
    """From where a dataset's rows come."""

    extent: Extent
    read: Read


def begin(
    tx: Transaction,
    dataset: Dataset,
    reach: Reach,
    business_product_id: str | None,
    given: Place | None = None,
    until: int | None = None,
) -> Place:
    """Where to start: at the beginning, where `given` says, or, when that is a finished export of a dataset that
    only grows, with what came since. `until` bounds one that begins. Raises `Invalid`."""
    if until is not None and not dataset.appended:
        raise Invalid(f"until bounds only datasets that grow, which {dataset.name} does not", field="until")
    if given is not None:
        check(given, dataset, business_product_id)
        if not given.done:
            if until is not None and until != given.until:
                raise Invalid("an export that goes on ends where it was to end", field="until")
            return given
    last = SOURCES[dataset.name].extent(tx, reach)[1]
    bound = last if until is None else min(until, last)
    after = 0 if given is None else given.after
    return Place(ROWS_VERSION, business_product_id, after, max(bound, after))


def check(given: Place, dataset: Dataset, business_product_id: str | None) -> None:
    """Whether an export may go on from there. Raises `Invalid`."""
    if given.rows != ROWS_VERSION:
        detail = f"this cursor is of version {given.rows} of rows, which are of {ROWS_VERSION}: export anew"
        raise Invalid(detail, field="after")
    if given.business_product_id != business_product_id:
        raise Invalid("this cursor is of an export of another businessProductId", field="after")
    if given.after > given.until or (given.done and not dataset.appended):
        raise Invalid("after is not a cursor of this export", field="after")


def behind(place: Place, dataset: Dataset) -> Place | None:
    """From where the next export has what came since this one began; None where rows may change."""
    return replace(place, after=place.until) if dataset.appended else None


class Exporter:
    """One export on its way: `place` is how far it got, `rows` how many came by now."""

    def __init__(
        self,
        store: Store,
        dataset: Dataset,
        reach: Reach,
        place: Place,
        encoder: Encoder[Any],
        allowed: Callable[[Transaction], None] = lambda tx: None,
    ) -> None:
        """`allowed` is asked in each read, and raises what ends the export."""
        self.place = place
        self.rows = 0
        self._store = store
        self._read = SOURCES[dataset.name].read
        self._reach = reach
        self._encoder = encoder
        self._allowed = allowed

    async def parts(self, limits: Limits | None = None) -> AsyncIterator[bytes]:
        """The file, or with limits a piece, in parts. Rows are made and written on the store's reader threads: the
        event loop only passes the parts on."""
        size = pages = 0
        if head := self._encoder.head():
            yield head
        while not self.place.done:
            if limits and (self.rows >= limits.rows or size >= limits.bytes or pages >= limits.pages):
                break
            encoded, rows, after = await self._store.read(self._page)
            self.place = replace(self.place, after=after)
            pages += 1
            if not rows:
                continue
            self.rows += rows
            part = await self._encoder.put(encoded)
            size += len(part)
            if part:
                yield part
        if tail := await self._encoder.tail():
            yield tail

    def _page(self, tx: Transaction) -> tuple[Any, int, int]:
        """Runs on a reader thread, and again where the connection was lost: it changes nothing here."""
        self._allowed(tx)
        page = self._read(tx, self._reach, self.place.after, self.place.until)
        return self._encoder.encode(page.rows) if page.rows else None, len(page.rows), page.after


# ── Reading ────────────────────────────────────────────────────────────────────────────────────────────────


def _facts(tx: Transaction, reach: Reach, after: int, until: int) -> Page:
    rows: list[Row] = []
    records = tx.journal.after(after, RECORDS, BYTES)
    mappings = _mappings(tx, records[-1].position if records else after)
    for record in records:
        if record.position > until:
            break
        after = record.position
        if reach is None or record.business_product_id in reach:
            rows += fact_rows(record, mappings.at(record.position))
    else:
        # None left, or none but removed ones up to there.
        return Page(rows, after if records else until)
    return Page(rows, until)


def _mappings(tx: Transaction, upto: int) -> Mappings:
    """Every version of what codes mean up to a position, those that nobody has indexed yet too: a row says the same,
    whenever it is exported."""
    folded = tx.journal.checkpoint(PROJECTOR)
    return mappings_of(tx, tx.journal.of_kind("mapping", folded, upto) if upto > folded else ())


def _facts_extent(tx: Transaction, reach: Reach) -> tuple[int | None, int]:
    return None, tx.journal.last_position()


def _numbered(
    items: Sequence[tuple[int, _Owned]],
    reach: Reach,
    until: int,
    rows_of: Callable[[int, Any], Sequence[Row]],
) -> Page:
    """The page of items that were read by number, everybody's: no index has those of one business product in that
    order, and to sort them for every page would make an export cost the square of what there is. Fewer than were
    asked for are the last."""
    kept = [(number, item) for number, item in items if number <= until]
    mine = kept if reach is None else [(n, item) for n, item in kept if item.business_product_id in reach]
    rows = [row for number, item in mine for row in rows_of(number, item)]
    ended = len(items) < OTHERS or len(kept) < len(items)
    return Page(rows, until if ended else kept[-1][0])


def _views(kind: ViewKind, rows_of: Callable[[int, Any], Sequence[Row]]) -> Source:
    def rows(number: int, view: View) -> Sequence[Row]:
        return rows_of(number, msgspec.json.decode(view.document))

    def read(tx: Transaction, reach: Reach, after: int, until: int) -> Page:
        # Those of one business product have an index in the order of their numbers; nothing else has.
        among = reach if reach is not None and len(reach) == 1 else None
        items = tx.views.page(kind, (after, "", ""), OTHERS, among, walk=among is None)
        if not items or items[0][0] > until:
            _still_numbered(tx, kind, reach, until)
        return _numbered(items, reach, until, rows)

    return Source(lambda tx, reach: tx.views.extent(kind, reach), read)


def _still_numbered(tx: Transaction, kind: ViewKind, reach: Reach, until: int) -> None:
    """Nothing is left to read: that is the end, unless a rebuild gave all views numbers behind the end."""
    first = tx.views.page(kind, None, 1, reach, walk=reach is None)
    if not first or first[0][0] > until:
        raise Conflict("the views were rebuilt since this export began: begin anew")


def _one(row_of: Callable[[int, Any], Row]) -> Callable[[int, Any], Sequence[Row]]:
    return lambda number, item: (row_of(number, item),)


def _milestones(tx: Transaction, reach: Reach, after: int, until: int) -> Page:
    mappings = mappings_of(tx)

    def rows(number: int, tracker: Any) -> Sequence[Row]:
        return list(milestone_rows(number, tracker, mappings))

    return _views("tracker", rows).read(tx, reach, after, until)


def _accounting(tx: Transaction, reach: Reach, after: int, until: int) -> Page:
    return _numbered(tx.books.page(after, OTHERS, None), reach, until, _one(entry_row))


def _notifications(tx: Transaction, reach: Reach, after: int, until: int) -> Page:
    return _numbered(tx.notifications.page(after, OTHERS, None), reach, until, _one(notification_row))


def _captures(tx: Transaction, reach: Reach, after: int, until: int) -> Page:
    return _numbered(tx.ledger.capture_page(after, OTHERS, None), reach, until, _one(capture_row))


SOURCES: Mapping[str, Source] = {
    "facts": Source(_facts_extent, _facts),
    "orders": _views("order", _one(order_row)),
    "deliveries": _views("delivery", _one(delivery_row)),
    "trackers": _views("tracker", _one(tracker_row)),
    "milestones": Source(lambda tx, reach: tx.views.extent("tracker", reach), _milestones),
    "accounting": Source(lambda tx, reach: tx.books.extent(reach), _accounting),
    "notifications": Source(lambda tx, reach: tx.notifications.extent(reach), _notifications),
    "captures": Source(lambda tx, reach: tx.ledger.capture_extent(reach), _captures),
}
