"""What an agent does on an order's page: notes, messages sent again, the shopper's page, a ready reply, and a record
as it came.

Each form writes by the same function as the API (`web.notes`, `web.notifications`, `web.tracking`), in the name of
the visitor, which stands with the note, in the message's history or in the log.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import msgspec
from litestar import Request, Response, get, post
from litestar.params import PathParameter, QueryParameter

from milepost.domain.errors import Invalid, NotFound
from milepost.domain.notification import Notification
from milepost.domain.record import Record
from milepost.shopper.catalogues import LOCALES, nearest
from milepost.shopper.page import LANGUAGES as NAMED
from milepost.shopper.replying import reply
from milepost.store import Transaction
from milepost.web.console.forms import read_form, see_folded, see_other
from milepost.web.console.order_links import ASKING, Here
from milepost.web.console.pages import ERRORS, page
from milepost.web.console.telling import only_one, tell, tell_of_order
from milepost.web.context import Context, Hub
from milepost.web.notes import NoteRequest, note
from milepost.web.notifications import CONSENT, ResendRequest, resend
from milepost.web.reading import BusinessProduct, OrderId, Reach, decoded, find_view
from milepost.web.timeline import known_of
from milepost.web.tracking import USUAL_DAYS, TrackingLink, link_to, page_address
from milepost.web.visiting import Looking, Visitor, needs

LANGUAGES: Final[Mapping[str, str]] = {locale: NAMED[locale] for locale in LOCALES}
"""In which a reply can be written, as their speakers name them."""
LONGEST_NOTE: Final = 4_000


def language_of(told: Sequence[Notification], otherwise: str) -> str:
    """The shopper's language: that of the last message they were sent, else the shop's."""
    return nearest(next((n.locale for n in reversed(told) if n.locale), otherwise))


@post(
    "/orders/{order_id:str}/notes",
    opt=needs("serve"),
    status_code=303,
    exception_handlers=ERRORS,
    include_in_schema=False,
)
async def add_note(
    context: Hub,
    request: Request[Any, Any, Any],
    visitor: Looking,
    order_id: OrderId,
    business_product_id: BusinessProduct = None,
) -> Response[str]:
    form = await read_form(request, visitor)
    text = form.get("text", "")
    if len(text) > LONGEST_NOTE:
        raise Invalid(
            f"A note has at most {LONGEST_NOTE} characters; this one has {len(text)}.", field="text"
        )
    about = NoteRequest(text, delivery_id=form.get("delivery") or None)
    reach = visitor.reach(business_product_id)
    noted = await note(context, reach, order_id, about, visitor.name)
    await tell_of_order(context, visitor, "note.added", order_id, reach, {"position": noted.position})
    return await see_folded(context, f"{Here(order_id, business_product_id).path(done='noted')}#timeline")


@post(
    "/orders/{order_id:str}/resend",
    opt=needs("serve"),
    status_code=303,
    exception_handlers=ERRORS,
    include_in_schema=False,
)
async def send_again(
    context: Hub,
    request: Request[Any, Any, Any],
    visitor: Looking,
    order_id: OrderId,
    business_product_id: BusinessProduct = None,
) -> Response[str]:
    form = await read_form(request, visitor)
    reach, wanted = visitor.reach(business_product_id), form.get("notification", "")

    def known(tx: Transaction) -> frozenset[str]:
        """Its business product. Raises `NotFound` for a message that is not about this order."""
        product = find_view(tx, "order", order_id, reach).business_product_id
        told = tx.notifications.of_orders([(product, order_id)])
        if wanted not in {n.id for n in told.get((product, order_id), ())}:
            raise NotFound("This order has no such message.")
        return frozenset({product})

    product = await context.store.read(known)
    asked = ResendRequest(form.get("reason", "")[:500], CONSENT if form.get("acknowledge") == "on" else "")
    await resend(context, product, wanted, asked, visitor.name)
    about = {"order": order_id, "consent": asked.acknowledge or None}
    await tell(context, visitor, "notification.resent", wanted, about, product=only_one(product))
    return see_other(f"{Here(order_id, business_product_id).path(done='resent')}#messages")


@post(
    "/orders/{order_id:str}/shopper-page",
    opt=needs("serve"),
    status_code=303,
    exception_handlers=ERRORS,
    include_in_schema=False,
)
async def open_shopper_page(
    context: Hub,
    request: Request[Any, Any, Any],
    visitor: Looking,
    order_id: OrderId,
    business_product_id: BusinessProduct = None,
) -> Response[str]:
    """The page that the shopper sees, by a new link. On this host: the page's policy lets a form lead to no other."""
    await read_form(request, visitor)
    link = await _new_link(context, visitor, order_id, business_product_id)
    return see_other(f"/track/{link.token}")


