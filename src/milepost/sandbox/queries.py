"""What queries answer: orders, trackers and subscriptions as the schema has them.

An order document has the schema's shape already; what is added here is what follows from it (packages at each line
item, whole line items wherever one is referred to, older names of fields) and what the faults that are on make of
it. Where documents come from is `keeper`'s; who may ask is `graph`'s.
"""

import copy
from collections.abc import Mapping
from typing import Any

from ariadne import ObjectType

from milepost.domain.instant import SECOND, Instant
from milepost.sandbox.api_error import NOT_FOUND, ApiError, invalid
from milepost.sandbox.destinations import EventBridgeTarget
from milepost.sandbox.faults import Faults
from milepost.sandbox.graph_context import Context, Info, Resolver
from milepost.sandbox.orders import find_order
from milepost.sandbox.reading import find_tracker
from milepost.sandbox.subscriptions import Subscription
from milepost.sandbox.transitions import ahead
from milepost.sandbox.world import WorldOrder

DEFAULT_PAGE = 100
RENAMED = "2024-11-01"
"""From this version on the provider BUY_WITH_PRIME is called AMAZON."""


async def _order(_: Any, info: Info, **arguments: Any) -> dict[str, Any]:
    context = info.context
    identifier = dict(arguments.get("orderIdentifier") or {})
    if arguments.get("orderId") is not None:
        if identifier:
            raise invalid("Give either orderId or orderIdentifier.", "InvalidOrderIdentifier")
        identifier = {"orderId": arguments["orderId"]}
    world = await find_order(context.keeper, identifier, context.business_product_id)
    if world is None:
        raise ApiError(NOT_FOUND, "There is no such order.")
    return answered(world, context)


async def _package_tracker(_: Any, info: Info, **arguments: Any) -> dict[str, Any] | None:
    context = info.context
    identifier = arguments["packageTrackerInput"]["packageTrackerIdentifier"]
    carrier, number = identifier["carrierCode"], identifier["trackingNumber"]
    if not number.strip():
        raise invalid("The tracking number is empty.", "InvalidTrackingNumber")
    if not carrier.strip():
        raise invalid("The carrier code is empty.", "InvalidCarrierCode")
    if "\0" not in carrier + number:
        world = await context.keeper.by_tracker(carrier, number, context.business_product_id)
        found = None if world is None else find_tracker(world.order, carrier, number)
        if world is not None and found is not None:
            parcel_id, tracker = found
            hidden = _is_hidden(world, parcel_id, context.faults.over(world.faults), context.now)
            return None if hidden else tracker
    raise ApiError(NOT_FOUND, "There is no such tracker, or it has expired.")


async def _event_subscription(_: Any, info: Info, **arguments: Any) -> dict[str, Any]:
    context = info.context
    found = await context.subscriptions.get(context.caller, arguments["subscriptionId"])
    return _subscription(found)


async def _event_subscriptions(_: Any, info: Info, **arguments: Any) -> dict[str, Any]:
    context = info.context
    first = arguments.get("first")
    page = await context.subscriptions.page(
        context.caller, DEFAULT_PAGE if first is None else first, arguments.get("after")
    )
    cursors = [cursor for cursor, _ in page.items]
    return {
        "edges": [{"node": {"id": found.id}, "cursor": cursor} for cursor, found in page.items],
        "pageInfo": {
            "startCursor": cursors[0] if cursors else None,
            "endCursor": cursors[-1] if cursors else None,
            "hasPreviousPage": page.has_previous,
            "hasNextPage": page.has_next,
        },
        "totalCount": page.total,
    }


RESOLVERS: Mapping[str, Resolver] = {
    "order": _order,
    "packageTracker": _package_tracker,
    "eventSubscription": _event_subscription,
    "eventSubscriptions": _event_subscriptions,
}
"""The fields of Query."""


def _subscription(found: Subscription) -> dict[str, Any]:
    target = found.destination
    if isinstance(target, EventBridgeTarget):
        destination: dict[str, Any] = {"__typename": "EventBridgeData", "arn": target.arn}
    else:
        destination = {
            "__typename": "WebhookData",
            "url": target.url,
            "method": "POST",
            "authProfileId": target.auth_profile_id,
        }
    return {
        "subscriptionId": found.id,
        "targetId": found.target_id,
        "eventSubscriptionDetails": {"eventType": found.event_type, "destination": destination},
    }


