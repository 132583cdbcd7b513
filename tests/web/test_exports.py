"""The feed by the API: who sees what of it, cursors, and streams that end when they should."""

import asyncio
import csv
import gc
import io
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from msgspec.structs import replace
from tests.benchmarks.history import PRODUCT, fill
from tests.web.serving import BOUND_S, serving
from tests.web.world import ADMIN_KEY, World, event, milestone, one_delivery, order, tracker

from milepost.domain.accounting import Entry, entry_id
from milepost.domain.errors import Conflict, Overloaded
from milepost.domain.feed import DATASETS, ROWS_VERSION
from milepost.domain.instant import parse_instant
from milepost.pipeline import export_formats, exporting
from milepost.store import Store, Transaction
from milepost.web import exports
from milepost.web.authentication import hash_of
from milepost.web.exports import DatasetList


def rows(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.content.splitlines()]


async def export(world: World, name: str, key: str | None = ADMIN_KEY, **parameters: Any) -> httpx.Response:
    given = {"format": "jsonl"} | parameters
    return await world.get(f"/v1/exports/{name}", key, **given)


async def test_the_list_says_what_there_is(world: World) -> None:
    await one_delivery(world)
    answer = await world.get("/v1/exports")
    shown = msgspec.json.decode(answer.content, type=DatasetList, strict=True)
    assert msgspec.to_builtins(shown) == answer.json()
    assert (shown.mapping_version, shown.formats) == (1, ["csv", "jsonl", "parquet"])
    assert [item.name for item in shown.items] == list(DATASETS)
    counts = {item.name: (item.count, item.last > 0) for item in shown.items}
    assert counts["orders"] == counts["captures"] == (1, True)
    assert counts["facts"] == (None, True)
    assert counts["accounting"] == (0, False)
    for item in shown.items:
        columns = [(c.name, c.type, c.text) for c in DATASETS[item.name].columns]
        assert [(c.name, c.type, c.description) for c in item.columns] == columns


async def test_a_dataset_comes_in_each_format(world: World) -> None:
    await one_delivery(world)
    (delivery,) = rows(await export(world, "deliveries"))
    assert (delivery["id"], delivery["state"], delivery["deliveredOn"]) == (
        "delivery-1",
        "DELIVERED",
        "2025-01-21",
    )
    plain = await world.get("/v1/exports/deliveries")
    assert plain.headers["content-type"] == "text/csv; charset=utf-8"
    (line,) = csv.DictReader(io.StringIO(plain.text))
    assert {
        name: "" if cell is None else str(cell).replace("False", "false") for name, cell in delivery.items()
    } == line
    columns = await world.get("/v1/exports/deliveries", format="parquet")
    assert columns.headers["content-type"] == "application/vnd.apache.parquet"
    assert pq.read_table(pa.BufferReader(columns.content)).to_pylist()[0]["id"] == "delivery-1"


async def test_what_was_handed_over_at_half_past_eleven_has_that_local_day(world: World) -> None:
    """Scenario 19: 23:30 in Seattle on the last of the month is the next month in UTC."""
    late = milestone("DELIVERED", "2025-01-31T23:30:00-08:00")
    resource = "order/order-1/delivery/delivery-1"
    carried = order("order-1", ("delivery-1", "DELIVERED", tracker(late)))
    await world.event(
        event("PACKAGE_DELIVERED", 1, resource, when="2025-02-01T07:31:00Z", data={"order": carried})
    )
    await world.project()
    (delivery,) = rows(await export(world, "deliveries"))
    assert (delivery["deliveredAt"], delivery["deliveredOn"], delivery["deliveredAtZone"]) == (
        "2025-02-01T07:30:00Z",
        "2025-01-31",
        "offset-explicit",
    )
    (scan,) = [row for row in rows(await export(world, "facts")) if row["kind"] == "milestone"]
    assert (scan["occurredAt"], scan["localDate"]) == ("2025-02-01T07:30:00Z", "2025-01-31")
    identity = ("bp-1", "order-1", "delivery-1", "delivered", 1, 1)
    at, day, month = parse_instant(delivery["deliveredAt"]), delivery["deliveredOn"], "2025-01"
    entry = Entry(
        entry_id(*identity),
        *identity,
        "provisional",
        "new",
        at,
        day,
        day,
        "offset-explicit",
        month,
        month,
        world.now,
        {},
    )
    await world.store.write(lambda tx: tx.books.post([entry]))
    (posted,) = rows(await export(world, "accounting"))
    assert (posted["destinationDate"], posted["taxPeriod"]) == ("2025-01-31", "2025-01")


