"""An order document that is given either has an order's shape or is refused; the world never breaks on it."""

import copy
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.sandbox.asking import Asking

from milepost.domain.errors import Invalid
from milepost.domain.instant import parse_instant
from milepost.sandbox.order_shape import check_shape
from milepost.sandbox.world import new_order

START = parse_instant("2025-01-20T12:00:00Z")
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.text(max_size=5),
    st.just([]),
    st.just({}),
    st.just([5]),
    st.just({"details": [5]}),
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, below in inner for place in places(below, (*path, key)))]


def with_value(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    changed = copy.deepcopy(document)
    at = changed
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return changed


ORDER = new_order(1, 9, START, 2)
PLACES = [place for place in places(ORDER) if place and place != ("id",)]


def test_the_worlds_own_orders_have_the_shape() -> None:
    for number in range(20):
        check_shape(new_order(1, number, START))


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("lineItems",), 5, "order.lineItems must be a list"),
        (("metadata",), 5, "order.metadata must be an object"),
        (("returns",), {"details": 5}, "order.returns.details must be a list"),
        (("packageInformation", "details", 0, "packageTracker"), [], "packageTracker must be an object"),
        (("lineItems", 0, "amount", "value"), "many", "amount.value must be a number"),
        (("metadata", "createdAt"), "yesterday", "createdAt must be an ISO 8601 time"),
        (("lineItems", 0), None, "order.lineItems[0] must not be null"),
    ],
)
def test_what_is_wrong_is_named(path: tuple[Any, ...], value: Any, words: str) -> None:
    with pytest.raises(Invalid) as refused:
        check_shape(with_value(ORDER, path, value))
    assert words in refused.value.detail


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.sampled_from(PLACES), value=VALUES)
async def test_no_document_breaks_the_world(asking: Asking, path: tuple[Any, ...], value: Any) -> None:
    """Either it is refused, or it can be moved on and asked for."""
    document = with_value(ORDER, path, value)
    put = await asking.request("POST", "/sandbox/orders", {"businessProductId": "bp-1", "order": document})
    assert put.status_code in (200, 400), put.text
    if put.status_code == 200:
        listed = document["packageInformation"]["details"]
        for delivery in [d["id"] for d in listed]:
            for step in (
                {"state": "IN_TRANSIT"},
                {"milestone": "OUT_FOR_DELIVERY"},
                {"milestone": "DELIVERED"},
            ):
                moved = await asking.request(
                    "POST", "/sandbox/packages", {"orderId": ORDER["id"], "deliveryId": delivery, **step}
                )
                assert moved.status_code in (200, 400, 404, 409), moved.text


async def test_the_worlds_time_has_an_end(asking: Asking) -> None:
    for body in ({"to": "9999-12-31T23:59:59Z"}, {"to": "2200-01-01T00:00:01Z"}):
        refused = await asking.request("POST", "/sandbox/clock", body)
        assert (refused.status_code, refused.json()["code"]) == (400, "invalid_request")
    await asking.post("/sandbox/clock", {"to": "2200-01-01T00:00:00Z"})
    assert (await asking.request("POST", "/sandbox/clock", {"advance": "1s"})).status_code == 400
    await asking.post("/sandbox/events", {"type": "PACKAGE_DELIVERED"})
    assert (await asking.get("/sandbox/clock"))["now"].startswith("2200-01-01")


async def test_orders_are_listed_in_pages(asking: Asking) -> None:
    made = (await asking.post("/sandbox/scenarios", {"scenario": "happy-path", "orders": 7}))["orderIds"]
    seen, after = [], ""
    while after is not None:
        page = await asking.get(
            f"/sandbox/orders?limit=3&after={after}" if after else "/sandbox/orders?limit=3"
        )
        assert len(page["items"]) <= 3
        seen += [item["orderId"] for item in page["items"]]
        after = page["next"]
    assert seen[-7:] == made
    assert len(seen) == len(set(seen))
    assert (await asking.request("GET", "/sandbox/orders?after=%F0")).status_code == 400
