"""Driving the sandbox's world from any language: `/sandbox/…`.

    GET  /sandbox/clock       the world's time, its speed and pace, when something is planned next
    POST /sandbox/clock       {"advance": "2h"} or {"to": time}, {"speed": n}: let time pass, play what is due
    GET  /sandbox/scenarios   what there is to live
    POST /sandbox/scenarios   {"scenario": name, "orders", "packages"}, or a document: start orders that live it
    GET  /sandbox/orders      ids and states of the world's orders
    POST /sandbox/orders      {"businessProductId", "order"}: put an order document into the world as given; or
                              {"orderId", "do"}: cancel, startFulfilment, completeRefunds
    POST /sandbox/packages    {"deliveryId"} and what happens to it now: "state", "milestone", "returned" or "split"
    POST /sandbox/events      {"type", …}: cause an event, prerequisites included, waits skipped
    GET  /sandbox/faults      the faults that are on
    POST /sandbox/faults      the faults to turn on or off; answers all of them

What a request does is `keeper`'s; who may send one is `http`'s.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any, Literal

import msgspec
from msgspec import Struct

from milepost.domain.errors import Conflict, Invalid, NotFound
from milepost.domain.event import canonical_type
from milepost.domain.instant import Instant, format_instant, parse_instant
from milepost.sandbox.clock import WorldClock
from milepost.sandbox.durations import parse_duration
from milepost.sandbox.faults import ActiveFaults, changed, every_field
from milepost.sandbox.http import Request, Response, Routes, decoded, json_response, number_in
from milepost.sandbox.keeper import Keeper, Published
from milepost.sandbox.reading import find_tracker, home_of
from milepost.sandbox.returning import refunds_of
from milepost.sandbox.scenarios import Scenario, decode, library
from milepost.sandbox.world import Step, WorldOrder

MOST_A_PAGE = 500
MOST_ORDERS = 1_000
"""Orders one scenario request may start."""
FASTEST = 1_000_000
LAST = parse_instant("2200-01-01T00:00:00Z")
"""Where the world's time ends: what is planned from there still has a date."""


