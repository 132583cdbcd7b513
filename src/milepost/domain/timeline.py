"""The timeline of an order: everything that happened to it and its parcels, in plain words, oldest first.

Built from the order's facts, its trackers' facts and their folds. Each milestone stands once, however many
answers showed it; each condition stands where it was raised and where it was cleared; events that no fold reads
(returns, refunds, types nobody has documented) stand here too. Captures, authorizations, corrections, notes and
notifications are merged in: each step of a capture's life is an entry, and what became of each notification. Bad news
is said as it is.
Nothing is decided here: views are `order`'s, `delivery`'s and `tracker`'s, captures and notifications are the
ledgers'; the sentences are `wording`'s and `notification_wording`'s.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from milepost.domain.capture import Capture
from milepost.domain.correction import CorrectionFact, WithdrawalFact, ending
from milepost.domain.delivery import Delivery
from milepost.domain.evidence import PENDING
from milepost.domain.fact import (
    AuthorizationFact,
    ConditionFact,
    EventFact,
    Fact,
    SettlementFact,
    SnapshotFact,
)
from milepost.domain.instant import Instant, format_instant, parse_instant
from milepost.domain.notification import Notification
from milepost.domain.notification_wording import outcomes
from milepost.domain.record import Note, tracker_subject
from milepost.domain.tracker import Tracker
from milepost.domain.wording import (
    SETTLEMENT_TEXTS,
    capture_text,
    condition_text,
    event_text,
    hold_text,
    milestone_text,
    spoken,
)

Entry = dict[str, Any]

_STANDING_TEXTS = {
    "historyFill": "Reported late.",
    "contradicted": "Contradicted by a later scan.",
    "superseded": "Later answers no longer show it; it may not have happened.",
    "corrected": "Corrected by a later answer.",
}

_RANKS = {
    "milestone": 0,
    "event": 1,
    "conflict": 2,
    "snapshot": 3,
    "condition": 4,
    "settlement": 5,
    "authorization": 6,
    "capture": 7,
    "correction": 8,
    "note": 9,
    "notification": 10,
}
"""The order of entries of one time."""

SortKey = tuple[int, int, str, str, str, str, int]

_OURS = frozenset({"projector", "publisher"})
"""Who moves captures by itself: not worth a word."""

_STEPWISE = frozenset({"capture", "notification"})
"""Kinds whose entries are steps, which have an order of their own."""


class Noted(Struct, frozen=True):
    """A note, with where and when it was journalled."""

    position: int
    received_at: Instant
    note: Note


def timeline(
    order_facts: Sequence[Fact],
    trackers: Mapping[str, Tracker],
    tracker_facts: Mapping[str, Sequence[Fact]] | None = None,
    deliveries: Sequence[Delivery] = (),
    captures: Sequence[Capture] = (),
    notes: Sequence[Noted] = (),
    notifications: Sequence[Notification] = (),
) -> list[Entry]:
    """The entries of an order, by the time they occurred, else were published.

    `trackers` and `tracker_facts` are by `record.tracker_subject`; `deliveries` are the order's, folded. A
    tracker's events and scans about another order (a recycled number) are not this order's. Each entry is
    `{occurredAt, publishedAt, receivedAt, kind, code, deliveryId, carrierCode, trackingNumber, text, position}`,
    kind one of event, conflict, milestone, snapshot, condition, settlement, authorization, capture, correction, note,
    notification. A snapshot stands only where it is the first to show a delivery or another state of it. The position
    of a capture's entry is that of its first evidence; a notification has none.
    """
    facts = {fact.position: fact for fact in order_facts}
    orders = {f.order_id for f in order_facts if isinstance(f, EventFact | SnapshotFact) and f.order_id}
    for others in (tracker_facts or {}).values():
        for fact in others:
            if (
                not isinstance(fact, EventFact | SnapshotFact)
                or fact.order_id is None
                or fact.order_id in orders
            ):
                facts[fact.position] = fact
    by_position = [facts[position] for position in sorted(facts)]
    joined: dict[str, str] = {}
    for delivery in deliveries:
        for shown in delivery.document["trackers"]:
            joined.setdefault(tracker_subject(shown["carrierCode"], shown["trackingNumber"]), delivery.id)
    entries = [
        *_event_entries(by_position, joined),
        *_snapshot_entries(by_position),
        *_milestone_entries(trackers.values(), orders, joined),
        *_condition_entries(by_position, trackers.values(), orders, deliveries, joined),
        *_settlement_entries(by_position, facts),
        *_authorization_entries(by_position),
        *_capture_entries(captures),
        *_correction_entries(by_position, joined),
        *_note_entries(notes),
        *_notification_entries(notifications),
    ]
    return sorted(entries, key=sort_key)


def sort_key(entry: Entry) -> SortKey:
    """What entries stand by. Steps of a capture or notification at one time have equal keys: they stay in the order
    they had."""
    stepwise = entry["kind"] in _STEPWISE
    when = entry["occurredAt"] or entry["publishedAt"] or entry["receivedAt"]
    at = parse_instant(when) if when else Instant(0)
    return (
        at,
        _RANKS[entry["kind"]],
        "" if stepwise else entry["code"],
        entry["deliveryId"] or "",
        entry["trackingNumber"] or "",
        "" if stepwise else entry["text"],
        entry["position"] or 0,
    )


def _entry(
    kind: str,
    code: str,
    text: str,
    position: int | None,
    *,
    occurred: str | None = None,
    published: str | None = None,
    received: str | None = None,
    delivery_id: str | None = None,
    tracker: tuple[str, str] | None = None,
) -> Entry:
    return {
        "occurredAt": occurred,
        "publishedAt": published,
        "receivedAt": received,
        "kind": kind,
        "code": code,
        "deliveryId": delivery_id,
        "carrierCode": tracker[0] if tracker else None,
        "trackingNumber": tracker[1] if tracker else None,
        "text": text,
        "position": position,
    }


Joined = Mapping[str, str]
"""A tracker's subject to the delivery it carries (the first, where several share it)."""


