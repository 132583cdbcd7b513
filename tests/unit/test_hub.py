"""The hub as an object: what `open` refuses, what `run` serves and keeps running, what `close` lets go."""

import asyncio
import os
import socket
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.e2e.running import served, until

from milepost import sql
from milepost.config import Config
from milepost.domain.errors import LeaseLost, MilepostError, Misconfigured, StoreLocked, StoreUnavailable
from milepost.domain.instant import Instant
from milepost.hub import LEASES, Hub, now
from milepost.pipeline import background
from milepost.pipeline.projector import NAME as PROJECTOR
from milepost.pipeline.sweeper import Sweeper

KEY = "api-key-of-the-test"
READER = {"authorization": f"Bearer {KEY}"}
SENDER = {"authorization": aiohttp.encode_basic_auth("amazon", "pass-of-the-test")}
EVENT = {
    "idempotencyKey": "key-1",
    "eventDescriptor": "PACKAGE_DELIVERY_IN_TRANSIT",
    "resources": ["businessProduct/bp-1/order/order-1/delivery/box-1"],
    "eventId": "event-1",
    "apiVersion": "2024-11-01",
    "eventTime": "2025-01-20T12:34:56Z",
}


def config(tmp_path: Path, **settings: Any) -> Config:
    given: dict[str, Any] = {
        "database_url": f"sqlite:///{tmp_path / 'hub.db'}",
        "port": 0,
        "api_key": KEY,
        "webhook_username": "amazon",
        "webhook_password": "pass-of-the-test",
        **settings,
    }
    return Config(**{name: value for name, value in given.items() if value is not None})


async def post(url: str, **headers: str) -> tuple[int, Any]:
    async with (
        aiohttp.ClientSession(headers=headers or SENDER) as http,
        http.post(f"{url}/webhooks/buy-with-prime", json=EVENT) as answer,
    ):
        return answer.status, await answer.json(content_type=None)


async def get(url: str, path: str) -> tuple[int, Any]:
    async with aiohttp.ClientSession(headers=READER) as http, http.get(url + path) as answer:
        return answer.status, await answer.json(content_type=None)


async def test_an_event_comes_in_and_its_order_can_be_read(tmp_path: Path) -> None:
    hub = Hub(config(tmp_path))
    async with served(hub) as url:
        assert url.endswith(f":{hub.port}")
        assert await post(url) == (200, {"status": "accepted", "position": 1})
        await hub.settle()
        status, order = await get(url, "/v1/orders/order-1")
        assert (status, order["state"], order["businessProductId"]) == (200, "IN_TRANSIT", "bp-1")
        assert (await get(url, "/healthz"))[0] == 200
        assert (await get(url, "/readyz"))[0] == 200


async def test_what_was_acknowledged_is_there_after_a_restart(tmp_path: Path) -> None:
    async with served(Hub(config(tmp_path))) as url:
        await post(url)
    async with served(Hub(config(tmp_path))) as url:
        assert await post(url) == (200, {"status": "duplicate", "position": 1})


async def test_only_who_authenticates_sends_and_reads(tmp_path: Path) -> None:
    async with served(Hub(config(tmp_path))) as url:
        assert (await post(url, **READER))[0] == 401
        async with aiohttp.ClientSession(headers=SENDER) as http, http.get(url + "/v1/orders") as answer:
            assert answer.status == 401


async def test_without_a_way_to_authenticate_webhooks_it_refuses_and_says_what_to_set(tmp_path: Path) -> None:
    hub = Hub(config(tmp_path, webhook_username=None, webhook_password=None))
    with pytest.raises(Misconfigured, match="MILEPOST_WEBHOOK_USERNAME"):
        await hub.open()
    assert list(tmp_path.iterdir()) == [], "no database was begun, no lock is held"


async def test_keys_of_the_settings_and_of_the_file_let_in_what_they_are_bound_to(tmp_path: Path) -> None:
    settings = config(
        tmp_path,
        webhook_username=None,
        webhook_password=None,
        webhook_api_key="new-key, old-key",
        webhook_api_key_header="X-Milepost-Key",
        webhook_api_keys=[{"keys": ["bound-key"], "business_products": ["bp-other"]}],
    )
    async with served(Hub(settings)) as url:
        statuses = [
            (await post(url, **headers))[0]
            for headers in (
                {"x-milepost-key": "new-key"},
                {"X-MILEPOST-KEY": "old-key"},
                {"x-api-key": "bound-key"},
                {"x-api-key": "new-key"},
                {"x-milepost-key": "new-key, old-key"},
                {},
            )
        ]
    assert statuses == [200, 200, 403, 401, 401, 401]


