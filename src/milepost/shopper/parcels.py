"""What a message shows of a delivery: its items, how far it came, when it is expected, who carries it.

Made from the order's view, and nothing of the view gets out but what is named here: no place or address, no carrier's
own message (it may hold one), no condition, no note, no customer, no price. Texts that others wrote are made one line
of bounded length; who writes them into HTML escapes them.
"""

import unicodedata
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from gettext import NullTranslations
from typing import Any, Final, Literal

from babel.numbers import format_decimal
from msgspec import Struct

from milepost.domain.delivery_news import is_delivered, scans_of
from milepost.shopper.dates import Window, window_of

Document = Mapping[str, Any]

MOST_PARCELS: Final = 10
"""In one message; the tracking page has them all."""
MOST_ITEMS: Final = 20
"""Of a parcel; of more it says how many. Several parcels share twice as many, so that a mail stays below 102 kB:
Gmail shows no more."""
MOST_CARRIERS: Final = 4
"""Of a parcel: most have one."""
_LONGEST: Final = 120
"""Characters of a title or a name."""
_LONGEST_URL: Final = 2_000
_COUNTED: Final = frozenset({None, "", "ONE"})
"""Units that are no more than a number."""
_UNDER_WAY: Final = frozenset({"PENDING", "IN_TRANSIT"})
_MOVING: Final = frozenset({"PENDING", "INFO_RECEIVED", "IN_TRANSIT", "OUT_FOR_DELIVERY", "UNKNOWN"})
"""Stages at which an estimate still means something."""
_CARRIERS: Final[Mapping[str, str]] = {
    "amazon": "Amazon",
    "amzn_us": "Amazon",
    "dhl": "DHL",
    "dpd": "DPD",
    "fedex": "FedEx",
    "gls": "GLS",
    "lasership": "LaserShip",
    "ontrac": "OnTrac",
    "ups": "UPS",
    "usps": "USPS",
}
"""How carriers write their names; of another its code is shown."""

Progress = Literal["done", "skipped", "ahead"]


class Item(Struct, frozen=True):
    """Something in a parcel; quantity as it is written in the message's language, empty when nobody said."""

    title: str
    quantity: str


class Step(Struct, frozen=True):
    """One of the four steps. `skipped`: passed over, no scan was recorded."""

    key: str
    name: str
    progress: Progress


class Carrier(Struct, frozen=True):
    """Who has a parcel. `url` is the carrier's own page; empty when there is none."""

    code: str
    name: str
    tracking_number: str
    url: str


class Parcel(Struct, frozen=True):
    """A delivery, as it is shown."""

    id: str
    items: Sequence[Item]
    more: int
    """How many items are not listed."""
    steps: Sequence[Step]
    window: Window | None
    estimate: Document | None
    carriers: Sequence[Carrier]


def one_line(text: object, longest: int = _LONGEST) -> str:
    """A text of somebody else's as one line: no control or direction character, cut where it is too long."""
    words = " ".join(str(text or "").split())
    plain = "".join(c for c in words if unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co"))
    return plain if len(plain) <= longest else plain[: longest - 1].rstrip() + "…"


def safe_url(url: object) -> str:
    """A link that a mail may have: http or https and nothing strange in it; else empty."""
    text = url if isinstance(url, str) else ""
    odd = any(c.isspace() or c in "\"'<>\\`" or unicodedata.category(c) in ("Cc", "Cf") for c in text)
    plain = text.lower().startswith(("https://", "http://")) and not odd and len(text) <= _LONGEST_URL
    return text if plain else ""


def parcel_of(
    delivery: Document,
    titles: Mapping[str, Document],
    says: NullTranslations,
    locale: str,
    *,
    beside: int = 1,
    estimated: bool = True,
) -> Parcel:
    """A delivery of the order's view as it is shown, one of `beside` in its message; `titles` are the view's line
    items by id. Without `estimated` no estimate is shown: it was missed, or means nothing at the moment."""
    items = [_item(held, titles.get(held["id"], {}), says, locale) for held in delivery["lineItems"]]
    most = min(MOST_ITEMS, 2 * MOST_ITEMS // beside)
    listed = items if len(items) <= most else items[: most - 1]
    estimate = _estimate(delivery) if estimated else None
    return Parcel(
        delivery["id"],
        listed,
        len(items) - len(listed),
        _steps(delivery, says),
        window_of(estimate, says, locale),
        estimate,
        [_carrier(tracker) for tracker in delivery["trackers"][:MOST_CARRIERS]],
    )


def _item(held: Document, item: Document, says: NullTranslations, locale: str) -> Item:
    """A line item that this delivery holds. Where no answer said how many and no other delivery holds any of it, it
    is all that was ordered."""
    quantity, unit = held["quantity"], held["unit"]
    if quantity is None and len(item.get("deliveries", ())) == 1:
        quantity, unit = item["quantity"], item["unit"]
    title = one_line(item.get("title")) or says.gettext("An item of your order")
    return Item(title, _quantity(quantity, unit, locale))


def _quantity(quantity: object, unit: object, locale: str) -> str:
    try:
        number = Decimal(str(quantity))
    except InvalidOperation:
        return ""
    if not number.is_finite() or abs(number.adjusted()) > _LONGEST:
        return ""
    written = format_decimal(number, locale=locale)
    return written if unit in _COUNTED else f"{written} {one_line(unit, 12)}"


def _steps(delivery: Document, says: NullTranslations) -> Sequence[Step]:
    """Ordered, shipped, out for delivery, delivered. What lies before the furthest step that happened and was never
    recorded is skipped: nothing is invented (T3)."""
    codes = {scan["code"] for scan in scans_of(delivery)}
    evidence = delivery["shipEvidence"]
    happened = {
        "ordered": True,
        "shipped": evidence is not None and not evidence["inferred"],
        "outForDelivery": "OUT_FOR_DELIVERY" in codes,
        "delivered": is_delivered(delivery),
    }
    names = {
        "ordered": says.gettext("Ordered"),
        "shipped": says.gettext("Shipped"),
        "outForDelivery": says.gettext("Out for delivery"),
        "delivered": says.gettext("Delivered"),
    }
    keys = list(happened)
    furthest = max(place for place, key in enumerate(keys) if happened[key])
    return [
        Step(key, names[key], "done" if happened[key] else "skipped" if place < furthest else "ahead")
        for place, key in enumerate(keys)
    ]


def _estimate(delivery: Document) -> Document | None:
    """The estimate; none of a delivery that has ended, that waits to be picked up, or that is on its way back."""
    if delivery["state"] not in _UNDER_WAY or is_delivered(delivery):
        return None
    stages = {tracker["stage"] for tracker in delivery["trackers"]}
    estimate: Document | None = delivery["estimatedDelivery"]
    return estimate if not stages or stages & _MOVING else None


def carrier_name(code: str) -> str:
    """How a carrier writes its name; of one that is not known, its code with spaces."""
    return _CARRIERS.get(code.lower(), code.replace("_", " "))


def _carrier(tracker: Document) -> Carrier:
    code = one_line(tracker["carrierCode"], 40)
    return Carrier(
        code, carrier_name(code), one_line(tracker["trackingNumber"], 64), safe_url(tracker["trackingUrl"])
    )
