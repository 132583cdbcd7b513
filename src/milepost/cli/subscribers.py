"""`milepost subscribers`: the systems that a hub tells, how it goes there, and what is done with them."""

import time
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from milepost.cli.client import HubClient, console, fail, print_json
from milepost.cli.looks import local
from milepost.cli.show import Json, Key, Url

LOOK_AGAIN_S = 0.1
TEST_S = 20.0
"""How long a test message is waited for."""

subscribers_app = typer.Typer(
    no_args_is_help=True, help="Systems that are told: added, changed, tested, given new keys."
)

Id = Annotated[str, typer.Argument(metavar="SUBSCRIBER", help="The subscriber's id.")]
To = Annotated[str | None, typer.Option("--to", help="The webhook's address.", metavar="URL")]
Source = Annotated[str | None, typer.Option("--source", help="Of what is put on a bus: its `source`.")]
Types = Annotated[list[str] | None, typer.Option("--type", help="Only this type; may be repeated.")]
Products = Annotated[
    list[str] | None, typer.Option("--business-product", help="Only of this one; may be repeated.")
]
Carriers = Annotated[
    list[str] | None, typer.Option("--carrier", help="Only about parcels of this carrier; may be repeated.")
]
Where = Annotated[
    str | None, typer.Option("--where", help="Only messages of which this CEL expression is true.")
]
Headers = Annotated[
    list[str] | None,
    typer.Option("--header", help="NAME: VALUE, sent beside ours; may be repeated.", metavar="HEADER"),
]
Username = Annotated[str | None, typer.Option("--username", help="Basic authentication.")]
Password = Annotated[str | None, typer.Option("--password", help="Its password.")]
TokenUrl = Annotated[
    str | None, typer.Option("--token-url", help="OAuth 2.0 client credentials: the token endpoint.")
]
ClientId = Annotated[str | None, typer.Option("--client-id", help="With --token-url.")]
ClientSecret = Annotated[str | None, typer.Option("--client-secret", help="With --token-url.")]


def register(app: typer.Typer) -> None:
    app.add_typer(subscribers_app, name="subscribers")


@subscribers_app.command("list", epilog="Example: milepost subscribers list")
def list_subscribers(url: Url = None, api_key: Key = None, json: Json = False) -> None:
    """List subscribers, oldest first."""
    items = list(HubClient(url, api_key).every("/v1/subscribers", None))
    if json:
        print_json(items)
    elif not items:
        console.print("there is no subscriber (milepost subscribers add)")
    else:
        for item in items:
            console.print(_line(item), soft_wrap=True)


@subscribers_app.command("add", epilog="Example: milepost subscribers add OMS --to https://oms.example/hook")
def add(
    name: Annotated[str, typer.Argument(help="What to call it.")],
    to: To = None,
    bus: Annotated[
        str | None, typer.Option("--bus", help="A custom EventBridge bus, by name or ARN, in place of --to.")
    ] = None,
    region: Annotated[str, typer.Option("--region", help="With --bus: its region.")] = "us-east-1",
    source: Source = None,
    amazon: Annotated[
        bool, typer.Option("--amazon", help="Amazon's events as they came, not Milepost's own messages.")
    ] = False,
    type: Types = None,
    product: Products = None,
    carrier: Carriers = None,
    expression: Where = None,
    ordered: Annotated[
        bool, typer.Option("--ordered", help="Messages about one order one after the other.")
    ] = False,
    rate: Annotated[float, typer.Option("--rate", min=0, help="Most messages a second; 0: no limit.")] = 0.0,
    begin: Annotated[
        str, typer.Option("--from", help="now, start, a position behind which to begin, or a time.")
    ] = "now",
    signature: Annotated[
        str | None, typer.Option("--signature", help="v1 (HMAC, the default), v1a (ed25519) or none.")
    ] = None,
    secret: Annotated[str | None, typer.Option("--secret", help="Sign with this key, not a new one.")] = None,
    header: Headers = None,
    username: Username = None,
    password: Password = None,
    token_url: TokenUrl = None,
    client_id: ClientId = None,
    client_secret: ClientSecret = None,
    url: Url = None,
    api_key: Key = None,
    json: Json = False,
) -> None:
    """Add a subscriber. Its secret is shown this once."""
    if (to is None) == (bus is None):
        fail("give either --to or --bus", 2)
    body: dict[str, Any] = {
        "name": name,
        "kind": "webhook" if bus is None else "eventBus",
        "form": "amazon" if amazon else "milepost",
        "eventTypes": type or [],
        "businessProductIds": product or [],
        "carriers": carrier or [],
        "expression": expression or "",
        "ordered": ordered,
        "rate": rate,
        "from": int(begin) if begin.isdecimal() else begin,
        "auth": _auth(username, password, token_url, client_id, client_secret),
        "headers": _headers(header) or [],
        "signature": signature,
        "secret": secret,
    }
    body |= {"url": to} if bus is None else {"bus": bus, "region": region}
    if source is not None:
        body["source"] = source
    made = HubClient(url, api_key).post("/v1/subscribers", body)
    if json:
        print_json(made)
        return
    console.print(_line(made), soft_wrap=True)
    _tell_keys(made)
    if made["replayId"]:
        console.print(f"its history is being sent first ({made['replayId']})")


