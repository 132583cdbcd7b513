"""What may happen to a package, and what is published when it does: the transition table as pure functions.

    PENDING    → IN_TRANSIT   PACKAGE_DELIVERY_IN_TRANSIT
    PENDING    → CANCELLED    UNFULFILLABLE | CUSTOMER_REQUESTED   PACKAGE_DELIVERY_CANCELLED, REFUND_REQUESTED
    IN_TRANSIT → DELIVERED    PACKAGE_DELIVERED
    IN_TRANSIT → CANCELLED    UNDELIVERABLE                        PACKAGE_DELIVERY_CANCELLED, REFUND_REQUESTED

(buy-with-prime.md 4.3.) CANCELLED and DELIVERED are ends. A milestone of a tracker publishes
PACKAGE_TRACKER_MILESTONE_CHANGED, and the terminal milestone DELIVERED moves its package too (6). `data` is
what the pages show: the order object of seed 002 for PACKAGE_DELIVERED, refunds for REFUND_REQUESTED, `{}`
for the rest. Ids and bytes of an event are made in `events`; when things happen is `scenarios`'.
"""

import copy
from typing import Any, cast

from msgspec import Struct

from milepost.domain.errors import Conflict, Invalid, NotFound
from milepost.domain.instant import Instant, format_instant, parse_instant
from milepost.domain.record import tracker_identity
from milepost.sandbox.catalog import MESSAGES
from milepost.sandbox.world import Step, dice, money, new_tracker, uuid_text

REASONS: dict[tuple[str, str], frozenset[str]] = {
    ("PENDING", "IN_TRANSIT"): frozenset(),
    ("PENDING", "CANCELLED"): frozenset({"UNFULFILLABLE", "CUSTOMER_REQUESTED"}),
    ("IN_TRANSIT", "DELIVERED"): frozenset(),
    ("IN_TRANSIT", "CANCELLED"): frozenset({"UNDELIVERABLE"}),
}
"""Every allowed transition, with the reasons it may be given (none but for a cancellation)."""

MOVEMENT = frozenset(MESSAGES) - {"PENDING", "INFO_RECEIVED"}
LOCALE = "en-US"


class Publication(Struct, frozen=True):
    """An event to publish: its type, its resource behind `businessProduct/{id}`, and its `data`."""

    type: str
    resource: tuple[tuple[str, str], ...]
    data: dict[str, Any] = {}


def advance(
    order: dict[str, Any], step: Step, seed: int, days: int = 3
) -> tuple[dict[str, Any], list[Publication]]:
    """The order after `step`, and what is published, in order. The given order is left as it is.

    Raises `NotFound` for a delivery it doesn't have, `Conflict` for a transition outside the table, `Invalid`
    for a missing or wrong reason or an unknown milestone code."""
    order = copy.deepcopy(order)
    package = find_package(order, step.delivery_id)
    if step.milestone:
        published = _milestone(order, package, step, seed, days)
    else:
        published = _transition(order, package, step, seed)
    if isinstance(order.get("metadata"), dict):
        order["metadata"]["updatedAt"] = format_instant(step.at)
    information = order["packageInformation"]
    information["summary"] = {"state": summary_state([d["state"] for d in information["details"]])}
    return order, published


def find_package(order: dict[str, Any], delivery_id: str) -> dict[str, Any]:
    """The element of the order's package details with this id. Raises `NotFound`."""
    details = (order.get("packageInformation") or {}).get("details") or ()
    for detail in details:
        if detail.get("id") == delivery_id:
            return cast("dict[str, Any]", detail)
    raise NotFound(f"order {order.get('id')} has no delivery {delivery_id}", deliveryId=delivery_id)


def summary_state(states: list[str]) -> str:
    """packageInformation.summary.state from the states of its packages (buy-with-prime.md 4.3)."""
    if "PENDING" in states:
        return "PENDING"
    if "IN_TRANSIT" in states:
        return "IN_TRANSIT"
    return "DELIVERED" if "DELIVERED" in states else "CANCELLED"


def claim(order: dict[str, Any], type: str, delivery_id: str) -> Publication:
    """The event that says where a package stands, without changing anything."""
    package = find_package(order, delivery_id)
    if type == "PACKAGE_TRACKER_MILESTONE_CHANGED":
        identity = tracker_identity(package.get("packageTracker"))
        if identity is None:
            raise Conflict(f"delivery {delivery_id} has no tracker yet", deliveryId=delivery_id)
        return Publication(type, (("carrier", identity[0]), ("tracker", identity[1])))
    resource = (("order", order["id"]), ("delivery", delivery_id))
    data = {"order": delivered_order(order)} if type == "PACKAGE_DELIVERED" else {}
    return Publication(type, resource, data)


def delivered_order(order: dict[str, Any]) -> dict[str, Any]:
    """`data.order` of PACKAGE_DELIVERED, keys in the seed's order: the answer to its default query."""
    return {
        "id": order["id"],
        "aliases": [
            {"aliasId": a["aliasId"], "aliasType": a["aliasType"]} for a in order.get("aliases") or ()
        ],
        "packageInformation": {
            "details": [
                {
                    "id": detail["id"],
                    "state": detail["state"],
                    "packageTracker": _tracker_reference(detail.get("packageTracker")),
                    "packageInformationDetailsFor": {
                        "orderLineItems": [
                            {"lineItem": {"id": entry["lineItem"]["id"]}}
                            for entry in detail["packageInformationDetailsFor"]["orderLineItems"]
                        ]
                    },
                }
                for detail in order["packageInformation"]["details"]
            ]
        },
    }


