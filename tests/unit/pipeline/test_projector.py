"""The projector over a real store: joins, adoption, views removed, flags, poison, and one result for any batches."""

from collections.abc import AsyncIterator, Sequence
from itertools import count
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.postgres import Postgres
from tests.unit.domain.history import (
    BOX,
    BP,
    DELIVERED,
    MILESTONE,
    ORDER,
    SECOND_BOX,
    SHIPPED,
    UPS,
    USPS,
    Arrived,
    condition,
    correction,
    event,
    order_answer,
    order_object,
    package,
    scan,
    tracker_answer,
    withdrawal,
)
from tests.unit.pipeline.projecting import (
    clock,
    document,
    dump,
    forget,
    handler,
    journal,
    keep,
    of_order,
    project,
    view,
)

from milepost import sql
from milepost.domain.envelope import parse_event
from milepost.domain.instant import parse_instant
from milepost.domain.record import Record
from milepost.pipeline.consumer import Consumer, Effects, Prepare
from milepost.pipeline.loaded import load_order, load_tracker
from milepost.pipeline.projector import CONFLICT, KEY_REUSE, NAME
from milepost.store import Store

UPS_VIEW = f"ups/{UPS[1]}"
OTHER = "322-86T6-8X4JBH"

JOIN = order_answer("2025-03-02T00:00:00Z", package(BOX, "IN_TRANSIT", tracker=UPS, items=[("item", "1")]))
SCANNED = tracker_answer("2025-03-03T00:00:00Z", UPS, scan("IN_TRANSIT", "2025-03-02T12:00:00Z"))

HISTORY = (
    event(SHIPPED, "2025-03-01T10:00:00Z"),
    event("ITEM_IN_TRANSIT", "2025-03-01T10:00:05Z", id="legacy"),
    order_answer(
        "2025-03-01T11:00:00Z",
        package(BOX, "IN_TRANSIT", tracker=UPS, items=[("item", "1")]),
        package(SECOND_BOX, "PENDING"),
    ),
    order_answer("2025-03-02T11:00:00Z", package(BOX, "IN_TRANSIT", tracker=UPS, items=[("item", "2")])),
    event(MILESTONE, "2025-03-02T12:00:00Z", tracker=UPS),
    tracker_answer("2025-03-02T12:01:00Z", UPS, scan("IN_TRANSIT", "2025-03-02T12:00:00Z")),
    condition("STALLED", True, "2025-03-05T00:00:00Z", subject=f"tracker/{UPS_VIEW}"),
    event(DELIVERED, "2025-03-06T10:00:00Z", key="reused"),
    event(
        DELIVERED,
        "2025-03-06T10:00:00Z",
        key="reused",
        data={"order": order_object(package(BOX, "DELIVERED", tracker=USPS))},
    ),
    event(MILESTONE, "2025-03-06T09:00:00Z", tracker=USPS, key="reused"),
    tracker_answer(
        "2025-03-06T11:00:00Z",
        UPS,
        scan("IN_TRANSIT", "2025-03-02T12:00:00Z"),
        scan("DELIVERED", "2025-03-06T09:30:00Z"),
    ),
    of_order(OTHER, order_answer("2025-03-06T12:00:00Z", package("other-box", "IN_TRANSIT", tracker=USPS))),
)


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    opened = await sql.open_store(database_url, clock=clock, owner="test")
    yield opened
    await opened.close()


# ── Joins ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_scan_reaches_tracker_delivery_and_order(store: Store) -> None:
    await keep(store, event(SHIPPED, "2025-03-01T10:00:00Z"), JOIN)
    await project(store)
    await keep(store, SCANNED)
    scanned = await store.read(lambda tx: tx.journal.last_position())
    await project(store)
    assert (await document(store, "tracker", UPS_VIEW))["stage"] == "IN_TRANSIT"
    delivery = await document(store, "delivery", BOX)
    assert delivery["shippedAt"] == "2025-03-02T12:00:00Z"
    assert (await document(store, "order", ORDER))["deliveries"] == [delivery]
    assert delivery["position"] == scanned


