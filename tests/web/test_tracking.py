"""The shopper's document: by the API and behind a signed link, and what must never be in it."""

from typing import Any

import msgspec
import pytest
from tests.web.world import World, event, milestone, one_delivery, order, tracker

from milepost.domain.instant import DAY, Instant, format_instant
from milepost.store import Store
from milepost.web.status import StatusDocument

SECRET = "a-secret-of-at-least-thirty-two-characters"
LINK, STATUS = "/v1/orders/order-1/tracking-link", "/v1/orders/order-1/status"


@pytest.fixture
async def linked(store: Store) -> World:
    world = World(store, tracking_secrets=(SECRET,))
    await one_delivery(world)
    return world


async def make(world: World, body: object = None) -> dict[str, Any]:
    answer = await world.post(LINK, body)
    assert answer.status_code == 201, answer.text
    link: dict[str, Any] = answer.json()
    return link


async def test_a_link_shows_what_the_api_shows_of_the_status(linked: World) -> None:
    link = await make(linked)
    shown = await linked.get(link["path"], None)
    assert shown.status_code == 200
    assert shown.json() == (await linked.get(STATUS)).json()
    described = msgspec.json.decode(shown.content, type=StatusDocument, strict=True)
    assert msgspec.to_builtins(described) == shown.json()


async def test_the_status_says_where_the_order_is(linked: World) -> None:
    shown = (await linked.get(STATUS)).json()
    assert (shown["orderId"], shown["state"], shown["estimatedDelivery"]) == ("order-1", "DELIVERED", None)
    (delivery,) = shown["deliveries"]
    assert (delivery["state"], delivery["deliveredOn"]) == ("DELIVERED", "2025-01-21")
    assert [(day["date"], [m["code"] for m in day["milestones"]]) for day in delivery["days"]] == [
        ("2025-01-20", ["IN_TRANSIT"]),
        ("2025-01-21", ["DELIVERED"]),
    ]


async def test_as_of_shows_the_status_as_it_was_known(world: World) -> None:
    times = await one_delivery(world)
    shown = (await world.get(STATUS, asOf=times[1])).json()
    assert (shown["state"], shown["estimatedDelivery"]) == (
        "IN_TRANSIT",
        {"earliest": "2025-01-22", "latest": "2025-01-23"},
    )


async def test_pages_of_any_site_may_read_it_and_nothing_else(linked: World) -> None:
    link = await make(linked)
    for path, status in ((link["path"], 200), ("/track/x.json", 404)):
        answer = await linked.get(path, None)
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (status, "*")
        assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
        assert answer.headers["cache-control"] == "no-store"
    assert "access-control-allow-origin" not in (await linked.get(STATUS)).headers


async def test_no_note_no_address_no_condition_gets_out(linked: World) -> None:
    secret = {"text": "the-note", "author": "the-agent"}
    await linked.post("/v1/orders/order-1/notes", secret)
    await linked.put("/v1/orders/order-1/authorization", {"captureBefore": linked.at()})
    await linked.event(
        event("PACKAGE_DELIVERY_CANCELLED", 9, "order/order-1/delivery/delivery-1", when=linked.at())
    )
    await linked.project()
    inside = (await linked.get("/v1/orders/order-1")).json()
    assert inside["deliveries"][0]["conditions"], "a contradiction that must not get out"
    link = await make(linked)
    for answer in (await linked.get(link["path"], None), await linked.get(STATUS)):
        text = answer.text
        for word in (
            *("the-note", "the-agent", "CONTRADICTION", "AUTHORIZATION", "capture", "Ada", "ada@"),
            *("Seattle", "Portland", "WA", "1Z999", "track.example", "bp-1", "delivery-1", "evidence"),
        ):
            assert word not in text, word


