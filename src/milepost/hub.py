"""The hub as an object: `Hub(config)`, then `open`, `run`, `close`. The only file that knows everything.

Server, commands, sandbox demo and tests all start this one. It opens the store, builds what the settings ask for,
routes requests (the webhook and the token endpoint are raw ASGI in front of the framework) and keeps the
consumers, the hydrator's worker and the sweeper running. What each of them does is in its own module.
"""

import asyncio
import ctypes
import gc
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from random import Random

import structlog

from milepost import __version__, sql
from milepost.buywithprime.client import BuyWithPrimeClient
from milepost.config import Config
from milepost.domain.condition import Policy, policy_from
from milepost.domain.errors import Misconfigured
from milepost.domain.instant import Instant
from milepost.pipeline import hydrator as hydration
from milepost.pipeline import projector
from milepost.pipeline.consumer import Consumer, Prepare
from milepost.pipeline.hydrator import Hydrator
from milepost.pipeline.ingest import Ingest
from milepost.pipeline.projector import Projector
from milepost.pipeline.sweeper import Sweeper
from milepost.store import Store
from milepost.transports import sqs
from milepost.transports.asgi import Receive, Scope, Send
from milepost.transports.oauth import Client, TokenEndpoint, Tokens
from milepost.transports.server import Limits, serve
from milepost.transports.signature import SignatureVerifier
from milepost.transports.webhook import Authenticator, Credential, WebhookEndpoint
from milepost.web.app import create_app
from milepost.web.context import Context

Probe = Callable[[str], None]
"""Told of named moments, so that a test can end the process there."""

RESTART_S = 1.0
_M_ARENA_MAX = -8
WEBHOOK, TOKEN = "/webhooks/buy-with-prime", "/oauth/token"
RECOVERED_S = 5.0
"""How long a part that failed must run again before /readyz trusts it, in seconds."""

log = structlog.get_logger()


