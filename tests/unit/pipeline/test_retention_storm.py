"""Retention while everything else goes on: news about old orders, duplicates, conflicts and new orders come in from
many sides, projector and hydrator run, and closed orders are removed all the time. On both databases, a rebuild
equals live at the end, and every record is there or counted as removed."""

import asyncio
import random
from pathlib import Path

import pytest
from tests.chance import SEED
from tests.unit.domain.history import DELIVERED, MILESTONE, SHIPPED, UPS, Arrived, event
from tests.unit.pipeline.projecting import clock
from tests.unit.pipeline.retaining import DAYS, Place

from milepost.domain.condition import Policy
from milepost.pipeline import ageing
from milepost.pipeline.projector import Projector
from milepost.pipeline.rebuild import rebuild

ORDERS, SENDERS, SENT = 150, 6, 60


def delivered(order: int, **more: object) -> Arrived:
    ids = {"id": f"delivered-{order}", "key": f"key-{order // 2}"} | more
    return event(DELIVERED, "2025-03-01T10:00:00Z", f"box-{order // 3}", order=f"order-{order}", **ids)  # type: ignore[arg-type]


def news(dice: random.Random, number: int) -> Arrived:
    """Something about an old order, or about one that begins now."""
    order, new_id = dice.randrange(ORDERS), f"news-{number}"
    what = dice.randrange(6)
    if what == 0:
        return delivered(order)
    if what == 1:
        return delivered(order, data={"note": number})
    if what == 2:
        return event(SHIPPED, "2025-07-01T00:00:00Z", f"box-{order // 3}", order=f"order-{order}", id=new_id)
    if what == 3:
        return event(SHIPPED, "2025-07-01T00:00:00Z", f"box-{order // 3}", order=f"new-{number}", id=new_id)
    if what == 4:
        return event(
            SHIPPED,
            "2025-07-01T00:00:00Z",
            f"new-{number}",
            order=f"new-{number}",
            id=new_id,
            key=f"key-{order}",
        )
    return event(MILESTONE, "2025-07-01T00:00:00Z", tracker=(UPS[0], f"1Z-{number % 5}"), id=new_id)


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ageing, "AT_ONCE", 4)


async def test_a_rebuild_equals_live_whatever_comes_meanwhile(tmp_path: Path) -> None:
    await storm(Place(tmp_path))


async def test_so_it_does_on_postgresql(tmp_path: Path, postgres_url: str) -> None:
    await storm(Place(tmp_path, url=postgres_url))


async def storm(place: Place) -> None:
    await place.open()
    try:
        await weather(place)
    finally:
        await place.close()


async def weather(place: Place) -> None:
    print(f"MILEPOST_SEED={SEED}")
    await place.come(*map(delivered, range(ORDERS)))
    await place.settle()
    place.later(DAYS)
    stop = asyncio.Event()

    async def send(sender: int) -> None:
        dice = random.Random(SEED + sender)
        for number in range(SENT):
            await place.come(news(dice, sender * SENT + number))
            if dice.random() < 0.3:
                asks = await place.store.read(lambda tx: tx.work.page(None, 500, None, None))
                done = [(ask.business_product_id, ask.target) for ask in asks]
                await place.store.write(lambda tx, done=done: tx.work.done(done))  # type: ignore[misc]

    async def remove() -> None:
        while not stop.is_set():
            await place.retention.remove()

    running = [
        asyncio.ensure_future(each)
        for each in (place.projector.run(stop), place.hydrator.run(stop), remove(), remove())
    ]
    await asyncio.gather(*map(send, range(SENDERS)))
    stop.set()
    await asyncio.gather(*running)
    await place.settle(sweep=False)
    await place.retention.remove()
    counts = await place.counts()
    assert counts.removed > 0
    assert counts.arrivals == counts.events + counts.duplicates == ORDERS + SENDERS * SENT
    assert len(await place.positions()) == counts.records - counts.removed
    live = await place.store.read(lambda tx: tx.views.dump())
    await rebuild(place.store, Projector(place.store, Policy(), clock).prepare, clock)
    assert await place.store.read(lambda tx: tx.views.dump()) == live
