"""Commands that stay up: serve, sandbox, demo. Each starts the same objects that tests start.

What a command needs beyond its options is imported when it runs, so that the others start at once.
"""

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from milepost.cli.client import console, fail

if TYPE_CHECKING:
    from milepost.config import Config
    from milepost.sandbox.program import SandboxConfig

SWITCH_INTERVAL_S = 0.0001
"""How long one thread may keep the others waiting: the loop that acknowledges shares the interpreter with the
writer and the folds, and at Python's default of 5 ms each hand-over would cost a commit's time."""
LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def register(app: typer.Typer) -> None:
    app.command(epilog="Example: milepost serve --host 127.0.0.1 --port 8480")(serve)
    app.command(
        epilog="Example: milepost sandbox --orders 20 --speed 600 --hub http://127.0.0.1:8480/webhooks/buy-with-prime"
    )(sandbox)
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
    await hub.open()
    calm_collector()
    try:
        await hub.run(stop, lambda port: say_ready("hub", config.host, port))
    finally:
        await hub.close()


def sandbox(
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="Port, 0 for a free one.")] = 8481,
    database: Annotated[str, typer.Option("--database", help="Database URL.")] = "sqlite:///sandbox.db",
    seed: Annotated[int, typer.Option("--seed", help="Fixes the world: the same seed, the same orders.")] = 1,
    speed: Annotated[
        float, typer.Option("--speed", help="How much faster than real time; 0 stands still.")
    ] = 1.0,
    orders: Annotated[int, typer.Option("--orders", min=0, max=10_000, help="Orders to begin with.")] = 0,
    scenario: Annotated[str | None, typer.Option("--scenario", help="What all of them live.")] = None,
    hub: Annotated[
        str | None, typer.Option("--hub", help="Webhook to publish to.", metavar="URL")
    ] = "http://127.0.0.1:8480/webhooks/buy-with-prime",
    username: Annotated[str | None, typer.Option("--username", help="Basic user name at the hub.")] = None,
    password: Annotated[str | None, typer.Option("--password", help="Basic password at the hub.")] = None,
    eventbridge: Annotated[bool, typer.Option("--eventbridge", help="Post EventBridge documents.")] = False,
    duplicates: Annotated[float, typer.Option("--duplicates", help="Part sent twice, 0 to 1.")] = 0.0,
    shuffles: Annotated[float, typer.Option("--shuffles", help="Part sent out of order, 0 to 1.")] = 0.0,
    log_level: Annotated[str, typer.Option("--log-level", help="debug, info, warning, error.")] = "info",
) -> None:
    """Run the local Buy with Prime: its API, its world of orders, and the events it publishes."""
    import uvloop

    from milepost.config import Config
    from milepost.sandbox.program import SandboxConfig

    start_logging(log_level)
    given = Config.load()
    known = given.webhook_password.get_secret_value() if given.webhook_password else None
    config = SandboxConfig(
        host=host,
        port=port,
        database_url=database,
        seed=seed,
        speed=speed,
        orders=orders,
        scenario=scenario,
        hub_url=hub or None,
        username=username or given.webhook_username,
        password=password or known,
        eventbridge=eventbridge,
        duplicate_rate=duplicates,
        shuffle_rate=shuffles,
    )
    uvloop.run(_sandbox(config))


async def _sandbox(config: "SandboxConfig") -> None:
    from milepost.sandbox.program import Sandbox

    world = Sandbox(config)
    stop = stop_on_signal()
    await world.open()
    try:
        await world.run(stop, lambda port: say_ready("sandbox", config.host, port))
    finally:
        await world.close()


def demo(
    orders: Annotated[int, typer.Option("--orders", min=1, max=200, help="Orders to play.")] = 12,
    seed: Annotated[int, typer.Option("--seed", help="Fixes the world.")] = 7,
    port: Annotated[int, typer.Option("--port", help="The hub's port.")] = 8480,
    sandbox_port: Annotated[int, typer.Option("--sandbox-port", help="The sandbox's port.")] = 8481,
    folder: Annotated[str, typer.Option("--folder", help="Where both databases are kept.")] = "run",
    seconds: Annotated[float, typer.Option("--seconds", min=5, max=110, help="How long to play.")] = 45.0,
    stay: Annotated[bool, typer.Option("--stay/--no-stay", help="Stay up afterwards.")] = True,
    json: Annotated[bool, typer.Option("--json", help="Print the account as JSON.")] = False,
) -> None:
    """Start hub and sandbox, play a seeded scenario, say what happened and where to look, stay up."""
    import uvloop

    from milepost.cli.demo import play

    start_logging("error")
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
