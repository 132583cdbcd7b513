"""A million facts exported by a real hub: how fast beside its floor, in how much memory, and who waits meanwhile.

The floor reads the same records page by page and encodes them as JSON, in one process and with no socket; it knows
nothing of what is in them. `rows` makes the facts' rows besides, and writes no file. Each format is streamed over
HTTP to a client that takes whatever comes, and brought to a file by `milepost export`. While the hub streams, a
client asks `/healthz` every 20 ms: how long it waits shows whether the event loop is free.
"""

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import httpx
import msgspec
import psutil
from tests.benchmarks.history import fill
from tests.benchmarks.report import Row, Table
from tests.benchmarks.servers import ROOT, Server, hub

from milepost.domain.feed_facts import fact_rows
from milepost.hub import now
from milepost.pipeline.export_formats import FORMATS
from milepost.pipeline.exporting import BYTES, RECORDS
from milepost.sql import open_store
from milepost.store import Store, Transaction

FACTS = 1_000_000
FACTS_A_RECORD = 2.7
"""Of the journals of `history`, and a little less."""
HEADERS = {"authorization": "Bearer bench-key"}
PROBE_S = 0.02
MB = 1e6


class Measured(NamedTuple):
    """One export. Memory in bytes, beyond what was there before; times in seconds."""

    rows: int
    seconds: float
    size: int
    grown: float
    waits: list[float]
    cpu: float


def run(facts: int = FACTS) -> Table:
    """Rows a second and memory, each format by both ways."""
    records = int(facts / FACTS_A_RECORD)
    table = Table(
        f"Exporting the facts of {records:,} records",
        ("way", "rows", "rows/s", "MB", "MB/s", "hub cpu s", "memory MB", "p50 ms", "max ms"),
    )
    with tempfile.TemporaryDirectory(prefix="milepost-bench-") as name:
        folder = Path(name)
        database = folder / "hub.db"
        floor, rows, facts = asyncio.run(_fill_and_read(database, records))
        for what, seconds in (("floor: read and encode", floor), ("rows", rows)):
            table.rows.append(Row(what, f"{facts:,}", f"{facts / seconds:,.0f}", "", "", "", "", "", ""))
        with hub(folder / "served", consumers=False, database=database) as server:
            _stream(server, "parquet", "&until=5000")  # pyarrow is loaded, caches are filled
            _stream(server, "jsonl", "&until=200000")
            for written in FORMATS:
                streamed = _stream(server, written)
                table.rows.append(_row(f"GET {written}", streamed, facts))
                table.bars.append(
                    (f"{written}: memory the hub grows by, MB", streamed.grown / MB, "<=", 64.0)
                )
            for written in FORMATS:
                brought = _command(server, folder, written)
                table.rows.append(_row(f"milepost export, {written}", brought, facts))
                most = 256.0 if written == "parquet" else 96.0  # pyarrow alone takes some 100
                table.bars.append((f"{written}: memory of the command, MB", brought.grown / MB, "<=", most))
    return table


async def _fill_and_read(path: Path, records: int) -> tuple[float, float, int]:
    """(seconds of the floor, seconds with rows, how many facts there are)."""
    store = await open_store(f"sqlite:///{path}", clock=now, owner="bench")
    try:
        await fill(store, records)
        floor, _ = await _read(store, _encoded)
        seconds, facts = await _read(store, _made)
        return floor, seconds, facts
    finally:
        await store.close()


async def _read(store: Store, page: Callable[[Transaction, int], tuple[int, int]]) -> tuple[float, int]:
    """(seconds, how many of what `page` counts)."""
    started, after, found = time.perf_counter(), 0, 0
    while True:
        following, count = await store.read(lambda tx, a=after: page(tx, a))  # type: ignore[misc]
        if following == after:
            return time.perf_counter() - started, found
        after, found = following, found + count


def _encoded(tx: Transaction, after: int) -> tuple[int, int]:
    records = tx.journal.after(after, RECORDS, BYTES)
    msgspec.json.encode(records)
    return (records[-1].position if records else after), len(records)


def _made(tx: Transaction, after: int) -> tuple[int, int]:
    records = tx.journal.after(after, RECORDS, BYTES)
    rows = sum(len(fact_rows(record)) for record in records)
    return (records[-1].position if records else after), rows


def _stream(server: Server, written: str, more: str = "") -> Measured:
    """One streamed export, whose lines are counted where there are any."""
    url = f"http://127.0.0.1:{server.port}/v1/exports/facts?format={written}&header=false{more}"
    process, cpu = psutil.Process(server.process.pid), server.cpu_seconds()
    before = peak = process.memory_info().rss
    rows = size = 0
    with _probing(server.port) as waits:
        started = time.perf_counter()
        with httpx.stream("GET", url, headers=HEADERS, timeout=60.0) as answer:
            for part in answer.iter_raw():
                size += len(part)
                rows += part.count(b"\n")
                peak = max(peak, process.memory_info().rss)
        seconds = time.perf_counter() - started
    return Measured(rows, seconds, size, peak - before, waits, server.cpu_seconds() - cpu)


@contextmanager
def _probing(port: int) -> Iterator[list[float]]:
    """How long each question took meanwhile, in seconds."""
    waits: list[float] = []
    ended = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30.0) as client:
            while not ended.wait(PROBE_S):
                started = time.perf_counter()
                client.get("/healthz")
                waits.append(time.perf_counter() - started)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield waits
    finally:
        ended.set()
        asking.join()


def _command(server: Server, folder: Path, written: str) -> Measured:
    """One export by the command; its memory is all of it."""
    file = folder / f"facts.{written}"
    command = [sys.executable, "-m", "milepost.cli.main", "export", "facts", "--out", str(file), "--json"]
    env = os.environ | {"MILEPOST_URL": f"http://127.0.0.1:{server.port}", "MILEPOST_API_KEY": "bench-key"}
    started, cpu, peak = time.perf_counter(), server.cpu_seconds(), 0
    with psutil.Popen(command, env=env, cwd=ROOT, stdout=subprocess.PIPE) as process:
        while process.poll() is None:
            with suppress(psutil.Error):
                peak = max(peak, process.memory_info().rss)
            time.sleep(0.01)
        told = msgspec.json.decode(process.stdout.read())
    seconds = time.perf_counter() - started
    size = file.stat().st_size
    file.unlink()
    return Measured(told["rows"], seconds, size, peak, [], server.cpu_seconds() - cpu)


def _row(way: str, measured: Measured, facts: int) -> Row:
    waits = [1000 * wait for wait in measured.waits]
    return Row(
        way,
        f"{facts:,}",
        f"{facts / measured.seconds:,.0f}",
        f"{measured.size / MB:,.0f}",
        f"{measured.size / MB / measured.seconds:,.1f}",
        f"{measured.cpu:.1f}",
        f"{measured.grown / MB:,.0f}",
        f"{statistics.median(waits):.1f}" if waits else "",
        f"{max(waits):.0f}" if waits else "",
    )
