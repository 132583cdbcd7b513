"""The books in histories drawn at random: facts in any order and again, folds that crash, rebuilds that are broken
off, days that pass, rows that settle, months that are closed. After every row the signs of each delivery and kind sum
to 0 or 1, no row ever changes, nothing is posted to a closed month, and the same facts in another order end in the
same net rows."""

import asyncio
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.domain.history import (
    BP,
    CANCELLED,
    DELIVERED,
    SHIPPED,
    Arrived,
    condition,
    event,
    order_answer,
    package,
    scan,
    tracker_answer,
)
from tests.unit.pipeline.bookkeeping import Killed, World, net, stated
from tests.unit.pipeline.projecting import forget, keep_together, migrated, of_order

from milepost.domain.accounting import Entry
from milepost.domain.errors import Conflict
from milepost.domain.instant import HOUR, Instant, format_instant, parse_instant
from milepost.domain.record import delivery_subject
from milepost.pipeline.consumer import Consumer
from milepost.pipeline.projector import NAME

ORDERS = ("322-order-a", "322-order-b")
BOXES = ("box-a", "box-b", "box-c")
TRACKERS = tuple(("ups", f"1Z-{box}") for box in BOXES)
FROM = parse_instant("2025-01-29T00:00:00Z")
MONTHS = ("2025-01", "2025-02", "2025-03")

ORDER, BOX, AT = st.sampled_from(ORDERS), st.integers(0, 2), st.integers(0, 400)
STATE = st.sampled_from(["PENDING", "IN_TRANSIT", "DELIVERED", "CANCELLED"])
CODE = st.sampled_from(
    ["INFO_RECEIVED", "IN_TRANSIT", "OUT_FOR_DELIVERY", "DELIVERED", "DELIVERED", "RETURN_TO_SENDER"]
)
FORM = st.sampled_from(["utc", "utc", "offset", "date", "naive"])
PLACE = st.sampled_from(["CA", "NY", "HI", None])
FACT = st.one_of(
    st.tuples(st.just("event"), st.sampled_from([SHIPPED, DELIVERED, CANCELLED]), ORDER, BOX, AT),
    st.tuples(
        st.just("answer"), ORDER, st.lists(st.tuples(BOX, STATE, st.booleans()), min_size=1, max_size=2), AT
    ),
    st.tuples(st.just("scans"), BOX, st.lists(st.tuples(CODE, AT, FORM, PLACE), min_size=1, max_size=4), AT),
    st.tuples(st.just("doubt"), BOX, st.booleans(), AT),
)
STEP = st.one_of(
    FACT,
    FACT,
    FACT,
    st.tuples(st.just("again"), st.integers(0, 20)),
    st.tuples(st.just("fold")),
    st.tuples(st.just("fold")),
    st.tuples(st.just("crash")),
    st.tuples(st.just("rebuild"), st.integers(0, 3)),
    st.tuples(st.just("close"), st.sampled_from(MONTHS)),
    st.tuples(st.just("settle"), st.sampled_from([1, 4, 8])),
)
STEPS = st.lists(STEP, min_size=8, max_size=30)
QUIET: dict[str, Any] = {"deadline": None, "suppress_health_check": list(HealthCheck), "print_blob": True}


@settings(max_examples=20, **QUIET)
@given(steps=STEPS, shuffle=st.randoms(use_true_random=False))
def test_the_signs_sum_to_0_or_1_and_the_same_facts_end_in_the_same_rows(steps: Any, shuffle: Any) -> None:
    _run(steps, shuffle)


@pytest.mark.proof
@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("quarter", range(4))
@settings(max_examples=500, **QUIET)
@given(steps=STEPS, shuffle=st.randoms(use_true_random=False))
def test_the_same_of_two_thousand_histories(quarter: int, steps: Any, shuffle: Any) -> None:
    """In quarters, so that they are played beside each other."""
    _run(steps, shuffle)


