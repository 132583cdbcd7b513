"""Captures and the messages that tell them: what is asked for, what is held, what is sent, and never again."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

import pytest
from tests.unit.domain.history import (
    BOX,
    CANCELLED,
    DELIVERED,
    ORDER,
    SHIPPED,
    UPS,
    event,
    order_answer,
    package,
    scan,
    tracker_answer,
)
from tests.unit.pipeline.telling import World

from milepost.domain.attempt import Destination
from milepost.domain.capture import PROJECTOR, Capture, held_by
from milepost.domain.envelope import parse_event
from milepost.domain.errors import Conflict, Invalid, NotFound
from milepost.domain.instant import MINUTE, Instant
from milepost.domain.intent import decode
from milepost.pipeline import capturing, replaying
from milepost.pipeline.sending import Outcome, Parcel
from milepost.store import Arrival, View

MOVING = package(BOX, "CANCELLED", reason="UNDELIVERABLE", tracker=UPS, items=[("item", "1")])
RESOLVED = order_answer("2025-03-03T11:00:00Z", MOVING)
"""That it was cancelled is explained: it was under way."""
KNOWN = order_answer("2025-03-01T11:00:00Z", package(BOX, "PENDING", tracker=UPS, items=[("item", "1")]))
SHIP = event(SHIPPED, "2025-03-02T10:00:00Z")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = await World(tmp_path).open()
    await made.subscribe("s1")
    yield made
    await made.close()


async def ship(world: World) -> Capture:
    await world.come(KNOWN, SHIP)
    return await world.capture(ORDER, BOX)


async def state(world: World) -> str:
    return (await world.capture(ORDER, BOX)).state


async def orders(world: World) -> list[View]:
    """The order's view, with the position that it goes back to."""
    return list(await world.store.read(lambda tx: tx.views.find("order", ORDER, None)))


async def messages(world: World) -> list[str]:
    return [m.state for m in await world.store.read(lambda tx: tx.attempts.messages(None, 100))]


def meanwhile(world: World, do: Callable[[], Awaitable[object]]) -> None:
    """This is done while the next message is under way."""
    send = world.receiver.send

    async def sending(destination: Destination, parcels: Sequence[Parcel]) -> Sequence[Outcome]:
        world.receiver.send = send  # type: ignore[method-assign]
        await do()
        return await send(destination, parcels)

    world.receiver.send = sending  # type: ignore[method-assign]


async def test_it_is_sent_once_and_then_acknowledged(world: World) -> None:
    capture = await ship(world)
    await world.publish()
    sent = await world.capture(ORDER, BOX)
    assert (sent.state, sent.history[-1].by) == ("SENT", "s1")
    assert sent.sent_at is not None
    acknowledged = await world.do(capture, "acknowledge", "collected")
    assert acknowledged.state == "ACKED"
    assert await world.do(capture, "acknowledge") == acknowledged, "again is harmless"
    with pytest.raises(Conflict, match="ACKED"):
        await world.send_again(capture)
    await world.publish()
    assert world.receiver.sent == [("s1", capture.id)]


@pytest.mark.parametrize("answer", ['{"status":"acknowledged"}', '{"status":"captured"}'])
async def test_a_subscribers_answer_acknowledges(world: World, answer: str) -> None:
    world.receiver.answer = answer
    await ship(world)
    await world.publish()
    acknowledged = await world.capture(ORDER, BOX)
    assert [step.state for step in acknowledged.history] == ["READY", "SENT", "ACKED"]
    assert acknowledged.history[-1].by == "s1"


async def test_what_was_acknowledged_meanwhile_is_not_sent(world: World) -> None:
    capture = await ship(world)
    world.receiver.statuses["s1"] = 500
    await world.publish()
    assert await messages(world) == ["pending"]
    await world.do(capture, "acknowledge")
    assert await messages(world) == ["dropped"]
    await world.publish(times=2)
    assert world.receiver.sent == [("s1", capture.id)]