@pytest.mark.parametrize("days", [1, 90, 366])
async def test_a_link_is_good_for_so_long(linked: World, days: int) -> None:
    link = await make(linked, {"days": days})
    end = Instant((linked.now // 1000) * 1000 + days * DAY)
    assert link["expiresAt"] == format_instant(end)
    linked.now = Instant(end - 1)
    assert (await linked.get(link["path"], None)).status_code == 200
    linked.now = end
    gone = await linked.get(link["path"], None)
    assert (gone.status_code, gone.json()["code"]) == (404, "not_found")


async def test_the_page_is_in_the_shoppers_language_and_kept_for_a_minute(linked: World) -> None:
    link = await make(linked)
    async with linked.client(None) as client:
        page = await client.get(link["page"], headers={"accept-language": "es-MX,es;q=0.9"})
        assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert '<html lang="es">' in page.text
        assert "Entregado el" in page.text
        assert page.headers["cache-control"] == "private, max-age=60"
        assert "access-control-allow-origin" not in page.headers
        assert "script-src" not in page.headers["content-security-policy"]
        again = await client.get(
            link["page"], headers={"accept-language": "es", "if-none-match": page.headers["etag"]}
        )
        assert (again.status_code, again.content) == (304, b"")
        other = await client.get(link["page"] + "?lang=en", headers={"accept-language": "es"})
        assert '<html lang="en">' in other.text


async def test_a_link_that_is_not_good_is_told_on_a_page(linked: World) -> None:
    for path in ("/track/x", "/track/" + (await make(linked))["token"][:-2]):
        lost = await linked.get(path, None)
        assert (lost.status_code, lost.headers["content-type"]) == (404, "text/html; charset=utf-8")
        assert "This link does not work" in lost.text


async def test_links_that_are_not_good_are_all_the_same(linked: World) -> None:
    token = (await make(linked))["token"]
    answers = set()
    for broken in (token[:-2], token + "x", "." + token, token.replace(".", ""), "x", "é", "x" * 3_000):
        answer = await linked.get(f"/track/{broken}.json", None)
        assert answer.status_code == 404
        answers.add(answer.text)
    await linked.store.write(lambda tx: tx.views.remove([("order", "bp-1", "order-1")]))
    answers.add((await linked.get(f"/track/{token}.json", None)).text)
    assert len(answers) == 1


async def test_a_rotated_secret_overlaps(linked: World, store: Store) -> None:
    old = await make(linked)
    both = World(store, tracking_secrets=("b" * 40, SECRET))
    assert (await both.get(old["path"], None)).status_code == 200
    assert (await both.get((await make(both))["path"], None)).status_code == 200
    new = World(store, tracking_secrets=("b" * 40,))
    assert (await new.get(old["path"], None)).status_code == 404


async def test_without_a_secret_there_are_no_links(world: World) -> None:
    await one_delivery(world)
    answer = await world.post(LINK)
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert "MILEPOST_TRACKING_SECRET" in answer.json()["detail"]
    assert (await world.get("/track/x.json", None)).status_code == 404


@pytest.mark.parametrize("body", [{"days": 0}, {"days": 367}, {"days": "soon"}, {"hours": 1}])
async def test_a_link_for_an_odd_time_is_refused(linked: World, body: dict[str, Any]) -> None:
    answer = await linked.post(LINK, body)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")


async def test_an_order_that_nobody_knows_has_no_status_and_no_link(linked: World) -> None:
    assert (await linked.get("/v1/orders/order-9/status")).status_code == 404
    assert (await linked.post("/v1/orders/order-9/tracking-link")).status_code == 404


async def test_items_stand_with_what_they_are_called(world: World) -> None:
    shown = order("order-1", ("delivery-1", "IN_TRANSIT", tracker(milestone("IN_TRANSIT", world.at()))))
    shown["lineItems"] = [
        {"id": "item-1", "product": {"title": "Kettle"}, "amount": {"value": 1, "unit": "unit"}}
    ]
    await world.answer("order", shown, order_id="order-1")
    await world.project()
    document = (await world.get(STATUS)).json()
    kettle = {"title": "Kettle", "quantity": "1", "unit": "unit"}
    assert (document["items"], document["deliveries"][0]["items"]) == ([kettle], [kettle])
