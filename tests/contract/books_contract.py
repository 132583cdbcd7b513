"""The contract of the books: transactions as a whole or not at all, counts that always add up, and what a crash
leaves. Sequences are drawn at random and held against a model of the identity rule (design, flow 6)."""

import asyncio
from collections.abc import Coroutine
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.contract.harness import T0, Harness, arrival, counts
from tests.contract.journal_contract import snapshot

from milepost.domain.instant import Instant
from milepost.domain.record import canonical_data
from milepost.store import Arrival, Receipt, Store, Transaction, View

RESOURCES = ("businessProduct/bp-1/order/o-1/delivery/d-1", "businessProduct/bp-2/order/o-1/delivery/d-1")
IDS = st.tuples(st.sampled_from(["", "1", "2", "3"]), st.sampled_from(["", "1", "2", "3"])).filter(any)
ARRIVALS = st.builds(
    lambda ids, descriptor, resource, data, road: arrival(
        *ids, descriptor=descriptor, resources=[resource], data=data, road=road
    ),
    IDS,
    st.sampled_from(["PACKAGE_DELIVERED", "ITEM_DELIVERED", "ITEM_CANCELLED"]),
    st.sampled_from(RESOURCES),
    st.sampled_from([{}, {"a": 1}, {"a": 2}]),
    st.sampled_from(["webhook", "eventbridge"]),
)
STEPS = st.one_of(
    st.tuples(st.just("append"), st.lists(ARRIVALS, min_size=1, max_size=6)),
    st.tuples(st.just("quarantine"), ARRIVALS),
    st.tuples(st.just("release"), st.integers(0, 3)),
    st.tuples(st.just("add"), st.integers(1, 3)),
    st.tuples(st.just("checkpoint"), st.integers(0, 4)),
    st.tuples(st.just("fail"), ARRIVALS),
    st.tuples(st.just("reopen"), st.none()),
    st.tuples(st.just("crash"), st.none()),
)

_names = count()


class Broken(Exception):
    """What a write function of these tests raises."""


class Model:
    """The identity rule and the books, written down a second time in the plainest way."""

    def __init__(self) -> None:
        self.events: dict[int, Arrival] = {}
        self.arrivals: dict[int, int] = {}
        self.conflicting: set[tuple[int, bytes]] = set()
        self.duplicates = self.conflicts = self.own = self.checkpoint = 0
        self.quarantined: dict[int, Arrival] = {}
        self.released: dict[int, int] = {}

    @property
    def records(self) -> int:
        return len(self.events) + len(self.conflicting) + self.own

    def original(self, given: Arrival) -> int | None:
        return min((p for p, known in self.events.items() if _same(known, given)), default=None)

    def take(self, given: Arrival, receipt: Receipt) -> None:
        original = self.original(given)
        if original is None:
            assert receipt.status == "accepted"
            assert receipt.position > max(self.events, default=0)
            self.events[receipt.position] = given
            self.arrivals[receipt.position] = 1
            return
        data = canonical_data(given.event)
        conflict = data != canonical_data(self.events[original].event)
        assert receipt == Receipt("duplicate", original, conflict)
        self.arrivals[original] += 1
        self.duplicates += 1
        self.conflicts += conflict
        if conflict:
            self.conflicting.add((original, data))

    async def check(self, store: Store) -> None:
        found = await counts(store)
        assert (found.events, found.duplicates) == (len(self.events), self.duplicates)
        assert (found.conflicts, found.records) == (self.conflicts, self.records)
        assert found.quarantined == len(self.quarantined) - len(self.released)
        assert found.folded == min(self.checkpoint, found.last_position)
        rows = await store.read(lambda tx: tx.journal.arrivals(list(self.events)))
        assert {position: len(listed) for position, listed in rows.items()} == self.arrivals


def _same(known: Arrival, given: Arrival) -> bool:
    one, other = known.event, given.event
    if (one.type, set(one.resources)) != (other.type, set(other.resources)):
        return False
    by_key = one.idempotency_key != "" and one.idempotency_key == other.idempotency_key
    return by_key or (one.event_id != "" and one.event_id == other.event_id)


def drawn(examples: int) -> settings:
    """So many sequences of steps."""
    return settings(
        max_examples=examples,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
    )


