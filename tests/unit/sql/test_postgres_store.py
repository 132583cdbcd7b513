"""Several stores on one PostgreSQL: the order in which positions become visible, turns, signals, texts, failures."""

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import asyncpg
import pytest
from structlog.testing import capture_logs
from tests.contract.harness import T0, arrival, counts
from tests.contract.journal_contract import snapshot
from tests.postgres import Postgres

from milepost.domain.errors import StoreUnavailable
from milepost.domain.record import Record
from milepost.pipeline.consumer import Consumer, Effects
from milepost.sql import open_store
from milepost.sql.transaction import SqlTransaction
from milepost.store import Receipt, Store, Transaction

ROOT = Path(__file__).parents[3]
Open = Callable[[], Awaitable[Store]]


@pytest.fixture
async def opened(postgres: Postgres, postgres_database: str) -> AsyncIterator[Open]:
    """Opens stores on one database, as many as are asked for."""
    stores: list[Store] = []

    async def another() -> Store:
        stores.append(
            await open_store(postgres.url(postgres_database), clock=lambda: T0, busy_timeout=10_000)
        )
        return stores[-1]

    yield another
    for store in stores:
        await store.close()


def sql(tx: Transaction, text: str) -> object:
    assert isinstance(tx, SqlTransaction)
    return tx.connection.exec_driver_sql(text).scalar()


class Follower:
    """Reads what is behind the last position it saw, and objects to one that appears below or leaves a gap."""

    def __init__(self) -> None:
        self.seen = 0

    def take(self, positions: list[int]) -> None:
        expected = list(range(self.seen + 1, self.seen + 1 + len(positions)))
        assert positions == expected, f"after {self.seen} came {positions}"
        self.seen += len(positions)


_WRITER = """
import asyncio, sys
from milepost.sql import open_store
from tests.contract.harness import arrival
from tests.contract.journal_contract import snapshot
async def main():
    store = await open_store(sys.argv[1])
    async def one(n):
        for i in range(60):
            await store.append([arrival(f"k-{n}-{i}", f"e-{n}-{i}")])
            if i % 10 == 0:
                await store.write(lambda tx: tx.journal.add([snapshot()] * 3))
    await asyncio.gather(*(one(n) for n in range(6)))
    await store.close()
asyncio.run(main())
"""


async def test_positions_become_visible_in_their_order(
    opened: Open, postgres: Postgres, postgres_database: str
) -> None:
    """Two processes and two stores append the same events and journal things of their own; one reader follows."""
    url = postgres.url(postgres_database)
    env = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    processes = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", _WRITER, url, env=env) for _ in range(2)
    ]
    stores = [await opened(), await opened()]
    reader = await opened()
    follower = Follower()
    over = asyncio.Event()

    async def follow() -> None:
        while not over.is_set() or follower.seen < await reader.read(lambda tx: tx.journal.last_position()):
            records = await reader.read(lambda tx: tx.journal.after(follower.seen, 1_000))
            follower.take([record.position for record in records])
            if not records:
                await reader.changed(follower.seen, 0.5)

    async def append(store: Store, n: int) -> None:
        for i in range(60):
            await store.append([arrival(f"k-{n}-{i}", f"e-{n}-{i}")])
            if i % 10 == 0:
                await store.write(lambda tx: tx.journal.add([snapshot()]))

    following = asyncio.ensure_future(follow())
    await asyncio.gather(*(append(store, n) for store in stores for n in range(3, 9)))
    assert [await process.wait() for process in processes] == [0, 0]
    over.set()
    await following
    found = await counts(reader)
    assert found.events == 9 * 60
    assert found.records == follower.seen == 9 * 60 + 2 * 6 * 6 * 3 + 2 * 6 * 6
    assert found.duplicates == (2 * 6 + 2 * 6 - 9) * 60


async def test_numbers_of_a_sequence_do_not(postgres: Postgres, postgres_database: str) -> None:
    """What the follower of the test above would see, were positions given by a sequence."""
    url = postgres.url(postgres_database)
    early, late = await asyncpg.connect(url), await asyncpg.connect(url)
    try:
        await early.execute("CREATE TABLE numbered (position bigserial PRIMARY KEY)")
        transaction = early.transaction()
        await transaction.start()
        await early.execute("INSERT INTO numbered DEFAULT VALUES")
        await late.execute("INSERT INTO numbered DEFAULT VALUES")
        rows = await late.fetch("SELECT position FROM numbered ORDER BY position")
        with pytest.raises(AssertionError, match=r"after 0 came \[2\]"):
            Follower().take([row[0] for row in rows])
        await transaction.commit()
    finally:
        await early.close()
        await late.close()


