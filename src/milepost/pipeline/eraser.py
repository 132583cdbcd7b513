"""The eraser: takes the personal data of erased orders out of the journal and everything beside it, for good.

One hub does it at a time. Each erasure goes from state to state (`domain.erasure`), one write each, and each step may
be done again: a hub that is killed goes on where it was.

- ASKED: once the projector has indexed what was there when it was asked for, the orders, and the trackers that are
  theirs alone, are marked. From then on nobody asks about them and folds see what will be left. Then their records'
  bodies are rewritten in place, and with them what quotes bodies: attempts, failed folds, quarantine, reasons that
  people gave for captures and notifications. Last an `erasure` record is journalled for each order.
- REDACTED: the projector folds the orders of these records anew; it tells nobody.
- REFOLDED: the database lets go of the bytes (`Store.compact`). While that is done nobody can write on SQLite, so a
  file that is larger than the settings allow waits until somebody asks for it (`COMPACT`).
- DONE.

What still comes about something erased is rewritten as soon as it is journalled: the journal is followed behind a
checkpoint, which is set back to what the projector has indexed whenever something is marked. Where nothing was ever
erased, a look is two reads of empty tables and one of Amazon's tasks. What Amazon says of those is heard here too.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

import structlog

from milepost.domain.erasure import (
    TASK,
    TASK_COMPLETED,
    TASK_FAILED,
    Erasure,
    TaskOutcome,
    heard,
    task_erasure_id,
)
from milepost.domain.errors import StoreUnavailable
from milepost.domain.instant import DAY, MINUTE, Instant
from milepost.domain.record import Record, order_subject
from milepost.pipeline.erased import NAME, about_erased
from milepost.pipeline.projector import NAME as PROJECTOR
from milepost.pipeline.redacting import (
    COMPACT,
    LATE,
    erased_in_quarantine,
    finish,
    finish_redacting,
    follow,
    follow_quarantine,
    mark,
    mark_trackers,
    naming,
    needles_of,
    redact_ledgers,
    redact_records,
    rewrite_quarantined,
    settle,
)
from milepost.store import Store, Transaction

TASKS: Final = "eraser.tasks"
"""The checkpoint up to which Amazon's tasks were heard of."""

LOOK_S = 5.0
"""How soon an erasure that another process asked for is noticed at the latest, in seconds."""
FOLLOW_S = 1.0
"""How often the journal is looked at once anything was erased, in seconds."""
PAUSE_S = 0.2
"""Between two looks of which the first found something, in seconds."""
BATCH = 1_000
"""Records that one look follows."""
AT_ONCE = 20
"""Erasures under way together."""
WINDOW = 50_000
"""Records that one look searches for events about tasks."""
_TRIES = 5
"""How often a look tries to cut the log, a second apart: a try keeps writers waiting for a quarter of one, and a
backup may read for minutes."""
LATE_MS = DAY
"""How long bytes may stay of what came after an erasure."""
AGAIN_MS = 10 * MINUTE
"""When a copy that could not be made (a full disk) is tried again, unless somebody asks for it: nobody can write
while it is tried."""

log = structlog.get_logger()


