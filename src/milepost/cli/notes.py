"""`milepost notes`: what people note about an order, for whoever looks at its timeline next."""

from typing import Annotated

import typer
from rich.markup import escape

from milepost.cli.client import HubClient, console, print_json
from milepost.cli.looks import local
from milepost.cli.show import Json, Key, Product, Url

notes_app = typer.Typer(no_args_is_help=True, help="Notes about an order.")

Order = Annotated[str, typer.Argument(metavar="ORDER", help="The order's id.")]


def register(app: typer.Typer) -> None:
    app.add_typer(notes_app, name="notes")


@notes_app.command("list", epilog="Example: milepost notes list 322-ABCD-EFGH12")
def list_notes(
    order: Order,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many, at most.")] = 100,
    business_product: Product = None,
    url: Url = None,
    api_key: Key = None,
    json: Json = False,
) -> None:
    """List the notes about an order, oldest first."""
    hub = HubClient(url, api_key)
    items = list(hub.every(f"/v1/orders/{order}/notes", limit, businessProductId=business_product))
    if json:
        print_json(items)
    elif not items:
        console.print("nothing was noted")
    else:
        for item in items:
            about = f" [dim]{escape(item['deliveryId'])}[/]" if item["deliveryId"] else ""
            console.print(
                f"{local(item['at'])} [bold]{escape(item['author'])}[/]{about} {escape(item['text'])}",
                soft_wrap=True,
            )


@notes_app.command(epilog='Example: milepost notes add 322-ABCD-EFGH12 "The shopper called."')
def add(
    order: Order,
    text: Annotated[str, typer.Argument(help="What to note.")],
    author: Annotated[
        str | None, typer.Option("--author", help="Who notes it; the API key when left out.")
    ] = None,
    delivery: Annotated[str | None, typer.Option("--delivery", help="The delivery that it is about.")] = None,
    business_product: Product = None,
    url: Url = None,
    api_key: Key = None,
    json: Json = False,
) -> None:
    """Note something about an order. It can't be changed, and goes when the order goes."""
    body = {"text": text, "author": author, "deliveryId": delivery}
    given = {name: value for name, value in body.items() if value is not None}
    path = f"/v1/orders/{order}/notes"
    item = HubClient(url, api_key).post(path, given, businessProductId=business_product)
    if json:
        print_json(item)
    else:
        console.print(f"noted by {escape(item['author'])}, position {item['position']}")
