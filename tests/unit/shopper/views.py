"""What tests of messages begin with: a sample, with its order's view to be changed, and what is made of it."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

from msgspec.structs import replace

from milepost.domain.notification import Notification
from milepost.shopper.composing import Brand, Composed, Links, compose
from milepost.shopper.samples import Sample, sample

BRAND = Brand("Fern & Flint", "https://shop.example", "#2457a6", "help@shop.example", "https://hub.example")
LINKS = Links("https://hub.example/track/to.ken", "https://hub.example/unsubscribe/to.ken")

Change = Callable[[dict[str, Any]], None]


def changed(name: str, *changes: Change) -> Sample:
    """A sample whose order's view was changed."""
    given = sample(name)
    order = deepcopy(dict(given.order))
    for change in changes:
        change(order)
    return Sample(given.notification, order, given.covers)


def delivery_of(name: str, **fields: Any) -> dict[str, Any]:
    """The first delivery of a sample."""
    delivery: dict[str, Any] = deepcopy(sample(name).order["deliveries"][0])
    return {**delivery, **fields}


def message(
    given: Sample | str, *, locale: str = "en", brand: Brand = BRAND, links: Links = LINKS
) -> Composed:
    """The message of a sample."""
    given = sample(given) if isinstance(given, str) else given
    return compose(
        given.notification,
        given.order,
        kind=given.notification.kind,
        covers=given.covers,
        locale=locale,
        brand=brand,
        links=links,
    )


def with_data(given: Sample, **data: Any) -> Sample:
    """The same with other data of its notification."""
    told: Notification = replace(given.notification, data=data)
    return replace(given, notification=told)