class Eraser:
    """See the module. `largest` is how many bytes of a database are written anew without asking; `probe` is told of
    the moments between two writes."""

    def __init__(
        self,
        store: Store,
        clock: Callable[[], Instant],
        *,
        largest: int,
        probe: Callable[[str], None] = lambda point: None,
    ) -> None:
        self._store = store
        self._clock = clock
        self.largest = largest
        self._probe = probe
        self._wake = asyncio.Event()
        self._waits = self._follows = False
        self._copying: tuple[frozenset[str], asyncio.Future[bool]] | None = None
        """The erasures for which the copy is made, or is being made."""
        self._failed_at = Instant(-AGAIN_MS)
        """When a copy could not be made."""

    def nudge(self) -> None:
        """Look now: something was asked for."""
        self._wake.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Erase what is asked for until `stop` is set. A database that is away is tried again."""
        ending = asyncio.ensure_future(self._wake_on(stop))
        try:
            while not stop.is_set():
                self._wake.clear()
                moved = False
                try:
                    moved = await self.look()
                except StoreUnavailable as e:
                    log.warning("eraser.postponed", error=e.detail)
                await self._rest(PAUSE_S if moved else FOLLOW_S if self._follows else LOOK_S)
        finally:
            ending.cancel()

    async def _wake_on(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._wake.set()

    async def _rest(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def look(self) -> bool:
        """Do everything that can be done now; whether there was anything. Raises `StoreUnavailable`."""
        moved = await self._hear()
        while True:
            folded = await self._store.read(lambda tx: tx.journal.checkpoint(PROJECTOR))
            followed = await self._follow()
            under_way = await self._store.read(lambda tx: tx.erasures.under_way(AT_ONCE))
            steps = [await self._step(erasure, folded) for erasure in under_way]
            refolded = await self._compact()
            moved = moved or followed or any(steps) or refolded
            if not (any(steps) or refolded):
                return moved

    # ── Amazon's tasks ─────────────────────────────────────────────────────────────────────────────────────

    async def _hear(self) -> bool:
        """What events say of tasks of Amazon's; whether any said something."""
        after, last, found = await self._store.read(_tasks)
        upto = found[-1].position if len(found) == AT_ONCE else min(last, after + WINDOW)
        if not found and upto - after < BATCH:
            return False

        def write(tx: Transaction) -> None:
            for record in found:
                _hear(tx, record)
            tx.journal.set_checkpoint(TASKS, upto)

        await self._store.write(write)
        return upto < last or bool(found)

    # ── What comes about something erased ──────────────────────────────────────────────────────────────────

    async def _follow(self) -> bool:
        """Rewrite what was journalled, or quarantined, about something erased; whether anything was."""
        self._follows = await self._store.read(lambda tx: tx.erasures.any_erased())
        if not self._follows:
            return False
        found, more = False, True
        while more:
            after, last, late = await self._store.read(_followed)
            if late or last > after:
                now = self._clock()
                await self._store.write(partial(follow, last=last, late=late, now=now))
            if late:
                self._copying = None  # a copy that was made, and waits for readers, has it
                self._probe("erasing-late")
            # Something late may have named a tracker for the first time, of which something came before.
            found, more = found or bool(late), bool(late) or last - after >= BATCH
        while more_quarantined := await self._quarantined():
            found = found or more_quarantined > 1
        return found

    async def _quarantined(self) -> int:
        """Look at a page of quarantine: 0 when there is nothing new, 2 when something was rewritten, else 1."""
        last, found = await self._store.read(erased_in_quarantine)
        if not last:
            return 0
        now = self._clock()
        await self._store.write(lambda tx: follow_quarantine(tx, last, found, now))
        return 2 if found else 1

    # ── An erasure ─────────────────────────────────────────────────────────────────────────────────────────

    async def _step(self, erasure: Erasure, folded: int) -> bool:
        """Take an erasure on by one state if it can be; `folded` is where the projector was before the journal was
        followed to its end."""
        if folded < erasure.position or erasure.state == "REFOLDED":
            return False
        if erasure.state == "ASKED":
            await self._redact(erasure)
        else:
            # What the projector journalled from what it had read before lies behind, and was followed.
            await self._store.write(lambda tx: settle(tx, erasure))
        log.info("erasure.moved", id=erasure.id, was=erasure.state)
        return True

    async def _redact(self, erasure: Erasure) -> None:
        now, product = self._clock(), erasure.business_product_id
        erasure = await self._store.write(lambda tx: mark(tx, erasure, now))
        self._probe("erasure-marked")
        await self._redact_quarantine(erasure)
        about: dict[str, set[str]] = {}
        for order in erasure.orders:
            named = about[order] = {order_subject(order)}
            await self._redact_subject(product, order_subject(order), named)
            trackers = sorted(name for name in named if name.startswith("tracker/"))
            mine = await self._store.write(
                partial(mark_trackers, product=product, trackers=trackers, now=now)
            )
            for tracker in mine:
                await self._redact_subject(product, tracker, named)
            await self._store.write(partial(redact_ledgers, product=product, order=order, trackers=mine))
        self._probe("erasure-ledgers")
        await self._follow()
        self._probe("erasure-followed")
        await self._store.write(lambda tx: finish_redacting(tx, erasure, about, now))
        self._probe("erasure-redacted")

    async def _redact_subject(self, product: str, subject: str, named: set[str]) -> None:
        """Rewrite everything that is indexed about a subject; `named` are the orders and trackers in it."""
        after: int | None = 0
        while after is not None:
            after, found = await self._store.write(
                partial(redact_records, key=(product, subject), after=after)
            )
            named |= found
            self._probe("erasure-redacting")

    async def _redact_quarantine(self, erasure: Erasure) -> None:
        product = erasure.business_product_id
        needles = await self._store.read(lambda tx: needles_of(tx, erasure))
        after: int | None = 0
        while after is not None:
            after, found = await self._store.read(
                partial(naming, product=product, needles=needles, after=after)
            )
            if found:
                await self._store.write(partial(rewrite_quarantined, entries=found))

    # ── Bytes ──────────────────────────────────────────────────────────────────────────────────────────────

    async def _compact(self) -> bool:
        """Let the database go of the bytes, when there are any to let go of; whether it did."""
        now = self._clock()
        due, wanted, asked = await self._store.read(lambda tx: _to_compact(tx, now))
        if not wanted:
            return False
        size = await self._store.size()
        if size > self.largest and not asked:
            if due and not self._waits:
                log.warning("erasure.waits_for_compaction", bytes=size, hint="milepost erase --compact")
            self._waits = bool(due)
            return False
        self._waits = False
        if now < self._failed_at + AGAIN_MS and asked <= self._failed_at:
            return False
        log.info("erasure.compacting", bytes=size)
        try:
            is_done = await self._compacted(frozenset(erasure.id for erasure in due))
        except StoreUnavailable as e:
            self._failed_at = self._clock()
            log.warning("erasure.not_compacted", error=e.detail, again_in_s=AGAIN_MS // 1000)
            return False
        if not is_done:
            log.warning("erasure.waits_for_readers")
            return False
        self._probe("erasure-compacted")
        ended = self._clock()
        await self._store.write(lambda tx: finish(tx, due, ended))
        self._copying = None
        log.info("erasure.compacted", erasures=len(due))
        return True

    async def _compacted(self, ids: frozenset[str]) -> bool:
        """Compact for these erasures, and wait a while for those who still read what was there before. Once the copy
        is made that is in the log alone, so it is not made again: also not when this hub's leases ran out meanwhile,
        since it could not renew them, and the eraser was ended and begins anew."""
        if self._copying is None or not ids <= self._copying[0]:
            self._copying = ids, asyncio.ensure_future(self._store.compact())
        try:
            done = await asyncio.shield(self._copying[1])
        except Exception:
            self._copying = None
            raise
        for _ in range(_TRIES):
            if done:
                break
            await asyncio.sleep(FOLLOW_S)
            done = await self._store.compact(again=True)
        return done


def _tasks(tx: Transaction) -> tuple[int, int, list[Record]]:
    """Where it was heard up to, where the journal ends, and the next events about tasks."""
    after = tx.journal.checkpoint(TASKS)
    found = tx.erasures.events((TASK_COMPLETED, TASK_FAILED), (after, after + WINDOW), AT_ONCE)
    return after, tx.journal.last_position(), found


def _hear(tx: Transaction, record: Record) -> None:
    """Keep what an event says of a task."""
    product = record.business_product_id
    outcome: TaskOutcome = "COMPLETED" if record.type == TASK_COMPLETED else "FAILED"
    for resource in record.event().resources:
        if (task := resource.get(TASK)) is not None:
            known = tx.erasures.get(task_erasure_id(product, task))
            event = (record.position, record.published_at)
            tx.erasures.put(heard(known, (product, task), outcome, event))
            log.info("erasure.task", outcome=outcome, position=record.position, known=known is not None)


def _followed(tx: Transaction) -> tuple[int, int, list[Record]]:
    """Where the journal was followed up to, where it was read up to, and what of that is about something erased."""
    after = tx.journal.checkpoint(NAME)
    records = tx.journal.after(after, BATCH)
    last = records[-1].position if records else after
    return after, last, list(about_erased(tx, records).values())


def _to_compact(tx: Transaction, now: Instant) -> tuple[list[Erasure], bool, int]:
    """The erasures whose bytes are to be let go of, whether there is anything to let go of, and when somebody asked
    for it (0: nobody does)."""
    due = [erasure for erasure in tx.erasures.under_way(AT_ONCE) if erasure.state == "REFOLDED"]
    late, asked = tx.journal.checkpoint(LATE), tx.journal.checkpoint(COMPACT)
    return due, bool(due or asked) or 0 < late <= now - LATE_MS, asked