async def test_a_thousand_copies_through_two_stores_are_one_record(opened: Open) -> None:
    stores = [await opened(), await opened()]
    given = [arrival(at=T0 + n, road=("webhook", "eventbridge")[n % 2]) for n in range(1_000)]
    receipts = await asyncio.gather(*(stores[n % 2].append([one]) for n, one in enumerate(given)))
    statuses = [receipt.status for (receipt,) in receipts]
    assert (statuses.count("accepted"), statuses.count("duplicate")) == (1, 999)
    assert {receipt.position for (receipt,) in receipts} == {1}
    for store in stores:
        found = await counts(store)
        assert (found.events, found.duplicates, found.records) == (1, 999, 1)
        assert len((await store.read(lambda tx: tx.journal.arrivals([1])))[1]) == 1_000


async def test_conflicting_copies_through_two_stores_are_kept_once_each(opened: Open) -> None:
    stores = [await opened(), await opened()]
    given = [arrival(data={"a": n % 4}) for n in range(200)]
    receipts = await asyncio.gather(*(stores[n % 2].append([one]) for n, one in enumerate(given)))
    first = next(n for n, (receipt,) in enumerate(receipts) if receipt.status == "accepted")
    assert all(receipt.conflict == (n % 4 != first % 4) for n, (receipt,) in enumerate(receipts))
    found = await counts(stores[0])
    assert (found.events, found.duplicates, found.conflicts, found.records) == (1, 199, 150, 4)


async def test_one_write_function_runs_at_a_time_and_appends_go_on(
    opened: Open, postgres: Postgres, postgres_database: str
) -> None:
    one, other = await opened(), await opened()
    entered, leave = threading.Event(), threading.Event()
    order: list[str] = []

    def first(tx: Transaction) -> None:
        entered.set()
        assert leave.wait(30)
        order.append("first")

    running = asyncio.ensure_future(one.write(first))
    await asyncio.to_thread(entered.wait, 30)
    waiting = asyncio.ensure_future(other.write(lambda tx: order.append("second")))
    connection = await asyncpg.connect(postgres.url(postgres_database))
    try:
        while not await connection.fetchval(
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        ):
            await asyncio.sleep(0)
    finally:
        await connection.close()
    for n, store in enumerate((one, other)):
        assert await store.append([arrival(f"k-{n}", f"e-{n}")]) == [Receipt("accepted", n + 1)]
    assert order == []
    leave.set()
    await asyncio.gather(running, waiting)
    assert order == ["first", "second"]


async def test_a_read_sees_nothing_that_another_store_commits_meanwhile(opened: Open) -> None:
    one, other = await opened(), await opened()
    loop = asyncio.get_running_loop()

    def look(tx: Transaction) -> tuple[int, int]:
        before = tx.journal.last_position()
        asyncio.run_coroutine_threadsafe(other.append([arrival()]), loop).result(30)
        return before, tx.journal.last_position()

    assert await one.read(look) == (0, 0)
    assert await one.read(lambda tx: tx.journal.last_position()) == 1


async def test_another_store_hears_of_it_also_after_its_connection_was_cut(
    opened: Open, postgres: Postgres, postgres_database: str
) -> None:
    one, other = await opened(), await opened()
    await one.append([arrival()])
    assert await other.changed(0, 30) == 1
    await postgres.cut(postgres_database)
    await one.write(lambda tx: tx.journal.add([snapshot()]))
    assert await other.changed(1, 30) == 2
    for n in range(3, 50):
        await one.append([arrival(f"k-{n}", f"e-{n}")])
    position = 2
    while position < 49:
        position = await other.changed(position, 30)


async def test_a_commit_is_on_disk_before_it_is_answered(
    opened: Open, postgres: Postgres, postgres_database: str
) -> None:
    await postgres.execute(f'ALTER DATABASE "{postgres_database}" SET synchronous_commit = off')
    store = await opened()
    assert await store.write(lambda tx: sql(tx, "SHOW synchronous_commit")) == "on"


async def test_texts_with_nul_are_kept(opened: Open) -> None:
    store = await opened()
    odd = arrival(
        descriptor="ODD\0NAME", resources=["businessProduct/bp\0-1/order/o-1"], subscription_id="s\0"
    )
    assert await store.append([odd, arrival()]) == [Receipt("accepted", 1), Receipt("accepted", 2)]
    assert await store.append([odd]) == [Receipt("duplicate", 1)]
    record = (await store.read(lambda tx: tx.journal.records([1])))[1]
    assert (record.business_product_id, record.type) == ("bp␀-1", "ODD␀NAME")
    assert record.body == odd.body
    assert record.event() == odd.event
    rows = (await store.read(lambda tx: tx.journal.arrivals([1])))[1]
    assert rows[1].subscription_id == "s␀"


