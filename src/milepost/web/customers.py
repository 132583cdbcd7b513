"""`/v1/customers`: the orders of one email address, for a helpdesk's panel beside a ticket.

Each is listed as search lists it, with where to go on and a reply that an agent can send. An order of the address is
one whose newest contact has it; case does not matter.
"""

from typing import Annotated, Any

from litestar import Response, get
from litestar.params import QueryParameter

from milepost.domain.errors import Forbidden, Invalid
from milepost.domain.instant import Instant
from milepost.shopper.catalogues import is_spoken
from milepost.shopper.replying import reply
from milepost.store import Found, Transaction, View
from milepost.web.authentication import RANK, Caller
from milepost.web.context import Context, Hub, Shop
from milepost.web.documents import Alias, Document
from milepost.web.notification_documents import last_messages
from milepost.web.paging import Limit, Page, page_size
from milepost.web.problems import problems
from milepost.web.reading import BusinessProduct, Reach, decoded, path_of
from milepost.web.search import SearchItem, item_of, term_of
from milepost.web.tracking import USUAL_DAYS, link_to, page_address

LOOKED_AT = 500
"""Orders of one address that are looked through for the newest; hardly anybody has so many."""


class CustomerLinks(Document):
    """Where to go on. Paths are on this hub."""

    console: str
    """The order's page, for an agent."""
    order: str
    """The order in this API."""
    shopper: str | None
    """The shopper's page, where it was asked for: a new link, good for 90 days, for whoever has it."""


class CustomerOrder(SearchItem):
    """An order, as a helpdesk shows it beside a ticket."""

    aliases: list[Alias]
    created_at: str | None
    links: CustomerLinks
    reply: str
    """Plain text for the shopper: how each delivery stands and when it is expected."""


@get(
    "/v1/customers",
    summary="List the orders of an email address, for a helpdesk",
    tags=["Search"],
    responses=problems(403, 409),
)
async def list_customer_orders(
    context: Hub,
    caller: Caller,
    email: Annotated[
        str, QueryParameter(name="email", description="The customer's address; case does not matter.")
    ],
    business_product_id: BusinessProduct = None,
    locale: Annotated[
        str | None,
        QueryParameter(name="locale", description="Of the replies; the shop's when left out.", max_length=16),
    ] = None,
    shopper_page: Annotated[
        bool, QueryParameter(name="shopperPage", description="Make a link to the shopper's page of each.")
    ] = False,
    limit: Limit = 10,
) -> Response[Page[CustomerOrder]]:
    """Those with the newest facts first, looked for among at most 500 orders of the address. There is one page;
    `next` is always null. An address that nobody ordered with has none. `shopperPage` needs scope operate; 409
    `conflict` says when no links can be made."""
    reach, address, size = caller.reach(business_product_id), _address(email), page_size(limit)
    language = locale or context.shop.locale
    if not is_spoken(language):
        raise Invalid(f"there are no texts in {language!r}", field="locale")
    if shopper_page and RANK[caller.scope] < RANK["operate"]:
        raise Forbidden("Links to shoppers' pages need a key of scope operate.", scope="operate")
    now = context.clock()
    items = await context.store.read(
        lambda tx: _orders(tx, address, size, reach, context.shop, language, now)
    )
    if shopper_page:
        for item in items:
            await _add_page(context, item, language, caller.id)
    shown: list[Any] = [_shown(item) for item in items]
    return Response(Page(shown, None))


def _address(email: str) -> str:
    address = term_of(email)
    if "@" not in address:
        raise Invalid("email is no email address", field="email")
    return address


def _orders(
    tx: Transaction, address: str, size: int, reach: Reach, shop: Shop, language: str, now: Instant
) -> list[dict[str, Any]]:
    found: dict[Any, Found] = {
        (match.kind, match.business_product_id, match.id): match
        for match in tx.views.search(address, LOOKED_AT, reach)
        if match.term == address and match.kind == "order"
    }
    views = sorted(tx.views.get(list(found)).values(), key=_newest_first)
    rows = [(view, decoded(view)) for view in views]
    rows = [(view, document) for view, document in rows if _email(document) == address][:size]
    told = last_messages(tx, {(view.business_product_id, view.id) for view, _ in rows})
    return [
        item_of(view, found[view.kind, view.business_product_id, view.id], document)
        | {
            "lastMessage": told.get((view.business_product_id, view.id)),
            "aliases": document["aliases"],
            "createdAt": document["createdAt"],
            "links": _links(view),
            "reply": reply(document, language, shop.brand, now),
            "document": document,
        }
        for view, document in rows
    ]


def _newest_first(view: View) -> tuple[int, str, str]:
    return -view.position, view.business_product_id, view.id


def _email(document: dict[str, Any]) -> str:
    return ((document["customer"] or {}).get("email") or "").lower()


def _links(view: View) -> dict[str, str | None]:
    product = view.business_product_id
    return {
        "console": path_of("orders", view.id, businessProductId=product),
        "order": path_of("v1", "orders", view.id, businessProductId=product),
        "shopper": None,
    }


async def _add_page(context: Context, item: dict[str, Any], language: str, by: str) -> None:
    reach = frozenset({item["businessProductId"]})
    link = await link_to(context, reach, item["id"], USUAL_DAYS, by)
    address = page_address(context, link)
    item["links"]["shopper"] = address
    item["reply"] = reply(item["document"], language, context.shop.brand, context.clock(), address)


def _shown(item: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in item.items() if name != "document"}


HANDLERS = [list_customer_orders]
