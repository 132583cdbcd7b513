"""Which moves the page offers for an order as it stands: only those that the world would take.

Pure. Each is the form of a button; what the button does is `forms`'. What may happen is `transitions`' table and
`returning`'s, and this only asks them.
"""

from typing import Any

from msgspec import Struct

from milepost.domain.record import tracker_identity
from milepost.sandbox.catalog import MESSAGES
from milepost.sandbox.page.wording import dig, mappings, spoken, text
from milepost.sandbox.returning import possible
from milepost.sandbox.transitions import BEFORE_SHIPPING, REASONS
from milepost.sandbox.world import WorldOrder


class Offer(Struct, frozen=True):
    """A button: what it says, and what its form sends."""

    label: str
    do: str
    order: str
    product: str
    parcel: str = ""
    value: str = ""
    reason: str = ""
    likely: bool = False
    """What usually comes next."""


_STATES = {
    ("PENDING", "IN_TRANSIT"): "Ship it",
    ("IN_TRANSIT", "DELIVERED"): "Mark as delivered",
}
_CANCELLED = {
    "UNFULFILLABLE": "Cancel: cannot be fulfilled",
    "CUSTOMER_REQUESTED": "Cancel: shopper asked",
    "UNDELIVERABLE": "Cancel: undeliverable",
}
_SCANS = {
    "INFO_RECEIVED": "Label made",
    "IN_TRANSIT": "Scan at a hub",
    "OUT_FOR_DELIVERY": "Out for delivery",
    "DELIVERED": "Scan as delivered",
}
_RETURNS = {
    "DROPPED_OFF": "Drop it off",
    "IN_TRANSIT": "Send it on its way",
    "DELIVERED": "Let it arrive",
    "FAILED": "Fail its delivery",
    "GRADED": "Grade what came back",
    "COMPLETED": "Complete the return",
}


def of_order(world: WorldOrder) -> tuple[Offer, ...]:
    """What can be done to the order as a whole."""
    offers = []
    if not _is_started(world):
        offers.append(_offer(world, "Start fulfilment", "fulfilment", likely=True))
    packages = mappings(dig(world.order, "packageInformation", "details"))
    if len(packages) > 1 and any(p.get("state") == "PENDING" for p in packages):
        offers.append(_offer(world, "Cancel what is pending", "cancel"))
    return tuple(offers)


def of_package(world: WorldOrder, package: dict[str, Any]) -> tuple[tuple[Offer, ...], tuple[str, ...]]:
    """The buttons of a package, the likely one first, and every milestone that its carrier can report."""
    state = text(package.get("state"))
    codes = _codes(world, package)
    seen = {text(dig(s, "status", "code")) for s in mappings(dig(package, "packageTracker", "milestones"))}
    parcel = text(package.get("id"))
    offers = [
        _offer(world, _SCANS[code], "milestone", parcel, code)
        for code in _SCANS
        if code in codes and state in ("PENDING", "IN_TRANSIT") and (code not in seen or code == "IN_TRANSIT")
    ]
    if state == "IN_TRANSIT":
        offers = [offer for offer in offers if offer.value != "INFO_RECEIVED"]
    for (before, after), reasons in REASONS.items():
        if before == state and (after == "CANCELLED" or _is_started(world)):
            offers += [
                _offer(world, _named(before, after, reason), "state", parcel, after, reason)
                for reason in sorted(reasons) or [""]
            ]
    if state == "DELIVERED":
        offers.append(_offer(world, "Start a return", "returned", parcel, "STARTED"))
    return _with_likely(offers, _likely(state, seen)), codes


def of_return(world: WorldOrder, given_back: dict[str, Any]) -> tuple[tuple[Offer, ...], tuple[str, ...]]:
    """The buttons of a return, the likely one first, and every milestone that its carrier can report."""
    if not isinstance(dig(given_back, "returnPackageDetails", 0), dict):
        return (), ()
    parcel = text(given_back.get("id"))
    wanted = [what for what in possible(given_back) if what in _RETURNS]
    offers = [_offer(world, _RETURNS[what], "returned", parcel, what) for what in wanted]
    tracker = dig(given_back, "returnPackageDetails", 0, "packageTracker")
    is_trackable = tracker is None or tracker_identity(tracker) is not None
    return _with_likely(offers, wanted[0] if wanted else ""), tuple(MESSAGES) if is_trackable else ()


def of_refund(world: WorldOrder, refund: dict[str, Any]) -> tuple[Offer, ...]:
    if text(refund.get("state")) in ("", "SUCCESS") or not text(refund.get("id")):
        return ()
    return (_offer(world, "Report it paid", "refunded", text(refund["id"]), likely=True),)


def _codes(world: WorldOrder, package: dict[str, Any]) -> tuple[str, ...]:
    """The milestones that `transitions` lets a package have now."""
    tracker = package.get("packageTracker")
    if not _is_started(world) or (tracker is not None and tracker_identity(tracker) is None):
        return ()
    return tuple(code for code in MESSAGES if package.get("state") != "PENDING" or code in BEFORE_SHIPPING)


def _is_started(world: WorldOrder) -> bool:
    return text(dig(world.order, "metadata", "executionState")) != "NOT_STARTED"


def _likely(state: str, seen: set[str]) -> str:
    """What usually comes next for a package."""
    if state == "PENDING":
        return "IN_TRANSIT" if "INFO_RECEIVED" in seen else "INFO_RECEIVED"
    if state == "IN_TRANSIT":
        if "OUT_FOR_DELIVERY" in seen:
            return "DELIVERED"
        return "OUT_FOR_DELIVERY" if "IN_TRANSIT" in seen else "IN_TRANSIT"
    return ""


def _with_likely(offers: list[Offer], value: str) -> tuple[Offer, ...]:
    """The likely one first: the move of the order system where there is one, else the carrier's scan."""
    wanted = [o for o in offers if o.value == value and not o.reason]
    best = next(
        (o for o in wanted if o.do == "state" and o.value == "IN_TRANSIT"), wanted[0] if wanted else None
    )
    if best is None:
        return tuple(offers)
    first = Offer(best.label, best.do, best.order, best.product, best.parcel, best.value, likely=True)
    return (first, *(o for o in offers if o is not best))


def _named(before: str, after: str, reason: str) -> str:
    return _CANCELLED.get(reason) or _STATES.get((before, after)) or spoken(after)


def _offer(
    world: WorldOrder,
    label: str,
    do: str,
    parcel: str = "",
    value: str = "",
    reason: str = "",
    likely: bool = False,
) -> Offer:
    return Offer(label, do, world.id, world.business_product_id, parcel, value, reason, likely)
