"""Counting events by the hour, and what follows from the counts: silences, uses and scopes (`domain.volume`).

`count` goes on where the counts end, in writes of a bounded size, and notes that a hub watched this hour. Each
arrival is counted once: the counts and how far they go are committed together.
"""

from collections.abc import Collection, Sequence

from msgspec import Struct

from milepost.domain.instant import Instant
from milepost.domain.volume import (
    IN_USE_HOURS,
    WATCHED,
    WEEK,
    HourVolume,
    Silence,
    Spans,
    by_hour,
    counted_until,
    hour_of,
    hours_to_know,
    kept_from,
    silences,
    watched_hours,
)
from milepost.store import Reached, Store, Transaction, VolumeKey

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


class Silent(Struct, frozen=True):
    """Which roads are silent, and in how many hours that are kept somebody watched."""

    silences: Sequence[Silence]
    watched: int


def listen(tx: Transaction, now: Instant, reach: Collection[str] | None) -> Silent:
    """Which roads of these business products are silent. Read is only what brings nothing now."""
    first, last = kept_from(now), hour_of(now)
    watched = watched_hours(tx.volumes.between(first, last, [""], None))
    until = counted_until(watched, now)
    spans = tx.volumes.spans(first, last, reach)
    counts: dict[VolumeKey, int] = {}
    wanted = hours_to_know(spans, until)
    for product, of_week in wanted.items():
        counts.update(tx.volumes.between(first, last, [product], of_week))
    known = {key: span for key, span in spans.items() if key[0] in wanted}
    return Silent(silences(counts, known, watched, until), len(watched))


def today(tx: Transaction, now: Instant, products: Collection[str], hours: int = 24) -> list[HourVolume]:
    """The last hours of these business products beside what is usual in them, up to this hour (which goes on)."""
    first, last = kept_from(now), hour_of(now)
    watched = watched_hours(tx.volumes.between(first, last, [""], None))
    of_week = {hour % WEEK for hour in range(last + 1 - hours, last + 1)}
    counts = tx.volumes.between(first, last, products, of_week)
    return by_hour(counts, watched, last + 1, hours)


def lately(tx: Transaction, now: Instant, reach: Collection[str] | None) -> Spans:
    """What each road brought within two weeks."""
    return tx.volumes.spans(hour_of(now) - IN_USE_HOURS, hour_of(now), reach)
