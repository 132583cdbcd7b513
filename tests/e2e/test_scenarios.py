"""Every scenario of the sandbox, with each fault in turn: the hub ends in the state that the scenario's file states.

One sandbox and one hub in this process, spoken to over real sockets: events come by the webhook, questions go to
`/graphql`. Both follow one clock that stands still until the test steps it to whatever is due next: a step of the
world, an attempt, a question, a condition. All scenarios are orders of one world.
"""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.e2e.outcomes_agree import check_outcomes
from tests.e2e.running import SENDER, Client, hub_config

from milepost.domain.instant import MINUTE, SECOND, Instant, parse_instant
from milepost.hub import Hub
from milepost.sandbox.faults import Faults, parse_options
from milepost.sandbox.program import Sandbox, SandboxConfig
from milepost.sandbox.scenarios import EACH, Condition, PackageEnd, Scenario, library
from milepost.sandbox.world import WorldOrder
from milepost.store import Transaction, ViewKind
from milepost.transports.server import serve

SEED = 11
START = parse_instant("2025-01-20T12:00:00Z")
LEAST_STEP = 20 * SECOND
FOREVER = Instant(1 << 52)
MOST_STEPS = 20_000

Document = dict[str, Any]

QUICK: dict[str, list[str]] = {"none": []}
"""Run with the tests; the others are the long proof's."""
SLOW = {
    "duplicates, reordering, both roads, two subscriptions, former names": [
        "duplicate=0.5",
        "duplicate-count=3",
        "reorder=0.5",
        "reorder-within=10m",
        "both-roads=0.5",
        "two-subscriptions=0.5",
        "legacy-names=0.5",
    ],
    "duplicate": ["duplicate", "duplicate-count=3"],
    "reorder": ["reorder", "reorder-within=1h"],
    "delay": ["delay=3h"],
    "both roads": ["both-roads"],
    "legacy names": ["legacy-names"],
    "two subscriptions": ["two-subscriptions"],
    "data empty": ["data-empty"],
    "tracker null": ["tracker-null=20m"],
    "order behind": ["order-behind=5m"],
    "order ahead": ["order-ahead=10m"],
    "throttling": ["throttling=0.4"],
    "server errors": ["server-error=0.4"],
    "slow": ["slow=5ms"],
    "wrong credentials": ["wrong-credentials"],
    "oversize": ["oversize=0.3"],
    "clock skew": ["clock-skew=0.3"],
}
DROP = ["drop=0.3"]


class Pair:
    """A sandbox and a hub that publish, ask and fold by one clock, one step after the other."""

    def __init__(self, sandbox: Sandbox, hub: Hub, client: Client) -> None:
        self.sandbox = sandbox
        self.hub = hub
        self.client = client
        self.steps = 0

    async def start_all(self) -> None:
        for name in library():
            await self.sandbox.keeper.start(1, name, 2)

    async def play(self) -> None:
        """Step time until everything was published, asked and folded, and every condition was looked at twice."""
        await self._settle()
        while (due := await self._next_due()) is not None:
            self.steps += 1
            assert self.steps < MOST_STEPS, "the world does not come to an end"
            now = self.sandbox.clock.now()
            self.sandbox.clock.go_to(max(due, Instant(now + LEAST_STEP)))
            await self._settle()
        for _ in range(2):
            self.sandbox.clock.advance(2 * MINUTE)
            await self._settle()

    async def order(self, world: WorldOrder) -> Document | None:
        """The hub's view of an order; None when it never heard of it."""
        key: tuple[ViewKind, str, str] = ("order", world.business_product_id, world.id)
        found = await self.hub.store.read(lambda tx: tx.views.get([key]))
        return await self.client.get(f"/v1/orders/{world.id}") if found else None

    async def _settle(self) -> None:
        await self.sandbox.settle()
        await self.hub.settle()
        await self.hub.hydrate()
        await self.hub.settle()
        if await self.hub.sweep():
            await self.hub.settle()

    async def _next_due(self) -> Instant | None:
        """What is due next; None when nothing is left to happen but the passing of time."""
        step = await self.sandbox.keeper.next_due()
        attempt = await self.sandbox.store.read(lambda tx: tx.attempts.next_due())
        ask, look = await self.hub.store.read(_hub_due)
        waiting = [at for at in (step, attempt, ask) if at is not None]
        if not waiting:
            return None
        return min([*waiting, *([] if look is None else [look])])


