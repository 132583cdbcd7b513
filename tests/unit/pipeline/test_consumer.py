"""The loop behind the journal: checkpoints, crashes between preparing and committing, poison."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from milepost import sql
from milepost.domain.envelope import parse_event
from milepost.domain.instant import Instant
from milepost.domain.record import Record
from milepost.pipeline import consumer
from milepost.pipeline.consumer import Consumer, Effects
from milepost.store import Arrival, Store, Transaction

NOW = Instant(1_737_376_496_000)


def clock() -> Instant:
    return NOW


def arrival(n: int) -> Arrival:
    body = (
        f'{{"idempotencyKey":"k{n}","eventDescriptor":"PACKAGE_DELIVERED","eventId":"e{n}","resources":'
        f'["businessProduct/bp/order/o{n}/delivery/d{n}"],"eventTime":"2025-01-20T12:34:56Z"}}'
    ).encode()
    return Arrival(parse_event(body), body, NOW, "webhook")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await sql.open_store(f"sqlite:///{tmp_path / 'hub.db'}", clock=clock, owner="test")
    yield opened
    await opened.close()


class Flags:
    """A handler that flags every record it processes, and refuses those it is told to."""

    def __init__(self, poison: Sequence[str] = ()) -> None:
        self.poison = poison
        self.batches: list[list[int]] = []

    async def prepare(self, records: Sequence[Record]) -> Effects:
        for record in records:
            if record.event().event_id in self.poison:
                raise ValueError("poison")
        self.batches.append([record.position for record in records])
        marks = {record.position: ["seen"] for record in records}

        def effects(tx: Transaction) -> None:
            tx.views.flag(marks)

        return effects


async def seen(store: Store) -> set[int]:
    last = await store.read(lambda tx: tx.journal.last_position())
    return set(await store.read(lambda tx: tx.views.flags(range(1, last + 1))))


async def test_effects_and_checkpoint_commit_together(store: Store) -> None:
    await store.append([arrival(n) for n in range(5)])
    flags = Flags()
    consumer = Consumer(store, "flags", flags.prepare, clock, batch=2)
    await consumer.catch_up()
    assert flags.batches == [[1, 2], [3, 4], [5]]
    assert await seen(store) == {1, 2, 3, 4, 5}
    assert await store.read(lambda tx: tx.journal.checkpoint("flags")) == 5


async def test_a_crash_before_the_commit_prepares_the_batch_again(store: Store) -> None:
    await store.append([arrival(1)])

    def crash(point: str) -> None:
        raise KeyboardInterrupt(point)

    flags = Flags()
    with pytest.raises(KeyboardInterrupt, match="mid-flags"):
        await Consumer(store, "flags", flags.prepare, clock, probe=crash).step()
    assert await seen(store) == set()
    assert await store.read(lambda tx: tx.journal.checkpoint("flags")) == 0
    await Consumer(store, "flags", flags.prepare, clock).catch_up()
    assert await seen(store) == {1}


async def test_one_poison_event_stops_nothing(store: Store) -> None:
    await store.append([arrival(n) for n in range(1, 6)])
    flags = Flags(poison=["e3"])
    await Consumer(store, "flags", flags.prepare, clock).catch_up()
    assert await seen(store) == {1, 2, 4, 5}
    failures = await store.read(lambda tx: tx.views.failures(0, 10, None))
    assert [(f.consumer, f.position, f.error) for f in failures] == [("flags", 3, "ValueError: poison")]
    assert await store.read(lambda tx: tx.journal.checkpoint("flags")) == 5


async def test_effects_that_fail_list_their_record_and_pass(store: Store) -> None:
    await store.append([arrival(n) for n in range(1, 4)])

    async def prepare(records: Sequence[Record]) -> Effects:
        def effects(tx: Transaction) -> None:
            if any(record.position == 2 for record in records):
                raise RuntimeError("cannot be written")
            tx.views.flag({record.position: ["seen"] for record in records})

        return effects

    await Consumer(store, "flags", prepare, clock).catch_up()
    assert await seen(store) == {1, 3}
    failures = await store.read(lambda tx: tx.views.failures(0, 10, None))
    assert [f.position for f in failures] == [2]


async def test_until_stops_at_a_position(store: Store) -> None:
    await store.append([arrival(n) for n in range(1, 6)])
    consumer = Consumer(store, "flags", Flags().prepare, clock, until=3)
    await consumer.catch_up()
    assert await seen(store) == {1, 2, 3}


async def test_running_it_follows_the_journal_and_stops(store: Store) -> None:
    done = asyncio.Event()
    flags = Flags()

    async def prepare(records: Sequence[Record]) -> Effects:
        effects = await flags.prepare(records)
        if records[-1].position == 2:
            done.set()
        return effects

    stop = asyncio.Event()
    running = asyncio.create_task(Consumer(store, "flags", prepare, clock).run(stop))
    await store.append([arrival(1)])
    await store.append([arrival(2)])
    async with asyncio.timeout(60):
        await done.wait()
        stop.set()
        await store.append([arrival(3)])
        await running
    assert {1, 2} <= await seen(store)


async def test_stopping_does_not_wait_for_the_journal(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumer, "WAIT_S", 3_600.0)
    done = asyncio.Event()
    stop = asyncio.Event()

    async def prepare(records: Sequence[Record]) -> Effects:
        done.set()
        return lambda tx: None

    running = asyncio.create_task(Consumer(store, "quiet", prepare, clock).run(stop))
    await store.append([arrival(1)])
    async with asyncio.timeout(30):
        await done.wait()
        stop.set()
        await running
