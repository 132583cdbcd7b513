"""Noticing over a real store: notifications are committed with the fold, once, whatever crashes or is rebuilt."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from tests.unit.domain.history import (
    BOX,
    BP,
    DELIVERED,
    ORDER,
    SHIPPED,
    UPS,
    Arrived,
    event,
    package,
    scan,
    tracker_answer,
)
from tests.unit.domain.shop import POLICY, known
from tests.unit.pipeline import projecting
from tests.unit.pipeline.projecting import dump, forget, keep

from milepost import people, sql
from milepost.config import Config
from milepost.domain import noticing as rules
from milepost.domain.condition import Policy
from milepost.domain.instant import DAY, MINUTE, Instant, parse_instant
from milepost.domain.notification import Notification
from milepost.domain.notification_policy import quiet_hours_from
from milepost.domain.record import order_subject
from milepost.hub import Hub, projector_handler
from milepost.pipeline.consumer import Consumer, Prepare
from milepost.pipeline.noticing import SINCE, Noticing, switch
from milepost.pipeline.projector import NAME, Projector
from milepost.pipeline.rebuild import verify
from milepost.pipeline.telling import NOTICED
from milepost.store import Store

KNOWN = known("2025-03-01T08:00:00Z", package(BOX, "PENDING", tracker=UPS))
SHIP = event(SHIPPED, "2025-03-01T10:00:00Z")
OUT = tracker_answer(
    "2025-03-03T16:10:00Z",
    UPS,
    scan("IN_TRANSIT", "2025-03-01T09:00:00-08:00"),
    scan("OUT_FOR_DELIVERY", "2025-03-03T08:00:00-08:00"),
)
ARRIVE = event(DELIVERED, "2025-03-03T20:00:00Z")


class World:
    """A store and a projector that is followed, and a clock that stands until it is stepped."""

    def __init__(self, folder: Path, *, on: bool = True) -> None:
        self.path = folder / "hub.db"
        self.now = projecting.NOW
        self.on = on

    async def open(self) -> "World":
        self.store: Store = await sql.open_store(f"sqlite:///{self.path}", clock=self.clock, owner="test")
        await switch(self.store, self.on, self.now)
        self.projector = Consumer(self.store, NAME, self.handler(), self.clock)
        return self

    def handler(self) -> Prepare:
        followers = [Noticing(POLICY)] if self.on else []
        return Projector(self.store, Policy(), self.clock, followers=followers).prepare

    async def close(self) -> None:
        await self.store.close()

    def clock(self) -> Instant:
        return self.now

    async def come(self, *arrived: Arrived, at: str = "") -> None:
        self.now = parse_instant(at) if at else self.now
        await keep(self.store, *arrived)
        await self.projector.catch_up()

    async def switched(self, on: bool, at: str) -> None:
        """The hub is started again with another setting."""
        await self.close()
        self.on, self.now = on, parse_instant(at)
        await self.open()

    async def ledger(self) -> list[Notification]:
        page = await self.store.read(lambda tx: tx.notifications.page(0, 500, None))
        return [notification for _, notification in page]

    async def fates(self) -> list[tuple[str, str, int]]:
        return [(n.kind, n.state, n.rule) for n in await self.ledger()]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = await World(tmp_path).open()
    yield made
    await made.close()


async def test_what_a_fold_makes_news_waits_for_its_hold(world: World) -> None:
    await world.come(KNOWN)
    assert await world.ledger() == []
    await world.come(SHIP, at="2025-03-01T10:01:00Z")
    (shipped,) = await world.ledger()
    assert (shipped.business_product_id, shipped.order_id, shipped.delivery_id) == (BP, ORDER, BOX)
    assert (shipped.kind, shipped.state, shipped.occurred_at) == (
        "shipped",
        "WAITING",
        parse_instant("2025-03-01T10:00:00Z"),
    )
    assert (shipped.decided_at, shipped.due_at) == (world.now, world.now + 10 * MINUTE)
    assert await world.store.read(lambda tx: tx.notifications.next_due()) == shipped.due_at
    await world.come(ARRIVE, at="2025-03-03T20:01:00Z")
    assert (await world.ledger())[-1].due_at == world.now + 30 * MINUTE


async def test_rule_15_an_intent_is_committed_with_its_fold(world: World) -> None:
    class Killed(BaseException):
        pass

    def kill(point: str) -> None:
        raise Killed

    await world.come(KNOWN)
    dying = Consumer(world.store, NAME, world.handler(), world.clock, probe=kill)
    await keep(world.store, SHIP)
    with pytest.raises(Killed):
        await dying.step()
    assert await world.ledger() == []
    assert (await projecting.document(world.store, "order", ORDER))["state"] == "PENDING"
    await world.close()
    await world.open()
    await world.projector.catch_up()
    assert await world.fates() == [("shipped", "WAITING", 0)]
    assert (await projecting.document(world.store, "order", ORDER))["state"] == "IN_TRANSIT"


async def test_rule_08_a_rebuild_adds_none(world: World) -> None:
    await world.come(KNOWN, SHIP, at="2025-03-01T10:01:00Z")
    await world.come(OUT, at="2025-03-03T16:11:00Z")
    before = await dump(world.store), await world.ledger()
    world.now = Instant(world.now + DAY)
    await forget(world.store)
    await world.projector.catch_up()
    assert (await dump(world.store), await world.ledger()) == before
    assert await verify(world.store, world.handler(), world.clock) == []


async def test_rule_08_a_rebuild_that_was_broken_off_goes_on_with_what_came_meanwhile(world: World) -> None:
    await world.come(KNOWN, SHIP, at="2025-03-01T10:01:00Z")
    told = await world.ledger()
    await forget(world.store)
    few = Consumer(world.store, NAME, world.handler(), world.clock, batch=1)
    await few.step()
    assert await world.ledger() == told
    await world.come(ARRIVE, at="2025-03-03T20:01:00Z")
    ledger = await world.ledger()
    assert ledger[: len(told)] == told
    assert [n.kind for n in ledger[len(told) :]] == ["delivered"]


async def test_rule_08_an_event_that_comes_again_or_is_replayed_makes_none(world: World) -> None:
    await world.come(KNOWN, SHIP, at="2025-03-01T10:01:00Z")
    told = await world.ledger()
    await world.come(SHIP, KNOWN, replace(SHIP, road="replay"))
    await world.come(event(SHIPPED, "2025-03-01T10:00:00Z", id="new", key="new"))
    assert await world.ledger() == told


async def test_rule_08_switched_on_late_nothing_is_told_about_the_past(tmp_path: Path) -> None:
    world = await World(tmp_path, on=False).open()
    await world.come(KNOWN, SHIP, OUT, at="2025-03-03T16:11:00Z")
    assert await world.ledger() == []
    await world.switched(True, "2025-03-03T18:00:00Z")
    await world.come(ARRIVE, at="2025-03-03T20:01:00Z")
    assert await world.fates() == [
        ("shipped", "SUPPRESSED", 8),
        ("in_transit", "SUPPRESSED", 8),
        ("out_for_delivery", "SUPPRESSED", 8),
        ("delivered", "WAITING", 0),
    ]
    await world.close()


async def test_rule_08_switched_off_and_on_again_nothing_is_told_about_the_time_between(world: World) -> None:
    await world.come(KNOWN, SHIP, at="2025-03-01T10:01:00Z")
    await world.switched(False, "2025-03-02T00:00:00Z")
    await world.come(OUT, at="2025-03-03T16:11:00Z")
    await world.switched(True, "2025-03-03T18:00:00Z")
    since = await world.store.read(lambda tx: tx.journal.checkpoint(SINCE))
    await world.switched(True, "2025-03-03T19:00:00Z")
    assert await world.store.read(lambda tx: tx.journal.checkpoint(SINCE)) == since
    await world.come(ARRIVE, at="2025-03-03T20:01:00Z")
    assert await world.fates() == [
        ("shipped", "WAITING", 0),
        ("in_transit", "SUPPRESSED", 8),
        ("out_for_delivery", "SUPPRESSED", 8),
        ("delivered", "WAITING", 0),
    ]


async def test_rule_02_what_retention_forgot_is_not_told_twice(world: World) -> None:
    await world.come(KNOWN, SHIP, at="2025-03-01T10:01:00Z")
    told = await world.ledger()
    kept = (BP, f"{NOTICED}/{order_subject(ORDER)}")
    assert kept in await world.store.read(lambda tx: tx.ledger.told([kept]))
    await world.store.write(lambda tx: tx.ledger.tell({kept: b""}))
    await world.come(ARRIVE, at="2025-03-03T20:01:00Z")
    ledger = await world.ledger()
    assert ledger[0] == told[0]
    assert [n.kind for n in ledger] == ["shipped", "delivered"]


async def test_one_batch_or_one_record_at_a_time_makes_the_same(tmp_path: Path) -> None:
    made = set()
    facts = (KNOWN, SHIP, OUT, ARRIVE)
    for step in (1, len(facts)):
        folder = tmp_path / str(step)
        folder.mkdir()
        world = await World(folder).open()
        for start in range(0, len(facts), step):
            await world.come(*facts[start : start + step])
        made.add(tuple(sorted(n.id for n in await world.ledger())))
        await world.close()
    assert len(made) == 1


async def test_a_view_that_cannot_be_noticed_stops_nothing_and_is_noticed_later(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any) -> None:
        raise LookupError("a view nobody thought of")

    with monkeypatch.context() as patched:
        patched.setattr(rules, "states_of", broken)
        await world.come(KNOWN, SHIP, at="2025-03-01T10:01:00Z")
    failures = await world.store.read(lambda tx: tx.views.failures(0, 10, None))
    assert [(f.consumer, f.subject) for f in failures] == [(NOTICED, order_subject(ORDER))]
    assert await world.ledger() == []
    await world.come(ARRIVE, at="2025-03-03T20:01:00Z")
    assert [n.kind for n in await world.ledger()] == ["shipped", "delivered"]


@pytest.mark.parametrize("on", [False, True])
async def test_the_hub_follows_only_where_notifications_are_on(tmp_path: Path, on: bool) -> None:
    config = Config(
        database_url=f"sqlite:///{tmp_path / 'hub.db'}",
        webhook_username="amazon",
        webhook_password="s3cret",
        tracking_secret="t" * 32,
        notifications=on,
        notification_channels=("webhook",),
        notification_webhook_url="https://notify.shop.example/",
        notification_webhook_secret="whsec_" + "A" * 32,
    )
    assert (NOTICED in [f.name for f in people.followers(config)]) == on
    hub = Hub(config, clock=projecting.clock)
    await hub.open()
    assert await hub.store.read(lambda tx: tx.journal.checkpoint(SINCE)) == (projecting.NOW if on else 0)
    await keep(hub.store, KNOWN, SHIP)
    handler = projector_handler(config, hub.store, projecting.clock)
    await Consumer(hub.store, NAME, handler, projecting.clock).catch_up()
    assert await hub.store.read(lambda tx: tx.notifications.count()) == ({"WAITING": 1} if on else {})
    await hub.close()


def test_the_shops_settings_are_the_rules_policy() -> None:
    config = Config(
        notification_channels=("webhook", "email"),
        notification_earlier_estimates=True,
        quiet_hours="21:30-08:00",
        timezone="America/Los_Angeles",
        notifications_per_day=5,
    )
    changed = {
        "channels": ("webhook", "email"),
        "earlier_estimates": True,
        "quiet_hours": (1290, 480),
        "per_day": 5,
    }
    assert people.notification_policy(config) == replace(POLICY, **changed)
    assert quiet_hours_from("") is quiet_hours_from("08:00-08:00") is None
