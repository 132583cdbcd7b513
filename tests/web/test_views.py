"""Orders, deliveries and trackers as they are read: now, then, in lists, within business products."""

import re

import msgspec
import pytest
from tests.web.world import World, event, milestone, one_delivery, order, tracker

from milepost.domain.correction import DELIVERY_STATES, TRACKER_STAGES
from milepost.domain.instant import Instant, parse_instant
from milepost.domain.wording import CONDITION_TEXTS, MILESTONE_TEXTS
from milepost.store import Ask
from milepost.web.documents import (
    DeliveryDocument,
    OrderDocument,
    OrderExplanation,
    TimelineDocument,
    TrackerDocument,
)
from milepost.web.paging import Page


async def test_an_order_is_shown_with_its_deliveries_and_trackers(world: World) -> None:
    await one_delivery(world)
    answer = await world.get("/v1/orders/order-1")
    assert answer.status_code == 200
    shown = answer.json()
    assert (shown["id"], shown["businessProductId"], shown["state"]) == ("order-1", "bp-1", "DELIVERED")
    (delivery,) = shown["deliveries"]
    assert delivery["id"] == "delivery-1"
    assert delivery["deliveredAt"] == "2025-01-21T10:00:00Z"
    (tracker,) = delivery["trackers"]
    assert [m["code"] for m in tracker["milestones"]] == ["IN_TRANSIT", "DELIVERED"]
    assert shown["hydration"] is None


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        ("/v1/orders/order-1", OrderDocument),
        ("/v1/deliveries/delivery-1", DeliveryDocument),
        ("/v1/trackers/UPS/1Z999", TrackerDocument),
        ("/v1/orders/order-1/explain", OrderExplanation),
        ("/v1/orders/order-1/timeline", Page[TimelineDocument]),
    ],
)
async def test_documents_are_what_their_description_says(world: World, path: str, shape: type) -> None:
    """Every field described is there, and every field that is there is described."""
    await one_delivery(world)
    shown = await world.get(path)
    described = msgspec.json.decode(shown.content, type=shape, strict=True)
    assert msgspec.to_builtins(described) == shown.json()


async def test_a_tracker_is_found_whatever_the_case_of_its_carrier(world: World) -> None:
    await one_delivery(world)
    for carrier in ("UPS", "ups", "Ups"):
        shown = (await world.get(f"/v1/trackers/{carrier}/1Z999")).json()
        assert (shown["carrierCode"], shown["stage"]) == ("UPS", "DELIVERED")


async def test_as_of_shows_each_state_as_it_was_known(world: World) -> None:
    shipped, answered, scanned, delivered, last = await one_delivery(world)
    states = [
        (await world.get("/v1/deliveries/delivery-1", asOf=at)).json()["state"]
        for at in (shipped, answered, scanned, delivered, last)
    ]
    assert states == ["IN_TRANSIT", "IN_TRANSIT", "IN_TRANSIT", "DELIVERED", "DELIVERED"]
    stages = [
        (await world.get("/v1/trackers/UPS/1Z999", asOf=at)).json()["stage"]
        for at in (answered, scanned, last)
    ]
    assert stages == ["UNKNOWN", "IN_TRANSIT", "DELIVERED"]
    then = (await world.get("/v1/orders/order-1", asOf=shipped)).json()
    assert then["deliveries"][0]["trackers"] == []
    assert then["customer"] is None


async def test_as_of_now_is_the_view(world: World) -> None:
    times = await one_delivery(world)
    for path in ("/v1/orders/order-1", "/v1/deliveries/delivery-1", "/v1/trackers/UPS/1Z999"):
        assert (await world.get(path, asOf=times[-1])).json() == (await world.get(path)).json()


async def test_as_of_before_anything_was_known_is_not_found(world: World) -> None:
    times = await one_delivery(world)
    for path, at in (
        ("/v1/orders/order-1", "2025-01-01"),
        ("/v1/deliveries/delivery-1", "2025-01-01"),
        ("/v1/trackers/UPS/1Z999", times[0]),
        ("/v1/orders/order-1/explain", "2025-01-01"),
        ("/v1/orders/order-1/timeline", "2025-01-01"),
    ):
        answer = await world.get(path, asOf=at)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), path


async def test_as_of_that_is_no_time_is_refused_and_an_offset_is_read(world: World) -> None:
    await one_delivery(world)
    answer = await world.get("/v1/orders/order-1", asOf="yesterday")
    assert (answer.status_code, answer.json()["field"]) == (400, "asOf")
    async with world.client() as client:  # a plus sign that nobody escaped
        answer = await client.get("/v1/orders/order-1?asOf=2025-01-22T01:00:00+01:00")
    assert answer.status_code == 200


