"""Retention over a real store: what goes, what stays and why, and that nothing that happens meanwhile does harm."""

import asyncio
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from tests.unit.domain.history import (
    BOX,
    BP,
    CANCELLED,
    DELIVERED,
    MILESTONE,
    ORDER,
    SHIPPED,
    UPS,
    Arrived,
    event,
    order_answer,
    package,
    scan,
    tracker_answer,
)
from tests.unit.pipeline.projecting import of_order
from tests.unit.pipeline.retaining import DAYS, Place

from milepost.domain.attempt import Destination, Message, Replay
from milepost.domain.condition import Policy
from milepost.domain.errors import Conflict, Misconfigured
from milepost.domain.instant import HOUR
from milepost.domain.queue import Mark, QueueItem
from milepost.domain.record import Note, noted_subject
from milepost.pipeline import ageing, retention
from milepost.pipeline.retention import Retention, Tally
from milepost.store import Ask, FailedFold, ItemKey, Transaction

OTHER = "322-86T6-8X4JBH"
NOTHING = Tally()


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    made = await Place(tmp_path).open()
    yield made
    await made.close()


def delivered(order: str = ORDER, box: str = BOX, **more: Any) -> Arrived:
    return event(DELIVERED, "2025-03-01T10:00:00Z", box, order=order, id=f"delivered-{order}-{box}", **more)


def shown(state: str = "DELIVERED", order: str = ORDER, box: str = BOX, tracker: Any = UPS) -> Arrived:
    answer = order_answer("2025-03-01T11:00:00Z", package(box, state, tracker=tracker))
    return of_order(order, answer)


SCANNED = tracker_answer(
    "2025-03-01T12:00:00Z",
    UPS,
    scan("IN_TRANSIT", "2025-03-01T08:00:00Z"),
    scan("DELIVERED", "2025-03-01T09:00:00Z"),
)


async def unrelated(place: Place) -> None:
    """Something about no order, so that the journal ends elsewhere."""
    number = f"unrelated-{place.now}"
    await place.come(
        event("BUYABILITY_CHANGED", "2025-03-01T10:00:00Z", order=None, path="items/i", id=number)
    )


async def end(place: Place, days: float = DAYS) -> None:
    """The parcels live on without us, and one last thing is journalled."""
    await place.settle()
    place.later(days)
    await unrelated(place)
    await place.settle()


async def left(place: Place) -> list[str]:
    """The types of what is left in the journal."""
    return [r.type for r in await place.store.read(lambda tx: tx.journal.after(0, 100_000))]


def orders(removed: Tally) -> tuple[int, int]:
    """(orders, deliveries) of what was removed: how many records tell of them is not every test's concern."""
    return removed.orders, removed.deliveries


async def kept(place: Place) -> dict[str, int]:
    plan = await place.retention.plan()
    assert plan.removable == NOTHING
    return dict(plan.kept)


