"""`/v1/orders/{orderId}/notes`: what people note about an order, for whoever looks at its timeline next.

A note is a record of the journal, not a fact: no state follows from it, and it is never sent to a subscriber nor
shown to a shopper. It can't be changed; it goes when its order goes. It shows as soon as the projector is past it.
"""

from typing import Annotated

import msgspec
import structlog
from litestar import get, post
from litestar.params import JSONBody
from msgspec import Meta

from milepost.domain.errors import Conflict, Invalid
from milepost.domain.instant import Instant, format_instant
from milepost.domain.record import Note, noted_subject, order_subject
from milepost.domain.timeline import Noted
from milepost.store import NewRecord, Transaction, View
from milepost.web.authentication import OPERATE, Caller
from milepost.web.context import Context, Hub
from milepost.web.documents import Document
from milepost.web.paging import After, Limit, Page, cut, decode_cursor, page_size
from milepost.web.problems import BODY_HANDLERS, problems
from milepost.web.reading import BusinessProduct, OrderId, Reach, decoded, find_view
from milepost.web.timeline import notes_of

ROAD = "api"
MOST_NOTES = 500
"""Of one order: a timeline that people read."""

log = structlog.get_logger()


class NoteRequest(Document, forbid_unknown_fields=True):
    """What to note."""

    text: Annotated[str, Meta(min_length=1, max_length=4_000)]
    author: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    """Who notes it, as your own system names them; the API key's id when left out."""
    delivery_id: Annotated[str, Meta(max_length=512)] | None = None
    """The delivery of the order that it is about, where it is about one."""


class NoteItem(Document):
    """A note about an order."""

    position: int
    order_id: str
    delivery_id: str | None
    text: str
    author: str
    at: str


@post(
    "/v1/orders/{order_id:str}/notes",
    summary="Note something about an order",
    tags=["Orders"],
    opt=OPERATE,
    exception_handlers=BODY_HANDLERS,
    responses=problems(403, 404, 409),
)
async def add_note(
    context: Hub,
    caller: Caller,
    order_id: OrderId,
    data: JSONBody[NoteRequest],
    business_product_id: BusinessProduct = None,
) -> NoteItem:
    """Answers 201 once it is journalled. An order takes 500 notes, then 409 `conflict`."""
    return await note(context, caller.reach(business_product_id), order_id, data, caller.id)


async def note(context: Context, reach: Reach, order_id: str, data: NoteRequest, author: str) -> NoteItem:
    """Journal a note about an order within `reach`, by `author` where the request names nobody. Raises `Invalid`,
    `NotFound`, `Ambiguous`, and `Conflict` when the order takes no more."""
    now = context.clock()
    if not data.text.strip():
        raise Invalid("text: there is nothing in it", field="text")

    def write(tx: Transaction) -> NoteItem:
        return put_note(tx, find_view(tx, "order", order_id, reach), data, author, now)

    item = await context.store.write(write)
    log.info("note.added", position=item.position, by=author)
    return item


def put_note(tx: Transaction, order: View, data: NoteRequest, author: str, now: Instant) -> NoteItem:
    """Journal a note about the order of this view; `author` when the note names none. Raises `Invalid` for a delivery
    that the order has not, `Conflict` where there are too many."""
    subject = noted_subject(order_subject(order.id))
    deliveries = {delivery["id"] for delivery in decoded(order)["deliveries"]}
    if data.delivery_id is not None and data.delivery_id not in deliveries:
        raise Invalid(f"Order {order.id!r} has no delivery {data.delivery_id!r}.", field="deliveryId")
    key = (order.business_product_id, subject)
    if len(tx.journal.positions_of([key], MOST_NOTES).get(key, ())) >= MOST_NOTES:
        raise Conflict(f"Order {order.id!r} has {MOST_NOTES} notes; it takes no more.", most=MOST_NOTES)
    note = Note(order.id, data.text, data.author or author, now, (subject,), data.delivery_id)
    record = NewRecord("note", order.business_product_id, "note", now, now, ROAD, msgspec.json.encode(note))
    return _item(Noted(tx.journal.add([record])[0], now, note))


@get(
    "/v1/orders/{order_id:str}/notes",
    summary="List the notes about an order",
    tags=["Orders"],
    responses=problems(404, 409),
)
async def list_notes(
    context: Hub,
    caller: Caller,
    order_id: OrderId,
    business_product_id: BusinessProduct = None,
    after: After = None,
    limit: Limit = 100,
) -> Page[NoteItem]:
    """Oldest first. They stand in the order's timeline too."""
    size, reach = page_size(limit), caller.reach(business_product_id)
    start = 0 if after is None else decode_cursor("note", after, int)

    def read(tx: Transaction) -> list[Noted]:
        view = find_view(tx, "order", order_id, reach)
        return [noted for noted in notes_of(tx, view.business_product_id, order_id) if noted.position > start]

    return cut("note", (await context.store.read(read))[: size + 1], size, lambda n: n.position, _item)


def _item(noted: Noted) -> NoteItem:
    note = noted.note
    at = format_instant(note.at)
    return NoteItem(noted.position, note.order_id, note.delivery_id, note.text, note.author, at)


HANDLERS = [add_note, list_notes]