class BooksContract:
    @drawn(40)
    @given(steps=st.lists(STEPS, min_size=1, max_size=14))
    def test_the_books_add_up_after_every_step(self, harness: Harness, steps: list[tuple[str, Any]]) -> None:
        asyncio.run(self.play(harness, f"books-{next(_names)}", steps))

    async def play(self, harness: Harness, name: str, steps: list[tuple[str, Any]]) -> None:
        model = Model()
        store = await harness.open(name)
        try:
            for step, argument in steps:
                if step == "reopen":
                    await store.close()
                    store = await harness.open(name)
                elif step == "crash":
                    left = await harness.crash(name)
                    try:
                        await model.check(left)
                    finally:
                        await left.close()
                else:
                    moves: dict[str, Any] = {
                        "append": _append,
                        "quarantine": _quarantine,
                        "release": _release,
                        "add": _add,
                        "checkpoint": _checkpoint,
                        "fail": _fail,
                    }
                    move: Coroutine[Any, Any, None] = moves[step](store, model, argument)
                    await move
                await model.check(store)
        finally:
            await store.close()

    async def test_a_write_is_whole_or_nothing(self, store: Store) -> None:
        await store.append([arrival()])
        view = View("order", "bp-1", "o-1", b"{}", "PENDING", terms=("o-1",))

        def write(tx: Transaction, fail: bool) -> None:
            tx.journal.add([snapshot()])
            tx.views.index({1: ("bp-1", ["order/o-1"])})
            tx.views.put([view])
            tx.journal.set_checkpoint("projector", 1)
            if fail:
                raise Broken

        with pytest.raises(Broken):
            await store.write(lambda tx: write(tx, True))
        assert await store.read(lambda tx: tx.views.dump()) == []
        assert await store.read(lambda tx: tx.journal.checkpoint("projector")) == 0
        assert (await counts(store)).records == 1
        await store.write(lambda tx: write(tx, False))
        found = await counts(store)
        assert (found.records, found.folded, found.last_position) == (2, 1, 2)
        assert await store.read(lambda tx: tx.views.get([("order", "bp-1", "o-1")])) != {}

    async def test_one_writers_exception_is_its_own(self, store: Store) -> None:
        def fail(tx: Transaction) -> None:
            raise Broken

        results = await asyncio.gather(
            store.append([arrival()]),
            store.write(fail),
            store.append([arrival("k-2", "e-2")]),
            store.write(lambda tx: tx.journal.add([snapshot()])),
            return_exceptions=True,
        )
        assert [isinstance(result, Broken) for result in results] == [False, True, False, False]
        assert (await counts(store)).records == 3

    async def test_writes_and_appends_do_not_starve_each_other(self, store: Store) -> None:
        """Both kinds keep coming; each kind's own stream ends only when the other was served, too."""
        served = {"append": 0, "write": 0}

        async def append(n: int) -> None:
            for i in range(10):
                await store.append([arrival(f"k-{n}-{i}", f"e-{n}-{i}")])
                served["append"] += 1

        async def write() -> None:
            for _ in range(10):
                await store.write(lambda tx: tx.journal.add([snapshot()]))
                served["write"] += 1

        await asyncio.gather(*(append(n) for n in range(8)), *(write() for _ in range(8)))
        assert served == {"append": 80, "write": 80}
        assert (await counts(store)).records == 160

    async def test_a_read_sees_one_state(self, store: Store) -> None:
        """What is committed while a read runs is not in it, from its first look to its last."""
        loop = asyncio.get_running_loop()

        def look(tx: Transaction) -> tuple[int, int]:
            before = tx.journal.last_position()
            asyncio.run_coroutine_threadsafe(store.append([arrival()]), loop).result(30)
            return before, tx.journal.last_position()

        assert await store.read(look) == (0, 0)
        assert await store.read(lambda tx: tx.journal.last_position()) == 1

    async def test_a_read_cannot_write(self, store: Store) -> None:
        with pytest.raises(Exception):  # noqa: B017, PT011 - each database has its own words for it
            await store.read(lambda tx: tx.journal.add([snapshot()]))
        assert (await counts(store)).records == 0


async def _append(store: Store, model: Model, given: list[Arrival]) -> None:
    for one, receipt in zip(given, await store.append(given), strict=True):
        model.take(one, receipt)


async def _quarantine(store: Store, model: Model, given: Arrival) -> None:
    kept = (given.body, "malformed_event", "reason", T0, given.road, ())
    entry = await store.write(lambda tx: tx.journal.quarantine(*kept))
    model.quarantined[entry] = given


async def _release(store: Store, model: Model, choice: int) -> None:
    if not model.quarantined:
        return
    entry = sorted(model.quarantined)[choice % len(model.quarantined)]
    given = model.quarantined[entry]
    receipt = await store.write(lambda tx: tx.journal.append_released(entry, given, Instant(T0 + 1)))
    if entry in model.released:
        assert receipt == Receipt("duplicate", model.released[entry])
    else:
        model.take(given, receipt)
        model.released[entry] = receipt.position


async def _add(store: Store, model: Model, how_many: int) -> None:
    positions = await store.write(lambda tx: tx.journal.add([snapshot()] * how_many))
    assert positions == sorted(set(positions))
    model.own += how_many


async def _checkpoint(store: Store, model: Model, back: int) -> None:
    last = await store.read(lambda tx: tx.journal.last_position())
    model.checkpoint = max(0, last - back)
    await store.write(lambda tx: tx.journal.set_checkpoint("projector", model.checkpoint))


async def _fail(store: Store, model: Model, given: Arrival) -> None:
    def write(tx: Transaction) -> None:
        entry = tx.journal.quarantine(given.body, "malformed_event", "reason", T0, "webhook", ("bp-1",))
        tx.journal.append_released(entry, given, T0)
        tx.journal.add([snapshot()])
        raise Broken

    with pytest.raises(Broken):
        await store.write(write)
