"""How long things take: percentiles, survival and bins (tracking.md 8).

Percentiles go by linear interpolation between the two nearest values, and none is told below `FEWEST` (scenario 34).
Over those that have both ends they flatter recent cohorts: the slow ones are still under way. So a Kaplan–Meier
estimate stands beside them, in which a parcel under way counts for as long as it has been; lost, undeliverable and
returned ones count as never delivered. It says None where more than the asked share may still be under way.
"""

from collections.abc import Sequence
from typing import Any, Final

import polars as pl
from msgspec import Struct

from milepost.domain import measure
from milepost.pipeline.insight_results import FEWEST, Bin, Distribution, Dwell, DwellTable, Unit
from milepost.pipeline.insight_terms import DAY_S, Terms, column, known

METHOD: Final = (
    f"Percentiles by linear interpolation, not shown below {FEWEST} parcels. The estimate with those under way"
    " is Kaplan–Meier's."
)
_MINUTE_S: Final = 60
_HOUR_S: Final = 3_600
_MINUTES_A_DAY: Final = 1_440
_DAYS: Final = (0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 12.0, 14.0, 21.0)
_HOURS: Final = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 24.0, 48.0)
_QUANTILES: Final = (0.5, 0.9, 0.95)


class Length(Struct, frozen=True):
    """One length of time. `value` and `so_far` are whole seconds, which sort and compare fastest."""

    id: str
    title: str
    unit: Unit
    ended: pl.Expr
    """It has both ends."""
    arrived: pl.Expr
    """It reached the end, whether or not the beginning is known: what coverage is of."""
    open: pl.Expr
    value: pl.Expr
    so_far: pl.Expr | None
    """None: nothing is under way, only ends are known."""
    definition: str
    edges: tuple[float, ...] = _DAYS
    """Where bins begin, in `unit`."""
    note: str = ""

    @property
    def unit_s(self) -> int:
        return _HOUR_S if self.unit == "hours" else DAY_S

    def quantile(self, seconds: pl.Series, share: float) -> float | None:
        """Of some of its lengths, in `unit`."""
        found = seconds.quantile(share, "linear")
        return None if found is None else found / self.unit_s

    def seconds(self, edge: float) -> int:
        return round(edge * self.unit_s)


def lengths(t: Terms) -> dict[str, Length]:
    """Every length there is, by the name of its metric. A length below 0 (a clock was wrong) is not measured."""
    listed = (_processing(t), _pickup(t), _transit(t), _door(t), _source_lag())
    return {length.id: length for length in listed}


def _processing(t: Terms) -> Length:
    both = known("ordered_at") & known("shipped_at")
    return Length(
        "processing",
        "Order to shipment",
        "days",
        both & (column("shipped_at") >= column("ordered_at")),
        t.shipped,
        known("ordered_at") & ~known("shipped_at") & t.open,
        t.passed("ordered_at", "shipped_at"),
        t.passed("ordered_at", None),
        "From the order to its shipment: the carrier's first scan, without one the ship event.",
    )


def _pickup(t: Terms) -> Length:
    handed = pl.coalesce("label_at", "ship_event_at").cast(pl.Int64)
    begun = handed.is_not_null() & ~t.cancelled
    return Length(
        "pickup",
        "Label to first scan",
        "days",
        begun & known("first_scan_at") & (column("first_scan_at") >= handed),
        known("first_scan_at"),
        begun & ~known("first_scan_at") & t.open,
        t.between(handed, t.seconds("first_scan_at")),
        t.between(handed, t.now),
        "From the label (without one: the ship event) to the carrier's first scan: what waits between warehouse and"
        " carrier.",
        note="A first scan before the label or the event is not measured.",
    )


def _transit(t: Terms) -> Length:
    both = known("first_scan_at") & known("delivered_at")
    return Length(
        "transit",
        "Transit",
        "days",
        both & (column("delivered_at") >= column("first_scan_at")),
        t.delivered,
        known("first_scan_at") & ~t.delivered,
        t.passed("first_scan_at", "delivered_at"),
        t.passed("first_scan_at", None),
        "From the carrier's first scan to the delivery.",
        note="Parcels of which only the delivery was scanned are not measured.",
    )


def _door(t: Terms) -> Length:
    legs = known("ordered_at") & known("shipped_at") & known("first_scan_at") & known("delivered_at")
    return Length(
        "door",
        "Click to door",
        "days",
        legs & (column("delivered_at") >= column("ordered_at")),
        t.delivered,
        known("ordered_at") & ~t.cancelled & ~t.delivered,
        t.passed("ordered_at", "delivered_at"),
        t.passed("ordered_at", None),
        "From the order to the delivery, of parcels whose order, shipment and first scan are known.",
    )


def _source_lag() -> Length:
    lag = column("delivered_event_at").cast(pl.Int64) - column("delivered_at").cast(pl.Int64)
    by_scan = column("delivered_by") == measure.DELIVERED_BY.index("milestone")
    return Length(
        "source-lag",
        "Source lag",
        "hours",
        by_scan & lag.is_not_null(),
        by_scan,
        pl.lit(False),
        lag,
        None,
        "From the delivered scan to the publishing of the delivered event. Below 0: told before the scan.",
        edges=_HOURS,
    )


def length_rows(length: Length, low: float, high: float | None) -> pl.Expr:
    """The parcels of one bin."""
    inside = length.value >= length.seconds(low)
    if low == length.edges[0]:
        inside = pl.lit(True)
    if high is not None:
        inside = inside & (length.value < length.seconds(high))
    return length.ended & inside.fill_null(False)


