"""What was told because of one event: Milepost's own messages to subscribers, and what shoppers were told.

A fold compares what is known with what was last told, so nothing says which event led to a message. What is shown is
what was decided about the event's orders and trackers from when it came until the next event about them did; events
that come within `TOGETHER` of one another are told together.
"""

from collections.abc import Collection, Sequence

import msgspec
from msgspec import Struct

from milepost.domain.attempt import Destination, Message
from milepost.domain.instant import SECOND, Instant
from milepost.domain.notification import Notification
from milepost.domain.notification_wording import notification_text
from milepost.domain.record import Record, told_subject
from milepost.store import Transaction
from milepost.store.views import ViewKind
from milepost.web.attempts import visible_messages
from milepost.web.authentication import Principal

TOGETHER = 5 * SECOND
MOST_INTENTS = 10
MOST_NOTIFICATIONS = 20
MOST_MESSAGES = 50
"""About one record."""
_LOOKED_AT = 1_000
"""Records behind an event that are about the same."""

Key = tuple[str, str]
"""(business product, subject)."""


class Sent(Struct):
    """A message, and whom it went to (None: removed since)."""

    message: Message
    subscriber: Destination | None


class Intended(Struct):
    """Something that subscribers are told, and who of them was."""

    position: int
    type: str
    sent: Sequence[Sent]


class Notified(Struct):
    """A notification, in a sentence, and where the order's page has it."""

    text: str
    at: Instant
    order_id: str
    business_product_id: str


class Told(Struct):
    """What was told because of an event; empty where nothing was."""

    intended: Sequence[Intended]
    notified: Sequence[Notified]


def told_because(tx: Transaction, caller: Principal, record: Record, keys: Collection[Key]) -> Told:
    """`keys` are the orders and trackers that the event names."""
    keys = {*keys, *((record.business_product_id, order) for order in _orders_of(tx, keys))}
    until = _next_event(tx, record, keys)
    return Told(_intended(tx, caller, record, keys, until), _notified(tx, record, keys, until))


def orders_in(keys: Collection[Key]) -> set[tuple[str, str]]:
    """The orders among these, as (business product, order id)."""
    return {(bp, subject.removeprefix("order/")) for bp, subject in keys if subject.startswith("order/")}


def _orders_of(tx: Transaction, keys: Collection[Key]) -> set[str]:
    """The orders whose parcels these trackers carry."""
    trackers: list[tuple[ViewKind, str, str]] = [
        ("tracker", bp, s.removeprefix("tracker/")) for bp, s in keys if s.startswith("tracker/")
    ]
    documents = [msgspec.json.decode(view.document) for view in tx.views.get(trackers).values()]
    return {f"order/{each['orderId']}" for document in documents for each in document["orders"]}


def sent_at(tx: Transaction, caller: Principal, position: int) -> list[Sent]:
    """The messages about the record at a position, of the caller's subscribers."""
    messages = tx.attempts.messages(None, MOST_MESSAGES, position=position)
    seen = visible_messages(tx, caller, messages)
    subscribers = tx.attempts.destinations_of({message.destination_id for message in seen})
    return [Sent(message, subscribers.get(message.destination_id)) for message in seen]


def _next_event(tx: Transaction, record: Record, keys: Collection[Key]) -> Instant | None:
    """When the next event about the same came that did not come together with this one."""
    together = record.received_at + TOGETHER
    return min(
        (r.received_at for r in _behind(tx, record, keys) if r.kind == "event" and r.received_at > together),
        default=None,
    )


def _behind(tx: Transaction, record: Record, keys: Collection[Key]) -> list[Record]:
    """The first records behind this one that are about these."""
    listed = tx.journal.positions_of(keys, _LOOKED_AT, after=record.position).values()
    records = tx.journal.records({position for positions in listed for position in positions})
    return [records[position] for position in sorted(records)]


def _intended(
    tx: Transaction, caller: Principal, record: Record, keys: Collection[Key], until: Instant | None
) -> list[Intended]:
    told = [(bp, told_subject(subject)) for bp, subject in keys]
    intents = [r for r in _behind(tx, record, told) if until is None or r.received_at < until]
    return [
        Intended(intent.position, intent.type, sent_at(tx, caller, intent.position))
        for intent in intents[:MOST_INTENTS]
    ]


def _notified(
    tx: Transaction, record: Record, keys: Collection[Key], until: Instant | None
) -> list[Notified]:
    listed = [n for several in tx.notifications.of_orders(orders_in(keys)).values() for n in several]
    mine = [
        n for n in listed if record.received_at <= n.decided_at and (until is None or n.decided_at < until)
    ]
    return [_sentence(n) for n in sorted(mine, key=lambda n: n.decided_at)[:MOST_NOTIFICATIONS]]


def _sentence(n: Notification) -> Notified:
    text = notification_text(n.kind, n.state, n.channel)
    return Notified(text, n.sent_at or n.decided_at, n.order_id, n.business_product_id)
