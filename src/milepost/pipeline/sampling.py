"""What a sample of orders shows of events that must have been published, and which roads brought each.

The sample is taken from the newest records that are old enough for every event about them to have come, so that
asking costs the same in a big journal. What counts as lost is `domain.loss`'s.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from milepost.domain.instant import Instant
from milepost.domain.loss import ALL, GRACE_MS, Happened, happened
from milepost.domain.record import (
    Record,
    delivery_subject,
    order_subject,
    resource_subjects,
    subjects_of,
    tracker_subject,
)
from milepost.store import Transaction

RECORDS = 2_000
"""The newest old records, among which orders are looked for."""
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
    end = _position_at(tx, Instant(now - GRACE_MS))
    near = tx.journal.after(max(0, end - RECORDS), RECORDS)
    records = [r for r in near if r.position <= end and (reach is None or r.business_product_id in reach)]
    found: list[Happened] = []
    scanned: dict[str, int] = {}
    orders = _orders(tx, records)
    brought = _brought(tx, orders)
    for order in orders:
        product = order["businessProductId"]
        own = {(subject, kind): roads for (bp, subject, kind), roads in brought.items() if bp == product}
        found.extend(happened(order, own))
        for delivery in order["deliveries"]:
            scanned[product] = scanned.get(product, 0) + _is_scanned(delivery)
    return Sample(found, scanned, len(orders), records[0].received_at if records else None)


def _orders(tx: Transaction, records: Sequence[Record]) -> list[dict[str, Any]]:
    """The orders that these records are about, as their views show them; those of the newest records."""
    keys: dict[Key, None] = {}
    for record in reversed(records):
        if record.kind in ("event", "snapshot") and len(keys) < ORDERS:
            named = (s.partition("/")[2] for s in subjects_of(record) if s.startswith("order/"))
            keys.update(dict.fromkeys((record.business_product_id, order_id) for order_id in named))
    views = tx.views.get([("order", *key) for key in keys])
    return [msgspec.json.decode(view.document) for view in views.values()]


def _brought(tx: Transaction, orders: Sequence[dict[str, Any]]) -> dict[tuple[str, str, str], dict[str, int]]:
    """(business product, subject of a delivery or a tracker, type) to how many events each road brought, and all."""
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
    found: dict[tuple[str, str, str], dict[str, int]] = {}
    for position, record in events.items():
        roads = {arrival.road for arrival in arrivals[position]}
        for subject in _about(record):
            counts = found.setdefault((record.business_product_id, subject, record.type), {})
            for road in (*roads, ALL):
                counts[road] = counts.get(road, 0) + 1
    return found


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


def _position_at(tx: Transaction, at: Instant) -> int:
    """The last position that came by then; times hardly ever go back along the journal."""
    low, high = 0, tx.journal.last_position()
    while low < high:
        middle = (low + high) // 2
        record = next(iter(tx.journal.after(middle, 1)), None)
        if record is not None and record.received_at <= at:
            low = record.position
        else:
            high = middle
    return low
