"""The road to EventBridge subscriptions, put together: an EventBridge endpoint's, or the local bus.

    endpoint None    the local bus: the sandbox is EventBridge itself
    endpoint URL     PutPartnerEvents there: a fake, or AWS by a partner's credentials
    endpoint "aws"   the same at AWS's own endpoint of each subscription's region

What a road consists of is each its own module's; `program` opens it, runs it, and tells it of changes.
"""

import asyncio
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from milepost.domain.errors import Misconfigured
from milepost.domain.instant import Instant
from milepost.domain.retry import STANDARD, Schedule
from milepost.pipeline.sending import Sender
from milepost.pipeline.waiting import Wait
from milepost.sandbox.announcing import Announcer
from milepost.sandbox.associating import EventSourceRoutes
from milepost.sandbox.local_bus import DEADLINE_S, LocalBus
from milepost.store import Store
from milepost.transports.eventbridge import AwsCredentials, EventBridgeClient, PartnerEventsSender
from milepost.transports.webhook_sender import WebhookSender

AWS = "aws"
"""In place of an endpoint's URL: AWS's own."""


class EventBridgeRoad:
    """The sender of `eventbridge` destinations, the routes of event sources, and what runs beside them."""

    sender: Sender
    routes: EventSourceRoutes

    def __init__(
        self,
        store: Store,
        clock: Callable[[], Instant],
        *,
        wait: Wait,
        random: Callable[[], float],
        real_now: Callable[[], Instant],
        seed: int,
        endpoint: str | None = None,
        credentials: AwsCredentials | None = None,
        mint_ids: bool = False,
        allow: Sequence[str] = (),
        schedule: Schedule = STANDARD,
    ) -> None:
        """`allow` are the CIDRs that the local bus may post to beside public addresses. Raises `Misconfigured`
        for an endpoint that is no URL, and for minted ids at an endpoint, which mints its own."""
        self._announcer: Announcer | None = None
        self._client: EventBridgeClient | None = None
        self._post: WebhookSender | None = None
        if endpoint is None:
            self._post = WebhookSender(real_now, allow=allow, deadline_s=DEADLINE_S)
            self.sender = LocalBus(store, self._post, seed=seed, mint_ids=mint_ids)
            self.routes = EventSourceRoutes(store)
            return
        if mint_ids:
            raise Misconfigured("an EventBridge endpoint mints its own ids; minted ids are the local bus's")
        url = None if endpoint == AWS else _checked(endpoint)
        self._client = EventBridgeClient(real_now, url, credentials=credentials)
        self._announcer = Announcer(store, self._client, clock, wait=wait, random=random, schedule=schedule)
        self.sender = PartnerEventsSender(self._client)
        self.routes = EventSourceRoutes(store, self._announcer, endpoint)

    async def open(self) -> None:
        """Raises `Misconfigured` when there is an endpoint and the extra `aws` is not installed."""
        if self._client is not None:
            await self._client.open()
        if self._post is not None:
            await self._post.open()

    async def run(self, stop: asyncio.Event) -> None:
        """Tell the endpoint of event sources until `stop` is set."""
        if self._announcer is None:
            await stop.wait()
        else:
            await self._announcer.run(stop)

    async def announce_due(self) -> int:
        """Tell the endpoint what is due now, for those who don't `run`."""
        return 0 if self._announcer is None else await self._announcer.announce_due()

    def notify(self) -> None:
        """A subscription was made or deleted."""
        if self._announcer is not None:
            self._announcer.notify()

    async def close(self) -> None:
        """After the publisher has stopped."""
        if self._client is not None:
            await self._client.close()
        if self._post is not None:
            await self._post.close()


def _checked(endpoint: str) -> str:
    try:
        parts = urlsplit(endpoint)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise Misconfigured(f"an EventBridge endpoint is an http or https URL, or {AWS!r}: {endpoint!r}")
    return endpoint
