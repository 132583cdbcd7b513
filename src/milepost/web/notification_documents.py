"""How notifications are shown: documents of one and of many, and pages of the ledger.

The ledger has an index by state and by order. What else a list is narrowed by is looked for in a bounded number of
rows, so a page may be short and say where to go on.
"""

from collections.abc import Collection, Iterable
from typing import Any

from msgspec import Struct

from milepost.domain.errors import Conflict, Invalid
from milepost.domain.instant import Instant, format_instant
from milepost.domain.notification import KINDS, STATES, Notification, NotificationState, move
from milepost.domain.notification_wording import RULE_TEXTS, notification_text, rule_text
from milepost.store import Transaction
from milepost.web.documents import Document
from milepost.web.paging import Page, cut, decode_cursor, encode_cursor
from milepost.web.reading import Reach

LOOKED_AT = 2_000
"""Rows that one page looks at."""
AT_ONCE = 500

NAME = "notification"
"""Of the list, for its cursors."""

Row = tuple[int, Notification]


class NotificationItem(Document):
    """A message to a shopper, sent or not. It holds no address: whom it goes to is looked up when it is sent."""

    id: str
    """The same for life: a webhook of your own is posted it as the id."""
    business_product_id: str
    order_id: str
    delivery_id: str | None
    """Null where it is about the order as a whole."""
    kind: str
    ordinal: str | None
    """Tells those of a kind apart that may come again."""
    state: str
    text: str
    """What became of it, in a sentence."""
    rule: int | None
    """The rule that kept it back, or keeps it back for now."""
    rule_text: str | None
    reason: str | None
    occurred_at: str
    decided_at: str
    due_at: str | None
    """When the rules are asked; null unless it is WAITING."""
    sent_at: str | None
    channel: str | None
    locale: str | None
    recipient: str | None
    """A keyed hash of whom it was sent to; `/v1/choices` takes it."""
    covers: list[str]
    """The notifications that it told along with itself."""
    tries: int
    by_hand: bool


class NotificationStep(Document):
    """One step of a notification's life."""

    at: str
    state: str
    by: str
    """projector, notifier, or an API key's id."""
    rule: int | None
    rule_text: str | None
    reason: str


class NotificationDocument(NotificationItem):
    """A notification with its history."""

    history: list[NotificationStep]
    actions: list[str]
    """What may be done to it now."""


class Wanted(Struct, frozen=True):
    """Which notifications a list is of; None: whichever."""

    state: NotificationState | None = None
    kind: str | None = None
    rule: int | None = None
    order_id: str | None = None
    delivery_id: str | None = None

    def takes(self, notification: Notification) -> bool:
        """Whether it is one of these; the order is for `_of_orders` to see to."""
        return (
            self.state in (None, notification.state)
            and self.kind in (None, notification.kind)
            and self.rule in (None, notification.rule)
            and self.delivery_id in (None, notification.delivery_id)
        )


def wanted(
    state: str | None, kind: str | None, rule: int | None, order_id: str | None, delivery_id: str | None
) -> Wanted:
    """What a list is narrowed to. Raises `Invalid` for a word or number that there is not."""
    known = next((each for each in STATES if each == state), None)
    if state is not None and known is None:
        raise Invalid(f"state must be one of {', '.join(STATES)}", field="state")
    if kind is not None and kind not in KINDS:
        raise Invalid(f"kind must be one of {', '.join(KINDS)}", field="kind")
    if rule is not None and rule not in RULE_TEXTS:
        raise Invalid(f"rule must be {min(RULE_TEXTS)} to {max(RULE_TEXTS)}", field="rule")
    return Wanted(known, kind, rule, order_id, delivery_id)


def notification_page(
    tx: Transaction, wanted: Wanted, after: str | None, size: int, reach: Reach
) -> Page[NotificationItem]:
    """One page of the notifications that are wanted, in the order in which they were decided."""
    start = 0 if after is None else decode_cursor(NAME, after, int)
    orders = _orders(tx, wanted, reach)
    if orders is None:
        return _scanned(tx, wanted, start, size, reach)
    found = tx.notifications.of_orders(orders)
    listed = [each for key in sorted(found) for each in found[key]]
    rows = [row for row in enumerate(listed, 1) if row[0] > start and wanted.takes(row[1])]
    return _cut(rows, size)


