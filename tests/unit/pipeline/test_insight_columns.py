"""The copy of the measures in memory: what went is gone from it, whether or not its number is still kept."""

import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.contract.harness import T0
from tests.contract.parcels_contract import parcel, put

from milepost.domain.condition import Policy
from milepost.pipeline.insight_columns import Columns
from milepost.pipeline.insight_results import Loading
from milepost.sql import open_store, parcels
from milepost.store import Store


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await open_store(f"sqlite:///{tmp_path / 'milepost.db'}", clock=lambda: T0)
    yield opened
    await opened.close()


@pytest.fixture
async def columns(store: Store) -> AsyncIterator[Columns]:
    made = Columns(store, Policy(), refresh_s=0)
    yield made
    await made.close()


async def numbers(columns: Columns) -> set[int]:
    """What it has; it may have to be read first."""
    while isinstance(frame := await columns.frame(), Loading):
        pass
    return set(frame["number"].to_list())


async def stored(store: Store) -> set[int]:
    return set(await store.read(lambda tx: [row[1] for row in tx.parcels.changed(0, 1_000)]))


async def gone(store: Store) -> int:
    return len(await store.read(lambda tx: tx.parcels.gone(0, 1_000)))


async def test_a_copy_that_missed_what_is_forgotten_is_made_anew(
    store: Store, columns: Columns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parcels, "GONE_KEPT", 3)
    monkeypatch.setattr(parcels, "PRUNE_EVERY", 1)
    await put(store, *(parcel(f"o-{n}") for n in range(20)))
    assert await numbers(columns) == await stored(store)
    for n in range(10):
        await store.write(lambda tx, n=n: tx.parcels.remove([("bp-1", f"o-{n}")]))  # type: ignore[misc]
    assert await gone(store) == 3
    assert await numbers(columns) == await stored(store)
    assert len(await numbers(columns)) == 10


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_comes_and_goes_the_copy_is_the_table(
    store: Store, columns: Columns, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(parcels, "GONE_KEPT", 4)
    monkeypatch.setattr(parcels, "PRUNE_EVERY", 5)
    draw = random.Random(seed)
    for _ in range(60):
        order = f"o-{draw.randrange(12)}"
        if draw.random() < 0.5:
            await put(store, parcel(order, attempts=draw.randrange(5)))
        else:
            await store.write(lambda tx, order=order: tx.parcels.remove([("bp-1", order)]))  # type: ignore[misc]
        if draw.random() < 0.2:
            assert await numbers(columns) == await stored(store)
    assert await numbers(columns) == await stored(store)
    assert await gone(store) <= 4 + 5
