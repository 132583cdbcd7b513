"""The timeline by the API: merged over everything an order has, in pages, and as it was known."""

from typing import Any

import pytest
from tests.web.world import HOUR, World, one_delivery

from milepost.domain.capture import capture_id
from milepost.domain.instant import Instant

PATH = "/v1/orders/order-1/timeline"
CAPTURE = capture_id("bp-1", "order-1", "delivery-1")


async def full(world: World) -> None:
    """An order with an entry of every kind that an order of the world can have."""
    await one_delivery(world)
    await world.capture()
    await world.put("/v1/orders/order-1/authorization", {"captureBefore": "2025-02-01T00:00:00Z"})
    await world.post("/v1/orders/order-1/notes", {"text": "The shopper called.", "author": "ada"})
    world.now = Instant(world.now + HOUR)
    await world.post(f"/v1/captures/{CAPTURE}/hold", {"reason": "fraud check"})
    await world.post(f"/v1/captures/{CAPTURE}/release")
    await world.project()


async def pages(world: World, limit: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    after: dict[str, str] = {}
    while True:
        page = (await world.get(PATH, limit=limit, **after)).json()
        found += page["items"]
        if page["next"] is None:
            return found
        after = {"after": page["next"]}


async def test_everything_about_an_order_stands_in_one_timeline(world: World) -> None:
    await full(world)
    entries = (await world.get(PATH)).json()["items"]
    kinds = {entry["kind"] for entry in entries}
    assert {"event", "milestone", "snapshot", "capture", "authorization", "note"} <= kinds
    times = [e["occurredAt"] or e["publishedAt"] or e["receivedAt"] for e in entries]
    assert times == sorted(times)
    captured = [entry["code"] for entry in entries if entry["kind"] == "capture"]
    assert captured == ["READY", "HELD", "READY"]


@pytest.mark.parametrize("limit", [1, 2, 3, 500])
async def test_pages_of_any_length_give_each_entry_once(world: World, limit: int) -> None:
    """Also steps of a capture that were taken at one time, which nothing but their order tells apart."""
    await full(world)
    assert await pages(world, limit) == (await world.get(PATH)).json()["items"]


async def test_as_of_shows_the_steps_that_were_taken_by_then(world: World) -> None:
    await full(world)
    then = Instant(world.now - 1)
    entries = (await world.get(PATH, asOf=world.at())).json()["items"]
    assert len([e for e in entries if e["kind"] == "capture"]) == 3
    world.now = then
    entries = (await world.get(PATH, asOf=world.at())).json()["items"]
    assert [e["code"] for e in entries if e["kind"] == "capture"] == ["READY"]
    assert "note" in {e["kind"] for e in entries}


async def test_a_broken_cursor_is_refused(world: World) -> None:
    await full(world)
    answer = await world.get(PATH, after="x")
    assert (answer.status_code, answer.json()["field"]) == (400, "after")
