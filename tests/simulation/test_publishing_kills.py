"""kill -9 of a publishing process at random moments: every event reaches every endpoint, and what is marked
delivered the endpoint has. The receiver notes what it acknowledges before it does; the two are compared id by id.

50 kills in `make proof`, three in `make test`. A failure prints the seed; MILEPOST_SEED repeats it.
"""

import asyncio
import os
import random
import signal
import sys
from collections import Counter
from pathlib import Path

import pytest
from aiohttp import web
from tests.chance import SEED
from tests.simulation.crash import ROOT
from tests.simulation.publishing_process import SECRET
from tests.unit.transports.receiver import Received, Receiver

from milepost.domain.envelope import parse_event
from milepost.domain.webhook_signature import Secret, verify
from milepost.sandbox.clock import real_now
from milepost.sql import open_store

ENDPOINTS = 4


class Endpoints:
    """Answers 200, sometimes 503, and sometimes nothing at all; keeps what it acknowledged, by endpoint."""

    def __init__(self, draw: random.Random) -> None:
        self.acknowledged: Counter[tuple[str, str]] = Counter()
        """(path, webhook-id)."""
        self.events: set[tuple[str, str]] = set()
        self._draw = draw
        self._keys = [Secret.parse(SECRET)]

    async def __call__(self, received: Received) -> web.StreamResponse:
        headers = [(k.encode(), v.encode()) for k, v in received.headers.items()]
        verify(headers, received.body, real_now(), self._keys)
        luck = self._draw.random()
        if luck < 0.05:
            return web.Response(status=503)
        if luck < 0.06:
            await asyncio.sleep(2)
            return web.Response(status=500)
        self.acknowledged[received.path, received.headers["webhook-id"]] += 1
        self.events.add((received.path, parse_event(received.body).event_id))
        return web.Response(status=200)


async def started(database: Path, events: int, urls: list[str]) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.simulation.publishing_process", str(database), str(events), *urls),
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"},
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    async with asyncio.timeout(30):
        assert await process.stdout.readline() == b"runs\n", "it did not start again"
    return process


async def kill_while_publishing(folder: Path, kills: int, events: int) -> None:
    print(f"seed {SEED}")
    draw = random.Random(SEED)
    endpoints = Endpoints(random.Random(SEED + 1))
    database = folder / "publishing.db"
    async with Receiver(endpoints) as receiver:
        urls = [f"{receiver.url}/{n}" for n in range(ENDPOINTS)]
        under_way = 0
        for _ in range(kills):
            process = await started(database, events, urls)
            # The moment of a kill is what varies here; nothing is waited for.
            await asyncio.wait(
                [waiting := asyncio.ensure_future(process.wait())], timeout=draw.uniform(0, 0.5)
            )
            if not waiting.done():
                under_way += 1
                process.send_signal(signal.SIGKILL)
            await waiting
        assert under_way > kills * 0.8, "it had nothing left to do: more events"
        process = await started(database, events, urls)
        async with asyncio.timeout(120):
            assert await process.wait() == 0
    store = await open_store(f"sqlite:///{database}")
    try:
        messages = await store.read(lambda tx: tx.attempts.messages(None, 10**6))
    finally:
        await store.close()
    wanted = {(f"/{n}", f"event-{number}") for n in range(ENDPOINTS) for number in range(1, events + 1)}
    assert endpoints.events == wanted
    delivered = {(f"/{m.destination_id[1:]}", m.id) for m in messages if m.state == "delivered"}
    assert delivered <= set(endpoints.acknowledged)
    assert len(delivered) == events * ENDPOINTS
    again = sum(count - 1 for count in endpoints.acknowledged.values())
    print(
        f"{kills} kills: {len(delivered)} delivered, 0 lost, 0 only said to be; {again} came again (seed {SEED})"
    )


@pytest.mark.timeout(400)
async def test_three_kills(tmp_path: Path) -> None:
    await kill_while_publishing(tmp_path, 3, events=400)


@pytest.mark.proof
@pytest.mark.timeout(600)
async def test_fifty_kills(tmp_path: Path) -> None:
    await kill_while_publishing(tmp_path, 50, events=4_000)
