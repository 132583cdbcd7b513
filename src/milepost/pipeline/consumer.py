"""The one loop behind the journal: a checkpointed consumer, whatever its handler does.

A consumer reads the records above its checkpoint in batches, lets its handler prepare what follows from them
(outside any transaction), and commits that together with the new checkpoint. So a crash anywhere means the
batch is prepared again, never that half of it is done. Projector, hydrator and publisher are this loop with
another handler; lag, stopping and poison are handled here, once.

A batch that its handler cannot prepare is prepared record by record; a record that fails alone is listed
(`Views.fail`) and passed: one poison event stops nothing.

Nothing is remembered from one batch to the next: each begins with the checkpoint that the store has, and commits
only if it is still there. So it does not matter who else consumed in between, in this process or in another.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import takewhile

import structlog

from milepost.domain.errors import LeaseLost, StoreUnavailable
from milepost.domain.instant import Instant
from milepost.domain.record import Record
from milepost.store import FailedFold, Store, Transaction

Effects = Callable[[Transaction], None]
"""What a handler wants committed with the checkpoint; may run again after a failed commit."""

Prepare = Callable[[Sequence[Record]], Awaitable[Effects]]

BATCH = 2_000
"""Most records of one step. Only a backlog makes batches that large; then it saves folding an order that is under
way again for every few of its records."""

WAIT_S = 5.0
"""The longest wait for a signal before the journal is looked at anyway, in seconds."""

log = structlog.get_logger()


class Consumer:
    """Follow the journal from a checkpoint under `name`, in batches of at most `batch` records.

    `until` stops at a position (a rebuild that is compared at one); `probe` is told of the moment between
    preparing and committing, so that a test can end the process there.
    """

    def __init__(
        self,
        store: Store,
        name: str,
        prepare: Prepare,
        clock: Callable[[], Instant],
        *,
        batch: int = BATCH,
        until: int | None = None,
        probe: Callable[[str], None] = lambda point: None,
    ) -> None:
        self.name = name
        self.position = 0
        """The checkpoint as this process last saw it."""
        self.last_error: str | None = None
        self._store = store
        self._prepare = prepare
        self._clock = clock
        self._batch = batch
        self._until = until
        self._probe = probe

    async def run(self, stop: asyncio.Event) -> None:
        """Consume until `stop` is set. A database that is away is waited for, with growing pauses."""
        pause_s = 0.1
        try:
            while not stop.is_set():
                try:
                    moved = await self.step()
                    if not moved:
                        await self._wait(stop)
                    pause_s = 0.1
                    self.last_error = None
                except StoreUnavailable as e:
                    self.last_error = e.detail
                    log.warning(
                        "consumer.store_unavailable", consumer=self.name, error=e.detail, pause_s=pause_s
                    )
                    await _pause(stop, pause_s)
                    pause_s = min(pause_s * 2, 5.0)
        finally:
            # Whatever it was, it is no longer this consumer's trouble.
            self.last_error = None

    async def _wait(self, stop: asyncio.Event) -> None:
        """Until there is more to process or `stop` is set; a while at most."""
        waits = (
            asyncio.ensure_future(self._store.changed(self.position, WAIT_S)),
            asyncio.ensure_future(stop.wait()),
        )
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in done:
                wait.result()
        finally:
            for wait in waits:
                wait.cancel()

    async def step(self) -> int:
        """Process one batch; returns how many records it held (0: nothing above the checkpoint)."""
        at, records = await self._store.read(self._load)
        self.position = at
        if not records:
            return 0
        try:
            await self._process(at, records)
        except (StoreUnavailable, LeaseLost):
            raise
        except Exception:
            first, last = records[0].position, records[-1].position
            log.exception("consumer.batch_failed", consumer=self.name, first=first, last=last)
            for record in records:
                if not await self._process_alone(at, record):
                    break
                at = record.position
        return len(records)

    async def catch_up(self, progress: Callable[[int], None] = lambda position: None) -> None:
        """Process everything journalled so far (up to `until`); `progress` hears of each new checkpoint."""
        while await self.step():
            progress(self.position)

    def _load(self, tx: Transaction) -> tuple[int, list[Record]]:
        position = tx.journal.checkpoint(self.name)
        records = tx.journal.after(position, self._batch)
        if self._until is not None:
            records = [record for record in records if record.position <= self._until]
        return position, _alike(records)

    async def _process(self, at: int, records: Sequence[Record]) -> bool:
        effects = await self._prepare(records)
        self._probe(f"mid-{self.name}")
        return await self._commit(at, records[-1].position, effects)

    async def _commit(self, at: int, last: int, effects: Effects) -> bool:
        """Commit effects and checkpoint, unless somebody has moved that from `at`; whether they were committed."""

        def commit(tx: Transaction) -> bool:
            # Somebody who looked meanwhile (`settle`) is further, a rebuild is at the beginning again: what was
            # prepared here was made for another state.
            if tx.journal.checkpoint(self.name) != at:
                return False
            effects(tx)
            tx.journal.set_checkpoint(self.name, last)
            return True

        committed = await self._store.write(commit)
        if committed:
            self.position = last
        return committed

    async def _process_alone(self, at: int, record: Record) -> bool:
        try:
            return await self._process(at, [record])
        except (StoreUnavailable, LeaseLost):
            raise
        except Exception as e:
            log.exception("consumer.record_failed", consumer=self.name, position=record.position)
            failure = FailedFold(
                self.name,
                record.position,
                record.business_product_id,
                "",
                f"{type(e).__name__}: {e}",
                self._clock(),
            )

            return await self._commit(at, record.position, lambda tx: tx.views.fail([failure]))


def _alike(records: Sequence[Record]) -> list[Record]:
    """The first of these that are remaps, or that are none: what only a remap changed is nobody's news, and so is
    folded apart from what is."""
    return list(takewhile(lambda record: (record.kind == "remap") == (records[0].kind == "remap"), records))


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        pass
