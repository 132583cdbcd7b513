"""What the tests of projector and rebuild share: histories put into a real store, and that store projected."""

import asyncio
import atexit
import shutil
import tempfile
from collections.abc import Sequence
from functools import cache
from itertools import groupby
from pathlib import Path

import msgspec
from tests.unit.domain.history import BP, RECEIVED_FROM, Arrived

from milepost import sql
from milepost.domain.condition import Policy
from milepost.domain.envelope import parse_event
from milepost.domain.instant import SECOND, Instant
from milepost.domain.record import Snapshot
from milepost.pipeline.consumer import Consumer, Prepare
from milepost.pipeline.projector import NAME, Projector
from milepost.store import Arrival, NewRecord, Store, View, ViewKind

NOW = Instant(RECEIVED_FROM)


def clock() -> Instant:
    return NOW


def handler(store: Store, *, review_inferred: bool = False) -> Prepare:
    return Projector(store, Policy(), clock, review_inferred=review_inferred).prepare


async def keep(store: Store, *arrivals: Arrived) -> None:
    """Journal these, a second apart; what is journalled already counts as a duplicate."""
    begun = await store.read(lambda tx: tx.journal.last_position())
    for number, arrived in enumerate(arrivals, begun):
        at = Instant(RECEIVED_FROM + number * SECOND)
        if arrived.kind == "event":
            await store.append([Arrival(parse_event(arrived.body), arrived.body, at, arrived.road)])
        else:
            await journal(store, arrived.kind, arrived.type, arrived.body, at)


async def keep_together(store: Store, arrivals: Sequence[Arrived], at: Instant) -> None:
    """Journal these, events that follow each other in one commit: each commit takes its time."""
    for kind, some in groupby(arrivals, lambda arrived: arrived.kind):
        if kind != "event":
            await keep(store, *some)
        else:
            await store.append([Arrival(parse_event(a.body), a.body, at, a.road) for a in some])


@cache
def migrated() -> Path:
    """A database to begin with, migrated once a process: histories are many and each wants its own copy."""
    folder = Path(tempfile.mkdtemp(prefix="milepost-migrated-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)

    async def make() -> None:
        await (await sql.open_store(f"sqlite:///{folder / 'hub.db'}", owner="test")).close()

    asyncio.run(make())
    return folder / "hub.db"


async def journal(store: Store, kind: str, type: str, body: bytes, at: Instant = NOW) -> int:
    """Journal one record that Milepost makes itself."""
    record = NewRecord(kind, BP, type, at, at, "test", body)  # type: ignore[arg-type]
    return (await store.write(lambda tx: tx.journal.add([record])))[0]


def of_order(order_id: str, answered: Arrived) -> Arrived:
    """An order answer, made to be another order's."""
    snapshot = msgspec.json.decode(answered.body, type=Snapshot)
    assert snapshot.answer is not None
    answer = {**snapshot.answer, "id": order_id}
    changed = msgspec.structs.replace(snapshot, answer=answer, order_id=order_id)
    return msgspec.structs.replace(answered, body=msgspec.json.encode(changed))


async def project(store: Store, batch: int = 500) -> None:
    await Consumer(store, NAME, handler(store), clock, batch=batch).catch_up()


async def dump(store: Store) -> list[tuple[str, ...]]:
    return await store.read(lambda tx: tx.views.dump())


async def forget(store: Store) -> None:
    """Views and checkpoint, as a rebuild does."""
    await store.write(lambda tx: (tx.views.clear(), tx.journal.set_checkpoint(NAME, 0)))


async def view(store: Store, kind: ViewKind, id: str) -> View | None:
    return (await store.read(lambda tx: tx.views.get([(kind, BP, id)]))).get((kind, BP, id))


async def document(store: Store, kind: ViewKind, id: str) -> dict[str, object]:
    found = await view(store, kind, id)
    assert found is not None, f"no {kind} {id}"
    decoded: dict[str, object] = msgspec.json.decode(found.document)
    return decoded
