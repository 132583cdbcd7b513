"""What one transaction of retention removes: whole groups, everything of them, and nothing that came meanwhile.

What was found in a read may have changed by now. So the transaction keeps others from appending, looks at every
record above those that had been folded (or looked at) when the groups were found, and leaves out a group that one
of them is about. A batch that is being folded at this moment holds such a record, or nothing of the group: no view
can be written from facts that are gone.
"""

from collections.abc import Collection, Iterator, Sequence

import structlog

from milepost.domain.record import Record, beside_facts, key_subject, subjects_of
from milepost.domain.retention import Reason
from milepost.pipeline.groups import Found, Key
from milepost.pipeline.projector import KEY_REUSE
from milepost.pipeline.telling import FOLLOWERS
from milepost.store import Transaction

FRESH = 1_000
"""New records that are looked at together, the last of them while nobody can append."""

log = structlog.get_logger()


def busy(tx: Transaction, groups: Sequence[Found]) -> list[Reason | None]:
    """Why each group stays that the rule lets go: something is still to be done about it."""
    asks = tx.work.get({key for found in groups for key in found.keys})
    asked = {key for key, ask in asks.items() if ask.state == "open"}
    positions = {position for found in groups for position in found.records}
    failed, unsettled = tx.views.failed(positions), tx.attempts.unsettled(positions)
    reasons: list[Reason | None] = []
    for found in groups:
        if not asked.isdisjoint(found.keys):
            reasons.append("hydration")
        elif not failed.isdisjoint(found.records):
            reasons.append("failed")
        else:
            reasons.append(None if unsettled.isdisjoint(found.records) else "message")
    return reasons


def commit(tx: Transaction, ready: Sequence[Found], seen: int) -> list[Found] | None:
    """Remove those groups that nothing new is about, beyond what was `seen`; None when too much is new."""
    gone: list[Found] = []
    if ready:
        tx.journal.freeze()
        fresh = tx.journal.after(seen, FRESH)
        if len(fresh) == FRESH:
            return None
        gone = untouched(ready, fresh)
        gone = [found for found, reason in zip(gone, busy(tx, gone), strict=True) if reason is None]
        _remove(tx, gone)
    return gone


def untouched(ready: Sequence[Found], fresh: Sequence[Record]) -> list[Found]:
    """The groups that none of these records is about: nor names a delivery of theirs (for another order, perhaps),
    nor has an idempotencyKey of theirs."""
    about: set[Key] = set()
    for record in fresh:
        try:
            for subject in subjects_of(record):
                about.add((record.business_product_id, beside_facts(subject) or subject))
        except Exception as e:  # noqa: BLE001 - nothing is folded from it either
            log.warning("retention.unreadable_record", position=record.position, error=type(e).__name__)
    bodies = [record.body for record in fresh]
    return [found for found in ready if about.isdisjoint(_subjects(found)) and not _is_named(found, bodies)]


def _subjects(found: Found) -> Iterator[Key]:
    yield from found.keys
    for bp, subjects in found.records.values():
        yield from ((bp, subject) for subject in subjects)


def _is_named(found: Found, bodies: Sequence[bytes]) -> bool:
    names = [view.id.encode("utf-8", "surrogatepass") for view in found.views if view.kind == "delivery"]
    return any(name in body for body in bodies for name in names)


def _remove(tx: Transaction, gone: Sequence[Found]) -> None:
    records = {position: about for found in gone for position, about in found.records.items()}
    if not records:
        return
    reused = [position for position, flags in tx.views.flags(records).items() if KEY_REUSE in flags]
    tx.views.unindex(records)
    tx.views.remove([key for found in gone for key in found.view_keys])
    tx.views.unshare([order for found in gone for order in found.named("order/")])
    tx.queues.forget([key for found in gone for key in found.keys])
    # What was told of them goes; captures stay, so that what comes later makes no second one.
    told = {key: b"" for found in gone for key in found.keys}
    followed = {(bp, f"{name}/{subject}"): b"" for bp, subject in told for name in FOLLOWERS}
    tx.ledger.tell(told | followed)
    tx.work.done([key for found in gone for key in found.keys])
    tx.attempts.forget(records)
    _unflag(tx, {records[position] for position in reused})
    tx.journal.remove(records)


def _unflag(tx: Transaction, about: Collection[tuple[str, tuple[str, ...]]]) -> None:
    """An event that is now the only one with its idempotencyKey no longer shows that the key was reused."""
    start = key_subject("")
    for key in {(bp, subject) for bp, subjects in about for subject in subjects if subject.startswith(start)}:
        left = tx.journal.records(tx.journal.positions_of([key], FRESH).get(key, ()))
        events = [record.position for record in left.values() if record.kind == "event"]
        if len(events) == 1 and len(left) < FRESH:
            tx.views.unflag({events[0]: (KEY_REUSE,)})
