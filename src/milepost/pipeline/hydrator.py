"""Hydration: asking the Buy with Prime API for what thin events leave out, and journalling its answers.

Two halves. `Hydrator.prepare` is a consumer's handler: it turns events into asks, one a target, so that a burst
about one order or tracker costs one query. `Hydrator.run` is the worker: it takes due asks, money first, under a
budget and a limit of concurrent queries, asks outside any transaction, and writes the answer and what became of
the ask in one. The rules (who is asked, what answers what, when again) are `domain.hydration`'s.

Everything that must survive is in the store: a hub killed in the middle of a query asks again. While the API
is down its asks wait; nothing else does. Of several hubs one does both halves; `retry` and `ask` come to any of them,
so the worker looks now and then whether an ask has come due that it was not told of. Clients are in `buywithprime`.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from random import Random

import structlog
from msgspec.structs import replace

from milepost.domain.errors import LeaseLost, NotFound, StoreUnavailable
from milepost.domain.event import BY_NAME
from milepost.domain.fact import EventFact, fact_of
from milepost.domain.hydration import VISIBLE, Want, is_known_already, wants
from milepost.domain.instant import HOUR, SECOND, Instant
from milepost.domain.record import Record
from milepost.pipeline.budget import Budget
from milepost.pipeline.circuit import Circuit
from milepost.pipeline.consumer import Effects
from milepost.pipeline.erased import erased_among
from milepost.pipeline.inquiry import ApiClient, Inquirer, Job, Key, LastError, Line, facts_about, waiting_of
from milepost.store import Ask, Store, Transaction

__all__ = ["NAME", "NO_CREDENTIALS", "ApiClient", "Hydrator", "LastError"]

NAME = "hydrator"
"""The consumer's name: whose checkpoint `prepare` moves."""
NO_CREDENTIALS = "no API credentials configured for this business product"
CONCURRENCY = 4

_UNCONFIGURED_RETRY = HOUR
_STORE_PAUSE = 5 * SECOND
_SHORTEST_REST = SECOND // 10
LOOK_S = 5.0
"""How soon what another hub wrote is noticed at the latest, in seconds."""
_PAGE = 500

log = structlog.get_logger()


