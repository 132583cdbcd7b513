"""Those who must be told, over real sockets: a hub with webhook and queue, and systems that subscribed to it.

What single parts do with failures, order and history is `tests/unit/pipeline`'s; here is what a merchant sees.
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web
from standardwebhooks import Webhook
from tests.chance import SEED
from tests.e2e.running import (
    KEY,
    Client,
    Document,
    event,
    milestone,
    order,
    over_eventbridge,
    package,
    running,
    tracker,
    until,
)
from tests.sqs_fake import Sqs
from tests.unit.transports.receiver import Receiver

COPIES = 1_000
DELIVERY = "businessProduct/bp-1/order/order-1/delivery/box-1"


@asynccontextmanager
async def queue_server() -> AsyncIterator[str]:
    """The fake SQS; its address."""
    runner = web.AppRunner(Sqs().app(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def subscribe(client: Client, **subscriber: Any) -> Document:
    """Add a subscriber by the API; what that answers."""
    async with (
        aiohttp.ClientSession() as http,
        http.post(
            f"{client.base}/v1/subscribers",
            data=msgspec.json.encode(subscriber),
            headers={"authorization": f"Bearer {KEY}", "content-type": "application/json"},
        ) as answer,
    ):
        assert answer.status == 201, await answer.text()
        made: Document = await answer.json()
        return made


async def silence(client: Client) -> None:
    """Everything that was journalled was told: the publisher has read it all, and nothing is left to send."""

    def quiet(tx: Any) -> bool:
        last = tx.journal.last_position()
        counts = tx.attempts.count()
        behind = any(tx.journal.checkpoint(name) < last for name in ("projector", "publisher"))
        return not behind and not counts.get("pending") and not counts.get("waiting")

    await until(lambda: client.hub.store.read(quiet), "everybody was told everything")


async def as_folded(client: Client) -> tuple[Any, list[str]]:
    """The order's view with the position that it goes back to, and the types of what was told so far."""

    def read(tx: Any) -> tuple[Any, list[str]]:
        records = tx.journal.after(0, 1_000)
        return tx.views.find("order", "order-1", None), [r.type for r in records if r.kind == "intent"]

    return await client.hub.store.read(read)


