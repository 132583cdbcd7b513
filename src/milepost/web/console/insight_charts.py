"""Insights' results as charts: which of a result's numbers are drawn, and where each part leads.

Charts are `charts`', results `pipeline.insight_results`'. Whatever is drawn stands in a table beneath it, too.
"""

from collections.abc import Callable, Sequence

from milepost.pipeline.insight_results import AgeingGrid, Cell, Counts, Distribution, LaneMatrix, Share, Trend
from milepost.web.console import charts, heat_map
from milepost.web.console.insight_words import resting, settled, spanned, told, valued
from milepost.web.console.wording import spoken

Opening = Callable[[str | None], str]
"""The address of the rows of a number; empty where it has none."""


def trend(found: Trend, rows_of: Opening) -> charts.LineChart:
    """On time over the days; those that are not decided are drawn as such."""
    points = [
        charts.Point(
            spanned(point),
            point.figure.value,
            resting(point.figure),
            rows_of(point.figure.all_rows or point.figure.rows),
            settled(point.figure),
        )
        for point in found.points
    ]
    title = f"On time by {found.by}"
    return charts.line(title, [charts.Series("On time", points)], say=_percent, low=None, high=1.0)


def is_even(found: Distribution) -> bool:
    """Whether its bins are of one width, so that they can be drawn along an axis."""
    widths = {round(b.high - b.low, 6) for b in found.bins if b.high is not None}
    return len(widths) == 1


def spread(found: Distribution, rows_of: Opening) -> charts.Bars:
    """How many took how long, where bins widen: a bar each."""
    bars = [
        charts.Bar(
            f"{valued(b.low, found.unit)} and more"
            if b.high is None
            else f"{valued(b.low, found.unit)} to {valued(b.high, found.unit)}",
            float(b.count),
            href=rows_of(b.rows if b.count else None),
        )
        for b in found.bins
    ]
    return charts.bars(found.title, bars)


def lengths(found: Distribution, rows_of: Opening) -> charts.Histogram:
    """How many took how long, with the percentiles where there are enough."""
    bins = found.bins
    # What takes any longer is drawn as wide as the bin before it.
    last = bins[-1].low + (
        bins[-2].high - bins[-2].low if len(bins) > 1 and bins[-2].high is not None else 1.0
    )

    def say(value: float) -> str:
        return "longer" if bins[-1].high is None and value == last else valued(value, found.unit)

    drawn = [
        charts.Bin(b.low, last if b.high is None else b.high, b.count, rows_of(b.rows if b.count else None))
        for b in bins
    ]
    markers = [
        charts.Marker(name, value)
        for name, value in (("p50", found.p50), ("p90", found.p90), ("p95", found.p95))
        if value is not None and not found.suppressed
    ]
    return charts.histogram(found.title, drawn, markers, say=say)


def counted(title: str, found: Counts, rows_of: Opening) -> charts.Bars:
    """Parcels by where they stand."""
    bars = [
        charts.Bar(part.title, part.value or 0.0, _of(part.value, found.cohort), rows_of(part.rows))
        for part in found.parts
    ]
    return charts.bars(title, bars, most=float(found.cohort))


def parted(title: str, found: Share, rows_of: Opening) -> charts.Bars:
    """What a rate is made of."""
    bars = [
        charts.Bar(part.title, float(_count(part.numerator, part.value)), resting(part), rows_of(part.rows))
        for part in found.parts
    ]
    return charts.bars(title, bars)


def lanes(found: LaneMatrix, rows_of: Opening) -> heat_map.Heat:
    """On time from each origin to each destination."""
    known = {(lane.origin, lane.destination): lane for lane in found.lanes}
    rows: list[tuple[str, Sequence[heat_map.Cell | None]]] = []
    for origin in found.origins:
        cells: list[heat_map.Cell | None] = []
        for destination in found.destinations:
            lane = known.get((origin, destination))
            if lane is None:
                cells.append(None)
                continue
            figure = lane.on_time
            half = "" if lane.transit_p50 is None else f", half within {valued(lane.transit_p50, 'days')}"
            note = f"{lane.parcels:,} parcels{half}"
            value = None if figure.suppressed else figure.value
            cells.append(heat_map.Cell(value, told(figure), note, rows_of(figure.all_rows or figure.rows)))
        rows.append((origin, cells))
    return heat_map.heat("On time by lane", "From", found.destinations, rows, worst="low")


def ages(title: str, found: AgeingGrid, cells: Sequence[Cell], rows_of: Opening) -> heat_map.Heat:
    """Open parcels by stage and age."""
    width = len(found.buckets)
    rows = [
        (
            spoken(stage),
            [(cell.count, rows_of(cell.rows)) for cell in cells[number * width : (number + 1) * width]],
        )
        for number, stage in enumerate(found.stages)
    ]
    return heat_map.ageing(title, "Stage", found.buckets, rows)


def _percent(value: float) -> str:
    return valued(value, "share")


def _of(part: float | None, whole: int) -> str:
    return valued(part / whole, "share") if part is not None and whole else ""


def _count(numerator: int | None, value: float | None) -> float:
    return numerator if numerator is not None else value or 0.0
