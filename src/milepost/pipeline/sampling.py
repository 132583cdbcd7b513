"""What a sample of orders shows of events that must have been published, and which roads brought each.

The sample is spread evenly over the records of two weeks, but for the newest, about which events may still come: so
asking costs the same in a big journal, and each hour of the day is in it. What counts as lost is `domain.loss`'s.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from milepost.domain.instant import HOUR, Instant
from milepost.domain.loss import ALL, GRACE_MS, Brought, Happened, happened
from milepost.domain.record import (
    Record,
    delivery_subject,
    order_subject,
    resource_subjects,
    subjects_of,
    tracker_subject,
)
from milepost.domain.volume import IN_USE_HOURS
from milepost.pipeline.positions import position_at
from milepost.store import Transaction

CHUNKS, CHUNK = 20, 100
"""At so many places of the journal so many records are read, to find orders in them."""
ORDERS = 200

Key = tuple[str, str]
"""(business product, subject)."""


class Sample(Struct, frozen=True):
    """What was looked at, and what must have happened."""

    happened: Sequence[Happened]
    scanned: Mapping[str, int]
    """By business product: deliveries that a carrier has scanned."""
    orders: int
    since: Instant | None
    """When the oldest record came that was looked at."""


def sample(tx: Transaction, now: Instant, reach: Collection[str] | None) -> Sample:
    """Sample the orders of these business products."""
    begin = position_at(tx, Instant(now - IN_USE_HOURS * HOUR))
    end = position_at(tx, Instant(now - GRACE_MS))
    chunks = [
        [r for r in listed if r.position <= end and (reach is None or r.business_product_id in reach)]
        for at in range(begin, end, max(CHUNK, -(-(end - begin) // CHUNKS)))
        if (listed := tx.journal.after(at, CHUNK))
    ]
    found: list[Happened] = []
    scanned: dict[str, int] = {}
    orders = _orders(tx, chunks)
    brought = _brought(tx, orders)
    for order in orders:
        product = order["businessProductId"]
        found.extend(happened(order, brought.get(product, {})))
        for delivery in order["deliveries"]:
            scanned[product] = scanned.get(product, 0) + _is_scanned(delivery)
    since = next((chunk[0].received_at for chunk in chunks if chunk), None)
    return Sample(found, scanned, len(orders), since)


def _orders(tx: Transaction, chunks: Sequence[Sequence[Record]]) -> list[dict[str, Any]]:
    """The orders that these records are about, as their views show them; of each chunk as many as of the others."""
    keys: dict[Key, None] = {}
    for count, chunk in enumerate(chunks, 1):
        for record in chunk:
            if record.kind in ("event", "snapshot") and len(keys) < ORDERS * count // len(chunks):
                named = (s.partition("/")[2] for s in subjects_of(record) if s.startswith("order/"))
                keys.update(dict.fromkeys((record.business_product_id, order_id) for order_id in named))
    views = tx.views.get([("order", *key) for key in keys])
    return [msgspec.json.decode(view.document) for view in views.values()]


def _brought(tx: Transaction, orders: Sequence[dict[str, Any]]) -> dict[str, Brought]:
    """By business product: how many events about each delivery and tracker each road brought, and all."""
    wanted: set[Key] = set()
    for order in orders:
        product = order["businessProductId"]
        wanted.add((product, order_subject(order["id"])))
        for delivery in order["deliveries"]:
            for one in delivery["trackers"]:
                wanted.add((product, tracker_subject(one["carrierCode"], one["trackingNumber"])))
    listed = tx.journal.of_subjects(wanted).values()
    events = {r.position: r for records in listed for r in records if r.kind == "event"}
    arrivals = tx.journal.arrivals(events)
    found: dict[str, dict[tuple[str, str], dict[str, int]]] = {}
    for position, record in events.items():
        roads = {arrival.road for arrival in arrivals[position]}
        own = found.setdefault(record.business_product_id, {})
        for subject in _about(record):
            counts = own.setdefault((subject, record.type), {})
            for road in (*roads, ALL):
                counts[road] = counts.get(road, 0) + 1
    return dict(found)


def _about(record: Record) -> set[str]:
    """The deliveries and trackers that an event names."""
    found: set[str] = set()
    for resource in record.event().resources:
        if resource.delivery_id is not None:
            found.add(delivery_subject(resource.delivery_id))
        found.update(s for s in resource_subjects(resource) if s.startswith("tracker/"))
    return found


def _is_scanned(delivery: Mapping[str, Any]) -> bool:
    return any(tracker["shippedAt"] for tracker in delivery["trackers"])
