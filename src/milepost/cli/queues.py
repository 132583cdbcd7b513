"""`milepost queues`: what somebody should look at, and what is in one queue, oldest first."""

from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from milepost.cli.client import HubClient, console, print_json
from milepost.cli.looks import local
from milepost.cli.show import Json, Key, Product, Url

queues_app = typer.Typer(no_args_is_help=True, help="Work queues: what somebody should look at.")


def register(app: typer.Typer) -> None:
    app.add_typer(queues_app, name="queues")


@queues_app.command("list", epilog="Example: milepost queues list")
def list_queues(
    business_product: Product = None, url: Url = None, api_key: Key = None, json: Json = False
) -> None:
    """List the queues: how much is in each, since when, and what to do about it."""
    items = HubClient(url, api_key).get("/v1/queues", businessProductId=business_product)["items"]
    if json:
        print_json(items)
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("queue", no_wrap=True)
    table.add_column("open", justify="right", no_wrap=True)
    table.add_column("oldest", no_wrap=True)
    table.add_column("what to do")
    for item in items:
        count = f"{item['count']:,}{'+' if item['more'] else ''}"
        oldest = "" if item["oldestSince"] is None else local(item["oldestSince"])
        style = "bold" if item["count"] else "dim"
        table.add_row(f"[{style}]{escape(item['name'])}[/]", count, oldest, escape(item["advice"]))
    console.print(table)


@queues_app.command(epilog="Example: milepost queues show late --carrier UPS --older-than 48")
def show(
    name: Annotated[
        str, typer.Argument(metavar="QUEUE", help="Its name, as `milepost queues list` prints it.")
    ],
    carrier: Annotated[str | None, typer.Option("--carrier", help="Only of this carrier.")] = None,
    region: Annotated[str | None, typer.Option("--region", help="Only to this region, as US-WA.")] = None,
    older_than: Annotated[
        int | None, typer.Option("--older-than", min=0, help="Only what began so many hours ago.")
    ] = None,
    assignee: Annotated[
        str | None, typer.Option("--assignee", help="Only what this person has; nobody: what nobody has.")
    ] = None,
    state: Annotated[str | None, typer.Option("--state", help="open, snoozed, handled or all.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many, at most.")] = 100,
    business_product: Product = None,
    url: Url = None,
    api_key: Key = None,
    json: Json = False,
) -> None:
    """Show what is in a queue, what began first at the top."""
    hub = HubClient(url, api_key)
    asked = {"carrier": carrier, "region": region, "olderThanHours": older_than, "assignee": assignee}
    items = list(
        hub.every(f"/v1/queues/{name}", limit, state=state, businessProductId=business_product, **asked)
    )
    if json:
        print_json(items)
    elif not items:
        console.print("nothing is in this queue")
    else:
        for item in items:
            console.print(_line(item), soft_wrap=True)


def _line(item: dict[str, Any]) -> str:
    order = item["orderId"] or "no order known"
    parcel = item["trackingNumber"] or item["deliveryId"] or ""
    carrier = f"{item['carrierCode']} " if item["carrierCode"] else ""
    where = f" to {escape(item['destinationRegion'])}" if item["destinationRegion"] else ""
    mark = item["mark"] or {}
    person = f", {escape(mark['assignee'])} has it" if mark.get("assignee") else ""
    return (
        f"{local(item['since'])} [bold]{escape(order)}[/] {escape(carrier)}{escape(parcel)}{where}"
        f" {escape(item['state'] or '')} [dim]{escape(item['detail'] or '')}[/]{person}"
    )
