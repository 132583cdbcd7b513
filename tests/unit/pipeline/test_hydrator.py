"""Hydration from end to end: events in a real store, a real client, a real HTTP server that plays the API."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from tests.unit.buywithprime.api_server import ApiServer, errors, http, serve

from milepost import sql
from milepost.buywithprime.client import BuyWithPrimeClient
from milepost.domain.envelope import parse_event
from milepost.domain.errors import NotFound
from milepost.domain.hydration import CANCELLED, DELIVERED, IN_TRANSIT, LAST_TRY, MILESTONE, MONEY
from milepost.domain.instant import DAY, HOUR, MINUTE, SECOND, Instant
from milepost.domain.record import Record, Settlement, Snapshot, order_subject, tracker_subject
from milepost.pipeline.circuit import Circuit
from milepost.pipeline.consumer import Consumer
from milepost.pipeline.hydrator import NAME, NO_CREDENTIALS, Hydrator
from milepost.store import Arrival, Ask, Store

BP = "bp-1"


class Clock:
    def __init__(self) -> None:
        self.now = 1_737_376_496_000

    def __call__(self) -> Instant:
        return Instant(self.now)


def package(delivery_id: str, state: str, tracker: str | None = "1Z", **more: object) -> dict[str, Any]:
    identifier = {"trackingNumber": tracker, "carrierCode": "UPS"}
    return {
        "id": delivery_id,
        "state": state,
        "packageTracker": {"packageTrackerIdentifier": identifier} if tracker else None,
        "packageInformationDetailsFor": {
            "orderLineItems": [{"lineItem": {"id": "li-1"}, "amount": {"unit": "ONE", "value": 2}}]
        },
        **more,
    }


def order(order_id: str, *packages: dict[str, Any]) -> dict[str, Any]:
    return {"id": order_id, "packageInformation": {"details": list(packages)}}


def tracker(number: str, *codes: str, **more: object) -> dict[str, Any]:
    milestones = [
        {"occurredAt": f"2025-01-20T{hour:02}:00:00Z", "status": {"code": code}}
        for hour, code in enumerate(codes)
    ]
    identifier = {"trackingNumber": number, "carrierCode": "UPS"}
    return {"packageTrackerIdentifier": identifier, "milestones": milestones, **more}


class Hub:
    """A store with a hydrator behind its consumer, and the API it asks."""

    def __init__(self, store: Store, api: ApiServer, clock: Clock) -> None:
        self.store, self.api, self.clock = store, api, clock
        self.client = BuyWithPrimeClient(api.url, "c", "s", clock=clock)
        self.sent = 0
        self.start()

    def start(self, **options: Any) -> None:
        """A new hydrator on the same store: what a restart leaves."""
        clients = options.pop("clients", {"": self.client})
        self.hydrator = Hydrator(self.store, clients, self.clock, random=Random(1), **options)
        self.consumer = Consumer(self.store, NAME, self.hydrator.prepare, self.clock)

    async def post(self, type: str, path: str, *, data: object = None, bp: str = BP, id: str = "") -> int:
        """Journal an event without hydrating it; returns its position."""
        self.sent += 1
        body = msgspec.json.encode(
            {
                "idempotencyKey": id or f"k{self.sent}",
                "eventDescriptor": type,
                "resources": [f"businessProduct/{bp}/{path}"],
                "eventId": id or f"e{self.sent}",
                "apiVersion": "2024-11-01",
                "eventTime": "2025-01-20T12:34:56Z",
                "data": data or {},
            }
        )
        receipts = await self.store.append([Arrival(parse_event(body), body, self.clock(), "webhook")])
        return receipts[0].position

    async def ship(self, order_id: str = "o1", delivery: str = "d1", type: str = IN_TRANSIT) -> int:
        return await self.post(type, f"order/{order_id}/delivery/{delivery}")

    async def scan(self, number: str = "1Z") -> int:
        return await self.post(MILESTONE, f"carrier/UPS/tracker/{number}")

    async def hydrate(self, later: int = 0) -> None:
        """Let `later` milliseconds pass, then turn events into asks and ask what is due."""
        self.clock.now += later
        await self.consumer.catch_up()
        await self.hydrator.drain()

    async def records(self, kind: str) -> list[Record]:
        return [r for r in await self.store.read(lambda tx: tx.journal.after(0, 500)) if r.kind == kind]

    async def snapshots(self) -> list[Snapshot]:
        return [msgspec.json.decode(r.body, type=Snapshot) for r in await self.records("snapshot")]

    async def settlements(self) -> list[Settlement]:
        return [msgspec.json.decode(r.body, type=Settlement) for r in await self.records("settlement")]

    async def asks(self) -> dict[str, Ask]:
        page = await self.store.read(lambda tx: tx.work.page(None, 500, None, None))
        return {ask.target: ask for ask in page}

    def asked(self) -> list[str]:
        return [request.asked_for for request in self.api.requests]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait, at most ten seconds, until the API was asked something and the condition holds."""
        async with asyncio.timeout(60):
            while not condition():
                self.api.arrived.clear()
                if not condition():
                    await self.api.arrived.wait()


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Hub]:
    clock = Clock()
    store = await sql.open_store(f"sqlite:///{tmp_path / 'hub.db'}", clock=clock, owner="test")
    async with serve() as api:
        made = Hub(store, api, clock)
        yield made
        await made.client.close()
    await store.close()


