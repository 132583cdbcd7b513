"""Returns and refunds: what a shopper sends back, and the money for it.

    STARTED      a return is announced                RETURN_STARTED
    DROPPED_OFF  the shopper handed it over           REFUND_REQUESTED (the carrier scanned it)
    IN_TRANSIT   its parcel travels                   RETURN_PACKAGE_IN_TRANSIT, REFUND_REQUESTED if not yet
    DELIVERED    its parcel arrived                   RETURN_PACKAGE_DELIVERED
    FAILED       its parcel cannot be delivered       RETURN_PACKAGE_DELIVERY_FAILED, reason UNDELIVERABLE
    GRADED       what came back was looked at         RETURN_ITEM_GRADED
    COMPLETED    the return is over                   RETURN_COMPLETED

A return's parcel has a tracker too: its scans IN_TRANSIT and DELIVERED move the parcel, as a package's DELIVERED
does. In Amazon's sandbox the reason of a failure is always UNDELIVERABLE (buy-with-prime.md 6). A refund is
REQUESTED until the merchant reports it done: then it is SUCCESS, and REFUND_COMPLETED is published. The states of a
return as a whole are no page's: CREATED, IN_PROGRESS, GRADED, COMPLETED are ours. Documents are changed in place.
"""

import copy
from collections.abc import Iterator, Sequence
from typing import Any

from msgspec import Struct

from milepost.domain.errors import Conflict, Invalid, NotFound
from milepost.domain.instant import format_instant
from milepost.sandbox.publication import Publication
from milepost.sandbox.world import Step, dice, money, uuid_text

_BEFORE: dict[str, tuple[frozenset[str], str, str]] = {
    "DROPPED_OFF": (frozenset({"CREATED"}), "IN_PROGRESS", ""),
    "IN_TRANSIT": (frozenset({"CREATED", "DROPPED_OFF"}), "IN_PROGRESS", "RETURN_PACKAGE_IN_TRANSIT"),
    "DELIVERED": (frozenset({"IN_TRANSIT"}), "IN_PROGRESS", "RETURN_PACKAGE_DELIVERED"),
    "FAILED": (frozenset({"IN_TRANSIT"}), "IN_PROGRESS", "RETURN_PACKAGE_DELIVERY_FAILED"),
    "GRADED": (frozenset({"DELIVERED"}), "GRADED", "RETURN_ITEM_GRADED"),
    "COMPLETED": (frozenset({"DELIVERED"}), "COMPLETED", "RETURN_COMPLETED"),
}
"""What happens -> the states its parcel must be in, the return's state afterwards, and the event."""

RETURNED = ("STARTED", *_BEFORE)
EVENT_OF: dict[str, str] = {"STARTED": "RETURN_STARTED", **{k: v[2] for k, v in _BEFORE.items() if v[2]}}
"""What happens -> the event that says so."""

FAILURE_REASON = "UNDELIVERABLE"


class Cause(Struct, frozen=True):
    """Why money is wanted back."""

    id: str
    state: str
    reason: str
    status_reason: str | None


def return_id(seed: int, order: dict[str, Any], delivery_id: str) -> str:
    """The id of the next return of a package's contents."""
    return uuid_text(dice(seed, "return", order["id"], delivery_id, len(returns_of(order, delivery_id))))


def find_return(order: dict[str, Any], id: str) -> dict[str, Any] | None:
    """The return with this id."""
    return next((one for one in _returns(order) if one.get("id") == id), None)


def returns_of(order: dict[str, Any], delivery_id: str) -> list[dict[str, Any]]:
    """The returns of what was in a package, oldest first."""
    return [one for one in _returns(order) if one.get("deliveryId") == delivery_id]


def parcel_of(given_back: dict[str, Any]) -> dict[str, Any]:
    """The parcel in which a return travels."""
    parcel: dict[str, Any] = given_back["returnPackageDetails"][0]
    return parcel


