"""What happens on the way: copies over both roads, old names, orphans, quarantine, an API that is away.

The numbers are those of the acceptance scenarios. What the seeds' pages say of each event is `test_seeds`'.
"""

import asyncio
from pathlib import Path

import msgspec
import pytest
from tests.e2e.running import (
    Client,
    Document,
    event,
    milestone,
    order,
    over_eventbridge,
    package,
    running,
    running_hub,
    running_sandbox,
    tracker,
    until,
)

from milepost.domain.canonical import canonical
from milepost.domain.instant import Instant

BP = "bp-1"
DELIVERY = f"businessProduct/{BP}/order/order-1/delivery/box-1"
TRACKER = f"businessProduct/{BP}/carrier/UPS/tracker/1Z1"
SHIPPED = "PACKAGE_DELIVERY_IN_TRANSIT"
DELIVERED = "PACKAGE_DELIVERED"
MILESTONE = "PACKAGE_TRACKER_MILESTONE_CHANGED"
PICKED_UP = milestone("IN_TRANSIT", "2025-01-20T12:00:00Z")
COPIES = 200


def box(state: str = "IN_TRANSIT") -> Document:
    return package("box-1", state, {"pen": 2}, tracker("UPS", "1Z1", PICKED_UP))


async def the_view(client: Client) -> Document:
    """The order without positions, times of receipt and counts: what must not depend on the road."""
    await client.settled()
    shown = await client.get("/v1/orders/order-1")
    for delivery in shown["deliveries"]:
        # A capture has a history; only what it is may not depend on the road.
        delivery["capture"] = {name: delivery["capture"][name] for name in ("id", "state")}
    return canonical(shown)


async def heard(client: Client) -> list[str]:
    """The kinds of what was journalled, but for what others are told of it."""
    records = await client.hub.store.read(lambda tx: tx.journal.after(0, 100))
    return [record.kind for record in records if record.kind != "intent"]


async def entries(client: Client, code: str) -> int:
    """How often something stands in the order's timeline as an event."""
    items = (await client.get("/v1/orders/order-1/timeline"))["items"]
    return sum(item["kind"] == "event" and item["code"] == code for item in items)


# ── Copies ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_scenario_03_one_idempotency_key_five_times_is_one_effect(client: Client) -> None:
    await client.put_order(BP, order("order-1", box()))
    receipts = await asyncio.gather(*(client.send(event(SHIPPED, DELIVERY, "1")) for _ in range(5)))
    assert sorted(receipt["status"] for receipt in receipts) == ["accepted"] + ["duplicate"] * 4
    assert {receipt["position"] for receipt in receipts} == {1}
    await client.settled()
    (item,) = await client.events()
    assert (item["arrivals"], item["flags"]) == (5, [])
    assert await entries(client, SHIPPED) == 1
    numbers = await client.numbers()
    assert (numbers["arrivals_total"], numbers["events_total"], numbers["duplicates_total"]) == (5, 1, 4)
    # The event and one answer: four copies asked nothing.
    assert await heard(client) == ["event", "snapshot"]


async def test_scenario_04_one_event_by_both_roads_under_two_idempotency_keys(client: Client) -> None:
    """Two subscriptions see one event: each its own idempotencyKey, both the same eventId."""
    await client.put_order(BP, order("order-1", box()))
    by_webhook = event(SHIPPED, DELIVERY, "1", idempotencyKey="key-a", subscriptionId="subscription-a")
    other = event(SHIPPED, DELIVERY, "1", idempotencyKey="key-b", subscriptionId="subscription-b")
    first = await client.send(by_webhook)
    again = await client.send(over_eventbridge(other))
    assert (first["status"], again["status"]) == ("accepted", "duplicate")
    assert again["position"] == first["position"]
    await client.settled()
    shown = await client.get("/v1/events/event-1")
    arrivals = shown["arrivalLog"]
    assert [(a["road"], a["idempotencyKey"], a["subscriptionId"]) for a in arrivals] == [
        ("webhook", "key-a", "subscription-a"),
        ("eventbridge", "key-b", "subscription-b"),
    ]
    assert 0 < arrivals[0]["lagMs"] <= arrivals[1]["lagMs"]
    assert (shown["arrivals"], shown["flags"], shown["conflicts"]) == (2, [], [])
    assert (await client.get("/v1/deliveries/box-1"))["state"] == "IN_TRANSIT"
    assert await entries(client, SHIPPED) == 1