def _event_entries(facts: Iterable[Fact], joined: Joined) -> Iterator[Entry]:
    for fact in facts:
        if not isinstance(fact, EventFact):
            continue
        text = event_text(fact.type)
        if fact.conflict:
            text += " (Another copy of an event, with different data.)"
        tracker = fact.trackers[0] if fact.trackers else None
        delivery_ids = fact.delivery_ids or ((joined.get(tracker_subject(*tracker)) if tracker else None),)
        for delivery_id in dict.fromkeys(delivery_ids):
            yield _entry(
                "conflict" if fact.conflict else "event",
                fact.type,
                text,
                fact.position,
                published=format_instant(fact.published_at),
                received=format_instant(fact.received_at),
                delivery_id=delivery_id,
                tracker=tracker,
            )


def _snapshot_entries(facts: Iterable[Fact]) -> Iterator[Entry]:
    """Order answers that showed a delivery for the first time, or in another state than the answer before."""
    snapshots = [f for f in facts if isinstance(f, SnapshotFact)]
    states: dict[str, str] = {}
    shown = [
        (f.observed_at, [(p.delivery_id, p.state) for p in f.order.packages], f) for f in snapshots if f.order
    ]
    for _, _, fact in sorted(shown, key=lambda s: s[:2]):
        for package in fact.order.packages if fact.order else ():
            before = states.get(package.delivery_id, PENDING)
            states[package.delivery_id] = package.state
            if package.state == before:
                continue
            reason = f" ({spoken(package.reason)})" if package.reason else ""
            yield _entry(
                "snapshot",
                package.state,
                f"Asked for the order, Buy with Prime showed the delivery as {spoken(package.state)}{reason}.",
                fact.position,
                published=format_instant(fact.observed_at),
                received=format_instant(fact.received_at),
                delivery_id=package.delivery_id,
            )


def _strange(tracker: Tracker, orders: Collection[str]) -> set[int]:
    """The uses of its number that carried parcels of other orders alone."""
    return {g.number for g in tracker.generations if g.orders and not any(o in orders for o in g.orders)}


def _milestone_entries(
    trackers: Iterable[Tracker], orders: Collection[str], joined: Joined
) -> Iterator[Entry]:
    for tracker in trackers:
        identity = (tracker.carrier_code, tracker.tracking_number)
        strange = _strange(tracker, orders)
        for milestone in tracker.document["milestones"]:
            if milestone["generation"] in strange:
                continue
            address = milestone["address"] or {}
            place = ", ".join(filter(None, (address.get(k) for k in ("locality", "region", "country"))))
            sentences = [milestone_text(milestone["code"], milestone["rawCode"])]
            if place:
                sentences.append(f"Place: {place}.")
            if (standing := _STANDING_TEXTS.get(milestone["standing"])) is not None:
                sentences.append(standing)
            yield _entry(
                "milestone",
                milestone["code"],
                " ".join(sentences),
                milestone["position"],
                occurred=milestone["occurredAt"],
                received=milestone["observedAt"],
                delivery_id=joined.get(tracker_subject(*identity)),
                tracker=identity,
            )


def _condition_entries(
    facts: Iterable[Fact],
    trackers: Iterable[Tracker],
    orders: Collection[str],
    deliveries: Iterable[Delivery],
    joined: Joined,
) -> Iterator[Entry]:
    """What the sweeper journalled, and what the folds themselves found contradictory."""
    for fact in facts:
        if isinstance(fact, ConditionFact):
            change = fact.change
            text = condition_text(change.code, change.evidence.get("kind"))
            kind, _, rest = change.subject.partition("/")
            carrier, _, number = rest.partition("/")
            tracker = (carrier, number) if kind == "tracker" else None
            yield _entry(
                "condition",
                change.code,
                text if change.raised else f"No longer: {text}",
                fact.position,
                occurred=format_instant(change.at),
                received=format_instant(fact.received_at),
                delivery_id=rest if kind == "delivery" else joined.get(change.subject),
                tracker=tracker,
            )
    for delivery in deliveries:
        for condition in _found_by_fold(delivery.document["conditions"]):
            if "trackingNumber" not in condition["evidence"]:
                yield _folded_entry(condition, delivery.position, delivery.id, None)
    for view in trackers:
        if view.document["generation"] in _strange(view, orders):
            continue
        identity = (view.carrier_code, view.tracking_number)
        for condition in _found_by_fold(view.document["conditions"]):
            yield _folded_entry(condition, view.position, joined.get(tracker_subject(*identity)), identity)


