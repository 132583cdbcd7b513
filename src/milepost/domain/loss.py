"""What a road loses: events that are known to have happened, and that it never brought (tracking.md 12.6).

That one happened is known from what an answer of the API shows (the delivery is delivered, the parcel was scanned),
or from the other road. A road is expected to bring it if it brought events of its business product and type before
it and again a while after it (`volume.Span`): so neither what nobody subscribed to counts as lost, nor what came
before a subscription or after it. Milestones are held against milestone events by number, since no event names
its milestone.

A delivery's cancellation is left out: no answer says when it happened. What only a replay brought is nobody's.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from milepost.domain.condition import COUNTING
from milepost.domain.instant import HOUR, Instant, readable_instant
from milepost.domain.record import delivery_subject, tracker_subject
from milepost.domain.roads import LIVE
from milepost.domain.volume import MILESTONE, Span, Spans, hour_of

GRACE_MS = 6 * HOUR
"""Before an event counts as lost, it and others behind it are given so long to come."""

SHIPPED, DELIVERED = "PACKAGE_DELIVERY_IN_TRANSIT", "PACKAGE_DELIVERED"
_SHOWN = 10

Document = Mapping[str, Any]
Brought = Mapping[tuple[str, str], Mapping[str, int]]
"""(subject, type) to how many events about it each road brought; under the empty road, how many there were in all."""
ALL = ""


class Happened(Struct, frozen=True):
    """Events of one type about one delivery or tracker that should have come."""

    business_product_id: str
    type: str
    subject: str
    times: tuple[Instant, ...]
    """When each happened."""
    brought: Mapping[str, int]


class Loss(Struct, frozen=True):
    """What one road did not bring of a type."""

    road: str
    type: str
    expected: int
    lost: int
    unheard: int
    """Those of the lost that no road brought: an answer of the API told of them."""
    subjects: tuple[str, ...]
    """What the newest of the lost are about."""


def happened(order: Document, brought: Brought) -> Iterator[Happened]:
    """What must have been published about the deliveries of an order, and about their trackers."""
    product = order["businessProductId"]
    for delivery in order["deliveries"]:
        subject = delivery_subject(delivery["id"])
        claimed = delivery["claimedState"]
        moments = (
            (SHIPPED, delivery["shippedAt"] if claimed in ("IN_TRANSIT", "DELIVERED") else None),
            (DELIVERED, delivery["deliveredAt"] if claimed == "DELIVERED" else None),
        )
        for kind, text in moments:
            if (at := readable_instant(text)) is not None:
                yield Happened(product, kind, subject, (at,), brought.get((subject, kind), {}))
        for tracker in delivery["trackers"]:
            carried = tracker_subject(tracker["carrierCode"], tracker["trackingNumber"])
            scans = [m["occurredAt"] for m in tracker["milestones"] if m["standing"] in COUNTING]
            times = sorted(at for text in scans if (at := readable_instant(text)) is not None)
            if times:
                events = brought.get((carried, MILESTONE), {})
                yield Happened(product, MILESTONE, carried, tuple(times), events)


def losses(events: Iterable[Happened], spans: Spans, now: Instant) -> list[Loss]:
    """What each live road was expected to bring, and what it lost of that, given the spans of two weeks; roads that
    nothing was expected of are left out."""
    found: dict[tuple[str, str], list[tuple[Happened, int, int]]] = {}
    for event in events:
        if event.brought.get(ALL) and not any(event.brought.get(road) for road in LIVE):
            continue
        for road in LIVE:
            span = spans.get((event.business_product_id, event.type, road))
            if span is not None and (expected := sum(_is_within(at, span, now) for at in event.times)):
                lost = max(0, expected - event.brought.get(road, 0))
                found.setdefault((road, event.type), []).append((event, expected, lost))
    return [_loss(*key, rows) for key, rows in sorted(found.items())]


def _is_within(at: Instant, span: Span, now: Instant) -> bool:
    later = Instant(at + GRACE_MS)
    return later <= now and span.first < hour_of(at) and hour_of(later) <= span.last


def _loss(road: str, type: str, rows: Sequence[tuple[Happened, int, int]]) -> Loss:
    lost = [(event, count) for event, _, count in rows if count]
    unheard = sum(min(n, max(0, len(e.times) - e.brought.get(ALL, 0))) for e, n in lost)
    newest = sorted(lost, key=lambda row: row[0].times[-1], reverse=True)[:_SHOWN]
    subjects = tuple(event.subject for event, _ in newest)
    return Loss(road, type, sum(n for _, n, _ in rows), sum(n for _, n in lost), unheard, subjects)
