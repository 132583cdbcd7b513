"""`milepost captures`: which payments may be collected, and telling the hub what became of them.

Also until when payment of an order may be collected (`authorize`). All of it is the hub's; this asks and prints.
"""

from typing import Annotated, Any

import typer
from rich.markup import escape

from milepost.cli.client import HubClient, console, fail, print_json
from milepost.cli.looks import local
from milepost.cli.show import Json, Key, Product, Url

captures_app = typer.Typer(
    no_args_is_help=True, help="Payments that may be collected, and what became of them."
)

STATE_COLOURS = {
    "NOT_READY": "dim",
    "READY": "yellow",
    "SENT": "cyan",
    "ACKED": "green",
    "FAILED": "red",
    "HELD": "magenta",
    "VOID": "dim",
}

Id = Annotated[str, typer.Argument(metavar="CAPTURE", help="The capture's id.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it stands in the history.")]


def register(app: typer.Typer) -> None:
    app.add_typer(captures_app, name="captures")


@captures_app.command("list", epilog="Example: milepost captures list --unacknowledged")
def list_captures(
    state: Annotated[str | None, typer.Option("--state", help="Only in this state, e.g. HELD.")] = None,
    unacknowledged: Annotated[
        bool, typer.Option("--unacknowledged", help="Shipped, and nobody has said that it was collected.")
    ] = False,
    expired: Annotated[
        bool, typer.Option("--expired", help="The authorization ended before it shipped.")
    ] = False,
    order: Annotated[str | None, typer.Option("--order", help="Only of this order.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many, at most.")] = 100,
    business_product: Product = None,
    url: Url = None,
    api_key: Key = None,
    json: Json = False,
) -> None:
    """List captures, oldest first."""
    if order is not None and expired:
        fail("--order and --expired exclude each other", 2)
    narrowed = {
        "state": state,
        "unacknowledged": "true" if unacknowledged else None,
        "expired": "true" if expired else None,
        "orderId": order,
        "businessProductId": business_product,
    }
    items = list(HubClient(url, api_key).every("/v1/captures", limit, **narrowed))
    if json:
        print_json(items)
        return
    if not items:
        console.print("no such capture")
        return
    for item in items:
        line = f"{escape(item['id'] or 'no delivery known yet')} {coloured(item['state'])} {escape(item['orderId'])}"
        if item["captureBefore"]:
            style = "red" if item["expiredBeforeShipped"] else "dim"
            line += f" [{style}]collect before {local(item['captureBefore'])}[/]"
        console.print(line, soft_wrap=True)


@captures_app.command("show", epilog="Example: milepost captures show cap_5b1a4f0c2d")
def show(id: Id, url: Url = None, api_key: Key = None, json: Json = False) -> None:
    """Show one capture: its evidence, its history, what may be done to it."""
    _tell(HubClient(url, api_key).get(f"/v1/captures/{id}"), json, whole=True)


@captures_app.command(epilog="Example: milepost captures acknowledge cap_5b1a4f0c2d")
def acknowledge(
    id: Id, reason: Reason = "", url: Url = None, api_key: Key = None, json: Json = False
) -> None:
    """Payment was collected. The end of a capture: it is never sent again."""
    _move("acknowledge", id, reason, url, api_key, json)


@captures_app.command(
    "fail", epilog='Example: milepost captures fail cap_5b1a4f0c2d --reason "card declined"'
)
def fail_capture(
    id: Id, reason: Reason = "", url: Url = None, api_key: Key = None, json: Json = False
) -> None:
    """Payment could not be collected; it stays to be."""
    _move("fail", id, reason, url, api_key, json)


@captures_app.command(epilog='Example: milepost captures hold cap_5b1a4f0c2d --reason "fraud check"')
def hold(id: Id, reason: Reason = "", url: Url = None, api_key: Key = None, json: Json = False) -> None:
    """Hold it back: its message is not sent for now."""
    _move("hold", id, reason, url, api_key, json)


