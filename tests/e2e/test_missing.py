"""Scenario 25 end to end: a hub asks a sandbox about a delivery whose event was lost, and repairs its view."""

from pathlib import Path

import aiohttp
from tests.e2e.running import (
    Client,
    Document,
    event,
    hub_config,
    milestone,
    order,
    package,
    running_sandbox,
    served,
    tracker,
    until,
)

from milepost.domain.instant import DAY, Instant, parse_instant
from milepost.hub import Hub

BP = "bp-1"
MOVED = milestone("IN_TRANSIT", "2025-01-20T12:40:00Z")
ARRIVED = milestone("DELIVERED", "2025-01-23T10:00:00Z")


def box(state: str, *scans: Document) -> Document:
    return package("box-1", state, {"pen": 2}, tracker("UPS", "1Z1", *scans))


async def test_scenario_25_a_lost_package_delivered_is_found_and_repaired(tmp_path: Path) -> None:
    now = parse_instant("2025-01-20T13:00:00Z")

    def clock() -> Instant:
        return now

    async with running_sandbox(tmp_path) as sandbox_base:
        hub = Hub(hub_config(tmp_path, sandbox_base), clock=clock)
        async with served(hub) as base, aiohttp.ClientSession() as http:
            client = Client(hub, base, sandbox_base, http)
            await client.put_order(BP, order("order-1", box("IN_TRANSIT", MOVED)))
            delivery = f"businessProduct/{BP}/order/order-1/delivery/box-1"
            await client.send(event("PACKAGE_DELIVERY_IN_TRANSIT", delivery, "1"))
            await client.settled()
            await hub.reconcile()
            assert (await client.get("/v1/missing/overdue"))["items"] == []

            # It is delivered, and neither that event nor its milestone's ever comes.
            await client.put_order(BP, order("order-1", box("DELIVERED", ARRIVED, MOVED)))
            now = Instant(now + 5 * DAY)
            (overdue,) = (await client.get("/v1/missing/overdue"))["items"]
            assert [one["code"] for one in overdue["expected"]] == ["silent", "pastEstimate"]
            await hub.reconcile()

            async def found() -> bool:
                return bool((await client.get("/v1/deliveries/box-1"))["state"] == "DELIVERED")

            await until(found, "the lost event's delivery is found")
            await client.settled()
            shown = await client.get("/v1/deliveries/box-1")
            assert (shown["deliveredAt"], shown["events"]["delivered"]) == ("2025-01-23T10:00:00Z", None)
            assert (await client.get("/v1/missing/overdue"))["items"] == []
            records = await hub.store.read(lambda tx: tx.journal.after(0, 100))
            assert [record.kind for record in records if record.kind != "intent"] == [
                "event",
                *["snapshot"] * 2,
            ]
            told = [record.type for record in records if record.kind == "intent"]
            assert told.count("delivery.delivered") == told.count("capture.ready") == 1, "and it is told once"
