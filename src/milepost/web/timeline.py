"""`/v1/orders/{orderId}/timeline`: everything that happened to an order, as a merchant shows it in its order history.

Merged over the order, its deliveries and trackers, its captures, conditions, notes and notifications. It is put
together when asked for, from the same facts that the folds read; the entries and their sentences are
`domain.timeline`'s.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import msgspec
from litestar import Response, get
from msgspec import Struct

from milepost.domain.capture import Capture
from milepost.domain.instant import Instant
from milepost.domain.notification import Notification
from milepost.domain.record import Note, noted_subject, order_subject
from milepost.domain.timeline import Entry, Noted, SortKey, sort_key, timeline
from milepost.pipeline.loaded import LoadedOrder
from milepost.store import Transaction, View
from milepost.web.authentication import Caller
from milepost.web.context import Hub
from milepost.web.documents import TimelineDocument
from milepost.web.paging import MAX_LIMIT, After, Limit, Page, cut, decode_cursor, page_size
from milepost.web.problems import problems
from milepost.web.reading import (
    AsOf,
    BusinessProduct,
    OrderId,
    capture_then,
    find_view,
    notification_then,
    order_then,
    parse_as_of,
    respond,
)

Cursor = tuple[SortKey, int]
"""Where a page ended: what its last entry stands by, and which it was of those that stand by the same."""


@get(
    "/v1/orders/{order_id:str}/timeline",
    summary="Show an order's timeline",
    tags=["Orders"],
    responses=problems(404, 409),
)
async def get_timeline(
    context: Hub,
    caller: Caller,
    order_id: OrderId,
    business_product_id: BusinessProduct = None,
    as_of: AsOf = None,
    after: After = None,
    limit: Limit = MAX_LIMIT,
) -> Response[Page[TimelineDocument]]:
    """Everything that is known to have happened to the order, its packages and its payment, oldest first; notes, and
    what the shopper was told or was not, too. Nearly every order's fits one page."""
    reach, at = caller.reach(business_product_id), parse_as_of(as_of)
    size = page_size(limit)
    start = None if after is None else decode_cursor("timeline", after, tuple[SortKey, int])

    def read(tx: Transaction) -> Page[Any]:
        view = find_view(tx, "order", order_id, reach)
        entries = _numbered(known_of(tx, view, at).entries())
        rest = [entry for entry in entries if start is None or entry[0] > start]
        return cut("timeline", rest[: size + 1], size, lambda entry: entry[0], lambda entry: entry[1])

    return respond(await context.store.read(read))


class Known(Struct, frozen=True):
    """What is known of an order at one time: its fold, and what the ledgers and people say of it."""

    loaded: LoadedOrder
    captures: Sequence[Capture]
    notes: Sequence[Noted]
    notifications: Sequence[Notification]

    def received(self) -> dict[int, Instant]:
        """When each record of the order and its trackers was received, by position."""
        facts = [self.loaded.facts, *self.loaded.tracker_facts.values()]
        found = {fact.position: fact.received_at for listed in facts for fact in listed}
        return found | {noted.position: noted.received_at for noted in self.notes}

    def entries(self) -> list[Entry]:
        """The order's timeline, oldest first."""
        return timeline(
            self.loaded.facts,
            self.loaded.trackers,
            self.loaded.tracker_facts,
            self.loaded.order.deliveries,
            self.captures,
            self.notes,
            self.notifications,
        )


def known_of(tx: Transaction, view: View, as_of: Instant | None) -> Known:
    """What is known of an order now, or was by `as_of`. Raises `NotFound` for a time before anything was."""
    key = (view.business_product_id, view.id)
    captures = tx.ledger.captures_of_orders([key]).get(key, [])
    told = tx.notifications.of_orders([key]).get(key, [])
    return Known(
        order_then(tx, view, as_of),
        captures if as_of is None else [c for each in captures if (c := capture_then(each, as_of))],
        notes_of(tx, *key, as_of),
        told if as_of is None else [n for each in told if (n := notification_then(each, as_of))],
    )


def notes_of(
    tx: Transaction, business_product_id: str, order_id: str, as_of: Instant | None = None
) -> list[Noted]:
    """The notes about an order that were journalled by then, oldest first."""
    key = (business_product_id, noted_subject(order_subject(order_id)))
    return [
        Noted(record.position, record.received_at, msgspec.json.decode(record.body, type=Note))
        for record in tx.journal.of_subjects([key]).get(key, ())
        if as_of is None or record.received_at <= as_of
    ]


def _numbered(entries: Sequence[Entry]) -> list[tuple[Cursor, Entry]]:
    return [
        ((key, number), entry)
        for key, equal in groupby(entries, sort_key)
        for number, entry in enumerate(equal)
    ]


HANDLERS = [get_timeline]
