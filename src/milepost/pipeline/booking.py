"""The accountant's books, inside the projector: the rows of what a batch changed, committed with its views.

The follower `booked`: each order that was folded is compared with what was last booked of it (`domain.booking`), and
what changed is held against the rows that are there, in the very write that posts the new ones. So nothing is posted
twice, whoever settled a row or closed a period meanwhile, and a rebuild posts nothing.

Rows are settled by the `accountant`. Closing a period (`close_period`) lives here, since it and posting are about the
same thing: what is written to a period once it is closed.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import tzinfo
from typing import Any

from msgspec.structs import replace

from milepost.domain.accounting import Entry, Period
from milepost.domain.booking import (
    Booking,
    Change,
    Posting,
    book_order,
    due_rows,
    ended_at,
    is_period,
    rows_of,
    standing_row,
)
from milepost.domain.envelope import event_id_of
from milepost.domain.errors import Conflict, Invalid
from milepost.domain.instant import Instant, format_instant, parse_instant
from milepost.domain.record import Record, order_subject
from milepost.pipeline.telling import BOOKED, Followed
from milepost.store import Transaction

_TYPES: Mapping[str, str] = {"shipped": "PACKAGE_DELIVERY_IN_TRANSIT", "delivered": "PACKAGE_DELIVERED"}


class BookFollower:
    """The `telling.Follower` that keeps the books. `origin` is the zone that parcels are sent from."""

    name = BOOKED

    def __init__(self, origin: tzinfo, settle_ms: int) -> None:
        self._origin = origin
        self._settle_ms = settle_ms

    def follow(
        self, order: Mapping[str, Any], before: bytes | None, at: Instant, now: Instant
    ) -> Followed | None:
        booking = book_order(order, before, self._origin)
        return None if booking is None else Followed(booking.encoded(), (booking,))

    def hushed(self, rows: Sequence[Any]) -> Sequence[Any]:
        """All of them: books say what is known, whatever made it known."""
        return rows

    def write(self, tx: Transaction, rows: Sequence[Booking], now: Instant) -> None:
        orders = {(booking.business_product_id, booking.order_id): booking for booking in rows}
        booked = tx.books.of_orders(orders)
        postings = postings_of(tx, {product for product, _ in orders}, now, self._settle_ms)
        erased = _erased(tx, orders)
        posted: list[Entry] = []
        newest: dict[str, int] = {}
        again: list[tuple[Entry, Instant | None]] = []
        standings: dict[tuple[str, str], bytes] = {}
        for order, booking in orders.items():
            there, posting = booked.get(order, []), postings[order[0]]
            came_back: set[str] = set()
            for change in booking.changes:
                mine = rows_of(there, change.delivery_id, change.kind)
                if change.first and standing_row(mine) is not None:
                    came_back.add(change.delivery_id)
                    continue
                due = due_rows(booking, change, mine, posting, erased=order in erased)
                posted += due
                if change.statement is not None:
                    newest |= {entry.id: change.statement.newest for entry in due if entry.sign == 1}
                again += _again(change, mine, due, posting)
            if came_back:
                standings[order[0], f"{BOOKED}/{order_subject(order[1])}"] = _keeping(booking, came_back)
        tx.books.post(_with_records(tx, posted, newest))
        tx.books.look_again(again)
        tx.ledger.tell(standings)


def postings_of(
    tx: Transaction, business_products: Iterable[str], now: Instant, settle_ms: int = 0
) -> dict[str, Posting]:
    """How rows are posted now, by business product."""
    products = set(business_products)
    closed: dict[str, set[str]] = {product: set() for product in products}
    for product, period in tx.books.closed(products):
        closed[product].add(period)
    return {product: Posting(now, settle_ms, closed[product]) for product in products}


def close_period(tx: Transaction, business_product_id: str, period: str, by: str, now: Instant) -> Period:
    """Close a period: nothing is posted to it from now on. Again changes nothing.

    Raises `Invalid` for what is no month, and `Conflict` for one that has not ended everywhere yet."""
    if not is_period(period):
        raise Invalid(f"{period[:20]!r} is no month, as in 2025-01", field="period")
    if now < (end := ended_at(period)):
        raise Conflict(
            f"{period} has not ended: it is over everywhere at {format_instant(end)}",
            endsAt=format_instant(end),
        )
    made = Period(business_product_id, period, now, by)
    if tx.books.close(made):
        return made
    below = (
        f"{int(period[:4]) - 1:04}-99" if period.endswith("-01") else f"{period[:5]}{int(period[5:]) - 1:02}"
    )
    (known,) = tx.books.periods((business_product_id, below), 1, (business_product_id,))
    return known


def _again(
    change: Change, there: Sequence[Entry], due: Sequence[Entry], posting: Posting
) -> list[tuple[Entry, Instant | None]]:
    """What becomes of looking at the row that stood until now: none of it when it is reversed; when it stays and is
    provisional, it waits anew from the end of a contradiction, and for that end while there is one."""
    standing = standing_row(there)
    if standing is None or standing.status == "settled":
        return []
    if due or change.doubted:
        return [(standing, None)]
    return [(standing, Instant(posting.now + posting.settle_ms))]


def _erased(tx: Transaction, orders: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
    if not tx.erasures.any_erased():
        return set()
    subjects = {(product, order_subject(order)): (product, order) for product, order in orders}
    return {subjects[key] for key in tx.erasures.erased(subjects)}


def _keeping(booking: Booking, came_back: set[str]) -> bytes:
    standing = (replace(b, kept=True) if b.delivery_id in came_back else b for b in booking.standing)
    return replace(booking, standing=tuple(standing)).encoded()


# ── Evidence ───────────────────────────────────────────────────────────────────────────────────────────────


def _with_records(tx: Transaction, entries: Sequence[Entry], newest: Mapping[str, int]) -> list[Entry]:
    """Rows with the record that showed what they state, and the id of the event if it is one. A reversal has its
    row's. `newest`, by row id, is the newest fact about the delivery: most often it is what says so."""
    wanted = {entry.id: at for entry in entries if entry.id in newest and (at := _where(entry, newest))}
    records = tx.journal.records(set(wanted.values())) if wanted else {}
    found: dict[str, dict[str, Any]] = {}
    missing: list[Entry] = []
    for entry in entries:
        if entry.id in wanted:
            record = records.get(wanted[entry.id])
            if entry.evidence["position"] is not None:
                found[entry.id] = {"eventId": None if record is None else event_id_of(record.body)}
            elif record is not None and _fits(record, entry):
                found[entry.id] = _named(record)
            else:
                missing.append(entry)
    if missing:
        found |= _searched(tx, missing)
    return [
        replace(entry, evidence=entry.evidence | found.get(entry.id, {"eventId": None}))
        if entry.id in newest
        else entry
        for entry in entries
    ]


