"""Backfills and replays: all of history once, then live without gap or overlap; what a dry run counts is what is
sent; both kinds of ids; rates; and an end when somebody says so."""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from tests.unit.pipeline.projecting import project
from tests.unit.pipeline.publishing import Rig
from tests.unit.pipeline.replays import begin_replay

from milepost.domain.attempt import Destination, Replay
from milepost.domain.instant import HOUR, MINUTE, SECOND, Instant
from milepost.domain.record import order_subject
from milepost.domain.selection import Selection
from milepost.pipeline import history, replaying
from milepost.pipeline.fanout import wants
from milepost.pipeline.history import begin_backfill, cancel, count, planned
from milepost.pipeline.sending import Outcome, Parcel
from milepost.store import Transaction

EVERYTHING = Selection()


class Endpoint:
    """Notes what it got, under which id."""

    batch = 1

    def __init__(self) -> None:
        self.status = 200
        self.got: list[str] = []

    async def send(self, destination: Destination, parcels: Sequence[Parcel]) -> Sequence[Outcome]:
        self.got += [p.message.id for p in parcels]
        return [Outcome(self.status)]


@pytest.fixture
async def endpoint(rig: Rig) -> Endpoint:
    endpoint = Endpoint()
    rig.other = endpoint
    await rig.restart()
    return endpoint


def subscriber(id: str = "s", **more: Any) -> Destination:
    return Destination(id, "other", b"{}", **more)


async def backfill(rig: Rig, position: int = 0, id: str = "r-1", **more: Any) -> None:
    made, now = subscriber(**more), rig.clock.now()
    await rig.store.write(lambda tx: begin_backfill(tx, made, position, id=id, now=now))


async def replay(rig: Rig, selection: Selection = EVERYTHING, id: str = "r-1", **more: Any) -> Replay:
    now = rig.clock.now()
    return await rig.store.write(lambda tx: begin_replay(tx, "s", selection, id=id, now=now, **more))


async def dry(rig: Rig, selection: Selection = EVERYTHING) -> int:
    now = rig.clock.now()
    plan = await rig.store.read(lambda tx: planned(tx, "s", selection, id="", now=now))
    counted = await count(rig.store, plan, wants)
    assert not counted.more
    return counted.messages


async def state(rig: Rig, id: str = "r-1") -> Replay:
    found = await rig.store.read(lambda tx: tx.attempts.replay(id))
    assert found is not None
    return found


async def work_off(rig: Rig) -> None:
    await rig.publish()
    while await rig.replaying.step():
        await rig.publish()
    await rig.publish()


