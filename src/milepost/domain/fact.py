"""Facts: what the folds read, taken from journal records.

One record gives one fact. An event is a claim (somebody says X of resource R, published at P) and may carry an
answer in `data`; a snapshot is an answer with the query it answered. What is in an answer is read tolerantly:
an unexpected shape leaves a field out, never raises. Milestone codes are normalised (`OutForDelivery` too),
the raw code is kept. Four times stay apart: occurred, published, received, observed (tracking.md 9.1).

Folding is in `tracker`, `delivery` and `order`.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from milepost.domain.correction import CorrectionFact, WithdrawalFact
from milepost.domain.instant import Instant, Stamp, parse_stamp
from milepost.domain.mapping import RemapFact
from milepost.domain.record import (
    Authorization,
    ConditionChange,
    Correction,
    Record,
    Settlement,
    Snapshot,
    Withdrawal,
    package_details,
    resource_subjects,
    tracker_identity,
)
from milepost.domain.resource import Resource

Source = Literal["data", "order", "packageTracker"]
"""Which query an answer answers; `data` is what an event itself carried."""


class Milestone(Struct, frozen=True):
    """One entry of a tracker's `milestones` (or its `latestMilestone`), as one answer showed it."""

    code: str
    """Normalised: OUT_FOR_DELIVERY for `OutForDelivery`; an unknown code is normalised the same way."""
    raw_code: str
    occurred: Stamp | None
    locality: str = ""
    region: str = ""
    country: str = ""
    messages: tuple[tuple[str, str], ...] = ()
    """(locale, text); both spellings of Amazon's pages are read (buy-with-prime.md 8, conflict 3)."""


class TrackerAnswer(Struct, frozen=True):
    """A `packageTracker` object as one answer showed it."""

    carrier_code: str
    tracking_number: str
    tracking_url: str | None
    earliest: Stamp | None
    """estimatedDeliveryDate.earliest; a date alone stays a date."""
    latest: Stamp | None
    milestones: tuple[Milestone, ...] | None
    """None when the answer had no milestones field at all: it retracts nothing (T8)."""
    listed: bool = True
    """The answer had a `milestones` list with something in it. A `latestMilestone` alone retracts nothing."""


class PackageAnswer(Struct, frozen=True):
    """One element of packageInformation.details. An element that stood at both levels is one, merged."""

    delivery_id: str
    state: str
    reason: str | None
    tracker: TrackerAnswer | None
    line_items: tuple[tuple[str, str | None, str | None], ...]
    """(line item id, quantity as decimal text or None, unit or None)."""


class OrderAnswer(Struct, frozen=True):
    """An order object as one answer showed it. `order` keeps the whole answer for what no fold needs."""

    order_id: str
    packages: tuple[PackageAnswer, ...]
    order: dict[str, Any]


class EventFact(Struct, frozen=True):
    """An event (or a conflicting copy of one): a claim about its resources, with the answer in its `data`."""

    position: int
    received_at: Instant
    published_at: Instant
    type: str
    descriptor: str
    event_id: str
    order_id: str | None
    delivery_ids: tuple[str, ...]
    trackers: tuple[tuple[str, str], ...]
    """(carrierCode, trackingNumber) of its resources."""
    conflict: bool
    flags: tuple[str, ...]
    answer: OrderAnswer | None
    """From `data`, when it is about an order that `resources` names; otherwise None (`resources` holds)."""
    resources: tuple[Resource, ...] = ()
    """All of its resources, where there are several; `about` says what of them is one order's or tracker's."""


class SnapshotFact(Struct, frozen=True):
    """What a query answered. `order` for the order query, `tracker` for packageTracker; both None: a null answer."""

    position: int
    received_at: Instant
    asked_at: Instant
    observed_at: Instant
    query: Literal["order", "packageTracker"]
    order_id: str | None
    carrier_code: str | None
    tracking_number: str | None
    order: OrderAnswer | None
    tracker: TrackerAnswer | None


