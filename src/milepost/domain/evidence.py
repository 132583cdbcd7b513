"""What an order's facts say of its deliveries: answers newest first, and each delivery's claims.

Whatever order the facts are given in, what is gathered here comes out in an order of its own: by published and
observed times, ties by content. Positions and received times decide nothing. What follows from the claims is
`delivery`'s and `order`'s.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

import msgspec
from msgspec import Struct

from milepost.domain.correction import CorrectionFact, Told, WithdrawalFact, counting, told_of
from milepost.domain.fact import ConditionFact, EventFact, Fact, OrderAnswer, PackageAnswer, SnapshotFact
from milepost.domain.instant import Instant
from milepost.domain.record import delivery_subject

PENDING, IN_TRANSIT, DELIVERED, CANCELLED = "PENDING", "IN_TRANSIT", "DELIVERED", "CANCELLED"

EVENT_STATES = {
    "PACKAGE_DELIVERY_IN_TRANSIT": IN_TRANSIT,
    "PACKAGE_DELIVERED": DELIVERED,
    "PACKAGE_DELIVERY_CANCELLED": CANCELLED,
}
"""What each delivery event claims. Former names lead here too: facts carry the canonical type."""


class Answer(Struct, frozen=True):
    """An order answer, and when it showed what it shows."""

    at: Instant
    """observedAt of a snapshot; for the answer in an event's `data`, when the event was published."""
    snapshot: bool
    fact: EventFact | SnapshotFact
    order: OrderAnswer
    packages: tuple[PackageAnswer, ...]
    """What it says of deliveries; without those of a `data` that contradicts `resources` (seed 002)."""


class Claim(NamedTuple):
    """One piece of evidence of a state. Claims sort by time; at one time, the event before the answer."""

    at: Instant
    answer: bool
    """False: the event's own word. True: an answer shows it, be it a snapshot or an event's `data`."""
    type: str
    """The event's canonical type; for a snapshot the query."""
    position: int
    state: str
    kind: Literal["event", "conflict", "snapshot"]
    name: str
    """The type as it was sent."""


class Evidence(Struct):
    """Everything known of one delivery from its order's facts."""

    delivery_id: str
    claims: list[Claim] = []
    answers: list[tuple[Answer, PackageAnswer]] = []
    """Newest first."""
    conditions: list[ConditionFact] = []
    corrections: list[Told] = []
    """By the time they speak of; those that have ended too."""
    told: list[CorrectionFact | WithdrawalFact] = []
    """The facts they are made of."""
    position: int = 0
    """The highest of its facts."""

    def answered(self, answer: Answer, package: PackageAnswer) -> None:
        fact = answer.fact
        if isinstance(fact, SnapshotFact):
            claim = Claim(answer.at, True, fact.query, fact.position, package.state, "snapshot", fact.query)
        else:
            claim = _claim(fact, package.state, True)
        self.claims.append(claim)
        self.answers.append((answer, package))
        self.position = max(self.position, fact.position)

    def named(self, fact: EventFact) -> None:
        """An event's resources name the delivery; the three delivery events claim a state."""
        self.position = max(self.position, fact.position)
        state = EVENT_STATES.get(fact.type)
        if state is not None:
            self.claims.append(_claim(fact, state, False))

    def raised(self, fact: ConditionFact) -> None:
        self.position = max(self.position, fact.position)
        self.conditions.append(fact)

    def corrected(self) -> Told | None:
        """The correction that holds until something else occurs: the last of those that count (T11)."""
        return next(reversed(counting(self.corrections)), None)

    def believed(self) -> list[Claim]:
        """The claims that no correction outranks (T11): what events said after the time it speaks of, and what
        answers showed after it for the first time. An answer that repeats what was shown tells of nothing new."""
        told = self.corrected()
        if told is None:
            return self.claims
        before = {claim.state for claim in self.claims if claim.at <= told.at}
        return [c for c in self.claims if c.at > told.at and not (c.answer and c.state in before)]

    def first(self, state: str, answer: bool | None = None) -> Claim | None:
        """The earliest claim of a state; `answer` narrows to events' own words or to answers."""
        found = [c for c in self.claims if c.state == state and (answer is None or c.answer is answer)]
        return min(found) if found else None


