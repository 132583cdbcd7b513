"""Heat maps and ageing grids: tables whose cells are tinted by their numbers. `charts.html` draws them.

They are tables and no pictures: every number can be read, sorted out by a screen reader and opened.
"""

import math
from collections.abc import Sequence
from typing import Final, Literal

from msgspec import Struct

from milepost.web.console.axes import plain


class Cell(Struct, frozen=True):
    """A cell of a heat map. `value` None: nothing is known, or too little to be said."""

    value: float | None
    text: str
    note: str = ""
    href: str = ""


class Heat(Struct, frozen=True):
    title: str
    corner: str
    columns: Sequence[str]
    rows: list[tuple[str, list[tuple[Cell | None, int]]]]
    """A row's name and its cells with their level: 0 (nothing to notice) to `LEVELS`."""
    tone: Literal["accent", "bad"]


LEVELS: Final = 5


def heat(
    title: str,
    corner: str,
    columns: Sequence[str],
    rows: Sequence[tuple[str, Sequence[Cell | None]]],
    *,
    worst: Literal["low", "high"] | None = None,
) -> Heat:
    """A table whose cells are tinted by their value, between the least and the most of all: the high ones, or, where
    one end is bad, that end in the colour of what is bad. `corner` heads the column of names."""
    known = [cell.value for _, cells in rows for cell in cells if cell is not None and cell.value is not None]
    least, most = min(known, default=0.0), max(known, default=0.0)

    def level(cell: Cell | None) -> int:
        if cell is None or cell.value is None or least == most:
            return 0
        share = (cell.value - least) / (most - least)
        return round(LEVELS * (1 - share if worst == "low" else share))

    drawn = [(name, [(cell, level(cell)) for cell in cells]) for name, cells in rows]
    return Heat(title, corner, columns, drawn, "accent" if worst is None else "bad")


def ageing(
    title: str,
    corner: str,
    ages: Sequence[str],
    rows: Sequence[tuple[str, Sequence[tuple[int, str]]]],
) -> Heat:
    """Open things by where they stand and for how long: (count, href of its rows) a cell; totals are added last.
    What is tinted is what is many for its row, so that a large stage doesn't outshine a small one that is stuck."""
    drawn: list[tuple[str, list[tuple[Cell | None, int]]]] = []
    for name, cells in rows:
        total = sum(count for count, _ in cells)
        line: list[tuple[Cell | None, int]] = [
            (
                Cell(count, plain(count), href=href) if count else None,
                math.ceil(LEVELS * count / (total or 1)),
            )
            for count, href in cells
        ]
        drawn.append((name, [*line, (Cell(total, plain(total)), 0)]))
    return Heat(title, corner, [*ages, "All"], drawn, "accent")
