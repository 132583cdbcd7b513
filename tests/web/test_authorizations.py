"""Authorizations by the API, and what time makes of them (tracking.md 10; scenario 28)."""

from typing import Any

import pytest
from tests.web.world import HOUR, MINUTE, START, World, event, one_delivery, order

from milepost.domain.condition import Policy
from milepost.domain.instant import DAY, Instant, format_instant
from milepost.domain.intent import decode
from milepost.pipeline.sweeper import Sweeper

PATH = "/v1/orders/order-1/authorization"


def iso(ms: int) -> str:
    return format_instant(Instant(START + ms))


async def tell(world: World, before: str, product: str | None = "bp-1", **more: str) -> dict[str, Any]:
    query = "" if product is None else f"?businessProductId={product}"
    answer = await world.put(PATH + query, {"captureBefore": before} | more)
    assert answer.status_code == 200, answer.text
    await world.project()
    shown: dict[str, Any] = answer.json()
    return shown


async def sweep(world: World, sweeper: Sweeper) -> None:
    """Two evaluations, far enough apart to raise, each folded."""
    for _ in range(2):
        await sweeper.sweep()
        await world.project()
        world.now = Instant(world.now + MINUTE)


async def open_conditions(world: World) -> list[str]:
    shown = (await world.get("/v1/orders/order-1")).json()
    return [c["code"] for c in shown["conditions"] if c["clearedAt"] is None]


async def told_of(world: World) -> list[tuple[str, str]]:
    """(code, text) of the timeline's conditions."""
    entries = (await world.get("/v1/orders/order-1/timeline")).json()["items"]
    return [(e["code"], e["text"]) for e in entries if e["kind"] == "condition"]


async def test_an_order_shows_until_when_payment_may_be_collected(world: World) -> None:
    await one_delivery(world)
    assert (await world.get("/v1/orders/order-1")).json()["authorization"] is None
    told = await tell(world, "2025-02-01T12:00:00+01:00", authorizedAt="2025-01-19T00:00:00Z")
    assert told == {
        "authorizedAt": "2025-01-19T00:00:00Z",
        "captureBefore": "2025-02-01T11:00:00Z",
        "toldAt": world.at(),
    }
    assert (await world.get("/v1/orders/order-1")).json()["authorization"] == told


async def test_the_newest_holds_and_the_same_again_changes_nothing(world: World) -> None:
    await one_delivery(world)
    first = await tell(world, iso(DAY))
    position = await world.store.read(lambda tx: tx.journal.last_position())
    world.now = Instant(world.now + HOUR)
    assert await tell(world, iso(DAY)) == first
    assert await world.store.read(lambda tx: tx.journal.last_position()) == position
    second = await tell(world, iso(2 * DAY))
    assert (await world.get("/v1/orders/order-1")).json()["authorization"] == second
    then = (await world.get("/v1/orders/order-1", asOf=first["toldAt"])).json()
    assert then["authorization"] == first


async def test_an_order_becomes_known_by_it(world: World) -> None:
    await tell(world, iso(DAY))
    shown = (await world.get("/v1/orders/order-1")).json()
    assert (shown["state"], shown["deliveries"], shown["businessProductId"]) == ("PENDING", [], "bp-1")


async def test_whose_an_unknown_order_is_must_be_plain(world: World) -> None:
    body = {"captureBefore": iso(DAY)}
    for key in (await world.key("operate"), await world.key("operate", "bp-1", "bp-2")):
        answer = await world.put(PATH, body, key)
        assert (answer.status_code, answer.json()["field"]) == (400, "businessProductId")
    bound = await world.key("operate", "bp-2")
    assert (await world.put(PATH, body, bound)).status_code == 200
    foreign = await world.put(f"{PATH}?businessProductId=bp-1", body, bound)
    assert (foreign.status_code, foreign.json()["code"]) == (404, "not_found")


async def test_an_ambiguous_order_is_refused(world: World) -> None:
    await tell(world, iso(DAY), "bp-1")
    await tell(world, iso(DAY), "bp-2")
    answer = await world.put(PATH, {"captureBefore": iso(2 * DAY)})
    assert (answer.status_code, answer.json()["code"]) == (409, "ambiguous_id")
    assert answer.json()["businessProductIds"] == ["bp-1", "bp-2"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "captureBefore"),
        ({"captureBefore": "tomorrow"}, "captureBefore"),
        ({"captureBefore": "9999-12-31T23:59:59-12:00"}, "captureBefore"),
        ({"captureBefore": "2025-02-01T00:00:00Z", "authorizedAt": "x"}, "authorizedAt"),
        ({"captureBefore": "2025-02-01T00:00:00Z", "authorizedAt": "2025-02-02T00:00:00Z"}, "authorizedAt"),
    ],
)
async def test_what_is_no_authorization_is_refused(world: World, body: dict[str, Any], field: str) -> None:
    answer = await world.put(f"{PATH}?businessProductId=bp-1", body)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")
    assert field in str(answer.json())


