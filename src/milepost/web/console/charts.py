"""Charts as numbers to draw: where lines, bars and labels stand. `charts.html` draws them as SVG.

They are made here and not in the browser, so that they are there with JavaScript off and on paper; why no library
does it is in docs/decisions/0019-console.md. What a value is called is the caller's (`say`). Every chart keeps what
it was made of, for the table beneath it. Axes are in `axes`, heat maps and ageing grids in `heat_map`.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import Literal

from msgspec import Struct

from milepost.web.console.axes import (
    HEIGHT,
    LABELS,
    Label,
    Say,
    Scale,
    Tick,
    anchored,
    labelled,
    percent,
    plain,
    share_of,
    ticks,
)

Tone = Literal["accent", "good", "active", "warn", "bad", "neutral"]


class Point(Struct, frozen=True):
    """A value of a day, a week or whatever else stands along the axis; None where there is none."""

    label: str
    value: float | None
    note: str = ""
    """What it rests on: `113 of 120`."""
    href: str = ""
    """Where its rows are."""
    is_mature: bool = True
    """False while what it counts may still change."""


class Series(Struct, frozen=True):
    name: str
    points: Sequence[Point]
    tone: Tone = "accent"


class Stroke(Struct, frozen=True):
    """A series between two gaps: paths in percent and pixels. `dot` is set where it is but one point."""

    tone: Tone
    line: str
    area: str
    dot: tuple[float, float] | None


class Hit(Struct, frozen=True):
    """A piece of the width that answers for what stands above it."""

    x: float
    width: float
    middle: float
    says: tuple[str, ...]
    dots: tuple[tuple[float, Tone], ...] = ()
    """Heights of what stands there."""


class LineChart(Struct, frozen=True):
    title: str
    about: str
    height: int
    ticks: list[Tick]
    labels: list[Label]
    strokes: list[Stroke]
    hits: list[Hit]
    open_from: float | None
    """The percent from which on points are not mature."""
    series: Sequence[Series]
    rows: list[tuple[str, list[tuple[str, str, str]], bool]]
    """Label, (text, note, href) a series, maturity."""


def line(
    title: str,
    series: Sequence[Series],
    *,
    say: Say = plain,
    about: str = "",
    low: float | None = 0.0,
    high: float | None = None,
    with_area: bool = True,
) -> LineChart:
    """Lines over the same days. `low` and `high` are kept inside the axis (None: only the values are)."""
    points = series[0].points if series else ()
    if any(len(each.points) != len(points) for each in series):
        raise ValueError("series of one chart have one point for each day")
    scale = Scale(_values(series), low, high)
    count = len(points)
    middles = [percent((place + 0.5) / count) for place in range(count)]
    young = next((place for place, point in enumerate(points) if not point.is_mature), None)
    return LineChart(
        title,
        about or _described(series, say),
        HEIGHT,
        [Tick(scale.y(value), say(value)) for value in scale.ticks],
        labelled([point.label for point in points], middles),
        [stroke for each in series for stroke in _strokes(each, middles, scale, with_area)],
        [_hit(series, place, middles, scale, say) for place in range(count)],
        None if young is None else percent(young / count),
        series,
        [_row(series, place, say) for place in range(count)],
    )


def _values(series: Sequence[Series]) -> list[float]:
    return [point.value for each in series for point in each.points if point.value is not None]


def _strokes(series: Series, middles: Sequence[float], scale: Scale, with_area: bool) -> list[Stroke]:
    """One between every two gaps."""
    spots = [
        None if p.value is None else (x, scale.y(p.value))
        for x, p in zip(middles, series.points, strict=True)
    ]
    found = []
    for known, run in groupby(spots, key=lambda spot: spot is not None):
        if known:
            path = [spot for spot in run if spot is not None]
            drawn = "L".join(f"{x:g},{y:g}" for x, y in path)
            area = f"M{path[0][0]:g},{HEIGHT}L{drawn}L{path[-1][0]:g},{HEIGHT}Z" if with_area else ""
            found.append(Stroke(series.tone, f"M{drawn}", area, path[0] if len(path) == 1 else None))
    return found


def _hit(series: Sequence[Series], place: int, middles: Sequence[float], scale: Scale, say: Say) -> Hit:
    label, spoken, is_mature = _row(series, place, say)
    named = len(series) > 1
    says = [label]
    for each, (text, note, _) in zip(series, spoken, strict=True):
        says.append((f"{each.name}: " if named else "") + text + (f" ({note})" if note else ""))
    if not is_mature:
        says.append("may still change")
    dots = tuple(
        (scale.y(value), each.tone) for each in series if (value := each.points[place].value) is not None
    )
    width = percent(1 / len(middles))
    return Hit(round(middles[place] - width / 2, 3), width, middles[place], tuple(says), dots)


def _row(series: Sequence[Series], place: int, say: Say) -> tuple[str, list[tuple[str, str, str]], bool]:
    points = [each.points[place] for each in series]
    spoken = [("–" if p.value is None else say(p.value), p.note, p.href) for p in points]
    return points[0].label, spoken, all(point.is_mature for point in points)


def _described(series: Sequence[Series], say: Say) -> str:
    """A chart in a sentence, for who doesn't see it."""
    parts = []
    for each in series:
        known = [(point.label, point.value) for point in each.points if point.value is not None]
        if known:
            (first, start), (last, end) = known[0], known[-1]
            least, most = min(value for _, value in known), max(value for _, value in known)
            parts.append(
                f"{each.name}: {say(start)} on {first}, {say(end)} on {last}, between {say(least)} and {say(most)}."
            )
    return " ".join(parts) or "There are no values."


