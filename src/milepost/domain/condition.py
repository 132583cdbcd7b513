"""Hub conditions: what is true of an order, a delivery or a tracker because time passed (tracking.md 9.7, 10, D3).

| code                                  | of       | holds from                                                    |
|---------------------------------------|----------|---------------------------------------------------------------|
| NEVER_SCANNED                         | delivery | 4 business days after its ship event (before one: after the   |
|                                       |          | label), while no tracker of it has a scan                     |
| STALLED                               | tracker  | 3 business days after the last scan, 5 when its milestones    |
|                                       |          | name several countries, while moving                          |
| TRACKING_EXPIRED                      | tracker  | 90 days after the last new fact, on the hub's clock           |
| LATE                                  | delivery | the end of the promised local day and the grace               |
| WILL_BE_LATE                          | delivery | at once, when the estimate's last day is after the promised   |
| PICKUP_AGING (count 1, 2, 3)          | tracker  | 3, 5, 7 days after it could be picked up                      |
| RETURN_UNCONFIRMED                    | tracker  | 30 days after the last new fact, while returning              |
| CONTRADICTION delivered_without_…     | delivery | 24 h delivered, and no tracker of it shows that               |
| CONTRADICTION tracker_without_…       | delivery | 6 h after a tracker's DELIVERED, and it isn't delivered       |
| CONTRADICTION moving_without_ship_…   | delivery | 6 h after a tracker's first movement, without a ship event    |
| AUTHORIZATION_EXPIRING, …_EXPIRED     | order    | `authorization`: 48 h before the deadline, and from it on     |

The order system's word and the promise are the delivery's, scans are the tracker's. The promise is the first
estimate seen. Only the worst of a family is shown: TRACKING_EXPIRED, STALLED, NEVER_SCANNED; LATE,
WILL_BE_LATE; the contradictions; the authorization's. A parcel that waits to be picked up is not late, an outcome
ends every wait.

Everything is computed from the view document alone, as instants from which a condition holds: between two of
them nothing changes, so that the answer at one instant is the answer until `next_check_at`. What carriers
report (DELAYED, EXCEPTION) and what the folds see by themselves (`delivered_retracted`, `cancelled_but_moving`)
is raised and cleared in the folds. Raising only after two evaluations is `pipeline.sweeper`'s.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime
from typing import Any, Literal

import msgspec
from msgspec import Struct

from milepost.domain.authorization import AUTHORIZATION_EXPIRED, AUTHORIZATION_EXPIRING, deadlines
from milepost.domain.business_calendar import LAST_INSTANT, BusinessCalendar
from milepost.domain.correction import next_expiry
from milepost.domain.errors import Misconfigured
from milepost.domain.instant import DAY, HOUR, Instant, format_instant, parse_stamp, readable_instant
from milepost.domain.record import ConditionChange, delivery_subject, order_subject, tracker_subject

SubjectKind = Literal["order", "delivery", "tracker"]
Document = Mapping[str, Any]
Evidence = dict[str, Any]
Key = tuple[str, str | None]
"""(code, kind); the kind is CONTRADICTION's, otherwise None."""

NEVER_SCANNED = "NEVER_SCANNED"
STALLED = "STALLED"
TRACKING_EXPIRED = "TRACKING_EXPIRED"
LATE = "LATE"
WILL_BE_LATE = "WILL_BE_LATE"
PICKUP_AGING = "PICKUP_AGING"
RETURN_UNCONFIRMED = "RETURN_UNCONFIRMED"
CONTRADICTION = "CONTRADICTION"
DELIVERED_WITHOUT_TRACKER = "delivered_without_tracker"
TRACKER_WITHOUT_DELIVERED = "tracker_without_delivered"
MOVING_WITHOUT_SHIP_EVENT = "moving_without_ship_event"

ALWAYS = Instant(0)
"""What holds from here holds whatever the time."""

