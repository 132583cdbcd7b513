"""How Insights says a number: its value in its unit, over how many it was computed, how it moved, what is open."""

from datetime import UTC, date, datetime
from typing import Final

from milepost.domain.instant import Instant
from milepost.pipeline.insight_results import FEWEST, Distribution, Figure, Point, Unit
from milepost.pipeline.insight_tables import STANDINGS

SETTLED: Final = 0.98
"""From this share of its parcels on, a period counts as decided."""
_WORSE_WHEN_MORE: Final = frozenset({"exceptions", "never-scanned", "false-delivered"})


def valued(value: float | None, unit: Unit) -> str:
    """A value for a person: `94.2 %`, `2.4 days`, `1,204`; a dash where there is none."""
    if value is None:
        return "–"
    if unit == "share":
        return f"{100 * value:.1f} %"
    if unit == "count":
        return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"
    if unit == "milliseconds":
        return _length(value)
    singular = {"days": "day", "hours": "hour"}[unit]
    return f"{value:,.1f} {singular if value == 1 else unit}".replace("-", "−")


def _length(milliseconds: float) -> str:
    for size, name in ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s")):
        if abs(milliseconds) >= size:
            return f"{milliseconds / size:,.1f} {name}"
    return f"{milliseconds:,.0f} ms"


def told(figure: Figure) -> str:
    """The value of a figure, or why it has none."""
    return fewer(figure.n) if figure.suppressed else valued(figure.value, figure.unit)


def fewer(n: int) -> str:
    """In place of a percentile that rests on too little."""
    return f"n = {n}, fewer than {FEWEST}"


def resting(figure: Figure) -> str:
    """What a figure rests on: `n = 812 · 96 % decided`."""
    said = f"n = {figure.n:,}"
    if figure.maturity is not None and figure.maturity < 1:
        said += f" · {_percent(figure.maturity)} decided"
    return said


def percentile(distribution: Distribution, value: float | None) -> str:
    """One of a distribution's percentiles."""
    return fewer(distribution.n) if distribution.suppressed else valued(value, distribution.unit)


def _percent(share: float) -> str:
    """Whole percents, but never 100 of what is less, nor 0 of what is something."""
    rounded = round(100 * share)
    if rounded == 100 and share < 1:
        return "over 99 %"
    return "under 1 %" if rounded == 0 and share > 0 else f"{rounded} %"


def moved(figure: Figure, before: Figure | None) -> tuple[str, str] | None:
    """By how much it changed since the period before, and how bad that is; None where there is nothing to compare.

    A share moves by points, everything else by its unit."""
    if before is None or figure.value is None or before.value is None:
        return None
    change = figure.value - before.value
    if figure.unit == "share":
        text = f"{100 * change:+.1f} points"
        slight = abs(change) < 0.0005
    else:
        text = f"{change:+,.1f}"
        slight = abs(change) < 0.05
    if slight:
        return "unchanged", "neutral"
    longer_is_worse = figure.unit in ("days", "hours", "milliseconds") or figure.id in _WORSE_WHEN_MORE
    return text.replace("-", "−"), "warn" if (change > 0) == longer_is_worse else "good"


def settled(figure: Figure) -> bool:
    """Whether nearly everything that it is about is decided."""
    return figure.maturity is None or figure.maturity >= SETTLED


def undecided(figure: Figure) -> str:
    """`18 %`: how much of a cohort is still moving; empty when next to nothing is."""
    return "" if settled(figure) or figure.maturity is None else _percent(1 - figure.maturity)


def spanned(point: Point) -> str:
    """`3 Nov`, or `3 – 9 Nov` for a week."""
    if point.start == point.end:
        return _day(point.start)
    return (
        f"{point.start.day} – {_day(point.end)}"
        if _same_month(point)
        else f"{_day(point.start)} – {_day(point.end)}"
    )


def _same_month(point: Point) -> bool:
    return (point.start.year, point.start.month) == (point.end.year, point.end.month)


def _day(day: date) -> str:
    return f"{day.day} {day:%b}"


def on_day(day: date | Instant | None) -> str:
    """A local day, or the day (UTC) of an instant: `3 Nov 2026`."""
    if day is None:
        return "–"
    known = day if isinstance(day, date) else datetime.fromtimestamp(day / 1000, UTC).date()
    return f"{_day(known)} {known.year}"


def dated(basis: str, since: date | None, until: date | None) -> str:
    """Which parcels a period holds, in words: `shipped from 1 to 30 Nov 2026`."""
    if since is None and until is None:
        return "of all time"
    return f"{basis} {_between(since, until)}"


def _between(since: date | None, until: date | None) -> str:
    if since is None or until is None:
        only = since or until
        assert only is not None
        return f"{'since' if until is None else 'until'} {_day(only)} {only.year}"
    first = _day(since) if since.year == until.year else f"{_day(since)} {since.year}"
    return f"from {first} to {_day(until)} {until.year}"


def stood(standing: str) -> str:
    """How a parcel stands to its promise."""
    return STANDINGS.get(standing, standing)


FILTERS: Final = {
    "stood": stood,
    "valued": valued,
    "told": told,
    "resting": resting,
    "undecided": undecided,
    "on_day": on_day,
}
"""By the names that templates use."""