def _orders(tx: Transaction, wanted: Wanted, reach: Reach) -> list[tuple[str, str]] | None:
    """The orders that an index leads to, by (business product, id); None where there is no such index."""
    if "\x00" in f"{wanted.order_id}{wanted.delivery_id}":
        return []
    if wanted.order_id is not None:
        # Also of one that is gone from the views.
        products = tx.journal.business_products() if reach is None else reach
        return [(product, wanted.order_id) for product in sorted(products)]
    if wanted.delivery_id is not None:
        views = tx.views.find("delivery", wanted.delivery_id, reach)
        return [(view.business_product_id, view.parent) for view in views if view.parent] or None
    return None


def _scanned(tx: Transaction, wanted: Wanted, start: int, size: int, reach: Reach) -> Page[NotificationItem]:
    states = () if wanted.state is None else (wanted.state,)
    anything = (wanted.kind, wanted.rule, wanted.delivery_id) == (None, None, None)
    found: list[Row] = []
    left = LOOKED_AT
    while left > 0:
        asked = size + 1 if anything else min(AT_ONCE, left)
        rows = tx.notifications.page(start, asked, reach, states)
        found += [row for row in rows if wanted.takes(row[1])]
        if len(found) > size or len(rows) < asked:
            return _cut(found, size)
        start, left = rows[-1][0], left - len(rows)
    return Page([item_of(notification) for _, notification in found], encode_cursor(NAME, start))


def _cut(rows: list[Row], size: int) -> Page[NotificationItem]:
    return cut(NAME, rows, size, lambda row: row[0], lambda row: item_of(row[1]))


def item_of(notification: Notification) -> NotificationItem:
    """A notification as lists show it."""
    return NotificationItem(**_fields(notification))


def document_of(notification: Notification) -> NotificationDocument:
    """A notification with its history, and what may be done to it."""
    steps = [
        NotificationStep(
            format_instant(step.at),
            step.state,
            step.by,
            step.rule or None,
            rule_text(step.rule),
            step.reason,
        )
        for step in notification.history
    ]
    return NotificationDocument(**_fields(notification), history=steps, actions=actions_of(notification))


def actions_of(notification: Notification) -> list[str]:
    """What the table allows in its state, of what somebody may ask for."""
    found = []
    for action in ("resend", "suppress"):
        try:
            move(notification, action, Instant(0), "")
        except Conflict:
            continue
        found.append(action)
    return found


class LastMessage(Document):
    """What a shopper was told last about an order."""

    id: str
    kind: str
    text: str
    sent_at: str
    channel: str | None


def last_messages(tx: Transaction, orders: Collection[tuple[str, str]]) -> dict[tuple[str, str], LastMessage]:
    """By (business product, order id) the newest notification that was sent; only those that have one."""
    found = tx.notifications.of_orders(orders)
    newest = {key: last for key, listed in found.items() if (last := last_sent(listed)) is not None}
    return {key: last_message(notification) for key, notification in newest.items()}


def last_sent(notifications: Iterable[Notification]) -> Notification | None:
    """The one of these that was sent last; None where none was."""
    return max((n for n in notifications if n.sent_at is not None), key=_sent_at, default=None)


def _sent_at(n: Notification) -> Instant:
    return n.sent_at or Instant(0)


def last_message(n: Notification) -> LastMessage:
    """A notification that was sent, as lists of orders show it."""
    text = notification_text(n.kind, "SENT", n.channel)
    return LastMessage(n.id, n.kind, text, format_instant(_sent_at(n)), n.channel)


def _fields(n: Notification) -> dict[str, Any]:
    return {
        "id": n.id,
        "business_product_id": n.business_product_id,
        "order_id": n.order_id,
        "delivery_id": n.delivery_id or None,
        "kind": n.kind,
        "ordinal": n.ordinal or None,
        "state": n.state,
        "text": notification_text(n.kind, n.state, n.channel),
        "rule": n.rule or None,
        "rule_text": rule_text(n.rule),
        "reason": n.reason or None,
        "occurred_at": format_instant(n.occurred_at),
        "decided_at": format_instant(n.decided_at),
        "due_at": format_instant(n.due_at) if n.state == "WAITING" else None,
        "sent_at": None if n.sent_at is None else format_instant(n.sent_at),
        "channel": n.channel,
        "locale": n.locale or None,
        "recipient": n.recipient or None,
        "covers": list(n.covers),
        "tries": n.tries,
        "by_hand": n.by_hand,
    }
