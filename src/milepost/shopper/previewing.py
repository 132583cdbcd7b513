"""Notifications to look at before anybody gets them: of a sample, or of an order as it stands.

Composed as those that are sent, but for the links: they lead to no order and change nobody's choices, so that whoever
may look is given no shopper's token.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from milepost.domain.errors import Invalid, NotFound
from milepost.domain.instant import Instant
from milepost.domain.notification import KINDS, Kind, Notification, Transition, notification_id
from milepost.shopper.composing import LOCALES, Brand, Composed, Links, compose
from milepost.shopper.samples import DIGEST, SAMPLES, Sample, sample

Document = Mapping[str, Any]

ELSEWHERE = "https://orders.example"
"""Where links lead when the settings do not say where shoppers reach the hub."""
_OF_THE_ORDER = frozenset({"all_delivered"})


def preview_sample(name: str, locale: str, brand: Brand) -> Composed:
    """One of `SAMPLES`. Raises `Invalid` for another name, and for a language that there is not."""
    return _composed(sample(_known(name)), locale, brand)


def preview_order(
    order: Document,
    told: Sequence[Notification],
    name: str,
    delivery_id: str | None,
    locale: str,
    brand: Brand,
    now: Instant,
) -> Composed:
    """As one of `SAMPLES` would be for an order's view: of the newest of that kind in `told`, the order's
    notifications, else as if it were decided now. Raises `Invalid`, and `NotFound` for a delivery that the order has
    not."""
    deliveries = [delivery["id"] for delivery in order["deliveries"]]
    if delivery_id is not None and delivery_id not in deliveries:
        raise NotFound(f"The order has no delivery {delivery_id!r}.")
    if _known(name) == DIGEST:
        first, *others = [_made_up(order, "shipped", each, now) for each in deliveries] or [
            _made_up(order, "shipped", "", now)
        ]
        return _composed(Sample(first, order, others), locale, brand)
    kind: Kind = next(each for each in KINDS if each == name)
    known = [n for n in told if n.kind == kind and delivery_id in (None, n.delivery_id)]
    if known:
        covers = [n for n in told if n.id in known[-1].covers]
        return _composed(Sample(known[-1], order, covers), locale, brand)
    about = "" if kind in _OF_THE_ORDER else delivery_id or _likeliest(order, kind)
    return _composed(Sample(_made_up(order, kind, about, now), order), locale, brand)


def _known(name: str) -> str:
    if name not in SAMPLES:
        raise Invalid(f"kind must be one of {', '.join(SAMPLES)}", field="kind")
    return name


def _likeliest(order: Document, kind: Kind) -> str:
    """The delivery that a notification of this kind would be about."""
    ended = [d["id"] for d in order["deliveries"] if (d["state"] == "CANCELLED") == (kind == "cancelled")]
    return next(iter(ended or [d["id"] for d in order["deliveries"]]), "")


def _made_up(order: Document, kind: Kind, delivery_id: str, now: Instant) -> Notification:
    product, order_id = order["businessProductId"], order["id"]
    return Notification(
        id=notification_id(product, order_id, delivery_id, kind, "preview"),
        business_product_id=product,
        order_id=order_id,
        delivery_id=delivery_id,
        kind=kind,
        ordinal="",
        state="WAITING",
        occurred_at=now,
        decided_at=now,
        due_at=now,
        history=(Transition(now, "WAITING", "projector"),),
    )


def _composed(shown: Sample, locale: str, brand: Brand) -> Composed:
    if locale not in LOCALES:
        raise Invalid(f"locale must be one of {', '.join(LOCALES)}", field="locale")
    base = (brand.public_url or ELSEWHERE).rstrip("/")
    return compose(
        shown.notification,
        shown.order,
        kind=shown.notification.kind,
        covers=shown.covers,
        locale=locale,
        brand=brand,
        links=Links(f"{base}/track/preview", f"{base}/unsubscribe/preview"),
    )
