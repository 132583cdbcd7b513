"""Loading a history into a hub's database: journalled and folded in bulk, by the store and the projector that serve.

Chunk after chunk (`histories`) is journalled, an event before the answer it led to, and then folded in one batch: so
each order is folded once, and not again for each of its events. What the hub's other parts would have done by then is
said to be done: nothing is left to ask, and there was nobody to tell. The world's time stands still at the history's
end, so the same history always makes the same rows.

How far it is stands in the database, committed with what was journalled: a load that was interrupted goes on. It
makes the chunk it was in again and passes over what is there. Beside it nobody else may use the database.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from msgspec import Struct

from milepost.domain.condition import Policy
from milepost.domain.envelope import parse_event
from milepost.domain.errors import Conflict
from milepost.domain.instant import MINUTE, Instant
from milepost.pipeline import hydrator, inquiry, projector, publishing
from milepost.pipeline.consumer import Consumer, Prepare
from milepost.pipeline.sweeper import Sweeper
from milepost.sandbox.histories import Heard, History, rounds
from milepost.sandbox.world import business_product_of
from milepost.store import Arrival, NewRecord, Store, Transaction

Handler = Callable[[Callable[[], Instant]], Prepare]
"""The projector's handler, given the clock it goes by."""

WAYS = ("webhook", "eventbridge")
"""The road that events come by, and the one by which a few come again."""
_ROUNDS = 10_000
"""More than a chunk has rounds: chunk and round are kept as one number."""
_BATCH = 1_000_000
_PAGE = 2_000
_DONE = 1 << 52


class Loaded(Struct, frozen=True):
    """How far a load is."""

    chunks: int
    of: int
    journalled: int
    """Records that this process journalled."""
    folded: int
    """Records that this process folded."""


