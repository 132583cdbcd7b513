"""The sandbox as a whole: its world goes on after a restart, and publishes to a handler whatever happens."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from tests.unit.sandbox.asking import START, Asking, config
from tests.unit.transports.receiver import Received, Receiver, answering

from milepost.domain.envelope import Event, parse_event
from milepost.domain.errors import Misconfigured, StoreUnavailable
from milepost.domain.instant import DAY, MINUTE, SECOND, Instant
from milepost.sandbox.faults import Faults
from milepost.sandbox.program import Sandbox, SandboxConfig

DAYS = 40


@asynccontextmanager
async def opened(settings: SandboxConfig) -> AsyncIterator[Sandbox]:
    sandbox = Sandbox(settings)
    await sandbox.open()
    try:
        yield sandbox
    finally:
        await sandbox.close()


async def journal(sandbox: Sandbox) -> list[bytes]:
    """Every published body, in the order of the journal."""
    return [r.body for r in await sandbox.store.read(lambda tx: tx.journal.after(0, 5_000))]


def ids(bodies: list[bytes]) -> list[str]:
    return [parse_event(body).event_id for body in bodies]


async def test_a_world_lives_to_its_end_and_says_so(tmp_path: Path) -> None:
    async with opened(config(tmp_path, orders=6)) as sandbox:
        sandbox.clock.advance(DAYS * DAY)
        await sandbox.keeper.play_due()
        worlds = [world for _, world in await sandbox.keeper.page(None, 100)]
        assert len(worlds) == 6
        claimed = Counter[str]()
        for body in await journal(sandbox):
            event = parse_event(body)
            assert not event.flags
            if event.resource_id("delivery"):
                claimed[f"{event.resource_id('delivery')} {event.type}"] += 1
        for world in worlds:
            assert not world.plan
            assert not world.outbox
            for detail in world.order["packageInformation"]["details"]:
                last = {"DELIVERED": "PACKAGE_DELIVERED", "CANCELLED": "PACKAGE_DELIVERY_CANCELLED"}
                assert claimed[f"{detail['id']} {last[detail['state']]}"] == 1


async def test_the_same_seed_publishes_the_same_bytes(tmp_path: Path) -> None:
    async def published(name: str, seed: int) -> list[bytes]:
        (tmp_path / name).mkdir()
        async with opened(config(tmp_path / name, orders=2, seed=seed)) as sandbox:
            sandbox.clock.advance(DAYS * DAY)
            await sandbox.keeper.play_due()
            return sorted(await journal(sandbox))

    one = await published("one", 3)
    assert one == await published("again", 3)
    assert not set(one) & set(await published("other", 4))


async def test_a_world_that_was_closed_goes_on_where_it_was(tmp_path: Path) -> None:
    async with opened(config(tmp_path, orders=3)) as sandbox:
        sandbox.clock.advance(DAYS * DAY)
        await sandbox.keeper.play_due()
        whole = sorted(await journal(sandbox))
    parts = tmp_path / "parts"
    parts.mkdir()
    start = START
    for _ in range(8):
        async with opened(config(parts, orders=3, start=start)) as sandbox:
            start = sandbox.clock.advance(DAYS * DAY // 8)
            await sandbox.keeper.play_due()
            in_parts = sorted(await journal(sandbox))
    assert in_parts == whole


async def test_a_crash_between_deciding_and_journalling_loses_and_doubles_nothing(tmp_path: Path) -> None:
    async with opened(config(tmp_path, orders=3)) as sandbox:
        sandbox.clock.advance(DAYS * DAY)
        await sandbox.keeper.play_due()
        whole = sorted(await journal(sandbox))
    broken = tmp_path / "broken"
    broken.mkdir()
    now = START
    for crash_after in range(12):
        async with opened(config(broken, orders=3, start=now)) as sandbox:
            now = sandbox.clock.advance(2 * DAY)
            _crash(sandbox, crash_after)
            with suppress(StoreUnavailable):
                await sandbox.keeper.play_due()
    async with opened(config(broken, orders=3, start=Instant(START + DAYS * DAY))) as sandbox:
        await sandbox.keeper.play_due()
        assert sorted(await journal(sandbox)) == whole


def _crash(sandbox: Sandbox, after: int) -> None:
    """Make every call of the store fail after so many: half a change is committed, the rest is not."""
    calls = 0

    def failing(call: Callable[..., Any]) -> Callable[..., Any]:
        async def counted(*arguments: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls > after:
                raise StoreUnavailable("crashed")
            return await call(*arguments)

        return counted

    sandbox.store.write = failing(sandbox.store.write)  # type: ignore[method-assign]
    sandbox.store.append = failing(sandbox.store.append)  # type: ignore[method-assign]


async def test_a_running_sandbox_publishes_over_oauth_by_its_clock(tmp_path: Path) -> None:
    """The main road: a real server, a real handler with a token endpoint, a scenario played fast."""

    async def handler(received: Received) -> web.StreamResponse:
        if received.path == "/oauth/token":
            assert b"client_id=bwp" in received.body
            return web.json_response({"access_token": "t0ken", "token_type": "Bearer", "expires_in": 900})
        good = received.headers.get("authorization") == "Bearer t0ken"
        return web.Response(status=200 if good else 401)

    async with Receiver(handler) as hub:
        settings = config(
            tmp_path,
            speed=1_000_000.0,
            start=None,
            hub_url=f"{hub.url}/webhooks/buy-with-prime",
            oauth_endpoint=f"{hub.url}/oauth/token",
            oauth_client_id="bwp",
            oauth_client_secret="secret",
        )
        async with opened(settings) as sandbox:
            stop = asyncio.Event()
            port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            running = asyncio.create_task(sandbox.run(stop, port.set_result))
            base = f"http://127.0.0.1:{await port}"
            async with aiohttp.ClientSession() as http:
                asked = {"scenario": "standard", "orders": 2, "packages": 1}
                async with http.post(f"{base}/sandbox/scenarios", json=asked) as answer:
                    assert answer.status == 200
                    ids = (await answer.json())["orderIds"]
                event = {"type": "PACKAGE_DELIVERED", "orderId": ids[0]}
                async with http.post(f"{base}/sandbox/events", json=event) as answer:
                    stored = [e["eventId"] for e in (await answer.json())["events"]]
            await hub.got(len(stored) + 1)
            stop.set()
            await running
            delivered = {e.event_id for e in events(hub)}
            assert set(stored) <= delivered
            assert sum(r.path == "/oauth/token" for r in hub.received) == 1


def events(hub: Receiver) -> list[Event]:
    return [parse_event(r.body) for r in hub.received if r.path != "/oauth/token"]


async def test_duplicates_and_shuffles_are_the_seeds_and_carry_the_same_bytes(tmp_path: Path) -> None:
    async def published(name: str) -> tuple[list[bytes], list[bytes]]:
        (tmp_path / name).mkdir()
        async with Receiver() as hub:
            rates = {"duplicate_rate": 0.5, "shuffle_rate": 0.5}
            settings = config(tmp_path / name, hub_url=hub.url, orders=2, **rates)
            async with opened(settings) as sandbox:
                sandbox.clock.advance(DAYS * DAY)
                await sandbox.settle()
                for _ in range(60):
                    sandbox.clock.advance(SECOND)
                    await sandbox.publisher.send_due()
                return await journal(sandbox), [r.body for r in hub.received]

    in_order, received = await published("one")
    counts = Counter(received)
    assert set(ids(list(counts))) == set(ids(in_order))
    assert len(counts) == len(in_order)
    assert set(counts.values()) == {1, 2}
    assert ids(list(dict.fromkeys(received))) != ids(in_order)
    assert Counter((await published("two"))[1]) == counts


async def test_a_handler_that_was_down_gets_everything_after_both_restarted(tmp_path: Path) -> None:
    async with (
        Receiver(answering(503)) as hub,
        opened(config(tmp_path, hub_url=hub.url, orders=2)) as sandbox,
    ):
        now = sandbox.clock.advance(DAYS * DAY)
        await sandbox.settle()
        assert hub.received
    async with Receiver() as hub:
        later = Instant(now + 10 * MINUTE)
        async with opened(config(tmp_path, hub_url=hub.url, start=later)) as sandbox:
            await sandbox.settle()
            assert set(ids([r.body for r in hub.received])) == set(ids(await journal(sandbox)))
            counts = await sandbox.store.read(lambda tx: tx.attempts.count())
            assert set(counts) == {"delivered"}


async def test_the_eventbridge_form_and_basic(tmp_path: Path) -> None:
    async with Receiver() as hub:
        settings = config(tmp_path, hub_url=hub.url, username="u", password="p", eventbridge=True)
        async with opened(settings) as sandbox:
            asking = Asking(sandbox)
            await asking.post("/sandbox/events", {"type": "PACKAGE_DELIVERED", "eventbridge": True})
            await sandbox.settle()
            await asking.close()
        for received in hub.received:
            bridge = parse_event(received.body).bridge
            assert bridge is not None
            assert bridge.source.startswith("aws.partner/buywithprime/")
            assert received.headers["authorization"].startswith("Basic ")


async def test_without_a_hub_events_are_stored_only(tmp_path: Path) -> None:
    async with opened(config(tmp_path)) as sandbox:
        await sandbox.keeper.start(1, "standard", 1)
        sandbox.clock.advance(DAYS * DAY)
        await sandbox.settle()
        assert len(await journal(sandbox)) > 4
        assert await sandbox.store.read(lambda tx: tx.attempts.count()) == {}


async def test_a_private_address_is_not_published_to(tmp_path: Path) -> None:
    async with opened(config(tmp_path, hub_url="http://10.255.255.1:9/")) as sandbox:
        asking = Asking(sandbox)
        await asking.post("/sandbox/events", {"type": "PACKAGE_DELIVERY_CANCELLED"})
        await sandbox.settle()
        await asking.close()
        attempts = await sandbox.store.read(lambda tx: tx.attempts.attempts((0, 0), 10))
        assert attempts
        assert all("not a public address" in attempt.error for attempt in attempts)


async def test_orders_that_are_there_stay_as_they_are(tmp_path: Path) -> None:
    async with opened(config(tmp_path, orders=2)) as sandbox:
        sandbox.clock.advance(DAYS * DAY)
        await sandbox.keeper.play_due()
        before = {world.id: world for _, world in await sandbox.keeper.page(None, 10)}
    async with opened(config(tmp_path, orders=3)) as sandbox:
        after = {world.id: world for _, world in await sandbox.keeper.page(None, 10)}
        assert len(after) == 3
        assert {order_id: after[order_id] for order_id in before} == before


async def test_an_opening_world_has_whole_scenarios_and_no_order_twice(tmp_path: Path) -> None:
    async with opened(config(tmp_path, orders=2, scenario="recycled-number")) as sandbox:
        before = [world for _, world in await sandbox.keeper.page(None, 10)]
    assert [world.name for world in before] == ["old", "new", "old", "new"]
    async with opened(config(tmp_path, orders=2, scenario="recycled-number")) as sandbox:
        assert [world for _, world in await sandbox.keeper.page(None, 10)] == before


async def test_a_real_clock_that_was_put_ahead_is_not_put_back_by_a_restart(tmp_path: Path) -> None:
    settings = config(tmp_path, speed=1.0, start=None)
    async with opened(settings) as sandbox:
        client = Asking(sandbox)
        await client.post("/sandbox/clock", {"advance": "30d"})
        await client.close()
        ahead = sandbox.clock.now()
    async with opened(settings) as sandbox:
        assert ahead - DAY < sandbox.clock.now()
    # A moment that has passed is no reason to be behind.
    (tmp_path / "other").mkdir()
    async with opened(config(tmp_path / "other", speed=0.0, start=START)) as sandbox:
        await sandbox.keeper.remember(START)
    async with opened(config(tmp_path / "other", speed=1.0, start=None)) as sandbox:
        assert sandbox.clock.now() > START + DAY


async def test_a_world_goes_wrong_in_the_same_way_whoever_subscribes_to_it(tmp_path: Path) -> None:
    """Ids of subscriptions are the seed's, so the faults that go by them, and the keys of events, are too."""

    async def received(name: str) -> list[bytes]:
        (tmp_path / name).mkdir()
        faults = Faults(drop=0.4, duplicate=0.4)
        async with Receiver() as hub, opened(config(tmp_path / name, faults=faults)) as sandbox:
            client = Asking(sandbox)
            webhook = f'{{webhook: {{url: "{hub.url}", method: POST}}}}'
            for wanted in ("PACKAGE_DELIVERED", "PACKAGE_TRACKER_MILESTONE_CHANGED"):
                made = await client.query(
                    f'mutation {{ createEventSubscription(input: {{eventType: "{wanted}", destination: {webhook}}})'
                    " { subscriptionId } }"
                )
                assert "errors" not in made
            await sandbox.keeper.start(8, "happy-path")
            sandbox.clock.advance(DAYS * DAY)
            await sandbox.settle()
            sandbox.clock.advance(MINUTE)
            await sandbox.publisher.send_due()
            await client.close()
            return sorted(r.body for r in hub.received)

    first = await received("one")
    assert 0 < len(set(first)) < len(first)
    assert await received("two") == first


