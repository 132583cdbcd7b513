"""The fan-out: who gets what, in pages; without gap or overlap when destinations change; for nobody at no cost."""

import asyncio
import random
import tracemalloc
from collections.abc import Callable, Sequence
from typing import Any

from tests.unit.pipeline.publishing import Rig

from milepost.domain.attempt import Destination
from milepost.domain.record import Record
from milepost.pipeline import fanout
from milepost.pipeline.fanout import BATCH, MOST, wants
from milepost.pipeline.sending import Outcome, Parcel
from milepost.store import Transaction


class Quiet:
    """A sender that takes everything."""

    batch = 1

    def __init__(self) -> None:
        self.sent: list[str] = []

    async def send(self, destination: Destination, parcels: Sequence[Parcel]) -> Sequence[Outcome]:
        self.sent.extend(p.message.id for p in parcels)
        return [Outcome(200)] * len(parcels)


def someone(id: str = "d", **more: Any) -> Destination:
    return Destination(id, "other", b"{}", **more)


async def quiet(rig: Rig) -> Quiet:
    """The rig with such a sender."""
    sender = Quiet()
    rig.other = sender
    await rig.restart()
    return sender


async def positions(rig: Rig, destination: str = "d") -> list[int]:
    found = await rig.store.read(lambda tx: tx.attempts.messages(None, 5_000, destination_id=destination))
    return [m.position for m in found]


async def test_a_destination_gets_what_is_above_its_beginning(rig: Rig) -> None:
    sender = await quiet(rig)
    await rig.add(someone("late", after=2))
    await rig.add(someone("not-live", after=None))
    await rig.events(1, 2, 3, 4)
    await rig.publish()
    assert sorted(sender.sent) == ["3-late", "4-late"]


async def test_one_that_is_put_live_at_the_checkpoint_has_neither_gap_nor_overlap(rig: Rig) -> None:
    """Whenever that happens: before a batch is matched, between that and its write, after it."""
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    draw = random.Random(seed)
    await rig.add(someone("first"))
    begun: dict[str, int] = {}

    def put(tx: Transaction) -> None:
        at = tx.journal.checkpoint("publisher")
        name = f"new-{len(begun)}"
        begun[name] = at
        tx.attempts.put_destination(someone(name, after=at))

    number = 0
    for _ in range(40):
        count = draw.randrange(1, 6)
        await rig.events(*range(number, number + count))
        number += count
        if draw.random() < 0.5:
            # Between matching and committing.
            at, records = await rig.store.read(rig.consumer._load)
            effects = await rig.publisher.prepare(records)
            if draw.random() < 0.7:
                await rig.store.write(put)
            assert await rig.consumer._commit(at, records[-1].position, effects)
        else:
            await rig.consumer.catch_up()
            await rig.store.write(put)
    await rig.consumer.catch_up()
    assert len(begun) > 5
    for name, at in begun.items():
        assert await positions(rig, name) == [*range(at + 1, number + 1)]


async def test_a_destination_that_was_removed_or_changed_meanwhile_gets_nothing_of_the_old(rig: Rig) -> None:
    await rig.add(someone("gone"))
    await rig.add(someone("changed"))
    await rig.events(1)
    at, records = await rig.store.read(rig.consumer._load)
    effects = await rig.publisher.prepare(records)
    await rig.store.write(lambda tx: tx.attempts.remove_destination("gone"))
    await rig.add(someone("changed", event_types=("OTHER",)))
    await rig.consumer._commit(at, records[-1].position, effects)
    assert await rig.counts() == {}


async def test_one_that_cannot_be_matched_leaves_the_others_theirs(rig: Rig) -> None:
    def broken(destination: Destination, record: Record) -> bool:
        if destination.id == "bad":
            raise ValueError("no such field")
        return wants(destination, record)

    rig.wants = broken
    sender = await quiet(rig)
    await rig.add(someone("bad"))
    await rig.add(someone("good"))
    await rig.events(1)
    await rig.publish()
    assert sender.sent == ["1-good"]


async def test_thousands_of_destinations_are_gone_through_in_pages(rig: Rig) -> None:
    """Without holding them: the memory that it takes is a fraction of what they are."""
    settings = b'{"url":"https://example.com/%s"}' % (b"x" * 4_000)
    many = 3 * fanout.PAGE + 7

    def put(tx: Transaction) -> None:
        for n in range(many):
            tx.attempts.put_destination(Destination(f"d{n:05}", "other", settings))

    await rig.store.write(put)
    await rig.events(1, 2)
    # How many there are is not known yet: so little is taken together.
    assert rig.publisher.fanout.batch() == 1
    assert await rig.consumer.step() == 1
    tracemalloc.start()
    try:
        await rig.consumer.catch_up()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert await rig.counts() == {"pending": 2 * many}
    assert peak < many * len(settings), peak
    assert rig.publisher.fanout.batch() == MOST // many


async def test_few_destinations_are_read_once_a_change(rig: Rig) -> None:
    await rig.add(someone())
    await rig.events(1)
    await rig.consumer.catch_up()
    reads: list[str] = []
    _count_reads(rig, reads)
    await rig.events(2)
    await rig.consumer.catch_up()
    assert reads == []
    await rig.add(someone("e"))
    await rig.events(3)
    await rig.consumer.catch_up()
    assert reads
    assert await positions(rig, "e") == [1, 2, 3][2:]
    assert rig.publisher.fanout.batch() == BATCH


def _count_reads(rig: Rig, into: list[str]) -> None:
    """Note each time that destinations are listed."""
    original = rig.publisher.fanout._pages

    def pages(tx: Transaction, version: tuple[int, int]) -> Any:
        known = rig.publisher.fanout._known
        if known is None or known[0] != version:
            into.append("read")
        return original(tx, version)

    rig.publisher.fanout._pages = pages  # type: ignore[method-assign]


async def test_for_nobody_the_journal_is_not_read(rig: Rig) -> None:
    await rig.events(*range(50))
    rig.consumer._load = _fails  # type: ignore[method-assign, assignment]
    await rig.consumer.catch_up()
    assert await rig.store.read(lambda tx: tx.journal.checkpoint("publisher")) == 50
    assert rig.consumer.position == 50


def _fails(tx: Transaction) -> Any:
    raise AssertionError("the journal was read")


async def test_somebody_who_appears_is_noticed_and_so_is_that_nobody_is_left(rig: Rig) -> None:
    sender = await quiet(rig)
    await rig.events(1, 2)
    await rig.publish()
    await rig.add(someone(after=2))
    await rig.events(3)
    await rig.publish()
    assert sender.sent == ["3-d"]
    await rig.store.write(lambda tx: tx.attempts.remove_destination("d"))
    await rig.consumer.catch_up()
    rig.consumer._load = _fails  # type: ignore[method-assign, assignment]
    await rig.events(4)
    await rig.consumer.catch_up()
    assert rig.consumer.position == 4


async def test_while_it_runs_somebody_who_appears_gets_what_comes(rig: Rig) -> None:
    sender = await quiet(rig)
    stop = asyncio.Event()
    tasks = [asyncio.create_task(part.run(stop)) for part in (rig.consumer, rig.publisher)]
    await rig.events(1)
    await _until(rig, lambda: rig.consumer.position == 1)
    await rig.add(someone(after=1))
    rig.consumer.notify()
    await rig.events(2)
    await _until(rig, lambda: sender.sent == ["2-d"])
    stop.set()
    await asyncio.gather(*tasks)


async def _until(rig: Rig, done: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not done():
            # A read is a moment that passes for everybody.
            await rig.store.read(lambda tx: None)