async def test_scenario_08_an_orphan_is_adopted_when_an_answer_names_its_tracker(store: Store) -> None:
    await keep(store, event(MILESTONE, "2025-03-02T12:00:00Z", tracker=UPS), SCANNED)
    await project(store)
    orphan = await document(store, "tracker", UPS_VIEW)
    assert (orphan["orphan"], orphan["orders"]) == (True, [])
    assert await view(store, "order", ORDER) is None
    await keep(store, JOIN)
    await project(store)
    adopted = await document(store, "tracker", UPS_VIEW)
    assert (adopted["orphan"], adopted["orders"]) == (False, [{"orderId": ORDER, "deliveryId": BOX}])
    assert (await document(store, "delivery", BOX))["shippedAt"] == "2025-03-02T12:00:00Z"


async def test_an_event_of_two_orders_joins_its_tracker_to_the_order_of_its_data(store: Store) -> None:
    """The tracker hangs on the second order; a scan in a later batch must reach that one."""
    both = [f"businessProduct/{BP}/order/{o}/delivery/box-{o}" for o in ("order-1", "order-2")]
    shown = {**order_object(package("box-order-2", "DELIVERED", tracker=UPS)), "id": "order-2"}
    made = msgspec.json.decode(event(DELIVERED, "2025-03-06T10:00:00Z").body)
    body = msgspec.json.encode({**made, "resources": both, "data": {"order": shown}})
    two_orders = Arrived("event", DELIVERED, parse_event(body).published_at, body)
    await keep(store, two_orders)
    await project(store)
    await keep(store, SCANNED)
    await project(store)
    joined = await document(store, "delivery", "box-order-2")
    assert joined["shippedAt"] == "2025-03-02T12:00:00Z"
    other = await document(store, "delivery", "box-order-1")
    assert (other["shippedAt"], other["trackers"]) == (None, [])
    live = await dump(store)
    await forget(store)
    await project(store)
    assert await dump(store) == live


async def test_an_order_that_only_a_trackers_data_names_has_no_view(store: Store) -> None:
    elsewhere = {**order_object(package("box", "IN_TRANSIT", tracker=UPS)), "id": "order-2"}
    await keep(
        store, event(MILESTONE, "2025-03-02T12:00:00Z", tracker=UPS, order=None, data={"order": elsewhere})
    )
    await project(store)
    assert await view(store, "order", "order-2") is None
    assert await view(store, "tracker", UPS_VIEW) is not None


# ── Views that go ──────────────────────────────────────────────────────────────────────────────────────────


async def test_a_superseded_deliverys_view_is_removed_with_its_search_terms(store: Store) -> None:
    await keep(store, order_answer("2025-03-01T00:00:00Z", package(BOX), package(SECOND_BOX)))
    await project(store)
    assert await view(store, "delivery", SECOND_BOX) is not None
    await keep(store, order_answer("2025-03-02T00:00:00Z", package(BOX)))
    await project(store)
    assert await view(store, "delivery", SECOND_BOX) is None
    assert await store.read(lambda tx: tx.views.search(SECOND_BOX, 10, None)) == []
    assert await view(store, "delivery", BOX) is not None


@pytest.mark.parametrize("first", ["order-1", "order-2"])
async def test_a_delivery_that_two_orders_show_is_the_lower_ones_whoever_was_folded_last(
    store: Store, first: str
) -> None:
    second = "order-2" if first == "order-1" else "order-1"
    for number, order_id in enumerate((first, second, "order-2")):
        await keep(store, event(SHIPPED, f"2025-03-01T10:00:0{number}Z", "shared-box", order=order_id))
        await project(store)
    live = await dump(store)
    assert (await document(store, "delivery", "shared-box"))["orderId"] == "order-1"
    await forget(store)
    await project(store)
    assert await dump(store) == live


async def test_an_order_does_not_remove_the_delivery_that_another_order_shows(store: Store) -> None:
    await keep(store, event(DELIVERED, "2025-03-01T10:00:00Z", "shared-box", order="order-1"))
    await project(store)
    await keep(store, of_order("order-2", order_answer("2025-03-01T00:00:00Z", package("shared-box"))))
    await keep(store, of_order("order-2", order_answer("2025-03-02T00:00:00Z", package("its-own-box"))))
    await project(store)
    assert (await document(store, "delivery", "shared-box"))["state"] == "DELIVERED"
    live = await dump(store)
    await forget(store)
    await project(store)
    assert await dump(store) == live