async def _new_link(
    context: Context, visitor: Visitor, order_id: str, business_product_id: str | None
) -> TrackingLink:
    reach = visitor.reach(business_product_id)
    link = await link_to(context, reach, order_id, USUAL_DAYS, visitor.name)
    told = {"expiresAt": link.expires_at}
    await tell_of_order(context, visitor, "trackingLink.made", order_id, reach, told)
    return link


@get("/orders/{order_id:str}/reply", opt=needs("serve"), exception_handlers=ASKING, include_in_schema=False)
async def show_reply(
    context: Hub,
    request: Request[Any, Any, Any],
    visitor: Looking,
    order_id: OrderId,
    business_product_id: BusinessProduct = None,
    locale: Annotated[str | None, QueryParameter(name="locale", max_length=16)] = None,
) -> Response[str]:
    """A text for the shopper, in a language of their own."""
    return await _reply_page(context, request, visitor, order_id, business_product_id, locale)


@post(
    "/orders/{order_id:str}/reply",
    opt=needs("serve"),
    status_code=200,
    exception_handlers=ERRORS,
    include_in_schema=False,
)
async def show_reply_with_link(
    context: Hub,
    request: Request[Any, Any, Any],
    visitor: Looking,
    order_id: OrderId,
    business_product_id: BusinessProduct = None,
) -> Response[str]:
    """The same with a new link to the shopper's page in it; whoever has the link sees the page for 90 days."""
    form = await read_form(request, visitor)
    link = await _new_link(context, visitor, order_id, business_product_id)
    address = page_address(context, link)
    if address.startswith("/"):
        address = f"{str(request.base_url).rstrip('/')}{address}"
    locale = form.get("locale")
    return await _reply_page(context, request, visitor, order_id, business_product_id, locale, address)


async def _reply_page(
    context: Context,
    request: Request[Any, Any, Any],
    visitor: Visitor,
    order_id: str,
    business_product_id: str | None,
    locale: str | None,
    link: str | None = None,
) -> Response[str]:
    reach, now = visitor.reach(business_product_id), context.clock()

    def read(tx: Transaction) -> tuple[str, str]:
        view = find_view(tx, "order", order_id, reach)
        key = (view.business_product_id, view.id)
        told = tx.notifications.of_orders([key]).get(key, [])
        language = nearest(locale) if locale else language_of(told, context.shop.locale)
        return language, reply(decoded(view), language, context.shop.brand, now, link)

    language, text = await context.store.read(read)
    return page(
        request,
        visitor,
        "order_reply.html",
        now=now,
        links=Here(order_id, business_product_id),
        reply=text,
        language=language,
        languages=LANGUAGES,
        links_on=bool(context.tracking_secrets),
        linked=link is not None,
    )


@get(
    "/orders/{order_id:str}/records/{position:int}",
    opt=needs("serve"),
    exception_handlers=ASKING,
    include_in_schema=False,
)
async def show_record(
    context: Hub,
    request: Request[Any, Any, Any],
    visitor: Looking,
    order_id: OrderId,
    position: Annotated[int, PathParameter(ge=1)],
    business_product_id: BusinessProduct = None,
) -> Response[str]:
    """One of the order's records with its body as it was received."""
    reach = visitor.reach(business_product_id)
    record = await context.store.read(lambda tx: _record(tx, order_id, position, reach))
    return page(
        request,
        visitor,
        "order_record.html",
        now=context.clock(),
        links=Here(order_id, business_product_id),
        record=record,
        body=_pretty(record.body),
        may_operate=visitor.may("operate"),
    )


def _record(tx: Transaction, order_id: str, position: int, reach: Reach) -> Record:
    """A record of the order, its trackers or its notes. Raises `NotFound` for others: they may be somebody else's."""
    known = known_of(tx, find_view(tx, "order", order_id, reach), None)
    record = tx.journal.records([position]).get(position) if position in known.received() else None
    if record is None:
        raise NotFound(f"Order {order_id!r} has no record {position}.")
    return record


def _pretty(body: bytes) -> str:
    try:
        return msgspec.json.format(body, indent=2).decode("utf-8", "replace")
    except msgspec.MsgspecError:
        return body.decode("utf-8", "replace")


HANDLERS = [add_note, send_again, open_shopper_page, show_reply, show_reply_with_link, show_record]