@subscribers_app.command("change", epilog="Example: milepost subscribers change SUBSCRIBER --rate 20")
def change(
    id: Id,
    name: Annotated[str | None, typer.Option("--name", help="What to call it.")] = None,
    to: To = None,
    bus: Annotated[str | None, typer.Option("--bus", help="Another bus, by name or ARN.")] = None,
    region: Annotated[str | None, typer.Option("--region", help="The bus's region.")] = None,
    source: Source = None,
    type: Types = None,
    product: Products = None,
    carrier: Carriers = None,
    expression: Where = None,
    ordered: Annotated[
        bool | None, typer.Option("--ordered/--unordered", help="Whether one order's go one by one.")
    ] = None,
    rate: Annotated[
        float | None, typer.Option("--rate", min=0, help="Most messages a second; 0: no limit.")
    ] = None,
    header: Headers = None,
    username: Username = None,
    password: Password = None,
    token_url: TokenUrl = None,
    client_id: ClientId = None,
    client_secret: ClientSecret = None,
    no_auth: Annotated[bool, typer.Option("--no-auth", help="Send no credentials any more.")] = False,
    url: Url = None,
    api_key: Key = None,
    json: Json = False,
) -> None:
    """Change what is named; the rest stays. An empty text takes a filter or the headers away (--type '')."""
    auth = _auth(username, password, token_url, client_id, client_secret)
    if no_auth and auth is not None:
        fail("give either credentials or --no-auth", 2)
    wanted = {
        "name": name,
        "url": to,
        "bus": bus,
        "region": region,
        "source": source,
        "eventTypes": _named(type),
        "businessProductIds": _named(product),
        "carriers": _named(carrier),
        "expression": expression,
        "ordered": ordered,
        "rate": rate,
        "headers": _headers(header),
        "auth": auth,
    }
    body: dict[str, Any] = {field: value for field, value in wanted.items() if value is not None}
    if no_auth:
        body["auth"] = None
    if not body:
        fail("say what to change", 2)
    _done(HubClient(url, api_key).patch(f"/v1/subscribers/{id}", body), json)


def _named(texts: list[str] | None) -> list[str] | None:
    """None: not to be changed; empty texts name nothing."""
    return None if texts is None else [text for text in texts if text]


def _headers(texts: list[str] | None) -> list[dict[str, str]] | None:
    named = _named(texts)
    if named is None:
        return None
    pairs = [text.partition(":") for text in named]
    if not all(colon for _, colon, _ in pairs):
        fail("a header is NAME: VALUE", 2)
    return [{"key": key.strip(), "value": value.strip()} for key, _, value in pairs]


def _auth(
    username: str | None,
    password: str | None,
    token_url: str | None,
    client_id: str | None,
    client_secret: str | None,
) -> dict[str, Any] | None:
    if (username is None) != (password is None):
        fail("--username and --password go together", 2)
    oauth = (token_url, client_id, client_secret)
    if any(oauth) and not all(oauth):
        fail("--token-url, --client-id and --client-secret go together", 2)
    if username is not None:
        return {"basicAuthConfig": {"username": username, "password": password}}
    if token_url is not None:
        client = {"clientId": client_id, "clientSecret": client_secret}
        return {"oAuthConfig": {"clientParameters": client, "authEndpoint": token_url}}
    return None


@subscribers_app.command("show", epilog="Example: milepost subscribers show SUBSCRIBER")
def show(id: Id, url: Url = None, api_key: Key = None, json: Json = False) -> None:
    """Show a subscriber, and how sending to it goes."""
    found = HubClient(url, api_key).get(f"/v1/subscribers/{id}")
    if json:
        print_json(found)
        return
    console.print(_line(found), soft_wrap=True)
    for label, value in (
        ("types", ", ".join(found["eventTypes"])),
        ("business products", ", ".join(found["businessProductIds"])),
        ("carriers", ", ".join(found["carriers"])),
        ("where", found["expression"]),
        ("most a second", f"{found['rate']:g}" if found["rate"] else ""),
    ):
        if value:
            console.print(f"  {label}: {escape(value)}", soft_wrap=True)
    _tell_keys(found)
    _tell_health(found["health"])


@subscribers_app.command("remove", epilog="Example: milepost subscribers remove SUBSCRIBER")
def remove(id: Id, url: Url = None, api_key: Key = None) -> None:
    """Remove a subscriber. What was sent to it stays as history."""
    HubClient(url, api_key).delete(f"/v1/subscribers/{id}")
    console.print(f"{escape(id)} is removed")


@subscribers_app.command("enable", epilog="Example: milepost subscribers enable SUBSCRIBER")
def enable(id: Id, url: Url = None, api_key: Key = None, json: Json = False) -> None:
    """Take a disabled subscriber up again, with everything that was kept for it."""
    _done(HubClient(url, api_key).post(f"/v1/subscribers/{id}/enable"), json)