def refunds_of(order: dict[str, Any], causes: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The refunds that are wanted because of these packages or returns, or that have one of these ids."""
    for refund in (order.get("refunds") or {}).get("details") or ():
        caused_by = ((refund.get("refundFor") or {}).get("causedBy") or {}).get("id")
        if caused_by in causes or refund.get("id") in causes:
            yield refund


def possible(given_back: dict[str, Any]) -> list[str]:
    """What can happen to a return next."""
    state, parcel_state = given_back.get("state"), parcel_of(given_back).get("state")
    if state == "COMPLETED":
        return []
    again = state == "GRADED"
    return [
        what
        for what, (before, _, _) in _BEFORE.items()
        if parcel_state in before and not (again and what == "GRADED")
    ]


def move(order: dict[str, Any], step: Step, seed: int) -> list[Publication]:
    """Let what the step says happen to a return: of a package (STARTED), or of the return that it names.

    Raises `NotFound` for a return that isn't there, `Conflict` for what cannot come next."""
    if step.returned == "STARTED":
        return [_start(order, step, seed)]
    given_back = find_return(order, step.delivery_id)
    if given_back is None:
        raise NotFound(f"order {order['id']} has no return {step.delivery_id}", returnId=step.delivery_id)
    known = _BEFORE.get(step.returned)
    if known is None:
        raise Invalid(f"a return is one of {', '.join(RETURNED)}", field="returned")
    _, state, event = known
    parcel = parcel_of(given_back)
    if step.returned not in possible(given_back):
        raise Conflict(f"a return whose parcel is {parcel.get('state')} cannot be {step.returned} now")
    given_back["state"], given_back["updatedAt"] = state, format_instant(step.at)
    published = [_event(order, event, given_back["id"])] if event else []
    if step.returned in ("GRADED", "COMPLETED"):
        return published
    parcel["state"] = step.returned
    parcel["reason"] = FAILURE_REASON if step.returned == "FAILED" else None
    if step.returned in ("DROPPED_OFF", "IN_TRANSIT") and not any(refunds_of(order, [given_back["id"]])):
        cause = Cause(given_back["id"], step.returned, "ITEM_RETURNED", None)
        published.append(request_refund(order, given_back["returnLineItems"], cause, step, seed))
    return published


def scanned(
    order: dict[str, Any], given_back: dict[str, Any], code: str, step: Step, seed: int
) -> list[Publication]:
    """What a scan of its parcel means for a return."""
    state = parcel_of(given_back)["state"]
    if code not in ("IN_TRANSIT", "DELIVERED") or state not in _BEFORE[code][0]:
        return []
    moved = Step(step.at, given_back["id"], returned=code)
    return move(order, moved, seed)


def _start(order: dict[str, Any], step: Step, seed: int) -> Publication:
    package = next(d for d in order["packageInformation"]["details"] if d["id"] == step.delivery_id)
    if package["state"] != "DELIVERED" and not step.odd:
        raise Conflict(f"what is {package['state']} cannot be returned; it has to be delivered first")
    new_id, at = return_id(seed, order, step.delivery_id), format_instant(step.at)
    parcel_id = uuid_text(dice(seed, "returnParcel", new_id))
    made = {
        "id": new_id,
        "deliveryId": step.delivery_id,
        "aliases": [{"aliasId": f"return-{new_id[:8]}", "aliasType": "EXTERNAL_ID"}],
        "state": "CREATED",
        "createdAt": at,
        "updatedAt": at,
        "returnLineItems": copy.deepcopy(package["packageInformationDetailsFor"]["orderLineItems"]),
        "returnPackageDetails": [
            {"id": parcel_id, "state": "CREATED", "reason": None, "packageTracker": None}
        ],
    }
    returns = order.get("returns") or {"details": []}
    returns["details"] = [*(returns.get("details") or ()), made]
    order["returns"] = returns
    return _event(order, "RETURN_STARTED", new_id)


def request_refund(
    order: dict[str, Any], entries: Sequence[dict[str, Any]], cause: Cause, step: Step, seed: int
) -> Publication:
    """Want back what these entries (line items and units) cost."""
    refund_id = uuid_text(dice(seed, "refund", order["id"], cause.id))
    at = format_instant(step.at)
    refund = {
        "id": refund_id,
        "aliases": [{"aliasId": f"refund-{refund_id[:8]}", "aliasType": "EXTERNAL_ID"}],
        "createdAt": at,
        "updatedAt": at,
        "state": "REQUESTED",
        "refundRequestReason": cause.reason,
        "refundStatusReason": cause.status_reason,
        "refundTotal": {"totalAmount": money(sum(_value_in_cents(order, entry) for entry in entries))},
        "refundFor": {
            "orderLineItems": copy.deepcopy(list(entries)),
            "causedBy": {"id": cause.id, "state": cause.state},
        },
        "paymentDetails": [],
    }
    refunds = order.get("refunds") or {}
    refunds["details"] = [*(refunds.get("details") or ()), refund]
    refunds["summary"] = {"totalAmount": money(sum(map(_total_in_cents, refunds["details"])))}
    order["refunds"] = refunds
    return _event(order, "REFUND_REQUESTED", refund_id)


def complete_refunds(order: dict[str, Any], step: Step) -> list[Publication]:
    """The merchant paid: the refunds of a package or return, or the one of this id, are done."""
    wanted = [r for r in refunds_of(order, [step.delivery_id]) if r["state"] != "SUCCESS"]
    if not wanted:
        raise Conflict(f"no refund is wanted for {step.delivery_id}", code="RefundNotFound")
    for refund in wanted:
        refund["state"], refund["updatedAt"] = "SUCCESS", format_instant(step.at)
    return [_event(order, "REFUND_COMPLETED", refund["id"]) for refund in wanted]


def _event(order: dict[str, Any], type: str, id: str) -> Publication:
    what = "refund" if type.startswith("REFUND") else "return"
    return Publication(type, (("order", order["id"]), (what, id)))


def _returns(order: dict[str, Any]) -> list[dict[str, Any]]:
    return (order.get("returns") or {}).get("details") or []


def _value_in_cents(order: dict[str, Any], entry: dict[str, Any]) -> int:
    """What the units of one entry cost, tax left aside; 0 where the document says no price."""
    for item in order.get("lineItems") or ():
        if item.get("id") == entry["lineItem"]["id"]:
            price = (item.get("product") or {}).get("price")
            value = (entry.get("amount") or {}).get("value") or 0
            return int(_cents(price) * float(value)) if price else 0
    return 0


def _total_in_cents(refund: dict[str, Any]) -> int:
    total = (refund.get("refundTotal") or {}).get("totalAmount")
    return _cents(total) if total else 0


def _cents(price: dict[str, Any]) -> int:
    return round(float(price["amount"]) * 100)