class ConditionFact(Struct, frozen=True):
    """The sweeper raised or cleared a condition."""

    position: int
    received_at: Instant
    change: ConditionChange


class SettlementFact(Struct, frozen=True):
    """Hydration of an event ended without a fitting answer."""

    position: int
    received_at: Instant
    settlement: Settlement


class AuthorizationFact(Struct, frozen=True):
    """Somebody told until when payment of an order may be collected."""

    position: int
    received_at: Instant
    authorization: Authorization


Fact = (
    EventFact
    | SnapshotFact
    | ConditionFact
    | SettlementFact
    | AuthorizationFact
    | CorrectionFact
    | WithdrawalFact
    | RemapFact
)


def fact_of(record: Record) -> Fact:
    """The fact in a record. Raises what a broken body raises; events and snapshots that were journalled parse."""
    if record.kind in ("event", "conflict"):
        return _event_fact(record)
    if record.kind == "snapshot":
        return _snapshot_fact(record)
    if record.kind == "condition":
        change = msgspec.json.decode(record.body, type=ConditionChange)
        return ConditionFact(record.position, record.received_at, change)
    if record.kind == "authorization":
        authorization = msgspec.json.decode(record.body, type=Authorization)
        return AuthorizationFact(record.position, record.received_at, authorization)
    if record.kind == "correction":
        correction = msgspec.json.decode(record.body, type=Correction)
        occurred = parse_stamp(correction.occurred_at)
        return CorrectionFact(record.position, record.received_at, correction, occurred)
    if record.kind == "withdrawal":
        withdrawal = msgspec.json.decode(record.body, type=Withdrawal)
        return WithdrawalFact(record.position, record.received_at, withdrawal)
    if record.kind == "remap":
        return RemapFact(record.position, record.received_at, record.published_at)
    if record.kind != "settlement":
        raise ValueError(f"a record of kind {record.kind} is no fact")
    settlement = msgspec.json.decode(record.body, type=Settlement)
    return SettlementFact(record.position, record.received_at, settlement)


def said_at(fact: Fact) -> Instant:
    """When it was published, observed, told or decided."""
    match fact:
        case EventFact():
            return fact.published_at
        case SnapshotFact():
            return fact.observed_at
        case ConditionFact():
            return fact.change.at
        case SettlementFact():
            return fact.settlement.at
        case AuthorizationFact():
            return fact.authorization.at
        case CorrectionFact():
            return fact.correction.at
        case WithdrawalFact():
            return fact.withdrawal.at
        case RemapFact():
            return fact.at


def _event_fact(record: Record) -> EventFact:
    event = record.event()
    # Copies may list their resources in any order; the fact is the same.
    resources = tuple(sorted(event.resources, key=str)) if len(event.resources) > 1 else event.resources
    orders = {r.order_id for r in resources} - {None}
    answer = order_answer(event.decoded_data().get("order"))
    if answer is not None and orders and answer.order_id not in orders:
        answer = None
    return EventFact(
        record.position,
        record.received_at,
        event.published_at,
        event.type,
        event.descriptor,
        event.event_id,
        *_named(resources),
        record.kind == "conflict",
        record.flags,
        answer,
        resources if len(resources) > 1 else (),
    )


def _named(
    resources: Iterable[Resource],
) -> tuple[str | None, tuple[str, ...], tuple[tuple[str, str], ...]]:
    """(order id, delivery ids, trackers) of resources; the order is the first one's that has any."""
    order_id: str | None = None
    delivery_ids: list[str] = []
    trackers: list[tuple[str, str]] = []
    for resource in resources:
        ids = resource.ids
        order_id = order_id or ids.get("order")
        if (delivery_id := ids.get("delivery")) is not None:
            delivery_ids.append(delivery_id)
        carrier, number = ids.get("carrier"), ids.get("tracker")
        if carrier is not None and number is not None:
            trackers.append((carrier, number))
    return order_id, tuple(delivery_ids), tuple(trackers)


