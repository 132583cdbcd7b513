"""The joins: what an order's or a tracker's facts say of each other.

An order's facts name its trackers and deliveries (order answers, `data`); a tracker's facts name its orders.
"""

from collections.abc import Iterable, Sequence

from milepost.domain.fact import EventFact, Fact, SnapshotFact
from milepost.domain.record import tracker_subject


def orders_of(facts: Iterable[Fact]) -> set[str]:
    """Orders that a tracker's facts join it to. The order of an event's `data` may be another of its orders
    than the first."""
    orders: set[str] = set()
    for fact in facts:
        if isinstance(fact, EventFact | SnapshotFact) and fact.order_id is not None:
            orders.add(fact.order_id)
        if isinstance(fact, EventFact) and fact.answer is not None:
            orders.add(fact.answer.order_id)
    return orders


def trackers_of(facts: Iterable[Fact]) -> dict[str, tuple[str, str]]:
    """Trackers that an order's facts join it to: subject -> (carrierCode, trackingNumber)."""
    named: dict[str, set[tuple[str, str]]] = {}
    for fact in facts:
        identities: list[tuple[str, str]] = []
        answer = None
        if isinstance(fact, EventFact):
            identities.extend(fact.trackers)
            answer = fact.answer
        elif isinstance(fact, SnapshotFact):
            answer = fact.order
        if answer is not None:
            identities.extend(
                (package.tracker.carrier_code, package.tracker.tracking_number)
                for package in answer.packages
                if package.tracker is not None
            )
        for identity in identities:
            named.setdefault(tracker_subject(*identity), set()).add(identity)
    return {subject: min(named[subject]) for subject in sorted(named)}


def deliveries_of(facts: Iterable[Fact]) -> set[str]:
    """Every delivery id that an order's facts ever named."""
    named: set[str] = set()
    for fact in facts:
        answer = None
        if isinstance(fact, EventFact):
            named.update(fact.delivery_ids)
            answer = fact.answer
        elif isinstance(fact, SnapshotFact):
            answer = fact.order
        if answer is not None:
            named.update(package.delivery_id for package in answer.packages)
    return named


def tracker_identity(subject: str, facts: Iterable[Fact]) -> tuple[str, str]:
    """(carrierCode, trackingNumber) as the facts write them; of several spellings always the same one."""
    spellings: set[tuple[str, str]] = set()
    for fact in facts:
        if isinstance(fact, EventFact):
            spellings.update(fact.trackers)
        elif isinstance(fact, SnapshotFact) and fact.carrier_code and fact.tracking_number:
            spellings.add((fact.carrier_code, fact.tracking_number))
    spellings.update(trackers_of(facts).values())
    fitting = [spelling for spelling in spellings if tracker_subject(*spelling) == subject]
    if fitting:
        return min(fitting)
    _, carrier, number = subject.split("/", 2)
    return carrier, number


def first_position(facts: Sequence[Fact]) -> int:
    return min((fact.position for fact in facts), default=0)
