"""What may happen to a package, and what is published when it does: the transition table as pure functions.

    PENDING    → IN_TRANSIT   PACKAGE_DELIVERY_IN_TRANSIT
    PENDING    → CANCELLED    UNFULFILLABLE | CUSTOMER_REQUESTED   PACKAGE_DELIVERY_CANCELLED, REFUND_REQUESTED
    IN_TRANSIT → DELIVERED    PACKAGE_DELIVERED
    IN_TRANSIT → CANCELLED    UNDELIVERABLE                        PACKAGE_DELIVERY_CANCELLED, REFUND_REQUESTED

(buy-with-prime.md 4.3.) CANCELLED and DELIVERED are ends, and nothing moves before fulfilment is started, but for a
cancellation. A PENDING package may split into several, each with an id of its own. A milestone of a tracker
publishes PACKAGE_TRACKER_MILESTONE_CHANGED, and the terminal milestone DELIVERED moves its package too (6);
carriers scan packages that are at their end as well, and that moves nothing. `data` is the answer to the type's
default query (`default_query`). Trackers are `tracking`'s, returns and refunds `returning`'s; ids and bytes of an
event are made in `events`; when things happen is `scenarios`'.
"""

import copy
from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from milepost.domain.errors import Conflict, Invalid, NotFound
from milepost.domain.instant import Instant, format_instant
from milepost.sandbox import returning, tracking
from milepost.sandbox.default_query import default_answer
from milepost.sandbox.publication import Publication
from milepost.sandbox.world import Step, WorldOrder, dice, new_tracker, uuid_text

REASONS: dict[tuple[str, str], frozenset[str]] = {
    ("PENDING", "IN_TRANSIT"): frozenset(),
    ("PENDING", "CANCELLED"): frozenset({"UNFULFILLABLE", "CUSTOMER_REQUESTED"}),
    ("IN_TRANSIT", "DELIVERED"): frozenset(),
    ("IN_TRANSIT", "CANCELLED"): frozenset({"UNDELIVERABLE"}),
}
"""Every allowed transition, with the reasons it may be given (none but for a cancellation)."""

_EVENT_OF = {
    "IN_TRANSIT": "PACKAGE_DELIVERY_IN_TRANSIT",
    "DELIVERED": "PACKAGE_DELIVERED",
    "CANCELLED": "PACKAGE_DELIVERY_CANCELLED",
}
BEFORE_SHIPPING = frozenset({"PENDING", "INFO_RECEIVED", "IN_TRANSIT"})
"""Milestones that a package may have while it is PENDING: the carrier scans before the order system says so."""


def advance(order: dict[str, Any], step: Step, seed: int) -> tuple[dict[str, Any], list[Publication]]:
    """The order after `step`, and what is published, in order. The given order is left as it is.

    Raises `NotFound` for a package or return it doesn't have, `Conflict` for a transition outside the table,
    `Invalid` for a missing or wrong reason or an unknown milestone code."""
    order = copy.deepcopy(order)
    return order, answered(order, happen(order, step, seed))


def happen(order: dict[str, Any], step: Step, seed: int) -> list[Publication]:
    """`advance` in place, for an order that is nobody else's: what is published comes without its `data`, and an
    order whose step raised is of no use any more. A copy at each step is most of what a step costs."""
    published = _happen(order, step, seed)
    if isinstance(order.get("metadata"), dict):
        order["metadata"]["updatedAt"] = format_instant(step.at)
    information = order["packageInformation"]
    information["summary"] = {"state": summary_state([d["state"] for d in information["details"]])}
    return [] if step.quiet else published


def ahead(world: WorldOrder, until: Instant, seed: int) -> dict[str, Any]:
    """The order as it is going to be at `until` if nothing but its plan happens."""
    order = world.order
    for step in world.plan:
        if step.at > until:
            break
        try:
            order, _ = advance(order, step, seed)
        except (Conflict, Invalid, NotFound):
            continue
    return order


