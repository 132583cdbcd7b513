"""The sweeper over a real store and a real projector, with a clock that only the tests move."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from milepost.domain.condition import Policy
from milepost.domain.envelope import parse_event
from milepost.domain.errors import StoreUnavailable
from milepost.domain.instant import DAY, HOUR, MINUTE, Instant, format_instant, parse_instant
from milepost.domain.record import ConditionChange, Correction, Record, Snapshot, Withdrawal
from milepost.pipeline.consumer import Consumer
from milepost.pipeline.projector import NAME, Projector
from milepost.pipeline.sweeper import Sweeper
from milepost.sql import open_store
from milepost.store import Arrival, NewRecord, Store, Transaction, View, ViewKind

POLICY = Policy()


class Hub:
    """A store, its projector and its sweeper, on one clock."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.now = parse_instant("2025-01-20T12:00:00Z")
        self.sweeper = self.new_sweeper()
        self.projector = Consumer(store, NAME, Projector(store, POLICY, self.clock).prepare, self.clock)

    def clock(self) -> Instant:
        return self.now

    def new_sweeper(self, **more: Any) -> Sweeper:
        return Sweeper(self.store, POLICY, self.clock, **more)

    def at(self, text: str) -> None:
        self.now = parse_instant(text)

    def later(self, ms: int) -> None:
        self.now = Instant(self.now + ms)

    async def project(self) -> None:
        while await self.projector.step():
            pass

    async def sweep(self) -> int:
        """One sweep, and the projector behind it."""
        found = await self.sweeper.sweep()
        await self.project()
        return found

    async def confirmed(self) -> list[int]:
        """Two sweeps, far enough apart to raise."""
        first = await self.sweep()
        self.later(MINUTE)
        return [first, await self.sweep()]

    async def event(self, kind: str, bp: str = "bp-1", event_id: str = "") -> None:
        event_id = event_id or f"{kind}-{self.now}"
        body = msgspec.json.encode(
            {
                "idempotencyKey": f"key-{bp}-{event_id}",
                "eventDescriptor": kind,
                "resources": [f"businessProduct/{bp}/order/o-1/delivery/d-1"],
                "eventId": event_id,
                "apiVersion": "2024-11-01",
                "subscriptionId": "s",
                "eventTime": self.iso(),
                "data": {},
            }
        )
        await self.store.append([Arrival(parse_event(body), body, self.now, "webhook")])
        await self.project()

    async def answer(self, state: str, *scans: tuple[str, str], promised: str | None = None) -> None:
        """An order answer: delivery d-1 in `state`, its tracker with these (code, occurredAt)."""
        milestones = [{"status": {"code": code}, "occurredAt": at} for code, at in scans]
        identifier = {"carrierCode": "ups", "trackingNumber": "1Z1"}
        window = {"earliest": promised, "latest": promised}
        tracker = {
            "packageTrackerIdentifier": identifier,
            "estimatedDeliveryDate": window,
            "milestones": milestones,
        }
        details = [{"id": "d-1", "state": state, "packageTracker": tracker}]
        order = {"id": "o-1", "packageInformation": {"details": details}}
        body = msgspec.json.encode(Snapshot("order", self.now, self.now, order, "o-1"))
        new = NewRecord("snapshot", "bp-1", "order", self.now, self.now, "hydration", body)
        await self.store.write(lambda tx: tx.journal.add([new]))
        await self.project()

    def iso(self) -> str:
        return format_instant(self.now)

    async def changes(self) -> list[tuple[str, bool, str]]:
        """(code, raised, business product) of every condition record."""
        records = await self.store.read(lambda tx: tx.journal.after(0, 500))
        return [
            (r.type, msgspec.json.decode(r.body, type=ConditionChange).raised, r.business_product_id)
            for r in records
            if r.kind == "condition"
        ]

    async def view(self, kind: ViewKind, id: str, bp: str = "bp-1") -> View:
        key = (kind, bp, id)
        return (await self.store.read(lambda tx: tx.views.get([key])))[key]

    async def open(self, kind: ViewKind, id: str, bp: str = "bp-1") -> list[str]:
        document = msgspec.json.decode((await self.view(kind, id, bp)).document)
        return [c["code"] for c in document["conditions"] if c["source"] == "hub" and c["clearedAt"] is None]


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Hub]:
    store = await open_store(f"sqlite:///{tmp_path}/sweeper.db")
    yield Hub(store)
    await store.close()


TRACKER = "ups/1Z1"


