"""The senders of a hub, by kind of subscriber: webhooks, and custom event buses of Amazon EventBridge.

AWS's client is an extra and slow to load, so it is opened when the first message for a bus is sent; what is wrong
with it then is what came of that attempt.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Self

from milepost.domain.attempt import Destination
from milepost.domain.errors import Misconfigured
from milepost.domain.instant import Instant
from milepost.domain.subscriber import EVENT_BUS, WEBHOOK
from milepost.pipeline.sending import Outcome, Parcel, Sender
from milepost.transports.event_bus_sender import EventBusSender
from milepost.transports.eventbridge import EventBridgeClient
from milepost.transports.webhook_sender import WebhookSender


class Senders:
    """Open it inside a running loop, close it after the publisher. `allow` are CIDRs as for `WebhookSender`."""

    def __init__(self, clock: Callable[[], Instant], *, allow: Sequence[str] = ()) -> None:
        """Raises `Misconfigured` for a bad CIDR."""
        self._webhooks = WebhookSender(clock, allow=allow)
        self._buses = _Buses(EventBridgeClient(clock))

    @property
    def by_kind(self) -> Mapping[str, Sender]:
        return {WEBHOOK: self._webhooks, EVENT_BUS: self._buses}

    async def open(self) -> None:
        await self._webhooks.open()

    async def close(self) -> None:
        await self._buses.close()
        await self._webhooks.close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()


class _Buses:
    """Sends to event buses by a client that is opened when it is first needed."""

    batch = EventBusSender.batch

    def __init__(self, client: EventBridgeClient) -> None:
        self._client = client
        self._sender = EventBusSender(client)
        self._opening = asyncio.Lock()
        self._is_open = False

    async def send(self, destination: Destination, parcels: Sequence[Parcel]) -> Sequence[Outcome]:
        async with self._opening:
            if not self._is_open:
                try:
                    await self._client.open()
                except Misconfigured as e:
                    return [Outcome(None, e.detail, reached=False)] * len(parcels)
                self._is_open = True
        return await self._sender.send(destination, parcels)

    async def close(self) -> None:
        if self._is_open:
            await self._client.close()
