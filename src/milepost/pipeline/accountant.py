"""The accountant: settles the provisional rows of the books that nothing contradicted for as long as is asked for.

Which rows are to be looked at, and when, stands with them (`Books.to_settle`): posted with the fold, put off while a
contradiction is open, taken back when they are reversed (`booking`). So a look costs what became due, and a hub that
starts again goes on where the last one stopped. A row is settled in one write that looks whether it still holds, so
nothing is settled twice, nor what was corrected in between.

What is journalled and not yet folded may contradict a row that is due: what was there when the accountant began, and
at each look what was there at the one before, is folded before anything is settled.
"""

import asyncio
from collections.abc import Callable, Sequence

import structlog

from milepost.domain.accounting import Entry
from milepost.domain.booking import rows_of, settled_rows
from milepost.domain.errors import StoreUnavailable
from milepost.domain.instant import MINUTE, Instant
from milepost.pipeline.booking import postings_of
from milepost.pipeline.projector import NAME as PROJECTOR
from milepost.store import Store, Transaction

NAME = "accountant"
"""The lease under which one hub settles."""
PAGE = 200
"""Rows settled in one transaction."""

log = structlog.get_logger()


class Accountant:
    """Settles what is due, for all business products. `probe` is told of the moment between two pages."""

    def __init__(
        self,
        store: Store,
        clock: Callable[[], Instant],
        *,
        interval_ms: int = MINUTE,
        probe: Callable[[str], None] = lambda point: None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._interval_ms = interval_ms
        self._probe = probe
        self._seen: int | None = None
        """The journal's end at the last look that did not have to wait."""

    async def run(self, stop: asyncio.Event) -> None:
        """Settle every `interval_ms` until `stop` is set. A database that is away is tried again next time.

        It begins anew each time it is run: somebody else may have done it in between."""
        self._seen = None
        while not stop.is_set():
            try:
                await self.settle()
            except StoreUnavailable as e:
                log.warning("accountant.postponed", error=e.detail)
            try:
                async with asyncio.timeout(self._interval_ms / 1000):
                    await stop.wait()
            except TimeoutError:
                continue

    async def settle(self) -> int:
        """Settle every row that is due; returns how many were. Raises `StoreUnavailable`; what was committed before
        stands, the rest stays due."""
        folded, last = await self._store.read(
            lambda tx: (tx.journal.checkpoint(PROJECTOR), tx.journal.last_position())
        )
        self._seen = seen = last if self._seen is None else self._seen
        if folded < seen:
            log.info("accountant.waits_for_projector", position=seen)
            return 0
        now, settled = self._clock(), 0
        # Most looks find nothing: those write nothing.
        while await self._store.read(lambda tx: _due(tx, now, seen, 1)):
            settled += await self._store.write(lambda tx: _settle(tx, _due(tx, now, seen, PAGE), now))
            self._probe("mid-accountant")
        self._seen = last
        if settled:
            log.info("books.settled", rows=settled)
        return settled


def _due(tx: Transaction, now: Instant, seen: int, limit: int) -> Sequence[Entry]:
    """The rows that are due; none, while what was `seen` is not folded: a rebuild may have begun meanwhile."""
    return tx.books.to_settle(now, limit) if tx.journal.checkpoint(PROJECTOR) >= seen else ()


def _settle(tx: Transaction, due: Sequence[Entry], now: Instant) -> int:
    booked = tx.books.of_orders({(entry.business_product_id, entry.order_id) for entry in due})
    postings = postings_of(tx, {entry.business_product_id for entry in due}, now)
    posted: list[Entry] = []
    for entry in due:
        of_order = booked[entry.business_product_id, entry.order_id]
        rows = rows_of(of_order, entry.delivery_id, entry.kind)
        posted += settled_rows(entry, rows, postings[entry.business_product_id])
    tx.books.post(posted)
    tx.books.look_again([(entry, None) for entry in due])
    return len(posted) // 2