async def test_scenario_16_stalled_friday_clears_with_mondays_scan_and_weekends_raise_nothing(
    hub: Hub,
) -> None:
    await hub.event("PACKAGE_DELIVERY_IN_TRANSIT")
    hub.at("2025-01-21T10:00:00Z")
    await hub.answer("IN_TRANSIT", ("IN_TRANSIT", "2025-01-21T10:00:00Z"))

    hub.at("2025-01-24T09:58:00Z")
    assert await hub.confirmed() == [0, 0]
    hub.at("2025-01-24T15:00:00Z")
    assert await hub.confirmed() == [0, 1]
    assert await hub.open("tracker", TRACKER) == ["STALLED"]
    assert await hub.open("delivery", "d-1") == ["STALLED"]

    for _ in range(60):
        hub.later(HOUR)
        assert await hub.sweep() == 0

    hub.at("2025-01-27T08:00:00Z")
    scans = [("IN_TRANSIT", "2025-01-21T10:00:00Z"), ("IN_TRANSIT", "2025-01-27T07:30:00Z")]
    await hub.answer("IN_TRANSIT", *scans)
    assert await hub.sweep() == 1
    assert await hub.open("tracker", TRACKER) == []
    assert await hub.changes() == [("STALLED", True, "bp-1"), ("STALLED", False, "bp-1")]


async def test_a_scan_on_thursday_is_quiet_over_the_weekend(hub: Hub) -> None:
    await hub.event("PACKAGE_DELIVERY_IN_TRANSIT")
    hub.at("2025-01-23T10:00:00Z")
    await hub.answer("IN_TRANSIT", ("IN_TRANSIT", "2025-01-23T10:00:00Z"))

    while hub.now < parse_instant("2025-01-28T09:00:00Z"):
        hub.later(HOUR)
        assert await hub.sweep() == 0
    hub.at("2025-01-28T10:00:00Z")
    assert await hub.confirmed() == [0, 1]


async def test_scenario_17_a_label_for_five_business_days_then_delivered_without_scans(hub: Hub) -> None:
    await hub.event("PACKAGE_DELIVERY_IN_TRANSIT")
    await hub.answer("IN_TRANSIT", ("INFO_RECEIVED", "2025-01-20T11:00:00Z"))
    hub.at("2025-01-27T12:00:00Z")

    assert await hub.confirmed() == [0, 1]
    assert await hub.open("delivery", "d-1") == ["NEVER_SCANNED"]

    hub.later(HOUR)
    await hub.event("PACKAGE_DELIVERED")
    assert await hub.sweep() == 1
    assert await hub.open("delivery", "d-1") == []
    assert await hub.changes() == [("NEVER_SCANNED", True, "bp-1"), ("NEVER_SCANNED", False, "bp-1")]


async def never_scanned(hub: Hub, bp: str = "bp-1") -> None:
    """A delivery whose label is older than it should be, seen for the first time."""
    await hub.event("PACKAGE_DELIVERY_IN_TRANSIT", bp)
    hub.later(7 * DAY)


async def test_raising_needs_two_evaluations_a_minute_apart(hub: Hub) -> None:
    await never_scanned(hub)

    assert await hub.sweep() == 0
    hub.later(MINUTE - 1)
    assert await hub.sweep() == 0
    hub.later(1)
    assert await hub.sweep() == 1
    hub.later(MINUTE)
    assert await hub.sweep() == 0


async def test_what_holds_only_once_is_not_raised(hub: Hub) -> None:
    await never_scanned(hub)
    assert await hub.sweep() == 0
    await hub.event("PACKAGE_DELIVERED")

    assert await hub.confirmed() == [0, 0]
    assert await hub.changes() == []


async def test_a_restart_asks_for_two_evaluations_again(hub: Hub) -> None:
    await never_scanned(hub)
    await hub.sweep()
    hub.sweeper = hub.new_sweeper()
    hub.later(MINUTE)

    assert await hub.sweep() == 0
    hub.later(MINUTE)
    assert await hub.sweep() == 1


async def test_nothing_is_raised_twice_while_the_projector_is_behind(hub: Hub) -> None:
    await never_scanned(hub)
    await hub.sweeper.sweep()
    hub.later(MINUTE)
    assert await hub.sweeper.sweep() == 1
    key = ("delivery", "bp-1", "d-1")

    for _ in range(3):
        hub.later(HOUR)
        # What a projector does that folds older records: put the view again, and make it due.
        await hub.store.write(lambda tx: tx.views.recheck({key: hub.now}))
        assert await hub.sweeper.sweep() == 0
    await hub.project()
    assert await hub.open("delivery", "d-1") == ["NEVER_SCANNED"]
    assert await hub.confirmed() == [0, 0]
    assert len(await hub.changes()) == 1


