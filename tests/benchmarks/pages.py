"""Every page of the console over many deliveries: how long it takes to answer, and which statement takes longest.

The hub is this process's (its real app over its real store), so that the time of each SQL statement can be told apart
from the page's. `MILEPOST_BENCH_DELIVERIES` says how many deliveries there are (2,000); with `MILEPOST_BENCH_FOLDER`
the SQLite database is kept there, and a load that was interrupted goes on. `MILEPOST_BENCH_TIMES` has SQLite's
copied so many times (`multiplying`): 1,000 deliveries 1,000 times are a million.
"""

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from urllib.parse import quote

import httpx
import msgspec
from msgspec import Struct
from sqlalchemy import Engine, event
from tests.benchmarks.multiplying import multiply
from tests.benchmarks.report import Row, Table
from tests.postgres import Postgres

from milepost import sql
from milepost.config import Config, policy_of
from milepost.domain.instant import HOUR, Instant
from milepost.hub import Hub, now, projector_handler
from milepost.sandbox.histories import History
from milepost.sandbox.loading import Loader
from milepost.store import Transaction
from milepost.web.console.pages import PLACES

ROUNDS = 15
SAMPLES = 15
BAR_MS, INSIGHTS_BAR_MS = 200.0, 1_000.0
PATIENCE_S = 600.0
"""How long Insights may read its columns before the first number."""


class Timed(Struct):
    """What one page took, over all its addresses."""

    name: str
    milliseconds: list[float]
    status: set[int]
    bytes: int
    statement: str
    """The slowest one, and how long it took."""
    statement_ms: float


def run() -> Table:
    """p50 and p99 of each page on SQLite and on PostgreSQL, and the slowest statement."""
    deliveries = int(os.environ.get("MILEPOST_BENCH_DELIVERIES", "2000"))
    table = Table(
        f"Pages over {deliveries:,} deliveries",
        ("page", "database", "p50 ms", "p99 ms", "answer", "kB", "SQL ms", "slowest statement"),
    )
    with _folder() as folder, Postgres() as server:
        url = asyncio.run(server.create("milepost_pages"))
        for name, database in (("SQLite", f"sqlite:///{folder / 'pages.db'}"), ("PostgreSQL", url)):
            for timed in asyncio.run(_measure(database, deliveries)):
                _add(table, name, timed)
    return table


@contextmanager
def _folder() -> Iterator[Path]:
    kept = os.environ.get("MILEPOST_BENCH_FOLDER")
    if kept:
        Path(kept).mkdir(parents=True, exist_ok=True)
        yield Path(kept)
        return
    with tempfile.TemporaryDirectory(prefix="milepost-bench-") as name:
        yield Path(name)


def _add(table: Table, database: str, timed: Timed) -> None:
    p50 = statistics.median(timed.milliseconds)
    p99 = sorted(timed.milliseconds)[int(len(timed.milliseconds) * 0.99)]
    statuses = " ".join(map(str, sorted(timed.status)))
    table.rows.append(
        Row(
            timed.name,
            database,
            f"{p50:.1f}",
            f"{p99:.1f}",
            statuses,
            f"{timed.bytes / 1024:.0f}",
            f"{timed.statement_ms:.1f}",
            timed.statement[:60],
        )
    )
    bar = INSIGHTS_BAR_MS if timed.name.startswith("/insights") else BAR_MS
    table.bars.append((f"{timed.name} on {database}, p50 ms", p50, "<=", bar))
    table.bars.append((f"{timed.name} on {database}, answers", float(timed.status == {200}), ">=", 1.0))


async def _measure(url: str, deliveries: int) -> list[Timed]:
    await _load(url, deliveries)
    times = int(os.environ.get("MILEPOST_BENCH_TIMES", "1"))
    if times > 1 and url.startswith("sqlite"):
        await asyncio.to_thread(multiply, url, times, times)
    async with _client(url) as (client, hub):
        pages = await hub.store.read(_pages)
        if any(place.path == "/insights" for place in PLACES):
            await _until_loaded(client)
        return [await _time(client, name, addresses) for name, addresses in pages.items()]


