"""The terms that metrics are made of (tracking.md 8), as Polars expressions over the columns of parcels.

`Terms` are those of one question: its time, its calendar, its choice of calendar or business days. Every metric and
every list of rows is made of these, so that a number and its rows cannot differ.
"""

from collections.abc import Callable
from copy import copy
from datetime import date
from functools import lru_cache, partial
from typing import Final

import polars as pl

from milepost.domain import measure
from milepost.domain.business_calendar import BusinessCalendar
from milepost.domain.instant import Instant
from milepost.pipeline.insight_results import Basis, Days, Filter

DAY_S: Final = 86_400
_QUARTER_S: Final = 900
_YEAR_QUARTERS: Final = 366 * 96
TIMED: Final = ("ordered_at", "shipped_at", "first_scan_at", "delivered_at")
"""Times that several lengths begin or end with: `worked` is kept of them beside, as `worked_…`."""
_LONG_AGO: Final = date(1969, 1, 1)
"""Before every time that is measured."""
REOPENS_S: Final = 72 * 3_600
"""T5: so long after a delivery a scan can still take it back."""

_BASIS: Final[dict[Basis, str]] = {
    "ordered": "ordered_on",
    "shipped": "shipped_on",
    "delivered": "delivered_on",
}


def column(*names: str) -> pl.Expr:
    return pl.col(*names)


def known(name: str) -> pl.Expr:
    return pl.col(name).is_not_null()


def marked(flag: int) -> pl.Expr:
    """Any of these marks (`domain.measure`)."""
    return (pl.col("flags") & flag) != 0


def in_stage(*stages: str) -> pl.Expr:
    return pl.any_horizontal(pl.col("stage") == measure.STAGES.index(stage) for stage in stages)


def basis_of(filter: Filter) -> pl.Expr:
    """The date that the filter goes by."""
    return pl.col(_BASIS[filter.basis])


def lets_through(filter: Filter) -> pl.Expr:
    """Whether a parcel is in the filter's cohort."""
    wanted: list[pl.Expr] = [pl.lit(True)]
    if filter.business_products is not None:
        wanted.append(pl.col("business_product_id").is_in(sorted(filter.business_products)))
    if filter.carrier is not None:
        wanted.append(pl.col("carrier") == filter.carrier.upper())
    if filter.origin is not None:
        wanted.append(pl.col("origin") == filter.origin)
    if filter.destination is not None:
        wanted.append(pl.col("destination") == filter.destination)
    if filter.since is not None:
        wanted.append(basis_of(filter) >= filter.since)
    if filter.until is not None:
        wanted.append(basis_of(filter) <= filter.until)
    return pl.all_horizontal(wanted).fill_null(False)


