"""An order as the shopper's Buy with Prime order details show it: what there is to see, read from its document.

Pure, and total: callers put documents of any content into the world, and what one lacks is left out. Which moves a
developer is offered beside it is `offers`'.
"""

from typing import Any, Literal

from msgspec import Struct

from milepost.domain.instant import Instant
from milepost.domain.record import tracker_identity
from milepost.sandbox.page.offers import Offer, of_order, of_package, of_refund, of_return
from milepost.sandbox.page.wording import (
    When,
    day,
    days_until,
    dig,
    instant,
    is_link,
    mappings,
    price,
    spoken,
    text,
    when,
    window,
    written,
)
from milepost.sandbox.world import WorldOrder

Mark = Literal["done", "current", "todo", "stopped"]

REASONS = {
    "UNFULFILLABLE": "It could not be sent.",
    "CUSTOMER_REQUESTED": "As the shopper asked.",
    "UNDELIVERABLE": "It could not be delivered.",
}
_HEADLINES = {
    "OUT_FOR_DELIVERY": "Out for delivery",
    "AVAILABLE_FOR_PICKUP": "Ready to be picked up",
    "DELIVERY_ATTEMPTED": "Delivery was attempted",
    "DELAYED": "Delayed",
    "LOST": "May be lost",
    "EXCEPTION": "Held up on its way",
    "RETURN_TO_SENDER": "On its way back to the sender",
    "CUSTOMER_ACTION": "The carrier needs something",
    "UNDELIVERABLE": "Cannot be delivered",
    "DELIVERED": "Delivered, says the carrier",
}
"""What the newest scan of a package that is on its way makes of it, where that is more than "on its way"."""
_COUNTED = {
    "DELIVERED": "delivered",
    "IN_TRANSIT": "on the way",
    "PENDING": "not yet shipped",
    "CANCELLED": "cancelled",
}
_NEAR = frozenset({"OUT_FOR_DELIVERY", "AVAILABLE_FOR_PICKUP", "DELIVERY_ATTEMPTED"})
_RETURN_STEPS = ("CREATED", "DROPPED_OFF", "IN_TRANSIT", "DELIVERED")


class Item(Struct, frozen=True):
    title: str
    variation: str
    quantity: str
    price: str

    @property
    def initial(self) -> str:
        return self.title[:1].upper() or "?"


class Stage(Struct, frozen=True):
    """One of the steps that a parcel goes through."""

    label: str
    mark: Mark


class Scan(Struct, frozen=True):
    """A milestone of a tracker."""

    title: str
    message: str
    place: str
    at: When | None


class Parcel(Struct, frozen=True):
    """A package of the order, or what comes back of one."""

    id: str
    title: str
    headline: str
    note: str
    state: str
    estimate: str
    stages: tuple[Stage, ...]
    items: tuple[Item, ...]
    carrier: str
    number: str
    link: str
    scans: tuple[Scan, ...]
    offers: tuple[Offer, ...]
    codes: tuple[str, ...]
    """Milestones that its carrier can report now."""
    stopped: bool


class Refund(Struct, frozen=True):
    id: str
    amount: str
    state: str
    why: str
    at: When | None
    offers: tuple[Offer, ...]


class Details(Struct, frozen=True):
    """Everything that the page of one order shows."""

    id: str
    business_product_id: str
    headline: str
    placed: When | None
    shopper: str
    address: tuple[str, ...]
    payment: str
    parcels: tuple[Parcel, ...]
    returns: tuple[Parcel, ...]
    refunds: tuple[Refund, ...]
    charges: tuple[tuple[str, str], ...]
    total: str
    scenario: str
    next_step: When | None
    """When something planned happens next."""
    offers: tuple[Offer, ...]


class Row(Struct, frozen=True):
    """An order in the list."""

    id: str
    business_product_id: str
    headline: str
    estimate: str
    placed: When | None
    shopper: str
    contents: str
    total: str
    parcels: tuple[tuple[str, tuple[Stage, ...], str], ...]
    """Of each package what it is called, its steps, and where it stands if that isn't said above."""


def details_of(world: WorldOrder, now: Instant) -> Details:
    """The order, in full."""
    order = world.order
    items = {text(item.get("id")): item for item in mappings(order.get("lineItems"))}
    packages = mappings(dig(order, "packageInformation", "details"))
    parcels = tuple(_package(world, p, n, len(packages), items, now) for n, p in enumerate(packages, 1))
    returns = tuple(
        _return(world, given_back, parcel, items)
        for given_back in mappings(dig(order, "returns", "details"))
        for parcel in mappings(given_back.get("returnPackageDetails"))[:1]
    )
    return Details(
        world.id,
        world.business_product_id,
        _headline(world, parcels),
        written(dig(order, "metadata", "createdAt")),
        text(dig(order, "customer", "contact", "name")),
        _address(dig(order, "recipients", 0, "shippingAddress")),
        text(dig(order, "payments", "summary", "paymentMethodDisplayString")),
        parcels,
        returns,
        tuple(_refund(world, r) for r in mappings(dig(order, "refunds", "details"))),
        tuple(_charges(order)),
        price(dig(order, "totalPrice", "value")),
        world.scenario,
        when(world.plan[0].at) if world.plan else None,
        of_order(world),
    )