# ── Flags ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_every_record_of_a_reused_key_is_flagged(store: Store) -> None:
    await keep(
        store,
        event(SHIPPED, "2025-03-01T10:00:00Z", key="one-key"),
        event(DELIVERED, "2025-03-02T10:00:00Z", key="one-key"),
    )
    await project(store, batch=1)
    third = 1 + await store.read(lambda tx: tx.journal.last_position())
    await keep(store, event(SHIPPED, "2025-03-03T10:00:00Z", SECOND_BOX, key="one-key"))
    await keep(store, event(SHIPPED, "2025-03-03T10:00:00Z", "another-box", key="its-own-key"))
    await project(store)
    flags = await store.read(lambda tx: tx.views.flags([1, 2, third, third + 1]))
    assert flags == {1: (KEY_REUSE,), 2: (KEY_REUSE,), third: (KEY_REUSE,)}


async def test_the_original_of_a_conflict_is_flagged_and_both_are_folded(store: Store) -> None:
    told = {"order": order_object(package(BOX, "DELIVERED", tracker=UPS))}
    await keep(store, event(DELIVERED, "2025-03-02T10:00:00Z", id="one"))
    await project(store)
    conflict = 1 + await store.read(lambda tx: tx.journal.last_position())
    await keep(store, event(DELIVERED, "2025-03-02T10:00:00Z", id="one", data=told))
    await project(store)
    assert await store.read(lambda tx: tx.views.flags([1, conflict])) == {1: (CONFLICT,)}
    delivery = await document(store, "delivery", BOX)
    assert delivery["position"] == conflict
    assert [t["trackingNumber"] for t in delivery["trackers"]] == [UPS[1]]  # type: ignore[attr-defined]


# ── Poison ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("body", [b'{"about":["order/322-43Q4-R3S5J8"]}', b"not JSON"])
async def test_a_poison_fact_is_listed_and_the_rest_is_folded(store: Store, body: bytes) -> None:
    await keep(store, event(SHIPPED, "2025-03-01T10:00:00Z"))
    poison = await journal(store, "condition", "LATE", body)
    await keep(store, event(DELIVERED, "2025-03-02T10:00:00Z"))
    await project(store)
    failures = await store.read(lambda tx: tx.views.failures(0, 10, None))
    assert [(f.consumer, f.position, f.business_product_id) for f in failures] == [(NAME, poison, BP)]
    assert (await document(store, "delivery", BOX))["state"] == "DELIVERED"
    counts = await store.read(lambda tx: tx.journal.counts(NAME))
    assert (counts.folded, counts.pending, counts.failed_folds) == (counts.records, 0, 1)
    records = await store.read(lambda tx: tx.journal.after(0, 100))
    assert len([record for record in records if record.kind != "intent"]) == 3
    loaded = await store.read(lambda tx: load_order(tx, BP, ORDER))
    assert loaded is not None
    assert loaded.order.state == "DELIVERED"


# ── Batches ────────────────────────────────────────────────────────────────────────────────────────────────

_NUMBERS = count()


TOLD = (
    correction("IN_TRANSIT", "2025-03-07T10:00:00Z"),
    correction("LOST", "2025-03-05T10:00:00Z", f"tracker/{UPS_VIEW}"),
)
"""What agents know better: of the first box, and for a while of its tracker."""
TURNS = given(
    history=st.permutations([*HISTORY, *HISTORY[:3], *TOLD, withdrawal(TOLD[1], "2025-03-07T12:00:00Z")]),
    steps=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    size=st.integers(1, 9),
)
"""What arrives in which order, how much of it before each look of the projector, and how much that takes at once."""
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@settings(UNHURRIED, max_examples=12)
@TURNS
async def test_batches_and_rebuilds_of_any_size_give_one_dump(
    tmp_path: Path, history: list[Arrived], steps: list[int], size: int
) -> None:
    await check_batches_and_rebuilds(f"sqlite:///{tmp_path}/{next(_NUMBERS)}.db", history, steps, size)


