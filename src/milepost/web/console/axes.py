"""The axes of charts: round numbers along the height, words along the width.

Along the width everything is in percent, so that a chart is as wide as its place and its letters keep their size;
along the height in pixels, from the top.
"""

import math
from collections.abc import Callable, Sequence
from typing import Final, Literal

from msgspec import Struct

Say = Callable[[float], str]
Anchor = Literal["start", "middle", "end"]

HEIGHT: Final = 168
"""Pixels of a chart's plot."""
TICKS: Final = 5
LABELS: Final = 7
"""At most so many along the width; a phone shows every other."""
_STEPS: Final = (1.0, 2.0, 2.5, 5.0, 10.0)


def plain(value: float) -> str:
    """`1,204`, `2.5`: a number with no more decimals than it needs, at most two."""
    return f"{value:,.2f}".rstrip("0").rstrip(".") if value % 1 else f"{value:,.0f}"


def ticks(low: float, high: float, most: int = TICKS, *, whole: bool = False) -> list[float]:
    """Round numbers at one distance that enclose `low` to `high`: at least two, at most `most` (which is 3 or more).

    Their distance is 1, 2, 2.5 or 5 times a power of ten; with `whole` it is a whole number. Raises `ValueError` for
    a range that isn't finite or is the wrong way round."""
    if not (math.isfinite(low) and math.isfinite(high) and low <= high and most >= 3):
        raise ValueError(f"no ticks from {low} to {high}, at most {most}")
    # So narrow a range that floats can't tell its parts apart is as good as one number.
    if high - low <= 1e-9 * max(abs(low), abs(high), 1e-9):
        low, high = (min(low, 0.0), max(high, 0.0)) if low or high else (0.0, 1.0)
    exponent = math.floor(math.log10((high - low) / (most - 1)))
    for power in range(exponent, exponent + 3):
        for step in (base * 10.0**power for base in _STEPS):
            if whole and step % 1:
                continue
            first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
            if last - first < most:
                digits = max(0, 2 - power)
                return [round(number * step, digits) for number in range(first, max(last, first + 1) + 1)]
    raise AssertionError("a thousand times the distance encloses every range")


class Tick(Struct, frozen=True):
    """A round number on an axis: `at` in pixels from the top, or in percent from the left."""

    at: float
    text: str


class Label(Struct, frozen=True):
    """A word under the axis, at a percent of its width. `anchor` keeps the outermost inside."""

    at: float
    text: str
    anchor: Anchor
    is_wide: bool
    """Left out where there is no room."""


class Scale:
    """From values to pixels, over ticks that enclose them."""

    def __init__(self, values: Sequence[float], low: float | None, high: float | None) -> None:
        known = [*values, *(limit for limit in (low, high) if limit is not None)] or [0.0, 1.0]
        self.ticks = ticks(min(known), max(known))

    def y(self, value: float) -> float:
        first, last = self.ticks[0], self.ticks[-1]
        return round(HEIGHT * (1 - (value - first) / (last - first)), 2)


def percent(share: float) -> float:
    """A share of the width, of 100 and with no more digits than anybody sees."""
    return round(100 * share, 3)


def labelled(texts: Sequence[str], middles: Sequence[float]) -> list[Label]:
    """Evenly chosen ones: the last always, since it is what people look for first."""
    count = len(texts)
    if not count:
        return []
    apart = math.ceil(count / LABELS)
    chosen = list(range(count - 1, -1, -apart))[::-1]
    found = []
    for number, place in enumerate(chosen):
        at = middles[place]
        found.append(Label(at, texts[place], anchored(at), (len(chosen) - number) % 2 == 0))
    return found


def anchored(at: float) -> Anchor:
    """How a word at this percent stays inside."""
    return "start" if at < 6 else "end" if at > 94 else "middle"


def share_of(part: float, whole: float) -> str:
    """A part of a whole as a person reads it."""
    return f"{100 * part / whole:.1f} %" if whole else "–"
