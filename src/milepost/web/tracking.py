"""Signed links to an order: made for a merchant, followed by anybody who has one.

`POST /v1/orders/{orderId}/tracking-link` makes one; `/track/{token}` is the shopper's page, and needs no key.
`/track/{token}.json` is the status as JSON, and answers pages of any site (CORS). Without MILEPOST_TRACKING_SECRET
no link is made and none is good. What the page shows is `shopper.tracked`'s, what the JSON does `domain.status`'s,
what a token is `domain.tracking_token`'s.
"""

import hashlib
from typing import Annotated, Any

import structlog
from litestar import Request, Response, get, post
from litestar.datastructures import ResponseHeader
from litestar.exceptions import HTTPException
from litestar.params import JSONBody, PathParameter
from msgspec import Meta

from milepost.domain.errors import Conflict, MilepostError, NotFound
from milepost.domain.instant import DAY, SECOND, Instant, format_instant
from milepost.domain.status import status_of
from milepost.domain.tracking_token import Link, make_token, read_token
from milepost.shopper.page import StyledPage
from milepost.shopper.tracking import lost_page, tracking_page
from milepost.store import Transaction
from milepost.web import problems as wire
from milepost.web.authentication import OPERATE, PUBLIC, Caller
from milepost.web.context import Context, Hub
from milepost.web.documents import Document
from milepost.web.lookup import can_look_up
from milepost.web.problems import BODY_HANDLERS, problems
from milepost.web.reading import BusinessProduct, OrderId, Reach, decoded, find_view, respond
from milepost.web.shopper_pages import HTML, answer, asked
from milepost.web.status import StatusDocument

SUFFIX = ".json"
FRESH_S = 60
"""Seconds for which a browser shows a page again without asking."""
USUAL_DAYS, MOST_DAYS = 90, 366
"""90: so long a carrier keeps a number."""

OPEN = {
    "Access-Control-Allow-Origin": "*",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "X-Robots-Tag": "noindex",
}
"""What any site's page needs to read the answer. There is no cookie and no key that it could misuse."""

OPEN_HEADERS = [
    ResponseHeader(name=name, value=value, documentation_only=True) for name, value in OPEN.items()
]

log = structlog.get_logger()


class TrackingLinkRequest(Document, forbid_unknown_fields=True):
    """For how long the link is good."""

    days: Annotated[int, Meta(ge=1, le=MOST_DAYS)] = USUAL_DAYS


class TrackingLink(Document):
    """A link for one order's shopper. Whoever has it sees the status until it expires."""

    token: str
    path: str
    """Of the status as JSON, on this hub; put your own address of it in front."""
    page: str
    """Of the shopper's page."""
    expires_at: str


@post(
    "/v1/orders/{order_id:str}/tracking-link",
    summary="Make a link to an order's status",
    tags=["Orders"],
    opt=OPERATE,
    exception_handlers=BODY_HANDLERS,
    responses=problems(403, 404, 409),
)
async def make_link(
    context: Hub,
    caller: Caller,
    order_id: OrderId,
    data: JSONBody[TrackingLinkRequest | None] = None,
    business_product_id: BusinessProduct = None,
) -> TrackingLink:
    """Good for 90 days unless `days` says otherwise. Nothing is stored: a link ends when it expires, or when the
    secret that signed it is taken away. 409 `conflict` while no secret is set."""
    days = USUAL_DAYS if data is None else data.days
    return await link_to(context, caller.reach(business_product_id), order_id, days, caller.id)


async def link_to(context: Context, reach: Reach, order_id: str, days: int, by: str) -> TrackingLink:
    """A link to an order within `reach`, good for so many days, because `by` asked for it. Raises `NotFound`,
    `Ambiguous`, and `Conflict` while no secret is set."""
    secrets = context.tracking_secrets
    view = await context.store.read(lambda tx: find_view(tx, "order", order_id, reach))
    if not secrets:
        raise Conflict(
            "Tracking links are switched off. Set MILEPOST_TRACKING_SECRET to 32 characters or more."
        )
    expires_at = Instant((context.clock() // SECOND) * SECOND + days * DAY)
    token = make_token(secrets[0], Link(view.business_product_id, order_id, expires_at))
    log.info("tracking.link_made", by=by, days=days)
    page = f"/track/{token}"
    return TrackingLink(token, f"{page}{SUFFIX}", page, format_instant(expires_at))


def page_address(context: Context, link: TrackingLink) -> str:
    """Where the shopper's page of a link is: under the address by which shoppers reach this hub, if it is set."""
    base = (context.shop.brand.public_url or "").rstrip("/")
    return f"{base}{link.page}"


def _is_json(request: Request[Any, Any, Any]) -> bool:
    return request.url.path.endswith(SUFFIX)


def _milepost_error(request: Request[Any, Any, Any], error: MilepostError) -> Response[Any]:
    """Readable by the page that asked; for a person a page."""
    if _is_json(request):
        return _open(wire.of_milepost(request, error))
    return _lost(request) if isinstance(error, NotFound) else wire.of_milepost(request, error)


def _framework_error(request: Request[Any, Any, Any], error: HTTPException) -> Response[Any]:
    if _is_json(request):
        return _open(wire.of_framework(request, error))
    return _lost(request) if error.status_code == 404 else wire.of_framework(request, error)


def _open(answer: Response[Any]) -> Response[Any]:
    answer.headers.update(OPEN)
    return answer


def _lost(request: Request[Any, Any, Any]) -> Response[str]:
    context: Context = request.app.state.context
    shop, can = context.shop, can_look_up(context)
    return answer(lost_page(asked(request, shop.locale), shop.brand, can_look_up=can), 404)


@get(
    "/track/{token:str}",
    summary="Show an order to whoever has its link",
    tags=["Orders"],
    opt=PUBLIC,
    exception_handlers={MilepostError: _milepost_error, HTTPException: _framework_error},
    response_headers=OPEN_HEADERS,
    responses=problems(404),
)
async def track(
    context: Hub,
    request: Request[Any, Any, Any],
    token: Annotated[
        str, PathParameter(description="The link's token, and `.json` behind it.", max_length=4_096)
    ],
) -> Response[StatusDocument]:
    """With `.json` behind the token the order's status, as `/v1/orders/{orderId}/status` shows it; without it the
    shopper's page, in the language of the browser or of `?lang=`. 404 for a link that is not good, not good any more,
    or of an order that is gone: which of them is not told."""
    link = read_token(context.tracking_secrets, token.removesuffix(SUFFIX), context.clock())

    def read(tx: Transaction) -> dict[str, Any]:
        return decoded(find_view(tx, "order", link.order_id, frozenset({link.business_product_id})))

    try:
        order = await context.store.read(read)
    except NotFound as e:
        raise NotFound("This tracking link is not valid, or not any more.") from e
    if _is_json(request):
        return _open(respond(status_of(order)))
    shop = context.shop
    page = tracking_page(order, asked(request, shop.locale), shop.brand, context.clock())
    return _cached(request, page)


def _cached(request: Request[Any, Any, Any], page: StyledPage) -> Response[Any]:
    """A browser may keep it for a minute, and ask after that whether it is still so. Nobody between may keep it: its
    address is a secret."""
    tag = f'"{hashlib.sha256(page.html.encode()).hexdigest()[:32]}"'
    headers = {"Cache-Control": f"private, max-age={FRESH_S}", "ETag": tag}
    if request.headers.get("if-none-match") == tag:
        return Response("", status_code=304, media_type=HTML, headers=headers | {"Vary": "Accept-Language"})
    return answer(page, 200, headers)


HANDLERS = [make_link, track]
