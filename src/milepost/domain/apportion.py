"""What may be suggested to be collected for one delivery of an order whose prices are known.

Amazon's events name no amount, and Milepost decides none: a suggestion is the price of the delivery's items, nothing
of tax, shipping or discounts. Its method, `METHOD`, in words:

1. a line's total is its price times its quantity, rounded to the currency's smallest unit (half to even);
2. what captures of the order suggested for that line before is taken off it, with the quantities they were for;
3. the rest is shared among the deliveries that are left, by quantity, cancelled ones left out; what no delivery holds
   yet has its share, too. Each share is rounded down, and the units that are left over go one each to the largest
   remainders, of equal ones to the lower delivery id.

So the suggestions of an order's deliveries sum to the lines' totals to the cent, in whatever order they ship and
however late a split becomes known. Where a price or a quantity is missing, or they don't fit, nothing is suggested.
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from fractions import Fraction
from typing import Any, Final

from msgspec import Struct

from milepost.domain.capture import Capture

METHOD: Final = "line-price/largest-remainder"

_NO_DECIMALS = frozenset(
    (
        "BIF",
        "CLP",
        "DJF",
        "GNF",
        "ISK",
        "JPY",
        "KMF",
        "KRW",
        "PYG",
        "RWF",
        "UGX",
        "VND",
        "VUV",
        "XAF",
        "XOF",
        "XPF",
    )
)
_THREE_DECIMALS = frozenset(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"))
_DIGITS = 13
"""Most digits of a price or a quantity that is believed: two of them multiply without rounding."""


class Line(Struct, frozen=True):
    """One line item of an order: its total in the currency's smallest unit, and who holds how much of it."""

    id: str
    total: int
    quantity: Decimal
    held: tuple[tuple[str, Decimal], ...]
    """(delivery id, quantity), without cancelled deliveries."""


class Priced(Struct, frozen=True):
    """The lines that one delivery holds."""

    currency: str
    lines: tuple[Line, ...]


def priced(order: Mapping[str, Any], delivery: Mapping[str, Any]) -> Priced | None:
    """The lines of a delivery with prices, from the order's view; None where something is missing."""
    cancelled = {d["id"] for d in order["deliveries"] if d["state"] == "CANCELLED"}
    listed = {item["id"]: item for item in order["lineItems"]}
    lines: list[Line] = []
    currencies: set[str] = set()
    for item in delivery["lineItems"]:
        found = listed.get(item["id"])
        price = None if found is None else found["price"]
        if found is None or price is None or not price["currencyCode"]:
            return None
        line = _line(found, price, cancelled - {delivery["id"]})
        if line is None:
            return None
        currencies.add(price["currencyCode"])
        lines.append(line)
    return Priced(currencies.pop(), tuple(lines)) if len(currencies) == 1 else None


def _line(item: Mapping[str, Any], price: Mapping[str, Any], cancelled: set[str]) -> Line | None:
    each, quantity = _number(price["amount"]), _number(item["quantity"])
    held: list[tuple[str, Decimal]] = []
    for holder in item["deliveries"]:
        if holder["deliveryId"] not in cancelled:
            amount = _number(holder["quantity"])
            if amount is None:
                return None
            held.append((holder["deliveryId"], amount))
    if each is None or not quantity or sum(amount for _, amount in held) > quantity:
        return None
    return Line(item["id"], _units(each * quantity, price["currencyCode"]), quantity, tuple(held))


def suggest(of: Priced, delivery_id: str, earlier: Sequence[Capture]) -> dict[str, Any] | None:
    """The suggestion for a delivery, after those that captures of the order have got before."""
    items: list[dict[str, str]] = []
    sum_of_parts = 0
    places = decimals(of.currency)
    for line in of.lines:
        part = _part(line, delivery_id, [c for c in earlier if c.delivery_id != delivery_id], of.currency)
        if part is None:
            return None
        sum_of_parts += part
        items.append({"id": line.id, "amount": _written(part, places)})
    return {
        "currencyCode": of.currency,
        "amount": _written(sum_of_parts, places),
        "lineItems": items,
        "method": METHOD,
    }


def _part(line: Line, delivery_id: str, earlier: Sequence[Capture], currency: str) -> int | None:
    total, quantity = line.total, line.quantity
    if not earlier and line.held == ((delivery_id, quantity),):
        return total
    fixed: set[str] = set()
    for capture in earlier:
        suggested = _suggested(capture, line.id, currency)
        if suggested is not None:
            fixed.add(capture.delivery_id)
            total, quantity = total - suggested[0], quantity - suggested[1]
    weights = {holder: amount for holder, amount in line.held if holder not in fixed}
    rest = quantity - sum(weights.values())
    if total < 0 or quantity <= 0 or rest < 0 or delivery_id not in weights:
        return None
    return largest_remainder(total, [*sorted(weights.items()), ("", rest)])[delivery_id]


def largest_remainder(total: int, weights: Iterable[tuple[str, Decimal]]) -> dict[str, int]:
    """Share a total by weights, in whole units that sum to it. Of equal remainders the first gets more."""
    listed = [(name, Fraction(weight)) for name, weight in weights]
    whole = sum((weight for _, weight in listed), Fraction(0))
    exact = [(name, total * weight / whole) for name, weight in listed]
    parts = {name: int(share) for name, share in exact}
    left = total - sum(parts.values())
    for name, _ in sorted(exact, key=lambda e: int(e[1]) - e[1])[:left]:
        parts[name] += 1
    return parts


def _suggested(capture: Capture, line_id: str, currency: str) -> tuple[int, Decimal] | None:
    """(amount, quantity) that a capture was suggested for a line; None where it wasn't."""
    suggestion = capture.suggestion
    if suggestion is None or suggestion["currencyCode"] != currency:
        return None
    amount = next((_number(i["amount"]) for i in suggestion["lineItems"] if i["id"] == line_id), None)
    quantity = next((_number(i["quantity"]) for i in capture.line_items if i["id"] == line_id), None)
    if amount is None or quantity is None:
        return None
    return _units(amount, currency), quantity


def decimals(currency: str) -> int:
    """Digits behind the point of a currency's smallest unit."""
    if currency in _NO_DECIMALS:
        return 0
    return 3 if currency in _THREE_DECIMALS else 2


def _number(text: object) -> Decimal | None:
    """A price or a quantity, not negative and of a sane size."""
    try:
        number = Decimal(str(text))
    except InvalidOperation:
        return None
    if not number.is_finite() or number < 0:
        return None
    _, digits, exponent = number.as_tuple()
    return number if len(digits) <= _DIGITS and -_DIGITS <= int(exponent) <= _DIGITS - len(digits) else None


def _units(amount: Decimal, currency: str) -> int:
    """An amount in the currency's smallest unit."""
    return int(amount.scaleb(decimals(currency)).to_integral_value(ROUND_HALF_EVEN))


def _written(units: int, places: int) -> str:
    return f"{Decimal(units).scaleb(-places):.{places}f}"
