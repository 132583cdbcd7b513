"""The catalogue of event types: names, former names, permissions and queries as Amazon's pages have them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milepost.domain.event import BY_NAME, CATALOGUE, canonical_type


@pytest.mark.parametrize(
    ("former", "name"),
    [
        ("DELIVERY_IN_TRANSIT", "PACKAGE_DELIVERY_IN_TRANSIT"),
        ("ITEM_IN_TRANSIT", "PACKAGE_DELIVERY_IN_TRANSIT"),
        ("DELIVERY_COMPLETED", "PACKAGE_DELIVERED"),
        ("ITEM_DELIVERED", "PACKAGE_DELIVERED"),
        ("DELIVERY_CANCELLED", "PACKAGE_DELIVERY_CANCELLED"),
        ("ITEM_CANCELLED", "PACKAGE_DELIVERY_CANCELLED"),
        ("RETURN_DELIVERY_COMPLETED", "RETURN_PACKAGE_DELIVERED"),
        ("RETURN_DELIVERY_FAILED", "RETURN_PACKAGE_DELIVERY_FAILED"),
        ("RETURN_DELIVERY_IN_TRANSIT", "RETURN_PACKAGE_IN_TRANSIT"),
    ],
)
def test_former_names_lead_to_todays(former: str, name: str) -> None:
    assert canonical_type(former) == name
    assert former in BY_NAME[name].former_names


def test_no_name_means_two_types() -> None:
    names = [name for t in CATALOGUE for name in (t.name, *t.former_names)]

    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("name", "permission", "query", "keys"),
    [
        ("PACKAGE_DELIVERY_IN_TRANSIT", "Read Order", "order", ("order", "delivery")),
        ("PACKAGE_DELIVERED", "Read Order", "order", ("order", "delivery")),
        ("PACKAGE_DELIVERY_CANCELLED", "Read Order", "order", ("order", "delivery")),
        (
            "PACKAGE_TRACKER_MILESTONE_CHANGED",
            "View Package Tracker Data",
            "packageTracker",
            ("carrier", "tracker"),
        ),
        ("REFUND_REQUESTED", "Read Order", "none", ("order", "refund")),
        ("RETURN_STARTED", "Read Order", "none", ("order", "return")),
    ],
)
def test_what_the_pages_say(name: str, permission: str, query: str, keys: tuple[str, ...]) -> None:
    row = BY_NAME[name]

    assert (row.permission, row.query, row.resource_form) == (permission, query, keys)


def test_only_delivery_and_tracker_events_are_folded() -> None:
    assert {t.name for t in CATALOGUE if t.folded} == {t.name for t in CATALOGUE if t.query != "none"}


@pytest.mark.parametrize("row", CATALOGUE, ids=lambda row: row.name)
def test_every_row_is_whole(row: object) -> None:
    event_type = BY_NAME[row.name]  # type: ignore[attr-defined]

    assert event_type.published_when.endswith(".")
    assert event_type.permission
    assert event_type.resource_form
    assert event_type.default_query.count("{") == event_type.default_query.count("}")


@given(st.text())
def test_canonical_names_are_stable_and_unknown_ones_stay(name: str) -> None:
    assert canonical_type(canonical_type(name)) == canonical_type(name)
    assert canonical_type(name) == name or name in BY_NAME[canonical_type(name)].former_names