async def test_pieces_make_the_whole(world: World) -> None:
    await one_delivery(world)
    await one_delivery(world, "bp-2", "order-2")
    for name in DATASETS:
        for written in ("csv", "jsonl"):
            whole = await export(world, name, format=written)
            pieces, after, count = b"", None, 0
            while True:
                given = {} if after is None else {"after": after, "header": "false"}
                piece = await export(world, name, format=written, limit=1, **given)
                assert piece.status_code == 200, piece.text
                pieces += piece.content
                count += int(piece.headers["milepost-rows"])
                after = piece.headers.get("milepost-next")
                if after is None:
                    break
            assert pieces == whole.content
            assert count == len(pieces.splitlines()) - (written == "csv")
            assert piece.headers["milepost-at"] == piece.headers["milepost-until"]
            assert ("milepost-since" in whole.headers) == DATASETS[name].appended


async def test_what_came_since_is_asked_for_by_the_cursor(world: World) -> None:
    await one_delivery(world)
    first = await export(world, "facts")
    since = first.headers["milepost-since"]
    assert rows(await export(world, "facts", after=since)) == []
    await one_delivery(world, "bp-2", "order-2")
    later = await export(world, "facts", after=since)
    assert {row["businessProductId"] for row in rows(later)} == {"bp-2"}
    assert first.content + later.content == (await export(world, "facts")).content


async def test_a_key_sees_its_business_products(world: World) -> None:
    await one_delivery(world)
    await one_delivery(world, "bp-2", "order-2")
    mine = await world.key("read", "bp-2")
    for name in DATASETS:
        everything = rows(await export(world, name))
        seen = rows(await export(world, name, mine))
        assert seen == [row for row in everything if row["businessProductId"] == "bp-2"]
        assert rows(await export(world, name, businessProductId="bp-2")) == seen
        assert (await export(world, name, mine, businessProductId="bp-1")).status_code == 404
    listed = (await world.get("/v1/exports", mine)).json()["items"]
    assert {item["name"]: item["count"] for item in listed}["orders"] == 1
    for path in ("/v1/exports", "/v1/exports/facts"):
        assert (await world.get(path, None)).status_code == 401


async def test_a_cursor_opens_nothing_to_another_key(world: World) -> None:
    await one_delivery(world)
    await one_delivery(world, "bp-2", "order-2")
    cursor = (await export(world, "facts", limit=1)).headers["milepost-since"]
    unfinished = exports.encode_cursor("export/facts", exporting.Place(ROWS_VERSION, None, 0, 10**6))
    mine = await world.key("read", "bp-2")
    assert rows(await export(world, "facts", mine, after=cursor)) == []
    seen = rows(await export(world, "facts", mine, after=unfinished))
    assert {row["businessProductId"] for row in seen} == {"bp-2"}