_RANKS: dict[SubjectKind, dict[Key, tuple[str, int]]] = {
    "order": {
        (AUTHORIZATION_EXPIRING, None): ("authorization", 0),
        (AUTHORIZATION_EXPIRED, None): ("authorization", 1),
    },
    "delivery": {
        (NEVER_SCANNED, None): ("silence", 0),
        (WILL_BE_LATE, None): ("promise", 0),
        (LATE, None): ("promise", 1),
        (CONTRADICTION, MOVING_WITHOUT_SHIP_EVENT): ("contradiction", 0),
        (CONTRADICTION, TRACKER_WITHOUT_DELIVERED): ("contradiction", 1),
        (CONTRADICTION, DELIVERED_WITHOUT_TRACKER): ("contradiction", 2),
    },
    "tracker": {
        (STALLED, None): ("silence", 0),
        (TRACKING_EXPIRED, None): ("silence", 1),
        (PICKUP_AGING, None): ("pickup", 0),
        (RETURN_UNCONFIRMED, None): ("return", 0),
    },
}
"""Every condition that is decided here, by subject: its family, and how bad it is within."""

_UNSCANNED = frozenset({"UNKNOWN", "PENDING", "INFO_RECEIVED"})
_MOVING = frozenset({"IN_TRANSIT", "OUT_FOR_DELIVERY"})
_SETTLED = frozenset({"DELIVERED", "RETURNED", "LOST"})
COUNTING = frozenset({"counts", "historyFill"})
"""The standings of milestones that happened, as views show them."""


class Policy(Struct, frozen=True, forbid_unknown_fields=True):
    """The limits (tracking.md 9.7), and the calendar they are counted in.

    `timezone` is an IANA name; `holidays` are days off besides weekends. `carriers` holds, by carrier code in
    lower case, limits that differ there.
    """

    never_scanned_business_days: int = 4
    stalled_business_days: int = 3
    stalled_international_business_days: int = 5
    late_grace_hours: int = 2
    pickup_aging_days: tuple[int, ...] = (3, 5, 7)
    tracking_expired_days: int = 90
    return_unconfirmed_days: int = 30
    delivered_without_tracker_hours: int = 24
    tracker_without_delivered_hours: int = 6
    moving_without_ship_event_hours: int = 6
    authorization_warning_hours: int = 48
    timezone: str = "UTC"
    holidays: tuple[date, ...] = ()
    carriers: dict[str, dict[str, int | tuple[int, ...]]] = {}

    def for_carrier(self, carrier_code: str) -> "Policy":
        """The policy with what differs for this carrier."""
        differing = self.carriers.get(carrier_code.lower())
        return msgspec.structs.replace(self, **differing) if differing else self

    @property
    def calendar(self) -> BusinessCalendar:
        return BusinessCalendar(self.timezone, frozenset(self.holidays))


def policy_from(values: Mapping[str, Any]) -> Policy:
    """A policy from plain values (settings): the fields of `Policy`, dates as ISO text. Raises `Misconfigured`."""
    limits = set(Policy.__struct_fields__) - {"timezone", "holidays", "carriers"}
    try:
        policy = msgspec.convert(dict(values), Policy, strict=False)
        carriers = {code.lower(): differing for code, differing in policy.carriers.items()}
        for code, differing in carriers.items():
            if unknown := sorted(set(differing) - limits):
                raise Misconfigured(f"conditions of carrier {code!r}: {unknown[0]!r} is no limit")
            msgspec.convert(differing, Policy)
        policy = msgspec.structs.replace(policy, carriers=carriers)
        policy.calendar.zone.utcoffset(None)
    except msgspec.ValidationError as e:
        raise Misconfigured(f"conditions: {e}") from e
    except (LookupError, ValueError, OSError) as e:
        raise Misconfigured(f"timezone: {values.get('timezone')!r} is no time zone") from e
    for one in (policy, *map(policy.for_carrier, carriers)):
        _check_limits(one)
    return policy


def _check_limits(policy: Policy) -> None:
    steps = policy.pickup_aging_days
    if not steps or list(steps) != sorted(set(steps)) or steps[0] < 1:
        raise Misconfigured("conditions: pickup_aging_days must be rising numbers of days")
    for name in Policy.__struct_fields__:
        value = getattr(policy, name)
        if isinstance(value, int) and value < 0:
            raise Misconfigured(f"conditions: {name} must not be negative")


