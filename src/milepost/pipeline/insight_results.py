"""What Insights answers with: the filter that a question is asked under, and the shapes of the numbers.

A number never stands alone: beside it are what it was divided by, over how many it was computed, how much of the
cohort is decided (`maturity`), the sentence that defines it and the name of the rows behind it (`rows`, which
`Insights.rows` opens under the same filter). A value that rests on fewer than `FEWEST` parcels is None and says
`suppressed` where it is a percentile (tracking.md 8). How each is computed is `insight_rates`', `insight_durations`'
and `insight_tables`'. The API sends them as they are, names in camelCase.
"""

from datetime import date
from typing import Literal

from msgspec import Struct

Basis = Literal["ordered", "shipped", "delivered"]
Days = Literal["calendar", "business"]
Unit = Literal["share", "days", "hours", "milliseconds", "count"]

FEWEST = 20
"""Percentiles over fewer parcels are suppressed (tracking.md 8, scenario 34)."""


class Filter(Struct, frozen=True):
    """Which parcels a question is about. Without dates every parcel, those that were never shipped too."""

    business_products: frozenset[str] | None = None
    """None: all of them."""
    carrier: str | None = None
    """A carrier code, any case."""
    origin: str | None = None
    """A region as `ParcelRow.origin` has it; empty: those whose is not known."""
    destination: str | None = None
    basis: Basis = "shipped"
    """Which local date `since` and `until` are held against, and the trend goes by."""
    since: date | None = None
    until: date | None = None
    """Included."""
    days: Days = "calendar"
    """Business days: lengths of time leave weekends and holidays out."""


class Loading(Struct, frozen=True, rename="camel"):
    """The columns are being read: no number is told before they are all there."""

    loaded: int
    total: int


class Figure(Struct, frozen=True, rename="camel"):
    """One number."""

    id: str
    title: str
    """In a few words: `On time`."""
    value: float | None
    """A share from 0 to 1, or a number of `unit`; None where there is nothing to compute it from, or too little."""
    unit: Unit
    numerator: int | None
    denominator: int | None
    n: int
    """Over how many it was computed."""
    cohort: int
    """All parcels (for an order's metric: orders) that the filter lets through."""
    maturity: float | None
    """Share of the cohort of which the outcome that this is about is decided; None for an empty cohort."""
    definition: str
    """The sentence to show beside the number."""
    rows: str | None = None
    """Name of the numerator's rows."""
    all_rows: str | None = None
    """Name of the denominator's rows."""
    method: str = ""
    flatters: bool = False
    """It leaves out parcels that would make it worse; what to look at instead stands beside it."""
    suppressed: bool = False
    note: str = ""


class Share(Struct, frozen=True, rename="camel"):
    """A rate, the other ways to compute it, each labelled by its title, and what it is made of."""

    main: Figure
    variants: tuple[Figure, ...] = ()
    parts: tuple[Figure, ...] = ()


class Bin(Struct, frozen=True, rename="camel"):
    """How many took at least `low` and less than `high` days; `high` None: any longer."""

    low: float
    high: float | None
    count: int
    rows: str
    """Name of its rows."""


class Distribution(Struct, frozen=True, rename="camel"):
    """How long something takes. Percentiles over those that have both ends leave out who is still under way."""

    id: str
    title: str
    unit: Unit
    n: int
    """Those with both ends."""
    cohort: int
    coverage: float | None
    """n of those that reached the end."""
    open: int
    """Those that began and are still under way: `survival` counts them for as long as they have been."""
    maturity: float | None
    """Share of those that began of which it is decided."""
    p50: float | None
    p90: float | None
    p95: float | None
    mean: float | None
    survival_p50: float | None
    """Kaplan–Meier: what half will have taken, those under way counted. None also where it can't be told yet."""
    survival_p90: float | None
    survival_p95: float | None
    suppressed: bool
    bins: tuple[Bin, ...]
    definition: str
    method: str
    note: str
    rows: str


class Point(Struct, frozen=True, rename="camel"):
    """One day or week of a trend, from `start` to `end` (both included)."""

    start: date
    end: date
    figure: Figure


class Trend(Struct, frozen=True, rename="camel"):
    by: Literal["day", "week"]
    points: tuple[Point, ...]
    """Oldest first; at most 400, the newest. Days without a parcel are left out."""
    definition: str


class Dwell(Struct, frozen=True, rename="camel"):
    """One stage: how long parcels stayed that left it, and how long those in it have been there. In days."""

    stage: str
    n: int
    p50: float | None
    p90: float | None
    open: int
    open_p50: float | None
    open_p90: float | None
    suppressed: bool
    rows: str
    """Name of the rows that are in it now."""
    left_rows: str
    """Name of those that left it."""


