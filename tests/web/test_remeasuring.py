"""Orders that were folded before there were measures get the very rows that folding gives; until then no number."""

import asyncio
from typing import Any

from tests.web.shop import fill
from tests.web.world import World

from milepost.pipeline.remeasuring import measure_old_orders


def _forget(tx: Any) -> None:
    """As a migration leaves it: views, and no measures."""
    tx.connection.exec_driver_sql("DELETE FROM parcels")
    tx.connection.exec_driver_sql("UPDATE parcels_state SET epoch = epoch + 1")
    tx.parcels.measured(0)


async def test_old_orders_are_measured_as_if_they_were_folded(world: World) -> None:
    await fill(world, seed=3, parcels=130)
    folded = await world.store.read(lambda tx: tx.views.dump())
    before = (await world.get("/v1/insights/otd")).json()
    await world.store.write(_forget)
    waiting = await world.get("/v1/insights/otd")
    assert (waiting.status_code, waiting.json()["loaded"]) == (202, 0)
    await measure_old_orders(world.store, asyncio.Event())
    assert await world.store.read(lambda tx: tx.views.dump()) == folded
    assert (await world.store.read(lambda tx: tx.parcels.state())).behind is None
    assert (await world.get("/v1/insights/otd")).json() == before
    assert before["main"]["denominator"] > 0
