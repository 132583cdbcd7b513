"""What the tests of telling and of captures share: a store with a projector and a publisher of what it tells."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from tests.unit.domain.history import BP, Arrived
from tests.unit.pipeline import projecting
from tests.unit.pipeline.replays import begin_replay

from milepost import sql
from milepost.domain.attempt import Destination
from milepost.domain.capture import Capture, capture_id
from milepost.domain.instant import MINUTE, Instant
from milepost.domain.intent import Intent, decode
from milepost.domain.record import Record
from milepost.domain.retry import Schedule
from milepost.domain.selection import Selection
from milepost.pipeline.capturing import CaptureLedger, resend, transition
from milepost.pipeline.consumer import Consumer
from milepost.pipeline.history import begin_backfill, count, planned
from milepost.pipeline.projector import NAME
from milepost.pipeline.publisher import Publisher
from milepost.pipeline.replaying import Replaying
from milepost.pipeline.sending import Outcome, Parcel
from milepost.store import Store


class Receiver:
    """Every subscriber: takes what is sent, and answers as it is told to."""

    batch = 1

    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []
        """(destination, capture id) of what was sent, in order; other messages by their type."""
        self.ids: list[str] = []
        self.took: set[tuple[str, str]] = set()
        """(destination, capture id) of what was taken."""
        self.again: list[tuple[str, str]] = []
        """Of what was sent to one that had taken it: see `forget`."""
        self.statuses: dict[str, int | None] = {}
        """What each answers; None: nothing, and nobody knows whether it came there."""
        self.answer = ""

    async def send(self, destination: Destination, parcels: Sequence[Parcel]) -> Sequence[Outcome]:
        for parcel in parcels:
            intent = decode(parcel.body)
            about = (destination.id, intent.data.get("captureId", intent.type))
            self.sent.append(about)
            self.ids.append(parcel.message.id)
            if about in self.took:
                self.again.append(about)
            if self.statuses.get(destination.id, 200) == 200:
                self.took.add(about)
        return [Outcome(self.statuses.get(destination.id, 200), response=self.answer) for _ in parcels]

    def forget(self, capture_id: str) -> None:
        """Whoever took this one may get it again."""
        self.took = {about for about in self.took if about[1] != capture_id}


def wants(destination: Destination, record: Record) -> bool:
    return record.kind == "intent" and record.type in destination.event_types


class World:
    """A store, a projector, a publisher, and a clock that stands until it is stepped."""

    def __init__(self, folder: Path, *, review_inferred: bool = False) -> None:
        self.path = folder / "hub.db"
        self.review_inferred = review_inferred
        self.now = projecting.NOW
        self.receiver = Receiver()

    async def open(self) -> "World":
        self.store: Store = await sql.open_store(f"sqlite:///{self.path}", clock=self.clock, owner="test")
        folding = projecting.handler(self.store, review_inferred=self.review_inferred)
        self.projector = Consumer(self.store, NAME, folding, self.clock)
        self.publisher = Publisher(
            self.store,
            {"webhook": self.receiver},
            self.clock,
            wait=_no_wait,
            random=lambda: 0.5,
            schedule=Schedule((0, MINUTE)),
            patience=0,
            wants=wants,
            ledger=CaptureLedger(),
        )
        self.publishing = Consumer(self.store, "publisher", self.publisher.prepare, self.clock)
        self.replaying = Replaying(
            self.store, self.clock, wants=wants, wait=_no_wait, added=self.publisher.notify
        )
        return self

    async def close(self) -> None:
        await self.store.close()

    def clock(self) -> Instant:
        return self.now

    async def subscribe(self, *ids: str, types: tuple[str, ...] = ("capture.ready",)) -> None:
        for each in ids:
            subscriber = Destination(each, "webhook", b"{}", types)
            await self.store.write(lambda tx, s=subscriber: tx.attempts.put_destination(s))  # type: ignore[misc]

    async def come(self, *arrived: Arrived) -> None:
        """Journal these and fold them, and what follows from that."""
        await projecting.keep(self.store, *arrived)
        await self.projector.catch_up()

    async def publish(self, *, times: int = 1) -> None:
        """Send what is due; `times` as often, each time after the wait for another attempt."""
        for _ in range(times):
            await self.publishing.catch_up()
            await self.publisher.send_due()
            self.now = Instant(self.now + 2 * MINUTE)

    async def backfill(self, id: str, destination: str, types: tuple[str, ...] = ("capture.ready",)) -> None:
        """A subscriber that gets everything from the beginning, as the API puts it."""
        made = Destination(destination, "webhook", b"{}", types)
        await self.store.write(lambda tx: begin_backfill(tx, made, 0, id=id, now=self.now))

    async def replay(self, id: str, destination: str, *, new_ids: bool) -> None:
        """As somebody asks by the API: everything once more."""
        await self.store.write(
            lambda tx: begin_replay(tx, destination, Selection(), id=id, now=self.now, new_ids=new_ids)
        )

    async def counted(self, destination: str) -> int:
        """What a dry run of that says."""
        plan = await self.store.read(lambda tx: planned(tx, destination, Selection(), id="", now=self.now))
        return (await count(self.store, plan, wants)).messages

    async def go_on(self) -> None:
        """Work off what of history is under way."""
        while await self.replaying.step():
            pass

    async def do(self, capture: Capture, action: str, reason: str = "") -> Capture:
        """As somebody asks by the API."""
        return await self.store.write(
            lambda tx: transition(tx, capture.id, action, "key-1", reason, self.now)
        )

    async def send_again(self, capture: Capture) -> None:
        await self.store.write(lambda tx: resend(tx, capture.id, self.now))

    async def captures(self) -> list[Capture]:
        return [c for _, c in await self.store.read(lambda tx: tx.ledger.capture_page(0, 500, None))]

    async def capture(self, order: str, delivery: str) -> Capture:
        found = await self.store.read(lambda tx: tx.ledger.capture(capture_id(BP, order, delivery)))
        assert found is not None
        return found

    async def intents(self) -> list[Intent]:
        records = await self.store.read(lambda tx: tx.journal.after(0, 10_000))
        return [decode(record.body) for record in records if record.kind == "intent"]

    async def told(self) -> list[str]:
        """The types of what was told so far, reasons other than `new` beside them."""
        intents = await self.intents()
        return [i.type if i.reason == "new" else f"{i.type} ({i.reason})" for i in intents]

    async def rebuild(self) -> None:
        """Views anew, as the command does it."""
        await projecting.forget(self.store)
        await self.projector.catch_up()


async def _no_wait(until: Instant, wake: asyncio.Event) -> None:
    """Nothing here waits: a test steps the clock."""
