"""The inbox: the newest events and conflicting copies, narrowed as somebody asks, each with what became of it.

What narrows is no index of the journal's but the record itself, so a page looks back through `WINDOW` positions at
most and says how far it looked; outcomes are folded, of `JUDGED` events a page at most. So a page costs the same
however many events there are. An order, a tracking number or an id goes by the index of subjects instead.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from msgspec import Struct

from milepost.domain.event import canonical_type
from milepost.domain.instant import Instant
from milepost.domain.record import Record, event_subject, key_subject, order_subject
from milepost.pipeline.positions import position_at
from milepost.store import Transaction
from milepost.web.events import EventItem, event_items
from milepost.web.reading import Reach

PAGE = 50
WINDOW = 50_000
JUDGED = 200
MOST_OF_ONE = 2_000
"""Records of one order or tracker that are listed."""
_SEARCHED = 10
_MOST_PRODUCTS = 200


class Wanted(Struct, frozen=True):
    """What the inbox is narrowed to; empty: everything."""

    type: str = ""
    """By any of its names."""
    outcome: str = ""
    """A code of `domain.outcome`; `duplicate` is also whatever came more than once, `conflict` whatever was disputed,
    `keyReuse` whatever has the flag."""
    road: str = ""
    """The road of the first arrival."""
    about: str = ""
    """An order, delivery, tracker, event or idempotency key, by its id."""
    since: Instant | None = None
    until: Instant | None = None


class Inbox(Struct):
    """One page, newest first."""

    items: list[EventItem]
    older: int | None
    """Go on below this position; None at the end."""
    newer: int | None
    """Go on above this position; None at the newest."""
    looked_to: int
    """Down to which position it was looked; what is below was not."""


class _Span(Struct):
    """The positions that a page may show, neither end included, and those alone that it is about."""

    low: int
    high: int
    only: Sequence[int] | None


def look(
    tx: Transaction,
    reach: Reach,
    wanted: Wanted,
    *,
    before: int | None = None,
    after: int | None = None,
) -> Inbox:
    """The page below `before`, or above `after`; the newest without either."""
    last = tx.journal.last_position()
    span = _span(tx, reach, wanted, last)
    if after is not None:
        return _upwards(tx, reach, wanted, span, after)
    high = span.high if before is None else min(before, span.high)
    low = max(span.low, high - 1 - WINDOW) if span.only is None else span.low
    items, where = _collect(tx, reach, wanted, _Span(low, high, span.only), newest_first=True)
    more = where > low or low > span.low
    older = (where if where > low else low + 1) if more else None
    newest = items[0].position if items else high - 1
    newer = newest if high <= last and high < span.high else None
    return Inbox(items, older, newer, where if where > low else low)


def _upwards(tx: Transaction, reach: Reach, wanted: Wanted, span: _Span, after: int) -> Inbox:
    low = max(after, span.low)
    high = min(span.high, low + 1 + WINDOW) if span.only is None else span.high
    items, where = _collect(tx, reach, wanted, _Span(low, high, span.only), newest_first=False)
    items.reverse()
    newer = where if where < high else (high - 1 if high < span.high else None)
    return Inbox(items, low + 1 if low > span.low else None, newer, low)


def matches(wanted: Wanted, item: EventItem) -> bool:
    """Whether an event that just came, or was just folded, belongs into the inbox as it is narrowed."""
    road = wanted.road in ("", *item.roads[:1])
    kind = not wanted.type or canonical_type(wanted.type) == item.type
    ids = (item.event_id, *(part for resource in item.resources for part in resource.split("/")))
    return road and kind and (not wanted.about or wanted.about in ids) and _has_outcome(wanted.outcome, item)


def _has_outcome(code: str, item: EventItem) -> bool:
    outcome = item.outcome
    if not code:
        return True
    if not outcome:
        return False
    beside = {"duplicate": outcome.copies > 0, "conflict": outcome.disputed, "keyReuse": outcome.key_reuse}
    return outcome.code == code or beside.get(code, False)


def _span(tx: Transaction, reach: Reach, wanted: Wanted, last: int) -> _Span:
    low = 0 if wanted.since is None else position_at(tx, Instant(wanted.since - 1))
    high = last + 1 if wanted.until is None else position_at(tx, wanted.until) + 1
    return _Span(low, high, positions_about(tx, reach, wanted.about) if wanted.about else None)


def _collect(
    tx: Transaction, reach: Reach, wanted: Wanted, span: _Span, *, newest_first: bool
) -> tuple[list[EventItem], int]:
    """At most a page, and the position at which to go on: the span's other end when nothing is left in it."""
    end = span.low if newest_first else span.high
    kept: list[EventItem] = []
    judged = 0
    where = end
    for records in _pages(tx, reach, wanted, span, newest_first):
        for item in event_items(tx, records, with_outcomes=True):
            if len(kept) == PAGE:
                return kept, where
            where = item.position
            if _has_outcome(wanted.outcome, item):
                kept.append(item)
        judged += len(records)
        if len(kept) == PAGE:
            return kept, _or_end(tx, reach, wanted, span, where, newest_first)
        if judged >= JUDGED:
            return kept, where
        where = end if len(records) < PAGE else where
    return kept, end


