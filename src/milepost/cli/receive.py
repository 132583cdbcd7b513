"""`milepost receive`: journal what Amazon SQS brings, with no HTTP; it opens the database and takes its writer lock.

A hub does the same beside everything else. What the command needs beyond its options is imported when it runs.
"""

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from milepost.cli.client import console, fail, print_json

if TYPE_CHECKING:
    from milepost.config import Config
    from milepost.transports.sqs import SqsReceiver


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: milepost receive --once --json")(receive)


def receive(
    queue: Annotated[
        str | None,
        typer.Option("--queue", help="Queue URL (MILEPOST_SQS_QUEUE_URL).", metavar="URL"),
    ] = None,
    database: Annotated[
        str | None, typer.Option("--database", help="Database URL (MILEPOST_DATABASE_URL).", metavar="URL")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="End when the queue is empty.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print what came as JSON.")] = False,
) -> None:
    """Journal what Amazon SQS brings, with no HTTP, until Ctrl-C; say at the end what that was.

    With --queue from that queue alone, otherwise from all of the settings. Credentials are AWS's own settings.
    """
    import uvloop

    from milepost.cli.serve import start_logging
    from milepost.config import Config, SqsQueue

    config = Config.load(database_url=database)
    if queue is not None:
        named = [one for one in config.sqs_queues if one.url == queue]
        only = {"sqs_queue_url": None, "sqs_queues": tuple(named or [SqsQueue(url=queue)])}
        config = config.model_copy(update=only)
    if not config.sqs_queues and config.sqs_queue_url is None:
        fail("there is no queue: set MILEPOST_SQS_QUEUE_URL, or give --queue", 2)
    start_logging(config.log_level)
    receivers = uvloop.run(_receive(config, once, quiet=json))
    _say(receivers, json)
    trouble = [
        f"{receiver.name}: {part.name}: {part.words}"
        for receiver in receivers
        for part in receiver.parts.failing
        if receiver.parts.hopeless
    ]
    if once and trouble:
        fail(escape("; ".join(trouble)))


async def _receive(config: "Config", once: bool, quiet: bool) -> "list[SqsReceiver]":
    from random import Random

    from milepost.cli.serve import opened, stop_on_signal
    from milepost.hub import calm_collector, now, open_database
    from milepost.pipeline.ingest import Ingest
    from milepost.transports.sqs import receivers

    stop = stop_on_signal()
    opening = await opened(open_database(config, "milepost receive"), stop)
    if opening is None:
        return []
    store = opening.result()
    try:
        random = Random()  # noqa: S311 - jitter, not a secret
        made = receivers(config, Ingest(store, now), now, random)
        calm_collector()
        if not quiet:
            for receiver in made:
                console.print(f"milepost receives from {escape(receiver.url)}", soft_wrap=True)
        await asyncio.gather(*(receiver.run(stop, until_empty=once) for receiver in made))
    finally:
        await store.close()
    return made


def _say(receivers: "list[SqsReceiver]", json: bool) -> None:
    import msgspec

    if json:
        print_json([{"queue": r.url, **msgspec.to_builtins(r.outcomes)} for r in receivers])
        return
    for receiver in receivers:
        counted = msgspec.to_builtins(receiver.outcomes)
        received = counted.pop("received")
        came = ", ".join(f"{count} {name}" for name, count in counted.items() if count)
        console.print(
            f"{escape(receiver.name)}: {received} received{': ' if came else ''}{came}", soft_wrap=True
        )
