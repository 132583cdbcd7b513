"""Leases and the clock: sending takes real time, while the clock may be stepped or hurry."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from tests.unit.pipeline.publishing import Rig

from milepost.domain.attempt import Destination
from milepost.domain.instant import HOUR, MINUTE
from milepost.pipeline.publisher import Outcome, Parcel


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
        async with asyncio.timeout(10):
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
    async with asyncio.timeout(10):
        while (await rig.message("1-d")).fence < fence:
            await asyncio.sleep(0)


@pytest.mark.parametrize("status", [200, 500])
async def test_a_clock_stepped_over_a_lease_sends_nothing_twice(rig: Rig, gate: Gate, status: int) -> None:
    gate.status = status
    for step in (1, 2):
        rig.clock.advance(HOUR)
        await claimed_again(rig, 1 + step)
    gate.open.set()
    async with asyncio.timeout(10):
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
    async with asyncio.timeout(10):
        while not await rig.attempts():
            await asyncio.sleep(0)
    assert [(a.number, a.manual) for a in await rig.attempts()] == [(1, True)]


async def test_a_lease_is_as_long_by_the_real_clock_however_fast_the_other_runs(rig: Rig, gate: Gate) -> None:
    rig.pace = 600.0
    await rig.events(2)
    await rig.consumer.catch_up()
    await gate.next()
    assert (await rig.message("2-d")).lease_until == rig.clock.now() + 600 * MINUTE
