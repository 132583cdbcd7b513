"""Notifications: messages to a shopper, as a ledger (tracking.md 11). What they are, their states, their keys.

A notification begins as an occasion that a fold gave (`noticing`), committed with that fold; when its hold is over
the rules are asked (`notification_rules`), and it is sent by one channel, postponed, or suppressed. Every suppressed
one stays, with the number of the rule that did it.

Its states, and what moves it from one to another (`move`). An empty cell is refused:

| action   | WAITING    | SENDING   | SENT    | FAILED  | UNCERTAIN | SUPPRESSED | who and when                    |
|----------|------------|-----------|---------|---------|-----------|------------|---------------------------------|
| claim    | SENDING    |           |         |         |           |            | notifier, before it sends       |
| postpone | WAITING    |           |         |         |           |            | notifier: a rule says later     |
| suppress | SUPPRESSED |           |         |         |           |            | projector, notifier, API        |
| sent     |            | SENT      |         |         |           |            | the channel took it             |
| again    |            | WAITING   |         |         |           |            | it certainly did not take it    |
| refuse   |            | FAILED    |         |         |           |            | it will never take it           |
| lose     |            | UNCERTAIN |         |         |           |            | nobody knows whether it took it |
| resend   |            |           | WAITING | WAITING | WAITING   | WAITING    | API: an agent asks              |

One that is UNCERTAIN is never sent again by itself (rule 15). A resend by hand is the same notification, so it has
the same key; it goes past the rules that an agent may overrule.
"""

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Final, Literal, get_args

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from milepost.domain.errors import Conflict
from milepost.domain.instant import Instant

Kind = Literal[
    "shipped",
    "in_transit",
    "out_for_delivery",
    "attempt_failed",
    "ready_for_pickup",
    "pickup_reminder",
    "delivered",
    "delayed",
    "estimate_moved",
    "estimate_missed",
    "exception",
    "customer_action",
    "returning",
    "lost",
    "cancelled",
    "all_delivered",
    "correction",
]
"""What a notification tells (rule 3). `correction` takes back a `delivered` (rule 10)."""
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
Channel = Literal["email", "webhook"]
CHANNELS: Final[tuple[Channel, ...]] = get_args(Channel)
NotificationState = Literal["WAITING", "SENDING", "SENT", "FAILED", "UNCERTAIN", "SUPPRESSED"]
STATES: Final[tuple[NotificationState, ...]] = get_args(NotificationState)
Action = Literal["claim", "postpone", "suppress", "sent", "again", "refuse", "lose", "resend"]

_TABLE: Final[Mapping[Action, Mapping[NotificationState, NotificationState]]] = {
    "claim": {"WAITING": "SENDING"},
    "postpone": {"WAITING": "WAITING"},
    "suppress": {"WAITING": "SUPPRESSED"},
    "sent": {"SENDING": "SENT"},
    "again": {"SENDING": "WAITING"},
    "refuse": {"SENDING": "FAILED"},
    "lose": {"SENDING": "UNCERTAIN"},
    "resend": {"SENT": "WAITING", "FAILED": "WAITING", "UNCERTAIN": "WAITING", "SUPPRESSED": "WAITING"},
}

HISTORY: Final = 50
"""Most transitions that are kept: the first and the newest."""


class Transition(Struct, frozen=True, rename="camel"):
    """One step of a notification's life."""

    at: Instant
    state: NotificationState
    by: str
    """projector, notifier, or an API key's id."""
    rule: int = 0
    """The number of the rule of tracking.md 11 that did it; 0: none."""
    reason: str = ""


class Occasion(Struct, frozen=True):
    """Something that a fold gave and a shopper may be told of: what a notification is made from."""

    kind: Kind
    occurred_at: Instant
    """When it became so, as far as is known."""
    delivery_id: str = ""
    """Empty: the order as a whole."""
    ordinal: str = ""
    """Tells those of a kind apart that may come again: the number of an attempt, a local day (rules 2, 5)."""
    rule: int = 0
    """Not 0: it is suppressed at once, by this rule."""
    reason: str = ""
    data: Mapping[str, Any] = {}
    """What the text needs that the view may no longer say later. No personal data."""


class Notification(Struct, frozen=True, rename="camel"):
    """A notification as the ledger keeps it. It holds no address and no text: both are looked up when it is sent, and
    are nowhere kept (rule 16)."""

    id: str
    business_product_id: str
    order_id: str
    delivery_id: str
    kind: Kind
    ordinal: str
    state: NotificationState
    occurred_at: Instant
    decided_at: Instant
    due_at: Instant
    """When the rules are asked (again)."""
    history: tuple[Transition, ...]
    rule: int = 0
    """Of the last transition."""
    reason: str = ""
    data: Mapping[str, Any] = {}
    tries: int = 0
    lease_until: Instant | None = None
    """While SENDING: until when the one who sends it has time."""
    channel: Channel | None = None
    """By which it was sent, or was to be, at last."""
    recipient: str = ""
    """`contact.recipient_id` of whom it was sent to, or was to be."""
    locale: str = ""
    sent_at: Instant | None = None
    covers: tuple[str, ...] = ()
    """Ids of the notifications that this one told along with itself (a digest, rule 11)."""
    by_hand: bool = False
    """An agent asked for it to be sent again."""


def notification_id(
    business_product_id: str, order_id: str, delivery_id: str, kind: str, ordinal: str
) -> str:
    """The id of the one notification of a kind about a subject, for life: 128 bits, the same whenever it is made
    (rule 2: one outbox row; the recipient is the order's, the channel one of several that could carry it)."""
    parts = (business_product_id, order_id, delivery_id, kind, ordinal)
    text = "\0".join(parts).encode("utf-8", "surrogatepass")
    return "ntf_" + blake2b(text, digest_size=16, person=b"notification").hexdigest()


def move(
    notification: Notification,
    action: Action,
    at: Instant,
    by: str,
    *,
    rule: int = 0,
    reason: str = "",
    **changes: Any,
) -> Notification:
    """The notification after an action; `changes` are other fields that change with it. Raises `Conflict` where the
    table has an empty cell."""
    state = _TABLE[action].get(notification.state)
    if state is None:
        raise Conflict(f"a notification that is {notification.state} cannot take {action!r}")
    step = Transition(at, state, by, rule, reason)
    history = (*notification.history, step)
    if len(history) > HISTORY:
        history = (history[0], *history[-HISTORY + 1 :])
    return replace(notification, state=state, rule=rule, reason=reason, history=history, **changes)


decode = msgspec.json.Decoder(Notification).decode