async def test_many_concurrent_copies_over_both_roads_are_one_record(client: Client) -> None:
    await client.put_order(BP, order("order-1", box()))
    body = event(SHIPPED, DELIVERY, "1")
    copies = [over_eventbridge(body, f"minted-{n}") if n % 2 else body for n in range(COPIES)]
    receipts = await asyncio.gather(*(client.send(copy) for copy in copies))
    assert sum(receipt["status"] == "accepted" for receipt in receipts) == 1
    assert {receipt["position"] for receipt in receipts} == {1}
    await client.settled()
    (item,) = await client.events()
    assert item["arrivals"] == COPIES
    shown = await client.get("/v1/events/event-1")
    assert sum(arrival["road"] == "eventbridge" for arrival in shown["arrivalLog"]) == COPIES // 2
    numbers = await client.numbers()
    assert (numbers["arrivals_total"], numbers["events_total"]) == (COPIES, 1)
    assert numbers["duplicates_total"] == COPIES - 1
    assert await heard(client) == ["event", "snapshot"]


async def test_a_copy_with_other_data_is_kept_beside_its_original(client: Client) -> None:
    await client.put_order(BP, order("order-1", box()))
    await client.send(event(SHIPPED, DELIVERY, "1"))
    other = event(SHIPPED, DELIVERY, "1", data={"order": {"id": "order-1", "aliases": []}})
    receipt = await client.send(over_eventbridge(other))
    assert receipt == {"status": "duplicate", "position": 1}
    await client.settled()
    shown = await client.get("/v1/events/event-1")
    assert (shown["arrivals"], shown["flags"]) == (2, ["conflict"])
    assert [conflict["body"]["detail"]["data"] for conflict in shown["conflicts"]] == [other["data"]]
    assert (await client.numbers())["conflicts_total"] == 1


async def test_scenario_05_a_former_name_and_todays_name_for_one_fact(tmp_path: Path) -> None:
    """Two subscriptions, one made long ago: two events with ids of their own say one thing once."""
    today = [event(SHIPPED, DELIVERY, "1"), event(DELIVERED, DELIVERY, "2")]
    former = [event("DELIVERY_IN_TRANSIT", DELIVERY, "3"), event("DELIVERY_COMPLETED", DELIVERY, "4")]
    views: list[Document] = []
    for name, documents in (("today", today), ("both", [*former, *today])):
        async with running(tmp_path / name) as client:
            await client.put_order(BP, order("order-1", box("DELIVERED")))
            for document in documents:
                assert (await client.send(document))["status"] == "accepted"
            views.append(await the_view(client))
            assert {item["type"] for item in await client.events()} == {SHIPPED, DELIVERED}
            assert all(item["flags"] == [] for item in await client.events())
    assert views[0] == views[1]
    (delivery,) = views[1]["deliveries"]
    assert delivery["state"] == "DELIVERED"


async def test_scenario_07_delivered_overtakes_in_transit(client: Client) -> None:
    await client.put_order(BP, order("order-1", package("box-1", "DELIVERED", {"pen": 2}, None)))
    await client.send(event(DELIVERED, DELIVERY, "1", eventTime="2025-01-20T14:00:00Z"))
    await client.folded()
    early = await client.get("/v1/deliveries/box-1")
    assert (early["state"], early["shipEvidence"]["inferred"]) == ("DELIVERED", True)
    await client.send(event(SHIPPED, DELIVERY, "2", eventTime="2025-01-20T12:00:00Z"))
    await client.folded()
    late = await client.get("/v1/deliveries/box-1")
    assert (late["state"], late["shippedAt"]) == ("DELIVERED", "2025-01-20T12:00:00Z")


