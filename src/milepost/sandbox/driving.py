"""Driving the sandbox's world from any language: `/sandbox/…`.

    POST /sandbox/scenarios   {"scenario", "orders", "packages"}: start orders that live a scenario
    POST /sandbox/orders      {"businessProductId", "order"}: put an order document into the world as given
    GET  /sandbox/orders      ids and states of the world's orders
    POST /sandbox/packages    {"orderId", "deliveryId", "state", "reason"} or {…, "milestone"}: one step now
    POST /sandbox/events      {"type", …}: cause an event, prerequisites included, waits skipped
    POST /sandbox/faults      the faults to turn on or off; answers those that are on

What a request does is `keeper`'s; who may send one is `http`'s.
"""

from typing import Any

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import asdict, replace

from milepost.domain.errors import Invalid, NotFound
from milepost.domain.event import canonical_type
from milepost.sandbox.clock import WorldClock
from milepost.sandbox.faults import ActiveFaults
from milepost.sandbox.http import Request, Response, Routes, decoded, json_response
from milepost.sandbox.keeper import Keeper
from milepost.sandbox.reading import home_of
from milepost.sandbox.world import Step

MOST_ORDERS = 1_000
"""Orders one scenario request may start."""


class StartScenario(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    scenario: str = "mixed"
    orders: int = 1
    packages: int | None = None
    business_product_id: str | None = None


class PutOrder(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    order: dict[str, Any]
    business_product_id: str | None = None


class MovePackage(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    delivery_id: str
    order_id: str | None = None
    state: str = ""
    reason: str = ""
    milestone: str = ""
    locality: str = ""
    region: str = ""
    business_product_id: str | None = None


class CauseEvent(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Without any id a new order is made for the event."""

    type: str
    order_id: str | None = None
    delivery_id: str | None = None
    carrier_code: str | None = None
    tracking_number: str | None = None
    reason: str = ""
    milestone: str = ""
    business_product_id: str | None = None
    eventbridge: bool = False
    """The form it is to be published in; this sandbox has one, so the other is refused."""


class SetFaults(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    api_down: bool | UnsetType = UNSET
    throttling: bool | UnsetType = UNSET
    tracker_null_seconds: float | UnsetType = UNSET
    order_behind_seconds: float | UnsetType = UNSET


class DrivingRoutes:
    """The routes that change the world."""

    def __init__(
        self, keeper: Keeper, clock: WorldClock, faults: ActiveFaults, *, eventbridge: bool = False
    ) -> None:
        """`eventbridge` says in which form this sandbox publishes."""
        self._keeper = keeper
        self._clock = clock
        self._faults = faults
        self._eventbridge = eventbridge

    def routes(self) -> Routes:
        return {
            ("POST", "/sandbox/scenarios"): self._scenarios,
            ("POST", "/sandbox/orders"): self._put_order,
            ("GET", "/sandbox/orders"): self._orders,
            ("POST", "/sandbox/packages"): self._packages,
            ("POST", "/sandbox/events"): self._events,
            ("POST", "/sandbox/faults"): self._set_faults,
        }

    # ── The world ──────────────────────────────────────────────────────────────────────────────────────────

    async def _scenarios(self, request: Request) -> Response:
        asked = decoded(request.body, StartScenario)
        if not 1 <= asked.orders <= MOST_ORDERS:
            raise Invalid(f"orders must be 1 to {MOST_ORDERS}", field="orders")
        if asked.packages is not None and not 1 <= asked.packages <= 3:
            raise Invalid("packages must be 1 to 3", field="packages")
        made = await self._keeper.start(
            asked.orders, asked.scenario, asked.packages, asked.business_product_id
        )
        return json_response({"orderIds": made})

    async def _put_order(self, request: Request) -> Response:
        asked = decoded(request.body, PutOrder)
        product = asked.business_product_id or self._keeper.business_product_id
        await self._keeper.put(product, asked.order)
        return json_response({"orderId": asked.order["id"], "businessProductId": product})

    async def _orders(self, request: Request) -> Response:
        items: list[dict[str, Any]] = []
        after: tuple[int, str, str] | None = None
        while page := await self._keeper.page(after, 500):
            items.extend(
                {
                    "orderId": world.id,
                    "businessProductId": world.business_product_id,
                    "state": world.order["packageInformation"]["summary"]["state"],
                    "deliveryIds": [d["id"] for d in world.order["packageInformation"]["details"]],
                }
                for _, world in page
            )
            number, last = page[-1]
            after = (number, last.business_product_id, last.id)
        return json_response({"items": items, "next": None})

    async def _packages(self, request: Request) -> Response:
        asked = decoded(request.body, MovePackage)
        if bool(asked.state) == bool(asked.milestone):
            raise Invalid("give either a state or a milestone", field="state")
        order_id = await self._order_id(asked.order_id, asked.delivery_id, asked.business_product_id)
        world = await self._keeper.order(order_id, asked.business_product_id)
        home = home_of(world.order) if world is not None else None
        step = Step(
            self._clock.now(),
            asked.delivery_id,
            asked.milestone,
            asked.state,
            asked.reason,
            asked.locality or (home.locality if home else ""),
            asked.region or (home.region if home else ""),
        )
        published = await self._keeper.act(order_id, step, asked.business_product_id)
        return json_response({"orderId": order_id, "events": published})

    async def _events(self, request: Request) -> Response:
        asked = decoded(request.body, CauseEvent)
        if asked.eventbridge and not self._eventbridge:
            raise Invalid(
                "this sandbox publishes webhook bodies; start it with --eventbridge", field="eventbridge"
            )
        product, delivery_id = asked.business_product_id, asked.delivery_id
        order_id = asked.order_id
        if asked.tracking_number is not None:
            order_id, delivery_id = await self._by_tracker(asked)
        elif order_id is None and delivery_id is None:
            (order_id,) = await self._keeper.start(1, None, 1, product)
        else:
            order_id = await self._order_id(order_id, delivery_id, product)
        published = await self._keeper.trigger(
            canonical_type(asked.type),
            order_id=order_id,
            delivery_id=delivery_id,
            business_product_id=product,
            reason=asked.reason,
            milestone=asked.milestone,
        )
        return json_response({"orderId": order_id, "events": published})

    async def _by_tracker(self, asked: CauseEvent) -> tuple[str, str]:
        carrier, number = asked.carrier_code or "", asked.tracking_number or ""
        world = await self._keeper.by_tracker(carrier, number, asked.business_product_id)
        for detail in world.order["packageInformation"]["details"] if world is not None else ():
            identifier = (detail.get("packageTracker") or {}).get("packageTrackerIdentifier") or {}
            if world is not None and identifier.get("trackingNumber") == number:
                return world.id, detail["id"]
        raise NotFound(f"the world has no tracker {carrier} {number}")

    async def _order_id(self, order_id: str | None, delivery_id: str | None, product: str | None) -> str:
        if order_id is not None:
            return order_id
        world = await self._keeper.by_delivery(delivery_id or "", product)
        if world is None:
            raise NotFound(f"the world has no delivery {delivery_id}", deliveryId=delivery_id)
        return world.id

    async def _set_faults(self, request: Request) -> Response:
        asked = decoded(request.body, SetFaults)
        changed = {k: v for k, v in asdict(asked).items() if v is not UNSET}
        self._faults.now = replace(self._faults.now, **changed)
        return json_response(self._faults.now)
