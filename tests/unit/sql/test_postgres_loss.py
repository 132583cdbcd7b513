"""Connections to PostgreSQL that are lost in the middle of something: nothing acknowledged is lost, nothing is done
twice, and what was in doubt is found out."""

import asyncio
from collections.abc import AsyncIterator
from itertools import count

import pytest
from structlog.testing import capture_logs
from tests.contract.harness import arrival, counts
from tests.contract.journal_contract import snapshot
from tests.postgres import Postgres
from tests.unit.sql.lossy_proxy import LossyProxy, What

from milepost.domain.errors import StoreUnavailable
from milepost.sql import open_store
from milepost.store import Receipt, Store, Transaction

NOTHING_TWICE = "nothing is kept twice, and nothing counted"


@pytest.fixture
async def proxy(postgres: Postgres) -> AsyncIterator[LossyProxy]:
    async with LossyProxy(postgres.port) as opened:
        yield opened


@pytest.fixture
async def store(proxy: LossyProxy, postgres_database: str) -> AsyncIterator[Store]:
    opened = await open_store(f"postgresql://postgres@127.0.0.1:{proxy.port}/{postgres_database}")
    try:
        yield opened
    finally:
        await opened.close()


@pytest.mark.parametrize("what", ["request", "answer"])
async def test_an_append_that_was_in_doubt(store: Store, proxy: LossyProxy, what: What) -> None:
    await store.append([arrival("k-0", "e-0")])
    proxy.lose(what, b"k-lost")
    given = [arrival("k-lost", "e-1"), arrival("k-2", "e-2")]
    assert await store.append(given) == [Receipt("accepted", 2), Receipt("accepted", 3)]
    assert proxy.lost == 1
    found = await counts(store)
    assert (found.events, found.duplicates, found.records) == (3, 0, 3), NOTHING_TWICE
    assert await store.append([arrival("k-4", "e-4")]) == [Receipt("accepted", 4)]


@pytest.mark.parametrize("what", ["request", "answer"])
async def test_duplicates_that_were_in_doubt(store: Store, proxy: LossyProxy, what: What) -> None:
    await store.append([arrival("k-0", "e-0")])
    proxy.lose(what, b"COMMIT")
    given = [arrival("k-0", "e-0"), arrival("k-1", "e-1"), arrival("k-1", "e-1", data={"a": 1})]
    receipts = await store.append(given)
    assert receipts == [Receipt("duplicate", 1), Receipt("accepted", 2), Receipt("duplicate", 2, True)]
    assert proxy.lost == 1
    found = await counts(store)
    assert (found.events, found.duplicates, found.conflicts, found.records) == (2, 2, 1, 3), NOTHING_TWICE


@pytest.mark.parametrize(("what", "runs"), [("request", 2), ("answer", 1)])
async def test_a_write_that_was_in_doubt(store: Store, proxy: LossyProxy, what: What, runs: int) -> None:
    called = count()

    def write(tx: Transaction) -> list[int]:
        next(called)
        return tx.journal.add([snapshot()])

    await store.append([arrival()])
    proxy.lose(what, b"COMMIT")
    assert await store.write(write) == [2]
    assert proxy.lost == 1
    assert next(called) == runs, "only what was not committed runs again"
    assert (await counts(store)).records == 2


@pytest.mark.parametrize("settled", ["request", "answer"])
@pytest.mark.parametrize(("what", "runs"), [("request", 2), ("answer", 1)])
async def test_the_question_what_became_of_it_is_lost_too(
    store: Store, proxy: LossyProxy, what: What, settled: What, runs: int
) -> None:
    """The second connection goes while it is being found out; asked again, the answer is the same."""
    called = count()

    def write(tx: Transaction) -> list[int]:
        next(called)
        return tx.journal.add([snapshot()])

    await store.append([arrival("k-0", "e-0")])
    proxy.lose(what, b"COMMIT")
    proxy.lose(settled, b"/write")
    assert await store.write(write) == [2]
    assert proxy.lost == 2
    assert next(called) == runs, "only what was not committed runs again"
    proxy.lose(what, b"COMMIT")
    proxy.lose(settled, b"/append")
    given = [arrival("k-0", "e-0"), arrival("k-1", "e-1")]
    assert await store.append(given) == [Receipt("duplicate", 1), Receipt("accepted", 3)]
    assert proxy.lost == 4
    found = await counts(store)
    assert (found.events, found.duplicates, found.records) == (2, 1, 3), NOTHING_TWICE
    kept = await store.read(lambda tx: tx.journal.records([1, 2, 3]))
    assert sorted(kept) == [1, 2, 3], "what was acknowledged is there"


