"""What Insights shows by group: the trend, carriers, lanes, the ageing grid, parcels by stage and by promise.

Groups partition their cohort: what is not known is a group of its own or counted beside, so that sums come out.
"""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any, Final, Literal

import polars as pl

from milepost.domain import measure
from milepost.pipeline.insight_lengths import Length, kaplan_meier, lengths, taken_apart
from milepost.pipeline.insight_rates import (
    Rate,
    exception_rate,
    false_delivered_rate,
    first_attempt_rate,
    on_time_rate,
)
from milepost.pipeline.insight_results import (
    FEWEST,
    AgeingGrid,
    CarrierRow,
    CarrierTable,
    Cell,
    Choices,
    Counts,
    Figure,
    Filter,
    Lane,
    LaneMatrix,
    Point,
    Trend,
)
from milepost.pipeline.insight_terms import Terms, basis_of, column, known

MOST_POINTS = 400
MOST_CARRIERS = 100
MOST_PLACES = 30
MOST_CHOICES = 200
DAYS_BY_DAY = 92
"""A trend over more days goes by week."""

BUCKETS: Final = ("0–1", "1–2", "2–3", "3–5", "5–7", "7–14", "14+")
BUCKET_EDGES: Final = (1.0, 2.0, 3.0, 5.0, 7.0, 14.0)
OPEN_STAGES: Final = tuple(
    stage for stage in measure.STAGES if stage not in ("RETURNED", "DELIVERED", "CANCELLED")
)

STANDINGS: Final = {
    "early": "Early",
    "on-time-not-early": "On time",
    "late": "Late",
    "on-track": "On track",
    "will-be-late": "Will be late",
    "no-promise": "No promise",
    "cancelled": "Cancelled",
}
"""How a parcel stands to its promise, by the name of its rows: each parcel is one of them."""


def standing(t: Terms) -> dict[str, pl.Expr]:
    """The conditions of STANDINGS."""
    return {
        "early": t.early,
        "on-time-not-early": t.on_time & ~t.early,
        "late": t.late,
        "on-track": t.on_track,
        "will-be-late": t.will_be_late,
        "no-promise": ~known("promised_on") & ~t.cancelled,
        "cancelled": t.cancelled,
    }


def by_promise(t: Terms, cohort: pl.LazyFrame) -> Counts:
    conditions = standing(t)
    row = cohort.select(pl.len().alias("all"), *(c.sum().alias(name) for name, c in conditions.items()))
    counted = row.collect().row(0, named=True)
    parts = [_part(name, STANDINGS[name], counted[name], counted["all"]) for name in conditions]
    return Counts(
        tuple(parts),
        counted["all"],
        "Early: delivered more than a day before the promised day. Late: delivered after it, or not delivered by its"
        " end. Will be late: the current estimate is after the promise, or the parcel is lost or going back.",
    )


def by_stage(t: Terms, cohort: pl.LazyFrame) -> Counts:
    counted = dict(cohort.group_by("stage").agg(pl.len()).collect().iter_rows())
    total = sum(counted.values())
    parts = [
        _part(f"stage:{stage}", stage, counted.get(number, 0), total)
        for number, stage in enumerate(measure.STAGES)
    ]
    return Counts(
        tuple(part for part in parts if part.value),
        total,
        "Parcels by the stage they are in now: the tracker's; its delivery's where that tells none.",
    )


def _part(name: str, title: str, count: int, total: int) -> Figure:
    return Figure(
        id=name,
        title=title,
        value=float(count),
        unit="count",
        numerator=count,
        denominator=total,
        n=count,
        cohort=total,
        maturity=None,
        definition=f"{title}: parcels of the cohort.",
        rows=name,
        all_rows="all",
        method="counted",
    )


# ── Trend ──────────────────────────────────────────────────────────────────────────────────────────────────


