"""Settling over a real store: what nothing contradicted for long enough is settled once, whatever comes between."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.unit.domain.history import (
    DELIVERED,
    ORDER,
    SHIPPED,
    UPS,
    Arrived,
    condition,
    event,
    order_answer,
    package,
    scan,
    tracker_answer,
)
from tests.unit.pipeline.bookkeeping import SETTLE, Killed, World, kill, net, stated
from tests.unit.pipeline.projecting import keep

from milepost.domain.instant import DAY, Instant
from milepost.pipeline import accountant as module
from milepost.pipeline.accountant import Accountant


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    made = await World(database_url).open()
    yield made
    await made.close()


KNOWN = order_answer("2025-01-28T00:00:00Z", package(tracker=UPS))
SHIP = event(SHIPPED, "2025-01-29T20:00:00Z")
ARRIVE = event(DELIVERED, "2025-02-01T20:00:00Z")


def doubt(raised: bool, at: str) -> Arrived:
    return condition("CONTRADICTION", raised, at, kind="delivered_without_tracker")


def moved(at: str) -> Arrived:
    return tracker_answer(at, UPS, scan("IN_TRANSIT", "2025-01-29T10:00:00Z"))


async def statuses(world: World, kind: str = "shipped") -> list[tuple[int, int, str, str]]:
    return [(sign, rev, status, reason) for _, sign, rev, status, reason, *_ in await world.said(kind)]


NEW = (1, 1, "provisional", "new")
SETTLED = [NEW, (-1, 1, "provisional", "settled"), (1, 2, "settled", "settled")]


async def test_what_nothing_contradicted_is_settled_when_its_days_are_over_and_once(world: World) -> None:
    await world.come(KNOWN, SHIP)
    world.now = Instant(world.now + SETTLE - 1)
    assert await world.accountant.settle() == 0
    world.now = Instant(world.now + 1)
    assert await world.accountant.settle() == 1
    assert await statuses(world) == SETTLED
    world.step(100)
    assert await world.accountant.settle() == 0
    assert await Accountant(world.store, world.clock).settle() == 0
    entries = await world.entries()
    assert len({e.id for e in entries}) == 3
    assert entries[-1].settles_at is None
    assert stated(entries[0]) == stated(entries[-1])


async def test_a_correction_begins_the_days_anew(world: World) -> None:
    await world.come(KNOWN, SHIP)
    world.step(5)
    await world.come(moved("2025-03-02T00:00:00Z"))
    world.step(5)
    assert await world.accountant.settle() == 0
    world.step(2)
    assert await world.accountant.settle() == 1
    assert (await statuses(world))[-1] == (1, 3, "settled", "settled")


async def test_a_settled_row_may_still_be_corrected_and_settles_again(world: World) -> None:
    await world.come(KNOWN, SHIP)
    world.step(7)
    await world.accountant.settle()
    await world.come(moved("2025-03-02T00:00:00Z"))
    world.step(7)
    assert await world.accountant.settle() == 1
    assert await statuses(world) == [
        *SETTLED,
        (-1, 2, "settled", "correction"),
        (1, 3, "provisional", "correction"),
        (-1, 3, "provisional", "settled"),
        (1, 4, "settled", "settled"),
    ]
    assert len(net(await world.entries(), stated)) == 1


async def test_while_a_contradiction_is_open_nothing_settles_and_from_its_end_on_the_days_count(
    world: World,
) -> None:
    await world.come(KNOWN, SHIP, ARRIVE)
    world.step(3)
    await world.come(doubt(True, "2025-03-03T00:00:00Z"))
    world.step(30)
    assert await world.accountant.settle() == 0
    await world.come(doubt(False, "2025-03-04T00:00:00Z"))
    world.step(6)
    assert await world.accountant.settle() == 0
    world.step(1)
    assert await world.accountant.settle() == 2
    assert await statuses(world) == SETTLED


async def test_what_was_contradicted_as_it_was_posted_waits_for_the_end_of_that(world: World) -> None:
    await world.come(KNOWN, SHIP, doubt(True, "2025-03-03T00:00:00Z"))
    world.step(30)
    assert await world.accountant.settle() == 0
    await world.come(doubt(False, "2025-03-04T00:00:00Z"))
    world.step(7)
    assert await world.accountant.settle() == 1


async def test_what_is_withdrawn_is_not_settled(world: World) -> None:
    await world.come(KNOWN, moved("2025-03-01T00:00:00Z"))
    await world.come(
        tracker_answer("2025-03-02T00:00:00Z", UPS, scan("INFO_RECEIVED", "2025-01-29T00:00:00Z"))
    )
    world.step(30)
    assert await world.accountant.settle() == 0
    assert (await statuses(world))[-1] == (-1, 1, "provisional", "withdrawn")


async def test_settling_after_close_is_posted_to_the_first_open_period(world: World) -> None:
    await world.come(KNOWN, SHIP)
    await world.close_month("2025-01")
    world.step(7)
    await world.accountant.settle()
    assert [posting for *_, posting in await world.said()] == ["2025-01", "2025-02", "2025-02"]


async def test_many_are_settled_a_page_at_a_time_and_a_crash_between_settles_nothing_twice(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PAGE", 2)
    boxes = [f"box-{n}" for n in range(5)]
    await world.come(*(event(SHIPPED, "2025-01-29T20:00:00Z", box, order=ORDER) for box in boxes))
    world.step(7)
    with pytest.raises(Killed):
        await Accountant(world.store, world.clock, probe=kill).settle()
    assert sum(e.status == "settled" for e in await world.entries()) == 2
    assert await world.accountant.settle() == 3
    entries = await world.entries()
    assert len(entries) == 15
    assert len(net(entries, stated)) == 5


async def test_it_waits_until_what_was_there_before_it_is_folded(world: World) -> None:
    await world.come(KNOWN, SHIP)
    world.step(8)
    await keep(world.store, moved("2025-03-02T00:00:00Z"))
    late = Accountant(world.store, world.clock)
    assert await late.settle() == 0
    await world.projector.catch_up()
    assert await late.settle() == 0
    world.step(7)
    assert await late.settle() == 1
    assert [reason for *_, reason in await statuses(world)] == [
        "new",
        "correction",
        "correction",
        "settled",
        "settled",
    ]


async def test_it_waits_for_a_projector_that_lags(world: World) -> None:
    """What is journalled by a look and not folded by the next one may contradict what is due."""
    await world.come(KNOWN, SHIP)
    assert await world.accountant.settle() == 0
    await keep(world.store, doubt(True, "2025-03-03T00:00:00Z"))
    assert await world.accountant.settle() == 0
    world.step(30)
    assert await world.accountant.settle() == 0
    await world.projector.catch_up()
    assert await world.accountant.settle() == 0
    assert await statuses(world) == [NEW]
    await world.come(doubt(False, "2025-04-20T00:00:00Z"))
    world.step(7)
    assert await world.accountant.settle() == 1


async def test_it_runs_until_it_is_stopped_and_goes_on_where_the_last_one_was(world: World) -> None:
    await world.come(KNOWN, SHIP)
    world.now = Instant(world.now + 8 * DAY)
    settled = asyncio.Event()
    running = Accountant(world.store, world.clock, interval_ms=1, probe=lambda point: settled.set())
    stop = asyncio.Event()
    task = asyncio.create_task(running.run(stop))
    await asyncio.wait_for(settled.wait(), 30)
    stop.set()
    await asyncio.wait_for(task, 30)
    assert await statuses(world) == SETTLED
