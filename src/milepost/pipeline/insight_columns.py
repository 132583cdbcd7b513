"""A copy of the parcels' measures in memory, column by column: what Insights computes from.

It is read in pieces, beside everything else, when it is first needed, and kept up to date by revision when somebody
asks, at most once a second. Until all of it is there, or while orders of an older Milepost are still being measured,
an asker gets `Loading` and no number. Ids stay in the database: rows are found by their `number`.

Polars works in one thread of its own, one question at a time, so that the event loop goes on.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from typing import Any, Final, TypeVar

import polars as pl
from msgspec import Struct

from milepost.domain.business_calendar import BusinessCalendar
from milepost.domain.condition import Policy
from milepost.domain.errors import Overloaded
from milepost.domain.instant import Instant
from milepost.pipeline.insight_results import Loading
from milepost.pipeline.insight_terms import TIMED, worked
from milepost.store import Store, Transaction
from milepost.store.parcels import COLUMNS, ParcelState

PIECE = 20_000
"""Rows that are read at a time."""
PATIENCE_S = 0.5
"""How long an asker waits for the columns to be read before it is told how far that is."""
MOST_ASKED = 32
"""Questions that wait for the thread, or are in it; each may take a second."""

_HOUR_S: Final = 3_600
T = TypeVar("T")

_TEXTS: Final = frozenset({"business_product_id", "carrier", "origin", "destination", "delivery_state"})
_SMALL: Final = frozenset({"stage", "shipped_by", "delivered_by"})


def _type_of(name: str) -> Any:
    """What a column is kept as. Times are kept in seconds: those before 1970 and after 2106 are not measured."""
    if name in _TEXTS:
        return pl.Categorical
    if name in _SMALL:
        return pl.UInt8
    if name.endswith("_on") or name == "promised_from":
        return pl.Date
    return pl.Int32 if name == "order_days_late" else pl.UInt32


SCHEMA: Final[dict[str, Any]] = {"number": pl.Int64, **{name: _type_of(name) for name in COLUMNS}}


class _News(Struct):
    """What one read of the store found."""

    state: ParcelState
    rows: Sequence[Sequence[Any]]
    gone: list[tuple[int, int]]


class Columns:
    """The columns of every business product's parcels. `refresh_s`: how old they may be when somebody asks."""

    def __init__(
        self,
        store: Store,
        policy: Policy,
        *,
        refresh_s: float = 1.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._calendar = policy.calendar
        self._scan_due = partial(scans_due, policy)
        self._refresh_s = refresh_s
        self._monotonic = monotonic
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="milepost-insights")
        self._lock = asyncio.Lock()
        self._frame: pl.DataFrame | None = None
        self._loading: asyncio.Task[None] | None = None
        self._progress = Loading(0, 0)
        self._epoch = self._revision = self._since = 0
        self._fresh_until = 0.0
        self._asked = 0

    async def frame(self) -> pl.DataFrame | Loading:
        """All of them as they are now, or how far reading them is. Raises `StoreUnavailable`."""
        if self._frame is not None:
            await self._catch_up()
        if self._frame is None:
            if self._loading is None:
                self._loading = asyncio.create_task(self._load())
            loading = self._loading
            await asyncio.wait({loading}, timeout=PATIENCE_S)
            if not loading.done():
                return self._progress
            self._loading = None
            loading.result()
        return self._progress if self._frame is None else self._frame

    async def run(self, function: Callable[[pl.DataFrame], T]) -> T | Loading:
        """Compute something from the columns, in their thread. Raises `Overloaded` while too many wait for it."""
        frame = await self.frame()
        if isinstance(frame, Loading):
            return frame
        if self._asked >= MOST_ASKED:
            raise Overloaded("Too many ask for numbers at once; try again in a moment.")
        self._asked += 1
        try:
            return await self._in_thread(lambda: function(frame))
        finally:
            self._asked -= 1

    async def close(self) -> None:
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.gather(self._loading, return_exceptions=True)
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _frame_of(self, rows: Sequence[Sequence[Any]]) -> pl.DataFrame:
        """Rows of `Parcels.changed` as columns, and what is reckoned by the calendar: when each parcel should have
        been scanned, and the business time of what lengths are measured between."""
        listed: Sequence[Sequence[Any]] = list(zip(*rows, strict=True)) if rows else [()] * (len(SCHEMA) + 1)
        named = zip(("number", *COLUMNS), listed[1:], strict=True)
        frame = pl.DataFrame([_series(name, values, SCHEMA[name]) for name, values in named])
        return frame.with_columns(
            self._scan_due(frame),
            *(
                worked(self._calendar, frame[name].cast(pl.Int64)).cast(pl.UInt32).alias(f"worked_{name}")
                for name in TIMED
            ),
        )

    async def _in_thread(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, function)

    async def _load(self) -> None:
        """Read everything. Leaves no frame while orders are still to be measured."""
        state = await self._store.read(lambda tx: tx.parcels.state())
        if state.behind is not None:
            total = await self._store.read(lambda tx: tx.views.extent("order", None)[1])
            self._progress = Loading(state.behind, total)
            return
        self._progress = Loading(0, await self._store.read(lambda tx: tx.parcels.count()))
        pieces: list[pl.DataFrame] = []
        gone: list[int] = []
        # What went before now is in no piece.
        self._epoch, self._revision, self._since = state.epoch, 0, state.revision
        reached = False
        while not reached:
            news = await self._news()
            if self._is_cut_off(news.state):
                return
            gone += [number for _, number in news.gone]
            pieces.append(await self._in_thread(lambda rows=news.rows: self._frame_of(rows)))  # type: ignore[misc]
            reached = self._move_on(news)
            self._progress = Loading(self._progress.loaded + len(news.rows), self._progress.total)
        self._frame = await self._in_thread(lambda: _joined(pieces, gone))
        self._fresh_until = self._monotonic() + self._refresh_s

    async def _catch_up(self) -> None:
        async with self._lock:
            if self._monotonic() < self._fresh_until:
                return
            reached = False
            while self._frame is not None and not reached:
                news = await self._news()
                if self._is_cut_off(news.state) or news.state.behind is not None:
                    self._frame = None
                    return
                if news.rows or news.gone:
                    frame, gone = self._frame, [number for _, number in news.gone]
                    self._frame = await self._in_thread(
                        lambda frame=frame, rows=news.rows, gone=gone: _joined(
                            [frame, self._frame_of(rows)], gone
                        )  # type: ignore[misc]
                    )
                reached = self._move_on(news)
            self._fresh_until = self._monotonic() + self._refresh_s

    def _is_cut_off(self, state: ParcelState) -> bool:
        """Whether what is known of the rows cannot be followed any more: they were made anew, or what went of them is
        forgotten."""
        return state.epoch != self._epoch or state.floor > max(self._revision, self._since)

    async def _news(self) -> _News:
        after, since = self._revision, max(self._revision, self._since)

        def read(tx: Transaction) -> _News:
            return _News(tx.parcels.state(), tx.parcels.changed(after, PIECE), tx.parcels.gone(since, PIECE))

        return await self._store.read(read)

    def _move_on(self, news: _News) -> bool:
        """Go on behind what was read; whether that was all. What one list was cut off at, the other may be ahead of:
        its rows are read again then, which changes nothing."""
        ends = [
            listed[-1][0] if len(listed) == PIECE else news.state.revision
            for listed in (news.rows, news.gone)
        ]
        self._revision = min(ends)
        return self._revision == news.state.revision


