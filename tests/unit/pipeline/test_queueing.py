"""Work queues over a real store: written with the views, remade byte for byte, filled once where they are younger."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace
from sqlalchemy import delete
from tests.unit.domain.history import (
    BOX,
    BP,
    DELIVERED,
    ORDER,
    SHIPPED,
    UPS,
    condition,
    event,
    order_answer,
    package,
    scan,
    tracker_answer,
)
from tests.unit.pipeline.projecting import clock, dump, forget, handler, keep, project, view

from milepost import sql
from milepost.domain.instant import parse_instant
from milepost.domain.queue import NAMES, Mark, QueueItem
from milepost.pipeline.queueing import QueueFiller
from milepost.pipeline.rebuild import verify
from milepost.sql import schema
from milepost.store import ItemKey, Store, Transaction, WantedItems

AT, LATER = "2025-03-02T12:00:00Z", "2025-03-04T12:00:00Z"
STALLED = condition("STALLED", True, LATER, subject=f"tracker/{UPS[0]}/{UPS[1]}")
HISTORY = (
    event(SHIPPED, "2025-03-01T10:00:00Z"),
    tracker_answer(AT, UPS, scan("IN_TRANSIT", AT), scan("BY_DRONE", AT)),
    condition("LATE", True, LATER),
    STALLED,
    order_answer("2025-03-05T00:00:00Z", package(BOX, "IN_TRANSIT", tracker=UPS)),
)


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    opened = await sql.open_store(database_url, clock=clock, owner="test")
    yield opened
    await opened.close()


def every(tx: Transaction) -> list[QueueItem]:
    return [
        item for name in NAMES for item in tx.queues.page(WantedItems(name, "all"), None, 100, None, clock())
    ]


async def queues(store: Store) -> list[str]:
    return sorted(item.queue for item in await store.read(every))


async def test_items_follow_their_order_and_their_tracker(store: Store) -> None:
    await keep(store, *HISTORY[:2])
    await project(store)
    assert await queues(store) == ["orphans", "unmapped-codes"]
    await keep(store, *HISTORY[2:])
    await project(store)
    assert await queues(store) == ["late", "stalled", "unmapped-codes"]
    arrived = tracker_answer(
        LATER, UPS, scan("IN_TRANSIT", AT), scan("BY_DRONE", AT), scan("DELIVERED", LATER)
    )
    await keep(store, event(DELIVERED, LATER), arrived)
    await project(store)
    assert await queues(store) == ["unmapped-codes"]


async def test_a_rebuild_makes_the_same_items_and_keeps_what_people_did(store: Store) -> None:
    await keep(store, *HISTORY)
    await project(store, batch=1)
    owner = f"order/{ORDER}"
    subject = f"{owner}/delivery/{BOX}"
    mark = {ItemKey(BP, owner, "late", subject, parse_instant(LATER)): Mark("Ann", handled_count=1)}
    await store.write(lambda tx: tx.queues.mark(mark))
    live = await dump(store)
    assert {row[0] for row in live} >= {"queue"}
    await forget(store)
    assert await queues(store) == []
    await project(store)
    assert await dump(store) == live
    late = WantedItems("late", "handled", assignee="Ann")
    assert len(await store.read(lambda tx: tx.queues.page(late, None, 9, None, clock()))) == 1
    assert await verify(store, handler(store), clock) == []


async def test_a_database_that_is_older_than_its_queues_is_filled_once(store: Store) -> None:
    await keep(store, *HISTORY)
    await project(store)
    filled = await dump(store)
    await store.write(lambda tx: tx.connection.execute(delete(schema.queue_items)))  # type: ignore[attr-defined]
    assert await dump(store) != filled
    filler, stop = QueueFiller(store), asyncio.Event()
    stop.set()
    await filler.run(stop)
    assert await queues(store) == [], "it was stopped before it began"
    await filler.fill()
    assert await dump(store) == filled
    await store.write(lambda tx: tx.connection.execute(delete(schema.queue_items)))  # type: ignore[attr-defined]
    await filler.fill()
    assert await queues(store) == [], "it is filled once"


async def test_a_view_that_cannot_be_read_keeps_no_other_from_its_queue(store: Store) -> None:
    await keep(store, *HISTORY)
    await project(store)
    known = await view(store, "tracker", f"{UPS[0]}/{UPS[1]}")
    assert known is not None
    odd = replace(known, id="ups/odd", document=b'{"conditions":3}')
    await store.write(lambda tx: (tx.connection.execute(delete(schema.queue_items)), tx.views.put([odd])))  # type: ignore[attr-defined]
    await QueueFiller(store).fill()
    assert await queues(store) == ["late", "stalled", "unmapped-codes"]
