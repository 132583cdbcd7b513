"""Counting events by the hour, and what follows from the counts: silences, uses and scopes (`domain.volume`).

`count` goes on where the counts end, in writes of a bounded size, and notes that a hub watched this hour. Each
arrival is counted once: the counts and how far they go are committed together.
"""

from collections.abc import Collection

from milepost.domain.instant import Instant
from milepost.domain.volume import WATCHED, Counts, hour_of, kept_from
from milepost.store import Reached, Store, Transaction

FIRST, COPIES = "volume", "volume.copies"
"""The checkpoints: up to which position first arrivals are counted, and up to which number further ones."""
STEP = 20_000
"""Arrivals counted in one write."""


async def count(store: Store, now: Instant) -> None:
    """Count everything that came until now, note this hour as watched, and forget what is too old to matter.

    Raises `StoreUnavailable`; what was counted before stands."""
    while await store.write(lambda tx: _step(tx, now)):
        pass

    def watched(tx: Transaction) -> None:
        tx.volumes.add({("", WATCHED, "", hour_of(now)): 1})
        tx.volumes.forget(kept_from(now))

    await store.write(watched)


def _step(tx: Transaction, now: Instant) -> bool:
    """Count some more; whether there may be more than that."""
    behind = Reached(tx.journal.checkpoint(FIRST), tx.journal.checkpoint(COPIES))
    counts, reached = tx.volumes.count(behind, STEP, kept_from(now))
    if reached == behind:
        return False
    tx.volumes.add(counts)
    tx.journal.set_checkpoint(FIRST, reached.position)
    tx.journal.set_checkpoint(COPIES, reached.copy)
    return True


def counted(tx: Transaction, now: Instant, reach: Collection[str] | None) -> Counts:
    """Everything that is kept of the counts."""
    return tx.volumes.between(kept_from(now), hour_of(now), reach)
