"""Made-up notifications to look at: one of every kind, and a digest of three parcels.

Each has an order's view that is really folded, from answers as the Buy with Prime API gives them, so that a preview
looks as a mail will. The shopper and the goods are invented; the shop and the links are the caller's.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from milepost.domain.fact import SnapshotFact, order_answer
from milepost.domain.instant import parse_instant
from milepost.domain.notification import KINDS, Kind, Notification, Transition, notification_id
from milepost.domain.order import fold_order
from milepost.domain.record import tracker_subject
from milepost.domain.tracker import fold_tracker

DIGEST: Final = "digest"
SAMPLES: Final[tuple[str, ...]] = (*KINDS, DIGEST)
"""What there is to look at."""

_PRODUCT, _ORDER = "bp-sample", "S01-2048131-6650214"
_OBSERVED = parse_instant("2026-01-31T12:00:00Z")
_DECIDED = parse_instant("2026-01-23T18:00:00Z")
_GOODS: Final = (
    ("Enamel mug, forest green", "2"),
    ("Merino hiking socks, size 39–42, pack of three", "1"),
    ("Titanium camping stove", "1"),
    ("Head lamp with red light", "1"),
)
_CARRIERS: Final = (
    ("ups", "1Z679A7B0300000001", "https://carrier.example/ups/1Z679A7B0300000001"),
    ("usps", "9400100000000000000002", "https://carrier.example/usps/9400100000000000000002"),
    ("AMZN_US", "TBA000000000003", ""),
)
_LABEL: Final = ("INFO_RECEIVED", "2026-01-19T16:05:00-08:00")
_MOVES: Final = ("IN_TRANSIT", "2026-01-20T21:40:00-08:00")
_OUT: Final = ("OUT_FOR_DELIVERY", "2026-01-23T08:12:00-08:00")
_TRIED: Final = ("DELIVERY_ATTEMPTED", "2026-01-23T14:31:00-08:00")
_WAITS: Final = ("AVAILABLE_FOR_PICKUP", "2026-01-23T17:20:00-08:00")
_THERE: Final = ("DELIVERED", "2026-01-23T14:31:00-08:00")

Scan = tuple[str, str]


class Sample(Struct, frozen=True):
    """What `compose` is given of a notification."""

    notification: Notification
    order: Mapping[str, Any]
    covers: Sequence[Notification] = ()


class _Story(Struct, frozen=True):
    """How a parcel came to where a kind finds it."""

    scans: Sequence[Scan] = (_LABEL, _MOVES)
    earliest: str = "2026-01-23"
    latest: str = "2026-01-24"
    state: str = "IN_TRANSIT"
    reason: str | None = None
    data: Mapping[str, Any] = {}


_DELIVERED: Final = _Story((_LABEL, _MOVES, _OUT, _THERE), state="DELIVERED")
_STORIES: Final[Mapping[str, _Story]] = {
    "shipped": _Story(),
    "in_transit": _Story(),
    "out_for_delivery": _Story(
        (_LABEL, _MOVES, _OUT), "2026-01-23T14:00:00-08:00", "2026-01-23T18:00:00-08:00"
    ),
    "attempt_failed": _Story((_LABEL, _MOVES, _OUT, _TRIED), data={"attempt": 2}),
    "ready_for_pickup": _Story((_LABEL, _MOVES, _OUT, _TRIED, _WAITS)),
    "pickup_reminder": _Story((_LABEL, _MOVES, _WAITS)),
    "delivered": _Story((_LABEL, _MOVES, _THERE), state="DELIVERED"),
    "delayed": _Story((_LABEL, _MOVES, ("DELAYED", "2026-01-22T09:00:00-08:00")), "2026-01-26", "2026-01-27"),
    "estimate_moved": _Story(
        earliest="2026-01-28",
        latest="2026-01-28",
        data={"before": "2026-01-24", "day": "2026-01-28", "from": "2026-01-28"},
    ),
    "estimate_missed": _Story(),
    "exception": _Story((_LABEL, _MOVES, ("EXCEPTION", "2026-01-22T09:00:00-08:00"))),
    "customer_action": _Story((_LABEL, _MOVES, ("CUSTOMER_ACTION", "2026-01-22T09:00:00-08:00"))),
    "returning": _Story((_LABEL, _MOVES, _OUT, ("RETURN_TO_SENDER", "2026-01-25T09:00:00-08:00"))),
    "lost": _Story((_LABEL, _MOVES, ("LOST", "2026-01-29T09:00:00-08:00"))),
    "cancelled": _Story((), state="CANCELLED", reason="OUT_OF_STOCK"),
    "all_delivered": _DELIVERED,
    "correction": _Story(
        (_LABEL, _MOVES, _OUT, _THERE, ("IN_TRANSIT", "2026-01-24T07:00:00-08:00")), state="DELIVERED"
    ),
    DIGEST: _Story(),
}
_SEVERAL: Final = {DIGEST: 3, "all_delivered": 2}
"""How many parcels a sample's order has, where it has more than one."""


