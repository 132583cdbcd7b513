"""The rules of hydration (design, flow 8): what to ask for which event, when an answer answers it, when to ask again.

Pure: records become facts elsewhere (`fact`), the asking is `pipeline.hydrator`'s. The rules, in short:

- IN_TRANSIT and CANCELLED ask the order; DELIVERED does when its `data` leaves something out; a milestone asks
  its tracker; types without a fold ask nothing (flow 9). A conflict disputes what an event said, so its order
  is asked whatever its `data` holds; a conflicting copy of a milestone is the same milestone event, and asks nothing.
- An answer counts for an event only when it was asked after the event was journalled and shows at least the
  claimed state. IN_TRANSIT is answered by IN_TRANSIT, DELIVERED or CANCELLED; DELIVERED by DELIVERED, or by
  CANCELLED (nothing moves on from there, so asking again could not help); CANCELLED by CANCELLED alone.
- A shown state whose tracker is still null is asked again (the tracker lags behind, buy-with-prime.md 6), and taken
  as it stands after `TRACKER_TRIES`: some parcels never get a tracker.
- A milestone event is answered by a packageTracker answer that shows a milestone no earlier event of that tracker
  was matched to, even a known one. Order answers never count for milestones: they may be older than the tracker's.
  After three unchanged answers it is settled as noNewMilestone. A null tracker is no answer, and never counts as one.
"""

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Any, Literal

import msgspec
from msgspec import Struct

from milepost.domain.event import BY_NAME
from milepost.domain.fact import EventFact, Fact, Milestone, OrderAnswer, SettlementFact, SnapshotFact
from milepost.domain.instant import HOUR, MINUTE, SECOND, Instant
from milepost.domain.record import QueryName, order_subject, tracker_subject
from milepost.domain.resource import Resource

IN_TRANSIT, DELIVERED = "PACKAGE_DELIVERY_IN_TRANSIT", "PACKAGE_DELIVERED"
CANCELLED, MILESTONE = "PACKAGE_DELIVERY_CANCELLED", "PACKAGE_TRACKER_MILESTONE_CHANGED"

MONEY, VISIBLE, REST = 0, 1, 2
"""Priorities: payment may be collected once shipped (seed 001); what shoppers and agents see; disputes."""
_PRIORITY = {IN_TRANSIT: MONEY}

_SHOWS: dict[str, frozenset[str]] = {
    IN_TRANSIT: frozenset({"IN_TRANSIT", "DELIVERED", "CANCELLED"}),
    DELIVERED: frozenset({"DELIVERED", "CANCELLED"}),
    CANCELLED: frozenset({"CANCELLED"}),
}
"""Claim -> the states of its delivery that show it."""

Trouble = Literal["notYet", "failing", "refused"]
"""Why a try did not answer: the API doesn't know yet; it failed on this query; it refuses this query."""

_DELAYS: dict[Trouble, tuple[int, ...]] = {
    "notYet": (
        15 * SECOND,
        2 * MINUTE,
        10 * MINUTE,
        30 * MINUTE,
        HOUR,
        2 * HOUR,
        4 * HOUR,
        8 * HOUR,
    ),
    "failing": (5 * SECOND, 15 * SECOND, MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR, 3 * HOUR, 6 * HOUR),
    "refused": (
        15 * MINUTE,
        30 * MINUTE,
        HOUR,
        2 * HOUR,
        4 * HOUR,
        8 * HOUR,
        12 * HOUR,
        24 * HOUR,
    ),
}
LAST_TRY = 9
"""The try after which an ask is given up, whatever troubles it had."""
TRACKER_TRIES = 5
"""The try from which a shown state counts although its tracker is null."""
UNCHANGED_ANSWERS = 3

_FIRST_PAUSE, _LONGEST_PAUSE, _LONGEST_RETRY_AFTER = SECOND, 5 * MINUTE, HOUR


class Want(Struct, frozen=True):
    """One thing that an event wants asked. `target` is the subject of an order or a tracker."""

    target: str
    query: QueryName
    priority: int
    claim: str
    """The event's canonical type."""
    delivery_ids: tuple[str, ...] = ()
    carrier_code: str = ""
    """As the event wrote it (subjects compare without case)."""