# ── Backfills ──────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_late_subscriber_gets_all_of_history_once_and_then_what_comes(
    rig: Rig, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In any order of what goes on beside each other, with restarts."""
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    draw = random.Random(seed)
    monkeypatch.setattr(history, "PAGE", 7)
    monkeypatch.setattr(replaying, "CHUNK", 5)
    await rig.add(subscriber("first"))
    number = 0
    for step in range(120):
        if draw.random() < 0.6:
            more = draw.randrange(1, 4)
            await rig.events(*range(number, number + more))
            number += more
        if step == 40:
            await backfill(rig, ordered=True)
        if draw.random() < 0.5:
            await rig.consumer.step()
        if draw.random() < 0.5:
            await rig.replaying.step()
        if draw.random() < 0.3:
            await rig.publisher.send_due()
        if draw.random() < 0.05:
            await rig.restart()
    await work_off(rig)
    assert (await state(rig)).state == "done"
    mine = Counter(got for got in endpoint.got if got.endswith("-s"))
    assert mine == Counter(f"{n}-s" for n in range(1, number + 1))
    known = await rig.store.read(lambda tx: tx.attempts.destination("s"))
    assert known is not None
    assert known.after is not None
    done = await state(rig)
    assert (done.cursor, done.enqueued) == (known.after, known.after)


async def test_history_may_begin_anywhere(rig: Rig, endpoint: Endpoint) -> None:
    await rig.events(*range(10))
    await rig.publish()
    await backfill(rig, 6, event_types=("PACKAGE_DELIVERED",))
    await work_off(rig)
    await rig.events(10)
    await work_off(rig)
    assert endpoint.got == [f"{n}-s" for n in range(7, 12)]


async def test_what_is_sent_live_meanwhile_waits_for_history(rig: Rig, endpoint: Endpoint) -> None:
    """Of what comes while history is sent nothing is fanned out for it: it is history itself."""
    await rig.add(subscriber("first"))
    await rig.events(*range(5))
    await rig.consumer.catch_up()
    await backfill(rig)
    await rig.events(5, 6)
    await rig.consumer.catch_up()
    assert await rig.store.read(lambda tx: tx.attempts.count("s")) == {}
    await work_off(rig)
    assert sorted(got for got in endpoint.got if got.endswith("-s")) == [f"{n}-s" for n in range(1, 8)]


async def test_what_is_published_in_the_last_moment_is_sent_in_the_write_that_goes_live(
    rig: Rig, endpoint: Endpoint
) -> None:
    await rig.add(subscriber("first"))
    await rig.events(1)
    await rig.consumer.catch_up()
    await backfill(rig)
    (running,) = await rig.store.read(lambda tx: tx.attempts.replays("", 9, state="running"))
    look = await rig.store.read(lambda tx: replaying._look(tx, running))
    assert look is not None
    await rig.events(2, 3)
    await rig.consumer.catch_up()
    wanted, end = rig.replaying._wanted(look, 500)
    now = rig.clock.now()
    assert await rig.store.write(lambda tx: rig.replaying._add(tx, look, wanted, end, now)) == 3
    assert (await state(rig)).state == "done"


async def test_with_much_to_be_sent_already_nothing_is_added(
    rig: Rig, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replaying, "PILE", 30)
    await rig.events(*range(100))
    await rig.consumer.catch_up()
    await backfill(rig)
    assert await rig.replaying.step()
    assert not await rig.replaying.step()
    assert (await rig.counts()) == {"pending": 30}
    await work_off(rig)
    assert len(endpoint.got) == 100


async def test_a_disabled_destination_is_not_filled(rig: Rig, endpoint: Endpoint) -> None:
    await rig.events(1)
    await rig.consumer.catch_up()
    await backfill(rig)
    await rig.store.write(lambda tx: tx.attempts.disable("s", "by hand"))
    assert not await rig.replaying.step()
    await rig.store.write(lambda tx: tx.attempts.enable("s"))
    await work_off(rig)
    assert endpoint.got == ["1-s"]


async def test_a_destination_that_is_removed_ends_its_replays(rig: Rig, endpoint: Endpoint) -> None:
    await rig.events(1)
    await rig.consumer.catch_up()
    await backfill(rig)
    await rig.store.write(lambda tx: tx.attempts.remove_destination("s"))
    assert not await rig.replaying.step()
    assert (await state(rig)).state == "cancelled"


async def test_a_cancelled_backfill_goes_live_without_the_rest(
    rig: Rig, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replaying, "CHUNK", 5)
    await rig.events(*range(20))
    await rig.consumer.catch_up()
    await backfill(rig)
    await rig.replaying.step()
    now = rig.clock.now()
    assert await rig.store.write(lambda tx: cancel(tx, "r-1", now)) == 5
    assert await rig.store.write(lambda tx: cancel(tx, "r-1", now)) is None
    await rig.events(20)
    await work_off(rig)
    assert endpoint.got == ["21-s"]
    assert (await state(rig)).state == "cancelled"


# ── Replays ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_under_the_same_ids_everything_is_sent_again(rig: Rig, endpoint: Endpoint) -> None:
    await rig.add(subscriber())
    await rig.events(1, 2)
    await rig.publish()
    endpoint.status = 410
    await rig.events(3)
    await rig.publish()
    await rig.publisher.enable("s")
    endpoint.status = 200
    endpoint.got.clear()
    assert await dry(rig) == 3
    await replay(rig)
    await work_off(rig)
    assert sorted(endpoint.got) == ["1-s", "2-s", "3-s"]
    assert await rig.counts() == {"delivered": 3}
    done = await state(rig)
    assert (done.state, done.enqueued, done.ended_at) == ("done", 3, rig.clock.now())
    again = await rig.message("1-s")
    assert (again.tries, again.earlier, again.replay) == (2, 1, "r-1")


async def test_under_new_ids_they_are_linked_to_the_old(rig: Rig, endpoint: Endpoint) -> None:
    await rig.add(subscriber(ordered=True))
    await rig.events(1, 2, order="o-1")
    await rig.publish()
    endpoint.got.clear()
    await replay(rig, new_ids=True)
    await work_off(rig)
    assert endpoint.got == ["1-s~rr-1", "2-s~rr-1"]
    made = await rig.message("2-s~rr-1")
    assert (made.origin, made.replay, made.position, made.sequence) == ("2-s", "r-1", 2, "bp-1/order/o-1")
    # Another one gives others.
    await replay(rig, id="r-2", new_ids=True)
    await work_off(rig)
    assert endpoint.got[2:] == ["1-s~rr-2", "2-s~rr-2"]


async def test_a_replayed_message_has_the_whole_schedule_again(rig: Rig, endpoint: Endpoint) -> None:
    await rig.add(subscriber())
    await rig.events(1)
    endpoint.status = 503
    await rig.publish()
    for _ in range(9):
        due = await rig.publisher.next_due()
        assert due is not None
        rig.clock.advance(max(0, due - rig.clock.now()))
        await rig.publish()
    assert await rig.counts() == {"failed": 1}
    await replay(rig)
    await work_off(rig)
    # Its endpoint is left alone for a while yet.
    rig.clock.advance(5 * MINUTE)
    await rig.publish()
    again = await rig.message("1-s")
    assert (again.state, again.tries, again.earlier) == ("pending", 11, 10)
    assert again.due_at == rig.clock.now() + 5 * SECOND
    endpoint.status = 200
    rig.clock.advance(5 * MINUTE)
    await rig.publish()
    assert [a.number for a in await rig.attempts("1-s")] == [*range(1, 13)]


async def test_by_time(rig: Rig, endpoint: Endpoint) -> None:
    await rig.add(subscriber())
    start = rig.clock.now()
    for hour in range(48):
        await rig.events(2 * hour, 2 * hour + 1)
        await rig.publish()
        rig.clock.advance(HOUR)
    selection = Selection(since=Instant(start + 10 * HOUR), before=Instant(start + 13 * HOUR))
    endpoint.got.clear()
    assert await dry(rig, selection) == 6
    begun = await replay(rig, selection)
    # Whole days are not looked through for that.
    assert begun.until is not None
    assert begun.until - begun.cursor < 12
    await work_off(rig)
    assert endpoint.got == [f"{n}-s" for n in range(21, 27)]


async def test_by_order(rig: Rig, endpoint: Endpoint) -> None:
    await rig.add(subscriber())
    for n in range(9):
        await rig.events(n, order=f"o-{n % 3}")
    await project(rig.store)
    await work_off(rig)
    endpoint.got.clear()
    selection = Selection(business_product_id="bp-1", subjects=(order_subject("o-1"),))
    assert await dry(rig, selection) == 3
    assert await dry(rig, Selection(business_product_id="bp-2", subjects=(order_subject("o-1"),))) == 0
    await replay(rig, selection)
    await work_off(rig)
    assert endpoint.got == ["2-s", "5-s", "8-s"]


async def test_only_what_the_destination_wants_and_what_was_published(rig: Rig, endpoint: Endpoint) -> None:
    await rig.add(subscriber(event_types=("PACKAGE_DELIVERED",)))
    await rig.events(1)
    await rig.events(2, type="PACKAGE_DELIVERY_IN_TRANSIT")
    await rig.publish()
    await rig.events(3)
    endpoint.got.clear()
    assert await dry(rig) == 1
    await replay(rig)
    await rig.replaying.step()
    await rig.publisher.send_due()
    assert endpoint.got == ["1-s"]
    await work_off(rig)
    assert endpoint.got == ["1-s", "3-s"]


async def test_a_dry_run_counts_what_is_sent_over_many_pages(
    rig: Rig, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "PAGE", 4)
    await rig.add(subscriber(event_types=("PACKAGE_DELIVERED",)))
    for n in range(30):
        await rig.events(n, type="PACKAGE_DELIVERED" if n % 3 else "PACKAGE_DELIVERY_IN_TRANSIT")
    await rig.publish()
    counted = await dry(rig)
    await replay(rig)
    await work_off(rig)
    assert (await state(rig)).enqueued == counted == 20


async def test_a_rate_is_held_within_a_tenth(rig: Rig, endpoint: Endpoint) -> None:
    await rig.add(subscriber())
    await rig.events(*range(400))
    await rig.publish()
    endpoint.got.clear()
    await replay(rig, rate=10.0, new_ids=True)
    for _ in range(20 * 5):
        await rig.replaying.step()
        await rig.publisher.send_due()
        rig.clock.advance(SECOND // 5)
    assert 0.9 * 200 <= len(endpoint.got) <= 1.1 * 200
    assert (await state(rig)).state == "running"


async def test_cancelling_ends_it(rig: Rig, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replaying, "CHUNK", 3)
    await rig.add(subscriber())
    await rig.events(*range(9))
    await rig.publish()
    endpoint.got.clear()
    await replay(rig)
    await rig.replaying.step()
    now = rig.clock.now()
    assert await rig.store.write(lambda tx: cancel(tx, "r-1", now)) == 3
    await work_off(rig)
    assert endpoint.got == []
    assert await rig.counts() == {"delivered": 9}
    assert await rig.store.write(lambda tx: cancel(tx, "no", now)) is None


async def test_a_change_between_looking_and_adding_is_looked_at_again(rig: Rig, endpoint: Endpoint) -> None:
    await rig.add(subscriber())
    await rig.events(1)
    await rig.publish()
    begun = await replay(rig)
    look = await rig.store.read(lambda tx: replaying._look(tx, begun))
    assert look is not None
    wanted, end = rig.replaying._wanted(look, 500)
    now = rig.clock.now()

    def add(tx: Transaction) -> int | None:
        return rig.replaying._add(tx, look, wanted, end, now)

    await rig.add(subscriber(event_types=("OTHER",)))
    assert await rig.store.write(add) is None
    await work_off(rig)
    assert (await state(rig)).enqueued == 0
    # And somebody who has done it meanwhile is not repeated.
    assert await rig.store.write(add) is None


async def test_while_it_runs_a_new_one_is_noticed(rig: Rig, endpoint: Endpoint) -> None:
    await rig.events(*range(5))
    await rig.publish()
    stop = asyncio.Event()
    tasks = [asyncio.create_task(part.run(stop)) for part in (rig.replaying, rig.publisher)]
    await backfill(rig)
    rig.replaying.notify()
    async with asyncio.timeout(60):
        while len(endpoint.got) < 5:
            await rig.store.read(lambda tx: None)
    stop.set()
    await asyncio.gather(*tasks)
    assert (await state(rig)).state == "done"


async def test_one_that_cannot_go_on_holds_up_no_other(
    rig: Rig, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replaying, "AT_ONCE", 2)
    await rig.events(1, 2)
    await rig.publish()
    for n in range(3):
        await backfill(rig, id=f"r-{n}", enabled=False)
    await rig.store.write(lambda tx: begin_backfill(tx, subscriber("t"), 0, id="r-9", now=rig.clock.now()))
    assert not await rig.replaying.step()
    assert await rig.replaying.step()
    await rig.publish()
    assert sorted(endpoint.got) == ["1-t", "2-t"]


async def test_a_backfill_that_begins_above_what_is_published_waits_for_that(
    rig: Rig, endpoint: Endpoint
) -> None:
    await rig.events(*range(5))
    await backfill(rig, 3)
    assert await rig.replaying.step()
    assert (await state(rig)).state == "done"
    await rig.publish()
    assert endpoint.got == ["4-s", "5-s"]


async def test_one_that_is_cancelled_before_that_does_so_too(rig: Rig, endpoint: Endpoint) -> None:
    await rig.events(*range(5))
    await backfill(rig, 3)
    await rig.store.write(lambda tx: cancel(tx, "r-1", rig.clock.now()))
    await rig.publish()
    assert endpoint.got == ["4-s", "5-s"]
