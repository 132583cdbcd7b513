"""`milepost listen`: subscribes to the sandbox's events and passes them on to a handler on this machine.

Each event is a line: what it was, what the handler answered, how long that took. The sandbox gets the handler's
answer, so it tries again by its own schedule. At the end (Ctrl-C, SIGTERM) it unsubscribes and says what came.
How requests are passed on is `forwarding`'s, how one subscribes `subscribing`'s.
"""

import os
import secrets
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import msgspec
import typer
from rich.markup import escape

from milepost.cli.client import DEFAULT_SANDBOX_URL, console, errors, fail
from milepost.cli.sandbox_publishing import SandboxUrl
from milepost.cli.serve import stop_on_signal
from milepost.cli.show import without_product
from milepost.domain.errors import MilepostError, UpstreamDenied
from milepost.domain.event import BY_NAME, CATALOGUE, READ_ORDER, VIEW_TRACKER, canonical_type

if TYPE_CHECKING:
    from milepost.cli.forwarding import Forwarded
    from milepost.cli.subscribing import Subscriber

WORD = "sandbox"
_SHOWN = 5
"""Events named at the end that the handler never took."""


def register(app: typer.Typer) -> None:
    app.command(
        epilog="Example: milepost listen --forward-to http://127.0.0.1:3000/hook --events PACKAGE_DELIVERED"
    )(listen)


class Plan(msgspec.Struct, frozen=True):
    """What was asked for."""

    handler: str
    types: tuple[str, ...]
    sandbox: str
    client: tuple[str, str, str]
    """Client id, secret and target id."""
    login: tuple[str, str, str]
    """User name and password that the sandbox presents, and the password as it may be printed."""
    verbose: bool
    json: bool