async def test_a_closed_order_goes_with_everything_of_it(place: Place) -> None:
    await place.come(event(SHIPPED, "2025-03-01T07:00:00Z", id="shipped"), shown(), SCANNED)
    await place.come(event(MILESTONE, "2025-03-01T09:01:00Z", tracker=UPS, id="scanned"))
    await place.come(
        delivered(),
        delivered(),
        delivered(data={"note": 1}),
        event("RETURN_STARTED", "2025-03-02T00:00:00Z", path="return/r"),
    )
    await place.come(event("RETURN_COMPLETED", "2025-03-03T00:00:00Z", path="return/r"))
    noted = Note(ORDER, "the shopper called twice", "an agent", place.now, (noted_subject(f"order/{ORDER}"),))
    await place.come(Arrived("note", "note", place.now, msgspec.json.encode(noted)))
    await place.settle(answered=False)
    for target in (f"order/{ORDER}", f"tracker/ups/{UPS[1]}"):
        await place.give_up(target)

    subject = f"order/{ORDER}/delivery/{BOX}"
    item = QueueItem("late", BP, subject, place.now, ORDER, BOX)
    mark = {ItemKey(BP, f"order/{ORDER}", "late", subject, place.now): Mark("Ann", reason="called twice")}

    def message(tx: Transaction) -> None:
        tx.queues.put({(BP, f"order/{ORDER}"): [item]})
        tx.queues.mark(mark)
        tx.attempts.put_destination(Destination("dst", "webhook", b"{}"))
        tx.attempts.enqueue([Message("m-of-order", "dst", 1, "failed", 9, place.now)])

    await place.store.write(message)
    words = (ORDER, BOX, UPS[1], "delivered-", "shipped", "scanned", "m-of-order", "called twice")
    tables = {table for table, _ in place.rows_with(*words)}
    assert tables >= {
        "records",
        "record_subjects",
        "views",
        "search_terms",
        "asks",
        "messages",
        "arrivals",
        "told",
        "queue_items",
        "queue_marks",
    }
    place.later(DAYS)
    await unrelated(place)
    await place.projector.catch_up()
    await place.hydrator.catch_up()
    plan = await place.retention.plan()
    before = await place.counts()
    removed = await place.retention.look()
    assert (
        removed
        == plan.removable
        == Tally(orders=1, deliveries=1, trackers=1, records=before.last_position - 1)
    )
    assert plan.oldest is not None
    assert (plan.kept, plan.next) == ({}, None)
    rows = place.rows_with(*words)
    assert {table for table, _ in rows} == {"captures"}, "the ledger stays"
    assert {word for _, word in rows} == {ORDER, BOX, "shipped"}, "and leads to nobody's door"
    after = await place.counts()
    assert (after.removed, after.events, after.duplicates) == (
        removed.records,
        before.events,
        before.duplicates,
    )
    assert await place.differences() == []
    assert await place.retention.look() == NOTHING


async def test_an_order_stays_until_the_last_thing_about_it_is_old(place: Place) -> None:
    await place.come(delivered())
    await end(place, DAYS - 1)
    assert await kept(place) == {}
    await place.come(delivered())
    await end(place, DAYS - 1)
    assert (await place.retention.remove()).removed == NOTHING, "a duplicate is news of its sender"
    await end(place, 1)
    assert orders((await place.retention.remove()).removed) == (1, 1)


async def test_orders_that_share_a_tracker_go_together_or_stay(place: Place) -> None:
    for order, box in ((ORDER, BOX), (OTHER, "other-box")):
        await place.come(event(CANCELLED, "2025-03-01T10:00:00Z", box, order=order))
        await place.come(shown("CANCELLED", order=order, box=box))
    await end(place)
    await place.come(event("REFUND_REQUESTED", "2025-07-01T00:00:00Z", order=OTHER, path="refund/f"))
    await end(place, 1)
    assert await place.retention.look() == NOTHING
    await end(place)
    removed = await place.retention.look()
    assert (removed.orders, removed.trackers) == (2, 1)
    assert await place.differences() == []


@pytest.mark.parametrize("last", [ORDER, OTHER])
async def test_orders_that_name_one_delivery_go_together_or_stay(place: Place, last: str) -> None:
    first = OTHER if last == ORDER else ORDER
    await place.come(delivered(first))
    await place.settle()
    await place.come(delivered(last))
    await end(place, DAYS - 1)
    await place.come(event(CANCELLED, "2025-06-01T00:00:00Z", "another-box", order=last))
    await end(place, 10)
    assert (await place.retention.remove()).removed == NOTHING
    await end(place)
    assert orders((await place.retention.remove()).removed) == (2, 2)
    assert await place.differences() == []
    assert {table for table, _ in place.rows_with(ORDER, OTHER, BOX)} == {"captures"}


