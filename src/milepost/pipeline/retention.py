"""Retention: removes whole groups of closed orders that are past every horizon, and a rebuild still equals live.

It walks the journal like a consumer, behind a cutoff: a group is looked at when the walk meets the newest record of
one of its orders or trackers, so that nothing has to be searched for and a look costs what became old since the last
one. What was kept for a reason that no record announces the end of is met again on the next round from the start.

A removal is one transaction of a few dozen groups: everything of them goes (records, arrivals, index, flags, views
with their search terms, asks, messages with their attempts, bodies released from quarantine), or nothing; then a
pause, so that appends and folds go on. What was found in a read may have changed by then: the transaction stops
others from appending, looks at every record above what had been folded when it was found, and leaves out a group
that one of them is about. So no batch that is being folded can hold facts that are gone.

The journal's last record stays, whatever it is about, since SQLite gives the position behind the highest one there
is. A later event about a removed order begins it anew. The rule is `domain.retention`'s, what hangs together is
found by `groups`.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import aclosing

import structlog
from msgspec import Struct

from milepost.domain.condition import Policy
from milepost.domain.errors import Conflict, StoreUnavailable
from milepost.domain.instant import DAY, HOUR, Instant
from milepost.domain.retention import Horizon, Reason, check_retention, horizons
from milepost.pipeline.ageing import PAGE, Judge, Look, look_at, named_in
from milepost.pipeline.groups import Found
from milepost.pipeline.hydrator import NAME as HYDRATOR
from milepost.pipeline.positions import position_at
from milepost.pipeline.projector import NAME as PROJECTOR
from milepost.pipeline.removal import FRESH, commit, untouched
from milepost.store import Store, Transaction

NAME = "retention"
"""The checkpoint up to which the walk has come."""
ROUND, RUN = "retention.round", "retention.run"
"""Checkpoints that are instants: when this round of the walk began, and when the last look ended."""

BEHIND = 20_000
"""Records above what was folded; with more of them a removal waits until the projector is nearer."""
ROUND_MS = 7 * DAY
"""How often the walk begins again from the start."""
PAUSE_S = 0.1
"""Between two transactions, in seconds."""
LOOKED = 10_000
"""Records that one dry run, or one removal by hand, walks over at most."""

log = structlog.get_logger()


class Tally(Struct):
    """How much is, or was, removed."""

    orders: int = 0
    deliveries: int = 0
    trackers: int = 0
    records: int = 0

    def add(self, found: Found) -> None:
        kinds = Counter(view.kind for view in found.views)
        self.orders += kinds["order"]
        self.deliveries += kinds["delivery"]
        self.trackers += kinds["tracker"]
        self.records += len(found.records)


class Plan(Struct):
    """A dry run: what would be removed, and what is kept for which reason."""

    removable: Tally
    oldest: Instant | None
    """When the last thing about the oldest of them came."""
    kept: dict[Reason, int]
    """Groups that are old enough and stay, by reason."""
    next: int | None
    """Where to go on, when there was more to look at; None at the end."""


class Removal(Struct):
    """What one call removed."""

    removed: Tally
    next: int | None


class Retention:
    """See the module. `days` is how long closed orders are kept, 0 for ever; `consumers` are those that must be past
    a record before it may go; `probe` is told of the moment between two transactions.

    Raises `Misconfigured` when closed orders would be removed too early.
    """

    def __init__(
        self,
        store: Store,
        policy: Policy,
        clock: Callable[[], Instant],
        days: int,
        *,
        consumers: Collection[str] = (PROJECTOR, HYDRATOR),
        interval_ms: int = HOUR,
        pause_s: float = PAUSE_S,
        probe: Callable[[str], None] = lambda point: None,
    ) -> None:
        check_retention(days, policy)
        self.days = days
        self._store = store
        self._policy = policy
        self._clock = clock
        self._consumers = tuple(consumers)
        self._interval_ms = interval_ms
        self._pause_s = pause_s
        self._probe = probe

    @property
    def horizons(self) -> tuple[Horizon, ...]:
        """What `days` is held against, the longest first."""
        return horizons(self._policy)

    async def last_run(self) -> Instant | None:
        """When a look of any hub on this database last ended; None before the first."""
        return Instant(await self._store.read(lambda tx: tx.journal.checkpoint(RUN))) or None

    async def run(self, stop: asyncio.Event) -> None:
        """Look every `interval_ms` until `stop` is set. A database that is away is tried again next time."""
        while self.days and not stop.is_set():
            try:
                await self.look(stop)
            except StoreUnavailable as e:
                log.warning("retention.postponed", error=e.detail)
            await _rest(stop, self._interval_ms / 1000)
        await stop.wait()

    async def look(self, stop: asyncio.Event | None = None) -> Tally:
        """Go on from where the walk is, up to what has become old enough, and remove what may go. Raises
        `StoreUnavailable`; what was committed before stands."""
        stop = stop or asyncio.Event()
        now = self._clock()
        after = await self._store.write(lambda tx: _begin_round(tx, now))
        removed, last = Tally(), after
        async with aclosing(self._walk(after, self.days, stop)) as walk:
            async for look in walk:
                if not await self._remove(look, removed, look.reached):
                    break
                last = look.reached
                await _rest(stop, self._pause_s)
        await self._store.write(lambda tx: tx.journal.set_checkpoint(RUN, now))
        if removed.records:
            log.info("retention.removed", orders=removed.orders, records=removed.records, position=last)
        return removed

    async def remove(self, after: int = 0, most: int = LOOKED) -> Removal:
        """Remove what may go now, from a position on: for a person who doesn't want to wait. `next` is where to go
        on when `most` records were looked at. The walk of `look` stays where it is. Raises `Conflict` while the
        projector is far behind; what was removed before is."""
        removed, looked = Tally(), 0
        async with aclosing(self._walk(after, self.days, asyncio.Event())) as walk:
            async for look in walk:
                looked += look.looked
                if not await self._remove(look, removed, None):
                    raise Conflict("The projector is far behind: nothing more is removed until it is nearer.")
                if look.end:
                    return Removal(removed, None)
                if looked >= most:
                    return Removal(removed, look.reached)
                await asyncio.sleep(self._pause_s)
        return Removal(removed, None)

    async def plan(self, days: int | None = None, after: int = 0, most: int = LOOKED) -> Plan:
        """What would be removed if closed orders were kept for `days` (None: as it is set), from a position on;
        changes nothing. Raises `Misconfigured` when that is too early."""
        days = self.days if days is None else days
        check_retention(days, self._policy)
        found = Plan(Tally(), None, {}, None)
        if not days:
            return found
        looked = 0
        async with aclosing(self._walk(after, days, asyncio.Event())) as walk:
            async for look in walk:
                looked += look.looked
                _count(found, look)
                if look.end:
                    break
                if looked >= most:
                    found.next = look.reached
                    break
        return found

    async def _walk(self, after: int, days: int, stop: asyncio.Event) -> AsyncGenerator[Look]:
        if not days:
            return
        now = self._clock()
        named: set[str] = set()
        entry = 0
        upto = await self._store.read(lambda tx: position_at(tx, Instant(now - days * DAY)))
        while after < upto and not stop.is_set():
            entry = await self._read_quarantine(entry, named)
            judge = Judge(now, days, self._policy, self._consumers, named)
            look = await self._store.read(lambda tx, at=after, judge=judge: look_at(tx, at, upto, judge))  # type: ignore[misc]
            yield look
            after = look.reached

    async def _read_quarantine(self, after: int, named: set[str]) -> int:
        """Add the orders and trackers that bodies in quarantine name, as subjects, as far as that can be told;
        returns the entry it came to."""
        while True:
            entries = await self._store.read(
                lambda tx, after=after: tx.journal.quarantined(after, PAGE, None, released=False)  # type: ignore[misc]
            )
            for entry in entries:
                named.update(named_in(entry.body))
                after = entry.id
            if len(entries) < PAGE:
                return after

    async def _remove(self, look: Look, removed: Tally, reached: int | None) -> bool:
        """Remove what a look found; False when that must wait, since the projector is far behind."""
        ready, seen = look.ready, look.projected
        while ready:
            # Most of what is new is looked at before others are kept from appending.
            fresh = await self._store.read(lambda tx, seen=seen: tx.journal.after(seen, FRESH))  # type: ignore[misc]
            ready = untouched(ready, fresh)
            if len(fresh) < FRESH:
                break
            seen = fresh[-1].position
            if seen - look.projected > BEHIND:
                log.info("retention.waits", reason="the projector is behind")
                return False
        if not ready and reached is None:
            return True
        gone = await self._store.write(lambda tx: _write(tx, ready, seen, reached))
        if gone is None:
            return False
        for found in gone:
            removed.add(found)
        self._probe("mid-retention")
        return True


def _count(plan: Plan, look: Look) -> None:
    """Add a look to a plan. A group is met once for each of its orders and trackers: it counts the last time."""
    for found in look.ready:
        if found.newest in look.newest:
            plan.removable.add(found)
            plan.oldest = min(plan.oldest or found.group.last_at, found.group.last_at)
    for kept, reason in look.kept:
        if reason != "recent" and (kept is None or kept.newest in look.newest):
            plan.kept[reason] = plan.kept.get(reason, 0) + 1


def _begin_round(tx: Transaction, now: Instant) -> int:
    """Where the walk goes on; at the start when it is time for another round."""
    if now - tx.journal.checkpoint(ROUND) < ROUND_MS:
        return tx.journal.checkpoint(NAME)
    tx.journal.set_checkpoint(ROUND, now)
    tx.journal.set_checkpoint(NAME, 0)
    return 0


def _write(tx: Transaction, ready: Sequence[Found], seen: int, reached: int | None) -> list[Found] | None:
    gone = commit(tx, ready, seen)
    if gone is not None and reached is not None:
        tx.journal.set_checkpoint(NAME, reached)
    return gone


async def _rest(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        pass