@pytest.mark.parametrize(
    ("name", "parameters", "status", "field"),
    [
        ("nothing", {}, 404, None),
        ("facts", {"format": "xml"}, 400, "format"),
        ("facts", {"after": "x"}, 400, "after"),
        ("facts", {"limit": 0}, 400, "limit"),
        ("facts", {"until": -1}, 400, "until"),
        ("orders", {"until": 1}, 400, "until"),
        ("facts", {"after": exports.encode_cursor("export/orders", [1, None, 0, 5])}, 400, "after"),
        ("facts", {"after": exports.encode_cursor("export/facts", [1, None, -1, 5])}, 400, "after"),
        ("facts", {"after": exports.encode_cursor("export/facts", [1, None, 6, 5])}, 400, "after"),
        ("facts", {"after": exports.encode_cursor("export/facts", [1, None, 0, 2**70])}, 400, "after"),
        ("facts", {"after": exports.encode_cursor("export/facts", [2, None, 0, 5])}, 400, "after"),
        ("facts", {"after": exports.encode_cursor("export/facts", [1, "bp-9", 0, 5])}, 400, "after"),
        ("facts", {"after": exports.encode_cursor("export/facts", [1, None, 0, 5, 6])}, 400, "after"),
    ],
)
async def test_what_makes_no_export_is_refused(
    world: World, name: str, parameters: dict[str, Any], status: int, field: str | None
) -> None:
    answer = await export(world, name, **parameters)
    assert (answer.status_code, answer.json().get("field")) == (status, field), answer.text