async def test_business_products_are_apart(hub: Hub) -> None:
    await hub.event("PACKAGE_DELIVERY_IN_TRANSIT", "bp-1")
    await hub.event("PACKAGE_DELIVERY_IN_TRANSIT", "bp-2")
    await hub.event("PACKAGE_DELIVERED", "bp-2")
    hub.later(7 * DAY)

    assert await hub.confirmed() == [0, 1]
    assert await hub.open("delivery", "d-1", "bp-1") == ["NEVER_SCANNED"]
    assert await hub.open("delivery", "d-1", "bp-2") == []


async def test_pickup_ages_step_by_step(hub: Hub) -> None:
    await hub.event("PACKAGE_DELIVERY_IN_TRANSIT")
    scan = ("AVAILABLE_FOR_PICKUP", "2025-01-20T12:00:00Z")
    await hub.answer("IN_TRANSIT", scan)

    for day, count in (("23", 1), ("25", 2), ("27", 3)):
        hub.at(f"2025-01-{day}T13:00:00Z")
        assert await hub.confirmed() == [0, 1]
        document = msgspec.json.decode((await hub.view("tracker", TRACKER)).document)
        assert [(c["code"], c["count"]) for c in document["conditions"]] == [("PICKUP_AGING", count)]
    hub.later(20 * DAY)
    assert await hub.confirmed() == [0, 0]


async def test_t12_tracking_expires_and_a_new_fact_clears_it(hub: Hub) -> None:
    await hub.event("PACKAGE_DELIVERY_IN_TRANSIT")
    await hub.answer("IN_TRANSIT", ("INFO_RECEIVED", "2025-01-20T11:00:00Z"))
    hub.later(91 * DAY)

    await hub.confirmed()
    assert "TRACKING_EXPIRED" in await hub.open("tracker", TRACKER)
    await hub.confirmed()
    assert "NEVER_SCANNED" not in await hub.open("delivery", "d-1")
    await hub.answer("IN_TRANSIT", ("INFO_RECEIVED", "2025-01-20T11:00:00Z"), ("IN_TRANSIT", hub.iso()))
    await hub.sweep()
    assert await hub.open("tracker", TRACKER) == []


async def test_d3_movement_without_a_ship_event_until_the_event_comes(hub: Hub) -> None:
    await hub.answer("PENDING", ("IN_TRANSIT", "2025-01-20T11:00:00Z"))
    hub.at("2025-01-20T16:58:00Z")
    assert await hub.confirmed() == [0, 0]
    hub.at("2025-01-20T17:00:00Z")
    assert await hub.confirmed() == [0, 1]
    document = msgspec.json.decode((await hub.view("delivery", "d-1")).document)
    assert [(c["code"], c["kind"]) for c in document["conditions"]] == [
        ("CONTRADICTION", "moving_without_ship_event")
    ]

    await hub.event("PACKAGE_DELIVERY_IN_TRANSIT")
    assert await hub.sweep() == 1
    assert await hub.open("delivery", "d-1") == []


async def test_d3_the_order_and_its_tracker_disagree_on_delivered(hub: Hub) -> None:
    await hub.event("PACKAGE_DELIVERY_IN_TRANSIT")
    scans = [("IN_TRANSIT", "2025-01-20T13:00:00Z"), ("DELIVERED", "2025-01-20T15:00:00Z")]
    hub.at("2025-01-20T16:00:00Z")
    await hub.answer("IN_TRANSIT", *scans)
    hub.at("2025-01-20T21:00:00Z")
    assert await hub.confirmed() == [0, 1]
    await hub.event("PACKAGE_DELIVERED")
    assert await hub.sweep() == 1
    assert await hub.open("delivery", "d-1") == []


async def test_d3_delivered_while_the_tracker_still_moves(hub: Hub) -> None:
    await hub.event("PACKAGE_DELIVERY_IN_TRANSIT")
    await hub.answer("IN_TRANSIT", ("IN_TRANSIT", "2025-01-20T13:00:00Z"))
    await hub.event("PACKAGE_DELIVERED")
    hub.later(DAY)
    assert await hub.confirmed() == [0, 1]
    await hub.answer(
        "DELIVERED", ("IN_TRANSIT", "2025-01-20T13:00:00Z"), ("DELIVERED", "2025-01-20T14:00:00Z")
    )
    assert await hub.sweep() == 1