def _where(entry: Entry, newest: Mapping[str, int]) -> int | None:
    """The position of the record to look at; None where there is nothing to learn from it."""
    position: int | None = entry.evidence["position"]
    if entry.evidence["kind"] in ("milestone", "correction"):
        return None
    if position is None:
        return newest[entry.id]
    return position if entry.evidence["kind"] == "event" else None


def _searched(tx: Transaction, entries: Sequence[Entry]) -> dict[str, dict[str, Any]]:
    """The first record of each row's order that shows it, by row id; where there is one."""
    subjects = {entry.id: (entry.business_product_id, order_subject(entry.order_id)) for entry in entries}
    about = tx.journal.of_subjects(set(subjects.values()))
    found: dict[str, dict[str, Any]] = {}
    for entry in entries:
        for record in about.get(subjects[entry.id], ()):
            if _fits(record, entry) and (entry.evidence["kind"] != "event" or _is_about(record, entry)):
                found[entry.id] = _named(record)
                break
    return found


def _fits(record: Record, entry: Entry) -> bool:
    """Whether it was published when that happened, and says so: the event itself, or an answer that shows it."""
    evidence = entry.evidence
    says = evidence["kind"] != "event" or (record.type == _TYPES[entry.kind] and _is_event(record))
    return says and record.published_at == parse_instant(evidence["at"])


def _is_event(record: Record) -> bool:
    return record.kind in ("event", "conflict")


def _is_about(record: Record, entry: Entry) -> bool:
    return any(resource.ids.get("delivery") == entry.delivery_id for resource in record.event().resources)


def _named(record: Record) -> dict[str, Any]:
    if not _is_event(record):
        return {"kind": record.kind, "type": record.type, "position": record.position, "eventId": None}
    event_id = event_id_of(record.body)
    return {"kind": "event", "type": record.type, "position": record.position, "eventId": event_id}
