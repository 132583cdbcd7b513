"""Suggested amounts: by line and quantity, to the cent, in whatever order deliveries ship; or none at all."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.unit.domain.test_capture import capture

from milepost.domain.apportion import METHOD, largest_remainder, priced, suggest
from milepost.domain.capture import Capture


def order(
    lines: dict[str, tuple[str | None, str | None]],
    deliveries: dict[str, dict[str, str | None]],
    currency: str = "USD",
    cancelled: tuple[str, ...] = (),
) -> dict[str, Any]:
    """An order's view as far as prices go: lines are (price, quantity), deliveries hold quantities of lines."""
    return {
        "lineItems": [
            {
                "id": line,
                "price": None if price is None else {"amount": price, "currencyCode": currency},
                "quantity": quantity,
                "deliveries": [
                    {"deliveryId": d, "quantity": held[line]}
                    for d, held in deliveries.items()
                    if line in held
                ],
            }
            for line, (price, quantity) in lines.items()
        ],
        "deliveries": [
            {
                "id": d,
                "state": "CANCELLED" if d in cancelled else "PENDING",
                "lineItems": [{"id": i, "quantity": q, "unit": "ONE"} for i, q in held.items()],
            }
            for d, held in deliveries.items()
        ],
    }


def ship(order: dict[str, Any], *ids: str, earlier: tuple[Capture, ...] = ()) -> list[Capture]:
    """Captures with suggestions, one after the other."""
    made = list(earlier)
    for each in ids:
        delivery = next(d for d in order["deliveries"] if d["id"] == each)
        of = priced(order, delivery)
        suggestion = None if of is None else suggest(of, each, made)
        made.append(
            replace(
                capture(), delivery_id=each, line_items=tuple(delivery["lineItems"]), suggestion=suggestion
            )
        )
    return made


def amounts(captures: list[Capture]) -> list[str | None]:
    return [None if c.suggestion is None else c.suggestion["amount"] for c in captures]


def test_a_line_price_by_quantity() -> None:
    known = order({"a": ("12.50", "2"), "b": ("3.99", "1")}, {"d": {"a": "2", "b": "1"}})
    (only,) = ship(known, "d")
    assert only.suggestion == {
        "currencyCode": "USD",
        "amount": "28.99",
        "lineItems": [{"id": "a", "amount": "25.00"}, {"id": "b", "amount": "3.99"}],
        "method": METHOD,
    }


def test_a_split_sums_to_the_cent_also_when_it_becomes_known_late() -> None:
    lines: dict[str, tuple[str | None, str | None]] = {"a": ("0.0333", "3")}
    first = ship(order(lines, {"d1": {"a": "1"}}), "d1")
    rest = order(lines, {"d1": {"a": "1"}, "d2": {"a": "1"}, "d3": {"a": "1"}})
    every = ship(rest, "d3", "d2", earlier=tuple(first))
    assert sum(Decimal(a or "") for a in amounts(every)) == Decimal("0.10")
    assert amounts(ship(rest, "d1", "d2", "d3")) == ["0.04", "0.03", "0.03"]


def test_what_was_cancelled_has_no_share() -> None:
    lines: dict[str, tuple[str | None, str | None]] = {"a": ("10.00", "2")}
    known = order(lines, {"d1": {"a": "2"}, "d2": {"a": "2"}}, cancelled=("d1",))
    assert amounts(ship(known, "d2")) == ["20.00"]


@pytest.mark.parametrize(("currency", "wanted"), [("JPY", "1000"), ("KWD", "1000.000"), ("EUR", "1000.00")])
def test_the_smallest_unit_is_the_currencys(currency: str, wanted: str) -> None:
    assert amounts(ship(order({"a": ("500", "2")}, {"d": {"a": "2"}}, currency), "d")) == [wanted]


@pytest.mark.parametrize(
    ("line", "held"),
    [
        ((None, "1"), "1"),
        (("1.00", None), "1"),
        (("1.00", "1"), None),
        (("1.00", "1"), "2"),
        (("1.00", "0"), "0"),
        (("-1.00", "1"), "1"),
        (("NaN", "1"), "1"),
        (("1e999999999", "1"), "1"),
        (("much", "1"), "1"),
    ],
)
def test_nothing_is_suggested_where_it_is_unclear(
    line: tuple[str | None, str | None], held: str | None
) -> None:
    assert amounts(ship(order({"a": line}, {"d": {"a": held}}), "d")) == [None]


def test_nothing_is_suggested_in_two_currencies_or_for_no_items() -> None:
    known = order({"a": ("1", "1"), "b": ("1", "1")}, {"d": {"a": "1", "b": "1"}, "e": {}})
    assert amounts(ship(known, "e")) == [None]
    known["lineItems"][1]["price"]["currencyCode"] = "EUR"
    assert amounts(ship(known, "d")) == [None]


@settings(max_examples=200, deadline=None, print_blob=True)
@given(
    price=st.decimals(0, 10_000, places=3),
    held=st.lists(st.integers(1, 9), min_size=1, max_size=6),
    known=st.integers(0, 6),
    order_of=st.randoms(use_true_random=False),
)
def test_parts_always_sum_to_the_lines_total(
    price: Decimal, held: list[int], known: int, order_of: Any
) -> None:
    quantity = str(sum(held))
    deliveries: dict[str, dict[str, str | None]] = {f"d{n}": {"a": str(q)} for n, q in enumerate(held)}
    lines: dict[str, tuple[str | None, str | None]] = {"a": (str(price), quantity)}
    early = list(deliveries)[: min(known, len(held))]
    begun = ship(order(lines, {d: deliveries[d] for d in early}), *early)
    late = [d for d in deliveries if d not in early]
    order_of.shuffle(late)
    every = ship(order(lines, deliveries), *late, earlier=tuple(begun))
    total = sum(Decimal(a or "nan") for a in amounts(every))
    assert total == round(Fraction(price) * sum(held) * 100) / Decimal(100)


def test_the_largest_remainder_gets_what_is_left() -> None:
    thirds = [(name, Decimal(1)) for name in "abc"]
    assert largest_remainder(100, thirds) == {"a": 34, "b": 33, "c": 33}
    assert largest_remainder(10, [("a", Decimal(1)), ("b", Decimal(5))]) == {"a": 2, "b": 8}
