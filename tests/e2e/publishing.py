"""A sandbox whose EventBridge subscriptions publish to a fake of AWS, made and driven by a test.

Where its events go from there (queues, API destinations) is the tests'.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.partner_bus import ACCOUNT
from tests.unit.sandbox.asking import Asking

from milepost.domain.attempt import Attempt
from milepost.domain.instant import parse_instant
from milepost.domain.record import Record
from milepost.sandbox.program import Sandbox, SandboxConfig

TYPES = {
    "in-transit": "PACKAGE_DELIVERY_IN_TRANSIT",
    "delivered": "PACKAGE_DELIVERED",
    "milestones": "PACKAGE_TRACKER_MILESTONE_CHANGED",
}
KEYS = ["version", "id", "detail-type", "source", "account", "time", "region", "resources", "detail"]
DETAIL_KEYS = [
    "idempotencyKey",
    "eventDescriptor",
    "resources",
    "eventId",
    "apiVersion",
    "subscriptionId",
    "eventTime",
    "data",
]

SUBSCRIBE = """
mutation subscribe($input: CreateEventSubscriptionInput!) {
  createEventSubscription(input: $input) { subscriptionId }
}
"""


class World:
    """A sandbox whose EventBridge subscriptions publish to `bus`, subscribed to by its own API."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.asking = Asking(sandbox)
        self.subscriptions: dict[str, str] = {}

    async def subscribe(self, name: str) -> None:
        source = {"account": ACCOUNT, "name": name}
        destination = {"eventBridge": {"region": "us-east-1", "partnerEventSource": source}}
        answer = await self.asking.query(
            SUBSCRIBE, {"input": {"eventType": TYPES[name], "destination": destination}}
        )
        self.subscriptions[name] = answer["data"]["createEventSubscription"]["subscriptionId"]
        await self.sandbox.eventbridge.announce_due()

    async def live(self, milliseconds: int) -> None:
        self.sandbox.clock.advance(milliseconds)
        await self.sandbox.keeper.play_due()
        await self.sandbox.consumer.catch_up()
        await self.sandbox.publisher.send_due()

    async def records(self, event_type: str) -> list[Record]:
        found = await self.sandbox.store.read(lambda tx: tx.journal.after(0, 5_000))
        return [record for record in found if record.type == event_type]

    async def attempts(self) -> list[Attempt]:
        return await self.sandbox.store.read(lambda tx: tx.attempts.attempts((0, 0, ""), 5_000))


@asynccontextmanager
async def publishing(tmp_path: Path, endpoint: str | None) -> AsyncIterator[World]:
    """A standing world of eight orders, not served; without an endpoint its events go by the local bus."""
    sandbox = Sandbox(
        SandboxConfig(
            port=0,
            database_url=f"sqlite:///{tmp_path / 'sandbox.db'}",
            seed=7,
            speed=0.0,
            start=parse_instant("2025-01-20T12:00:00Z"),
            orders=8,
            eventbridge_endpoint=endpoint,
        )
    )
    await sandbox.open()
    made = World(sandbox)
    try:
        yield made
    finally:
        await made.asking.close()
        await sandbox.close()
