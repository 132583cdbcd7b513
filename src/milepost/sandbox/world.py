"""The seeded world: order documents in the documented shape (buy-with-prime.md 4.2), made from a seed alone.

The same seed, number and time always give the same order: ids, customer, prices, line items, and one to three
packages, where several line items may share a package and one line may be split over two. Everything here is
pure; randomness comes from the seed, time is passed in. How packages then live is in `scenarios` and
`transitions`; what is kept of an order is `WorldOrder`, what happens to it a `Step`.
"""

import random
from collections.abc import Sequence
from typing import Any, Literal

from msgspec import Struct

from milepost.domain.instant import DAY, HOUR, MINUTE, Instant, format_instant
from milepost.sandbox.catalog import (
    CARRIERS,
    FIRST_NAMES,
    HOMES,
    LAST_NAMES,
    ORIGINS,
    PRODUCTS,
    Carrier,
    Place,
    Product,
)
from milepost.sandbox.faults import Faults

CURRENCY = "USD"
TAX_PER_MILLE = 80
SHIPPING_CENTS = 599
_ORDER_ID = "ABCDEFGHJKLMNPQRSTUVWXYZ0123456789"


class Step(Struct, frozen=True, rename="camel", omit_defaults=True):
    """One thing that happens to one parcel: a package's, or a return's. What is published of it is published at
    `at`. One of `milestone`, `state`, `tracker`, `without`, `split`, `returned`, `refunded` and `fulfilment` says
    what happens; a `window` may come alone, too."""

    at: Instant
    delivery_id: str
    """The package or the return that it happens to; empty for what happens to the whole order."""
    milestone: str = ""
    """A code as the carrier writes it."""
    state: str = ""
    reason: str = ""
    locality: str = ""
    region: str = ""
    moved_by: int = 0
    """By how many milliseconds the estimated delivery window moves at this step."""
    country: str = "US"
    occurred_at: str = ""
    """When the carrier says that it occurred, in its own writing; empty for `at`."""
    odd: bool = False
    """A carrier that doesn't keep to the rules: unknown codes, movement of what isn't shipped."""
    quiet: bool = False
    """Nothing is published of it."""
    window: tuple[str | None, str | None] | None = None
    """The new estimated delivery window (earliest, latest), as the carrier writes it."""
    tracker: Literal["", "empty", "whole"] = ""
    """From here on answers show no milestones, or all of them again."""
    without: str = ""
    """The newest milestone of this code is no longer listed from here on."""
    numbered_as: str = ""
    """The package or return whose tracking number the carrier uses, if it isn't a new one."""
    split: tuple[tuple[tuple[str, float], ...], ...] = ()
    """What is in each part, as (line item id, units), when a pending package becomes several."""
    returned: str = ""
    """What happens to a return: one of `returning.RETURNED`."""
    refunded: bool = False
    """The merchant reports the refunds for this package or return done."""
    fulfilment: bool = False
    """The order's fulfilment is started."""


class WorldOrder(Struct, frozen=True, rename="camel"):
    """Everything the sandbox keeps of one order: a view of kind "world" holds it as JSON."""

    business_product_id: str
    order: dict[str, Any]
    """The order as the API answers it."""
    changed_at: Instant = Instant(0)
    previous: dict[str, Any] | None = None
    """The order before its last change: what a query that is behind answers."""
    shipped_at: dict[str, Instant] = {}
    """When each delivery went in transit: a tracker may be null for a while after that."""
    plan: tuple[Step, ...] = ()
    """What is still going to happen, earliest first."""
    serial: int = 0
    """How many events this order has caused: their ids are made from it."""
    outbox: tuple[str, ...] = ()
    """Event bodies decided in this state and not yet known to be journalled."""
    placed_at: Instant = Instant(0)
    """Before this time nobody has placed it yet: no query finds it."""
    held: tuple[Step, ...] = ()
    """What is going to happen once fulfilment is started; times as if it had been when the order was placed."""
    scenario: str = ""
    """The scenario that it lives; empty when it stands still."""
    name: str = ""
    """The order's name in that scenario's file."""
    names: dict[str, str] = {}
    """The names that the file gives packages, and the ids they have here."""
    faults: Faults = Faults()
    """Faults of this order alone: its scenario's."""

    @property
    def id(self) -> str:
        return str(self.order["id"])


def dice(seed: int, *of: object) -> random.Random:
    """Random numbers that depend on the seed and on what they are for, never on what was drawn before."""
    return random.Random("/".join(map(str, (seed, *of))))  # noqa: S311 (a world, not a secret)


