"""The sandbox as an object: `Sandbox(config)`, then `open`, `run`, `close`, like the hub.

It opens a store of its own, makes the world that the seed says, and runs beside the server: the world (plans played
by the world's clock), the consumer that makes messages of published events, the publisher that sends them to
whoever subscribed, and what tells an EventBridge endpoint of event sources. Each of them is a module of its own.
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from msgspec import Struct

from milepost.domain.breaker import Policy
from milepost.domain.errors import Misconfigured
from milepost.domain.instant import DAY, MINUTE, SECOND, Instant
from milepost.domain.retry import STANDARD, Schedule
from milepost.pipeline.consumer import Consumer
from milepost.pipeline.publisher import Publisher
from milepost.sandbox.api import AmazonRoutes
from milepost.sandbox.clock import WorldClock, real_now
from milepost.sandbox.credential_routes import CredentialRoutes
from milepost.sandbox.credentials import Credentials
from milepost.sandbox.driving import DrivingRoutes
from milepost.sandbox.eventbridge_road import EventBridgeRoad
from milepost.sandbox.events import render
from milepost.sandbox.faults import ActiveFaults, Faults
from milepost.sandbox.faulty import FaultyCopies, FaultySender, RequestFaults
from milepost.sandbox.graph import GraphApi
from milepost.sandbox.http import RoutedApp
from milepost.sandbox.keeper import Keeper
from milepost.sandbox.managed import Handler, authentication, manage
from milepost.sandbox.page.routes import PageRoutes
from milepost.sandbox.playing import WORLD_TIME
from milepost.sandbox.publishing import PublishingRoutes, indexed
from milepost.sandbox.signing import SigningKeys
from milepost.sandbox.subscriptions import Subscriptions
from milepost.sandbox.world import dice
from milepost.sql import open_store
from milepost.store import Store, Transaction
from milepost.transports.egress import LOOPBACK, networks
from milepost.transports.server import serve
from milepost.transports.webhook_sender import WebhookSender

CONSUMER = "publisher"
START_DAYS = 21
"""A faster world begins so many days back, so that it stays in the past while it hurries."""

log = structlog.get_logger()


class SandboxConfig(Struct, frozen=True, kw_only=True):
    """Settings of one sandbox. Without `hub_url` events are stored and sent to nobody."""

    host: str = "127.0.0.1"
    port: int = 8481
    database_url: str = "sqlite:///sandbox.db"
    seed: int = 1
    speed: float = 1.0
    """How much faster than real the world's clock runs; 0 stands still until somebody steps it."""
    start: Instant | None = None
    """When the world begins; by default now, and three weeks back for a faster clock."""
    orders: int = 0
    """Orders of the opening world, each living a scenario."""
    scenario: str | None = None
    """The one that all of them live; by default each package draws its own."""
    client_id: str = "sandbox"
    client_secret: str = "sandbox"
    encryption_key: str | None = None
    """Seals what is kept of secrets; by default a file beside the database holds the key."""
    hub_url: str | None = None
    """The webhook to publish to, whole: http://127.0.0.1:8480/webhooks/buy-with-prime."""
    username: str | None = None
    password: str | None = None
    oauth_endpoint: str | None = None
    oauth_client_id: str | None = None
    oauth_client_secret: str | None = None
    eventbridge: bool = False
    """Post the EventBridge document, as an API destination does."""
    eventbridge_endpoint: str | None = None
    """Where EventBridge subscriptions publish by PutPartnerEvents: a URL, or "aws"; by default to the local bus."""
    mint_ids: bool = False
    """The local bus gives EventBridge documents ids of their own, as AWS does."""
    duplicate_rate: float = 0.0
    """The part of events that is sent twice (0 to 1)."""
    shuffle_rate: float = 0.0
    """The part of events that is held back, so that later ones overtake it (0 to 1)."""
    faults: Faults = Faults()
    """The faults that are on from the start."""
    open_to_all: bool = False
    """Let anybody who reaches this sandbox drive it, not only callers on loopback."""
    egress_allow: tuple[str, ...] = ()
    """CIDRs of private addresses beside loopback that may be published to."""
    schedule: Schedule = STANDARD
    breaker: Policy = Policy(10, (5 * SECOND, 10 * SECOND, 30 * SECOND, MINUTE))
    """When an endpoint is left alone, and for how long: shorter than in production, since whoever restarts a handler
    waits for it."""

    def __repr__(self) -> str:
        """Without the secrets in it."""
        return f"SandboxConfig({self.host}:{self.port}, seed {self.seed})"


