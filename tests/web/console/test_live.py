"""The live inbox: new rows as they come, again when they are folded, nobody else's, and not for ever."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.web.console.lookers import SCRIPT, look_as, sent
from tests.web.console.people import person
from tests.web.world import World, event

from milepost.domain.instant import Instant
from milepost.store import Store, Transaction
from milepost.web.console.live import LONGEST_S, _Watcher, message
from milepost.web.inbox import Wanted
from milepost.web.sessions import hash_of_token
from milepost.web.user_actions import Wanted as WantedUser
from milepost.web.user_actions import change, disable
from milepost.web.visiting import Visitor

NOBODY = Visitor("insecure", "Nobody signed in", "admin", None)
DELIVERY = "order/order-1/delivery/delivery-1"


@pytest.fixture
def world(store: Store) -> World:
    return World(store, insecure=True, admin_key=None, heartbeat_s=5.0)


async def _rows(messages: AsyncIterator[bytes], count: int) -> list[str]:
    """The next `count` rows."""
    found: list[str] = []
    async with asyncio.timeout(60):
        async for one in messages:
            if one.startswith(b"event: row\n"):
                found.append(one.decode())
            if len(found) == count:
                break
    return found


async def test_a_row_comes_when_it_is_journalled_and_again_when_it_is_folded(world: World) -> None:
    messages = _Watcher(world.context, NOBODY, None, Wanted()).messages(0)
    await world.event(event("PACKAGE_DELIVERED", 1, DELIVERY))
    (first,) = await _rows(messages, 1)
    assert 'id="e1"' in first
    assert "Not folded yet" in first
    await world.project()
    (again,) = await _rows(messages, 1)
    assert 'id="e1"' in again
    assert "Applied" in again
    assert first.splitlines()[1] == "id: 1"
    assert all(line.startswith(("event: ", "id: ", "data: ")) for line in first.strip().splitlines())


async def test_other_business_products_and_what_does_not_fit_are_left_out(world: World) -> None:
    for number, (product, kind) in enumerate(
        (("bp-1", "PACKAGE_DELIVERED"), ("bp-2", "REFUND_REQUESTED"), ("bp-2", "PACKAGE_DELIVERED"))
    ):
        await world.event(event(kind, number, DELIVERY, product))
    await world.project()
    own = await _rows(_Watcher(world.context, NOBODY, {"bp-2"}, Wanted()).messages(0), 2)
    assert "bp-1" not in "".join(own)
    wanted = Wanted(type="DELIVERY_COMPLETED")
    (only,) = await _rows(_Watcher(world.context, NOBODY, {"bp-2"}, wanted).messages(0), 1)
    assert "event-2" in only


async def test_a_stream_ends_with_its_time_and_with_the_hub(world: World) -> None:
    messages = _Watcher(world.context, NOBODY, None, Wanted()).messages(0)
    await anext(messages)
    world.now = Instant(world.now + int(LONGEST_S * 1000) + 1)
    with pytest.raises(StopAsyncIteration):
        await anext(messages)
    closing = _Watcher(world.context, NOBODY, None, Wanted()).messages(0)
    await anext(closing)
    world.context.closing.set()
    with pytest.raises(StopAsyncIteration):
        await anext(closing)


@pytest.mark.parametrize("what", ["signed out", "disabled", "bound"])
async def test_a_stream_ends_with_its_visitors_session(world: World, what: str) -> None:
    ada = await person(world, "operator", name="ada")
    visitor = Visitor("usr_ada", "Ada", "operator", None, "token", hash_of_token(ada.token))
    messages = _Watcher(world.context, visitor, None, Wanted()).messages(0)
    await world.event(event("PACKAGE_DELIVERED", 1, DELIVERY))
    assert len(await _rows(messages, 1)) == 1

    def end(tx: Transaction) -> None:
        if what == "signed out":
            tx.users.end_sessions("usr_ada")
        elif what == "disabled":
            disable(tx, NOBODY, "usr_ada", world.now)
        else:
            change(tx, NOBODY, "usr_ada", WantedUser("Ada", "operator", ("bp-2",)), world.now)

    await world.store.write(end)
    await world.event(event("PACKAGE_DELIVERED", 2, DELIVERY))
    assert await _rows(messages, 1) == []


async def test_script_in_a_row_is_text_and_a_message_is_one(world: World) -> None:
    await world.event(event("X" + SCRIPT + "\n\nevent: row\ndata: forged", 1, DELIVERY))
    (row,) = await _rows(_Watcher(world.context, NOBODY, None, Wanted()).messages(0), 1)
    assert "<script>" not in row
    assert [line for line in row.splitlines() if line.startswith("event:")] == ["event: row"]
    assert "\n\n" not in row.removesuffix("\n\n")
    assert message("a\n\nb", 7) == b"event: row\nid: 7\ndata: a\ndata: b\n\n"


async def test_the_stream_is_served_to_who_operates(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    look_as(monkeypatch, "operator", "bp-1")
    await world.event(event("PACKAGE_DELIVERED", 1, DELIVERY))
    world.context.closing.set()
    answer = await world.get("/events/live", None, after=0)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert (await world.get("/events/live", None, product="bp-2")).status_code == 404
    assert (await sent(world, "/events/live")).status_code == 405