async def test_what_is_too_long_for_an_index_is_one_bad_record(opened: Open) -> None:
    """A text of random letters that no compression makes short enough stops nobody: the others are processed."""
    store = await opened()
    await store.append([arrival(f"k-{n}", f"e-{n}") for n in range(3)])
    long = os.urandom(3_000).hex()

    async def prepare(records: Sequence[Record]) -> Effects:
        index = {r.position: ("bp-1", [f"order/{long if r.position == 2 else r.position}"]) for r in records}
        return lambda tx: tx.views.index(index)

    consumer = Consumer(store, "projector", prepare, lambda: T0)
    with capture_logs():  # printing such a traceback takes longer than all the rest
        assert await consumer.step() == 3
    failures = await store.read(lambda tx: tx.views.failures(0, 10, None))
    assert [failure.position for failure in failures] == [2]
    assert long[:100] not in failures[0].error
    wanted = [("bp-1", "order/1"), ("bp-1", "order/3")]
    found = await store.read(lambda tx: tx.journal.of_subjects(wanted))
    assert [[r.position for r in found[key]] for key in wanted] == [[1], [3]]


async def test_a_statement_that_failed_is_never_committed_around(opened: Open) -> None:
    """PostgreSQL answers the COMMIT of such a transaction without complaint, and commits nothing."""
    store = await opened()

    def write(tx: Transaction) -> None:
        tx.journal.add([snapshot()])
        try:
            sql(tx, "SELECT 1 / 0")
        except Exception:
            return

    with pytest.raises(Exception, match="division by zero"):
        await store.write(write)
    assert (await counts(store)).records == 0
    assert await store.write(lambda tx: tx.journal.add([snapshot()])) == [1]


@pytest.mark.parametrize("code", ["40001", "40P01"])
async def test_a_write_that_was_in_anothers_way_runs_again(opened: Open, code: str) -> None:
    store = await opened()
    runs: list[int] = []

    def write(tx: Transaction) -> list[int]:
        runs.append(1)
        positions = tx.journal.add([snapshot()])
        if len(runs) == 1:
            sql(tx, f"DO $$ BEGIN RAISE EXCEPTION 'again' USING ERRCODE = '{code}'; END $$")
        return positions

    assert await store.write(write) == [1]
    assert len(runs) == 2


async def test_a_migration_beside_a_store_that_serves(
    opened: Open, postgres: Postgres, postgres_database: str
) -> None:
    """What was prepared for the old tables is prepared anew."""
    store = await opened()

    async def everything(n: int) -> None:
        await store.append([arrival(f"k-{n}", f"e-{n}")])
        await store.append([arrival(f"k-{n}", f"e-{n}")])
        await store.write(lambda tx: tx.journal.add([snapshot()]))
        assert len(await store.read(lambda tx: tx.journal.after(0, 100))) == 2 * n

    for n in range(1, 8):
        await everything(n)
    for change in (
        'ALTER TABLE records ADD COLUMN more text, ALTER COLUMN road TYPE varchar COLLATE "C"',
        "ALTER TABLE records ALTER COLUMN received_at TYPE numeric",
        "ALTER TABLE records ALTER COLUMN received_at TYPE bigint",
    ):
        await postgres.execute(change, postgres_database)
        n += 1
        await everything(n)


async def test_a_writer_whose_count_is_gone_begins_another(
    opened: Open, postgres: Postgres, postgres_database: str
) -> None:
    store = await opened()
    await store.append([arrival()])
    await store.write(lambda tx: tx.journal.add([snapshot()]))
    await postgres.execute("DELETE FROM writers", postgres_database)
    assert await store.append([arrival("k-2", "e-2")]) == [Receipt("accepted", 3)]
    assert await store.append([arrival("k-2", "e-2")]) == [Receipt("duplicate", 3)]
    await postgres.execute("DELETE FROM writers", postgres_database)
    assert await store.append([arrival("k-2", "e-2")]) == [Receipt("duplicate", 3)]
    assert await store.write(lambda tx: tx.journal.add([snapshot()])) == [4]


async def test_an_error_does_not_quote_what_a_statement_was_given(opened: Open) -> None:
    store = await opened()

    def write(tx: Transaction) -> None:
        tx.journal.quarantine(object(), "code", "ada@example.com", T0, "webhook", ())  # type: ignore[arg-type]

    with pytest.raises(Exception, match="object") as caught:
        await store.write(write)
    assert "ada@example.com" not in str(caught.value)


