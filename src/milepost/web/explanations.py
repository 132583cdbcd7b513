"""`…/explain`: why a view is as it is.

An explanation lists every fact with what its fold made of it: used, or set aside by which rule. It is folded
when asked for (views hold no traces), of the facts received by `asOf`.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from litestar import Response, get

from milepost.domain.correction import CorrectionFact, WithdrawalFact
from milepost.domain.delivery import Delivery
from milepost.domain.fact import (
    AuthorizationFact,
    ConditionFact,
    EventFact,
    Fact,
    SettlementFact,
    SnapshotFact,
    said_at,
)
from milepost.domain.instant import Instant, format_instant, parse_instant
from milepost.domain.mapping import RemapFact
from milepost.domain.record import delivery_subject, order_subject, tracker_subject
from milepost.domain.trace import TraceEntry
from milepost.domain.wording import spoken
from milepost.pipeline.loaded import LoadedOrder, LoadedTracker
from milepost.store import Transaction, View
from milepost.web.authentication import Caller
from milepost.web.context import Hub
from milepost.web.documents import (
    DeliveryExplanation,
    OrderExplanation,
    TrackerExplanation,
)
from milepost.web.problems import problems
from milepost.web.reading import (
    AsOf,
    BusinessProduct,
    CarrierCode,
    DeliveryId,
    OrderId,
    TrackingNumber,
    delivery_then,
    find_view,
    join_deliveries,
    join_orders,
    join_trackers,
    order_then,
    parse_as_of,
    respond,
    tracker_id,
    tracker_then,
)

NOTHING_READ = "Nothing in it changes this view."
_COUNTED = ("delivered", "inTransit", "pending", "cancelled")

About = tuple[str, TraceEntry]
"""The subject whose fold it was, and what that fold did with one fact."""


@get(
    "/v1/orders/{order_id:str}/explain",
    summary="Explain an order's state",
    tags=["Orders"],
    responses=problems(404, 409),
)
async def explain_order(
    context: Hub,
    caller: Caller,
    order_id: OrderId,
    business_product_id: BusinessProduct = None,
    as_of: AsOf = None,
) -> Response[OrderExplanation]:
    """Every fact of the order, its deliveries and its trackers, and what was made of it."""
    reach, at = caller.reach(business_product_id), parse_as_of(as_of)

    def read(tx: Transaction) -> dict[str, Any]:
        return order_explanation(tx, find_view(tx, "order", order_id, reach), at)[0]

    return respond(await context.store.read(read))


def order_explanation(
    tx: Transaction, view: View, at: Instant | None
) -> tuple[dict[str, Any], dict[str, str]]:
    """The explanation of an order's view, its deliveries and its trackers (the shape is `OrderExplanation`'s), and a
    sentence for each tracker's stage, by subject."""
    loaded = order_then(tx, view, at, explain=True)
    own = [(order_subject(view.id), entry) for entry in loaded.order.trace]
    for delivery in loaded.order.deliveries:
        own.extend((delivery_subject(delivery.id), entry) for entry in delivery.trace)
    lines = _with_unread(own, order_subject(view.id), loaded.facts)
    for subject, tracker in loaded.trackers.items():
        traced = [(subject, entry) for entry in tracker.trace]
        lines += _with_unread(traced, subject, loaded.tracker_facts[subject])
    join_orders(tx, [loaded.order.document], at)
    facts = [*loaded.facts, *(fact for known in loaded.tracker_facts.values() for fact in known)]
    whys = {subject: why_tracker(tracker.document) for subject, tracker in loaded.trackers.items()}
    why = why_order(loaded.order.document)
    return _explanation(tx, loaded.order.document, lines, facts, at, why), whys


@get(
    "/v1/deliveries/{delivery_id:str}/explain",
    summary="Explain a delivery's state",
    tags=["Deliveries"],
    responses=problems(404, 409),
)
async def explain_delivery(
    context: Hub,
    caller: Caller,
    delivery_id: DeliveryId,
    business_product_id: BusinessProduct = None,
    as_of: AsOf = None,
) -> Response[DeliveryExplanation]:
    """The facts that made the delivery so, those of its trackers among them, and those that were set aside."""
    reach, at = caller.reach(business_product_id), parse_as_of(as_of)

    def read(tx: Transaction) -> dict[str, Any]:
        loaded = order_then(tx, find_view(tx, "delivery", delivery_id, reach), at, explain=True)
        delivery = delivery_then(loaded, delivery_id, at)
        lines, facts = _delivery_lines(loaded, delivery)
        join_deliveries(tx, [delivery.document], at)
        return _explanation(tx, delivery.document, lines, facts, at, why_delivery(delivery.document))

    return respond(await context.store.read(read))


