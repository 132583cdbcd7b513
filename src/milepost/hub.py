"""The hub as an object: `Hub(config)`, then `open`, `run`, `close`. The only file that knows everything.

Server, commands, sandbox demo and tests all start this one. It opens the store, builds what the settings ask for,
routes requests (the webhook and the token endpoint are raw ASGI in front of the framework) and keeps the
consumers, the hydrator's worker and the sweeper running, each while this hub has the lease of it. What each of them
does is in its own module.
"""

import asyncio
import ctypes
import gc
import os
import secrets
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from random import Random

import structlog

from milepost import __version__, credentials, people, sql
from milepost.buywithprime.client import BuyWithPrimeClient
from milepost.config import Config, policy_of
from milepost.domain.condition import Policy
from milepost.domain.errors import StoreUnavailable
from milepost.domain.instant import Instant
from milepost.domain.message import render
from milepost.domain.retention import check_retention
from milepost.pipeline import hydrator as hydration
from milepost.pipeline import projector
from milepost.pipeline.background import Background, Part
from milepost.pipeline.capturing import CaptureLedger
from milepost.pipeline.consumer import Consumer, Prepare
from milepost.pipeline.hydrator import Hydrator
from milepost.pipeline.ingest import Ingest
from milepost.pipeline.insights import Insights
from milepost.pipeline.lease import Fenced, LeaseHolder, Party
from milepost.pipeline.projector import Projector
from milepost.pipeline.publishing import NAME as PUBLISHER
from milepost.pipeline.publishing import Publishing
from milepost.pipeline.queueing import NAME as QUEUES
from milepost.pipeline.queueing import QueueFiller
from milepost.pipeline.reconciler import NAME as RECONCILER
from milepost.pipeline.reconciler import Reconciler
from milepost.pipeline.remapping import NAME as REMAPPING
from milepost.pipeline.remapping import Remapper
from milepost.pipeline.remeasuring import NAME as MEASURING
from milepost.pipeline.remeasuring import keep_measured
from milepost.pipeline.retention import NAME as RETENTION
from milepost.pipeline.retention import Retention
from milepost.pipeline.subscribers import Matching
from milepost.pipeline.sweeper import NAME as SWEEPER
from milepost.pipeline.sweeper import Sweeper
from milepost.store import Store
from milepost.transports import sqs
from milepost.transports.asgi import Receive, Scope, Send
from milepost.transports.egress import may_name, networks
from milepost.transports.oauth import TokenEndpoint, Tokens
from milepost.transports.senders import Senders
from milepost.transports.server import Limits, serve
from milepost.transports.signature import SignatureVerifier
from milepost.transports.webhook import Authenticator, WebhookEndpoint
from milepost.web.app import create_app
from milepost.web.context import Context
from milepost.web.sessions import new_token
from milepost.web.user_actions import invite_first, setup_path

Probe = Callable[[str], None]
"""Told of named moments, so that a test can end the process there."""

