"""The keeper of the world: what callers can do to it.

Making orders, moving packages, splitting them, cancelling, returns and refunds, causing an event. Each is a change
that `playing` makes once, with its events; what may happen is `transitions`, what will is `planning`; looking into
the world is `lookups`.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any

from msgspec.structs import replace

from milepost.domain.errors import Conflict, Invalid
from milepost.domain.instant import SECOND, Instant
from milepost.sandbox import planning
from milepost.sandbox.clock import WorldClock
from milepost.sandbox.lookups import decoded
from milepost.sandbox.playing import Player, Published, put_world
from milepost.sandbox.publication import Publication
from milepost.sandbox.reading import check_id, complete, first_open_delivery
from milepost.sandbox.scenarios import Scenario, named
from milepost.sandbox.transitions import answered, claim, split_ids
from milepost.sandbox.triggers import REFUND_COMPLETED, REFUND_REQUESTED, TASKS, Trigger, deletion_task
from milepost.sandbox.world import Step, WorldOrder, business_product_of, created_between, new_order
from milepost.store import Store, Transaction

__all__ = ["MIXED", "Keeper", "Published"]

MIXED = "mixed"
"""In place of a scenario's name: each package draws its own."""


Note = Callable[[dict[str, Any], list[dict[str, Any]]], None]
"""Writes something about line item entries into an order document."""


