"""Retention in worlds drawn at random: whatever came in whichever order, at whatever time, what is removed is exactly
what the rule says of groups that were found in the plainest way, whole; nothing else is lost, nothing of it is left
in any table, a rebuild equals live, the books add up, and a second run finds nothing to do."""

import asyncio
import sqlite3
import tempfile
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.domain.history import (
    CANCELLED,
    DELIVERED,
    MILESTONE,
    SHIPPED,
    Arrived,
    event,
    order_answer,
    package,
    scan,
    tracker_answer,
)
from tests.unit.pipeline.projecting import of_order
from tests.unit.pipeline.retaining import DAYS, Place

from milepost.domain.condition import Policy
from milepost.domain.instant import Instant, format_instant
from milepost.domain.record import Record, beside_facts, order_subject, subjects_of, tracker_subject
from milepost.domain.retention import Group, kept_because, returns_under_way
from milepost.pipeline.hydrator import NAME as HYDRATOR
from milepost.pipeline.projector import NAME as PROJECTOR
from milepost.store import Transaction, View

ORDERS = tuple(f"322-order-{letter}" for letter in "abcd")
TRACKERS = tuple(("ups", f"1Z-number-{letter}") for letter in "abc")
BOXES = tuple(f"box-of-parcel-{letter}" for letter in "abcde")

ORDER, BOX, TRACKER = st.sampled_from(ORDERS), st.sampled_from(BOXES), st.sampled_from(TRACKERS)
STEP = st.one_of(
    st.tuples(st.just("event"), st.sampled_from([SHIPPED, DELIVERED, DELIVERED, CANCELLED]), ORDER, BOX),
    st.tuples(
        st.just("answer"),
        ORDER,
        st.lists(
            st.tuples(
                BOX,
                st.sampled_from(["PENDING", "IN_TRANSIT", "DELIVERED", "DELIVERED", "CANCELLED"]),
                st.none() | TRACKER,
            ),
            max_size=2,
        ),
    ),
    st.tuples(st.just("milestone"), TRACKER),
    st.tuples(
        st.just("scans"),
        TRACKER,
        st.lists(
            st.sampled_from(["IN_TRANSIT", "DELIVERED", "DELIVERED", "RETURN_TO_SENDER"]),
            min_size=1,
            max_size=2,
        ),
    ),
    st.tuples(st.just("return"), ORDER, st.sampled_from(["RETURN_STARTED", "RETURN_COMPLETED"])),
    st.tuples(st.just("again"), st.integers(0, 9), st.booleans()),
    st.tuples(st.just("reuse"), st.integers(0, 9), ORDER),
    st.tuples(st.just("unrelated")),
    st.tuples(st.just("later"), st.sampled_from([0.01, 1, 30, 70, 130])),
    st.tuples(st.just("later"), st.sampled_from([130, 200])),
    st.tuples(st.just("settle"), st.sampled_from([True, True, True, False])),
    st.tuples(st.just("retain"), st.booleans()),
)


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
@given(steps=st.lists(STEP, min_size=6, max_size=30), end=st.sampled_from([0, 130, 130, 300]))
def test_what_is_over_goes_whole_and_nothing_else(steps: list[tuple[Any, ...]], end: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_play(Path(folder), steps, end))


async def _play(folder: Path, steps: list[tuple[Any, ...]], end: int) -> None:
    world = _World(await Place(folder).open())
    try:
        for step in steps:
            await getattr(world, step[0])(*step[1:])
        await world.settle(True)
        world.place.later(end)
        await world.settle(True)
        await world.unrelated()
        await world.settle(True)
        await world.retain(True)
    finally:
        await world.place.close()


