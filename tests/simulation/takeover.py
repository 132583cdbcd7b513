"""What the takeover tests share: two hubs as processes on one PostgreSQL, and an account of every checkpoint's move.

A trigger in the database notes each move, so that it can be told afterwards that every record was consumed by one
commit and no more, whoever led when. Whoever leads is read from `/metrics`, as an operator reads it.
"""

import asyncio
import os
import signal
from collections import Counter
from itertools import pairwise
from pathlib import Path

import aiohttp
import asyncpg
import msgspec
from tests.simulation.crash import HubProcess

from milepost import sql
from milepost.domain.record import ConditionChange
from milepost.hub import LEASES
from milepost.pipeline import hydrator, projector

LEASE_S = 2.0
GHOSTS = 10
HANDS = 4.0
"""Seconds that one takeover may take beside what is promised: two hubs, their database, the API and the senders share
a busy machine. Of many, half must do with a quarter of that."""

_NOTE_MOVES = """
CREATE TABLE moves (id BIGSERIAL PRIMARY KEY, name TEXT NOT NULL, before BIGINT NOT NULL, after BIGINT NOT NULL);
CREATE FUNCTION note_move() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO moves (name, before, after) VALUES (NEW.consumer, COALESCE(OLD.position, 0), NEW.position);
  RETURN NEW;
END $$;
CREATE TRIGGER moved AFTER INSERT OR UPDATE ON checkpoints FOR EACH ROW EXECUTE FUNCTION note_move();
"""


class SharingHub(HubProcess):
    """A hub on a PostgreSQL database that it shares."""

    def __init__(self, folder: Path, api_url: str, database_url: str) -> None:
        super().__init__(folder, api_url, database_url)
        self._environment |= {"MILEPOST_LEASE_S": str(LEASE_S), "MILEPOST_SWEEP_INTERVAL_S": "1"}

    async def held(self) -> set[str]:
        """The leases that it has."""
        return {name for name, value in (await self.numbers("milepost_lease_held")).items() if value == 1}

    async def numbers(self, family: str) -> dict[str, float]:
        timeout = aiohttp.ClientTimeout(total=10)
        headers = {"authorization": "Bearer key"}
        async with (
            aiohttp.ClientSession(headers=headers, timeout=timeout) as http,
            http.get(f"{self.url}/metrics") as answer,
        ):
            text = await answer.text()
        lines = (line for line in text.splitlines() if line.startswith(family + "{"))
        return {line.split('"')[1]: float(line.rsplit(" ", 1)[1]) for line in lines}

    async def leads(self, within_s: float) -> float:
        """Wait until it has every lease; how many seconds that took. Fails when it takes longer than allowed."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        while await self.held() != set(LEASES):
            took = loop.time() - begun
            assert took < within_s, f"after {took:.1f} s it leads {await self.held()} only"
            await asyncio.sleep(0.02)
        return loop.time() - begun

    async def stands_by(self) -> None:
        """Wait until it has no lease."""
        async with asyncio.timeout(30):
            while await self.held():
                await asyncio.sleep(0.02)

    def pause(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)


class Either:
    """Where the sender posts: to each of the hubs that are up, by turns."""

    def __init__(self, *hubs: SharingHub) -> None:
        self.up = list(hubs)
        self._turn = 0

    @property
    def url(self) -> str:
        self._turn += 1
        return self.up[self._turn % len(self.up)].url


async def ship_ghosts(hub: SharingHub) -> None:
    """Tell a hub that parcels are under way which the API does not know: nothing ever shows that they were scanned,
    which becomes a condition."""
    auth = {"authorization": aiohttp.encode_basic_auth("amazon", "secret")}
    async with aiohttp.ClientSession(headers=auth) as http:
        for n in range(GHOSTS):
            event = {
                "idempotencyKey": f"ghost-key-{n}",
                "eventDescriptor": "PACKAGE_DELIVERY_IN_TRANSIT",
                "resources": [f"businessProduct/bp-ghosts/order/ghost-{n}/delivery/box-{n}"],
                "eventId": f"ghost-event-{n}",
                "apiVersion": "2024-11-01",
                "eventTime": "2025-01-20T12:34:56Z",
            }
            async with http.post(f"{hub.url}/webhooks/buy-with-prime", json=event) as answer:
                assert answer.status == 200, await answer.text()


async def note_moves(url: str) -> None:
    """From now on the database keeps an account of its checkpoints."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(_NOTE_MOVES)
    finally:
        await connection.close()


async def check_moves(url: str, acknowledged: int) -> int:
    """Each consumer went through the journal once, without a gap and never back, and the projector at least up to
    the last acknowledged event: answers come in until the end. How many batches that were."""
    connection = await asyncpg.connect(url)
    try:
        moves = await connection.fetch("SELECT name, before, after FROM moves ORDER BY id")
        fences = dict(await connection.fetch("SELECT name, fence FROM leases"))
    finally:
        await connection.close()
    assert min(fences.values()) > 1, f"no lease changed hands: {fences}"
    for name in (projector.NAME, hydrator.NAME):
        mine = [(row["before"], row["after"]) for row in moves if row["name"] == name]
        assert mine[0][0] == 0
        assert name != projector.NAME or mine[-1][1] >= acknowledged
        for (_, reached), (begins, goes_on) in pairwise(mine):
            assert reached == begins < goes_on, f"the {name} moved to {reached}, then {begins} to {goes_on}"
    return len(moves)


async def check_failures(url: str) -> None:
    """No record was taken for poison, whatever happened to the database's connections."""
    store = await sql.open_store(url, owner="check", migrate=False)
    try:
        failures = await store.read(lambda tx: tx.views.failures(0, 10, None))
    finally:
        await store.close()
    assert not failures, failures


async def check_conditions(url: str) -> int:
    """No condition was raised twice on the same evidence; how many were raised."""
    store = await sql.open_store(url, owner="check", migrate=False)
    try:
        records = await store.read(lambda tx: tx.journal.after(0, 10**9))
    finally:
        await store.close()
    raised: Counter[tuple[str, str, str, bytes]] = Counter()
    for record in records:
        if record.kind == "condition":
            change = msgspec.json.decode(record.body, type=ConditionChange)
            if change.raised:
                evidence = msgspec.json.encode(change.evidence, order="sorted")
                raised[record.business_product_id, change.subject, change.code, evidence] += 1
    twice = [key for key, times in raised.items() if times > 1]
    assert not twice, f"{len(twice)} of {len(raised)} were raised twice, as {twice[0]}"
    return len(raised)
