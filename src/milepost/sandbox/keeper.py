"""The world as it is kept: orders in the store, steps played when their time comes, events journalled.

A change and the events it causes are decided in one write (`WorldOrder.outbox`), then the events are appended
to the journal, then the outbox is emptied: a crash anywhere in between makes the same events again, with the
same ids, and the journal takes each once. What is due next is the view's `check_at`, so a world that was closed
goes on where it was.

What may happen is `transitions`, what will is `scenarios`; reading for the API is here too.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import msgspec
import structlog
from msgspec.structs import replace

from milepost.domain.envelope import parse_event
from milepost.domain.errors import Conflict, Invalid, NotFound, StoreUnavailable
from milepost.domain.instant import SECOND, Instant
from milepost.domain.record import tracker_subject
from milepost.sandbox.clock import WorldClock
from milepost.sandbox.events import event_body
from milepost.sandbox.reading import alias_term, complete, first_open_delivery, home_of, terms
from milepost.sandbox.scenarios import plan, prerequisites
from milepost.sandbox.transitions import Publication, advance, claim, find_package
from milepost.sandbox.world import Step, WorldOrder, business_product_of, created_between, new_order
from milepost.store import Arrival, Store, Transaction, View

ROAD = "sandbox"
FOREVER = Instant(1 << 52)
BATCH = 100

log = structlog.get_logger()

Change = Callable[[WorldOrder], tuple[WorldOrder, list[tuple[Publication, Instant]]]]


class Published(msgspec.Struct, frozen=True, rename="camel"):
    """One event as it was stored for publishing."""

    event_id: str
    event_descriptor: str
    resources: tuple[str, ...]
    position: int


class Keeper:
    """The world of one seed in one store."""

    def __init__(self, store: Store, clock: WorldClock, seed: int) -> None:
        self.seed = seed
        self.business_product_id = business_product_of(seed)
        self._store = store
        self._clock = clock
        self._wake = asyncio.Event()
        self._lock = asyncio.Lock()
        """Held from a change to the end of its publishing: an outbox is emptied by one at a time."""
        self._numbers: int | None = None

    # ── Making orders ──────────────────────────────────────────────────────────────────────────────────────

    async def populate(self, orders: int, scenario: str | None = None) -> None:
        """Make sure that the opening world's orders 0 to `orders` - 1 are there; one that is stays as it is."""
        opened_at = self._clock.now()

        def fill(tx: Transaction) -> None:
            for number in range(orders):
                placed = created_between(self.seed, number, opened_at)
                document = new_order(self.seed, number, placed)
                if self._view(tx, document["id"]) is None:
                    planned = plan(self.seed, document, placed, home_of(document), scenario)
                    _put(tx, WorldOrder(self.business_product_id, document, placed, plan=planned))

        await self._store.write(fill)
        self._wake.set()

    async def start(
        self, orders: int, scenario: str | None, packages: int | None, business_product_id: str | None = None
    ) -> list[str]:
        """Make new orders now; with a scenario's name (or "mixed") they live it, with None they stand still.
        Returns their ids. Raises `Invalid` for an unknown scenario."""
        now = Instant(self._clock.now() // SECOND * SECOND)
        product = business_product_id or self.business_product_id
        async with self._lock:
            if self._numbers is None:
                self._numbers = await self._store.read(_count)
            first = self._numbers
            self._numbers += orders

        def make(tx: Transaction) -> list[str]:
            made: list[str] = []
            for number in range(first, first + orders):
                document = new_order(self.seed, number, now, packages)
                planned: tuple[Step, ...] = ()
                if scenario is not None:
                    name = None if scenario == "mixed" else scenario
                    planned = plan(self.seed, document, now, home_of(document), name)
                _put(tx, WorldOrder(product, document, now, plan=planned))
                made.append(document["id"])
            return made

        made = await self._store.write(make)
        self._wake.set()
        return made

    async def put(self, business_product_id: str, order: dict[str, Any]) -> None:
        """Take an order document into the world as it is given, in place of one of that id.

        Raises `Invalid` for a document without the parts that packages need."""
        document = complete(order)
        now = self._clock.now()

        def take(tx: Transaction) -> None:
            known = tx.views.get([("world", business_product_id, document["id"])])
            serial = max((_decode(view).serial for view in known.values()), default=0)
            _put(tx, WorldOrder(business_product_id, document, now, serial=serial))

        await self._store.write(take)

    # ── Changing orders ────────────────────────────────────────────────────────────────────────────────────

    async def act(self, order_id: str, step: Step, business_product_id: str | None = None) -> list[Published]:
        """One step now, whatever is planned. Raises what `transitions.advance` raises, and `NotFound`."""

        def change(world: WorldOrder) -> tuple[WorldOrder, list[tuple[Publication, Instant]]]:
            return self._stepped(world, [step])

        return await self._change(order_id, business_product_id, change)

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
        """Make the world cause an event of `type` for a package of an order, prerequisites included and waits
        skipped. In a package that is in that state already, the event is published once more.
        What was planned for that package is dropped. Returns everything stored for publishing, the event last."""
        at = Instant(self._clock.now() // SECOND * SECOND)

        def change(world: WorldOrder) -> tuple[WorldOrder, list[tuple[Publication, Instant]]]:
            chosen = delivery_id or first_open_delivery(world.order)
            package = find_package(world.order, chosen)
            steps = prerequisites(package, type, at, home_of(world.order), reason, milestone)
            rest = tuple(s for s in world.plan if s.delivery_id != chosen)
            world = replace(world, plan=rest)
            if steps:
                # A second apart, the last one now: so their times say which came first.
                first = at - (len(steps) - 1) * SECOND
                spaced = [replace(s, at=Instant(first + n * SECOND)) for n, s in enumerate(steps)]
                return self._stepped(world, spaced)
            if type == "REFUND_REQUESTED":
                raise Conflict("a refund of this delivery was requested already", deliveryId=chosen)
            return world, [(claim(world.order, type, chosen), at)]

        return await self._change(order_id, business_product_id, change)

    async def _change(
        self, order_id: str, business_product_id: str | None, change: Change
    ) -> list[Published]:
        def apply(tx: Transaction) -> WorldOrder:
            view = self._view(tx, order_id, business_product_id)
            if view is None:
                raise NotFound(f"the world has no order {order_id}", orderId=order_id)
            world = self._changed(_decode(view), change)
            _put(tx, world)
            return world

        async with self._lock:
            published = await self._publish([await self._store.write(apply)])
        self._wake.set()
        return published

    def _changed(self, world: WorldOrder, change: Change) -> WorldOrder:
        """The order after a change, with the events it causes in its outbox."""
        after, publications = change(world)
        bodies = [
            event_body(self.seed, after, after.serial + n, publication, at).decode()
            for n, (publication, at) in enumerate(publications)
        ]
        return replace(after, serial=after.serial + len(bodies), outbox=(*after.outbox, *bodies))

    def _stepped(
        self, world: WorldOrder, steps: Sequence[Step]
    ) -> tuple[WorldOrder, list[tuple[Publication, Instant]]]:
        order = world.order
        shipped = dict(world.shipped_at)
        publications: list[tuple[Publication, Instant]] = []
        for step in steps:
            order, published = advance(order, step, self.seed)
            publications.extend((publication, step.at) for publication in published)
            if step.state == "IN_TRANSIT":
                shipped[step.delivery_id] = step.at
        changed_at = max(self._clock.now(), steps[-1].at)
        world = replace(world, order=order, previous=world.order, changed_at=changed_at, shipped_at=shipped)
        return world, publications

    async def _publish(self, worlds: Sequence[WorldOrder]) -> list[Published]:
        """Journal what is in the outboxes, then empty them."""
        now = self._clock.now()
        bodies = [body.encode() for world in worlds for body in world.outbox]
        arrivals = [Arrival(parse_event(body), body, now, ROAD) for body in bodies]
        if not arrivals:
            return []
        receipts = await self._store.append(arrivals)

        def empty(tx: Transaction) -> None:
            for world in worlds:
                view = self._view(tx, world.id, world.business_product_id)
                if view is not None:
                    kept = _decode(view)
                    left = tuple(body for body in kept.outbox if body not in world.outbox)
                    _put(tx, replace(kept, outbox=left))

        await self._store.write(empty)
        return [
            Published(a.event.event_id, a.event.descriptor, tuple(map(str, a.event.resources)), r.position)
            for a, r in zip(arrivals, receipts, strict=True)
        ]

    # ── Playing ────────────────────────────────────────────────────────────────────────────────────────────

    async def run(self, stop: asyncio.Event) -> None:
        """Play every plan by the world's clock until `stop` is set."""
        watcher = asyncio.create_task(self._wake_on(stop))
        try:
            while not stop.is_set():
                self._wake.clear()
                try:
                    await self.play_due()
                    due = await self._store.read(lambda tx: tx.views.due(FOREVER, 1))
                    next_at = cast("Instant", due[0].check_at) if due else FOREVER
                    await self._clock.wait(next_at, self._wake)
                except StoreUnavailable as e:
                    log.warning("sandbox.store_unavailable", error=e.detail)
                    await self._clock.wait(Instant(self._clock.now() + SECOND), self._wake)
        finally:
            watcher.cancel()

    async def play_due(self) -> int:
        """Play every step whose time has come, each at its own time; returns how many were played."""
        played = 0
        while True:
            async with self._lock:
                worlds = await self._store.write(self._play_batch)
                await self._publish(worlds)
            if not worlds:
                return played
            played += len(worlds)

    def _play_batch(self, tx: Transaction) -> list[WorldOrder]:
        """The next due step of each order that has one; an outbox that a crash left full comes first."""
        now = self._clock.now()
        worlds: list[WorldOrder] = []
        for view in tx.views.due(now, BATCH):
            world = _decode(view)
            if not world.outbox:
                step = world.plan[0]
                world = self._changed(world, partial(self._played, step))
                _put(tx, world)
            worlds.append(world)
        return worlds

    def _played(self, step: Step, world: WorldOrder) -> tuple[WorldOrder, list[tuple[Publication, Instant]]]:
        world = replace(world, plan=world.plan[1:])
        try:
            return self._stepped(world, [step])
        except (Conflict, Invalid, NotFound) as e:
            # Somebody moved the package by hand; what was planned for it no longer fits.
            log.info("sandbox.step_skipped", order=world.id, step=step.milestone or step.state, why=e.detail)
            return world, []

    async def _wake_on(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._wake.set()

    # ── Reading ────────────────────────────────────────────────────────────────────────────────────────────

    async def order(self, order_id: str, business_product_id: str | None) -> WorldOrder | None:
        """The order of that id, of one business product or (None) of any."""
        view = await self._store.read(lambda tx: self._view(tx, order_id, business_product_id))
        return None if view is None else _decode(view)

    async def by_alias(self, type: str, id: str, business_product_id: str | None) -> WorldOrder | None:
        return await self._by_term(alias_term(type, id), business_product_id)

    async def by_tracker(
        self, carrier: str, number: str, business_product_id: str | None
    ) -> WorldOrder | None:
        return await self._by_term(tracker_subject(carrier, number).lower(), business_product_id)

    async def by_delivery(self, delivery_id: str, business_product_id: str | None) -> WorldOrder | None:
        return await self._by_term(f"delivery/{delivery_id}".lower(), business_product_id)

    async def page(self, after: tuple[int, str, str] | None, limit: int) -> list[tuple[int, WorldOrder]]:
        found = await self._store.read(lambda tx: tx.views.page("world", after, limit, None))
        return [(number, _decode(view)) for number, view in found]

    async def _by_term(self, term: str, business_product_id: str | None) -> WorldOrder | None:
        products = None if business_product_id is None else [business_product_id]

        def look(tx: Transaction) -> WorldOrder | None:
            for found in tx.views.search(term, 10, products):
                if found.kind == "world" and found.term == term:
                    view = self._view(tx, found.id, found.business_product_id)
                    return None if view is None else _decode(view)
            return None

        return await self._store.read(look)

    def _view(self, tx: Transaction, order_id: str, business_product_id: str | None = None) -> View | None:
        products = None if business_product_id is None else [business_product_id]
        found = tx.views.find("world", order_id, products)
        return found[0] if found else None


def _count(tx: Transaction) -> int:
    """How many orders the world has: no number of an order is above that."""
    after: tuple[int, str, str] | None = None
    count = 0
    while page := tx.views.page("world", after, 500, None):
        count += len(page)
        number, view = page[-1]
        after = (number, view.business_product_id, view.id)
    return count


def _put(tx: Transaction, world: WorldOrder) -> None:
    check_at = Instant(0) if world.outbox else world.plan[0].at if world.plan else None
    tx.views.put(
        [
            View(
                "world",
                world.business_product_id,
                world.id,
                msgspec.json.encode(world),
                world.order["packageInformation"].get("summary", {}).get("state", "PENDING"),
                check_at=check_at,
                terms=terms(world.order),
            )
        ]
    )


def _decode(view: View) -> WorldOrder:
    return msgspec.json.decode(view.document, type=WorldOrder)
