"""The walk of retention: page by page through what became old, and which groups of it may go.

A group is looked at when the walk meets the newest record of one of its orders or trackers, so nothing has to be
searched for. Each look is one read of one state of the store, over a page of the journal at most and a few dozen
groups. Nothing is changed here.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Set

import structlog
from msgspec import Struct

from milepost.domain.condition import Policy
from milepost.domain.instant import Instant
from milepost.domain.record import Record, order_subject, tracker_subject
from milepost.domain.retention import Reason, kept_because
from milepost.pipeline.groups import Found, Key, TooMany, gather, tying_subjects, view_key
from milepost.pipeline.projector import NAME as PROJECTOR
from milepost.pipeline.removal import busy
from milepost.store import Transaction

AT_ONCE = 50
"""Groups of one look, and so of one transaction that removes."""
PAGE = 200
"""Records that one look reads of the journal."""
LARGEST = 5_000
"""Records of the groups of one look. A group with more stays."""

_NAMED = re.compile(rb"order/([^/\"\\\s]+)|carrier/([^/\"\\\s]+)/tracker/([^/\"\\\s]+)")

log = structlog.get_logger()


class Look(Struct):
    """What the walk found between two positions."""

    reached: int
    end: bool
    """There is nothing behind `reached` that is old enough."""
    looked: int
    projected: int
    """The projector's checkpoint when this was seen."""
    ready: list[Found]
    kept: list[tuple[Found | None, Reason]]
    newest: set[int]
    """The positions the walk met that are the newest of an order or a tracker."""


class Judge(Struct, frozen=True):
    """What a group is judged by."""

    now: Instant
    days: int
    policy: Policy
    consumers: tuple[str, ...]
    quarantined: Set[str]

    def verdict(self, found: Found, passed: int) -> Reason | None:
        """Why a group stays. `passed` is what every consumer is past."""
        if found.broken:
            return "failed"
        reason = kept_because(found.group, self.now, self.days, self.policy)
        if reason is not None:
            return reason
        if found.last > passed:
            return "unprocessed"
        named = not self.quarantined.isdisjoint(subject for _, subject in found.keys)
        return "quarantine" if named else None


def look_at(tx: Transaction, after: int, upto: int, judge: Judge) -> Look:
    """Read a page of the journal and judge the groups whose newest records are in it."""
    records = [record for record in tx.journal.after(after, PAGE) if record.position <= upto]
    starts = _newest(tx, records)
    look = Look(
        records[-1].position if len(records) == PAGE else upto,
        len(records) < PAGE,
        len(records),
        tx.journal.checkpoint(PROJECTOR),
        [],
        [],
        set(),
    )
    positions = sorted(starts)
    if len(positions) > AT_ONCE:
        look.reached, look.end = positions[AT_ONCE - 1], False
        look.looked = sum(record.position <= look.reached for record in records)
        positions = positions[:AT_ONCE]
    look.newest = set(positions)
    passed = min(
        tx.journal.last_position() - 1,
        look.projected,
        *(tx.journal.checkpoint(c) for c in judge.consumers),
        *_backfilled(tx),
    )
    groups = _gathered(tx, {p: starts[p] for p in positions}, look)
    judged = [(found, judge.verdict(found, passed)) for found in groups]
    free = [found for found, reason in judged if reason is None]
    judged = [(found, reason) for found, reason in judged if reason is not None]
    judged += zip(free, busy(tx, free), strict=True)
    look.ready += (found for found, reason in judged if reason is None)
    look.kept += ((found, reason) for found, reason in judged if reason is not None)
    return look


def _backfilled(tx: Transaction) -> Iterator[int]:
    """How far each backfill is: what lies behind that is still to be sent."""
    after = ""
    while page := tx.attempts.replays(after, PAGE, state="running"):
        after = page[-1].id
        yield from (replay.cursor for replay in page if replay.kind == "backfill")


def _newest(tx: Transaction, records: Iterable[Record]) -> dict[int, list[Key]]:
    """By position, the orders and trackers that these records are the newest of."""
    about: dict[int, list[Key]] = {}
    for record in records:
        if record.kind in ("intent", "note", "erasure"):
            continue
        try:
            about[record.position] = tying_subjects(record)[0]
        except Exception as e:  # noqa: BLE001 - nothing is folded from it either
            log.warning("retention.unreadable_record", position=record.position, error=type(e).__name__)
    every = {key for keys in about.values() for key in keys}
    wanted = {name: key for key in every if (name := view_key(key)) is not None}
    at = {wanted[name]: view.position for name, view in tx.views.get(list(wanted)).items()}
    found: dict[int, list[Key]] = {}
    for position, keys in about.items():
        mine = [key for key in keys if key in at and at[key] <= position]
        if mine:
            found[position] = mine
    return found


def _gathered(tx: Transaction, starts: Mapping[int, list[Key]], look: Look) -> list[Found]:
    """The groups of these subjects; one by one where they are too many, and then as many as one transaction takes."""
    try:
        return gather(tx, {key for keys in starts.values() for key in keys}, LARGEST)
    except TooMany:
        pass
    found: list[Found] = []
    seen: set[Key] = set()
    for position in sorted(starts):
        keys = [key for key in starts[position] if key not in seen]
        try:
            more = gather(tx, keys, LARGEST)
        except TooMany:
            look.kept.append((None, "large"))
            continue
        if found and sum(len(each.records) for each in (*found, *more)) > LARGEST:
            look.reached, look.end = position - 1, False
            look.newest = {p for p in look.newest if p < position}
            return found
        found += more
        seen.update(key for each in more for key in each.keys)
    return found


def named_in(body: bytes) -> Iterable[str]:
    """The orders and trackers that a body names in resources, as subjects, readable or not."""
    for order, carrier, number in _NAMED.findall(body.replace(b"\\/", b"/")):
        if order:
            yield order_subject(order.decode(errors="replace"))
        else:
            yield tracker_subject(carrier.decode(errors="replace"), number.decode(errors="replace"))
