"""The stream over a real socket: follows, resumes, stays within its business products, ends when it should."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec
import pytest
import uvicorn
from tests.web.world import ADMIN_KEY, World, event

from milepost.store import Store
from milepost.web import stream

BOUND_S = 60.0
"""The longest a test waits for something that should come."""

RESOURCE = "order/order-1/delivery/delivery-1"


@pytest.fixture
async def served(store: Store) -> AsyncIterator[tuple[World, str]]:
    """A world behind a real server, and its address."""
    world = World(store, heartbeat_s=0.05)
    config = uvicorn.Config(world.app, host="127.0.0.1", port=0, log_config=None, lifespan="on", ws="none")
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    listening = config.bind_socket()
    running = asyncio.create_task(server.serve([listening]))
    yield world, f"http://127.0.0.1:{listening.getsockname()[1]}"
    world.context.closing.set()
    server.should_exit = True
    async with asyncio.timeout(BOUND_S):
        await running
    listening.close()


class Messages:
    """What one client of the stream has read."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._lines = response.aiter_lines()

    async def next(self, *names: str) -> dict[str, Any]:
        """The next message of one of these names (of any, without); comments are named `comment`."""
        fields: dict[str, Any] = {}
        async with asyncio.timeout(BOUND_S):
            async for line in self._lines:
                if line.startswith(":"):
                    fields["event"] = "comment"
                elif line:
                    name, _, value = line.partition(": ")
                    fields[name] = value
                elif fields:
                    if fields["event"] in names or (not names and fields["event"] != "comment"):
                        if "data" in fields:
                            fields["data"] = msgspec.json.decode(fields["data"])
                        return fields
                    fields = {}
        raise EOFError

    async def ended(self) -> None:
        """Returns when the server ended the stream."""
        async with asyncio.timeout(BOUND_S):
            async for _ in self._lines:
                pass


@asynccontextmanager
async def following(address: str, key: str = ADMIN_KEY, **request: Any) -> AsyncIterator[Messages]:
    headers = {"authorization": f"Bearer {key}", **request.pop("headers", {})}
    async with (
        httpx.AsyncClient(base_url=address, headers=headers, timeout=BOUND_S) as client,
        client.stream("GET", "/v1/stream", **request) as response,
    ):
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        yield Messages(response)


async def test_records_come_as_they_are_journalled_with_their_views(served: tuple[World, str]) -> None:
    world, address = served
    async with following(address) as messages:
        await messages.next("comment")
        await world.event(event("PACKAGE_DELIVERED", 1, RESOURCE))
        message = await messages.next()
        assert (message["event"], message["id"]) == ("event", "1")
        assert message["data"]["eventId"] == "event-1"
        await world.project()
        message = await messages.next("view")
        assert "id" not in message
        assert (message["data"]["kind"], message["data"]["id"]) == ("order", "order-1")
        assert message["data"]["state"] == "DELIVERED"
        await world.answer("order", None, order_id="order-1")
        message = await messages.next("snapshot")
        assert message["data"]["subjects"] == ["order/order-1"]
        assert int(message["id"]) == await world.store.read(lambda tx: tx.journal.last_position())


async def test_a_client_goes_on_where_it_was(served: tuple[World, str]) -> None:
    world, address = served
    for number in range(1, 5):
        await world.event(event("PACKAGE_DELIVERED", number, RESOURCE))
    async with following(address, headers={"Last-Event-ID": "2"}, params={"after": 0}) as messages:
        assert [(await messages.next("event"))["id"] for _ in range(2)] == ["3", "4"]
    async with following(address, params={"after": 0}) as messages:
        assert [(await messages.next("event"))["id"] for _ in range(4)] == ["1", "2", "3", "4"]


async def test_a_backlog_longer_than_a_batch_comes_whole(
    served: tuple[World, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    world, address = served
    monkeypatch.setattr(stream, "BATCH", 3)
    for number in range(1, 12):
        await world.event(event("PACKAGE_DELIVERED", number, RESOURCE))
    await world.project()
    async with following(address, params={"after": 0}) as messages:
        assert [(await messages.next("event"))["id"] for _ in range(11)] == [str(n) for n in range(1, 12)]


async def test_only_the_keys_business_products_are_streamed(served: tuple[World, str]) -> None:
    world, address = served
    bound = await world.key("read", "bp-2")
    async with following(address, bound, params={"after": 0}) as messages:
        for number, product in enumerate(("bp-1", "bp-2", "bp-1", "bp-2"), 1):
            await world.event(event("PACKAGE_DELIVERED", number, RESOURCE, product))
        await world.project()
        ids = [await messages.next() for _ in range(3)]
        assert {m["data"]["businessProductId"] for m in ids} == {"bp-2"}
        assert {m.get("id") for m in ids if m["event"] == "event"} == {"2", "4"}


async def test_a_quiet_stream_says_that_it_lives(served: tuple[World, str]) -> None:
    _, address = served
    async with following(address) as messages:
        for _ in range(3):
            await messages.next("comment")


async def test_a_stream_ends_when_the_hub_closes(served: tuple[World, str]) -> None:
    world, address = served
    async with following(address) as messages:
        await messages.next("comment")
        world.context.closing.set()
        await messages.ended()


async def test_a_stream_ends_when_its_key_is_revoked(served: tuple[World, str]) -> None:
    world, address = served
    key = await world.key("read")
    async with following(address, key) as messages:
        await messages.next("comment")
        async with world.client() as client:
            assert (await client.delete("/v1/keys/key_0001")).status_code == 204
        await messages.ended()


async def test_a_client_that_goes_is_let_go(
    served: tuple[World, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The place of a client that left is free again: with one place, the next is let in."""
    _, address = served
    monkeypatch.setattr(stream, "MOST", 1)
    async with following(address) as messages:
        await messages.next("comment")
        async with httpx.AsyncClient(base_url=address) as client:
            answer = await client.get("/v1/stream", headers={"authorization": f"Bearer {ADMIN_KEY}"})
        assert (answer.status_code, answer.json()["code"]) == (503, "overloaded")
    async with asyncio.timeout(BOUND_S), httpx.AsyncClient(base_url=address) as client:
        status = 503
        while status == 503:
            headers = {"authorization": f"Bearer {ADMIN_KEY}"}
            async with client.stream("GET", "/v1/stream", headers=headers) as response:
                status = response.status_code
        assert status == 200