def _hub_due(tx: Transaction) -> tuple[Instant | None, Instant | None]:
    views = tx.views.due(FOREVER, 1)
    return tx.work.next_due(), views[0].check_at if views else None


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port: int = held.getsockname()[1]
        return port


@asynccontextmanager
async def pair(tmp_path: Path, faults: Faults) -> AsyncIterator[Pair]:
    """Both, listening. Only the hub's endpoints run by themselves; what is behind its journal is stepped."""
    sandbox_port, hub_port = free_port(), free_port()
    settings = SandboxConfig(
        port=sandbox_port,
        database_url=f"sqlite:///{tmp_path / 'sandbox.db'}",
        seed=SEED,
        speed=0.0,
        start=START,
        hub_url=f"http://127.0.0.1:{hub_port}/webhooks/buy-with-prime",
        oauth_endpoint=f"http://127.0.0.1:{hub_port}/oauth/token",
        oauth_client_id=SENDER[0],
        oauth_client_secret=SENDER[1],
        faults=faults,
    )
    sandbox = Sandbox(settings)
    async with AsyncExitStack() as stack:
        await sandbox.open()
        stack.push_async_callback(sandbox.close)
        config = hub_config(
            tmp_path,
            f"http://127.0.0.1:{sandbox_port}",
            port=hub_port,
            bwp_target_id="sandbox",
            oauth_client_id=SENDER[0],
            oauth_client_secret=SENDER[1],
            ingest_only=True,
            queries_per_minute=1_000_000,
        )
        hub = Hub(config, clock=sandbox.clock.now)
        await hub.open()
        stack.push_async_callback(hub.close)
        stop = asyncio.Event()
        listening = asyncio.Semaphore(0)
        running = [
            asyncio.create_task(
                serve(
                    sandbox.app,
                    "127.0.0.1",
                    sandbox_port,
                    stop=stop,
                    ready=lambda port: listening.release(),
                )
            ),
            asyncio.create_task(hub.run(stop, lambda port: listening.release())),
        ]

        async def halt() -> None:
            stop.set()
            await asyncio.gather(*running)

        stack.push_async_callback(halt)
        for _ in running:
            async with asyncio.timeout(30):
                await listening.acquire()
        http = await stack.enter_async_context(aiohttp.ClientSession())
        client = Client(hub, f"http://127.0.0.1:{hub_port}", f"http://127.0.0.1:{sandbox_port}", http)
        yield Pair(sandbox, hub, client)


async def differences(both: Pair, world: WorldOrder, scenario: Scenario) -> list[str]:
    """In what the hub's view of an order differs from what its scenario's file states."""
    end = scenario.ends[world.name]
    view = await both.client.get(f"/v1/orders/{world.id}")
    found = [] if view["state"] == end.state else [f"order is {view['state']}, not {end.state}"]
    shown = {delivery["id"]: delivery for delivery in view["deliveries"]}
    world_ids = [d["id"] for d in world.order["packageInformation"]["details"]]
    if set(shown) != set(world_ids):
        found.append(f"deliveries are {sorted(shown)}, not {sorted(world_ids)}")
    for name, package in end.packages.items():
        for delivery_id in world_ids if name == EACH else [world.names[name]]:
            if (delivery := shown.get(delivery_id)) is not None:
                found += [f"{name}: {what}" for what in _package_differences(delivery, package)]
                if package.generation is not None:
                    found += await _generation_differences(both, delivery, package.generation)
    return found


def _package_differences(delivery: Document, end: PackageEnd) -> list[str]:
    tracker = delivery["trackers"][0] if delivery["trackers"] else {}
    wanted = {
        "state": (delivery["state"], end.state),
        "stage": (tracker.get("stage"), end.stage),
        "reason": (delivery["reason"], end.reason),
        "zone of the estimate": ((delivery["estimatedDelivery"] or {}).get("zone"), end.estimate_zone),
        "zone of the delivery": (delivery["deliveredAtZone"], end.delivered_zone),
    }
    found = [
        f"{what} is {is_so}, not {should}"
        for what, (is_so, should) in wanted.items()
        if should is not None and is_so != should
    ]
    raised = delivery["conditions"]
    found += [
        f"no {condition} among {[(c['code'], c['kind'], c['clearedAt']) for c in raised]}"
        for condition in end.conditions
        if not any(_is(condition, c) for c in raised)
    ]
    never = {c["code"] for c in raised} & set(end.never)
    return [*found, *(f"{code} was raised" for code in sorted(never))]