async def test_it_fails_when_the_last_subscriber_gives_up_and_can_be_sent_again(world: World) -> None:
    await world.subscribe("s2")
    world.receiver.statuses = {"s1": 500, "s2": 500}
    capture = await ship(world)
    await world.publish(times=1)
    assert await state(world) == "READY"
    await world.publish(times=1)
    failed = await world.capture(ORDER, BOX)
    assert (failed.state, failed.reason) == ("FAILED", "no subscriber took it")
    assert [step.state for step in failed.history] == ["READY", "FAILED"], "told once, not by each"
    world.receiver.statuses = {}
    await world.send_again(capture)
    await world.publish()
    assert await state(world) == "SENT"
    assert len(world.receiver.ids) == 6
    assert len(set(world.receiver.ids)) == 2, "the same ids at every attempt"


async def test_one_that_took_it_is_enough_and_is_not_sent_it_again(world: World) -> None:
    await world.subscribe("s2")
    world.receiver.statuses = {"s2": 500}
    capture = await ship(world)
    await world.publish(times=2)
    assert await state(world) == "SENT"
    await world.send_again(capture)
    await world.publish()
    sent = [destination for destination, _ in world.receiver.sent]
    assert (sent.count("s1"), sent.count("s2")) == (1, 3)
    world.receiver.statuses = {}
    await world.send_again(capture)
    await world.publish()
    with pytest.raises(Conflict, match="not sent again"):
        await world.send_again(capture)


async def test_held_before_it_was_enqueued_it_waits_for_the_release(world: World) -> None:
    capture = await ship(world)
    await world.do(capture, "hold", "the address is odd")
    await world.publish(times=3)
    assert world.receiver.sent == []
    assert await messages(world) == ["held"]
    with pytest.raises(Conflict, match="HELD"):
        await world.send_again(capture)
    released = await world.do(capture, "release")
    assert released.state == "READY"
    await world.publish()
    assert world.receiver.sent == [("s1", capture.id)]


async def test_held_between_two_attempts(world: World) -> None:
    world.receiver.statuses = {"s1": 500}
    capture = await ship(world)
    await world.publish()
    await world.do(capture, "hold")
    await world.publish(times=3)
    assert len(world.receiver.sent) == 1
    world.receiver.statuses = {}
    await world.do(capture, "release")
    await world.publish()
    assert len(world.receiver.sent) == 2
    assert await state(world) == "SENT"


async def test_a_contradiction_holds_what_is_on_its_way(world: World) -> None:
    capture = await ship(world)
    await world.publishing.catch_up()
    await world.come(event(CANCELLED, "2025-03-03T10:00:00Z"))
    await world.publish(times=2)
    assert world.receiver.sent == []
    assert await state(world) == "HELD"
    await world.come(RESOLVED)
    await world.publish()
    assert world.receiver.sent == [("s1", capture.id)]


async def test_a_contradiction_that_came_while_somebody_held_it_outlives_his_hold(world: World) -> None:
    capture = await ship(world)
    await world.do(capture, "hold", "fraud check")
    await world.come(event(CANCELLED, "2025-03-03T10:00:00Z"))
    held = await world.capture(ORDER, BOX)
    assert (held_by(held), held.reason) == ("key-1", "fraud check")
    released = await world.do(capture, "release", "it is none")
    assert (released.state, held_by(released)) == ("HELD", PROJECTOR)
    assert released.reason == "cancelled_but_moving"
    assert [step.state for step in released.history] == ["READY", "HELD", "READY", "HELD"]
    await world.publish(times=2)
    assert world.receiver.sent == []
    await world.come(RESOLVED)
    await world.publish()
    assert world.receiver.sent == [("s1", capture.id)]
    assert await state(world) == "SENT"


async def test_who_knows_better_than_the_contradiction_releases_it_too(world: World) -> None:
    capture = await ship(world)
    await world.do(capture, "hold", "fraud check")
    await world.come(event(CANCELLED, "2025-03-03T10:00:00Z"))
    await world.do(capture, "release")
    assert (await world.do(capture, "release")).state == "READY"
    await world.publish()
    assert world.receiver.sent == [("s1", capture.id)]


