"""`kill -9` of a sandbox that is publishing: after the next start its handler has every event that was stored."""

import asyncio
import signal
import sys
from pathlib import Path

import aiohttp
from aiohttp import web
from tests.unit.sandbox.asking import config
from tests.unit.transports.receiver import Received, Receiver, accept

from milepost.domain.envelope import parse_event
from milepost.domain.instant import HOUR, Instant
from milepost.sandbox.clock import real_now
from milepost.sandbox.program import Sandbox

PROGRAM = """
import asyncio, sys
from milepost.sandbox.program import Sandbox, SandboxConfig

async def main(folder, url):
    sandbox = Sandbox(SandboxConfig(port=0, database_url=f"sqlite:///{folder}/sandbox.db", hub_url=url))
    await sandbox.open()
    await sandbox.run(asyncio.Event(), lambda port: print(port, flush=True))

asyncio.run(main(*sys.argv[1:]))
"""


async def start(folder: Path, url: str) -> tuple[asyncio.subprocess.Process, str]:
    """A sandbox in a process of its own, once it listens; and its address."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, str(folder), url, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    async with asyncio.timeout(60):
        while not (line := await process.stdout.readline()).strip().isdigit():
            assert line, "the sandbox ended before it listened"
    return process, f"http://127.0.0.1:{line.decode().strip()}"


async def test_every_stored_event_arrives_however_often_the_sandbox_is_killed(tmp_path: Path) -> None:
    stored: set[str] = set()
    answering_again = asyncio.Event()

    async def hang(received: Received) -> web.StreamResponse:
        await answering_again.wait()
        return web.Response()

    async with Receiver(hang) as hub, aiohttp.ClientSession() as http:
        for answer in (hang, accept):
            hub.answer = answer
            seen = len(hub.received)
            process, url = await start(tmp_path, hub.url)
            for _ in range(3):
                async with http.post(f"{url}/sandbox/events", json={"type": "PACKAGE_DELIVERED"}) as response:
                    assert response.status == 200
                    stored |= {e["eventId"] for e in (await response.json())["events"]}
            # Killed while attempts are under way, then while some are being recorded.
            await hub.got(seen + 5)
            process.send_signal(signal.SIGKILL)
            await process.wait()
        # What was leased when it was killed is sent when the lease has ended.
        settings = config(tmp_path, hub_url=hub.url, start=Instant(real_now() + HOUR))
        sandbox = Sandbox(settings)
        await sandbox.open()
        await sandbox.settle()
        counts = await sandbox.store.read(lambda tx: tx.attempts.count())
        await sandbox.close()
        answering_again.set()
    assert counts == {"delivered": len(stored)}
    bodies: dict[str, set[bytes]] = {}
    for received in hub.received:
        bodies.setdefault(parse_event(received.body).event_id, set()).add(received.body)
    assert set(bodies) == stored
    assert all(len(same) == 1 for same in bodies.values())
