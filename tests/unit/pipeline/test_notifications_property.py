"""Notifications in histories drawn at random: facts in any order and again, folds that crash, rebuilds that are
broken off, a mail server and a merchant's system that refuse, lose or say nothing, notifiers that are killed
anywhere, shoppers who opt out and in again or have another address, agents who ask for one once more.

No shopper gets the same message twice unless an agent asked for it, by itself or along with another one, by whichever
channel; nobody gets what they do not want; and what the ledger says is what happened."""

import asyncio
import shutil
import tempfile
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.domain.history import (
    CANCELLED,
    DELIVERED,
    SHIPPED,
    Arrived,
    event,
    order_answer,
    package,
    scan,
    tracker_answer,
)
from tests.unit.pipeline.notifying import Shop, Way
from tests.unit.pipeline.projecting import dump, forget, migrated, of_order

from milepost.domain.contact import Choices
from milepost.domain.errors import Conflict
from milepost.domain.instant import DAY, MINUTE, Instant, format_instant
from milepost.domain.notification import Notification
from milepost.pipeline.channels import Outcome
from milepost.pipeline.outbox import LEASE

ORDERS = ("322-order-a", "322-order-b")
BOXES = ("box-a", "box-b", "box-c", "box-of-b")
"""The last one is the second order's."""
TRACKERS = tuple(("ups", f"1Z-{box}") for box in BOXES)
EMAILS = ("ada@shopper.example", "bea@shopper.example")

ORDER, BOX, WHICH = st.sampled_from(ORDERS), st.integers(0, 3), st.integers(0, 20)
AGO = st.sampled_from([0, 0, 0, 1, 1, 5, 30, 120, 600])
"""Minutes before now."""
STATE = st.sampled_from(["PENDING", "IN_TRANSIT", "IN_TRANSIT", "IN_TRANSIT", "DELIVERED", "CANCELLED"])
CODE = st.sampled_from(
    [
        "IN_TRANSIT",
        "IN_TRANSIT",
        "OUT_FOR_DELIVERY",
        "OUT_FOR_DELIVERY",
        "DELIVERY_ATTEMPTED",
        "AVAILABLE_FOR_PICKUP",
        "DELAYED",
        "CUSTOMER_ACTION",
        "RETURN_TO_SENDER",
        "DELIVERED",
    ]
)
FACT = st.one_of(
    st.tuples(st.just("event"), st.sampled_from([SHIPPED, DELIVERED, CANCELLED]), BOX, AGO),
    st.tuples(st.just("answer"), st.dictionaries(BOX, STATE, min_size=1, max_size=3)),
    st.tuples(
        st.just("scans"),
        st.sets(BOX, min_size=1, max_size=3),
        st.lists(st.tuples(CODE, AGO), min_size=1, max_size=2),
        st.integers(-1, 4),
        st.sampled_from([False, False, False, True]),
    ),
)
ANSWER = st.sampled_from(
    ["sent", "sent", "sent", "again", "out", "refused", "unknown", "took and unknown", "raises"]
)
POINT = st.sampled_from(
    [
        "notifier-before-claim",
        "notifier-after-claim",
        "notifier-after-send",
        "notifier-after-send",
        "notifier-after-record",
    ]
)
OFF = st.sampled_from(
    [
        (),
        (),
        ("all",),
        ("shipped",),
        ("delivered", "all_delivered"),
        ("shipped/webhook",),
        ("delivered/email",),
    ]
)
WAIT = st.sampled_from([11, 31, 31, 125])
PLAN = st.lists(ANSWER, max_size=4)
SEND = st.one_of(
    st.tuples(st.just("send"), WAIT, PLAN),
    st.tuples(st.just("kill"), WAIT, POINT, st.integers(1, 2), PLAN),
)
STEP = st.one_of(
    FACT,
    FACT,
    FACT,
    SEND,
    SEND,
    st.one_of(
        st.tuples(st.just("again"), WHICH),
        st.tuples(st.just("fold")),
        st.tuples(st.just("crash")),
        st.tuples(st.just("rebuild"), st.integers(0, 3)),
        st.tuples(st.just("time"), st.sampled_from([1, 1_500])),
        st.tuples(st.just("choose"), st.sampled_from(EMAILS), OFF, st.sampled_from([False, False, True])),
        st.tuples(st.just("move"), ORDER),
        st.tuples(st.just("resend"), WHICH),
    ),
)
STEPS = st.lists(STEP, min_size=8, max_size=30)
WAYS = st.sampled_from([("email",), ("email",), ("webhook", "email"), ("email", "webhook")])
QUIET: dict[str, Any] = {"deadline": None, "suppress_health_check": list(HealthCheck), "print_blob": True}


@settings(max_examples=20, **QUIET)
@given(ways=WAYS, steps=STEPS)
def test_no_shopper_gets_the_same_message_twice(ways: Any, steps: Any) -> None:
    _run(ways, steps)


