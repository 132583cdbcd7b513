"""`/v1/orders`, `/v1/deliveries`, `/v1/trackers`: lists of views, and one of them now or as it stood.

Explanations are `explanations`', an order's timeline is `timeline`'s.
"""

from typing import Annotated, Any

from litestar import Response, get
from litestar.params import QueryParameter

from milepost.store import Transaction, View, ViewKind
from milepost.web.authentication import Caller
from milepost.web.context import Hub
from milepost.web.documents import DeliveryDocument, OrderDocument, TrackerDocument
from milepost.web.paging import After, Limit, Page, cut, decode_cursor, page_size
from milepost.web.problems import problems
from milepost.web.reading import (
    AsOf,
    BusinessProduct,
    CarrierCode,
    DeliveryId,
    Join,
    OrderId,
    Reach,
    TrackingNumber,
    decoded,
    delivery_then,
    find_view,
    join_deliveries,
    join_orders,
    join_trackers,
    order_document,
    order_then,
    parse_as_of,
    respond,
    tracker_document,
    tracker_id,
)

State = Annotated[
    str | None, QueryParameter(name="state", description="Only views in this state.", max_length=64)
]

Key = tuple[int, str, str]
"""(first-seen number, business product, id): where a page of views ended."""

JOINS: dict[ViewKind, Join] = {"order": join_orders, "delivery": join_deliveries, "tracker": join_trackers}


async def _page(
    context: Hub, kind: ViewKind, reach: Reach, state: str | None, after: str | None, limit: int
) -> Response[Any]:
    size = page_size(limit)
    start = None if after is None else decode_cursor(kind, after, tuple[int, str, str])

    def read(tx: Transaction) -> Page[dict[str, Any]]:
        rows = tx.views.page(kind, start, size + 1, reach, state)
        page = cut(kind, rows, size, _key, lambda row: decoded(row[1]))
        JOINS[kind](tx, page.items)
        return page

    return respond(await context.store.read(read))


def _key(row: tuple[int, View]) -> Key:
    return row[0], row[1].business_product_id, row[1].id


@get("/v1/orders", summary="List orders, oldest first", tags=["Orders"], responses=problems())
async def list_orders(
    context: Hub,
    caller: Caller,
    business_product_id: BusinessProduct = None,
    in_state: State = None,
    after: After = None,
    limit: Limit = 100,
) -> Response[Page[OrderDocument]]:
    """Orders in the order in which they were first heard of."""
    return await _page(context, "order", caller.reach(business_product_id), in_state, after, limit)


@get("/v1/orders/{order_id:str}", summary="Show an order", tags=["Orders"], responses=problems(404, 409))
async def get_order(
    context: Hub,
    caller: Caller,
    order_id: OrderId,
    business_product_id: BusinessProduct = None,
    as_of: AsOf = None,
) -> Response[OrderDocument]:
    """The order and its packages as they stand, or as they stood with `asOf`."""
    reach, at = caller.reach(business_product_id), parse_as_of(as_of)

    def read(tx: Transaction) -> dict[str, Any]:
        view = find_view(tx, "order", order_id, reach)
        return order_document(tx, view, at, None if at is None else order_then(tx, view, at))

    return respond(await context.store.read(read))


@get("/v1/deliveries", summary="List deliveries, oldest first", tags=["Deliveries"], responses=problems())
async def list_deliveries(
    context: Hub,
    caller: Caller,
    business_product_id: BusinessProduct = None,
    in_state: State = None,
    after: After = None,
    limit: Limit = 100,
) -> Response[Page[DeliveryDocument]]:
    """Deliveries (parcels) in the order in which they were first heard of."""
    return await _page(context, "delivery", caller.reach(business_product_id), in_state, after, limit)


@get(
    "/v1/deliveries/{delivery_id:str}",
    summary="Show a delivery",
    tags=["Deliveries"],
    responses=problems(404, 409),
)
async def get_delivery(
    context: Hub,
    caller: Caller,
    delivery_id: DeliveryId,
    business_product_id: BusinessProduct = None,
    as_of: AsOf = None,
) -> Response[DeliveryDocument]:
    """One delivery as it stands, or as it stood with `asOf`."""
    reach, at = caller.reach(business_product_id), parse_as_of(as_of)

    def read(tx: Transaction) -> dict[str, Any]:
        view = find_view(tx, "delivery", delivery_id, reach)
        document = (
            decoded(view) if at is None else delivery_then(order_then(tx, view, at), delivery_id, at).document
        )
        join_deliveries(tx, [document], at)
        return document

    return respond(await context.store.read(read))


@get("/v1/trackers", summary="List trackers, oldest first", tags=["Trackers"], responses=problems())
async def list_trackers(
    context: Hub,
    caller: Caller,
    business_product_id: BusinessProduct = None,
    in_state: State = None,
    after: After = None,
    limit: Limit = 100,
) -> Response[Page[TrackerDocument]]:
    """Tracking numbers in the order in which they were first heard of; `state` is the stage."""
    return await _page(context, "tracker", caller.reach(business_product_id), in_state, after, limit)


@get(
    "/v1/trackers/{carrier_code:str}/{tracking_number:str}",
    summary="Show a tracker",
    tags=["Trackers"],
    responses=problems(404, 409),
)
async def get_tracker(
    context: Hub,
    caller: Caller,
    carrier_code: CarrierCode,
    tracking_number: TrackingNumber,
    business_product_id: BusinessProduct = None,
    as_of: AsOf = None,
) -> Response[TrackerDocument]:
    """One tracking number of one carrier as it stands, or as it stood with `asOf`."""
    reach, at = caller.reach(business_product_id), parse_as_of(as_of)

    def read(tx: Transaction) -> dict[str, Any]:
        return tracker_document(
            tx, find_view(tx, "tracker", tracker_id(carrier_code, tracking_number), reach), at
        )

    return respond(await context.store.read(read))


HANDLERS = [list_orders, get_order, list_deliveries, get_delivery, list_trackers, get_tracker]
