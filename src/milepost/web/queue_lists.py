"""Pages of work queues: what a queue holds, oldest first, with what people did about each item; counts; CSV.

Most queues are a table of the store's. Captures that are held or failed are read from their ledger, in the order in
which they became ready, and told in the same words. A filter by which the ledger has no index may end a page before
it is full.
"""

import csv
import io
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from typing import Any, Final, NamedTuple, get_args

from msgspec.structs import replace

from milepost.domain.capture import Capture
from milepost.domain.errors import Invalid, NotFound
from milepost.domain.instant import HOUR, Instant, format_instant
from milepost.domain.queue import NAMES, OF_CAPTURES, Mark, QueueItem, QueueName
from milepost.domain.queue_guide import GUIDES
from milepost.domain.record import order_subject
from milepost.pipeline.export_formats import FORMULAS
from milepost.store import ItemKey, ItemPlace, Store, Transaction, WantedItems
from milepost.store.queues import Standing
from milepost.web.documents import Document
from milepost.web.paging import Page, cut, decode_cursor, encode_cursor
from milepost.web.reading import Reach

COUNTED: Final = 10_000
"""A queue is counted up to here; a larger one has more than that."""
NOBODY: Final = "nobody"
"""As an assignee that is asked for: what nobody has."""
LOOKED_AT: Final = 2_000
"""Captures that one page looks at."""
CSV_PAGE: Final = 500
_LONGEST_AGE_HOURS: Final = 100_000
_FARTHEST: Final = 2**62


class QueueSummary(Document):
    """A queue: what it means, what to do about it, and how much is in it."""

    name: str
    title: str
    meaning: str
    advice: str
    actions: list[str]
    """What may be done to its items."""
    count: int
    more: bool
    """There are more than `count`, which is as far as they are counted."""
    oldest_since: str | None


class MarkItem(Document):
    """What people did about an item."""

    assignee: str | None
    snoozed_until: str | None
    handled: bool
    reason: str | None
    by: str
    at: str


class QueueEntry(Document):
    """One thing that somebody should look at. Null where nothing is known, or it does not apply."""

    id: str
    """For `actions`. Raised anew, it has another one."""
    queue: str
    business_product_id: str
    order_id: str | None
    delivery_id: str | None
    carrier_code: str | None
    tracking_number: str | None
    capture_id: str | None
    destination_region: str | None
    """As far as a scan at the destination told: `US-WA`, or the country alone."""
    state: str | None
    detail: str | None
    """The condition's code, a contradiction's kind, unmapped codes, why a capture is held or failed."""
    count: int
    """How bad it is where that is counted: attempts, steps of waiting for pickup, unmapped scans."""
    since: str
    mark: MarkItem | None


class Listed(NamedTuple):
    """An item as it was read, and where the page behind it goes on."""

    item: QueueItem
    mark: Mark | None
    place: ItemPlace | int


def queue_of(name: str) -> QueueName:
    """The queue of that name. Raises `NotFound`."""
    for known in NAMES:
        if known == name:
            return known
    raise NotFound(f"There is no queue {name[:40]!r}; there are {', '.join(NAMES)}.")


def wanted_items(
    queue: QueueName,
    now: Instant,
    *,
    carrier: str | None = None,
    region: str | None = None,
    older_than_hours: int | None = None,
    assignee: str | None = None,
    standing: str | None = None,
) -> WantedItems:
    """Which items are asked for; an empty text asks for nothing in particular. Raises `Invalid`."""
    wanted: Standing = "open"
    if standing:
        if standing not in get_args(Standing):
            raise Invalid(f"state must be one of {', '.join(get_args(Standing))}", field="state")
        wanted = standing  # type: ignore[assignment]
    until = None
    if older_than_hours is not None:
        if not 0 <= older_than_hours <= _LONGEST_AGE_HOURS:
            raise Invalid(f"olderThanHours must be 0 to {_LONGEST_AGE_HOURS}", field="olderThanHours")
        until = Instant(now - older_than_hours * HOUR)
    person = None if not assignee else "" if assignee == NOBODY else assignee
    return WantedItems(queue, wanted, carrier or None, region or None, until, person)


# ── Reading ────────────────────────────────────────────────────────────────────────────────────────────────


def summaries(tx: Transaction, reach: Reach, now: Instant) -> list[QueueSummary]:
    """Every queue, with how much of it is open."""
    return [summary(tx, name, reach, now) for name in NAMES]


