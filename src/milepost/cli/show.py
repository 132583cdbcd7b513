"""Commands that show what a running hub knows: tail, orders, track. They read; nothing is changed.

`explain`, which reads too, has a module of its own.
"""

import re
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from milepost.cli.client import HubClient, console, fail, print_json
from milepost.cli.looks import (
    STATE_COLOURS,
    ago,
    dot,
    expected,
    last_scan,
    local,
    state,
    steps,
    trouble,
    window,
)
from milepost.domain.wording import condition_text, hold_text, spoken

Url = Annotated[str | None, typer.Option("--url", help="The hub's address (MILEPOST_URL).", metavar="URL")]
Key = Annotated[str | None, typer.Option("--api-key", help="An API key (MILEPOST_API_KEY).", metavar="KEY")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead.")]
Product = Annotated[
    str | None, typer.Option("--business-product", help="Which business product, where an id is ambiguous.")
]
AsOf = Annotated[str | None, typer.Option("--as-of", help="What was known then (ISO 8601).", metavar="TIME")]

_EVENT_COLOURS = (
    ("CANCELLED", "red"),
    ("FAILED", "red"),
    ("DELIVERED", "green"),
    ("MILESTONE", "blue"),
    ("IN_TRANSIT", "cyan"),
    ("RETURN", "magenta"),
    ("REFUND", "magenta"),
)
_PRODUCT = re.compile(r"^businessProduct/[^/]*/(?=.)")


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: milepost tail --type PACKAGE_DELIVERED")(tail)
    app.command(epilog="Example: milepost orders --search ada@example.com")(orders)
    app.command(epilog="Example: milepost track ups 1Z679A7B0000000001")(track)


def tail(
    type: Annotated[str | None, typer.Option("--type", help="Only this event type.")] = None,
    after: Annotated[int | None, typer.Option("--after", help="Start behind this position.")] = None,
    follow: Annotated[bool, typer.Option("--follow/--no-follow", help="Keep following.")] = True,
    limit: Annotated[int, typer.Option("--limit", min=1, help="With --no-follow: the newest so many.")] = 100,
    url: Url = None,
    api_key: Key = None,
    json: Json = False,
) -> None:
    """Show events as they are journalled; with --json one document a line, or one list with --no-follow."""
    import msgspec

    hub = HubClient(url, api_key)
    if not follow:
        items = list(deque(hub.every("/v1/events", None, after, type=type), maxlen=limit))
        print_json(items) if json else _print_events(items)
        return
    with suppress(KeyboardInterrupt):  # how a person ends it
        for sent in hub.stream("/v1/stream", after=after):
            if sent.get("event", "event") != "event":
                continue
            item = msgspec.json.decode(sent["data"])
            if type is None or type in (item.get("type"), item.get("eventDescriptor")):
                print(sent["data"], flush=True) if json else _print_events([item])


def _print_events(items: list[Any]) -> None:
    for item in items:
        flags = f" [yellow]{escape(' '.join(item['flags']))}[/]" if item.get("flags") else ""
        again = f" [dim]x{item['arrivals']}[/]" if item.get("arrivals", 1) > 1 else ""
        came_by = _roads(item.get("roads") or ())
        console.print(
            f"[dim]{item['position']:>7}[/] {local(item['receivedAt'])} [{_colour(item['type'])}]●[/]"
            f" [bold]{escape(item['type'])}[/] {escape(without_product(item['resources']))}{again}{came_by}{flags}",
            soft_wrap=True,
        )


def _colour(type: str) -> str:
    """Of an event's dot: by what it says, as states are coloured."""
    return next((colour for word, colour in _EVENT_COLOURS if word in type), "white")


def _roads(names: Sequence[str]) -> str:
    """Which roads an event came by, where that is more than the one road: both of them, or a replay."""
    if len(names) < 2 and "replay" not in names:
        return ""
    return " by " + ", ".join(f"[magenta]{name}[/]" if name == "replay" else escape(name) for name in names)


def orders(
    order_id: Annotated[str | None, typer.Argument(help="One order, in full.")] = None,
    search: Annotated[
        str | None, typer.Option("--search", help="Order id, alias, tracking number, email or name.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many, at most.")] = 50,
    as_of: AsOf = None,
    business_product: Product = None,
    url: Url = None,
    api_key: Key = None,
    json: Json = False,
) -> None:
    """List orders, search them, or show one."""
    if as_of is not None and order_id is None:
        fail("--as-of needs an order id: a list is of now", 2)
    hub = HubClient(url, api_key)
    if order_id is not None:
        order = hub.get(f"/v1/orders/{order_id}", asOf=as_of, businessProductId=business_product)
        print_json(order) if json else console.print(_order_tree(order))
        return
    if search is not None:
        found = hub.get("/v1/search", q=search, limit=limit)["items"]
        if json:
            print_json(found)
        elif not found:
            fail(f"nothing found for {search!r}")
        else:
            for item in found:
                label = escape(str(item.get("summary") or ""))
                console.print(
                    f"{item['kind']:<9} [bold]{escape(item['id'])}[/] {state(item['state'])} {label}"
                )
        return
    items = list(hub.every("/v1/orders", limit, businessProductId=business_product))
    if json:
        print_json(items)
        return
    if not items:
        console.print("no order is known yet")
        return
    console.print(_orders_table(items))


def _orders_table(items: list[Any]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("order", "state", "parcels", "expected", "last scan", "trouble"):
        table.add_column(column, no_wrap=True)
    table.add_column("customer")
    for item in items:
        worst = str(item["summary"].get("worstCondition") or "")
        table.add_row(
            f"[bold]{escape(item['id'])}[/]",
            dot(item["state"]),
            counts(item["summary"]),
            expected(item),
            f"[dim]{ago(last_scan(item))}[/]",
            f"[{trouble(worst)}]{escape(spoken(worst))}[/]" if worst else "",
            # The last column gives way in a narrow terminal, by being cut and not by a second line.
            Text(str((item.get("customer") or {}).get("name") or ""), no_wrap=True, overflow="ellipsis"),
        )
    return table


def track(
    carrier_code: Annotated[str, typer.Argument(help="The carrier's code, e.g. ups.")],
    tracking_number: Annotated[str, typer.Argument(help="The tracking number.")],
    as_of: AsOf = None,
    business_product: Product = None,
    url: Url = None,
    api_key: Key = None,
    json: Json = False,
) -> None:
    """Show one parcel's tracker: stage, estimate, every milestone."""
    tracker = HubClient(url, api_key).get(
        f"/v1/trackers/{carrier_code}/{tracking_number}", asOf=as_of, businessProductId=business_product
    )
    print_json(tracker) if json else console.print(_tracker_tree(tracker))


def without_product(resources: Iterable[str]) -> str:
    """Resources for a line: without the business product, the same in nearly all and longer than the rest."""
    return ", ".join(_PRODUCT.sub("", resource) for resource in resources)


def counts(summary: dict[str, Any]) -> str:
    """`2 delivered, 1 cancelled` and the like."""
    words = (
        ("delivered", "delivered"),
        ("inTransit", "in transit"),
        ("pending", "pending"),
        ("cancelled", "cancelled"),
    )
    return ", ".join(f"{summary[key]} {word}" for key, word in words if summary.get(key)) or "none known"


def place(milestone: dict[str, Any]) -> str:
    """`Austin, TX`, as far as it is known."""
    address = milestone.get("address") or {}
    return ", ".join(filter(None, (address.get("locality"), address.get("region"))))


def _order_tree(order: dict[str, Any]) -> Tree:
    tree = Tree(
        f"order [bold]{escape(order['id'])}[/] {state(order['state'])} ({counts(order['summary'])})",
        guide_style="dim",
    )
    if order.get("customer"):
        tree.add(f"customer {escape(str(order['customer'].get('name') or ''))}")
    if (days := expected(order)) != "":
        tree.add(f"expected [bold]{days}[/]")
    if (authorization := order.get("authorization")) is not None:
        tree.add(f"payment may be collected until {local(authorization['captureBefore'])}")
    for condition in order.get("conditions") or ():
        _add_condition(tree, condition)
    titles = {item["id"]: item.get("title") for item in order.get("lineItems") or ()}
    for delivery in order["deliveries"]:
        reason = f" ({escape(spoken(delivery['reason']))})" if delivery.get("reason") else ""
        branch = tree.add(f"delivery [bold]{escape(delivery['id'])}[/] {state(delivery['state'])}{reason}")
        _add_delivery(branch, delivery, titles)
    return tree


def _add_delivery(branch: Tree, delivery: dict[str, Any], titles: dict[str, Any]) -> None:
    if delivery["state"] != "CANCELLED":
        branch.add(steps(delivery))
    held = [
        f"{item['quantity'] or '?'} × {titles.get(item['id']) or item['id']}"
        for item in delivery["lineItems"]
    ]
    if held:
        branch.add(Text(", ".join(held), "dim", no_wrap=True, overflow="ellipsis"))
    for label, key in (("shipped", "shippedAt"), ("delivered", "deliveredAt")):
        if delivery.get(key):
            branch.add(f"{label} {local(delivery[key])}")
    if (capture := delivery.get("capture")) is not None and capture["state"] != "NOT_READY":
        why = f" ({escape(hold_text(capture['reason']))})" if capture["reason"] else ""
        branch.add(f"payment {escape(spoken(capture['state']))}{why}, capture {capture['id']}")
    for condition in delivery.get("conditions") or ():
        _add_condition(branch, condition)
    for tracker in delivery["trackers"]:
        _add_tracker(branch.add(_tracker_title(tracker)), tracker)


def _tracker_tree(tracker: dict[str, Any]) -> Tree:
    tree = Tree(_tracker_title(tracker), guide_style="dim")
    _add_tracker(tree, tracker)
    return tree


def _tracker_title(tracker: dict[str, Any]) -> str:
    number = f"{tracker['carrierCode']} {tracker['trackingNumber']}"
    return f"tracker [bold]{escape(number)}[/] {state(tracker['stage'])}"


def _add_tracker(branch: Tree, tracker: dict[str, Any]) -> None:
    if (days := window(tracker.get("estimatedDelivery"))) != "":
        branch.add(f"estimated {escape(days)}")
    milestones = tracker.get("milestones") or ()
    width = max((len(place(milestone)) for milestone in milestones), default=0)
    for milestone in milestones:
        line = Text(no_wrap=True, overflow="ellipsis")
        line.append("● ", STATE_COLOURS.get(milestone["code"], "white"))
        line.append(local(milestone.get("occurredAt")))
        line.append(f"  {place(milestone):<{width}}", "dim")
        line.append(f"  {milestone.get('message') or spoken(milestone['code']).capitalize()}")
        if milestone.get("standing", "counts") != "counts":
            line.append(f"  ({spoken(milestone['standing'])})", "yellow")
        branch.add(line)
    for condition in tracker.get("conditions") or ():
        _add_condition(branch, condition)


def _add_condition(branch: Tree, condition: dict[str, Any]) -> None:
    style = "dim" if condition.get("clearedAt") else trouble(condition["code"])
    cleared = ", cleared" if condition.get("clearedAt") else ""
    mark = "✓" if cleared else "!"
    text = condition_text(condition["code"], condition.get("kind")).rstrip(".")
    branch.add(f"[{style}]{mark} {escape(text + cleared)}[/]")
