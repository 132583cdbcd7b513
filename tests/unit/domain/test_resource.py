"""Resource identifiers: both forms of a milestone's, unknown keys, and everything that is malformed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milepost.domain.errors import Malformed
from milepost.domain.resource import parse_resource

SEGMENT = st.text(st.characters(exclude_characters="/"), min_size=1, max_size=12)
PAIRS = st.lists(st.tuples(SEGMENT, SEGMENT), max_size=5)


def test_a_delivery() -> None:
    resource = parse_resource("businessProduct/bp-1/order/322-1/delivery/d-1")

    assert resource.business_product_id == "bp-1"
    assert (resource.order_id, resource.delivery_id) == ("322-1", "d-1")
    assert (resource.carrier_code, resource.tracking_number) == (None, None)


@pytest.mark.parametrize(
    ("text", "order_id"),
    [
        ("businessProduct/bp-1/carrier/ups/tracker/1Z1", None),
        ("businessProduct/bp-1/order/322-1/carrier/ups/tracker/1Z1", "322-1"),
        ("businessProduct/bp-1/tracker/1Z1/order/322-1/carrier/ups", "322-1"),
    ],
)
def test_both_forms_of_a_milestone_are_read_by_key(text: str, order_id: str | None) -> None:
    resource = parse_resource(text)

    assert (resource.order_id, resource.carrier_code, resource.tracking_number) == (order_id, "ups", "1Z1")


def test_keys_nobody_documented_are_kept_and_the_first_of_a_repeated_key_holds() -> None:
    resource = parse_resource("businessProduct/bp-1/parcel/p-1/order/a/order/b")

    assert resource.get("parcel") == "p-1"
    assert resource.order_id == "a"
    assert str(resource) == "businessProduct/bp-1/parcel/p-1/order/a/order/b"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "segments"),
        ("businessProduct", "segments"),
        ("businessProduct/bp-1/order", "segments"),
        ("order/322-1", "businessProduct"),
        ("businessproduct/bp-1", "businessProduct"),
        ("order/322-1/businessProduct/bp-1", "businessProduct"),
        ("businessProduct/", "empty"),
        ("businessProduct//order/322-1", "empty"),
        ("businessProduct/bp-1//322-1", "empty"),
        ("businessProduct/bp-1/order/", "empty"),
        ("/businessProduct/bp-1", "segments"),
        ("/businessProduct/bp-1/", "businessProduct"),
    ],
)
def test_malformed(text: str, reason: str) -> None:
    with pytest.raises(Malformed, match=reason) as refused:
        parse_resource(text)
    assert refused.value.context == {"field": "resources"}


@given(SEGMENT, PAIRS)
def test_writing_is_the_inverse_of_reading(bp: str, pairs: list[tuple[str, str]]) -> None:
    text = "/".join(["businessProduct", bp, *(segment for pair in pairs for segment in pair)])
    resource = parse_resource(text)

    assert str(resource) == text
    assert resource.pairs == (("businessProduct", bp), *pairs)


@given(st.text())
def test_any_text_is_a_resource_or_malformed(text: str) -> None:
    try:
        resource = parse_resource(text)
    except Malformed:
        return
    assert str(resource) == text
