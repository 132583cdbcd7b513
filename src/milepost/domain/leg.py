"""The tracker's state machine: one parcel's way, walked from the first scan to the last (T1-T7, T11, T12's silence).

A tracking number may be used again; each use is a `Leg` with a generation number. `walk` takes everything that
happened under one number in the order it happened and says, for every scan, whether it counts and by which
rule, and for every leg what stage it reached and which conditions its scans raised and cleared. Merging
sightings into scans and retraction (T8) are in `milestone`, the view is made in `tracker`.

Where tracking.md leaves a case open, this is decided:

- after RETURN_TO_SENDER every scan belongs to the way back: the stage stays RETURNING, and a DELIVERED there is
  not a delivery to the shopper (T7; Amazon's one code means returning *or* returned);
- DELIVERY_ATTEMPTED where T5 or T6 reopens by it, means OUT_FOR_DELIVERY: somebody had the parcel at a door;
- LOST and UNDELIVERABLE after DELIVERED contradict it and don't replace it;
- DELAYED, EXCEPTION and CUSTOMER_ACTION after an outcome are shown and raise nothing ("ride on any non-outcome
  stage");
- a code that isn't mapped starts no new generation;
- an agent's correction (T11) sets the stage whatever it was, in the use of the number that carries its order; what
  occurs after it goes by the same rules as after a scan. It is possession only while no scan shows any.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import Struct

from milepost.domain.correction import Told
from milepost.domain.instant import DAY, HOUR, Instant, Stamp
from milepost.domain.milestone import CONDITION_OF, MEANINGLESS, STAGE_OF, UNMAPPED, Scan, SortKey

REOPENS_WITHIN = 72 * HOUR
"""T5: a movement this soon after DELIVERED says that it wasn't delivered."""
SAME_USE_WITHIN = 30 * DAY
"""T5: activity longer after an outcome is another parcel's."""

POSSESSION = frozenset(
    ("IN_TRANSIT", "OUT_FOR_DELIVERY", "AVAILABLE_FOR_PICKUP", "DELIVERY_ATTEMPTED", "DELIVERED")
)
"""What only a carrier that holds the parcel can say: ship evidence. A label never is."""

_OUTCOMES = frozenset(("DELIVERED", "RETURNING", "RETURNED", "UNDELIVERABLE", "LOST"))
_BEFORE_POSSESSION = frozenset(("PENDING", "INFO_RECEIVED"))
_AFTER_DELIVERY = frozenset(("RETURNING", "RETURNED"))
_CLEARED_BY_MOVEMENT = (
    ("ATTEMPT_FAILED", None),
    ("CUSTOMER_ACTION", None),
    ("EXCEPTION", None),
)
DELIVERED_RETRACTED = "delivered_retracted"
SCAN_AFTER_DELIVERY = "scan_after_delivery"


class Binding(Struct, frozen=True):
    """An order that the number is bound to, from when."""

    order_id: str
    at: Instant
    """When the order was created; if no answer said so, when it was first seen to name the number."""
    created: bool
    """`at` is the order's creation."""


class ReturnClaim(Struct, frozen=True):
    """A RETURN_PACKAGE_DELIVERED event that names the number: the distinct evidence of T7."""

    at: Instant


Step = Scan | Binding | ReturnClaim | Told


class Condition(Struct):
    """A condition as scans raised and cleared it."""

    raised_at: Instant
    cleared_at: Instant | None = None
    count: int | None = None
    evidence: dict[str, Any] = {}


class Window(Struct, frozen=True):
    """An estimated delivery window, as one answer showed it."""

    observed_at: Instant
    received_at: Instant
    earliest: Stamp | None
    latest: Stamp | None


class Leg(Struct, eq=False):
    """One use of the number: a generation."""

    generation: int
    started_at: Instant | None
    """When its first scan or its order began it; None for the first."""
    stage: str = "UNKNOWN"
    entered: Scan | Told | None = None
    """What began the stage; None for UNKNOWN, and for RETURNED by a return's event."""
    outcome_at: int = 0
    """Since when the stage has been an outcome; on the way back, the last scan."""
    returned_at: Instant | None = None
    delivered: Scan | Told | None = None
    possession: Scan | None = None
    told_possession: Told | None = None
    """The first correction that says that the carrier had it."""
    last: Scan | None = None
    """The last positional scan."""
    first: dict[str, Scan] = {}
    """The first scan of each code that wasn't set aside."""
    attempts: int = 0
    conditions: dict[tuple[str, str | None], Condition] = {}
    """By (code, kind)."""
    orders: dict[str, Binding] = {}