class Keeper(Player):
    """The world of one seed in one store, and everything that can be done to it."""

    def __init__(self, store: Store, clock: WorldClock, seed: int) -> None:
        super().__init__(store, clock, seed)
        self.business_product_id = business_product_of(seed)
        self._numbers: int | None = None

    # ── Making orders ──────────────────────────────────────────────────────────────────────────────────────

    async def populate(self, orders: int, scenario: str | None = None) -> None:
        """Make sure that the opening world's orders are there, `orders` times those of the scenario; one that is
        stays as it is."""
        opened_at = self._clock.now()
        lived = named(scenario) if scenario is not None and scenario != MIXED else MIXED
        each = _orders_of(lived)

        def fill(tx: Transaction) -> None:
            for number in range(0, orders * each, each):
                placed = created_between(self.seed, number, opened_at)
                for world in self._made(lived, number, placed, None, self.business_product_id):
                    if not tx.views.find("world", world.id, None):
                        put_world(tx, world)

        await self._store.write(fill)
        self._wake.set()

    async def start(
        self,
        orders: int,
        scenario: str | Scenario | None,
        packages: int | None = None,
        business_product_id: str | None = None,
    ) -> list[str]:
        """Make new orders now, `orders` times those of the scenario; with a scenario, its name or "mixed" they
        live it, with None they stand still. Returns their ids. Raises `Invalid` for an unknown scenario, and for a
        business product's id that no event could carry."""
        lived = named(scenario) if isinstance(scenario, str) and scenario != MIXED else scenario
        now = Instant(self._clock.now() // SECOND * SECOND)
        product = self._product(business_product_id)
        each = _orders_of(lived)

        def make(tx: Transaction, first: int) -> list[str]:
            made: list[str] = []
            for number in range(first, first + orders * each, each):
                for world in self._made(lived, number, now, packages, product):
                    put_world(tx, world)
                    made.append(world.id)
            return made

        async with self._lock:
            first = await self._store.read(_count) if self._numbers is None else self._numbers
            made = await self._store.write(lambda tx: make(tx, first))
            # Not before: a number that no order has would let a later count give one away twice.
            self._numbers = first + orders * each
        self._wake.set()
        return made

    def _product(self, given: str | None) -> str:
        """The business product of new orders: the world's own unless another is given. Raises `Invalid`."""
        if given is None:
            return self.business_product_id
        check_id(given, "businessProductId")
        return given

    def _made(
        self, lived: Scenario | str | None, number: int, at: Instant, packages: int | None, product: str
    ) -> list[WorldOrder]:
        if isinstance(lived, Scenario) and not planning.is_life(lived):
            return planning.plan_orders(lived, self.seed, number, at, product, packages)
        world = WorldOrder(product, new_order(self.seed, number, at, packages), at, placed_at=at)
        if lived is None:
            return [world]
        if isinstance(lived, Scenario):
            world = replace(world, name=lived.orders[0].name, faults=lived.own_faults)
            world.order["metadata"]["executionState"] = lived.orders[0].fulfilment
        return [planning.plan_life(world, self.seed, lived if isinstance(lived, Scenario) else None, at)]

    async def put(self, business_product_id: str, order: dict[str, Any], scenario: str | None = None) -> None:
        """Take an order document into the world as it is given, in place of one of that id. It stands still, or
        lives a scenario; one whose fulfilment is not started does so once it is.

        Raises `Invalid` for a document without the parts that packages need, and for an unknown scenario."""
        check_id(business_product_id, "businessProductId")
        document = complete(order)
        lived = named(scenario) if scenario is not None and scenario != MIXED else None
        if lived is not None and not planning.is_life(lived):
            raise Invalid(f"scenario {scenario} makes orders of its own", field="scenario")
        now = self._clock.now()

        def take(tx: Transaction) -> None:
            known = tx.views.get([("world", business_product_id, document["id"])])
            world = WorldOrder(business_product_id, document, now, placed_at=now)
            for before in map(decoded, known.values()):
                # Events that it caused keep their ids, and what a crash left unpublished is published.
                world = replace(world, serial=before.serial, outbox=before.outbox)
            if scenario is not None:
                world = planning.plan_life(world, self.seed, lived, now)
            put_world(tx, world)

        await self._store.write(take)
        self._wake.set()

    # ── Changing orders ────────────────────────────────────────────────────────────────────────────────────

    async def act(self, order_id: str, step: Step, business_product_id: str | None = None) -> list[Published]:
        """One step now, whatever is planned. Raises what `transitions.advance` raises, and `NotFound`."""

        def change(world: WorldOrder) -> tuple[WorldOrder, list[tuple[Publication, Instant]]]:
            return self.stepped(world, [step])

        return await self.change(order_id, business_product_id, change)

    async def split(
        self,
        order_id: str,
        delivery_id: str,
        parts: Sequence[Sequence[tuple[str, float]]],
        business_product_id: str | None = None,
    ) -> list[str]:
        """Make several packages of a pending one, each with the (line item id, units) of its part; returns their
        ids. What was planned for the one happens to each of them. Raises `Conflict`, `Invalid`, `NotFound`."""
        if len(parts) < 2:
            raise Invalid("a split makes two packages or more", field="packageInformation")
        step = Step(self._clock.now(), delivery_id, split=tuple(map(tuple, parts)))
        await self.act(order_id, step, business_product_id)
        return split_ids(self.seed, order_id, delivery_id, len(parts))

    async def start_fulfilment(
        self, order_id: str, business_product_id: str | None = None
    ) -> list[Published]:
        """Let an order that is NOT_STARTED begin to live. Raises `Conflict` when it is started already."""
        step = Step(self._clock.now(), "", fulfilment=True)
        return await self.act(order_id, step, business_product_id)

    async def cancel(
        self,
        order_id: str,
        reason: str = "CUSTOMER_REQUESTED",
        business_product_id: str | None = None,
        *,
        note: Note = lambda order, entries: None,
    ) -> list[Published]:
        """Cancel what of an order is still pending. `note` writes into the order what else is to be said of these
        line item entries. Raises `Conflict` when nothing is pending."""

        def change(world: WorldOrder) -> tuple[WorldOrder, list[tuple[Publication, Instant]]]:
            details = world.order["packageInformation"]["details"]
            pending = {d["id"]: d for d in details if d["state"] == "PENDING"}
            if not pending:
                raise Conflict(f"nothing of order {order_id} is pending any more", orderId=order_id)
            at = self._clock.now()
            after, published = self.stepped(
                _without_plan(world, list(pending)),
                [Step(at, each, state="CANCELLED", reason=reason) for each in pending],
            )
            contents = [d["packageInformationDetailsFor"]["orderLineItems"] for d in pending.values()]
            note(after.order, [entry for content in contents for entry in content])
            return after, published

        return await self.change(order_id, business_product_id, change)

    async def complete_refund(
        self, order_id: str, refund_id: str, business_product_id: str | None = None
    ) -> list[Published]:
        """The merchant reports a refund done. Raises `Conflict` when it isn't wanted (any more)."""
        step = Step(self._clock.now(), refund_id, refunded=True)
        return await self.act(order_id, step, business_product_id)

    async def trigger(
        self,
        type: str,
        *,
        order_id: str,
        delivery_id: str | None = None,
        business_product_id: str | None = None,
        reason: str = "",
        milestone: str = "",
    ) -> list[Published]:
        """Make the world cause an event of `type` for a package (or a return) of an order, prerequisites included
        and waits skipped. Where all of it has happened already, the event is published once more.
        What was planned for that package is dropped. Returns everything stored for publishing, the event last."""
        at = Instant(self._clock.now() // SECOND * SECOND)

        def change(world: WorldOrder) -> tuple[WorldOrder, list[tuple[Publication, Instant]]]:
            if type in TASKS:
                return world, [(deletion_task(type, self.seed, world.id), at)]
            chosen = delivery_id or first_open_delivery(world.order)
            trigger = Trigger(world.order, chosen, at, self.seed)
            steps = trigger.towards(type, reason, milestone)
            world = _without_plan(world, [trigger.delivery_id, trigger.subject])
            if steps:
                # A second apart, the last one now: so their times say which came first.
                # None is before what has happened already, where the clock stood still.
                first = at - (len(steps) - 1) * SECOND
                before = min(world.changed_at // SECOND * SECOND, at) if world.serial else 0
                spaced = [
                    replace(s, at=Instant(max(before, first + n * SECOND))) for n, s in enumerate(steps)
                ]
                return self.stepped(world, spaced)
            if type in (REFUND_REQUESTED, REFUND_COMPLETED):
                raise Conflict("that was done for this delivery already", deliveryId=chosen)
            return world, [
                (p, at) for p in answered(world.order, [claim(world.order, type, trigger.subject)])
            ]

        return await self.change(order_id, business_product_id, change)


def _orders_of(lived: Scenario | str | None) -> int:
    """How many orders live a scenario each time it is started."""
    return len(lived.orders) if isinstance(lived, Scenario) else 1


def _count(tx: Transaction) -> int:
    """How many orders the world has: no number of an order is above that."""
    after: tuple[int, str, str] | None = None
    count = 0
    while page := tx.views.page("world", after, 500, None):
        count += len(page)
        number, view = page[-1]
        after = (number, view.business_product_id, view.id)
    return count


def _without_plan(world: WorldOrder, parcel_ids: Collection[str]) -> WorldOrder:
    """The order with nothing planned for these packages and returns any more."""

    def left(steps: Sequence[Step]) -> tuple[Step, ...]:
        return tuple(s for s in steps if s.delivery_id not in parcel_ids)

    return replace(world, plan=left(world.plan), held=left(world.held))