def read_answers(order_id: str, facts: Sequence[Fact]) -> list[Answer]:
    """Every answer about this order, newest first; at one time a snapshot is newer than an event's `data`.

    An answer about another order, an error or a null says nothing.
    """
    found: list[Answer] = []
    for fact in facts:
        if isinstance(fact, EventFact):
            order = fact.answer
            if order is not None and order.order_id == order_id:
                found.append(Answer(fact.published_at, False, fact, order, _uncontradicted(fact, order)))
        elif isinstance(fact, SnapshotFact):
            order = fact.order
            if order is not None and order.order_id == order_id:
                found.append(Answer(fact.observed_at, True, fact, order, order.packages))
    found.sort(key=_moment, reverse=True)
    if any(_moment(one) == _moment(next_one) for one, next_one in pairwise(found)):
        found.sort(key=_moment_and_content, reverse=True)
    return found


def _uncontradicted(fact: EventFact, order: OrderAnswer) -> tuple[PackageAnswer, ...]:
    """Where `data` describes other deliveries than `resources` names, `resources` holds (seed 002)."""
    named = fact.delivery_ids
    if named and not any(package.delivery_id in named for package in order.packages):
        return ()
    return order.packages


def _moment(answer: Answer) -> tuple[Instant, bool]:
    return answer.at, answer.snapshot


def _moment_and_content(answer: Answer) -> tuple[Instant, bool, bytes, bool]:
    content = msgspec.json.encode(answer.order.order, order="sorted")
    return answer.at, answer.snapshot, content, bool(answer.packages)


def gather(order_id: str, facts: Sequence[Fact], answers: Sequence[Answer]) -> dict[str, Evidence]:
    """Everything the facts of an order say of its deliveries, by delivery id.

    `answers` are newest first; deliveries come in the order in which the newest answer lists them, and those
    that only events name after them, by published time. A fact keeps the first order id of an event's
    resources, so an event about several orders is evidence only of deliveries that answers gave this one.
    """
    found: dict[str, Evidence] = {}
    for answer in answers:
        for package in answer.packages:
            evidence = found.get(package.delivery_id)
            if evidence is None:
                evidence = found[package.delivery_id] = Evidence(package.delivery_id)
            evidence.answered(answer, package)
    events = [fact for fact in facts if isinstance(fact, EventFact) and fact.delivery_ids]
    events.sort(key=lambda fact: (fact.published_at, fact.delivery_ids))
    for fact in events:
        for delivery_id in dict.fromkeys(fact.delivery_ids):
            evidence = found.get(delivery_id)
            if evidence is None and fact.order_id == order_id:
                evidence = found[delivery_id] = Evidence(delivery_id)
            if evidence is not None:
                evidence.named(fact)
    subjects = {delivery_subject(delivery_id): evidence for delivery_id, evidence in found.items()}
    for condition in facts:
        if isinstance(condition, ConditionFact) and condition.change.subject in subjects:
            subjects[condition.change.subject].raised(condition)
    _add_corrections(facts, subjects)
    return found


def _add_corrections(facts: Sequence[Fact], subjects: Mapping[str, Evidence]) -> None:
    known = [fact for fact in facts if isinstance(fact, CorrectionFact | WithdrawalFact)]
    if not known:
        return
    for subject, evidence in subjects.items():
        evidence.corrections = told_of(known, subject)
        ids = {told.correction.id for told in evidence.corrections}
        evidence.told = [
            fact
            for fact in known
            if (fact.correction.id if isinstance(fact, CorrectionFact) else fact.withdrawal.correction) in ids
        ]
        evidence.position = max([evidence.position, *(fact.position for fact in evidence.told)])


def _claim(fact: EventFact, state: str, answer: bool) -> Claim:
    kind: Literal["event", "conflict"] = "conflict" if fact.conflict else "event"
    return Claim(fact.published_at, answer, fact.type, fact.position, state, kind, fact.descriptor)