def steps(scans: Iterable[Scan], others: Iterable[Binding | ReturnClaim | Told]) -> list[Step]:
    """Everything in the order it happened; a binding before, a claim after what happened at its instant, and a
    correction last of all."""
    keyed: list[tuple[SortKey, Step]] = [(scan.order(), scan) for scan in scans]
    for other in others:
        if isinstance(other, Binding):
            keyed.append(((other.at, other.at, -2, 0, (other.order_id, 0, "")), other))
        elif isinstance(other, Told):
            told = other.correction
            keyed.append(((other.at, other.at, 100, told.at, (told.id, 0, "")), other))
        else:
            keyed.append(((other.at, other.at, 99, 0, ("", 0, "")), other))
    keyed.sort(key=_sort_key)
    return [step for _, step in keyed]


def _sort_key(keyed: tuple[SortKey, Step]) -> SortKey:
    return keyed[0]


def walk(path: Iterable[Step], windows: Sequence[Window]) -> list[Leg]:
    """Walk `path` (as `steps` orders it) and return its legs, oldest first, at least one.

    Sets `standing`, `rule` and `generation` of every scan it meets. `windows` are the estimates, oldest first:
    T2 asks whether one was met.
    """
    leg = Leg(1, None)
    legs = [leg]
    for step in path:
        if _starts_anew(leg, step):
            leg = Leg(len(legs) + 1, Instant(step.at))
            legs.append(leg)
        if isinstance(step, Scan):
            step.standing, step.rule, step.generation = "counts", "T1", leg.generation
            _take(leg, step, windows)
        elif isinstance(step, Binding):
            leg.orders[step.order_id] = step
        elif isinstance(step, Told):
            carrying = (each for each in reversed(legs) if step.correction.order_id in each.orders)
            _correct_stage(next(carrying, leg), step)
        else:
            _end_return(leg, step)
    return legs


def _starts_anew(leg: Leg, step: Step) -> bool:
    """T5: a label, long silence, or another order after an outcome mean that the number was used again."""
    if leg.stage not in _OUTCOMES:
        return False
    if isinstance(step, Binding):
        if leg.orders:
            return step.order_id not in leg.orders
        # No order is known for this use. One that is merely seen late is adopted; one that was created well
        # after the outcome cannot be what was delivered.
        return step.created and step.at > leg.outcome_at + DAY
    if isinstance(step, ReturnClaim | Told) or step.rank < 0 or _undated_among_dated(leg, step):
        return False
    if step.code in _BEFORE_POSSESSION:
        return True
    return step.at - leg.outcome_at > SAME_USE_WITHIN


def _undated_among_dated(leg: Leg, scan: Scan) -> bool:
    """The scan has no time and what it might undo has one: which came first can't be said."""
    return scan.occurred is None and (leg.entered is None or leg.entered.occurred is not None)


def _end_return(leg: Leg, claim: ReturnClaim) -> None:
    if leg.stage != "RETURNED":
        leg.stage, leg.entered, leg.returned_at, leg.outcome_at = "RETURNED", None, claim.at, claim.at
        _clear_all(leg, claim.at)


def _correct_stage(leg: Leg, told: Told) -> None:
    """T11: what an agent knows stands over everything that occurred before it."""
    told.standing, told.rule, told.generation = "counts", "T11", leg.generation
    stage, before = told.code, leg.delivered
    if before is not None and stage == "DELIVERED":
        before.standing, before.rule = "corrected", "T11"
    elif before is not None and stage not in _AFTER_DELIVERY:
        before.standing, before.rule = "contradicted", "T11"
        leg.delivered = None
        _contradict(leg, DELIVERED_RETRACTED, before, told)
    if stage != leg.stage or stage == "DELIVERED":
        leg.stage, leg.entered, leg.returned_at = stage, told, None
    _clear(leg, ("CONTRADICTION", SCAN_AFTER_DELIVERY), told)
    if stage == "DELIVERED":
        leg.delivered = told
        _clear(leg, ("CONTRADICTION", DELIVERED_RETRACTED), told)
    if stage in _OUTCOMES:
        leg.outcome_at = told.at
        _clear_all(leg, told.at)
    else:
        for key in _CLEARED_BY_MOVEMENT:
            _clear(leg, key, told)
    if leg.told_possession is None and stage in POSSESSION:
        leg.told_possession = told


