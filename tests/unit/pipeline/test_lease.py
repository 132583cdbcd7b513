"""Several hubs' worth of one piece of work on one store: who leads when, and that nothing is done twice.

Time is a clock that only the tests move; a killed hub is a task that is cancelled, a paused one has timers that
don't fire. Random interleavings print their seed; set MILEPOST_SEED to it to repeat.
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
from tests.chance import SEED
from tests.unit.pipeline.leasing import (
    LEASE,
    NAME,
    START,
    Clock,
    Process,
    count_folds,
    folded,
    folds,
    happens,
    journal,
    knows,
    stored,
)

from milepost import sql
from milepost.domain.errors import LeaseLost
from milepost.domain.instant import Instant
from milepost.store import Lease, Store

ROUNDS = 12


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await sql.open_store(f"sqlite:///{tmp_path / 'hub.db'}", owner="test")
    yield opened
    await opened.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


class Hubs:
    """Processes on one store, all gone at the end of the test."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.store, self.clock = store, clock
        self.made: list[Process] = []

    def new(self, clock: Clock | None = None) -> Process:
        self.made.append(Process(self.store, clock or self.clock, f"owner-{len(self.made) + 1}"))
        return self.made[-1]

    async def leader_and_standby(self) -> tuple[Process, Process]:
        first = self.new().start()
        await happens(first.leads)
        second = self.new().start()
        await second.store.used_again()
        return first, second


@pytest.fixture
async def hubs(store: Store, clock: Clock) -> AsyncIterator[Hubs]:
    made = Hubs(store, clock)
    yield made
    for process in made.made:
        process.gate.set()
        await process.die()


# ── Who leads ──────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_first_leads_and_the_second_stands_by_and_knows_whose_it_is(hubs: Hubs) -> None:
    first, second = await hubs.leader_and_standby()
    assert (first.holder.fence, second.holder.fence) == (1, None)
    assert first.holder.leader == second.holder.leader == "hub owner-1"
    assert not second.leads.is_set()


