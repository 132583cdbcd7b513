"""Results of Insights that are made up: every field filled by its type, with the text that a test wants in all."""

import types
import typing
from collections.abc import AsyncIterator
from datetime import date
from typing import Any

import msgspec

from milepost.domain.instant import Instant
from milepost.pipeline import insight_results as results
from milepost.pipeline.insight_results import Figure, Filter, Loading, Overview, Rows, Share

DAY = date(2025, 1, 10)
SHAPES: dict[type, dict[str, Any]] = {
    results.Figure: {"value": 0.94, "unit": "share", "numerator": 94, "denominator": 100, "n": 100}
    | {"cohort": 120, "maturity": 0.82, "suppressed": False, "flatters": False},
    results.Distribution: {"unit": "days", "p50": 2.1, "p90": 4.2, "p95": 6.3, "suppressed": False}
    | {"n": 90, "cohort": 100, "coverage": 0.9, "open": 7, "survival_p95": None},
    results.Dwell: {"suppressed": False},
    results.Trend: {"by": "day"},
}
"""What a made-up struct of a type says where its types alone would make nonsense."""


def made_up(shape: Any, text: str, number: int = 1) -> Any:
    """A value of this type. Structs of a tuple differ by their number."""
    origin, arguments = typing.get_origin(shape), typing.get_args(shape)
    if origin in (typing.Union, types.UnionType):
        return made_up(arguments[0], text, number)
    if origin is typing.Literal:
        return arguments[0]
    if origin is tuple:
        return tuple(made_up(arguments[0], text, n) for n in (1, 2, 3))
    simple: dict[Any, Any] = {str: text, int: number, float: number + 0.5, bool: True, date: DAY}
    if shape in simple:
        return simple[shape]
    if shape is results.Bin:
        return results.Bin(float(number - 1), None if number == 3 else float(number), 5 * number, text)
    if shape is results.AgeingGrid:
        cells = tuple(results.Cell(text, text, n, text) for n in range(4))
        return results.AgeingGrid((text, text), (text, text), cells, cells, 1, 6, text)
    hints = typing.get_type_hints(shape, vars(results))
    fields = {name: made_up(hint, text, number) for name, hint in hints.items()}
    return shape(**fields | SHAPES.get(shape, {}))


class Told:
    """`Insights` that answers what it was given, and remembers what it was asked."""

    def __init__(self, text: str = "made up", **answers: Any) -> None:
        self.answers: dict[str, Any] = {
            "overview": made_up(Overview, text),
            "notifications": made_up(Share, text),
            "rows": made_up(Rows, text),
        } | answers
        self.asked: list[tuple[Any, ...]] = []

    async def overview(self, filter: Filter, now: Instant) -> Overview | Loading:
        self.asked.append(("overview", filter))
        found: Overview | Loading = self.answers["overview"]
        return found

    async def leading(
        self, names: tuple[str, ...], filter: Filter, now: Instant
    ) -> dict[str, Figure] | Loading:
        self.asked.append(("leading", filter, names))
        overview: Overview = self.answers["overview"]
        figures = (overview.on_time.main, overview.accuracy.within_a_day)
        return {figure.id: figure for figure in figures}

    async def notifications(self, filter: Filter) -> Share:
        self.asked.append(("notifications", filter))
        found: Share = self.answers["notifications"]
        return found

    async def rows(
        self, which: str, filter: Filter, now: Instant, after: str | None = None, limit: int = 100
    ) -> Rows | Loading:
        self.asked.append(("rows", filter, which, after, limit))
        found: Rows | Loading = self.answers["rows"]
        return found

    async def csv(self, which: str, filter: Filter, now: Instant) -> AsyncIterator[bytes] | Loading:
        self.asked.append(("csv", filter, which))
        if isinstance(found := self.answers["rows"], Loading):
            return found
        return _lines(found)


async def _lines(found: Rows) -> AsyncIterator[bytes]:
    yield b"order\n"
    for row in found.rows:
        yield msgspec.json.encode(row.order_id) + b"\n"