def _run(steps: list[tuple[Any, ...]], shuffle: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        live, other = Path(folder) / "live.db", Path(folder) / "other.db"
        for path in (live, other):
            shutil.copy(migrated(), path)
        asyncio.run(_play(f"sqlite:///{live}", f"sqlite:///{other}", steps, shuffle))


async def _play(live: str, other: str, steps: list[tuple[Any, ...]], shuffle: Any) -> None:
    history = _History(await World(live).open())
    try:
        for step in (*steps, ("fold",), ("rebuild", 0)):
            if step[0] not in ("event", "answer", "scans", "doubt", "again"):
                await history.arrive()
            await history.do(*step)
        rows = await history.world.entries()
    finally:
        await history.world.close()
    shuffle.shuffle(history.came)
    assert net(rows, stated) == await _net_of(history.came, other)


async def _net_of(came: list[Arrived], url: str) -> object:
    """What stands when these come in this order, and nothing else happens."""
    control = _History(await World(url).open())
    try:
        control.coming = list(came)
        await control.arrive()
        await control.world.projector.catch_up()
        return net(await control.world.entries(), stated)
    finally:
        await control.world.close()


class _History:
    """The steps, and what must hold after each."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.came: list[Arrived] = []
        self.coming: list[Arrived] = []
        self.seen: list[Entry] = []
        self.closed: dict[str, list[Entry]] = {}

    async def do(self, step: str, *arguments: Any) -> None:
        done = getattr(self, step)(*arguments)
        if done is not None:
            await done
            await self.check()

    # What comes in.

    async def arrive(self) -> None:
        """Facts arrive together, before anything is done: each commit takes its time."""
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

    def scans(self, box: int, codes: list[tuple[str, int, str, str | None]], at: int) -> None:
        shown = [
            scan(code, _written(when, form))
            | {"address": {"locality": place or "", "region": place, "country": "US"}}
            for code, when, form, place in codes
        ]
        self.come(tracker_answer(_at(at), TRACKERS[box], *shown))

    def doubt(self, box: int, raised: bool, at: int) -> None:
        subject = delivery_subject(BOXES[box])
        self.come(condition("CONTRADICTION", raised, _at(at), subject, kind="delivered_without_tracker"))

    def again(self, which: int) -> None:
        if self.came:
            self.coming.append(self.came[which % len(self.came)])

    # What the hub does, what happens to it, and what people do.

    async def fold(self) -> None:
        await self.world.projector.catch_up()

    async def crash(self) -> None:
        """The process ends between fold and commit, and another one begins."""
        with suppress(Killed):
            await self.world.dying().step()
        await self.world.close()
        await self.world.open()

    async def rebuild(self, steps: int) -> None:
        """Whole, or left after some small batches for whoever folds next."""
        await forget(self.world.store)
        some = Consumer(self.world.store, NAME, self.world.folding(), self.world.clock, batch=2)
        for _ in range(steps):
            await some.step()
        if not steps:
            await some.catch_up()

    async def close(self, month: str) -> None:
        with suppress(Conflict):
            await self.world.close_month(month)
            self.closed.setdefault(month, [e for e in self.seen if e.posting_period == month])

    async def settle(self, days: int) -> None:
        self.world.step(days)
        await self.world.accountant.settle()

    # What must hold.

    async def check(self) -> None:
        entries = await self.world.entries()
        assert entries[: len(self.seen)] == self.seen, "a row changed"
        assert len({entry.id for entry in entries}) == len(entries)
        net(entries, stated)
        for month, rows in self.closed.items():
            assert [e for e in entries if e.posting_period == month] == rows, "posted to a closed month"
        assert all(e.business_product_id == BP and e.posting_period >= min(MONTHS) for e in entries)
        self.seen = entries


def _at(hours: int) -> str:
    return format_instant(Instant(FROM + hours * HOUR // 2))


def _written(hours: int, form: str) -> str:
    text = _at(hours)
    return {"utc": text, "offset": text[:-1] + "-08:00", "date": text[:10], "naive": text[:-1]}[form]
