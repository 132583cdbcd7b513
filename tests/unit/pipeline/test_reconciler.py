"""The reconciler with a real store, projector and hydrator, an API that the tests answer for, and a stepped clock."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from milepost.domain.condition import Policy
from milepost.domain.envelope import parse_event
from milepost.domain.errors import UpstreamNotFound, UpstreamUnavailable
from milepost.domain.hydration import REST
from milepost.domain.instant import DAY, HOUR, MINUTE, Instant, format_instant, parse_instant
from milepost.domain.record import Snapshot
from milepost.pipeline import hydrator as hydration
from milepost.pipeline import projector
from milepost.pipeline.consumer import Consumer
from milepost.pipeline.hydrator import Hydrator
from milepost.pipeline.projector import Projector
from milepost.pipeline.reconciler import NAME, PAGE, Reconciler
from milepost.sql import open_store
from milepost.store import Arrival, Ask, NewRecord, Store

POLICY = Policy()
START = parse_instant("2025-01-20T12:00:00Z")
SHIPPED, DELIVERED = "PACKAGE_DELIVERY_IN_TRANSIT", "PACKAGE_DELIVERED"
Document = dict[str, Any]


class Api:
    """What Buy with Prime would answer; `asked` is what it was asked, in order."""

    def __init__(self) -> None:
        self.orders: dict[str, Document] = {}
        self.trackers: dict[str, Document] = {}
        self.asked: list[str] = []
        self.error: Exception | None = None

    async def order(self, order_id: str, business_product_id: str) -> Document | None:
        return self._answer(f"order/{order_id}", self.orders.get(order_id))

    async def package_tracker(
        self, carrier_code: str, tracking_number: str, business_product_id: str
    ) -> Document | None:
        return self._answer(f"tracker/{tracking_number}", self.trackers.get(tracking_number))

    def _answer(self, target: str, answer: Document | None) -> Document | None:
        self.asked.append(target)
        if self.error is not None:
            raise self.error
        return answer


class World:
    """A store with everything that a lost event needs to be found."""

    def __init__(self, store: Store, queries_per_minute: int = 300) -> None:
        self.store, self.now, self.api = store, START, Api()
        self.projector = Consumer(
            store, projector.NAME, Projector(store, POLICY, self.clock).prepare, self.clock
        )
        self.hydrator = Hydrator(store, {"": self.api}, self.clock, random=Random(1))
        self.asking = Consumer(store, hydration.NAME, self.hydrator.prepare, self.clock)
        self.queries_per_minute = queries_per_minute
        self.reconciler = self.restarted()

    def clock(self) -> Instant:
        return self.now

    def restarted(self, **more: Any) -> Reconciler:
        return Reconciler(self.store, POLICY, self.clock, queries_per_minute=self.queries_per_minute, **more)

    def later(self, ms: int) -> None:
        self.now = Instant(self.now + ms)

    async def event(self, kind: str, resource: str, number: str = "1") -> None:
        """An event, hydrated and folded."""
        body = msgspec.json.encode(
            {
                "idempotencyKey": f"k-{kind}-{number}",
                "eventDescriptor": kind,
                "resources": [f"businessProduct/bp-1/{resource}"],
                "eventId": f"e-{kind}-{number}",
                "apiVersion": "2024-11-01",
                "subscriptionId": "s",
                "eventTime": format_instant(self.now),
                "data": {},
            }
        )
        await self.store.append([Arrival(parse_event(body), body, self.now, "webhook")])
        await self.settle()

    async def settle(self) -> None:
        await self.asking.catch_up()
        await self.hydrator.drain()
        await self.projector.catch_up()

    async def round(self) -> list[str]:
        """One round, what it asks answered and folded; what was asked."""
        before = len(self.api.asked)
        assert await self.reconciler.reconcile() is None
        await self.settle()
        return self.api.asked[before:]

    async def asks(self) -> list[Ask]:
        return await self.store.read(lambda tx: list(tx.work.page(None, 500, None, None)))

    async def document(self, kind: Any, name: str) -> Document:
        view = (await self.store.read(lambda tx: tx.views.get([(kind, "bp-1", name)])))[kind, "bp-1", name]
        found: Document = msgspec.json.decode(view.document)
        return found


def parcel(
    delivery: str, state: str, *scans: tuple[str, str], number: str = "1Z1", until: str | None = None
) -> Document:
    milestones = [{"status": {"code": code}, "occurredAt": at} for code, at in scans]
    tracker = {
        "packageTrackerIdentifier": {"carrierCode": "UPS", "trackingNumber": number},
        "estimatedDeliveryDate": {"earliest": until, "latest": until},
        "milestones": milestones,
    }
    return {"id": delivery, "state": state, "packageTracker": tracker}


def order(order_id: str, *parcels: Document, created: str | None = None) -> Document:
    found: Document = {"id": order_id, "packageInformation": {"details": list(parcels)}}
    return found if created is None else found | {"metadata": {"createdAt": created}}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    store = await open_store(f"sqlite:///{tmp_path}/reconciler.db")
    yield World(store)
    await store.close()


MOVED = ("IN_TRANSIT", "2025-01-20T12:30:00Z")
ARRIVED = ("DELIVERED", "2025-01-21T10:00:00Z")


async def test_scenario_25_reconcile_finds_a_lost_package_delivered(world: World) -> None:
    """The event is lost, and so is every later one: nobody tells, so the hub asks when nothing comes."""
    world.api.orders["o-1"] = order("o-1", parcel("d-1", "IN_TRANSIT", MOVED, until="2025-01-21"))
    await world.event(SHIPPED, "order/o-1/delivery/d-1")
    assert await world.round() == []
    world.api.orders["o-1"] = order("o-1", parcel("d-1", "DELIVERED", MOVED, ARRIVED, until="2025-01-21"))
    world.now = parse_instant("2025-01-22T01:45:00Z")
    assert await world.round() == [], "its estimate has not passed by the grace"
    world.later(20 * MINUTE)
    assert await world.round() == ["order/o-1"]
    delivery = await world.document("delivery", "d-1")
    assert (delivery["state"], delivery["deliveredAt"]) == ("DELIVERED", "2025-01-21T10:00:00Z")
    assert delivery["events"]["delivered"] is None, "the event itself is still unheard of"
    assert await world.asks() == []
    world.later(3 * DAY)
    assert await world.round() == [], "nothing is expected of it any more"


@pytest.mark.proof
async def test_a_silent_parcel_is_asked_about_again_and_again_but_ever_more_rarely(world: World) -> None:
    world.api.orders["o-1"] = order("o-1", parcel("d-1", "IN_TRANSIT", MOVED))
    await world.event(SHIPPED, "order/o-1/delivery/d-1")
    asked: list[int] = []
    for hour in range(100 * 24):
        world.later(HOUR)
        if await world.round():
            asked.append(hour)
    assert [round(later / 24) for later in asked] == [2, 2, 3, 4, 5, 7, 9, 12, 16, 23, 32, 47, 62, 77]
    snapshots = await world.store.read(
        lambda tx: [r for r in tx.journal.after(0, 500) if r.kind == "snapshot"]
    )
    assert len(snapshots) == 1, "an answer that says nothing new is not kept"


async def test_a_tracker_ahead_of_the_order_asks_the_order(world: World) -> None:
    world.api.orders["o-1"] = order("o-1", parcel("d-1", "IN_TRANSIT", MOVED))
    await world.event(SHIPPED, "order/o-1/delivery/d-1")
    world.api.trackers["1Z1"] = parcel("", "", MOVED, ARRIVED)["packageTracker"]
    world.now = parse_instant("2025-01-21T10:01:00Z")
    await world.event("PACKAGE_TRACKER_MILESTONE_CHANGED", "carrier/UPS/tracker/1Z1")
    assert (await world.document("delivery", "d-1"))["state"] == "IN_TRANSIT"
    assert await world.round() == []
    world.later(6 * HOUR)
    world.api.orders["o-1"] = order("o-1", parcel("d-1", "DELIVERED", MOVED, ARRIVED))
    assert await world.round() == ["order/o-1"]
    assert (await world.document("delivery", "d-1"))["state"] == "DELIVERED"


async def test_a_tracker_behind_its_delivered_order_and_an_orphan_are_asked_themselves(world: World) -> None:
    world.api.orders["o-1"] = order("o-1", parcel("d-1", "DELIVERED", MOVED))
    await world.event(DELIVERED, "order/o-1/delivery/d-1")
    world.api.trackers["1Z9"] = parcel("", "", MOVED, number="1Z9")["packageTracker"]
    await world.event("PACKAGE_TRACKER_MILESTONE_CHANGED", "carrier/UPS/tracker/1Z9")
    assert await world.round() == []
    world.later(2 * DAY + HOUR)
    world.api.trackers["1Z1"] = parcel("", "", MOVED, ARRIVED)["packageTracker"]
    assert sorted(await world.round()) == ["tracker/1Z1", "tracker/1Z9"]
    assert (await world.document("tracker", "ups/1Z1"))["stage"] == "DELIVERED"


async def test_a_delivery_that_never_ships_is_asked_about_once_its_order_is_two_days_old(
    world: World,
) -> None:
    waiting = {"id": "d-2", "state": "PENDING", "packageTracker": None}
    known = order("o-1", parcel("d-1", "DELIVERED", ARRIVED), waiting, created="2025-01-20T11:00:00Z")
    world.api.orders["o-1"] = known
    await world.event(DELIVERED, "order/o-1/delivery/d-1")
    world.later(40 * HOUR)
    assert await world.round() == []
    world.later(8 * HOUR)
    shipped = parcel("d-2", "IN_TRANSIT", ("IN_TRANSIT", "2025-01-22T08:00:00Z"), number="1Z2")
    world.api.orders["o-1"] = order("o-1", parcel("d-1", "DELIVERED", ARRIVED), shipped)
    assert await world.round() == ["order/o-1"]
    assert (await world.document("delivery", "d-2"))["state"] == "IN_TRANSIT"


async def test_a_cancelled_deliverys_tracker_is_left_alone(world: World) -> None:
    label = ("INFO_RECEIVED", "2025-01-20T11:00:00Z")
    world.api.orders["o-1"] = order("o-1", parcel("d-1", "CANCELLED", label))
    await world.event("PACKAGE_DELIVERY_CANCELLED", "order/o-1/delivery/d-1")
    world.later(3 * DAY)
    assert await world.round() == []


async def many(world: World, count: int) -> None:
    for number in range(count):
        delivery = parcel(f"d-{number}", "IN_TRANSIT", MOVED, number=f"1Z{number}")
        world.api.orders[f"o-{number}"] = order(f"o-{number}", delivery)
    bodies = [
        msgspec.json.encode(Snapshot("order", world.now, world.now, answer, order_id=name))
        for name, answer in world.api.orders.items()
    ]
    news = [
        NewRecord("snapshot", "bp-1", "order", world.now, world.now, "hydration", body) for body in bodies
    ]
    await world.store.write(lambda tx: tx.journal.add(news))
    await world.settle()


async def test_not_more_than_half_of_the_budget_is_asked(tmp_path: Path) -> None:
    store = await open_store(f"sqlite:///{tmp_path}/budget.db")
    try:
        world = World(store, queries_per_minute=40)
        await many(world, PAGE + 50)
        world.later(2 * DAY + HOUR)
        minutes = 0
        while (again := await world.reconciler.reconcile()) is not None:
            assert len(await world.asks()) == 20
            assert {ask.priority for ask in await world.asks()} == {REST}
            await world.settle()
            assert again == world.now + MINUTE
            world.now, minutes = again, minutes + 1
        await world.settle()
        assert minutes == (PAGE + 50) // 20
        assert len(world.api.asked) == len(set(world.api.asked)) == PAGE + 50
    finally:
        await store.close()


async def test_a_round_that_was_broken_off_begins_again_and_one_that_is_over_does_not(world: World) -> None:
    await many(world, 5)
    world.later(2 * DAY + HOUR)
    world.reconciler = world.restarted(can_ask=lambda product: False)
    assert await world.round() == []
    world.reconciler = world.restarted()
    assert await world.round() == [], "that round is over: what was due then is asked at its next end"
    world.later(6 * HOUR)
    world.queries_per_minute = 4
    world.reconciler = world.restarted()
    assert await world.reconciler.reconcile() is not None
    await world.settle()
    world.queries_per_minute = 300
    world.reconciler = world.restarted()
    assert len(await world.round()) == 5


async def test_what_is_being_asked_already_is_not_asked_twice(world: World) -> None:
    await many(world, 1)
    world.later(2 * DAY + HOUR)
    waiting = Ask("bp-1", "order/o-0", 0, Instant(world.now + DAY), 3, (1,))
    given_up = Ask("bp-1", "order/o-0", 0, world.now, 9, (1,), "gaveUp")
    for ask, after in ((waiting, waiting), (given_up, None)):
        await world.store.write(lambda tx, ask=ask: tx.work.put([ask]))  # type: ignore[misc]
        await world.store.write(lambda tx: tx.journal.set_checkpoint(NAME, world.now - 2 * HOUR))
        await world.reconciler.reconcile()
        (found,) = await world.asks()
        assert found == after if after is not None else (found.state, found.tries) == ("open", 8)


@pytest.mark.parametrize("error", [UpstreamNotFound("no such order"), RuntimeError("odd")])
async def test_a_check_that_fails_is_not_tried_again_before_its_timer(world: World, error: Exception) -> None:
    await many(world, 1)
    world.later(2 * DAY + HOUR)
    world.api.error = error
    assert await world.round() == ["order/o-0"]
    assert await world.asks() == []
    assert not [
        r for r in await world.store.read(lambda tx: tx.journal.after(0, 99)) if r.kind == "settlement"
    ]
    world.later(6 * HOUR)
    assert await world.round() == ["order/o-0"]


async def test_while_the_api_is_away_a_check_waits(world: World) -> None:
    await many(world, 1)
    world.later(2 * DAY + HOUR)
    world.api.error = UpstreamUnavailable("away", answered=False)
    assert await world.round() == ["order/o-0"]
    (ask,) = await world.asks()
    assert (ask.state, ask.tries, ask.waiting) == ("open", 0, ())
    world.api.error = None
    world.later(MINUTE)
    await world.settle()
    assert await world.asks() == []


async def test_an_event_that_comes_while_a_check_waits_takes_it_over(world: World) -> None:
    await many(world, 1)
    world.later(2 * DAY + HOUR)
    await world.reconciler.reconcile()
    world.api.orders["o-0"] = order("o-0", parcel("d-0", "DELIVERED", MOVED, ARRIVED, number="1Z0"))
    await world.event(DELIVERED, "order/o-0/delivery/d-0")
    assert world.api.asked == ["order/o-0"]
    assert await world.asks() == []


async def test_a_round_waits_until_the_projector_has_folded_what_came_before_it(world: World) -> None:
    await many(world, 1)
    world.later(2 * DAY + HOUR)
    world.api.error = UpstreamUnavailable("away", answered=False)
    news = NewRecord(
        "snapshot",
        "bp-1",
        "order",
        world.now,
        world.now,
        "hydration",
        msgspec.json.encode(
            Snapshot("order", world.now, world.now, order("o-9", parcel("d-9", "IN_TRANSIT")), order_id="o-9")
        ),
    )
    await world.store.write(lambda tx: tx.journal.add([news]))
    assert await world.reconciler.reconcile() == world.now + MINUTE
    assert await world.asks() == []
    await world.projector.catch_up()
    assert await world.reconciler.reconcile() is None
    assert len(await world.asks()) == 1


async def test_it_runs_until_it_is_stopped(world: World) -> None:
    await many(world, 1)
    world.later(2 * DAY + HOUR)
    nudged, stop = asyncio.Event(), asyncio.Event()
    reconciler = world.restarted(nudge=nudged.set)
    running = asyncio.create_task(reconciler.run(stop))
    await asyncio.wait_for(nudged.wait(), 60)
    stop.set()
    await asyncio.wait_for(running, 60)
    assert reconciler.asked == 1


async def test_the_log_says_which_road_falls_silent_and_which_is_heard_again(world: World) -> None:
    hour = world.now // HOUR
    usual = {("bp-1", DELIVERED, "webhook", hour - n): 3 for n in range(12, 4 * 7 * 24)}
    watched = {("", "watched", "", hour - n): 4 for n in range(1, 4 * 7 * 24)}
    await world.store.write(lambda tx: tx.volumes.add({**usual, **watched}))
    with capture_logs() as logs:
        await world.reconciler.reconcile()
        await world.reconciler.reconcile()
        await world.event(DELIVERED, "order/o-1/delivery/d-1")
        await world.reconciler.reconcile()
    said = [
        (entry["event"], entry["road"], entry["type"]) for entry in logs if entry["event"].startswith("road_")
    ]
    assert said == [("road_silent", "webhook", DELIVERED), ("road_heard_again", "webhook", DELIVERED)]
