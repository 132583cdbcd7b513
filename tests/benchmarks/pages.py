"""Every page of the console over many deliveries: how long it takes to answer, and which statement takes longest.

The hub is this process's (its real app over its real store), so that the time of each SQL statement can be told apart
from the page's. Processor time is this process's, the one who asks among it, and the database server's.
`MILEPOST_BENCH_DELIVERIES` says how many deliveries there are (2,000); with `MILEPOST_BENCH_FOLDER` the SQLite
database is kept there, and a load that was interrupted goes on. `MILEPOST_BENCH_TIMES` has them copied so many times
(`multiplying`): 2,000 deliveries 500 times are a million. `MILEPOST_BENCH_DATABASE` names one database to measure,
which stays.
"""

import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from urllib.parse import quote, urlsplit

import httpx
import msgspec
import psutil
from msgspec import Struct
from sqlalchemy import Engine, event
from tests.benchmarks.multiplying import multiply
from tests.benchmarks.report import Row, Table, console
from tests.postgres import Postgres

from milepost import sql
from milepost.config import Config, policy_of
from milepost.domain.instant import HOUR, Instant
from milepost.domain.queue import NAMES as QUEUES
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
    processor_ms: float
    """On average."""
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
        ("page", "database", "p50 ms", "p99 ms", "CPU ms", "answer", "kB", "SQL ms", "slowest statement"),
    )
    kept = os.environ.get("MILEPOST_BENCH_DATABASE")
    if kept:
        for timed in asyncio.run(_measure(kept, deliveries)):
            _add(table, kept.partition(":")[0], timed)
        return table
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
            f"{timed.processor_ms:.1f}",
            statuses,
            f"{timed.bytes / 1024:.0f}",
            f"{timed.statement_ms:.1f}",
            timed.statement[:60],
        )
    )
    bar = INSIGHTS_BAR_MS if timed.name.startswith("/insights") else BAR_MS
    table.bars.append((f"{timed.name} on {database}, CPU ms", timed.processor_ms, "<=", bar))
    table.bars.append((f"{timed.name} on {database}, answers", float(timed.status == {200}), ">=", 1.0))


async def _measure(url: str, deliveries: int) -> list[Timed]:
    await _load(url, deliveries)
    times = int(os.environ.get("MILEPOST_BENCH_TIMES", "1"))
    if times > 1:
        await multiply(url, times)
    async with _client(url) as (client, hub):
        pages = await hub.store.read(_pages)
        began, processor = time.perf_counter(), time.process_time()
        await _until_loaded(client)
        console.print(
            f"Insights read its columns in {time.perf_counter() - began:.1f} s,"
            f" {time.process_time() - processor:.1f} s of processor time;"
            f" the process has {psutil.Process().memory_info().rss / 2**20:,.0f} MiB\n"
        )
        server = _server(url)
        return [await _time(client, server, name, addresses) for name, addresses in pages.items()]


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
            transport=transport,
            base_url="http://127.0.0.1:8480",
            timeout=PATIENCE_S,
            follow_redirects=True,
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
    trackers = [
        tracker for order in orders for delivery in order["deliveries"] for tracker in delivery["trackers"]
    ]
    paths = [f"/orders/{quote(order['id'])}" for order in orders]
    pages["/orders/{id}"] = paths
    pages["/orders/{id}/why"] = [f"{path}/why" for path in paths]
    pages["/trackers/{carrier}/{number}"] = [
        f"/trackers/{quote(tracker['carrierCode'])}/{quote(tracker['trackingNumber'])}"
        for tracker in trackers
    ][:SAMPLES]
    pages["/queues/{name}"] = [f"/queues/{name}" for name in QUEUES]
    newest = tx.journal.received(0, tx.journal.last_position() + 1, SAMPLES, None)
    pages["/events/{position}"] = [f"/events/{record.position}" for record in newest]
    handles = {
        "order id": [order["id"] for order in orders],
        "alias": [order["aliases"][0]["aliasId"] for order in orders],
        "tracking number": [tracker["trackingNumber"] for tracker in trackers],
        "email": [order["customer"]["email"] for order in orders],
        "name": [order["customer"]["name"] for order in orders],
    }
    for handle, values in handles.items():
        pages[f"search by {handle}"] = [f"/?q={quote(value)}" for value in values[:SAMPLES]]
        pages[f"API search by {handle}"] = [f"/v1/search?q={quote(value)}" for value in values[:SAMPLES]]
    pages["/v1/orders"] = ["/v1/orders"] * ROUNDS
    # Each asks for other dates, so that nothing is given again.
    days = [date(2020, 1, 1) + timedelta(number) for number in range(ROUNDS)]
    for name, more in (("", ""), (", business days", "&days=business")):
        pages[f"/insights, everything{name}"] = [f"/insights?from={day}{more}" for day in days]
    ends = [datetime.now(UTC).date() - timedelta(number) for number in range(ROUNDS)]
    pages["/insights, 30 days"] = [f"/insights?from={end - timedelta(29)}&to={end}" for end in ends]
    pages["/insights, given again"] = ["/insights?period=all"] * ROUNDS
    pages["/insights/rows"] = ["/insights/rows?which=due&period=all"] * ROUNDS
    return pages


async def _time(
    client: httpx.AsyncClient, server: psutil.Process | None, name: str, addresses: Sequence[str]
) -> Timed:
    timed = Timed(name, [], 0.0, set(), 0, "", 0.0)
    with _statements() as slowest:
        await client.get(addresses[0].replace("/insights?", "/insights?basis=ordered&"))
        processor = _processor_s(server)
        for address in addresses:
            started = time.perf_counter()
            response = await client.get(address)
            timed.milliseconds.append((time.perf_counter() - started) * 1000)
            timed.status.add(response.status_code)
            timed.bytes = max(timed.bytes, len(response.content))
        timed.processor_ms = (_processor_s(server) - processor) * 1000 / len(addresses)
    if slowest:
        timed.statement_ms, timed.statement = max(slowest)
    return timed


def _server(url: str) -> psutil.Process | None:
    """The database's, which runs on this machine."""
    port = urlsplit(url).port
    for process in psutil.process_iter(["name", "cmdline"]) if port else ():
        if process.info["name"] == "postgres" and f"port={port}" in (process.info["cmdline"] or ()):
            return process
    return None


def _processor_s(server: psutil.Process | None) -> float:
    """Of this process, and of the database server's."""
    others = [] if server is None else [server, *server.children(recursive=True)]
    return time.process_time() + sum(sum(process.cpu_times()[:2]) for process in others)


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
