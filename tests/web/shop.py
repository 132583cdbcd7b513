"""Random parcels with a known truth: a shop whose every order, scan and promise was drawn, put into a world as facts.

The world's clock stands at 2025-01-20T12:00Z; all scans lie before it, promises end on the 19th or before, or on the
22nd or after, so that no zone decides what is due.
"""

from datetime import date, datetime, timedelta
from random import Random
from typing import Any

from tests.web.world import World, event, order, tracker

CARRIERS = ("UPS", "USPS", "FEDEX")
REGIONS = ("WA", "CA", "NY")
OFFSET = "-08:00"
_FIRST = datetime(2025, 1, 1, 9)


def scan(code: str, at: datetime, region: str) -> dict[str, Any]:
    return {
        "status": {"code": code, "message": [{"locale": "en-US", "value": code}]},
        "occurredAt": at.isoformat() + OFFSET,
        "address": {"locality": "Town", "region": region, "country": "US"},
    }


async def ship(
    world: World,
    number: int,
    scans: list[dict[str, Any]],
    promise: date | None,
    *,
    carrier: str = "UPS",
    created: str = "2025-01-01T00:00:00Z",
    state: str = "IN_TRANSIT",
    product: str = "bp-1",
) -> None:
    """One order of one parcel, all that is known of it in one answer, and its ship event."""
    shown = tracker(*scans, carrier=carrier, number=f"1Z{number:05}")
    shown["estimatedDeliveryDate"] = None if promise is None else {"latest": promise.isoformat()}
    known = order(f"order-{number}", (f"delivery-{number}", state, shown)) | {
        "metadata": {"createdAt": created}
    }
    await world.answer("order", known, product, order_id=f"order-{number}")
    resource = f"order/order-{number}/delivery/delivery-{number}"
    when = "2025-01-10T00:00:00Z"
    await world.event(event("PACKAGE_DELIVERY_IN_TRANSIT", number * 10 + 1, resource, product, when))


async def fill(world: World, seed: int, parcels: int) -> None:
    """Draw parcels and put them in."""
    draw = Random(seed)
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
        await ship(world, number, scans, promise, carrier=draw.choice(CARRIERS), created=created)
    await world.project()