async def test_a_clock_that_hurries_makes_no_attempt_twice(tmp_path: Path) -> None:
    """Sending takes real time: a lease is as long by the real clock, whoever sets the world's speed, and when."""
    answering = asyncio.Event()

    async def hang(received: Received) -> web.StreamResponse:
        await answering.wait()
        return web.Response()

    async with Receiver(hang) as hub:
        settings = config(tmp_path, speed=1.0, start=None, hub_url=hub.url)
        async with opened(settings) as sandbox:
            stop = asyncio.Event()
            running = asyncio.create_task(sandbox.run(stop))
            sandbox.clock.set_speed(600)
            (order_id,) = await sandbox.keeper.start(1, None)
            published = await sandbox.keeper.trigger("PACKAGE_DELIVERY_IN_TRANSIT", order_id=order_id)
            await hub.got(len(published))
            await sandbox.clock.wait(Instant(sandbox.clock.now() + 10 * MINUTE), asyncio.Event())
            answering.set()
            stop.set()
            await running
            counts = await sandbox.store.read(lambda tx: tx.attempts.count())
    assert counts == {"delivered": len(published)}
    assert len(hub.received) == len(published)


async def test_an_order_that_is_put_in_again_loses_no_event_that_a_crash_left(tmp_path: Path) -> None:
    document = {"id": "o1", "packageInformation": {"details": [{"id": "d1"}]}}
    async with opened(config(tmp_path)) as sandbox:
        await sandbox.keeper.put("bp-1", document)
        append, sandbox.store.append = sandbox.store.append, _unavailable  # type: ignore[method-assign]
        with pytest.raises(StoreUnavailable):
            await sandbox.keeper.trigger("PACKAGE_DELIVERY_IN_TRANSIT", order_id="o1")
        sandbox.store.append = append  # type: ignore[method-assign]
        await sandbox.keeper.put("bp-1", document)
        await sandbox.keeper.play_due()
        types = [parse_event(body).type for body in await journal(sandbox)]
    assert types.count("PACKAGE_DELIVERY_IN_TRANSIT") == 1


