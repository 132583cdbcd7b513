"""`milepost missing`: silent subscriptions, a missing scope, what each road loses, and what is overdue."""

from typing import Any

import typer
from rich.markup import escape
from rich.table import Table

from milepost.cli.client import HubClient, console, print_json
from milepost.cli.looks import local
from milepost.cli.show import Json, Key, Product, Url

SHOWN = 20
"""Overdue deliveries and trackers that are printed."""
_WORDS = {
    "notShipped": "not shipped since its order was made",
    "silent": "nothing heard since",
    "pastEstimate": "should have come by",
    "trackerAhead": "the carrier is ahead of the order since",
    "trackerBehind": "nothing heard of the tracker since",
}


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: milepost missing --json")(missing)


def missing(
    business_product: Product = None, url: Url = None, api_key: Key = None, json: Json = False
) -> None:
    """Show which events did not come, and what is being asked about because of it."""
    client = HubClient(url, api_key)
    answer = client.get("/v1/missing", businessProductId=business_product)
    overdue = list(client.every("/v1/missing/overdue", SHOWN + 1, businessProductId=business_product))
    if json:
        print_json({**answer, "overdue": overdue[:SHOWN]})
        return
    _print_silent(answer)
    _print_scopes(answer)
    _print_losses(answer)
    _print_overdue(overdue)


def _print_silent(answer: dict[str, Any]) -> None:
    for one in answer["silent"]:
        console.print(
            f"[red]silent[/] {escape(one['type'])} by {escape(one['road'])} of {escape(one['businessProductId'])}"
            f" since {local(one['since'])}, though {one['expected']:g} are usual in that time",
            soft_wrap=True,
        )
    if not answer["silent"]:
        hours = answer["watchedHours"]
        since = (
            f"over {hours:,} hours" if hours >= 336 else f"over {hours:,} hours; two weeks are needed to tell"
        )
        console.print(f"no subscription is silent ({since})", soft_wrap=True)


def _print_scopes(answer: dict[str, Any]) -> None:
    for one in answer["scopes"]:
        console.print(
            f"[red]not subscribed[/] {escape(one['businessProductId'])} has {one['orderEvents']:,} order events and"
            f" {one['scannedDeliveries']:,} scanned deliveries, but no {escape(one['missing'])}: subscribe to it"
            f" (permission {escape(one['permission'])})",
            soft_wrap=True,
        )


def _print_losses(answer: dict[str, Any]) -> None:
    if not answer["losses"]:
        console.print(f"no loss can be measured on {answer['orders']:,} orders yet", soft_wrap=True)
        return
    console.print(f"loss over {answer['orders']:,} orders since {local(answer['since'])}:", soft_wrap=True)
    table = Table(box=None, pad_edge=False)
    for column in ("road", "type"):
        table.add_column(column, no_wrap=True)
    for column in ("expected", "lost", "unheard"):
        table.add_column(column, justify="right", no_wrap=True)
    for one in answer["losses"]:
        colour = "yellow" if one["lost"] else "white"
        table.add_row(
            escape(one["road"]),
            escape(one["type"]),
            f"{one['expected']:,}",
            f"[{colour}]{one['lost']:,} ({one['lossRate']:.1%})[/]",
            f"{one['unheard']:,}",
        )
    console.print(table)


def _print_overdue(overdue: list[dict[str, Any]]) -> None:
    console.print(f"\n{len(overdue[:SHOWN])} overdue:" if overdue else "\nnothing is overdue")
    for one in overdue[:SHOWN]:
        first = one["expected"][0]
        since = first["since"] if first["code"] == "pastEstimate" else local(first["since"])
        again = f", asked again {local(one['nextAskAt'])}" if one["nextAskAt"] else ""
        console.print(
            f"  {escape(one['kind'])} [bold]{escape(one['id'])}[/] {escape(one['state'])}:"
            f" {_WORDS.get(first['code'], first['code'])} {escape(since)}{again}",
            soft_wrap=True,
        )
    if len(overdue) > SHOWN:
        console.print("  and more: GET /v1/missing/overdue lists them all")