def answered(order: dict[str, Any], published: Sequence[Publication]) -> list[Publication]:
    """Publications about this order with their `data`: what their default query answers now."""
    return [replace(p, data=default_answer(p.type, order)) for p in published]


def details_of(order: dict[str, Any]) -> list[dict[str, Any]]:
    """The order's packages."""
    details: list[dict[str, Any]] = order["packageInformation"]["details"]
    return details


def find_package(order: dict[str, Any], delivery_id: str) -> dict[str, Any]:
    """The element of the order's package details with this id. Raises `NotFound`."""
    for detail in details_of(order):
        if detail.get("id") == delivery_id:
            return detail
    raise NotFound(f"order {order.get('id')} has no delivery {delivery_id}", deliveryId=delivery_id)


def summary_state(states: list[str]) -> str:
    """packageInformation.summary.state from the states of its packages (buy-with-prime.md 4.3)."""
    if "PENDING" in states:
        return "PENDING"
    if "IN_TRANSIT" in states:
        return "IN_TRANSIT"
    return "DELIVERED" if "DELIVERED" in states else "CANCELLED"


def claim(order: dict[str, Any], type: str, parcel_id: str) -> Publication:
    """The event that says where a package or a return stands, without changing anything."""
    given_back = returning.find_return(order, parcel_id)
    if type == "PACKAGE_TRACKER_MILESTONE_CHANGED":
        package = find_package(order, parcel_id) if given_back is None else returning.parcel_of(given_back)
        return tracking.changed(package)
    if given_back is not None:
        return Publication(type, (("order", order["id"]), ("return", parcel_id)))
    find_package(order, parcel_id)
    return Publication(type, (("order", order["id"]), ("delivery", parcel_id)))


def split_ids(seed: int, order_id: str, delivery_id: str, parts: int) -> list[str]:
    """The ids of the packages that a pending one becomes."""
    return [uuid_text(dice(seed, "split", order_id, delivery_id, part)) for part in range(parts)]


def _happen(order: dict[str, Any], step: Step, seed: int) -> list[Publication]:
    if step.fulfilment:
        return _start_fulfilment(order)
    if step.refunded:
        return returning.complete_refunds(order, step)
    if step.returned:
        if step.returned == "STARTED":
            find_package(order, step.delivery_id)
        return returning.move(order, step, seed)
    given_back = returning.find_return(order, step.delivery_id)
    package = find_package(order, step.delivery_id) if given_back is None else returning.parcel_of(given_back)
    if step.split:
        return _split(order, package, step, seed)
    if step.state:
        return _transition(order, package, step, seed)
    if not step.milestone:
        return tracking.revise(package, step)
    code = tracking.check_code(step)
    if given_back is not None:
        outbound = next((d for d in details_of(order) if d["id"] == step.numbered_as), {})
        published = tracking.scan(package, step, seed, outbound.get("packageTracker"))
        return [*published, *returning.scanned(order, given_back, code, step, seed)]
    if not step.odd:
        _check_started(order)
        if package["state"] == "PENDING" and code not in BEFORE_SHIPPING:
            raise Conflict(f"a pending package cannot be {code}; it has to be shipped first")
    published = tracking.scan(package, step, seed)
    if code == "DELIVERED" and package["state"] == "IN_TRANSIT":
        package["state"] = "DELIVERED"
        published.append(claim(order, "PACKAGE_DELIVERED", step.delivery_id))
    return published


def _check_started(order: dict[str, Any]) -> None:
    if (order.get("metadata") or {}).get("executionState") == "NOT_STARTED":
        raise Conflict(f"the fulfilment of order {order['id']} is not started", orderId=order["id"])


def _start_fulfilment(order: dict[str, Any]) -> list[Publication]:
    metadata = order.setdefault("metadata", {})
    if metadata.get("executionState") == "STARTED":
        raise Conflict(f"the fulfilment of order {order['id']} is started already", orderId=order["id"])
    metadata["executionState"] = "STARTED"
    return []


