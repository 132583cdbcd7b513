"""Whether what a notification tells is still worth telling: overtaken, stale, taken back (tracking.md 11: 6, 7, 9,
10).

Asked when its hold is over, and each time it is due again. An outcome is read from the order's view, since it may
have ceased to be: that a parcel is delivered overtakes everything else of it, a return or a loss everything before.
Between stages on the way the other notifications say what came later; one whose kind is told to nobody overtakes
nothing, so that a shop which leaves a stage to Amazon does not silence the one before it.

Once a shopper was told that something was delivered, nothing else is told on its way (T5, rule 10) until that was
taken back: by a `correction` that was sent.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any, Final

from msgspec import Struct

from milepost.domain.business_calendar import BusinessCalendar
from milepost.domain.contact import Choices
from milepost.domain.delivery_news import OUTCOMES, State, is_delivered, news_of, states_of
from milepost.domain.evidence import CANCELLED
from milepost.domain.instant import DAY, HOUR, Instant
from milepost.domain.local_time import zone_of
from milepost.domain.notification import Kind, Notification
from milepost.domain.notification_policy import NotificationPolicy

Document = Mapping[str, Any]
Verdict = tuple[int, str] | None
"""By which rule it is not to be told, and why in plain words; None: it is."""

_STAGE: Final[Mapping[Kind, int]] = {
    "shipped": 1,
    "in_transit": 2,
    "out_for_delivery": 3,
    "attempt_failed": 3,
    "ready_for_pickup": 3,
}
"""How far a delivery is. Of two as far, what occurred later holds: an attempt may follow another attempt."""
_WHILE: Final[Mapping[Kind, frozenset[State]]] = {
    "delivered": frozenset({"delivered"}),
    "exception": frozenset({"exception", "undeliverable"}),
    "customer_action": frozenset({"customer_action"}),
}
"""What must still be so, of what may come again; of everything else `news_of` says whether it still is."""
_ELSEWHERE: Final[frozenset[Kind]] = frozenset({"correction", "estimate_moved"})
"""Kinds that have a check of their own."""
_ABOUT_WHEN: Final[frozenset[Kind]] = frozenset({"delayed", "estimate_moved", "estimate_missed"})
_ENDINGS: Final[frozenset[Kind]] = frozenset({"delivered", "returning", "lost", "cancelled", "correction"})
_FRESH_FOR: Final[Mapping[Kind, int]] = {
    "shipped": 5 * DAY,
    "in_transit": 5 * DAY,
    "delivered": 72 * HOUR,
    "all_delivered": 72 * HOUR,
}
"""Rule 7; OUT_FOR_DELIVERY goes by its local day."""


class Case(Struct, frozen=True):
    """What notifications of one order are judged by at one moment."""

    order: Document
    siblings: Sequence[Notification]
    choices: Choices
    settings: NotificationPolicy
    now: Instant

    def delivery(self, delivery_id: str) -> Document | None:
        return next((d for d in self.order["deliveries"] if d["id"] == delivery_id), None)

    def shown(self) -> list[Document]:
        """The deliveries that were not cancelled."""
        return [delivery for delivery in self.order["deliveries"] if delivery["state"] != CANCELLED]

    def others(self, notification: Notification) -> Iterator[Notification]:
        """Of the same delivery."""
        for other in self.siblings:
            if other.delivery_id == notification.delivery_id and other.id != notification.id:
                yield other

    def tells(self, kind: Kind) -> bool:
        """Whether the shop tells this kind, and the shopper wants it by any of the shop's channels."""
        channels = self.settings.channels
        wanted = not self.choices.blocked and any(self.choices.wants(kind, c) for c in channels)
        return wanted and kind in self.settings.kinds


def was_told(notification: Notification) -> bool:
    """Whether it went out, or may have; also where an agent asked for it once more since."""
    if notification.state == "SENDING" or notification.sent_at is not None:
        return True
    return any(step.state in ("SENT", "UNCERTAIN") for step in notification.history)


def told_at(notification: Notification) -> Instant:
    """When it went out, or may have."""
    return notification.sent_at or notification.history[-1].at


def unworthy(notification: Notification, case: Case) -> Verdict:
    """Why a notification is not worth sending any more, or yet again."""
    kind = notification.kind
    if kind == "all_delivered":
        verdict = _not_all_delivered(case)
    elif (delivery := case.delivery(notification.delivery_id)) is None:
        return 6, "The order does not show this delivery any more."
    else:
        states = states_of(delivery)
        verdict = _taken_back(notification, case, states) or _ceased(notification, delivery, case, states)
        verdict = verdict or _overtaken(notification, case)
        if verdict is None and kind == "out_for_delivery":
            verdict = _day_over(notification, delivery, case)
    age = case.now - notification.occurred_at
    if verdict is None and age > _FRESH_FOR.get(kind, age):
        verdict = 7, f"It happened more than {_FRESH_FOR[kind] // HOUR} hours ago."
    return verdict


