"""What is told together: deliveries of one order that reach one kind within two hours (tracking.md 11, rule 11).

The message waits for the others only while one may still follow: another delivery of the order that is where this
one was a step before. The two hours count from when the first was noticed. That everything arrived
(`all_delivered`) replaces what would be told of the last arrivals. Urgent kinds wait for nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from milepost.domain.delivery_news import OUTCOMES, states_of
from milepost.domain.evidence import IN_TRANSIT, PENDING
from milepost.domain.instant import MINUTE, Instant
from milepost.domain.notification import Kind, Notification
from milepost.domain.notification_policy import URGENT
from milepost.domain.notification_worth import Case, not_before, unworthy

Document = Mapping[str, Any]

_ALONE: Final[frozenset[Kind]] = URGENT | {"correction"}
_BEFORE_SHIPPING: Final[frozenset[Kind]] = frozenset({"shipped", "cancelled"})


class Together(Struct, frozen=True):
    """What is told with a notification, and until when it waits for that."""

    covers: tuple[str, ...] = ()
    until: Instant | None = None
    """None: it waits for nothing."""
    reason: str = ""


def together(notification: Notification, case: Case) -> Together:
    """Which siblings a notification that is worth telling tells as well, and whether it waits for more."""
    if notification.kind in _ALONE:
        return Together()
    if notification.kind == "all_delivered":
        return _ready([n for n in _waiting(case) if n.kind == "delivered"], case)
    if notification.kind == "delivered" and (whole := _whole(case)) is not None:
        until = max(whole.due_at, Instant(case.now + MINUTE))
        return Together(until=until, reason="Everything arrived; one message tells it.")
    same = [n for n in _waiting(case) if n.kind == notification.kind and n.id != notification.id]
    group, ends_at = _window(notification, same, case.settings.digest_ms)
    if (
        ends_at > case.now
        and (ready := _ready(group, case)).until is None
        and _may_follow(notification, case)
    ):
        return Together(ready.covers, ends_at, "Another delivery of the order may follow.")
    return _ready(group, case)


def still_covered(notification: Notification, case: Case) -> tuple[str, ...]:
    """Of what an earlier try was to tell along, what is still worth telling, and is not told by itself since an agent
    asked. A mail that is tried again was certainly not taken, so nobody knows of the rest; by another channel they
    may, and a copy tells what the first did."""
    if notification.channel != "email":
        return notification.covers
    covered = [n for n in case.siblings if n.id in notification.covers and n.state == "SUPPRESSED"]
    return tuple(each.id for each in covered if unworthy(each, case) is None)


def _waiting(case: Case) -> list[Notification]:
    """Those that would be told, if they were due."""
    return [
        sibling
        for sibling in case.siblings
        if sibling.state == "WAITING"
        and not sibling.by_hand
        and unworthy(sibling, case) is None
        and not_before(sibling, case) <= case.now
    ]


def _whole(case: Case) -> Notification | None:
    """The message that everything arrived, if it is about to be sent."""
    found = (n for n in _waiting(case) if n.kind == "all_delivered" and case.tells(n.kind))
    return next(found, None)


def _ready(group: Sequence[Notification], case: Case) -> Together:
    """All of them, once the holds of all are over (rule 6): nothing is told that may yet be overtaken."""
    held = [n.decided_at + case.settings.hold_of(n.kind) for n in group]
    until = Instant(max(held, default=0))
    covers = tuple(n.id for n in group)
    if until > case.now:
        return Together(covers, until, "It is told with another delivery, which is still held.")
    return Together(covers)


def _window(
    notification: Notification, same: Sequence[Notification], length: int
) -> tuple[list[Notification], Instant]:
    """Those of a kind that were noticed within one window with it, without itself, and when that window ends."""
    group: list[Notification] = []
    begun = Instant(0)
    for each in sorted((notification, *same), key=lambda n: (n.decided_at, n.id)):
        if not group or each.decided_at > begun + length:
            if notification in group:
                break
            group, begun = [], each.decided_at
        group.append(each)
    return [each for each in group if each is not notification], Instant(begun + length)


def _may_follow(notification: Notification, case: Case) -> bool:
    """Whether another delivery of the order has not come to this kind and could at any time."""
    there = {n.delivery_id for n in case.siblings if n.kind == notification.kind}
    there.add(notification.delivery_id)
    before = PENDING if notification.kind in _BEFORE_SHIPPING else IN_TRANSIT
    return any(
        delivery["state"] == before
        and delivery["id"] not in there
        and not OUTCOMES & states_of(delivery).keys()
        for delivery in case.order["deliveries"]
    )