# ── Orders ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_in_transit_event_is_answered_by_one_snapshot(hub: Hub) -> None:
    hub.api.orders["o1"] = order("o1", package("d1", "IN_TRANSIT"))
    position = await hub.ship()
    await hub.hydrate()
    (snapshot,) = await hub.snapshots()
    assert (snapshot.query, snapshot.order_id, snapshot.answer) == ("order", "o1", hub.api.orders["o1"])
    assert snapshot.asked_at == hub.clock.now
    assert await hub.asks() == {}
    (record,) = await hub.records("snapshot")
    assert (record.type, record.road, record.position) == ("order", "hydration", position + 1)
    assert hub.hydrator.counters() == {
        "hydration.answered": 1,
        "hydration.coalesced": 0,
        "hydration.gaveUp": 0,
        "hydration.noNewMilestone": 0,
        "hydration.queries.answered": 1,
    }


async def test_a_burst_about_one_order_costs_one_query(hub: Hub) -> None:
    hub.api.orders["o1"] = order("o1", *(package(f"d{n}", "IN_TRANSIT") for n in range(50)))
    for n in range(50):
        await hub.ship("o1", f"d{n}")
    await hub.hydrate()
    assert hub.asked() == ["o1"]
    assert await hub.asks() == {}
    assert hub.hydrator.counters()["hydration.coalesced"] == 49


async def test_events_that_an_answer_after_them_shows_already_ask_nothing(hub: Hub) -> None:
    hub.api.orders["o1"] = order("o1", package("d1", "IN_TRANSIT"), package("d2", "IN_TRANSIT"))
    await hub.ship("o1", "d1")
    await hub.consumer.catch_up()
    await hub.ship("o1", "d2")
    hub.clock.now += 5
    await hub.hydrator.drain()
    await hub.hydrate(1)
    assert hub.asked() == ["o1"]


async def test_an_event_journalled_while_the_query_is_under_way_is_asked_for_again(hub: Hub) -> None:
    hub.api.orders["o1"] = order("o1", package("d1", "IN_TRANSIT"), package("d2", "IN_TRANSIT"))
    hub.api.open.clear()
    await hub.ship("o1", "d1")
    await hub.consumer.catch_up()
    drained = asyncio.ensure_future(hub.hydrator.drain())
    await hub.until(lambda: hub.asked() == ["o1"])
    late = await hub.ship("o1", "d2")
    await hub.consumer.catch_up()
    hub.api.open.set()
    await drained
    assert hub.asked() == ["o1", "o1"]
    assert await hub.asks() == {}
    assert len(await hub.snapshots()) == 2
    assert late == 2