class Hydrator:
    """See the module. `clients` are by business product; the one under "" serves those without one of their own.
    `retry` and `ask` write to `anybodys`: they are not the leading hub's alone. The budget and the pauses are this
    process's."""

    def __init__(
        self,
        store: Store,
        clients: Mapping[str, ApiClient],
        clock: Callable[[], Instant],
        *,
        queries_per_minute: int = 300,
        random: Random | None = None,
        concurrency: int = CONCURRENCY,
        anybodys: Store | None = None,
        probe: Callable[[str], None] = lambda point: None,
    ) -> None:
        self._store = store
        self._anybodys = anybodys or store
        self._clock = clock
        self._budget = Budget(queries_per_minute)
        random = random or Random()  # noqa: S311 - jitter, not a secret
        self._lines = {bp: Line(client, Circuit(random)) for bp, client in clients.items()}
        self._inquirer = Inquirer(store, clock, random, probe)
        self._concurrency = concurrency
        self._wake = asyncio.Event()
        self._asking: dict[Key, asyncio.Task[None]] = {}
        self._held_until = Instant(0)

    def counters(self) -> dict[str, int]:
        """Counts of this process: `hydration.queries.<outcome>`, and events `coalesced` (asked for by another's
        query), `answered`, settled as `noNewMilestone` or `gaveUp`."""
        return {f"hydration.{name}": count for name, count in sorted(self._inquirer.counts.items())}

    def budget(self) -> tuple[int, int]:
        """(queries that this process asked within the last minute, how many it may)."""
        return self._budget.use(self._clock())

    @property
    def last_error(self) -> LastError | None:
        """The newest failure of a query since this process started, for `doctor` and metrics."""
        return self._inquirer.last_error

    def nudge(self) -> None:
        """Look again at what is due (a stepped clock moved, an ask was reopened)."""
        self._wake.set()

    def can_ask(self, business_product_id: str) -> bool:
        """Whether there are credentials to ask about this business product."""
        return self._line(business_product_id) is not None

    # ── From events to asks ────────────────────────────────────────────────────────────────────────────────

    async def prepare(self, batch: Sequence[Record]) -> Effects:
        """The consumer's handler: what these records want asked, as asks to commit with the checkpoint."""
        found: list[tuple[EventFact, Want, Key]] = []
        for record in batch:
            known = BY_NAME.get(record.type)
            if record.kind not in ("event", "conflict") or known is None or not known.folded:
                continue
            fact = fact_of(record)
            assert isinstance(fact, EventFact)
            own = wants(fact, record.event().resources)
            found.extend((fact, want, (record.business_product_id, want.target)) for want in own)
        if not found:
            return lambda tx: None
        facts = await self._store.read(lambda tx: facts_about(tx, {key for _, _, key in found}))
        needs: dict[Key, list[tuple[EventFact, Want]]] = {}
        for fact, want, key in found:
            if not is_known_already(fact, want, facts[key]):
                needs.setdefault(key, []).append((fact, want))
        loop, clock = asyncio.get_running_loop(), self._clock

        def effects(tx: Transaction) -> None:
            open_asks = tx.work.get(list(needs))
            now = clock()
            tx.work.put([_extended(open_asks.get(key), key, new, now) for key, new in needs.items()])
            # Before the commit, and harmless: the worker takes asks in a write of its own, which runs after it.
            loop.call_soon_threadsafe(self._wake.set)

        return effects if needs else lambda tx: None

    async def retry(self, business_product_id: str, target: str) -> None:
        """Ask again now, whether the ask is open or was given up. Raises `NotFound` when there is none."""
        key, now = (business_product_id, target), self._clock()

        def reopen(tx: Transaction) -> None:
            ask = tx.work.get([key]).get(key)
            if ask is None:
                raise NotFound(f"nothing is waiting to be asked about {target}")
            tx.work.put([replace(ask, state="open", tries=0, unchanged=0, due_at=now)])

        await self._anybodys.write(reopen)
        self.nudge()

    async def ask(self, wanted: Mapping[Key, str]) -> int:
        """Ask about these orders and trackers (business product, subject) now, whether or not anything about them
        was asked before; the values are trackers' carrier codes as written. Returns about how many: not about what
        was erased."""
        now = self._clock()

        def put(tx: Transaction) -> int:
            keys = wanted.keys() - erased_among(tx, wanted.keys())
            known = tx.work.get(keys)
            asks = [
                replace(known[key], state="open", tries=0, unchanged=0, due_at=now)
                if key in known
                else Ask(*key, VISIBLE, now, 0, (), carrier_code=wanted[key])
                for key in sorted(keys)
            ]
            tx.work.put(asks)
            return len(asks)

        count = await self._anybodys.write(put)
        self.nudge()
        return count

    # ── The worker ─────────────────────────────────────────────────────────────────────────────────────────

    async def run(self, stop: asyncio.Event) -> None:
        """Ask what is due until `stop` is set. Queries under way are dropped then; they are asked again. What is
        due is read from the store each time, so it may run again after others did."""
        watcher = asyncio.ensure_future(self._wake_on(stop))
        revived = False
        try:
            while not stop.is_set():
                self._wake.clear()
                try:
                    if not revived:
                        await self._revive_unconfigured()
                        revived = True
                    await self._rest(await self._start_due())
                except StoreUnavailable as e:
                    await self._rest(self._hold(e.detail))
        finally:
            watcher.cancel()
            tasks = [watcher, *self._asking.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def drain(self) -> None:
        """Ask everything that is due now, and return when nothing more is (or the budget is spent)."""
        while True:
            await self._start_due()
            if not self._asking:
                return
            await asyncio.wait(list(self._asking.values()))

    async def _wake_on(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._wake.set()

    async def _rest(self, until: Instant | None) -> None:
        """Until then, until a signal, or until an ask is due that another hub reopened; looking for one is a read."""
        while True:
            left = LOOK_S if until is None else (until - self._clock()) / 1000
            try:
                async with asyncio.timeout(min(max(left, 0.0), LOOK_S)):
                    await self._wake.wait()
                return
            except TimeoutError:
                now = self._clock()
            if until is not None and now >= until:
                return
            if now >= self._held_until:
                due = await self._store.read(lambda tx: tx.work.next_due())
                if due is not None and due <= now:
                    return

    def _hold(self, error: str) -> Instant:
        """Answers can't be kept now: ask nothing for a while."""
        log.warning("hydration.held", error=error)
        self._held_until = Instant(self._clock() + _STORE_PAUSE)
        return self._held_until

    async def _start_due(self) -> Instant | None:
        """Start what is due, as far as room and budget go. Returns when to look again; None: at a signal."""
        now = self._clock()
        if now < self._held_until:
            return self._held_until
        if self._budget.room(now) <= 0:
            return self._budget.frees_at(now)
        room = min(self._concurrency - len(self._asking), self._budget.room(now))
        if room <= 0:
            return None
        asking = frozenset(self._asking)
        jobs, next_due = await self._store.write(lambda tx: self._take(tx, now, room, asking))
        self._budget.spend(now, len(jobs))
        for job in jobs:
            task = asyncio.ensure_future(self._ask(job))
            self._asking[job.key] = task
            task.add_done_callback(lambda _, key=job.key: self._asked(key))  # type: ignore[misc]
        if self._asking or next_due is None:
            return None
        return Instant(max(next_due, now + _SHORTEST_REST))

    async def _ask(self, job: Job) -> None:
        try:
            await self._inquirer.ask(job)
        except StoreUnavailable as e:
            self._hold(e.detail)
        except LeaseLost as e:
            log.warning("hydration.not_written", business_product=job.ask.business_product_id, error=e.detail)
        except Exception:
            log.exception("hydration.broken", business_product=job.ask.business_product_id)
            self._hold("what came of a query could not be written")

    def _asked(self, key: Key) -> None:
        self._asking.pop(key, None)
        self._wake.set()

    def _line(self, business_product_id: str) -> Line | None:
        return self._lines.get(business_product_id) or self._lines.get("")

    def _take(
        self, tx: Transaction, now: Instant, room: int, asking: frozenset[Key]
    ) -> tuple[list[Job], Instant | None]:
        """The due asks to start, and when the next is due. Those whose API is paused are put off to its end."""
        upto = tx.journal.last_position()
        chosen: dict[Key, tuple[Ask, Line]] = {}
        busy = {id(self._line(business_product_id)) for business_product_id, _ in asking}
        while True:
            limit = len(asking) + len(chosen) + _PAGE
            put_off: list[Ask] = []
            due = tx.work.due(now, limit)
            if gone := erased_among(tx, {(ask.business_product_id, ask.target) for ask in due}):
                tx.work.done(gone)
                continue
            for ask in due:
                key, line = (ask.business_product_id, ask.target), self._line(ask.business_product_id)
                if key in asking or key in chosen:
                    continue
                if line is None:
                    later = Instant(now + _UNCONFIGURED_RETRY)
                    put_off.append(replace(ask, due_at=later, error=NO_CREDENTIALS))
                elif now < line.circuit.until:
                    put_off.append(replace(ask, due_at=line.circuit.until))
                elif len(chosen) < room and not (line.circuit.failures and id(line) in busy):
                    busy.add(id(line))
                    chosen[key] = ask, line
            tx.work.put(put_off)
            if not put_off or len(due) < limit or len(chosen) == room:
                break
        records = tx.journal.records({p for ask, _ in chosen.values() for p in ask.waiting})
        jobs = [Job(ask, line, waiting_of(ask, records), upto) for ask, line in chosen.values()]
        return jobs, tx.work.next_due()

    async def _revive_unconfigured(self) -> None:
        """Asks put off for want of credentials are due again when a restart brought some."""
        after: Key | None = None
        while True:
            page = await self._store.read(lambda tx, after=after: tx.work.page(after, _PAGE, None, "open"))  # type: ignore[misc]
            mine = [a for a in page if a.error == NO_CREDENTIALS and self._line(a.business_product_id)]
            if mine:
                now = self._clock()
                due = [replace(ask, due_at=now, error="") for ask in mine]
                await self._store.write(lambda tx, due=due: tx.work.put(due))  # type: ignore[misc]
            if len(page) < _PAGE:
                return
            after = (page[-1].business_product_id, page[-1].target)


def _extended(ask: Ask | None, key: Key, new: Sequence[tuple[EventFact, Want]], now: Instant) -> Ask:
    """The ask of a target with these events added: due now, its schedule begun anew, so that each event gets
    all its tries."""
    priority = min(want.priority for _, want in new)
    carrier = new[0][1].carrier_code
    positions = {event.position for event, _ in new}
    if ask is None:
        return Ask(key[0], key[1], priority, now, 0, tuple(sorted(positions)), carrier_code=carrier)
    waiting = tuple(sorted(positions.union(ask.waiting)))
    priority = min(priority, ask.priority)
    return replace(ask, state="open", priority=priority, due_at=now, tries=0, unchanged=0, waiting=waiting)
