"""What only SQLite has: its addresses, a full disk, a read-only or vanished file, a killed process."""

import asyncio
import os
import resource
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.contract.harness import T0, arrival

from milepost.domain.errors import Misconfigured, StoreLocked, StoreUnavailable
from milepost.sql import inspect, open_store
from milepost.sql.sqlite import WAL_LIMIT, path_of
from milepost.sql.store import SqliteStore
from milepost.sql.transaction import SqlTransaction
from milepost.store import Receipt, Transaction


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "milepost.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    opened = await open_store(f"sqlite:///{path}", clock=lambda: T0, owner="milepost serve", busy_timeout=50)
    try:
        yield opened
    finally:
        await opened.close()


def pragma(text: str) -> Callable[[Transaction], Any]:
    """A write function that runs one PRAGMA on the writer's own connection."""

    def function(tx: Transaction) -> Any:
        assert isinstance(tx, SqlTransaction)
        result = tx.connection.exec_driver_sql(text)
        return result.scalar() if result.returns_rows else None

    return function


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("mysql://me:secret@host/db", "SQLite and PostgreSQL are supported"),
        ("sqlite://", "name a file"),
        ("sqlite:///:memory:", "name a file"),
        ("sqlite:///x.db?mode=ro", "nothing else"),
        ("sqlite:////no/such/folder/x.db", "is not a directory"),
        ("milepost.db", "is no database URL"),
        ("", "is no database URL"),
    ],
)
def test_addresses_that_cannot_be_used(url: str, says: str) -> None:
    with pytest.raises(Misconfigured, match=says) as caught:
        path_of(url)
    assert "secret" not in str(caught.value)


def test_addresses(tmp_path: Path) -> None:
    assert path_of("sqlite:///milepost.db") == Path("milepost.db")
    assert path_of(f"sqlite:///{tmp_path}/x.db") == tmp_path / "x.db"


async def test_a_commit_is_on_disk_before_it_is_answered(store: SqliteStore) -> None:
    assert await store.write(pragma("PRAGMA journal_mode")) == "wal"
    assert await store.write(pragma("PRAGMA synchronous")) == 2


async def test_a_second_hub_is_refused(store: SqliteStore, path: Path) -> None:
    with pytest.raises(StoreLocked, match="milepost serve"):
        await open_store(f"sqlite:///{path}")
    reading = await open_store(f"sqlite:///{path}", read_only=True)
    try:
        await store.append([arrival()])
        assert await reading.read(lambda tx: tx.journal.last_position()) == 1
        with pytest.raises(StoreUnavailable, match="reading only"):
            await reading.append([arrival()])
    finally:
        await reading.close()
    holder = inspect(f"sqlite:///{path}").holder
    assert holder is not None
    assert holder.pid == os.getpid()


async def test_a_full_disk_refuses_and_recovers(store: SqliteStore) -> None:
    await store.append([arrival()])
    pages = await store.write(pragma("PRAGMA page_count"))
    await store.write(pragma(f"PRAGMA max_page_count = {pages}"))
    big = arrival("k-big", "e-big", data={"x": "y" * 100_000})
    with pytest.raises(StoreUnavailable, match="disk is full"):
        await store.append([arrival("k-2", "e-2"), big])
    with pytest.raises(StoreUnavailable, match="disk is full"):
        await store.write(lambda tx: tx.journal.quarantine(big.body, "malformed", "r", T0, "webhook", ()))
    await store.write(pragma("PRAGMA max_page_count = 1000000"))
    assert await store.append([big, arrival("k-2", "e-2")]) == [
        Receipt("accepted", 2),
        Receipt("accepted", 3),
    ]
    found = await store.read(lambda tx: tx.journal.counts("projector"))
    assert (found.arrivals, found.events, found.quarantined) == (3, 3, 0)