@captures_app.command(epilog="Example: milepost captures release cap_5b1a4f0c2d")
def release(id: Id, reason: Reason = "", url: Url = None, api_key: Key = None, json: Json = False) -> None:
    """Let go of a held one."""
    _move("release", id, reason, url, api_key, json)


@captures_app.command(epilog='Example: milepost captures void cap_5b1a4f0c2d --reason "order was refunded"')
def void(id: Id, reason: Reason = "", url: Url = None, api_key: Key = None, json: Json = False) -> None:
    """Payment will not be collected: its message is not sent any more."""
    _move("void", id, reason, url, api_key, json)


@captures_app.command(epilog="Example: milepost captures resend cap_5b1a4f0c2d")
def resend(id: Id, url: Url = None, api_key: Key = None, json: Json = False) -> None:
    """Send its message again, under the same id, to every subscriber that has not taken it."""
    _tell(HubClient(url, api_key).post(f"/v1/captures/{id}/resend"), json)


@captures_app.command(
    epilog="Example: milepost captures authorize 322-ABCD-EFGH12 --before 2025-02-01T00:00:00Z"
)
def authorize(
    order: Annotated[str, typer.Argument(metavar="ORDER", help="The order's id; it need not be known yet.")],
    before: Annotated[str, typer.Option("--before", help="Until when (ISO 8601).", metavar="TIME")],
    authorized: Annotated[
        str | None, typer.Option("--authorized", help="When it was authorised (ISO 8601).", metavar="TIME")
    ] = None,
    business_product: Product = None,
    url: Url = None,
    api_key: Key = None,
    json: Json = False,
) -> None:
    """Tell until when payment of an order may be collected; the hub warns 48 hours before."""
    body = {"captureBefore": before} | ({} if authorized is None else {"authorizedAt": authorized})
    path = f"/v1/orders/{order}/authorization"
    told = HubClient(url, api_key).put(path, body, businessProductId=business_product)
    if json:
        print_json(told)
    else:
        console.print(f"payment of {escape(order)} may be collected until {local(told['captureBefore'])}")


def _move(action: str, id: str, reason: str, url: str | None, api_key: str | None, json: bool) -> None:
    _tell(HubClient(url, api_key).post(f"/v1/captures/{id}/{action}", {"reason": reason}), json)


def _tell(capture: dict[str, Any], json: bool, whole: bool = False) -> None:
    if json:
        print_json(capture)
        return
    reason = f": {escape(capture['reason'])}" if capture["reason"] else ""
    console.print(f"[bold]{capture['id']}[/] {coloured(capture['state'])}{reason}", soft_wrap=True)
    if not whole:
        return
    console.print(f"order {escape(capture['orderId'])}, delivery {escape(capture['deliveryId'])}")
    if capture["captureBefore"]:
        late = " [red](it shipped later)[/]" if capture["expiredBeforeShipped"] else ""
        console.print(f"collect before {local(capture['captureBefore'])}{late}")
    for item in capture["lineItems"]:
        quantity = item.get("quantity")
        console.print(f"  {escape(item['id'])}" + (f" × {escape(str(quantity))}" if quantity else ""))
    if (suggested := capture["suggestion"]) is not None:
        console.print(f"suggested {suggested.get('amount')} {suggested.get('currencyCode') or ''}".rstrip())
    for seen in capture["evidence"]:
        what = seen.get("type") or seen.get("kind")
        console.print(
            f"evidence: {escape(str(what))} {local(seen.get('at'))} (position {seen.get('position')})"
        )
    for step in capture["history"]:
        why = f": {escape(step['reason'])}" if step["reason"] else ""
        console.print(
            f"{local(step['at'])} {coloured(step['state'])} by {escape(step['by'])}{why}", soft_wrap=True
        )
    console.print(f"now: {', '.join(capture['actions']) or 'nothing can be done to it'}")


def coloured(state: str) -> str:
    """A capture's state, coloured."""
    return f"[{STATE_COLOURS.get(state, 'white')}]{escape(state)}[/]"
