"""Rebuilding over a real store: the same views, differences found, and going on after an interruption."""

from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace
from tests.unit.domain.history import BOX, BP, ORDER, SHIPPED, event
from tests.unit.pipeline.projecting import clock, dump, handler, keep, project, view
from tests.unit.pipeline.test_projector import HISTORY

from milepost import sql
from milepost.pipeline.projector import NAME
from milepost.pipeline.rebuild import rebuild, verify
from milepost.store import Store, Transaction


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    """A history, projected in small batches."""
    opened = await sql.open_store(database_url, clock=clock, owner="test")
    await keep(opened, *HISTORY)
    await project(opened, batch=2)
    yield opened
    await opened.close()


class Interrupted(BaseException):
    """Ends a rebuild where nothing catches it, as the end of its process would."""


async def test_a_rebuild_makes_the_same_views(store: Store) -> None:
    live = await dump(store)
    last = await store.read(lambda tx: tx.journal.last_position())
    assert await rebuild(store, handler(store), clock) == last
    assert await dump(store) == live
    assert await store.read(lambda tx: tx.journal.last_position()) == last, "a rebuild journals nothing"


async def test_verify_finds_equal_views_equal(store: Store) -> None:
    assert await verify(store, handler(store), clock) == []


async def test_verify_compares_at_the_position_that_the_views_have_reached(store: Store) -> None:
    await keep(store, event(SHIPPED, "2025-03-09T10:00:00Z", "not-projected-yet"))
    assert await verify(store, handler(store), clock) == []
    assert await view(store, "delivery", "not-projected-yet") is None


async def test_verify_finds_a_view_that_was_tampered_with(store: Store) -> None:
    known = await view(store, "delivery", BOX)
    assert known is not None
    forged = replace(known, document=known.document.replace(b'"DELIVERED"', b'"CANCELLED"', 1))
    assert forged.document != known.document
    await store.write(lambda tx: tx.views.put([forged]))
    found = await verify(store, handler(store), clock)
    assert sorted((d.only_in, d.row[:4]) for d in found) == [
        ("live", ("view", "delivery", BP, BOX)),
        ("rebuilt", ("view", "delivery", BP, BOX)),
    ]


async def test_verify_finds_a_lost_view_a_lost_flag_and_one_too_many(store: Store) -> None:
    def tamper(tx: Transaction) -> None:
        tx.views.remove([("order", BP, ORDER)])
        tx.views.flag({1: ["conflict"]})

    await store.write(tamper)
    found = await verify(store, handler(store), clock)
    assert ("rebuilt", "view", "order") in {(d.only_in, *d.row[:2]) for d in found}
    assert [d.row for d in found if d.only_in == "live"] == [("flag", "1", "conflict")]


async def test_an_interrupted_rebuild_goes_on_from_its_checkpoint(store: Store) -> None:
    live = await dump(store)

    def interrupt(position: int) -> None:
        if position >= 6:
            raise Interrupted

    with pytest.raises(Interrupted):
        await rebuild(store, handler(store), clock, batch=3, progress=interrupt)
    half = await store.read(lambda tx: tx.journal.checkpoint(NAME))
    assert half == 6
    assert await dump(store) != live
    assert await verify(store, handler(store), clock) == [], "half a rebuild is right as far as it goes"
    await project(store)
    assert await dump(store) == live