async def test_an_orphan_goes_when_it_is_silent(place: Place) -> None:
    await place.come(event(MILESTONE, "2025-03-01T09:01:00Z", tracker=UPS))
    await place.settle()
    place.later(91)
    await place.settle()
    await end(place, DAYS)
    assert (await place.retention.look()).trackers == 1
    assert place.rows_with(UPS[1]) == []


async def test_an_order_that_expired_is_kept_from_then_on(place: Place) -> None:
    moving = tracker_answer("2025-03-01T12:00:00Z", UPS, scan("IN_TRANSIT", "2025-03-01T08:00:00Z"))
    await place.come(event(SHIPPED, "2025-03-01T07:00:00Z"), shown("IN_TRANSIT"), moving)
    await place.settle()
    for _ in range(92):
        place.later(1)
        await place.settle()
    await end(place, DAYS - 5)
    assert await place.retention.look() == NOTHING
    await end(place, 10)
    assert (await place.retention.look()).orders == 1
    assert await place.differences() == []


@pytest.mark.parametrize("reason", ["hydration", "failed", "message", "quarantine", "return", "unprocessed"])
async def test_what_is_not_done_with_stays_and_says_why(place: Place, reason: str) -> None:
    await place.come(delivered(), shown(), SCANNED)
    await place.settle()
    if reason == "return":
        await place.come(event("RETURN_STARTED", "2025-03-02T00:00:00Z", path="return/r"))
    place.later(DAYS)
    if reason != "unprocessed":
        await unrelated(place)
    await place.projector.catch_up()
    await place.hydrator.catch_up()

    def trouble(tx: Transaction) -> None:
        if reason == "hydration":
            tx.work.put([Ask(BP, f"order/{ORDER}", 0, place.now, 3, (1,))])
        elif reason == "failed":
            tx.views.fail([FailedFold("hydrator", 2, BP, "", "no", place.now)])
        elif reason == "message":
            tx.attempts.put_destination(Destination("dst", "webhook", b"{}"))
            tx.attempts.enqueue([Message("m", "dst", 1, "pending", 0, place.now)])
        elif reason == "quarantine":
            body = b'{"resources": ["businessProduct\\/x\\/order\\/%s"' % ORDER.encode()
            tx.journal.quarantine(body, "malformed_event", "", place.now, "webhook", ())

    await place.store.write(trouble)
    assert await kept(place) == {reason: 1}
    assert (await place.retention.remove()).removed == NOTHING
    assert (await place.counts()).removed == 0


async def test_what_a_backfill_has_still_to_send_stays(place: Place) -> None:
    await place.come(delivered(), shown(), SCANNED)
    await end(place)
    last = await place.store.read(lambda tx: tx.journal.last_position())
    replay = Replay("r", "dst", "backfill", "running", 1, None, place.now)
    await place.store.write(lambda tx: tx.attempts.put_replay(replay))
    assert await kept(place) == {"unprocessed": 1}
    await place.store.write(lambda tx: tx.attempts.put_replay(replace(replay, cursor=last)))
    assert (await place.retention.look()).orders == 1


async def test_an_order_that_is_removed_begins_anew_with_a_later_event(place: Place) -> None:
    await place.come(delivered(), shown(), SCANNED)
    await end(place)
    assert (await place.retention.look()).orders == 1
    (receipt,) = await place.come(delivered())
    assert receipt.status == "accepted"
    await place.settle()
    view = await place.store.read(lambda tx: tx.views.find("order", ORDER, None))
    assert [each.position for each in view] == [receipt.position]
    assert await place.differences() == []


async def test_a_key_that_is_no_longer_reused_is_no_longer_flagged(place: Place) -> None:
    await place.come(delivered(key="one-key"))
    await end(place)
    (receipt,) = await place.come(delivered(OTHER, "other-box", key="one-key"))
    reused = receipt.position
    await place.settle()
    assert await place.store.read(lambda tx: tx.views.flags([reused])) == {reused: ("keyReuse",)}
    assert (await place.retention.look()).orders == 1
    assert await place.store.read(lambda tx: tx.views.flags([reused])) == {}
    assert await place.differences() == []