def uuid_text(draw: random.Random) -> str:
    """8-4-4-4-12 hexadecimal digits, lower case; no RFC 4122 version, as in real samples."""
    digits = f"{draw.getrandbits(128):032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def business_product_of(seed: int) -> str:
    """The business product whose orders this world has: `bp-<uuid>`."""
    return f"bp-{uuid_text(dice(seed, 'businessProduct'))}"


def new_order(
    seed: int,
    number: int,
    created_at: Instant,
    packages: int | None = None,
    quantities: Sequence[int] = (),
) -> dict[str, Any]:
    """Order `number` of the world, all its packages PENDING and without tracker. `packages` is 1 to 3;
    `quantities` says how many units of how many products were ordered, where the seed shall not."""
    draw = dice(seed, "order", number)
    order_id = f"322-{_letters(draw, 4)}-{_letters(draw, 6)}"
    drawn = draw.choice((1, 1, 2, 2, 3))
    count = min(3, max(1, drawn if packages is None else packages))
    products = draw.sample(PRODUCTS, k=len(quantities) or max(2, count))
    created = format_instant(created_at)
    units = quantities or [0] * len(products)
    items = [_line_item(draw, p, created, order_id, n) for p, n in zip(products, units, strict=True)]
    details = _packages(draw, items, count, order_id)
    subtotal = sum(p.cents * i["amount"]["value"] for p, i in zip(products, items, strict=True))
    tax = subtotal * TAX_PER_MILLE // 1000
    discount = subtotal // 20 if draw.random() < 0.5 else 0
    name = f"{draw.choice(FIRST_NAMES)} {draw.choice(LAST_NAMES)}"
    return {
        "id": order_id,
        "aliases": [{"aliasId": f"shop-{10_000 + number}", "aliasType": "EXTERNAL_ID"}],
        "customer": {
            "contact": {
                "id": f"customer-{draw.getrandbits(40):010x}",
                "name": name,
                "email": f"{name.lower().replace(' ', '.')}.{number}@example.com",
            }
        },
        "metadata": {"executionState": "STARTED", "createdAt": created, "updatedAt": created},
        "recipients": [{"shippingAddress": _address(draw.choice(HOMES))}],
        "lineItems": items,
        "packageInformation": {"summary": {"state": "PENDING"}, "details": details},
        "orderLinks": [
            {
                "destinationType": "ORDER_DETAILS",
                "url": f"https://buywithprime.example/orders/{order_id}",
                "displayMessage": "View order",
            }
        ],
        **_money_fields(draw, subtotal, tax, discount, created),
        "refunds": None,
        "returns": None,
    }


