"""`/orders/{orderId}`: the page for whoever has a customer on the phone; `/deliveries/{deliveryId}` leads there.

It reads what the API's order, timeline and notifications read, now or as of then, so both say the same. Forms are
`order_actions`', why it is so is `order_why`'s.

Who may not serve customers (an analyst) sees what happened to an order and not to whom: no name, no address,
nothing that agents wrote (notes, reasons of corrections) and no record's body, since people are written of in them.
Everything else of the page is the same.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Final

from litestar import Request, Response, get
from litestar.params import QueryParameter
from msgspec import Struct

from milepost.domain.instant import Instant, format_instant
from milepost.domain.notification import Notification
from milepost.shopper.replying import reply
from milepost.store import Transaction
from milepost.web.console.forms import see_other
from milepost.web.console.order_actions import LANGUAGES, language_of
from milepost.web.console.order_answers import Answer, what_was_told, what_went_wrong, when_expected, where
from milepost.web.console.order_corrections import STATES, subjects_of
from milepost.web.console.order_links import ASKING, Here, named_products, parcel_anchor
from milepost.web.console.order_parcels import MOST_DELIVERIES, items_of, money_words, parcels_of
from milepost.web.console.order_then import instants_of, slider, step_at
from milepost.web.console.order_timeline import chosen, lanes_of
from milepost.web.console.pages import page
from milepost.web.console.wording import spoken
from milepost.web.context import Hub
from milepost.web.corrections import CorrectionItem, corrections_of
from milepost.web.corrections import item_of as correction_item
from milepost.web.notification_documents import actions_of, item_of
from milepost.web.notifications import may_be_known
from milepost.web.reading import (
    AsOf,
    BusinessProduct,
    DeliveryId,
    OrderId,
    Reach,
    decoded,
    find_view,
    order_document,
    parse_as_of,
)
from milepost.web.search import impersonal
from milepost.web.timeline import Known, known_of
from milepost.web.visiting import Looking, needs

MOST_MESSAGES: Final = 20
"""Notifications on the page, the newest; the timeline has them all."""
WRITTEN_BY_AGENTS: Final = frozenset({"note", "correction"})
"""Kinds of entries whose text somebody wrote who had a customer before them."""
ANSWER_ICONS: Final = {
    "Where is it?": "map-pin",
    "When does it come?": "calendar-clock",
    "What went wrong?": "triangle-alert",
    "What have we told the customer?": "message-square",
}
_DONE: Final = {
    "noted": "The note is kept.",
    "corrected": "The correction is kept.",
    "withdrawn": "The correction counts no longer.",
    "resent": "The message is sent again in a moment. What became of it stands below.",
}
"""What a form did."""


class _Read(Struct, frozen=True):
    """What one order's page is made of."""

    document: dict[str, Any]
    known: Known
    instants: Sequence[Instant]
    entries: list[dict[str, Any]]
    corrections: Sequence[CorrectionItem]