def not_before(notification: Notification, case: Case) -> Instant:
    """Rule 9: a day after the delivery's last move of an estimate was told, by itself or with another's."""
    if notification.kind != "estimate_moved":
        return Instant(0)
    told = [o for o in case.others(notification) if o.kind == "estimate_moved" and _was_told_of(o, case)]
    return Instant(max(map(told_at, told), default=-DAY) + DAY)


def _not_all_delivered(case: Case) -> Verdict:
    shown = case.shown()
    if len(shown) > 1 and all(map(is_delivered, shown)):
        return None
    return 6, "Not everything is delivered any more."


def _taken_back(notification: Notification, case: Case, states: Mapping[State, object]) -> Verdict:
    """Rule 10, and what a `correction` needs."""
    kind, delivered = notification.kind, "delivered" in states
    of_delivery = list(case.others(notification))
    arrivals = sum(o.kind == "delivered" and _was_told_of(o, case) for o in of_delivery)
    corrections = sum(o.kind == "correction" and was_told(o) for o in of_delivery)
    believed = arrivals > corrections
    if kind == "correction":
        if delivered:
            return 6, "It is delivered after all."
        return None if believed else (10, "Nobody was told that it was delivered.")
    if kind == "delivered" and not delivered:
        return 10, "That it was delivered was taken back."
    if believed and kind != "returning":
        if delivered and kind != "delivered":
            # Nothing was reopened: a step before that became known, or came to its turn, after it.
            return 6, "It was told that it was delivered."
        return 10, "It was told that it was delivered, and that was not corrected."
    return None


def _was_told_of(notification: Notification, case: Case) -> bool:
    """By itself, or by one that covered it (rule 11)."""
    return was_told(notification) or any(
        notification.id in sibling.covers and was_told(sibling) for sibling in case.siblings
    )


def _ceased(
    notification: Notification, delivery: Document, case: Case, states: Mapping[State, object]
) -> Verdict:
    """What it tells is over, by the delivery's view."""
    kind = notification.kind
    if kind not in _ENDINGS:
        if "delivered" in states:
            rule = 7 if kind in _ABOUT_WHEN else 6
            return rule, "It is delivered by now."
        if ended := sorted(OUTCOMES & states.keys()):
            return 6, f"It is {ended[0]} by now."
    if not _still(notification, delivery, case, states):
        return 6, "It is not so any more."
    if kind == "estimate_moved":
        estimate = delivery["estimatedDelivery"] or {}
        if (estimate.get("latestDate") or estimate.get("earliestDate")) != notification.data.get("day"):
            return 9, "The estimate is another one by now."
    return None


def _still(
    notification: Notification, delivery: Document, case: Case, states: Mapping[State, object]
) -> bool:
    kind = notification.kind
    if kind in _WHILE:
        return bool(_WHILE[kind] & states.keys())
    if kind in _ELSEWHERE:
        return True
    listed = news_of(delivery, case.settings.zone, case.now)
    return any((news.kind, news.ordinal) == (kind, notification.ordinal) for news in listed)


def _overtaken(notification: Notification, case: Case) -> Verdict:
    """Rule 6, between stages on the way, and of a return after the delivery."""
    for other in case.others(notification):
        news = other.rule not in (8, 9) and (was_told(other) or case.tells(other.kind))
        if news and _is_later(other, notification):
            return 6, f"A later message overtook it: {other.kind}."
    return None


def _is_later(other: Notification, than: Notification) -> bool:
    if other.kind == than.kind:
        # Of an estimate the day that holds now is told, whichever was noticed last.
        return than.kind != "estimate_moved" and _count(other) > _count(than)
    if than.kind == "delivered":
        return other.kind == "returning" and other.occurred_at >= than.occurred_at
    mine, its = _STAGE.get(than.kind, 0), _STAGE.get(other.kind, 0)
    if not mine or mine != its:
        return 0 < mine < its
    return _place(other) > _place(than)


def _count(notification: Notification) -> tuple[int, str]:
    """Numbers and days in their order: what came again, or on another day, before it was told is told once."""
    return len(notification.ordinal), notification.ordinal


def _place(notification: Notification) -> tuple[int, int]:
    """Where it stands among those of other kinds that are as far."""
    return notification.occurred_at, list(_STAGE).index(notification.kind)


def _day_over(notification: Notification, delivery: Document, case: Case) -> Verdict:
    """Rule 7: news of the day end with the day, where the parcel goes."""
    zone = zone_of(delivery, case.settings.zone)
    end = BusinessCalendar().end_of_day(date.fromisoformat(notification.ordinal), zone)
    return (7, "The day on which it was out for delivery is over.") if case.now >= end else None
