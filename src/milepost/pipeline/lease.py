"""Leases: which of several hubs on one database does a piece of work, and that an earlier one can't go on with it.

`LeaseHolder` takes the lease of one piece of work, renews it a third into its length, and runs the work only while
it has it. A hub that stops lets go, so that the next one need not wait; one that dies is taken over from when its
lease has run out. While the database is away it renews again and again, and ends the work a margin before the lease
runs out by its own clock. That margin is for clocks that differ: by less than it, and no two hubs work at once.

Whatever the clocks say, what counts is the fence, a number that goes up whenever the lease changes hands. `Fenced`
is a store whose every write looks, in the same transaction, whether the fence is still the newest, and otherwise
changes nothing and raises `LeaseLost`. So a hub that hung or was paused, and wakes up believing that it leads,
commits nothing. Each time a holder begins to lead it does so under a new fence, so that a write of its own earlier
time that is still on its way is refused too.

Clock, waiting, owner and label come from outside. What the work is, `background` says; where leases are kept, the
store.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import structlog
from msgspec import Struct

from milepost.domain.errors import LeaseLost, StoreUnavailable
from milepost.domain.instant import Instant
from milepost.pipeline.waiting import Wait, waiting_by
from milepost.store import Arrival, Lease, Receipt, Store, Transaction

Work = Callable[[asyncio.Event], Awaitable[None]]
"""Runs until the event is set, then ends what is under way and returns."""

MARGIN = 5
"""The work ends a fifth of the lease before it runs out."""
PAUSE = 15
"""A renewal that failed is tried again after a fifteenth of the lease."""

T = TypeVar("T")
log = structlog.get_logger()


class Party(Struct, frozen=True):
    """Who takes leases: one process, whatever the work. `owner` is nobody else's, not even an earlier start's."""

    owner: str
    label: str
    """For people, without secrets: which program, on which host, with which pid."""
    lease: int
    """How long a lease lasts that isn't renewed, in milliseconds."""


