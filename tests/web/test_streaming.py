"""Long answers end when whoever asked may not ask any more: every CSV, for keys and for people. What ends so has no
end, and nobody takes it for whole."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
from msgspec.structs import replace
from tests.web.console.people import person
from tests.web.serving import BOUND_S, serving
from tests.web.world import ADMIN_KEY, World

from milepost.store import Store, Transaction
from milepost.web import queues
from milepost.web.authentication import hash_of
from milepost.web.console import queues as queue_pages

KEYED = ("/v1/queues/late?format=csv", "/v1/insights/rows?which=otd&format=csv")
PAGED = ("/queues/late/csv", "/insights/rows.csv?which=otd")
PIECES = 3


class Endless:
    """Pieces without an end; with the third, something happens."""

    happens: Callable[[], Awaitable[object]]

    async def pieces(self, *_: Any, **__: Any) -> AsyncIterator[bytes]:
        given = 0
        while True:
            given += 1
            if given == PIECES:
                await self.happens()
            yield b"piece\r\n"

    async def csv(self, *_: Any) -> AsyncIterator[bytes]:
        """As `Insights.csv`."""
        return self.pieces()


@pytest.fixture
def endless(monkeypatch: pytest.MonkeyPatch) -> Endless:
    made = Endless()
    monkeypatch.setattr(queues, "csv_of", made.pieces)
    monkeypatch.setattr(queue_pages, "csv_of", made.pieces)
    return made


@pytest.fixture
def world(store: Store, endless: Endless) -> World:
    return World(store, insights=endless)


async def breaks_off(world: World, path: str, **headers: str) -> None:
    """The answer begins, has what was given until then, and no end."""
    found = bytearray()
    async with (
        serving(world) as address,
        httpx.AsyncClient(base_url=address, headers=headers, timeout=BOUND_S) as client,
        client.stream("GET", path) as response,
    ):
        assert response.status_code == 200
        assert response.headers["content-disposition"].startswith("attachment")
        with pytest.raises(httpx.RemoteProtocolError):
            await _take(response, found)
    assert found == b"piece\r\n" * PIECES


async def _take(response: httpx.Response, found: bytearray) -> None:
    async for part in response.aiter_raw():
        found += part


@pytest.mark.parametrize("path", KEYED)
async def test_a_csv_ends_when_its_key_is_revoked(world: World, endless: Endless, path: str) -> None:
    key = await world.key("read")

    def revoke(tx: Transaction) -> None:
        known = tx.credentials.api_key_by_hash(hash_of(key))
        assert known is not None
        tx.credentials.put_api_key(replace(known, revoked_at=world.now))

    endless.happens = lambda: world.store.write(revoke)
    await breaks_off(world, path, authorization=f"Bearer {key}")


@pytest.mark.parametrize("what", ["signed out", "disabled"])
@pytest.mark.parametrize("path", PAGED)
async def test_a_csv_of_a_page_ends_with_its_visitors_session(
    world: World, endless: Endless, path: str, what: str
) -> None:
    ann = await person(world, "operator", name="ann")

    def end(tx: Transaction) -> None:
        if what == "disabled":
            tx.users.put(replace(ann.user, disabled_at=world.now))
        else:
            tx.users.end_sessions(ann.user.id)

    endless.happens = lambda: world.store.write(end)
    await breaks_off(world, path, cookie=f"milepost_session={ann.token}")


@pytest.mark.parametrize("path", KEYED)
async def test_a_csv_ends_with_the_hub(world: World, endless: Endless, path: str) -> None:
    async def close() -> None:
        world.context.closing.set()

    endless.happens = close
    await breaks_off(world, path, authorization=f"Bearer {ADMIN_KEY}")
