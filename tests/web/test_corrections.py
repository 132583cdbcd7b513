"""Corrections: told, shown in views, explained, in the timeline, withdrawn; and never a shopper's."""

from typing import Any

import pytest
from tests.web.world import HOUR, World, one_delivery

from milepost.domain.instant import Instant
from milepost.domain.intent import decode
from milepost.web import corrections

PATH = "/v1/orders/order-1/corrections"
OF_DELIVERY = {"deliveryId": "delivery-1", "state": "IN_TRANSIT"}
OF_TRACKER = {"carrierCode": "ups", "trackingNumber": "1Z999", "stage": "LOST"}


async def told(world: World, **body: Any) -> dict[str, Any]:
    """A correction, journalled and projected."""
    given = {"occurredAt": world.at(), "reason": "The shopper called.", "author": "ada"} | body
    answer = await world.post(PATH, given)
    assert answer.status_code == 201, answer.text
    await world.project()
    item: dict[str, Any] = answer.json()
    return item


async def shown(world: World, path: str) -> dict[str, Any]:
    document: dict[str, Any] = (await world.get(path)).json()
    return document


async def test_a_delivery_is_corrected_and_its_view_says_by_whom(world: World) -> None:
    await one_delivery(world)
    assert (await shown(world, "/v1/orders/order-1"))["state"] == "DELIVERED"
    item = await told(world, **OF_DELIVERY)
    assert (item["state"], item["deliveryId"], item["author"], item["ended"]) == (
        "IN_TRANSIT",
        "delivery-1",
        "ada",
        None,
    )
    order = await shown(world, "/v1/orders/order-1")
    assert order["state"] == "IN_TRANSIT"
    (correction,) = order["deliveries"][0]["corrections"]
    assert correction["standing"] == "counts"
    assert {k: item[k] for k in ("id", "position", "reason", "toldAt")}.items() <= correction.items()
    why = await shown(world, "/v1/deliveries/delivery-1/explain")
    assert why["state"].startswith("The delivery is in transit because ada corrected it")
    assert ("correction", "T11", True) in {(f["kind"], f["rule"], f["used"]) for f in why["facts"]}


async def test_a_tracker_is_corrected_and_what_it_was_before_can_be_seen(world: World) -> None:
    await one_delivery(world)
    before = world.at()
    world.now = Instant(world.now + HOUR)
    item = await told(world, **OF_TRACKER)
    assert (item["carrierCode"], item["trackingNumber"], item["deliveryId"]) == ("ups", "1Z999", None)
    tracker = await shown(world, "/v1/trackers/UPS/1Z999")
    assert (tracker["stage"], tracker["stageEnteredAt"]) == ("LOST", world.at())
    assert (await world.get("/v1/trackers/UPS/1Z999", asOf=before)).json()["stage"] == "DELIVERED"
    why = await shown(world, "/v1/trackers/UPS/1Z999/explain")
    assert why["state"] == f"The tracker is lost because ada corrected it, as of {world.at()}."


async def test_subscribers_are_told_of_the_state_and_captures_are_left_alone(world: World) -> None:
    await one_delivery(world)
    last = await world.store.read(lambda tx: tx.journal.last_position())
    await told(world, **OF_DELIVERY)
    records = await world.store.read(lambda tx: tx.journal.after(last, 100))
    intents = [decode(record.body) for record in records if record.kind == "intent"]
    assert [(i.type, i.reason) for i in intents] == [("order.updated", "correction")]
    assert "called" not in str(intents), "why it was corrected is the shop's own"


async def test_withdrawn_it_counts_no_longer_and_cannot_be_withdrawn_again(world: World) -> None:
    await one_delivery(world)
    item = await told(world, **OF_DELIVERY)
    answer = await world.post(
        f"{PATH}/{item['position']}/withdraw", {"reason": "A mistake.", "author": "ben"}
    )
    assert (answer.status_code, answer.json()["ended"], answer.json()["endedBy"]) == (200, "withdrawn", "ben")
    await world.project()
    order = await shown(world, "/v1/orders/order-1")
    assert order["state"] == "DELIVERED"
    assert [c["standing"] for c in order["deliveries"][0]["corrections"]] == ["withdrawn"]
    again = await world.post(f"{PATH}/{item['position']}/withdraw", {})
    assert (again.status_code, again.json()["code"]) == (409, "conflict")
    entries = (await world.get("/v1/orders/order-1/timeline")).json()["items"]
    texts = [e["text"] for e in entries if e["kind"] == "correction"]
    assert texts == [
        "ada corrected it to in transit. Reason: The shopper called.",
        f"ben withdrew a correction at {world.at()}; it counts no longer. Reason: A mistake.",
    ]


