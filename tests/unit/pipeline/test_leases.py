"""Leases and the clock: sending takes real time, while the clock may be stepped or hurry."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from tests.unit.pipeline.publishing import Rig

from milepost.domain.attempt import Destination
from milepost.domain.errors import LeaseLost
from milepost.domain.instant import HOUR, MINUTE, Instant
from milepost.pipeline.lease import Fenced, LeaseHolder, Party
from milepost.pipeline.publisher import Outcome, Parcel, Publisher
from milepost.store import Transaction


class Gate:
    """A sender whose calls wait until they are let go, and that says when one begins."""

    batch = 1

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.begun = asyncio.Event()
        self.open = asyncio.Event()
        self.status = 200

    async def send(self, destination: Destination, parcels: Sequence[Parcel]) -> Sequence[Outcome]:
        self.sent.extend(p.message.id for p in parcels)
        self.begun.set()
        await self.open.wait()
        return [Outcome(self.status)] * len(parcels)

    async def next(self) -> None:
        async with asyncio.timeout(60):
            await self.begun.wait()
        self.begun.clear()


@pytest.fixture
async def gate(rig: Rig) -> AsyncIterator[Gate]:
    """The only destination's, with one event that is being sent by a running publisher."""
    made = Gate()
    rig.other = made
    await rig.restart()
    await rig.add(Destination("d", "other", b"{}"))
    await rig.events(1)
    await rig.consumer.catch_up()
    stop = asyncio.Event()
    running = asyncio.create_task(rig.publisher.run(stop))
    await made.next()
    yield made
    stop.set()
    made.open.set()
    await running


async def claimed_again(rig: Rig, fence: int) -> None:
    async with asyncio.timeout(60):
        while (await rig.message("1-d")).fence < fence:
            await asyncio.sleep(0)


@pytest.mark.parametrize("status", [200, 500])
async def test_a_clock_stepped_over_a_lease_sends_nothing_twice(rig: Rig, gate: Gate, status: int) -> None:
    gate.status = status
    for step in (1, 2):
        rig.clock.advance(HOUR)
        await claimed_again(rig, 1 + step)
    gate.open.set()
    async with asyncio.timeout(60):
        while not await rig.attempts():
            await asyncio.sleep(0)
    assert gate.sent == ["1-d"]
    assert [(a.number, a.status) for a in await rig.attempts()] == [(1, status)]
    assert (await rig.message("1-d")).state == ("delivered" if status == 200 else "pending")


async def test_what_is_asked_by_hand_goes_beside_what_is_under_way(rig: Rig, gate: Gate) -> None:
    await rig.publisher.resend("1-d")
    await gate.next()
    assert gate.sent == ["1-d", "1-d"]
    gate.open.set()
    async with asyncio.timeout(60):
        while not await rig.attempts():
            await asyncio.sleep(0)
    assert [(a.number, a.manual) for a in await rig.attempts()] == [(1, True)]


async def test_a_lease_is_as_long_by_the_real_clock_however_fast_the_other_runs(rig: Rig, gate: Gate) -> None:
    rig.pace = 600.0
    await rig.events(2)
    await rig.consumer.catch_up()
    await gate.next()
    assert (await rig.message("2-d")).lease_until == rig.clock.now() + 600 * MINUTE


async def test_a_publisher_that_has_lost_its_lease_ends_and_begins_anew(rig: Rig) -> None:
    """What it had under way it finishes; what came of that is not kept, and sent again when its own lease is over."""
    holder = LeaseHolder(rig.store, "publisher", Party("mine", "this test", 60_000), rig.clock.now)
    gate = Gate()
    publisher = Publisher(
        Fenced(rig.store, holder),
        {"other": gate},
        rig.clock.now,
        wait=rig.clock.wait,
        random=lambda: 0.5,
    )
    await rig.add(Destination("d", "other", b"{}", rate=50.0))
    await rig.events(1)
    now = rig.clock.now()
    async with holder.leading():
        await rig.consumer.catch_up()
        running = asyncio.create_task(publisher.run(asyncio.Event()))
        await gate.next()
        await rig.store.write(lambda tx: _taken_over(tx, now))
        gate.open.set()
        with pytest.raises(LeaseLost):
            await running
    assert await rig.attempts() == []
    rig.clock.advance(2 * MINUTE)
    await rig.store.write(lambda tx: tx.leases.give_up("publisher", "theirs"))
    async with holder.leading():
        assert await publisher.send_due() == 1
    assert await rig.counts() == {"delivered": 1}


def _taken_over(tx: Transaction, now: Instant) -> None:
    tx.leases.give_up("publisher", "mine")
    tx.leases.take("publisher", "theirs", "another", now, Instant(now + MINUTE))