def row_of(world: WorldOrder, now: Instant) -> Row:
    """The order in one line."""
    shown = details_of(world, now)
    titles = [text(dig(item, "product", "title")) for item in mappings(world.order.get("lineItems"))]
    named = [title for title in titles if title]
    more = f" and {len(named) - 2} more" if len(named) > 2 else ""
    open_ones = [p for p in shown.parcels if p.estimate]
    return Row(
        shown.id,
        shown.business_product_id,
        shown.headline,
        open_ones[0].estimate if open_ones and not shown.headline.startswith("Arriving") else "",
        shown.placed,
        shown.shopper,
        ", ".join(named[:2]) + more,
        shown.total,
        tuple((p.title, p.stages, p.headline if p.headline != shown.headline else "") for p in shown.parcels),
    )


# ── Headlines ──────────────────────────────────────────────────────────────────────────────────────────────


def _headline(world: WorldOrder, parcels: tuple[Parcel, ...]) -> str:
    if dig(world.order, "metadata", "executionState") == "NOT_STARTED":
        return "Waiting to be fulfilled"
    said = list(dict.fromkeys(parcel.headline for parcel in parcels))
    if len(said) <= 1:
        return said[0] if said else "Nothing to deliver"
    states = [parcel.state for parcel in parcels]
    counted = [(words, states.count(state)) for state, words in _COUNTED.items() if state in states]
    if len(counted) == 1:
        return f"All {counted[0][0]}"
    return ", ".join(f"{count} {words}" for words, count in counted)


def _standing(package: dict[str, Any], codes: list[str], now: Instant) -> str:
    """Where a package stands, in the words that a shopper reads."""
    state, newest = package.get("state"), codes[0] if codes else ""
    if state == "CANCELLED":
        return "Cancelled"
    if state == "DELIVERED":
        scans = mappings(dig(package, "packageTracker", "milestones"))
        at = [instant(s.get("occurredAt")) for s in scans if dig(s, "status", "code") == "DELIVERED"]
        return f"Delivered {day(at[0])}" if at and at[0] is not None else "Delivered"
    if newest in _HEADLINES:
        return _HEADLINES[newest]
    latest = instant(dig(package, "packageTracker", "estimatedDeliveryDate", "latest"))
    earliest = instant(dig(package, "packageTracker", "estimatedDeliveryDate", "earliest"))
    last = latest if latest is not None else earliest
    if last is not None and last < now:
        return "Running late"
    if last is None or state == "PENDING":
        return "On its way" if state == "IN_TRANSIT" else "Not yet shipped"
    ahead = days_until(now, earliest if earliest is not None else last)
    if days_until(now, last) <= 1 or ahead == days_until(now, last):
        left = days_until(now, last)
        return f"Arriving {'today' if left <= 0 else 'tomorrow' if left == 1 else day(last)}"
    return f"Arriving {window(_iso(package, 'earliest'), _iso(package, 'latest'))}"


def _iso(package: dict[str, Any], end: str) -> object:
    return dig(package, "packageTracker", "estimatedDeliveryDate", end)


# ── Parcels ────────────────────────────────────────────────────────────────────────────────────────────────


def _package(
    world: WorldOrder,
    package: dict[str, Any],
    number: int,
    count: int,
    items: dict[str, dict[str, Any]],
    now: Instant,
) -> Parcel:
    tracker = package.get("packageTracker")
    codes = [text(dig(s, "status", "code")) for s in mappings(dig(tracker, "milestones"))]
    state = text(package.get("state"))
    is_open = state in ("PENDING", "IN_TRANSIT")
    offers, milestones = of_package(world, package)
    carrier, tracking_number, link = _tracking(tracker)
    estimated = window(_iso(package, "earliest"), _iso(package, "latest"))
    return Parcel(
        text(package.get("id")),
        f"Package {number} of {count}" if count > 1 else "Package",
        _standing(package, codes, now),
        REASONS.get(text(package.get("reason")), spoken(package.get("reason"))) if not is_open else "",
        state,
        f"Estimated {estimated}" if estimated and is_open else "",
        _stages(state, codes),
        _items(dig(package, "packageInformationDetailsFor", "orderLineItems"), items),
        carrier,
        tracking_number,
        link,
        _scans(tracker),
        offers,
        milestones,
        state == "CANCELLED",
    )


