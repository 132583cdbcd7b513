"""A world's events through a partner event source: PutPartnerEvents, bus, rule, and a queue read with boto3.

The sandbox's world, store, publisher and road are the real ones; EventBridge and SQS are `tests.partner_bus`.
"""

import json
from base64 import b64decode
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from moto.core.exceptions import JsonRESTError
from tests.partner_bus import ACCOUNT, PartnerBus

from milepost.domain.attempt import Attempt, Destination, Message
from milepost.domain.instant import DAY, MINUTE, parse_instant
from milepost.domain.record import Record
from milepost.pipeline.consumer import Consumer
from milepost.pipeline.publisher import Publisher
from milepost.sandbox import event_sources
from milepost.sandbox.clock import real_now
from milepost.sandbox.eventbridge_road import EventBridgeRoad
from milepost.sandbox.events import render
from milepost.sandbox.program import Sandbox, SandboxConfig

TYPES = {
    "in-transit": "PACKAGE_DELIVERY_IN_TRANSIT",
    "delivered": "PACKAGE_DELIVERED",
    "milestones": "PACKAGE_TRACKER_MILESTONE_CHANGED",
}
KEYS = ["version", "id", "detail-type", "source", "account", "time", "region", "resources", "detail"]
DETAIL_KEYS = [
    "idempotencyKey",
    "eventDescriptor",
    "resources",
    "eventId",
    "apiVersion",
    "subscriptionId",
    "eventTime",
    "data",
]
DOWN = JsonRESTError("InternalException", "not now")


class World:
    """A sandbox with an EventBridge subscription of each package event, which publishes to `bus`."""

    def __init__(self, sandbox: Sandbox, bus: PartnerBus) -> None:
        self.sandbox = sandbox
        clock = sandbox.clock
        self.road = EventBridgeRoad(
            sandbox.store,
            clock.now,
            wait=clock.wait,
            random=lambda: 0.5,
            real_now=real_now,
            seed=sandbox.config.seed,
            endpoint=bus.url,
        )
        self.publisher = Publisher(
            sandbox.store,
            {"eventbridge": self.road.sender},
            clock.now,
            wait=clock.wait,
            random=lambda: 0.5,
            concurrency=1,
            render=render,
        )
        self.consumer = Consumer(sandbox.store, "publisher", self.publisher.prepare, clock.now)

    async def subscribe(self, name: str) -> None:
        def write(tx: Any) -> None:
            source = event_sources.create(tx, name, ACCOUNT, "us-east-1", "sandbox")
            settings = {
                "source": source.name,
                "account": source.account,
                "region": source.region,
                "subscription": {"eventType": TYPES[name], "apiVersion": "2024-11-01"},
            }
            encoded = msgspec.json.encode(settings)
            tx.attempts.put_destination(Destination(f"sub-{name}", "eventbridge", encoded, (TYPES[name],)))

        await self.sandbox.store.write(write)
        await self.road.announce_due()

    async def live(self, milliseconds: int) -> None:
        self.sandbox.clock.advance(milliseconds)
        await self.sandbox.keeper.play_due()
        await self.publish()

    async def publish(self) -> None:
        await self.consumer.catch_up()
        await self.publisher.send_due()

    async def records(self, event_type: str) -> list[Record]:
        found = await self.sandbox.store.read(lambda tx: tx.journal.after(0, 5_000))
        return [record for record in found if record.type == event_type]

    async def attempts(self) -> list[Attempt]:
        return await self.sandbox.store.read(lambda tx: tx.attempts.attempts((0, 0, ""), 5_000))


@pytest.fixture
def bus() -> Iterator[PartnerBus]:
    with PartnerBus() as made:
        yield made


@pytest.fixture
async def world(tmp_path: Path, bus: PartnerBus) -> AsyncIterator[World]:
    sandbox = Sandbox(
        SandboxConfig(
            port=0,
            database_url=f"sqlite:///{tmp_path / 'sandbox.db'}",
            seed=7,
            speed=0.0,
            start=parse_instant("2025-01-20T12:00:00Z"),
            orders=8,
        )
    )
    await sandbox.open()
    made = World(sandbox, bus)
    await made.road.open()
    yield made
    await made.road.close()
    await sandbox.close()


def queues(bus: PartnerBus) -> dict[str, str]:
    return {name: bus.queue(event_sources.whole_name(name), f"queue-{name}") for name in TYPES}