async def test_a_state_that_is_not_there_yet_is_asked_again(hub: Hub) -> None:
    hub.api.orders["o1"] = order("o1", package("d1", "PENDING", None))
    await hub.ship()
    await hub.hydrate()
    ask = (await hub.asks())["order/o1"]
    assert (ask.state, ask.tries, ask.waiting) == ("open", 1, (1,))
    assert hub.clock.now + 12 * SECOND <= ask.due_at <= hub.clock.now + 18 * SECOND
    await hub.hydrate(11 * SECOND)
    assert hub.asked() == ["o1"]
    await hub.hydrate(8 * SECOND)
    assert hub.asked() == ["o1", "o1"]
    assert len(await hub.snapshots()) == 1, "an unchanged answer that answers nothing is not journalled"
    hub.api.orders["o1"] = order("o1", package("d1", "IN_TRANSIT"))
    await hub.hydrate(3 * MINUTE)
    assert await hub.asks() == {}
    assert len(await hub.snapshots()) == 2


async def test_a_shown_state_without_its_tracker_is_asked_again_and_taken_in_the_end(hub: Hub) -> None:
    hub.api.orders["o1"] = order("o1", package("d1", "IN_TRANSIT", None))
    await hub.ship()
    await hub.hydrate()
    assert (await hub.asks())["order/o1"].tries == 1
    for _ in range(3):
        await hub.hydrate(HOUR)
    assert (await hub.asks())["order/o1"].tries == 4
    await hub.hydrate(HOUR)
    assert await hub.asks() == {}
    assert await hub.settlements() == []


async def test_a_delivered_event_asks_only_for_what_its_data_lacks(hub: Hub) -> None:
    data = {"order": order("o1", package("d1", "DELIVERED", packageInformationDetailsFor=None))}
    hub.api.orders["o1"] = order("o1", package("d1", "IN_TRANSIT"))
    await hub.ship()
    await hub.hydrate()
    await hub.post(DELIVERED, "order/o1/delivery/d1", data=data)
    await hub.hydrate(DAY)
    assert hub.asked() == ["o1"], "shipped and snapshotted: tracker and quantities are known"
    hub.api.orders["o2"] = order("o2", package("d2", "DELIVERED"))
    await hub.post(DELIVERED, "order/o2/delivery/d2", data={"order": hub.api.orders["o2"]})
    await hub.hydrate()
    assert hub.asked() == ["o1", "o2"], "never snapshotted"
    await hub.post(DELIVERED, "order/o1/delivery/d1")
    hub.api.orders["o1"] = order("o1", package("d1", "DELIVERED"))
    await hub.hydrate()
    assert hub.asked() == ["o1", "o2", "o1"], "an empty data says nothing"


async def test_a_conflict_is_asked_for_whatever_its_data_holds(hub: Hub) -> None:
    hub.api.orders["o1"] = order("o1", package("d1", "DELIVERED"))
    await hub.ship()
    await hub.hydrate()
    whole = {"order": order("o1", package("d1", "DELIVERED"))}
    await hub.post(DELIVERED, "order/o1/delivery/d1", data=whole, id="same")
    await hub.hydrate(DAY)
    assert len(hub.asked()) == 1
    await hub.post(DELIVERED, "order/o1/delivery/d1", data={"order": {"id": "o1", "note": 1}}, id="same")
    await hub.hydrate(1)
    assert len(hub.asked()) == 2


async def test_types_without_a_fold_ask_nothing(hub: Hub) -> None:
    await hub.post("REFUND_REQUESTED", "order/o1/refund/r1")
    await hub.post("SOMETHING_NEW", "order/o1/delivery/d1")
    await hub.post(DELIVERED, "delivery/d1")
    await hub.hydrate()
    assert await hub.asks() == {}
    assert hub.asked() == []


