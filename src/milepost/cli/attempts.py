"""`milepost attempts` and `milepost replay`: what was sent to subscribers, and sending it again."""

import time
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from milepost.cli.client import HubClient, console, errors, fail, print_json
from milepost.cli.looks import local
from milepost.cli.show import Json, Key, Url
from milepost.cli.subscribers import LOOK_AGAIN_S, print_attempt
from milepost.domain.errors import Invalid
from milepost.sandbox.durations import parse_duration


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: milepost attempts --since 1h --outcome failed")(attempts)
    app.command(epilog="Example: milepost replay SUBSCRIBER --from 2025-01-20 --dry-run")(replay)


def attempts(
    subscriber: Annotated[str | None, typer.Option("--subscriber", help="Only to this one.")] = None,
    message: Annotated[
        str | None, typer.Option("--message", help="Of this message, with what is sent for it.")
    ] = None,
    outcome: Annotated[str | None, typer.Option("--outcome", help="delivered, failed or unknown.")] = None,
    since: Annotated[
        str, typer.Option("--since", help="A span back from now (90m, 24h, 7d), or a time.")
    ] = "24h",
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many, at most.")] = 100,
    resend: Annotated[bool, typer.Option("--resend", help="With --message: send it again now.")] = False,
    url: Url = None,
    api_key: Key = None,
    json: Json = False,
) -> None:
    """Show every try to send something to a subscriber, oldest first; or one message, and send it again."""
    hub = HubClient(url, api_key)
    if resend and message is None:
        fail("--resend goes with --message", 2)
    if message is not None:
        if resend:
            hub.post(f"/v1/messages/{message}/resend")
        _show_message(hub.get(f"/v1/messages/{message}"), json)
        return
    found = list(
        hub.every("/v1/attempts", limit, subscriberId=subscriber, outcome=outcome, since=_since(since))
    )
    if json:
        print_json(found)
    elif not found:
        console.print("no attempt")
    else:
        for attempt in found:
            print_attempt(attempt)


def _show_message(message: dict[str, Any], json: bool) -> None:
    if json:
        print_json(message)
        return
    reason = f" ({escape(message['reason'])})" if message["reason"] else ""
    console.print(
        f"[bold]{escape(message['id'])}[/] {message['type'] or 'record removed'}, {message['state']}{reason}",
        soft_wrap=True,
    )
    if message["state"] == "pending":
        console.print(f"next attempt due {local(message['dueAt'])}")
    for attempt in message["attempts"]:
        print_attempt(attempt)
    if message["body"] is not None:
        console.print(message["body"], markup=False, soft_wrap=True)


def _since(text: str) -> str:
    try:
        back = timedelta(milliseconds=parse_duration(text))
    except Invalid:
        return text
    return (datetime.now(UTC) - back).isoformat().replace("+00:00", "Z")


def replay(
    subscriber: Annotated[
        str | None, typer.Argument(metavar="SUBSCRIBER", help="To whom; without it, replays are listed.")
    ] = None,
    order: Annotated[str | None, typer.Option("--order", help="Only about this order.")] = None,
    type: Annotated[list[str] | None, typer.Option("--type", help="Only this type; may be repeated.")] = None,
    product: Annotated[str | None, typer.Option("--business-product", help="Only of this one.")] = None,
    begin: Annotated[str | None, typer.Option("--from", help="A position or a time; from the start.")] = None,
    to: Annotated[str | None, typer.Option("--to", help="A position or a time; up to now.")] = None,
    new_ids: Annotated[
        bool, typer.Option("--new-ids", help="Under new ids, so that a receiver takes them for new.")
    ] = False,
    rate: Annotated[float, typer.Option("--rate", min=0, help="Most messages a second; 0: no limit.")] = 0.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count the messages.")] = False,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Stay until all of it is on its way.")
    ] = True,
    cancel: Annotated[
        str | None, typer.Option("--cancel", help="Cancel this replay.", metavar="REPLAY")
    ] = None,
    url: Url = None,
    api_key: Key = None,
    json: Json = False,
) -> None:
    """Send past messages to a subscriber again; or list replays, or cancel one."""
    hub = HubClient(url, api_key)
    if cancel is not None:
        cancelled = hub.post(f"/v1/replays/{cancel}/cancel")
        print_json(cancelled) if json else console.print(
            f"{escape(cancel)} is cancelled; {cancelled['dropped']:,} messages are not sent"
        )
        return
    if subscriber is None:
        _list(hub, json)
        return
    body = {
        "subscriberId": subscriber,
        "orderId": order,
        "types": type or [],
        "businessProductId": product,
        "from": _bound(begin),
        "to": _bound(to),
        "newIds": new_ids,
        "rate": rate,
        "dryRun": dry_run,
    }
    answer = hub.post("/v1/replays", body)
    if dry_run:
        least = "at least " if answer["more"] else ""
        print_json(answer) if json else console.print(f"{least}{answer['messages']:,} messages would be sent")
        return
    item = _watched(hub, answer["replay"]) if wait else answer["replay"]
    print_json(item) if json else _tell(item)


def _bound(text: str | None) -> int | str | None:
    return int(text) if text is not None and text.isdecimal() else text


def _list(hub: HubClient, json: bool) -> None:
    items = list(hub.every("/v1/replays", None))
    if json:
        print_json(items)
    elif not items:
        console.print("there was no replay")
    else:
        for item in items:
            _tell(item)


def _watched(hub: HubClient, item: dict[str, Any]) -> dict[str, Any]:
    """Show how far it is until it is at its end. Ctrl-C leaves it running."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=errors, transient=True) as progress:
        task = progress.add_task("gone through", total=None)
        while item["state"] == "running":
            progress.update(task, completed=item["cursor"], total=item["until"])
            time.sleep(LOOK_AGAIN_S)
            item = hub.get(f"/v1/replays/{item['id']}")
    return item


def _tell(item: dict[str, Any]) -> None:
    colour = {"running": "cyan", "done": "green"}.get(item["state"], "yellow")
    ids = ", new ids" if item["newIds"] else ""
    console.print(
        f"[bold]{item['id']}[/] {item['kind']} to {item['subscriberId']} [{colour}]{item['state']}[/]"
        f" {item['cursor']:,} of {item['until']:,}, {item['enqueued']:,} messages{ids}",
        soft_wrap=True,
    )
