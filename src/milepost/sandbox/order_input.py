"""An order document from `createOrder`'s input, and the parts of one from `updateOrder`'s. Pure.

What Amazon's pages limit is limited here: 20 line items that are eligible for Buy with Prime and 20 that are not,
5 aliases. What the input leaves out is left out of the document too, but for ids, times, the total price and the
package: what Amazon delivers goes into one, PENDING, and updateOrderPackageInformation splits it.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from milepost.domain.instant import Instant, format_instant
from milepost.sandbox.api_error import invalid
from milepost.sandbox.scalars import plain, two_places
from milepost.sandbox.world import CURRENCY, dice, uuid_text

MOST_ITEMS = 20
"""Of each sort: eligible for Buy with Prime, and not."""
MOST_ALIASES = 5
MOST_UNITS = 10_000
MOST_LINKS = 5
LONGEST_ALIAS = 128
_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ0123456789"
_ADDRESS = ("streetAddress", "extendedAddress", "locality", "region", "postalCode", "countryCode")

Given = Mapping[str, Any]


def order_document(given: Given, seed: int, at: Instant, attempt: int) -> dict[str, Any]:
    """The document of a new order. The same seed, input, time and attempt make the same ids.

    Raises `ApiError` for what the input may not be."""
    draw = dice(seed, "createOrder", msgspec.json.encode(given, order="sorted"), at, attempt)
    order_id = "-".join(("322", *("".join(draw.choice(_LETTERS) for _ in range(n)) for n in (4, 6))))
    created = format_instant(at)
    items = [
        _line_item(item, f"{draw.getrandbits(40):010x}-{draw.getrandbits(40):010x}", created)
        for item in given["lineItems"]
    ]
    _check_items(items)
    delivered = [i for i in items if _provider(i) == "AMAZON"] or items
    package_id = uuid_text(draw)
    contact = contact_of(given.get("customer"), f"customer-{draw.getrandbits(40):010x}")
    return {
        "id": order_id,
        "aliases": aliases_of(given.get("aliases")),
        "customer": contact,
        "metadata": {
            "executionState": given.get("desiredExecutionState") or "NOT_STARTED",
            "createdAt": created,
            "updatedAt": created,
        },
        "recipients": recipients_of(given.get("recipient")),
        "lineItems": items,
        "packageInformation": {
            "summary": {"state": "PENDING"},
            "details": [_package(package_id, order_id, delivered)],
        },
        "orderLinks": _links(given.get("orderLinks")),
        "totalPrice": total_price_of(given.get("totalPrice")) or _total(items),
        "taxes": taxes_of(given.get("taxes")),
        "discounts": _discounts(given.get("discounts")),
        "payments": payments_of(given.get("payments"), created),
        "refunds": None,
        "returns": None,
    }


def aliases_of(given: Sequence[Given] | None) -> list[dict[str, str]]:
    """Aliases of an input. Raises `ApiError` for too many, for one twice, and for one that is none."""
    aliases = [{"aliasId": a["aliasId"], "aliasType": a["aliasType"]} for a in given or ()]
    for text in (text for alias in aliases for text in alias.values()):
        if not 1 <= len(text) <= LONGEST_ALIAS or not text.isprintable():
            raise invalid(f"aliasId and aliasType are 1 to {LONGEST_ALIAS} printable characters.")
    check_aliases(aliases)
    return aliases


def check_aliases(aliases: Sequence[Given]) -> None:
    if len(aliases) > MOST_ALIASES:
        raise invalid(f"There may be {MOST_ALIASES} aliases.", "AliasLimitExceeded")
    if len({(a["aliasType"].lower(), a["aliasId"].lower()) for a in aliases}) < len(aliases):
        raise invalid("An alias is given twice.", "AliasValueAlreadyExists")


def money_of(given: Given) -> dict[str, str]:
    return {"amount": two_places(given["amount"]), "currencyCode": given["currencyCode"]}


def contact_of(given: Given | None, id: str) -> dict[str, Any] | None:
    """A customer, with the name and address in either of two places."""
    contact = (given or {}).get("contact")
    if contact is None:
        return None
    data = contact.get("emailData") or contact
    return {"contact": {"id": id, "name": data.get("name"), "email": data.get("email")}}


def recipients_of(given: Given | None) -> list[dict[str, Any]]:
    address = (given or {}).get("deliveryAddress")
    return [] if address is None else [{"shippingAddress": {key: address.get(key) for key in _ADDRESS}}]


def total_price_of(given: Given | None) -> dict[str, Any] | None:
    return (
        None if given is None else {"value": money_of(given["value"]), "rollupCharges": [], "verified": False}
    )


def taxes_of(given: Given | None) -> dict[str, Any] | None:
    summary = (given or {}).get("summary")
    if summary is None:
        return None
    return {"summary": {"collectableTaxAmount": money_of(summary["collectableTaxAmount"])}}


def payments_of(given: Given | None, at: str) -> dict[str, Any] | None:
    if given is None:
        return None
    summary = given.get("summary")
    return {
        "summary": None
        if summary is None
        else {
            "amount": _money_or_none(summary.get("amount")),
            "paymentMethodDisplayString": summary.get("paymentMethodDisplayString"),
            "state": summary.get("state") or "NOT_STARTED",
        },
        "details": [payment_of(payment, at) for payment in given.get("details") or ()],
    }


def payment_of(given: Given, at: str) -> dict[str, Any]:
    return {
        "id": given.get("id"),
        "amount": _money_or_none(given.get("amount")),
        "paymentMethodDisplayString": (given.get("paymentMethod") or {}).get("displayString"),
        "state": given.get("state") or "NOT_STARTED",
        "createdAt": at,
        "updatedAt": at,
    }


def _line_item(given: Given, id: str, created: str) -> dict[str, Any]:
    units: Decimal = given["amount"]["value"]
    if not 0 < units <= MOST_UNITS:
        raise invalid(f"A line item is of more than 0 and at most {MOST_UNITS} units.")
    return {
        "id": id,
        "aliases": aliases_of(given.get("aliases")),
        "amount": {"unit": given["amount"].get("unit") or "ONE", "value": plain(units)},
        "createdAt": created,
        "product": _product(given.get("product")),
        "deliveryOffer": _offer(given.get("selectedDeliveryOffer")),
        "payments": payments_of(given.get("payments"), created),
        "taxes": taxes_of(given.get("taxes")),
        "discounts": _discounts(given.get("discounts")),
        "cancellations": {"details": []},
        "reversalOffers": {"details": []},
    }


def _product(given: Given | None) -> dict[str, Any] | None:
    if given is None:
        return None
    identifier = given.get("identifier") or {}
    image = given.get("image")
    return {
        "productId": _identifier(identifier.get("productId")),
        "sku": _identifier(identifier.get("sku")),
        "title": given.get("title"),
        "price": _money_or_none(given.get("price")),
        "image": None if image is None else {**image, "displayReadyUrl": image.get("sourceUrl")},
        "productDetailPageUrl": given.get("productDetailPageUrl"),
        "offerPrime": given.get("offerPrime"),
        "variationSelections": given.get("variationSelections") or [],
    }


def _identifier(value: str | None) -> dict[str, str] | None:
    return None if value is None else {"value": value}


def _offer(given: Given | None) -> dict[str, Any] | None:
    """The delivery offer, from its details or its summary; BUY_WITH_PRIME is AMAZON's older name."""
    if given is None:
        return None
    offer = given.get("details") or given.get("summary")
    if offer is None or (given.get("details") and given.get("summary")):
        raise invalid("A delivery offer has either details or a summary.")
    terms = offer.get("deliveryTerms") or {}
    provider = "MERCHANT" if offer["deliveryProvider"] == "MERCHANT" else "AMAZON"
    prime = terms.get("isPrimeEligible")
    return {
        "details": {
            "id": offer.get("id"),
            "deliveryPreviewId": offer.get("deliveryPreviewId"),
            "deliveryProvider": provider,
            "deliveryCharge": _money_or_none(offer.get("deliveryCharge")),
            "deliveryTerms": {
                "isPrimeEligible": provider == "AMAZON" if prime is None else prime,
                "deliverySpeed": terms.get("deliverySpeed"),
            },
        }
    }


