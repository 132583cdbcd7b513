"""`/mapping`: map, look ahead, apply, without a script; what strangers wrote is text; forms need their token."""

import re

import httpx
import pytest
from tests.web.test_mapping import DRONE, remapped, unmapped
from tests.web.world import World, milestone, one_delivery, tracker

from milepost.store import Store

SCRIPT = "<script>alert(1)</script>"


@pytest.fixture
def world(store: Store) -> World:
    return World(store, insecure=True, admin_key=None)


async def send(world: World, path: str, **fields: str) -> httpx.Response:
    async with world.client(None) as client:
        token = re.findall(r'name="form_token" value="([^"]+)"', (await client.get("/mapping")).text)[0]
        return await client.post(path, data={"form_token": token} | fields)


async def test_three_steps_from_the_inbox_to_a_new_version(world: World) -> None:
    await unmapped(world)
    shown = await world.get("/mapping", None)
    assert shown.status_code == 200
    assert "PACKAGE_RECEIVED_BY_DRONE" in shown.text
    assert 'href="/orders/order-1"' in shown.text
    fields = {"code": DRONE["code"], "carrier": "UPS", "meaning": DRONE["meaning"]}
    seen = await send(world, "/mapping/preview", **fields)
    assert "1 tracker, " in seen.text
    assert "<dd>Out for delivery</dd>" in seen.text
    assert "<dd>Unmapped code</dd>" in seen.text
    made = await send(world, "/mapping", **fields, version="1", reason="The carrier said so.")
    assert (made.status_code, made.headers["location"]) == (303, "/mapping?done=applied")
    await remapped(world)
    assert "The carrier said so." in (await world.get("/mapping", None)).text
    assert (await world.get("/v1/trackers/UPS/1Z999", None)).json()["stage"] == "OUT_FOR_DELIVERY"


async def test_what_strangers_wrote_is_text_and_a_form_needs_its_token(world: World) -> None:
    await one_delivery(world)
    odd = tracker(milestone(SCRIPT, "2025-01-21T12:00:00Z"))
    await world.answer("packageTracker", odd, carrier_code="UPS", tracking_number="1Z999")
    await world.project()
    shown = await world.get("/mapping", None, code=SCRIPT, carrier=SCRIPT)
    assert shown.status_code == 200
    assert SCRIPT not in shown.text
    async with world.client(None) as client:
        refused = await client.post("/mapping", data={"code": "X", "meaning": "NONE", "reason": "x"})
    assert refused.status_code == 403