# ── Trackers ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_null_tracker_is_asked_again_until_it_is_there(hub: Hub) -> None:
    await hub.scan()
    await hub.hydrate()
    for _ in range(4):
        await hub.hydrate(HOUR)
    assert (await hub.asks())["tracker/ups/1Z"].tries == 5, "null answers never settle a milestone"
    hub.api.trackers["1Z"] = tracker("1Z", "IN_TRANSIT")
    await hub.hydrate(3 * HOUR)
    assert await hub.asks() == {}
    assert [s.answer for s in await hub.snapshots()] == [None, hub.api.trackers["1Z"]]
    assert (await hub.snapshots())[0].carrier_code == "UPS"


async def test_a_tracker_that_is_not_found_is_asked_again(hub: Hub) -> None:
    hub.api.trackers["1Z"] = tracker("1Z", "IN_TRANSIT")
    hub.api.faults.append(errors("ResourceNotFoundError", op="packageTracker"))
    await hub.scan()
    await hub.hydrate()
    assert (await hub.asks())["tracker/ups/1Z"].tries == 1
    await hub.hydrate(MINUTE)
    assert await hub.asks() == {}


async def test_a_stale_answer_is_asked_again_and_settled_after_three(hub: Hub) -> None:
    hub.api.trackers["1Z"] = tracker("1Z", "IN_TRANSIT")
    await hub.scan()
    await hub.hydrate()
    second = await hub.scan()
    await hub.hydrate(MINUTE)
    await hub.hydrate(MINUTE)
    assert (await hub.asks())["tracker/ups/1Z"].unchanged == 2
    assert await hub.settlements() == []
    await hub.hydrate(3 * MINUTE)
    assert await hub.asks() == {}
    (settled,) = await hub.settlements()
    assert (settled.outcome, settled.position, settled.about) == (
        "noNewMilestone",
        second,
        ("tracker/ups/1Z",),
    )
    (record,) = await hub.records("settlement")
    assert (record.origin, record.type) == (second, "noNewMilestone")
    assert len(await hub.snapshots()) == 1
    hub.api.trackers["1Z"] = tracker("1Z", "IN_TRANSIT", "DELIVERED")
    await hub.scan()
    await hub.hydrate(HOUR)
    assert await hub.asks() == {}, "the settled event took no milestone"


async def test_counting_unchanged_answers_survives_a_restart(hub: Hub) -> None:
    hub.api.trackers["1Z"] = tracker("1Z", "IN_TRANSIT")
    await hub.scan()
    await hub.hydrate()
    await hub.scan()
    for _ in range(3):
        await hub.hydrate(3 * MINUTE)
        hub.start()
    assert [s.outcome for s in await hub.settlements()] == ["noNewMilestone"]
    assert len(hub.asked()) == 4


async def test_a_known_milestone_answers_an_event_that_none_was_matched_to(hub: Hub) -> None:
    hub.api.trackers["1Z"] = tracker("1Z", "INFO_RECEIVED", "IN_TRANSIT")
    for _ in range(2):
        await hub.scan()
        await hub.hydrate(MINUTE)
    assert await hub.asks() == {}
    assert len(hub.asked()) == 2
    await hub.scan()
    await hub.hydrate(MINUTE)
    assert (await hub.asks())["tracker/ups/1Z"].waiting == (5,), "both milestones are taken"


async def test_two_events_of_one_query_need_two_milestones(hub: Hub) -> None:
    hub.api.trackers["1Z"] = tracker("1Z", "IN_TRANSIT")
    await hub.scan()
    second = await hub.scan()
    await hub.hydrate()
    assert (await hub.asks())["tracker/ups/1Z"].waiting == (second,)
    hub.api.trackers["1Z"] = tracker("1Z", "IN_TRANSIT", "OUT_FOR_DELIVERY")
    await hub.hydrate(MINUTE)
    assert await hub.asks() == {}
    assert len(hub.asked()) == 2


