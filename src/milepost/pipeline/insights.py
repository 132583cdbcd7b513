"""Insights: numbers over many parcels (tracking.md 8), answered from an in-process copy of their columns.

`Insights` is what web and console ask. Each answer is a struct of `insight_results`, or `Loading` while the columns
are being read. Every question sees the business products of its filter and no others; `METRICS` names what can be
asked one by one. What each number is made of: `insight_rates`, `insight_lengths`, `insight_tables`.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Final, TypeVar

import polars as pl
from msgspec.structs import replace

from milepost.domain.condition import Policy
from milepost.domain.errors import Invalid, NotFound
from milepost.domain.instant import Instant
from milepost.pipeline import insight_tables as tables
from milepost.pipeline.insight_answers import LONGEST_S, Answers
from milepost.pipeline.insight_columns import Columns
from milepost.pipeline.insight_estimates import accuracy, milestones_a_tracker
from milepost.pipeline.insight_lengths import distribution, dwell, lengths
from milepost.pipeline.insight_rates import count, families
from milepost.pipeline.insight_results import (
    Figure,
    Filter,
    Loading,
    Overview,
    ParcelRow,
    Result,
    Rows,
    Share,
)
from milepost.pipeline.insight_rows import csv_lines, numbers, parcel_row, standings, which_rows
from milepost.pipeline.insight_service import notification_health, transport_lag
from milepost.pipeline.insight_terms import Terms, basis_of, lets_through
from milepost.store import Store

T = TypeVar("T")

MOST_ROWS = 500
"""Rows a page."""
_CSV_PIECE = 2_000

_RATES: Final = (
    "otd",
    "otif",
    "first-attempt",
    "exceptions",
    "never-scanned",
    "accountability",
    "false-delivered",
    "completeness",
)
_LENGTHS: Final = ("processing", "pickup", "transit", "door", "source-lag")
_TABLES: Final[dict[str, Callable[[Terms, pl.LazyFrame], Result]]] = {
    "promise": tables.by_promise,
    "stages": tables.by_stage,
    "dwell": dwell,
    "ageing": tables.ageing,
    "carriers": tables.carriers,
    "lanes": tables.lanes,
    "estimates": accuracy,
}
METRICS: Final = (*_RATES, *_LENGTHS, *_TABLES, "trend", "transport-lag", "notifications")
"""What `metric` answers."""


class Insights:
    """Questions over one store's parcels. `policy` has the calendar and after how many days a scan is missed;
    `refresh_s` is how old the columns may be; 0 also means that no answer is given twice."""

    def __init__(self, store: Store, policy: Policy, *, refresh_s: float = 1.0) -> None:
        self._store = store
        self._policy = policy
        self._columns = Columns(store, policy, refresh_s=refresh_s)
        self._answers = Answers(longest_s=LONGEST_S if refresh_s else 0.0)

    async def close(self) -> None:
        await self._columns.close()

    async def overview(self, filter: Filter, now: Instant) -> Overview | Loading:
        """Everything that the first page shows, from one state of the columns. What took long is given again for a
        few seconds (`insight_answers`)."""
        asked = ("overview", filter)
        return await self._answers.get(asked, now, lambda: self._ask(filter, now, partial(_overview, filter)))

    async def leading(
        self, names: tuple[str, ...], filter: Filter, now: Instant
    ) -> dict[str, Figure] | Loading:
        """The main figures of these rates, and how many estimates were right within a day for `estimates`; by their
        ids, from one pass over the columns. Given again as an overview is."""
        asked = ("leading", names, filter)
        return await self._answers.get(asked, now, lambda: self._ask(filter, now, partial(_leading, names)))

    async def metric(self, name: str, filter: Filter, now: Instant) -> Result | Loading:
        """One of METRICS. Raises `NotFound` for another name."""
        if name == "notifications":
            return await self.notifications(filter)
        if name == "transport-lag":
            return await self._store.read(lambda tx: transport_lag(tx, filter.business_products))
        if name not in METRICS:
            raise NotFound(f"There is no metric {name[:80]!r}.", metrics=list(METRICS))
        return await self._ask(filter, now, partial(_metric, name, filter))

    async def notifications(self, filter: Filter) -> Share:
        """What became of notifications, from the ledger: sent, suppressed by rule, bounced. Of all carriers, regions
        and dates: only the filter's business products hold."""
        return await self._store.read(lambda tx: notification_health(tx, filter.business_products))

    async def rows(
        self, which: str, filter: Filter, now: Instant, after: str | None = None, limit: int = 100
    ) -> Rows | Loading:
        """The parcels behind a number, by what its `rows` says. Raises `NotFound`, `Invalid` for `after`."""
        behind = _number_of(after)
        found = await self._page(which, filter, now, behind, max(1, min(limit, MOST_ROWS)))
        if isinstance(found, Loading):
            return found
        title, total, page, rows = found
        more = len(page) == max(1, min(limit, MOST_ROWS)) and bool(page)
        return Rows(which, title, total, tuple(rows), str(page[-1]) if more else None)

    async def csv(self, which: str, filter: Filter, now: Instant) -> AsyncIterator[bytes] | Loading:
        """The same rows, all of them, as CSV in pieces."""
        first = await self._page(which, filter, now, 0, _CSV_PIECE)
        if isinstance(first, Loading):
            return first
        return self._pieces(which, filter, now, first[2], first[3])

    async def _pieces(
        self, which: str, filter: Filter, now: Instant, page: Sequence[int], rows: Sequence[ParcelRow]
    ) -> AsyncIterator[bytes]:
        yield csv_lines(rows, head=True)
        while len(page) == _CSV_PIECE:
            found = await self._page(which, filter, now, page[-1], _CSV_PIECE)
            if isinstance(found, Loading):
                raise Invalid("The rows were made anew meanwhile: ask again.")
            _, _, page, rows = found
            yield csv_lines(rows, head=False)

    async def _page(
        self, which: str, filter: Filter, now: Instant, after: int, limit: int
    ) -> tuple[str, int, list[int], list[ParcelRow]] | Loading:
        """(title, total, numbers, rows)."""

        def look(
            terms: Terms, cohort: pl.LazyFrame, visible: pl.LazyFrame
        ) -> tuple[str, int, list[int], dict[int, str]]:
            title, condition = which_rows(which, terms)
            total, page = numbers(cohort, condition, after, limit)
            return title, total, page, standings(cohort, page, terms)

        found = await self._ask(filter, now, look)
        if isinstance(found, Loading):
            return found
        title, total, page, known_standings = found
        stored = await self._store.read(lambda tx: tx.parcels.get(page))
        rows = [parcel_row(stored[n], known_standings.get(n, "")) for n in page if n in stored]
        return title, total, page, rows

    async def _ask(
        self, filter: Filter, now: Instant, answer: Callable[[Terms, pl.LazyFrame, pl.LazyFrame], T]
    ) -> T | Loading:
        """Answer from the cohort of a filter, and from all that its business products have."""
        terms = Terms(now, self._policy.calendar, self._policy.never_scanned_business_days, filter.days)

        def compute(frame: pl.DataFrame) -> T:
            mine = lets_through(Filter(business_products=filter.business_products))
            visible = frame.lazy() if filter.business_products is None else frame.lazy().filter(mine)
            everything = filter == Filter(
                business_products=filter.business_products, basis=filter.basis, days=filter.days
            )
            cohort = visible if everything else frame.lazy().filter(lets_through(filter))
            return answer(terms, cohort, visible)

        return await self._columns.run(compute)