def _series(name: str, values: Sequence[Any], kind: Any) -> pl.Series:
    if kind is pl.Categorical:
        return pl.Series(name, values, pl.String).cast(pl.Categorical)
    whole = pl.Series(name, values, pl.Int64)
    if name.endswith("_at"):
        whole = whole // 1_000
    if kind is pl.Date:
        return whole.cast(pl.Int32, strict=False).cast(pl.Date)
    return whole.cast(kind, strict=False)


def scans_due(policy: Policy, frame: pl.DataFrame) -> pl.Series:
    """`scan_due_at` of every row: by the limit of its carrier, where the settings give it one of its own."""
    usual = policy.never_scanned_business_days
    due = scan_due(policy.calendar, usual, frame["ship_event_at"])
    for code in policy.carriers:
        days = policy.for_carrier(code).never_scanned_business_days
        if days != usual:
            theirs = frame["carrier"].cast(pl.String) == code.upper()
            due = scan_due(policy.calendar, days, frame["ship_event_at"]).zip_with(theirs, due)
    return due.alias("scan_due_at")


def scan_due(calendar: BusinessCalendar, days: int, announced: pl.Series) -> pl.Series:
    """`scan_due_at`: so many business days after each ship event, by the very calendar that conditions go by. It is
    reckoned once an hour that occurs; from a day off the wait begins with the next business day."""
    hours = announced // _HOUR_S * _HOUR_S
    found = {hour: _due(calendar, days, hour) for hour in hours.unique().to_list() if hour is not None}
    table = pl.DataFrame(
        {
            "hour": pl.Series(list(found), dtype=pl.UInt32),
            "due": pl.Series([due for due, _ in found.values()], dtype=pl.Int64),
            "moves": pl.Series([moves for _, moves in found.values()], dtype=pl.Int64),
        }
    )
    each = pl.DataFrame({"hour": hours, "rest": (announced - hours).cast(pl.Int64)})
    due = each.join(table, on="hour", how="left", maintain_order="left").select(
        (pl.col("due") + pl.col("rest") * pl.col("moves")).cast(pl.UInt32, strict=False)
    )
    return due.to_series().alias("scan_due_at")


@lru_cache(maxsize=100_000)
def _due(calendar: BusinessCalendar, days: int, hour: int) -> tuple[int, int]:
    """(when what began with this hour is due, 1 if what began later in it is due later, or 0)."""
    begins, later = Instant(hour * 1_000), Instant(hour * 1_000 + 1_000)
    due = calendar.after_business_days(begins, days) // 1_000
    return due, calendar.after_business_days(later, days) // 1_000 - due


def _joined(frames: Sequence[pl.DataFrame], gone: Sequence[int]) -> pl.DataFrame:
    """The newest state of every row, without those that went. What changed while it was read stands later."""
    newest = frames[-1]
    whole = pl.concat(frames[:-1]) if len(frames) > 1 else newest.clear()
    replaced = pl.concat([newest["number"], pl.Series("number", gone, pl.Int64)])
    if replaced.len():
        whole = whole.filter(~pl.col("number").is_in(replaced.implode()))
    kept = newest.filter(~pl.col("number").is_in(pl.Series("number", gone, pl.Int64).implode()))
    whole = pl.concat([whole, kept], rechunk=True)
    # One read has no row twice; several that are put together may.
    if len(frames) > 2 and whole["number"].n_unique() < whole.height:
        whole = whole.unique("number", keep="last", maintain_order=True)
    return whole