def trend(t: Terms, cohort: pl.LazyFrame, filter: Filter) -> Trend:
    """On time by the filter's date: each point with its own maturity."""
    day, rate = basis_of(filter), on_time_rate(t)
    first, last = cohort.select(day.min().alias("first"), day.max().alias("last")).collect().row(0)
    by: Literal["day", "week"] = "day"
    if first is not None and (last - first).days > DAYS_BY_DAY:
        by = "week"
        day = day.dt.truncate("1w")
    points = (
        cohort.filter(day.is_not_null())
        .group_by(day.alias("start"))
        .agg(rate.sums())
        .sort("start")
        .tail(MOST_POINTS)
        .collect()
    )
    length = timedelta(days=0 if by == "day" else 6)
    listed = tuple(
        Point(row["start"], row["start"] + length, rate.figure(row)) for row in points.iter_rows(named=True)
    )
    text = f"{rate.definition} By the {by} of the filter's date; the newest points are not mature yet."
    return Trend(by, listed, text)


# ── Carriers and lanes ─────────────────────────────────────────────────────────────────────────────────────


def carriers(t: Terms, cohort: pl.LazyFrame) -> CarrierTable:
    rates = (on_time_rate(t), exception_rate(t), false_delivered_rate(t), first_attempt_rate(t))
    transit = lengths(t)["transit"]
    table = (
        cohort.group_by("carrier")
        .agg(
            pl.len().alias("parcels"),
            t.shipped.sum().alias("shipped"),
            t.delivered.sum().alias("delivered"),
            t.open.sum().alias("moving"),
            *(expression for rate in rates for expression in rate.sums()),
        )
        .with_columns(column("carrier").cast(pl.String))
        .sort(["parcels", "carrier"], descending=[True, False])
        .collect()
    )
    shown = table.head(MOST_CARRIERS)
    ends = taken_apart(cohort, transit.ended, transit.value, "carrier")
    under_way = taken_apart(cohort, transit.open, transit.so_far, "carrier")
    none = pl.Series([], dtype=pl.Int64)
    rows = [
        _carrier(row, rates, transit, ends.get(row["carrier"], none), under_way.get(row["carrier"], none))
        for row in shown.iter_rows(named=True)
    ]
    return CarrierTable(
        tuple(rows),
        table.height - shown.height,
        "One row a carrier, all of its parcels in the cohort. Transit percentiles are over delivered parcels; beside"
        " them the time after which nine of ten will have arrived, those under way counted.",
    )


def _carrier(
    row: dict[str, Any], rates: Sequence[Rate], transit: Length, ends: pl.Series, under_way: pl.Series
) -> CarrierRow:
    enough = ends.len() >= FEWEST
    p50, p90 = (transit.quantile(ends, q) if enough else None for q in (0.5, 0.9))
    on_time, exceptions, false_delivered, first_attempt = (rate.figure(row) for rate in rates)
    return CarrierRow(
        carrier=row["carrier"],
        parcels=row["parcels"],
        shipped=row["shipped"],
        delivered=row["delivered"],
        moving=row["moving"],
        on_time=on_time,
        transit_p50=p50,
        transit_p90=p90,
        survival_p90=kaplan_meier(ends, under_way, (0.9,))[0] if enough else None,
        transit_n=ends.len(),
        exceptions=exceptions,
        false_delivered=false_delivered,
        first_attempt=first_attempt,
    )


