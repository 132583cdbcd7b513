"""Retention over HTTP: the setting with its horizons, a dry run, removing at once, and who may."""

from typing import Any

import pytest
from tests.web.world import SECOND, World, event

from milepost.domain.condition import Policy
from milepost.domain.instant import DAY, Instant
from milepost.pipeline import ageing
from milepost.pipeline.retention import Retention
from milepost.store import Store

DAYS = 120
TOLD = 3
"""Intents of an order of one delivered parcel: it shipped, it was delivered, how the order stands."""
PER_ORDER = 1 + TOLD


def world_of(store: Store, days: int) -> World:
    world: World

    def clock() -> Instant:
        return world.now

    world = World(
        store, retention=Retention(store, Policy(), clock, days, consumers=("projector",), pause_s=0)
    )
    return world


@pytest.fixture
def world(store: Store) -> World:
    return world_of(store, DAYS)


async def closed(world: World, orders: int = 1) -> None:
    """Orders that were delivered long ago, and one thing from today."""
    for number in range(orders):
        await world.event(event("PACKAGE_DELIVERED", number, f"order/order-{number}/delivery/box-{number}"))
        await world.project()
    world.now = Instant(world.now + DAYS * DAY + SECOND)
    await world.event(event("BUYABILITY_CHANGED", 1_000, "items/item-1"))
    await world.project()


def tally(orders: int) -> dict[str, int]:
    return {"orders": orders, "deliveries": orders, "trackers": 0, "records": orders * PER_ORDER}


async def test_a_dry_run_then_the_removal(world: World) -> None:
    await closed(world)
    shown = (await world.get("/v1/retention")).json()
    assert (shown["days"], shown["removedRecords"], shown["lastRunAt"]) == (DAYS, 0, None)
    assert shown["horizons"][0]["name"] == "tracking"
    assert shown["plan"] == {
        "days": DAYS,
        "removable": tally(1),
        "oldest": "2025-01-20T12:00:01Z",
        "kept": {},
        "next": None,
    }
    assert (await world.get("/v1/orders/order-0")).status_code == 200
    answer = await world.post("/v1/retention")
    assert (answer.status_code, answer.json()) == (200, {"removed": tally(1), "next": None})
    for path in ("/v1/orders/order-0", "/v1/deliveries/box-0", "/v1/events/event-0"):
        assert (await world.get(path)).status_code == 404
    events = (await world.get("/v1/events")).json()["items"]
    assert [item["position"] for item in events] == [1 + PER_ORDER]
    assert (await world.get("/v1/search", q="order-0")).json()["items"] == []
    shown = (await world.get("/v1/retention")).json()
    assert (shown["removedRecords"], shown["plan"]["removable"]) == (PER_ORDER, tally(0))
    assert f"milepost_removed_total {PER_ORDER}.0" in (await world.get("/metrics")).text


async def test_what_stays_is_counted_by_reason(world: World) -> None:
    await world.event(event("RETURN_STARTED", 77, "order/order-0/return/r"))
    await closed(world, 2)
    plan = (await world.get("/v1/retention")).json()["plan"]
    assert (plan["removable"], plan["kept"]) == (tally(1), {"return": 1})
    assert (await world.post("/v1/retention")).json()["removed"] == tally(1)
    assert (await world.get("/v1/orders/order-0")).status_code == 200


async def test_a_long_way_is_gone_in_steps(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ageing, "PAGE", 2 * PER_ORDER)
    monkeypatch.setattr(Retention.plan, "__defaults__", (None, 0, 2))
    monkeypatch.setattr(Retention.remove, "__defaults__", (0, 2))
    await closed(world, 5)
    plan = (await world.get("/v1/retention")).json()["plan"]
    assert (plan["removable"], plan["next"]) == (tally(2), 2 * PER_ORDER)
    plan = (await world.get("/v1/retention", after=4 * PER_ORDER)).json()["plan"]
    assert (plan["removable"], plan["next"]) == (tally(1), None)
    seen: list[dict[str, Any]] = []
    after = 0
    while after is not None:
        seen.append((await world.post(f"/v1/retention?after={after}")).json())
        after = seen[-1]["next"]
    assert [step["removed"]["orders"] for step in seen] == [2, 2, 1]


async def test_other_days_are_tried_without_setting_them(store: Store) -> None:
    world = world_of(store, 0)
    await closed(world)
    shown = (await world.get("/v1/retention")).json()
    assert (shown["days"], shown["plan"]) == (0, None)
    plan = (await world.get("/v1/retention", days=100)).json()["plan"]
    assert (plan["days"], plan["removable"]) == (100, tally(1))
    answer = await world.get("/v1/retention", days=30)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")
    assert "90 days" in answer.json()["detail"]
    answer = await world.post("/v1/retention")
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert "MILEPOST_RETENTION_DAYS" in answer.json()["detail"]
    assert (await world.get("/v1/orders/order-0")).status_code == 200


async def test_who_may(world: World) -> None:
    reader, operator, admin = [await world.key(scope) for scope in ("read", "operate", "admin")]  # type: ignore[arg-type]
    bound = await world.key("admin", "bp-1")
    seen = [(await world.get("/v1/retention", key)).status_code for key in (reader, operator, admin, bound)]
    assert seen == [403, 200, 200, 403]
    done = [
        (await world.post("/v1/retention", key=key)).status_code for key in (reader, operator, admin, bound)
    ]
    assert done == [403, 403, 200, 403]
    assert (await world.get("/v1/retention", None)).status_code == 401


async def test_a_program_without_retention_says_so(store: Store) -> None:
    answer = await World(store).get("/v1/retention")
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
