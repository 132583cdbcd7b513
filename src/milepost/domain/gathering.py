"""What the facts of one tracker show, gathered before anything is decided (the first half of the tracker fold).

Which answers are about this tracker, which orders name it and since when, which events say something new.
Everything decided from it is in `milestone`, `leg` and `tracker`.
"""

from collections.abc import Sequence
from itertools import pairwise

from milepost.domain.correction import CorrectionFact
from milepost.domain.fact import (
    ConditionFact,
    EventFact,
    Fact,
    OrderAnswer,
    SnapshotFact,
    Source,
    TrackerAnswer,
    said_at,
)
from milepost.domain.instant import Instant, parse_stamp
from milepost.domain.leg import Binding, ReturnClaim, Window
from milepost.domain.milestone import Answer
from milepost.domain.record import tracker_subject

MILESTONE_CHANGED = "PACKAGE_TRACKER_MILESTONE_CHANGED"
RETURN_PACKAGE_DELIVERED = "RETURN_PACKAGE_DELIVERED"
_SHIP_EVENTS = frozenset(("PACKAGE_DELIVERY_IN_TRANSIT", "PACKAGE_DELIVERED"))


class Gathered:
    """What the facts of one tracker show, before anything is decided."""

    def __init__(self, carrier_code: str, tracking_number: str, facts: Sequence[Fact]) -> None:
        self.carrier = carrier_code.lower()
        self.number = tracking_number
        self.facts: dict[int, Fact] = {f.position: f for f in facts}
        self.answers: list[Answer] = []
        self.joins: dict[tuple[str, str | None], Instant] = {}
        """(order, delivery) to when that was first received."""
        self.seen_orders: dict[str, Instant] = {}
        self.created: dict[str, Instant] = {}
        self.returns: list[ReturnClaim] = []
        self.conditions: list[ConditionFact] = []
        self.event_times: dict[object, Instant] = {}
        """First receipt of each event that is new: copies under old names merge (design, flow 6)."""
        self.ship_events: list[Instant] = []
        self.told_at: list[Instant] = []
        """When corrections of this tracker were received."""
        self.spellings: list[str] = []
        subject = tracker_subject(carrier_code, tracking_number)
        for fact in self.facts.values():
            if isinstance(fact, SnapshotFact):
                self._snapshot(fact)
            elif isinstance(fact, EventFact):
                self._event(fact)
            elif isinstance(fact, ConditionFact):
                self.conditions.append(fact)
            elif isinstance(fact, CorrectionFact) and fact.correction.subject == subject:
                self.told_at.append(fact.received_at)
        self._sort_answers()

    def _snapshot(self, fact: SnapshotFact) -> None:
        if fact.tracker is not None:
            if self.names(fact.tracker.carrier_code, fact.tracker.tracking_number):
                self._answer(fact.observed_at, "packageTracker", fact.tracker, fact)
        elif fact.order is not None:
            self._order(fact.observed_at, "order", fact.order, fact)

    def _event(self, fact: EventFact) -> None:
        key = self.event_key(fact)
        known = self.event_times.get(key)
        if known is None or fact.received_at < known:
            self.event_times[key] = fact.received_at
        for carrier, number in fact.trackers:
            if self.names(carrier, number):
                self.spellings.append(carrier)
                if fact.order_id is not None:
                    delivery = fact.delivery_ids[0] if len(fact.delivery_ids) == 1 else None
                    self._bind(fact.order_id, delivery, fact.published_at, fact.received_at)
                if fact.type == RETURN_PACKAGE_DELIVERED:
                    self.returns.append(ReturnClaim(fact.published_at))
        shown = fact.answer is not None and self._order(fact.published_at, "data", fact.answer, fact)
        if shown and fact.type in _SHIP_EVENTS:
            self.ship_events.append(fact.published_at)

    def event_key(self, fact: EventFact) -> object:
        """Events with equal keys are one; every milestone event and every conflicting copy is one of its own."""
        if fact.type == MILESTONE_CHANGED or fact.conflict:
            return fact.position
        return fact.type, fact.order_id, fact.delivery_ids, fact.trackers

    def _order(self, at: Instant, source: Source, order: OrderAnswer, fact: SnapshotFact | EventFact) -> bool:
        found = False
        for package in order.packages:
            tracker = package.tracker
            if tracker is not None and self.names(tracker.carrier_code, tracker.tracking_number):
                found = True
                self._answer(at, source, tracker, fact)
                self._bind(order.order_id, package.delivery_id, at, fact.received_at)
        if found and (created := _created_at(order)) is not None:
            known = self.created.get(order.order_id)
            self.created[order.order_id] = created if known is None else min(created, known)
        return found

    def names(self, carrier_code: str, tracking_number: str) -> bool:
        """Is it this tracker? Carrier codes are compared without case."""
        return tracking_number == self.number and carrier_code.lower() == self.carrier

    def _answer(
        self, at: Instant, source: Source, tracker: TrackerAnswer, fact: SnapshotFact | EventFact
    ) -> None:
        self.answers.append(Answer(at, source, tracker, fact.position, fact.received_at))

    def _bind(self, order_id: str, delivery_id: str | None, at: Instant, received_at: Instant) -> None:
        join = (order_id, delivery_id)
        self.joins[join] = min(received_at, self.joins.get(join, received_at))
        self.seen_orders[order_id] = min(at, self.seen_orders.get(order_id, at))

    def _sort_answers(self) -> None:
        """Oldest first. Answers of one instant are put in an order that depends on what they say alone."""
        answers = self.answers
        answers.sort(key=_observed)
        if any(a.observed_at == b.observed_at for a, b in pairwise(answers)):
            answers.sort(key=lambda a: (a.observed_at, a.source, repr(a.tracker)))

    def bindings(self) -> list[Binding]:
        found = []
        for order_id, seen_at in self.seen_orders.items():
            created = self.created.get(order_id)
            found.append(Binding(order_id, seen_at if created is None else created, created is not None))
        return found

    def orders(self) -> list[tuple[str, str | None]]:
        """The joins, sorted; an order without its delivery only where no answer named the delivery."""
        full = {order for order, delivery in self.joins if delivery is not None}
        kept = [j for j in self.joins if j[1] is not None or j[0] not in full]
        return sorted(kept, key=lambda j: (j[0], j[1] or ""))

    def first_heard(self) -> Instant:
        """The earliest time that any fact was published, observed or decided: since when it is known at all."""
        return min(map(said_at, self.facts.values()))

    def windows(self) -> list[Window]:
        return [
            Window(a.observed_at, a.received_at, a.tracker.earliest, a.tracker.latest)
            for a in self.answers
            if a.tracker.earliest is not None or a.tracker.latest is not None
        ]


def _observed(answer: Answer) -> Instant:
    return answer.observed_at


def _created_at(order: OrderAnswer) -> Instant | None:
    metadata = order.order.get("metadata")
    text = metadata.get("createdAt") if isinstance(metadata, dict) else None
    if not isinstance(text, str):
        return None
    try:
        return parse_stamp(text).at
    except ValueError:
        return None
