"""`/v1/notifications/preview`: how a notification reads, before anybody gets it. Nothing is sent and nothing kept."""

from typing import Annotated, Any, Literal

from litestar import Response, get
from litestar.params import QueryParameter

from milepost.shopper.catalogues import nearest
from milepost.shopper.composing import Composed
from milepost.shopper.previewing import preview_order, preview_sample
from milepost.store import Transaction
from milepost.web.authentication import Caller
from milepost.web.context import Hub
from milepost.web.problems import problems
from milepost.web.reading import BusinessProduct, decoded, find_view

POLICY = "; ".join(
    (
        "default-src 'none'",
        # A mail's styles stand in its tags; nothing else of it does anything.
        "style-src 'unsafe-inline'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "sandbox",
    )
)


@get(
    "/v1/notifications/preview",
    summary="Show how a notification reads",
    tags=["Notifications"],
    responses=problems(404, 409),
)
async def preview_notification(
    context: Hub,
    caller: Caller,
    kind: Annotated[
        str, QueryParameter(name="kind", description="A kind, or `digest`.", max_length=32, required=True)
    ],
    locale: Annotated[
        str | None,
        QueryParameter(name="locale", description="The language; the shop's when left out.", max_length=16),
    ] = None,
    format: Annotated[
        Literal["html", "text", "json"],
        QueryParameter(name="format", description="html (a page), text, or json (all of it)."),
    ] = "html",
    order_id: Annotated[
        str | None,
        QueryParameter(
            name="orderId", description="Of this order; of a sample when left out.", max_length=512
        ),
    ] = None,
    delivery_id: Annotated[
        str | None,
        QueryParameter(name="deliveryId", description="With `orderId`: of this delivery.", max_length=512),
    ] = None,
    business_product_id: BusinessProduct = None,
) -> Response[Composed]:
    """As it would be composed now, with links that lead nowhere. `json` has subject, both parts of the mail, and the
    `document` that a webhook of your own is posted."""
    reach, shop = caller.reach(business_product_id), context.shop
    language = locale or nearest(shop.locale)
    if order_id is None:
        return _shown(preview_sample(kind, language, shop.brand), format)
    wanted, now = order_id, context.clock()

    def read(tx: Transaction) -> Composed:
        view = find_view(tx, "order", wanted, reach)
        key = (view.business_product_id, view.id)
        told = tx.notifications.of_orders([key]).get(key, [])
        return preview_order(decoded(view), told, kind, delivery_id, language, shop.brand, now)

    return _shown(await context.store.read(read), format)


def _shown(composed: Composed, format: str) -> Response[Any]:
    if format == "json":
        return Response(composed)
    if format == "text":
        return Response(composed.text, media_type="text/plain")
    return Response(composed.html, media_type="text/html", headers={"Content-Security-Policy": POLICY})


HANDLERS = [preview_notification]