class Sandbox:
    """One local Buy with Prime. `open` takes the database's lock, `run` serves until stopped, `close` lets go."""

    def __init__(self, config: SandboxConfig, *, probe: Callable[[str], None] = lambda point: None) -> None:
        self.config = config
        self.port: int | None = None
        """The port it listens on, once it does."""
        self._probe = probe

    async def open(self) -> None:
        """Open the database, take up the world where it was (or make it), build everything. Nothing listens yet.

        Raises `Misconfigured`, `StoreLocked` and `StoreUnavailable`."""
        config = self.config
        handler = _handler(config)
        if config.speed < 0 or not all(0 <= r <= 1 for r in (config.duplicate_rate, config.shuffle_rate)):
            raise Misconfigured("a speed is not below 0, a rate is 0 to 1")
        allow = (*LOOPBACK, *config.egress_allow)
        networks(allow)
        self.store: Store = await open_store(
            config.database_url, owner="milepost sandbox", encryption_key=config.encryption_key
        )
        self.signing = SigningKeys(self.store)
        await self.signing.open()
        self.sender = WebhookSender(real_now, allow=allow, signer=self.signing.signer)
        start = await self._start()
        self.clock = WorldClock(start, config.speed)

        def take_up(tx: Transaction) -> None:
            # The store is ours alone, and a standing clock would never end the lease of one that was killed.
            tx.attempts.release_all()
            manage(tx, handler, client_id=config.client_id, now=self.clock.now())

        await self.store.write(take_up)
        self.keeper = Keeper(self.store, self.clock, config.seed)
        self.faults = ActiveFaults(
            config.faults.over(Faults(duplicate=config.duplicate_rate, reorder=config.shuffle_rate))
        )
        self._build_publishing()
        self._build_app()
        await self.keeper.populate(config.orders, config.scenario)
        await self.sender.open()
        await self.eventbridge.open()

    def _build_publishing(self) -> None:
        """What goes out: by webhook, by EventBridge, as the faults have it."""
        config = self.config
        self.eventbridge = EventBridgeRoad(
            self.store,
            self.clock.now,
            wait=self.clock.wait,
            random=dice(config.seed, "announcing").random,
            real_now=real_now,
            seed=config.seed,
            endpoint=config.eventbridge_endpoint,
            mint_ids=config.mint_ids,
            allow=(*LOOPBACK, *config.egress_allow),
            schedule=config.schedule,
        )
        draw = dice(config.seed, "jitter")
        self.publisher = Publisher(
            self.store,
            {"webhook": FaultySender(self.sender), "eventbridge": self.eventbridge.sender},
            self.clock.now,
            wait=self.clock.wait,
            random=draw.random,
            schedule=config.schedule,
            policy=config.breaker,
            # While the clock stands, somebody steps it: by what, nobody knows.
            pace=lambda: max(1.0, self.clock.pace),
            render=render,
            copies=FaultyCopies(config.seed, self.faults),
            probe=self._probe,
        )
        self.consumer = Consumer(
            self.store, CONSUMER, indexed(self.publisher.prepare), self.clock.now, probe=self._probe
        )

    def _build_app(self) -> None:
        """What comes in: the API, and whoever drives the world."""
        config = self.config
        self.credentials = Credentials(self.store, self.clock.now, config.client_id, config.client_secret)
        self.subscriptions = Subscriptions(self.store, self.clock.now, config.seed, self.eventbridge.notify)
        self.graph = GraphApi(self.keeper, self.credentials, self.subscriptions, self.clock)
        self.app = RoutedApp(
            [
                AmazonRoutes(self.graph, self.credentials, RequestFaults(config.seed, self.faults)),
                CredentialRoutes(self.credentials, self.keeper.business_product_id),
                DrivingRoutes(self.keeper, self.clock, self.faults, eventbridge=config.eventbridge),
                PublishingRoutes(self.store, self.publisher, self.subscriptions, CONSUMER),
                PageRoutes(self.store, self.keeper, self.clock, self.faults, self.publisher),
                self.eventbridge.routes,
                self.signing,
            ],
            open_to_all=config.open_to_all,
        )

    async def run(self, stop: asyncio.Event, ready: Callable[[int], None] = lambda port: None) -> None:
        """Serve until `stop` is set, then finish what is in flight. `ready` gets the port."""

        def listening(port: int) -> None:
            self.port = port
            ready(port)

        halt = asyncio.Event()
        parts = {
            "world": self.keeper.run,
            "consumer": self.consumer.run,
            "publisher": self.publisher.run,
            "eventbridge": self.eventbridge.run,
            "time": self._remember_time,
        }
        tasks = {name: asyncio.create_task(_keep(name, part, halt)) for name, part in parts.items()}
        try:
            await serve(self.app, self.config.host, self.config.port, stop=stop, ready=listening)
        finally:
            halt.set()
            # It may be waiting for the journal, and what it commits it commits whole.
            tasks["consumer"].cancel()
            await asyncio.gather(*tasks.values(), return_exceptions=True)

    async def close(self) -> None:
        """Close the senders and the database, release the lock."""
        await self.eventbridge.close()
        await self.sender.close()
        await self.store.close()

    async def settle(self) -> None:
        """Publish everything that is due now; for those who don't `run`."""
        await self.keeper.play_due()
        await self.consumer.catch_up()
        await self.eventbridge.announce_due()
        await self.publisher.send_due()

    # ── The world's time ───────────────────────────────────────────────────────────────────────────────────

    async def _start(self) -> Instant | None:
        """Where the world's time goes on: where it was, or where the settings let it begin (None: now)."""
        played_until = await self.store.read(lambda tx: tx.journal.checkpoint(WORLD_TIME))
        # A real clock too may have been put ahead: it never goes back.
        if played_until and (not self._is_real or played_until > real_now()):
            return Instant(played_until)
        if self.config.start is not None or self.config.speed in (0, 1):
            return self.config.start
        return Instant(real_now() - START_DAYS * DAY)

    @property
    def _is_real(self) -> bool:
        """Whether the world's clock is the machine's, as long as nobody puts it ahead."""
        return self.config.speed == 1 and self.config.start is None

    async def _remember_time(self, halt: asyncio.Event) -> None:
        """Keep the time of a world that has its own, so that it goes on there after a restart."""
        while True:
            now = self.clock.now()
            if not self._is_real or now > real_now():
                await self.keeper.remember(now)
            if halt.is_set():
                return
            await _pause(halt, 1.0)


async def _keep(name: str, run: Callable[[asyncio.Event], Awaitable[None]], halt: asyncio.Event) -> None:
    """Run until halted; what fails unexpectedly is logged and started again."""
    while not halt.is_set():
        try:
            await run(halt)
        except Exception:
            log.exception("sandbox.background_failed", name=name)
            await _pause(halt, 1.0)


async def _pause(halt: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await halt.wait()
    except TimeoutError:
        pass


def _handler(config: SandboxConfig) -> Handler | None:
    """Whom to publish to; None for nobody. Raises `Misconfigured` for half a credential."""
    if config.hub_url is None:
        return None
    auth = authentication(
        config.username,
        config.password,
        config.oauth_endpoint,
        config.oauth_client_id,
        config.oauth_client_secret,
    )
    return Handler(config.hub_url, auth, config.eventbridge)
