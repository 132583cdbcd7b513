"""`milepost erase`: personal data of orders, or of a shopper, erased by a running hub; and how far that is."""

import time
from typing import Annotated, Any

import typer
from rich.markup import escape

from milepost.cli.client import HubClient, console, fail, print_json
from milepost.cli.looks import local
from milepost.cli.show import Json, Key, Product, Url

ENDED = frozenset({"DONE", "WAITING", "UNCLAIMED"})
LOOK_S = 0.5


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: milepost erase --order 322-ABCD-EFGH12 --yes")(erase)


def erase(
    order: Annotated[
        list[str] | None, typer.Option("--order", help="An order's id; may be given again.")
    ] = None,
    email: Annotated[
        str | None, typer.Option("--email", help="Every order of the shopper with this address.")
    ] = None,
    task: Annotated[
        str | None,
        typer.Option("--task", help="Wait until Amazon says that this task is completed.", metavar="ID"),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Erase. Without it, only count. There is no way back.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it is done.")] = False,
    show: Annotated[bool, typer.Option("--list", help="List erasures, and what wants somebody.")] = False,
    compact: Annotated[
        bool,
        typer.Option("--compact", help="With --yes: write the database file anew now, however large it is."),
    ] = False,
    business_product: Product = None,
    url: Url = None,
    api_key: Key = None,
    json: Json = False,
) -> None:
    """Erase the personal data of orders; counts and timelines' skeletons stay. Without --yes, only count."""
    hub = HubClient(url, api_key)
    if show:
        _list(hub, business_product, json)
        return
    if compact:
        if not yes:
            fail("--compact needs --yes: nobody can write while the file is written anew", 2)
        hub.post("/v1/erasures/compaction", confirm="true")
        console.print("the hub writes its database file anew")
        return
    if bool(order) == (email is not None):
        fail("name orders with --order, or a shopper with --email", 2)
    body: dict[str, Any] = {"orders": order} if order else {"email": email}
    if not yes:
        _tell_tally(hub.post("/v1/erasures/preview", body, businessProductId=business_product), json)
        return
    if task is not None:
        body |= {"when": "task", "taskId": task}
    erasure = hub.post("/v1/erasures", body, businessProductId=business_product)
    while wait and erasure["state"] not in ENDED and not erasure["attention"]:
        time.sleep(LOOK_S)
        erasure = hub.get(f"/v1/erasures/{erasure['id']}")
    print_json(erasure) if json else _tell(erasure)


def _list(hub: HubClient, business_product: str | None, json: bool) -> None:
    items = list(hub.every("/v1/erasures", 500, businessProductId=business_product))
    if json:
        print_json(items)
        return
    if not items:
        console.print("nothing was erased")
    for item in items:
        _tell(item)


def _tell_tally(found: dict[str, Any], json: bool) -> None:
    if json:
        print_json(found)
        return
    orders = ", ".join(map(escape, found["orders"]))
    console.print(f"would be erased: {len(found['orders'])} orders ({orders})", soft_wrap=True)
    console.print(
        f"{found['records']} records, {found['erased']} of them erased already;"
        f" {found['captures']} captures, {found['notifications']} notifications"
    )
    console.print("nothing was changed; --yes erases, and there is no way back")


def _tell(erasure: dict[str, Any]) -> None:
    line = f"[bold]{escape(erasure['id'])}[/] {erasure['state']}: {len(erasure['orders'])} orders"
    if erasure["records"]:
        line += f", {erasure['records']} records"
    if erasure["taskId"]:
        line += f", task {escape(erasure['taskId'])} {erasure['taskOutcome'] or 'not completed yet'}"
    console.print(f"{line}, asked {local(erasure['askedAt'])}", soft_wrap=True)
    if erasure["attention"]:
        console.print(f"  [yellow]{escape(erasure['attention'])}[/]", soft_wrap=True)
