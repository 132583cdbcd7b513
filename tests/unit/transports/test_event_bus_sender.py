"""Sending to a custom event bus: entries of both forms, batches by count and size, and only what failed fails."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec
import pytest
from aiohttp import web
from tests.partner_bus import PartnerBus, queue_arn
from tests.unit.transports.receiver import Received, Receiver

from milepost.domain.attempt import Destination, Message
from milepost.domain.instant import parse_instant
from milepost.domain.subscriber import EventBusSettings
from milepost.pipeline.sending import Parcel
from milepost.transports.event_bus_sender import MOST_BYTES, EventBusSender, bus_entry
from milepost.transports.eventbridge import EventBridgeClient

NOW = parse_instant("2025-01-20T12:00:00Z")
SETTINGS = EventBusSettings("orders")


def destination(form: Any = "milepost", bus: str = "orders") -> Destination:
    return Destination("sub_1", "eventBus", msgspec.json.encode(EventBusSettings(bus)), form=form)


def own(n: int, padding: int = 0) -> bytes:
    document = {
        "type": "order.updated",
        "timestamp": "2025-01-20T12:34:56Z",
        "version": "1",
        "businessProductId": "bp",
        "reason": "new",
        "data": {"orderId": f"o-{n}", "padding": "ü" * (padding // 2)},
    }
    return msgspec.json.encode(document)


def amazons(n: int) -> bytes:
    document = {
        "idempotencyKey": f"key-{n}",
        "eventDescriptor": "PACKAGE_DELIVERED",
        "resources": [f"businessProduct/bp/order/o-{n}/delivery/d"],
        "eventId": f"event-{n}",
        "eventTime": "2025-01-20T12:34:56Z",
        "data": {},
    }
    return msgspec.json.encode(document)


def parcel(n: int, body: bytes) -> Parcel:
    return Parcel(Message(f"{n}-sub_1", "sub_1", n, "pending", 0, NOW), body)


@pytest.fixture
def bus() -> Iterator[PartnerBus]:
    with PartnerBus() as made:
        yield made


@pytest.fixture
def queue(bus: PartnerBus) -> str:
    """A custom bus, and a rule that sends everything of ours to a queue."""
    events = bus.client("events")
    events.create_event_bus(Name="orders")
    url: str = bus.client("sqs").create_queue(QueueName="got")["QueueUrl"]
    events.put_rule(Name="all", EventBusName="orders", EventPattern='{"source": ["milepost"]}')
    events.put_targets(Rule="all", EventBusName="orders", Targets=[{"Id": "1", "Arn": queue_arn("got")}])
    return url


@pytest.fixture
async def sender(bus: PartnerBus) -> AsyncIterator[EventBusSender]:
    async with EventBridgeClient(lambda: NOW, bus.url) as client:
        yield EventBusSender(client)


async def test_messages_of_both_forms_arrive(bus: PartnerBus, queue: str, sender: EventBusSender) -> None:
    (first,) = await sender.send(destination(), [parcel(1, own(1))])
    (second,) = await sender.send(destination("amazon"), [parcel(2, amazons(2))])
    assert (first.status, second.status) == (200, 200), (first, second)
    assert first.target == f"orders at {bus.url}"
    mine, theirs = sorted(map(json.loads, bus.received(queue)), key=lambda d: d["detail-type"], reverse=True)
    assert mine["detail-type"] == "order.updated"
    assert mine["source"] == "milepost"
    assert mine["time"].startswith("2025-01-20T12:34:56")
    assert mine["detail"] == {"id": "1-sub_1"} | json.loads(own(1))
    assert theirs["detail-type"] == "PACKAGE_DELIVERED"
    assert theirs["resources"] == ["businessProduct/bp/order/o-2/delivery/d"]
    assert theirs["detail"] == json.loads(amazons(2))


def test_the_detail_of_an_event_of_amazons_is_byte_for_byte() -> None:
    assert bus_entry(parcel(1, amazons(1)), "amazon", SETTINGS)["Detail"].encode() == amazons(1)


async def test_a_bus_that_is_not_there_is_an_outcome(bus: PartnerBus, sender: EventBusSender) -> None:
    (outcome,) = await sender.send(destination(bus="nowhere"), [parcel(1, own(1))])
    assert outcome.status is None or outcome.status >= 400
    assert outcome.error


async def test_what_is_no_message_fails_alone(queue: str, sender: EventBusSender) -> None:
    outcomes = await sender.send(
        destination(), [parcel(1, b"{}"), parcel(2, own(2)), parcel(3, own(3, 1 << 20))]
    )
    assert [(o.status, o.reached, o.ends) for o in outcomes] == [
        (400, False, True),
        (200, True, False),
        (400, False, True),
    ]


async def test_settings_that_cannot_be_read_send_nothing(sender: EventBusSender) -> None:
    outcomes = await sender.send(Destination("d", "eventBus", b"{}"), [parcel(1, own(1))] * 2)
    assert [(o.status, o.reached) for o in outcomes] == [(None, False)] * 2


class Endpoint:
    """Answers PutEvents entry by entry, and keeps how the entries came."""

    def __init__(self, receiver: Receiver) -> None:
        self.requests: list[list[dict[str, Any]]] = []
        self.fails: dict[str, str] = {}
        """Error codes by order id."""
        receiver.answer = self.answer

    async def answer(self, received: Received) -> web.StreamResponse:
        entries = json.loads(received.body)["Entries"]
        self.requests.append(entries)
        said = []
        for entry in entries:
            code = self.fails.get(json.loads(entry["Detail"])["data"]["orderId"])
            said.append({"ErrorCode": code, "ErrorMessage": "no"} if code else {"EventId": "e"})
        failed = sum("ErrorCode" in one for one in said)
        body = json.dumps({"FailedEntryCount": failed, "Entries": said})
        return web.Response(text=body, content_type="application/x-amz-json-1.1")


async def test_batches_end_at_ten_entries_and_at_their_size() -> None:
    async with Receiver() as receiver, EventBridgeClient(lambda: NOW, receiver.url) as client:
        endpoint = Endpoint(receiver)
        sender = EventBusSender(client)
        assert sender.batch == 10
        outcomes = await sender.send(destination(), [parcel(n, own(n)) for n in range(21)])
        assert [o.status for o in outcomes] == [200] * 21
        assert [len(request) for request in endpoint.requests] == [10, 10, 1]
        endpoint.requests.clear()
        large = [parcel(0, own(0, 100_000)), parcel(1, own(1, 100_000)), parcel(2, own(2, 100_000))]
        larger = parcel(3, own(3, MOST_BYTES + 20_000))
        outcomes = await sender.send(destination(), [*large, larger, parcel(4, own(4))])
        assert [o.status for o in outcomes] == [200] * 5
        found = [[json.loads(e["Detail"])["id"] for e in request] for request in endpoint.requests]
        assert found == [["0-sub_1", "1-sub_1"], ["2-sub_1"], ["3-sub_1"], ["4-sub_1"]]
        assert {entry["EventBusName"] for request in endpoint.requests for entry in request} == {"orders"}


async def test_only_entries_that_failed_have_failed() -> None:
    async with Receiver() as receiver, EventBridgeClient(lambda: NOW, receiver.url) as client:
        endpoint = Endpoint(receiver)
        endpoint.fails = {"o-1": "ThrottlingException", "o-3": "InternalFailure", "o-4": "MalformedDetail"}
        outcomes = await EventBusSender(client).send(destination(), [parcel(n, own(n)) for n in range(6)])
        assert [o.status for o in outcomes] == [200, 429, 200, 500, 400, 200]
        assert outcomes[1].error == "ThrottlingException: no"
