"""The order fold: the order's deliveries, Amazon's summary of them, what answers say of the order itself, until when
its payment may be collected, and the conditions of the order as a whole.

Fields come from order answers (snapshots, and `data` of any event), the newest first, each field by itself: a
null never stands over something known (T8 in the small). The summary's state is Amazon's rule to the letter
(PackageInformationSummary; tracking.md 9.5), with counts and the worst open condition added.

A delivery that was only ever seen PENDING and is missing from a newer answer of the order query is superseded:
until it ships, Amazon may split it into others (buy-with-prime.md 4.3). It is left out and explained. Only
answers of the same query retract, an empty answer retracts nothing, and a shipped delivery is never erased.

One delivery's state is `delivery`'s; the entries of a timeline are `timeline`'s.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from milepost.domain.authorization import fold_authorization
from milepost.domain.correction import CorrectionFact, WithdrawalFact, ending
from milepost.domain.delivery import Delivery, fold_delivery, raised
from milepost.domain.evidence import (
    CANCELLED,
    DELIVERED,
    EVENT_STATES,
    IN_TRANSIT,
    PENDING,
    Answer,
    Evidence,
    gather,
    read_answers,
)
from milepost.domain.fact import (
    AuthorizationFact,
    ConditionFact,
    EventFact,
    Fact,
    SettlementFact,
    SnapshotFact,
)
from milepost.domain.instant import Instant, format_instant, parse_instant
from milepost.domain.place import recipient_region
from milepost.domain.record import order_subject
from milepost.domain.trace import TraceEntry
from milepost.domain.tracker import Tracker
from milepost.domain.wording import spoken

SEVERITY = (
    "CONTRADICTION",
    "AUTHORIZATION_EXPIRED",
    "CUSTOMER_ACTION",
    "EXCEPTION",
    "AUTHORIZATION_EXPIRING",
    "TRACKING_EXPIRED",
    "NEVER_SCANNED",
    "STALLED",
    "PICKUP_AGING",
    "RETURN_UNCONFIRMED",
    "LATE",
    "WILL_BE_LATE",
    "DELAYED",
    "ATTEMPT_FAILED",
)
"""Conditions, worst first; any other comes after these."""

_LASTING = frozenset({"CONTRADICTION", "RETURN_UNCONFIRMED"})
"""Conditions that matter even of a delivery that has ended: a failed attempt keeps its count for ever (T2)."""


class Order(Struct, frozen=True):
    """An order as its facts make it. `document` is the order view."""

    id: str
    document: dict[str, Any]
    state: str
    position: int
    """The highest position among its facts and its deliveries'."""
    deliveries: tuple[Delivery, ...]
    terms: tuple[str, ...]
    trace: tuple[TraceEntry, ...]


def fold_order(
    business_product_id: str,
    order_id: str,
    facts: Sequence[Fact],
    trackers: Mapping[str, Tracker],
    explain: bool = False,
) -> Order:
    """Fold the facts of one order, in any order and with any duplicates, to its view.

    `trackers` are folded already, by `record.tracker_subject`; one that is missing shows as UNKNOWN. An order
    that only events name has a view all the same. `explain` fills the traces.
    """
    known = {fact.position: fact for fact in facts}
    facts = list(known.values())
    answers = read_answers(order_id, facts)
    gathered = gather(order_id, facts, answers)
    deliveries = [
        fold_delivery(business_product_id, order_id, evidence, trackers, explain)
        for evidence in gathered.values()
    ]
    superseded = _superseded(deliveries, gathered, answers)
    if superseded:
        deliveries = [d for d in deliveries if d.id not in superseded]
    position = max([*known, *(d.position for d in deliveries)], default=0)
    state = roll_up([d.state for d in deliveries])
    own = order_subject(order_id)
    conditions = raised([f for f in facts if isinstance(f, ConditionFact) and f.change.subject == own])
    document = {
        "id": order_id,
        "businessProductId": business_product_id,
        "aliases": _aliases(answers),
        "state": state,
        "summary": _summary(state, deliveries, conditions),
        "customer": _customer(answers),
        "payment": _payment(answers),
        "authorization": fold_authorization(facts),
        "createdAt": _created_at(answers),
        "destination": next(filter(None, (recipient_region(a.order.order) for a in answers)), None),
        "totalPrice": _money(answers, "totalPrice", "value"),
        "lineItems": _line_items(answers, deliveries),
        "deliveries": [d.document for d in deliveries],
        "conditions": conditions,
        "position": position,
    }
    trace = tuple(_trace(order_id, facts, answers, superseded)) if explain else ()
    return Order(order_id, document, state, position, tuple(deliveries), _terms(document), trace)


# ── Deliveries and their summary ───────────────────────────────────────────────────────────────────────────