def _delivery_lines(loaded: LoadedOrder, delivery: Delivery) -> tuple[list[About], list[Fact]]:
    lines = [(delivery_subject(delivery.id), entry) for entry in delivery.trace]
    facts = list(loaded.facts)
    for shown in delivery.document["trackers"]:
        subject = tracker_subject(shown["carrierCode"], shown["trackingNumber"])
        tracker = loaded.trackers.get(subject)
        if tracker is not None:
            known = loaded.tracker_facts[subject]
            lines += _with_unread([(subject, entry) for entry in tracker.trace], subject, known)
            facts += known
    return lines, facts


@get(
    "/v1/trackers/{carrier_code:str}/{tracking_number:str}/explain",
    summary="Explain a tracker's stage",
    tags=["Trackers"],
    responses=problems(404, 409),
)
async def explain_tracker(
    context: Hub,
    caller: Caller,
    carrier_code: CarrierCode,
    tracking_number: TrackingNumber,
    business_product_id: BusinessProduct = None,
    as_of: AsOf = None,
) -> Response[TrackerExplanation]:
    """Every fact of the tracking number, and what was made of it."""
    reach, at = caller.reach(business_product_id), parse_as_of(as_of)

    def read(tx: Transaction) -> dict[str, Any]:
        view = find_view(tx, "tracker", tracker_id(carrier_code, tracking_number), reach)
        return tracker_explanation(tx, view, at)

    return respond(await context.store.read(read))


def tracker_explanation(tx: Transaction, view: View, at: Instant | None) -> dict[str, Any]:
    """The explanation of a tracker's view; the shape is `TrackerExplanation`'s."""
    loaded: LoadedTracker = tracker_then(tx, view, at, explain=True)
    subject = f"tracker/{view.id}"
    lines = _with_unread([(subject, entry) for entry in loaded.tracker.trace], subject, loaded.facts)
    document = loaded.tracker.document
    join_trackers(tx, [document], at)
    return _explanation(tx, document, lines, loaded.facts, at, why_tracker(document))


def _with_unread(lines: list[About], subject: str, facts: Sequence[Fact]) -> list[About]:
    """A fact that no fold said a word about is listed all the same."""
    said = {entry.position for _, entry in lines}
    unread = [fact for fact in facts if fact.position not in said]
    return [
        *lines,
        *((subject, TraceEntry(f.position, _kind(f), _type(f), False, "", NOTHING_READ)) for f in unread),
    ]


def _explanation(
    tx: Transaction,
    document: dict[str, Any],
    lines: Iterable[About],
    facts: Iterable[Fact],
    as_of: Instant | None,
    why: str,
) -> dict[str, Any]:
    by_position = {fact.position: fact for fact in facts}
    positions = sorted(by_position)
    arrivals, flags = tx.journal.arrivals(positions), tx.views.flags(positions)
    listed: dict[tuple[Any, ...], dict[str, Any]] = {}
    for about, entry in sorted(lines, key=lambda line: line[1].position):
        fact = by_position[entry.position]
        rows = [row for row in arrivals.get(entry.position, ()) if as_of is None or row.received_at <= as_of]
        noted = fact.flags if isinstance(fact, EventFact) else ()
        listed[about, entry.position, entry.what, entry.rule, entry.text] = {
            "position": entry.position,
            "about": about,
            "kind": entry.kind,
            "type": _type(fact),
            "what": entry.what,
            "used": entry.used,
            "rule": entry.rule,
            "text": entry.text,
            "receivedAt": format_instant(fact.received_at),
            "publishedAt": format_instant(said_at(fact)),
            "arrivals": max(len(rows), 1),
            "flags": list(dict.fromkeys((*noted, *flags.get(entry.position, ())))),
        }
    return {"view": document, "facts": list(listed.values()), "state": why}


