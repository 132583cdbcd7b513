"""What became of events, for lists and pages: `domain.outcome` over the folds of the orders and trackers they name.

The folds are those that `explain` reads. However many events a list has, each order and each tracker of it is loaded
once and folded once, all in a handful of reads.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from milepost.domain.fact import Fact, SettlementFact
from milepost.domain.hydration import MILESTONE, Match, match_milestones
from milepost.domain.instant import SECOND, readable_instant
from milepost.domain.outcome import Outcome, Reading, Told, outcome_of
from milepost.domain.record import Record, subjects_of
from milepost.domain.trace import TraceEntry
from milepost.domain.tracker import Tracker
from milepost.pipeline.joins import tracker_identity
from milepost.pipeline.loaded import LoadedOrder, LoadedTracker, load_orders, load_trackers
from milepost.pipeline.projector import NAME as PROJECTOR
from milepost.pipeline.projector import Key
from milepost.store import Transaction
from milepost.web.documents import Document


class OutcomeDocument(Document):
    """What became of an event: docs/console-integrators.md lists the codes and when each holds."""

    code: str
    rule: str
    text: str
    copies: int
    """How often it came again."""
    key_reuse: bool
    disputed: bool
    """A copy of it came whose `data` differs."""


def outcome_document(outcome: Outcome) -> OutcomeDocument:
    return OutcomeDocument(
        outcome.code, outcome.rule, outcome.text, outcome.copies, outcome.key_reuse, outcome.disputed
    )


def outcomes_of(tx: Transaction, records: Collection[Record]) -> dict[int, Outcome]:
    """The outcome of each event and conflicting copy, by position."""
    positions = [record.position for record in records]
    checkpoint = tx.journal.checkpoint(PROJECTOR)
    failed, flags = tx.views.failed(positions), tx.views.flags(positions)
    arrivals = tx.journal.arrivals(positions)
    folded = [r for r in records if r.position <= checkpoint and r.position not in failed]
    readings = _readings(tx, [record for record in folded if record.kind == "event"])
    return {
        record.position: outcome_of(
            record.kind,
            record.type,
            len(arrivals.get(record.position, ())),
            (*record.flags, *flags.get(record.position, ())),
            readings.get(record.position, ()),
            folded=record.position <= checkpoint,
            failed=record.position in failed,
        )
        for record in records
    }


def _readings(tx: Transaction, records: Sequence[Record]) -> dict[int, list[Reading]]:
    named = {record.position: _keys_of(record) for record in records}
    wanted = dict.fromkeys(key for keys in named.values() for key in keys)
    orders = load_orders(tx, [key for key in wanted if key[1].startswith("order/")], explain=True)
    trackers = _of_orders(orders)
    alone = [key for key in wanted if key[1].startswith("tracker/") and key not in trackers]
    trackers |= load_trackers(tx, alone, explain=True)
    matches = {key: match_milestones(trackers[key].facts) for key in wanted if key in trackers}
    found: dict[int, list[Reading]] = {}
    for record in records:
        readings = found.setdefault(record.position, [])
        for key in named[record.position]:
            if key in orders:
                readings.append(_of_order(orders[key], record.position))
            elif key in trackers:
                readings.append(_of_tracker(trackers[key], record, matches[key]))
    return found


def _of_orders(orders: Mapping[Key, LoadedOrder]) -> dict[Key, LoadedTracker]:
    """The trackers that were folded with their orders, where they are spelt as they would be by themselves."""
    found: dict[Key, LoadedTracker] = {}
    for (product, _), loaded in orders.items():
        for subject, tracker in loaded.trackers.items():
            facts, document = loaded.tracker_facts[subject], tracker.document
            spelt = document["carrierCode"], document["trackingNumber"]
            if spelt == tracker_identity(subject, facts):
                found[product, subject] = LoadedTracker(tracker, facts)
    return found


def _keys_of(record: Record) -> list[Key]:
    """The orders whose folds read it; of a milestone event, and where no order is named, the trackers."""
    subjects = subjects_of(record)
    kind = "tracker/" if record.type == MILESTONE else "order/"
    own = [s for s in subjects if s.startswith(kind)] or [
        s for s in subjects if s.startswith(("order/", "tracker/"))
    ]
    return [(record.business_product_id, subject) for subject in own]


def _of_order(loaded: LoadedOrder, position: int) -> Reading:
    """What its deliveries and trackers made of it; the order's own line where those say nothing."""
    closer = [entry for delivery in loaded.order.deliveries for entry in delivery.trace]
    closer += [entry for tracker in loaded.trackers.values() for entry in tracker.trace]
    entries = _at(closer, position) or _at(loaded.order.trace, position)
    return Reading(entries)


def _of_tracker(loaded: LoadedTracker, record: Record, matches: Mapping[int, Match]) -> Reading:
    told = _told(loaded, record.position, matches) if record.type == MILESTONE else None
    entries = _at(loaded.tracker.trace, record.position)
    return Reading(entries, bool(loaded.tracker.document["orphan"]), told)


def _at(entries: Sequence[TraceEntry], position: int) -> tuple[TraceEntry, ...]:
    return tuple(entry for entry in entries if entry.position == position)


def _told(loaded: LoadedTracker, position: int, matches: Mapping[int, Match]) -> Told:
    """The milestone that an event was matched to, as the view shows it; or how asking for it ended."""
    match = matches.get(position)
    if match is None:
        return Told(settled=_settled(loaded.facts, position))
    code, second, locality = match.milestone
    for shown in loaded.tracker.document["milestones"]:
        at = readable_instant(shown["occurredAt"])
        same = (-1 if at is None else at // SECOND) == second
        if shown["code"] == code and same and (shown["address"]["locality"] or "") == locality:
            return Told(shown, _line_of(loaded.tracker, shown))
    # A later answer took it back, or it belongs to another life of the number.
    return Told({"code": code, "standing": "superseded"})


def _line_of(tracker: Tracker, shown: Mapping[str, Any]) -> TraceEntry | None:
    """The line of the explanation about a milestone. A line begins with the milestone and its time."""
    at = f" at {shown['occurredAt'] or 'an unknown time'}: "
    lines = [entry for entry in tracker.trace if entry.what == shown["code"] and at in entry.text]
    own = [entry for entry in lines if entry.position == shown["position"]]
    return next(iter(own or lines), None)


def _settled(facts: Sequence[Fact], position: int) -> str:
    ends = [f for f in facts if isinstance(f, SettlementFact) and f.settlement.position == position]
    return ends[-1].settlement.outcome if ends else ""
