"""What a replay is about."""

from typing import Any

import pytest

from milepost.domain.instant import Instant
from milepost.domain.record import Record
from milepost.domain.selection import Selection, encoded, selection_of, selects

RECORD = Record(1, "event", "bp-1", "PACKAGE_DELIVERED", Instant(100), Instant(5), "test", (), None, b"{}")


@pytest.mark.parametrize(
    ("given", "selected"),
    [
        ({}, True),
        ({"business_product_id": "bp-1"}, True),
        ({"business_product_id": "bp-2"}, False),
        ({"types": ("PACKAGE_DELIVERED", "x")}, True),
        ({"types": ("x",)}, False),
        ({"since": Instant(100), "before": Instant(101)}, True),
        ({"since": Instant(101)}, False),
        ({"before": Instant(100)}, False),
    ],
)
def test_what_is_selected(given: dict[str, Any], selected: bool) -> None:
    selection = Selection(**given)
    assert selects(selection, RECORD) is selected
    assert selection_of(encoded(selection)) == selection


def test_subjects_are_looked_up_with_what_was_told_of_them() -> None:
    selection = Selection(business_product_id="bp-1", subjects=("order/o-1",))
    assert selection.indexed == [("bp-1", "order/o-1"), ("bp-1", "told/order/o-1")]
    assert encoded(Selection()) == b""