async def test_news_that_is_not_folded_yet_keeps_the_order(place: Place) -> None:
    await place.come(delivered(), shown(), SCANNED)
    await end(place)
    await place.come(event(MILESTONE, "2025-07-01T00:00:00Z", tracker=UPS))
    assert (await place.retention.remove()).removed == NOTHING
    await place.come(delivered(OTHER))
    await place.settle()
    assert await place.differences() == []


async def test_a_batch_that_is_being_folded_never_holds_what_is_gone(place: Place) -> None:
    """The projector has read the facts of an order, with one that is new; then retention runs; then it commits."""
    await place.come(delivered())
    await end(place)
    await place.come(event(SHIPPED, "2025-07-01T00:00:00Z"))
    records = await place.store.read(lambda tx: tx.journal.after(tx.journal.checkpoint("projector"), 10))
    effects = await place.projector._prepare(records)
    assert (await place.retention.remove()).removed == NOTHING

    def write(tx: Transaction) -> None:
        effects(tx)
        tx.journal.set_checkpoint("projector", records[-1].position)

    await place.store.write(write)
    assert await place.differences() == []


async def test_news_between_finding_and_removing_keeps_the_order(place: Place) -> None:
    await place.come(delivered(), delivered(OTHER, "other-box"))
    await end(place)
    store, coming = place.store, [event(SHIPPED, "2025-07-01T00:00:00Z", "other-box", order=OTHER)]

    class Interrupting:
        """A store where something comes in after the groups were found."""

        read = store.read

        async def write(self, function: Any) -> Any:
            while coming:
                await place.come(coming.pop())
            return await store.write(function)

    late: Any = Interrupting()
    removing = Retention(late, Policy(), place.clock, DAYS, pause_s=0)
    assert orders((await removing.remove()).removed) == (1, 1)
    await place.settle()
    assert await place.differences() == []
    assert place.rows_with(OTHER) != []


async def test_nothing_is_removed_while_the_projector_is_far_behind(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "FRESH", 3)
    monkeypatch.setattr(retention, "BEHIND", 5)
    await place.come(delivered())
    await end(place)
    await place.come(*(delivered(f"order-{n}", f"box-{n}") for n in range(20)))
    assert await place.retention.look() == NOTHING
    with pytest.raises(Conflict, match="behind"):
        await place.retention.remove()
    await place.settle()
    assert (await place.retention.look()).orders == 1, "the walk waited there"


async def test_the_journals_last_record_stays(place: Place) -> None:
    await place.come(delivered(), delivered(OTHER, "other-box"))
    await place.settle()
    place.later(DAYS)
    assert orders((await place.retention.remove()).removed) == (1, 1)
    assert (await place.counts()).last_position == max(await place.positions())
    assert await kept(place) == {"unprocessed": 1}


class Killed(BaseException):
    """Ends a run where nothing catches it, as the end of its process would."""


async def test_a_crash_between_two_transactions_does_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ageing, "AT_ONCE", 2)
    crashes = 0

    def kill(point: str) -> None:
        nonlocal crashes
        crashes += 1
        if crashes < 4:
            raise Killed

    place = await Place(tmp_path, probe=kill).open()
    await place.come(*(delivered(f"order-{n}", f"box-{n}") for n in range(10)))
    await end(place)
    for gone in (2, 4, 6):
        with pytest.raises(Killed):
            await place.retention.look()
        await place.close()
        await place.open()
        assert len(await place.store.read(lambda tx: tx.views.page("order", None, 99, None))) == 10 - gone
        assert await place.differences() == []
    assert (await place.retention.look()).orders == 4
    assert await left(place) == ["BUYABILITY_CHANGED"]
    await place.close()