async def test_with_a_queue_and_no_way_to_authenticate_webhooks_nobody_is_let_in(tmp_path: Path) -> None:
    settings = config(
        tmp_path,
        webhook_username=None,
        webhook_password=None,
        sqs_queue_url="http://127.0.0.1:9/123456789012/events",
        ingest_only=True,
    )
    async with served(Hub(settings)) as url:
        for headers in ({}, SENDER, {"x-api-key": "k"}):
            assert (await post(url, **headers))[0] == 401


async def test_insecure_takes_everything_without_a_credential(tmp_path: Path) -> None:
    settings = config(
        tmp_path, webhook_username=None, webhook_password=None, api_key=None, insecure=True, ingest_only=True
    )
    async with served(Hub(settings)) as url:
        assert (await post(url, accept="*/*"))[0] == 200


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"webhook_password": None}, "MILEPOST_WEBHOOK_PASSWORD"),
        ({"oauth_client_id": "client"}, "MILEPOST_OAUTH_CLIENT_SECRET"),
        # A queue would let it start without, and nobody would be told why the key does not hold.
        ({"webhook_api_key": " , ", "sqs_queue_url": "http://q/1/a"}, "MILEPOST_WEBHOOK_API_KEY"),
        ({"oauth_client_id": "client", "oauth_client_secret": ","}, "MILEPOST_OAUTH_CLIENT_SECRET"),
        ({"bwp_client_id": "client"}, "MILEPOST_BWP_CLIENT_SECRET"),
        ({"timezone": "Mars/Olympus"}, "timezone"),
        ({"conditions": {"no_such_limit": 3}}, "no_such_limit"),
        ({"database_url": "sqlite://"}, "name a file"),
        ({"database_url": "mysql://h/db"}, "SQLite and PostgreSQL"),
        (
            {"api_clients": [{"business_product": "bp-1", "client_id": "c", "client_secret": "s"}] * 2},
            "bp-1 twice",
        ),
    ],
)
async def test_a_wrong_setting_is_named_before_anything_is_opened(
    tmp_path: Path, settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(Misconfigured, match=said):
        await Hub(config(tmp_path, **settings)).open()
    assert list(tmp_path.iterdir()) == []


async def test_a_second_hub_on_one_database_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    first = Hub(config(tmp_path))
    await first.open()
    try:
        with pytest.raises(StoreLocked, match="milepost serve"):
            await Hub(config(tmp_path)).open()
    finally:
        await first.close()
    again = Hub(config(tmp_path))
    await again.open()
    await again.close()


async def test_ingest_only_acknowledges_and_leaves_the_rest_for_another_start(tmp_path: Path) -> None:
    hub = Hub(config(tmp_path, ingest_only=True))
    async with served(hub) as url:
        assert (await post(url))[0] == 200
        assert await hub.store.read(lambda tx: tx.journal.checkpoint(PROJECTOR)) == 0
        assert (await get(url, "/v1/orders/order-1"))[0] == 404
        assert (await get(url, "/v1/events/event-1"))[0] == 200
        assert (await get(url, "/readyz"))[0] == 200
        running = {task.get_coro().__qualname__ for task in asyncio.all_tasks()}  # type: ignore[union-attr]
        assert "Background._keep" not in running
    folding = Hub(config(tmp_path))
    async with served(folding) as url:

        async def folded() -> bool:
            return (await get(url, "/v1/orders/order-1"))[0] == 200

        await until(folded, "the order is folded by the next start")


async def test_readyz_names_a_part_that_fails_until_it_runs_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "RESTART_S", 0.01)
    monkeypatch.setattr(background, "RECOVERED_S", 0.05)
    hub = Hub(config(tmp_path))
    mended = asyncio.Event()

    async def sweep(self: Sweeper, stop: asyncio.Event) -> None:
        if not mended.is_set():
            raise RuntimeError("what it says is nobody's business")
        await stop.wait()

    monkeypatch.setattr(Sweeper, "run", sweep)
    await hub.open()
    try:
        stop, port = asyncio.Event(), asyncio.get_running_loop().create_future()
        running = asyncio.create_task(hub.run(stop, port.set_result))
        url = f"http://127.0.0.1:{await asyncio.wait_for(port, 60)}"

        async def failing() -> bool:
            status, said = await get(url, "/readyz")
            assert "nobody's business" not in str(said)
            return status == 503 and said["consumers"]["failing"] == ["sweeper"]

        async def ready() -> bool:
            return (await get(url, "/readyz"))[0] == 200

        await until(failing, "the failing part is named")
        assert (await post(url))[0] == 200, "the rest goes on"
        mended.set()
        await until(ready, "a part that runs again is trusted again")
        stop.set()
        await asyncio.wait_for(running, 60)
    finally:
        await hub.close()


