"""What notifications, and the rules that keep them back, are in plain words: for agents, in lists and timelines.

The rules are numbered as in tracking.md 11. What shoppers read themselves is `milepost.shopper`'s.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from milepost.domain.notification import Kind, Notification, NotificationState, Transition

RULE_TEXTS: Final[Mapping[int, str]] = {
    1: "A stage is told once it is entered, whatever comes about it later.",
    2: "It was told before: one notification for a parcel and kind.",
    3: "Only the first of this kind is told.",
    4: "Another source told the same already.",
    5: "It was told that day: once a day at the destination.",
    6: "Something later happened while it was held back.",
    7: "It was too old to be news.",
    8: "It is history: reported late, imported, corrected, or over when it was first heard of.",
    9: "The expected day moved too little, to an earlier day, or again within a day.",
    10: "It takes back a message that said delivered, which a person looks at.",
    11: "One message told it together with others of the order.",
    12: "The order had its messages for that day.",
    13: "The shopper does not want it, is not to be written to, or is left alone at that hour.",
    14: "What is not sent is kept, and shown.",
    15: "Whether it arrived is not known, so it is not repeated by itself.",
    16: "The order names nobody who could be told.",
    17: "This kind is switched off.",
}
"""The 17 rules: why a notification was not sent, or not yet."""

KIND_TEXTS: Final[Mapping[Kind, str]] = {
    "shipped": "the parcel was shipped",
    "in_transit": "the parcel is on its way",
    "out_for_delivery": "the parcel is out for delivery",
    "attempt_failed": "the carrier tried to deliver and failed",
    "ready_for_pickup": "the parcel is ready to be picked up",
    "pickup_reminder": "the parcel still waits to be picked up",
    "delivered": "the parcel was delivered",
    "delayed": "the parcel is delayed",
    "estimate_moved": "the parcel is expected on another day",
    "estimate_missed": "the parcel did not come on the expected day",
    "exception": "something went wrong with the parcel",
    "customer_action": "the carrier waits for them to do something",
    "returning": "the parcel is going back",
    "lost": "the parcel is lost",
    "cancelled": "the delivery was cancelled",
    "all_delivered": "everything of the order was delivered",
    "correction": "the parcel was not delivered after all",
}
"""What each kind tells, as it stands behind `told that`."""

_STATE_TEXTS: Final[Mapping[NotificationState, str]] = {
    "WAITING": "The shopper is to be told that {told}.",
    "SENDING": "The shopper is being told that {told}.",
    "SENT": "The shopper was told that {told}{by}.",
    "FAILED": "The shopper could not be told that {told}{by}.",
    "UNCERTAIN": "Whether the shopper was told that {told} is not known.",
    "SUPPRESSED": "The shopper was not told that {told}.",
}


_ON_ITS_WAY: Final = frozenset({"WAITING", "SENDING"})
"""States in which nothing has become of it yet."""
_BY_ITSELF: Final = frozenset({"projector", "notifier"})
"""Who moves notifications unasked: not worth a word."""


def rule_text(rule: int) -> str | None:
    """A sentence for a rule of tracking.md 11; None for none."""
    return RULE_TEXTS.get(rule)


def notification_text(kind: Kind, state: NotificationState, channel: str | None = None) -> str:
    """A sentence that says what became of a notification; `channel` is by which it was sent."""
    by = "" if channel is None else f", by {channel}"
    return _STATE_TEXTS[state].format(told=KIND_TEXTS[kind], by=by)


def outcomes(notification: Notification) -> Iterator[tuple[Transition, str]]:
    """Of a notification's steps those that say what became of it, those that somebody asked for, and the last one;
    each with its sentences."""
    last = notification.history[-1]
    for step in notification.history:
        if step is last or step.state not in _ON_ITS_WAY or step.by not in _BY_ITSELF:
            yield step, _step_text(notification, step)


def _step_text(notification: Notification, step: Transition) -> str:
    sentences = [notification_text(notification.kind, step.state, _channel(notification, step))]
    if (rule := rule_text(step.rule)) is not None:
        sentences.append(f"Rule {step.rule}: {rule}")
    if step.by not in _BY_ITSELF:
        sentences.append(f"By {step.by}.")
    if step.reason:
        sentences.append(f"Reason: {step.reason.rstrip('.')}.")
    return " ".join(sentences)


def _channel(notification: Notification, step: Transition) -> str | None:
    """By which it went; of the last time only, since the ledger keeps no other."""
    ended = [each for each in notification.history if each.state in ("SENT", "FAILED")]
    return notification.channel if ended and step is ended[-1] else None
