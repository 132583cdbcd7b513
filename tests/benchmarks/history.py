"""Journals for the benchmarks: parcels that ship, move and arrive, seven records an order, interleaved.

The records of one order lie apart, as they do in a real journal where many parcels move at once.
"""

import json

import msgspec

from milepost.domain.envelope import parse_event
from milepost.domain.instant import Instant, format_instant
from milepost.domain.record import Snapshot
from milepost.store import Arrival, NewRecord, Store, Transaction

PRODUCT = "bp-bench"
PER_ORDER = 7
WINDOW = 200
"""Orders that are under way at once."""

_START = 1_735_689_600_000


async def fill(store: Store, records: int) -> None:
    """Journal `records` records (a multiple of seven times the window is filled up to)."""
    orders = -(-records // PER_ORDER)
    for first in range(0, orders, WINDOW):
        window = range(first, min(first + WINDOW, orders))
        for step in range(PER_ORDER):
            if step in (0, 2, 4, 6):
                await store.append([_event(n, step) for n in window])
            else:
                added = [_snapshot(n, step) for n in window]

                def add(tx: Transaction, added: list[NewRecord] = added) -> None:
                    tx.journal.add(added)

                await store.write(add)


def _at(n: int, step: int) -> Instant:
    return Instant(_START + n * 60_000 + step * 3_600_000)


def tracking_number(n: int) -> str:
    return f"1Z679A7B{n:010d}"


def _event(n: int, step: int) -> Arrival:
    at = _at(n, step)
    order = f"businessProduct/{PRODUCT}/order/322-{n:08d}"
    descriptor, resource, data = {
        0: ("PACKAGE_DELIVERY_IN_TRANSIT", f"{order}/delivery/delivery-{n}", {}),
        6: ("PACKAGE_DELIVERED", f"{order}/delivery/delivery-{n}", {"order": _order(n, "DELIVERED", False)}),
    }.get(
        step,
        (
            "PACKAGE_TRACKER_MILESTONE_CHANGED",
            f"businessProduct/{PRODUCT}/carrier/ups/tracker/{tracking_number(n)}",
            {},
        ),
    )
    body = json.dumps(
        {
            "idempotencyKey": f"key-{n}-{step}",
            "eventDescriptor": descriptor,
            "resources": [resource],
            "eventId": f"event-{n}-{step}",
            "apiVersion": "2024-11-01",
            "subscriptionId": "sub-bench",
            "eventTime": format_instant(at),
            "data": data,
        }
    ).encode()
    return Arrival(parse_event(body), body, Instant(at + 500), "webhook")


def _snapshot(n: int, step: int) -> NewRecord:
    at = Instant(_at(n, step - 1) + 2_000)
    if step == 1:
        snapshot = Snapshot("order", at, at, _order(n, "IN_TRANSIT", True), order_id=f"322-{n:08d}")
    else:
        snapshot = Snapshot(
            "packageTracker",
            at,
            at,
            _tracker(n, step),
            carrier_code="ups",
            tracking_number=tracking_number(n),
        )
    body = msgspec.json.encode(snapshot)
    return NewRecord("snapshot", PRODUCT, snapshot.query, at, at, "hydration", body)


def _tracker(n: int, step: int) -> dict[str, object]:
    codes = ["INFO_RECEIVED", "IN_TRANSIT", "IN_TRANSIT", "OUT_FOR_DELIVERY"][: step - 1]
    return {
        "packageTrackerIdentifier": {"trackingNumber": tracking_number(n), "carrierCode": "ups"},
        "trackingUrl": f"https://example.com/track/{tracking_number(n)}",
        "estimatedDeliveryDate": {
            "earliest": format_instant(_at(n, 30)),
            "latest": format_instant(_at(n, 54)),
        },
        "milestones": [
            {
                "occurredAt": format_instant(_at(n, i)),
                "status": {"code": code, "message": {"locale": "en-US", "value": code.title()}},
                "address": {"locality": "Reno", "region": "NV", "country": "US"},
            }
            for i, code in enumerate(codes)
        ],
    }


def _order(n: int, state: str, full: bool) -> dict[str, object]:
    entry: dict[str, object] = {"lineItem": {"id": f"item-{n}"}}
    tracker: dict[str, object] = {
        "packageTrackerIdentifier": {"trackingNumber": tracking_number(n), "carrierCode": "ups"},
        "trackingUrl": f"https://example.com/track/{tracking_number(n)}",
    }
    order: dict[str, object] = {
        "id": f"322-{n:08d}",
        "aliases": [{"aliasId": f"shop-{n}", "aliasType": "EXTERNAL_ID"}],
        "packageInformation": {
            "details": [
                {
                    "id": f"delivery-{n}",
                    "state": state,
                    "packageTracker": tracker,
                    "packageInformationDetailsFor": {"orderLineItems": [entry]},
                }
            ]
        },
    }
    if full:
        entry["amount"] = {"unit": "ONE", "value": "1"}
        tracker["milestones"] = _tracker(n, 3)["milestones"]
        order["customer"] = {"contact": {"name": f"Customer {n}", "email": f"customer{n}@example.com"}}
        order["lineItems"] = [
            {
                "id": f"item-{n}",
                "amount": {"unit": "ONE", "value": "1"},
                "product": {"title": "A thing", "price": {"amount": "12.50", "currencyCode": "USD"}},
            }
        ]
    return order