async def test_close_finishes_what_was_accepted_and_takes_no_more(tmp_path: Path) -> None:
    hub = Hub(config(tmp_path))
    await hub.open()
    accepted = asyncio.create_task(hub.ingest.ingest(b"not an event"))
    await asyncio.sleep(0)
    await hub.close()
    with pytest.raises(MilepostError, match="JSON"):
        await accepted
    with pytest.raises(StoreUnavailable):
        await hub.store.write(lambda tx: None)
    store = await sql.open_store(hub.config.database_url)
    try:
        kept = await store.read(lambda tx: tx.journal.quarantined(0, 10, None, None))
        assert [entry.body for entry in kept] == [b"not an event"]
    finally:
        await store.close()


async def test_a_hub_leads_everything_it_does_and_lets_go_before_the_database_is_closed(
    tmp_path: Path,
) -> None:
    hub = Hub(config(tmp_path))
    async with served(hub) as url:

        async def leads() -> bool:
            said = (await get(url, "/readyz"))[1]["consumers"]["parts"]
            return {part["state"] for part in said.values()} == {"leading"}

        await until(leads, "it leads")
        said = (await get(url, "/readyz"))[1]["consumers"]["parts"]
        assert sorted(said) == [
            "accountant",
            "eraser",
            "hydration",
            "hydrator",
            "notifier",
            "projector",
            "publisher",
            "queues",
            "reconciler",
            "remapping",
            "remeasuring",
            "replaying",
            "retention",
            "sending",
            "sweeper",
        ]
        assert said["sweeper"]["leader"].startswith("milepost serve (pid ")
        assert await held(url) == dict.fromkeys(LEASES, 1.0)
    store = await sql.open_store(hub.config.database_url)
    try:
        assert {one.owner for one in await store.read(lambda tx: tx.leases.all())} == {""}
    finally:
        await store.close()


async def test_what_a_killed_hub_had_on_a_file_that_is_locked_now_is_free_at_once(tmp_path: Path) -> None:
    settings = config(tmp_path)
    store = await sql.open_store(settings.database_url)
    never = Instant(now() + 10**12)
    await store.write(lambda tx: [tx.leases.take(name, "killed", "", now(), never) for name in LEASES])
    await store.close()
    hub = Hub(settings)
    await hub.open()
    await hub.settle()
    assert await hub.sweep() == 0
    await hub.close()


async def test_of_two_hubs_on_one_database_one_leads_and_both_serve(
    tmp_path: Path, postgres_url: str
) -> None:
    # Longer than a machine with much to do stands still: then all would change hands in the middle of this.
    settings = config(tmp_path, database_url=postgres_url, lease_s=5.0)
    first, second = Hub(settings), Hub(settings)
    async with served(second) as standby:
        async with served(first) as url:
            leader, other = (url, standby) if await leading(url) else (standby, url)
            hub = second if other == standby else first

            async def shared() -> bool:
                return sum((await held(leader)).values()) == len(LEASES)

            await until(shared, "one leads everything")
            status, said = await get(other, "/readyz")
            assert (status, said["ready"]) == (200, True)
            assert {part["state"] for part in said["consumers"]["parts"].values()} == {"standby"}
            assert {part["leader"] for part in said["consumers"]["parts"].values()} == {
                f"milepost serve (pid {os.getpid()} on {socket.gethostname()})"
            }
            assert await held(other) == dict.fromkeys(LEASES, 0.0)
            with pytest.raises(LeaseLost, match="milepost serve"):
                await hub.settle()
            assert await post(other) == (200, {"status": "accepted", "position": 1})

            async def folded() -> bool:
                return (await get(other, "/v1/orders/order-1"))[0] == 200

            await until(folded, "what came to the standby is folded by the leader, and read from either")

        async def taken_over() -> bool:
            return sum((await held(standby)).values()) == len(LEASES)

        await until(taken_over, "the one that stays leads")


async def leading(url: str) -> bool:
    """Whether a hub leads anything, once somebody does."""

    async def known() -> bool:
        said = (await get(url, "/readyz"))[1]["consumers"]["parts"]
        return all(part["leader"] for part in said.values())

    await until(known, "somebody leads")
    return any((await held(url)).values())


async def held(url: str) -> dict[str, float]:
    """`milepost_lease_held` by name."""
    async with aiohttp.ClientSession(headers=READER) as http, http.get(url + "/metrics") as answer:
        text = await answer.text()
    return {
        sample.labels["name"]: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "milepost_lease_held"
    }
