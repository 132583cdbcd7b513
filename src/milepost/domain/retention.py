"""Retention: which orders are over, and for how long they must have been before they may be removed.

Orders and trackers that hang together (a tracker that two orders share, a record about several) are one `Group`:
it is removed as a whole or stays as a whole, so that what stays has all its facts and folds as before. A group may
go when

- nothing came about it for as many days as the operator keeps closed orders, duplicates among what came;
- every delivery is DELIVERED or CANCELLED, or it was silent so long that tracking expired (T12): closed by expiry;
- time alone can change nothing any more (the sweeper has nothing left to look at);
- no condition is open that wants somebody, and no return is under way.

How many days an operator may choose is bounded below by the horizons: after each of them something can no longer
come, or matter. A ledger that must outlive more has its row there. What the store alone can tell (questions still
open, failed folds, bodies in quarantine) and the removing itself are `pipeline.retention`'s.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from msgspec import Struct

from milepost.domain.condition import Policy
from milepost.domain.errors import Misconfigured
from milepost.domain.instant import DAY, Instant
from milepost.domain.leg import SAME_USE_WITHIN
from milepost.domain.record import Record
from milepost.domain.retry import STANDARD, span

Document = Mapping[str, Any]

Reason = Literal[
    "recent",
    "open",
    "waiting",
    "condition",
    "return",
    "hydration",
    "failed",
    "quarantine",
    "message",
    "unprocessed",
    "large",
]
"""Why a group stays:

| reason      |                                                                                        |
|-------------|----------------------------------------------------------------------------------------|
| recent      | something came about it within the days that closed orders are kept                    |
| open        | a delivery is neither delivered nor cancelled, and tracking has not expired            |
| waiting     | time alone can still change a view of it                                               |
| condition   | an open condition wants somebody                                                       |
| return      | a return is under way                                                                  |
| hydration   | Buy with Prime is still being asked about it                                           |
| failed      | a record of it, or a fold, failed                                                      |
| quarantine  | a body in quarantine names it                                                          |
| message     | a message about it is still to be sent                                                 |
| unprocessed | a consumer is not past it, or the journal's last record is about it                    |
| large       | it has more records than one transaction should remove                                 |
"""

WANTING = frozenset({"CONTRADICTION", "CUSTOMER_ACTION", "EXCEPTION", "RETURN_UNCONFIRMED"})
"""Conditions that somebody should have looked at: while one is open the order stays, however old."""

_ENDED = frozenset({"DELIVERED", "CANCELLED"})
_RETURN, _RETURN_COMPLETED = "RETURN_", "RETURN_COMPLETED"
_QUEUED_DAYS = 14
"""The longest that Amazon SQS keeps a message."""


class Horizon(Struct, frozen=True):
    """How many days after its last fact an order must still be known, and why."""

    name: str
    days: int
    text: str


def horizons(policy: Policy) -> tuple[Horizon, ...]:
    """Every horizon under this policy, the longest first."""
    carriers = [policy, *map(policy.for_carrier, policy.carriers)]
    resent = -(-span(STANDARD) // DAY)
    table = (
        Horizon("tracking", tracking_days(policy), "until then a carrier may still tell of the number (T12)"),
        Horizon(
            "return",
            max(each.return_unconfirmed_days for each in carriers),
            "until then a parcel on its way back may still arrive (RETURN_UNCONFIRMED)",
        ),
        Horizon("outcome", SAME_USE_WITHIN // DAY, "until then a scan is still the same parcel's (T5)"),
        Horizon(
            "queues",
            1 + 2 * _QUEUED_DAYS,
            "EventBridge tries for a day, a dead-letter queue keeps what failed for 14, and SQS what is sent on"
            " from there for 14 more: until then the same event may come again",
        ),
        Horizon(
            "webhook",
            14,
            "Amazon names no end of its retries; the longest schedule known of such senders is 8 days",
        ),
        Horizon(
            "resends",
            resent,
            "so long does Milepost itself try to send the same thing again (to subscribers, to a notification"
            " webhook, as the sandbox), with every wait that a receiver may ask for",
        ),
    )
    return tuple(sorted(table, key=lambda horizon: -horizon.days))


def tracking_days(policy: Policy) -> int:
    """Days of silence after which tracking has expired with every carrier."""
    return max(each.tracking_expired_days for each in (policy, *map(policy.for_carrier, policy.carriers)))


def check_retention(days: int, policy: Policy) -> None:
    """Raises `Misconfigured`, naming the horizon, when closed orders would be removed too early. 0 keeps all."""
    longest = horizons(policy)[0]
    if 0 < days < longest.days:
        raise Misconfigured(
            f"MILEPOST_RETENTION_DAYS is {days}, which ends before the horizon {longest.name!r} of {longest.days}"
            f" days: {longest.text}. Set {longest.days} or more, or 0 to keep everything"
        )


class Group(Struct, frozen=True):
    """Orders and trackers that hang together, as far as the rule looks at them."""

    orders: Sequence[Document]
    """Their view documents."""
    trackers: Sequence[Document]
    last_at: Instant
    """When the last thing about them was received or journalled, duplicates among them."""
    timed: bool = False
    """Time alone can still change one of the views (its `check_at`)."""
    returning: bool = False
    """An event began a return that none ended."""


def kept_because(group: Group, now: Instant, days: int, policy: Policy) -> Reason | None:
    """Why a group stays at `now`, when closed orders are kept for `days`; None: it may be removed."""
    silent = now - group.last_at
    if silent < days * DAY:
        return "recent"
    if silent < tracking_days(policy) * DAY and not all(map(_is_closed, group.orders)):
        return "open"
    if group.timed:
        return "waiting"
    if any(
        condition["clearedAt"] is None and condition["code"] in WANTING for condition in _conditions(group)
    ):
        return "condition"
    if group.returning or any(tracker["stage"] == "RETURNING" for tracker in group.trackers):
        return "return"
    return None


def _is_closed(order: Document) -> bool:
    deliveries = order["deliveries"]
    return bool(deliveries) and all(delivery["state"] in _ENDED for delivery in deliveries)


def _conditions(group: Group) -> Iterable[Document]:
    for order in group.orders:
        for delivery in order["deliveries"]:
            yield from delivery["conditions"]
    for tracker in group.trackers:
        yield from tracker["conditions"]


def returns_under_way(records: Iterable[Record]) -> set[tuple[str, str | None]]:
    """(order id, return id) of returns that events tell of and no RETURN_COMPLETED ends."""
    begun: set[tuple[str, str | None]] = set()
    ended: set[tuple[str, str | None]] = set()
    for record in records:
        if record.kind in ("event", "conflict") and record.type.startswith(_RETURN):
            found = ended if record.type == _RETURN_COMPLETED else begun
            ids = (resource.ids for resource in record.event().resources)
            found.update((each["order"], each.get("return")) for each in ids if "order" in each)
    return begun - ended