async def test_hydration_is_joined_to_what_it_asks_about(world: World) -> None:
    await one_delivery(world)
    asks = [
        Ask("bp-1", "order/order-1", 0, Instant(world.now), 3, (1,), "gaveUp", "no answer"),
        Ask("bp-1", "tracker/ups/1Z999", 1, Instant(world.now), 1, (4,)),
    ]
    await world.store.write(lambda tx: tx.work.put(asks))
    order_ask = {"state": "gaveUp", "tries": 3, "dueAt": world.at(), "error": "no answer"}
    tracker_ask = {"state": "open", "tries": 1, "dueAt": world.at(), "error": ""}
    shown = (await world.get("/v1/orders/order-1")).json()
    assert shown["hydration"] == order_ask
    assert shown["deliveries"][0]["trackers"][0]["hydration"] == tracker_ask
    assert (await world.get("/v1/deliveries/delivery-1")).json()["hydration"] == order_ask
    assert (await world.get("/v1/trackers/UPS/1Z999")).json()["hydration"] == tracker_ask
    assert (await world.get("/v1/trackers")).json()["items"][0]["hydration"] == tracker_ask


async def test_an_id_of_two_business_products_needs_to_be_told_apart(world: World) -> None:
    await one_delivery(world, "bp-1")
    await one_delivery(world, "bp-2")
    answer = await world.get("/v1/orders/order-1")
    assert (answer.status_code, answer.json()["code"]) == (409, "ambiguous_id")
    assert answer.json()["businessProductIds"] == ["bp-1", "bp-2"]
    for product in ("bp-1", "bp-2"):
        shown = (await world.get("/v1/orders/order-1", businessProductId=product)).json()
        assert shown["businessProductId"] == product
        bound = await world.key("read", product)
        shown = (await world.get("/v1/deliveries/delivery-1", bound)).json()
        assert shown["businessProductId"] == product


async def test_lists_go_on_with_their_cursor_oldest_first(world: World) -> None:
    for number in range(7):
        await world.event(
            event("PACKAGE_DELIVERY_IN_TRANSIT", number, f"order/order-{number}/delivery/d-{number}")
        )
        await world.project()
    seen: list[str] = []
    cursor = None
    for size in (3, 3, 1):
        page = (await world.get("/v1/orders", limit=3, **({"after": cursor} if cursor else {}))).json()
        assert len(page["items"]) == size
        seen += [item["id"] for item in page["items"]]
        cursor = page["next"]
    assert cursor is None
    assert seen == [f"order-{number}" for number in range(7)]


async def test_lists_can_be_narrowed_to_a_state(world: World) -> None:
    await one_delivery(world)
    await world.event(event("PACKAGE_DELIVERY_IN_TRANSIT", 50, "order/order-2/delivery/delivery-2"))
    await world.project()
    for state, ids in (("DELIVERED", ["delivery-1"]), ("IN_TRANSIT", ["delivery-2"]), ("CANCELLED", [])):
        page = (await world.get("/v1/deliveries", state=state)).json()
        assert [item["id"] for item in page["items"]] == ids


async def test_an_explanation_lists_every_fact_and_says_why(world: World) -> None:
    await one_delivery(world)
    await world.event(
        event("PACKAGE_DELIVERED", 2, "order/order-1/delivery/delivery-1", when="2025-01-21T10:01:00Z")
    )
    answer = (await world.get("/v1/orders/order-1/explain")).json()
    assert answer["view"]["id"] == "order-1"
    by_position = {fact["position"]: fact for fact in answer["facts"]}
    shipped, order, _, delivered, _ = (by_position[position] for position in sorted(by_position))
    assert (shipped["kind"], shipped["type"]) == ("event", "PACKAGE_DELIVERY_IN_TRANSIT")
    assert (order["kind"], order["arrivals"]) == ("snapshot", 1)
    assert (delivered["type"], delivered["arrivals"]) == ("PACKAGE_DELIVERED", 2)
    assert all(fact["text"] for fact in answer["facts"])
    assert any(fact["used"] for fact in answer["facts"])
    assert "is delivered" in answer["state"]


