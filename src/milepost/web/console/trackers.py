"""`/trackers/{carrierCode}/{trackingNumber}`: one tracking number, for the parcel that no order is known for, and to
see all of a carrier's scans."""

from typing import Any, Final

from litestar import Request, Response, get

from milepost.domain.delivery_news import open_conditions
from milepost.domain.instant import Instant
from milepost.domain.wording import condition_text
from milepost.shopper.parcels import safe_url
from milepost.store import Transaction
from milepost.web.console.dates import from_today, last_day, utc_day, window_words
from milepost.web.console.order_links import ASKING
from milepost.web.console.order_parcels import milestones_of
from milepost.web.console.pages import page
from milepost.web.context import Hub
from milepost.web.explanations import why_tracker
from milepost.web.reading import (
    AsOf,
    BusinessProduct,
    CarrierCode,
    TrackingNumber,
    find_view,
    parse_as_of,
    path_of,
    tracker_document,
    tracker_id,
)
from milepost.web.search import impersonal
from milepost.web.visiting import Looking, needs

MOST_MILESTONES: Final = 500


@get(
    "/trackers/{carrier_code:str}/{tracking_number:str}",
    opt=needs("orders"),
    exception_handlers=ASKING,
    include_in_schema=False,
)
async def tracker_page(
    context: Hub,
    request: Request[Any, Any, Any],
    visitor: Looking,
    carrier_code: CarrierCode,
    tracking_number: TrackingNumber,
    business_product_id: BusinessProduct = None,
    as_of: AsOf = None,
) -> Response[str]:
    reach, at, now = visitor.reach(business_product_id), parse_as_of(as_of or None), context.clock()

    def read(tx: Transaction) -> dict[str, Any]:
        view = find_view(tx, "tracker", tracker_id(carrier_code, tracking_number), reach)
        return tracker_document(tx, view, at)

    tracker = await context.store.read(read)
    tracker = tracker if visitor.may("serve") else impersonal(tracker)
    milestones, more = milestones_of(tracker, MOST_MILESTONES)
    query = {"businessProductId": business_product_id, "asOf": as_of or None}
    return page(
        request,
        visitor,
        "tracker.html",
        now=now,
        as_of=at,
        tracker=tracker,
        url=safe_url(tracker["trackingUrl"]),
        expected=_expected(tracker, now if at is None else at),
        why=why_tracker(tracker),
        why_path=path_of("trackers", carrier_code, tracking_number, "why", **query),
        current=path_of("trackers", carrier_code, tracking_number, businessProductId=business_product_id),
        orders=[
            (each["orderId"], path_of("orders", each["orderId"], businessProductId=business_product_id))
            for each in tracker["orders"]
        ],
        conditions=[(c, condition_text(c["code"], c["kind"])) for c in open_conditions(tracker)],
        milestones=milestones,
        more=more,
    )


def _expected(tracker: dict[str, Any], at: Instant) -> str | None:
    estimate = tracker["estimatedDelivery"]
    if not (words := window_words(estimate)):
        return None
    return f"{words}, {from_today(last_day(estimate), utc_day(at))}"


HANDLERS = [tracker_page]
