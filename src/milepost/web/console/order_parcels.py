"""An order's deliveries as its page shows them: what is in each, how far it came, who carries it, whether it is paid.

Every value is the document's, as the API gives it; here it is only put in the order in which a page needs it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from milepost.domain.instant import Instant
from milepost.domain.wording import capture_text, hold_text, milestone_text
from milepost.shopper.parcels import safe_url
from milepost.web.console.order_answers import Line, verdict
from milepost.web.console.order_links import parcel_anchor

Document = Mapping[str, Any]

MOST_DELIVERIES: Final = 100
"""On one page; an order of more says so."""
NEWEST: Final = 4
"""Milestones of a tracker on the order's page; the timeline has them all."""
_STANDINGS: Final = {
    "historyFill": "reported late",
    "contradicted": "contradicted by a later scan",
    "superseded": "no longer shown by the carrier",
    "corrected": "corrected by a later answer",
    "setAside": "set aside",
    "annotates": "says more about the delivery",
    "unmapped": "a code that Milepost does not know",
}


class Item(Struct, frozen=True):
    """A line item, or what a delivery holds of one."""

    id: str
    title: str
    quantity: str
    price: str = ""


class Milestone(Struct, frozen=True):
    """A scan. `day` is the local day, as it was written; `note` says what the fold made of it."""

    code: str
    text: str
    message: str
    place: str
    day: str
    at: str | None
    note: str


class Carried(Struct, frozen=True):
    """A tracker of a delivery. `url` is empty where the carrier's link is none that a page may have."""

    carrier_code: str
    tracking_number: str
    url: str
    stage: str
    milestones: Sequence[Milestone]
    """The newest first."""
    more: int


class Parcel(Struct, frozen=True):
    """A delivery."""

    place: int
    anchor: str
    document: Document
    items: Sequence[Item]
    trackers: Sequence[Carried]
    verdict: Line
    capture: str
    """Whether payment may be collected, in words."""


def parcels_of(order: Document, now: Instant) -> list[Parcel]:
    """The deliveries of an order, in the document's order."""
    titles = {item["id"]: item["title"] for item in order["lineItems"]}
    return [
        Parcel(
            place,
            parcel_anchor(place),
            delivery,
            [_held(item, titles) for item in delivery["lineItems"]],
            [_carried(tracker) for tracker in delivery["trackers"]],
            verdict(delivery, now),
            _capture(delivery["capture"]),
        )
        for place, delivery in enumerate(order["deliveries"][:MOST_DELIVERIES], 1)
    ]


def items_of(order: Document) -> list[Item]:
    """What was ordered."""
    return [
        Item(item["id"], item["title"] or item["id"], _quantity(item), money_words(item["price"]))
        for item in order["lineItems"]
    ]


def milestones_of(tracker: Document, most: int) -> tuple[list[Milestone], int]:
    """The newest scans of a tracker, newest first, and how many more there are."""
    listed = tracker["milestones"]
    return [_milestone(m) for m in reversed(listed[-most:])], max(0, len(listed) - most)


def money_words(money: Document | None) -> str:
    """`19.99 USD`; empty for none."""
    return "" if money is None else " ".join(filter(None, (money["amount"], money["currencyCode"])))


def _held(item: Document, titles: Mapping[str, str | None]) -> Item:
    return Item(item["id"], titles.get(item["id"]) or item["id"], _quantity(item))


def _quantity(held: Document) -> str:
    unit = held["unit"] if held["unit"] not in (None, "", "ONE", "unit") else ""
    return f"{held['quantity']} {unit}".strip() if held["quantity"] is not None else ""


def _carried(tracker: Document) -> Carried:
    milestones, more = milestones_of(tracker, NEWEST)
    return Carried(
        tracker["carrierCode"],
        tracker["trackingNumber"],
        safe_url(tracker["trackingUrl"]),
        tracker["stage"],
        milestones,
        more,
    )


def _milestone(milestone: Document) -> Milestone:
    address = milestone["address"] or {}
    place = ", ".join(filter(None, (address.get(key) for key in ("locality", "region", "country"))))
    return Milestone(
        milestone["code"],
        milestone_text(milestone["code"], milestone["rawCode"]),
        milestone["message"] or "",
        place,
        milestone["localDate"] or "",
        milestone["occurredAt"],
        _STANDINGS.get(milestone["standing"], ""),
    )


def _capture(capture: Document | None) -> str:
    if capture is None or capture["state"] == "NOT_READY":
        return "Payment may not be collected yet: nothing says that it shipped."
    said = capture_text(capture["state"])
    return f"{said} Reason: {hold_text(capture['reason'])}." if capture["reason"] else said
