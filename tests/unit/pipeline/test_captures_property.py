"""Captures in histories drawn at random: facts in any order and again, folds that crash, rebuilds that are broken
off, subscribers that take, refuse or say nothing, people who hold, release, void and acknowledge, resends, replays
and late subscribers in between. No delivery ever has two captures, each is told of once, none is sent after it was
acknowledged, and none to one that took it, unless somebody said that collecting failed."""

import asyncio
import shutil
import tempfile
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.unit.domain.history import (
    BP,
    CANCELLED,
    DELIVERED,
    SHIPPED,
    Arrived,
    correction,
    event,
    order_answer,
    package,
    scan,
    tracker_answer,
    withdrawal,
)
from tests.unit.pipeline.projecting import dump, forget, handler, keep_together, migrated, of_order
from tests.unit.pipeline.telling import World

from milepost.domain.capture import ASKED, Capture, capture_id
from milepost.domain.errors import Conflict
from milepost.domain.instant import MINUTE, Instant, format_instant, parse_instant
from milepost.domain.record import Record, delivery_subject, tracker_subject
from milepost.pipeline.consumer import Consumer
from milepost.pipeline.projector import NAME

ORDERS = ("322-order-a", "322-order-b")
BOXES = ("box-a", "box-b", "box-c")
TRACKERS = tuple(("ups", f"1Z-{box}") for box in BOXES)
FROM = parse_instant("2025-03-01T00:00:00Z")

ORDER, BOX, AT = st.sampled_from(ORDERS), st.integers(0, 2), st.integers(0, 500)
STATE = st.sampled_from(["PENDING", "IN_TRANSIT", "DELIVERED", "CANCELLED"])
WHICH = st.integers(0, 20)
FACT = st.one_of(
    st.tuples(st.just("event"), st.sampled_from([SHIPPED, DELIVERED, CANCELLED]), ORDER, BOX, AT),
    st.tuples(
        st.just("answer"), ORDER, st.lists(st.tuples(BOX, STATE, st.booleans()), min_size=1, max_size=2), AT
    ),
    st.tuples(
        st.just("scans"),
        BOX,
        st.lists(
            st.tuples(st.sampled_from(["INFO_RECEIVED", "IN_TRANSIT", "DELIVERED", "RETURN_TO_SENDER"]), AT),
            min_size=1,
            max_size=3,
        ),
        AT,
    ),
    st.tuples(st.just("told"), ORDER, BOX, st.sampled_from(["IN_TRANSIT", "DELIVERED"]), st.booleans(), AT),
    st.tuples(st.just("taken_back"), WHICH, AT),
)
STEP = st.one_of(
    FACT,
    FACT,
    st.tuples(st.just("again"), WHICH),
    st.tuples(st.just("fold")),
    st.tuples(st.just("fold")),
    st.tuples(st.just("crash")),
    st.tuples(st.just("rebuild"), st.integers(0, 3)),
    st.tuples(st.just("publish"), st.sampled_from([200, 200, 500, None]), st.booleans()),
    st.tuples(st.just("publish"), st.sampled_from([200, 500]), st.just(False)),
    st.tuples(st.just("ask"), st.sampled_from((*ASKED, "acknowledge")), WHICH),
    st.tuples(st.just("resend"), WHICH),
    st.tuples(st.just("late")),
    st.tuples(st.just("replay"), WHICH, st.booleans(), st.booleans()),
)
STEPS = st.lists(STEP, min_size=8, max_size=30)
QUIET: dict[str, Any] = {"deadline": None, "suppress_health_check": list(HealthCheck), "print_blob": True}


@settings(max_examples=20, **QUIET)
@given(steps=STEPS)
def test_no_delivery_has_two_captures_and_none_is_sent_after_it_was_acknowledged(steps: Any) -> None:
    _run(steps)


@pytest.mark.proof
@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("quarter", range(4))
@settings(max_examples=500, **QUIET)
@given(steps=STEPS)
def test_the_same_of_two_thousand_histories(quarter: int, steps: Any) -> None:
    """In quarters, so that they are played beside each other."""
    _run(steps)


