"""The scalars of the schema that have a meaning: `Decimal`, which comes as a number or as a text that is one."""

from decimal import Decimal, InvalidOperation
from typing import Any

from ariadne import ScalarType

LARGEST = Decimal(10) ** 12
"""What no price and no quantity reaches."""
DECIMAL = ScalarType("Decimal")


@DECIMAL.value_parser
def parse_decimal(value: Any) -> Decimal:
    """Raises `ValueError` for what is no number, for one that is not finite, and for one that is absurd."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("a Decimal is a number, or a text that is one")
    try:
        number = Decimal(str(value))
    except InvalidOperation as e:
        raise ValueError("a Decimal is a number, or a text that is one") from e
    if not number.is_finite() or abs(number) > LARGEST:
        raise ValueError(f"a Decimal is finite, and at most {LARGEST:f}")
    return number


def plain(number: Decimal) -> int | float:
    """As it stands in a document: whole numbers without a point."""
    return int(number) if number == number.to_integral_value() else float(number)


def two_places(number: Decimal) -> str:
    """As amounts of money are written in this world's documents."""
    return f"{number:.2f}"