async def test_late_by_the_first_promise_until_it_is_delivered(hub: Hub) -> None:
    await hub.event("PACKAGE_DELIVERY_IN_TRANSIT")
    scan = ("IN_TRANSIT", "2025-01-20T13:00:00Z")
    await hub.answer("IN_TRANSIT", scan, promised="2025-01-21")
    hub.later(HOUR)
    await hub.answer("IN_TRANSIT", scan, promised="2025-01-22")

    assert await hub.confirmed() == [0, 1]
    assert await hub.open("delivery", "d-1") == ["WILL_BE_LATE"]
    hub.at("2025-01-22T02:00:00Z")
    # The milder one goes at once, the worse one comes when it is confirmed.
    assert await hub.confirmed() == [1, 1]
    assert await hub.open("delivery", "d-1") == ["LATE"]
    await hub.event("PACKAGE_DELIVERED")
    assert await hub.sweep() == 1
    assert await hub.open("delivery", "d-1") == []


async def test_a_poison_document_stops_nothing_and_is_looked_at_again(hub: Hub) -> None:
    await never_scanned(hub)
    broken = [
        View("delivery", "bp-1", f"broken-{n}", body, "PENDING", check_at=hub.now)
        for n, body in enumerate(
            (b"", b"[]", b"{}", b'{"state":"IN_TRANSIT","trackers":[1],"conditions":3}', b"\xff")
        )
    ]
    await hub.store.write(lambda tx: tx.views.put(broken))

    assert await hub.confirmed() == [0, 1]
    checks = {(await hub.view("delivery", view.id)).check_at for view in broken}
    assert checks == {Instant(hub.now - MINUTE + HOUR)}


async def test_views_that_time_does_not_change_are_let_go(hub: Hub) -> None:
    await hub.answer("CANCELLED")
    order = msgspec.structs.replace(await hub.view("order", "o-1"), check_at=hub.now)
    other = View("world", "bp-1", "o-9", b"{}", "PENDING", check_at=hub.now)
    await hub.store.write(lambda tx: tx.views.put([order, other]))

    assert await hub.sweep() == 0
    assert (await hub.view("order", "o-1")).check_at is None
    assert (await hub.view("world", "o-9")).check_at is None


async def test_more_views_than_a_page(hub: Hub) -> None:
    document = {
        "orderId": "o-1",
        "state": "IN_TRANSIT",
        "claimedState": "IN_TRANSIT",
        "shipEvidence": {"kind": "event", "at": "2025-01-02T00:00:00Z", "inferred": False},
        "events": {"inTransit": "2025-01-02T00:00:00Z"},
        "estimatedDelivery": None,
        "trackers": [],
        "conditions": [],
    }
    views = [
        View(
            "delivery",
            "bp-1",
            f"d-{n}",
            msgspec.json.encode({**document, "id": f"d-{n}"}),
            "",
            check_at=Instant(n),
        )
        for n in range(450)
    ]
    await hub.store.write(lambda tx: tx.views.put(views))

    assert await hub.sweeper.sweep() == 0
    hub.later(MINUTE)
    assert await hub.sweeper.sweep() == 450
    assert len(set(record_subjects(await hub.store.read(lambda tx: tx.journal.after(0, 1_000))))) == 450


def record_subjects(records: list[Record]) -> list[str]:
    return [msgspec.json.decode(r.body, type=ConditionChange).subject for r in records]


class Interrupted:
    """The store, with something happening between the sweeper's reading and its writing."""

    def __init__(self, store: Store, meanwhile: Callable[[Transaction], object]) -> None:
        self._store = store
        self._meanwhile = meanwhile

    async def read(self, function: Callable[[Transaction], Any]) -> Any:
        found = await self._store.read(function)
        await self._store.write(self._meanwhile)
        return found

    async def write(self, function: Callable[[Transaction], Any]) -> Any:
        return await self._store.write(function)


async def test_a_view_folded_anew_meanwhile_is_left_as_it_is(hub: Hub) -> None:
    await never_scanned(hub)
    await hub.sweep()
    hub.later(MINUTE)
    view = await hub.view("delivery", "d-1")
    document = {**msgspec.json.decode(view.document), "state": "DELIVERED"}
    newer = msgspec.structs.replace(
        view, document=msgspec.json.encode(document), position=99, check_at=Instant(7)
    )
    hub.sweeper._store = Interrupted(hub.store, lambda tx: tx.views.put([newer]))  # type: ignore[assignment]

    assert await hub.sweeper.sweep() == 0
    assert (await hub.view("delivery", "d-1")).check_at == 7


