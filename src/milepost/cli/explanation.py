"""`milepost explain`: what made a state so first, then what was set aside, by rule and counted.

The hub answers with one line for every thing that a fold made of a fact; most readers want the short account,
`--all` shows every line.
"""

import re
from collections import Counter
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from milepost.cli.client import HubClient, console, print_json
from milepost.cli.looks import local, state
from milepost.cli.show import AsOf, Json, Key, Product, Url, place
from milepost.domain.wording import MILESTONE_TEXTS, milestone_name, spoken

POSITIONS_SHOWN = 6
_CHANGING = re.compile(r"\d{4}-\d\d-\d\d[T\d:.]*Z?|position \d+")
"""What differs between lines that say the same: times and positions."""

_NAMED = frozenset({"event", "conflict", "snapshot"})

Line = dict[str, Any]


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: milepost explain 322-ABCD-EFGH12 --as-of 2025-01-21T09:00:00Z")(explain)


def explain(
    id: Annotated[str, typer.Argument(help="An order id, a delivery id, or CARRIER/TRACKING-NUMBER.")],
    everything: Annotated[
        bool, typer.Option("--all", help="Every line: all that was made of every fact.")
    ] = False,
    as_of: AsOf = None,
    business_product: Product = None,
    url: Url = None,
    api_key: Key = None,
    json: Json = False,
) -> None:
    """Show which facts made the state, and which were set aside by which rule."""
    hub = HubClient(url, api_key)
    kind, path = _explained(hub, id)
    answer = hub.get(f"/v1/{kind}/{path}/explain", asOf=as_of, businessProductId=business_product)
    print_json(answer) if json else _print_explanation(id, answer, everything)


def _explained(hub: HubClient, id: str) -> tuple[str, str]:
    """The kind of view that an id means, and its path."""
    if "/" in id:
        return "trackers", id
    for item in hub.get("/v1/search", q=id, limit=10)["items"]:
        if item["kind"] in ("order", "delivery") and item["id"] == id:
            return ("orders" if item["kind"] == "order" else "deliveries"), id
    return "orders", id


def _print_explanation(id: str, answer: dict[str, Any], everything: bool) -> None:
    """One explanation of `/v1/…/explain`, short or whole."""
    console.print(f"[bold]{escape(id)}[/]: {escape(answer['state'])}", soft_wrap=True)
    lines: list[Line] = answer["facts"]
    if everything:
        for line in lines:
            _print_line(line)
        return
    milestones = _print_milestones(answer["view"], lines)
    _print_told([line for line in lines if line["used"] and _id_of(line) not in milestones])
    _print_set_aside([line for line in lines if not line["used"]])
    console.print(f"\n[dim]A short account of {len(lines)} lines; --all shows every one.[/]")


def _print_line(line: Line) -> None:
    mark = "[green]✓[/]" if line["used"] else "[yellow]–[/]"
    console.print(
        f" {mark} [dim]{line['position']:>6}[/] {local(line['publishedAt'] or line['receivedAt'])}"
        f" [cyan]{escape(_what(line))}[/] [dim]{escape(line['rule'])}[/] {escape(line['text'])}",
        soft_wrap=True,
    )


def _id_of(line: Line) -> tuple[str, int, str]:
    """What tells a line from the others."""
    return line["about"], line["position"], line["text"]