class Evaluation(Struct, frozen=True):
    """What holds at one instant, by code (at most one a family), and when time alone could next change that."""

    holding: dict[str, Evidence]
    next_check_at: Instant | None


class _Timed(Struct, frozen=True):
    """A condition that the document makes true from an instant on, for as long as the document stays."""

    code: str
    holds_from: Instant
    evidence: Evidence


def evaluate(document: Document, kind: SubjectKind, now: Instant, policy: Policy) -> Evaluation:
    """Which hub conditions hold of a view document at `now`.

    Evaluating the same document at any instant from `now` to before `next_check_at` gives the same `holding`.
    """
    worst: dict[str, tuple[int, _Timed]] = {}
    upcoming: list[Instant] = []
    for timed in _timed(document, kind, policy):
        if timed.holds_from > now:
            upcoming.append(timed.holds_from)
            continue
        family, rank = _RANKS[kind][timed.code, timed.evidence.get("kind")]
        if family not in worst or worst[family][0] <= rank:
            worst[family] = (rank, timed)
    return Evaluation({t.code: t.evidence for _, t in worst.values()}, min(upcoming, default=None))


def check_at(document: Document, kind: SubjectKind, policy: Policy) -> Instant | None:
    """When the sweeper must look at a view next, from its document alone: what the projector stores with it.

    An instant in the past means now. None: time changes nothing about this document.
    """
    before = evaluate(document, kind, ALWAYS, policy)
    if open_conditions(document, kind) != keys_of(before.holding):
        return ALWAYS
    return min(filter(None, (before.next_check_at, next_expiry(document))), default=None)


def keys_of(holding: Mapping[str, Evidence]) -> dict[Key, int | None]:
    """(code, kind) to count, as `open_conditions` gives it."""
    return {(code, evidence.get("kind")): evidence.get("count") for code, evidence in holding.items()}


def open_conditions(document: Document, kind: SubjectKind) -> dict[Key, int | None]:
    """The open conditions of a document that are decided here: (code, kind) to count."""
    found: dict[Key, int | None] = {}
    for condition in _open(document):
        evidence = condition.get("evidence") or {}
        key = condition["code"], condition.get("kind") or evidence.get("kind")
        if key in _RANKS[kind]:
            found[key] = condition.get("count") or evidence.get("count")
    return found


def _open(document: Document) -> Iterator[Document]:
    for condition in document["conditions"]:
        if condition["source"] == "hub" and condition["clearedAt"] is None:
            yield condition


def changes(
    document: Document,
    kind: SubjectKind,
    open: Mapping[Key, int | None],
    holding: Mapping[str, Evidence],
    now: Instant,
) -> list[ConditionChange]:
    """What must be journalled to get from the `open` conditions to those that hold: clears, then raises.

    A higher count is raised again, a lower one (another wait for pickup) is cleared first.
    """
    wanted = keys_of(holding)
    subject, about = subject_of(document, kind), _about(document, kind)
    found: list[ConditionChange] = []
    for key, count in open.items():
        if key not in wanted or (wanted[key] or 0) < (count or 0):
            evidence = {"kind": key[1]} if key[1] else {}
            seen = {"stage": document["stage"]} if kind == "tracker" else {"state": document["state"]}
            found.append(ConditionChange(subject, key[0], False, now, about, {**evidence, **seen}))
    for key, count in wanted.items():
        known = open.get(key)
        if key not in open or (known is not None and count is not None and known < count):
            found.append(ConditionChange(subject, key[0], True, now, about, holding[key[0]]))
    return found


def subject_of(document: Document, kind: SubjectKind) -> str:
    """The subject that a condition of this document is raised for."""
    if kind == "order":
        return order_subject(document["id"])
    if kind == "delivery":
        return delivery_subject(document["id"])
    return tracker_subject(document["carrierCode"], document["trackingNumber"])