def listen(
    forward_to: Annotated[str, typer.Option("--forward-to", help="The handler's address.", metavar="URL")],
    events: Annotated[
        str | None, typer.Option("--events", help="Event types, separated by commas.", metavar="A,B")
    ] = None,
    sandbox: SandboxUrl = None,
    client_id: Annotated[str, typer.Option("--client-id", help="API client id.")] = WORD,
    client_secret: Annotated[str, typer.Option("--client-secret", help="API client secret.")] = WORD,
    target_id: Annotated[str, typer.Option("--target-id", help="Whose events.")] = WORD,
    username: Annotated[
        str | None, typer.Option("--username", help="Basic user name that the handler wants.")
    ] = None,
    password: Annotated[
        str | None, typer.Option("--password", help="Basic password that the handler wants.")
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show bodies and answers, too.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document a line instead.")] = False,
) -> None:
    """Subscribe to the sandbox's events and pass each on to a handler; Ctrl-C unsubscribes.

    Events: every package, return and refund event unless --events says which. The user name and password are
    MILEPOST_WEBHOOK_USERNAME and MILEPOST_WEBHOOK_PASSWORD where those are set, else made up."""
    import uvloop

    if urlsplit(forward_to).scheme not in ("http", "https"):
        fail(f"--forward-to needs an http or https address, not {forward_to!r}", 2)
    plan = Plan(
        forward_to,
        parse_events(events),
        sandbox or os.environ.get("MILEPOST_SANDBOX_URL") or DEFAULT_SANDBOX_URL,
        (client_id, client_secret, target_id),
        login(username, password),
        verbose,
        json,
    )
    uvloop.run(_listen(plan))


def parse_events(text: str | None) -> tuple[str, ...]:
    """The event types of a list like `A,B`, each as it is named; by default those about orders and parcels."""
    if text is None:
        return tuple(t.name for t in CATALOGUE if t.permission in (READ_ORDER, VIEW_TRACKER))
    named = tuple(dict.fromkeys(filter(None, (part.strip() for part in text.split(",")))))
    for name in named:
        if canonical_type(name) not in BY_NAME:
            fail(f"{name} is not an event type of Buy with Prime; docs/events.md lists them", 2)
    if not named:
        fail("--events names none", 2)
    return named


def login(username: str | None, password: str | None) -> tuple[str, str, str]:
    from milepost.config import Config

    if (username is None) != (password is None):
        fail("--username and --password go together", 2)
    given = Config.load()
    if username is None and given.webhook_username and given.webhook_password:
        # A setting is a secret of somebody's: it is not printed.
        return given.webhook_username, given.webhook_password.get_secret_value(), "MILEPOST_WEBHOOK_PASSWORD"
    word = password or secrets.token_urlsafe(12)
    return username or "milepost-listen", word, word


async def _listen(plan: Plan) -> None:
    import aiohttp

    from milepost.cli.forwarding import Forwarder
    from milepost.cli.subscribing import Subscriber

    stop = stop_on_signal()
    log = Log(plan)
    async with aiohttp.ClientSession() as http, Forwarder(plan.handler, log.tell) as forwarder:
        subscriber = Subscriber(http, plan.sandbox, *plan.client)
        user, word, shown = plan.login
        log.say(f"the sandbox presents user {escape(user)} with password {escape(shown)}")
        await subscriber.log_in()
        subscribed: dict[str, str] = {}
        try:
            for event_type in plan.types:
                subscribed[event_type] = await subscriber.subscribe(event_type, forwarder.url, user, word)
            log.say(
                f"milepost listen passes {len(subscribed)} event types of {escape(plan.sandbox)} on to"
                f" {escape(plan.handler)}; Ctrl-C ends it"
            )
            await stop.wait()
        finally:
            # Before the receiver closes: nothing new comes then, and what is under way is answered.
            problem = await _unsubscribe(subscriber, subscribed.values())
    log.sum_up()
    if problem:
        fail(f"not every subscription could be deleted: {escape(problem)}")


async def _unsubscribe(subscriber: "Subscriber", subscribed: Iterable[str]) -> str:
    """Delete them all; what went wrong, if anything did."""
    problem = ""
    try:
        await subscriber.log_in()
        for subscription_id in subscribed:
            try:
                await subscriber.unsubscribe(subscription_id)
            except UpstreamDenied as e:
                problem = e.detail
    except MilepostError as e:
        problem = e.detail
    return problem


class Log:
    """What is printed. With --json, standard output has the documents and nothing else."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._aside = errors if plan.json else console
        self._requests = 0
        self._handled: dict[str, bool] = {}
        """By eventId: whether the handler took it, in the end."""

    def say(self, text: str) -> None:
        self._aside.print(text, soft_wrap=True)

    def tell(self, one: "Forwarded") -> None:
        self._requests += 1
        self._handled[one.event_id] = one.is_handled or self._handled.get(one.event_id, False)
        if self._plan.json:
            sys.stdout.buffer.write(msgspec.json.encode(_document(one)) + b"\n")
            sys.stdout.buffer.flush()
            return
        again = f" [dim]try {one.attempt}[/]" if one.attempt > 1 else ""
        colour = "green" if one.is_handled else "red"
        error = f" {escape(one.error)}" if one.error else ""
        resources = ", ".join(one.resources) if self._plan.verbose else without_product(one.resources)
        # What was answered comes before the ids: they go beyond a narrow terminal's line.
        console.print(
            f"{datetime.fromtimestamp(one.at, UTC).astimezone():%H:%M:%S} [bold]{escape(one.type)}[/]"
            f" [{colour}]{one.status}[/] in {one.duration_ms} ms{again} {escape(resources)}{error}",
            soft_wrap=True,
        )
        if self._plan.verbose:
            for label, text in (("sent", one.body), ("answer", one.answer)):
                console.print(f"  {label}: {text.decode('utf-8', 'replace')}", markup=False, soft_wrap=True)

    def sum_up(self) -> None:
        left = [event_id for event_id, handled in self._handled.items() if not handled]
        self.say(
            f"{len(self._handled)} events came in {self._requests} requests;"
            f" the handler took {len(self._handled) - len(left)} of them"
        )
        for event_id in left[:_SHOWN]:
            self.say(f"  not taken: milepost sandbox events {escape(event_id)}")
        self.say("milepost sandbox events lists what was published")


def _document(one: "Forwarded") -> dict[str, object]:
    return {
        "at": one.at,
        "type": one.type,
        "eventId": one.event_id,
        "idempotencyKey": one.key,
        "resources": one.resources,
        "attempt": one.attempt,
        "status": one.status,
        "durationMs": one.duration_ms,
        "error": one.error,
        "body": one.body.decode("utf-8", "replace"),
        "answer": one.answer.decode("utf-8", "replace"),
    }