async def test_they_are_listed_in_pages_oldest_first(world: World) -> None:
    await one_delivery(world)
    made = [await told(world, **OF_TRACKER, reason=f"reason {n}") for n in range(3)]
    first = (await world.get(PATH, limit=2)).json()
    second = (await world.get(PATH, limit=2, after=first["next"])).json()
    assert ([*first["items"], *second["items"]], second["next"]) == (made, None)


async def test_a_shopper_sees_the_state_and_not_why(world: World) -> None:
    await one_delivery(world)
    await told(world, **OF_DELIVERY, reason="Their neighbour has it.")
    status = await world.get("/v1/orders/order-1/status")
    assert status.json()["state"] == "IN_TRANSIT"
    assert not [word for word in ("neighbour", "ada", "cor_") if word in status.text]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"deliveryId": "delivery-1"}, "state"),
        ({"deliveryId": "delivery-1", "state": "CANCELLED"}, "state"),
        ({"deliveryId": "delivery-9", "state": "DELIVERED"}, "deliveryId"),
        (OF_DELIVERY | OF_TRACKER, "deliveryId"),
        ({"state": "DELIVERED"}, "deliveryId"),
        ({"carrierCode": "ups", "stage": "LOST"}, "deliveryId"),
        (OF_TRACKER | {"trackingNumber": "1Z000"}, "trackingNumber"),
        (OF_TRACKER | {"stage": "PENDING"}, "stage"),
        (OF_DELIVERY | {"reason": " "}, "reason"),
        (OF_DELIVERY | {"occurredAt": "yesterday"}, "occurredAt"),
        (OF_DELIVERY | {"occurredAt": "2025-01-20"}, "occurredAt"),
        (OF_DELIVERY | {"occurredAt": "2035-01-20T10:00:00Z"}, "occurredAt"),
        (OF_DELIVERY | {"expiresAt": "2025-01-01T00:00:00Z"}, "expiresAt"),
        (OF_DELIVERY | {"author": ""}, "author"),
    ],
)
async def test_what_cannot_be_so_is_refused(world: World, body: dict[str, Any], field: str) -> None:
    await one_delivery(world)
    answer = await world.post(PATH, {"occurredAt": world.at(), "reason": "x"} | body)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")
    assert field in str(answer.json())


async def test_only_operators_correct_and_only_their_own_orders(world: World) -> None:
    await one_delivery(world)
    body = {"occurredAt": world.at(), "reason": "x"} | OF_DELIVERY
    reader, stranger = await world.key("read"), await world.key("operate", "bp-2")
    assert (await world.post(PATH, body, reader)).status_code == 403
    assert (await world.post(PATH, body, stranger)).status_code == 404
    item = await told(world, **OF_DELIVERY)
    path = f"{PATH}/{item['position']}/withdraw"
    assert (await world.post(path, {}, stranger)).status_code == 404
    assert (await world.get(PATH, stranger)).status_code == 404
    await one_delivery(world, "bp-2", "order-2")
    other = f"/v1/orders/order-2/corrections/{item['position']}/withdraw"
    assert (await world.post(other, {})).status_code == 404, "it is another order's"
    assert (await world.post(f"{PATH}/1/withdraw", {})).status_code == 404, "that is an event"


async def test_an_order_takes_so_many(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corrections, "MOST_CORRECTIONS", 1)
    await one_delivery(world)
    await told(world, **OF_DELIVERY)
    answer = await world.post(PATH, {"occurredAt": world.at(), "reason": "x"} | OF_DELIVERY)
    assert (answer.status_code, answer.json()["code"], answer.json()["most"]) == (409, "conflict", 1)