def about(fact: Fact, subject: str) -> Fact:
    """What a fact says of one order or tracker: of an event with several resources, those that name it.

    An event that a subject knows from `data` alone stays whole. The facts of a subject go through here, so
    that a delivery is never taken for one of another order in the same event.
    """
    if not isinstance(fact, EventFact) or not fact.resources:
        return fact
    mine = [resource for resource in fact.resources if subject in resource_subjects(resource)]
    if not mine:
        return fact
    order_id, delivery_ids, trackers = _named(mine)
    answer = fact.answer
    if answer is not None and order_id is not None and answer.order_id != order_id:
        answer = None
    return replace(
        fact, order_id=order_id, delivery_ids=delivery_ids, trackers=trackers, answer=answer, resources=()
    )


def _snapshot_fact(record: Record) -> SnapshotFact:
    snapshot = msgspec.json.decode(record.body, type=Snapshot)
    order = order_answer(snapshot.answer) if snapshot.query == "order" else None
    tracker = tracker_answer(snapshot.answer) if snapshot.query == "packageTracker" else None
    return SnapshotFact(
        record.position,
        record.received_at,
        snapshot.asked_at,
        snapshot.observed_at,
        snapshot.query,
        snapshot.order_id,
        snapshot.carrier_code,
        snapshot.tracking_number,
        order,
        tracker,
    )


def order_answer(order: object) -> OrderAnswer | None:
    """An order object (from a snapshot's answer or an event's `data`) as an answer; None when it isn't one."""
    if not isinstance(order, dict) or not isinstance(order.get("id"), str):
        return None
    packages: dict[str, PackageAnswer] = {}
    read: _Trackers = {}
    for detail in package_details(order):
        package = _package_answer(detail, read)
        if package is not None:
            known = packages.get(package.delivery_id)
            packages[package.delivery_id] = package if known is None else _merge(known, package)
    return OrderAnswer(order["id"], tuple(packages.values()), order)


_Trackers = dict[str, tuple[object, TrackerAnswer | None]]
"""By delivery: its packageTracker as it was last seen in one order, and what was read in it."""


def _package_answer(detail: dict[str, Any], read: _Trackers) -> PackageAnswer | None:
    delivery_id, state = detail.get("id"), detail.get("state")
    if not isinstance(delivery_id, str) or not delivery_id:
        return None
    contents = detail.get("packageInformationDetailsFor")
    entries = contents.get("orderLineItems") if isinstance(contents, dict) else None
    line_items = [_line_item(e) for e in entries] if isinstance(entries, list) else []
    # The two levels of an order show the same tracker with all of its milestones: it is read once.
    shown = detail.get("packageTracker")
    if delivery_id not in read or read[delivery_id][0] != shown:
        read[delivery_id] = shown, tracker_answer(shown)
    return PackageAnswer(
        delivery_id,
        milestone_code(state) if isinstance(state, str) else "",
        _text(detail.get("reason")),
        read[delivery_id][1],
        tuple(item for item in line_items if item is not None),
    )


def _line_item(entry: object) -> tuple[str, str | None, str | None] | None:
    item = entry.get("lineItem") if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or not isinstance(item, dict) or not isinstance(item.get("id"), str):
        return None
    amount = entry.get("amount")
    if not isinstance(amount, dict):
        return item["id"], None, None
    value = amount.get("value")
    plain = isinstance(value, str | int | float) and not isinstance(value, bool)
    return item["id"], str(value) if plain else None, _text(amount.get("unit"))


