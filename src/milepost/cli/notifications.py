"""`milepost notifications`: what shoppers are told, what was kept back and why, and how it looks.

All of it is the hub's but `preview` of a sample, which needs none.
"""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from milepost.cli.client import HubClient, console, print_json
from milepost.cli.looks import local
from milepost.cli.show import Json, Key, Product, Url

notifications_app = typer.Typer(
    no_args_is_help=True, help="What shoppers are told, what was kept back, and how it looks."
)

STATE_COLOURS = {
    "WAITING": "yellow",
    "SENDING": "cyan",
    "SENT": "green",
    "FAILED": "red",
    "UNCERTAIN": "magenta",
    "SUPPRESSED": "dim",
}

Id = Annotated[str, typer.Argument(metavar="NOTIFICATION", help="The notification's id.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it stands in the history.")]
Recipient = Annotated[
    str,
    typer.Argument(metavar="RECIPIENT", help="An email address, or a recipient as notifications name it."),
]


def register(app: typer.Typer) -> None:
    app.add_typer(notifications_app, name="notifications")


@notifications_app.command("list", epilog="Example: milepost notifications list --order 322-ABCD-EFGH12")
def list_notifications(
    order: Annotated[str | None, typer.Option("--order", help="Only of this order.")] = None,
    delivery: Annotated[str | None, typer.Option("--delivery", help="Only of this delivery.")] = None,
    state: Annotated[str | None, typer.Option("--state", help="Only in this state, e.g. UNCERTAIN.")] = None,
    kind: Annotated[str | None, typer.Option("--kind", help="Only of this kind, e.g. delivered.")] = None,
    rule: Annotated[
        int | None, typer.Option("--rule", min=1, max=17, help="Only those that this rule kept back.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many, at most.")] = 100,
    business_product: Product = None,
    url: Url = None,
    api_key: Key = None,
    json: Json = False,
) -> None:
    """List notifications in the order in which they were decided, sent and kept back alike."""
    narrowed = {
        "orderId": order,
        "deliveryId": delivery,
        "state": state,
        "kind": kind,
        "rule": rule,
        "businessProductId": business_product,
    }
    items = list(HubClient(url, api_key).every("/v1/notifications", limit, **narrowed))
    if json:
        print_json(items)
    elif not items:
        none = "no notification yet: shoppers are told where MILEPOST_NOTIFICATIONS is on"
        console.print("no such notification" if any(narrowed.values()) else none, soft_wrap=True)
    else:
        for item in items:
            console.print(_line(item), soft_wrap=True)


@notifications_app.command(epilog="Example: milepost notifications show ntf_5b1a4f0c2d")
def show(id: Id, url: Url = None, api_key: Key = None, json: Json = False) -> None:
    """Show one notification: its history, and what may be done to it."""
    _tell(HubClient(url, api_key).get(f"/v1/notifications/{id}"), json, whole=True)


@notifications_app.command(
    epilog="Example: milepost notifications resend ntf_5b1a4f0c2d --may-arrive-twice --reason asked"
)
def resend(
    id: Id,
    twice: Annotated[
        bool,
        typer.Option("--may-arrive-twice", help="Meant, though it was sent, or nobody knows whether it was."),
    ] = False,
    reason: Reason = "",
    url: Url = None,
    api_key: Key = None,
    json: Json = False,
) -> None:
    """Send it again, under the same id. Who opted out or is blocked gets nothing all the same."""
    body = {"reason": reason} | ({"acknowledge": "may arrive twice"} if twice else {})
    _tell(HubClient(url, api_key).post(f"/v1/notifications/{id}/resend", body), json)


@notifications_app.command(
    epilog='Example: milepost notifications suppress ntf_5b1a4f0c2d --reason "told by phone"'
)
def suppress(id: Id, reason: Reason = "", url: Url = None, api_key: Key = None, json: Json = False) -> None:
    """Keep one that is waiting from being sent."""
    _tell(HubClient(url, api_key).post(f"/v1/notifications/{id}/suppress", {"reason": reason}), json)


@notifications_app.command(
    epilog='Example: milepost notifications block ada@example.com --reason "asked us to"'
)
def block(
    recipient: Recipient,
    reason: Annotated[str, typer.Option("--reason", help="Why nothing is sent.")] = "blocked by hand",
    business_product: Product = None,
    url: Url = None,
    api_key: Key = None,
    json: Json = False,
) -> None:
    """Send nothing to this shopper any more, also of what is waiting. What they chose stays."""
    _choose(HubClient(url, api_key), recipient, business_product, reason, json)


@notifications_app.command(epilog="Example: milepost notifications unblock ada@example.com")
def unblock(
    recipient: Recipient,
    business_product: Product = None,
    url: Url = None,
    api_key: Key = None,
    json: Json = False,
) -> None:
    """Let go of a block. What the shopper opted out of stays."""
    _choose(HubClient(url, api_key), recipient, business_product, None, json)