def wants(event: EventFact, resources: Sequence[Resource]) -> tuple[Want, ...]:
    """What this event might need asked, one a target; nothing for types without a fold or without the ids."""
    known = BY_NAME.get(event.type)
    if known is None or not known.folded:
        return ()
    priority = REST if event.conflict else _PRIORITY.get(event.type, VISIBLE)
    found: dict[str, Want] = {}
    if known.query == "packageTracker":
        if event.conflict:
            return ()
        for carrier, number in event.trackers:
            target = tracker_subject(carrier, number)
            found[target] = Want(target, "packageTracker", priority, event.type, carrier_code=carrier)
        return tuple(found.values())
    for resource in resources:
        if resource.order_id is None:
            continue
        target = order_subject(resource.order_id)
        others = found[target].delivery_ids if target in found else ()
        own = (resource.delivery_id,) if resource.delivery_id is not None else ()
        found[target] = Want(target, "order", priority, event.type, (*others, *own))
    return tuple(found.values())


def is_known_already(event: EventFact, want: Want, facts: Sequence[Fact]) -> bool:
    """Whether nothing need be asked for `event`: DELIVERED's `data` leaves nothing out, or an answer that was
    asked after the event was journalled is here already. In one millisecond the order can't be told: ask."""
    snapshots = [f for f in facts if isinstance(f, SnapshotFact) and f.query == want.query]
    later = [s for s in snapshots if s.position > event.position and s.asked_at > event.received_at]
    if want.query == "packageTracker":
        match = match_milestones([*facts, event]).get(event.position) if later else None
        return match is not None and match.asked_at > event.received_at
    if any(fits(want, s.order) == "fully" for s in later):
        return True
    return want.claim == DELIVERED and not event.conflict and _data_suffices(event, want, snapshots)


def _data_suffices(event: EventFact, want: Want, snapshots: Sequence[SnapshotFact]) -> bool:
    """Flow 8: `data` lacks something when the order was never snapshotted, or when the element, its tracker or
    its quantities are missing in the union of `data` and the snapshots."""
    answers = [s.order for s in snapshots if s.order is not None]
    if event.answer is None or not answers or not want.delivery_ids:
        return False
    shown = {p.delivery_id: p.state for p in event.answer.packages}
    if not all(shown.get(delivery_id) in _SHOWS[DELIVERED] for delivery_id in want.delivery_ids):
        return False
    union = [p for answer in (event.answer, *answers) for p in answer.packages]
    for delivery_id in want.delivery_ids:
        own = [p for p in union if p.delivery_id == delivery_id]
        items = {item for p in own for item, _, _ in p.line_items}
        counted = {item for p in own for item, quantity, _ in p.line_items if quantity is not None}
        if not items or items != counted or all(p.tracker is None for p in own):
            return False
    return True


Fit = Literal["fully", "partly", "not"]


def fits(want: Want, answer: OrderAnswer | None) -> Fit:
    """How an order answer shows what an order event claims: partly is the state without its tracker."""
    if answer is None:
        return "not"
    packages = {p.delivery_id: p for p in answer.packages}
    fit: Fit = "fully"
    for delivery_id in want.delivery_ids:
        package = packages.get(delivery_id)
        if package is None or package.state not in _SHOWS[want.claim]:
            return "not"
        if package.tracker is None and package.state != "CANCELLED":
            fit = "partly"
    return fit


# ── Milestones ─────────────────────────────────────────────────────────────────────────────────────────────

MilestoneKey = tuple[str, int, str]
"""(code, second it occurred at or -1, locality): the identity of a milestone (tracking.md 9.1)."""


class Match(Struct, frozen=True):
    """Which milestone a milestone event was matched to, in which snapshot."""

    milestone: MilestoneKey
    snapshot: int
    asked_at: Instant


def match_milestones(facts: Iterable[Fact]) -> dict[int, Match]:
    """Event position -> its milestone, from all facts of one tracker.

    Snapshots in order of position; in each, the events journalled before it was asked and not matched yet, in
    order of position, take the shown milestones that no event has, earliest first. An event settled as
    noNewMilestone takes none any more; one that was given up takes what the others leave (it may be retried).
    """
    events: dict[int, EventFact] = {}
    snapshots: dict[int, SnapshotFact] = {}
    settled: dict[int, SettlementFact] = {}
    for fact in facts:
        if isinstance(fact, EventFact) and fact.type == MILESTONE and not fact.conflict:
            events[fact.position] = fact
        elif isinstance(fact, SnapshotFact) and fact.query == "packageTracker":
            snapshots[fact.position] = fact
        elif isinstance(fact, SettlementFact):
            settled[fact.settlement.position] = fact
    matches: dict[int, Match] = {}
    taken: set[MilestoneKey] = set()
    for position, snapshot in sorted(snapshots.items()):
        free = [key for key in _milestones_shown(snapshot) if key not in taken]
        if not free:
            continue
        waiting = _waiting_for(snapshot, events.values(), settled, matches)
        for event, key in zip(waiting, free, strict=False):
            matches[event.position] = Match(key, position, snapshot.asked_at)
            taken.add(key)
    return matches


