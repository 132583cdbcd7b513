"""One box: what leads to an order, and what the line about it says."""

import pytest
from tests.web.world import World, event, one_delivery

TERMS = ["order-1", "ORDER-1", "shop-order-1", "1Z999", "1z9", "ada@example.com", "Ada Love", "lovelace"]


@pytest.mark.parametrize("term", TERMS)
async def test_every_term_leads_to_the_order(world: World, term: str) -> None:
    await one_delivery(world)
    items = (await world.get("/v1/search", q=term)).json()["items"]
    assert "order-1" in {item["orderId"] for item in items}
    for item in items:
        assert item["summary"]
        assert term.lower() in item["matched"]


async def test_a_result_says_how_things_stand(world: World) -> None:
    await one_delivery(world)
    items = (await world.get("/v1/search", q="1Z999")).json()["items"]
    by_kind = {item["kind"]: item for item in items}
    tracker = by_kind["tracker"]
    assert tracker["id"] == "ups/1Z999"
    assert tracker["state"] == "DELIVERED"
    assert tracker["lastScanAt"] == "2025-01-21T10:00:00Z"
    assert tracker["estimatedDelivery"]["latestDate"] == "2025-01-23"
    assert tracker["summary"].startswith("UPS 1Z999: ")
    order = (await world.get("/v1/search", q="order-1")).json()["items"][0]
    assert order["kind"] == "order"
    assert order["summary"] == "1 delivery: 1 delivered; for Ada Lovelace"


async def test_only_the_keys_business_products_are_searched(world: World) -> None:
    await one_delivery(world, "bp-1")
    await one_delivery(world, "bp-2")
    bound = await world.key("read", "bp-2")
    items = (await world.get("/v1/search", bound, q="ada")).json()["items"]
    assert {item["businessProductId"] for item in items} == {"bp-2"}


async def test_an_orphan_belongs_to_no_order(world: World) -> None:
    await world.event(event("PACKAGE_TRACKER_MILESTONE_CHANGED", 1, "carrier/UPS/tracker/1Z777"))
    await world.project()
    (item,) = (await world.get("/v1/search", q="1z777")).json()["items"]
    assert (item["kind"], item["orderId"]) == ("tracker", None)


async def test_a_term_that_is_none_is_refused(world: World) -> None:
    for term in ("", "  ", "x" * 257, "a\x00"):
        assert (await world.get("/v1/search", q=term)).status_code == 400
    assert (await world.get("/v1/search")).json()["field"] == "q"