async def test_explanations_of_the_past_know_only_its_facts(world: World) -> None:
    shipped, _, scanned, *_ = await one_delivery(world)
    answer = (await world.get("/v1/deliveries/delivery-1/explain", asOf=shipped)).json()
    assert {fact["position"] for fact in answer["facts"]} == {1}
    assert answer["view"]["state"] == "IN_TRANSIT"
    answer = (await world.get("/v1/trackers/UPS/1Z999/explain", asOf=scanned)).json()
    journalled = await world.store.read(lambda tx: tx.journal.after(0, 100))
    known = [r for r in journalled if r.received_at <= parse_instant(scanned) and r.kind != "intent"]
    assert [record.kind for record in known] == ["event", "snapshot", "snapshot"]
    assert {fact["position"] for fact in answer["facts"]} == {record.position for record in known[1:]}
    assert answer["state"].startswith(
        "The tracker is in transit because “in transit” at 2025-01-20T12:30:00Z"
    )


async def test_what_people_read_names_states_in_words_and_fields_keep_the_codes(world: World) -> None:
    """Events and queries have names, which stand as Amazon wrote them; where a parcel is, is said in words."""
    await one_delivery(world)
    late = [
        milestone("OUT_FOR_DELIVERY", "2025-01-21T07:00:00Z"),
        milestone("DELIVERY_ATTEMPTED", "2025-01-21T08:00:00Z"),
        milestone("PACKAGE_RECEIVED_BY_DRONE", "2025-01-21T09:00:00Z"),
    ]
    await world.answer("packageTracker", tracker(*late), carrier_code="UPS", tracking_number="1Z999")
    await world.project()
    entries = (await world.get("/v1/orders/order-1/timeline")).json()["items"]
    explained = (await world.get("/v1/orders/order-1/explain")).json()
    number = (await world.get("/v1/trackers/UPS/1Z999/explain")).json()
    texts = [entry["text"] for entry in entries]
    texts += [x["text"] for x in (*explained["facts"], *number["facts"])]
    texts += [explained["state"], number["state"]]
    codes = {*DELIVERY_STATES, *TRACKER_STAGES, *MILESTONE_TEXTS, *CONDITION_TEXTS}
    assert {word for text in texts for word in re.findall("[A-Z_]{4,}", text)} & codes == set()
    assert any("PACKAGE_RECEIVED_BY_DRONE" in text for text in texts), (
        "what nobody knows stands as it was written"
    )
    assert {"DELIVERED", "OUT_FOR_DELIVERY"} <= {entry["code"] for entry in entries}
    assert explained["view"]["state"] == "DELIVERED"


async def test_a_scan_set_aside_says_by_which_rule(world: World) -> None:
    """A scan that arrives late fills history and does not move the stage (T4)."""
    await one_delivery(world)
    late = [
        milestone("OUT_FOR_DELIVERY", "2025-01-21T07:00:00Z"),
        milestone("IN_TRANSIT", "2025-01-20T12:30:00Z"),
        milestone("DELIVERED", "2025-01-21T10:00:00Z", "Portland"),
    ]
    about = {"carrier_code": "UPS", "tracking_number": "1Z999"}
    await world.answer("packageTracker", tracker(*late), **about)
    await world.project()
    answer = (await world.get("/v1/trackers/UPS/1Z999/explain")).json()
    assert answer["view"]["stage"] == "DELIVERED"
    assert "T4" in {fact["rule"] for fact in answer["facts"]}


async def test_the_timeline_tells_everything_once_oldest_first(world: World) -> None:
    shipped, *_ = await one_delivery(world)
    entries = (await world.get("/v1/orders/order-1/timeline")).json()["items"]
    codes = [entry["code"] for entry in entries]
    assert codes.index("PACKAGE_DELIVERY_IN_TRANSIT") < codes.index("DELIVERED")
    scans = [entry["code"] for entry in entries if entry["kind"] == "milestone"]
    assert scans == ["IN_TRANSIT", "DELIVERED"]
    assert set(entries[0]) == {
        "occurredAt",
        "publishedAt",
        "receivedAt",
        "kind",
        "code",
        "deliveryId",
        "carrierCode",
        "trackingNumber",
        "text",
        "position",
    }
    then = (await world.get("/v1/orders/order-1/timeline", asOf=shipped)).json()["items"]
    assert {entry["position"] for entry in then} == {1}


async def test_an_order_without_deliveries_is_explained_too(world: World) -> None:
    await world.answer("order", order("order-9"), order_id="order-9")
    await world.project()
    answer = (await world.get("/v1/orders/order-9/explain")).json()
    assert "no delivery of it is known" in answer["state"]
