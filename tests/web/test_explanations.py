"""The sentence that says why an order is in its state, as a person would say it."""

import pytest

from milepost.web.explanations import why_order


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({}, "The order is delivered: no delivery of it is known yet."),
        ({"delivered": 1}, "The order is delivered because its only delivery is delivered."),
        ({"delivered": 3}, "The order is delivered because all 3 deliveries are delivered."),
        (
            {"delivered": 2, "cancelled": 1},
            "The order is delivered because of its 3 deliveries 2 are delivered and 1 is cancelled.",
        ),
        (
            {"delivered": 1, "inTransit": 2, "pending": 1},
            "The order is delivered because of its 4 deliveries 1 is delivered, 2 are in transit and 1 is pending.",
        ),
    ],
)
def test_why_an_order_is_in_its_state(counts: dict[str, int], said: str) -> None:
    none = {"delivered": 0, "inTransit": 0, "pending": 0, "cancelled": 0}
    summary = {**none, **counts, "deliveries": sum(counts.values())}
    assert why_order({"state": "DELIVERED", "summary": summary}) == said