class DwellTable(Struct, frozen=True, rename="camel"):
    stages: tuple[Dwell, ...]
    definition: str
    method: str


class Cell(Struct, frozen=True, rename="camel"):
    """So many open parcels of one stage are so old."""

    stage: str
    bucket: str
    count: int
    rows: str


class AgeingGrid(Struct, frozen=True, rename="camel"):
    """Open parcels by stage and age: since they entered the stage, and since their last scan."""

    stages: tuple[str, ...]
    buckets: tuple[str, ...]
    since_entry: tuple[Cell, ...]
    """Row by row, every cell."""
    since_scan: tuple[Cell, ...]
    never_scanned: int
    """Open parcels without a scan: they are not in `since_scan`."""
    open: int
    definition: str


class CarrierRow(Struct, frozen=True, rename="camel"):
    carrier: str
    """Empty: parcels whose carrier is not known."""
    parcels: int
    shipped: int
    delivered: int
    moving: int
    on_time: Figure
    transit_p50: float | None
    transit_p90: float | None
    survival_p90: float | None
    transit_n: int
    exceptions: Figure
    false_delivered: Figure
    first_attempt: Figure


class CarrierTable(Struct, frozen=True, rename="camel"):
    """Most parcels first; at most 100."""

    carriers: tuple[CarrierRow, ...]
    left_out: int
    """Carriers beyond the table."""
    definition: str


class Lane(Struct, frozen=True, rename="camel"):
    origin: str
    destination: str
    parcels: int
    on_time: Figure
    transit_p50: float | None


class LaneMatrix(Struct, frozen=True, rename="camel"):
    """Origins and destinations with most parcels first; at most 30 of each, the others are left out."""

    origins: tuple[str, ...]
    destinations: tuple[str, ...]
    lanes: tuple[Lane, ...]
    """Those that have parcels."""
    unknown: int
    """Parcels of which one end is not known: those without a scan, or that nobody says where they go."""
    left_out: int
    definition: str


class Counts(Struct, frozen=True, rename="camel"):
    """Parcels by where they stand; each part's `rows` opens it. The parts add up to `cohort`."""

    parts: tuple[Figure, ...]
    cohort: int
    definition: str


class Accuracy(Struct, frozen=True, rename="camel"):
    """How right the original estimate was, in days; positive bias: later than promised."""

    absolute_error: Figure
    bias: Figure
    within_a_day: Figure
    revisions: Figure
    revised: Figure


Result = (
    Figure
    | Share
    | Distribution
    | Trend
    | DwellTable
    | AgeingGrid
    | CarrierTable
    | LaneMatrix
    | Counts
    | Accuracy
)


class Overview(Struct, frozen=True, rename="camel"):
    """What Insights shows first. `choices` are what the filters offer."""

    parcels: int
    orders: int
    undated: int
    """Parcels without the date the filter goes by: outside of any cohort, under any dates."""
    moving: Counts
    on_time: Share
    otif: Share
    promise: Counts
    trend: Trend
    processing: Distribution
    pickup: Distribution
    transit: Distribution
    door: Distribution
    accuracy: Accuracy
    first_attempt: Share
    exceptions: Share
    never_scanned: Share
    accountability: Share
    false_delivered: Share
    dwell: DwellTable
    ageing: AgeingGrid
    carriers: CarrierTable
    lanes: LaneMatrix
    completeness: Share
    source_lag: Distribution
    choices: "Choices"


class Choices(Struct, frozen=True, rename="camel"):
    """What a filter can be set to, within the business products of who asks; most parcels first, at most 200 each."""

    business_products: tuple[str, ...]
    carriers: tuple[str, ...]
    origins: tuple[str, ...]
    destinations: tuple[str, ...]
    first: date | None
    last: date | None
    """The first and last date of the filter's basis."""


class ParcelRow(Struct, frozen=True, rename="camel"):
    """One parcel behind a number: a tracker of a delivery, or a delivery that has none. Instants are milliseconds."""

    business_product_id: str
    order_id: str
    delivery_id: str
    carrier: str
    tracking_number: str
    delivery_state: str
    stage: str
    standing: str
    """early, on-time, late, on-track, will-be-late, no-promise, cancelled."""
    ordered_at: int | None
    shipped_at: int | None
    shipped_on: date | None
    first_scan_at: int | None
    delivered_at: int | None
    delivered_on: date | None
    promise_on: date | None
    estimate_on: date | None
    last_scan_at: int | None
    stage_at: int | None
    attempts: int
    origin: str
    destination: str
    transit_days: float | None


class Rows(Struct, frozen=True, rename="camel"):
    """A page of the rows behind a number."""

    which: str
    title: str
    total: int
    rows: tuple[ParcelRow, ...]
    next: str | None
    """Pass it as `after`; None at the end."""