class _World:
    """The steps, and what is checked after each removal."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.sent: list[Arrived] = []
        self.number = 0

    def now(self) -> str:
        return format_instant(self.place.now)

    def new_id(self) -> str:
        self.number += 1
        return f"event-no-{self.number:04}-"

    def new(self, type: str, box: str | None = None, **more: Any) -> Arrived:
        """An event with ids of its own."""
        key = more.pop("key", f"key-no-{self.number:04}-")
        return event(type, self.now(), box, id=self.new_id(), key=key, **more)

    async def send(self, arrived: Arrived) -> None:
        self.sent.append(arrived)
        await self.place.come(arrived)
        self.place.later(0.001)

    async def event(self, type: str, order: str, box: str) -> None:
        await self.send(self.new(type, box, order=order))

    async def answer(self, order: str, shown: list[tuple[str, str, tuple[str, str] | None]]) -> None:
        packages = [
            package(box, state, tracker=tracker) for box, state, tracker in {s[0]: s for s in shown}.values()
        ]
        await self.place.come(of_order(order, order_answer(self.now(), *packages)))

    async def milestone(self, tracker: tuple[str, str]) -> None:
        await self.send(self.new(MILESTONE, tracker=tracker))

    async def scans(self, tracker: tuple[str, str], codes: list[str]) -> None:
        scanned = [
            scan(code, format_instant(Instant(self.place.now - 1_000 + i))) for i, code in enumerate(codes)
        ]
        await self.place.come(tracker_answer(self.now(), tracker, *scanned))

    async def again(self, which: int, differing: bool) -> None:
        """An event once more, maybe with other data."""
        if self.sent:
            arrived = self.sent[which % len(self.sent)]
            if differing:
                body = {**msgspec.json.decode(arrived.body), "data": {"note": self.number % 3}}
                arrived = msgspec.structs.replace(arrived, body=msgspec.json.encode(body))
            await self.place.come(arrived)

    async def reuse(self, which: int, order: str) -> None:
        """Another event with the key of an earlier one."""
        if self.sent:
            key = msgspec.json.decode(self.sent[which % len(self.sent)].body)["idempotencyKey"]
            await self.send(self.new(DELIVERED, BOXES[0], order=order, key=key))

    async def unrelated(self) -> None:
        await self.send(self.new("BUYABILITY_CHANGED", order=None, path="items/item-1"))

    async def later(self, days: float) -> None:
        self.place.later(days)

    async def settle(self, answered: bool) -> None:
        await self.place.settle(answered=answered)

    def __getattr__(self, name: str) -> Any:
        return {"return": self.returned}[name]

    async def returned(self, order: str, type: str) -> None:
        path = f"return/return-of-{order}"
        await self.send(self.new(type, order=order, path=path))

    async def retain(self, by_hand: bool) -> None:
        """Remove, and hold what is gone against what should be."""
        before = await self.place.store.read(lambda tx: tx.journal.after(0, 10_000))
        expected = await self.place.store.read(lambda tx: _removable(tx, self.place, before))
        counted = await self.place.counts()
        plan = await self.place.retention.plan()
        if by_hand:
            removed = (await self.place.retention.remove()).removed
        else:
            removed = await self.place.retention.look()
        left = await self.place.positions()
        gone = {record.position for record in before} - set(left)
        assert set(left) == {record.position for record in before} - gone
        assert gone == expected if by_hand else gone <= expected
        assert removed.records == len(gone)
        if by_hand and not counted.pending:
            assert plan.removable == removed
        ids = set().union(*(_names(record) for record in before if record.position in gone))
        kept = set().union(*(_names(record) for record in before if record.position not in gone), set())
        rows = self.place.rows_with(*(ids - kept))
        assert {table for table, _ in rows} <= {"captures"}, "the ledger stays, nothing else"
        assert {name for name in ids & kept if not name.startswith("key-")} == set()
        after = await self.place.counts()
        assert after.removed == counted.removed + len(gone)
        assert msgspec.structs.replace(after, removed=counted.removed) == counted
        assert after.arrivals == after.events + after.duplicates + after.quarantined
        assert len(left) == after.records - after.removed
        assert await self.place.differences() == []
        if by_hand:
            assert (await self.place.retention.remove()).removed.records == 0


def _names(record: Record) -> set[str]:
    """Everything in a record that says what it is about."""
    body = record.body.decode()
    found = {name for name in (*ORDERS, *BOXES, *(number for _, number in TRACKERS)) if name in body}
    if record.kind in ("event", "conflict"):
        found |= {record.event().event_id, record.event().idempotency_key}
    return found


def _removable(tx: Transaction, place: Place, records: list[Record]) -> set[int]:
    """The positions that should go, from a look at everything."""
    projected = tx.journal.checkpoint(PROJECTOR)
    passed = min(projected, tx.journal.checkpoint(HYDRATOR), records[-1].position - 1 if records else 0)
    tied: list[tuple[set[str], set[int]]] = []
    views = {v.kind + "/" + v.id: v for kind in ("order", "tracker", "delivery") for v in _all(tx, kind)}
    documents = {name: msgspec.json.decode(view.document) for name, view in views.items()}
    ties: list[tuple[set[str], set[int]]] = [(_about(r), {r.position}) for r in records]
    for name, document in documents.items():
        if name.startswith("order/"):
            shown = {f"shown/{d['id']}" for d in document["deliveries"]}
            ties.append(
                ({name, *shown, *(_tracker(t) for d in document["deliveries"] for t in d["trackers"])}, set())
            )
        elif name.startswith("tracker/"):
            ties.append(({name, *(order_subject(o["orderId"]) for o in document["orders"])}, set()))
    with closing(sqlite3.connect(place.path)) as connection:
        notes = connection.execute("SELECT delivery_id, order_id FROM shared_deliveries").fetchall()
    ties += [({f"shown/{delivery}", order_subject(order)}, set()) for delivery, order in notes]
    for subjects, positions in ties:
        if subjects:
            joined = [group for group in tied if group[0] & subjects]
            tied = [group for group in tied if not group[0] & subjects]
            tied.append((subjects.union(*(g[0] for g in joined)), positions.union(*(g[1] for g in joined))))
    by_position = {record.position: record for record in records}
    arrivals = tx.journal.arrivals(list(by_position))
    open_asks = {a.target for a in tx.work.page(None, 500, None, "open")}
    found: set[int] = set()
    for subjects, positions in tied:
        if not positions or max(positions) > passed or subjects & open_asks:
            continue
        mine = [by_position[p] for p in positions]
        boxes = {
            d["id"]
            for s in subjects
            if s.startswith("order/") and s in documents
            for d in documents[s]["deliveries"]
        }
        viewed = [views[s] for s in (*subjects, *(f"delivery/{b}" for b in boxes)) if s in views]
        times = [r.received_at for r in mine] + [a.received_at for p in positions for a in arrivals[p]]
        group = Group(
            [documents[s] for s in subjects if s.startswith("order/") and s in documents],
            [documents[s] for s in subjects if s.startswith("tracker/") and s in documents],
            max(times),
            any(view.check_at is not None for view in viewed),
            bool(returns_under_way(mine)),
        )
        if kept_because(group, place.now, DAYS, Policy()) is None:
            found |= positions
    return found


def _about(record: Record) -> set[str]:
    about = (beside_facts(s) or s for s in subjects_of(record))
    return {s for s in about if s.startswith(("order/", "tracker/", "delivery/"))}


def _tracker(shown: dict[str, Any]) -> str:
    return tracker_subject(shown["carrierCode"], shown["trackingNumber"])


def _all(tx: Transaction, kind: Any) -> Iterable[View]:
    return [view for _, view in tx.views.page(kind, None, 1_000, None)]
