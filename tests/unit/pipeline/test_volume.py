"""Counting goes on where it was, counts each arrival once, notes the hours it watched, and forgets the old ones."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.contract.harness import T0, arrival

from milepost.domain.instant import HOUR, Instant
from milepost.domain.volume import KEPT_HOURS, WATCHED, hour_of, kept_from
from milepost.pipeline import volume
from milepost.pipeline.volume import count
from milepost.sql import open_store
from milepost.store import Store, VolumeKey

HOUR_0 = T0 // HOUR
KEY: VolumeKey = ("bp-1", "PACKAGE_DELIVERED", "webhook", HOUR_0)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await open_store(f"sqlite:///{tmp_path}/volume.db")
    yield opened
    await opened.close()


async def kept(store: Store, now: Instant = T0) -> dict[VolumeKey, int]:
    return await store.read(lambda tx: tx.volumes.between(kept_from(now), hour_of(now), ["", "bp-1"], None))


async def test_each_arrival_is_counted_once_however_often_and_in_however_many_steps(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(volume, "STEP", 3)
    await store.append([arrival(str(n), str(n)) for n in range(7)])
    await store.append([arrival(str(n), str(n), road="eventbridge") for n in range(4)])
    await count(store, T0)
    await count(store, T0)
    await store.append([arrival("8", "8")])
    await count(store, T0)
    assert await kept(store) == {
        KEY: 8,
        ("bp-1", "PACKAGE_DELIVERED", "eventbridge", HOUR_0): 4,
        ("", WATCHED, "", HOUR_0): 3,
    }


async def test_what_is_older_than_is_kept_is_neither_counted_nor_kept(store: Store) -> None:
    await store.append([arrival("old", "old")])
    await store.append([arrival("new", "new", at=T0 + 2 * HOUR)])
    await count(store, Instant(T0 + (KEPT_HOURS + 1) * HOUR))
    at = Instant(T0 + (KEPT_HOURS + 1) * HOUR)
    assert (*KEY[:3], HOUR_0 + 2) in await kept(store, at)
    assert KEY not in await store.read(lambda tx: tx.volumes.between(0, HOUR_0 + KEPT_HOURS, ["bp-1"], None))
    later = Instant(at + 3 * HOUR)
    await count(store, later)
    assert list(await store.read(lambda tx: tx.volumes.between(0, HOUR_0 + 10, ["bp-1"], None))) == []