def _tracker_reference(tracker: dict[str, Any] | None) -> dict[str, Any] | None:
    identity = tracker_identity(tracker)
    if identity is None or tracker is None:
        return None
    return {
        "packageTrackerIdentifier": {"trackingNumber": identity[1], "carrierCode": identity[0]},
        "trackingUrl": tracker.get("trackingUrl"),
    }


def _transition(order: dict[str, Any], package: dict[str, Any], step: Step, seed: int) -> list[Publication]:
    reasons = REASONS.get((package["state"], step.state))
    if reasons is None:
        raise Conflict(
            f"a package that is {package['state']} cannot become {step.state}",
            code="InvalidPackageInformationDetailStateTransition",
        )
    if reasons and not step.reason:
        raise Invalid(f"a cancellation needs a reason: {', '.join(sorted(reasons))}", field="reason")
    if step.reason and step.reason not in reasons:
        raise Invalid(f"{step.reason} is no reason for {package['state']} to {step.state}", field="reason")
    package["state"] = step.state
    package["reason"] = step.reason or None
    if step.state == "IN_TRANSIT":
        return [claim(order, "PACKAGE_DELIVERY_IN_TRANSIT", step.delivery_id)]
    if step.state == "DELIVERED":
        return [claim(order, "PACKAGE_DELIVERED", step.delivery_id)]
    cancelled = claim(order, "PACKAGE_DELIVERY_CANCELLED", step.delivery_id)
    return [cancelled, _request_refund(order, package, step, seed)]


def _request_refund(order: dict[str, Any], package: dict[str, Any], step: Step, seed: int) -> Publication:
    """A cancelled package is always followed by a refund request for what was in it."""
    refund_id = uuid_text(dice(seed, "refund", order["id"], step.delivery_id))
    entries = package["packageInformationDetailsFor"]["orderLineItems"]
    cents = sum(_value_in_cents(order, entry) for entry in entries)
    at = format_instant(step.at)
    refund = {
        "id": refund_id,
        "aliases": [{"aliasId": f"refund-{refund_id[:8]}", "aliasType": "EXTERNAL_ID"}],
        "createdAt": at,
        "updatedAt": at,
        "state": "REQUESTED",
        "refundRequestReason": "PACKAGE_CANCELLED",
        "refundStatusReason": package["reason"],
        "refundTotal": {"totalAmount": money(cents)},
        "refundFor": {
            "orderLineItems": copy.deepcopy(entries),
            "causedBy": {"id": step.delivery_id, "state": "CANCELLED"},
        },
        "paymentDetails": [],
    }
    refunds = order.get("refunds") or {"summary": None, "details": []}
    refunds["details"].append(refund)
    total = sum(_cents(r["refundTotal"]["totalAmount"]) for r in refunds["details"])
    refunds["summary"] = {"totalAmount": money(total)}
    order["refunds"] = refunds
    data = {
        "order": {
            "id": order["id"],
            "aliases": copy.deepcopy(order.get("aliases") or []),
            "refunds": {
                "details": [
                    {
                        **{k: refund[k] for k in _REFUND_KEYS},
                        "refundFor": {
                            "orderLineItems": [{"lineItem": {"id": e["lineItem"]["id"]}} for e in entries]
                        },
                    }
                ]
            },
        }
    }
    return Publication("REFUND_REQUESTED", (("order", order["id"]), ("refund", refund_id)), data)


_REFUND_KEYS = (
    "id",
    "createdAt",
    "updatedAt",
    "state",
    "refundRequestReason",
    "refundStatusReason",
    "refundTotal",
)


def _value_in_cents(order: dict[str, Any], entry: dict[str, Any]) -> int:
    """What the units of one package entry cost, tax left aside; 0 where the document says no price."""
    for item in order.get("lineItems") or ():
        if item.get("id") == entry["lineItem"]["id"]:
            price = (item.get("product") or {}).get("price")
            value = (entry.get("amount") or {}).get("value") or 0
            return int(_cents(price) * float(value)) if price else 0
    return 0


def _cents(price: dict[str, Any]) -> int:
    return round(float(price["amount"]) * 100)


def _milestone(
    order: dict[str, Any], package: dict[str, Any], step: Step, seed: int, days: int
) -> list[Publication]:
    if step.milestone not in MESSAGES:
        raise Invalid(f"{step.milestone} is no milestone code", field="milestone")
    if package["state"] == "PENDING" and step.milestone in MOVEMENT - {"IN_TRANSIT"}:
        raise Conflict(f"a pending package cannot be {step.milestone}; it has to be shipped first")
    tracker = package.get("packageTracker")
    if tracker is None:
        tracker = package["packageTracker"] = new_tracker(seed, step.delivery_id, step.at, days)
    milestone = {
        "occurredAt": format_instant(step.at),
        "status": {
            "code": step.milestone,
            "message": {"locale": LOCALE, "value": MESSAGES[step.milestone]},
        },
        "address": {"locality": step.locality, "region": step.region, "country": "US"}
        if step.locality
        else None,
    }
    # Newest first, as real answers list them (buy-with-prime.md 5.1).
    tracker["milestones"] = [milestone, *(tracker.get("milestones") or ())]
    tracker["latestMilestone"] = milestone
    if step.moved_by:
        window = tracker["estimatedDeliveryDate"]
        for end in ("earliest", "latest"):
            window[end] = format_instant(Instant(parse_instant(window[end]) + step.moved_by))
    published = [claim(order, "PACKAGE_TRACKER_MILESTONE_CHANGED", step.delivery_id)]
    if step.milestone == "DELIVERED" and package["state"] == "IN_TRANSIT":
        package["state"] = "DELIVERED"
        published.append(claim(order, "PACKAGE_DELIVERED", step.delivery_id))
    return published