def _or_end(
    tx: Transaction, reach: Reach, wanted: Wanted, span: _Span, where: int, newest_first: bool
) -> int:
    """Where to go on, or the span's end when nothing follows."""
    rest = _Span(span.low, where, span.only) if newest_first else _Span(where, span.high, span.only)
    following = next(_pages(tx, reach, wanted, rest, newest_first), [])
    return where if following else (span.low if newest_first else span.high)


def _pages(
    tx: Transaction, reach: Reach, wanted: Wanted, span: _Span, newest_first: bool
) -> Iterator[list[Record]]:
    """The records of a span, a page at a time, none twice."""
    kind = canonical_type(wanted.type) if wanted.type else None
    low, high = span.low, span.high
    if span.only is not None:
        own = sorted((p for p in span.only if low < p < high), reverse=newest_first)
        for start in range(0, len(own), PAGE):
            found = tx.journal.records(own[start : start + PAGE])
            yield [
                found[p] for p in own[start : start + PAGE] if p in found and _fits(found[p], wanted, kind)
            ]
        return
    while True:
        records = tx.journal.received(
            low, high, PAGE, reach, type=kind, road=wanted.road or None, newest_first=newest_first
        )
        if records:
            yield records
        if len(records) < PAGE:
            return
        low, high = (low, records[-1].position) if newest_first else (records[-1].position, high)


def _fits(record: Record, wanted: Wanted, kind: str | None) -> bool:
    is_event = record.kind in ("event", "conflict")
    return is_event and kind in (None, record.type) and wanted.road in ("", record.road)


def positions_about(tx: Transaction, reach: Reach, id: str) -> list[int]:
    """Where the records of an order, a tracker, an event or an idempotency key are, by its id alone; of a delivery:
    its order's."""
    if "\x00" in id:
        return []
    products = (tx.journal.business_products() if reach is None else sorted(reach))[:_MOST_PRODUCTS]
    carrier, _, number = id.partition("/")
    plain = [order_subject(id), event_subject(id), key_subject(id), f"tracker/{carrier.lower()}/{number}"]
    subjects = {(product, subject) for product in products for subject in plain}
    subjects.update(_searched(tx, reach, id))
    found = tx.journal.positions_of(subjects, MOST_OF_ONE)
    return sorted({position for positions in found.values() for position in positions})


def _searched(tx: Transaction, reach: Reach, id: str) -> Iterable[tuple[str, str]]:
    term = id.lower()
    for found in tx.views.search(term, _SEARCHED, reach):
        if found.term != term:
            continue
        kind: Literal["order", "tracker"] = "tracker" if found.kind == "tracker" else "order"
        name = found.id
        if found.kind == "delivery":
            view = tx.views.get([(found.kind, found.business_product_id, found.id)])
            name = next((v.parent for v in view.values() if v.parent), "")
        yield found.business_product_id, f"{kind}/{name}"
