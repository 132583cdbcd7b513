"""Histories for fold tests: events and answers as they come off the wire, journalled and folded as in the hub.

`journal` does to a list of arrivals what the store does (identity, duplicates, conflicts, positions by arrival),
`fold` what the projector does (facts by subject, trackers, then the order).
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import Raw, Struct

from milepost.domain.envelope import Bridge, Event, format_eventbridge, format_webhook, parse_event
from milepost.domain.event import canonical_type
from milepost.domain.fact import EventFact, Fact, SnapshotFact, fact_of
from milepost.domain.instant import Instant, parse_instant
from milepost.domain.order import Order, fold_order
from milepost.domain.record import (
    ConditionChange,
    Correction,
    Record,
    Snapshot,
    Withdrawal,
    conflict_hash,
    delivery_subject,
    identity_hashes,
    order_subject,
    subjects_of,
    tracker_subject,
)
from milepost.domain.resource import parse_resource
from milepost.domain.tracker import Tracker, fold_tracker

BP = "bp-30b55436-5c42-4864-b3cb-4e4d014d8744"
ORDER = "322-43Q4-R3S5J8"
BOX, SECOND_BOX, THIRD_BOX = "8f1c-box-1", "8f1c-box-2", "8f1c-box-3"
UPS = ("ups", "1Z679A7B0300000001")
USPS = ("usps", "9400100000000000000002")

SHIPPED = "PACKAGE_DELIVERY_IN_TRANSIT"
DELIVERED = "PACKAGE_DELIVERED"
CANCELLED = "PACKAGE_DELIVERY_CANCELLED"
MILESTONE = "PACKAGE_TRACKER_MILESTONE_CHANGED"

RECEIVED_FROM = parse_instant("2025-03-01T00:00:00Z")


class Arrived(Struct, frozen=True):
    """Something to journal: its kind, type, published time and body."""

    kind: str
    type: str
    published_at: Instant
    body: bytes
    road: str = "webhook"


def event(
    descriptor: str,
    at: str,
    delivery: str | None = BOX,
    *,
    tracker: tuple[str, str] | None = None,
    order: str | None = ORDER,
    path: str | None = None,
    data: dict[str, Any] | None = None,
    id: str | None = None,
    key: str | None = None,
    road: str = "webhook",
) -> Arrived:
    """An event's body; its resource is the delivery's, the tracker's, or the order and `path`."""
    resource = f"businessProduct/{BP}"
    if order is not None and (tracker is None or path is not None):
        resource += f"/order/{order}"
    if path is not None:
        resource += f"/{path}"
    elif tracker is not None:
        resource += f"/carrier/{tracker[0]}/tracker/{tracker[1]}"
    elif delivery is not None:
        resource += f"/delivery/{delivery}"
    event_id = id or f"event-{descriptor}-{delivery}-{tracker}-{at}"
    made = Event(
        key or f"key-{event_id}",
        descriptor,
        canonical_type(descriptor),
        (parse_resource(resource),),
        event_id,
        "2024-11-01",
        "subscription-1",
        at,
        parse_instant(at),
        Raw(msgspec.json.encode(data or {})),
    )
    body = format_webhook(made)
    if road == "eventbridge":
        source = "aws.partner/buywithprime/example"
        bridge = Bridge("0", f"bridge-{event_id}", descriptor, source, "1", at, "us-east-1", (resource,))
        body = format_eventbridge(made, bridge)
    return Arrived("event", made.type, made.published_at, body, road)


def package(
    delivery: str = BOX,
    state: str = "PENDING",
    *,
    reason: str | None = None,
    tracker: tuple[str, str] | None = None,
    items: Iterable[tuple[str, str | None]] = (),
    **more: Any,
) -> dict[str, Any]:
    """An element of packageInformation.details; `more` goes into its packageTracker."""
    detail: dict[str, Any] = {"id": delivery, "state": state, "reason": reason}
    if tracker is not None:
        detail["packageTracker"] = _tracker(tracker, **more)
    detail["packageInformationDetailsFor"] = {
        "orderLineItems": [
            {"lineItem": {"id": i}, **({"amount": {"unit": "ONE", "value": q}} if q else {})}
            for i, q in items
        ]
    }
    return detail


def order_object(*packages: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"id": ORDER, **more, "packageInformation": {"details": list(packages)}}


def order_answer(at: str, *packages: dict[str, Any], **more: Any) -> Arrived:
    """A snapshot of the order query."""
    return _snapshot(Snapshot("order", _t(at), _t(at), order_object(*packages, **more), order_id=ORDER), at)


def null_order_answer(at: str) -> Arrived:
    return _snapshot(Snapshot("order", _t(at), _t(at), None, order_id=ORDER), at)


def tracker_answer(at: str, tracker: tuple[str, str], *milestones: dict[str, Any], **more: Any) -> Arrived:
    """A snapshot of the packageTracker query."""
    answer = _tracker(tracker, milestones=list(milestones), **more)
    carrier, number = tracker
    snapshot = Snapshot(
        "packageTracker", _t(at), _t(at), answer, carrier_code=carrier, tracking_number=number
    )
    return _snapshot(snapshot, at)


