"""What of a delivery a shopper may be told: read from its view, whatever brought it about (tracking.md 11, rules
3-5).

`news_of` lists everything that was ever so of a delivery, each with its kind; `states_of` says what is so now.
Which of it is new is `noticing`'s to find, whether it is still worth a message `notification_rules`'.

The subject is always the delivery: that the order says DELIVERED and that every carrier of it does are one thing,
and so are its ship event and a carrier's first scan (rule 4). Conditions that are for those who run the shop
(NEVER_SCANNED, STALLED, CONTRADICTION, …) are nobody's news.
"""

from collections.abc import Iterator, Mapping
from datetime import tzinfo
from typing import Any, Final, Literal

from msgspec import Struct

from milepost.domain.delivery import CONTRADICTION
from milepost.domain.evidence import CANCELLED, DELIVERED
from milepost.domain.instant import Instant, parse_instant
from milepost.domain.leg import DELIVERED_RETRACTED
from milepost.domain.local_time import day_of_scan, latest
from milepost.domain.notification import Kind

Document = Mapping[str, Any]
State = Literal[
    "delivered",
    "returning",
    "lost",
    "cancelled",
    "undeliverable",
    "delayed",
    "estimate_missed",
    "exception",
    "customer_action",
]
"""What a delivery is or is not at one moment: its outcomes, then what rides on its way there."""

OUTCOMES: Final[frozenset[State]] = frozenset({"delivered", "returning", "lost", "cancelled"})
_OF_CONDITION: Final[Mapping[str, State]] = {
    "DELAYED": "delayed",
    "LATE": "estimate_missed",
    "EXCEPTION": "exception",
    "CUSTOMER_ACTION": "customer_action",
}
_HAPPENED = frozenset({"counts", "historyFill"})
_NOTHING: Mapping[str, Any] = {}


class News(Struct, frozen=True):
    """Something that became so of a delivery."""

    kind: Kind
    occurred_at: Instant
    ordinal: str = ""
    scan: Document | None = None
    """The milestone that says so, where one does."""
    data: Mapping[str, Any] = _NOTHING


def states_of(delivery: Document) -> dict[State, Instant | None]:
    """What is so of a delivery now, and since when where that is known."""
    found: dict[State, Instant | None] = {}
    trackers, conditions = delivery["trackers"], open_conditions(delivery)
    if is_delivered(delivery):
        found["delivered"] = latest([delivery["deliveredAt"] or None, *(t["deliveredAt"] for t in trackers)])
    stages = {tracker["stage"] for tracker in trackers}
    if stages & {"RETURNING", "RETURNED"}:
        found["returning"] = _entered(trackers, "RETURN_TO_SENDER")
    if "LOST" in stages and "delivered" not in found:
        found["lost"] = _entered(trackers, "LOST")
    if delivery["state"] == CANCELLED:
        # Once it moved, CANCELLED means that it could not be delivered (D2), which is no cancellation to a shopper.
        state: State = "cancelled" if delivery["shipEvidence"] is None else "undeliverable"
        found[state] = latest([delivery["events"]["cancelled"]])
    if "UNDELIVERABLE" in stages and "delivered" not in found:
        found["undeliverable"] = _entered(trackers, "UNDELIVERABLE")
    for condition in conditions:
        if (named := _OF_CONDITION.get(condition["code"])) is not None:
            found[named] = parse_instant(condition["raisedAt"])
    return found


def is_delivered(delivery: Document) -> bool:
    """The order says so, or every carrier of it does; and no carrier (T5) or agent (T11) took it back."""
    trackers = delivery["trackers"]
    carried = bool(trackers) and all(t["deliveredAt"] or t["stage"] == DELIVERED for t in trackers)
    carried = carried and not _is_corrected(delivery)
    if not carried and delivery["state"] != DELIVERED:
        return False
    return not any(
        c["code"] == CONTRADICTION and c["kind"] == DELIVERED_RETRACTED for c in open_conditions(delivery)
    )


def _is_corrected(delivery: Document) -> bool:
    """An agent told of a time after every carrier's delivery that it had not arrived."""
    arrived = [parse_instant(t["deliveredAt"]) for t in delivery["trackers"] if t["deliveredAt"]]
    return any(
        correction["standing"] == "counts"
        and correction["state"] != DELIVERED
        and all(at <= parse_instant(correction["occurredAt"]) for at in arrived)
        for correction in delivery.get("corrections", ())
    )


