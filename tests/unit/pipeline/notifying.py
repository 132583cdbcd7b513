"""What the tests of the notifier share: a shop with a store, a projector that notices, a notifier, and ways to
shoppers that do as they are told, on a clock that stands until it is stepped."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.unit.domain.history import BP, Arrived, order_answer, package
from tests.unit.pipeline import projecting

from milepost import sql
from milepost.domain.condition import Policy
from milepost.domain.contact import Choices, recipient_id, write_choices
from milepost.domain.envelope import parse_event
from milepost.domain.instant import MINUTE, Instant, format_instant, parse_instant
from milepost.domain.notification import KINDS, Notification, move
from milepost.domain.notification import Channel as ChannelName
from milepost.domain.notification_policy import NotificationPolicy
from milepost.pipeline.channels import Outcome
from milepost.pipeline.consumer import Consumer
from milepost.pipeline.letters import LetterWriter
from milepost.pipeline.noticing import Noticing, switch
from milepost.pipeline.notifier import Notifier
from milepost.pipeline.outbox import Outbox
from milepost.pipeline.projector import NAME, Projector
from milepost.shopper.composing import Brand, Composed
from milepost.store import Arrival, Store

FROM = parse_instant("2025-03-03T09:00:00Z")
SECRET = "a secret of the test that is long enough"
EMAIL = "ada@shopper.example"
ORDER = "322-order-a"
BRAND = Brand("Ada's Shop", None, "#2457a6", None, "https://track.shop.example")
HELD = 31 * MINUTE
"""After so long every hold is over."""


class Way:
    """A way to shoppers: notes what it is given, and answers as it is told to."""

    def __init__(self, name: ChannelName = "email") -> None:
        self.name: ChannelName = name
        self.given: list[tuple[Notification, Composed, str, str | None]] = []
        self.answers: list[Outcome] = []
        """Used up one by one, then everything is sent."""
        self.before: Callable[[Notification], Any] | None = None
        """Awaited while something is on its way."""

    async def send(
        self, notification: Notification, composed: Composed, address: str, unsubscribe: str | None
    ) -> Outcome:
        self.given.append((notification, composed, address, unsubscribe))
        if self.before is not None:
            await self.before(notification)
        return self.answers.pop(0) if self.answers else Outcome("sent")

    @property
    def ids(self) -> list[str]:
        return [notification.id for notification, *_ in self.given]

    @property
    def told(self) -> list[str]:
        """Kind and delivery of each."""
        return [f"{n.kind} {n.delivery_id}".rstrip() for n, *_ in self.given]


class Shop:
    """`kinds` are what it tells, all of them without any; other names are the policy's."""

    def __init__(self, folder: Path, *ways: Way, kinds: Sequence[str] = KINDS, **policy: Any) -> None:
        self.path = folder / "hub.db"
        self.ways = ways or (Way(),)
        channels = tuple(way.name for way in self.ways)
        self.policy = NotificationPolicy(frozenset(kinds), channels, **{"per_day": 100, **policy})  # type: ignore[arg-type]
        self.now = FROM
        self.probe: Callable[[str], None] = lambda point: None

    async def open(self) -> "Shop":
        self.store: Store = await sql.open_store(f"sqlite:///{self.path}", clock=self.clock, owner="test")
        await switch(self.store, True, FROM)
        self.projector = self.consumer()
        self.start()
        return self

    def consumer(self, **options: Any) -> Consumer:
        """The projector, with its follower."""
        following = [Noticing(self.policy)]
        handler = Projector(self.store, Policy(), self.clock, followers=following).prepare
        return Consumer(self.store, NAME, handler, self.clock, **options)

    def start(self, store: Store | None = None, **options: Any) -> None:
        """Another notifier, as another process has it."""
        outbox = Outbox(self.policy, [SECRET], random=lambda: 0.5)
        self.notifier = Notifier(
            store or self.store,
            outbox,
            self.ways,
            LetterWriter(BRAND, SECRET, self.clock).write,
            self.clock,
            wait=self.wait,
            probe=self._reached,
            **options,
        )

    def _reached(self, point: str) -> None:
        self.probe(point)

    async def wait(self, until: Instant, signal: asyncio.Event) -> None:
        """Nothing happens by itself: it waits for the signal."""
        await signal.wait()

    async def close(self) -> None:
        await self.store.close()

    def clock(self) -> Instant:
        return self.now

    def step(self, milliseconds: int = HELD) -> None:
        self.now = Instant(self.now + milliseconds)

    async def come(self, *arrived: Arrived) -> None:
        """Journal these and fold them."""
        await self.keep(*arrived)
        await self.projector.catch_up()

    async def keep(self, *arrived: Arrived) -> None:
        """Journal these, received now."""
        for each in arrived:
            if each.kind == "event":
                await self.store.append([Arrival(parse_event(each.body), each.body, self.now, each.road)])
            else:
                await projecting.journal(self.store, each.kind, each.type, each.body, self.now)

    async def order(self, *packages: dict[str, Any], order: str = ORDER, email: str | None = EMAIL) -> None:
        """The API's answer shows an order like this now."""
        customer = {"contact": {"name": "Ada", "email": email}}
        answer = order_answer(format_instant(self.now), *packages, customer=customer)
        await self.come(projecting.of_order(order, answer))

    async def ship(self, *boxes: str, order: str = ORDER, email: str | None = EMAIL) -> None:
        """An order whose boxes were not shipped yet, and then are."""
        await self.order(*(package(box) for box in boxes), order=order, email=email)
        self.step(MINUTE)
        await self.order(*(package(box, "IN_TRANSIT") for box in boxes), order=order, email=email)

    async def send(self, milliseconds: int = HELD) -> None:
        """Let the holds pass, and send what is due then."""
        self.step(milliseconds)
        await self.notifier.send_due()

    async def choose(self, choices: Choices, email: str = EMAIL) -> None:
        """As a shopper does."""
        key = (BP, recipient_id(SECRET, BP, email))
        await self.store.write(lambda tx: tx.notifications.choose({key: write_choices(choices)}))

    async def resend(self, id: str) -> None:
        """As an agent asks."""
        found = await self.notification(id)
        asked = move(found, "resend", self.now, "key-1", due_at=self.now, by_hand=True)
        await self.store.write(lambda tx: tx.notifications.put([asked]))

    async def notifications(self) -> list[Notification]:
        return [n for _, n in await self.store.read(lambda tx: tx.notifications.page(0, 500, None))]

    async def notification(self, id: str) -> Notification:
        return (await self.store.read(lambda tx: tx.notifications.get([id])))[id]

    async def only(self, kind: str) -> Notification:
        """The one of this kind."""
        (found,) = [n for n in await self.notifications() if n.kind == kind]
        return found

    async def states(self) -> Counter[str]:
        """How many there are, by state and, where one did it, rule."""
        return Counter(
            n.state + (f" {n.rule}" if n.rule and n.state == "SUPPRESSED" else "")
            for n in await self.notifications()
        )