def _choose(
    hub: HubClient, recipient: str, business_product: str | None, blocked: str | None, json: bool
) -> None:
    whom = {"email" if "@" in recipient else "recipient": recipient}
    chosen = hub.put("/v1/choices", whom | {"blocked": blocked}, businessProductId=business_product)
    if json:
        print_json(chosen)
        return
    what = f"blocked: {escape(chosen['blocked'])}" if chosen["blocked"] else "not blocked"
    off = f"; switched off: {escape(', '.join(chosen['off']))}" if chosen["off"] else ""
    console.print(f"[bold]{escape(chosen['recipient'])}[/] {what}{off}", soft_wrap=True)


# ── How it looks ───────────────────────────────────────────────────────────────────────────────────────────


@notifications_app.command(
    epilog="Example: milepost notifications preview delivered --locale es --html mail.html"
)
def preview(
    kind: Annotated[str, typer.Argument(help="What is told, e.g. delivered.")],
    locale: Annotated[str | None, typer.Option("--locale", help="In which language: en or es.")] = None,
    html: Annotated[
        Path | None,
        typer.Option("--html", help="Write the mail's HTML here.", dir_okay=False, metavar="FILE"),
    ] = None,
    order: Annotated[
        str | None,
        typer.Option("--order", help="Of this order of a running hub; else of a sample, without a hub."),
    ] = None,
    business_product: Product = None,
    url: Url = None,
    api_key: Key = None,
    json: Json = False,
) -> None:
    """Show a notification as its shopper reads it. Nothing is sent."""
    if order is None:
        document = _sample(kind, locale)
    else:
        document = HubClient(url, api_key).get(
            "/v1/notifications/preview",
            kind=kind,
            locale=locale,
            orderId=order,
            format="json",
            businessProductId=business_product,
        )
    if html is not None:
        html.write_text(document["html"], "utf-8")
    if json:
        print_json(document)
        return
    console.print(f"[bold]{escape(document['subject'])}[/]\n", soft_wrap=True)
    console.print(document["text"].rstrip(), markup=False, soft_wrap=True)
    if html is not None:
        console.print(f"\nthe HTML is in {escape(str(html))}", soft_wrap=True)


def _sample(kind: str, locale: str | None) -> dict[str, Any]:
    """Composed here, with the shop's looks as the settings of this machine have them."""
    from msgspec import to_builtins

    from milepost.config import Config
    from milepost.people import shop_of
    from milepost.shopper.catalogues import nearest
    from milepost.shopper.previewing import preview_sample

    shop = shop_of(Config.load())
    found: dict[str, Any] = to_builtins(preview_sample(kind, locale or nearest(shop.locale), shop.brand))
    return found


# ── Telling ────────────────────────────────────────────────────────────────────────────────────────────────


def _line(item: dict[str, Any]) -> str:
    rule = f" [dim]rule {item['rule']}[/]" if item["rule"] else ""
    return (
        f"[dim]{local(item['decidedAt'])}[/] [bold]{item['id']}[/] {coloured(item['state'])}{rule}"
        f" {escape(item['orderId'])} {escape(item['kind'])}"
    )


def _tell(item: dict[str, Any], json: bool, whole: bool = False) -> None:
    if json:
        print_json(item)
        return
    console.print(f"[bold]{item['id']}[/] {coloured(item['state'])} {escape(item['text'])}", soft_wrap=True)
    if item["rule"]:
        console.print(f"rule {item['rule']}: {escape(item['ruleText'])}", soft_wrap=True)
    if not whole:
        return
    about = f", delivery {escape(item['deliveryId'])}" if item["deliveryId"] else ""
    console.print(f"{escape(item['kind'])} of order {escape(item['orderId'])}{about}", soft_wrap=True)
    console.print(f"it became so {local(item['occurredAt'])}")
    if item["dueAt"]:
        console.print(f"due {local(item['dueAt'])}")
    if item["recipient"]:
        console.print(f"recipient {escape(item['recipient'])}, language {escape(item['locale'] or '?')}")
    if item["covers"]:
        console.print(f"told along with it: {escape(', '.join(item['covers']))}", soft_wrap=True)
    for step in item["history"]:
        why = f": {escape(step['reason'])}" if step["reason"] else ""
        rule = f" rule {step['rule']}" if step["rule"] else ""
        console.print(
            f"{local(step['at'])} {coloured(step['state'])}{rule} by {escape(step['by'])}{why}",
            soft_wrap=True,
        )
    console.print(f"now: {', '.join(item['actions']) or 'nothing can be done to it'}")


def coloured(state: str) -> str:
    """A notification's state, coloured."""
    return f"[{STATE_COLOURS.get(state, 'white')}]{escape(state)}[/]"