def _print_milestones(view: dict[str, Any], lines: list[Line]) -> set[tuple[str, int, str]]:
    """The milestones of every tracker, oldest first; the lines that they stand for."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("  occurred", "milestone", "rule", "pos"):
        table.add_column(column, no_wrap=True)
    # In a narrow terminal this one goes on in further lines, and the others are whole.
    table.add_column("tracker, where", overflow="fold")
    stood_for: set[tuple[str, int, str]] = set()
    shown = [(tracker, milestone) for tracker in _trackers(view) for milestone in tracker["milestones"]]
    width = max((len(_number(tracker)) for tracker, _ in shown), default=0)
    for tracker, milestone in sorted(shown, key=lambda pair: pair[1]["occurredAt"] or ""):
        number = _number(tracker)
        said = f" at {milestone['occurredAt'] or 'an unknown time'}: "
        told = [
            line
            for line in lines
            if line["about"].endswith(number) and line["what"] == milestone["code"] and said in line["text"]
        ]
        stood_for.update(map(_id_of, told))
        line = min(told, key=lambda x: x["position"], default=None)
        counts = milestone["standing"] == "counts"
        why = f"  {line['text'].partition(said)[2]}" if line and not counts else ""
        table.add_row(
            f"  {local(milestone['occurredAt'])}",
            state(milestone["code"]) if counts else f"[yellow]{escape(milestone_name(milestone['code']))}[/]",
            escape(line["rule"]) if line else "",
            str(line["position"]) if line else "",
            escape(f"{number.replace('/', ' '):<{width}}  {place(milestone)}{why}".rstrip()),
        )
    if shown:
        console.print("\n[bold]What made it so: the carriers' milestones[/], oldest first")
        console.print(table)
    return stood_for


def _what(line: Line) -> str:
    """What a line is about: events and queries by their names, everything else in words."""
    what: str = line["what"]
    is_name = line["kind"] in _NAMED and what not in MILESTONE_TEXTS
    return what if is_name else spoken(what).capitalize()


def _number(tracker: dict[str, Any]) -> str:
    return f"{tracker['carrierCode']}/{tracker['trackingNumber']}"


def _trackers(view: dict[str, Any]) -> list[dict[str, Any]]:
    if "milestones" in view:
        return [view]
    holders = view.get("deliveries", [view])
    found = {
        (tracker["carrierCode"], tracker["trackingNumber"]): tracker
        for delivery in holders
        for tracker in delivery["trackers"]
    }
    return list(found.values())


def _print_told(lines: list[Line]) -> None:
    """Events and answers: the most telling line of each fact, and facts that say the same once."""
    telling: dict[int, Line] = {}
    for line in lines:
        known = telling.get(line["position"])
        if known is None or _weight(line) > _weight(known):
            telling[line["position"]] = line
    groups: dict[tuple[str, str], list[Line]] = {}
    for line in telling.values():
        groups.setdefault((line["what"], _CHANGING.sub("…", line["text"])), []).append(line)
    if groups:
        console.print("\n[bold]What made it so: events and answers[/], as they came in")
    for group in groups.values():
        first = group[0]
        times = f" ×{len(group)}" if len(group) > 1 else ""
        console.print(
            f"  {local(first['publishedAt'] or first['receivedAt'])}  [cyan]{escape(_what(first))}[/]{times}"
            f"  [dim]{_positions(group)}[/]",
            soft_wrap=True,
        )
        console.print(
            Padding(f"{escape(first['text'])} [dim]{escape(first['rule'])}[/]", (0, 0, 0, 4), expand=False)
        )


def _weight(line: Line) -> int:
    """How much a line tells: of a state before of a time, and of what changes nothing last."""
    return {"D1": 3, "D2": 3, "D3": 3, "T8": 0, "design 8": 1}.get(line["rule"], 2)


def _print_set_aside(lines: list[Line]) -> None:
    if not lines:
        return
    console.print("\n[bold]Set aside[/], by rule")
    rules = Counter(line["rule"] for line in lines)
    for rule, count in rules.most_common():
        group = [line for line in lines if line["rule"] == rule]
        said = Counter(_CHANGING.sub("…", line["text"]) for line in group)
        console.print(
            f"  [yellow]{escape(rule or 'no rule reads it')}[/] ×{count}  [dim]{_positions(group)}[/]"
        )
        example = said.most_common(1)[0][0]
        text = next(line["text"] for line in group if _CHANGING.sub("…", line["text"]) == example)
        console.print(Padding(("e.g. " if len(said) > 1 else "") + escape(text), (0, 0, 0, 4), expand=False))


def _positions(lines: list[Line]) -> str:
    found = sorted({line["position"] for line in lines})
    more = ", …" if len(found) > POSITIONS_SHOWN else ""
    word = "position" if len(found) == 1 else "positions"
    return f"{word} {', '.join(map(str, found[:POSITIONS_SHOWN]))}{more}"
