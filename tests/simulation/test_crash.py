"""kill -9 of the hub, at random moments under load and at named points: nothing acknowledged is lost or doubled.

On SQLite, and on PostgreSQL with fewer kills: only the hub dies, what the server does then is always the same.
3 random kills in `make test` (2 on PostgreSQL), 50 in `make proof` (15), N by `make crash N=1000`. Named points are
in `make test` on SQLite, in `make proof` on PostgreSQL. A failure prints the seed; set MILEPOST_SEED to it to repeat.
"""

import asyncio
import os
import random
from pathlib import Path

import pytest
from tests.chance import SEED
from tests.simulation.crash import HubProcess, Sender, check, settled, world


async def kill_under_load(folder: Path, database_url: str, kills: int, every: int) -> None:
    """Kill `kills` times at random moments; check the books every so many kills and at the end."""
    print(f"seed {SEED}")
    draw = random.Random(SEED)
    sandbox, serving, stop_world, orders = await world(folder)
    hub = HubProcess(folder, f"http://127.0.0.1:{sandbox.port}", database_url)
    sender, stop = Sender(hub, draw, orders), asyncio.Event()
    await hub.start()
    sending = asyncio.create_task(sender.run(stop))
    try:
        for number in range(1, kills + 1):
            sender.resume()
            # The moment of a kill is what varies here; nothing is waited for.
            await asyncio.wait([sending], timeout=draw.uniform(0.05, 0.6))
            assert not sending.done(), sending.exception()
            await hub.kill()
            sender.pause()
            await hub.start()
            if number % every == 0:
                await settled(hub)
                await check(hub, sender)
                print(
                    f"{number} kills: {len(sender.acknowledged)} acknowledged, 0 lost, 0 twice (seed {SEED})"
                )
        stop.set()
        sender.resume()
        async with asyncio.timeout(60):
            await sending
        await settled(hub)
        await hub.stop()
        await check(hub, sender)
        assert len(sender.acknowledged) > kills, "no load, no proof"
    finally:
        await hub.kill()
        sending.cancel()
        stop_world.set()
        await asyncio.gather(serving, sending, return_exceptions=True)
        await sandbox.close()


@pytest.mark.timeout(400)
async def test_some_kills_at_random_moments(tmp_path: Path, database_url: str) -> None:
    kills = 2 if database_url.startswith("postgresql") else 3
    await kill_under_load(tmp_path, database_url, kills, every=10)


@pytest.mark.proof
@pytest.mark.timeout(0)
async def test_many_kills_at_random_moments(tmp_path: Path, database_url: str) -> None:
    fewer = "15" if database_url.startswith("postgresql") else "50"
    kills = int(os.environ.get("MILEPOST_CRASHES", fewer))
    await kill_under_load(tmp_path, database_url, kills, every=25)


@pytest.mark.parametrize(
    ("point", "count"),
    [
        ("after-receive", 40),
        ("after-commit", 40),
        ("mid-hydration", 3),
        ("mid-hydrator", 2),
        ("mid-projector", 2),
    ],
)
@pytest.mark.parametrize(
    "database_url", ["sqlite", pytest.param("postgresql", marks=pytest.mark.proof)], indirect=True
)
@pytest.mark.timeout(400)
async def test_a_kill_at_a_named_point(tmp_path: Path, database_url: str, point: str, count: int) -> None:
    print(f"seed {SEED}")
    sandbox, serving, stop_world, orders = await world(tmp_path)
    hub = HubProcess(tmp_path, f"http://127.0.0.1:{sandbox.port}", database_url)
    sender, stop = Sender(hub, random.Random(SEED), orders), asyncio.Event()
    sending = asyncio.create_task(sender.run(stop))
    try:
        await hub.start(point, str(count))
        sender.resume()
        assert await hub.died() == -9, f"the hub never came to {point}"
        sender.pause()
        await hub.start()
        stop.set()
        sender.resume()
        async with asyncio.timeout(60):
            await sending
        await settled(hub)
        await hub.stop()
        await check(hub, sender)
    finally:
        await hub.kill()
        sending.cancel()
        stop_world.set()
        await asyncio.gather(serving, sending, return_exceptions=True)
        await sandbox.close()
