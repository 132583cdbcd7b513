"""What a hub remembers of its own work is right when another one worked in between: hydrator, sweeper, projector.

Two hubs' worth of each on one store. Who leads is said by hand here; when it is whose turn, `test_lease` proves.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from tests.unit.pipeline.leasing import LEASE
from tests.unit.pipeline.projecting import clock as standing
from tests.unit.pipeline.projecting import dump, forget, handler, keep, project
from tests.unit.pipeline.test_projector import HISTORY

from milepost import sql
from milepost.domain.condition import Policy
from milepost.domain.envelope import parse_event
from milepost.domain.errors import LeaseLost
from milepost.domain.instant import HOUR, MINUTE, Instant, parse_instant
from milepost.domain.record import ConditionChange
from milepost.pipeline import hydrator as hydration
from milepost.pipeline import known
from milepost.pipeline.consumer import Consumer
from milepost.pipeline.hydrator import Hydrator
from milepost.pipeline.lease import Fenced, LeaseHolder, Party
from milepost.pipeline.projector import NAME as PROJECTOR
from milepost.pipeline.projector import Projector
from milepost.pipeline.sweeper import NAME as SWEEPER
from milepost.pipeline.sweeper import Sweeper
from milepost.store import Arrival, Ask, Store

BP, ORDER = "bp-1", "order/o-1"
POLICY = Policy()


class World:
    """A store, and the time that both hubs have."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.at = parse_instant("2025-01-20T12:00:00Z")

    def now(self) -> Instant:
        return self.at

    def later(self, milliseconds: int) -> None:
        self.at = Instant(self.at + milliseconds)

    def holder(self, name: str, owner: str) -> LeaseHolder:
        return LeaseHolder(self.store, name, Party(owner, f"hub {owner}", LEASE), self.now)

    async def ship(self) -> None:
        body = msgspec.json.encode(
            {
                "idempotencyKey": "k-1",
                "eventDescriptor": "PACKAGE_DELIVERY_IN_TRANSIT",
                "resources": [f"businessProduct/{BP}/{ORDER}/delivery/d-1"],
                "eventId": "e-1",
                "apiVersion": "2024-11-01",
                "eventTime": "2025-01-20T12:00:00Z",
                "data": {},
            }
        )
        await self.store.append([Arrival(parse_event(body), body, self.at, "webhook")])

    async def project(self) -> None:
        await Consumer(
            self.store, PROJECTOR, Projector(self.store, POLICY, self.now).prepare, self.now
        ).catch_up()

    async def kinds(self, kind: str) -> int:
        records = await self.store.read(lambda tx: tx.journal.after(0, 500))
        return sum(record.kind == kind for record in records)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    opened = await sql.open_store(f"sqlite:///{tmp_path / 'hub.db'}", owner="test")
    yield World(opened)
    await opened.close()


# ── Hydration ──────────────────────────────────────────────────────────────────────────────────────────────


class Api:
    """The API as one hub sees it: says that it was asked, and answers when it may."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.times = 0
        self.may_answer = asyncio.Event()

    async def order(self, order_id: str, business_product_id: str) -> dict[str, Any] | None:
        self.times += 1
        self.asked.set()
        await self.may_answer.wait()
        details = [{"id": "d-1", "state": "IN_TRANSIT"}]
        tracker = {"packageTrackerIdentifier": {"carrierCode": "UPS", "trackingNumber": "1Z"}}
        details[0]["packageTracker"] = tracker  # type: ignore[assignment]
        return {"id": order_id, "packageInformation": {"details": details}}

    async def package_tracker(
        self, carrier_code: str, tracking_number: str, business_product_id: str
    ) -> dict[str, Any] | None:
        return None


class Asking:
    """One hub's hydrator, its worker and the API behind it."""

    def __init__(self, world: World, owner: str) -> None:
        self.world, self.api = world, Api()
        self.holder = world.holder(hydration.NAME, owner)
        self.fenced = Fenced(world.store, self.holder)
        self.hydrator = Hydrator(
            self.fenced, {"": self.api}, world.now, random=Random(1), anybodys=world.store
        )
        self.consumer = Consumer(self.fenced, hydration.NAME, self.hydrator.prepare, world.now)


async def asks(store: Store) -> list[Ask]:
    return list(await store.read(lambda tx: tx.work.page(None, 10, None, None)))


async def within(event: asyncio.Event) -> None:
    async with asyncio.timeout(60):
        await event.wait()


async def test_an_answer_that_comes_after_the_lease_was_lost_is_not_kept(world: World) -> None:
    first, second = Asking(world, "a"), Asking(world, "b")
    await world.ship()
    async with first.holder.leading():
        await first.consumer.catch_up()
        draining = asyncio.create_task(first.hydrator.drain())
        await within(first.api.asked)
        # The first hub hangs in the middle of its query, for longer than its lease.
        world.later(LEASE)
        async with second.holder.leading():
            second.api.may_answer.set()
            await second.hydrator.drain()
            assert await asks(world.store) == []
            first.api.may_answer.set()
            with pytest.raises(LeaseLost):
                await draining
    assert (first.api.times, second.api.times) == (1, 1)
    assert await world.kinds("snapshot") == 1
    assert first.hydrator.counters().get("hydration.answered", 0) == 0


