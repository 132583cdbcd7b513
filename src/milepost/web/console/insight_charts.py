"""Insights' results as charts: which of a result's numbers are drawn, and where each part leads.

Charts are `charts`', results `pipeline.insight_results`'. Whatever is drawn stands in a table beneath it, too.
"""

from collections.abc import Callable, Sequence

from milepost.pipeline.insight_results import (
    AgeingGrid,
    Bin,
    Cell,
    Counts,
    Distribution,
    Figure,
    LaneMatrix,
    Share,
    Trend,
)
from milepost.web.console import charts, heat_map
from milepost.web.console.insight_words import resting, settled, spanned, told, valued
from milepost.web.console.wording import spoken

_FEWEST_BINS = 4
"""With fewer of one width there is nothing to see along an axis."""

Opening = Callable[..., str]
"""The address of the rows of a number, by their name and, of a group's number, what the group's filter has more;
empty where a number has none."""


def trend(found: Trend, rows_of: Opening) -> charts.LineChart:
    """On time over the days; those that are not decided are drawn as such."""
    points = [
        charts.Point(
            spanned(point),
            point.figure.value,
            resting(point.figure),
            rows_of(point.figure.all_rows or point.figure.rows, since=point.start, until=point.end),
            settled(point.figure),
        )
        for point in found.points
    ]
    title = f"On time by {found.by}"
    return charts.line(title, [charts.Series("On time", points)], say=_percent, low=None, high=1.0)


def drawable(found: Distribution) -> int:
    """How many of its bins, from the first, are of one width and so can be drawn along an axis; 0 if too few are."""
    if not found.bins or found.bins[0].high is None:
        return 0
    width = found.bins[0].high - found.bins[0].low
    even = 0
    for each in found.bins:
        if each.high is None or abs(each.high - each.low - width) > 1e-6:
            break
        even += 1
    return even if even >= _FEWEST_BINS else 0


def tail(found: Distribution) -> Sequence[Bin]:
    """The bins that aren't drawn along the axis and hold something."""
    return [each for each in found.bins[drawable(found) :] if each.count]


def ends(found: Distribution, each: Bin) -> str:
    """A bin in words: `2–3 days`, `21 days and more`."""
    if found.unit == "milliseconds":
        low = valued(each.low, found.unit)
        return f"{low} and more" if each.high is None else f"{low} to {valued(each.high, found.unit)}"
    if each.high is None:
        return f"{each.low:g} {found.unit} and more"
    return f"{each.low:g}–{each.high:g} {found.unit}"


def spread(found: Distribution, rows_of: Opening) -> charts.Bars:
    """How many took how long, where bins widen: a bar each."""
    bars = [
        charts.Bar(ends(found, each), float(each.count), href=rows_of(each.rows if each.count else None))
        for each in found.bins
    ]
    return charts.bars(found.title, bars)


def lengths(found: Distribution, rows_of: Opening) -> charts.Histogram:
    """How many took how long, with the percentiles where there are enough; what took longer than is drawn is one bar
    at the end."""
    even = found.bins[: drawable(found)]
    width = even[0].high - even[0].low  # type: ignore[operator]
    longest = even[-1].low + width
    drawn = [charts.Bin(b.low, b.low + width, b.count, rows_of(b.rows if b.count else None)) for b in even]
    if longer := sum(each.count for each in found.bins[len(even) :]):
        drawn.append(charts.Bin(longest, longest + width, longer))

    def say(value: float) -> str:
        return "longer" if value > longest + 1e-6 and longer else _round(valued(value, found.unit))

    markers = [
        charts.Marker(name, value)
        for name, value in (("p50", found.p50), ("p90", found.p90), ("p95", found.p95))
        if value is not None and not found.suppressed
    ]
    return charts.histogram(found.title, drawn, markers, say=say)


def counted(title: str, found: Counts, rows_of: Opening) -> charts.Bars:
    """Parcels by where they stand."""
    bars = [
        charts.Bar(_titled(part), part.value or 0.0, _of(part.value, found.cohort), rows_of(part.rows))
        for part in found.parts
    ]
    return charts.bars(title, bars, most=float(found.cohort))


def parted(title: str, found: Share, rows_of: Opening) -> charts.Bars:
    """What a rate is made of: what is counted. A part that rests on what the rate itself does says only its share."""
    bars = [
        charts.Bar(
            part.title,
            float(part.numerator),
            _of(part.numerator, part.n) if resting(part) == resting(found.main) else resting(part),
            rows_of(part.rows),
        )
        for part in found.parts
        if part.numerator is not None
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
            opened = rows_of(figure.all_rows or figure.rows, origin=origin, destination=destination)
            cells.append(heat_map.Cell(value, told(figure), note, opened))
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
        if any(cell.count for cell in cells[number * width : (number + 1) * width])
    ]
    return heat_map.ageing(title, "Stage", found.buckets, rows)


def _percent(value: float) -> str:
    return _round(valued(value, "share"))


def _round(text: str) -> str:
    """Without the decimals of a round number: `100 %`, not `100.0 %`."""
    return text.replace(".0 ", " ")


def _titled(part: Figure) -> str:
    """Parts that are a stage are titled by its code."""
    return spoken(part.title) if part.title.isupper() else part.title


def _of(part: float | None, whole: int) -> str:
    return valued(part / whole, "share") if part is not None and whole else ""