def sample(name: str) -> Sample:
    """The sample of a kind, or the digest. Raises KeyError for a name that is not among `SAMPLES`."""
    story = _STORIES[name]
    kind: Kind = next((kind for kind in KINDS if kind == name), "shipped")
    deliveries = [f"{_ORDER}-{number}" for number in range(1, _SEVERAL.get(name, 1) + 1)]
    told = [_notification(kind, delivery, story) for delivery in deliveries]
    covers = told[1:] if name == DIGEST else ()
    return Sample(told[0], _order(story, deliveries), covers)


def _notification(kind: Kind, delivery_id: str, story: _Story) -> Notification:
    ordinal = str(story.data.get("attempt", ""))
    occurred = parse_instant(story.scans[-1][1]) if story.scans else _DECIDED
    return Notification(
        id=notification_id(_PRODUCT, _ORDER, delivery_id, kind, ordinal),
        business_product_id=_PRODUCT,
        order_id=_ORDER,
        delivery_id=delivery_id,
        kind=kind,
        ordinal=ordinal,
        state="WAITING",
        occurred_at=occurred,
        decided_at=_DECIDED,
        due_at=_DECIDED,
        history=(Transition(_DECIDED, "WAITING", "projector"),),
        data=story.data,
    )


def _order(story: _Story, deliveries: Sequence[str]) -> Mapping[str, Any]:
    """The order's view, folded from one answer of the order query."""
    packages = [
        _package(story, delivery, place, len(deliveries)) for place, delivery in enumerate(deliveries)
    ]
    answer = {
        "id": _ORDER,
        "aliases": [{"aliasId": "#1042", "aliasType": "ORDER_NUMBER"}],
        "customer": {"contact": {"name": "Alex Sample", "email": "alex@shopper.example"}},
        "metadata": {"createdAt": "2026-01-18T19:03:00Z"},
        "lineItems": [
            {"id": _line_id(n), "product": {"title": title}, "amount": {"value": quantity, "unit": "ONE"}}
            for n, (title, quantity) in enumerate(_GOODS)
        ],
        "packageInformation": {"details": packages},
    }
    fact = _snapshot(order_id=_ORDER, order=order_answer(answer))
    trackers = {
        tracker_subject(code, number): fold_tracker(_PRODUCT, code, number, [fact])
        for code, number, _ in _CARRIERS[: len(deliveries)]
    }
    return fold_order(_PRODUCT, _ORDER, [fact], trackers).document


def _package(story: _Story, delivery_id: str, place: int, count: int) -> dict[str, Any]:
    carrier, number, url = _CARRIERS[place]
    held = [(n, quantity) for n, (_, quantity) in enumerate(_GOODS) if n % max(count, 2) == place]
    return {
        "id": delivery_id,
        "state": story.state,
        "reason": story.reason,
        "packageInformationDetailsFor": {
            "orderLineItems": [
                {"lineItem": {"id": _line_id(n)}, "amount": {"value": quantity, "unit": "ONE"}}
                for n, quantity in held
            ]
        },
        "packageTracker": None if not story.scans else _tracker(story, carrier, number, url),
    }


def _tracker(story: _Story, carrier: str, number: str, url: str) -> dict[str, Any]:
    """As the API shows one, with what a mail must never show: a carrier's message, and a place."""
    return {
        "packageTrackerIdentifier": {"carrierCode": carrier, "trackingNumber": number},
        "trackingUrl": url or None,
        "estimatedDeliveryDate": {"earliest": story.earliest, "latest": story.latest},
        "milestones": [
            {
                "occurredAt": occurred,
                "status": {
                    "code": code,
                    "message": [{"locale": "en_US", "value": "Left at 12 Sample Street"}],
                },
                "address": {"locality": "Sampleton", "region": "WA", "country": "US"},
            }
            for code, occurred in story.scans
        ],
    }


def _line_id(number: int) -> str:
    return f"{_ORDER}-line-{number}"


def _snapshot(**fields: Any) -> SnapshotFact:
    nothing: dict[str, Any] = {"carrier_code": None, "tracking_number": None, "tracker": None}
    at: dict[str, Any] = dict.fromkeys(("received_at", "asked_at", "observed_at"), _OBSERVED)
    return SnapshotFact(position=1, query="order", **(nothing | at | fields))
