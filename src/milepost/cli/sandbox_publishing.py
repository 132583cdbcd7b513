"""Subcommands of `milepost sandbox` about what goes out: credentials, subscriptions, event sources, events, resend.

They speak to a running sandbox by HTTP. What happens in its world is `sandbox_world`'s.
"""

import re
import time
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from milepost.cli.client import SandboxClient, console, fail, print_json
from milepost.cli.looks import local
from milepost.cli.show import Json

SandboxUrl = Annotated[
    str | None, typer.Option("--sandbox", help="The sandbox's address (MILEPOST_SANDBOX_URL).", metavar="URL")
]
Limit = Annotated[int, typer.Option("--limit", min=1, max=500, help="How many, at most.")]

OUTCOME_S = 15.0
"""How long `resend` waits for the outcome: more than any attempt's deadline."""
_EVENT_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_COLOURS = {"delivered": "green", "failed": "red", "unknown": "yellow", "held": "yellow"}

credentials_app = typer.Typer(no_args_is_help=True, help="API credentials, and what each may do.")
sources_app = typer.Typer(no_args_is_help=True, help="Partner event sources of EventBridge subscriptions.")


def register(app: typer.Typer) -> None:
    app.add_typer(credentials_app, name="credentials")
    app.command(epilog="Example: milepost sandbox subscriptions --json")(subscriptions)
    app.add_typer(sources_app, name="event-sources")
    app.command(epilog="Example: milepost sandbox events --type PACKAGE_DELIVERED --limit 5")(events)
    app.command(epilog="Example: milepost sandbox resend 625ce02b-f6fa-e43a-f0ad-df329ddac8ac")(resend)


# ── Credentials ────────────────────────────────────────────────────────────────────────────────────────────


@credentials_app.command(
    "create",
    epilog='Example: milepost sandbox credentials create --permission "Read Order" --name warehouse',
)
def create_credentials(
    permission: Annotated[
        list[str],
        typer.Option("--permission", help='By name or scope id; may be repeated; "Full access" is all.'),
    ],
    name: Annotated[str, typer.Option("--name", help="What they are for.")] = "milepost",
    target_id: Annotated[
        str | None, typer.Option("--target-id", help="The business product whose data they are for.")
    ] = None,
    sandbox: SandboxUrl = None,
    json: Json = False,
) -> None:
    """Generate credentials with these permissions. The secret is shown this once."""
    body = {"name": name, "permissions": permission}
    made = SandboxClient(sandbox).post(
        "/sandbox/credentials", body if target_id is None else {**body, "targetId": target_id}
    )
    if json:
        print_json(made)
        return
    for label, key in (
        ("client id", "clientId"),
        ("client secret", "clientSecret"),
        ("target id", "targetId"),
    ):
        console.print(f"{label:<14} {made[key]}", markup=False, soft_wrap=True)
    console.print(f"{'permissions':<14} {', '.join(made['permissions'])}", markup=False, soft_wrap=True)


@credentials_app.command("list", epilog="Example: milepost sandbox credentials list --json")
def list_credentials(limit: Limit = 100, sandbox: SandboxUrl = None, json: Json = False) -> None:
    """List credentials and their permissions, without secrets."""
    items = list(SandboxClient(sandbox).every("/sandbox/credentials", limit))
    if json:
        print_json(items)
        return
    table = table_of("client id", "name", "target id", "permissions")
    for item in items:
        row = (item["clientId"], item["name"], item["targetId"], ", ".join(item["permissions"]))
        table.add_row(*map(escape, row))
    console.print(table)


@credentials_app.command("delete", epilog="Example: milepost sandbox credentials delete client-0a1b2c3d4e")
def delete_credentials(
    client_id: Annotated[str, typer.Argument(help="The client id.")],
    sandbox: SandboxUrl = None,
    json: Json = False,
) -> None:
    """Delete credentials; tokens that were given out for them are no longer good."""
    answer = SandboxClient(sandbox).delete("/sandbox/credentials", clientId=client_id)
    print_json(answer) if json else console.print(f"{escape(client_id)} is deleted", soft_wrap=True)


# ── Subscriptions, event sources ───────────────────────────────────────────────────────────────────────────