def _milestones_shown(snapshot: SnapshotFact) -> list[MilestoneKey]:
    milestones = snapshot.tracker.milestones if snapshot.tracker is not None else None
    return sorted({_milestone_key(m) for m in milestones or ()}, key=lambda key: (key[1], key))


def _milestone_key(milestone: Milestone) -> MilestoneKey:
    at = -1 if milestone.occurred is None else milestone.occurred.at // SECOND
    return milestone.code, at, milestone.locality


def _waiting_for(
    snapshot: SnapshotFact,
    events: Iterable[EventFact],
    settled: dict[int, SettlementFact],
    matches: dict[int, Match],
) -> list[EventFact]:
    first: list[EventFact] = []
    given_up: list[EventFact] = []
    for event in events:
        if event.position in matches or event.position > snapshot.position:
            continue
        if event.received_at > snapshot.asked_at:
            continue
        end = settled.get(event.position)
        if end is None or end.position > snapshot.position:
            first.append(event)
        elif end.settlement.outcome == "gaveUp":
            given_up.append(event)
    return sorted(first, key=_by_position) + sorted(given_up, key=_by_position)


def _by_position(event: EventFact) -> int:
    return event.position


# ── What an answer leads to ────────────────────────────────────────────────────────────────────────────────


class Waiting(Struct, frozen=True):
    """An event that waits for the answer, with what it wants of it."""

    event: EventFact
    want: Want


class Verdict(Struct, frozen=True):
    """What one answer means for the events that waited for it, as positions."""

    answered: tuple[int, ...]
    no_new_milestone: tuple[int, ...]
    still: tuple[int, ...]
    """Not answered: asked again, or given up when there is no further try."""
    tries: int
    unchanged: int
    keep: bool
    """Whether the answer is journalled: it says something new, or it answers an event."""


def judge(
    waiting: Sequence[Waiting],
    snapshot: SnapshotFact,
    facts: Sequence[Fact],
    *,
    same: bool,
    tries: int,
    unchanged: int,
) -> Verdict:
    """Judge one answer. `facts` are those of the target that were journalled when it was asked, without
    `snapshot`; `same` says that it equals the last answer of this query; `tries` counts this try too."""
    null = snapshot.order is None and snapshot.tracker is None
    unchanged = unchanged + 1 if same and not null else 0
    matches = match_milestones([*facts, snapshot]) if snapshot.query == "packageTracker" else {}
    answered: list[int] = []
    still: list[int] = []
    for one in waiting:
        position = one.event.position
        if one.want.query == "packageTracker":
            fit: Fit = "fully" if position in matches else "not"
        else:
            fit = fits(one.want, snapshot.order)
        done = fit == "fully" or (fit == "partly" and tries >= TRACKER_TRIES)
        (answered if done else still).append(position)
    settled: list[int] = []
    if snapshot.query == "packageTracker" and unchanged >= UNCHANGED_ANSWERS:
        settled, still = still, []
    keep = not same or bool(answered)
    return Verdict(tuple(answered), tuple(settled), tuple(still), tries, unchanged, keep)


def fingerprint(answer: dict[str, Any] | None) -> str:
    """What two answers are compared by: 16 hexadecimal digits of a hash over the answer with sorted keys."""
    return blake2b(msgspec.json.encode(answer, order="sorted"), digest_size=8).hexdigest()


# ── When to ask again ──────────────────────────────────────────────────────────────────────────────────────


def next_delay(trouble: Trouble, tries: int, random: float) -> int | None:
    """Milliseconds until the try after `tries` unsuccessful ones, a fifth more or less by `random` (0..1);
    None when that was the last."""
    if tries >= LAST_TRY:
        return None
    return _jittered(_DELAYS[trouble][tries - 1], random)


def pause(failures: int, retry_after: float | None, random: float) -> int:
    """Milliseconds for which nobody asks an API that failed `failures` times in a row: a second doubling to
    five minutes, or what its Retry-After (seconds) asks for when that is longer, at most an hour."""
    own = _jittered(min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(failures - 1, 16)), random)
    asked = min(_LONGEST_RETRY_AFTER, round((retry_after or 0) * SECOND))
    return max(own, asked)


def _jittered(delay: int, random: float) -> int:
    return round(delay * (0.8 + 0.4 * random))
