"""`milepost roads`: the roads events come by beside each other, and what one of them did not bring."""

from datetime import UTC, datetime
from typing import Any

import typer
from rich.markup import escape
from rich.table import Table

from milepost.cli.client import HubClient, console, print_json
from milepost.cli.looks import local
from milepost.cli.show import Json, Key, Product, Url


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: milepost roads --json")(roads)


def roads(business_product: Product = None, url: Url = None, api_key: Key = None, json: Json = False) -> None:
    """Show how far one road is behind the other, and what one of them did not bring."""
    answer = HubClient(url, api_key).get("/v1/roads", businessProductId=business_product)
    print_json(answer) if json else _print(answer)


def _print(answer: dict[str, Any]) -> None:
    used = [road for road in answer["roads"] if road["arrivals"] or road["behind"]["n"] or road["missed"]]
    if not used:
        console.print("no event came within the last seven days")
        return
    console.print(
        f"the newest {_plural(answer['arrivals'], 'arrival')} ({_plural(answer['events'], 'new event')})"
        f" since {local(answer['since'])}; the lag over {_plural(answer['crossings'], 'event')} by both roads\n"
        if answer["since"]
        else f"the lag over {_plural(answer['crossings'], 'event')} by both roads\n",
        soft_wrap=True,
    )
    table = Table(box=None, pad_edge=False)
    table.add_column("road", no_wrap=True)
    for column in ("arrivals", "first", "missed", "behind", "p50", "p90", "p99", "last"):
        table.add_column(column, justify="right", no_wrap=True)
    now = datetime.now(UTC)
    for road in used:
        table.add_row(*_cells(road, now))
    console.print(table)
    for road in used:
        _print_missed(road)
    _print_slowest(answer["slowest"])


def _cells(road: dict[str, Any], now: datetime) -> list[str]:
    behind = road["behind"]
    colour = "yellow" if road["missed"] else "white"
    last = road["lastArrivalAt"]
    return [
        f"[bold]{escape(road['road'])}[/]",
        f"{road['arrivals']:,}",
        f"{road['first']:,}",
        f"[{colour}]{road['missed']:,} of {road['expected']:,}[/]" if road["expected"] else "[dim]-[/]",
        f"{behind['n']:,}" if behind["n"] else "[dim]-[/]",
        *(duration(behind[name]) if behind["n"] else "" for name in ("p50Ms", "p90Ms", "p99Ms")),
        duration(max(0, (now - datetime.fromisoformat(last)).total_seconds() * 1_000)) if last else "",
    ]


def _print_missed(road: dict[str, Any]) -> None:
    if not road["missed"]:
        return
    shown = ", ".join(map(str, road["missedPositions"]))
    more = ", …" if road["missed"] > len(road["missedPositions"]) else ""
    console.print(
        f"\n[yellow]{escape(road['road'])} did not bring {_plural(road['missed'], 'event')} of a type that it"
        f" brings[/] (position {shown}{more}). It loses events, or its subscription was changed.",
        soft_wrap=True,
    )


def _print_slowest(slowest: list[dict[str, Any]]) -> None:
    if slowest:
        console.print("\nthe slowest:")
    for crossing in slowest:
        console.print(
            f"  [dim]{crossing['position']:>7}[/] {escape(crossing['type'])} by {escape(crossing['otherRoad'])}"
            f" {duration(crossing['lagMs'])} after {escape(crossing['firstRoad'])}, {local(crossing['otherAt'])}",
            soft_wrap=True,
        )


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def duration(milliseconds: float) -> str:
    """`340 ms`, `1.2 s`, `3 min`, `5 h`, `2 d`."""
    seconds = milliseconds / 1_000
    if seconds < 1:
        return f"{milliseconds:.0f} ms"
    for size, unit, below in ((1, "s", 120), (60, "min", 7_200), (3_600, "h", 172_800)):
        if seconds < below:
            return f"{seconds / size:.1f} {unit}" if seconds / size < 10 else f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86_400:.0f} d"
