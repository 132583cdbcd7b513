"""The journal's events: listed in its order, one with its body and every arrival, readable at once."""

import msgspec
from tests.web.world import World, event

from milepost.domain.instant import Instant

RESOURCE = "order/order-1/delivery/delivery-1"


async def test_events_are_listed_in_the_journals_order(world: World) -> None:
    for number in range(5):
        await world.event(event("PACKAGE_DELIVERED", number, RESOURCE))
    first = (await world.get("/v1/events", limit=3)).json()
    second = (await world.get("/v1/events", limit=3, after=first["next"])).json()
    items = first["items"] + second["items"]
    assert [item["eventId"] for item in items] == [f"event-{n}" for n in range(5)]
    assert [item["position"] for item in items] == [1, 2, 3, 4, 5]
    assert second["next"] is None
    behind = (await world.get("/v1/events", after=items[3]["position"])).json()
    assert [item["position"] for item in behind["items"]] == [5]
    assert items[0] == {
        "position": 1,
        "eventId": "event-0",
        "eventDescriptor": "PACKAGE_DELIVERED",
        "type": "PACKAGE_DELIVERED",
        "businessProductId": "bp-1",
        "resources": [f"businessProduct/bp-1/{RESOURCE}"],
        "eventTime": "2025-01-20T12:00:00Z",
        "receivedAt": "2025-01-20T12:00:01Z",
        "arrivals": 1,
        "roads": ["webhook"],
        "flags": [],
    }


async def test_events_are_narrowed_by_any_name_of_their_type(world: World) -> None:
    await world.event(event("PACKAGE_DELIVERED", 1, RESOURCE))
    await world.event(event("ITEM_DELIVERED", 2, RESOURCE))
    await world.event(event("REFUND_REQUESTED", 3, "order/order-1/refund/refund-1"))
    for name in ("PACKAGE_DELIVERED", "DELIVERY_COMPLETED", "ITEM_DELIVERED"):
        items = (await world.get("/v1/events", type=name)).json()["items"]
        assert [item["position"] for item in items] == [1, 2]
    items = (await world.get("/v1/events", type="SOMETHING_NEW")).json()["items"]
    assert items == []


async def test_events_of_other_business_products_are_left_out(world: World) -> None:
    for number, product in enumerate(("bp-1", "bp-2", "bp-1", "bp-3")):
        await world.event(event("PACKAGE_DELIVERED", number, RESOURCE, product))
    bound = await world.key("read", "bp-1", "bp-2")
    assert [i["position"] for i in (await world.get("/v1/events", bound)).json()["items"]] == [1, 2, 3]
    items = (await world.get("/v1/events", bound, businessProductId="bp-2")).json()["items"]
    assert [i["position"] for i in items] == [2]


async def test_an_event_is_readable_before_the_projector_saw_it(world: World) -> None:
    await world.event(event("PACKAGE_DELIVERED", 1, RESOURCE))
    await world.project()
    await world.event(event("PACKAGE_DELIVERED", 2, RESOURCE))
    for key in ("event-1", "event-2"):
        assert (await world.get(f"/v1/events/{key}")).json()["eventId"] == key
    bound, foreign = await world.key("read", "bp-1"), await world.key("read", "bp-2")
    assert (await world.get("/v1/events/event-2", bound)).status_code == 200
    assert (await world.get("/v1/events/event-2", foreign)).status_code == 404
    assert (await world.get("/v1/events/event-3")).status_code == 404


async def test_an_id_written_with_escapes_is_found_too(world: World) -> None:
    body = msgspec.json.encode(event("PACKAGE_DELIVERED", 1, RESOURCE))
    await world.ingest.ingest(body.replace(b'"event-1"', b'"\\u0065vent-1"'))
    assert (await world.get("/v1/events/event-1")).status_code == 200


async def test_one_event_has_its_body_and_every_arrival(world: World) -> None:
    sent = event("PACKAGE_DELIVERED", 1, RESOURCE, data={"order": {"id": "order-1", "total": 1.10}})
    body = msgspec.json.encode(sent).replace(b"1.1}", b"1.10}")
    assert b"1.10}" in body
    world.now = Instant(world.now + 90_000)
    await world.ingest.ingest(body)
    world.now = Instant(world.now + 30_000)
    twin = {**sent, "idempotencyKey": "key-other", "subscriptionId": "subscription-2"}
    bridge = {
        "version": "0",
        "id": "bridge-1",
        "detail-type": "PACKAGE_DELIVERED",
        "source": "aws.partner/x",
        "account": "1",
        "time": sent["eventTime"],
        "region": "us-east-1",
        "resources": sent["resources"],
        "detail": twin,
    }
    receipt = await world.ingest.ingest(msgspec.json.encode(bridge))
    assert (receipt.status, receipt.position) == ("duplicate", 1)
    for _ in range(2):
        answer = await world.get("/v1/events/event-1")
        shown = answer.json()
        assert body in answer.content
        (other,) = shown["otherBodies"]
        assert (other["road"], other["body"]) == ("eventbridge", bridge)
        assert (shown["arrivals"], shown["road"]) == (2, "webhook")
        assert shown["roads"] == ["webhook", "eventbridge"]
        log = [(a["road"], a["lagMs"], a["behindMs"], a["subscriptionId"]) for a in shown["arrivalLog"]]
        assert log == [
            ("webhook", 90_000, 0, "subscription-1"),
            ("eventbridge", 120_000, 30_000, "subscription-2"),
        ]
        await world.project()


async def test_a_copy_with_other_data_stands_with_its_original(world: World) -> None:
    await world.event(event("PACKAGE_DELIVERED", 1, RESOURCE, data={"order": {"id": "order-1"}}))
    other = event("PACKAGE_DELIVERED", 1, RESOURCE, data={"order": {"id": "order-1", "x": 1}})
    assert (await world.event(other)).conflict
    for _ in range(2):
        shown = (await world.get("/v1/events/event-1")).json()
        assert shown["position"] == 1
        assert [c["position"] for c in shown["conflicts"]] == [2]
        assert shown["conflicts"][0]["body"]["data"] == other["data"]
        assert [a["conflict"] for a in shown["arrivalLog"]] == [False, True]
        await world.project()
    assert "conflict" in (await world.get("/v1/events/event-1")).json()["flags"]


async def test_an_event_id_of_several_records_needs_a_position(world: World) -> None:
    await world.event(event("PACKAGE_DELIVERED", 1, RESOURCE))
    await world.event(event("PACKAGE_DELIVERED", 1, "order/order-2/delivery/delivery-2"))
    await world.event(event("PACKAGE_DELIVERED", 1, RESOURCE, "bp-2"))
    for _ in range(2):
        answer = await world.get("/v1/events/event-1")
        assert (answer.status_code, answer.json()["code"]) == (409, "ambiguous_id")
        assert answer.json()["positions"] == [1, 2, 3]
        assert (await world.get("/v1/events/event-1", position=2)).json()["position"] == 2
        assert (await world.get("/v1/events/event-1", businessProductId="bp-2")).json()["position"] == 3
        assert (await world.get("/v1/events/event-1", position=9)).status_code == 404
        await world.project()
    flags = [item["flags"] for item in (await world.get("/v1/events")).json()["items"]]
    assert flags == [["keyReuse"], ["keyReuse"], []]