def open_conditions(delivery: Document) -> list[Document]:
    """The conditions of a delivery and its trackers that hold."""
    return [condition for condition in delivery["conditions"] if condition["clearedAt"] is None]


def scans_of(delivery: Document) -> list[Document]:
    """The milestones of its trackers that happened, oldest first."""
    found = [m for t in delivery["trackers"] for m in t["milestones"] if m["standing"] in _HAPPENED]
    return sorted(found, key=lambda m: (m["occurredAt"] or m["observedAt"], m["position"], m["code"]))


def news_of(delivery: Document, otherwise: tzinfo, at: Instant) -> Iterator[News]:
    """Everything that happened to a delivery and happens once, or once a day, an attempt, a reminder. `otherwise` is
    the zone of what is written without one, `at` stands in for a time that nobody gave."""
    shipped = delivery["shippedAt"] or (delivery["shipEvidence"] or _NOTHING).get("at")
    if delivery["shipEvidence"] is not None:
        yield News("shipped", parse_instant(shipped) if shipped else at)
    yield from _scanned(delivery, otherwise)
    for condition in open_conditions(delivery):
        if condition["code"] == "PICKUP_AGING" and condition["count"]:
            evidence, raised_at = condition["evidence"], parse_instant(condition["raisedAt"])
            data = {"days": evidence.get("days"), "since": evidence.get("since")}
            yield News("pickup_reminder", raised_at, str(condition["count"]), data=data)
    states = states_of(delivery)
    for kind in _ONCE:
        if kind in states:
            yield News(kind, states[kind] or at, scan=_newest(delivery, _CODES[kind]))


_ONCE: Final[tuple[Literal["delayed", "estimate_missed", "returning", "lost", "cancelled"], ...]] = (
    "delayed",
    "estimate_missed",
    "returning",
    "lost",
    "cancelled",
)
_CODES: Final[Mapping[str, str]] = {
    "delivered": DELIVERED,
    "undeliverable": "UNDELIVERABLE",
    "exception": "EXCEPTION",
    "customer_action": "CUSTOMER_ACTION",
    "delayed": "DELAYED",
    "estimate_missed": "",
    "returning": "RETURN_TO_SENDER",
    "lost": "LOST",
    "cancelled": "",
}


def scan_of_state(delivery: Document, state: State) -> Document | None:
    """The newest milestone that says so."""
    return _newest(delivery, _CODES[state])


def _scanned(delivery: Document, otherwise: tzinfo) -> Iterator[News]:
    """The first IN_TRANSIT and AVAILABLE_FOR_PICKUP, the first OUT_FOR_DELIVERY of each local day, every attempt."""
    seen: set[tuple[Kind, str]] = set()
    attempts = 0
    for scan in scans_of(delivery):
        at, code, ordinal, data = _time_of(scan), scan["code"], "", _NOTHING
        if code == "IN_TRANSIT":
            kind: Kind = "in_transit"
        elif code == "AVAILABLE_FOR_PICKUP":
            kind = "ready_for_pickup"
        elif code == "OUT_FOR_DELIVERY":
            kind, ordinal = "out_for_delivery", day_of_scan(scan, delivery, otherwise)
            data = {"day": ordinal}
        elif code == "DELIVERY_ATTEMPTED":
            attempts += 1
            kind, ordinal, data = "attempt_failed", str(attempts), {"attempt": attempts}
        else:
            continue
        if (kind, ordinal) not in seen:
            seen.add((kind, ordinal))
            yield News(kind, at, ordinal, scan, data)


def _entered(trackers: list[Document], code: str) -> Instant | None:
    """When a carrier first said so."""
    return min((_time_of(m) for t in trackers for m in t["milestones"] if m["code"] == code), default=None)


def _newest(delivery: Document, code: str) -> Document | None:
    return next((scan for scan in reversed(scans_of(delivery)) if scan["code"] == code), None)


def _time_of(scan: Document) -> Instant:
    return parse_instant(scan["occurredAt"] or scan["observedAt"])
