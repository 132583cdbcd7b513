"""The rows behind a number: which parcels a name stands for, and a page of them.

Names are those that results carry in `rows` and `all_rows`. A row's parcel is found in the columns, what is shown of
it is read from the store by its number.
"""

import csv
import io
from collections.abc import Callable, Iterable, Mapping
from datetime import date, timedelta
from typing import Final

import polars as pl

from milepost.domain import measure
from milepost.domain.errors import NotFound
from milepost.domain.instant import Instant, format_instant
from milepost.domain.measure import DWELLING, STAGES, Measure
from milepost.pipeline.export_formats import FORMULAS
from milepost.pipeline.insight_lengths import length_rows, lengths
from milepost.pipeline.insight_rates import families
from milepost.pipeline.insight_results import ParcelRow
from milepost.pipeline.insight_tables import BUCKETS, STANDINGS, bucket_of, standing
from milepost.pipeline.insight_terms import Terms, column, in_stage, known, marked

Which = tuple[str, pl.Expr]
"""(what it is called, the condition)."""

_EPOCH: Final = date(1970, 1, 1)
_DAY_MS: Final = 86_400_000
CSV_COLUMNS: Final = ParcelRow.__struct_fields__


def _named(t: Terms) -> dict[str, Which]:
    late = column("order_days_late")
    delivered = t.first_of_delivery & (column("delivery_state") == "DELIVERED")
    plain: dict[str, Which] = {
        "all": ("All parcels", pl.lit(True)),
        "shipped": ("Shipped", t.shipped),
        "delivered": ("Delivered", t.delivered),
        "moving": ("Not ended yet", t.open),
        "due": ("Promise has ended", t.due),
        "kept": ("On time, promise has ended", t.kept),
        "missed": ("Late, promise has ended", t.missed),
        "on-time": ("Delivered by the promise", t.on_time),
        "tried-in-time": ("On time at the first attempt", t.tried_in_time),
        "delivered-promised": ("Delivered, with a promise", t.promised & t.delivered),
        "shipped-promised": ("Shipped, with a promise", t.promised & t.shipped),
        "reached": ("Reached the door", t.reached),
        "ever-delivered": ("Ever told as delivered", t.ever_delivered),
        "scan-due": ("Ship event is old enough", t.scan_overdue),
        "orders-due": ("Orders whose promises have ended", t.order_due),
        "otif": ("Orders on time in full", t.in_full & (late <= 0)),
        "otif-grace": ("Orders in full, a day late at most", t.in_full & (late <= 1)),
        "in-full": ("Orders in full", t.in_full),
        "on-time-order": ("Orders on time", t.order_due & (late <= 0)),
        "delivered-deliveries": ("Delivered deliveries", delivered),
        "ship-event": ("Delivered, with a ship event", delivered & marked(measure.SHIP_EVENT)),
        "delivered-event": ("Delivered, with a delivered event", delivered & known("delivered_event_at")),
        "scanned-delivered": (
            "Ended with a delivered scan",
            t.delivered & (column("carrier") != "") & in_stage("DELIVERED"),
        ),
        "within-a-day": (
            "Within a day of the estimate",
            t.promised
            & t.delivered
            & ((column("delivered_on") - column("promised_on")).dt.total_days().abs() <= 1),
        ),
        "revised": ("Estimate changed", t.promised & t.shipped & (column("revisions") > 0)),
    }
    standings = {name: (STANDINGS[name], condition) for name, condition in standing(t).items()}
    rates = {
        rate.rows: (rate.title, rate.top & rate.bottom)
        for family in families(t).values()
        for rate in family.rates()
    }
    return rates | plain | standings


def which_rows(name: str, t: Terms) -> Which:
    """What a name stands for. Raises `NotFound`."""
    kind, _, rest = name.partition(":")
    found = _PATTERNS[kind](rest, t) if kind in _PATTERNS else _named(t).get(name)
    if found is None:
        raise NotFound(f"There are no rows {name[:80]!r}.")
    return found[0], found[1].fill_null(False)


def _stage(rest: str, t: Terms) -> Which | None:
    return (rest, in_stage(rest)) if rest in STAGES else None


def _dwelling(rest: str, t: Terms) -> Which | None:
    if rest not in DWELLING:
        return None
    return f"{rest}, in it now", t.open & in_stage(rest) & known("stage_at")


def _left(rest: str, t: Terms) -> Which | None:
    return (f"{rest}, left it", known(f"in_{rest.lower()}")) if rest in DWELLING else None