async def test_a_file_that_may_not_grow_refuses_and_recovers(store: SqliteStore, path: Path) -> None:
    """The operating system refuses the write itself, half way through a transaction."""
    await store.append([arrival()])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    given = [arrival(f"k-{n}", f"e-{n}", data={"x": "y" * 20_000}) for n in range(2, 12)]
    resource.setrlimit(
        resource.RLIMIT_FSIZE, (path.with_name("milepost.db-wal").stat().st_size + 30_000, hard)
    )
    try:
        results = await asyncio.gather(*(store.append([one]) for one in given), return_exceptions=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    refused = [
        one for one, result in zip(given, results, strict=True) if isinstance(result, StoreUnavailable)
    ]
    assert refused
    kept = 1 + len(given) - len(refused)
    assert (await store.read(lambda tx: tx.journal.counts("projector"))).events == kept
    receipts = await store.append(refused)
    assert [r.status for r in receipts] == ["accepted"] * len(refused)
    assert (await store.read(lambda tx: tx.journal.counts("projector"))).events == 11
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


async def test_read_only_refuses_and_recovers(store: SqliteStore) -> None:
    await store.write(pragma("PRAGMA query_only = ON"))
    with pytest.raises(StoreUnavailable, match="read-only"):
        await store.append([arrival()])
    # That connection was given up; the next batch opens another by itself.
    assert await store.append([arrival()]) == [Receipt("accepted", 1)]


async def test_a_vanished_file_is_never_begun_anew(store: SqliteStore, path: Path) -> None:
    await store.append([arrival()])
    hidden = path.with_name("hidden.db")
    path.rename(hidden)
    with pytest.raises(StoreUnavailable, match="is gone"):
        await store.append([arrival("k-2", "e-2")])
    with pytest.raises(StoreUnavailable, match="is gone"):
        await store.write(lambda tx: tx.journal.set_checkpoint("projector", 1))
    assert not path.exists()
    path.touch()
    with pytest.raises(StoreUnavailable, match="replaced"):
        await store.append([arrival("k-2", "e-2")])
    hidden.replace(path)
    assert await store.append([arrival("k-2", "e-2")]) == [Receipt("accepted", 2)]


async def test_an_error_does_not_quote_what_a_statement_was_given(store: SqliteStore) -> None:
    def write(tx: Transaction) -> None:
        tx.journal.quarantine(object(), "code", "ada@example.com", T0, "webhook", ())  # type: ignore[arg-type]

    with pytest.raises(Exception, match="object") as caught:
        await store.write(write)
    assert "ada@example.com" not in str(caught.value)


async def test_the_log_stays_bounded_beside_a_long_read(
    store: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = path.with_name("milepost.db-wal")
    assert store._writer is not None
    store._writer._wal_limit = 1_000_000  # as if that much were the limit: the real one takes long to reach
    body = {"x": "y" * 400_000}
    loop = asyncio.get_running_loop()

    def read_long(tx: Transaction) -> int:
        tx.journal.last_position()
        for n in range(4):
            one = arrival(f"k-{n}", f"e-{n}", data=body)
            asyncio.run_coroutine_threadsafe(store.append([one]), loop).result(30)
        return log.stat().st_size

    grown = await store.read(read_long)
    assert grown > 1_000_000
    assert store._writer._wal_limit >= WAL_LIMIT // 4
    store._writer._wal_limit = 1_000_000
    await store.append([arrival("k-9", "e-9")])
    assert log.stat().st_size == 0


async def test_a_killed_process_keeps_what_it_acknowledged(path: Path) -> None:
    program = """
import asyncio, sys
from milepost.sql import open_store
from tests.contract.harness import arrival
async def main():
    store = await open_store(sys.argv[1])
    async def one(n):
        for i in range(1_000_000):
            (receipt,) = await store.append([arrival(f"k-{n}-{i}", f"e-{n}-{i}")])
            print(receipt.position, flush=True)
    await asyncio.gather(*(one(n) for n in range(8)))
asyncio.run(main())
"""
    root = Path(__file__).parents[3]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        program,
        f"sqlite:///{path}",
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": f"{root / 'src'}{os.pathsep}{root}"},
    )
    assert process.stdout is not None
    acknowledged = [int(await process.stdout.readline()) for _ in range(100)]
    process.send_signal(signal.SIGKILL)
    rest = (await process.stdout.read()).decode()
    await process.wait()
    acknowledged += [int(line) for line in rest.splitlines(keepends=True) if line.endswith("\n")]
    # The lock went with the process.
    store = await open_store(f"sqlite:///{path}")
    try:
        kept = await store.read(lambda tx: tx.journal.records(acknowledged))
        found = await store.read(lambda tx: tx.journal.counts("projector"))
    finally:
        await store.close()
    assert sorted(kept) == sorted(acknowledged)
    assert found.events == found.records == found.last_position >= len(acknowledged)
