"""Why a tracker stands as it does: for every fact what was made of it, and by which rule.

Reads what the fold gathered and decided; decides nothing itself. Only `explain` runs it.
"""

from collections.abc import Iterator, Sequence

from milepost.domain.correction import CorrectionFact, Told, WithdrawalFact, explain_corrections
from milepost.domain.fact import ConditionFact, EventFact, SettlementFact, SnapshotFact, TrackerAnswer
from milepost.domain.gathering import MILESTONE_CHANGED, RETURN_PACKAGE_DELIVERED, Gathered
from milepost.domain.instant import format_instant
from milepost.domain.milestone import CLOCK_SUSPECT, REUSED_NUMBER_SUSPECTED, Scan, Scans
from milepost.domain.trace import TraceEntry
from milepost.domain.wording import milestone_name, spoken

_WHY: dict[tuple[str, str], str] = {
    ("counts", "T1"): "it counts; the stage is that of the last one to occur",
    ("counts", "T2"): "it raises a condition and leaves the stage alone",
    ("counts", "T5"): "it occurred after a scan that said delivered, and counts: the stage follows it",
    ("counts", "T6"): "the parcel was found again: the stage follows it",
    ("counts", "T7"): "the parcel is on its way back to the sender",
    ("historyFill", "T4"): "it was seen only after a later one: it fills history and changes no stage",
    ("contradicted", "T5"): "a later scan within 72 hours says that it wasn't delivered",
    ("annotates", "T5"): "once delivered, it names where the parcel was handed over; the stage stays",
    ("contradicted", "T11"): "an agent's correction says that it wasn't delivered",
    ("corrected", "T11"): "an agent's correction gives another time for the delivery",
    ("corrected", "T5"): "the newest answer gives another time for the delivery",
    ("superseded", "T8"): "a newer answer of the same query no longer shows it",
    ("unmapped", "T10"): "Milepost doesn't know this code: it is shown and the stage stays",
    ("setAside", "T10"): "the mapping says that this code means nothing: it is shown and the stage stays",
    ("setAside", "T1"): "it has no time of its own, and others have",
    ("setAside", "T2"): "it is a condition, and the parcel had come to an outcome",
    ("setAside", "T5"): "it contradicts an earlier scan that said delivered, but cannot undo it",
    ("setAside", "T7"): "the parcel was going back: this is not a delivery to the shopper",
}
_USED = frozenset(("counts", "annotates"))
_NOTES = {
    CLOCK_SUSPECT: "its time lay in the future when it was first seen, so it is ordered by when it was seen (T9)",
    REUSED_NUMBER_SUSPECTED: "it is older than the order: the number was probably used before (T9)",
}


def explain_tracker(
    gathered: Gathered, scans: Scans, corrections: Sequence[Told], carrier_code: str
) -> tuple[TraceEntry, ...]:
    """Every fact by position, each with one entry or more."""
    told: set[Scan] = set()
    new_events: dict[object, int] = {}
    found: list[TraceEntry] = []
    newest_change = _newest_changes(gathered)
    for position in sorted(gathered.facts):
        fact = gathered.facts[position]
        if isinstance(fact, EventFact):
            found += _event(gathered, scans, fact, told, new_events)
        elif isinstance(fact, SnapshotFact):
            found += _snapshot(gathered, scans, fact, told, carrier_code)
        elif isinstance(fact, ConditionFact):
            found.append(_condition(fact, newest_change))
        elif isinstance(fact, SettlementFact):
            found.append(_settlement(fact))
        elif isinstance(fact, CorrectionFact | WithdrawalFact):
            found += explain_corrections([fact], corrections)
    return tuple(found)