# ── Orders ─────────────────────────────────────────────────────────────────────────────────────────────────


def answered(world: WorldOrder, context: Context) -> dict[str, Any]:
    """The order as it is answered in this request."""
    return order_answer(world, context.faults, context.now, context.keeper.seed)


def order_answer(world: WorldOrder, faults: Faults, now: Instant, seed: int) -> dict[str, Any]:
    """The order as the query answers it: packages at order level and at each line item, whole line items
    wherever one is referred to, and the faults that are on."""
    faults = faults.over(world.faults)
    order = copy.deepcopy(_shown(world, faults, now, seed))
    items = {item["id"]: item for item in order.get("lineItems") or ()}
    details = order["packageInformation"]["details"]
    for detail in details:
        if _is_hidden(world, detail["id"], faults, now):
            detail["packageTracker"] = None
        _link(detail["packageInformationDetailsFor"].get("orderLineItems"), items)
    for refund in (order.get("refunds") or {}).get("details") or ():
        _link((refund.get("refundFor") or {}).get("orderLineItems"), items)
    for given_back in (order.get("returns") or {}).get("details") or ():
        _link(given_back.get("returnLineItems"), items)
    for item in items.values():
        item.setdefault("packageInformation", _packages_of(item["id"], order["packageInformation"]))
    return order


def _shown(world: WorldOrder, faults: Faults, now: Instant, seed: int) -> dict[str, Any]:
    """The order's document, or, by the faults, the one before its last change or the one that is to come."""
    if now - world.changed_at < faults.order_behind_seconds * SECOND and world.previous is not None:
        return world.previous
    if faults.order_ahead_seconds:
        return ahead(world, Instant(now + round(faults.order_ahead_seconds * SECOND)), seed)
    return world.order


def _link(entries: list[dict[str, Any]] | None, items: dict[str, dict[str, Any]]) -> None:
    for entry in entries or ():
        reference = entry["lineItem"]
        entry["lineItem"] = items.get(reference["id"], reference)


def _packages_of(item_id: str, information: dict[str, Any]) -> dict[str, Any]:
    """The packages a line item is in, as its own packageInformation."""
    details = [
        detail
        for detail in information["details"]
        if any(
            entry["lineItem"]["id"] == item_id
            for entry in detail["packageInformationDetailsFor"].get("orderLineItems") or ()
        )
    ]
    return {"summary": information.get("summary"), "details": details}


def _is_hidden(world: WorldOrder, delivery_id: str, faults: Faults, now: Instant) -> bool:
    shipped_at = world.shipped_at.get(delivery_id)
    return shipped_at is not None and now - shipped_at < faults.tracker_null_seconds * SECOND


# ── Fields with two names, or two values ───────────────────────────────────────────────────────────────────


def _aliased(type: str, **fields: str) -> ObjectType:
    made = ObjectType(type)
    for name, original in fields.items():
        made.set_alias(name, original)
    return made


_offer = ObjectType("DeliveryOfferDetails")
_contents = ObjectType("PackageInformationDetailsFor")
_payment = ObjectType("PaymentSummary")


@_offer.field("deliveryProvider")
def _delivery_provider(offer: dict[str, Any], info: Info) -> Any:
    provider = offer.get("deliveryProvider")
    return "BUY_WITH_PRIME" if provider == "AMAZON" and info.context.api_version < RENAMED else provider


@_contents.field("orderLineItemAmounts")
def _order_line_item_amounts(contents: dict[str, Any], info: Info) -> list[dict[str, Any]]:
    return [
        {"lineItemId": {"lineItemId": entry["lineItem"]["id"]}, "amount": entry.get("amount")}
        for entry in contents.get("orderLineItems") or ()
    ]


@_payment.field("paymentMethodDisplayString")
def _payment_method(summary: dict[str, Any], info: Info) -> Any:
    return summary.get("paymentMethodDisplayString") or "Other"


TYPES = (
    _aliased("LocalizedMessage", language="locale", content="value"),
    _aliased("ReturnDetails", returnDeliveryDetails="returnPackageDetails"),
    _aliased("Order", deliveryInformation="packageInformation"),
    _aliased("LineItem", deliveryInformation="packageInformation"),
    _offer,
    _contents,
    _payment,
)