async def _unavailable(arrivals: object) -> Any:
    raise StoreUnavailable("the disk is full")


@pytest.mark.parametrize(
    "settings",
    [
        {"hub_url": "http://h/", "username": "u"},
        {"hub_url": "http://h/", "oauth_endpoint": "http://h/t", "oauth_client_id": "c"},
        {"speed": -1.0},
        {"duplicate_rate": 1.5},
        {"egress_allow": ("10.0.0.0/99",)},
    ],
)
async def test_wrong_settings_say_so_before_anything_opens(tmp_path: Path, settings: dict[str, Any]) -> None:
    with pytest.raises(Misconfigured):
        await Sandbox(config(tmp_path, **settings)).open()
    assert not list(tmp_path.iterdir())


async def test_a_clock_made_faster_still_publishes_each_event_once(tmp_path: Path) -> None:
    """What is sent takes real time: a lease must not run out while it is under way, however the world hurries."""
    async with Receiver() as hub, opened(config(tmp_path, hub_url=hub.url, orders=1)) as sandbox:
        sandbox.clock.advance(DAYS * DAY)
        await sandbox.keeper.play_due()
        sandbox.clock.set_speed(1_000_000.0)
        stop = asyncio.Event()
        running = asyncio.create_task(sandbox.publisher.run(stop))
        await sandbox.consumer.catch_up()
        bodies = await journal(sandbox)
        await hub.got(len(bodies), 20)
        stop.set()
        await running
        assert len(hub.received) == len(bodies)
        assert await sandbox.store.read(lambda tx: tx.attempts.count()) == {"delivered": len(bodies)}


