"""What the sandbox publishes to EventBridge, read as Lambda authors read it: by Powertools' model and data class.

Both roads out of the sandbox: PutPartnerEvents into the fake of AWS, and the local bus that posts the document
itself. Every field must be equal to what was published, and what Powertools parsed must be the whole document.
"""

import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aws_lambda_powertools.utilities.data_classes import EventBridgeEvent, SQSEvent
from aws_lambda_powertools.utilities.parser import envelopes, parse
from aws_lambda_powertools.utilities.parser.models import EventBridgeModel
from pydantic import BaseModel, ConfigDict, Field
from tests.e2e.publishing import TYPES, World, publishing
from tests.partner_bus import ACCOUNT, PartnerBus

from milepost.domain.instant import DAY
from milepost.domain.record import Record
from milepost.sandbox import event_sources


class Detail(BaseModel):
    """The schema of the event pages as a consumer would write it down; no field more is taken."""

    model_config = ConfigDict(extra="forbid", strict=True)

    idempotency_key: str = Field(alias="idempotencyKey")
    event_descriptor: str = Field(alias="eventDescriptor")
    resources: list[str]
    event_id: str = Field(alias="eventId")
    api_version: str = Field(alias="apiVersion")
    subscription_id: str = Field(alias="subscriptionId")
    event_time: str = Field(alias="eventTime")
    data: dict[str, Any]


@pytest.fixture
def bus() -> Iterator[PartnerBus]:
    with PartnerBus() as made:
        yield made


@pytest.fixture
async def world(tmp_path: Path, bus: PartnerBus) -> AsyncIterator[World]:
    async with publishing(tmp_path, bus.url) as made:
        yield made


class Handler:
    """What the local bus posts to."""

    def __init__(self) -> None:
        self.bodies: list[str] = []

    async def take(self, request: web.Request) -> web.Response:
        self.bodies.append(await request.text())
        return web.Response(status=204)


@pytest.fixture
async def handler() -> AsyncIterator[tuple[Handler, str]]:
    made, app = Handler(), web.Application()
    app.add_routes([web.post("/hook", made.take)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield made, f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    await runner.cleanup()


def equal(body: str, record: Record, name: str, subscription: str) -> None:
    """Both of Powertools' readings of a document are what was published as `record`."""
    event = record.event()
    document = json.loads(body)
    model = parse(event=document, model=EventBridgeModel)
    read = EventBridgeEvent(document)
    assert model.version == read.version == "0"
    assert model.id == read.get_id == document["id"] != ""
    assert model.source == read.source == f"aws.partner/buywithprime/{name}"
    assert model.account == read.account == ACCOUNT
    assert read.time == event.event_time
    assert model.time == datetime.fromtimestamp(event.published_at / 1000, UTC)
    assert model.region == read.region == "us-east-1"
    assert model.resources == read.resources == [str(resource) for resource in event.resources]
    assert model.detail_type == read.detail_type == event.descriptor == TYPES[name]
    assert model.replay_name is read.replay_name is None
    assert model.detail == read.detail
    # Nothing in the document that the model does not know: what it parsed makes the whole of it again.
    again = model.model_dump(by_alias=True, exclude_none=True) | {"time": document["time"]}
    assert again == document

    detail = parse(event=document, model=Detail, envelope=envelopes.EventBridgeEnvelope)
    assert isinstance(detail, Detail)
    assert detail.event_id == event.event_id
    assert detail.event_descriptor == event.descriptor
    assert detail.resources == model.resources
    assert detail.api_version == event.api_version == "2024-11-01"
    assert detail.subscription_id == subscription
    assert detail.event_time == event.event_time
    assert detail.data == event.decoded_data()
    assert detail.model_dump(by_alias=True) == document["detail"]


def in_a_queue(bodies: list[str]) -> dict[str, Any]:
    """The bodies as the records that Lambda gets from SQS."""
    records = [
        {
            "messageId": f"message-{number}",
            "receiptHandle": "handle",
            "body": body,
            "attributes": {
                "ApproximateReceiveCount": "1",
                "SentTimestamp": "1737376496000",
                "SenderId": "AIDAEXAMPLE",
                "ApproximateFirstReceiveTimestamp": "1737376496001",
            },
            "messageAttributes": {},
            "md5OfBody": "d41d8cd98f00b204e9800998ecf8427e",
            "eventSource": "aws:sqs",
            "eventSourceARN": f"arn:aws:sqs:us-east-1:{ACCOUNT}:events",
            "awsRegion": "us-east-1",
        }
        for number, body in enumerate(bodies)
    ]
    return {"Records": records}


async def test_what_partner_events_bring_is_read_by_powertools_field_by_field(
    world: World, bus: PartnerBus
) -> None:
    urls = {}
    for name in TYPES:
        await world.subscribe(name)
        urls[name] = bus.queue(event_sources.whole_name(name), f"queue-{name}")
    await world.live(40 * DAY)
    for name, event_type in TYPES.items():
        bodies = bus.received(urls[name])
        records = {record.event().event_id: record for record in await world.records(event_type)}
        assert len(bodies) == len(records) > 3
        for body in bodies:
            record = records[json.loads(body)["detail"]["eventId"]]
            equal(body, record, name, world.subscriptions[name])
        # As Lambda gets them from a queue: the data class decodes the bodies, the envelope the details.
        given = in_a_queue(bodies)
        assert [record.json_body for record in SQSEvent(given).records] == list(map(json.loads, bodies))
        parsed = parse(event=given, model=EventBridgeModel, envelope=envelopes.SqsEnvelope)
        assert [one.detail for one in parsed] == [json.loads(body)["detail"] for body in bodies]


async def test_what_the_local_bus_posts_is_read_by_powertools_field_by_field(
    tmp_path: Path, handler: tuple[Handler, str]
) -> None:
    receiver, url = handler
    async with publishing(tmp_path, None) as world:
        for name in TYPES:
            await world.subscribe(name)
            await world.asking.post("/sandbox/event-sources", {"name": name, "url": url})
        await world.live(40 * DAY)
        for name, event_type in TYPES.items():
            bodies = [body for body in receiver.bodies if json.loads(body)["detail-type"] == event_type]
            records = {record.event().event_id: record for record in await world.records(event_type)}
            assert len(bodies) == len(records) > 3
            for body in bodies:
                document = json.loads(body)
                equal(body, records[document["detail"]["eventId"]], name, world.subscriptions[name])
                # As the event pages say: "same value as eventId".
                assert EventBridgeEvent(document).get_id == document["detail"]["eventId"]


@pytest.mark.parametrize("name", ["in_transit", "delivered", "milestone"])
def test_the_event_pages_own_examples_are_read_by_powertools(name: str) -> None:
    text = (Path(__file__).parents[1] / "seeds" / f"{name}.eventbridge.json").read_text()
    document = json.loads(text)
    model = parse(event=document, model=EventBridgeModel)
    assert model.detail == EventBridgeEvent(document).detail == document["detail"]
    assert parse(event=document, model=Detail, envelope=envelopes.EventBridgeEnvelope) == Detail(
        **document["detail"]
    )
