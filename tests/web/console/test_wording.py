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
        "Delivered at 20 Jan 2025, 09:05 UTC, not 21 Jan 2025, 00:00 UTC",
    ),
    (
        "plain",
        "PACKAGE_DELIVERED says OUT_FOR_DELIVERY. LOST since. UPS says DRONE_CAME in US.",
        "“Package delivered” says out for delivery. Lost since. UPS says DRONE_CAME in US.",
    ),
    (
        "plain",
        "packageTracker of 2025-01-20T09:05:59Z shows LOST",
        "The answer of 20 Jan 2025, 09:05 UTC shows lost",
    ),
    (
        "plain",
        "STALLED was raised for tracker/amzn_us/TBA1.",
        "Stalled was raised for Amazon TBA1.",
    ),
    ("plain", "Carrier usps had the parcel at noon.", "USPS had the parcel at noon."),
    ("spoken", "delivery.shipped", "Delivery shipped"),
    ("spoken", "noNewMilestone", "No new milestone"),
    ("road", "eventbridge", "EventBridge"),
    ("road", "hydration", "Hydration"),
    (
        "resource",
        "businessProduct/bp/order/A-1/delivery/8a0d2bd4-1bc0-c284-4a7b-499725f299bc",
        "Order A-1, delivery 8a0d2bd4…",
    ),
    ("resource", "businessProduct/bp/carrier/fedex/tracker/7943", "FedEx 7943"),
    ("resource", "businessProduct/bp/order/A-1/carrier/ups/tracker/1Z", "Order A-1, UPS 1Z"),
    ("resource", "something", "Something"),
    ("plain", "order 2025-01-20", "order 2025-01-20"),
)


@pytest.mark.parametrize(("name", "given", "said"), HOW_THEY_READ)
def test_a_filter_says_it_plainly(name: str, given: str, said: str) -> None:
    assert FILTERS[name](given) == said  # type: ignore[operator]


def test_an_instant_that_there_is_none_of_stands_as_it_is() -> None:
    assert FILTERS["plain"]("at 2025-13-45T99:00:00Z") == "at 2025-13-45T99:00:00Z"  # type: ignore[operator]


@pytest.mark.parametrize(
    ("kind", "type", "said"),
    [
        ("event", "PACKAGE_DELIVERED", "Event: package delivered"),
        ("snapshot", "packageTracker", "Answer about the tracker"),
        ("withdrawal", "", "Withdrawal"),
    ],
)
def test_a_record_is_named_by_what_it_is(kind: str, type: str, said: str) -> None:
    assert FILTERS["evidence"](kind, type) == said  # type: ignore[operator]
