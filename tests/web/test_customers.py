"""The orders of an address for a helpdesk: what they say, in which order, and who is told what."""

from typing import Any

import pytest
from tests.web.told import tell, went
from tests.web.world import World, event, milestone, one_delivery, order, tracker

from milepost.store import Store

SECRET = "a-secret-of-at-least-thirty-two-characters"
PATH, ADA = "/v1/customers", "ada@example.com"


async def items(world: World, key: str | None = None, **query: Any) -> list[dict[str, Any]]:
    answer = await world.get(PATH, *([] if key is None else [key]), **{"email": ADA, **query})
    assert answer.status_code == 200, answer.text
    assert answer.json()["next"] is None
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


async def test_an_order_is_listed_as_search_lists_it(world: World) -> None:
    await one_delivery(world)
    await went(
        world, await tell(world, kind="delivered"), "claim", "sent", channel="email", sent_at=world.now
    )
    (item,) = await items(world)
    found = (await world.get("/v1/search", q="order-1")).json()["items"][0]
    said = {name: item[name] for name in found if name != "matched"}
    assert said == {name: value for name, value in found.items() if name != "matched"}
    assert item["lastMessage"]["text"] == "The shopper was told that the parcel was delivered, by email."
    assert item["links"] == {
        "console": "/orders/order-1?businessProductId=bp-1",
        "order": "/v1/orders/order-1?businessProductId=bp-1",
        "shopper": None,
    }
    assert (await world.get(item["links"]["order"])).json()["id"] == "order-1"
    assert "Your parcel was delivered." in item["reply"]
    assert [alias["aliasId"] for alias in item["aliases"]] == ["shop-order-1"]


async def test_an_address_in_other_letters_is_the_same_and_another_has_none(world: World) -> None:
    await one_delivery(world)
    assert len(await items(world, email=" ADA@Example.com ")) == 1
    assert await items(world, email="ada@example.co") == [], "a beginning is no address"
    for odd in ("", "ada", "x" * 300 + "@example.com"):
        assert (await world.get(PATH, email=odd)).status_code == 400


async def test_the_newest_come_first_and_no_more_than_asked(world: World) -> None:
    for number in (1, 2, 3):
        await world.answer("order", order(f"order-{number}"), order_id=f"order-{number}")
    await world.project()
    await world.event(event("REFUND_REQUESTED", 7, "order/order-2"))
    await world.project()
    assert [item["id"] for item in await items(world)] == ["order-2", "order-3", "order-1"]
    assert [item["id"] for item in await items(world, limit=2)] == ["order-2", "order-3"]


async def test_an_alias_that_looks_like_an_address_is_none(world: World) -> None:
    odd = order("order-1") | {"customer": {"contact": {"name": "Bob", "email": "bob@example.com"}}}
    odd["aliases"] = [{"aliasId": ADA, "aliasType": "EXTERNAL"}]
    await world.answer("order", odd, order_id="order-1")
    await world.project()
    assert await items(world) == []
    assert len(await items(world, email="bob@example.com")) == 1


async def test_replies_are_in_a_language_that_there_is(world: World) -> None:
    await one_delivery(world)
    (item,) = await items(world, locale="es-MX")
    assert "Tu paquete se ha entregado." in item["reply"]
    assert (await world.get(PATH, email=ADA, locale="xx")).json()["field"] == "locale"


async def test_a_shoppers_page_is_made_where_it_is_asked_for(store: Store) -> None:
    world = World(store, tracking_secrets=(SECRET,))
    await one_delivery(world)
    (item,) = await items(world, shopperPage="true")
    page = item["links"]["shopper"]
    assert page.startswith("/track/")
    assert (await world.get(f"{page}.json", None)).json()["orderId"] == "order-1"
    reading = await world.key("read")
    assert (await world.get(PATH, reading, email=ADA, shopperPage="true")).status_code == 403
    assert len(await items(world, reading)) == 1


async def test_without_a_secret_there_is_no_page(world: World) -> None:
    await one_delivery(world)
    assert (await world.get(PATH, email=ADA, shopperPage="true")).json()["code"] == "conflict"


@pytest.mark.parametrize(("product", "count"), [("bp-1", 1), ("bp-2", 1), ("bp-3", 0)])
async def test_only_the_keys_business_products_are_looked_in(world: World, product: str, count: int) -> None:
    await one_delivery(world, "bp-1")
    await one_delivery(world, "bp-2")
    found = await items(world, await world.key("read", product))
    assert [item["businessProductId"] for item in found] == [product] * count


async def test_conditions_and_the_estimate_stand_in_it(world: World) -> None:
    late = tracker(milestone("DELAYED", world.at()))
    await world.answer("order", order("order-1", ("delivery-1", "IN_TRANSIT", late)), order_id="order-1")
    await world.project()
    (item,) = await items(world)
    assert item["conditions"] == ["DELAYED"]
    assert item["estimatedDelivery"]["latestDate"] == "2025-01-23"
    assert "Your parcel is delayed." in item["reply"]
