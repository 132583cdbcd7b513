"""What the publisher's tests share: a store with a publisher on it, on a clock that stands until it is stepped."""

from collections.abc import Callable
from pathlib import Path

import msgspec

from milepost.domain.attempt import Attempt, Destination, Message
from milepost.domain.breaker import POLICY, Breaker
from milepost.domain.envelope import parse_event
from milepost.domain.failing import PATIENCE
from milepost.domain.instant import parse_instant
from milepost.domain.retry import STANDARD
from milepost.domain.sequence import sequence_of
from milepost.pipeline.fanout import Following, wants
from milepost.pipeline.publisher import Copies, Publisher, Render, Sender, as_journalled, one_copy
from milepost.pipeline.replaying import Replaying
from milepost.pipeline.sending import Ledgering, Wants
from milepost.sandbox.clock import WorldClock
from milepost.sql import open_store
from milepost.store import Arrival, Store
from milepost.transports.egress import LOOPBACK
from milepost.transports.webhook_sender import WebhookSender, WebhookSettings

START = parse_instant("2025-01-20T12:00:00Z")


class Rig:
    """A store with a publisher on it, which can be closed and opened again on the same file."""

    def __init__(self, path: Path) -> None:
        self.url = f"sqlite:///{path}"
        self.clock = WorldClock(START, 0)
        self.sender: Sender | None = None
        self.webhooks = WebhookSender(self.clock.now, allow=LOOPBACK, deadline_s=5.0)
        self.other: Sender = self.webhooks
        self.schedule = STANDARD
        self.policy = POLICY
        self.random: Callable[[], float] = lambda: 0.5
        self.concurrency = 8
        self.pace = 1.0
        self.copies: Copies = one_copy
        self.render: Render = as_journalled
        self.wants: Wants = wants
        self.ledger: Ledgering | None = None
        self.patience = PATIENCE
        self.probe: Callable[[str], None] = lambda point: None

    async def open(self) -> "Rig":
        self.store: Store = await open_store(self.url)
        await self.webhooks.open()
        self.publisher = Publisher(
            self.store,
            {"webhook": self.sender or self.webhooks, "other": self.other},
            self.clock.now,
            wait=self.clock.wait,
            random=self.random,
            schedule=self.schedule,
            policy=self.policy,
            concurrency=self.concurrency,
            pace=lambda: self.pace,
            copies=self.copies,
            render=self.render,
            wants=self.wants,
            sequence_of=sequence_of,
            ledger=self.ledger,
            patience=self.patience,
            probe=self._reached,
        )
        self.consumer = Following(self.store, "publisher", self.publisher.fanout, self.clock.now)
        self.replaying = Replaying(
            self.store,
            self.clock.now,
            wants=self.wants,
            sequence_of=sequence_of,
            wait=self.clock.wait,
            added=self.publisher.notify,
        )
        return self

    def _reached(self, point: str) -> None:
        self.probe(point)

    async def close(self) -> None:
        await self.webhooks.close()
        await self.store.close()

    async def restart(self) -> None:
        await self.close()
        await self.open()

    async def to(self, *urls: str, event_types: tuple[str, ...] = (), product: str = "") -> None:
        def put(tx):  # type: ignore[no-untyped-def]
            for n, url in enumerate(urls):
                settings = msgspec.json.encode(WebhookSettings(url))
                tx.attempts.put_destination(
                    Destination(f"d{n}", "webhook", settings, event_types, product, endpoint=url)
                )

        await self.store.write(put)

    async def add(self, destination: Destination) -> None:
        await self.store.write(lambda tx: tx.attempts.put_destination(destination))

    async def events(self, *numbers: int, type: str = "PACKAGE_DELIVERED", order: str = "") -> list[bytes]:
        bodies = [body(n, type, order) for n in numbers]
        await self.store.append([Arrival(parse_event(b), b, self.clock.now(), "sandbox") for b in bodies])
        return bodies

    async def publish(self) -> int:
        await self.consumer.catch_up()
        return await self.publisher.send_due()

    async def message(self, id: str) -> Message:
        found = await self.store.read(lambda tx: tx.attempts.message(id))
        assert found is not None
        return found

    async def attempts(self, id: str | None = None) -> list[Attempt]:
        return await self.store.read(lambda tx: tx.attempts.attempts((0, 0), 500, id))

    async def breakers(self) -> dict[str, Breaker]:
        return await self.store.read(lambda tx: tx.attempts.breakers())

    async def counts(self) -> dict[str, int]:
        return await self.store.read(lambda tx: tx.attempts.count())


def body(n: int, type: str = "PACKAGE_DELIVERED", order: str = "") -> bytes:
    """Event `n`, of the order of that number unless another is named."""
    return msgspec.json.encode(
        {
            "idempotencyKey": f"key-{n}",
            "eventDescriptor": type,
            "resources": [f"businessProduct/bp-1/order/{order or f'o-{n}'}/delivery/d-{n}"],
            "eventId": f"event-{n}",
            "apiVersion": "2024-11-01",
            "subscriptionId": "s",
            "eventTime": "2025-01-20T12:34:56Z",
            "data": {},
        }
    )