def _return(
    world: WorldOrder, given_back: dict[str, Any], parcel: dict[str, Any], items: dict[str, dict[str, Any]]
) -> Parcel:
    state, of_it = text(given_back.get("state")), text(parcel.get("state"))
    tracker = parcel.get("packageTracker")
    carrier, number, link = _tracking(tracker)
    offers, codes = of_return(world, given_back)
    at = _RETURN_STEPS.index(of_it) if of_it in _RETURN_STEPS else 2
    labels = ("Return started", "Dropped off", "On its way", "Arrived")
    marks = [_mark(n, at, failed=of_it == "FAILED") for n in range(4)]
    named = {"GRADED": "Looked at", "COMPLETED": "Return completed"}
    return Parcel(
        text(given_back.get("id")),
        "Return",
        named.get(state) or ("Could not be delivered" if of_it == "FAILED" else labels[at]),
        spoken(parcel.get("reason")),
        of_it,
        "",
        tuple(Stage(label, mark) for label, mark in zip(labels, marks, strict=True)),
        _items(given_back.get("returnLineItems"), items),
        carrier,
        number,
        link,
        _scans(tracker),
        offers,
        codes,
        of_it == "FAILED",
    )


def _stages(state: str, codes: list[str]) -> tuple[Stage, ...]:
    """Ordered, shipped, out for delivery, delivered; a cancelled parcel's steps end where it came to."""
    reached = 3 if state == "DELIVERED" else 2 if _NEAR & {*codes} else 0
    if reached == 0 and (state == "IN_TRANSIT" or "IN_TRANSIT" in codes):
        reached = 1
    labels = ("Ordered", "Shipped", "Out for delivery", "Delivered")
    if state == "CANCELLED":
        passed = [Stage(label, "done") for label in labels[: min(reached, 2) + 1]]
        return (*passed, Stage("Cancelled", "stopped"))
    return tuple(Stage(label, _mark(n, reached)) for n, label in enumerate(labels))


def _mark(number: int, reached: int, *, failed: bool = False) -> Mark:
    if number == reached:
        return "stopped" if failed else "done" if number == 3 else "current"
    return "done" if number < reached else "todo"


def _tracking(tracker: object) -> tuple[str, str, str]:
    identity = tracker_identity(tracker) or ("", "")
    url = dig(tracker, "trackingUrl")
    return identity[0], identity[1], url if is_link(url) else ""


def _scans(tracker: object) -> tuple[Scan, ...]:
    return tuple(
        Scan(
            spoken(dig(one, "status", "code")),
            text(dig(one, "status", "message", "value")),
            ", ".join(filter(None, (text(dig(one, "address", key)) for key in ("locality", "region")))),
            written(one.get("occurredAt")),
        )
        for one in mappings(dig(tracker, "milestones"))
    )


def _items(entries: object, items: dict[str, dict[str, Any]]) -> tuple[Item, ...]:
    found = []
    for entry in mappings(entries):
        line = items.get(text(dig(entry, "lineItem", "id")), {})
        chosen = mappings(dig(line, "product", "variationSelections"))
        found.append(
            Item(
                text(dig(line, "product", "title")) or text(dig(entry, "lineItem", "id")),
                ", ".join(f"{text(c.get('dimension'))}: {text(c.get('value'))}" for c in chosen),
                text(dig(entry, "amount", "value")),
                price(dig(line, "product", "price")),
            )
        )
    return tuple(found)


# ── Money and people ───────────────────────────────────────────────────────────────────────────────────────


def _refund(world: WorldOrder, refund: dict[str, Any]) -> Refund:
    return Refund(
        text(refund.get("id")),
        price(dig(refund, "refundTotal", "totalAmount")),
        {"REQUESTED": "Requested", "SUCCESS": "Refunded"}.get(
            text(refund.get("state")), spoken(refund.get("state"))
        ),
        spoken(refund.get("refundRequestReason")),
        written(refund.get("updatedAt")),
        of_refund(world, refund),
    )


def _charges(order: dict[str, Any]) -> list[tuple[str, str]]:
    charges = [
        (text(c.get("displayString")) or spoken(c.get("rollupChargeType")), price(c.get("value")))
        for c in mappings(dig(order, "totalPrice", "rollupCharges"))
    ]
    given = dig(order, "discounts", "summary", "amount")
    amount = text(dig(given, "amount"))
    if amount and amount.strip("0.") != "":
        charges.append((text(dig(order, "discounts", "summary", "displayString")), f"−{price(given)}"))
    return charges


def _address(address: object) -> tuple[str, ...]:
    town = " ".join(filter(None, (text(dig(address, "region")), text(dig(address, "postalCode")))))
    lines = (
        text(dig(address, "streetAddress")),
        text(dig(address, "extendedAddress")),
        ", ".join(filter(None, (text(dig(address, "locality")), town))),
    )
    return tuple(filter(None, lines))
