"""Commands that make something happen: trigger an event or a scenario, look through quarantine and let out of it.

What a command needs beyond its options is imported when it runs, so that the others start at once.
"""

import base64
import random
import time
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer
from rich.markup import escape

from milepost.cli.client import HubClient, SandboxClient, console, fail, print_json
from milepost.cli.looks import local
from milepost.cli.sandbox_world import is_file, start, tell_started
from milepost.cli.show import Json, Key, Url
from milepost.domain.event import BY_NAME, canonical_type
from milepost.domain.instant import Instant

if TYPE_CHECKING:
    from milepost.sandbox.example import Named

quarantine_app = typer.Typer(no_args_is_help=True, help="What came in and could not be read, and why.")


def register(app: typer.Typer) -> None:
    app.command(
        epilog="Example: milepost trigger PACKAGE_DELIVERED --order 322-ABCD-EFGH12 --sandbox http://127.0.0.1:8481"
    )(trigger)
    app.add_typer(quarantine_app, name="quarantine")


def trigger(
    what: Annotated[
        str,
        typer.Argument(
            metavar="EVENT|SCENARIO",
            help="An event type by any of its names, a scenario's name, or its file.",
        ),
    ],
    order: Annotated[str | None, typer.Option("--order", help="Order id.")] = None,
    delivery: Annotated[str | None, typer.Option("--delivery", help="Delivery id.")] = None,
    carrier: Annotated[str | None, typer.Option("--carrier", help="Carrier code.")] = None,
    tracking_number: Annotated[str | None, typer.Option("--tracking-number", help="Tracking number.")] = None,
    business_product: Annotated[
        str | None, typer.Option("--business-product", help="Business product id.")
    ] = None,
    eventbridge: Annotated[
        bool, typer.Option("--eventbridge", help="As the EventBridge document, not the webhook body.")
    ] = False,
    to: Annotated[str | None, typer.Option("--to", help="Post one straight to this handler.")] = None,
    sandbox: Annotated[
        str | None,
        typer.Option("--sandbox", help="Make this sandbox's world cause it (MILEPOST_SANDBOX_URL)."),
    ] = None,
    username: Annotated[str | None, typer.Option("--username", help="With --to: Basic user name.")] = None,
    password: Annotated[str | None, typer.Option("--password", help="With --to: Basic password.")] = None,
    json: Json = False,
) -> None:
    """Make one event happen, or start a scenario: in the sandbox's world, or one event straight to a handler."""
    from milepost.sandbox.example import Named

    if to is not None and sandbox is not None:
        fail("--to and --sandbox exclude each other", 2)
    if eventbridge and to is None:
        fail("--eventbridge goes with --to; a sandbox publishes so when started with --eventbridge", 2)
    named = Named(business_product, order, delivery, carrier, tracking_number)
    if to is not None:
        _tell_caused(_post_to(to, what, named, eventbridge, username, password), json)
    elif canonical_type(what) in BY_NAME:
        _tell_caused(_cause(SandboxClient(sandbox), what, named), json)
    else:
        _check_scenario(what, named)
        client = SandboxClient(sandbox)
        tell_started(client, start(client, what, business_product=business_product), json)


def _check_scenario(what: str, named: "Named") -> None:
    if not is_file(what):
        from milepost.sandbox.scenarios import library

        if what not in library():
            fail(
                f"{what} is not an event type of Buy with Prime (docs/events.md lists them), nor a scenario"
                " (milepost sandbox scenarios list)",
                2,
            )
    if any((named.order_id, named.delivery_id, named.carrier_code, named.tracking_number)):
        fail("a scenario makes orders of its own: it takes no ids", 2)


def _cause(client: SandboxClient, event: str, named: "Named") -> dict[str, Any]:
    body = {
        "type": event,
        "orderId": named.order_id,
        "deliveryId": named.delivery_id,
        "carrierCode": named.carrier_code,
        "trackingNumber": named.tracking_number,
        "businessProductId": named.business_product_id,
    }
    answer: dict[str, Any] = client.post("/sandbox/events", {k: v for k, v in body.items() if v is not None})
    return answer