def _take(leg: Leg, scan: Scan, windows: Sequence[Window]) -> None:
    if scan.rank == UNMAPPED:
        _unmapped(leg, scan)
    elif scan.rank == MEANINGLESS:
        _set_aside(scan, "T10")
    elif leg.stage in _OUTCOMES and _undated_among_dated(leg, scan):
        _set_aside(scan, "T1")
    elif leg.stage == "DELIVERED":
        _after_delivered(leg, scan, windows)
    elif leg.stage in ("RETURNING", "RETURNED"):
        _on_the_way_back(leg, scan)
    elif scan.code in STAGE_OF:
        _move(leg, scan, STAGE_OF[scan.code], windows)
    elif leg.stage not in _OUTCOMES:
        _raise_source_condition(leg, scan)
    elif scan.code == "DELIVERY_ATTEMPTED":
        _move(leg, scan, "OUT_FOR_DELIVERY", windows)
        _raise_source_condition(leg, scan)
        scan.rule = "T6"
    else:
        _set_aside(scan, "T2")
    if scan.standing == "counts":
        leg.first.setdefault(scan.code, scan)
        if leg.possession is None and scan.code in POSSESSION:
            leg.possession = scan


def _move(leg: Leg, scan: Scan, stage: str, windows: Sequence[Window]) -> None:
    """T1: the stage follows the scan. What it clears (T2) is cleared."""
    if leg.stage in ("LOST", "UNDELIVERABLE"):
        scan.rule = "T6"
    if stage != leg.stage:
        leg.stage, leg.entered = stage, scan
    leg.last = scan
    if stage in _OUTCOMES:
        leg.outcome_at = scan.at
        _clear_all(leg, Instant(scan.at))
        if stage == "DELIVERED":
            leg.delivered = scan
            _clear(leg, ("CONTRADICTION", DELIVERED_RETRACTED), scan)
        elif stage == "RETURNING":
            scan.rule = "T7"
    elif leg.conditions and stage not in _BEFORE_POSSESSION:
        for key in _CLEARED_BY_MOVEMENT:
            _clear(leg, key, scan)
        if stage == "AVAILABLE_FOR_PICKUP" and _estimate_met(leg, scan, windows):
            _clear(leg, ("DELAYED", None), scan)


def _after_delivered(leg: Leg, scan: Scan, windows: Sequence[Window]) -> None:
    """T5."""
    scan.rule = "T5"
    delivered = leg.delivered
    assert delivered is not None, "the stage is DELIVERED"
    if scan.code == "DELIVERED":
        _correct(leg, delivered, scan)
    elif scan.code == "RETURN_TO_SENDER":
        _move(leg, scan, "RETURNING", windows)
    elif scan.code == "AVAILABLE_FOR_PICKUP":
        scan.standing = "annotates"
        leg.last = scan
        leg.first.setdefault(scan.code, scan)
    elif scan.code in ("DELAYED", "EXCEPTION", "CUSTOMER_ACTION"):
        _set_aside(scan, "T2")
    elif scan.code in ("LOST", "UNDELIVERABLE") or scan.at - delivered.at > REOPENS_WITHIN:
        _set_aside(scan, "T5")
        _contradict(leg, SCAN_AFTER_DELIVERY, delivered, scan)
    else:
        delivered.standing, delivered.rule = "contradicted", "T5"
        leg.delivered = None
        _move(leg, scan, STAGE_OF.get(scan.code, "OUT_FOR_DELIVERY"), windows)
        if scan.code == "DELIVERY_ATTEMPTED":
            _raise_source_condition(leg, scan)
        scan.rule = "T5"
        _contradict(leg, DELIVERED_RETRACTED, delivered, scan)


def _correct(leg: Leg, old: Scan | Told, new: Scan) -> None:
    """A second DELIVERED: what the newest answer showed holds; shown by the same one, the later scan. Over an agent's
    word stands whatever occurred after it."""
    if isinstance(old, Scan) and new.last_observed < old.last_observed:
        new.standing = "corrected"
        return
    old.standing, old.rule = "corrected", "T5"
    leg.delivered = leg.entered = leg.last = leg.first["DELIVERED"] = new
    leg.outcome_at = new.at
    if leg.possession is old:
        leg.possession = new


