"""PostgreSQL goes away under a hub that serves: restarted, as after a power failure, its connections cut, stopped.

A real hub process on a real server of the test's own, under load from a sender that gives nothing up. Nothing that
was acknowledged is lost or there twice, views equal a rebuild, and after each outage the hub acknowledges again by
itself within ten seconds. Each kind of outage once in `make test`, 40 seconds of them (MILEPOST_OUTAGE_SECONDS) and
a server that is stopped under load in `make proof`. A failure prints the seed.
"""

import asyncio
import os
import random
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import NamedTuple

import aiohttp
import psutil
import pytest
from tests.chance import SEED
from tests.postgres import Postgres
from tests.simulation.crash import HubProcess, Sender, check, settled, world
from tests.unit.test_hub import config

from milepost.domain.errors import StoreUnavailable
from milepost.hub import Hub

SECONDS = float(os.environ.get("MILEPOST_OUTAGE_SECONDS", "40"))
RECOVERS_S = 30.0
MOST_GROWTH_MB = 40
OUTAGES = ("restart", "power failure", "cut")


_numbers = count(1)


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """A server that may be stopped, nobody else's. Each test leaves it running."""
    with Postgres() as started:
        yield started


class Scene(NamedTuple):
    server: Postgres
    database: str
    hub: HubProcess
    sender: Sender
    sending: asyncio.Task[None]

    async def goes_on(self, seconds: float) -> None:
        """Let the load go on for so long."""
        await asyncio.wait([self.sending], timeout=seconds)
        assert not self.sending.done(), self.sending.exception()
        assert self.hub.is_alive

    async def suffers(self, outage: str) -> float:
        """One outage; how long after its end the hub acknowledged again, in seconds."""
        if outage == "cut":
            assert await self.server.cut(self.database) > 0
        else:
            await asyncio.to_thread(self.server.stop, "fast" if outage == "restart" else "immediate")
            await asyncio.to_thread(self.server.start)
        return await self.recovers()

    async def recovers(self) -> float:
        began = time.monotonic()
        async with asyncio.timeout(RECOVERS_S):
            took = await self.sender.next_acknowledgement() - began
        assert self.hub.is_alive
        return took


@asynccontextmanager
async def under_load(folder: Path, server: Postgres, orders: int) -> AsyncIterator[Scene]:
    """A hub and its sender; afterwards everything is acknowledged, settled and checked."""
    print(f"seed {SEED}")
    sandbox, serving, stop_world, places = await world(folder, orders=orders)
    database = f"hub_{next(_numbers)}"
    hub = HubProcess(folder, f"http://127.0.0.1:{sandbox.port}", await server.create(database))
    sender, stop = Sender(hub, random.Random(SEED), places, outages=True, pace_s=0.02), asyncio.Event()
    sending = asyncio.create_task(sender.run(stop))
    try:
        await hub.start()
        sender.resume()
        await sender.next_acknowledgement()
        yield Scene(server, database, hub, sender, sending)
        stop.set()
        async with asyncio.timeout(60):
            await sending
        await settled(hub)
        await hub.stop()
        await check(hub, sender)
        print(f"{len(sender.acknowledged)} acknowledged, 0 lost, 0 twice; {sender.refused} times 503")
    finally:
        await hub.kill()
        sending.cancel()
        stop_world.set()
        await asyncio.gather(serving, sending, return_exceptions=True)
        await sandbox.close()


@pytest.mark.timeout(400)
async def test_each_outage_once(tmp_path: Path, server: Postgres) -> None:
    async with under_load(tmp_path, server, orders=20) as scene:
        for outage in OUTAGES:
            await scene.goes_on(0.5)
            print(f"{outage}: acknowledges again after {await scene.suffers(outage):.2f} s")