def scan(code: str, at: str | None, locality: str = "Reno") -> dict[str, Any]:
    """One milestone as an answer shows it."""
    return {
        "occurredAt": at,
        "status": {"code": code, "message": [{"locale": "en-US", "value": f"{code} in {locality}"}]},
        "address": {"locality": locality, "region": "NV", "country": "US"},
    }


def condition(code: str, raised: bool, at: str, subject: str | None = None, **evidence: Any) -> Arrived:
    subject = subject or delivery_subject(BOX)
    change = ConditionChange(subject, code, raised, _t(at), (order_subject(ORDER), subject), evidence)
    return Arrived("condition", code, _t(at), msgspec.json.encode(change), "sweeper")


def correction(
    state: str,
    at: str,
    subject: str | None = None,
    *,
    told: str | None = None,
    id: str | None = None,
    order: str = ORDER,
    expires: str | None = None,
) -> Arrived:
    """An agent's word of a delivery (the first box, if no subject is given) or a tracker."""
    subject = subject or delivery_subject(BOX)
    name = id or f"cor_{subject}_{state}_{at}"
    told_at, until = _t(told or at), _t(expires) if expires else None
    about = (order_subject(order), subject)
    said = Correction(name, subject, order, state, at, told_at, "ada", "The shopper called.", about, until)
    return Arrived("correction", "correction", told_at, msgspec.json.encode(said), "api")


def withdrawal(of: Arrived, at: str, outcome: Any = "withdrawn") -> Arrived:
    """The end of a correction."""
    said = msgspec.json.decode(of.body, type=Correction)
    end = Withdrawal(said.id, outcome, _t(at), "ben", said.about)
    return Arrived("withdrawal", outcome, _t(at), msgspec.json.encode(end), "api")


def _tracker(tracker: tuple[str, str], **more: Any) -> dict[str, Any]:
    return {
        "packageTrackerIdentifier": {"carrierCode": tracker[0], "trackingNumber": tracker[1]},
        "trackingUrl": f"https://track.example/{tracker[1]}",
        **more,
    }


def _snapshot(snapshot: Snapshot, at: str) -> Arrived:
    return Arrived("snapshot", snapshot.query, _t(at), msgspec.json.encode(snapshot), "hydration")


def _t(text: str) -> Instant:
    return parse_instant(text)


def journal(arrivals: Sequence[Arrived]) -> list[Record]:
    """The records that these arrivals leave, with positions and received times by arrival."""
    records: list[Record] = []
    known: dict[bytes, int] = {}
    answers: set[bytes] = set()
    for number, arrived in enumerate(arrivals):
        position = len(records) + 1
        received_at = Instant(RECEIVED_FROM + number * 1_000)
        kind, origin = arrived.kind, None
        if kind == "event":
            arriving = _parsed(arrived.body)
            identities = [h for h in identity_hashes(arriving) if h is not None]
            origin = min((known[h] for h in identities if h in known), default=None)
            if origin is not None:
                kind = "conflict"
                identities = [conflict_hash(origin, arriving)]
                same = conflict_hash(origin, _parsed(records[origin - 1].body))
                if identities[0] == same or identities[0] in known:
                    continue
            known.update(dict.fromkeys(identities, position))
        elif arrived.body in answers:
            continue
        else:
            answers.add(arrived.body)
        records.append(_record(arrived, kind, position, received_at, origin))
    return records


_parsed = lru_cache(maxsize=4_096)(parse_event)
"""Shuffles journal the same bodies again and again; the folds still parse each record anew."""


def _record(arrived: Arrived, kind: Any, position: int, received_at: Instant, origin: int | None) -> Record:
    return Record(
        position,
        kind,
        BP,
        arrived.type,
        received_at,
        arrived.published_at,
        arrived.road,
        (),
        origin,
        arrived.body,
    )


class Folded(Struct):
    order: Order
    trackers: dict[str, Tracker]
    facts: list[Fact]
    tracker_facts: dict[str, list[Fact]]

    @property
    def document(self) -> dict[str, Any]:
        return self.order.document

    def delivery(self, delivery_id: str = BOX) -> dict[str, Any]:
        return next(d.document for d in self.order.deliveries if d.id == delivery_id)


def fold(*arrivals: Arrived, explain: bool = False) -> Folded:
    """Journal, then fold, as the projector does."""
    return fold_records(journal(arrivals), explain)


def fold_records(records: Sequence[Record], explain: bool = False) -> Folded:
    by_subject: dict[str, list[Fact]] = {}
    for record in records:
        fact = fact_of(record)
        for subject in subjects_of(record):
            by_subject.setdefault(subject, []).append(fact)
    facts = by_subject.get(order_subject(ORDER), [])
    named: dict[str, tuple[str, str]] = {}
    for fact in facts:
        answer = fact.answer if isinstance(fact, EventFact) else None
        if isinstance(fact, SnapshotFact):
            answer = fact.order
        for shown in answer.packages if answer is not None else ():
            if shown.tracker is not None:
                identity = (shown.tracker.carrier_code, shown.tracker.tracking_number)
                named[tracker_subject(*identity)] = identity
    tracker_facts = {subject: by_subject[subject] for subject in sorted(named)}
    trackers = {s: fold_tracker(BP, *named[s], tracker_facts[s], explain) for s in sorted(named)}
    return Folded(fold_order(BP, ORDER, facts, trackers, explain), trackers, facts, tracker_facts)