async def test_a_server_that_is_a_standby_for_a_moment_decides_nothing(
    store: Store, proxy: LossyProxy, postgres: Postgres, postgres_database: str
) -> None:
    """In the middle of a failover the first server that answers may not be able to say what became of a commit."""
    called = count()

    def write(tx: Transaction) -> list[int]:
        next(called)
        return tx.journal.add([snapshot()])

    await store.append([arrival("k-0", "e-0")])
    await store.write(lambda tx: tx.journal.set_checkpoint("projector", 1))
    alter = f'ALTER DATABASE "{postgres_database}" SET default_transaction_read_only ='
    await postgres.execute(f"{alter} on")
    proxy.lose("answer", b"COMMIT")
    writing = asyncio.ensure_future(store.write(write))
    with capture_logs() as logs:
        while not any(log["event"] == "store.not_settled" for log in logs):
            await store.changed(1, 0.02)
        await postgres.execute(f"{alter} off")
        assert await writing == [2]
    assert next(called) == 1, "it had been committed"
    assert (await counts(store)).records == 2


async def test_a_connection_lost_in_the_middle_of_a_write_or_a_read(store: Store, proxy: LossyProxy) -> None:
    await store.append([arrival()])

    def write(tx: Transaction) -> list[int]:
        tx.journal.set_checkpoint("projector", 1)
        return tx.journal.add([snapshot("o-lost")])

    proxy.lose("answer", b"o-lost")
    assert await store.write(write) == [2]
    proxy.lose("answer", b"a-name")
    assert await store.read(lambda tx: (tx.journal.checkpoint("a-name"), tx.journal.last_position())) == (
        0,
        2,
    )
    assert proxy.lost == 2
    assert (await counts(store)).folded == 1


async def test_what_stays_in_doubt_is_settled_before_anything_else(
    proxy: LossyProxy, postgres: Postgres, postgres_database: str
) -> None:
    """The answer is lost and the server away for longer than anybody waits; then it comes back."""
    url = f"postgresql://postgres@127.0.0.1:{proxy.port}/{postgres_database}"
    store = await open_store(url, busy_timeout=100)
    try:
        await store.append([arrival("k-0", "e-0")])
        await postgres.execute(f'ALTER DATABASE "{postgres_database}" ALLOW_CONNECTIONS false')
        proxy.lose("answer", b"k-lost")
        with pytest.raises(StoreUnavailable):
            await store.append([arrival("k-lost", "e-1")])
        await postgres.execute(f'ALTER DATABASE "{postgres_database}" ALLOW_CONNECTIONS true')
        # It had been committed after all: what the sender sends again is a duplicate.
        assert await store.append([arrival("k-lost", "e-1")]) == [Receipt("duplicate", 2)]
    finally:
        await store.close()


async def test_cut_and_crashed_again_and_again_under_load(postgres: Postgres, postgres_database: str) -> None:
    """Sixteen appenders and two writers go on while connections are cut, one is killed, and the server crashes."""
    store = await open_store(postgres.url(postgres_database), busy_timeout=30_000)
    over = asyncio.Event()
    acknowledged: dict[str, int] = {}
    written: list[int] = []

    async def append(n: int) -> None:
        for i in count():
            if over.is_set():
                return
            key = f"{n}-{i}"
            # Every fourth comes twice at once, so that batches go the thorough way too.
            given = [arrival(f"k-{key}", f"e-{key}")] * (2 if i % 4 == 0 else 1)
            receipts = await store.append(given)
            assert [r.status for r in receipts] == ["accepted", "duplicate"][: len(given)], NOTHING_TWICE
            acknowledged[key] = receipts[0].position
            duplicates.append(len(given) - 1)

    async def write() -> None:
        while not over.is_set():
            written.extend(await store.write(lambda tx: tx.journal.add([snapshot()])))

    async def disturb() -> None:
        for turn in range(10):
            before = len(acknowledged) + len(written)
            if turn == 5:
                await asyncio.to_thread(postgres.stop, "immediate")
                await asyncio.to_thread(postgres.start)
            elif turn % 4 == 3:
                await postgres.kill(postgres_database)
            else:
                await postgres.cut(postgres_database)
            while len(acknowledged) + len(written) < before + 100:
                await store.changed(await store.changed(0, 0), 1)
        over.set()

    duplicates: list[int] = []
    try:
        await asyncio.gather(*(append(n) for n in range(16)), write(), write(), disturb())
        found = await counts(store)
        assert found.events == len(acknowledged), NOTHING_TWICE
        assert found.duplicates == sum(duplicates), NOTHING_TWICE
        positions = sorted([*acknowledged.values(), *written])
        assert positions == list(range(1, found.last_position + 1)), (
            "no gap, and everybody's position is their own"
        )
        kept = await store.read(lambda tx: tx.journal.records(positions))
        assert sorted(kept) == positions
    finally:
        await store.close()