def lanes(t: Terms, cohort: pl.LazyFrame) -> LaneMatrix:
    rate, transit = on_time_rate(t), lengths(t)["transit"]
    # Taken out of the cohort first: within groups that would be done for every number of them.
    arrived = cohort.filter(transit.ended).select("origin", "destination", value=transit.value)
    middle = column("value").quantile(0.5, "linear") / transit.unit_s
    timed = arrived.group_by("origin", "destination").agg(pl.len().alias("n"), middle.alias("p50"))
    every = (
        cohort.group_by("origin", "destination")
        .agg(pl.len().alias("parcels"), *rate.sums())
        .join(timed, on=["origin", "destination"], how="left")
        .with_columns(column("origin", "destination").cast(pl.String))
        .collect()
    )
    known_both = every.filter((pl.col("origin") != "") & (pl.col("destination") != ""))
    origins, destinations = _biggest(known_both, "origin"), _biggest(known_both, "destination")
    shown = known_both.filter(pl.col("origin").is_in(origins) & pl.col("destination").is_in(destinations))
    found = [
        Lane(
            row["origin"],
            row["destination"],
            row["parcels"],
            rate.figure(row),
            row["p50"] if (row["n"] or 0) >= FEWEST else None,
        )
        for row in shown.sort("origin", "destination").iter_rows(named=True)
    ]
    counted = int(known_both["parcels"].sum())
    return LaneMatrix(
        tuple(origins),
        tuple(destinations),
        tuple(found),
        int(every["parcels"].sum()) - counted,
        counted - int(shown["parcels"].sum()),
        "From the region of the carrier's first scan to that of its last-mile scans, before there are any to that of"
        " the order's recipient. Where the API does not tell that one, lanes show parcels that came at least that"
        " far, and flatter.",
    )


def _biggest(table: pl.DataFrame, name: str) -> list[str]:
    sizes = table.group_by(name).agg(pl.col("parcels").sum())
    return sizes.sort(["parcels", name], descending=[True, False]).head(MOST_PLACES)[name].to_list()


# ── Ageing ─────────────────────────────────────────────────────────────────────────────────────────────────


def ageing(t: Terms, cohort: pl.LazyFrame) -> AgeingGrid:
    alive = cohort.filter(t.open)
    since_entry = _grid(alive, t.age(t.entered()), "entry")
    since_scan = _grid(alive.filter(known("last_scan_at")), t.age(t.seconds("last_scan_at")), "scan")
    row = alive.select(open=pl.len(), unscanned=(~known("last_scan_at")).sum()).collect().row(0, named=True)
    return AgeingGrid(
        OPEN_STAGES,
        BUCKETS,
        since_entry,
        since_scan,
        row["unscanned"],
        row["open"],
        "Parcels that have not ended, by stage and days: since they entered it (without a scan that began it, since"
        " the shipment, or the order), and since the last scan. Those of which no such time is known are in no cell.",
    )


def bucket_of(age: pl.Expr) -> pl.Expr:
    """The number of an age's bucket; null where there is no age."""
    place = pl.lit(0)
    for edge in BUCKET_EDGES:
        place = place + (age >= edge).cast(pl.Int32)
    return place


def _grid(alive: pl.LazyFrame, age: pl.Expr, name: str) -> tuple[Cell, ...]:
    aged = alive.select("stage", age=age)
    groups = aged.group_by("stage", bucket_of(column("age")).alias("bucket")).agg(pl.len()).collect()
    counts = {(stage, bucket): count for stage, bucket, count in groups.iter_rows()}
    return tuple(
        Cell(stage, label, counts.get((measure.STAGES.index(stage), place), 0), f"age-{name}:{stage}:{place}")
        for stage in OPEN_STAGES
        for place, label in enumerate(BUCKETS)
    )


# ── What filters offer ─────────────────────────────────────────────────────────────────────────────────────


def choices(visible: pl.LazyFrame, filter: Filter) -> Choices:
    """Over everything that who asks may see."""

    def most(name: str) -> tuple[str, ...]:
        sizes = visible.group_by(name).agg(pl.len().alias("parcels")).collect()
        listed = sizes.with_columns(pl.col(name).cast(pl.String)).sort(
            ["parcels", name], descending=[True, False]
        )
        return tuple(text for text in listed.head(MOST_CHOICES)[name].to_list() if text)

    day = basis_of(filter)
    first, last = visible.select(day.min().alias("first"), day.max().alias("last")).collect().row(0)
    return Choices(
        most("business_product_id"),
        most("carrier"),
        most("origin"),
        most("destination"),
        _day(first),
        _day(last),
    )


def _day(value: Any) -> date | None:
    return value if isinstance(value, date) else None
