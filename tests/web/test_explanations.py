"""The sentence that says why an order is in its state, as a person would say it."""

import pytest

from milepost.web.explanations import why_order


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({}, "The order is DELIVERED: no delivery of it is known yet."),
        ({"delivered": 1}, "The order is DELIVERED because its only delivery is DELIVERED."),
        ({"delivered": 3}, "The order is DELIVERED because all 3 deliveries are DELIVERED."),
        (
            {"delivered": 2, "cancelled": 1},
            "The order is DELIVERED because of its 3 deliveries 2 are DELIVERED and 1 is CANCELLED.",
        ),
        (
            {"delivered": 1, "inTransit": 2, "pending": 1},
            "The order is DELIVERED because of its 4 deliveries 1 is DELIVERED, 2 are IN_TRANSIT and 1 is PENDING.",
        ),
    ],
)
def test_why_an_order_is_in_its_state(counts: dict[str, int], said: str) -> None:
    none = {"delivered": 0, "inTransit": 0, "pending": 0, "cancelled": 0}
    summary = {**none, **counts, "deliveries": sum(counts.values())}
    assert why_order({"state": "DELIVERED", "summary": summary}) == said
