"""`/track`: an order's page for a shopper who has no link, by the order's number and the email address it was placed
with.

Both must fit, and what does not fit is not told. Guessing is held back: a few tries for each number, some for each
address that is not a proxy's, and a limit on all of them together. The page then opens under a link that is good for
a day.
"""

import hashlib
import hmac
from typing import Annotated, Any

import structlog
from litestar import Request, Response, get, post
from litestar.params import QueryParameter

from milepost.domain.errors import NotFound
from milepost.domain.instant import DAY, SECOND, Instant
from milepost.domain.tracking_token import Link, make_token
from milepost.shopper.catalogues import LOCALES
from milepost.shopper.tracking import Trouble, lookup_page
from milepost.store import Transaction, View
from milepost.web.authentication import PUBLIC
from milepost.web.context import Context, Hub
from milepost.web.problems import problems
from milepost.web.reading import decoded
from milepost.web.remote import address_of
from milepost.web.shopper_pages import HTML, answer, asked

GOOD_FOR = DAY
LONGEST = 200
MOST_FOUND = 50
"""Views that one number leads to and that are looked at."""

log = structlog.get_logger()


def can_look_up(context: Context) -> bool:
    """Whether orders may be looked up here: it is not switched off, and links can be made."""
    return context.shop.lookup and bool(context.tracking_secrets)


@get(
    "/track",
    summary="Show the form that finds a shopper's order",
    tags=["Orders"],
    opt=PUBLIC,
    media_type=HTML,
    responses=problems(404),
)
async def show_form(
    context: Hub,
    request: Request[Any, Any, Any],
    lang: Annotated[
        str | None, QueryParameter(description=f"The page's language: {', '.join(LOCALES)}.")
    ] = None,
) -> Response[str]:
    """A page that asks for the order's number and the email address. 404 while lookups are switched off."""
    if not can_look_up(context):
        raise NotFound("There is nothing at this path.")
    return _form(context, request, "", "")


@post(
    "/track",
    summary="Find a shopper's order",
    tags=["Orders"],
    opt=PUBLIC,
    media_type=HTML,
    status_code=200,
    responses=problems(404),
)
async def look_up(context: Hub, request: Request[Any, Any, Any]) -> Response[str]:
    """A form with `number` and `email`. 303 to the order's page; 404 with the form when nothing fits both, 429 when
    it was tried too often."""
    if not can_look_up(context):
        raise NotFound("There is nothing at this path.")
    form = await request.form()
    number, email = (str(form.get(name) or "").strip()[:LONGEST] for name in ("number", "email"))
    number = number.removeprefix("#").strip()
    if not number or "\x00" in number:
        return _form(context, request, "unknown", number, 404)
    now, address = context.clock(), address_of(request, context.proxies)
    if not context.lookups.take(number.lower(), address, now):
        log.warning("lookup.too_many")
        return _form(context, request, "too_many", number, 429)
    found = await context.store.read(lambda tx: _find(tx, number, email))
    if found is None:
        return _form(context, request, "unknown", number, 404)
    expires_at = Instant(now // SECOND * SECOND + GOOD_FOR)
    token = make_token(context.tracking_secrets[0], Link(found.business_product_id, found.id, expires_at))
    lang = request.query_params.get("lang")
    query = f"?lang={lang}" if lang in LOCALES else ""
    return Response("", status_code=303, media_type=HTML, headers={"Location": f"/track/{token}{query}"})


def _form(
    context: Context, request: Request[Any, Any, Any], trouble: Trouble, number: str, status: int = 200
) -> Response[str]:
    shop = context.shop
    return answer(lookup_page(asked(request, shop.locale), shop.brand, trouble, number), status)


def _find(tx: Transaction, number: str, email: str) -> View | None:
    """The order that goes by this number, its own or the shop's, and was placed with this address."""
    wanted = number.lower()
    matches = [m for m in tx.views.search(wanted, MOST_FOUND, None) if m.kind == "order" and m.term == wanted]
    views = tx.views.get([("order", m.business_product_id, m.id) for m in matches])
    fitting = [view for view in views.values() if _fits(decoded(view), wanted, email)]
    return fitting[0] if len(fitting) == 1 else None


def _fits(order: dict[str, Any], number: str, email: str) -> bool:
    names = {order["id"].lower(), *(alias["aliasId"].lower() for alias in order["aliases"])}
    known = (order.get("customer") or {}).get("email") or ""
    same = hmac.compare_digest(_hash(known), _hash(email))
    return same and bool(known) and number in names


def _hash(email: str) -> bytes:
    return hashlib.sha256(email.strip().casefold().encode()).digest()


HANDLERS = [show_form, look_up]