async def test_a_query_that_was_under_way_when_its_hub_stopped_leading_is_asked_again_by_it(
    world: World,
) -> None:
    one = Asking(world, "a")
    await world.ship()
    async with one.holder.leading():
        await one.consumer.catch_up()
        for times in (1, 2):
            stop = asyncio.Event()
            running = asyncio.create_task(one.hydrator.run(stop))
            await within(one.api.asked)
            one.api.asked.clear()
            stop.set()
            await running
            assert one.api.times == times, "nothing that was being asked is taken to be asked still"
        one.api.may_answer.set()
        await one.hydrator.drain()
    assert await asks(world.store) == []


async def test_a_retry_that_came_to_a_standby_is_noticed_by_the_leader(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hydration, "LOOK_S", 0.01)
    leader, standby = Asking(world, "a"), Asking(world, "b")
    leader.api.may_answer.set()
    await world.ship()
    async with leader.holder.leading():
        await leader.consumer.catch_up()
        key = (BP, ORDER)
        await world.store.write(
            lambda tx: tx.work.put([msgspec.structs.replace(tx.work.get([key])[key], state="gaveUp")])
        )
        stop = asyncio.Event()
        running = asyncio.create_task(leader.hydrator.run(stop))
        with pytest.raises(LeaseLost):
            await standby.fenced.write(lambda tx: None)
        await standby.hydrator.retry(*key)
        await within(leader.api.asked)
        stop.set()
        await running
    assert standby.api.times == 0


# ── Conditions ─────────────────────────────────────────────────────────────────────────────────────────────


class Sweeping:
    """One hub's sweeper."""

    def __init__(self, world: World, owner: str) -> None:
        self.holder = world.holder(SWEEPER, owner)
        self.sweeper = Sweeper(Fenced(world.store, self.holder), POLICY, world.now)

    async def sweep(self) -> int:
        async with self.holder.leading():
            return await self.sweeper.sweep()

    async def begin(self) -> None:
        """What losing the lease and having it again does: the loop is run anew."""
        stop = asyncio.Event()
        stop.set()
        await self.sweeper.run(stop)


async def raised(world: World) -> list[tuple[str, bool]]:
    records = await world.store.read(lambda tx: tx.journal.after(0, 500))
    return [
        (r.type, msgspec.json.decode(r.body, type=ConditionChange).raised)
        for r in records
        if r.kind == "condition"
    ]


async def never_scanned(world: World) -> None:
    await world.ship()
    await world.project()
    world.later(10 * 24 * HOUR)


async def test_what_one_hub_raised_no_other_raises_while_the_projector_is_behind(world: World) -> None:
    await never_scanned(world)
    first, second = Sweeping(world, "a"), Sweeping(world, "b")
    assert await first.sweep() == 0
    world.later(MINUTE)
    found = await first.sweep()
    assert found
    told = await raised(world)
    for _ in range(3):
        world.later(HOUR)
        assert await second.sweep() == 0
    await world.project()
    for _ in range(3):
        world.later(MINUTE)
        assert await second.sweep() == 0
        await world.project()
    assert await raised(world) == told


async def test_a_hub_that_leads_again_knows_nothing_of_its_earlier_time(world: World) -> None:
    await never_scanned(world)
    first, second = Sweeping(world, "a"), Sweeping(world, "b")
    assert await first.sweep() == 0
    world.later(HOUR)
    await first.begin()
    assert await first.sweep() == 0, "what it saw an hour ago it has not seen for a minute on end"
    world.later(MINUTE)
    assert await first.sweep() > 0
    told = await raised(world)
    await second.begin()
    await first.begin()
    world.later(HOUR)
    assert await first.sweep() == 0
    await world.project()
    assert await first.sweep() == 0
    assert await raised(world) == told


# ── Views ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("seed", range(4))
async def test_views_that_two_hubs_folded_by_turns_equal_a_rebuild(world: World, seed: int) -> None:
    print(f"seed {seed}")
    draw = Random(seed)
    hubs = []
    for owner in ("a", "b"):
        holder = world.holder(PROJECTOR, owner)
        fenced = Fenced(world.store, holder)
        hubs.append((holder, Consumer(fenced, PROJECTOR, handler(fenced), standing, batch=2)))
    left = list(HISTORY)
    while left:
        count = draw.randrange(1, 4)
        await keep(world.store, *left[:count])
        del left[:count]
        holder, consumer = draw.choice(hubs)
        async with holder.leading():
            await consumer.step()
    holder, consumer = hubs[0]
    async with holder.leading():
        await consumer.catch_up()
    live = await dump(world.store)
    await forget(world.store)
    await project(world.store)
    assert await dump(world.store) == live


async def test_a_fold_that_still_runs_when_the_next_one_begins_disturbs_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cancelled work leaves its thread to finish, and both remember facts in the same place."""
    monkeypatch.setattr(known, "KNOWN_BYTES", 2_000)
    await keep(world.store, *HISTORY)
    records = await world.store.read(lambda tx: tx.journal.after(0, 500))
    prepare = handler(world.store)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(20):
            for effects in await asyncio.gather(*(prepare(records) for _ in range(4))):
                await world.store.write(effects)
    finally:
        sys.setswitchinterval(interval)
    assert await world.store.read(lambda tx: tx.views.failures(0, 10, None)) == []