def _tell_caused(answer: dict[str, Any], json: bool) -> None:
    if json:
        print_json(answer)
        return
    for published in answer["events"]:
        resources = escape(", ".join(published["resources"]))
        console.print(f"[bold]{escape(published['eventDescriptor'])}[/] {resources}", soft_wrap=True)
        console.print(
            f"  eventId {escape(published['eventId'])}  {escape(published.get('answer') or 'stored for publishing')}",
            soft_wrap=True,
        )


def _post_to(
    url: str, event: str, named: "Named", eventbridge: bool, username: str | None, password: str | None
) -> dict[str, Any]:
    import httpx

    from milepost.config import Config
    from milepost.sandbox.example import example_document

    if urlsplit(url).scheme not in ("http", "https"):
        fail(f"--to needs an http or https address, not {url!r}", 2)
    now = Instant(time.time_ns() // 1_000_000)
    published = example_document(event, named, random.SystemRandom(), now, eventbridge)
    config = Config.load()
    headers = {"content-type": "application/json"}
    secret = config.webhook_password.get_secret_value() if config.webhook_password else None
    user, word = username or config.webhook_username, password or secret
    if user is not None and word is not None:
        headers["authorization"] = "Basic " + base64.b64encode(f"{user}:{word}".encode()).decode()
    try:
        response = httpx.post(url, content=published.body, headers=headers, timeout=10.0)
    except httpx.HTTPError as e:
        fail(f"nothing answers at {url} ({e or type(e).__name__})")
    if response.status_code >= 300:
        fail(f"{url} answered {response.status_code}: {response.text[:500]}")
    return {
        "events": [
            {
                "eventId": published.event.event_id,
                "eventDescriptor": published.event.descriptor,
                "resources": [str(resource) for resource in published.event.resources],
                "answer": f"{response.status_code} {response.text[:500]}",
            }
        ]
    }


@quarantine_app.command("list", epilog="Example: milepost quarantine list --released")
def list_quarantine(
    released: Annotated[bool, typer.Option("--released", help="Those let out, too.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many, at most.")] = 50,
    url: Url = None,
    api_key: Key = None,
    json: Json = False,
) -> None:
    """List what is in quarantine, oldest first, with the reason."""
    hub = HubClient(url, api_key)
    items = list(hub.every("/v1/quarantine", limit, released=None if released else "false"))
    if json:
        print_json(items)
    elif not items:
        console.print("quarantine is empty")
    else:
        for item in items:
            out = f" [dim]released, position {item['position']}[/]" if item.get("releasedAt") else ""
            console.print(
                f"[bold]{item['id']:>5}[/] {local(item['receivedAt'])} [yellow]{item['code']}[/]"
                f" {escape(item['reason'])}{out}",
                soft_wrap=True,
            )


@quarantine_app.command("show", epilog="Example: milepost quarantine show 12")
def show_quarantine(
    id: Annotated[int, typer.Argument(help="The entry's number.")],
    url: Url = None,
    api_key: Key = None,
    json: Json = False,
) -> None:
    """Show one entry, with the reason and the body as received."""
    entry = HubClient(url, api_key).get(f"/v1/quarantine/{id}")
    if json:
        print_json(entry)
        return
    console.print(
        f"[bold]{entry['id']}[/] {local(entry['receivedAt'])} by {escape(entry['road'])}, {entry['size']} bytes"
    )
    console.print(f"[yellow]{entry['code']}[/] {escape(entry['reason'])}", soft_wrap=True)
    if entry["releasedAt"]:
        console.print(f"released {local(entry['releasedAt'])}, position {entry['position']}")
    body = entry["body"] if entry["body"] is not None else f"(base64) {entry['bodyBase64']}"
    console.print(body, markup=False, soft_wrap=True)


@quarantine_app.command("release", epilog="Example: milepost quarantine release 12")
def release(
    id: Annotated[int, typer.Argument(help="The entry's number.")],
    url: Url = None,
    api_key: Key = None,
    json: Json = False,
) -> None:
    """Ingest an entry again, after a fix. It stays when it still cannot be read."""
    receipt = HubClient(url, api_key).post(f"/v1/quarantine/{id}/release")
    if json:
        print_json(receipt)
    else:
        console.print(f"{receipt['status']}, position {receipt['position']}")