@pytest.mark.timeout(400)
async def test_a_thousand_copies_of_one_fact_by_two_roads_are_one_of_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    async with queue_server() as queues, Receiver() as receiver:
        settings = {"sqs_queue_url": f"{queues}/123456789012/events", "egress_allow": "127.0.0.0/8"}
        shipped = event("PACKAGE_DELIVERY_IN_TRANSIT", DELIVERY, "fact")
        rest = COPIES - COPIES // 2
        bodies = [msgspec.json.encode(over_eventbridge(shipped, f"copy-{n}")).decode() for n in range(rest)]
        async with aiohttp.ClientSession() as http:
            await http.post(f"{queues}/fill", json={"queue": "events", "bodies": []})
            async with running(tmp_path, **settings) as client:
                moving = package("box-1", "IN_TRANSIT", {"line-1": 2}, tracker("USPS", "9400"))
                await client.put_order("bp-1", order("order-1", moving))
                made = [
                    await subscribe(client, name=name, url=f"{receiver.url}/{name}", **more)
                    for name, more in (
                        ("events", {"form": "amazon"}),
                        ("payment", {"eventTypes": ["capture.ready"]}),
                        ("orders", {"eventTypes": ["delivery.shipped", "order.updated"], "ordered": True}),
                    )
                ]
                first = await client.send(shipped)
                await client.settled()
                await silence(client)
                folded = await as_folded(client)
                await http.post(f"{queues}/fill", json={"queue": "events", "bodies": bodies, "more": True})
                answers = await asyncio.gather(*(client.send(shipped) for _ in range(COPIES // 2 - 1)))
                assert {answer["position"] for answer in answers} == {first["position"]}

                async def all_came() -> bool:
                    counts = await client.hub.store.read(lambda tx: tx.journal.counts("projector"))
                    return counts.arrivals == COPIES

                await until(all_came, f"{COPIES} arrivals")
                await client.settled()
                await silence(client)
                assert await as_folded(client) == folded, "one view change: the copies touch nothing"
                (one,) = await client.events()
                whole = await client.get(f"/v1/events/{one['eventId']}")
                came = Counter(arrival["road"] for arrival in whole["arrivalLog"])
                assert came == {"webhook": COPIES // 2, "eventbridge": rest}
                (capture,) = (await client.get("/v1/captures"))["items"]
                shown = await client.get("/v1/orders/order-1")
                assert shown["deliveries"][0]["capture"]["id"] == capture["id"]
                secrets = {one["name"]: one["secret"] for one in made}
                told = check_signatures(receiver, secrets)
    types = Counter((name, body.get("type", body.get("eventDescriptor"))) for name, body in told)
    assert types[("events", "PACKAGE_DELIVERY_IN_TRANSIT")] == 1
    assert types[("payment", "capture.ready")] == 1
    assert types[("orders", "delivery.shipped")] == 1
    # Of the event, and of what the API answered about it, unless both were folded together.
    assert types[("orders", "order.updated")] == folded[1].count("order.updated") in (1, 2)
    assert {name for name, _ in types} == {"events", "payment", "orders"}
    ids = [received.headers["webhook-id"] for received in receiver.received]
    assert len(ids) == len(set(ids)), "a message was sent twice without need"
    (ready,) = [body for name, body in told if name == "payment"]
    assert ready["data"]["captureId"] == capture["id"]


def check_signatures(receiver: Receiver, secrets: dict[str, str]) -> list[tuple[str, Document]]:
    """What each subscriber received, by name, read by the official library."""
    told: list[tuple[str, Document]] = []
    for received in receiver.received:
        name = received.path.strip("/")
        told.append((name, Webhook(secrets[name]).verify(received.body, received.headers)))
    return told


async def test_a_system_that_comes_late_gets_all_of_history_once_and_goes_on_live(tmp_path: Path) -> None:
    print(f"MILEPOST_SEED={SEED}")
    draw = random.Random(SEED)
    async with running(tmp_path, egress_allow="127.0.0.0/8") as client, Receiver() as receiver:
        resource = "businessProduct/bp-1/order/order-{0}/delivery/box-{0}"
        bodies = [event("PACKAGE_DELIVERY_IN_TRANSIT", resource.format(n % 40), str(n)) for n in range(400)]
        half = draw.randrange(100, 300)
        for body in bodies[:half]:
            await client.send(body)

        async def rest() -> None:
            for body in bodies[half:]:
                await client.send(body)

        sending = asyncio.create_task(rest())
        await subscribe(
            client, name="late", url=f"{receiver.url}/late", form="amazon", ordered=True, **{"from": "start"}
        )
        await sending
        await receiver.got(len(bodies), 30)
        await silence(client)
        came = [msgspec.json.decode(received.body)["eventId"] for received in receiver.received]
        assert Counter(came) == Counter(body["eventId"] for body in bodies)
        for n in range(40):
            mine = [body["eventId"] for body in bodies if body["resources"] == [resource.format(n)]]
            assert [one for one in came if one in set(mine)] == mine, (
                f"order {n} is out of order (MILEPOST_SEED={SEED})"
            )


class Systems:
    """The merchant's systems, each a path of one receiver."""

    def __init__(self, client: Client, receiver: Receiver) -> None:
        self._client = client
        self._receiver = receiver

    async def subscribe(self, name: str, *types: str) -> None:
        await subscribe(
            self._client, name=name, url=f"{self._receiver.url}/{name}", eventTypes=list(types), ordered=True
        )

    async def told(self, name: str) -> list[Document]:
        """What one of them has heard, once everything is said."""
        await self._client.settled()
        await silence(self._client)
        mine = (r for r in self._receiver.received if r.path == f"/{name}")
        return [msgspec.json.decode(received.body) for received in mine]


async def test_each_system_that_the_event_pages_name_learns_what_it_needs(tmp_path: Path) -> None:
    label = milestone("INFO_RECEIVED", "2025-01-20T08:00:00Z")
    scan = milestone("IN_TRANSIT", "2025-01-20T12:00:00Z")
    there = milestone("DELIVERED", "2025-01-21T12:00:00Z")
    of_tracker = "businessProduct/bp-1/carrier/USPS/tracker/9400"
    async with running(tmp_path, egress_allow="127.0.0.0/8") as client, Receiver() as receiver:
        systems = Systems(client, receiver)
        await systems.subscribe("notifications", "tracker.updated")
        await systems.subscribe("payment", "capture.ready")
        await systems.subscribe("management", "order.updated", "delivery.shipped", "delivery.delivered")

        async def parcel(state: str, *milestones: Document) -> None:
            one = package("box-1", state, {"line-1": 2}, tracker("USPS", "9400", *milestones))
            await client.put_order("bp-1", order("order-1", one))

        await parcel("PENDING", label)
        await client.send(event("PACKAGE_TRACKER_MILESTONE_CHANGED", of_tracker, "label"))
        (heard,) = await systems.told("notifications")
        assert (heard["type"], heard["data"]["stage"]) == ("tracker.updated", "INFO_RECEIVED")
        assert await systems.told("payment") == [], "a label is no shipment"

        await parcel("IN_TRANSIT", scan, label)
        shipped = event("PACKAGE_DELIVERY_IN_TRANSIT", DELIVERY, "shipped", eventTime="2025-01-20T12:05:00Z")
        await client.send(shipped)
        (ready,) = await systems.told("payment")
        assert (ready["data"]["deliveryId"], ready["data"]["lineItems"][0]["id"]) == ("box-1", "line-1")
        moved = [said["type"] for said in await systems.told("management")]
        assert moved.count("delivery.shipped") == 1
        assert "order.updated" in moved

        await parcel("DELIVERED", there, scan, label)
        await client.send(event("PACKAGE_DELIVERED", DELIVERY, "there", eventTime="2025-01-21T12:10:00Z"))
        said = await systems.told("management")
        assert [one["type"] for one in said].count("delivery.delivered") == 1
        assert len(await systems.told("payment")) == 1, "a delivered parcel is not paid twice"
        status = await client.get("/v1/orders/order-1/status")
        assert status["state"] == "DELIVERED"
        times = [one["data"]["state"] for one in said if one["type"] == "order.updated"]
        assert times[-1] == "DELIVERED"
        assert times == sorted(times, key=["PENDING", "IN_TRANSIT", "DELIVERED"].index)
