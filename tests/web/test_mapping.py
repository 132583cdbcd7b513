"""The mapping by the API: which codes came, what a change would do, the change, its history."""

from typing import Any

import pytest
from tests.web.world import World, milestone, one_delivery, tracker

from milepost.pipeline.remapping import Remapper

PATH = "/v1/mapping"
DRONE = {"code": "PackageReceivedByDrone", "meaning": "OUT_FOR_DELIVERY"}


async def unmapped(world: World) -> None:
    """A parcel that a drone has, after what it had come to."""
    await one_delivery(world)
    odd = milestone("PackageReceivedByDrone", "2025-01-21T12:00:00Z")
    about = {"carrier_code": "UPS", "tracking_number": "1Z999"}
    moving = milestone("IN_TRANSIT", "2025-01-20T12:30:00Z")
    arrived = milestone("DELIVERED", "2025-01-21T10:00:00Z", "Portland")
    await world.answer("packageTracker", tracker(moving, arrived, odd), **about)
    await world.project()


async def remapped(world: World) -> None:
    remapper = Remapper(world.store, lambda: world.now)
    await world.project()
    while await remapper.step():
        await world.project()
    await world.project()


async def changed(world: World, **body: Any) -> dict[str, Any]:
    answer = await world.post(PATH, {"entries": [DRONE], "reason": "The carrier said so."} | body)
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


async def test_codes_that_nobody_mapped_are_listed_with_an_example(world: World) -> None:
    await unmapped(world)
    shown = (await world.get(PATH)).json()
    assert (shown["version"], shown["entries"], shown["pending"]) == (1, [], False)
    (code,) = shown["codes"]
    assert code | {"firstSeen": None, "lastSeen": None} == {
        "code": "PACKAGE_RECEIVED_BY_DRONE",
        "carrierCode": "ups",
        "trackers": 1,
        "meaning": None,
        "firstSeen": None,
        "lastSeen": None,
        "example": {
            "businessProductId": "bp-1",
            "carrierCode": "UPS",
            "trackingNumber": "1Z999",
            "orderId": "order-1",
            "rawCode": "PackageReceivedByDrone",
        },
    }
    assert code["firstSeen"] == code["lastSeen"] == world.at()
    assert (await world.get("/v1/search", q="code")).json()["items"] == [], "nobody finds it by searching"


async def test_scenario_27_a_preview_changes_nothing_and_a_change_does_what_it_said(world: World) -> None:
    await unmapped(world)
    due = (await world.get("/v1/captures")).json()["items"]
    answer = await world.post(f"{PATH}/preview", {"entries": [DRONE]})
    assert answer.status_code == 200, answer.text
    seen = answer.json()
    assert (seen["found"], seen["looked"], seen["trackers"]) == (1, 1, 1)
    assert (seen["messages"], seen["captures"]) == (0, 0)
    assert seen["examples"][0]["before"]["stage"] == "DELIVERED"
    assert seen["examples"][0]["after"]["stage"] == "OUT_FOR_DELIVERY"
    assert (await world.get("/v1/trackers/UPS/1Z999")).json()["stage"] == "DELIVERED"
    assert (await world.get(PATH)).json()["version"] == 1
    shown = await changed(world, author="ada", version=1)
    assert (shown["version"], shown["pending"]) == (2, True)
    assert shown["entries"] == [
        {"code": "PACKAGE_RECEIVED_BY_DRONE", "meaning": "OUT_FOR_DELIVERY", "carrierCode": None}
    ]
    await remapped(world)
    shown = (await world.get(PATH)).json()
    assert not shown["pending"]
    assert shown["codes"][0]["meaning"] == "OUT_FOR_DELIVERY"
    assert [(v["version"], v["author"]) for v in shown["versions"]] == [(2, "ada"), (1, None)]
    assert (await world.get("/v1/trackers/UPS/1Z999")).json()["stage"] == "OUT_FOR_DELIVERY"
    assert (await world.get("/v1/captures")).json()["items"] == due != [], "no capture, as it said"
    why = (await world.get("/v1/trackers/UPS/1Z999/explain")).json()["facts"]
    assert any("mapped to out for delivery (T10)" in fact["text"] for fact in why)


async def test_versions_follow_each_other_before_anything_is_folded(world: World) -> None:
    await unmapped(world)
    await changed(world)
    shown = await changed(world, entries=[DRONE | {"meaning": None}, {"code": "BOAT", "meaning": "NONE"}])
    assert shown["version"] == 3
    assert shown["entries"] == [{"code": "BOAT", "meaning": "NONE", "carrierCode": None}]
    stale = await world.post(PATH, {"entries": [DRONE], "reason": "x", "version": 2})
    assert (stale.status_code, stale.json()["code"], stale.json()["version"]) == (409, "conflict", 3)


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({"entries": []}, "entries"),
        ({"entries": [{"code": "DELIVERED", "meaning": "LOST"}]}, "keeps its meaning"),
        ({"entries": [DRONE | {"meaning": "FLYING"}]}, "meaning"),
        ({"entries": [DRONE | {"meaning": None}]}, "nothing would change"),
        ({"entries": [DRONE], "reason": " "}, "reason"),
    ],
)
async def test_what_is_no_change_is_refused(world: World, body: dict[str, Any], word: str) -> None:
    answer = await world.post(PATH, {"reason": "x"} | body)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")
    assert word in answer.text


async def test_a_key_of_one_business_product_sees_its_codes_and_changes_nothing(world: World) -> None:
    await unmapped(world)
    own, foreign = await world.key("operate", "bp-1"), await world.key("operate", "bp-2")
    assert len((await world.get(PATH, own)).json()["codes"]) == 1
    assert (await world.get(PATH, foreign)).json()["codes"] == []
    for key in (own, foreign):
        for path in (PATH, f"{PATH}/preview"):
            body = {"entries": [DRONE]} | ({"reason": "x"} if path == PATH else {})
            assert (await world.post(path, body, key)).status_code == 403
    reader = await world.key("read")
    assert (await world.post(PATH, {"entries": [DRONE], "reason": "x"}, reader)).status_code == 403