def _event(
    gathered: Gathered, scans: Scans, fact: EventFact, told: set[Scan], new_events: dict[object, int]
) -> Iterator[TraceEntry]:
    kind = "conflict" if fact.conflict else "event"
    shown = [
        p.tracker
        for p in (fact.answer.packages if fact.answer is not None else ())
        if p.tracker is not None and gathered.names(p.tracker.carrier_code, p.tracker.tracking_number)
    ]
    key = gathered.event_key(fact)
    first = new_events.setdefault(key, fact.position)
    if first != fact.position:
        text = f"{fact.descriptor} says again what the event at {first} says of the same resources; they are one."
        yield TraceEntry(fact.position, kind, fact.type, False, "design 6", text)
    elif fact.type == RETURN_PACKAGE_DELIVERED and fact.trackers:
        text = "The return parcel of this number arrived: the distinct evidence that it was returned."
        yield TraceEntry(fact.position, kind, fact.type, True, "T7", text)
    elif fact.type == MILESTONE_CHANGED:
        order = f" It names order {fact.order_id}." if fact.order_id is not None else ""
        text = f"It says that a milestone changed; which one, answers show.{order}"
        yield TraceEntry(fact.position, kind, fact.type, True, "design 8", text)
    elif not shown:
        text = "It names this number and shows nothing of its milestones."
        yield TraceEntry(fact.position, kind, fact.type, False, "design 8", text)
    for tracker in shown:
        yield from _answer(scans, fact.position, kind, fact.type, tracker, told)


def _snapshot(
    gathered: Gathered, scans: Scans, fact: SnapshotFact, told: set[Scan], carrier_code: str
) -> Iterator[TraceEntry]:
    packages = fact.order.packages if fact.order is not None else ()
    shown = [p.tracker for p in packages if p.tracker is not None]
    if fact.tracker is not None:
        shown.append(fact.tracker)
    ours = [t for t in shown if gathered.names(t.carrier_code, t.tracking_number)]
    if not ours:
        answered = "no tracker" if not shown else f"nothing of {carrier_code} {gathered.number}"
        text = f"The answer shows {answered}: it retracts nothing."
        yield TraceEntry(fact.position, "snapshot", fact.query, False, "T8", text)
    for tracker in ours:
        yield from _answer(scans, fact.position, "snapshot", fact.query, tracker, told)


def _answer(
    scans: Scans, position: int, kind: str, what: str, tracker: TrackerAnswer, told: set[Scan]
) -> Iterator[TraceEntry]:
    """One entry for each scan that no earlier fact showed; one for all the rest."""
    if not tracker.milestones:
        text = "The answer lists no milestones: it names the tracker and retracts nothing."
        yield TraceEntry(position, kind, what, True, "T8", text)
        return
    fresh = [s for s in dict.fromkeys(map(scans.of, tracker.milestones)) if s not in told]
    told.update(fresh)
    if not fresh:
        text = "The answer shows only milestones that an earlier fact had shown."
        yield TraceEntry(position, kind, what, False, "design 4", text)
    for scan in fresh:
        at = scan.text or "an unknown time"
        notes = "".join(f"; {_NOTES[flag]}" for flag in scan.flags)
        code = _named(scan)
        text = f"{code} at {at}: {_WHY[scan.standing, scan.rule]}{notes}."
        yield TraceEntry(position, kind, scan.code, scan.standing in _USED, scan.rule, text)


def _named(scan: Scan) -> str:
    """What a scan says, in words; a code that Milepost doesn't know stands as the carrier wrote it."""
    raw = scan.key[0]
    if scan.code != raw:
        return f"{raw}, mapped to {spoken(scan.code)} (T10),"
    return milestone_name(raw)


def _newest_changes(gathered: Gathered) -> dict[tuple[str, str, object], int]:
    newest: dict[tuple[str, str, object], int] = {}
    for fact in sorted(gathered.conditions, key=lambda f: (f.change.at, f.position)):
        newest[_change_key(fact)] = fact.position
    return newest


def _change_key(fact: ConditionFact) -> tuple[str, str, object]:
    return fact.change.subject, fact.change.code, str(fact.change.evidence.get("kind"))


def _condition(fact: ConditionFact, newest: dict[tuple[str, str, object], int]) -> TraceEntry:
    change = fact.change
    latest = newest[_change_key(fact)]
    done = "raised" if change.raised else "cleared"
    text = f"“{spoken(change.code).capitalize()}” was {done} at {format_instant(change.at)}"
    text += "." if latest == fact.position else f"; the change at {latest} is newer."
    rule = "T12" if change.code == "TRACKING_EXPIRED" else "design 5"
    return TraceEntry(fact.position, "condition", change.code, latest == fact.position, rule, text)


def _settlement(fact: SettlementFact) -> TraceEntry:
    settlement = fact.settlement
    text = f"Asking for the event at {settlement.position} ended after {settlement.tries} tries; no state changes."
    return TraceEntry(fact.position, "settlement", settlement.outcome, False, "design 8", text)