class MoveClock(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    advance: str | int | None = None
    to: str | None = None
    speed: float | None = None


class StartScenario(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    scenario: str | dict[str, Any] = "mixed"
    """A name, or a document like the files."""
    orders: int = 1
    packages: int | None = None
    business_product_id: str | None = None


class ChangeOrder(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    order: dict[str, Any] | None = None
    scenario: str | None = None
    """What the order that is put into the world lives; without one it stands still."""
    order_id: str | None = None
    do: Literal["", "cancel", "startFulfilment", "completeRefunds"] = ""
    reason: str = "CUSTOMER_REQUESTED"
    business_product_id: str | None = None


class Units(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    line_item_id: str
    units: float


class MovePackage(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    delivery_id: str
    """A package's id, or a return's."""
    order_id: str | None = None
    state: str = ""
    reason: str = ""
    milestone: str = ""
    locality: str = ""
    region: str = ""
    moved: str | None = None
    """By how much the estimated delivery window moves, with a milestone or alone."""
    returned: str = ""
    split: tuple[tuple[Units, ...], ...] = ()
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
            ("GET", "/sandbox/clock"): self._time,
            ("POST", "/sandbox/clock"): self._move_clock,
            ("GET", "/sandbox/scenarios"): self._library,
            ("POST", "/sandbox/scenarios"): self._scenarios,
            ("GET", "/sandbox/orders"): self._orders,
            ("POST", "/sandbox/orders"): self._change_order,
            ("POST", "/sandbox/packages"): self._packages,
            ("POST", "/sandbox/events"): self._events,
            ("GET", "/sandbox/faults"): self._show_faults,
            ("POST", "/sandbox/faults"): self._set_faults,
        }

    # ── Time and faults ────────────────────────────────────────────────────────────────────────────────────

    async def _time(self, request: Request) -> Response:
        due = await self._keeper.next_due()
        return json_response(
            {
                "now": format_instant(self._clock.now()),
                "speed": self._clock.speed,
                "pace": self._clock.pace,
                "nextStepAt": None if due is None else format_instant(due),
            }
        )

    async def _move_clock(self, request: Request) -> Response:
        asked = decoded(request.body, MoveClock)
        if asked.advance is None and asked.to is None and asked.speed is None:
            raise Invalid("give advance, to or speed", field="advance")
        if asked.advance is not None and asked.to is not None:
            raise Invalid("give either advance or to", field="to")
        length = 0 if asked.advance is None else parse_duration(asked.advance)
        target = None if asked.to is None else _instant(asked.to)
        if length < 0 or (target is not None and target < self._clock.now()):
            raise Invalid("the world's time goes forward only", field="advance" if length < 0 else "to")
        if max(self._clock.now() + length, target or 0) > LAST:
            raise Invalid(f"the world's time ends at {format_instant(LAST)}", field="advance")
        if asked.speed is not None:
            if not 0 <= asked.speed <= FASTEST:
                raise Invalid(f"speed must be 0 to {FASTEST}", field="speed")
            self._clock.set_speed(asked.speed)
        now = self._clock.advance(length) if target is None else self._clock.go_to(target)
        # What became due is stored for publishing before the answer, and the time it happened survives a crash.
        await self._keeper.play_due()
        await self._keeper.remember(now)
        return await self._time(request)

    async def _show_faults(self, request: Request) -> Response:
        return json_response(every_field(self._faults.now))

    async def _set_faults(self, request: Request) -> Response:
        self._faults.now = changed(self._faults.now, decoded(request.body, dict[str, Any]))
        return await self._show_faults(request)

    # ── Orders ─────────────────────────────────────────────────────────────────────────────────────────────

    async def _library(self, request: Request) -> Response:
        items = [
            {"name": s.name, "title": s.title, "number": s.number, "about": s.about.strip()}
            for s in library().values()
        ]
        return json_response({"items": items, "next": None})

    async def _scenarios(self, request: Request) -> Response:
        document = decoded(request.body, dict[str, Any])
        if "steps" in document:
            document = {"scenario": document}
        asked = decoded(msgspec.json.encode(document), StartScenario)
        if not 1 <= asked.orders <= MOST_ORDERS:
            raise Invalid(f"orders must be 1 to {MOST_ORDERS}", field="orders")
        if asked.packages is not None and not 1 <= asked.packages <= 3:
            raise Invalid("packages must be 1 to 3", field="packages")
        scenario: str | Scenario = (
            asked.scenario if isinstance(asked.scenario, str) else decode(asked.scenario)
        )
        made = await self._keeper.start(asked.orders, scenario, asked.packages, asked.business_product_id)
        return json_response({"orderIds": made})

    async def _orders(self, request: Request) -> Response:
        limit = number_in(request.query, "limit", 100, 1, MOST_A_PAGE)
        found = await self._keeper.page(_cursor(request.query.get("after")), limit + 1)
        page = found[:limit]
        now = self._clock.now()
        items = [_summary(world) for _, world in page if world.placed_at <= now]
        more = len(found) > limit
        return json_response({"items": items, "next": _cursor_of(*page[-1]) if more else None})

    async def _change_order(self, request: Request) -> Response:
        asked = decoded(request.body, ChangeOrder)
        if (asked.order is None) == (asked.order_id is None) or bool(asked.order_id) != bool(asked.do):
            raise Invalid("give either an order document, or an orderId and what to do", field="order")
        if asked.order is not None:
            product = asked.business_product_id or self._keeper.business_product_id
            await self._keeper.put(product, asked.order, asked.scenario)
            return json_response({"orderId": asked.order["id"], "businessProductId": product})
        events = await self._done(asked, asked.order_id or "")
        return json_response({"orderId": asked.order_id, "events": events})

    async def _done(self, asked: ChangeOrder, order_id: str) -> list[Published]:
        product = asked.business_product_id
        if asked.do == "cancel":
            return await self._keeper.cancel(order_id, asked.reason, product)
        if asked.do == "startFulfilment":
            return await self._keeper.start_fulfilment(order_id, product)
        world = await self._keeper.order(order_id, product)
        if world is None:
            raise NotFound(f"the world has no order {order_id}", orderId=order_id)
        refunds = (world.order.get("refunds") or {}).get("details") or ()
        wanted = [
            r["id"] for r in refunds_of(world.order, [r["id"] for r in refunds]) if r["state"] != "SUCCESS"
        ]
        if not wanted:
            raise Conflict(f"no refund of order {order_id} is wanted", orderId=order_id)
        return [
            event
            for refund_id in wanted
            for event in await self._keeper.complete_refund(order_id, refund_id, product)
        ]

    async def _packages(self, request: Request) -> Response:
        asked = decoded(request.body, MovePackage)
        named = [bool(given) for given in (asked.state, asked.milestone, asked.returned, asked.split)]
        if sum(named) > 1 or not (any(named) or asked.moved):
            raise Invalid("give one of state, milestone, returned and split", field="state")
        product = asked.business_product_id
        order_id = await self._order_id(asked.order_id, asked.delivery_id, product)
        if asked.split:
            parts = [[(one.line_item_id, one.units) for one in part] for part in asked.split]
            ids = await self._keeper.split(order_id, asked.delivery_id, parts, product)
            return json_response({"orderId": order_id, "deliveryIds": ids, "events": []})
        world = await self._keeper.order(order_id, product)
        home = home_of(world.order) if world is not None else None
        step = Step(
            self._clock.now(),
            asked.delivery_id,
            asked.milestone,
            asked.state,
            asked.reason,
            asked.locality or (home.locality if home else ""),
            asked.region or (home.region if home else ""),
            0 if asked.moved is None else parse_duration(asked.moved),
            returned=asked.returned,
        )
        published = await self._keeper.act(order_id, step, product)
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
        found = find_tracker(world.order, carrier, number) if world is not None else None
        if world is None or found is None:
            raise NotFound(f"the world has no tracker {carrier} {number}")
        return world.id, found[0]

    async def _order_id(self, order_id: str | None, delivery_id: str | None, product: str | None) -> str:
        if order_id is not None:
            return order_id
        world = await self._keeper.by_delivery(delivery_id or "", product)
        if world is None:
            raise NotFound(f"the world has no delivery {delivery_id}", deliveryId=delivery_id)
        return world.id


def _summary(world: WorldOrder) -> dict[str, Any]:
    details = world.order["packageInformation"]["details"]
    returns = (world.order.get("returns") or {}).get("details") or ()
    return {
        "orderId": world.id,
        "businessProductId": world.business_product_id,
        "state": world.order["packageInformation"]["summary"]["state"],
        "deliveryIds": [detail["id"] for detail in details],
        "returnIds": [given_back["id"] for given_back in returns],
        "scenario": world.scenario or None,
        "stepsLeft": len(world.plan) + len(world.held),
    }


def _cursor_of(number: int, world: WorldOrder) -> str:
    return urlsafe_b64encode(msgspec.json.encode((number, world.business_product_id, world.id))).decode()


def _cursor(text: str | None) -> tuple[int, str, str] | None:
    if text is None:
        return None
    try:
        number, product, order_id = msgspec.json.decode(
            urlsafe_b64decode(text.encode("ascii")), type=tuple[int, str, str]
        )
    except (ValueError, msgspec.MsgspecError) as e:
        raise Invalid("after is the cursor of another page", field="after") from e
    return min(max(number, 0), 1 << 53), product, order_id


def _instant(text: str) -> Instant:
    try:
        return parse_instant(text)
    except ValueError as e:
        raise Invalid(f"{text!r} is no ISO 8601 time", field="to") from e