def summary(tx: Transaction, name: QueueName, reach: Reach, now: Instant) -> QueueSummary:
    if name in OF_CAPTURES:
        count, oldest = _count_captures(tx, name, reach)
    else:
        count, oldest = tx.queues.count(name, COUNTED + 1, reach, now)
    guide = GUIDES[name]
    since = None if oldest is None else format_instant(oldest)
    return QueueSummary(
        name,
        guide.title,
        guide.meaning,
        guide.advice,
        list(guide.actions),
        min(count, COUNTED),
        count > COUNTED,
        since,
    )


def _count_captures(tx: Transaction, name: QueueName, reach: Reach) -> tuple[int, Instant | None]:
    state = OF_CAPTURES[name]
    first = tx.ledger.capture_page(0, 1, reach, [state])
    if not first:
        return 0, None
    return tx.ledger.count_in_state(state, COUNTED + 1, reach), first[0][1].history[-1].at


def queue_page(
    tx: Transaction, wanted: WantedItems, after: str | None, size: int, reach: Reach, now: Instant
) -> Page[QueueEntry]:
    """One page of a queue. Raises `Invalid` for a cursor of another queue."""
    name = f"queue/{wanted.queue}"
    if wanted.queue in OF_CAPTURES:
        begin = 0 if after is None else decode_cursor(name, after, int)
        rows, behind = _captures(tx, wanted, begin, size, reach)
        following = None if behind is None else encode_cursor(name, behind)
        return Page([_entry(row) for row in rows], following)
    place = None if after is None else decode_cursor(name, after, ItemPlace)
    if place is not None:
        _check(place)
    items = tx.queues.page(wanted, place, size + 1, reach, now)
    return cut(name, _with_marks(tx, items), size, lambda row: row.place, _entry)


def _with_marks(tx: Transaction, items: Sequence[QueueItem]) -> list[Listed]:
    marks = tx.queues.marks([key_of(item) for item in items])
    return [
        Listed(item, marks.get(key_of(item)), ItemPlace(item.since, item.business_product_id, item.subject))
        for item in items
    ]


def _captures(
    tx: Transaction, wanted: WantedItems, begin: int, size: int, reach: Reach
) -> tuple[list[Listed], int | None]:
    """Captures of the wanted state, and the number to go on behind (None: all were looked at)."""
    found: list[Listed] = []
    left, behind = LOOKED_AT, begin
    while left > 0:
        rows = tx.ledger.capture_page(behind, min(left, CSV_PAGE), reach, [OF_CAPTURES[wanted.queue]])
        items = [item_of_capture(wanted.queue, capture) for _, capture in rows]
        marks = tx.queues.marks([key_of(item) for item in items])
        for (number, _), item in zip(rows, items, strict=True):
            mark = marks.get(key_of(item))
            if _fits(wanted, item, mark):
                if len(found) == size:
                    return found, behind
                found.append(Listed(item, mark, number))
            behind = number
        if len(rows) < min(left, CSV_PAGE):
            return found, None
        left -= len(rows)
    return found, behind


def _fits(wanted: WantedItems, item: QueueItem, mark: Mark | None) -> bool:
    """What the store does for the other queues. A capture is never snoozed nor handled: it has states of its own."""
    assignee = mark.assignee if mark is not None else ""
    return (
        wanted.standing in ("open", "all")
        and (wanted.carrier_code is None or item.carrier_code.lower() == wanted.carrier_code.lower())
        and (wanted.region is None or item.region == wanted.region)
        and (wanted.until is None or item.since <= wanted.until)
        and (wanted.assignee is None or assignee == wanted.assignee)
    )


def item_of_capture(queue: QueueName, capture: Capture) -> QueueItem:
    """A capture of the ledger as an item of a queue, since it came to its state."""
    return QueueItem(
        queue,
        capture.business_product_id,
        capture.id,
        capture.history[-1].at,
        capture.order_id,
        capture.delivery_id,
        capture.carrier_codes[0] if capture.carrier_codes else "",
        state=capture.state,
        detail=capture.reason,
    )


# ── Items ──────────────────────────────────────────────────────────────────────────────────────────────────


def key_of(item: QueueItem) -> ItemKey:
    """What an item is known by. It belongs to its order, an orphan or an unmapped code to its tracker."""
    owner = item.subject if item.subject.startswith("tracker/") else order_subject(item.order_id)
    return ItemKey(item.business_product_id, owner, item.queue, item.subject, item.since)