async def test_a_hold_that_was_taken_over_still_learns_what_is_in_the_parcel(world: World) -> None:
    await world.come(SHIP)
    capture = await world.capture(ORDER, BOX)
    assert (capture.reason, capture.line_items, capture.position) == ("order_not_known", (), 0)
    await world.do(capture, "hold", "fraud check")
    # Somebody holds it, and something new speaks against it.
    await world.come(KNOWN, event(CANCELLED, "2025-03-03T10:00:00Z"))
    known = await world.capture(ORDER, BOX)
    assert (held_by(known), [item["id"] for item in known.line_items]) == ("key-1", ["item"])
    assert (await world.do(capture, "release")).reason == "cancelled_but_moving"
    assert (await world.do(capture, "release")).state == "READY"
    records = await world.store.read(lambda tx: tx.journal.after(0, 100))
    (ready,) = [decode(r.body).data for r in records if r.type == "capture.ready"]
    assert [item["id"] for item in ready["lineItems"]] == ["item"]


async def test_taken_while_it_was_held_it_is_sent_once_it_is_released(world: World) -> None:
    capture = await ship(world)
    meanwhile(world, lambda: world.do(capture, "hold"))
    await world.publish()
    held = await world.capture(ORDER, BOX)
    assert held.state == "HELD"
    assert held.sent_at is not None
    assert (await world.do(capture, "release")).state == "SENT"
    await world.publish(times=2)
    assert world.receiver.sent == [("s1", capture.id)]


async def test_given_up_while_it_was_held_it_has_failed_once_it_is_released(world: World) -> None:
    world.receiver.statuses = {"s1": 500}
    capture = await ship(world)
    await world.publish()
    meanwhile(world, lambda: world.do(capture, "hold"))
    await world.publish()
    assert await messages(world) == ["failed"]
    assert await state(world) == "HELD"
    released = await world.do(capture, "release")
    assert (released.state, released.reason) == ("FAILED", "no subscriber took it")
    world.receiver.statuses = {}
    await world.send_again(capture)
    await world.publish()
    assert await state(world) == "SENT"


async def test_given_up_while_a_contradiction_held_it(world: World) -> None:
    world.receiver.statuses = {"s1": 500}
    await ship(world)
    await world.publish()
    meanwhile(world, lambda: world.come(event(CANCELLED, "2025-03-03T10:00:00Z")))
    await world.publish()
    assert (await messages(world), await state(world)) == (["failed"], "HELD")
    await world.come(RESOLVED)
    assert await state(world) == "FAILED"


async def test_released_before_anything_was_enqueued_it_has_not_failed(world: World) -> None:
    capture = await ship(world)
    await world.do(capture, "hold")
    assert (await world.do(capture, "release")).state == "READY"


async def test_what_is_being_sent_is_not_sent_again_beside_it(world: World) -> None:
    """Its answer may acknowledge, and would be lost."""
    world.receiver.answer = '{"status":"acknowledged"}'
    capture = await ship(world)

    async def ask() -> None:
        with pytest.raises(Conflict, match="it is being sent"):
            await world.send_again(capture)

    meanwhile(world, ask)
    await world.publish(times=2)
    assert await state(world) == "ACKED"
    assert world.receiver.sent == [("s1", capture.id)]


async def test_beside_what_is_being_sent_the_others_are_sent_again(world: World) -> None:
    await world.subscribe("s2")
    capture = await ship(world)
    await world.publishing.catch_up()
    until = Instant(world.now + MINUTE)
    (taken,) = await world.store.write(
        lambda tx: tx.attempts.claim(world.now, until, 1, share=8, room={}, paced=None)
    )
    await world.send_again(capture)
    after = {m.id: m for m in await world.store.read(lambda tx: tx.attempts.messages(None, 10))}
    assert after.pop(taken.id) == taken
    assert [m.manual for m in after.values()] == [True]
    world.now = until
    await world.send_again(capture)
    again = await world.store.read(lambda tx: tx.attempts.message(taken.id))
    assert again is not None
    assert again.manual, "the lease ran out: nobody is sending it"