async def _load(url: str, deliveries: int) -> None:
    config = Config.load(database_url=url)
    store = await sql.open_store(url, clock=now, owner="bench")
    try:
        begun = await store.read(lambda tx: tx.journal.checkpoint("volume.until"))
        history = History(1, deliveries, Instant(begun or now() // HOUR * HOUR))
        loader = Loader(
            store, history, lambda clock: projector_handler(config, store, clock), policy_of(config)
        )
        await loader.load(asyncio.Event())
    finally:
        await store.close()


@asynccontextmanager
async def _client(url: str) -> AsyncIterator[tuple[httpx.AsyncClient, Hub]]:
    hub = Hub(Config.load(database_url=url, insecure=True))
    await hub.open()
    try:
        transport = httpx.ASGITransport(hub.app, client=("127.0.0.1", 1))  # type: ignore[arg-type]
        async with httpx.AsyncClient(
            transport=transport, base_url="http://127.0.0.1:8480", timeout=PATIENCE_S
        ) as client:
            yield client, hub
    finally:
        await hub.close()


async def _until_loaded(client: httpx.AsyncClient) -> None:
    """Ask until Insights no longer says how much of its columns is read: what a page does by itself."""
    async with asyncio.timeout(PATIENCE_S):
        while "http-equiv" in (await client.get("/insights")).text:
            await asyncio.sleep(0.2)


def _pages(tx: Transaction) -> dict[str, list[str]]:
    """The addresses of each page: every place of the navigation, and one of each kind for some orders."""
    pages = {place.path: [place.path] * ROUNDS for place in PLACES}
    orders = [msgspec.json.decode(view.document) for _, view in tx.views.page("order", None, SAMPLES, None)]
    pages["/orders/{id}"] = [f"/orders/{quote(order['id'])}" for order in orders]
    handles = {
        "order id": [order["id"] for order in orders],
        "alias": [order["aliases"][0]["aliasId"] for order in orders],
        "tracking number": [
            tracker["trackingNumber"]
            for order in orders
            for delivery in order["deliveries"]
            for tracker in delivery["trackers"]
        ],
        "email": [order["customer"]["email"] for order in orders],
        "name": [order["customer"]["name"] for order in orders],
    }
    for handle, values in handles.items():
        pages[f"search by {handle}"] = [f"/?q={quote(value)}" for value in values[:SAMPLES]]
        pages[f"API search by {handle}"] = [f"/v1/search?q={quote(value)}" for value in values[:SAMPLES]]
    pages["/v1/orders"] = ["/v1/orders"] * ROUNDS
    if "/insights" in pages:
        pages["/insights, everything"] = ["/insights?period=all"] * ROUNDS
    return pages


async def _time(client: httpx.AsyncClient, name: str, addresses: Sequence[str]) -> Timed:
    timed = Timed(name, [], set(), 0, "", 0.0)
    with _statements() as slowest:
        await client.get(addresses[0])
        for address in addresses:
            started = time.perf_counter()
            response = await client.get(address)
            timed.milliseconds.append((time.perf_counter() - started) * 1000)
            timed.status.add(response.status_code)
            timed.bytes = max(timed.bytes, len(response.content))
    if slowest:
        timed.statement_ms, timed.statement = max(slowest)
    return timed


@contextmanager
def _statements() -> Iterator[list[tuple[float, str]]]:
    """What each SQL statement took meanwhile, in milliseconds."""
    taken: list[tuple[float, str]] = []

    def before(connection, cursor, statement, parameters, context, many):  # type: ignore[no-untyped-def]
        connection.info["begun"] = time.perf_counter()

    def after(connection, cursor, statement, parameters, context, many):  # type: ignore[no-untyped-def]
        took = (time.perf_counter() - connection.info["begun"]) * 1000
        taken.append((took, " ".join(statement.split())))

    event.listen(Engine, "before_cursor_execute", before)
    event.listen(Engine, "after_cursor_execute", after)
    try:
        yield taken
    finally:
        event.remove(Engine, "before_cursor_execute", before)
        event.remove(Engine, "after_cursor_execute", after)
