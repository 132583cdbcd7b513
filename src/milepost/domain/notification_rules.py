"""Whether a notification whose hold is over is sent now, later or never: the rules of tracking.md 11 at that
moment.

What a fold can tell is decided there (`noticing`: rules 1-5, 8, and 9 in part). Here the rest is, from what stands
when it is to be sent: the order's view, the other notifications about it, the shopper's choices. Whether it is
worth telling at all is `notification_worth`'s (6, 7, 9, 10), what is told together `notification_digest`'s (11).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from milepost.domain.contact import Choices, Contact
from milepost.domain.instant import Instant
from milepost.domain.local_time import end_of_quiet, local_day, zone_of
from milepost.domain.notification import Channel, Kind, Notification
from milepost.domain.notification_digest import still_covered, together
from milepost.domain.notification_policy import URGENT, NotificationPolicy
from milepost.domain.notification_worth import Case, not_before, told_at, unworthy, was_told

Document = Mapping[str, Any]


class Send(Struct, frozen=True):
    """Send it now."""

    channel: Channel
    locale: str
    """As was chosen, or the settings' default; the composer falls back if it has no such catalogue."""
    covers: tuple[str, ...] = ()
    """Ids of siblings that this one tells, too (rule 11). Those that are WAITING are to be suppressed by `DIGEST` in
    the same write that claims this one; the others were when it was tried before."""


class Suppress(Struct, frozen=True):
    """Never send it (unless an agent asks)."""

    rule: int
    reason: str


class Postpone(Struct, frozen=True):
    """Ask again then. It stays WAITING."""

    until: Instant
    rule: int
    reason: str


Decision = Send | Suppress | Postpone

DIGEST = 11
"""The rule by which what another notification covers is suppressed."""


def decide(
    notification: Notification,
    siblings: Sequence[Notification],
    order: Document | None,
    choices: Choices,
    contact: Contact,
    settings: NotificationPolicy,
    now: Instant,
) -> Decision:
    """What becomes of a notification that is due.

    `notification` is WAITING and its `due_at` has come. `siblings` are all notifications of its order, in any state
    (`tx.notifications.of_orders`; itself may be among them): read in the same transaction that then acts on the
    answer, and of several of one order one after the other, each with what became of those before it. `order` is
    the order's view document as it stands, None when there is none any more. `choices` are the recipient's
    (`contact.read_choices`), `contact` is `contact.contact_of(order)`: both read now, not when the notification was
    made (rule 16). `settings` are the shop's, `now` the hub's clock.

    One that is `by_hand` goes past what an agent may overrule (6, 7, 9-12, 17, quiet hours), never past what the
    shopper decided (opted out, blocked) or past a contact that is gone.
    """
    if order is None:
        return Suppress(16, "Nothing is known of the order any more.")
    kind, case = notification.kind, Case(order, siblings, choices, settings, now)
    if kind not in settings.kinds and not notification.by_hand:
        return _switched_off(kind)
    channel = _channel(kind, choices, contact, settings)
    if isinstance(channel, Suppress):
        return channel
    send = Send(channel, choices.locale or settings.locale)
    if notification.by_hand:
        return replace(send, covers=notification.covers)
    if (verdict := unworthy(notification, case)) is not None:
        return Suppress(*verdict)
    if (again := not_before(notification, case)) > now:
        return Postpone(again, 9, "An estimate that moved was told within a day before.")
    told = together(notification, case)
    if told.until is not None:
        return Postpone(told.until, DIGEST, told.reason)
    covers = (*still_covered(notification, case), *told.covers)
    return _not_now(notification, case) or replace(send, covers=covers)


def _switched_off(kind: Kind) -> Suppress:
    """Rule 17; a correction is off by rule 10, until a shop wants it."""
    if kind == "correction":
        return Suppress(10, "Corrections are not sent unless the shop switches them on.")
    return Suppress(17, "The shop does not tell this.")


def _channel(
    kind: Kind, choices: Choices, contact: Contact, settings: NotificationPolicy
) -> Channel | Suppress:
    """Rules 13 and 16: the first channel that reaches the shopper and by which they want to be told."""
    if choices.blocked:
        return Suppress(13, "The recipient is on the suppression list.")
    reaching = [channel for channel in settings.channels if channel != "email" or contact.email]
    if not reaching:
        return Suppress(16, "The order names no address.")
    wanted = (channel for channel in reaching if choices.wants(kind, channel))
    return next(wanted, Suppress(13, "The shopper does not want to be told this."))


def _not_now(notification: Notification, case: Case) -> Suppress | Postpone | None:
    """Rules 12 and 13: quiet hours, and not too many a day. Local times are those where the delivery goes."""
    delivery = case.delivery(notification.delivery_id) or next(iter(case.shown()), None)
    zone = case.settings.zone if delivery is None else zone_of(delivery, case.settings.zone)
    if notification.kind in URGENT:
        return None
    if case.settings.quiet_hours is not None:
        over = end_of_quiet(case.now, zone, case.settings.quiet_hours)
        if over is not None:
            return Postpone(over, 13, "It is night where the delivery goes.")
    today = local_day(case.now, zone)
    told = [n for n in case.siblings if n.kind not in URGENT and was_told(n) and n.id != notification.id]
    if sum(local_day(told_at(n), zone) == today for n in told) >= case.settings.per_day:
        return Suppress(12, f"The order had {case.settings.per_day} messages today.")
    return None
