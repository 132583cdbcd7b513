"""A world's events through a partner event source: PutPartnerEvents, bus, rule, and a queue read with boto3.

The sandbox is the real one, subscribed to by its own API; EventBridge and SQS are `tests.partner_bus`.
"""

import json
from base64 import b64decode
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from moto.core.exceptions import JsonRESTError
from tests.e2e.publishing import DETAIL_KEYS, KEYS, TYPES, World, publishing
from tests.partner_bus import ACCOUNT, PartnerBus

from milepost.domain.attempt import Message
from milepost.domain.instant import DAY, MINUTE
from milepost.sandbox import event_sources

DOWN = JsonRESTError("InternalException", "not now")


@pytest.fixture
def bus() -> Iterator[PartnerBus]:
    with PartnerBus() as made:
        yield made


@pytest.fixture
async def world(tmp_path: Path, bus: PartnerBus) -> AsyncIterator[World]:
    async with publishing(tmp_path, bus.url) as made:
        yield made


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
            assert detail["subscriptionId"] == world.subscriptions[name]
            assert detail["apiVersion"] == "2024-11-01"
            key = b64decode(detail["idempotencyKey"]).decode()
            assert key == f"{world.subscriptions[name]}#{detail['eventId']}"
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
    await world.sandbox.publisher.send_due()
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
        await world.sandbox.publisher.send_due()
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
    assert await world.sandbox.eventbridge.announce_due() == 1
    url = bus.queue(event_sources.whole_name("delivered"))
    for _ in range(12):
        world.sandbox.clock.advance(10 * MINUTE)
        await world.sandbox.publisher.send_due()
    expected = sorted(r.event().event_id for r in await world.records(TYPES["delivered"]))
    assert sorted(json.loads(body)["detail"]["eventId"] for body in bus.received(url)) == expected