class Away:
    """A store whose database is away for the first sweep."""

    def __init__(self, store: Store, swept: asyncio.Event) -> None:
        self._store = store
        self._swept = swept
        self.reads = 0

    async def read(self, function: Callable[[Transaction], Any]) -> Any:
        self.reads += 1
        if self.reads == 1:
            raise StoreUnavailable
        found = await self._store.read(function)
        self._swept.set()
        return found


async def test_it_runs_until_it_is_stopped_and_outlives_an_outage(hub: Hub) -> None:
    swept, stop = asyncio.Event(), asyncio.Event()
    store = Away(hub.store, swept)
    sweeper = Sweeper(store, POLICY, hub.clock, interval_ms=1)  # type: ignore[arg-type]
    running = asyncio.create_task(sweeper.run(stop))

    await asyncio.wait_for(swept.wait(), 60)
    stop.set()
    await asyncio.wait_for(running, 60)
    assert store.reads > 1


# ── Corrections ────────────────────────────────────────────────────────────────────────────────────────────


async def told(hub: Hub, subject: str, state: str, expires: Instant) -> None:
    """An agent's word, from now until then."""
    about = ("order/o-1", subject)
    said = Correction(
        f"cor_{subject}",
        subject,
        "o-1",
        state,
        hub.iso(),
        hub.now,
        "ada",
        "The shopper called.",
        about,
        expires,
    )
    body = msgspec.json.encode(said)
    new = NewRecord("correction", "bp-1", "correction", hub.now, hub.now, "api", body)
    await hub.store.write(lambda tx: tx.journal.add([new]))
    await hub.project()


async def ends(hub: Hub) -> list[tuple[str, str, Instant]]:
    records = await hub.store.read(lambda tx: tx.journal.after(0, 500))
    bodies = [msgspec.json.decode(r.body, type=Withdrawal) for r in records if r.kind == "withdrawal"]
    return [(end.correction, end.outcome, end.at) for end in bodies]


async def test_a_correction_that_expires_is_ended_once_and_counts_no_longer(hub: Hub) -> None:
    await hub.event("PACKAGE_DELIVERY_IN_TRANSIT")
    await hub.answer("IN_TRANSIT", ("IN_TRANSIT", hub.iso()))
    until = Instant(hub.now + DAY)
    for subject, state in (("delivery/d-1", "DELIVERED"), (f"tracker/{TRACKER}", "LOST")):
        await told(hub, subject, state, until)
    assert ((await hub.view("delivery", "d-1")).state, (await hub.view("tracker", TRACKER)).state) == (
        "DELIVERED",
        "LOST",
    )
    assert (await hub.view("delivery", "d-1")).check_at == until
    hub.later(DAY - MINUTE)
    assert (await hub.sweep(), await ends(hub)) == (0, [])
    hub.later(MINUTE)
    # The projector is behind: nothing is journalled twice meanwhile.
    assert [await hub.sweeper.sweep(), await hub.sweeper.sweep()] == [2, 0]
    await hub.project()
    assert await hub.sweep() == 0
    assert sorted(await ends(hub)) == [
        ("cor_delivery/d-1", "expired", until),
        (f"cor_tracker/{TRACKER}", "expired", until),
    ]
    assert ((await hub.view("delivery", "d-1")).state, (await hub.view("tracker", TRACKER)).state) == (
        "IN_TRANSIT",
        "IN_TRANSIT",
    )


async def test_an_expiry_is_not_journalled_again_when_something_else_folds_the_view_first(hub: Hub) -> None:
    await hub.event("PACKAGE_DELIVERY_IN_TRANSIT")
    await told(hub, "delivery/d-1", "DELIVERED", Instant(hub.now + HOUR))
    assert await hub.sweep() == 0
    hub.later(HOUR)
    # A record before the end's is folded after the end was journalled: the view is due again, and doesn't show it.
    body = msgspec.json.encode(
        Snapshot(
            "order",
            hub.now,
            hub.now,
            {"id": "o-1", "packageInformation": {"details": [{"id": "d-1", "state": "IN_TRANSIT"}]}},
            "o-1",
        )
    )
    new = NewRecord("snapshot", "bp-1", "order", hub.now, hub.now, "hydration", body)
    await hub.store.write(lambda tx: tx.journal.add([new]))
    assert await hub.sweeper.sweep() == 1
    one_by_one = Consumer(
        hub.store, NAME, Projector(hub.store, POLICY, hub.clock).prepare, hub.clock, batch=1
    )
    await one_by_one.step()
    assert (await hub.view("delivery", "d-1")).state == "DELIVERED"
    assert await hub.sweeper.sweep() == 0
    await hub.project()
    assert len(await ends(hub)) == 1
    assert (await hub.view("delivery", "d-1")).state == "IN_TRANSIT"
