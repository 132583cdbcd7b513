"""How measurements are printed: tables, and the bars they are held against. Nothing is asserted in time."""

from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table as RichTable


class Row(tuple[object, ...]):
    """Cells of one row."""

    def __new__(cls, *cells: object) -> "Row":
        return super().__new__(cls, cells)


@dataclass
class Table:
    """One workload: its title, columns, rows, and bars as (what, measured, ">=" or "<=", wanted)."""

    title: str
    columns: tuple[str, ...]
    rows: list[Row] = field(default_factory=list)
    bars: list[tuple[str, float, str, float]] = field(default_factory=list)


console = Console(highlight=False, width=150)


def show(table: Table) -> None:
    """Print one workload."""
    rich = RichTable(*table.columns, title=table.title, title_justify="left", box=None, pad_edge=False)
    for column in rich.columns[1:]:
        column.justify = "right"
    for row in table.rows:
        rich.add_row(*(str(cell) for cell in row))
    console.print(rich)
    console.print()


def show_bars(tables: list[Table]) -> bool:
    """Print every bar with what was measured; True when all hold."""
    held = True
    rich = RichTable(
        "bar", "measured", "wanted", "", title="Bars", title_justify="left", box=None, pad_edge=False
    )
    for what, measured, relation, wanted in (bar for table in tables for bar in table.bars):
        good = measured >= wanted if relation == ">=" else measured <= wanted
        held = held and good
        mark = "[green]held[/]" if good else "[red]missed[/]"
        rich.add_row(what, f"{measured:,.3f}", f"{relation} {wanted:,g}", mark)
    console.print(rich)
    return held