class Bin(Struct, frozen=True):
    """How many values lie from `low` to below `high`."""

    low: float
    high: float
    count: int
    href: str = ""


class Marker(Struct, frozen=True):
    """A line across a histogram: `p90` at 4.1."""

    name: str
    value: float


class Drawn(Struct, frozen=True):
    """A bar: percent from the left, pixels from the top."""

    x: float
    width: float
    y: float
    height: float
    says: tuple[str, ...]


class Line(Struct, frozen=True):
    """A marker where it is drawn. `row` is which of several lines its name is written on, so that none overlap."""

    at: float
    text: str
    anchor: Literal["start", "end"]
    row: int


class Histogram(Struct, frozen=True):
    title: str
    about: str
    height: int
    ticks: list[Tick]
    labels: list[Label]
    bars: list[Drawn]
    lines: list[Line]
    rows: list[tuple[str, str, str, str]]
    """Range, count, share, href."""


def histogram(
    title: str, bins: Sequence[Bin], markers: Sequence[Marker] = (), *, say: Say = plain, about: str = ""
) -> Histogram:
    """Bars for the bins, which lie beside each other in order, and lines for percentiles."""
    if not bins:
        return Histogram(title, about or "There are no values.", HEIGHT, [], [], [], [], [])
    first, last, total = bins[0].low, bins[-1].high, sum(each.count for each in bins)
    scale = Scale([float(each.count) for each in bins], 0.0, 1.0)

    def x(value: float) -> float:
        return percent((min(max(value, first), last) - first) / (last - first))

    rows = [
        (f"{say(b.low)} to {say(b.high)}", plain(b.count), share_of(b.count, total), b.href) for b in bins
    ]
    bars = [
        Drawn(
            x(each.low),
            round(x(each.high) - x(each.low), 3),
            scale.y(each.count),
            round(HEIGHT - scale.y(each.count), 2),
            (span, f"{count} ({share})"),
        )
        for each, (span, count, share, _) in zip(bins, rows, strict=True)
    ]
    steps = [value for value in ticks(first, last, LABELS) if first <= value <= last]
    said = ", ".join(f"{marker.name} {say(marker.value)}" for marker in markers)
    return Histogram(
        title,
        about or f"{plain(total)} values" + (f"; {said}." if said else "."),
        HEIGHT,
        [Tick(scale.y(value), plain(value)) for value in scale.ticks if not value % 1],
        [
            Label(x(value), say(value), anchored(x(value)), number % 2 == 1)
            for number, value in enumerate(steps)
        ],
        bars,
        [
            Line(x(m.value), f"{m.name} {say(m.value)}", "end" if x(m.value) > 70 else "start", row)
            for row, m in enumerate(markers)
        ],
        rows,
    )


class Bar(Struct, frozen=True):
    """A row of horizontal bars."""

    label: str
    value: float
    note: str = ""
    href: str = ""
    tone: Tone = "accent"


class Bars(Struct, frozen=True):
    title: str
    rows: list[tuple[Bar, float, str]]
    """The bar, its width in percent, what its value is called."""


def bars(title: str, given: Sequence[Bar], *, say: Say = plain, most: float | None = None) -> Bars:
    """Bars as wide as their value's share of `most` (of the largest, when None)."""
    widest = max([each.value for each in given] if most is None else [most], default=0.0)
    return Bars(title, [(b, _width(b.value, widest), say(b.value)) for b in given])


def _width(value: float, widest: float) -> float:
    return percent(min(max(value, 0.0) / widest, 1.0)) if widest > 0 else 0.0


class Share(Struct, frozen=True):
    """A part of a whole."""

    label: str
    count: int
    tone: Tone = "neutral"
    href: str = ""


class Shares(Struct, frozen=True):
    title: str
    about: str
    parts: list[tuple[Share, float, float, str]]
    """The share, percent from the left, width in percent, its text."""


def shares(title: str, given: Sequence[Share]) -> Shares:
    """One bar, cut into shares in the order given."""
    total = sum(each.count for each in given)
    parts, left = [], 0.0
    for each in given:
        width = _width(each.count, total)
        parts.append((each, round(left, 3), width, share_of(each.count, total)))
        left += width
    about = ", ".join(f"{share.label}: {text}" for share, _, _, text in parts)
    return Shares(title, about or "There are no values.", parts)


class Sparkline(Struct, frozen=True):
    """A line without axes, 100 wide and 24 high."""

    line: str
    area: str
    about: str


def sparkline(values: Sequence[float | None], *, say: Say = plain) -> Sparkline:
    """The course of some values, beside a number. Gaps are bridged: it shows where things go, not each day."""
    known = [(place, value) for place, value in enumerate(values) if value is not None]
    if len(known) < 2:
        return Sparkline("", "", "There are too few values.")
    least, most = min(value for _, value in known), max(value for _, value in known)
    span = (most - least) or 1.0
    spots = [
        f"{100 * place / (len(values) - 1):.2f},{22 - 20 * (value - least) / span:.2f}"
        for place, value in known
    ]
    drawn = "L".join(spots)
    first, last = (spot.partition(",")[0] for spot in (spots[0], spots[-1]))
    about = f"From {say(known[0][1])} to {say(known[-1][1])}, between {say(least)} and {say(most)}."
    return Sparkline(f"M{drawn}", f"M{first},24L{drawn}L{last},24Z", about)