@pytest.mark.proof
@pytest.mark.timeout(0)
async def test_outages_every_few_seconds(tmp_path: Path, server: Postgres) -> None:
    draw = random.Random(SEED)
    recoveries: dict[str, list[float]] = {outage: [] for outage in OUTAGES}
    async with under_load(tmp_path, server, orders=300) as scene:
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            await scene.goes_on(draw.uniform(0.5, 4.0))
            outage = draw.choice(OUTAGES)
            took = await scene.suffers(outage)
            recoveries[outage].append(took)
            print(f"{outage}: acknowledges again after {took:.2f} s", flush=True)
    for outage, took_s in recoveries.items():
        print(f"{outage}: {len(took_s)} times, at the slowest {max(took_s, default=0):.2f} s")


async def _status(hub: HubProcess, path: str) -> int:
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=15)) as session,
        session.get(hub.url + path) as response,
    ):
        return response.status


async def _stopped_for(scene: Scene, seconds: float) -> None:
    """The hub lives meanwhile, says that it is not ready, refuses events with 503 and grows no fatter."""
    process = psutil.Process(scene.hub.pid)
    await asyncio.to_thread(scene.server.stop, "fast")
    refused, before, most = scene.sender.refused, process.memory_info().rss, 0
    until = time.monotonic() + seconds
    while time.monotonic() < until or scene.sender.refused == refused:
        await scene.goes_on(0.25)
        most = max(most, process.memory_info().rss)
        assert await _status(scene.hub, "/healthz") == 200
    assert await _status(scene.hub, "/readyz") == 503
    await asyncio.to_thread(scene.server.start)
    took = await scene.recovers()
    grown = (most - before) / 1e6
    print(
        f"stopped for {seconds:g} s: acknowledges again after {took:.2f} s, {grown:+.1f} MB meanwhile,"
        f" {scene.sender.refused - refused} times 503"
    )
    assert grown < MOST_GROWTH_MB


@pytest.mark.proof
@pytest.mark.timeout(0)
async def test_a_server_that_is_stopped_for_twenty_seconds(tmp_path: Path, server: Postgres) -> None:
    async with under_load(tmp_path, server, orders=100) as scene:
        await scene.goes_on(3)
        await _stopped_for(scene, 20)


async def _knocked(port: int) -> None:
    """Wait until somebody tries to connect to this port, where nothing else listens; he is turned away."""
    came = asyncio.Event()

    async def turn_away(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()
        came.set()

    async with await asyncio.start_server(turn_away, "127.0.0.1", port):
        await came.wait()


@pytest.mark.timeout(400)
async def test_a_hub_that_starts_before_its_server_waits_for_it(tmp_path: Path, server: Postgres) -> None:
    hub = HubProcess(tmp_path, "http://127.0.0.1:9", await server.create(f"hub_{next(_numbers)}"))
    server.stop()
    starting = asyncio.create_task(hub.start())
    try:
        await _knocked(server.port)
        assert not starting.done(), starting.exception()
        await asyncio.to_thread(server.start)
        async with asyncio.timeout(RECOVERS_S):
            await starting
        assert await _status(hub, "/readyz") == 200
        await hub.stop()
    finally:
        await hub.kill()
        await asyncio.gather(starting, return_exceptions=True)


@pytest.mark.timeout(400)
async def test_a_hub_that_waits_for_its_server_can_be_stopped(tmp_path: Path) -> None:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    hub = HubProcess(tmp_path, "http://127.0.0.1:9", f"postgresql://milepost@127.0.0.1:{port}/hub")
    starting = asyncio.create_task(hub.start())
    try:
        await _knocked(port)
        assert not starting.done(), starting.exception()
        await hub.stop()
    finally:
        await hub.kill()
        await asyncio.gather(starting, return_exceptions=True)


async def test_a_hub_whose_server_never_comes_says_so_and_ends(tmp_path: Path) -> None:
    nobody = "postgresql://milepost:secret@127.0.0.1:9/hub"
    hub = Hub(config(tmp_path, database_url=nobody), database_wait_s=0.5)
    began = time.monotonic()
    with pytest.raises(StoreUnavailable) as refused:
        await hub.open()
    assert time.monotonic() - began >= 0.5
    assert "127.0.0.1:9/hub" in refused.value.detail
    assert "secret" not in str(refused.value)