def _transition(order: dict[str, Any], package: dict[str, Any], step: Step, seed: int) -> list[Publication]:
    reasons = REASONS.get((package["state"], step.state))
    if reasons is None:
        raise Conflict(
            f"a package that is {package['state']} cannot become {step.state}",
            code="InvalidPackageDeliveryDetailStateTransition",
        )
    if reasons and not step.reason:
        raise Invalid(f"a cancellation needs a reason: {', '.join(sorted(reasons))}", field="reason")
    if step.reason and step.reason not in reasons:
        raise Invalid(f"{step.reason} is no reason for {package['state']} to {step.state}", field="reason")
    if step.state != "CANCELLED":
        _check_started(order)
    package["state"] = step.state
    package["reason"] = step.reason or None
    if step.state == "DELIVERED" and package.get("packageTracker") is None:
        # Nobody scanned it, but what travelled has a number: PACKAGE_DELIVERED shows it.
        package["packageTracker"] = new_tracker(seed, step.delivery_id, step.at)
    published = [claim(order, _EVENT_OF[step.state], step.delivery_id)]
    if step.state == "CANCELLED":
        entries = package["packageInformationDetailsFor"]["orderLineItems"]
        cause = returning.Cause(step.delivery_id, "CANCELLED", "PACKAGE_CANCELLED", package["reason"])
        published.append(returning.request_refund(order, entries, cause, step, seed))
        _note_cancellation(order, entries, step, seed)
    return published


def _note_cancellation(
    order: dict[str, Any], entries: Sequence[dict[str, Any]], step: Step, seed: int
) -> None:
    """Each line item of a cancelled package says so, too."""
    cancelled = {entry["lineItem"]["id"] for entry in entries}
    for item in order.get("lineItems") or ():
        if item["id"] in cancelled:
            note_id = uuid_text(dice(seed, "cancellation", step.delivery_id, item["id"]))
            known = (item.get("cancellations") or {}).get("details") or ()
            noted = {"id": note_id, "state": "CANCELLED", "reason": step.reason}
            item["cancellations"] = {"details": [*known, noted]}


def _split(order: dict[str, Any], package: dict[str, Any], step: Step, seed: int) -> list[Publication]:
    """A pending package's contents become several packages'. Nothing is published: nothing was shipped yet."""
    if package["state"] != "PENDING":
        raise Conflict(f"a package that is {package['state']} cannot be split; only a pending one can")
    held = {
        e["lineItem"]["id"]: (e.get("amount") or {}).get("value", 1)
        for e in package["packageInformationDetailsFor"]["orderLineItems"]
    }
    _check_parts(held, step)
    details = order["packageInformation"]["details"]
    made = []
    ids = split_ids(seed, order["id"], step.delivery_id, len(step.split))
    for number, (part_id, part) in enumerate(zip(ids, step.split, strict=True), 1):
        alias = {"aliasId": f"package-{part_id[:8]}-{number}", "aliasType": "EXTERNAL_ID"}
        entries = [
            {"lineItem": {"id": item}, "amount": {"unit": "ONE", "value": units}} for item, units in part
        ]
        contents = {"orderLineItems": entries}
        made.append({**package, "id": part_id, "aliases": [alias], "packageInformationDetailsFor": contents})
    at = details.index(package)
    details[at : at + 1] = made
    return []


def _check_parts(held: dict[str, float], step: Step) -> None:
    shared = dict.fromkeys(held, 0.0)
    for part in step.split:
        if not part or any(units <= 0 for _, units in part):
            raise Invalid("each part of a split needs units of line items", field="orderLineItemAmounts")
        for item, units in part:
            if item not in shared:
                raise Invalid(f"line item {item} is not in this package", field="orderLineItemAmounts")
            shared[item] += units
    if shared != held:
        raise Invalid("the parts of a split hold exactly what the package held", field="orderLineItemAmounts")