def distribution(length: Length, cohort: pl.LazyFrame) -> Distribution:
    """The length over a cohort."""
    row = cohort.select(cohort=pl.len(), arrived=length.arrived.sum()).collect().row(0, named=True)
    ends = _taken(cohort, length.ended, length.value)
    under_way = ends.clear()
    if length.so_far is not None:
        under_way = _taken(cohort, length.open, length.so_far)
    suppressed = ends.len() < FEWEST
    p50, p90, p95 = (None if suppressed else length.quantile(ends, q) for q in _QUANTILES)
    mean: Any = None if suppressed else ends.mean()
    outlasting: tuple[float | None, ...] = (None, None, None)
    if length.so_far is not None and ends.len() + under_way.len() >= FEWEST:
        outlasting = kaplan_meier(ends, under_way, _QUANTILES)
    begun = ends.len() + under_way.len()
    return Distribution(
        id=length.id,
        title=length.title,
        unit=length.unit,
        n=ends.len(),
        cohort=row["cohort"],
        coverage=min(1.0, ends.len() / row["arrived"]) if row["arrived"] else None,
        open=under_way.len(),
        maturity=ends.len() / begun if begun else None,
        p50=p50,
        p90=p90,
        p95=p95,
        mean=None if mean is None else mean / length.unit_s,
        survival_p50=outlasting[0],
        survival_p90=outlasting[1],
        survival_p95=outlasting[2],
        suppressed=suppressed,
        bins=_bins(length, ends),
        definition=length.definition,
        method=METHOD,
        note=length.note,
        rows=f"length:{length.id}",
    )


def _taken(cohort: pl.LazyFrame, which: pl.Expr, seconds: pl.Expr) -> pl.Series:
    return _whole(cohort.filter(which).select(value=seconds.cast(pl.Int64)).collect()["value"])


def _whole(values: pl.Series) -> pl.Series:
    """Those that there are, in one piece: where there are gaps or several pieces, a quantile sorts them first."""
    return values.drop_nulls().rechunk()


def taken_apart(
    cohort: pl.LazyFrame, which: pl.Expr, seconds: pl.Expr | None, by: str
) -> dict[str, pl.Series]:
    """The lengths of each group by itself; none of what has no `seconds`."""
    if seconds is None:
        return {}
    groups = cohort.filter(which).select(by, value=seconds).collect().partition_by(by, as_dict=True)
    return {str(name): _whole(group["value"]) for (name,), group in groups.items()}


def kaplan_meier(
    ends: pl.Series, under_way: pl.Series, quantiles: Sequence[float]
) -> tuple[float | None, ...]:
    """After how long each of these shares has ended, those under way counted; None where it can't be told yet. From
    seconds; in days, to the minute. One that is under way as long as another took outlasts that one."""
    counted = [
        (series / _MINUTE_S).round().cast(pl.Int32).alias("at").value_counts(name="left")
        for series in (ends, under_way)
    ]
    steps = (
        pl.concat(
            part.with_columns(ended=pl.col("left") * ended)
            for part, ended in zip(counted, (1, 0), strict=True)
        )
        .group_by("at")
        .agg(pl.col("left", "ended").sum().cast(pl.Int64))
        .sort("at")
        .with_columns(at_risk=pl.col("left").cum_sum(reverse=True))
        .with_columns(survival=(1 - pl.col("ended") / pl.col("at_risk")).cum_prod())
        .filter(pl.col("ended") > 0)
    )
    ats: list[Any] = [steps["at"].filter(steps["survival"] <= 1 - share + 1e-9).min() for share in quantiles]
    return tuple(None if at is None else at / _MINUTES_A_DAY for at in ats)


def _bins(length: Length, ends: pl.Series) -> tuple[Bin, ...]:
    """What is below the first edge (an event told before its scan) is in the first bin."""
    below = [int((ends < length.seconds(edge)).sum()) for edge in length.edges[1:]]
    places = (0, *below, ends.len())
    found: list[Bin] = []
    for number, (low, high) in enumerate(zip(length.edges, (*length.edges[1:], None), strict=True)):
        name = f"length:{length.id}:{low:g}-{'' if high is None else f'{high:g}'}"
        found.append(Bin(low, high, places[number + 1] - places[number], name))
    return tuple(found)


def dwell(t: Terms, cohort: pl.LazyFrame) -> DwellTable:
    """How long parcels stay in each stage."""
    names = {stage: f"in_{stage.lower()}" for stage in measure.DWELLING}
    left = cohort.select(names.values()).collect()
    since = (t.now - t.seconds("stage_at")) / DAY_S
    here = cohort.filter(t.open & known("stage_at")).group_by("stage")
    there = here.agg(
        pl.len(), since.quantile(0.5, "linear").alias("a"), since.quantile(0.9, "linear").alias("b")
    )
    open_now = {stage: (n, p50, p90) for stage, n, p50, p90 in there.collect().iter_rows()}
    found: list[Dwell] = []
    for stage, name in names.items():
        stays = _whole(left[name])
        waiting, p50, p90 = open_now.get(measure.STAGES.index(stage), (0, None, None))
        few, few_open = stays.len() < FEWEST, waiting < FEWEST
        found.append(
            Dwell(
                stage=stage,
                n=stays.len(),
                p50=None if few else _days(stays.quantile(0.5, "linear")),
                p90=None if few else _days(stays.quantile(0.9, "linear")),
                open=waiting,
                open_p50=None if few_open else p50,
                open_p90=None if few_open else p90,
                suppressed=few,
                rows=f"dwelling:{stage}",
                left_rows=f"left:{stage}",
            )
        )
    return DwellTable(
        tuple(found),
        "Calendar days from the scan that began a stage to the scan that ended it, several visits added up; those"
        " that a contradicted scan begins or ends are left out. Beside it, how long those that are in the stage now"
        " have been there.",
        METHOD,
    )


def _days(seconds: float | None) -> float | None:
    return None if seconds is None else seconds / DAY_S
