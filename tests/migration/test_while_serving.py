"""The next release migrates a database while this one's hubs append, write and read: nothing fails, nothing is lost,
and nobody waits for longer than a step may wait for a table."""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg
from tests.contract.harness import arrival
from tests.migration.next_release import NEWEST

from milepost.sql import migrate, open_store, schema_version
from milepost.sql.postgres_database import LOCK_TIMEOUT_MS
from milepost.store import Store

FILLED = 50_000
APPENDERS = 4
LOCKED_OUT = 4
"""How often a step must have been locked out until whoever locks it out lets go."""
SLACK_S = 3.0
"""What an append may take by itself on a machine that does a lot at once."""
WAIT_S = 90.0

FILL = f"""
INSERT INTO records
SELECT i, 'other', 'bp-1', '', i, i, '', '', NULL, convert_to(repeat('x', 500), 'UTF8'), NULL, NULL
FROM generate_series(1, {FILLED}) i;
UPDATE journal_end SET position = {FILLED}; UPDATE counters SET others = {FILLED}"""


class Load:
    """What hubs do all the time, until told to stop; what fails is raised by `stop`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._stop = asyncio.Event()
        self.positions: list[int] = []
        self.longest_s = 0.0
        self.writes = self.reads = 0
        loops = [self._append(n) for n in range(APPENDERS)]
        self._tasks = [asyncio.create_task(loop) for loop in (*loops, self._write(), self._read())]

    async def stop(self) -> None:
        self._stop.set()
        await asyncio.gather(*self._tasks)

    async def until(self, happened: Callable[[], Awaitable[object]]) -> None:
        """Wait for it, and fail as soon as the load does."""
        waiting = asyncio.ensure_future(happened())
        await asyncio.wait((waiting, *self._tasks), timeout=WAIT_S, return_when=asyncio.FIRST_COMPLETED)
        for task in self._tasks:
            if task.done():
                task.result()
        assert waiting.done(), f"not within {WAIT_S} s"
        waiting.result()

    async def _append(self, appender: int) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            started = time.monotonic()
            (receipt,) = await self._store.append(
                [arrival(f"k-{appender}-{number}", f"e-{appender}-{number}")]
            )
            self.longest_s = max(self.longest_s, time.monotonic() - started)
            assert receipt.status == "accepted"
            self.positions.append(receipt.position)

    async def _write(self) -> None:
        while not self._stop.is_set():
            self.writes += 1
            await self._store.write(lambda tx: tx.journal.set_checkpoint("projector", self.writes))

    async def _read(self) -> None:
        after = 0
        while not self._stop.is_set():
            self.reads += 1
            records = await self._store.read(lambda tx, after=after: tx.journal.after(after, 50))  # type: ignore[misc]
            after = records[-1].position if records else 0


async def test_nobody_waits_for_a_migration(postgres_url: str) -> None:
    store = await open_store(postgres_url)
    outsider = await asyncpg.connect(postgres_url)
    try:
        await outsider.execute(FILL)
        load = Load(store)
        # Somebody reads the table for a long time, as a backup does: no step gets it meanwhile.
        await outsider.execute("BEGIN; SELECT count(*) FROM records")
        migrating = await start(postgres_url)
        try:
            assert migrating.stdout is not None
            assert migrating.stderr is not None
            started = 0.0
            for n in range(LOCKED_OUT):
                await load.until(lambda: said(migrating.stdout, "migrate.locked_out"))
                started = started if n else time.monotonic()
            held_s = time.monotonic() - started
            while_locked_out_s = load.longest_s
            await outsider.execute("ROLLBACK")
            await load.until(migrating.wait)
            errors = (await migrating.stderr.read()).decode()
            assert migrating.returncode == 0, errors
        finally:
            if migrating.returncode is None:
                migrating.kill()
                await migrating.wait()
        await load.stop()
        print(
            f"{len(load.positions)} appends, {load.writes} writes, {load.reads} reads; the longest wait for an"
            f" acknowledgement {load.longest_s * 1000:.0f} ms ({while_locked_out_s * 1000:.0f} ms while a step was"
            f" locked out for {held_s:.1f} s)"
        )
        assert load.longest_s < LOCK_TIMEOUT_MS / 1000 + SLACK_S
        assert min(load.writes, load.reads) > 10
        assert schema_version(postgres_url) == NEWEST
        assert sorted(load.positions) == list(range(FILLED + 1, FILLED + len(load.positions) + 1))
        kept = await outsider.fetch("SELECT position FROM records WHERE position > $1 ORDER BY 1", FILLED)
        assert [row["position"] for row in kept] == sorted(load.positions)
        indexes = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'records_received_at'::regclass"
        assert await outsider.fetchval(indexes) is True
        assert await outsider.fetchval("SELECT note FROM records LIMIT 1") == ""
        assert await outsider.fetchval("SELECT count(*) FROM notes") == 0
    finally:
        await outsider.close()
        await store.close()


async def test_an_index_that_was_interrupted_is_made_anew(postgres_url: str) -> None:
    migrate(postgres_url)
    outsider = await asyncpg.connect(postgres_url)
    try:
        await outsider.execute(
            "CREATE INDEX records_received_at ON records (road);"
            " UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'records_received_at'::regclass"
        )
        await end(postgres_url)
        made = await outsider.fetchval("SELECT pg_get_indexdef('records_received_at'::regclass)")
        assert made.endswith('(received_at, "position")')
        assert await outsider.fetchval("SELECT count(*) FROM pg_index WHERE NOT indisvalid") == 0
    finally:
        await outsider.close()
    assert schema_version(postgres_url) == NEWEST


async def test_two_processes_that_start_at_once_migrate_once(postgres_url: str) -> None:
    """The one that waits must not hold what an index that is made CONCURRENTLY waits for."""
    await asyncio.gather(end(postgres_url), end(postgres_url))
    assert schema_version(postgres_url) == NEWEST


async def test_the_same_steps_go_on_sqlite(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'milepost.db'}"
    migrate(url)
    await end(url)
    assert schema_version(url) == NEWEST


async def start(url: str) -> asyncio.subprocess.Process:
    """Another process that migrates to the next release."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-u",
        str(Path(__file__).with_name("next_release.py")),
        url,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def end(url: str) -> None:
    """The same, to its end."""
    migrating = await start(url)
    out, errors = await asyncio.wait_for(migrating.communicate(), WAIT_S)
    assert migrating.returncode == 0, (out, errors)


async def said(stream: asyncio.StreamReader | None, text: str) -> None:
    """Read lines until one has the text."""
    assert stream is not None
    while True:
        line = await stream.readline()
        assert line, f"it ended without saying {text}"
        if text in line.decode():
            return