class LeaseHolder:
    """One process and one piece of work. All of its methods belong to one event loop."""

    def __init__(
        self, store: Store, name: str, party: Party, clock: Callable[[], Instant], wait: Wait | None = None
    ) -> None:
        self.name = name
        self._store = store
        self._party = party
        self._clock = clock
        self._wait = wait or waiting_by(clock)
        self._lease: Lease | None = None
        self._seen: Lease | None = None
        self._users = 0
        self._refused = asyncio.Event()
        self._taking = asyncio.Lock()

    @property
    def fence(self) -> int | None:
        """The fence while this process leads, else None."""
        return None if self._lease is None else self._lease.fence

    @property
    def leader(self) -> str | None:
        """The label of whoever has the lease, as far as this process knows; None: nobody."""
        seen = self._lease or self._seen
        return seen.label if seen is not None and seen.until > self._clock() else None

    def refused(self, fence: int) -> None:
        """A write under this fence was refused: look at once who leads now."""
        if fence == self.fence:
            self._refused.set()

    async def run(self, work: Work, stop: asyncio.Event) -> None:
        """Do `work` whenever the lease is ours, until `stop` is set; then end it and let go of the lease.

        Raises what `work` raises, having let go. Cancelled, it ends the work and leaves the lease to run out.
        """
        while not stop.is_set():
            if await self._look():
                await self._lead(work, stop)
            else:
                await self._wait(self._next_look(), stop)

    @asynccontextmanager
    async def leading(self) -> AsyncIterator[None]:
        """For the length of a block: with the lease that this process has, or one that is taken, renewed and let
        go of again. Raises `LeaseLost`, which says whose it is."""
        if self._lease is None and not await self._take():
            raise self._lost()
        self._users += 1
        keeping = asyncio.create_task(self._keep())
        try:
            yield
        finally:
            await _ended(keeping)
            self._users -= 1
            await self._let_go()

    # ── Taking and leading ─────────────────────────────────────────────────────────────────────────────────

    async def _look(self) -> bool:
        """Take the lease if it is free; whether this process leads now. Reads only, while somebody else does."""
        try:
            if self._lease is None:
                self._seen = await self._store.read(self._stored)
                if self._seen is not None and self._is_anothers(self._seen):
                    return False
            return await self._take()
        except StoreUnavailable as e:
            log.warning("lease.store_unavailable", lease=self.name, error=e.detail)
            return False

    def _is_anothers(self, lease: Lease) -> bool:
        return lease.owner != self._party.owner and lease.until > self._clock()

    def _next_look(self) -> Instant:
        """When the lease runs out at the earliest, or after a third of one: it may be let go of before."""
        now = self._clock()
        soon = Instant(now + self._party.lease // 3)
        if self._seen is None or self._seen.until <= now:
            return soon
        return min(soon, self._seen.until)

    async def _take(self) -> bool:
        """Take the lease, or prolong it while this process leads; whether it leads now. One that changed hands
        meanwhile is lost, even when it is free again: something may have happened in between."""
        async with self._taking:
            party, before, now = self._party, self._lease, self._clock()
            until = Instant(now + party.lease)

            def take(tx: Transaction) -> Lease | None:
                stored = self._stored(tx)
                if before is not None:
                    if stored is None or (stored.owner, stored.fence) != (party.owner, before.fence):
                        return stored
                else:
                    # A fence of its own for each time that one leads.
                    tx.leases.give_up(self.name, party.owner)
                return tx.leases.take(self.name, party.owner, party.label, now, until) or stored

            self._seen = taken = await self._store.write(take)
            self._lease = None
            if taken is not None and taken.owner == party.owner and self._clock() < self._end_of(taken):
                # Another fence than before: it was somebody else's in between.
                self._lease = taken if before is None or taken.fence == before.fence else None
            if before is None and self._lease is not None:
                log.info("lease.taken", lease=self.name, fence=self._lease.fence)
            elif before is not None and self._lease is None:
                log.warning("lease.lost", lease=self.name, fence=before.fence, leader=self.leader)
            return self._lease is not None

    def _stored(self, tx: Transaction) -> Lease | None:
        return next((lease for lease in tx.leases.all() if lease.name == self.name), None)

    async def _lead(self, work: Work, stop: asyncio.Event) -> None:
        """Do the work until `stop`, until it ends, or until the lease is lost."""
        halt = asyncio.Event()
        self._users += 1
        working = asyncio.ensure_future(work(halt))
        keeping = asyncio.create_task(self._keep())
        stopping = asyncio.create_task(stop.wait())
        try:
            await _first(working, keeping, stopping)
            halt.set()
            if not keeping.done():
                # The work ends in its own time, and the lease is renewed meanwhile.
                await _first(working, keeping)
            await _ended(working)
            if keeping.done():
                keeping.result()
        except BaseException:
            # It dies, or cannot keep the lease: what it still has on its way is refused once somebody else leads.
            self._lease = None
            raise
        finally:
            await _ended(working, keeping, stopping)
            self._users -= 1
        await self._let_go()
        if not working.cancelled():
            failure = working.exception()
            if failure is not None and not isinstance(failure, LeaseLost):
                raise failure

    async def _keep(self) -> None:
        """Renew the lease in good time; returns when it is lost, or about to run out."""
        while (lease := self._lease) is not None:
            await self._wait(Instant(lease.until - 2 * self._party.lease // 3), self._refused)
            ended = asyncio.Event()
            renewing = asyncio.create_task(self._renew())
            renewing.add_done_callback(lambda _, ended=ended: ended.set())  # type: ignore[misc]
            try:
                await self._wait(self._end_of(self._lease or lease), ended)
                if not renewing.done():
                    log.warning("lease.run_out", lease=self.name, fence=lease.fence)
                    self._lease = None
            finally:
                await _ended(renewing)
            self._refused.clear()
            if not renewing.cancelled():
                renewing.result()

    def _end_of(self, lease: Lease) -> Instant:
        """When the work must have ended."""
        return Instant(lease.until - self._party.lease // MARGIN)

    async def _renew(self) -> None:
        never = asyncio.Event()
        while True:
            try:
                await self._take()
                return
            except StoreUnavailable as e:
                log.warning("lease.not_renewed", lease=self.name, error=e.detail)
                await self._wait(Instant(self._clock() + self._party.lease // PAUSE), never)

    async def _let_go(self) -> None:
        """Give the lease up, unless it is lost or somebody here still needs it."""
        if self._lease is None or self._users:
            return
        fence, self._lease, self._seen = self._lease.fence, None, None
        if self._refused.is_set():
            # The work ended for the refusal before anybody had looked whose the lease is now.
            self._refused.clear()
            log.warning("lease.lost", lease=self.name, fence=fence, leader=None)
            return
        try:
            await self._store.write(lambda tx: tx.leases.give_up(self.name, self._party.owner))
            log.info("lease.given_up", lease=self.name)
        except StoreUnavailable as e:
            log.warning("lease.not_given_up", lease=self.name, error=e.detail)

    def _lost(self) -> LeaseLost:
        whose = f"{self.leader} does it" if self.leader else "nobody does it now"
        return LeaseLost(f"this process does not lead the {self.name}: {whose}")


class Fenced:
    """`milepost.store.Store` for the work under a lease: writes only while that is held, and reads as ever."""

    def __init__(self, store: Store, holder: LeaseHolder) -> None:
        self._store = store
        self._holder = holder

    async def write(self, function: Callable[[Transaction], T]) -> T:
        """Run `function` in a write transaction that first looks whether the lease is still ours.

        Raises `LeaseLost`: then nothing was changed."""
        name, fence = self._holder.name, self._holder.fence
        if fence is None:
            raise LeaseLost(f"this process does not lead the {name}")

        def fenced(tx: Transaction) -> T:
            if not tx.leases.holds(name, fence):
                raise LeaseLost(f"another hub leads the {name} since")
            return function(tx)

        try:
            return await self._store.write(fenced)
        except LeaseLost:
            self._holder.refused(fence)
            raise

    async def append(self, arrivals: Sequence[Arrival]) -> list[Receipt]:
        """Journal arrivals, which every hub may do at any time."""
        return await self._store.append(arrivals)

    async def read(self, function: Callable[[Transaction], T]) -> T:
        """Run `function` on one consistent state of the database."""
        return await self._store.read(function)

    async def changed(self, position: int, timeout: float) -> int:
        """Wait until the journal's last position is above `position`, or `timeout` seconds."""
        return await self._store.changed(position, timeout)

    async def size(self) -> int:
        """What `compact` copies."""
        return await self._store.size()

    async def compact(self, again: bool = False) -> bool:
        """Harmless, whoever leads: it changes nothing that can be read."""
        return await self._store.compact(again)

    async def close(self) -> None:
        """Nothing: the store is closed by whoever opened it."""


async def _first(*tasks: asyncio.Future[Any]) -> None:
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)


async def _ended(*tasks: asyncio.Future[Any]) -> None:
    """Cancel what still runs and wait until it has ended; what it raised is for others to see."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