async def test_void_is_never_sent_but_what_was_collected_is_known(world: World) -> None:
    capture = await ship(world)
    void = await world.do(capture, "void", "fraud")
    assert (void.state, void.reason) == ("VOID", "fraud")
    await world.publish(times=2)
    assert world.receiver.sent == []
    for action in ("hold", "release", "fail"):
        with pytest.raises(Conflict):
            await world.do(capture, action)
    assert (await world.do(capture, "acknowledge")).state == "ACKED"
    with pytest.raises(Conflict):
        await world.do(capture, "void")


async def test_a_late_subscriber_is_told_only_of_what_is_not_collected(world: World) -> None:
    capture = await ship(world)
    await world.do(capture, "acknowledge")
    await world.subscribe("late")
    await world.store.write(lambda tx: tx.journal.set_checkpoint("publisher", 0))
    await world.publish()
    assert world.receiver.sent == []


@pytest.mark.parametrize("new_ids", [False, True])
async def test_a_replay_sends_it_only_to_those_that_did_not_take_it(world: World, new_ids: bool) -> None:
    """Under its one id, also where the replay makes new ones; and its dry run counts that."""
    await world.subscribe("s2")
    world.receiver.statuses = {"s2": 500}
    await ship(world)
    await world.publish(times=2)
    world.receiver.statuses = {}
    world.receiver.ids.clear()
    for number, subscriber in enumerate(("s1", "s2", "s2", "s1")):
        assert await world.counted(subscriber) == (1 if number == 1 else 0)
        await world.replay(f"r{number}", subscriber, new_ids=new_ids)
        await world.go_on()
        await world.publish()
    (position,) = {m.position for m in await world.store.read(lambda tx: tx.attempts.messages(None, 9))}
    assert world.receiver.ids == [f"{position}-s2"]
    assert world.receiver.again == []
    assert await messages(world) == ["delivered", "delivered"]


async def test_what_is_delivered_between_a_replays_look_and_its_write_is_left_out(world: World) -> None:
    world.receiver.statuses = {"s1": 500}
    await ship(world)
    await world.publish(times=2)
    await world.replay("r1", "s1", new_ids=False)
    (running,) = await world.store.read(lambda tx: tx.attempts.replays("", 9, state="running"))
    look = await world.store.read(lambda tx: replaying._look(tx, running))
    assert look is not None
    wanted, end = world.replaying._wanted(look, 500)
    assert len(wanted) == 1
    world.receiver.statuses = {}
    await world.send_again(await world.capture(ORDER, BOX))
    await world.publish()
    added = await world.store.write(lambda tx: world.replaying._add(tx, look, wanted, end, world.now))
    assert added == 0
    assert await messages(world) == ["delivered"]


async def test_what_is_acknowledged_or_void_is_in_no_replay(world: World) -> None:
    world.receiver.statuses = {"s1": 500}
    capture = await ship(world)
    await world.publish(times=2)
    for action in ("void", "acknowledge"):
        await world.do(capture, action)
        assert await world.counted("s1") == 0
        await world.replay(f"r-{action}", "s1", new_ids=False)
        await world.go_on()
        assert await messages(world) == ["failed"]


async def test_once_collecting_failed_it_goes_to_those_again_that_took_it(world: World) -> None:
    """By a resend and by a replay, under the same id; and not once more after that."""
    await world.subscribe("s2")
    capture = await ship(world)
    await world.publish()
    with pytest.raises(Conflict, match="no subscriber is left"):
        await world.send_again(capture)
    assert (await world.do(capture, "fail", "the card was refused")).state == "FAILED"
    await world.send_again(capture)
    await world.publish()
    assert await state(world) == "SENT"
    assert Counter(world.receiver.sent) == {("s1", capture.id): 2, ("s2", capture.id): 2}
    await world.do(capture, "fail")
    assert await world.counted("s2") == 1
    await world.replay("r1", "s2", new_ids=True)
    await world.go_on()
    await world.publish()
    await world.replay("r2", "s2", new_ids=False)
    await world.go_on()
    await world.publish()
    assert Counter(world.receiver.sent) == {("s1", capture.id): 2, ("s2", capture.id): 3}
    assert len(set(world.receiver.ids)) == 2