def _about(document: Document, kind: SubjectKind) -> tuple[str, ...]:
    """Whose facts a change is: the subject's own, and those of the orders that show it."""
    subject = subject_of(document, kind)
    if kind == "order":
        return (subject,)
    if kind == "delivery":
        return order_subject(document["orderId"]), subject
    return subject, *dict.fromkeys(order_subject(o["orderId"]) for o in document["orders"])


def _timed(document: Document, kind: SubjectKind, policy: Policy) -> Iterator[_Timed]:
    if kind == "order":
        yield from (_Timed(*each) for each in deadlines(document, policy.authorization_warning_hours))
        return
    if kind == "tracker":
        policy = policy.for_carrier(document["carrierCode"])
        yield from _tracker_timed(document, policy)
        return
    codes = {t["carrierCode"] for t in document["trackers"]}
    if len(codes) == 1:
        policy = policy.for_carrier(codes.pop())
    if document["state"] == "DELIVERED":
        yield from _delivered(document, policy)
    elif document["state"] in ("PENDING", "IN_TRANSIT"):
        yield from _never_scanned(document, policy)
        yield from _promise(document, policy)
        yield from _ahead_of_order(document, policy)


# ── Tracker ────────────────────────────────────────────────────────────────────────────────────────────────


def _tracker_timed(tracker: Document, policy: Policy) -> Iterator[_Timed]:
    stage = tracker["stage"]
    silent_since = tracker["lastFactAt"]
    if stage in _MOVING:
        yield from _stalled(tracker, policy)
    if stage == "AVAILABLE_FOR_PICKUP":
        yield from _pickup_aging(tracker, policy)
    if stage == "RETURNING":
        yield from _after_days(RETURN_UNCONFIRMED, silent_since, policy.return_unconfirmed_days)
    if stage not in _SETTLED:
        yield from _after_days(TRACKING_EXPIRED, silent_since, policy.tracking_expired_days)


def _after_days(code: str, since: object, days: int, **more: Any) -> Iterator[_Timed]:
    if (at := readable_instant(since)) is not None:
        yield _Timed(code, Instant(at + days * DAY), {"since": since, "days": days, **more})


def _stalled(tracker: Document, policy: Policy) -> Iterator[_Timed]:
    since = tracker["lastScanAt"] or tracker["stageEnteredAt"]
    if (at := readable_instant(since)) is None:
        return
    countries = {(m.get("address") or {}).get("country") for m in tracker["milestones"]} - {None, ""}
    international = len(countries) > 1
    days = policy.stalled_international_business_days if international else policy.stalled_business_days
    evidence = {"since": since, "businessDays": days, "international": international}
    yield _Timed(STALLED, policy.calendar.after_business_days(at, days), evidence)


def _pickup_aging(tracker: Document, policy: Policy) -> Iterator[_Timed]:
    """Holding periods are calendar days: a locker counts Sundays."""
    since = tracker["stageEnteredAt"] or tracker["instants"]["readyAt"]
    for count, days in enumerate(policy.pickup_aging_days, 1):
        yield from _after_days(PICKUP_AGING, since, days, count=count)


# ── Delivery ───────────────────────────────────────────────────────────────────────────────────────────────


def _never_scanned(delivery: Document, policy: Policy) -> Iterator[_Timed]:
    trackers = delivery["trackers"]
    scanned = any(t["stage"] not in _UNSCANNED or _earliest(t, {"DELIVERY_ATTEMPTED"}) for t in trackers)
    silent_longer = any(c["code"] in (STALLED, TRACKING_EXPIRED) for c in _open(delivery))
    if scanned or silent_longer:
        return
    evidence = delivery["shipEvidence"] or {}
    since, what = evidence.get("at"), evidence.get("kind")
    if since is None:
        since, what = first_of(_earliest(t, {"INFO_RECEIVED"}) for t in trackers), "label"
    if (at := readable_instant(since)) is not None:
        days = policy.never_scanned_business_days
        seen = {"since": since, "of": what, "businessDays": days, "trackers": len(trackers)}
        yield _Timed(NEVER_SCANNED, policy.calendar.after_business_days(at, days), seen)