def _kind(fact: Fact) -> str:
    match fact:
        case EventFact():
            return "conflict" if fact.conflict else "event"
        case SnapshotFact():
            return "snapshot"
        case AuthorizationFact():
            return "authorization"
        case ConditionFact():
            return "condition"
        case CorrectionFact():
            return "correction"
        case WithdrawalFact():
            return "withdrawal"
        case RemapFact():
            return "remap"
    return "settlement"


def _type(fact: Fact) -> str:
    match fact:
        case EventFact():
            return fact.type
        case SnapshotFact():
            return fact.query
        case ConditionFact():
            return fact.change.code
        case SettlementFact():
            return fact.settlement.outcome
        case WithdrawalFact():
            return fact.withdrawal.outcome
    return _kind(fact)


def why_order(order: dict[str, Any]) -> str:
    """One sentence: why an order is in its state."""
    counts = order["summary"]
    if not counts["deliveries"]:
        return f"The order is {spoken(order['state'])}: no delivery of it is known yet."
    known = [(counts[key], spoken(key)) for key in _COUNTED if counts[key]]
    said = f"The order is {spoken(order['state'])} because"
    if len(known) == 1:
        total, state = known[0]
        return (
            f"{said} its only delivery is {state}."
            if total == 1
            else f"{said} all {total} deliveries are {state}."
        )
    parts = [f"{count} {'is' if count == 1 else 'are'} {state}" for count, state in known]
    return f"{said} of its {counts['deliveries']} deliveries {', '.join(parts[:-1])} and {parts[-1]}."


def why_delivery(delivery: dict[str, Any]) -> str:
    """One sentence: why a delivery is in its state."""
    state = delivery["state"]
    said = f"The delivery is {spoken(state)}"
    told = _counting(delivery, state)
    if told is not None:
        return f"{said} because {told['author']} corrected it, as of {told['occurredAt']}."
    if state == "DELIVERED":
        sources = {"milestone": "a carrier's milestone", "event": "an event", "snapshot": "an answer"}
        source = sources.get(delivery["deliveredAtSource"] or "")
        when = f"; it was at {delivery['deliveredAt']}, by {source}" if source else ""
        return f"{said} because Buy with Prime says so{when}."
    if state == "CANCELLED":
        reason = f", reason {spoken(delivery['reason'])}" if delivery["reason"] else ""
        return f"{said} because Buy with Prime says so{reason}."
    evidence = delivery["shipEvidence"]
    if state == "IN_TRANSIT" and evidence:
        shown = f"{evidence['kind']} {evidence['type']} at position {evidence['position']}"
        return f"{said} because of its first ship evidence, {shown}."
    return f"{said}: nothing says that it was shipped." if state == "PENDING" else f"{said}."


def _counting(view: dict[str, Any], state: str) -> dict[str, Any] | None:
    """The last correction of a view that counts, and says that it is in this state."""
    corrections: list[dict[str, Any]] = view.get("corrections", [])
    fitting = (c for c in reversed(corrections) if c["standing"] == "counts" and c["state"] == state)
    return next(fitting, None)


def why_tracker(tracker: dict[str, Any]) -> str:
    """One sentence: why a tracker is in its stage."""
    said = f"The tracker is {spoken(tracker['stage'])}"
    told = _counting(tracker, tracker["stage"])
    counting = [m for m in tracker["milestones"] if m["standing"] == "counts"]
    if told is not None and tracker["stageEnteredAt"] == format_instant(parse_instant(told["occurredAt"])):
        return f"{said} because {told['author']} corrected it, as of {told['occurredAt']}."
    if not counting:
        return f"{said}: no milestone of it is known yet."
    # What says something else than where the parcel is (a delay) leaves the stage alone.
    last = next((m for m in reversed(counting) if m["code"] == tracker["stage"]), counting[-1])
    place = (last.get("address") or {}).get("locality")
    scan = f"“{spoken(last['code'])}”" + (f" at {last['occurredAt']}" if last["occurredAt"] else "")
    scan += f" in {place}" if place else ""
    return f"{said} because {scan} is the latest milestone that counts."


HANDLERS = [explain_order, explain_delivery, explain_tracker]
