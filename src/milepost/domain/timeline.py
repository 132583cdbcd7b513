"""The timeline of an order: everything that happened to it and its parcels, in plain words, oldest first.

Built from the order's facts, its trackers' facts and their folds. Each milestone stands once, however many
answers showed it; each condition stands where it was raised and where it was cleared; events that no fold reads
(returns, refunds, types nobody has documented) stand here too. Bad news is said as it is. Nothing is decided
here: views are `order`'s, `delivery`'s and `tracker`'s.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from milepost.domain.delivery import Delivery
from milepost.domain.evidence import PENDING
from milepost.domain.fact import ConditionFact, EventFact, Fact, SettlementFact, SnapshotFact
from milepost.domain.instant import Instant, format_instant, parse_instant
from milepost.domain.record import tracker_subject
from milepost.domain.tracker import Tracker

Entry = dict[str, Any]

EVENT_TEXTS = {
    "PACKAGE_DELIVERY_IN_TRANSIT": "The delivery was shipped.",
    "PACKAGE_DELIVERED": "The delivery was delivered.",
    "PACKAGE_DELIVERY_CANCELLED": "The delivery was cancelled. A refund request follows.",
    "PACKAGE_TRACKER_MILESTONE_CHANGED": "The carrier reported something new about the parcel.",
    "REFUND_REQUESTED": "A refund was requested; the merchant must process it.",
    "REFUND_COMPLETED": "The refund was completed.",
    "RETURN_STARTED": "The shopper started a return.",
    "RETURN_COMPLETED": "The return was completed.",
    "RETURN_ITEM_GRADED": "A returned item was graded.",
    "RETURN_PACKAGE_IN_TRANSIT": "The return parcel is on its way.",
    "RETURN_PACKAGE_DELIVERED": "The return parcel arrived.",
    "RETURN_PACKAGE_DELIVERY_FAILED": "The return parcel could not be delivered.",
}

MILESTONE_TEXTS = {
    "PENDING": "The carrier has no tracking information yet.",
    "INFO_RECEIVED": "The carrier was told of the parcel but does not have it yet.",
    "IN_TRANSIT": "The carrier has the parcel and it is on its way.",
    "DELAYED": "The carrier says that the parcel is delayed.",
    "OUT_FOR_DELIVERY": "The parcel is out for delivery.",
    "AVAILABLE_FOR_PICKUP": "The parcel is ready to be picked up.",
    "DELIVERY_ATTEMPTED": "The carrier tried to deliver and failed.",
    "DELIVERED": "The parcel was delivered.",
    "EXCEPTION": "Something went wrong with the parcel at the carrier.",
    "LOST": "The carrier says that the parcel is lost.",
    "UNDELIVERABLE": "The carrier says that the parcel cannot be delivered.",
    "RETURN_TO_SENDER": "The parcel is going back to the sender.",
    "CUSTOMER_ACTION": "The carrier waits for the recipient to do something.",
}
"""The 13 codes of PackageMilestoneStatus (buy-with-prime.md 5.2)."""

CONDITION_TEXTS = {
    "LATE": "The promised day has passed and the delivery is not there.",
    "WILL_BE_LATE": "The delivery is expected after the promised day.",
    "NEVER_SCANNED": "Shipped days ago, and no carrier has scanned it.",
    "STALLED": "No scan for days while the parcel should be moving.",
    "PICKUP_AGING": "The parcel has been waiting to be picked up for days.",
    "TRACKING_EXPIRED": "Nothing new for 90 days: tracking has ended, the last state stays.",
    "RETURN_UNCONFIRMED": "The parcel was on its way back; nobody has confirmed that it arrived.",
    "CONTRADICTION": "The sources contradict each other.",
    "UNMAPPED_CODE": "The carrier reported a code that Milepost does not know.",
    "ORPHAN": "No order is known for this parcel.",
    "DELAYED": "The carrier says that the parcel is delayed.",
    "EXCEPTION": "Something went wrong with the parcel at the carrier.",
    "CUSTOMER_ACTION": "The carrier waits for the recipient to do something.",
    "ATTEMPT_FAILED": "The carrier tried to deliver and failed.",
}

CONTRADICTION_TEXTS = {
    "cancelled_but_moving": "The delivery was cancelled, yet it was moving.",
    "delivered_retracted": "The parcel was reported delivered, yet the carrier scanned it again later.",
    "delivered_without_tracker": "The order says delivered; the carrier has not said so.",
    "tracker_without_delivered": "The carrier says delivered; no event of the order has said so.",
    "moving_without_ship_event": "The carrier moves the parcel; no event of the order has said that it shipped.",
}

SETTLEMENT_TEXTS = {
    "noNewMilestone": "Asking the carrier's tracker again showed nothing new; the event is settled as it is.",
    "gaveUp": "Milepost gave up asking Buy with Prime about this event.",
}

_STANDING_TEXTS = {
    "historyFill": "Reported late.",
    "contradicted": "Contradicted by a later scan.",
    "superseded": "Later answers no longer show it; it may not have happened.",
    "corrected": "Corrected by a later answer.",
}

_RANKS = {"milestone": 0, "event": 1, "conflict": 2, "snapshot": 3, "condition": 4, "settlement": 5}
"""The order of entries of one time."""


def timeline(
    order_facts: Sequence[Fact],
    trackers: Mapping[str, Tracker],
    tracker_facts: Mapping[str, Sequence[Fact]] | None = None,
    deliveries: Sequence[Delivery] = (),
) -> list[Entry]:
    """The entries of an order, by the time they occurred, else were published.

    `trackers` and `tracker_facts` are by `record.tracker_subject`; `deliveries` are the order's, folded. A
    tracker's events and scans about another order (a recycled number) are not this order's. Each entry is
    `{occurredAt, publishedAt, receivedAt, kind, code, deliveryId, carrierCode, trackingNumber, text, position}`,
    kind one of event, conflict, milestone, snapshot, condition, settlement. A snapshot stands only where it is
    the first to show a delivery or another state of it.
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
    ]
    return [
        entry for _, entry in sorted(((_sort_key(entry), entry) for entry in entries), key=lambda e: e[0])
    ]


def event_text(type: str) -> str:
    """A plain sentence for an event type, known or not."""
    return EVENT_TEXTS.get(type, f"Buy with Prime published {type}.")


def milestone_text(code: str, raw_code: str | None = None) -> str:
    """A plain sentence for a milestone code, known or not."""
    unknown = f"The carrier reported {raw_code or code}, a code that Milepost does not know; the stage stays."
    return MILESTONE_TEXTS.get(code, unknown)


def condition_text(code: str, kind: str | None = None) -> str:
    """A plain sentence for a condition; `kind` is a contradiction's."""
    if kind is not None and kind in CONTRADICTION_TEXTS:
        return CONTRADICTION_TEXTS[kind]
    return CONDITION_TEXTS.get(code, f"The condition {code} holds.")


def _sort_key(entry: Entry) -> tuple[Instant, int, str, str, str, str, int]:
    when = entry["occurredAt"] or entry["publishedAt"] or entry["receivedAt"]
    at = parse_instant(when) if when else Instant(0)
    return (
        at,
        _RANKS[entry["kind"]],
        entry["code"],
        entry["deliveryId"] or "",
        entry["trackingNumber"] or "",
        entry["text"],
        entry["position"],
    )


def _entry(
    kind: str,
    code: str,
    text: str,
    position: int,
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
            reason = f" ({package.reason})" if package.reason else ""
            yield _entry(
                "snapshot",
                package.state,
                f"Asked for the order, Buy with Prime showed the delivery as {package.state}{reason}.",
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