_M_ARENA_MAX = -8
DATABASE_WAIT_S = 60.0
"""How long a database server that cannot be reached is waited for at the start. Then the hub ends, so that whoever
supervises it sees that."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.25, 4.0
WEBHOOK, TOKEN = "/webhooks/buy-with-prime", "/oauth/token"
LEASES = (
    projector.NAME,
    hydration.NAME,
    SWEEPER,
    RECONCILER,
    RETENTION,
    REMAPPING,
    PUBLISHER,
    *people.LEASES,
)
"""What only one hub on a database does at a time. What hydrates goes together, and what publishes."""

log = structlog.get_logger()


def now() -> Instant:
    """The real clock: milliseconds since 1970, UTC."""
    return Instant(time.time_ns() // 1_000_000)


def no_probe(point: str) -> None:
    """The probe of a hub that nobody tests."""


def projector_handler(config: Config, store: Store, clock: Callable[[], Instant]) -> Prepare:
    """The projector as this configuration runs it; `rebuild` uses the same."""
    policy, review = policy_of(config), config.captures_review_inferred
    followers = people.followers(config)
    return Projector(store, policy, clock, review_inferred=review, followers=followers).prepare


def party_of(config: Config, program: str) -> Party:
    """This process, as it takes leases."""
    label = f"{program} (pid {os.getpid()} on {socket.gethostname()})"
    return Party(secrets.token_hex(8), label, int(config.lease_s * 1000))


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


async def open_database(
    config: Config, owner: str, clock: Callable[[], Instant] = now, wait_s: float = DATABASE_WAIT_S
) -> Store:
    """The database of the settings. A server may start after the hub, or be restarted just then: it is waited for. A
    file is there or is not. Raises what `sql.open_store` raises."""
    url, pause_s = config.database_url, _FIRST_PAUSE_S
    loop = asyncio.get_running_loop()
    until = loop.time() + (wait_s if sql.is_shared(url) else 0.0)
    while True:
        try:
            return await sql.open_store(url, clock=clock, owner=owner, encryption_key=config.encryption_keys)
        except StoreUnavailable as e:
            left = until - loop.time()
            if left <= 0:
                raise
            log.warning("hub.waits_for_database", error=e.detail, gives_up_in_s=round(left))
        await asyncio.sleep(min(pause_s, left))
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


class Hub:
    """One hub. `open` opens the database, `run` serves until stopped, `close` lets go.

    `clock` is the world's; leases are between processes and go by the real one, however fast a world's goes."""

    def __init__(
        self,
        config: Config,
        *,
        clock: Callable[[], Instant] = now,
        probe: Probe = no_probe,
        database_wait_s: float = DATABASE_WAIT_S,
    ) -> None:
        self.config = config
        self.port: int | None = None
        """The port it listens on, once it does."""
        self._clock = clock
        self._probe = probe
        self._database_wait_s = database_wait_s
        self._clients: list[BuyWithPrimeClient] = []
        self._consumers: list[Consumer] = []

    async def open(self) -> None:
        """Check the settings, open and migrate the database, build everything. Nothing listens yet.

        Raises `Misconfigured` and `StoreLocked`, both saying what to do, and `StoreUnavailable` when a database
        server cannot be reached for `database_wait_s`.
        """
        _few_arenas()
        config, clock = self.config, self._clock
        policy = policy_of(config)
        check_retention(config.retention_days, policy)
        people.check(config)
        tokens = Tokens(credentials.oauth_clients(config), clock=clock)
        authenticator = self._authenticator(tokens)
        api_clients = credentials.api_clients(config, clock)
        self._clients = list(api_clients.values())
        self._senders = Senders(clock, allow=config.egress_allow)
        self.store = await open_database(config, "milepost serve", clock, self._database_wait_s)
        party = party_of(config, "milepost serve")
        self._holders = {name: LeaseHolder(self.store, name, party, now) for name in LEASES}
        self.ingest = Ingest(self.store, clock, probe=self._probe)
        self.hydrator = Hydrator(
            self._fenced(hydration.NAME),
            api_clients,
            clock,
            queries_per_minute=config.queries_per_minute,
            anybodys=self.store,
            probe=self._probe,
        )
        self.sweeper = Sweeper(
            self._fenced(SWEEPER), policy, clock, interval_ms=int(config.sweep_interval_s * 1000)
        )
        self.reconciler = Reconciler(
            self._fenced(RECONCILER),
            policy,
            clock,
            queries_per_minute=config.queries_per_minute,
            can_ask=self.hydrator.can_ask,
            nudge=self.hydrator.nudge,
        )
        self._retention = self._retaining(self._fenced(RETENTION), policy)
        folding = projector_handler(config, self._fenced(projector.NAME), clock)
        self.publishing = self._publishing()
        self._consumers = [
            self._consumer(projector.NAME, folding),
            self._consumer(hydration.NAME, self.hydrator.prepare),
            self.publishing.consumer,
        ]
        self.people = people.People(config, self.store, clock, self._fenced, self._probe)
        self.receivers = sqs.receivers(config, self.ingest, clock, Random())  # noqa: S311 - jitter, not a secret
        self._background = Background(self._parts(), self._holders)
        self._webhook = WebhookEndpoint(
            self.ingest, authenticator, clock=clock, max_in_flight=config.max_concurrency
        )
        self._token = TokenEndpoint(tokens, clock=clock)
        self._insights = Insights(self.store, policy)
        self._context = self._context_of(policy)
        self._web = create_app(self._context)
        await self._senders.open()
        await self.people.open()

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

        background = self._background.start(halt, leased=not self.config.ingest_only)
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
            # The parts end, then their leases are given up; the store is closed after both, by `close`.
            halt.set()
            ending.cancel()
            await asyncio.gather(*background, ending, return_exceptions=True)

    async def close(self) -> None:
        """Commit what was accepted, close clients and database, release the lock."""
        try:
            await self._insights.close()
            await self._senders.close()
            await self.people.close()
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

    async def first_link(self) -> str | None:
        """The path by which the first admin sets a password, while there is no user and people have to sign in; a new
        one each time, former ones are void. The only time it is seen."""
        if self.config.insecure and self.config.api_key is None:
            return None
        token, at = new_token(), self._clock()
        try:
            made = await self.store.write(lambda tx: invite_first(tx, token, at))
        except StoreUnavailable as e:
            log.warning("hub.no_first_link", error=e.detail)
            return None
        return setup_path(token) if made else None

    async def settle(self) -> None:
        """Fold everything journalled so far; for those who want to look right after posting.

        Takes the leases for so long when this hub has them not. Raises `LeaseLost` when another one has."""
        for consumer in self._consumers:
            async with self._holders[consumer.name].leading():
                await consumer.catch_up()

    async def hydrate(self) -> None:
        """Ask everything that is due now, and return when nothing more is. Leases as for `settle`."""
        async with self._holders[hydration.NAME].leading():
            await self.hydrator.drain()

    async def sweep(self) -> int:
        """Evaluate the conditions that are due now; how many changes were journalled. Leases as for `settle`."""
        async with self._holders[SWEEPER].leading():
            return await self.sweeper.sweep()

    async def publish(self) -> int:
        """Fan out and send everything that is due now; how many attempts were made. Only for a hub that does not
        run. Leases as for `settle`."""
        async with self._holders[PUBLISHER].leading():
            return await self.publishing.publish()

    async def reconcile(self) -> None:
        """Ask about what is overdue, as far as the budget goes. Leases as for `settle`."""
        async with self._holders[RECONCILER].leading():
            await self.reconciler.reconcile()

    def _authenticator(self, tokens: Tokens) -> Authenticator:
        config, verifier = self.config, None
        if config.signature_jwks_url is not None:
            verifier = SignatureVerifier(config.signature_jwks_url, clock=self._clock)
        if config.api_key is None and not config.insecure:
            log.warning(
                "hub.no_api_key", hint="set MILEPOST_API_KEY: without a key nobody can read or operate"
            )
        return Authenticator(
            credentials.webhook_credentials(config),
            tokens,
            verifier,
            insecure=config.insecure,
            closed=config.has_queue,
        )

    def _context_of(self, policy: Policy) -> Context:
        config = self.config
        return Context(
            store=self.store,
            clock=self._clock,
            ingest=self.ingest,
            version=__version__,
            hydrator=self.hydrator,
            hydration_budget=self.hydrator.budget,
            answered_in_part=lambda: {
                name: why for api in self._clients for name, why in api.degraded.items()
            },
            # Whoever asks may ask any hub, also one that has no lease: what may go is looked at where it is removed.
            retention=self._retaining(self.store, policy),
            policy=policy,
            admin_key=config.api_key.get_secret_value() if config.api_key else None,
            insecure=config.insecure,
            counters=self._counters,
            ready=self._ready,
            leases=self._background.held,
            tracking_secrets=config.tracking_secrets,
            published=self.publishing.notify,
            eraser=self.people.eraser,
            insights=self._insights,
            may_reach=partial(may_name, allow=networks(config.egress_allow)),
            disable_after_days=config.disable_after_days,
            shop=people.shop_of(config),
            notifying=config.notifications,
            notified=self.people.notified,
            public_url=config.public_url,
            proxies=networks(config.trusted_proxies),
        )

    def _fenced(self, lease: str) -> Store:
        return Fenced(self.store, self._holders[lease])

    def _consumer(self, name: str, prepare: Prepare) -> Consumer:
        return Consumer(self._fenced(name), name, prepare, self._clock, probe=self._probe)

    def _retaining(self, store: Store, policy: Policy) -> Retention:
        """Nothing goes that a consumer has still to read: what is not fanned out yet would reach nobody."""
        readers = (projector.NAME, hydration.NAME, PUBLISHER)
        return Retention(store, policy, self._clock, self.config.retention_days, consumers=readers)

    def _publishing(self) -> Publishing:
        """What tells subscribers: what each of them wants, in its form, by the senders of its kind."""
        return Publishing(
            self._fenced(PUBLISHER),
            self._senders.by_kind,
            self._clock,
            wants=Matching().wants,
            render=render,
            ledger=CaptureLedger(),
            random=Random().random,  # noqa: S311 - jitter, not a secret
            patience_days=self.config.disable_after_days,
            probe=self._probe,
        )

    def _parts(self) -> Sequence[Part]:
        """Everything that runs behind the endpoints: its name, what runs, and under which lease of `LEASES`. What
        has none runs on every hub, also on one that only ingests."""
        folding, asking, _ = self._consumers
        return (
            Part(projector.NAME, folding.run, projector.NAME),
            Part(QUEUES, QueueFiller(self._fenced(projector.NAME)).run, projector.NAME),
            Part(MEASURING, partial(keep_measured, self._fenced(projector.NAME)), projector.NAME),
            Part(hydration.NAME, asking.run, hydration.NAME),
            Part("hydration", self.hydrator.run, hydration.NAME),
            Part(SWEEPER, self.sweeper.run, SWEEPER),
            Part(RECONCILER, self.reconciler.run, RECONCILER),
            Part(RETENTION, self._retention.run, RETENTION),
            Part(REMAPPING, Remapper(self._fenced(REMAPPING), self._clock).run, REMAPPING),
            *self.publishing.parts(),
            *self.people.parts(),
            *(Part(f"sqs.{receiver.name}", receiver.run) for receiver in self.receivers),
        )

    def _counters(self) -> Mapping[str, int]:
        outcomes = self._webhook.outcomes
        webhook = {f"webhook.{name}": getattr(outcomes, name) for name in outcomes.__struct_fields__}
        own = {
            "publisher.failing": len(self.publishing.publisher.failing),
            "reconciler.asked": self.reconciler.asked,
        }
        asked = self.hydrator.counters()
        return {**webhook, **sqs.counters(self.receivers), **asked, **self.people.counters(), **own}

    def _ready(self) -> tuple[bool, dict[str, object]]:
        failing = dict(self._background.failing)
        failing.update({c.name: c.last_error for c in self._consumers if c.last_error is not None})
        standings = self._background.standings()
        leading = {standing.part for standing in standings if standing.state == "leading"}
        broken, queues = sqs.readiness(self.receivers)
        shown: dict[str, object] = {
            "positions": {c.name: c.position for c in self._consumers if c.name in leading},
            "failing": sorted({*failing, *broken}),
            "parts": {s.part: {"state": s.state, "leader": s.leader} for s in standings},
        }
        if self.publishing.publisher.failing:
            shown["failingSubscribers"] = len(self.publishing.publisher.failing)
        if queues:
            shown["queues"] = queues
        shown.update(self.people.shown())
        return not (failing or broken), shown
