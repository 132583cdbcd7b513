"""Loading: a history in a hub's database, by the store and the projector that serve, whatever interrupts it."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest

from milepost import sql
from milepost.config import Config, policy_of
from milepost.domain.errors import Conflict
from milepost.domain.instant import Instant, parse_instant
from milepost.hub import projector_handler
from milepost.pipeline.consumer import Consumer
from milepost.pipeline.hydrator import NAME as HYDRATOR
from milepost.pipeline.hydrator import Hydrator
from milepost.pipeline.projector import NAME as PROJECTOR
from milepost.pipeline.rebuild import verify
from milepost.sandbox import histories
from milepost.sandbox.histories import History, lives
from milepost.sandbox.loading import Loaded, Loader
from milepost.store import Arrival, Receipt, Store, Transaction

T = TypeVar("T")

UNTIL = parse_instant("2026-06-01T00:00:00Z")
SMALL = History(seed=11, deliveries=220, until=UNTIL, days=40)
CONFIG = Config.load()


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a small history has several."""
    monkeypatch.setattr(histories, "CHUNK", 110)


def loader(store: Store, history: History = SMALL, workers: int = 0) -> Loader:
    return Loader(
        store,
        history,
        lambda clock: projector_handler(CONFIG, store, clock),
        policy_of(CONFIG),
        workers=workers,
    )


async def opened(url: str) -> Store:
    return await sql.open_store(url, clock=lambda: UNTIL, owner="test")


def everything(tx: Transaction) -> tuple[object, ...]:
    """All that a load makes: records, counts, views."""
    records, after = [], 0
    while page := tx.journal.after(after, 5_000):
        records += page
        after = page[-1].position
    arrivals = tx.journal.arrivals([record.position for record in records])
    return records, tx.journal.counts(PROJECTOR), tx.views.dump(), arrivals


async def test_a_load_is_whole_and_a_rebuild_of_it_equal(database_url: str) -> None:
    store = await opened(database_url)
    seen: list[Loaded] = []
    assert await loader(store).load(asyncio.Event(), seen.append)
    assert [each.chunks for each in seen] == [0, 1, 2]
    counts = await store.read(lambda tx: tx.journal.counts(PROJECTOR))
    truth = [life for chunk in range(SMALL.chunks) for life in lives(SMALL, chunk)]
    assert counts.events == sum(len(life.heard) for life in truth)
    copied = sum(each.copied_at is not None for life in truth for each in life.heard)
    assert counts.duplicates == copied > 0
    assert counts.pending == counts.failed_folds == counts.conflicts == 0
    handler = projector_handler(CONFIG, store, lambda: UNTIL)
    if database_url.startswith("sqlite"):
        assert await verify(store, handler, lambda: UNTIL) == []
    await store.close()


async def test_deliveries_stand_as_they_really_do_and_nothing_is_left_to_ask(tmp_path: Path) -> None:
    store = await opened(f"sqlite:///{tmp_path}/hub.db")
    await loader(store).load(asyncio.Event())
    truth = {
        parcel["id"]: parcel["state"]
        for chunk in range(SMALL.chunks)
        for life in lives(SMALL, chunk)
        for parcel in life.parcels
        # The hub believes the carrier there, and says that it contradicts the order system (D2).
        if life.heard and life.world.scenario != "cancelled-then-scanned"
    }

    def read(tx: Transaction) -> dict[str, str]:
        keys = [
            ("delivery", product, delivery)
            for delivery in truth
            for product in tx.journal.business_products()
        ]
        return {view.id: view.state for view in tx.views.get(keys).values()}  # type: ignore[arg-type]

    shown = await store.read(read)
    unseen = {parcel: state for parcel, state in truth.items() if parcel not in shown}
    assert set(unseen.values()) <= {"PENDING"}, "what was never asked about is what nothing happened to"
    differ = {parcel: (state, truth[parcel]) for parcel, state in shown.items() if state != truth[parcel]}
    assert differ == {}
    assert Counter(shown.values())["DELIVERED"] > 130
    # The hub's own hydrator, over all of it again, finds each event answered.
    await store.write(lambda tx: tx.journal.set_checkpoint(HYDRATOR, 0))
    hydrator = Hydrator(store, {}, lambda: UNTIL)
    await Consumer(store, HYDRATOR, hydrator.prepare, lambda: UNTIL).catch_up()
    asks = await store.read(lambda tx: tx.work.page(None, 500, None, "open"))
    assert [ask.target for ask in asks] == []
    await store.close()


class _Killed(Exception):
    pass


@pytest.mark.parametrize("at", [1, 2, 3, 30, 45, 46, 47, 48])
async def test_a_load_that_was_killed_goes_on_and_ends_the_same(
    tmp_path: Path, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(histories, "CHUNK", 15)
    history = History(seed=3, deliveries=40, until=UNTIL, days=20)
    whole = await opened(f"sqlite:///{tmp_path}/whole.db")
    assert await loader(whole, history).load(asyncio.Event())
    killed = await opened(f"sqlite:///{tmp_path}/killed.db")
    with pytest.raises(_Killed):
        await loader(_Failing(killed, at), history).load(asyncio.Event())  # type: ignore[arg-type]
    stop = asyncio.Event()
    stop.set()
    assert not await loader(killed, history).load(stop)
    assert await loader(killed, history).load(asyncio.Event())
    assert await loader(killed, history).load(asyncio.Event()), "again there is nothing to do"
    assert await killed.read(everything) == await whole.read(everything)
    await killed.close()
    await whole.close()


class _Failing:
    """A store whose `at`-th change is its last: committed, and nobody learns of it."""

    def __init__(self, store: Store, at: int) -> None:
        self._store = store
        self._left = at
        self.read = store.read

    async def append(self, arrivals: Sequence[Arrival]) -> list[Receipt]:
        return self._counted(await self._store.append(arrivals))

    async def write(self, function: Callable[[Transaction], T]) -> T:
        return self._counted(await self._store.write(function))

    def _counted(self, result: T) -> T:
        self._left -= 1
        if self._left == 0:
            raise _Killed
        return result


async def test_processes_that_make_the_chunks_make_the_same(tmp_path: Path) -> None:
    here, apart = await opened(f"sqlite:///{tmp_path}/a.db"), await opened(f"sqlite:///{tmp_path}/b.db")
    history = History(seed=5, deliveries=60, until=UNTIL, days=20)
    await loader(here, history).load(asyncio.Event())
    await loader(apart, history, workers=1).load(asyncio.Event())
    assert await apart.read(everything) == await here.read(everything)
    await here.close()
    await apart.close()


async def test_a_database_of_others_is_left_alone(tmp_path: Path) -> None:
    store = await opened(f"sqlite:///{tmp_path}/hub.db")
    history = History(seed=5, deliveries=10, until=UNTIL, days=20)
    await loader(store, history).load(asyncio.Event())
    other = msgspec.structs.replace(history, seed=6)
    with pytest.raises(Conflict, match="another history: seed 6"):
        await loader(store, other).load(asyncio.Event())
    later = msgspec.structs.replace(history, until=Instant(UNTIL + 1))
    with pytest.raises(Conflict, match="another history"):
        await loader(store, later).load(asyncio.Event())
    await store.close()
