"""A hub under steady load for a while: the books balance at every look, and memory does not grow with events.

45 seconds in `make proof`, 30 on PostgreSQL; MILEPOST_SOAK_SECONDS makes both longer. A failure prints the seed.
"""

import asyncio
import os
import random
import time
from pathlib import Path

import aiohttp
import psutil
import pytest
from tests.chance import SEED
from tests.simulation.crash import HubProcess, Sender, check, settled, world

MOST_GROWTH = 1.4
"""Memory at the end against memory halfway: caches (some 100 MB in all) are still filling then, and a leak of a
few kilobytes an event would double it."""
MOST_MB = 300


@pytest.mark.proof
@pytest.mark.timeout(0)
async def test_books_balance_and_memory_stays_under_steady_load(tmp_path: Path, database_url: str) -> None:
    print(f"seed {SEED}")
    seconds = float(os.environ.get("MILEPOST_SOAK_SECONDS", "45" if "sqlite" in database_url else "30"))
    sandbox, serving, stop_world, orders = await world(tmp_path, orders=300)
    hub = HubProcess(tmp_path, f"http://127.0.0.1:{sandbox.port}", database_url)
    sender, stop = Sender(hub, random.Random(SEED), orders), asyncio.Event()
    await hub.start()
    sending = asyncio.create_task(sender.run(stop))
    sender.resume()
    try:
        memory = await _watch(hub, sending, seconds)
        stop.set()
        async with asyncio.timeout(60):
            await sending
        await settled(hub)
        await hub.stop()
        await check(hub, sender)
        early, late = memory[len(memory) // 2], memory[-1]
        print(
            f"{len(sender.acknowledged)} events, {early / 1e6:.0f} MB halfway, {late / 1e6:.0f} MB at the end"
        )
        assert late < early * MOST_GROWTH
        assert late < MOST_MB * 1e6
    finally:
        await hub.kill()
        sending.cancel()
        stop_world.set()
        await asyncio.gather(serving, sending, return_exceptions=True)
        await sandbox.close()


async def _watch(hub: HubProcess, sending: asyncio.Task[None], seconds: float) -> list[int]:
    """Look at the hub's books and its memory once a second; the memory, look by look."""
    process = psutil.Process(hub.pid)
    memory: list[int] = []
    until = time.monotonic() + seconds
    async with aiohttp.ClientSession(headers={"authorization": "Bearer key"}) as session:
        while time.monotonic() < until:
            assert not sending.done(), sending.exception()
            async with session.get(f"{hub.url}/metrics") as response:
                lines = (await response.text()).splitlines()
            values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
            number = {name: float(value) for name, value in values.items()}
            arrivals = number["milepost_arrivals_total"]
            events, duplicates = number["milepost_events_total"], number["milepost_duplicates_total"]
            assert arrivals == events + duplicates + number["milepost_quarantined"]
            folded, pending = number["milepost_folded_total"], number["milepost_pending"]
            assert number["milepost_records_total"] == folded + pending
            memory.append(process.memory_info().rss)
            await asyncio.wait([sending], timeout=1.0)
    return memory