def item_id(item: QueueItem) -> str:
    return encode_cursor("item", key_of(item))


def read_ids(ids: Iterable[str], queue: QueueName) -> dict[ItemKey, str]:
    """The items that ids mean, and the id of each. Raises `Invalid` for one that isn't of this queue."""
    found: dict[ItemKey, str] = {}
    for text in ids:
        try:
            key = decode_cursor("item", text, ItemKey)
            _check(key)
        except Invalid as e:
            raise Invalid(f"{text[:40]!r} is no item of a queue", field="ids") from e
        if key.queue != queue:
            raise Invalid(f"{text[:40]!r} is an item of queue {key.queue}, not {queue}", field="ids")
        found[key] = text
    return found


def _check(named: ItemKey | ItemPlace) -> None:
    """Somebody may have made a cursor themselves, of what no store takes. Raises `Invalid`."""
    texts = (each for each in named if isinstance(each, str))
    if not -_FARTHEST < named.since < _FARTHEST or any("\x00" in text for text in texts):
        raise Invalid("after is not a cursor of this list", field="after")


def _entry(row: Listed) -> QueueEntry:
    item = row.item
    capture = item.subject if item.queue in OF_CAPTURES else None
    return QueueEntry(
        item_id(item),
        item.queue,
        item.business_product_id,
        item.order_id or None,
        item.delivery_id or None,
        item.carrier_code or None,
        item.tracking_number or None,
        capture,
        item.region or None,
        item.state or None,
        item.detail or None,
        item.count,
        format_instant(item.since),
        None if row.mark is None else _mark(row.mark, item.count),
    )


def unsigned(entry: QueueEntry) -> QueueEntry:
    """Without the reason that somebody wrote, for who may not serve customers: it is about one of them."""
    return entry if entry.mark is None else replace(entry, mark=replace(entry.mark, reason=None))


def _mark(mark: Mark, count: int) -> MarkItem:
    return MarkItem(
        mark.assignee or None,
        None if mark.snoozed_until is None else format_instant(mark.snoozed_until),
        mark.handled_count is not None and count <= mark.handled_count,
        mark.reason or None,
        mark.by,
        format_instant(mark.at),
    )


# ── CSV ────────────────────────────────────────────────────────────────────────────────────────────────────

_COLUMNS: Final[Sequence[tuple[str, Callable[[QueueEntry], Any]]]] = (
    ("queue", lambda e: e.queue),
    ("businessProductId", lambda e: e.business_product_id),
    ("orderId", lambda e: e.order_id),
    ("deliveryId", lambda e: e.delivery_id),
    ("carrierCode", lambda e: e.carrier_code),
    ("trackingNumber", lambda e: e.tracking_number),
    ("captureId", lambda e: e.capture_id),
    ("destinationRegion", lambda e: e.destination_region),
    ("state", lambda e: e.state),
    ("detail", lambda e: e.detail),
    ("count", lambda e: e.count),
    ("since", lambda e: e.since),
    ("assignee", lambda e: e.mark and e.mark.assignee),
    ("snoozedUntil", lambda e: e.mark and e.mark.snoozed_until),
    ("handled", lambda e: str(e.mark is not None and e.mark.handled).lower()),
    ("reason", lambda e: e.mark and e.mark.reason),
)


async def csv_of(
    store: Store, wanted: WantedItems, reach: Collection[str] | None, now: Instant, *, personal: bool = True
) -> AsyncIterator[bytes]:
    """Everything that is wanted as CSV (RFC 4180), a page in memory at a time; without `personal` each `unsigned`. A
    text that a spreadsheet would take for a formula has an apostrophe before it."""
    yield _csv([[name for name, _ in _COLUMNS]])
    after: str | None = None
    while True:
        cursor = after
        page = await store.read(lambda tx, at=cursor: queue_page(tx, wanted, at, CSV_PAGE, reach, now))  # type: ignore[misc]
        entries = page.items if personal else [unsigned(entry) for entry in page.items]
        if entries:
            yield _csv([_guarded(read(entry)) for _, read in _COLUMNS] for entry in entries)
        after = page.next
        if after is None:
            return


def _csv(rows: Iterable[Sequence[Any]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue().encode("utf-8", "replace")


def _guarded(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULAS) else value
