"""What the crash tests share: the hub as a process, a sender that never gives up, and the checks afterwards.

The sender behaves like Buy with Prime's: it posts an event until it is acknowledged, sends some twice, and some
out of order. It notes every acknowledgement with the position it was given; those are what must be there.
"""

import asyncio
import os
import random
import signal
import socket
import sys
import time
from collections import deque
from pathlib import Path

import aiohttp

from milepost import sql
from milepost.config import Config
from milepost.domain.instant import Instant
from milepost.domain.record import subjects_of
from milepost.hub import now, projector_handler
from milepost.pipeline import hydrator
from milepost.pipeline.projector import NAME
from milepost.pipeline.rebuild import verify
from milepost.sandbox.program import Sandbox, SandboxConfig
from milepost.sandbox.world import business_product_of

ROOT = Path(__file__).parent.parent.parent
SEED = 7
CONNECTIONS = 8


class HubProcess:
    """A hub on one database and one port, killed and started again as often as one likes."""

    def __init__(self, folder: Path, api_url: str, database_url: str | None = None, **settings: str) -> None:
        """`database_url`: a SQLite file in the folder without it. Copies for `check` are made in the folder.
        `settings` are more of the hub's, without their prefix."""
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port: int = s.getsockname()[1]
        self.folder = folder
        self.database_url = database_url or f"sqlite:///{folder / 'hub.db'}"
        self.url = f"http://127.0.0.1:{self.port}"
        self._environment = {
            **os.environ,
            "MILEPOST_DATABASE_URL": self.database_url,
            # On PostgreSQL a hub that was killed keeps its leases until they run out.
            "MILEPOST_LEASE_S": "2",
            "MILEPOST_PORT": str(self.port),
            "MILEPOST_WEBHOOK_USERNAME": "amazon",
            "MILEPOST_WEBHOOK_PASSWORD": "secret",
            "MILEPOST_API_KEY": "key",
            "MILEPOST_BWP_API_URL": api_url,
            "MILEPOST_BWP_CLIENT_ID": "sandbox",
            "MILEPOST_BWP_CLIENT_SECRET": "sandbox",
            "MILEPOST_BWP_TARGET_ID": "sandbox",
            "MILEPOST_QUERIES_PER_MINUTE": "100000",
            **{f"MILEPOST_{name}": text for name, text in settings.items()},
        }
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, *crash_at: str) -> None:
        """Start it and wait until it listens; `crash_at`: a probe's point and how many times it must come."""
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.simulation.hub_process", *crash_at),
            cwd=ROOT,
            env=self._environment,
            stdout=asyncio.subprocess.PIPE,
        )
        assert self._process.stdout is not None
        async with asyncio.timeout(30):
            line = await self._process.stdout.readline()
        assert b"listens" in line, f"the hub did not start again (exit {await self._process.wait()})"

    @property
    def is_alive(self) -> bool:
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def kill(self) -> None:
        """SIGKILL, whatever it is doing; nothing, when it is gone already."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(signal.SIGKILL)
            await self._process.wait()

    async def died(self) -> int:
        """Wait until it ended by itself; the exit code (-9: it was killed)."""
        assert self._process is not None
        async with asyncio.timeout(30):
            return await self._process.wait()

    async def stop(self) -> None:
        """SIGTERM, and the exit code must be 0."""
        assert self._process is not None
        self._process.terminate()
        async with asyncio.timeout(30):
            code = await self._process.wait()
        assert code == 0, f"the hub ended with {code}"


class Sender:
    """Posts events until each is acknowledged; `acknowledged` maps an eventId to the positions it was told."""

    def __init__(
        self,
        hub: HubProcess,
        draw: random.Random,
        orders: list[dict[str, str]],
        *,
        outages: bool = False,
        pace_s: float = 0.0,
    ) -> None:
        """`outages`: 503 with Retry-After is an answer too; the event is sent again, sooner than it says. `pace_s`:
        how long each connection rests after an acknowledgement."""
        self.acknowledged: dict[str, set[int]] = {}
        self.sent = 0
        self.refused = 0
        """How often the answer was 503."""
        self.last_at = 0.0
        """When the last acknowledgement came (`time.monotonic`)."""
        self._outages = outages
        self._pace_s = pace_s
        self._acknowledging = asyncio.Event()
        self._hub = hub
        self._draw = draw
        self._orders = orders
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._up = asyncio.Event()
        self._made = 0

    def resume(self) -> None:
        self._up.set()

    def pause(self) -> None:
        self._up.clear()

    async def next_acknowledgement(self) -> float:
        """Wait for one; when it came (`time.monotonic`)."""
        self._acknowledging.clear()
        await self._acknowledging.wait()
        return self.last_at

    async def run(self, stop: asyncio.Event) -> None:
        """Send until `stop`, then until everything made was acknowledged."""
        headers = {"authorization": aiohttp.encode_basic_auth("amazon", "secret")}
        timeout = aiohttp.ClientTimeout(total=20)
        async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
            await asyncio.gather(*(self._post_all(session, stop) for _ in range(CONNECTIONS)))

    async def _post_all(self, session: aiohttp.ClientSession, stop: asyncio.Event) -> None:
        while True:
            await self._up.wait()
            if self._waiting and (stop.is_set() or self._draw.random() < 0.5):
                event_id, body = self._waiting.popleft()
            elif stop.is_set():
                return
            else:
                event_id, body = self._make()
            try:
                self.sent += 1
                url = f"{self._hub.url}/webhooks/buy-with-prime"
                async with session.post(url, data=body) as response:
                    answer = await response.json()
                if self._outages and response.status == 503:
                    assert int(response.headers["Retry-After"]) > 0
                    self.refused += 1
                    self._waiting.append((event_id, body))
                    await asyncio.sleep(0.05)
                    continue
                assert response.status == 200, (response.status, answer)
                self.last_at = time.monotonic()
                self._acknowledging.set()
                self.acknowledged.setdefault(event_id, set()).add(answer["position"])
                if self._draw.random() < 0.1:
                    self._waiting.append((event_id, body))
                await asyncio.sleep(self._pace_s)
            except (aiohttp.ClientError, TimeoutError, ConnectionError):
                self._waiting.append((event_id, body))
                await asyncio.sleep(0.01)

    def _make(self) -> tuple[str, bytes]:
        self._made += 1
        n = self._made
        place = self._draw.choice(self._orders)
        product = business_product_of(SEED)
        if "trackingNumber" in place and self._draw.random() < 0.5:
            descriptor = "PACKAGE_TRACKER_MILESTONE_CHANGED"
            path = f"carrier/{place['carrierCode']}/tracker/{place['trackingNumber']}"
        else:
            descriptor = self._draw.choice(["PACKAGE_DELIVERY_IN_TRANSIT", "PACKAGE_DELIVERED"])
            path = f"order/{place['orderId']}/delivery/{place['deliveryId']}"
        event_id = f"event-{n}"
        body = (
            f'{{"idempotencyKey":"key-{n}","eventDescriptor":"{descriptor}","resources":'
            f'["businessProduct/{product}/{path}"],"eventId":"{event_id}","apiVersion":"2024-11-01",'
            f'"subscriptionId":"sub","eventTime":"2025-01-20T12:34:{n % 60:02d}Z","data":{{}}}}'
        )
        return event_id, body.encode()


async def world(
    folder: Path, orders: int = 20
) -> tuple[Sandbox, asyncio.Task[None], asyncio.Event, list[dict[str, str]]]:
    """A sandbox whose orders have all been delivered, for the hub to ask; and what can be told of them."""
    start = Instant(now() - 60 * 86_400_000)
    sandbox = Sandbox(
        SandboxConfig(
            port=0,
            database_url=f"sqlite:///{folder / 'sandbox.db'}",
            seed=SEED,
            orders=orders,
            scenario="standard",
            speed=0,
            start=start,
        )
    )
    await sandbox.open()
    sandbox.clock.advance(50 * 86_400_000)
    await sandbox.settle()
    ready = asyncio.Event()
    stop = asyncio.Event()
    running = asyncio.create_task(sandbox.run(stop, lambda port: ready.set()))
    async with asyncio.timeout(30):
        await ready.wait()
    places: list[dict[str, str]] = []
    for _, one in await sandbox.keeper.page(None, 500):
        for detail in one.order["packageInformation"]["details"]:
            place = {"orderId": one.id, "deliveryId": detail["id"]}
            identifier = (detail.get("packageTracker") or {}).get("packageTrackerIdentifier")
            places.append({**place, **(identifier or {})})
    assert any("trackingNumber" in place for place in places)
    return sandbox, running, stop, places


async def settled(hub: HubProcess) -> None:
    """Wait until the hub has folded everything."""
    headers = {"authorization": "Bearer key"}
    async with asyncio.timeout(120), aiohttp.ClientSession(headers=headers) as session:
        while True:
            async with session.get(f"{hub.url}/metrics") as response:
                text = await response.text()
            values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
            if float(values["milepost_pending"]) == 0:
                assert float(values["milepost_failed_folds"]) == 0
                return
            await asyncio.sleep(0.1)


async def check(hub: HubProcess, sender: Sender) -> None:
    """Every acknowledged event is there, once, where it was said to be; the views equal a rebuild."""
    copy_url = f"sqlite:///{hub.folder / 'copy.db'}"
    for leftover in hub.folder.glob("copy.db*"):
        leftover.unlink()
    await asyncio.to_thread(sql.copy_database, hub.database_url, copy_url)
    copy = await sql.open_store(copy_url, clock=now, owner="check", sealed=True)
    try:
        there: dict[str, set[int]] = {}
        wanted: dict[tuple[str, str], int] = {}
        answered: set[tuple[str, str]] = set()
        position = await copy.read(lambda tx: tx.journal.checkpoint(hydrator.NAME))
        for record in await copy.read(lambda tx: tx.journal.after(0, 10**9)):
            targets = {
                (record.business_product_id, subject)
                for subject in subjects_of(record)
                if subject.startswith(("order/", "tracker/"))
            }
            if record.kind == "event":
                there.setdefault(record.event().event_id, set()).add(record.position)
                if record.position <= position:
                    wanted.update(dict.fromkeys(targets, record.position))
            elif record.kind == "snapshot":
                answered |= targets
        asks = await copy.read(lambda tx: tx.work.get(list(wanted)))
        forgotten = set(wanted) - answered - set(asks)
        assert not forgotten, f"nobody asks about {sorted(forgotten)[:3]} any more"
        lost = {event_id for event_id in sender.acknowledged if event_id not in there}
        assert not lost, f"{len(lost)} acknowledged events are lost: {sorted(lost)[:5]}"
        twice = {event_id: where for event_id, where in there.items() if len(where) > 1}
        assert not twice, f"events are there twice: {dict(list(twice.items())[:5])}"
        for event_id, told in sender.acknowledged.items():
            assert told == there[event_id], f"{event_id} was said to be at {told}, is at {there[event_id]}"
        counts = await copy.read(lambda tx: tx.journal.counts(NAME))
        assert counts.arrivals == counts.events + counts.duplicates + counts.quarantined
        differences = await verify(copy, projector_handler(Config(), copy, now), now)
        assert differences == [], differences[:3]
    finally:
        await copy.close()
