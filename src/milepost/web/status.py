"""`/v1/orders/{orderId}/status`: an order as its shopper may see it, for a merchant's own pages.

What is in it, and what never is, is `domain.status`'s; the same document behind a signed link is `tracking`'s.
"""

from typing import Any

from litestar import Response, get

from milepost.domain.status import status_of
from milepost.store import Transaction
from milepost.web.authentication import Caller
from milepost.web.context import Hub
from milepost.web.documents import Document
from milepost.web.problems import problems
from milepost.web.reading import (
    AsOf,
    BusinessProduct,
    OrderId,
    decoded,
    find_view,
    order_then,
    parse_as_of,
    respond,
)


class StatusSummary(Document):
    deliveries: int
    pending: int
    in_transit: int
    delivered: int
    cancelled: int


class StatusWindow(Document):
    """Local days, as written."""

    earliest: str | None
    latest: str | None


class StatusItem(Document):
    title: str | None
    quantity: str | None
    unit: str | None


class StatusStage(Document):
    carrier_code: str
    stage: str


class StatusMilestone(Document):
    code: str
    text: str
    occurred_at: str | None


class StatusDay(Document):
    """The milestones of one local day."""

    date: str | None
    milestones: list[StatusMilestone]


class StatusDelivery(Document):
    """One parcel, for its recipient."""

    state: str
    stages: list[StatusStage]
    """Where each of its trackers stands."""
    shipped_on: str | None
    delivered_on: str | None
    estimated_delivery: StatusWindow | None
    items: list[StatusItem]
    days: list[StatusDay]


class StatusDocument(Document):
    """An order for its shopper: no note, no address, no condition."""

    order_id: str
    state: str
    summary: StatusSummary
    estimated_delivery: StatusWindow | None
    items: list[StatusItem]
    deliveries: list[StatusDelivery]


@get(
    "/v1/orders/{order_id:str}/status",
    summary="Show an order as its shopper may see it",
    tags=["Orders"],
    responses=problems(404, 409),
)
async def get_status(
    context: Hub,
    caller: Caller,
    order_id: OrderId,
    business_product_id: BusinessProduct = None,
    as_of: AsOf = None,
) -> Response[StatusDocument]:
    """State, estimated delivery, milestones by local day, items. Nothing in it is for the merchant alone, so a page
    may pass it on as it is."""
    reach, at = caller.reach(business_product_id), parse_as_of(as_of)

    def read(tx: Transaction) -> dict[str, Any]:
        view = find_view(tx, "order", order_id, reach)
        return status_of(decoded(view) if at is None else order_then(tx, view, at).order.document)

    return respond(await context.store.read(read))


HANDLERS = [get_status]