# ── Trouble ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_api_that_is_down_delays_asks_and_uses_up_no_try(hub: Hub) -> None:
    hub.api.orders |= {f"o{n}": order(f"o{n}", package("d", "IN_TRANSIT")) for n in range(30)}
    hub.api.always = http(503)
    for n in range(30):
        await hub.ship(f"o{n}", "d")
    for _ in range(40):
        await hub.hydrate(10 * MINUTE)
    asks = await hub.asks()
    assert len(asks) == 30
    assert {(a.state, a.tries) for a in asks.values()} == {("open", 0)}
    assert len(hub.asked()) <= 4 + 40, "while it is down, one asks for all"
    assert hub.hydrator.last_error is not None
    assert hub.hydrator.last_error.code == "upstream_unavailable"
    hub.api.always = None
    await hub.hydrate(10 * MINUTE)
    await hub.hydrate(10 * MINUTE)
    assert await hub.asks() == {}
    assert len(await hub.snapshots()) == 30


async def test_throttling_is_waited_out_for_as_long_as_it_says(hub: Hub) -> None:
    hub.api.orders["o1"] = order("o1", package("d1", "IN_TRANSIT"))
    hub.api.faults.append(http(429, **{"Retry-After": "120"}))
    await hub.ship()
    await hub.hydrate()
    assert (await hub.asks())["order/o1"].due_at == hub.clock.now + 120 * SECOND
    await hub.ship("o1", "d1", CANCELLED)
    await hub.hydrate(119 * SECOND)
    assert hub.asked() == ["o1"], "a new event does not end the pause"
    ask = (await hub.asks())["order/o1"]
    assert (ask.priority, ask.waiting, ask.due_at) == (MONEY, (1, 2), hub.clock.now + SECOND)
    hub.api.orders["o1"] = order("o1", package("d1", "CANCELLED", reason="UNDELIVERABLE"))
    await hub.hydrate(SECOND)
    assert await hub.asks() == {}


async def test_an_answer_ends_the_growing_of_pauses(hub: Hub) -> None:
    hub.api.orders["o1"] = order("o1", package("d1", "IN_TRANSIT"))
    hub.api.faults.extend([http(503), http(503), http(503)])
    await hub.ship()
    for _ in range(4):
        await hub.hydrate(MINUTE)
    assert await hub.asks() == {}
    hub.api.faults.append(http(503))
    await hub.ship("o2")
    await hub.hydrate()
    assert (await hub.asks())["order/o2"].due_at <= hub.clock.now + 1_200


async def test_a_new_event_begins_the_schedule_anew(hub: Hub) -> None:
    hub.api.orders["o1"] = order("o1", package("d1", "PENDING"))
    await hub.ship()
    for _ in range(3):
        await hub.hydrate(HOUR)
    assert (await hub.asks())["order/o1"].tries == 3
    await hub.ship("o1", "d2")
    await hub.hydrate()
    ask = (await hub.asks())["order/o1"]
    assert (ask.tries, ask.waiting, len(hub.asked())) == (1, (1, 3), 4)


async def test_an_error_of_one_query_is_its_own_and_ends_visibly(hub: Hub) -> None:
    hub.api.orders["o2"] = order("o2", package("d2", "IN_TRANSIT"))
    hub.api.always = errors("InternalServerError", "o1 is broken")
    position = await hub.ship("o1", "d1")
    for _ in range(LAST_TRY - 1):
        await hub.hydrate(8 * HOUR)
        assert (await hub.asks())["order/o1"].state == "open"
    await hub.hydrate(8 * HOUR)
    ask = (await hub.asks())["order/o1"]
    assert (ask.state, ask.tries, ask.waiting) == ("gaveUp", LAST_TRY, (position,))
    assert "o1 is broken" in ask.error
    (settled,) = await hub.settlements()
    assert (settled.outcome, settled.position, settled.tries) == ("gaveUp", position, LAST_TRY)
    await hub.hydrate(DAY)
    assert len(hub.asked()) == LAST_TRY
    hub.api.always = None
    await hub.ship("o2", "d2")
    await hub.hydrate()
    assert list(await hub.asks()) == ["order/o1"]
    hub.api.orders["o1"] = order("o1", package("d1", "IN_TRANSIT"))
    await hub.hydrator.retry(BP, "order/o1")
    await hub.hydrate()
    assert await hub.asks() == {}
    assert hub.hydrator.counters()["hydration.gaveUp"] == 1