@settings(UNHURRIED, max_examples=4)
@TURNS
async def test_batches_and_rebuilds_of_any_size_give_one_dump_on_postgresql(
    postgres: Postgres, postgres_template: str, history: list[Arrived], steps: list[int], size: int
) -> None:
    name = f"batches_{next(_NUMBERS)}"
    await check_batches_and_rebuilds(await postgres.create(name, postgres_template), history, steps, size)


async def check_batches_and_rebuilds(url: str, history: list[Arrived], steps: list[int], size: int) -> None:
    """Live: journalled and projected in turns. Rebuilt: all at once, one by one, and in batches of `size`."""
    store = await sql.open_store(url, clock=clock, owner="test")
    try:
        left, turn = list(history), 0
        while left:
            taken = steps[turn % len(steps)]
            await keep(store, *left[:taken])
            left, turn = left[taken:], turn + 1
            await project(store, size)
        live = await dump(store)
        assert any(row[0] == "view" for row in live)
        for batch in (500, 1, size):
            await forget(store)
            await project(store, batch)
            assert await dump(store) == live, f"batches of {batch}"
    finally:
        await store.close()


async def test_a_checkpoint_never_goes_back(store: Store) -> None:
    """Two loops over one checkpoint: the slower one's older batch is not written over newer views."""
    await keep(store, event(SHIPPED, "2025-03-01T10:00:00Z"))

    slow = Consumer(store, NAME, _slow(store), clock)
    await slow.step()
    records = await store.read(lambda tx: tx.journal.after(0, 100))
    assert [record.kind for record in records].count("intent") == len(records) - 2
    assert await store.read(lambda tx: tx.journal.checkpoint(NAME)) == records[-1].position
    assert (await document(store, "delivery", BOX))["state"] == "DELIVERED"


def _slow(store: Store) -> Prepare:
    """A projector that is overtaken between preparing and committing."""

    async def prepare(records: Sequence[Record]) -> Effects:
        effects = await handler(store)(records)
        await keep(store, event(DELIVERED, "2025-03-02T10:00:00Z"))
        await project(store)
        return effects

    return prepare


# ── As of a time ───────────────────────────────────────────────────────────────────────────────────────────


async def test_an_order_as_of_a_time_is_folded_from_what_had_been_received(store: Store) -> None:
    await keep(store, event(SHIPPED, "2025-03-01T10:00:00Z"), JOIN, SCANNED)
    await keep(store, event(DELIVERED, "2025-03-06T10:00:00Z"))
    await project(store)

    async def state(at: str) -> tuple[str, list[str]] | None:
        instant = parse_instant(at)
        loaded = await store.read(lambda tx: load_order(tx, BP, ORDER, as_of=instant))
        return loaded and (loaded.order.state, [t.stage for t in loaded.trackers.values()])

    assert await state("2025-02-28T23:59:59Z") is None
    assert await state("2025-03-01T00:00:00Z") == ("IN_TRANSIT", [])
    assert await state("2025-03-01T00:00:01Z") == ("IN_TRANSIT", ["UNKNOWN"])
    assert await state("2025-03-01T00:00:02Z") == ("IN_TRANSIT", ["IN_TRANSIT"])
    assert await state("2025-03-01T00:00:03Z") == ("DELIVERED", ["IN_TRANSIT"])


async def test_what_is_loaded_now_is_what_was_projected(store: Store) -> None:
    await keep(store, *HISTORY)
    await project(store, batch=4)
    order = await store.read(lambda tx: load_order(tx, BP, ORDER))
    tracker = await store.read(lambda tx: load_tracker(tx, BP, "UPS", UPS[1]))
    assert order is not None
    assert tracker is not None
    assert order.order.document == await document(store, "order", ORDER)
    assert tracker.tracker.document == await document(store, "tracker", UPS_VIEW)
    assert await store.read(lambda tx: load_order(tx, "another-product", ORDER)) is None
    assert await store.read(lambda tx: load_tracker(tx, "another-product", *UPS)) is None