async def test_every_event_reaches_the_queue_as_the_document_with_every_field(
    world: World, bus: PartnerBus
) -> None:
    for name in TYPES:
        await world.subscribe(name)
    urls = queues(bus)
    await world.live(40 * DAY)
    event_ids = {json.loads(a.response)["EventId"] for a in await world.attempts()}
    for name, event_type in TYPES.items():
        bodies = bus.received(urls[name])
        expected = {r.event().event_id: r for r in await world.records(event_type)}
        assert len(bodies) == len(expected) > 3
        for body in bodies:
            document = json.loads(body)
            detail = document["detail"]
            record = expected.pop(detail["eventId"])
            assert list(document) == KEYS
            assert list(detail) == DETAIL_KEYS
            assert document["version"] == "0"
            assert document["id"] in event_ids
            assert document["detail-type"] == detail["eventDescriptor"] == event_type
            assert document["source"] == f"aws.partner/buywithprime/{name}"
            assert document["account"] == ACCOUNT
            assert document["time"] == detail["eventTime"] == record.event().event_time
            assert document["region"] == "us-east-1"
            assert document["resources"] == detail["resources"] == [str(r) for r in record.event().resources]
            assert detail["subscriptionId"] == f"sub-{name}"
            assert detail["apiVersion"] == "2024-11-01"
            key = b64decode(detail["idempotencyKey"]).decode()
            assert key == f"sub-{name}#{detail['eventId']}"
            assert json.dumps(detail["data"]) == json.dumps(record.event().decoded_data())
        assert expected == {}


async def test_events_go_in_batches_and_only_refused_ones_go_again(world: World, bus: PartnerBus) -> None:
    await world.subscribe("milestones")
    url = bus.queue(event_sources.whole_name("milestones"))
    bus.refuse = lambda number, entry: ("InternalFailure", "try again") if number % 7 == 3 else None
    await world.live(40 * DAY)
    first = [entry["Detail"] for request in bus.requests for entry in request]
    refused = [request[n]["Detail"] for request in bus.requests for n in range(3, len(request), 7)]
    assert max(map(len, bus.requests)) == 20
    assert len(first) == len(set(first)) == len(await world.records(TYPES["milestones"])) > 40
    assert refused
    assert sorted(d["detail"]["eventId"] for d in map(json.loads, bus.received(url))) == sorted(
        json.loads(detail)["eventId"] for detail in first if detail not in refused
    )

    bus.requests.clear()
    bus.refuse = lambda number, entry: None
    world.sandbox.clock.advance(MINUTE)
    await world.publisher.send_due()
    assert sorted(entry["Detail"] for request in bus.requests for entry in request) == sorted(refused)
    again = [json.loads(body)["detail"]["eventId"] for body in bus.received(url)]
    assert sorted(again) == sorted(json.loads(detail)["eventId"] for detail in refused)
    messages: list[Message] = await world.sandbox.store.read(lambda tx: tx.attempts.messages(None, 500))
    assert {m.state for m in messages} == {"delivered"}


async def test_an_endpoint_that_was_down_gets_everything_later(world: World, bus: PartnerBus) -> None:
    await world.subscribe("delivered")
    url = bus.queue(event_sources.whole_name("delivered"))
    bus.fail_with = DOWN
    await world.live(40 * DAY)
    assert {(a.outcome, a.status) for a in await world.attempts()} == {("failed", 500)}
    bus.fail_with = None
    expected = sorted(r.event().event_id for r in await world.records(TYPES["delivered"]))
    for _ in range(12):
        world.sandbox.clock.advance(10 * MINUTE)
        await world.publisher.send_due()
    got = sorted(json.loads(body)["detail"]["eventId"] for body in bus.received(url))
    assert got == expected


async def test_a_source_that_the_endpoint_does_not_know_yet_loses_nothing(
    world: World, bus: PartnerBus
) -> None:
    """The subscription is there before the endpoint could be told of its source."""
    bus.fail_with = DOWN
    await world.subscribe("delivered")
    bus.fail_with = None
    await world.live(40 * DAY)
    assert {a.error.partition(":")[0] for a in await world.attempts()} == {"NotAuthorizedForSourceException"}
    assert await world.road.announce_due() == 1
    url = bus.queue(event_sources.whole_name("delivered"))
    for _ in range(12):
        world.sandbox.clock.advance(10 * MINUTE)
        await world.publisher.send_due()
    expected = sorted(r.event().event_id for r in await world.records(TYPES["delivered"]))
    assert sorted(json.loads(body)["detail"]["eventId"] for body in bus.received(url)) == expected
