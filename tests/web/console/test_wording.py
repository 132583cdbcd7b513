"""Codes and instants as pages say them."""

import pytest

from milepost.web.console.wording import FILTERS

HOW_THEY_READ = (
    ("spoken", "OUT_FOR_DELIVERY", "Out for delivery"),
    ("deed", "user.passwordSet", "User: password set"),
    ("deed", "note.added", "Note: added"),
    ("deed", "none", "None"),
    ("carrier", "amzn_us", "Amazon"),
    ("carrier", "some_carrier", "some carrier"),
    ("clock", "2025-01-20T09:05:59Z", "09:05 UTC"),
    ("day", "2025-01-20", "20 Jan 2025"),
    (
        "plain",
        "DELIVERED at 2025-01-20T09:05:59.120Z, not 2025-01-21T00:00:00Z",
        "DELIVERED at 20 Jan 2025, 09:05 UTC, not 21 Jan 2025, 00:00 UTC",
    ),
    ("plain", "order 2025-01-20", "order 2025-01-20"),
)


@pytest.mark.parametrize(("name", "given", "said"), HOW_THEY_READ)
def test_a_filter_says_it_plainly(name: str, given: str, said: str) -> None:
    assert FILTERS[name](given) == said  # type: ignore[operator]


def test_an_instant_that_there_is_none_of_stands_as_it_is() -> None:
    assert FILTERS["plain"]("at 2025-13-45T99:00:00Z") == "at 2025-13-45T99:00:00Z"  # type: ignore[operator]
