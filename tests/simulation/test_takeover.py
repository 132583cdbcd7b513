"""Two hubs on one PostgreSQL under load: the leader is killed, paused for longer than its lease, and stopped.

The other takes over in time, and afterwards nothing is lost and nothing was done twice: every record was consumed by
one commit, the views equal a rebuild, each condition was raised once. A failure prints the seed; set MILEPOST_SEED to
it to repeat, MILEPOST_TAKEOVERS to have more rounds than two.
"""

import asyncio
import os
import random
from pathlib import Path
from statistics import median
from typing import cast

import pytest
from tests.chance import SEED
from tests.simulation.crash import HubProcess, Sender, check, settled, world
from tests.simulation.takeover import (
    HANDS,
    LEASE_S,
    Either,
    SharingHub,
    check_conditions,
    check_failures,
    check_moves,
    note_moves,
    ship_ghosts,
)

from milepost import sql

DIED = LEASE_S + HANDS
"""A lease that isn't renewed runs out; the standby waits for that very moment."""
STOPPED = LEASE_S / 3 + HANDS
"""One that is given up is noticed at the standby's next look."""
PAUSED = 5.0 + DIED
"""The transaction in which a paused hub keeps everybody from writing is ended within five seconds."""
CALM_S = 135.0
"""A view is looked at again a minute after a condition of it was seen first, and a sweeper that began since must see
it for a minute of its own."""


class Trial:
    """Two hubs, the one that leads and the one that stands by; each blow swaps them."""

    def __init__(self, leader: SharingHub, standby: SharingHub, draw: random.Random) -> None:
        self.leader, self.standby, self.draw = leader, standby, draw
        self.either = Either(leader, standby)
        self.took: dict[str, list[float]] = {"killed": [], "paused": [], "stopped": []}

    async def load(self, seconds: float) -> None:
        """Let the sender work: the moment of a blow is what varies."""
        await asyncio.sleep(self.draw.uniform(0.1, seconds))

    async def blow(self, kind: str) -> None:
        await self.load(1.0)
        leader, standby = self.leader, self.standby
        self.either.up = [standby]
        if kind == "killed":
            await leader.kill()
            self.took[kind].append(await standby.leads(DIED))
            await leader.start()
        elif kind == "paused":
            leader.pause()
            self.took[kind].append(await standby.leads(PAUSED))
            await self.load(1.0)
            leader.resume()
            await leader.stands_by()
        else:
            await leader.stop()
            self.took[kind].append(await standby.leads(STOPPED))
            await leader.start()
        self.either.up = [leader, standby]
        self.leader, self.standby = standby, leader


async def take_over(folder: Path, url: str, rounds: int) -> None:
    print(f"seed {SEED}")
    draw = random.Random(SEED)
    await asyncio.to_thread(sql.migrate, url)
    await note_moves(url)
    sandbox, serving, stop_world, orders = await world(folder)
    api = f"http://127.0.0.1:{sandbox.port}"
    hubs = SharingHub(folder, api, url), SharingHub(folder, api, url)
    trial = Trial(*hubs, draw)
    # While a paused hub keeps everybody from writing, the other refuses what it can't keep.
    sender = Sender(cast("HubProcess", trial.either), draw, orders, outages=True)
    stop = asyncio.Event()
    sending = asyncio.create_task(sender.run(stop))
    try:
        await hubs[0].start()
        await hubs[0].leads(DIED)
        await hubs[1].start()
        assert await hubs[1].held() == set(), "two lead"
        await ship_ghosts(hubs[1])
        sender.resume()
        for number in range(rounds):
            if number == 1:
                sender.pause()
                await settled(trial.leader)
                await asyncio.wait((sending,), timeout=CALM_S)
                sender.resume()
            for kind in draw.sample(("killed", "paused", "stopped"), 3):
                await trial.blow(kind)
                assert not sending.done(), sending.exception()
            took = {kind: round(seconds[-1], 2) for kind, seconds in trial.took.items()}
            print(f"round {number + 1}: {len(sender.acknowledged)} acknowledged, taken over after {took}")
        stop.set()
        async with asyncio.timeout(60):
            await sending
        await check_failures(url)
        await settled(trial.leader)
        for hub in hubs:
            await hub.stop()
        await check(hubs[0], sender)
        batches = await check_moves(url, max(map(max, sender.acknowledged.values())))
        raised = await check_conditions(url)
        print(
            f"{len(sender.acknowledged)} acknowledged, 0 lost, {batches} batches, {raised} conditions raised"
        )
        assert len(sender.acknowledged) > 100 * rounds, "no load, no proof"
        if rounds > 1:
            assert raised, "no conditions, no proof"
            for kind, promised in (("killed", DIED), ("paused", PAUSED), ("stopped", STOPPED)):
                assert median(trial.took[kind]) < promised - HANDS * 3 / 4, trial.took
    finally:
        for hub in hubs:
            await hub.kill()
        sending.cancel()
        stop_world.set()
        await asyncio.gather(serving, sending, return_exceptions=True)
        await sandbox.close()


@pytest.mark.proof
@pytest.mark.timeout(0)
async def test_the_other_hub_takes_over_and_nothing_is_lost_or_done_twice(
    tmp_path: Path, postgres_url: str
) -> None:
    await take_over(tmp_path, postgres_url, int(os.environ.get("MILEPOST_TAKEOVERS", "2")))