def _promise(delivery: Document, policy: Policy) -> Iterator[_Timed]:
    estimate, trackers = delivery["estimatedDelivery"], delivery["trackers"]
    waiting = not trackers or any(t["stage"] in _UNSCANNED | _MOVING for t in trackers)
    if estimate is None or not waiting:
        return
    original = estimate["original"]
    promised = original["latestDate"] or original["earliestDate"]
    expected = estimate["latestDate"] or estimate["earliestDate"]
    if promised is None:
        return
    evidence = {"promised": promised, "expected": expected}
    if expected is not None and expected > promised:
        yield _Timed(WILL_BE_LATE, ALWAYS, evidence)
    end = end_of_promise(original["latest"] or original["earliest"], promised, policy.calendar)
    late_from = Instant(end + policy.late_grace_hours * HOUR)
    yield _Timed(LATE, late_from, {**evidence, "since": format_instant(min(end, LAST_INSTANT))})


def end_of_promise(text: str | None, promised: str, calendar: BusinessCalendar) -> Instant:
    """The end of the promised day where the promise was written; in the hub's zone if it doesn't say where."""
    zone = None
    if text is not None and parse_stamp(text).zone == "offset-explicit":
        zone = datetime.fromisoformat(text).tzinfo
    return calendar.end_of_day(date.fromisoformat(promised), zone)


def _delivered(delivery: Document, policy: Policy) -> Iterator[_Timed]:
    """D3: the order says delivered. A tracker that went on to a return was delivered, too."""
    trackers = delivery["trackers"]
    if _corrected_at(delivery) is not None:
        return
    if trackers and not any(t["deliveredAt"] or _earliest(t, {"DELIVERED"}) for t in trackers):
        hours = policy.delivered_without_tracker_hours
        yield from _contradiction(DELIVERED_WITHOUT_TRACKER, delivery["deliveredAt"], hours)


def _ahead_of_order(delivery: Document, policy: Policy) -> Iterator[_Timed]:
    """D3: the carrier is ahead of the order's events; one of them may have been lost.

    An order answer that shows the state is the order's word as well as an event is.
    """
    trackers = delivery["trackers"]
    told = _corrected_at(delivery)
    there = [
        t["deliveredAt"] for t in trackers if t["stage"] == "DELIVERED" and _after(t["deliveredAt"], told)
    ]
    hours = policy.tracker_without_delivered_hours
    yield from _contradiction(TRACKER_WITHOUT_DELIVERED, first_of(there), hours)
    if delivery["claimedState"] == "PENDING":
        hours = policy.moving_without_ship_event_hours
        moved = first_of(t["shippedAt"] for t in trackers)
        yield from _contradiction(MOVING_WITHOUT_SHIP_EVENT, moved, hours)


def _corrected_at(delivery: Document) -> Instant | None:
    """Of when an agent knows better than order and carriers (T11); None where no correction holds."""
    corrections = delivery.get("corrections", ())
    counting = (readable_instant(c["occurredAt"]) for c in corrections if c["standing"] == "counts")
    return max(filter(None, counting), default=None)


def _after(time: str | None, told: Instant | None) -> bool:
    at = readable_instant(time)
    return told is None or (at is not None and at > told)


def _contradiction(kind: str, since: object, hours: int) -> Iterator[_Timed]:
    if (at := readable_instant(since)) is not None:
        evidence = {"kind": kind, "since": since, "hours": hours}
        yield _Timed(CONTRADICTION, Instant(at + hours * HOUR), evidence)


def _earliest(tracker: Document, codes: set[str]) -> str | None:
    """When the earliest counting milestone of these codes occurred, as the document has it."""
    return first_of(
        m["occurredAt"] for m in tracker["milestones"] if m["code"] in codes and m["standing"] in COUNTING
    )


def first_of(times: Iterable[str | None]) -> str | None:
    """The earliest of the times that can be read."""
    readable = ((at, text) for text in times if (at := readable_instant(text)) is not None)
    return min(readable, default=(None, None))[1]