async def test_a_lease_of_one_that_was_killed_holds_up_nobody(tmp_path: Path) -> None:
    """A clock that stands would never end it."""
    async with opened(config(tmp_path, hub_url="http://127.0.0.1:9/")) as sandbox:
        asking = Asking(sandbox)
        await asking.post("/sandbox/events", {"type": "PACKAGE_DELIVERY_CANCELLED"})
        await asking.close()
        await sandbox.consumer.catch_up()
        until = Instant(sandbox.clock.now() + MINUTE)
        taken = await sandbox.store.write(
            lambda tx: tx.attempts.claim(sandbox.clock.now(), until, 100, share=100, room={})
        )
        assert taken
    async with Receiver() as hub, opened(config(tmp_path, hub_url=hub.url)) as sandbox:
        await sandbox.settle()
        assert len(hub.received) == len(await journal(sandbox))


async def test_a_real_clock_that_was_put_ahead_stays_there_after_a_restart(tmp_path: Path) -> None:
    async with opened(config(tmp_path, speed=1.0, start=None)) as sandbox:
        asking = Asking(sandbox)
        await asking.post("/sandbox/clock", {"advance": "2d"})
        await asking.close()
        ahead = sandbox.clock.now()
    async with opened(config(tmp_path, speed=1.0, start=None)) as sandbox:
        assert sandbox.clock.now() >= ahead - MINUTE


async def test_a_world_s_time_is_kept_though_the_store_was_away_for_a_moment(tmp_path: Path) -> None:
    async with opened(config(tmp_path)) as sandbox:
        stop = asyncio.Event()
        write, refused = sandbox.store.write, 0

        async def away(do: Any) -> Any:
            nonlocal refused
            if refused < 3:
                refused += 1
                raise StoreUnavailable("away")
            return await write(do)

        sandbox.store.write = away  # type: ignore[method-assign]
        running = asyncio.create_task(sandbox.run(stop))
        ahead = sandbox.clock.advance(DAY)
        async with asyncio.timeout(60):
            while await sandbox.store.read(lambda tx: tx.journal.checkpoint("world")) != ahead or refused < 3:
                await asyncio.sleep(0.01)
        stop.set()
        await running