async def test_scenario_28_an_authorization_that_ends_in_48_hours_unshipped_is_a_warning(
    world: World,
) -> None:
    sweeper = Sweeper(world.store, Policy(), lambda: world.now)
    await tell(world, iso(3 * DAY))
    await sweep(world, sweeper)
    assert await open_conditions(world) == []

    world.now = Instant(START + DAY)
    await sweep(world, sweeper)
    assert await open_conditions(world) == ["AUTHORIZATION_EXPIRING"]
    shown = (await world.get("/v1/orders/order-1")).json()
    assert shown["conditions"][0]["evidence"] == {"captureBefore": iso(3 * DAY), "hours": 48}
    assert shown["summary"]["worstCondition"] == "AUTHORIZATION_EXPIRING"

    world.now = Instant(START + 3 * DAY)
    await sweep(world, sweeper)
    assert await open_conditions(world) == ["AUTHORIZATION_EXPIRED"]
    listed = (await world.get("/v1/captures", expired=True)).json()["items"]
    assert [(item["orderId"], item["state"]) for item in listed] == [("order-1", "NOT_READY")]

    await world.event(
        event("PACKAGE_DELIVERY_IN_TRANSIT", 1, "order/order-1/delivery/delivery-1", when=world.at())
    )
    await world.project()
    await sweep(world, sweeper)
    assert await open_conditions(world) == []
    listed = (await world.get("/v1/captures", expired=True)).json()["items"]
    assert [item["deliveryId"] for item in listed] == ["delivery-1"]
    told = await world.store.read(lambda tx: tx.journal.after(0, 500))
    assert [
        (record.type, decode(record.body).data["code"])
        for record in told
        if record.type.startswith("condition.")
    ] == [
        ("condition.raised", "AUTHORIZATION_EXPIRING"),
        ("condition.cleared", "AUTHORIZATION_EXPIRING"),
        ("condition.raised", "AUTHORIZATION_EXPIRED"),
        ("condition.cleared", "AUTHORIZATION_EXPIRED"),
    ]
    assert [code for code, _ in await told_of(world)] == [
        "AUTHORIZATION_EXPIRING",
        "AUTHORIZATION_EXPIRING",
        "AUTHORIZATION_EXPIRED",
        "AUTHORIZATION_EXPIRED",
    ]


async def test_what_shipped_in_time_is_no_warning(world: World) -> None:
    sweeper = Sweeper(world.store, Policy(), lambda: world.now)
    await one_delivery(world)
    await tell(world, format_instant(Instant(world.now + HOUR)))
    await sweep(world, sweeper)
    world.now = Instant(world.now + DAY)
    await sweep(world, sweeper)
    assert await open_conditions(world) == []


async def test_a_part_that_has_not_shipped_is_a_warning_and_a_new_deadline_clears_it(world: World) -> None:
    sweeper = Sweeper(world.store, Policy(), lambda: world.now)
    shown = order("order-1", ("delivery-1", "DELIVERED", None), ("delivery-2", "PENDING", None))
    await world.answer("order", shown, order_id="order-1")
    await tell(world, iso(DAY))
    await sweep(world, sweeper)
    assert await open_conditions(world) == ["AUTHORIZATION_EXPIRING"]
    await tell(world, iso(30 * DAY))
    await sweep(world, sweeper)
    assert await open_conditions(world) == []


async def test_a_rebuild_gives_the_same_order(world: World) -> None:
    sweeper = Sweeper(world.store, Policy(), lambda: world.now)
    await tell(world, iso(DAY))
    await sweep(world, sweeper)
    before = await world.store.read(lambda tx: tx.views.dump())

    def forget(tx: Any) -> None:
        tx.views.clear()
        tx.journal.set_checkpoint("projector", 0)

    await world.store.write(forget)
    again = World(world.store)
    await again.project()
    assert await world.store.read(lambda tx: tx.views.dump()) == before
