"""`milepost accounting`: the accountant's rows, and closing a period. It is the hub's; this asks and prints."""

from typing import Annotated

import typer
from rich.markup import escape

from milepost.cli.client import HubClient, console, print_json
from milepost.cli.looks import local
from milepost.cli.show import Json, Key, Product, Url

accounting_app = typer.Typer(
    no_args_is_help=True, help="What shipped and arrived on which day, for the books."
)

Month = Annotated[str, typer.Argument(metavar="PERIOD", help="The month: YYYY-MM.")]


def register(app: typer.Typer) -> None:
    app.add_typer(accounting_app, name="accounting")


@accounting_app.command(epilog="Example: milepost accounting entries --period 2025-01")
def entries(
    period: Annotated[
        str | None, typer.Option("--period", help="Only what is posted to this month (YYYY-MM).")
    ] = None,
    order: Annotated[str | None, typer.Option("--order", help="Only of this order.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many, at most.")] = 100,
    business_product: Product = None,
    url: Url = None,
    api_key: Key = None,
    json: Json = False,
) -> None:
    """List rows in the order in which they were posted: + states, - reverses."""
    narrowed = {"period": period, "orderId": order, "businessProductId": business_product}
    items = list(HubClient(url, api_key).every("/v1/accounting/entries", limit, **narrowed))
    if json:
        print_json(items)
        return
    if not items:
        console.print("no such row")
        return
    for item in items:
        sign, colour = ("+", "green") if item["sign"] > 0 else ("-", "red")
        day = item["originDate"] if item["kind"] == "shipped" else item["destinationDate"]
        line = f"[{colour}]{sign}[/] {item['postingPeriod']} {escape(item['orderId'])} {escape(item['deliveryId'])}"
        line += f" {item['kind']} {day} [dim]({escape(item['zone'])})[/] {item['status']}"
        line += f" rev {item['revision']}, {item['reason']}"
        if item["postingPeriod"] != item["taxPeriod"]:
            line += f" [yellow]for {item['taxPeriod']}[/]"
        console.print(line, soft_wrap=True)


@accounting_app.command(epilog="Example: milepost accounting periods")
def periods(
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many, at most.")] = 100,
    business_product: Product = None,
    url: Url = None,
    api_key: Key = None,
    json: Json = False,
) -> None:
    """List closed periods; any other is open."""
    hub = HubClient(url, api_key)
    items = list(hub.every("/v1/accounting/periods", limit, businessProductId=business_product))
    if json:
        print_json(items)
        return
    if not items:
        console.print("no period is closed")
    for item in items:
        closed = f"closed {local(item['closedAt'])} by {escape(item['closedBy'])}"
        console.print(f"{item['period']} {escape(item['businessProductId'])} {closed}", soft_wrap=True)


@accounting_app.command(epilog="Example: milepost accounting close 2025-01 --business-product my-shop")
def close(
    period: Month, business_product: Product = None, url: Url = None, api_key: Key = None, json: Json = False
) -> None:
    """Close a period for good: what turns out otherwise later is posted to the first open one."""
    path = f"/v1/accounting/periods/{period}/close"
    closed = HubClient(url, api_key).post(path, businessProductId=business_product)
    if json:
        print_json(closed)
        return
    console.print(f"{closed['period']} of {escape(closed['businessProductId'])} is closed", soft_wrap=True)