class Terms:
    """What holds of a parcel at `now`."""

    def __init__(
        self, now: Instant, calendar: BusinessCalendar, never_scanned_days: int, days: Days = "calendar"
    ) -> None:
        self.now_s = now // 1_000
        self.now = pl.lit(self.now_s, pl.Int64)
        self.never_scanned_days = never_scanned_days
        self._calendar = calendar
        self._business = days == "business"
        c = column
        self.delivered = known("delivered_at")
        self.cancelled = marked(measure.CANCELLED)
        self.shipped = (known("shipped_at") | self.delivered) & ~self.cancelled
        self.open = ~self.delivered & ~in_stage("DELIVERED", "RETURNED", "CANCELLED")
        self.promised = known("promised_on") & ~self.cancelled
        self.due = self.promised & (c("promise_ends_at") <= self.now).fill_null(False)
        self.on_time = self.promised & (c("delivered_on") <= c("promised_on")).fill_null(False)
        self.early = self.on_time & ((c("promised_on") - c("delivered_on")).dt.total_days() > 1).fill_null(
            False
        )
        self.kept = self.due & self.on_time
        self.missed = self.due & ~self.on_time
        self.late = self.promised & ~self.on_time & (self.delivered | self.due)
        self.expected_late = (c("estimated_on") > c("promised_on")).fill_null(False)
        waiting = self.promised & ~self.delivered & ~self.due
        self.on_track = waiting & self.open & ~self.expected_late
        self.will_be_late = waiting & ~(self.open & ~self.expected_late)
        self.tried_in_time = self.due & (
            self.on_time | (c("attempted_at") < c("promise_ends_at")).fill_null(False)
        )
        self.reached = (self.delivered | known("out_at") | known("attempted_at")) & ~self.cancelled
        self.first_try = self.delivered & (c("attempts") == 0)
        self.false_delivered = marked(measure.FALSE_DELIVERED)
        self.ever_delivered = self.delivered | self.false_delivered
        scanned_on = pl.when(known("first_scan_at")).then(c("shipped_on"))
        begins = pl.coalesce("promised_from", "promised_on")
        self.by_seller = self.missed & (~known("first_scan_at") | (scanned_on > begins).fill_null(False))
        self.by_carrier = self.missed & ~self.by_seller
        self.first_of_order = marked(measure.FIRST_OF_ORDER)
        self.order_promised = self.first_of_order & known("order_due_at")
        self.order_due = self.order_promised & (c("order_due_at") <= self.now).fill_null(False)
        self.in_full = self.order_due & marked(measure.COMPLETE) & ~marked(measure.SHORT)
        self.first_of_delivery = marked(measure.FIRST_OF_DELIVERY)
        announced = known("ship_event_at") & (c("carrier") != "") & ~self.cancelled
        self.announced = announced
        self.scan_overdue = announced & (c("scan_due_at") <= self.now).fill_null(False)
        heard = pl.coalesce("first_scan_at", "delivered_at")
        self.not_scanned = self.scan_overdue & (heard.is_null() | (heard > c("scan_due_at")))

    def over(self, cohort: pl.LazyFrame) -> tuple["Terms", pl.LazyFrame]:
        """The same terms as columns of the cohort, each worked out once: for who asks much about one cohort."""
        terms = {name: value for name, value in vars(self).items() if isinstance(value, pl.Expr)}
        del terms["now"]
        settled = copy(self)
        vars(settled).update({name: pl.col(f"is_{name}") for name in terms})
        columns = {f"is_{name}": value for name, value in terms.items()}
        return settled, cohort.with_columns(**columns).collect().lazy()

    def seconds(self, name: str | None) -> pl.Expr:
        return self.now if name is None else pl.col(name).cast(pl.Int64)

    def passed(self, start: str, end: str | None) -> pl.Expr:
        """Seconds from one of `TIMED` to another (None: now); in business days time stands still on days off."""
        if not self._business:
            return self.seconds(end) - self.seconds(start)
        until = self._worked(self.now) if end is None else pl.col(f"worked_{end}").cast(pl.Int64)
        return until - pl.col(f"worked_{start}").cast(pl.Int64)

    def between(self, start: pl.Expr, end: pl.Expr) -> pl.Expr:
        """The same of any times."""
        if not self._business:
            return end - start
        return self._worked(end) - self._worked(start)

    def _worked(self, at: pl.Expr) -> pl.Expr:
        if at is self.now:
            return pl.lit(worked(self._calendar, pl.Series([self.now_s], dtype=pl.Int64)).item(), pl.Int64)
        reckon = partial(worked, self._calendar)
        return at.map_batches(reckon, return_dtype=pl.Int64, is_elementwise=True)

    def entered(self) -> pl.Expr:
        """Since when an open parcel is where it is: its stage's first scan, else the shipment, else the order."""
        return pl.coalesce("stage_at", "shipped_at", "ordered_at").cast(pl.Int64)

    def age(self, since: pl.Expr) -> pl.Expr:
        """Days since then, of open parcels."""
        return self.between(since, self.now) / DAY_S


def worked(calendar: BusinessCalendar, at: pl.Series) -> pl.Series:
    """Seconds of business days since long ago at each time: they stand still on days off. By a table of the quarters
    of hours between the first and the last of them: with one begins every day of every time zone, and every change
    of its clocks. Years of them are quicker to look up than to sort."""
    quarters = at // _QUARTER_S
    first, last = quarters.min(), quarters.max()
    if not isinstance(first, int) or not isinstance(last, int):
        return at
    year = first // _YEAR_QUARTERS
    stood, moves = _worked_quarters(calendar, year, last // _YEAR_QUARTERS + 1)
    places = (quarters - year * _YEAR_QUARTERS).fill_null(0)
    return stood.gather(places) + moves.gather(places) * at


@lru_cache(maxsize=16)
def _worked_quarters(calendar: BusinessCalendar, first: int, end: int) -> tuple[pl.Series, pl.Series]:
    """Of each quarter of an hour in these years since 1970 (of 366 days): 1 if time goes on in it, else 0, and the
    seconds of business days to add to a time in it, times that."""
    holidays = sorted(calendar.holidays)
    starts = (
        pl.int_range(first * _YEAR_QUARTERS, end * _YEAR_QUARTERS, dtype=pl.Int64, eager=True) * _QUARTER_S
    )
    wall = pl.from_epoch(starts, "s").dt.replace_time_zone("UTC")
    wall = wall.dt.convert_time_zone(calendar.timezone).dt.replace_time_zone(None)
    day = wall.dt.date()
    rolled = day.dt.add_business_days(0, holidays=holidays, roll="forward")
    whole = pl.select(pl.business_day_count(_LONG_AGO, rolled, holidays=holidays)).to_series()
    passed = (wall - day.cast(pl.Datetime("us"))).dt.total_seconds()
    moves = (day == rolled).cast(pl.Int64)
    return whole.cast(pl.Int64) * DAY_S + (passed - starts) * moves, moves


Ask = Callable[[Terms], pl.Expr]