@pytest.mark.proof
@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("quarter", range(4))
@settings(max_examples=500, **QUIET)
@given(ways=WAYS, steps=STEPS)
def test_the_same_of_two_thousand_histories(quarter: int, ways: Any, steps: Any) -> None:
    """In quarters, so that they are played beside each other."""
    _run(ways, steps)


def _run(ways: tuple[Any, ...], steps: list[tuple[Any, ...]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(migrated(), Path(folder) / "hub.db")
        asyncio.run(_play(Path(folder), ways, steps))


async def _play(folder: Path, names: tuple[Any, ...], steps: list[tuple[Any, ...]]) -> None:
    history = _History(folder, names)
    await history.shop.open()
    try:
        await history.answer(dict.fromkeys(range(len(BOXES)), "PENDING"))
        await history.fold()
        await history.time(700)
        for step in steps:
            await getattr(history, step[0])(*step[1:])
            await history.check()
        await history.check_end()
    finally:
        await history.shop.close()


def _order_of(box: int) -> str:
    return ORDERS[box == len(BOXES) - 1]


class Killed(BaseException):
    """Ends something where nothing catches it, as the end of its process would."""


def _kill(point: str) -> None:
    raise Killed


class _World(Way):
    """A channel and the shoppers behind it. `answers` says of each mail what becomes of it."""

    def __init__(self, name: Any, history: "_History") -> None:
        super().__init__(name)
        self.plan: list[str] = []
        self.took: Counter[str] = Counter()
        """How often shoppers (or the merchant's system) got each notification."""
        self._history = history

    async def send(self, notification: Notification, *letter: Any) -> Outcome:
        self._history.is_wanted(notification, self.name, letter[1])
        what = self.plan.pop(0) if self.plan else "sent"
        if what in ("sent", "took and unknown", "raises"):
            self.took[notification.id] += 1
            self._history.got(notification, self.name)
        if what == "raises":
            raise OSError("the line is dead")
        return {
            "sent": Outcome("sent"),
            "again": Outcome("again", "not now"),
            "out": Outcome("again", "nobody listens", is_out=True),
            "refused": Outcome("refused", "never"),
        }.get(what, Outcome("unknown", "no answer"))


class _History:
    """The steps, and what must hold after each."""

    def __init__(self, folder: Path, names: tuple[Any, ...]) -> None:
        self.ways = [_World(name, self) for name in names]
        self.shop = Shop(folder, *self.ways, per_day=3)
        self.came: list[Arrived] = []
        self.states: dict[int, str] = {}
        self.scanned: dict[int, list[dict[str, Any]]] = {box: [] for box in range(len(BOXES))}
        self.emails = dict.fromkeys(ORDERS, EMAILS[0])
        self.choices: dict[str, Choices] = {}
        self.resends: Counter[str] = Counter()
        self.asked: Counter[str] = Counter()
        """How often agents asked for it to be told again, by itself or with what it was told along with."""
        self.told: Counter[str] = Counter()
        """How often a shopper was told what a notification tells, by itself or along with another."""
        self.seen: dict[str, Notification] = {}
        self.to_webhook: set[str] = set()
        self.wrong: list[str] = []
        """What channels saw that must not be; the notifier bears everything that they raise."""

    # What comes in.

    async def come(self, arrived: Arrived) -> None:
        self.came.append(arrived)
        await self.shop.keep(arrived)

    async def event(self, type: str, box: int, ago: int) -> None:
        await self.come(event(type, self.ago(ago), BOXES[box], order=_order_of(box)))

    async def answer(self, changed: dict[int, str]) -> None:
        """The orders of these boxes, as they are now."""
        self.states |= changed
        for order in {_order_of(box) for box in changed}:
            packages = [
                package(BOXES[box], state, tracker=TRACKERS[box], items=[(f"item-{box}", "1")])
                for box, state in sorted(self.states.items())
                if _order_of(box) == order
            ]
            customer = {"contact": {"name": "A", "email": self.emails[order]}}
            await self.come(of_order(order, order_answer(self.ago(0), *packages, customer=customer)))

    async def scans(self, boxes: set[int], codes: list[tuple[str, int]], days: int, retracts: bool) -> None:
        """More scans of these boxes; `retracts`: of each the one before is not shown any more."""
        day = format_instant(Instant(self.shop.now + days * DAY))[:10]
        estimate = {} if days < 0 else {"estimatedDeliveryDate": {"earliest": day, "latest": day}}
        for box in sorted(boxes):
            known = self.scanned[box]
            del known[len(known) - (retracts and bool(known)) :]
            known += [scan(code, self.ago(when)) for code, when in codes]
            await self.come(tracker_answer(self.ago(0), TRACKERS[box], *known, **estimate))

    async def again(self, which: int) -> None:
        if self.came:
            await self.shop.keep(self.came[which % len(self.came)])

    def ago(self, minutes: int) -> str:
        return format_instant(Instant(self.shop.now - minutes * MINUTE))

    # What the hub does, and what happens to it.

    async def fold(self) -> None:
        await self.shop.projector.catch_up()

    async def crash(self) -> None:
        """The process ends between fold and commit, and another one begins."""
        try:
            await self.shop.consumer(probe=_kill).step()
        except Killed:
            await self.shop.close()
            await self.shop.open()

    async def rebuild(self, steps: int) -> None:
        """Whole, or left after some small batches for whoever folds next."""
        await forget(self.shop.store)
        some = self.shop.consumer(batch=2)
        for _ in range(steps):
            await some.step()
        if not steps:
            await some.catch_up()

    async def time(self, minutes: int) -> None:
        self.shop.step(minutes * MINUTE)

    async def send(self, minutes: int, plan: list[str]) -> None:
        """What came is folded, holds pass, and what is due is sent."""
        await self.fold()
        await self.time(minutes)
        self.plan(plan)
        await self.shop.notifier.send_due()

    async def kill(self, minutes: int, point: str, count: int, plan: list[str]) -> None:
        """The same, but the notifier's process ends there, if it comes there, and another one begins."""
        await self.fold()
        await self.time(minutes)
        left = [count]

        def probe(reached: str) -> None:
            left[0] -= reached == point
            if reached == point and not left[0]:
                raise Killed

        self.plan(plan)
        self.shop.probe = probe
        try:
            await self.shop.notifier.send_due()
        except (Killed, BaseExceptionGroup):
            await self.shop.close()
            await self.shop.open()
        finally:
            self.shop.probe = lambda reached: None

    def plan(self, plan: list[str]) -> None:
        for way in self.ways:
            way.plan = [*plan]

    # What people do.

    async def choose(self, email: str, off: tuple[str, ...], blocked: bool) -> None:
        self.choices[email] = Choices(
            off, blocked="complained" if blocked else "", changed_at=Instant(self.shop.now)
        )
        await self.shop.choose(self.choices[email], email)

    async def move(self, order: str) -> None:
        """The next answer has another address."""
        self.emails[order] = EMAILS[self.emails[order] == EMAILS[0]]

    async def resend(self, which: int) -> None:
        rows = await self.shop.notifications()
        if rows:
            row = rows[which % len(rows)]
            try:
                await self.shop.resend(row.id)
            except Conflict:
                return
            self.resends[row.id] += 1
            self.asked.update((row.id, *row.covers))

    # What must hold.

    def is_wanted(self, notification: Notification, channel: str, address: str) -> None:
        choices = self.choices.get(address, Choices())
        if choices.blocked or not choices.wants(notification.kind, channel):
            self.wrong.append(f"{notification.kind} was sent to somebody who does not want it")

    def got(self, notification: Notification, channel: str) -> None:
        """A shopper was told this, and what it covers. A webhook's receiver tells copies by their id."""
        if channel == "webhook" and not self.resends[notification.id]:
            if notification.id in self.to_webhook:
                return
            self.to_webhook.add(notification.id)
        for told in (notification.id, *notification.covers):
            self.told[told] += 1
            if self.told[told] > 1 + self.asked[told] and (
                channel != "webhook" or not self.resends[notification.id]
            ):
                self.wrong.append(f"{notification.kind} was told twice")

    async def check(self) -> None:
        assert not self.wrong
        rows = {n.id: n for n in await self.shop.notifications()}
        assert self.seen.keys() <= rows.keys(), "none goes"
        for row in rows.values():
            before = self.seen.get(row.id)
            assert before is None or before.history[0] == row.history[0], "it is the same one, for life"
            for one, other in pairwise(row.history):
                final = one.state in ("SENT", "FAILED", "UNCERTAIN", "SUPPRESSED")
                assert not final or other.by == "key-1", "what is settled is taken up by agents only"
            if row.state == "SUPPRESSED":
                assert row.rule, "every suppressed one has its rule"
                assert row.reason
            if row.state == "SENT":
                assert self.told[row.id], "what is sent was taken"
            if row.state == "FAILED" and row.channel == "email" and not self.resends[row.id]:
                assert not self.told[row.id], "what failed was not taken"
        self.seen = rows

    async def check_end(self) -> None:
        """Everything settles, a delivery is told to have arrived once, and views are what a rebuild gives."""
        await self.fold()
        self.plan([])
        for pause in (*(31, 61, 125) * 3, LEASE // MINUTE, 1_500, 1_500, 3_000, 3_000):
            self.shop.step(pause * MINUTE)
            await self.shop.notifier.send_due()
            await self.check()
        states = Counter(row.state for row in self.seen.values())
        assert not states["SENDING"]
        assert not states["WAITING"]
        arrivals: Counter[str] = Counter()
        for row in self.seen.values():
            if not self.resends[row.id] and row.kind in ("delivered", "correction") and self.told[row.id]:
                arrivals[f"{row.order_id} {row.delivery_id}"] += 1 if row.kind == "delivered" else -1
        assert all(count <= 1 for count in arrivals.values()), "told to have arrived twice"
        live = await dump(self.shop.store)
        await self.rebuild(0)
        assert await dump(self.shop.store) == live
        assert {n.id: n for n in await self.shop.notifications()} == self.seen, "a rebuild tells nothing"
