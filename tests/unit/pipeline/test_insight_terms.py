"""The terms of Insights: business time as somebody with a calendar would count it, and the same numbers whether
each term is worked out once or for every question."""

import random
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from milepost.domain.business_calendar import BusinessCalendar
from milepost.domain.instant import Instant
from milepost.domain.measure import STAGES
from milepost.pipeline.insight_columns import SCHEMA
from milepost.pipeline.insight_lengths import lengths
from milepost.pipeline.insight_results import Days
from milepost.pipeline.insight_terms import TIMED, Terms, worked

HOLIDAYS = frozenset({date(2026, 7, 3), date(2026, 11, 26), date(2024, 12, 25)})
FIRST, LAST = (
    int(datetime(2024, 11, 1, tzinfo=UTC).timestamp()),
    int(datetime(2026, 12, 1, tzinfo=UTC).timestamp()),
)
NOW = Instant(LAST * 1_000)


def counted(calendar: BusinessCalendar, start: int, end: int) -> int:
    """Seconds of business days between two times, a quarter of an hour after the other, the ends cut off."""
    total, at = 0, start
    while at < end:
        following = min(end, at // 900 * 900 + 900)
        day = datetime.fromtimestamp(at, ZoneInfo(calendar.timezone)).date()
        total += (following - at) * calendar.is_business_day(day)
        at = following
    return total


def frame(rows: int, seed: int) -> pl.DataFrame:
    """Parcels with times and marks that need make no sense."""
    draw = random.Random(seed)

    def value(name: str) -> object:
        kind = SCHEMA[name]
        if draw.random() < 0.2 and (name.endswith(("_at", "_on")) or name.startswith("promised")):
            return None
        if kind == pl.Categorical:
            return draw.choice(("", "UPS", "USPS", "DELIVERED"))
        if kind == pl.Date:
            return date(2026, 6, 1) + timedelta(draw.randrange(60))
        if name == "stage":
            return draw.randrange(len(STAGES))
        return draw.randrange(FIRST, LAST) if name.endswith("_at") else draw.randrange(4)

    columns = [
        pl.Series(name, [value(name) for _ in range(rows)], dtype=kind) for name, kind in SCHEMA.items()
    ]
    due = pl.Series("scan_due_at", [draw.randrange(FIRST, LAST) for _ in range(rows)], dtype=pl.UInt32)
    return pl.DataFrame([*columns, due])


def reckoned(times: pl.DataFrame, calendar: BusinessCalendar) -> pl.DataFrame:
    """With the business time of its times, as `Columns` keeps it."""
    return times.with_columns(
        worked(calendar, times[name].cast(pl.Int64)).cast(pl.UInt32).alias(f"worked_{name}")
        for name in TIMED
        if name in times.columns
    )


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe"])
def test_in_business_days_time_stands_still_on_days_off(zone: str) -> None:
    """Over changes of clocks too, and where midnight is at a quarter past."""
    calendar = BusinessCalendar(zone, HOLIDAYS)
    draw = random.Random(zone)
    starts = [draw.randrange(FIRST, LAST - 30 * 86_400) for _ in range(40)]
    ends = [start + draw.randrange(30 * 86_400) for start in starts]
    times = pl.DataFrame(
        {"ordered_at": [*starts, None], "shipped_at": [*ends, ends[0]]},
        schema_overrides={"ordered_at": pl.UInt32, "shipped_at": pl.UInt32},
    )
    terms, kept = Terms(NOW, calendar, 4, "business"), reckoned(times, calendar)
    wanted = [*(counted(calendar, s, e) for s, e in zip(starts, ends, strict=True)), None]
    assert kept.select(terms.passed("ordered_at", "shipped_at")).to_series().to_list() == wanted
    between = terms.between(terms.seconds("ordered_at"), terms.seconds("shipped_at"))
    assert times.select(between).to_series().to_list() == wanted
    until_now = kept.head(3).select(terms.passed("ordered_at", None)).to_series().to_list()
    assert until_now == [counted(calendar, start, LAST) for start in starts[:3]]


@pytest.mark.parametrize("days", ["calendar", "business"])
def test_a_term_that_is_worked_out_once_is_what_it_was(days: Days) -> None:
    calendar = BusinessCalendar("Europe/Paris", HOLIDAYS)
    terms, parcels = Terms(NOW, calendar, 4, days), reckoned(frame(500, 7), calendar).lazy()
    settled, cohort = terms.over(parcels)
    named = [name for name, value in vars(terms).items() if isinstance(value, pl.Expr)]
    assert len(named) > 20
    for name in named:
        plain = parcels.select(pl.lit(0), value=getattr(terms, name)).collect()
        assert plain.equals(cohort.select(pl.lit(0), value=getattr(settled, name)).collect()), name
    for name, length in lengths(terms).items():
        other = lengths(settled)[name]
        for one, two in ((length.value, other.value), (length.so_far, other.so_far)):
            if one is not None and two is not None:
                assert (
                    parcels.select(one.alias("v")).collect().equals(cohort.select(two.alias("v")).collect())
                )
