"""The search page: any of five handles leads to the order in one step, and what it says is what the API says."""

from typing import Any

import pytest
from tests.web.console.parsed import Element, Parsed
from tests.web.console.visits import fetch, look, sign_in
from tests.web.told import tell, went
from tests.web.world import World, event, milestone, one_delivery, order, tracker

from milepost.store import Store
from milepost.web.console.wording import plain

HANDLES = {
    "order-1": "/orders/order-1",
    " ORDER-1 ": "/orders/order-1",
    "shop-order-1": "/orders/order-1",
    "1z999": "/orders/order-1#parcel-1",
    "delivery-1": "/orders/order-1#parcel-1",
    "Ada@example.com": "/orders/order-1",
    "ada lovelace": "/orders/order-1",
    "Lovelace": "/orders/order-1",
}
"""Each by itself, and where it leads."""


@pytest.fixture
def world(store: Store) -> World:
    return World(store, admin_key=None, insecure=True)


@pytest.mark.parametrize("handle", HANDLES)
async def test_a_handle_leads_straight_to_the_order(world: World, handle: str) -> None:
    await one_delivery(world)
    answer = await fetch(world, "/", q=handle)
    assert (answer.status_code, answer.headers["location"]) == (303, HANDLES[handle])
    assert (await fetch(world, answer.headers["location"])).status_code == 200


@pytest.mark.parametrize("beginning", ["order", "shop-o", "1Z9", "deliv", "ada@", "Ada Love", "lovel"])
async def test_a_beginning_lists_what_the_api_finds(world: World, beginning: str) -> None:
    await one_delivery(world)
    message = await tell(world, kind="delivered")
    await went(world, message, "claim", "sent", channel="email", sent_at=world.now)
    page = await look(world, "/", q=beginning)
    items = (await world.get("/v1/search", None, q=beginning)).json()["items"]
    (row,) = page.all("tr", data_product="bp-1")
    said = next(item for item in items if (item["kind"], item["id"]) == (row["data-kind"], row["data-id"]))
    assert shown(page, row) == {
        "state": said["state"],
        "summary": plain(said["summary"]),
        "latest": said["estimatedDelivery"]["latestDate"],
        "lastScanAt": said["lastScanAt"],
        "conditions": said["conditions"],
        "lastMessage": said["lastMessage"]["text"],
    }
    assert {item["orderId"] for item in items} == {"order-1"}, "an order stands once, whatever of it matched"
    matched = {each.text for each in page.all(within=row, data_is="matched")}
    assert matched == {item["matched"] for item in items}


def shown(page: Parsed, row: Element) -> dict[str, Any]:
    def cell(name: str) -> Element:
        return page.one(within=row, data_is=name)

    return {
        "state": cell("state")["data-code"],
        "summary": cell("summary").words,
        "latest": cell("expected")["data-latest"],
        "lastScanAt": page.one("time", cell("scan"))["datetime"],
        "conditions": [
            e["data-code"] for e in page.all("span", cell("conditions")) if "data-code" in e.attributes
        ],
        "lastMessage": cell("message").words.partition(". ")[0].rstrip(".") + ".",
    }


async def test_several_orders_of_a_name_are_listed_and_none_is_chosen(world: World) -> None:
    for number in (1, 2):
        await world.answer("order", order(f"order-{number}"), order_id=f"order-{number}")
    await world.project()
    page = await look(world, "/", q="Ada Lovelace")
    assert [row["data-id"] for row in page.all("tr", data_kind="order")] == ["order-2", "order-1"], (
        "newest first"
    )


async def test_a_whole_handle_wins_over_longer_ones_and_they_stay_a_click_away(world: World) -> None:
    for number in ("1", "12"):
        await world.answer("order", order(f"order-{number}"), order_id=f"order-{number}")
    await world.project()
    answer = await fetch(world, "/", q="order-1")
    assert answer.headers["location"] == "/orders/order-1?found=order-1"
    page = await look(world, answer.headers["location"])
    (back,) = [link for link in page.all("a") if link["href"] == "/?q=order-1&show=all"]
    found = await look(world, back["href"])
    assert [row["data-id"] for row in found.all("tr", data_kind="order")] == ["order-1", "order-12"]


