"""Random parcels with a known truth: a shop whose every order, scan and promise was drawn, put into a world as facts.

The world's clock stands at 2025-01-20T12:00Z; all scans lie before it, promises end on the 19th or before, or on the
22nd or after, so that no zone decides what is due.
"""

from datetime import date, datetime, timedelta
from random import Random
from typing import Any

import msgspec
from tests.web.world import World, event, order, tracker

from milepost.domain.envelope import parse_event
from milepost.domain.record import Snapshot
from milepost.store import Arrival, NewRecord

Parcel = tuple[str, dict[str, Any], dict[str, Any]]
"""(business product, the order's answer, its ship event)."""

CARRIERS = ("UPS", "USPS", "FEDEX")
REGIONS = ("WA", "CA", "NY")
OFFSET = "-08:00"
_FIRST = datetime.fromisoformat("2025-01-01T09:00")


def scan(code: str, at: datetime, region: str) -> dict[str, Any]:
    return {
        "status": {"code": code, "message": [{"locale": "en-US", "value": code}]},
        "occurredAt": at.isoformat() + OFFSET,
        "address": {"locality": "Town", "region": region, "country": "US"},
    }


def parcel(
    number: int,
    scans: list[dict[str, Any]],
    promise: date | None,
    *,
    carrier: str = "UPS",
    created: str = "2025-01-01T00:00:00Z",
    product: str = "bp-1",
) -> Parcel:
    """One order of one parcel, all that is known of it in one answer, and its ship event."""
    shown = tracker(*scans, carrier=carrier, number=f"1Z{number:05}")
    shown["estimatedDeliveryDate"] = None if promise is None else {"latest": promise.isoformat()}
    known = order(f"order-{number}", (f"delivery-{number}", "IN_TRANSIT", shown))
    resource = f"order/order-{number}/delivery/delivery-{number}"
    told = event("PACKAGE_DELIVERY_IN_TRANSIT", number, resource, product, "2025-01-10T00:00:00Z")
    return product, known | {"metadata": {"createdAt": created}}, told


async def put(world: World, *parcels: Parcel) -> None:
    """Journal what is known of these, in two commits, and project it."""
    now = world.now
    records = [
        NewRecord("snapshot", product, "order", now, now, "hydration", msgspec.json.encode(snapshot))
        for product, known, _ in parcels
        for snapshot in (Snapshot("order", now, now, known, order_id=known["id"]),)
    ]
    await world.store.write(lambda tx: tx.journal.add(records))
    bodies = [msgspec.json.encode(told) for _, _, told in parcels]
    await world.store.append([Arrival(parse_event(body), body, now, "webhook") for body in bodies])
    await world.project()


async def fill(world: World, seed: int, parcels: int) -> None:
    """Draw parcels and put them in."""
    draw, drawn = Random(seed), []
    for number in range(parcels):
        began = _FIRST + timedelta(minutes=draw.randrange(9 * 24 * 60))
        here, there = draw.choice(REGIONS), draw.choice(REGIONS)
        scans = [
            scan("INFO_RECEIVED", began, here),
            scan("IN_TRANSIT", began + timedelta(hours=draw.randrange(1, 30)), here),
        ]
        at = datetime.fromisoformat(scans[-1]["occurredAt"][:-6])
        if draw.random() < 0.15:
            scans.append(scan("EXCEPTION", at + timedelta(hours=1), here))
        out = at + timedelta(minutes=draw.randrange(600, 9_000))
        fate = draw.random()
        if fate < 0.75:
            scans.append(scan("OUT_FOR_DELIVERY", out, there))
            if draw.random() < 0.2:
                scans.append(scan("DELIVERY_ATTEMPTED", out + timedelta(minutes=30), there))
            scans.append(scan("DELIVERED", out + timedelta(hours=2), there))
            if draw.random() < 0.1:
                scans.append(scan("OUT_FOR_DELIVERY", out + timedelta(hours=20), there))
        elif fate < 0.85:
            scans.append(scan("RETURN_TO_SENDER", out, here))
        scans = [s for s in scans if s["occurredAt"] < "2025-01-20"]
        promise = (
            date(2025, 1, draw.choice((5, 8, 11, 13, 15, 17, 18, 23, 25))) if draw.random() < 0.9 else None
        )
        created = (began - timedelta(hours=draw.randrange(1, 60))).isoformat() + OFFSET
        drawn.append(parcel(number, scans, promise, carrier=draw.choice(CARRIERS), created=created))
    await put(world, *drawn)