async def test_a_round_begins_again_for_what_was_kept(place: Place) -> None:
    await place.come(delivered())
    await place.settle(answered=False)
    await unrelated(place)
    await place.projector.catch_up()
    await place.hydrator.catch_up()
    place.later(DAYS)
    assert await place.retention.look() == NOTHING
    await place.settle()
    place.later(1)
    assert await place.retention.look() == NOTHING, "the walk is past it"
    assert await place.retention.last_run() == place.now
    place.later(7)
    assert (await place.retention.look()).orders == 1


async def test_a_group_that_is_too_large_stays_and_holds_nothing_up(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ageing, "LARGEST", 8)
    await place.come(*(event(DELIVERED, f"2025-03-01T10:00:0{n}Z", id=f"e-{n}") for n in range(9)))
    await place.come(*(delivered(f"order-{n}", f"box-{n}") for n in range(7)))
    await end(place)
    plan = await place.retention.plan()
    assert (plan.removable.orders, plan.kept) == (7, {"large": 1})
    assert (await place.retention.look()).orders == 7
    assert await place.differences() == []


async def test_the_walk_is_not_led_astray_by_a_clock_that_was_wrong(place: Place) -> None:
    right = place.now
    await place.come(*(delivered(f"order-{n}", f"box-{n}") for n in range(40)))
    place.later(4_000)
    await place.come(delivered("order-of-then", "box-of-then"))
    place.now = right
    await place.come(*(delivered(f"late-{n}", f"late-box-{n}") for n in range(40)))
    await end(place)
    assert (await place.retention.look()).orders == 80
    assert place.rows_with("order-of-then") != []


async def test_a_dry_run_says_where_to_go_on(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ageing, "PAGE", 4)
    await place.come(*(delivered(f"order-{n}", f"box-{n}") for n in range(10)))
    await end(place)
    orders, after = 0, 0
    while True:
        plan = await place.retention.plan(after=after, most=4)
        orders += plan.removable.orders
        if plan.next is None:
            break
        after = plan.next
    assert orders == 10
    assert (await place.retention.remove(0, 4)).next == 4
    assert (await place.retention.remove(4)).removed.orders == 6
    assert (await place.retention.plan(days=0)).removable == NOTHING
    with pytest.raises(Misconfigured):
        await place.retention.plan(days=30)


async def test_nothing_is_removed_while_it_is_off(tmp_path: Path) -> None:
    place = await Place(tmp_path, days=0).open()
    await place.come(delivered())
    await end(place, 5_000)
    stop = asyncio.Event()
    running = asyncio.ensure_future(place.retention.run(stop))
    stop.set()
    await running
    assert await place.retention.look() == (await place.retention.remove()).removed == NOTHING
    assert (await place.counts()).removed == 0
    assert (await place.retention.plan(days=DAYS)).removable.orders == 1
    await place.close()


async def test_it_runs_by_itself_until_it_is_stopped(tmp_path: Path) -> None:
    place = await Place(tmp_path, interval_ms=HOUR, probe=lambda point: gone.set()).open()
    gone, stop = asyncio.Event(), asyncio.Event()
    await place.come(delivered())
    await end(place)
    running = asyncio.ensure_future(place.retention.run(stop))
    await asyncio.wait_for(gone.wait(), 30)
    stop.set()
    await running
    assert await left(place) == ["BUYABILITY_CHANGED"]
    await place.close()


async def test_two_thousand_orders_stream_in_bounded_memory(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "LOOKED", 100_000)
    filler = {"order": {"note": "x" * 4_000}}
    for start in range(0, 2_000, 250):
        arrivals = [delivered(f"order-{n}", f"box-{n}", data=filler) for n in range(start, start + 250)]
        await asyncio.gather(*map(place.come, arrivals))
        await place.settle(sweep=False)
    await end(place)
    tracemalloc.start()
    try:
        removed = await place.retention.look()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert removed.orders == 2_000
    assert peak < 12_000_000, f"{peak} bytes at once for {2_000 * 4_000} bytes of bodies"
    assert await left(place) == ["BUYABILITY_CHANGED"]
