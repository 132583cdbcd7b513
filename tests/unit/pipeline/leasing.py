"""What the tests of leases share: holders as several hubs have them, on one store, by clocks that tests step."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from milepost.domain.envelope import parse_event
from milepost.domain.errors import LeaseLost, StoreUnavailable
from milepost.domain.instant import SECOND, Instant, parse_instant
from milepost.domain.record import Record
from milepost.pipeline.consumer import Consumer, Effects
from milepost.pipeline.lease import Fenced, LeaseHolder, Party
from milepost.store import Arrival, Lease, Receipt, Store, Transaction

START = parse_instant("2025-01-20T12:00:00Z")
LEASE = 30 * SECOND
NAME = "projector"

T = TypeVar("T")


class Clock:
    """Stands until it is stepped. One that is stopped wakes nobody, as if the process were: see `Process.pause`."""

    def __init__(self, at: Instant = START) -> None:
        self.at = at
        self._stepped = asyncio.Event()

    def now(self) -> Instant:
        return self.at

    def step(self, milliseconds: int) -> None:
        self.at = Instant(self.at + milliseconds)
        self.wake()

    def wake(self) -> None:
        self._stepped.set()
        self._stepped = asyncio.Event()


class Watched:
    """The store as one process sees it: says how often it was used, and can be away."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.used = 0
        self.is_away = False
        self._using = asyncio.Event()

    async def append(self, arrivals: Sequence[Arrival]) -> list[Receipt]:
        return await self._store.append(arrivals)

    async def write(self, function: Callable[[Transaction], T]) -> T:
        return await self._use(self._store.write, function)

    async def read(self, function: Callable[[Transaction], T]) -> T:
        return await self._use(self._store.read, function)

    async def changed(self, position: int, timeout: float) -> int:
        return await self._store.changed(position, timeout)

    async def close(self) -> None: ...

    async def _use(
        self, how: Callable[[Callable[[Transaction], T]], Awaitable[T]], function: Callable[[Transaction], T]
    ) -> T:
        try:
            if self.is_away:
                raise StoreUnavailable("away")
            return await how(function)
        finally:
            self.used += 1
            self._using.set()

    async def used_again(self, times: int = 1) -> None:
        """Wait until it was used so many times more."""
        wanted = self.used + times
        async with asyncio.timeout(60):
            while self.used < wanted:
                self._using.clear()
                await self._using.wait()


class Process:
    """One hub's holder of the lease, with a consumer as its work. Its owner is its own."""

    def __init__(self, store: Store, clock: Clock, owner: str) -> None:
        self.owner = owner
        self.clock = clock
        self.store = Watched(store)
        self.holder = LeaseHolder(
            self.store, NAME, Party(owner, f"hub {owner}", LEASE), clock.now, self._wait
        )
        self.fenced = Fenced(self.store, self.holder)
        self.consumer = Consumer(self.fenced, NAME, self._prepare, clock.now, batch=3)
        self.gate = asyncio.Event()
        self.gate.set()
        self.preparing = asyncio.Event()
        self.stop = asyncio.Event()
        self.began = 0
        self.leads = asyncio.Event()
        self.stands_back = asyncio.Event()
        self.stands_back.set()
        self._running: asyncio.Task[None] | None = None
        self._is_paused = False
        self._resumed = asyncio.Event()

    # ── Living and dying ───────────────────────────────────────────────────────────────────────────────────

    def start(self) -> "Process":
        self._running = asyncio.create_task(self.holder.run(self._work, self.stop))
        return self

    async def die(self) -> None:
        """End as a killed process does: nothing is given up."""
        if self._running is not None:
            self._running.cancel()
            with suppress(asyncio.CancelledError):
                await self._running

    async def end(self) -> None:
        """Stop as told to."""
        self.stop.set()
        assert self._running is not None
        async with asyncio.timeout(60):
            await self._running

    def pause(self) -> None:
        """As SIGSTOP does: timers of this process don't fire."""
        self._is_paused = True

    def resume(self) -> None:
        self._is_paused = False
        self._resumed.set()
        self.clock.wake()

    async def _wait(self, until: Instant, signal: asyncio.Event) -> None:
        while not signal.is_set() and (self._is_paused or self.clock.at < until):
            waits = [asyncio.ensure_future(e.wait()) for e in (signal, self.clock._stepped)]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()

    # ── The work ───────────────────────────────────────────────────────────────────────────────────────────

    async def _work(self, halt: asyncio.Event) -> None:
        self.began += 1
        self.leads.set()
        self.stands_back.clear()
        try:
            await self.consumer.run(halt)
        finally:
            self.leads.clear()
            self.stands_back.set()

    async def _prepare(self, records: Sequence[Record]) -> Effects:
        self.preparing.set()
        await self.gate.wait()
        positions = [record.position for record in records]

        def effects(tx: Transaction) -> None:
            for position in positions:
                name = folds_of(position)
                tx.journal.set_checkpoint(name, tx.journal.checkpoint(name) + 1)

        return effects

    async def step(self) -> bool:
        """One batch, now; whether it was not refused."""
        try:
            await self.consumer.step()
        except LeaseLost:
            return False
        return True


def folds_of(position: int) -> str:
    """Where it is counted how often a record's effects were committed."""
    return f"folds-{position}"


async def journal(store: Store, first: int, count: int) -> None:
    """Append events numbered from `first`."""
    arrivals = []
    for n in range(first, first + count):
        body = (
            f'{{"idempotencyKey":"k{n}","eventDescriptor":"PACKAGE_DELIVERED","eventId":"e{n}","resources":'
            f'["businessProduct/bp/order/o{n}/delivery/d{n}"],"eventTime":"2025-01-20T12:34:56Z"}}'
        ).encode()
        arrivals.append(Arrival(parse_event(body), body, START, "webhook"))
    await store.append(arrivals)


def count_folds(tx: Transaction) -> Counter[int]:
    """How often each record's effects were committed, by position."""
    last = tx.journal.last_position()
    return Counter({p: n for p in range(1, last + 1) if (n := tx.journal.checkpoint(folds_of(p)))})


async def folds(store: Store) -> Counter[int]:
    return await store.read(count_folds)


async def folded(store: Store, position: int) -> None:
    """Wait until the checkpoint is there."""
    async with asyncio.timeout(60):
        while await store.read(lambda tx: tx.journal.checkpoint(NAME)) < position:
            # A read takes a turn of the loop and of a thread; nothing tells of a checkpoint.
            continue


async def stored(store: Store) -> Lease:
    (lease,) = await store.read(lambda tx: tx.leases.all())
    return lease


async def knows(process: Process, leader: str) -> None:
    """Wait until a process has seen who leads."""
    async with asyncio.timeout(60):
        while process.holder.leader != leader:
            await process.store.used_again()


async def happens(event: asyncio.Event) -> None:
    async with asyncio.timeout(60):
        await event.wait()