def roll_up(states: Sequence[str]) -> str:
    """Amazon's rule: PENDING if any is; IN_TRANSIT if all move or some are completed; DELIVERED if all are
    completed, one at least delivered; CANCELLED if all are cancelled. Without deliveries: PENDING."""
    if not states or PENDING in states:
        return PENDING
    if IN_TRANSIT in states:
        return IN_TRANSIT
    return DELIVERED if DELIVERED in states else CANCELLED


def _superseded(
    deliveries: Sequence[Delivery], gathered: Mapping[str, Evidence], answers: Sequence[Answer]
) -> dict[str, Answer]:
    """Deliveries that a newer answer of the order query no longer lists, and that answer."""
    newest = next((a for a in answers if a.snapshot and a.packages), None)
    if newest is None:
        return {}
    found: dict[str, Answer] = {}
    for delivery in deliveries:
        seen = gathered[delivery.id].answers
        if (
            delivery.state == PENDING
            and seen
            and seen[0][0].at < newest.at
            and any(a.snapshot for a, _ in seen)
        ):
            found[delivery.id] = newest
    return found


def _summary(
    state: str, deliveries: Sequence[Delivery], conditions: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    states = [d.state for d in deliveries]
    return {
        "state": state,
        "deliveries": len(states),
        "pending": states.count(PENDING),
        "inTransit": states.count(IN_TRANSIT),
        "delivered": states.count(DELIVERED),
        "cancelled": states.count(CANCELLED),
        "worstCondition": _worst_condition(deliveries, conditions),
    }


def _worst_condition(deliveries: Sequence[Delivery], conditions: Sequence[Mapping[str, Any]]) -> str | None:
    codes: set[str] = {
        condition["code"]
        for delivery in deliveries
        for condition in delivery.document["conditions"]
        if condition["clearedAt"] is None
        and (delivery.state in (PENDING, IN_TRANSIT) or condition["code"] in _LASTING)
    }
    codes |= {condition["code"] for condition in conditions if condition["clearedAt"] is None}
    if not codes:
        return None
    return min(codes, key=lambda c: (SEVERITY.index(c) if c in SEVERITY else len(SEVERITY), c))


# ── What answers say of the order ──────────────────────────────────────────────────────────────────────────


def _at_path(value: object, path: Sequence[str]) -> object:
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _newest_text(answers: Sequence[Answer], *path: str) -> str | None:
    for answer in answers:
        value = _at_path(answer.order.order, path)
        if isinstance(value, str) and value:
            return value
    return None


def _money(answers: Sequence[Answer], *path: str) -> dict[str, Any] | None:
    for answer in answers:
        if (money := _as_money(_at_path(answer.order.order, path))) is not None:
            return money
    return None


def _as_money(value: object) -> dict[str, Any] | None:
    """{"amount", "currencyCode"}, the amount as decimal text; None when there is no amount."""
    if not isinstance(value, dict) or (amount := _decimal(value.get("amount"))) is None:
        return None
    currency = value.get("currencyCode")
    return {"amount": amount, "currencyCode": currency if isinstance(currency, str) else None}


def _decimal(value: object) -> str | None:
    plain = isinstance(value, str | int | float) and not isinstance(value, bool)
    return str(value) if plain and value != "" else None


def _aliases(answers: Sequence[Answer]) -> list[dict[str, str | None]]:
    for answer in answers:
        listed = answer.order.order.get("aliases")
        found = [
            {"aliasId": alias["aliasId"], "aliasType": _string(alias.get("aliasType"))}
            for alias in (listed if isinstance(listed, list) else ())
            if isinstance(alias, dict) and _string(alias.get("aliasId"))
        ]
        if found:
            return found
    return []


def _customer(answers: Sequence[Answer]) -> dict[str, str | None] | None:
    name = _newest_text(answers, "customer", "contact", "name")
    email = _newest_text(answers, "customer", "contact", "email")
    return {"name": name, "email": email} if name or email else None


def _payment(answers: Sequence[Answer]) -> dict[str, Any] | None:
    state = _newest_text(answers, "payments", "summary", "state")
    amount = _money(answers, "payments", "summary", "amount")
    return {"state": state, "amount": amount} if state or amount else None


def _created_at(answers: Sequence[Answer]) -> str | None:
    text = _newest_text(answers, "metadata", "createdAt")
    try:
        return format_instant(parse_instant(text)) if text else None
    except ValueError:
        return None


def _string(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _line_items(answers: Sequence[Answer], deliveries: Sequence[Delivery]) -> list[dict[str, Any]]:
    """Every line item any answer listed, and those that only deliveries name; which delivery holds how many."""
    found: dict[str, dict[str, Any]] = {}
    for answer in answers:
        listed = answer.order.order.get("lineItems")
        for item in listed if isinstance(listed, list) else ():
            if not isinstance(item, dict) or (item_id := _string(item.get("id"))) is None:
                continue
            known = found.setdefault(item_id, _line_item(item_id))
            seen = {
                "title": _string(_at_path(item, ("product", "title"))),
                "quantity": _decimal(_at_path(item, ("amount", "value"))),
                "unit": _string(_at_path(item, ("amount", "unit"))),
                "price": _as_money(_at_path(item, ("product", "price"))),
            }
            known.update({key: value for key, value in seen.items() if known[key] is None})
    for delivery in deliveries:
        for item in delivery.document["lineItems"]:
            known = found.setdefault(item["id"], _line_item(item["id"]))
            known["deliveries"].append({"deliveryId": delivery.id, "quantity": item["quantity"]})
    return list(found.values())


def _line_item(item_id: str) -> dict[str, Any]:
    return {"id": item_id, "title": None, "quantity": None, "unit": None, "price": None, "deliveries": []}


def _terms(document: Mapping[str, Any]) -> tuple[str, ...]:
    """What search finds the order by: its id, aliases, the customer's email, name and each word of it."""
    texts = [document["id"], *(alias["aliasId"] for alias in document["aliases"])]
    customer = document["customer"]
    if customer is not None:
        name = customer["name"] or ""
        texts += [customer["email"] or "", " ".join(name.split()), *name.split()]
    return tuple(dict.fromkeys(text.lower() for text in texts if text))


# ── Explanation ────────────────────────────────────────────────────────────────────────────────────────────


def _trace(
    order_id: str, facts: Sequence[Fact], answers: Sequence[Answer], superseded: Mapping[str, Answer]
) -> Iterator[TraceEntry]:
    """Every fact once, oldest position first; then the deliveries that were left out."""
    read = {answer.fact.position: answer for answer in answers}
    for fact in sorted(facts, key=lambda f: f.position):
        if isinstance(fact, EventFact):
            yield _event_entry(fact, read.get(fact.position))
        elif isinstance(fact, SnapshotFact):
            yield _snapshot_entry(order_id, fact)
        elif isinstance(fact, ConditionFact):
            change = fact.change
            verb = "raised" if change.raised else "cleared"
            text = f"“{spoken(change.code).capitalize()}” was {verb} for {change.subject}."
            yield TraceEntry(fact.position, "condition", change.code, True, "design 5", text)
        elif isinstance(fact, AuthorizationFact):
            before = format_instant(fact.authorization.capture_before)
            text = (
                f"It was told that payment may be collected until {before}; the newest that was told holds."
            )
            yield TraceEntry(fact.position, "authorization", "authorization", True, "authorization", text)
        elif isinstance(fact, SettlementFact):
            settlement = fact.settlement
            text = f"Asking for position {settlement.position} ended after {settlement.tries}: {settlement.reason}."
            yield TraceEntry(fact.position, "settlement", settlement.outcome, False, "design 8", text)
        elif isinstance(fact, CorrectionFact):
            said = fact.correction
            told = f"{said.author} told that {said.subject} is {spoken(said.state)}"
            text = f"{told}; its own view says what was made of it."
            yield TraceEntry(fact.position, "correction", said.state, True, "T11", text)
        elif isinstance(fact, WithdrawalFact):
            end = fact.withdrawal
            yield TraceEntry(fact.position, "withdrawal", end.outcome, True, "T11", ending(end))
    for delivery_id, newest in superseded.items():
        when = format_instant(newest.at)
        text = f"Delivery {delivery_id} was only ever pending and the answer of {when} lists it no more: left out."
        yield TraceEntry(newest.fact.position, "snapshot", delivery_id, False, "T8", text)


def _event_entry(fact: EventFact, answer: Answer | None) -> TraceEntry:
    kind = "conflict" if fact.conflict else "event"
    state = EVENT_STATES.get(fact.type)
    if state is not None and fact.delivery_ids:
        text = f"It claims that {', '.join(fact.delivery_ids)} is {spoken(state)}."
        if answer is not None and not answer.packages and answer.order.packages:
            text += (
                " The deliveries in its data are others, so its data says nothing of them: resources hold."
            )
        return TraceEntry(fact.position, kind, fact.descriptor, True, "D1", text)
    if answer is not None:
        text = "Its data describes the order; nothing else is folded from it."
        return TraceEntry(fact.position, kind, fact.descriptor, True, "design 9", text)
    text = "It is kept and shown; no order or delivery is folded from it."
    return TraceEntry(fact.position, kind, fact.descriptor, False, "design 9", text)


def _snapshot_entry(order_id: str, fact: SnapshotFact) -> TraceEntry:
    when = format_instant(Instant(fact.observed_at))
    order = fact.order
    if order is None or order.order_id != order_id:
        what = "nothing" if order is None else f"order {order.order_id}"
        text = f"The answer of {when} shows {what}: set aside, it retracts nothing."
        return TraceEntry(fact.position, "snapshot", fact.query, False, "T8", text)
    shown = ", ".join(f"{p.delivery_id} {spoken(p.state)}" for p in order.packages) or "no delivery"
    text = f"The answer of {when} shows {shown}."
    return TraceEntry(fact.position, "snapshot", fact.query, True, "D1", text)