def _is(wanted: Condition, raised: Document) -> bool:
    same = raised["code"] == wanted.code and wanted.kind in (None, raised["kind"])
    return same and wanted.open in (None, raised["clearedAt"] is None)


async def _generation_differences(both: Pair, delivery: Document, generation: int) -> list[str]:
    (tracker,) = delivery["trackers"]
    view = await both.client.get(f"/v1/trackers/{tracker['carrierCode']}/{tracker['trackingNumber']}")
    is_so = view["generation"]
    return [] if is_so == generation else [f"generation is {is_so}, not {generation}"]


async def check(tmp_path: Path, name: str, options: list[str]) -> None:
    async with pair(tmp_path, parse_options(options)) as both:
        await both.start_all()
        await both.play()
        wrong: list[str] = []
        for world in await both.sandbox.keeper.everything():
            assert not world.plan
            here = f"seed {SEED}, fault {name}, scenario {world.scenario} ({world.id})"
            found = await differences(both, world, library()[world.scenario])
            wrong.extend(f"{here}: {difference}" for difference in found)
        assert not wrong, "\n".join(wrong)
        if name == "none":
            orders = {world.id: world.scenario for world in await both.sandbox.keeper.everything()}
            wrong = await check_outcomes(both.client, orders)
            assert not wrong, "\n".join(wrong)
        states = await both.sandbox.store.read(lambda tx: tx.attempts.count())
        assert set(states) == {"delivered"}, f"seed {SEED}, fault {name}: {states}"


@pytest.mark.parametrize("name", QUICK)
async def test_every_scenario_ends_as_its_file_states(tmp_path: Path, name: str) -> None:
    await check(tmp_path, name, QUICK[name])


@pytest.mark.proof
# aiohttp's client finds a body of more than 1 MiB worth a warning.
@pytest.mark.parametrize("name", SLOW)
async def test_every_scenario_ends_as_its_file_states_with_each_fault(tmp_path: Path, name: str) -> None:
    await check(tmp_path, name, SLOW[name])


@pytest.mark.proof
async def test_with_events_lost_the_hub_shows_nothing_that_was_never_so(tmp_path: Path) -> None:
    """What nobody tells it, it cannot know (docs/faults.md): each state it shows is one the package had."""
    async with pair(tmp_path, parse_options(DROP)) as both:
        await both.start_all()
        await both.play()
        lost = known = 0
        for world in await both.sandbox.keeper.everything():
            for delivery in await _known_deliveries(both, world):
                had = _states_of(world, delivery["id"], library()[world.scenario])
                here = f"seed {SEED}, fault drop, scenario {world.scenario}, delivery {delivery['id']}"
                assert delivery["state"] in had, f"{here}: {delivery['state']}, and it was {had}"
                known += 1
            lost += bool(await differences_or_unknown(both, world))
        assert known
        assert lost, "nothing was lost: this test shows nothing"


async def _known_deliveries(both: Pair, world: WorldOrder) -> list[Document]:
    view = await both.order(world)
    return [] if view is None else list(view["deliveries"])


async def differences_or_unknown(both: Pair, world: WorldOrder) -> list[str]:
    if await both.order(world) is None:
        return ["unknown"]
    return await differences(both, world, library()[world.scenario])


def _states_of(world: WorldOrder, delivery_id: str, scenario: Scenario) -> set[str]:
    """The states that a package had in the world; or that a hub must conclude at the end, where that differs."""
    package = next((d for d in world.order["packageInformation"]["details"] if d["id"] == delivery_id), None)
    if package is None:
        return {"PENDING"}
    had = {"PENDING", package["state"]}
    if package["state"] == "DELIVERED" or package["reason"] == "UNDELIVERABLE":
        had.add("IN_TRANSIT")
    return had | {end.state for end in scenario.ends[world.name].packages.values()}
