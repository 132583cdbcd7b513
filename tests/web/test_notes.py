"""Notes about an order: added, listed, in its timeline, and nowhere else."""

from typing import Any

import pytest
from tests.web.world import HOUR, World, one_delivery

from milepost.domain.instant import Instant
from milepost.web import notes

PATH = "/v1/orders/order-1/notes"


async def noted(world: World, **body: Any) -> dict[str, Any]:
    answer = await world.post(PATH, {"text": "The shopper called."} | body)
    assert answer.status_code == 201, answer.text
    await world.project()
    item: dict[str, Any] = answer.json()
    return item


async def test_a_note_says_who_noted_what_and_when(world: World) -> None:
    await one_delivery(world)
    item = await noted(world, author="ada", deliveryId="delivery-1")
    assert item["at"] == world.at()
    assert (item["text"], item["author"], item["deliveryId"]) == ("The shopper called.", "ada", "delivery-1")
    assert (await world.get(PATH)).json() == {"items": [item], "next": None}


async def test_without_an_author_it_is_the_key_that_noted(world: World) -> None:
    await one_delivery(world)
    key = await world.key("operate")
    assert (await world.post(PATH, {"text": "x"}, key)).json()["author"] == "key_0001"


async def test_notes_are_listed_in_pages_oldest_first(world: World) -> None:
    await one_delivery(world)
    made = [await noted(world, text=f"note {n}") for n in range(5)]
    first = (await world.get(PATH, limit=3)).json()
    second = (await world.get(PATH, limit=3, after=first["next"])).json()
    assert [*first["items"], *second["items"]] == made
    assert second["next"] is None


async def test_a_note_stands_in_the_timeline_as_of_when_it_was_known(world: World) -> None:
    await one_delivery(world)
    before = world.at()
    world.now = Instant(world.now + HOUR)
    item = await noted(world, author="ada", deliveryId="delivery-1")
    entries = (await world.get("/v1/orders/order-1/timeline")).json()["items"]
    (entry,) = [e for e in entries if e["kind"] == "note"]
    assert entry == entry | {
        "code": "note",
        "text": "ada: The shopper called.",
        "deliveryId": "delivery-1",
        "occurredAt": item["at"],
        "position": item["position"],
    }
    then = (await world.get("/v1/orders/order-1/timeline", asOf=before)).json()["items"]
    assert [e for e in then if e["kind"] == "note"] == []


async def test_a_note_changes_no_view(world: World) -> None:
    await one_delivery(world)
    before = (await world.get("/v1/orders/order-1")).json()
    await noted(world)
    assert (await world.get("/v1/orders/order-1")).json() == before
    explained = (await world.get("/v1/orders/order-1/explain")).json()["facts"]
    assert "note" not in {fact["kind"] for fact in explained}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "text"),
        ({"text": ""}, "text"),
        ({"text": " \n"}, "text"),
        ({"text": "x" * 4_001}, "text"),
        ({"text": "x", "author": ""}, "author"),
        ({"text": "x", "deliveryId": "delivery-9"}, "deliveryId"),
    ],
)
async def test_what_is_no_note_is_refused(world: World, body: dict[str, Any], field: str) -> None:
    await one_delivery(world)
    answer = await world.post(PATH, body)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")
    assert field in str(answer.json())


async def test_a_note_about_an_order_that_nobody_knows_is_404(world: World) -> None:
    assert (await world.post(PATH, {"text": "x"})).status_code == 404
    assert (await world.get(PATH)).status_code == 404


async def test_an_order_takes_so_many_notes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notes, "MOST_NOTES", 2)
    await one_delivery(world)
    for _ in range(2):
        await noted(world)
    answer = await world.post(PATH, {"text": "one more"})
    assert (answer.status_code, answer.json()["code"], answer.json()["most"]) == (409, "conflict", 2)