async def test_one_that_stops_hands_over_at_once(hubs: Hubs, store: Store, clock: Clock) -> None:
    first, second = await hubs.leader_and_standby()
    await first.end()
    assert first.stands_back.is_set()
    assert await stored(store) == Lease(NAME, "", 1, Instant(0), "")
    clock.step(LEASE // 3)
    await happens(second.leads)
    assert second.holder.fence == 2


async def test_the_work_that_is_under_way_at_a_stop_is_finished_under_the_lease(
    hubs: Hubs, store: Store, clock: Clock
) -> None:
    first, second = await hubs.leader_and_standby()
    first.gate.clear()
    await journal(store, 1, 1)
    await happens(first.preparing)
    stopping = asyncio.create_task(first.end())
    for _ in range(6):
        # Longer than a lease: it is renewed until the work has ended.
        renewed = first.store.used_again()
        clock.step(LEASE // 3)
        await renewed
    assert (await stored(store)).owner == "owner-1"
    first.gate.set()
    await stopping
    assert await folds(store) == {1: 1}
    clock.step(LEASE // 3)
    await happens(second.leads)


async def test_one_that_dies_is_taken_over_from_when_its_lease_runs_out(
    hubs: Hubs, store: Store, clock: Clock
) -> None:
    first, second = await hubs.leader_and_standby()
    await journal(store, 1, 4)
    await folded(store, 4)
    await first.die()
    await journal(store, 5, 3)
    for _ in range(2):
        looked = second.store.used_again()
        clock.step(LEASE // 3)
        await looked
    looked = second.store.used_again()
    clock.step(LEASE // 3 - 1)
    clock.step(0)
    assert second.holder.fence is None
    clock.step(1)
    await looked
    await happens(second.leads)
    await folded(store, 7)
    assert await folds(store) == Counter(range(1, 8))
    assert second.holder.fence == 2


async def test_a_leader_renews_for_as_long_as_it_works(hubs: Hubs, store: Store, clock: Clock) -> None:
    first, second = await hubs.leader_and_standby()
    for _ in range(12):
        renewed, looked = first.store.used_again(), second.store.used_again()
        clock.step(LEASE // 3)
        await asyncio.gather(renewed, looked)
    assert await stored(store) == Lease(NAME, "owner-1", 1, Instant(clock.at + LEASE), "hub owner-1")
    assert first.began == 1
    assert second.began == 0


async def test_a_standby_rests_between_two_looks(hubs: Hubs, clock: Clock) -> None:
    """Each look is one read; nothing is looked at while the clock stands."""
    first, second = await hubs.leader_and_standby()
    await first.die()
    used = second.store.used
    for _ in range(2):
        looked = second.store.used_again()
        clock.step(LEASE // 3)
        await looked
    assert second.store.used == used + 2


async def test_what_the_work_raises_is_raised_with_the_lease_given_up(hubs: Hubs, store: Store) -> None:
    async def fail(halt: asyncio.Event) -> None:
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        await hubs.new().holder.run(fail, asyncio.Event())
    assert (await stored(store)).owner == ""


# ── A store that is away ───────────────────────────────────────────────────────────────────────────────────


async def test_a_short_outage_of_the_store_costs_nothing(hubs: Hubs, store: Store, clock: Clock) -> None:
    first = hubs.new().start()
    await happens(first.leads)
    first.store.is_away = True
    tried = first.store.used_again()
    clock.step(LEASE // 3)
    await tried
    for _ in range(5):
        tried = first.store.used_again()
        clock.step(LEASE // 15)
        await tried
    first.store.is_away = False
    renewed = first.store.used_again()
    clock.step(LEASE // 15)
    await renewed
    await journal(store, 1, 2)
    await folded(store, 2)
    assert (first.began, first.holder.fence) == (1, 1)


async def test_a_long_outage_ends_the_work_before_the_lease_runs_out(
    hubs: Hubs, store: Store, clock: Clock
) -> None:
    first = hubs.new().start()
    await happens(first.leads)
    first.store.is_away = True
    tried = first.store.used_again()
    clock.step(LEASE * 4 // 5 - 1)
    await tried
    assert first.leads.is_set()
    clock.step(1)
    await happens(first.stands_back)
    assert clock.at < (await stored(store)).until
    assert first.holder.fence is None
    with pytest.raises(LeaseLost):
        await first.fenced.write(lambda tx: None)
    first.store.is_away = False
    clock.step(LEASE // 3)
    await happens(first.leads)
    assert first.holder.fence == 2, "a lease of its own that it had lost is taken under a new fence"


# ── Fencing ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_one_that_hung_commits_nothing_when_it_wakes_and_stands_back(
    hubs: Hubs, store: Store, clock: Clock
) -> None:
    first, second = await hubs.leader_and_standby()
    first.gate.clear()
    await journal(store, 1, 3)
    await happens(first.preparing)
    second.gate.clear()
    first.pause()
    clock.step(LEASE)
    await happens(second.preparing)
    first.gate.set()
    await happens(first.stands_back)
    assert await folds(store) == {}, "the same batch, prepared by both: the earlier one's is refused"
    second.gate.set()
    await folded(store, 3)
    assert await folds(store) == Counter(range(1, 4))
    first.resume()
    await journal(store, 4, 2)
    await folded(store, 5)
    assert await folds(store) == Counter(range(1, 6))
    await knows(first, "hub owner-2")
    assert first.holder.fence is None


async def test_a_refused_write_changes_nothing_at_all(hubs: Hubs, store: Store, clock: Clock) -> None:
    first, second = hubs.new(), hubs.new()
    async with first.holder.leading():
        first.pause()
        clock.step(LEASE)
        async with second.holder.leading():
            with pytest.raises(LeaseLost, match="another hub leads the projector"):
                await first.fenced.write(lambda tx: tx.journal.set_checkpoint("effect", 1))
        assert await store.read(lambda tx: tx.journal.checkpoint("effect")) == 0
        first.resume()


async def test_work_that_a_write_was_refused_to_is_ended_whatever_it_makes_of_that(
    hubs: Hubs, clock: Clock
) -> None:
    first, second = hubs.new(), hubs.new()
    begun, refused, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def work(halt: asyncio.Event) -> None:
        begun.set()
        try:
            await refused.wait()
            with suppress(LeaseLost):
                await first.fenced.write(lambda tx: None)
            await asyncio.Event().wait()
        finally:
            ended.set()

    stop = asyncio.Event()
    running = asyncio.create_task(first.holder.run(work, stop))
    await happens(begun)
    first.pause()
    clock.step(LEASE)
    async with second.holder.leading():
        refused.set()
        await happens(ended)
        # While another leads: or else this one leads again, and this work would never end.
        stop.set()
    first.resume()
    await running


async def test_one_that_hung_and_was_not_taken_over_begins_anew(
    hubs: Hubs, store: Store, clock: Clock
) -> None:
    only = hubs.new().start()
    await happens(only.leads)
    only.pause()
    clock.step(10 * LEASE)
    only.resume()
    await happens(only.stands_back)
    clock.step(LEASE // 3)
    await happens(only.leads)
    assert (only.began, only.holder.fence) == (2, 2)


async def test_a_write_of_an_earlier_time_of_ones_own_is_refused(hubs: Hubs, store: Store) -> None:
    only = hubs.new()
    async with only.holder.leading():
        earlier = only.holder.fence
    async with only.holder.leading():
        assert not await store.read(lambda tx: tx.leases.holds(NAME, earlier or 0))
        assert only.holder.fence == 2


async def test_a_clock_that_is_ahead_takes_over_early_and_nothing_is_done_twice(
    hubs: Hubs, store: Store, clock: Clock
) -> None:
    first = hubs.new().start()
    await happens(first.leads)
    second = hubs.new(Clock(Instant(START + LEASE))).start()
    await happens(second.leads)
    # The first learns of it by a write that is refused: were the second done before, it would have nothing to write.
    second.gate.clear()
    await journal(store, 1, 3)
    await happens(first.stands_back)
    second.gate.set()
    await folded(store, 3)
    assert await folds(store) == Counter(range(1, 4))


# ── For a moment ───────────────────────────────────────────────────────────────────────────────────────────


async def test_for_a_block_the_lease_is_taken_renewed_and_given_up(
    hubs: Hubs, store: Store, clock: Clock
) -> None:
    one = hubs.new()
    async with one.holder.leading():
        for _ in range(6):
            renewed = one.store.used_again()
            clock.step(LEASE // 3)
            await renewed
        await journal(store, 1, 2)
        await one.consumer.catch_up()
    assert await folds(store) == {1: 1, 2: 1}
    assert (await stored(store)).owner == ""


async def test_a_block_beside_the_work_leaves_the_work_its_lease(hubs: Hubs, store: Store) -> None:
    one = hubs.new().start()
    await happens(one.leads)
    async with one.holder.leading():
        assert one.holder.fence == 1
    assert (await stored(store)).owner == "owner-1"
    assert one.leads.is_set()


async def test_a_block_is_refused_while_somebody_else_leads(hubs: Hubs) -> None:
    await happens(hubs.new().start().leads)
    with pytest.raises(LeaseLost, match="hub owner-1 does it"):
        async with hubs.new().holder.leading():
            pass


# ── Random interleavings ───────────────────────────────────────────────────────────────────────────────────


class Chaos:
    """Three hubs that start, stop, die, are paused, resumed and lose the store, in an order that a seed gives."""

    def __init__(self, hubs: Hubs, draw: random.Random) -> None:
        self.hubs, self.draw, self.store = hubs, draw, hubs.store
        self.clocks = [Clock(Instant(START + draw.choice((0, 0, 3_000, -3_000, LEASE)))) for _ in range(3)]
        self.alive = [self.hubs.new(clock).start() for clock in self.clocks]
        self.journalled = 0
        self.told: list[str] = []

    async def act(self) -> None:
        number = self.draw.randrange(3)
        process = self.alive[number]
        match self.draw.randrange(12):
            case 0 | 1:
                count = self.draw.randrange(1, 6)
                await journal(self.store, self.journalled + 1, count)
                self.journalled += count
            case 2 | 3 | 4:
                self.told.append("step")
                by = self.draw.choice((LEASE // 15, LEASE // 3, LEASE // 2, LEASE))
                for clock in self.clocks:
                    clock.step(by)
            case 5:
                self.told.append(f"{number} pauses")
                process.pause()
            case 6:
                process.resume()
            case 7:
                process.gate.clear()
            case 8:
                process.gate.set()
            case 9:
                process.store.is_away = not process.store.is_away
            case 10:
                self.told.append(f"{number} dies")
                await process.die()
                self.alive[number] = self.hubs.new(self.clocks[number]).start()
            case _ if process.gate.is_set() and not process.store.is_away and not process._is_paused:
                self.told.append(f"{number} stops")
                await process.end()
                self.alive[number] = self.hubs.new(self.clocks[number]).start()
        for _ in range(self.draw.randrange(4)):
            # So many turns of a thread and of the loop, in which whoever can goes on.
            await self.store.read(lambda tx: None)

    async def calm(self) -> None:
        """Everybody is well again; time passes until everything is folded."""
        for process in self.alive:
            process.gate.set()
            process.store.is_away = False
            process.resume()
        async with asyncio.timeout(60):
            while await self.store.read(lambda tx: tx.journal.checkpoint(NAME)) < self.journalled:
                for clock in self.clocks:
                    clock.step(LEASE // 3)
                await self.store.read(lambda tx: None)


@pytest.mark.parametrize("round", range(ROUNDS))
async def test_whatever_happens_each_record_is_folded_once(hubs: Hubs, store: Store, round: int) -> None:
    seed = SEED + round
    print(f"seed {seed}")
    chaos = Chaos(hubs, random.Random(seed))
    for _ in range(120):
        await chaos.act()
        done, counted = await store.read(lambda tx: (tx.journal.checkpoint(NAME), count_folds(tx)))
        assert counted == Counter(range(1, done + 1)), chaos.told
    await chaos.calm()
    assert await folds(store) == Counter(range(1, chaos.journalled + 1))
    assert chaos.journalled, "no records, no proof"