@get("/orders/{order_id:str}", opt=needs("orders"), exception_handlers=ASKING, include_in_schema=False)
async def order_page(
    context: Hub,
    request: Request[Any, Any, Any],
    visitor: Looking,
    order_id: OrderId,
    business_product_id: BusinessProduct = None,
    as_of: AsOf = None,
    moment: Annotated[int | None, QueryParameter(name="moment")] = None,
    lanes: Annotated[str | None, QueryParameter(name="lanes", max_length=200)] = None,
    delivery: Annotated[str | None, QueryParameter(name="delivery", max_length=512)] = None,
    start: Annotated[int, QueryParameter(name="start", ge=0)] = 0,
    done: Annotated[str | None, QueryParameter(name="done", max_length=32)] = None,
    found: Annotated[str | None, QueryParameter(name="found", max_length=256)] = None,
) -> Response[str]:
    """The page now, or as of a time; `moment` is a step of its slider, which leads to that time's address. `found` is
    the search that led straight here."""
    reach, here = visitor.reach(business_product_id), Here(order_id, business_product_id)
    at, now = parse_as_of(as_of or None), context.clock()
    read = await context.store.read(lambda tx: _read(tx, order_id, reach, at))
    if moment is not None:
        step = step_at(read.instants, moment)
        return see_other(here.path(asOf=None if step is None else format_instant(step)))
    document, entries, personal = read.document, read.entries, visitor.may("serve")
    if not personal:
        document = impersonal(document)
        entries = [entry for entry in entries if entry["kind"] not in WRITTEN_BY_AGENTS]
    on, told = chosen(lanes), read.known.notifications
    seen = now if at is None else at
    language = language_of(told, context.shop.locale)
    return page(
        request,
        visitor,
        "order.html",
        now=now,
        seen=seen,
        links=here,
        order=document,
        as_of=at,
        slider=slider(read.instants, at),
        answers=_answers(document, told, seen, context.notifying),
        answer_icons=ANSWER_ICONS,
        items=items_of(document),
        price=money_words(document["totalPrice"]),
        payment=_payment(document),
        parcels=parcels_of(document, seen),
        more_parcels=max(0, len(document["deliveries"]) - MOST_DELIVERIES),
        timeline=lanes_of(entries, document, read.known.received(), on, delivery, start),
        lanes=lanes,
        delivery=delivery,
        messages=[(item_of(n), actions_of(n), may_be_known(n)) for n in reversed(told[-MOST_MESSAGES:])],
        personal=personal,
        may_serve=personal and at is None,
        may_operate=visitor.may("operate"),
        language=language,
        languages=LANGUAGES,
        reply=reply(document, language, context.shop.brand, now) if personal and at is None else "",
        corrections=read.corrections[::-1],
        subjects=subjects_of(document),
        correction_states=STATES,
        links_on=bool(context.tracking_secrets),
        done=_DONE.get(done or "", ""),
        found=found,
    )


def _read(tx: Transaction, order_id: str, reach: Reach, at: Instant | None) -> _Read:
    view = find_view(tx, "order", order_id, reach)
    known = known_of(tx, view, at)
    now = known if at is None else known_of(tx, view, None)
    return _Read(
        order_document(tx, view, at, known.loaded),
        known,
        instants_of(now),
        known.entries(),
        [correction_item(each) for each in corrections_of(tx, view.business_product_id, order_id)],
    )


def _answers(
    order: dict[str, Any], told: Sequence[Notification], at: Instant, notifying: bool
) -> list[tuple[str, Answer]]:
    answers = (
        where(order, at),
        when_expected(order, at),
        what_went_wrong(order),
        what_was_told(told, notifying),
    )
    return list(zip(ANSWER_ICONS, answers, strict=True))


def _payment(order: dict[str, Any]) -> str:
    payment = order["payment"]
    return (
        ""
        if payment is None
        else ", ".join(filter(None, (spoken(payment["state"] or ""), money_words(payment["amount"]))))
    )


@get("/deliveries/{delivery_id:str}", opt=needs("orders"), exception_handlers=ASKING, include_in_schema=False)
async def delivery_page(
    context: Hub, visitor: Looking, delivery_id: DeliveryId, business_product_id: BusinessProduct = None
) -> Response[str]:
    """To the delivery on its order's page."""
    reach = visitor.reach(business_product_id)

    def read(tx: Transaction) -> str:
        view = find_view(tx, "delivery", delivery_id, reach)
        product = view.business_product_id
        named = business_product_id or (product if named_products(tx, visitor.business_products) else None)
        order = decoded(find_view(tx, "order", view.parent or "", frozenset({product})))
        ids = [each["id"] for each in order["deliveries"]]
        return f"{Here(order['id'], named).path()}#{parcel_anchor(ids.index(delivery_id) + 1)}"

    return see_other(await context.store.read(read))


HANDLERS = [order_page, delivery_page]
