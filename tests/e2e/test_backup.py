"""A backup while a hub serves under load, the hub killed, the backup restored, and the hub going on from there."""

import asyncio
import random
from collections import defaultdict
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from tests.chance import SEED
from tests.e2e.processes import Ran, environment, run
from tests.simulation.crash import HubProcess, Sender, settled, world

from milepost import sql


class Told:
    """A subscriber: which messages it got, by the event that they are about."""

    def __init__(self) -> None:
        self.ids: dict[str, set[str]] = defaultdict(set)

    async def take(self, request: web.Request) -> web.Response:
        document = await request.json()
        self.ids[document["eventId"]].add(request.headers["webhook-id"])
        return web.Response()


@pytest.mark.timeout(400)
async def test_a_backup_under_load_is_restored_and_everybody_goes_on(tmp_path: Path) -> None:
    print(f"MILEPOST_SEED={SEED}")
    sandbox, serving, stop_world, orders = await world(tmp_path, 10)
    told = Told()
    runner = web.AppRunner(route(told), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    hub = HubProcess(tmp_path, f"http://127.0.0.1:{sandbox.port}", EGRESS_ALLOW="127.0.0.0/8")
    sender, stop = Sender(hub, random.Random(SEED), orders, pace_s=0.01), asyncio.Event()
    await hub.start()
    await subscribe(hub, f"http://127.0.0.1:{runner.addresses[0][1]}/hook")
    sender.resume()
    sending = asyncio.create_task(sender.run(stop))
    try:
        async with asyncio.timeout(60):
            while len(sender.acknowledged) < 200:
                await sender.next_acknowledgement()
        before = dict(sender.acknowledged)
        made = (await milepost(hub, "backup", "one.backup", "--json")).json()
        assert made["differences"] == 0
        assert len(sender.acknowledged) > len(before), "the hub did not go on meanwhile"
        await hub.kill()
        sender.pause()
        await restore(hub, made["position"])
        # Whoever was acknowledged before it began is in it.
        assert made["position"] >= max(max(positions) for positions in before.values())
        await hub.start()
        await settled(hub)
        stop.set()
        sender.resume()
        async with asyncio.timeout(60):
            await sending
        await settled(hub)
        verified = (await milepost(hub, "rebuild", "--verify", "--json")).json()
        assert verified["equal"]
        positions = await positions_of(hub)
        kept = {event: p for event, p in sender.acknowledged.items() if min(p) <= made["position"]}
        assert len(kept) >= len(before)
        for event, acknowledged in kept.items():
            assert positions[event] in acknowledged, f"{event} was lost or moved"
        await until_told(told, positions)
        # Sent again after going back in time or not: one event is one message by its id.
        assert {event: ids for event, ids in told.ids.items() if event in kept and len(ids) != 1} == {}
        await hub.stop()
    finally:
        await hub.kill()
        sending.cancel()
        stop_world.set()
        await asyncio.gather(serving, sending, return_exceptions=True)
        await sandbox.close()
        await runner.cleanup()


async def restore(hub: HubProcess, position: int) -> None:
    refused = await milepost(hub, "restore", "one.backup")
    assert (refused.code, "--yes" in refused.err) == (2, True), refused
    done = (await milepost(hub, "restore", "one.backup", "--yes", "--json")).json()
    assert done["position"] == position
    assert Path(hub.folder / done["kept"]).exists()
    assert done["missingKeys"] == []


def route(told: Told) -> web.Application:
    app = web.Application()
    app.router.add_post("/hook", told.take)
    return app


async def subscribe(hub: HubProcess, url: str) -> None:
    wanted = {"name": "of the test", "url": url, "form": "amazon", "from": "start"}
    headers = {"authorization": "Bearer key"}
    async with (
        aiohttp.ClientSession(headers=headers) as http,
        http.post(f"{hub.url}/v1/subscribers", json=wanted) as answer,
    ):
        assert answer.status == 201, await answer.text()


async def milepost(hub: HubProcess, *arguments: str) -> Ran:
    env = environment(DATABASE_URL=hub.database_url)
    return await asyncio.to_thread(run, list(arguments), hub.folder, env)


async def positions_of(hub: HubProcess) -> dict[str, int]:
    """Of every event in a copy of the database."""
    copy = f"sqlite:///{hub.folder / 'copy.db'}"
    await asyncio.to_thread(sql.copy_database, hub.database_url, copy)
    store = await sql.open_store(copy, sealed=True)
    try:
        records: list[Any] = await store.read(lambda tx: tx.journal.after(0, 10**9))
    finally:
        await store.close()
    return {record.event().event_id: record.position for record in records if record.kind == "event"}


async def until_told(told: Told, positions: dict[str, int]) -> None:
    async with asyncio.timeout(60):
        while positions.keys() - told.ids.keys():
            await asyncio.sleep(0.05)  # another process sends, and says nothing here