# ── Orphans ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_scenario_08_a_milestone_before_its_order_is_adopted_by_the_orders_answer(
    client: Client,
) -> None:
    await client.put_order(BP, order("order-1", box()))
    await client.send(event(MILESTONE, TRACKER, "1"))
    await client.settled()
    alone = await client.get("/v1/trackers/UPS/1Z1")
    assert (alone["orphan"], alone["orders"], alone["stage"]) == (True, [], "IN_TRANSIT")
    assert "ORPHAN" in {c["code"] for c in alone["conditions"] if c["clearedAt"] is None}
    await client.get("/v1/orders/order-1", status=404)

    await client.send(event(SHIPPED, DELIVERY, "2"))
    await client.settled()
    adopted = await client.get("/v1/trackers/UPS/1Z1")
    assert adopted["orphan"] is False
    assert adopted["orders"] == [{"orderId": "order-1", "deliveryId": "box-1"}]
    assert "ORPHAN" not in {c["code"] for c in adopted["conditions"] if c["clearedAt"] is None}
    (delivery,) = (await client.get("/v1/orders/order-1"))["deliveries"]
    assert [m["code"] for m in delivery["trackers"][0]["milestones"]] == ["IN_TRANSIT"]
    items = (await client.get("/v1/orders/order-1/timeline"))["items"]
    assert MILESTONE in {item["code"] for item in items}


# ── Quarantine ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_what_cannot_be_read_is_kept_with_the_reason_and_the_mended_one_is_taken(
    client: Client,
) -> None:
    broken = event(SHIPPED, DELIVERY, "1", eventTime="yesterday")
    refused = await client.send(broken, status=400)
    assert refused["code"] == "malformed_event"
    (entry,) = (await client.get("/v1/quarantine"))["items"]
    assert (entry["code"], entry["road"], entry["releasedAt"]) == ("malformed_event", "webhook", None)
    assert "yesterday" in entry["reason"]
    whole = await client.get(f"/v1/quarantine/{entry['id']}")
    assert msgspec.json.decode(whole["body"]) == broken
    assert await client.events() == []
    # Nothing was mended here, so it still can't be read and stays.
    await client.post(f"/v1/quarantine/{entry['id']}/release", status=400)
    assert (await client.get("/v1/quarantine", released="false"))["items"] == [entry]

    mended = event(SHIPPED, DELIVERY, "1")
    assert (await client.send(mended))["status"] == "accepted"
    numbers = await client.numbers()
    assert (numbers["arrivals_total"], numbers["events_total"], numbers["quarantined"]) == (2, 1, 1)


async def test_a_body_is_released_once_it_can_be_read(client: Client) -> None:
    """As after an update: an older Milepost put aside what this one reads."""
    await client.put_order(BP, order("order-1", box()))
    body = msgspec.json.encode(event(SHIPPED, DELIVERY, "1"))
    received_at = Instant(1_737_376_500_000)

    await client.hub.store.write(
        lambda tx: tx.journal.quarantine(
            body, "malformed_event", "not understood", received_at, "webhook", ()
        )
    )
    (entry,) = (await client.get("/v1/quarantine"))["items"]
    before = await client.numbers()
    receipt = await client.post(f"/v1/quarantine/{entry['id']}/release")
    assert receipt["status"] == "accepted"
    again = await client.post(f"/v1/quarantine/{entry['id']}/release")
    assert again == {"status": "duplicate", "position": receipt["position"]}
    await client.settled()
    after = await client.numbers()
    assert (before["arrivals_total"], before["events_total"], before["quarantined"]) == (1, 0, 1)
    assert (after["arrivals_total"], after["events_total"], after["quarantined"]) == (1, 1, 0)
    assert (await client.get("/v1/events/event-1"))["receivedAt"] == "2025-01-20T12:35:00Z"
    assert (await client.get("/v1/deliveries/box-1"))["state"] == "IN_TRANSIT"


SETTINGS = """
[[webhook_credentials]]
username = "merchant"
password = "merchants-own"
business_products = [{products}]
"""