async def test_with_more_subscribers_than_a_page_all_are_looked_at(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capturing, "PAGE", 3)
    names = [f"s{number}" for number in range(2, 9)]
    await world.subscribe(*names)
    world.receiver.statuses = dict.fromkeys(("s1", *names), 500)
    capture = await ship(world)
    await world.publish(times=2)
    assert await state(world) == "FAILED"
    world.receiver.statuses = {}
    await world.store.write(lambda tx: tx.attempts.remove_destination("s5"))
    await world.send_again(capture)
    await world.publish()
    assert len(world.receiver.took) == 7
    assert Counter(await messages(world)) == {"delivered": 7, "failed": 1}


async def test_whatever_comes_after_an_acknowledgement_moves_nothing(world: World) -> None:
    capture = await ship(world)
    await world.publish()
    await world.do(capture, "acknowledge")
    before = await world.capture(ORDER, BOX)
    await world.come(event(CANCELLED, "2025-03-03T10:00:00Z"), event(DELIVERED, "2025-03-04T10:00:00Z"))
    await world.come(
        tracker_answer("2025-03-05T00:00:00Z", UPS, scan("RETURN_TO_SENDER", "2025-03-04T12:00:00Z"))
    )
    await world.rebuild()
    await world.publish(times=2)
    assert await world.capture(ORDER, BOX) == before
    assert world.receiver.sent == [("s1", capture.id)]


async def test_a_thousand_copies_over_two_roads_are_one_of_everything(world: World) -> None:
    """One record, one view change, one message a subscriber and one capture, folded while they come."""
    await world.subscribe("s2", "s3")
    await world.come(KNOWN)
    bridged = event(SHIPPED, "2025-03-02T10:00:00Z", road="eventbridge")

    async def come(number: int) -> str:
        copy = (SHIP, bridged)[number % 2]
        road = ("webhook", "sqs")[number % 2]
        given = Arrival(parse_event(copy.body), copy.body, world.now, road)
        (receipt,) = await world.store.append([given])
        if number % 100 == 0:
            await world.projector.catch_up()
        return receipt.status

    unshipped = await orders(world)
    statuses = [await come(0)]
    shipped = await orders(world)
    assert shipped != unshipped
    statuses += await asyncio.gather(*map(come, range(1, 1_000)))
    await world.projector.catch_up()
    await world.publish(times=2)
    assert (statuses.count("accepted"), statuses.count("duplicate")) == (1, 999)
    records = await world.store.read(lambda tx: tx.journal.after(0, 100))
    assert [r.kind for r in records].count("event") == 1
    assert [r.kind for r in records].count("conflict") == 0
    assert await orders(world) == shipped, "one view change: the copies touch nothing"
    told = Counter(r.type for r in records if r.kind == "intent")
    # One tells of the order as it was before.
    assert told == {"order.updated": 2, "delivery.shipped": 1, "capture.ready": 1}
    (capture,) = await world.captures()
    assert [r.position for r in records if r.type == "capture.ready"] == [capture.position]
    assert sorted(world.receiver.sent) == [(subscriber, capture.id) for subscriber in ("s1", "s2", "s3")]
    assert len(set(world.receiver.ids)) == 3
    assert [step.state for step in capture.history] == ["READY", "SENT"]


async def test_what_is_asked_for_wrongly_says_so(world: World) -> None:
    capture = await ship(world)
    with pytest.raises(Invalid, match="acknowledge, fail, hold, release, void"):
        await world.do(capture, "take")
    with pytest.raises(Conflict, match="only a held one"):
        await world.do(capture, "release")
    with pytest.raises(Conflict, match="no subscriber wanted it"):
        await world.send_again(capture)
    missing = type(capture)("cap_missing", "", "", "", "READY", world.now, (), (), ())
    with pytest.raises(NotFound):
        await world.do(missing, "hold")
    with pytest.raises(NotFound):
        await world.send_again(missing)
