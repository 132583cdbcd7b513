"""What a message is about, and what its sentences may speak of."""

from typing import Any

import pytest
from tests.unit.shopper.views import changed, with_data

from milepost.shopper.catalogues import catalogue
from milepost.shopper.parcels import parcel_of
from milepost.shopper.samples import Sample, sample
from milepost.shopper.scenes import scene_of, shown_deliveries
from milepost.shopper.sentences import Scene


def ids(given: Sample, kind: str) -> list[str]:
    told = (given.notification, *given.covers)
    return [delivery["id"].rpartition("-")[2] for delivery in shown_deliveries(given.order, kind, told)]


def scene(given: Sample) -> Scene:
    told, says = (given.notification, *given.covers), catalogue("en")
    kind = given.notification.kind
    deliveries = shown_deliveries(given.order, kind, told)
    parcels = [parcel_of(delivery, {}, says, "en") for delivery in deliveries]
    return scene_of(told, kind, deliveries, parcels, "Shop", says, "en")


def test_a_message_shows_its_delivery_and_those_it_covers() -> None:
    given = sample("digest")
    assert ids(given, "shipped") == ["1", "2", "3"]
    assert ids(Sample(given.notification, given.order, given.covers[:1]), "shipped") == ["1", "2"]


def test_one_about_the_order_shows_all_of_it() -> None:
    given = sample("digest")
    whole = type(given.notification)(
        **{f: getattr(given.notification, f) for f in given.notification.__struct_fields__}
        | {"delivery_id": ""}
    )
    assert ids(Sample(whole, given.order), "shipped") == ["1", "2", "3"]


def test_what_was_cancelled_is_not_among_what_arrived() -> None:
    def cancel(order: dict[str, Any]) -> None:
        order["deliveries"][1]["state"] = "CANCELLED"

    assert ids(changed("all_delivered", cancel), "all_delivered") == ["1"]


def test_a_delivery_that_the_view_has_no_more_counts_as_one() -> None:
    given = changed("shipped", lambda order: order["deliveries"].clear())
    assert (scene(given).count, scene(given).carrier, scene(given).day) == (1, "The carrier", "")


@pytest.mark.parametrize(
    ("name", "day"),
    [
        ("shipped", "Tuesday, January 20"),
        ("out_for_delivery", "Friday, January 23"),
        ("attempt_failed", "Friday, January 23"),
        ("ready_for_pickup", "Friday, January 23"),
        ("pickup_reminder", "Friday, January 23"),
        ("delivered", "Friday, January 23"),
        ("all_delivered", "Friday, January 23"),
        ("estimate_missed", "Saturday, January 24"),
        ("lost", ""),
    ],
)
def test_the_day_is_that_of_what_is_told(name: str, day: str) -> None:
    assert scene(sample(name)).day == day


def test_of_several_only_what_is_the_same_is_named() -> None:
    def later(order: dict[str, Any]) -> None:
        order["deliveries"][1]["shippedOn"] = "2026-01-21"

    def one_carrier(order: dict[str, Any]) -> None:
        for delivery in order["deliveries"]:
            delivery["trackers"][0]["carrierCode"] = "ups"

    assert (scene(sample("digest")).carrier, scene(sample("digest")).day) == (
        "The carrier",
        "Tuesday, January 20",
    )
    assert scene(changed("digest", later)).day == ""
    assert scene(changed("digest", one_carrier)).carrier == "UPS"


def test_data_tells_what_the_view_does_not() -> None:
    assert scene(sample("attempt_failed")).attempt == 2
    assert scene(sample("estimate_moved")).before == "Saturday, January 24"
    assert scene(with_data(sample("exception"), code="UNDELIVERABLE")).undeliverable
    assert not scene(with_data(sample("exception"), code="EXCEPTION")).undeliverable


@pytest.mark.parametrize("data", [{}, {"attempt": "2", "before": 7, "code": ["x"]}])
def test_data_of_another_shape_is_left_out(data: dict[str, Any]) -> None:
    told = scene(with_data(sample("attempt_failed"), **data))
    assert (told.attempt, told.before, told.undeliverable) == (0, "", False)