def _on_the_way_back(leg: Leg, scan: Scan) -> None:
    """T7: movement towards the sender; nothing on it reaches the shopper."""
    scan.rule = "T7"
    if leg.stage == "RETURNED" or scan.code in CONDITION_OF or scan.code == "DELIVERED":
        _set_aside(scan, "T2" if scan.code in CONDITION_OF else "T7")
        if leg.stage == "RETURNING" and scan.code == "DELIVERED":
            leg.last = scan
    elif scan.code == "LOST":
        leg.stage, leg.entered, leg.last, scan.rule = "LOST", scan, scan, "T1"
    else:
        leg.last = scan
    leg.outcome_at = scan.at


def _raise_source_condition(leg: Leg, scan: Scan) -> None:
    scan.rule = "T2"
    code = CONDITION_OF[scan.code]
    condition = leg.conditions.get((code, None))
    evidence = {"code": scan.raw_code, "occurredAt": scan.text}
    if condition is None:
        condition = leg.conditions[code, None] = Condition(Instant(scan.at), evidence=evidence)
    elif condition.cleared_at is not None or code == "ATTEMPT_FAILED":
        condition.raised_at, condition.cleared_at, condition.evidence = Instant(scan.at), None, evidence
    if code == "ATTEMPT_FAILED":
        leg.attempts += 1
        condition.count = leg.attempts


def _unmapped(leg: Leg, scan: Scan) -> None:
    """T10: kept and shown, the stage stays."""
    scan.standing, scan.rule = "unmapped", "T10"
    condition = leg.conditions.get(("UNMAPPED_CODE", None))
    if condition is None:
        condition = Condition(Instant(scan.at), count=0, evidence={"codes": []})
        leg.conditions["UNMAPPED_CODE", None] = condition
    condition.count = (condition.count or 0) + 1
    condition.evidence["codes"] = sorted({*condition.evidence["codes"], scan.raw_code})


def _contradict(leg: Leg, kind: str, delivered: Scan | Told, step: Scan | Told) -> None:
    evidence = {
        "deliveredAt": delivered.text,
        "code": step.code,
        "occurredAt": step.text,
    }
    known = leg.conditions.get(("CONTRADICTION", kind))
    if known is None or known.cleared_at is not None:
        leg.conditions["CONTRADICTION", kind] = Condition(Instant(step.at), evidence=evidence)


def _set_aside(scan: Scan, rule: str) -> None:
    scan.standing, scan.rule = "setAside", rule


def _clear(leg: Leg, key: tuple[str, str | None], step: Scan | Told) -> None:
    condition = leg.conditions.get(key)
    if condition is not None and condition.cleared_at is None:
        condition.cleared_at = Instant(step.at)


def _clear_all(leg: Leg, at: Instant) -> None:
    """An outcome ends every condition that rides on the way to it."""
    for code in CONDITION_OF.values():
        condition = leg.conditions.get((code, None))
        if condition is not None and condition.cleared_at is None:
            condition.cleared_at = at


def _estimate_met(leg: Leg, scan: Scan, windows: Sequence[Window]) -> bool:
    """T2: a window that was announced after the delay, and the parcel is there by its last day."""
    delayed = leg.conditions.get(("DELAYED", None))
    announced = [w for w in windows if w.latest is not None]
    if delayed is None or not announced or scan.occurred is None:
        return False
    current = announced[-1]
    assert current.latest is not None
    return current.observed_at >= delayed.raised_at and scan.occurred.local_date <= current.latest.local_date


def mark_history(path: Sequence[Step]) -> None:
    """T4: a scan first seen after a later movement had been seen already only fills history. An agent's word of a
    later time is as good as having seen it."""
    seen: dict[int, Instant] = {}
    for scan in reversed(path):
        if isinstance(scan, Told):
            seen[scan.generation] = min(scan.correction.at, seen.get(scan.generation, scan.correction.at))
        if not isinstance(scan, Scan):
            continue
        known = seen.get(scan.generation)
        if scan.standing == "counts" and known is not None and scan.first_observed > known:
            scan.standing, scan.rule = "historyFill", "T4"
        if scan.code in STAGE_OF and (known is None or scan.first_observed < known):
            seen[scan.generation] = scan.first_observed
