"""A read side over a real store, and a merchant's history to put into it.

`World` holds the real parts (SQLite, ingest, the projector's consumer, the app) and says in few words what came
in: an event by either road, an answer of a query. Its clock stands still until a test moves it.
"""

from collections.abc import Mapping
from typing import Any

import httpx
import msgspec
from litestar import Litestar

from milepost.domain.capture import Capture, Transition, capture_id
from milepost.domain.condition import Policy
from milepost.domain.instant import Instant, format_instant, parse_instant
from milepost.domain.record import Snapshot
from milepost.pipeline.consumer import Consumer
from milepost.pipeline.ingest import Ingest
from milepost.pipeline.insights import Insights
from milepost.pipeline.projector import NAME, Projector
from milepost.store import ApiKey, NewRecord, Receipt, Scope, Store
from milepost.web.app import create_app
from milepost.web.authentication import hash_of, new_key
from milepost.web.context import Context

ADMIN_KEY = "the-admin-key-from-the-settings"
START = parse_instant("2025-01-20T12:00:00Z")
SECOND, MINUTE, HOUR = 1_000, 60_000, 3_600_000


class World:
    """Everything a test of the read side touches."""

    def __init__(self, store: Store, **context: Any) -> None:
        self.store = store
        self.now = START
        self.ingest = Ingest(store, lambda: self.now)
        self.projector = Consumer(
            store, NAME, Projector(store, Policy(), lambda: self.now).prepare, lambda: self.now
        )
        insights = Insights(store, Policy(), refresh_s=0)
        given = {"admin_key": ADMIN_KEY, "version": "1.2.3", "insights": insights, "fold_wait_s": 0.0}
        settings: dict[str, Any] = given | context
        self.context = Context(store, lambda: self.now, self.ingest, **settings)
        self.app = _app(self.context)
        self._keys = 0

    def client(self, key: str | None = ADMIN_KEY) -> httpx.AsyncClient:
        """An HTTP client of the app, in this process."""
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)  # type: ignore[arg-type]
        return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8480", headers=headers)

    async def put(self, path: str, body: object = None, key: str | None = ADMIN_KEY) -> httpx.Response:
        async with self.client(key) as client:
            return await client.put(path, json=body)

    async def capture(self, delivery_id: str = "delivery-1", **fields: Any) -> Capture:
        """A capture in the ledger: READY now, or as `fields` say."""
        given: dict[str, Any] = {"product": "bp-1", "order_id": "order-1", "state": "READY"} | fields
        product, order_id, state = given.pop("product"), given.pop("order_id"), given.pop("state")
        evidence = {"kind": "event", "at": format_instant(given.get("ready_at", self.now)), "position": 1}
        made: dict[str, Any] = {
            "ready_at": self.now,
            "evidence": (evidence,),
            "line_items": ({"id": "item-1", "quantity": "1", "unit": "unit"},),
            "history": (Transition(self.now, state, "projector"),),
        } | given
        name = capture_id(product, order_id, delivery_id)
        capture = Capture(name, product, order_id, delivery_id, state, **made)
        await self.store.write(lambda tx: tx.ledger.put_captures([capture]))
        return capture

    async def get(self, path: str, key: str | None = ADMIN_KEY, **parameters: Any) -> httpx.Response:
        async with self.client(key) as client:
            return await client.get(path, params=parameters)

    async def post(self, path: str, body: object = None, key: str | None = ADMIN_KEY) -> httpx.Response:
        async with self.client(key) as client:
            return await client.post(path, json=body)

    async def key(self, scope: Scope = "read", *products: str) -> str:
        """A new API key."""
        key = new_key()
        self._keys += 1
        row = ApiKey(f"key_{self._keys:04}", f"{scope} key", hash_of(key), scope, products, self.now)
        await self.store.write(lambda tx: tx.credentials.put_api_key(row))
        return key

    async def event(self, body: Mapping[str, Any]) -> Receipt:
        """An event at the door, a second after whatever came before."""
        self.now = Instant(self.now + SECOND)
        return await self.ingest.ingest(msgspec.json.encode(body))

    async def answer(
        self, query: str, answer: dict[str, Any] | None, product: str = "bp-1", **about: str
    ) -> int:
        """A snapshot record, as the hydrator would journal it. `about` as in `Snapshot`."""
        self.now = Instant(self.now + SECOND)
        snapshot = Snapshot(query, self.now, self.now, answer, **about)  # type: ignore[arg-type]
        record = NewRecord(
            "snapshot", product, query, self.now, self.now, "hydration", msgspec.json.encode(snapshot)
        )
        return (await self.store.write(lambda tx: tx.journal.add([record])))[0]

    async def project(self) -> None:
        await self.projector.catch_up()

    def at(self) -> str:
        """The time now, as text."""
        return format_instant(self.now)