def _run(steps: list[tuple[Any, ...]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(migrated(), Path(folder) / "hub.db")
        asyncio.run(_play(Path(folder), steps))


async def _play(folder: Path, steps: list[tuple[Any, ...]]) -> None:
    history = _History(await World(folder).open())
    await history.world.subscribe("s0")
    try:
        for step in (*steps, ("fold",), ("publish", 200, False), ("rebuild", 0)):
            if not history.waits(step[0]):
                await history.arrive()
                await getattr(history, step[0])(*step[1:])
                await history.check()
            else:
                getattr(history, step[0])(*step[1:])
        await history.check_end()
    finally:
        await history.world.close()


class Killed(BaseException):
    """Ends a fold where nothing catches it, as the end of its process would."""


def _kill(point: str) -> None:
    raise Killed


class _History:
    """The steps, and what must hold after each."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.came: list[Arrived] = []
        self.coming: list[Arrived] = []
        self.subscribers = 1
        self.replays = 0
        self.acknowledged: dict[str, int] = {}
        """How many messages of a capture had been sent when it was first seen to be acknowledged."""
        self.seen: dict[str, Capture] = {}

    # What comes in.

    def waits(self, step: str) -> bool:
        """Facts arrive together, before anything is done: each commit takes its time."""
        return step in ("event", "answer", "scans", "told", "taken_back", "again")

    async def arrive(self) -> None:
        await keep_together(self.world.store, self.coming, self.world.now)
        self.coming.clear()

    def come(self, arrived: Arrived) -> None:
        self.came.append(arrived)
        self.coming.append(arrived)

    def event(self, type: str, order: str, box: int, at: int) -> None:
        self.come(event(type, _at(at), BOXES[box], order=order))

    def answer(self, order: str, shown: list[tuple[int, str, bool]], at: int) -> None:
        packages = [
            package(BOXES[box], state, tracker=TRACKERS[box] if tracked else None, items=[("item", "1")])
            for box, state, tracked in shown
        ]
        self.come(of_order(order, order_answer(_at(at), *packages)))

    def scans(self, box: int, codes: list[tuple[str, int]], at: int) -> None:
        scanned = [scan(code, _at(when)) for code, when in codes]
        self.come(tracker_answer(_at(at), TRACKERS[box], *scanned))

    def told(self, order: str, box: int, state: str, of_tracker: bool, at: int) -> None:
        """An agent corrects a tracker, or a delivery."""
        subject = tracker_subject(*TRACKERS[box]) if of_tracker else delivery_subject(BOXES[box])
        self.come(correction(state, _at(at), subject, order=order))

    def taken_back(self, which: int, at: int) -> None:
        if told := [arrived for arrived in self.came if arrived.kind == "correction"]:
            self.come(withdrawal(told[which % len(told)], _at(at)))

    def again(self, which: int) -> None:
        if self.came:
            self.coming.append(self.came[which % len(self.came)])

    # What the hub does, and what happens to it.

    async def fold(self) -> None:
        await self.world.projector.catch_up()

    async def crash(self) -> None:
        """The process ends between fold and commit, and another one begins."""
        world = self.world
        dying = Consumer(world.store, NAME, handler(world.store), world.clock, probe=_kill)
        with suppress(Killed):
            await dying.step()
        await world.close()
        await world.open()

    async def rebuild(self, steps: int) -> None:
        """Whole, or left after some small batches for whoever folds next."""
        await forget(self.world.store)
        some = Consumer(self.world.store, NAME, handler(self.world.store), self.world.clock, batch=2)
        for _ in range(steps):
            await some.step()
        if not steps:
            await some.catch_up()

    async def publish(self, status: int | None, acknowledging: bool) -> None:
        world = self.world
        world.receiver.statuses = dict.fromkeys((f"s{n}" for n in range(self.subscribers)), status)
        world.receiver.answer = '{"status":"acknowledged"}' if acknowledging else ""
        await world.go_on()
        await world.publish()

    # What people do.

    async def ask(self, action: str, which: int) -> None:
        captures = await self.world.captures()
        if captures:
            with suppress(Conflict):
                after = await self.world.do(captures[which % len(captures)], action)
                if after.state == "FAILED":
                    self.world.receiver.forget(after.id)

    async def resend(self, which: int) -> None:
        captures = await self.world.captures()
        if captures:
            with suppress(Conflict):
                await self.world.send_again(captures[which % len(captures)])

    async def late(self) -> None:
        """Another subscriber, who gets everything from the beginning."""
        if self.subscribers < 4:
            await self.world.backfill(self._replay_id(), f"s{self.subscribers}")
            self.subscribers += 1

    async def replay(self, which: int, new_ids: bool, stepping: bool) -> None:
        """Everything once more to one of them, whatever became of it, under its id or another; worked off now, or
        with what is published next."""
        await self.world.replay(self._replay_id(), f"s{which % self.subscribers}", new_ids=new_ids)
        if stepping:
            await self.world.replaying.step()

    def _replay_id(self) -> str:
        self.replays += 1
        return f"r{self.replays:03}"

    # What must hold.

    async def check(self) -> None:
        captures = await self.world.captures()
        by_delivery = Counter((c.business_product_id, c.order_id, c.delivery_id) for c in captures)
        assert all(count == 1 for count in by_delivery.values())
        assert self.world.receiver.again == [], "sent again to one that took it"
        sent = Counter(capture for _, capture in self.world.receiver.sent)
        for capture in captures:
            assert capture.id == capture_id(BP, capture.order_id, capture.delivery_id)
            before = self.seen.get(capture.id)
            if before is not None:
                assert capture.history[0] == before.history[0], "it is the same one, for life"
                assert before.position in (0, capture.position), "it is told by one record"
                assert before.state != "ACKED" or capture == replace(before, sent_at=capture.sent_at)
            if capture.state == "ACKED":
                self.acknowledged.setdefault(capture.id, sent[capture.id])
                assert sent[capture.id] == self.acknowledged[capture.id], "sent after it was acknowledged"
        assert self.seen.keys() <= {capture.id for capture in captures}, "none goes"
        self.seen = {capture.id: capture for capture in captures}

    async def check_end(self) -> None:
        """Every delivery that shipped has its capture, each was told of once, and views are what a rebuild gives."""
        store = self.world.store
        records = await store.read(lambda tx: tx.journal.after(0, 10_000))
        told = Counter(record.body for record in records if record.type == "capture.ready")
        assert all(count == 1 for count in told.values())
        ids = Counter(_told_capture(record) for record in records if record.type == "capture.ready")
        assert all(count == 1 for count in ids.values())
        positions = {r.position: _told_capture(r) for r in records if r.type == "capture.ready"}
        assert {c.position: c.id for c in self.seen.values() if c.position} == positions
        shipped = Counter(_subject(record) for record in records if record.type == "delivery.shipped")
        assert all(count == 1 for count in shipped.values())
        due = set()
        for _, view in await store.read(lambda tx: tx.views.page("order", None, 100, None)):
            order = msgspec.json.decode(view.document)
            due |= {(order["id"], d["id"]) for d in order["deliveries"] if d["shipEvidence"] is not None}
        assert due <= {(c.order_id, c.delivery_id) for c in self.seen.values()}
        live = await dump(store)
        await self.world.rebuild()
        assert await dump(store) == live


def _told_capture(record: Record) -> str:
    captured: str = msgspec.json.decode(record.body)["data"]["captureId"]
    return captured


def _subject(record: Record) -> tuple[str, str]:
    data = msgspec.json.decode(record.body)["data"]
    return data["orderId"], data["deliveryId"]


def _at(hours: int) -> str:
    return format_instant(Instant(FROM + hours * 10 * MINUTE))
