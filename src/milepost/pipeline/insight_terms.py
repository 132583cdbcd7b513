"""The terms that metrics are made of (tracking.md 8), as Polars expressions over the columns of parcels.

`Terms` are those of one question: its time, its calendar, its choice of calendar or business days. Every metric and
every list of rows is made of these, so that a number and its rows cannot differ.
"""

from collections.abc import Callable
from datetime import date
from typing import Final

import polars as pl

from milepost.domain import measure
from milepost.domain.business_calendar import BusinessCalendar
from milepost.domain.instant import Instant
from milepost.pipeline.insight_results import Basis, Days, Filter

DAY_S: Final = 86_400
_QUARTER_S: Final = 900
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
        self._holidays: list[date] = sorted(calendar.holidays)
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

    def seconds(self, name: str | None) -> pl.Expr:
        return self.now if name is None else pl.col(name).cast(pl.Int64)

    def days(self, start: str, end: str | None) -> pl.Expr:
        """Days from one time to another (None: now) as a fraction; in business days time stands still on days off."""
        return self.between(self.seconds(start), self.seconds(end))

    def between(self, start: pl.Expr, end: pl.Expr) -> pl.Expr:
        if not self._business:
            return (end - start) / DAY_S
        return (self._worked(end) - self._worked(start)) / DAY_S

    def _worked(self, at: pl.Expr) -> pl.Expr:
        """Seconds of business days since long ago: they stand still on days off."""
        if at is self.now:
            return pl.lit(self._reckon(pl.Series([self.now_s], dtype=pl.Int64)).item(), pl.Int64)
        return at.map_batches(self._reckon, return_dtype=pl.Int64, is_elementwise=True)

    def _reckon(self, at: pl.Series) -> pl.Series:
        """Reckoned once a quarter of an hour that occurs: with one begins every day of every time zone, and
        every change of its clocks: a million times of half a year are in some seventeen thousand."""
        quarters = (at // _QUARTER_S * _QUARTER_S).alias("quarter")
        each = quarters.unique().drop_nulls().to_frame()
        wall = pl.from_epoch("quarter", "s").dt.replace_time_zone("UTC")
        wall = wall.dt.convert_time_zone(self._calendar.timezone).dt.replace_time_zone(None)
        day = column("wall").dt.date()
        rolled = day.dt.add_business_days(0, holidays=self._holidays, roll="forward")
        passed = (column("wall") - day.cast(pl.Datetime("us"))).dt.total_seconds()
        table = each.with_columns(wall=wall).select(
            "quarter",
            begins=pl.business_day_count(_LONG_AGO, rolled, holidays=self._holidays).cast(pl.Int64) * DAY_S
            + pl.when(day == rolled).then(passed).otherwise(0),
            moves=(day == rolled).cast(pl.Int64),
        )
        found = pl.DataFrame([quarters, (at - quarters).alias("rest")]).join(
            table, on="quarter", how="left", maintain_order="left"
        )
        return found.select(worked=column("begins") + column("rest") * column("moves")).to_series()

    def entered(self) -> pl.Expr:
        """Since when an open parcel is where it is: its stage's first scan, else the shipment, else the order."""
        return pl.coalesce("stage_at", "shipped_at", "ordered_at").cast(pl.Int64)

    def age(self, since: pl.Expr) -> pl.Expr:
        """Days since then, of open parcels."""
        return self.between(since, self.now)


Ask = Callable[[Terms], pl.Expr]
