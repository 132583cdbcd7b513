"""Commands that stay up: serve and demo. Each starts the same objects that tests start; sandbox, a group of
commands, has modules of its own, and listen one.

What a command needs beyond its options is imported when it runs, so that the others start at once.
"""

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from rich.markup import escape

from milepost.cli.client import console, fail

if TYPE_CHECKING:
    from milepost.config import Config

T = TypeVar("T")

SWITCH_INTERVAL_S = 0.0001
"""How long one thread may keep the others waiting: the loop that acknowledges shares the interpreter with the
writer and the folds, and at Python's default of 5 ms each hand-over would cost a commit's time."""
LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: milepost serve --host 127.0.0.1 --port 8480")(serve)
    app.command(epilog="Example: milepost demo --orders 12 --seed 7")(demo)


def serve(
    host: Annotated[str | None, typer.Option("--host", help="Address to listen on (MILEPOST_HOST).")] = None,
    port: Annotated[
        int | None, typer.Option("--port", help="Port, 0 for a free one (MILEPOST_PORT).")
    ] = None,
    database: Annotated[
        str | None, typer.Option("--database", help="Database URL (MILEPOST_DATABASE_URL).")
    ] = None,
    insecure: Annotated[
        bool | None, typer.Option("--insecure", help="Take webhooks and reads from anybody: for a laptop.")
    ] = None,
    ingest_only: Annotated[
        bool | None, typer.Option("--ingest-only", help="Acknowledge and journal only; fold later.")
    ] = None,
) -> None:
    """Run the hub: take events, keep them, fold them, answer."""
    import uvloop

    from milepost.config import Config

    config = Config.load(
        host=host, port=port, database_url=database, insecure=insecure, ingest_only=ingest_only
    )
    start_logging(config.log_level)
    uvloop.run(_serve(config))


async def _serve(config: "Config") -> None:
    from milepost.hub import Hub, calm_collector

    sys.setswitchinterval(SWITCH_INTERVAL_S)
    hub = Hub(config)
    stop = stop_on_signal()
    if await opened(hub.open(), stop) is None:
        return
    calm_collector()
    try:
        link = await hub.first_link()

        def ready(port: int) -> None:
            say_ready("hub", config.host, port)
            if link is not None:
                say_first_link(config.public_url or address(config.host, port), link)

        await hub.run(stop, ready)
    finally:
        await hub.close()


async def opened(opening: Coroutine[Any, Any, T], stop: asyncio.Event) -> "asyncio.Task[T] | None":
    """Open something that may wait for its database: the task once it is done, None when told to stop first. Raises
    what opening raises."""
    task, stopping = asyncio.create_task(opening), asyncio.ensure_future(stop.wait())
    await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if task.done():
        task.result()
        return task
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return None


def demo(
    orders: Annotated[int, typer.Option("--orders", min=1, max=200, help="Orders to play.")] = 12,
    seed: Annotated[int, typer.Option("--seed", help="Fixes the world.")] = 7,
    port: Annotated[int, typer.Option("--port", help="The hub's port.")] = 8480,
    sandbox_port: Annotated[int, typer.Option("--sandbox-port", help="The sandbox's port.")] = 8481,
    folder: Annotated[str, typer.Option("--folder", help="Where both databases are kept.")] = "run",
    seconds: Annotated[float, typer.Option("--seconds", min=5, max=110, help="How long to play.")] = 45.0,
    stay: Annotated[bool, typer.Option("--stay/--no-stay", help="Stay up afterwards.")] = True,
    json: Annotated[bool, typer.Option("--json", help="Print the account as JSON.")] = False,
    size: Annotated[
        int, typer.Option("--size", min=0, help="Instead: months of so many deliveries, loaded at once.")
    ] = 0,
    days: Annotated[int, typer.Option("--days", min=1, max=3_650, help="--size: over so many days.")] = 120,
    until: Annotated[
        str | None, typer.Option("--until", help="--size: the last day (now).", metavar="TIME")
    ] = None,
    database: Annotated[
        str | None, typer.Option("--database", help="--size: an empty database.", metavar="URL")
    ] = None,
    workers: Annotated[int, typer.Option("--workers", min=0, max=64, help="--size: processes.")] = 1,
) -> None:
    """Start hub and sandbox, play a seeded scenario, say what happened and where to look, stay up.

    With --size N a hub alone, whose database holds N deliveries of the last months; stopped, it goes on next time.
    """
    import uvloop

    from milepost.cli.demo import play

    start_logging("error")
    if size:
        _load(size, seed, days, until, database, folder, port, workers, stay=stay, json=json)
        return
    uvloop.run(
        _interruptible(
            lambda stop: play(
                stop,
                orders=orders,
                seed=seed,
                port=port,
                sandbox_port=sandbox_port,
                folder=folder,
                seconds=seconds,
                stay=stay,
                json=json,
            )
        )
    )


def _load(
    size: int,
    seed: int,
    days: int,
    until: str | None,
    database: str | None,
    folder: str,
    port: int,
    workers: int,
    *,
    stay: bool,
    json: bool,
) -> None:
    import uvloop

    from milepost.cli.volume import load
    from milepost.domain.instant import parse_instant

    try:
        end = None if until is None else parse_instant(until)
    except ValueError:
        fail(f"--until {until!r} is no ISO 8601 time", 2)
    uvloop.run(
        _interruptible(
            lambda stop: load(
                stop,
                size=size,
                seed=seed,
                days=days,
                until=end,
                database=database,
                folder=folder,
                port=port,
                workers=workers,
                stay=stay,
                json=json,
            )
        )
    )


async def _interruptible(run: Callable[[asyncio.Event], Awaitable[bool]]) -> None:
    if not await run(stop_on_signal()):
        fail("the demo did not finish; see above")


def stop_on_signal() -> asyncio.Event:
    """An event that SIGINT and SIGTERM set."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    return stop


def say_ready(what: str, host: str, port: int) -> None:
    """The line that says a server listens; scripts and tests wait for it."""
    console.print(f"milepost {what} listens on http://{escape(host)}:{port}", soft_wrap=True)


def say_first_link(url: str, path: str) -> None:
    """Where the first admin sets a password: on standard output only, which is no log."""
    console.print(
        "Nobody can sign in to the console yet. Set the first admin's password within 24 hours, at\n"
        f"  {escape(url.rstrip('/'))}{escape(path)}",
        soft_wrap=True,
    )


def address(host: str, port: int) -> str:
    """Where somebody on this machine reaches a server that listens there."""
    if host in ("", "0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        host = "localhost"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def start_logging(level: str) -> None:
    """Structured lines on standard error: for people at a terminal, JSON otherwise."""
    import structlog

    if level.lower() not in LEVELS:
        fail(f"log level {level!r}: debug, info, warning or error", 2)
    terminal = sys.stderr.isatty()
    renderer: structlog.types.Processor = (
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        if terminal
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *(() if terminal else (structlog.processors.format_exc_info,)),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level.lower()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