def _merge(one: PackageAnswer, other: PackageAnswer) -> PackageAnswer:
    """The same element seen at order level and at a line item: what either shows, the first where both do."""
    items = {item[0]: item for item in other.line_items}
    for item in one.line_items:
        if item[1] is not None or item[0] not in items:
            items[item[0]] = item
    order = dict.fromkeys([item[0] for item in (*one.line_items, *other.line_items)])
    return PackageAnswer(
        one.delivery_id,
        one.state or other.state,
        one.reason or other.reason,
        _merge_trackers(one.tracker, other.tracker),
        tuple(items[item_id] for item_id in order),
    )


def _merge_trackers(one: TrackerAnswer | None, other: TrackerAnswer | None) -> TrackerAnswer | None:
    """The selections of the two levels may differ: what either shows of the same tracker."""
    if one is None or other is None or one is other:
        return one or other
    if (one.carrier_code.lower(), one.tracking_number) != (other.carrier_code.lower(), other.tracking_number):
        return one
    milestones = one.milestones
    if other.milestones is not None:
        milestones = tuple(dict.fromkeys((*(one.milestones or ()), *other.milestones)))
    return TrackerAnswer(
        one.carrier_code,
        one.tracking_number,
        one.tracking_url or other.tracking_url,
        one.earliest or other.earliest,
        one.latest or other.latest,
        milestones,
        one.listed or other.listed,
    )


def tracker_answer(tracker: object) -> TrackerAnswer | None:
    """A packageTracker object as an answer; None when it is null or names no tracking number."""
    identity = tracker_identity(tracker)
    if identity is None or not isinstance(tracker, dict):
        return None
    window = tracker.get("estimatedDeliveryDate")
    window = window if isinstance(window, dict) else {}
    return TrackerAnswer(
        identity[0],
        identity[1],
        _text(tracker.get("trackingUrl")),
        _stamp(window.get("earliest")),
        _stamp(window.get("latest")),
        _milestones(tracker),
        isinstance(tracker.get("milestones"), list) and bool(tracker["milestones"]),
    )


def _milestones(tracker: dict[str, Any]) -> tuple[Milestone, ...] | None:
    listed = tracker.get("milestones")
    latest = tracker.get("latestMilestone")
    if not isinstance(listed, list) and not isinstance(latest, dict):
        return None
    entries = [*(listed if isinstance(listed, list) else ()), latest]
    found = [m for entry in entries if (m := _milestone(entry)) is not None]
    return tuple(dict.fromkeys(found))


def _milestone(entry: object) -> Milestone | None:
    status = entry.get("status") if isinstance(entry, dict) else None
    raw = status.get("code") if isinstance(status, dict) else status
    if not isinstance(entry, dict) or not isinstance(raw, str) or not raw.strip():
        return None
    address = entry.get("address")
    address = address if isinstance(address, dict) else {}
    return Milestone(
        milestone_code(raw),
        raw,
        _stamp(entry.get("occurredAt")),
        _text(address.get("locality")) or "",
        _text(address.get("region")) or "",
        _text(address.get("country")) or _text(address.get("countryCode")) or "",
        _messages(status.get("message") if isinstance(status, dict) else None),
    )


def _messages(message: object) -> tuple[tuple[str, str], ...]:
    entries = message if isinstance(message, list) else [message]
    found: list[tuple[str, str]] = []
    for entry in entries:
        if isinstance(entry, dict):
            text = _text(entry.get("value")) or _text(entry.get("content"))
            if text:
                found.append((_text(entry.get("locale")) or _text(entry.get("language")) or "", text))
    return tuple(sorted(found))


_WORD_BREAK = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[^A-Za-z0-9]+")


@lru_cache(maxsize=1_024)
def milestone_code(raw: str) -> str:
    """A code as folds compare it: `OutForDelivery`, `out-for-delivery` and `OUT_FOR_DELIVERY` are one code."""
    return "_".join(filter(None, _WORD_BREAK.split(raw.strip()))).upper() or raw.strip()


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _stamp(value: object) -> Stamp | None:
    if not isinstance(value, str):
        return None
    try:
        return parse_stamp(value)
    except ValueError:
        return None
