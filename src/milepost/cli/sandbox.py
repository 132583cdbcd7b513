"""`milepost sandbox`: runs the local Buy with Prime, or, with a subcommand, asks one that runs.

The options of the server are here, and how the group is put together; its subcommands are `sandbox_publishing`'s
(what went out, to whom) and `sandbox_world`'s (what happens in it). What a command needs beyond its options is
imported when it runs, so that the others start at once.
"""

from typing import TYPE_CHECKING, Annotated

import typer

from milepost.cli import sandbox_publishing, sandbox_world
from milepost.cli.serve import say_ready, start_logging, stop_on_signal
from milepost.domain.errors import Invalid
from milepost.domain.retry import Schedule

if TYPE_CHECKING:
    from milepost.sandbox.program import SandboxConfig

HUB = "http://127.0.0.1:8480/webhooks/buy-with-prime"
EXAMPLE = "Example: milepost sandbox --orders 20 --speed 600 --fault duplicate=0.2 --fault tracker-null=2m"

sandbox_app = typer.Typer()

Host = Annotated[str, typer.Option("--host", help="Address to listen on.")]
Port = Annotated[int, typer.Option("--port", help="Port, 0 for a free one.")]
Database = Annotated[str, typer.Option("--database", help="Database URL.")]
Seed = Annotated[int, typer.Option("--seed", help="Fixes the world: the same seed, the same orders.")]
Speed = Annotated[float, typer.Option("--speed", help="How much faster than real time; 0 stands still.")]
Orders = Annotated[int, typer.Option("--orders", min=0, max=10_000, help="Orders to begin with.")]
Scenario = Annotated[str | None, typer.Option("--scenario", help="What all of them live.")]
HubUrl = Annotated[
    str | None, typer.Option("--hub", help="Webhook to publish to; '' for none.", metavar="URL")
]
Username = Annotated[str | None, typer.Option("--username", help="Basic user name at the hub.")]
Password = Annotated[str | None, typer.Option("--password", help="Basic password at the hub.")]
OAuthEndpoint = Annotated[
    str | None, typer.Option("--oauth-endpoint", help="Where the hub gives tokens out.", metavar="URL")
]
OAuthId = Annotated[str | None, typer.Option("--oauth-client-id", help="Client id at the hub.")]
OAuthSecret = Annotated[str | None, typer.Option("--oauth-client-secret", help="Client secret at the hub.")]
EventBridge = Annotated[bool, typer.Option("--eventbridge", help="Post EventBridge documents to the hub.")]
Endpoint = Annotated[
    str | None,
    typer.Option(
        "--eventbridge-endpoint", help="Where subscriptions' EventBridge is: a URL, or aws.", metavar="URL"
    ),
]
MintIds = Annotated[
    bool, typer.Option("--mint-ids", help="EventBridge documents get ids of their own, as at AWS.")
]
Duplicates = Annotated[float, typer.Option("--duplicates", help="Part sent twice, 0 to 1.")]
Shuffles = Annotated[float, typer.Option("--shuffles", help="Part sent out of order, 0 to 1.")]
Fault = Annotated[
    list[str] | None,
    typer.Option("--fault", help="A fault that is on from the start; may be repeated.", metavar="NAME=VALUE"),
]
RetrySchedule = Annotated[
    str | None,
    typer.Option("--retry-schedule", help="The delay before each try, like 0s,5s,5m.", metavar="DELAYS"),
]
EgressAllow = Annotated[
    list[str] | None,
    typer.Option("--egress-allow", help="Private addresses that may be published to.", metavar="CIDR"),
]
Open = Annotated[bool, typer.Option("--open", help="Let others than this machine drive it.")]
LogLevel = Annotated[str, typer.Option("--log-level", help="debug, info, warning, error.")]


def register(app: typer.Typer) -> None:
    sandbox_app.callback(invoke_without_command=True, epilog=EXAMPLE)(sandbox)
    sandbox_publishing.register(sandbox_app)
    sandbox_world.register(sandbox_app)
    app.add_typer(sandbox_app, name="sandbox")


def sandbox(
    context: typer.Context,
    host: Host = "127.0.0.1",
    port: Port = 8481,
    database: Database = "sqlite:///sandbox.db",
    seed: Seed = 1,
    speed: Speed = 1.0,
    orders: Orders = 0,
    scenario: Scenario = None,
    hub: HubUrl = HUB,
    username: Username = None,
    password: Password = None,
    oauth_endpoint: OAuthEndpoint = None,
    oauth_client_id: OAuthId = None,
    oauth_client_secret: OAuthSecret = None,
    eventbridge: EventBridge = False,
    eventbridge_endpoint: Endpoint = None,
    mint_ids: MintIds = False,
    duplicates: Duplicates = 0.0,
    shuffles: Shuffles = 0.0,
    fault: Fault = None,
    retry_schedule: RetrySchedule = None,
    egress_allow: EgressAllow = None,
    open_to_all: Open = False,
    log_level: LogLevel = "info",
) -> None:
    """Run the local Buy with Prime: its API, its world of orders, and the events it publishes.

    Without a command it serves until Ctrl-C; the commands speak to one that runs (MILEPOST_SANDBOX_URL)."""
    if context.invoked_subcommand is not None:
        return
    import uvloop

    from milepost.config import Config
    from milepost.sandbox.faults import parse_options
    from milepost.sandbox.program import SandboxConfig

    start_logging(log_level)
    given = Config.load()
    known = given.webhook_password.get_secret_value() if given.webhook_password else None
    by_oauth = oauth_endpoint is not None
    config = SandboxConfig(
        host=host,
        port=port,
        database_url=database,
        encryption_key=given.encryption_keys,
        seed=seed,
        speed=speed,
        orders=orders,
        scenario=scenario,
        hub_url=hub or None,
        username=None if by_oauth else username or given.webhook_username,
        password=None if by_oauth else password or known,
        oauth_endpoint=oauth_endpoint,
        oauth_client_id=oauth_client_id,
        oauth_client_secret=oauth_client_secret,
        eventbridge=eventbridge,
        eventbridge_endpoint=eventbridge_endpoint,
        mint_ids=mint_ids,
        duplicate_rate=duplicates,
        shuffle_rate=shuffles,
        faults=parse_options(fault or ()),
        open_to_all=open_to_all,
        egress_allow=tuple(egress_allow or given.egress_allow),
        schedule=Schedule() if retry_schedule is None else parse_schedule(retry_schedule),
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


def parse_schedule(text: str) -> Schedule:
    """The schedule of delays like `0s,5s,5m`: one before each try. Raises `Invalid`."""
    from milepost.sandbox.durations import parse_duration

    delays = tuple(parse_duration(part.strip()) for part in text.split(","))
    if any(delay < 0 for delay in delays):
        raise Invalid(f"{text!r} has a delay below 0", field="retry-schedule")
    return Schedule(delays)