def new_tracker(seed: int, parcel_id: str, labelled_at: Instant, days: int = 3) -> dict[str, Any]:
    """A tracker without milestones for a package or a return: carrier and number come from the seed and its id,
    the estimated window begins so many days after the label."""
    draw = dice(seed, "tracker", parcel_id)
    carrier = draw.choice(CARRIERS)
    number = _number(draw, carrier)
    earliest = Instant((labelled_at // DAY + days) * DAY + 13 * HOUR)
    return {
        "packageTrackerIdentifier": {"trackingNumber": number, "carrierCode": carrier.code},
        "estimatedDeliveryDate": {
            "earliest": format_instant(earliest),
            "latest": format_instant(Instant(earliest + DAY + 11 * HOUR)),
        },
        "latestMilestone": None,
        "milestones": [],
        "trackingUrl": carrier.url.format(number=number),
    }


def money(cents: int) -> dict[str, str]:
    return {"amount": f"{cents // 100}.{cents % 100:02d}", "currencyCode": CURRENCY}


def _line_item(
    draw: random.Random, product: Product, created: str, order_id: str, units: int
) -> dict[str, Any]:
    quantity = draw.choice((1, 1, 2, 3))
    quantity = units or quantity
    item_id = f"{draw.getrandbits(40):010x}-{draw.getrandbits(40):010x}"
    tax = product.cents * quantity * TAX_PER_MILLE // 1000
    total = product.cents * quantity
    return {
        "id": item_id,
        "aliases": [{"aliasId": f"line-{item_id[:6]}", "aliasType": "EXTERNAL_ID"}],
        "amount": {"unit": "ONE", "value": quantity},
        "createdAt": created,
        "product": {
            "productId": {"value": product.id},
            "sku": {"value": product.sku},
            "title": product.title,
            "price": money(product.cents),
            "image": {
                "displayReadyUrl": f"https://images.example/{product.sku}/display.jpg",
                "sourceUrl": f"https://images.example/{product.sku}/source.jpg",
                "altText": product.title,
            },
            "productDetailPageUrl": f"https://shop.example/products/{product.id}",
            "offerPrime": True,
            "variationSelections": [{"dimension": product.variation[0], "value": product.variation[1]}],
        },
        "deliveryOffer": {
            "details": {
                "id": f"offer-{item_id[:10]}",
                "deliveryPreviewId": f"preview-{order_id}",
                "deliveryProvider": "AMAZON",
                "deliveryTerms": {"isPrimeEligible": True},
            }
        },
        "payments": {"summary": {"amount": money(total + tax), "state": "AUTHORIZED"}},
        "taxes": {"summary": {"collectableTaxAmount": money(tax)}},
        "discounts": {"summary": {"amount": money(0), "displayString": "No discount"}},
        "cancellations": {"details": []},
        "reversalOffers": {"details": [{"id": f"reversal-{item_id[:10]}", "type": "RETURN"}]},
    }


def _packages(
    draw: random.Random, items: list[dict[str, Any]], count: int, order_id: str
) -> list[dict[str, Any]]:
    """Share line items out over `count` packages; a line of several units is split when that fills one."""
    contents: list[list[tuple[str, int]]] = [[] for _ in range(count)]
    for i, item in enumerate(items):
        quantity = item["amount"]["value"]
        here, there = i % count, (i + 1) % count
        if here != there and quantity > 1:
            contents[here].append((item["id"], quantity - 1))
            contents[there].append((item["id"], 1))
        else:
            contents[here].append((item["id"], quantity))
    origin = draw.choice(ORIGINS)
    return [
        {
            "id": uuid_text(draw),
            "aliases": [{"aliasId": f"package-{order_id}-{n}", "aliasType": "EXTERNAL_ID"}],
            "state": "PENDING",
            "reason": None,
            "deliverFromAddress": _address(origin),
            "packageTracker": None,
            "packageInformationDetailsFor": {
                "orderLineItems": [
                    {"lineItem": {"id": item_id}, "amount": {"unit": "ONE", "value": value}}
                    for item_id, value in content
                ]
            },
        }
        for n, content in enumerate(contents, 1)
    ]


def _money_fields(
    draw: random.Random, subtotal: int, tax: int, discount: int, created: str
) -> dict[str, Any]:
    total = subtotal + tax + SHIPPING_CENTS - discount
    payment_id = f"payment-{draw.getrandbits(40):010x}"
    card = f"Visa ending in {draw.randrange(10_000):04d}"
    return {
        "totalPrice": {
            "value": money(total),
            "rollupCharges": [
                {"rollupChargeType": "SUBTOTAL", "displayString": "Subtotal", "value": money(subtotal)},
                {"rollupChargeType": "SHIPPING", "displayString": "Shipping", "value": money(SHIPPING_CENTS)},
                {"rollupChargeType": "TAX", "displayString": "Tax", "value": money(tax)},
            ],
            "verified": True,
        },
        "taxes": {"summary": {"collectableTaxAmount": money(tax)}},
        "discounts": {
            "summary": {"amount": money(discount), "displayString": "Discounts"},
            "details": [
                {
                    "amount": money(discount),
                    "couponCode": "WELCOME5",
                    "displayString": "5% off",
                    "aliases": [{"aliasId": "coupon-welcome5", "aliasType": "EXTERNAL_ID"}],
                }
            ]
            if discount
            else [],
        },
        "payments": {
            "summary": {"amount": money(total), "paymentMethodDisplayString": card, "state": "AUTHORIZED"},
            "details": [
                {
                    "id": payment_id,
                    "amount": money(total),
                    "paymentMethodDisplayString": card,
                    "state": "AUTHORIZED",
                    "createdAt": created,
                    "updatedAt": created,
                }
            ],
        },
    }


def _address(place: Place) -> dict[str, Any]:
    return {
        "streetAddress": place.street,
        "extendedAddress": "",
        "locality": place.locality,
        "region": place.region,
        "postalCode": place.postal_code,
        "countryCode": "US",
    }


def _letters(draw: random.Random, length: int) -> str:
    return "".join(draw.choice(_ORDER_ID) for _ in range(length))


def _number(draw: random.Random, carrier: Carrier) -> str:
    form = {"#": "0123456789", "@": _ORDER_ID}
    return "".join(draw.choice(form[c]) if c in form else c for c in carrier.number_form)


def created_between(seed: int, number: int, opened_at: Instant) -> Instant:
    """When order `number` of the opening world was placed: on a whole minute of the day after it opens."""
    spread = dice(seed, "placed", number).randrange(24 * HOUR)
    return Instant((opened_at + spread) // MINUTE * MINUTE)
