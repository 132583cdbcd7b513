"""A receiver on a queue of the fake AWS, a real store that can be held up or away, and pauses that a test sees."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Any, TypeVar

from tests.e2e.running import event
from tests.unit.transports.sqs_proxy import SqsProxy

from milepost.domain.errors import StoreUnavailable
from milepost.domain.instant import parse_instant
from milepost.pipeline.ingest import Ingest
from milepost.store import Arrival, Quarantined, Receipt, Store, Transaction
from milepost.transports.sqs import SqsReceiver

T = TypeVar("T")

NOW = parse_instant("2027-01-20T12:00:00Z")
BEAT_S, STOP_S = 10.0, 5.5
"""The two waits that a test ends; every other one is over at once."""
PRODUCT = "bp-1"


def document(n: int | str, product: str = PRODUCT) -> dict[str, Any]:
    """A webhook body of its own."""
    return event("PACKAGE_DELIVERED", f"businessProduct/{product}/order/o/delivery/d", str(n))


class HeldStore:
    """A store whose appends wait while `go` is not set, and fail while it is `away`."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.go = asyncio.Event()
        self.go.set()
        self.away = False
        self.appends = 0
        self.appending = 0
        self.most_at_once = 0
        self.changed_how_many = asyncio.Condition()

    async def append(self, arrivals: Sequence[Arrival]) -> list[Receipt]:
        self.appends += 1
        self.appending += len(arrivals)
        self.most_at_once = max(self.most_at_once, self.appending)
        try:
            async with self.changed_how_many:
                self.changed_how_many.notify_all()
            await self.go.wait()
            self._check()
            return await self.store.append(arrivals)
        finally:
            self.appending -= len(arrivals)

    async def write(self, function: Callable[[Transaction], T]) -> T:
        self._check()
        return await self.store.write(function)

    def _check(self) -> None:
        if self.away:
            raise StoreUnavailable("away for the test")

    async def held(self, count: int) -> None:
        """Return as soon as so many messages are on their way into the journal."""
        async with asyncio.timeout(60), self.changed_how_many:
            await self.changed_how_many.wait_for(lambda: self.appending >= count)


class Sleeps:
    """Stands for `asyncio.sleep`: pauses are over at once and kept in `taken`; the two long waits end when a test
    lets them."""

    def __init__(self) -> None:
        self.taken: list[float] = []
        self.waits = {BEAT_S: asyncio.Semaphore(0), STOP_S: asyncio.Semaphore(0)}
        self._changed = asyncio.Condition()

    async def __call__(self, seconds: float) -> None:
        if seconds in self.waits:
            await self.waits[seconds].acquire()
            return
        self.taken.append(seconds)
        async with self._changed:
            self._changed.notify_all()

    async def many(self, count: int) -> list[float]:
        """The pauses taken, as soon as there are so many."""
        async with asyncio.timeout(60), self._changed:
            await self._changed.wait_for(lambda: len(self.taken) >= count)
        return self.taken


class Road:
    """One receiver and what a test does with it."""

    def __init__(self, proxy: SqsProxy, store: Store, **settings: Any) -> None:
        self.proxy = proxy
        self.store = HeldStore(store)
        self.sleeps = Sleeps()
        self.random = Random(7)
        given: dict[str, Any] = {"pollers": 1, "wait_s": 0, "visibility_s": 30, "stop_s": STOP_S, **settings}
        self.ingest = Ingest(self.store, lambda: NOW)  # type: ignore[arg-type]
        self.receiver = SqsReceiver(
            proxy.url, self.ingest, clock=lambda: NOW, random=self.random, sleep=self.sleeps, **given
        )

    @property
    def counted(self) -> dict[str, int]:
        """The outcomes that are not 0."""
        outcomes = self.receiver.outcomes
        found = {name: getattr(outcomes, name) for name in outcomes.__struct_fields__}
        assert found["received"] == sum(list(found.values())[1:8]), found
        return {name: count for name, count in found.items() if count}

    async def drain(self) -> dict[str, int]:
        """Receive until nothing comes any more; the outcomes since the start."""
        async with asyncio.timeout(90):
            await self.receiver.run(asyncio.Event(), until_empty=True)
        return self.counted

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Event]:
        """The receiver in the background; what stops it."""
        stop = asyncio.Event()
        task = asyncio.create_task(self.receiver.run(stop))
        try:
            yield stop
        finally:
            stop.set()
            async with asyncio.timeout(30):
                await task

    async def keys(self) -> list[str]:
        """The idempotency keys in the journal, in order, without their prefix."""
        records = await self.store.store.read(lambda tx: tx.journal.after(0, 1_000))
        return [record.event().idempotency_key.removeprefix("key-") for record in records]

    async def quarantined(self) -> list[Quarantined]:
        return await self.store.store.read(lambda tx: tx.journal.quarantined(0, 1_000, None, None))