def subscriptions(
    enable: Annotated[
        str | None,
        typer.Option("--enable", help="Take this one up again, with what it missed.", metavar="SUBSCRIPTION"),
    ] = None,
    delete: Annotated[
        str | None, typer.Option("--delete", help="End this one.", metavar="SUBSCRIPTION")
    ] = None,
    limit: Limit = 100,
    sandbox: SandboxUrl = None,
    json: Json = False,
) -> None:
    """List where events go: what is waiting there, how the last attempt ended, what is left alone or disabled."""
    client = SandboxClient(sandbox)
    if enable is not None and delete is not None:
        fail("--enable and --delete exclude each other", 2)
    if delete is not None:
        ended = client.delete("/sandbox/subscriptions", subscriptionId=delete)
        if json:
            print_json(ended)
        else:
            console.print(f"{escape(delete)} gets no more events")
        return
    if enable is None:
        items = list(client.every("/sandbox/subscriptions", limit))
    else:
        items = [client.post("/sandbox/subscriptions", {"subscriptionId": enable})]
    if json:
        print_json(items)
        return
    if not items:
        console.print("nobody has subscribed yet")
    for item in items:
        wanted = item["eventType"] or ", ".join(item["eventTypes"]) or "every event type"
        console.print(
            f"[bold]{escape(item['subscriptionId'])}[/] {escape(wanted)} → {escape(item['url'] or item['source'])}",
            soft_wrap=True,
        )
        counts = ", ".join(f"{count} {name}" for name, count in item["messages"].items() if count)
        console.print(f"  {counts or 'no messages yet'}{_health(item)}", soft_wrap=True)


def _health(item: dict[str, Any]) -> str:
    text = ""
    if item["lastAttempt"]:
        text += f"; the last attempt {_answer(item['lastAttempt'])}"
    if not item["enabled"]:
        text += f"; [red]disabled[/]: {escape(item['reason'])}"
    elif item["breaker"] != "closed":
        text += f"; [yellow]left alone until {local(item['breakerUntil'])}[/]"
    return text


@sources_app.command("list", epilog="Example: milepost sandbox event-sources list")
def list_sources(limit: Limit = 100, sandbox: SandboxUrl = None, json: Json = False) -> None:
    """List partner event sources and their states."""
    items = list(SandboxClient(sandbox).every("/sandbox/event-sources", limit))
    if json:
        print_json(items)
        return
    if not items:
        console.print("there is no event source yet: one comes with a subscription to EventBridge")
    for item in items:
        # Its name is longer than most terminals are wide, and has to be typed.
        to = f" → {escape(item['url'])}" if item["url"] else ""
        console.print(f"[bold]{escape(item['name'])}[/] {escape(item['state'] or '?')}{to}", soft_wrap=True)
        console.print(f"  account {escape(item['account'])}, {escape(item['region'])}", soft_wrap=True)


@sources_app.command(
    "associate", epilog="Example: milepost sandbox event-sources associate NAME http://127.0.0.1:3000/hook"
)
def associate(
    name: Annotated[str, typer.Argument(help="The name of the partner event source.")],
    url: Annotated[str, typer.Argument(help="Where the bus's rule sends events: an API destination.")],
    username: Annotated[str | None, typer.Option("--username", help="Basic user name there.")] = None,
    password: Annotated[str | None, typer.Option("--password", help="Basic password there.")] = None,
    api_key: Annotated[
        str | None, typer.Option("--api-key", help="A header to send.", metavar="HEADER=VALUE")
    ] = None,
    sandbox: SandboxUrl = None,
    json: Json = False,
) -> None:
    """Associate the local event bus with a source: it becomes ACTIVE, and its events go to the URL."""
    body: dict[str, Any] = {"name": name, "url": url}
    if (username is None) != (password is None):
        fail("--username and --password go together", 2)
    if username is not None:
        body["basicAuthConfig"] = {"username": username, "password": password}
    if api_key is not None:
        header, equals, value = api_key.partition("=")
        if not equals:
            fail("--api-key is HEADER=VALUE", 2)
        body["apiKeyConfig"] = {"key": header, "value": value}
    _tell_source(SandboxClient(sandbox).post("/sandbox/event-sources", body), json)


@sources_app.command("dissociate", epilog="Example: milepost sandbox event-sources dissociate NAME")
def dissociate(
    name: Annotated[str, typer.Argument(help="The name of the partner event source.")],
    sandbox: SandboxUrl = None,
    json: Json = False,
) -> None:
    """Take the local event bus away from a source: it is PENDING again."""
    _tell_source(SandboxClient(sandbox).delete("/sandbox/event-sources", name=name), json)


def _tell_source(source: dict[str, Any], json: bool) -> None:
    if json:
        print_json(source)
    else:
        console.print(f"{escape(source['name'])} is {source['state']}", soft_wrap=True)


# ── Events ─────────────────────────────────────────────────────────────────────────────────────────────────


def events(
    event_id: Annotated[str | None, typer.Argument(help="One event, with each attempt.")] = None,
    type: Annotated[str | None, typer.Option("--type", help="Only this event type.")] = None,
    after: Annotated[int | None, typer.Option("--after", help="Those behind this position.")] = None,
    limit: Limit = 20,
    sandbox: SandboxUrl = None,
    json: Json = False,
) -> None:
    """List what was published, the newest last, or show one event with what became of it."""
    client = SandboxClient(sandbox)
    if event_id is not None:
        _show_event(client, event_id, json)
        return
    if after is None:
        items = client.get("/sandbox/events", newest="true", type=type, limit=limit)["items"]
    else:
        items = list(client.every("/sandbox/events", limit, after, type=type))
    if json:
        print_json(items)
        return
    if not items:
        console.print("no such event was published yet")
    for item in items:
        states = ", ".join(_state_of(message) for message in item["messages"]) or "[dim]to nobody[/]"
        console.print(
            f"[dim]{item['position']:>7}[/] {local(item['eventTime'])} [bold]{escape(item['type'])}[/]"
            f" {escape(', '.join(item['resources']))} {escape(item['eventId'])} {states}",
            soft_wrap=True,
        )


