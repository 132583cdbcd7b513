"""Rebuild: remake every view from the journal, and prove that it comes out the same.

A rebuild forgets the views and sets the projector's checkpoint to 0; the projector then folds everything again
through the very loop that serves. It writes views only: nothing is asked, journalled or sent. Killed halfway,
it goes on from its checkpoint at the next start. Which database, and its lock, are the caller's business.
"""

from collections.abc import Callable

from msgspec import Struct

from milepost.domain.instant import Instant
from milepost.pipeline.consumer import BATCH, Consumer, Prepare
from milepost.pipeline.projector import NAME
from milepost.store import Store, Transaction


class Difference(Struct, frozen=True):
    """A row that one of two builds has and the other has not."""

    row: tuple[str, ...]
    only_in: str
    """live or rebuilt."""


async def rebuild(
    store: Store,
    prepare: Prepare,
    clock: Callable[[], Instant],
    *,
    batch: int = BATCH,
    until: int | None = None,
    progress: Callable[[int], None] = lambda position: None,
) -> int:
    """Forget every view and fold the journal again, up to `until` or its end; returns the position reached."""

    def forget(tx: Transaction) -> None:
        tx.views.clear()
        tx.journal.set_checkpoint(NAME, 0)

    await store.write(forget)
    consumer = Consumer(store, NAME, prepare, clock, batch=batch, until=until)
    await consumer.catch_up(progress)
    return consumer.position


async def verify(
    copy: Store,
    prepare: Prepare,
    clock: Callable[[], Instant],
    *,
    progress: Callable[[int], None] = lambda position: None,
) -> list[Difference]:
    """Rebuild a copy of a database and compare, byte for byte, at the position its views had reached.

    Empty when they are equal. `copy` is used up: never pass a store that serves.
    """
    position = await copy.read(lambda tx: tx.journal.checkpoint(NAME))
    live = await copy.read(lambda tx: tx.views.dump())
    await rebuild(copy, prepare, clock, until=position, progress=progress)
    rebuilt = await copy.read(lambda tx: tx.views.dump())
    before, after = set(live), set(rebuilt)
    return [
        *(Difference(row, "live") for row in sorted(before - after)),
        *(Difference(row, "rebuilt") for row in sorted(after - before)),
    ]