def _metric(name: str, filter: Filter, terms: Terms, cohort: pl.LazyFrame, visible: pl.LazyFrame) -> Result:
    if name in _RATES:
        return _rate(name, terms, cohort)
    if name in _LENGTHS:
        return distribution(lengths(terms)[name], cohort)
    if name == "trend":
        return tables.trend(terms, cohort, filter)
    return _TABLES[name](terms, cohort)


def _rate(name: str, terms: Terms, cohort: pl.LazyFrame) -> Share:
    family = families(terms)[name]
    share = family.share(count(cohort, family.rates()))
    return _with_scans(share, terms, cohort) if name == "completeness" else share


def _with_scans(completeness: Share, terms: Terms, cohort: pl.LazyFrame) -> Share:
    """Events may be complete and scans not: both belong to the same question."""
    return replace(completeness, parts=(*completeness.parts, milestones_a_tracker(terms, cohort)))


def _leading(
    names: Sequence[str], terms: Terms, cohort: pl.LazyFrame, visible: pl.LazyFrame
) -> dict[str, Figure]:
    every = families(terms)
    rates = [every[name].main for name in names if name in every]
    counted = count(cohort, rates)
    found = {rate.id: rate.figure(counted) for rate in rates}
    if "estimates" in names:
        right = accuracy(terms, cohort).within_a_day
        found[right.id] = right
    return found


def _overview(filter: Filter, terms: Terms, cohort: pl.LazyFrame, visible: pl.LazyFrame) -> Overview:
    terms, cohort = terms.over(cohort)
    every = families(terms)
    counted = count(cohort, [rate for family in every.values() for rate in family.rates()])
    shares = {name: family.share(counted) for name, family in every.items()}
    long = {name: distribution(length, cohort) for name, length in lengths(terms).items()}
    row = cohort.select(parcels=pl.len(), orders=terms.first_of_order.sum()).collect().row(0, named=True)
    undated = visible.select((~basis_of(filter).is_not_null()).sum()).collect().item()
    return Overview(
        parcels=row["parcels"],
        orders=row["orders"],
        undated=undated,
        moving=tables.by_stage(terms, cohort),
        on_time=shares["otd"],
        otif=shares["otif"],
        promise=tables.by_promise(terms, cohort),
        trend=tables.trend(terms, cohort, filter),
        processing=long["processing"],
        pickup=long["pickup"],
        transit=long["transit"],
        door=long["door"],
        accuracy=accuracy(terms, cohort),
        first_attempt=shares["first-attempt"],
        exceptions=shares["exceptions"],
        never_scanned=shares["never-scanned"],
        accountability=shares["accountability"],
        false_delivered=shares["false-delivered"],
        dwell=dwell(terms, cohort),
        ageing=tables.ageing(terms, cohort),
        carriers=tables.carriers(terms, cohort),
        lanes=tables.lanes(terms, cohort),
        completeness=_with_scans(shares["completeness"], terms, cohort),
        source_lag=long["source-lag"],
        choices=tables.choices(visible, filter),
    )


def _number_of(after: str | None) -> int:
    if after is None:
        return 0
    if not after.isascii() or not after.isdigit() or len(after) > 18:
        raise Invalid("This is no cursor of these rows.", field="after")
    return int(after)