async def test_an_unbound_business_product_is_refused_kept_and_taken_when_it_is_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tmp_path / "milepost.toml"
    monkeypatch.setenv("MILEPOST_CONFIG", str(settings))
    merchant = ("merchant", "merchants-own")
    async with running_sandbox(tmp_path) as sandbox:
        settings.write_text(SETTINGS.format(products='"bp-2"'))
        async with running_hub(tmp_path, sandbox) as client:
            await client.put_order(BP, order("order-1", box()))
            refused = await client.send(event(SHIPPED, DELIVERY, "1"), status=403, sender=merchant)
            assert refused["code"] == "unbound_business_product"
            own = event(SHIPPED, DELIVERY.replace(BP, "bp-2"), "2")
            assert (await client.send(own, sender=merchant))["status"] == "accepted"
            (entry,) = (await client.get("/v1/quarantine"))["items"]
            assert entry["code"] == "unbound_business_product"
            assert BP in entry["reason"]
            assert entry["businessProductIds"] == ["bp-2"]
            assert [item["eventId"] for item in await client.events()] == ["event-2"]

        settings.write_text(SETTINGS.format(products=f'"bp-2", "{BP}"'))
        async with running_hub(tmp_path, sandbox) as client:
            receipt = await client.post(f"/v1/quarantine/{entry['id']}/release")
            assert receipt["status"] == "accepted"
            # Amazon's own retry comes too late to be another one.
            retried = await client.send(event(SHIPPED, DELIVERY, "1"), sender=merchant)
            assert retried == {"status": "duplicate", "position": receipt["position"]}
            await client.folded()
            shown = await client.get("/v1/events/event-1")
            assert (shown["businessProductId"], shown["arrivals"]) == (BP, 2)
            await client.get("/v1/orders/order-1", businessProductId=BP)


# ── An API that is away ────────────────────────────────────────────────────────────────────────────────────


async def test_an_api_that_is_down_delays_hydration_and_nothing_else(client: Client) -> None:
    await client.put_order(BP, order("order-1", box()))
    await client.sandbox("faults", {"apiDown": True})
    await client.send(event(SHIPPED, DELIVERY, "1"))
    await client.folded()

    async def was_tried() -> bool:
        items = (await client.get("/v1/hydration"))["items"]
        return any(item["error"] for item in items)

    await until(was_tried, "the API was asked and did not answer")
    # Taken, folded and shown from what the event itself says; the rest is told to be under way.
    delivery = await client.get("/v1/deliveries/box-1")
    assert (delivery["state"], delivery["lineItems"]) == ("IN_TRANSIT", [])
    assert delivery["hydration"]["state"] == "open"
    assert (await client.send(event(DELIVERED, DELIVERY, "2")))["status"] == "accepted"
    await client.folded()
    assert (await client.get("/v1/deliveries/box-1"))["state"] == "DELIVERED"
    assert (await client.get("/readyz"))["ready"] is True
    (item,) = (await client.get("/v1/hydration"))["items"]
    # An outage uses up no try, so it can last.
    assert (item["target"], item["state"], item["tries"]) == ("order/order-1", "open", 0)
    assert item["waiting"] == [one["position"] for one in await client.events()]

    await client.put_order(BP, order("order-1", box("DELIVERED")))
    await client.sandbox("faults", {"apiDown": False})
    await client.settled()
    delivery = await client.get("/v1/deliveries/box-1")
    assert delivery["hydration"] is None
    assert [(i["id"], i["quantity"]) for i in delivery["lineItems"]] == [("pen", "2")]
    assert [t["trackingNumber"] for t in delivery["trackers"]] == ["1Z1"]


async def test_questions_outlive_a_restart_while_the_api_is_down(tmp_path: Path) -> None:
    async with running_sandbox(tmp_path) as sandbox:
        async with running_hub(tmp_path, sandbox) as client:
            await client.put_order(BP, order("order-1", box()))
            await client.sandbox("faults", {"apiDown": True})
            await client.send(event(SHIPPED, DELIVERY, "1"))
            await client.folded()
        async with running_hub(tmp_path, sandbox) as client:
            await client.sandbox("faults", {"apiDown": False})
            await client.settled()
            delivery = await client.get("/v1/deliveries/box-1")
            assert [(i["id"], i["quantity"]) for i in delivery["lineItems"]] == [("pen", "2")]