@subscribers_app.command("disable", epilog="Example: milepost subscribers disable SUBSCRIBER")
def disable(id: Id, url: Url = None, api_key: Key = None, json: Json = False) -> None:
    """Send nothing to a subscriber for now. What comes for it is kept."""
    _done(HubClient(url, api_key).post(f"/v1/subscribers/{id}/disable"), json)


@subscribers_app.command("test", epilog="Example: milepost subscribers test SUBSCRIBER")
def send_test(id: Id, url: Url = None, api_key: Key = None, json: Json = False) -> None:
    """Send a test message, and say how that ended."""
    hub = HubClient(url, api_key)
    sent = hub.post(f"/v1/subscribers/{id}/test")
    until = time.monotonic() + TEST_S
    while not (message := hub.get(f"/v1/messages/{sent['messageId']}"))["attempts"]:
        if time.monotonic() > until:
            fail(f"{sent['messageId']} was not sent within {TEST_S:g} s: is another hub at work?")
        time.sleep(LOOK_AGAIN_S)
    attempt = message["attempts"][-1]
    if json:
        print_json(message)
    else:
        print_attempt(attempt)
    if attempt["outcome"] != "delivered":
        raise typer.Exit(1)


@subscribers_app.command("rotate", epilog="Example: milepost subscribers rotate SUBSCRIBER --overlap 48")
def rotate(
    id: Id,
    overlap: Annotated[
        float, typer.Option("--overlap", min=0, help="Hours for which the old key signs along.")
    ] = 24.0,
    signature: Annotated[str | None, typer.Option("--signature", help="v1 or v1a; as it was.")] = None,
    secret: Annotated[str | None, typer.Option("--secret", help="This key, not a new one.")] = None,
    url: Url = None,
    api_key: Key = None,
    json: Json = False,
) -> None:
    """Give a subscriber a new key. Its secret is shown this once."""
    body = {"overlapHours": overlap, "signature": signature, "secret": secret}
    rotated = HubClient(url, api_key).post(f"/v1/subscribers/{id}/rotate", body)
    if json:
        print_json(rotated)
    else:
        _tell_keys(rotated)


# ── Telling ────────────────────────────────────────────────────────────────────────────────────────────────


def _done(item: dict[str, Any], json: bool) -> None:
    print_json(item) if json else console.print(_line(item), soft_wrap=True)


def _line(item: dict[str, Any]) -> str:
    state = "[green]live[/]" if item["live"] else "[yellow]history[/]"
    if not item["enabled"]:
        state = f"[red]disabled[/] ({escape(item['reason'])})" if item["reason"] else "[red]disabled[/]"
    where = item["url"] or f"{item['bus']} in {item['region']}"
    form = "Amazon's events" if item["form"] == "amazon" else "messages"
    return f"[bold]{item['id']}[/] {escape(item['name'])}  {form} to {escape(where)}  {state}"


def _tell_keys(item: dict[str, Any]) -> None:
    if item.get("secret"):
        console.print(f"  secret (shown this once): [bold]{escape(item['secret'])}[/]", soft_wrap=True)
    for key in item["keys"]:
        until = f" until {local(key['until'])}" if key["until"] else ""
        public = f" {key['publicKey']}" if key["publicKey"] else ""
        console.print(f"  signs {key['scheme']}{public}{until}", soft_wrap=True)


def _tell_health(health: dict[str, Any]) -> None:
    table = Table(box=None, pad_edge=False)
    states = ("pending", "waiting", "held", "delivered", "failed", "dropped")
    for state in states:
        table.add_column(state, justify="right")
    table.add_row(*(f"{health[state]:,}" for state in states))
    console.print(table)
    if health["failingSince"]:
        after = health["disabledAfterDays"]
        ends = f"; disabled after {after:g} days of that" if after else ""
        console.print(f"[red]failing since {local(health['failingSince'])}[/]{ends}", soft_wrap=True)
        if health["warning"]:
            console.print(f"[red]{health['warning']} % of that time is over[/]")
    if health["backfill"]:
        going = health["backfill"]
        console.print(f"history: {going['cursor']:,} of {going['until']:,} ({going['replayId']})")
    if health["lastAttempt"]:
        print_attempt(health["lastAttempt"])


def print_attempt(attempt: dict[str, Any]) -> None:
    """One line, and the answer's beginning where it is not a success."""
    outcome = attempt["outcome"]
    colour = {"delivered": "green", "failed": "red"}.get(outcome, "yellow")
    status = f" {attempt['status']}" if attempt["status"] is not None else ""
    error = f" {escape(attempt['error'])}" if attempt["error"] else ""
    console.print(
        f"{local(attempt['startedAt'])} [{colour}]{outcome}{status}[/] {escape(attempt['messageId'])}"
        f" try {attempt['number']}, {attempt['durationMs']} ms{error}",
        soft_wrap=True,
    )
    if outcome != "delivered" and attempt["response"]:
        console.print(f"  {attempt['response'][:200]}", markup=False, soft_wrap=True)