async def test_away_for_longer_than_anybody_waits(postgres: Postgres, postgres_database: str) -> None:
    store = await open_store(postgres.url(postgres_database), busy_timeout=100)
    try:
        await store.append([arrival()])
        await postgres.execute(f'ALTER DATABASE "{postgres_database}" ALLOW_CONNECTIONS false')
        await postgres.execute(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{postgres_database}'"
        )
        calls = (
            store.append([arrival("k-2", "e-2")]),
            store.write(lambda tx: tx.journal.add([snapshot()])),
            store.read(lambda tx: tx.journal.last_position()),
        )
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(result) for result in results] == [StoreUnavailable] * 3
        assert "cannot be reached" in str(results[0])
        await postgres.execute(f'ALTER DATABASE "{postgres_database}" ALLOW_CONNECTIONS true')
        assert await store.append([arrival("k-2", "e-2")]) == [Receipt("accepted", 2)]
        assert await store.write(lambda tx: tx.journal.add([snapshot()])) == [3]
    finally:
        await store.close()


async def test_closing_while_the_database_is_away_ends(postgres: Postgres, postgres_database: str) -> None:
    store = await open_store(postgres.url(postgres_database), busy_timeout=100)
    await postgres.execute(f'ALTER DATABASE "{postgres_database}" ALLOW_CONNECTIONS false')
    calls = [asyncio.ensure_future(store.append([arrival(f"k-{n}", f"e-{n}")])) for n in range(20)]
    calls.append(asyncio.ensure_future(store.write(lambda tx: tx.journal.add([snapshot()]))))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    await store.close()
    await store.close()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(result) for result in results} == {StoreUnavailable}


async def test_for_reading_only(opened: Open, postgres: Postgres, postgres_database: str) -> None:
    store = await opened()
    await store.append([arrival()])
    reading = await open_store(postgres.url(postgres_database), read_only=True)
    try:
        assert await reading.read(lambda tx: tx.journal.last_position()) == 1
        with pytest.raises(StoreUnavailable, match="reading only"):
            await reading.append([arrival()])
        with pytest.raises(StoreUnavailable, match="reading only"):
            await reading.write(lambda tx: None)
    finally:
        await reading.close()


async def test_a_writer_that_commits_is_not_tidied_away(opened: Open) -> None:
    """However long ago it began: its row is what tells whether a commit in doubt happened."""
    store = await opened()
    await store.append([arrival("k-0", "e-0")])
    await store.write(lambda tx: sql(tx, "UPDATE writers SET since = 0 RETURNING 1"))
    await store.append([arrival("k-1", "e-1")])
    await store.write(lambda tx: tx.journal.set_checkpoint("projector", 1))
    await (await opened()).append([arrival("k-2", "e-2")])
    rows = await store.read(lambda tx: sql(tx, "SELECT count(*) FROM writers"))
    assert rows == 3, "two of the first store, one of the second"


async def test_what_somebody_wrote_who_went_away_is_heard_of(opened: Open) -> None:
    store = await opened()
    begun, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def write(tx: Transaction) -> None:
        tx.journal.add([snapshot()])
        loop.call_soon_threadsafe(begun.set)
        go_on.wait(60)

    writing = asyncio.ensure_future(store.write(write))
    await begun.wait()
    writing.cancel()
    go_on.set()
    assert await store.changed(0, 60) == 1


async def test_what_is_being_erased_keeps_no_body_of_a_second_road(
    opened: Open, postgres: Postgres, postgres_database: str
) -> None:
    """The append is there first and has to wait for the row; what it finds afterwards is erased."""
    store = await opened()
    await store.append([arrival("k-1", "e-1"), arrival("k-2", "e-2")])
    outsider = await asyncpg.connect(postgres.url(postgres_database))
    try:
        erasing = outsider.transaction()
        await erasing.start()
        await outsider.execute("UPDATE records SET flags = '[\"erased\"]' WHERE position = 1")
        second = [arrival(f"k-{n}", f"e-{n}", road="eventbridge") for n in (1, 2)]
        appending = asyncio.ensure_future(store.append(second))
        here = "datname = current_database() AND wait_event_type = 'Lock'"
        async with asyncio.timeout(60):
            while not await outsider.fetchval(f"SELECT count(*) FROM pg_stat_activity WHERE {here}"):
                await asyncio.sleep(0)
        await erasing.commit()
        assert [each.status for each in await appending] == ["duplicate", "duplicate"]
    finally:
        await outsider.close()
    kept = await store.read(lambda tx: [set(tx.journal.other_bodies(n)) for n in (1, 2)])
    assert kept == [set(), {"eventbridge"}]