_FOLD_KINDS = frozenset({"cancelled_but_moving", "delivered_retracted"})


def _found_by_fold(conditions: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    return (c for c in conditions if c["code"] == "CONTRADICTION" and c["kind"] in _FOLD_KINDS)


def _folded_entry(
    condition: Mapping[str, Any], position: int, delivery_id: str | None, tracker: tuple[str, str] | None
) -> Entry:
    return _entry(
        "condition",
        condition["code"],
        condition_text(condition["code"], condition["kind"]),
        position,
        occurred=condition["raisedAt"],
        delivery_id=delivery_id,
        tracker=tracker,
    )


def _settlement_entries(facts: Iterable[Fact], known: Mapping[int, Fact]) -> Iterator[Entry]:
    for fact in facts:
        if isinstance(fact, SettlementFact):
            settlement = fact.settlement
            event = known.get(settlement.position)
            event = event if isinstance(event, EventFact) else None
            text = SETTLEMENT_TEXTS[settlement.outcome]
            yield _entry(
                "settlement",
                settlement.outcome,
                f"{text} {settlement.reason}".strip(),
                fact.position,
                occurred=format_instant(settlement.at),
                received=format_instant(fact.received_at),
                delivery_id=event.delivery_ids[0] if event and event.delivery_ids else None,
                tracker=event.trackers[0] if event and event.trackers else None,
            )


def _authorization_entries(facts: Iterable[Fact]) -> Iterator[Entry]:
    for fact in facts:
        if isinstance(fact, AuthorizationFact):
            told = fact.authorization
            before = format_instant(told.capture_before)
            yield _entry(
                "authorization",
                "authorization",
                f"Payment was authorised; it may be collected until {before}.",
                fact.position,
                occurred=format_instant(told.at),
                received=format_instant(fact.received_at),
            )


def _capture_entries(captures: Iterable[Capture]) -> Iterator[Entry]:
    for capture in captures:
        position = next((e["position"] for e in capture.evidence if e.get("position") is not None), None)
        for step in capture.history:
            sentences = [capture_text(step.state)]
            if step.by not in _OURS:
                sentences.append(f"By {step.by}.")
            if step.reason:
                sentences.append(f"Reason: {hold_text(step.reason)}.")
            yield _entry(
                "capture",
                step.state,
                " ".join(sentences),
                position,
                occurred=format_instant(step.at),
                delivery_id=capture.delivery_id,
            )


def _correction_entries(facts: Sequence[Fact], joined: Joined) -> Iterator[Entry]:
    """What agents knew better, at the time that they spoke of, and when it ceased to count."""
    subjects: dict[str, str] = {}
    for fact in facts:
        if isinstance(fact, CorrectionFact):
            subjects[fact.correction.id] = fact.correction.subject
    for fact in facts:
        if isinstance(fact, CorrectionFact):
            said = fact.correction
            until = "" if said.expires_at is None else f" until {format_instant(said.expires_at)}"
            text = f"{said.author} corrected it to {spoken(said.state)}{until}. Reason: {said.reason or 'erased'}"
            subject, code, told_at = said.subject, said.state, said.at
            occurred = format_instant(fact.occurred.at)
        elif isinstance(fact, WithdrawalFact):
            end = fact.withdrawal
            text = f"{ending(end)} Reason: {end.reason}" if end.reason else ending(end)
            subject, code, told_at = subjects.get(end.correction, ""), end.outcome, end.at
            occurred = format_instant(end.at)
        else:
            continue
        kind, _, rest = subject.partition("/")
        carrier, _, number = rest.partition("/")
        yield _entry(
            "correction",
            code,
            text,
            fact.position,
            occurred=occurred,
            published=format_instant(told_at),
            received=format_instant(fact.received_at),
            delivery_id=rest if kind == "delivery" else joined.get(subject),
            tracker=(carrier, number) if kind == "tracker" else None,
        )


def _note_entries(notes: Iterable[Noted]) -> Iterator[Entry]:
    for noted in notes:
        note = noted.note
        yield _entry(
            "note",
            "note",
            f"{note.author}: {note.text}",
            noted.position,
            occurred=format_instant(note.at),
            received=format_instant(noted.received_at),
            delivery_id=note.delivery_id,
        )


def _notification_entries(notifications: Iterable[Notification]) -> Iterator[Entry]:
    for notification in notifications:
        for step, text in outcomes(notification):
            yield _entry(
                "notification",
                step.state,
                text,
                None,
                occurred=format_instant(step.at),
                delivery_id=notification.delivery_id or None,
            )