_APPS: list[Litestar] = []


def _app(context: Context) -> Litestar:
    """One app for all worlds, with this one's context: putting its routes together is what takes time."""
    if not _APPS:
        _APPS.append(create_app(context))
    _APPS[0].state.context = context
    for known in ("store_state", "missing"):
        _APPS[0].state.pop(known, None)
    return _APPS[0]


def event(
    type: str,
    number: int,
    resource: str,
    product: str = "bp-1",
    when: str = "2025-01-20T12:00:00Z",
    data: dict[str, Any] | None = None,
    **fields: Any,
) -> dict[str, Any]:
    """A webhook body."""
    return {
        "idempotencyKey": f"key-{number}",
        "eventDescriptor": type,
        "resources": [f"businessProduct/{product}/{resource}"],
        "eventId": f"event-{number}",
        "apiVersion": "2024-11-01",
        "subscriptionId": "subscription-1",
        "eventTime": when,
        "data": data or {},
    } | fields


def milestone(code: str, when: str, city: str = "Seattle") -> dict[str, Any]:
    return {
        "status": {"code": code, "message": [{"locale": "en-US", "value": f"{code.lower()} in {city}"}]},
        "occurredAt": when,
        "address": {"locality": city, "region": "WA", "country": "US"},
    }


def tracker(*milestones: dict[str, Any], carrier: str = "UPS", number: str = "1Z999") -> dict[str, Any]:
    """A packageTracker object."""
    return {
        "packageTrackerIdentifier": {"trackingNumber": number, "carrierCode": carrier},
        "trackingUrl": f"https://track.example/{number}",
        "estimatedDeliveryDate": {"earliest": "2025-01-22", "latest": "2025-01-23"},
        "milestones": list(milestones),
    }


def order(order_id: str, *packages: tuple[str, str, dict[str, Any] | None]) -> dict[str, Any]:
    """An order object; a package is (delivery id, state, packageTracker)."""
    return {
        "id": order_id,
        "aliases": [{"aliasId": f"shop-{order_id}", "aliasType": "EXTERNAL"}],
        "customer": {"contact": {"name": "Ada Lovelace", "email": "ada@example.com"}},
        "packageInformation": {
            "details": [
                {
                    "id": delivery_id,
                    "state": state,
                    "packageTracker": package,
                    "packageInformationDetailsFor": {
                        "orderLineItems": [
                            {"lineItem": {"id": "item-1"}, "amount": {"value": 1, "unit": "unit"}}
                        ]
                    },
                }
                for delivery_id, state, package in packages
            ]
        },
        "lineItems": [{"id": "item-1", "title": "Kettle", "amount": {"value": 1, "unit": "unit"}}],
    }


async def one_delivery(world: World, product: str = "bp-1", order_id: str = "order-1") -> list[str]:
    """A parcel from shipping to delivery, each step projected; returns the time behind each step."""
    number = 1 if product == "bp-1" else 100
    tracking = "1Z999" if product == "bp-1" else "1Z-of-" + product
    delivery = f"order/{order_id}/delivery/delivery-1"
    moving = milestone("IN_TRANSIT", "2025-01-20T12:30:00Z")
    arrived = milestone("DELIVERED", "2025-01-21T10:00:00Z", "Portland")
    times: list[str] = []

    async def step(done: object) -> None:
        await world.project()
        times.append(world.at())
        world.now = Instant(world.now + HOUR)

    await step(await world.event(event("PACKAGE_DELIVERY_IN_TRANSIT", number, delivery, product)))
    known = order(order_id, ("delivery-1", "IN_TRANSIT", tracker(number=tracking)))
    await step(await world.answer("order", known, product, order_id=order_id))
    about = {"carrier_code": "UPS", "tracking_number": tracking}
    await step(await world.answer("packageTracker", tracker(moving, number=tracking), product, **about))
    world.now = Instant(parse_instant("2025-01-21T10:05:00Z"))
    await step(
        await world.event(
            event("PACKAGE_DELIVERED", number + 1, delivery, product, when="2025-01-21T10:01:00Z")
        )
    )
    await step(
        await world.answer("packageTracker", tracker(moving, arrived, number=tracking), product, **about)
    )
    return times