async def test_a_parcel_without_an_order_has_a_page_of_its_own(world: World) -> None:
    await world.event(event("PACKAGE_TRACKER_MILESTONE_CHANGED", 1, "carrier/UPS/tracker/1Z777"))
    about = {"carrier_code": "UPS", "tracking_number": "1Z777"}
    shown = tracker(milestone("IN_TRANSIT", "2025-01-20T11:00:00Z"), number="1Z777")
    await world.answer("packageTracker", shown, **about)
    await world.project()
    answer = await fetch(world, "/", q="1z777")
    assert answer.headers["location"] == "/trackers/ups/1Z777"
    page = await look(world, "/trackers/ups/1Z777")
    said = (await world.get("/v1/trackers/ups/1Z777", None)).json()
    assert page.one(data_is="stage")["data-code"] == said["stage"] == "IN_TRANSIT"
    assert "No order is known for this parcel." in page.words
    assert [row["data-code"] for row in page.all("tr") if "data-code" in row.attributes] == ["IN_TRANSIT"]


async def test_one_number_of_two_orders_asks_which(world: World) -> None:
    for number in (1, 2):
        parcel = (f"delivery-{number}", "IN_TRANSIT", tracker(milestone("IN_TRANSIT", world.at())))
        await world.answer("order", order(f"order-{number}", parcel), order_id=f"order-{number}")
    await world.project()
    page = await look(world, "/", q="1Z999")
    assert {link["href"] for link in page.all("a", class_="hit")} == {
        "/orders/order-1#parcel-1",
        "/orders/order-2#parcel-1",
    }


async def test_an_id_of_two_business_products_leads_to_the_one_that_is_meant(world: World) -> None:
    await one_delivery(world, "bp-1")
    await one_delivery(world, "bp-2")
    page = await look(world, "/", q="order-1")
    links = {link["href"] for link in page.all("a", class_="hit")}
    assert links == {f"/orders/order-1?businessProductId={product}" for product in ("bp-1", "bp-2")}
    answer = await fetch(world, "/", q="1Z-of-bp-2")
    assert answer.headers["location"] == "/orders/order-1?businessProductId=bp-2#parcel-1"


async def test_nothing_of_another_business_product_is_found(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await one_delivery(world)
    sign_in(monkeypatch, "agent", "bp-2")
    for term in HANDLES:
        assert "Nothing was found" in (await look(world, "/", q=term)).words
    assert "order-1" not in (await look(world, "/")).words


async def test_an_analyst_finds_orders_and_not_people(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await one_delivery(world)
    sign_in(monkeypatch, "analyst")
    for term in ("ada@example.com", "Lovelace", "Ada Lovelace", "ada"):
        assert "Nothing was found" in (await look(world, "/", q=term)).words
    for term in ("order-1", "shop-order-1", "1Z999"):
        assert (await fetch(world, "/", q=term)).status_code == 303
    for page in (await look(world, "/", q="order"), await look(world, "/")):
        assert "order-1" in page.words
        assert "Ada" not in page.words


async def test_without_a_search_it_says_what_is_going_on(world: World) -> None:
    await one_delivery(world)
    await world.answer("order", order("order-2", ("delivery-2", "PENDING", None)), order_id="order-2")
    await world.project()
    page = await look(world, "/")
    assert [row["data-id"] for row in page.all("tr", data_kind="order")] == ["order-2", "order-1"]
    counts = {each.words for each in page.all("p", class_="stat-value")}
    assert {"0 In transit", "1 Pending", "1 Delivered", "0 Cancelled", "Ready"} <= counts
    pending = await look(world, "/", state="PENDING")
    assert [row["data-id"] for row in pending.all("tr", data_kind="order")] == ["order-2"]


async def test_orders_are_read_page_by_page(world: World) -> None:
    for number in range(30):
        await world.answer("order", order(f"order-{number:02}"), order_id=f"order-{number:02}")
    await world.project()
    first = await look(world, "/")
    (older,) = [link for link in first.all("a") if link.attributes.get("rel") == "next"]
    second = await look(world, older["href"])
    ids = [row["data-id"] for page in (first, second) for row in page.all("tr", data_kind="order")]
    assert ids == [f"order-{number:02}" for number in reversed(range(30))]
    assert not [link for link in second.all("a") if link.attributes.get("rel") == "next"]


@pytest.mark.parametrize("term", ["x" * 257, "a\x00"])
async def test_what_is_no_term_is_said(world: World, term: str) -> None:
    assert "Nothing is found by" in (await look(world, "/", q=term)).words