async def test_a_later_event_reopens_what_was_given_up(hub: Hub) -> None:
    hub.api.always = errors("InternalServerError")
    await hub.ship()
    for _ in range(LAST_TRY):
        await hub.hydrate(8 * HOUR)
    hub.api.always = None
    hub.api.orders["o1"] = order("o1", package("d1", "CANCELLED"))
    await hub.ship(type=CANCELLED)
    await hub.hydrate()
    assert await hub.asks() == {}


async def test_a_refusal_is_visible_and_retried_slowly(hub: Hub) -> None:
    hub.api.always = errors("AccessDeniedError", "no permission")
    await hub.ship()
    await hub.hydrate()
    ask = (await hub.asks())["order/o1"]
    assert ask.due_at >= hub.clock.now + 12 * MINUTE
    assert hub.hydrator.last_error is not None
    assert hub.hydrator.last_error.code == "upstream_denied"


async def test_an_answer_about_another_order_is_not_kept(hub: Hub) -> None:
    hub.api.orders["o1"] = order("o2", package("d1", "IN_TRANSIT"))
    await hub.ship()
    await hub.hydrate()
    assert await hub.snapshots() == []
    assert "another order" in (await hub.asks())["order/o1"].error


async def test_retry_of_what_nobody_waits_for_is_not_found(hub: Hub) -> None:
    with pytest.raises(NotFound):
        await hub.hydrator.retry(BP, order_subject("o1"))


async def test_without_credentials_asks_wait_until_a_restart_brings_some(hub: Hub) -> None:
    hub.start(clients={"bp-2": hub.client})
    hub.api.orders["o1"] = order("o1", package("d1", "IN_TRANSIT"))
    await hub.ship()
    await hub.post(IN_TRANSIT, "order/o1/delivery/d1", bp="bp-2")
    await hub.hydrate()
    (ask,) = (await hub.asks()).values()
    assert (ask.business_product_id, ask.error, ask.tries) == (BP, NO_CREDENTIALS, 0)
    assert len(hub.asked()) == 1
    hub.start()
    stop = asyncio.Event()
    running = asyncio.ensure_future(hub.hydrator.run(stop))
    await hub.until(lambda: len(hub.asked()) == 2)
    stop.set()
    await running


# ── The worker ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_money_goes_first(hub: Hub) -> None:
    hub.start(concurrency=1)
    await hub.ship("cancelled", type=CANCELLED)
    await hub.ship("shipped")
    await hub.hydrate()
    assert hub.asked() == ["shipped", "cancelled"]


async def test_at_most_so_many_queries_run_at_once(hub: Hub) -> None:
    hub.api.open.clear()
    for n in range(12):
        await hub.ship(f"o{n}")
    await hub.consumer.catch_up()
    drained = asyncio.ensure_future(hub.hydrator.drain())
    await hub.until(lambda: len(hub.asked()) == 4)
    hub.api.open.set()
    await drained
    assert len(hub.asked()) == 12
    assert hub.api.max_held == 4


async def test_the_budget_of_a_minute_holds(hub: Hub) -> None:
    hub.start(queries_per_minute=3, concurrency=1)
    hub.api.orders |= {f"o{n}": order(f"o{n}", package("d1", "IN_TRANSIT")) for n in range(7)}
    for n in range(7):
        await hub.ship(f"o{n}")
    await hub.hydrate()
    assert len(hub.asked()) == 3
    await hub.hydrate(MINUTE - 1)
    assert len(hub.asked()) == 3
    await hub.hydrate(1)
    assert len(hub.asked()) == 6
    await hub.hydrate(MINUTE)
    assert hub.asked() == [f"o{n}" for n in range(7)]