def now() -> Instant:
    """The real clock: milliseconds since 1970, UTC."""
    return Instant(time.time_ns() // 1_000_000)


def no_probe(point: str) -> None:
    """The probe of a hub that nobody tests."""


def policy_of(config: Config) -> Policy:
    """The limits of the conditions, from the settings. Raises `Misconfigured`."""
    return policy_from({"timezone": config.timezone, "holidays": list(config.holidays), **config.conditions})


def projector_handler(config: Config, store: Store, clock: Callable[[], Instant]) -> Prepare:
    """The projector as this configuration runs it; `rebuild` uses the same."""
    return Projector(store, policy_of(config), clock).prepare


def calm_collector() -> None:
    """For a process that serves or rebuilds. What it was built of stays, so the garbage collector need not look at
    that again and again; and a request's few objects are gone before it looks: next to nothing makes cycles."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def _few_arenas() -> None:
    """glibc gives every thread an arena of its own, and the writer's and the readers' fill with holes: two are as
    fast here and take a fifth less memory. Elsewhere there is no such call, and nothing to do."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)


class Hub:
    """One hub. `open` takes the database's lock, `run` serves until stopped, `close` lets go."""

    def __init__(
        self, config: Config, *, clock: Callable[[], Instant] = now, probe: Probe = no_probe
    ) -> None:
        self.config = config
        self.port: int | None = None
        """The port it listens on, once it does."""
        self._clock = clock
        self._probe = probe
        self._clients: list[BuyWithPrimeClient] = []
        self._consumers: list[Consumer] = []
        self._failing: dict[str, str] = {}

    async def open(self) -> None:
        """Check the settings, open and migrate the database, build everything. Nothing listens yet.

        Raises `Misconfigured` and `StoreLocked`, both saying what to do.
        """
        _few_arenas()
        config, clock = self.config, self._clock
        policy = policy_of(config)
        tokens = Tokens(_oauth_clients(config), clock=clock)
        verifier = None
        if config.signature_jwks_url is not None:
            verifier = SignatureVerifier(config.signature_jwks_url, clock=clock)
        authenticator = Authenticator(_credentials(config), tokens, verifier, insecure=config.insecure)
        if config.api_key is None and not config.insecure:
            log.warning(
                "hub.no_api_key", hint="set MILEPOST_API_KEY: without a key nobody can read or operate"
            )
        api_clients = self._api_clients()
        self.store = await sql.open_store(config.database_url, clock=clock, owner="milepost serve")
        self.ingest = Ingest(self.store, clock, probe=self._probe)
        self.hydrator = Hydrator(
            self.store,
            api_clients,
            clock,
            queries_per_minute=config.queries_per_minute,
            probe=self._probe,
        )
        self.sweeper = Sweeper(self.store, policy, clock, interval_ms=int(config.sweep_interval_s * 1000))
        self._consumers = [
            self._consumer(projector.NAME, projector_handler(config, self.store, clock)),
            self._consumer(hydration.NAME, self.hydrator.prepare),
        ]
        self._webhook = WebhookEndpoint(
            self.ingest, authenticator, clock=clock, max_in_flight=config.max_concurrency
        )
        self._token = TokenEndpoint(tokens, clock=clock)
        self.receivers = sqs.receivers(config, self.ingest, clock, Random())  # noqa: S311 - jitter, not a secret
        self._context = Context(
            store=self.store,
            clock=clock,
            ingest=self.ingest,
            version=__version__,
            hydrator=self.hydrator,
            admin_key=config.api_key.get_secret_value() if config.api_key else None,
            insecure=config.insecure,
            counters=self._counters,
            ready=self._ready,
        )
        self._web = create_app(self._context)

    async def run(self, stop: asyncio.Event, ready: Callable[[int], None] = lambda port: None) -> None:
        """Serve until `stop` is set, then finish what is in flight. `ready` gets the port."""
        halt = asyncio.Event()
        limits = Limits(request_seconds=self.config.receive_timeout_s)

        def listening(port: int) -> None:
            self.port = port
            ready(port)

        async def end_streams() -> None:
            await stop.wait()
            self._context.closing.set()

        background = self._receiving(halt)
        if not self.config.ingest_only:
            background += self._background(halt)
        ending = asyncio.create_task(end_streams())
        try:
            await serve(
                self.app,
                self.config.host,
                self.config.port,
                stop=stop,
                ready=listening,
                limits=limits,
                whole={WEBHOOK.encode(): self._webhook, TOKEN.encode(): self._token},
            )
        finally:
            halt.set()
            ending.cancel()
            await asyncio.gather(*background, ending, return_exceptions=True)

    async def close(self) -> None:
        """Commit what was accepted, close clients and database, release the lock."""
        try:
            for client in self._clients:
                await client.close()
        finally:
            await self.store.close()

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application: two raw endpoints, everything else by the framework."""
        if scope["type"] == "http":
            path = scope["path"]
            if path == WEBHOOK:
                return await self._webhook(scope, receive, send)
            if path == TOKEN:
                return await self._token(scope, receive, send)
        await self._web(scope, receive, send)  # type: ignore[arg-type]
        return None

    async def settle(self) -> None:
        """Fold everything journalled so far; for those who want to look right after posting."""
        for consumer in self._consumers:
            await consumer.catch_up()

    def _consumer(self, name: str, prepare: Prepare) -> Consumer:
        return Consumer(self.store, name, prepare, self._clock, probe=self._probe)

    def _background(self, halt: asyncio.Event) -> list[asyncio.Task[None]]:
        runs: dict[str, Callable[[asyncio.Event], Awaitable[None]]] = {
            **{consumer.name: consumer.run for consumer in self._consumers},
            "hydration": self.hydrator.run,
            "sweeper": self.sweeper.run,
        }
        return [asyncio.create_task(self._keep(name, run, halt)) for name, run in runs.items()]

    def _receiving(self, halt: asyncio.Event) -> list[asyncio.Task[None]]:
        """Every hub receives from the queues: each message goes to one of them."""
        return [asyncio.create_task(self._keep(f"sqs.{r.name}", r.run, halt)) for r in self.receivers]

    async def _keep(
        self, name: str, run: Callable[[asyncio.Event], Awaitable[None]], halt: asyncio.Event
    ) -> None:
        """Run until halted; what fails unexpectedly is logged, shown by /readyz and started again. Once it has
        run for a while it is no longer shown."""
        while not halt.is_set():
            recovered = asyncio.get_running_loop().call_later(RECOVERED_S, self._failing.pop, name, None)
            try:
                try:
                    await run(halt)
                finally:
                    recovered.cancel()
            except Exception as e:
                self._failing[name] = f"{type(e).__name__}: {e}"
                log.exception("hub.background_failed", name=name)
                try:
                    await asyncio.wait_for(halt.wait(), RESTART_S)
                except TimeoutError:
                    continue

    def _api_clients(self) -> dict[str, BuyWithPrimeClient]:
        """Clients by business product; the one under the empty name serves those that have none of their own."""
        config, clients = self.config, dict[str, BuyWithPrimeClient]()
        if config.bwp_client_id is not None and config.bwp_client_secret is not None:
            clients[""] = BuyWithPrimeClient(
                config.bwp_api_url,
                config.bwp_client_id,
                config.bwp_client_secret.get_secret_value(),
                config.bwp_target_id,
                clock=self._clock,
            )
        elif (config.bwp_client_id is None) != (config.bwp_client_secret is None):
            raise Misconfigured("MILEPOST_BWP_CLIENT_ID and MILEPOST_BWP_CLIENT_SECRET go together")
        for one in config.api_clients:
            if one.business_product in clients:
                raise Misconfigured(f"[[api_clients]] names business product {one.business_product} twice")
            clients[one.business_product] = BuyWithPrimeClient(
                one.api_url or config.bwp_api_url,
                one.client_id,
                one.client_secret.get_secret_value(),
                one.target_id or one.business_product,
                clock=self._clock,
            )
        self._clients = list(clients.values())
        return clients

    def _counters(self) -> Mapping[str, int]:
        outcomes = self._webhook.outcomes
        webhook = {f"webhook.{name}": getattr(outcomes, name) for name in outcomes.__struct_fields__}
        return {**webhook, **sqs.counters(self.receivers), **self.hydrator.counters()}

    def _ready(self) -> tuple[bool, dict[str, object]]:
        failing = dict(self._failing)
        failing.update({c.name: c.last_error for c in self._consumers if c.last_error is not None})
        positions = {consumer.name: consumer.position for consumer in self._consumers}
        broken, queues = sqs.readiness(self.receivers)
        shown: dict[str, object] = {"positions": positions, "failing": sorted({*failing, *broken})}
        if queues:
            shown["queues"] = queues
        return not (failing or broken), shown


def _credentials(config: Config) -> list[Credential]:
    credentials = [
        Credential.basic(one.username, one.password.get_secret_value(), one.business_products)
        for one in config.webhook_credentials
    ]
    if config.webhook_username is not None and config.webhook_password is not None:
        password = config.webhook_password.get_secret_value()
        credentials.append(Credential.basic(config.webhook_username, password))
    elif (config.webhook_username is None) != (config.webhook_password is None):
        raise Misconfigured("MILEPOST_WEBHOOK_USERNAME and MILEPOST_WEBHOOK_PASSWORD go together")
    return credentials


def _oauth_clients(config: Config) -> list[Client]:
    clients = [
        Client(
            one.client_id,
            tuple(secret.get_secret_value() for secret in one.client_secrets),
            one.business_products,
        )
        for one in config.oauth_clients
    ]
    if config.oauth_client_id is not None and config.oauth_client_secret is not None:
        secrets = config.oauth_client_secret.get_secret_value().split(",")
        clients.append(Client(config.oauth_client_id, tuple(filter(None, map(str.strip, secrets)))))
    elif (config.oauth_client_id is None) != (config.oauth_client_secret is None):
        raise Misconfigured("MILEPOST_OAUTH_CLIENT_ID and MILEPOST_OAUTH_CLIENT_SECRET go together")
    return clients