def _entry(rest: str, t: Terms) -> Which | None:
    return _aged(rest, t, t.age(t.entered()), "in the stage")


def _scan(rest: str, t: Terms) -> Which | None:
    return _aged(rest, t, t.age(t.seconds("last_scan_at")), "since the last scan")


def _aged(rest: str, t: Terms, age: pl.Expr, words: str) -> Which | None:
    stage, _, place = rest.partition(":")
    if stage not in STAGES or place not in map(str, range(len(BUCKETS))):
        return None
    inside = (bucket_of(age) == int(place)).fill_null(False)
    return f"{stage}, {BUCKETS[int(place)]} days {words}", t.open & in_stage(stage) & inside


def _length(rest: str, t: Terms) -> Which | None:
    name, _, edges = rest.partition(":")
    length = lengths(t).get(name)
    if length is None:
        return None
    if not edges:
        return length.title, length.ended
    for low, high in zip(length.edges, (*length.edges[1:], None), strict=True):
        if edges == f"{low:g}-{'' if high is None else f'{high:g}'}":
            return f"{length.title}, {edges} {length.unit}", length_rows(length, low, high)
    return None


_PATTERNS: Final[Mapping[str, Callable[[str, Terms], Which | None]]] = {
    "stage": _stage,
    "dwelling": _dwelling,
    "left": _left,
    "age-entry": _entry,
    "age-scan": _scan,
    "length": _length,
}


def numbers(cohort: pl.LazyFrame, condition: pl.Expr, after: int, limit: int) -> tuple[int, list[int]]:
    """(how many there are, the numbers of at most `limit` of them above `after`, lowest first)."""
    total = cohort.filter(condition).select(pl.len()).collect().item()
    page = (
        cohort.filter(condition & (pl.col("number") > after))
        .select(pl.col("number").bottom_k(limit))
        .collect()
    )
    return int(total), sorted(page["number"].to_list())


def parcel_row(found: Measure, standing: str) -> ParcelRow:
    """A parcel as it is shown."""
    code, _, number = found.tracker.partition("/")
    transit = None
    if found.first_scan_at is not None and found.delivered_at is not None:
        transit = (found.delivered_at - found.first_scan_at) / _DAY_MS
    return ParcelRow(
        business_product_id=found.business_product_id,
        order_id=found.order_id,
        delivery_id=found.delivery_id,
        carrier=found.carrier or code.upper(),
        tracking_number=number,
        delivery_state=found.delivery_state,
        stage=STAGES[found.stage],
        standing=standing,
        ordered_at=found.ordered_at,
        shipped_at=found.shipped_at,
        shipped_on=_date(found.shipped_on),
        first_scan_at=found.first_scan_at,
        delivered_at=found.delivered_at,
        delivered_on=_date(found.delivered_on),
        promise_on=_date(found.promised_on),
        estimate_on=_date(found.estimated_on),
        last_scan_at=found.last_scan_at,
        stage_at=found.stage_at,
        attempts=found.attempts,
        origin=found.origin,
        destination=found.destination,
        transit_days=transit,
    )


def _date(day: int | None) -> date | None:
    return None if day is None else _EPOCH + timedelta(days=day)


def standings(cohort: pl.LazyFrame, numbers: Iterable[int], t: Terms) -> dict[int, str]:
    """How each of these stands to its promise."""
    which = pl.coalesce(pl.when(condition).then(pl.lit(name)) for name, condition in standing(t).items())
    table = cohort.filter(pl.col("number").is_in(list(numbers))).select("number", which.alias("standing"))
    return dict(table.collect().iter_rows())


def csv_lines(rows: Iterable[ParcelRow], *, head: bool) -> bytes:
    """Rows as CSV; times as ISO 8601. A text that a spreadsheet would take for a formula is led by an apostrophe."""
    text = io.StringIO()
    writer = csv.writer(text)
    if head:
        writer.writerow(CSV_COLUMNS)
    for row in rows:
        writer.writerow(_cell(name, getattr(row, name)) for name in CSV_COLUMNS)
    return text.getvalue().encode("utf-8", "replace")


def _cell(name: str, value: object) -> object:
    if isinstance(value, str):
        return f"'{value}" if value.startswith(FORMULAS) else value
    if name.endswith("_at") and isinstance(value, int):
        return format_instant(Instant(value))
    return "" if value is None else value
