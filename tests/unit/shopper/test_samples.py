"""Samples have the shape of the views that the hub makes, and show what their kind tells."""

import msgspec
import pytest

from milepost.domain.notification import KINDS
from milepost.shopper.samples import DIGEST, SAMPLES, sample
from milepost.web.documents import OrderDocument


def test_there_is_one_of_every_kind_and_a_digest() -> None:
    assert (*KINDS, DIGEST) == SAMPLES
    assert len(sample(DIGEST).covers) == 2


@pytest.mark.parametrize("name", SAMPLES)
def test_a_samples_order_is_an_order_view(name: str) -> None:
    given = sample(name)
    read = msgspec.convert(given.order, OrderDocument)
    ids = [delivery.id for delivery in read.deliveries]
    assert given.notification.delivery_id in ids
    assert {notification.delivery_id for notification in given.covers} <= set(ids)
    assert all(delivery.line_items for delivery in read.deliveries)


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("shipped", "IN_TRANSIT"),
        ("out_for_delivery", "OUT_FOR_DELIVERY"),
        ("ready_for_pickup", "AVAILABLE_FOR_PICKUP"),
        ("delivered", "DELIVERED"),
        ("returning", "RETURNING"),
        ("lost", "LOST"),
        ("correction", "IN_TRANSIT"),
    ],
)
def test_a_sample_stands_where_its_kind_finds_it(name: str, stage: str) -> None:
    assert sample(name).order["deliveries"][0]["trackers"][0]["stage"] == stage


def test_a_sample_is_the_same_whenever_it_is_made() -> None:
    assert sample("delayed") == sample("delayed")


def test_a_sample_that_there_is_not() -> None:
    with pytest.raises(KeyError):
        sample("stalled")