def _show_event(client: SandboxClient, event_id: str, json: bool) -> None:
    event = client.get("/sandbox/events", eventId=event_id)["items"][0]
    attempts = list(client.every("/sandbox/attempts", None, eventId=event_id))
    for message in event["messages"]:
        message["attempts"] = [a for a in attempts if a["messageId"] == message["messageId"]]
    if json:
        print_json(event)
        return
    console.print(f"[bold]{escape(event['type'])}[/] {local(event['eventTime'])} {escape(event['eventId'])}")
    for resource in event["resources"]:
        console.print(f"  {escape(resource)}", soft_wrap=True)
    for message in event["messages"]:
        form = f" ({escape(message['form'])})" if message["form"] else ""
        due = f", due {local(message['nextDueAt'])}" if message["nextDueAt"] else ""
        console.print(
            f"to [bold]{escape(message['subscriptionId'])}[/] {_state_of(message)}{form}{due}"
            f"  message {escape(message['messageId'])}",
            soft_wrap=True,
        )
        for attempt in message["attempts"]:
            hand = ", by hand" if attempt["manual"] else ""
            console.print(
                f"  {attempt['number']}. {local(attempt['startedAt'])} {_answer(attempt)}{hand}",
                soft_wrap=True,
            )
            if attempt["outcome"] != "delivered" and attempt["response"]:
                console.print(f"     {attempt['response'].strip()}", markup=False, soft_wrap=True)


def resend(
    which: Annotated[str, typer.Argument(metavar="EVENT_ID|MESSAGE_ID", help="What to send again.")],
    to: Annotated[
        str | None, typer.Option("--to", help="Only to this subscription.", metavar="SUBSCRIPTION")
    ] = None,
    sandbox: SandboxUrl = None,
    json: Json = False,
) -> None:
    """Send an event again now, whatever became of it, with the same ids, and say how that ended."""
    client = SandboxClient(sandbox)
    key = "eventId" if _EVENT_ID.fullmatch(which) else "messageId"
    before = {a["messageId"]: a["number"] for a in client.every("/sandbox/attempts", None, **{key: which})}
    body = {key: which} if to is None else {key: which, "subscriptionId": to}
    messages = client.post("/sandbox/resend", body)["messages"]
    for message in messages:
        waits = message["state"] == "pending"
        message["attempt"] = _next_attempt(client, message, before) if waits else None
    if json:
        print_json(messages)
    for message in () if json else messages:
        became = (
            "is held: its subscription is disabled" if message["state"] == "held" else "is still under way"
        )
        if message["attempt"] is not None:
            became = _answer(message["attempt"])
        console.print(f"to [bold]{escape(message['subscriptionId'])}[/] {became}", soft_wrap=True)
    if not all(m["attempt"] and m["attempt"]["outcome"] == "delivered" for m in messages):
        raise typer.Exit(1)


def _next_attempt(
    client: SandboxClient, message: dict[str, Any], before: dict[str, int]
) -> dict[str, Any] | None:
    """The first attempt by hand after those before; None when there is none in time."""
    deadline = time.monotonic() + OUTCOME_S
    while time.monotonic() < deadline:
        attempts = client.every("/sandbox/attempts", None, messageId=message["messageId"])
        for attempt in attempts:
            if attempt["manual"] and attempt["number"] > before.get(message["messageId"], 0):
                found: dict[str, Any] = attempt
                return found
        time.sleep(0.05)  # another process tells nobody when it has sent something
    return None


def _state_of(message: dict[str, Any]) -> str:
    colour = _COLOURS.get(message["state"], "cyan")
    tries = f" after {message['tries']}" if message["tries"] > 1 else ""
    return f"[{colour}]{escape(message['state'])}{tries}[/]"


def _answer(attempt: dict[str, Any]) -> str:
    colour = _COLOURS[attempt["outcome"]]
    length = f"{attempt['durationMs']} ms"
    # An error is a sentence of its own, that "in 0 ms" would seem to go on.
    what = (
        f"answered {attempt['status']} in {length}"
        if attempt["status"]
        else f"{escape(attempt['error'])} ({length})"
    )
    return f"[{colour}]{attempt['outcome']}[/]: {what}"


def table_of(*columns: str) -> Table:
    """In a narrow terminal the last column gives way, by further lines; what one has to type is before it."""
    table = Table(box=None, pad_edge=False)
    for column in columns[:-1]:
        table.add_column(column, no_wrap=True)
    table.add_column(columns[-1], overflow="fold")
    return table