async def test_without_pyarrow_it_says_what_to_install(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    export_formats._pyarrow.cache_clear()
    try:
        answer = await export(world, "facts", format="parquet")
    finally:
        export_formats._pyarrow.cache_clear()
    assert (answer.status_code, answer.json()["field"]) == (400, "format")
    assert "pip install 'milepost[parquet]'" in answer.json()["detail"]
    assert (await export(world, "facts", format="csv")).status_code == 200


async def test_an_export_after_a_rebuild_is_told_to_begin_anew(world: World) -> None:
    await one_delivery(world)
    await one_delivery(world, "bp-2", "order-2")
    after = (await export(world, "orders", limit=1)).headers.get("milepost-next")
    after = after or exports.encode_cursor("export/orders", [ROWS_VERSION, None, 1, 14])
    await world.store.write(lambda tx: (tx.views.clear(), tx.journal.set_checkpoint("projector", 0)))
    answer = await export(world, "orders", after=after, limit=10)
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")


# ── Over a real socket ─────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
async def served(store: Store) -> AsyncIterator[tuple[World, str]]:
    """A world of some thousand facts behind a real server, and its address."""
    await fill(store, 1_400)
    world = World(store)
    async with serving(world) as address:
        yield world, address


@asynccontextmanager
async def streaming(address: str, key: str = ADMIN_KEY, **more: str) -> AsyncIterator[httpx.Response]:
    parameters = {"format": "jsonl"} | more
    headers = {"authorization": f"Bearer {key}"}
    async with (
        httpx.AsyncClient(base_url=address, headers=headers, timeout=BOUND_S) as client,
        client.stream("GET", "/v1/exports/facts", params=parameters) as response,
    ):
        yield response


async def quiet() -> None:
    """Until no export is under way; its end gives no signal to a test."""
    async with asyncio.timeout(BOUND_S):
        while exports._UNDER_WAY.count:
            await asyncio.sleep(0.01)


async def test_an_export_streams_whole(served: tuple[World, str]) -> None:
    world, address = served
    async with streaming(address) as response:
        assert response.headers["transfer-encoding"] == "chunked"
        received = b"".join([part async for part in response.aiter_raw()])
    assert received == (await export(world, "facts")).content
    assert len(received.splitlines()) > 3_000
    await quiet()


class Endless:
    """Facts without an end, each page of which fills buffers quickly; `read` counts the pages."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.read = 0
        self._facts = exporting.SOURCES["facts"].read
        endless = exporting.Source(lambda tx, reach: (None, 10**9), self._page)
        monkeypatch.setattr(exporting, "SOURCES", {**exporting.SOURCES, "facts": endless})

    def _page(self, tx: Transaction, reach: Any, after: int, until: int) -> exporting.Page:
        self.read += 1
        return exporting.Page(self._facts(tx, reach, 0, 10).rows * 400, after + 1)


async def test_pages_are_read_only_as_the_client_takes_them_and_not_for_one_that_is_gone(
    served: tuple[World, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Backpressure: what fits into the sockets' buffers is read, no more; then the client leaves."""
    _, address = served
    endless = Endless(monkeypatch)
    async with streaming(address) as response:
        assert response.status_code == 200
        before = -1
        async with asyncio.timeout(BOUND_S):
            while before != endless.read or not endless.read:
                before = endless.read
                await asyncio.sleep(0.25)  # that nothing more happens gives no signal
        assert before < 200
        await anext(response.aiter_raw())
    await quiet()


async def received(
    address: str, key: str = ADMIN_KEY, at_first: Callable[[], Awaitable[None]] | None = None
) -> bytes:
    """A whole export, or what breaks off; `at_first` is done when its first bytes are there."""
    found = b""
    async with streaming(address, key) as response:
        async for part in response.aiter_raw():
            if not found and at_first is not None:
                await at_first()
            found += part
    return found


async def test_an_export_whose_key_is_revoked_is_no_whole_answer(
    served: tuple[World, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The body has no end then, so that nobody takes it for whole."""
    world, address = served
    Endless(monkeypatch)
    key = await world.key("read")

    def revoke(tx: Transaction) -> None:
        known = tx.credentials.api_key_by_hash(hash_of(key))
        assert known is not None
        tx.credentials.put_api_key(replace(known, revoked_at=world.now))

    async def write() -> None:
        await world.store.write(revoke)

    with pytest.raises(httpx.RemoteProtocolError):
        await received(address, key, write)
    await quiet()


async def test_an_export_is_no_whole_answer_when_the_hub_closes(served: tuple[World, str]) -> None:
    world, address = served
    world.context.closing.set()
    with pytest.raises(httpx.RemoteProtocolError):
        await received(address)
    piece = await export(world, "facts", limit=1)
    assert (piece.status_code, piece.json()["code"]) == (503, "store_unavailable")
    await quiet()


async def test_one_that_has_nothing_to_show_ends_too_when_the_hub_closes(
    served: tuple[World, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that sees little of a long journal: page after page has no row."""
    world, address = served
    loop = asyncio.get_running_loop()

    def nothing(tx: Transaction, reach: Any, after: int, until: int) -> exporting.Page:
        if after == 3:
            loop.call_soon_threadsafe(world.context.closing.set)
        return exporting.Page([], after + 1)

    endless = exporting.Source(lambda tx, reach: (None, 10**9), nothing)
    monkeypatch.setattr(exporting, "SOURCES", {**exporting.SOURCES, "facts": endless})
    with pytest.raises(httpx.RemoteProtocolError):
        await received(address)
    await quiet()


async def test_only_so_many_exports_are_under_way(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports._UNDER_WAY, "count", exports.MOST)
    answer = await export(world, "facts")
    assert (answer.status_code, answer.json()["code"]) == (503, "overloaded")
    assert answer.headers["retry-after"]


async def test_an_export_is_under_way_from_when_it_is_let_in_until_nobody_holds_it() -> None:
    """Also one that nobody began to read: so many that come at once are no more than may be under way."""

    async def parts() -> AsyncIterator[bytes]:
        yield b"a"
        raise Conflict("broken off")

    begun = [exports._Counted(parts()) for _ in range(exports.MOST)]
    with pytest.raises(Overloaded):
        exports._Counted(parts())
    assert await anext(begun[0]) == b"a"
    with pytest.raises(Conflict):
        await anext(begun[0])
    assert exports._UNDER_WAY.count == exports.MOST - 1
    begun[0].end()
    begun.clear()
    gc.collect()
    assert exports._UNDER_WAY.count == 0


async def test_the_benchmark_journal_is_seen_whole(served: tuple[World, str]) -> None:
    world, _ = served
    products = {row["businessProductId"] for row in rows(await export(world, "facts"))}
    assert products == {PRODUCT}