async def test_the_worker_wakes_for_new_events_and_for_its_clock(hub: Hub) -> None:
    hub.api.orders["o1"] = order("o1", package("d1", "PENDING"))
    stop = asyncio.Event()
    running = asyncio.ensure_future(hub.hydrator.run(stop))
    await hub.ship()
    await hub.consumer.catch_up()
    await hub.until(lambda: len(hub.asked()) == 1)
    await hub.store.changed(1, 10)
    hub.api.orders["o1"] = order("o1", package("d1", "IN_TRANSIT"))
    async with asyncio.timeout(60):
        while (await hub.asks())["order/o1"].tries == 0:
            await asyncio.sleep(0)
    hub.clock.now += MINUTE
    hub.hydrator.nudge()
    await hub.until(lambda: len(hub.asked()) == 2)
    await hub.store.changed(2, 10)
    stop.set()
    await running
    assert await hub.asks() == {}


async def test_stopping_in_the_middle_of_a_query_means_asking_again(hub: Hub) -> None:
    hub.api.orders["o1"] = order("o1", package("d1", "IN_TRANSIT"))
    hub.api.open.clear()
    stop = asyncio.Event()
    running = asyncio.ensure_future(hub.hydrator.run(stop))
    await hub.ship()
    await hub.consumer.catch_up()
    await hub.until(lambda: len(hub.asked()) == 1)
    stop.set()
    await running
    assert list(await hub.asks()) == ["order/o1"]
    hub.api.open.set()
    hub.start()
    await hub.hydrate()
    assert await hub.asks() == {}
    assert len(await hub.snapshots()) == 1


async def test_being_killed_between_answer_and_write_means_asking_again(hub: Hub) -> None:
    class Killed(BaseException):
        pass

    def kill(point: str) -> None:
        assert point == "mid-hydration"
        raise Killed

    hub.api.trackers["1Z"] = tracker("1Z", "IN_TRANSIT")
    hub.start(probe=kill)
    await hub.scan()
    await hub.consumer.catch_up()
    before = (await hub.asks())["tracker/ups/1Z"]
    with pytest.raises(Killed):
        await asyncio.wait_for(_first_task(hub.hydrator), 60)
    assert (await hub.asks())["tracker/ups/1Z"] == before
    hub.start()
    await hub.hydrate()
    assert await hub.asks() == {}
    assert len(await hub.snapshots()) == 1


async def _first_task(hydrator: Hydrator) -> None:
    await hydrator._start_due()
    (task,) = hydrator._asking.values()
    await task


async def test_two_business_products_are_two_asks(hub: Hub) -> None:
    hub.api.trackers["1Z"] = tracker("1Z", "IN_TRANSIT")
    await hub.post(MILESTONE, "carrier/UPS/tracker/1Z", bp="bp-1")
    await hub.post(MILESTONE, "carrier/ups/tracker/1Z", bp="bp-2")
    await hub.hydrate()
    assert sorted(r.headers["x-api-target-id"] for r in hub.api.requests) == ["bp-1", "bp-2"]
    assert tracker_subject("UPS", "1Z") == tracker_subject("ups", "1Z")
    assert {r.business_product_id for r in await hub.records("snapshot")} == {"bp-1", "bp-2"}


def test_failures_of_tries_under_way_lengthen_no_pause() -> None:
    circuit = Circuit(Random(1))
    first = circuit.failed(Instant(0), None)
    assert circuit.failed(Instant(1), None) == first
    assert circuit.failed(first, None) > first
    assert circuit.failures == 2
    circuit.answered()
    assert (circuit.failures, circuit.until) == (0, 0)
