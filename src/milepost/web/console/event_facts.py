"""What the page of one event shows, in one read: the event, what it is about, what was asked and answered because of
it, what it let payments be collected for, and who was told."""

from collections.abc import Collection, Sequence
from urllib.parse import quote

import msgspec
from msgspec import Struct

from milepost.domain.capture import Capture
from milepost.domain.instant import Instant
from milepost.domain.record import Record, Snapshot, subjects_of
from milepost.shopper.parcels import carrier_name
from milepost.store import Ask, Quarantined, Transaction
from milepost.web.authentication import Principal
from milepost.web.console.event_told import Sent, Told, orders_in, sent_at, told_because
from milepost.web.events import EventDocument, at_position

MOST_ANSWERS = 5
_NEAR = 2_000
"""Positions that the next and the last event are looked for in."""
_LONGEST_BODY = 200_000
"""Characters of a body that a page shows."""


class About(Struct):
    """An order or a tracker that an event names, with where to go on reading."""

    kind: str
    name: str
    href: str


class Answered(Struct):
    """An answer of Buy with Prime about something that the event names, after it came."""

    position: int
    query: str
    asked_at: Instant
    observed_at: Instant
    shows_something: bool


class Body(Struct):
    """The event as one road brought it first: its bytes as text, the same with a line for each member, and whether
    both were cut."""

    road: str
    raw: str
    pretty: str
    is_cut: bool


class EventFacts(Struct):
    """Everything that the page of one event shows."""

    document: EventDocument
    is_conflict: bool
    origin: int | None
    bodies: list[Body]
    """As it came by each road; the first road's stands first."""
    about: list[About]
    asks: list[Ask]
    answers: list[Answered]
    captures: list[Capture]
    sent: list[Sent]
    told: Told
    released: Quarantined | None
    was_mended: bool
    older: int | None
    newer: int | None


def facts_of(tx: Transaction, caller: Principal, position: int) -> EventFacts:
    """Raises `NotFound`, also for an event of a business product that isn't the caller's."""
    document = at_position(tx, position, caller.business_products)
    record = tx.journal.records([position])[position]
    subjects = [s for s in subjects_of(record) if s.startswith(("order/", "tracker/"))]
    keys = [(record.business_product_id, subject) for subject in subjects]
    released = tx.journal.quarantined_at(position)
    bodies = {record.road: record.body} | tx.journal.other_bodies(position)
    return EventFacts(
        document,
        record.kind == "conflict",
        record.origin,
        [_body(road, body) for road, body in bodies.items()],
        [_about(record.business_product_id, subject) for subject in subjects],
        list(tx.work.get(keys).values()),
        _answers(tx, record, keys),
        _captures(tx, position, keys),
        sent_at(tx, caller, position),
        told_because(tx, caller, record, keys),
        released,
        released is not None and released.body != record.body,
        _neighbour(tx, caller, position, newest_first=True),
        _neighbour(tx, caller, position, newest_first=False),
    )


def _body(road: str, body: bytes) -> Body:
    raw = body.decode("utf-8", "replace")
    return Body(road, raw[:_LONGEST_BODY], pretty(body)[:_LONGEST_BODY], len(raw) > _LONGEST_BODY)


def pretty(body: bytes) -> str:
    """A JSON body with a line for each member; as it is when it is no JSON."""
    try:
        return msgspec.json.format(body, indent=2).decode("utf-8", "replace")
    except (msgspec.DecodeError, RecursionError):
        return body.decode("utf-8", "replace")


def _about(product: str, subject: str) -> About:
    kind, _, name = subject.partition("/")
    if kind == "order":
        return About(kind, name, f"/orders/{quoted(name)}?businessProductId={quoted(product)}")
    carrier, _, number = name.partition("/")
    return About(kind, f"{carrier_name(carrier)} {number}", f"/?q={quoted(number)}")


def _answers(tx: Transaction, record: Record, keys: Sequence[tuple[str, str]]) -> list[Answered]:
    """The first answers about the same orders and trackers behind the event."""
    known = tx.journal.of_subjects(keys)
    later = {
        r.position: r
        for records in known.values()
        for r in records
        if r.kind == "snapshot" and r.position > record.position
    }
    found = []
    for position in sorted(later)[:MOST_ANSWERS]:
        snapshot = msgspec.json.decode(later[position].body, type=Snapshot)
        found.append(
            Answered(
                position,
                snapshot.query,
                snapshot.asked_at,
                snapshot.observed_at,
                snapshot.answer is not None,
            )
        )
    return found


def _captures(tx: Transaction, position: int, keys: Collection[tuple[str, str]]) -> list[Capture]:
    """Those that have this event among their evidence."""
    captures = tx.ledger.captures_of_orders(orders_in(keys))
    return [
        capture
        for several in captures.values()
        for capture in several
        if any(evidence.get("position") == position for evidence in capture.evidence)
    ]


def _neighbour(tx: Transaction, caller: Principal, position: int, *, newest_first: bool) -> int | None:
    low, high = (position - _NEAR, position) if newest_first else (position, position + _NEAR)
    found = tx.journal.received(low, high, 1, caller.business_products, newest_first=newest_first)
    return found[0].position if found else None


def quoted(text: str) -> str:
    """A text as a part of an address."""
    return quote(text, safe="")