class Loader:
    """One load. `handler` makes the projector's handler; `workers` processes make the chunks (0: this one does)."""

    def __init__(
        self, store: Store, history: History, handler: Handler, policy: Policy, *, workers: int = 1
    ) -> None:
        self._store = store
        self._history = history
        self._handler = handler
        self._policy = policy
        self._workers = workers
        self._journalled = self._folded = 0

    async def load(
        self, stop: asyncio.Event, progress: Callable[[Loaded], None] = lambda loaded: None
    ) -> bool:
        """Load what is not there yet; False when `stop` was set before the end. Raises `Conflict` for a database
        that holds anything else than this very history."""
        at = await self._store.write(self._begin)
        if at == _DONE:
            return True
        first = at // _ROUNDS
        progress(self._loaded(first))
        async for chunk, heard in self._made(first):
            if stop.is_set():
                return False
            skip = at % _ROUNDS if chunk == first else 0
            for number, each in enumerate(heard[skip:], skip):
                await self._journal(each, chunk * _ROUNDS + number + 1, again=number == skip)
            await self._fold(self._history.until)
            await self._store.write(lambda tx, to=chunk + 1: tx.journal.set_checkpoint(_AT, to * _ROUNDS))  # type: ignore[misc]
            progress(self._loaded(chunk + 1))
        await self._sweep()
        await self._store.write(_finish)
        return True

    def _loaded(self, chunks: int) -> Loaded:
        return Loaded(chunks, self._history.chunks, self._journalled, self._folded)

    def _begin(self, tx: Transaction) -> int:
        """Where to go on. What is loaded is written down before the first record."""
        wanted = {f"volume.{name}": value for name, value in _settings(self._history).items()}
        known = {name: tx.journal.checkpoint(name) for name in wanted}
        if known == wanted:
            return tx.journal.checkpoint(_AT)
        if any(known.values()):
            raise Conflict(
                "this database holds another history: "
                + ", ".join(f"{name.partition('.')[2]} {value}" for name, value in known.items())
            )
        if tx.journal.last_position():
            raise Conflict("this database holds records already; a history goes into a new one")
        for name, value in wanted.items():
            tx.journal.set_checkpoint(name, value)
        return 0

    async def _made(self, first: int) -> AsyncIterator[tuple[int, list[list[Heard]]]]:
        """The chunks from `first` on, made ahead of those who wait for them."""
        chunks = range(first, self._history.chunks)
        if self._workers == 0:
            for chunk in chunks:
                yield chunk, await asyncio.to_thread(rounds, self._history, chunk)
            return
        loop = asyncio.get_running_loop()
        pool = ProcessPoolExecutor(self._workers, mp_context=get_context("spawn"))
        ahead: deque[tuple[int, asyncio.Future[list[list[Heard]]]]] = deque()
        try:
            for chunk in chunks:
                ahead.append((chunk, loop.run_in_executor(pool, rounds, self._history, chunk)))
                if len(ahead) > 2 * self._workers:
                    number, made = ahead.popleft()
                    yield number, await made
            for number, made in ahead:
                yield number, await made
        finally:
            await asyncio.to_thread(pool.shutdown, cancel_futures=True)

    async def _journal(self, heard: Sequence[Heard], at: int, *, again: bool) -> None:
        """Journal events and then their answers; `again` says that a crash may have left the events there."""
        arrivals = [Arrival(parse_event(h.body), h.body, h.received_at, WAYS[0]) for h in heard]
        copies = [
            Arrival(arrival.event, h.body, h.copied_at, WAYS[1])
            for h, arrival in zip(heard, arrivals, strict=True)
            if h.copied_at is not None
        ]
        # All of them are one append, so all are there or none is.
        if not (again and await self._is_there(arrivals[0])):
            await self._store.append([*arrivals, *copies])
        product = business_product_of(self._history.seed)
        answers = [
            NewRecord("snapshot", product, a.query, a.at, a.at, inquiry.ROAD, a.body)
            for a in (h.answer for h in heard)
            if a is not None
        ]

        def add(tx: Transaction) -> None:
            tx.journal.add(answers)
            tx.journal.set_checkpoint(_AT, at)
            tx.journal.set_checkpoint(_END, tx.journal.last_position())

        await self._store.write(add)
        self._journalled += len(arrivals) + len(answers)

    async def _is_there(self, arrival: Arrival) -> bool:
        """Whether this event was journalled after what this load knows of."""

        def look(tx: Transaction) -> bool:
            after = tx.journal.checkpoint(_END)
            while records := tx.journal.after(after, _PAGE):
                if any(r.kind == "event" and r.body == arrival.body for r in records):
                    return True
                after = records[-1].position
            return False

        return await self._store.read(look)

    async def _fold(self, at: Instant) -> None:
        def clock() -> Instant:
            return at

        consumer = Consumer(self._store, projector.NAME, self._handler(clock), clock, batch=_BATCH)
        before = await self._store.read(lambda tx: tx.journal.checkpoint(projector.NAME))
        await consumer.catch_up()
        self._folded += consumer.position - before

    async def _sweep(self) -> None:
        """What time has made true by the end: a condition holds when it is seen twice, a minute apart."""
        times = iter((self._history.until, Instant(self._history.until + MINUTE)))
        now = [self._history.until]
        sweeper = Sweeper(self._store, self._policy, lambda: now[0])
        for at in times:
            now[0] = at
            await sweeper.sweep()
            await self._fold(at)


_AT, _END = "volume.at", "volume.end"


def _settings(history: History) -> dict[str, int]:
    """What a history is, as numbers that a checkpoint can hold; one is added to those that may be 0."""
    return {
        "seed": history.seed + 1,
        "deliveries": history.deliveries,
        "until": history.until,
        "days": history.days,
    }


def _finish(tx: Transaction) -> None:
    """Nothing of it is to be asked about or told any more."""
    last = tx.journal.last_position()
    for consumer in (hydrator.NAME, publishing.NAME):
        tx.journal.set_checkpoint(consumer, last)
    tx.journal.set_checkpoint(_AT, _DONE)