def _provider(item: Given) -> str | None:
    offer = item["deliveryOffer"]
    return None if offer is None else offer["details"]["deliveryProvider"]


def _is_eligible(item: Given) -> bool:
    offer = item["deliveryOffer"]
    return (
        offer is not None
        and _provider(item) == "AMAZON"
        and offer["details"]["deliveryTerms"]["isPrimeEligible"]
    )


def _check_items(items: Sequence[Given]) -> None:
    eligible = sum(map(_is_eligible, items))
    if not items:
        raise invalid("An order has at least one line item.")
    if eligible > MOST_ITEMS or len(items) - eligible > MOST_ITEMS:
        raise invalid(
            f"An order has at most {MOST_ITEMS} items that are eligible for Buy with Prime, and "
            f"{MOST_ITEMS} that are not."
        )


def _package(package_id: str, order_id: str, items: Sequence[Given]) -> dict[str, Any]:
    return {
        "id": package_id,
        "aliases": [{"aliasId": f"package-{order_id}-1", "aliasType": "EXTERNAL_ID"}],
        "state": "PENDING",
        "reason": None,
        "deliverFromAddress": None,
        "packageTracker": None,
        "packageInformationDetailsFor": {
            "orderLineItems": [{"lineItem": {"id": i["id"]}, "amount": dict(i["amount"])} for i in items]
        },
    }


def _links(given: Sequence[Given] | None) -> list[dict[str, Any]]:
    links = [dict(link) for link in given or ()]
    if len(links) > MOST_LINKS:
        raise invalid(f"There may be {MOST_LINKS} orderLinks.")
    return links


def _total(items: Sequence[Given]) -> dict[str, Any]:
    """The price of all items, when the input says none."""
    prices = [
        (Decimal(price["amount"]) * Decimal(str(item["amount"]["value"])), price["currencyCode"])
        for item in items
        if (price := (item["product"] or {}).get("price")) is not None
    ]
    currency = prices[0][1] if prices else CURRENCY
    total = sum((amount for amount, _ in prices), Decimal(0))
    value = {"amount": two_places(total), "currencyCode": currency}
    return {"value": value, "rollupCharges": [], "verified": False}


def _discounts(given: Given | None) -> dict[str, Any] | None:
    if given is None:
        return None
    summary = given.get("summary")
    return {
        "summary": None if summary is None else {**summary, "amount": money_of(summary["amount"])},
        "details": [
            {**one, "amount": money_of(one["amount"]), "aliases": aliases_of(one.get("aliases"))}
            for one in given.get("details") or ()
        ],
    }


def _money_or_none(given: Given | None) -> dict[str, str] | None:
    return None if given is None else money_of(given)
