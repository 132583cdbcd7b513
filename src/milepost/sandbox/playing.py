"""Changing the world and playing its plans: each change with its events, once, whatever is killed.

A change and the events it causes are decided in one write (`WorldOrder.outbox`), then the events are appended
to the journal, then the outbox is emptied: a crash anywhere in between makes the same events again, with the
same ids, and the journal takes each once. What is due next is the view's `check_at`, so a world that was closed
goes on where it was. Which changes there are is `keeper`'s, what each does is `transitions`'.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

import msgspec
import structlog
from msgspec.structs import replace

from milepost.domain.envelope import parse_event
from milepost.domain.errors import Conflict, Invalid, NotFound, StoreUnavailable
from milepost.domain.instant import SECOND, Instant
from milepost.sandbox.clock import WorldClock
from milepost.sandbox.events import event_body
from milepost.sandbox.lookups import Lookups, decoded
from milepost.sandbox.planning import replanned
from milepost.sandbox.publication import Publication
from milepost.sandbox.reading import terms
from milepost.sandbox.transitions import advance
from milepost.sandbox.world import Step, WorldOrder
from milepost.store import Arrival, Store, Transaction, View

ROAD = "sandbox"
WORLD_TIME = "world"
"""The checkpoint that holds the time up to which the world was played."""
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


class Player(Lookups):
    """The world of one seed in one store, moving."""

    def __init__(self, store: Store, clock: WorldClock, seed: int) -> None:
        super().__init__(store, clock.now)
        self.seed = seed
        self._clock = clock
        self._wake = asyncio.Event()
        self._lock = asyncio.Lock()
        """Held from a change to the end of its publishing: an outbox is emptied by one at a time."""

    async def change(self, order_id: str, business_product_id: str | None, change: Change) -> list[Published]:
        """Change one order and journal what that publishes. Raises `NotFound`, and what `change` raises."""

        def apply(tx: Transaction) -> WorldOrder:
            found = self._order(tx, order_id, business_product_id)
            if found is None:
                raise NotFound(f"the world has no order {order_id}", orderId=order_id)
            world = self._changed(found, change)
            put_world(tx, world)
            return world

        try:
            async with self._lock:
                return await self._publish([await self._store.write(apply)])
        finally:
            # What could not be published now is the player's to publish.
            self._wake.set()

    def _changed(self, world: WorldOrder, change: Change) -> WorldOrder:
        """The order after a change, with the events it causes in its outbox."""
        after, publications = change(world)
        bodies = [
            event_body(self.seed, after, after.serial + n, publication, at).decode()
            for n, (publication, at) in enumerate(publications)
        ]
        return replace(after, serial=after.serial + len(bodies), outbox=(*after.outbox, *bodies))

    def stepped(
        self, world: WorldOrder, steps: Sequence[Step]
    ) -> tuple[WorldOrder, list[tuple[Publication, Instant]]]:
        """The order after these steps, and what is published of each at its time."""
        order = world.order
        shipped = dict(world.shipped_at)
        publications: list[tuple[Publication, Instant]] = []
        for step in steps:
            order, published = advance(order, step, self.seed)
            publications.extend((publication, step.at) for publication in published)
            if step.state == "IN_TRANSIT":
                shipped[step.delivery_id] = step.at
            world = replanned(world, step, self.seed)
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
                kept = self._order(tx, world.id, world.business_product_id)
                if kept is not None:
                    left = tuple(body for body in kept.outbox if body not in world.outbox)
                    put_world(tx, replace(kept, outbox=left))

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
                    await self._clock.wait(await self.next_due() or FOREVER, self._wake)
                except StoreUnavailable as e:
                    log.warning("sandbox.store_unavailable", error=e.detail)
                    await self._clock.wait(Instant(self._clock.now() + SECOND), self._wake)
        finally:
            watcher.cancel()

    async def next_due(self) -> Instant | None:
        """When the next step is due, of whatever order; None when nothing is planned any more."""
        due = await self._store.read(lambda tx: tx.views.due(FOREVER, 1))
        return due[0].check_at if due else None

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
            assert view.kind == "world", "nothing else in the sandbox's store is ever due"
            world = decoded(view)
            if not world.outbox:
                step = world.plan[0]
                world = self._changed(world, partial(self._played, step))
                put_world(tx, world)
            worlds.append(world)
        return worlds

    def _played(self, step: Step, world: WorldOrder) -> tuple[WorldOrder, list[tuple[Publication, Instant]]]:
        world = replace(world, plan=world.plan[1:])
        try:
            return self.stepped(world, [step])
        except (Conflict, Invalid, NotFound) as e:
            # Somebody moved the package by hand; what was planned for it no longer fits.
            log.info("sandbox.step_skipped", order=world.id, step=step.milestone or step.state, why=e.detail)
            return world, []

    async def remember(self, now: Instant) -> None:
        """Keep the time of a world that has its own, so that it goes on there after a restart."""
        await self._store.write(lambda tx: tx.journal.set_checkpoint(WORLD_TIME, now))

    async def _wake_on(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._wake.set()


def put_world(tx: Transaction, world: WorldOrder) -> None:
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
