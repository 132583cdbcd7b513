"""A world's events through a rule and an AWS Lambda function into a hub, every program a process of its own.

EventBridge and SQS are `tests.partner_bus`; Lambda is `lambda_service`, whose function has nothing but its package:
the one file, or the folder of Milepost with it.
"""

import json
import shutil
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.e2e import lambda_service
from tests.e2e.lambda_service import FunctionError, LambdaService, records
from tests.e2e.processes import KEY, PASSWORD, USERNAME, Place, environment, free_port, started
from tests.e2e.publishing import DETAIL_KEYS, KEYS, TYPES, World, publishing
from tests.e2e.running import event, over_eventbridge
from tests.partner_bus import PartnerBus

from milepost import aws_lambda
from milepost.domain.instant import DAY
from milepost.sandbox import event_sources

DELIVERY = "businessProduct/bp-1/order/order-1/delivery/box-1"


@pytest.fixture
def bus() -> Iterator[PartnerBus]:
    with PartnerBus() as made:
        yield made


@pytest.fixture
async def world(tmp_path: Path, bus: PartnerBus) -> AsyncIterator[World]:
    async with publishing(tmp_path, bus.url) as made:
        yield made


@pytest.fixture
def port() -> int:
    return free_port()


@contextmanager
def hub(tmp_path: Path, port: int) -> Iterator[Place]:
    """A hub in a process of its own; the journal stays when it is started again."""
    env = environment(
        DATABASE_URL="sqlite:///hub.db",
        WEBHOOK_USERNAME=USERNAME,
        WEBHOOK_PASSWORD=PASSWORD,
        WEBHOOK_API_KEY="key-of-the-hub",
        API_KEY=KEY,
    )
    with started(["serve", "--port", str(port)], tmp_path, env) as program:
        yield Place(tmp_path, env, program, program.url(), "", (USERNAME, PASSWORD), KEY)


@contextmanager
def running(tmp_path: Path, port: int, packaged: str = "one file") -> Iterator[LambdaService]:
    source = Path(aws_lambda.__file__)
    folder = tmp_path / "function"
    into, handler = folder, "aws_lambda.handler"
    if packaged == "package":
        into, handler = folder / "milepost", "milepost.aws_lambda.handler"
    into.mkdir(parents=True)
    shutil.copy(source, into)
    if packaged == "package":
        shutil.copy(source.with_name("__init__.py"), into)
    settings = {"URL": f"http://127.0.0.1:{port}", "WEBHOOK_API_KEY": "key-of-the-hub"}
    with lambda_service.running(folder, handler, settings) as service:
        yield service


def kept(place: Place) -> list[str]:
    return sorted(item["eventId"] for item in place.get("/v1/events?limit=500")["items"])


async def published(world: World) -> dict[str, Any]:
    """The events of the world by their ids."""
    found = [record for kind in TYPES.values() for record in await world.records(kind)]
    return {record.event().event_id: record.event() for record in found}


@pytest.fixture
def file(tmp_path: Path, port: int) -> Iterator[LambdaService]:
    """The function as the one file alone."""
    with running(tmp_path, port, "one file") as service:
        yield service


@pytest.fixture
def package(tmp_path: Path, port: int) -> Iterator[LambdaService]:
    """The function as a part of the installed package."""
    with running(tmp_path, port, "package") as service:
        yield service


async def test_every_event_reaches_the_hub_through_a_queue_and_a_function(
    tmp_path: Path, world: World, bus: PartnerBus, port: int, file: LambdaService
) -> None:
    sqs, queues = bus.client("sqs"), []
    for name in TYPES:
        await world.subscribe(name)
        queues.append(bus.queue(event_sources.whole_name(name), f"queue-{name}"))
        # What failed is visible again at once, as after a visibility timeout.
        sqs.set_queue_attributes(QueueUrl=queues[-1], Attributes={"VisibilityTimeout": "0"})
    await world.live(40 * DAY)
    events = await published(world)
    with hub(tmp_path, port) as place:
        count, failed = file.poll(sqs, queues[0])
        assert (count > 0, failed) == (True, [])
        place.hub.ended(signal.SIGKILL)
    # The hub is away: everything that was handed over comes again.
    count, failed = file.poll(sqs, queues[1])
    assert count == len(failed) > 0
    with hub(tmp_path, port) as place:
        for queue in queues:
            while file.poll(sqs, queue)[0]:
                pass
        assert kept(place) == sorted(events)
        for event_id, event in events.items():
            shown = place.get(f"/v1/events/{event_id}")
            document, detail = shown["body"], shown["body"]["detail"]
            assert (list(document), list(detail)) == (KEYS, DETAIL_KEYS)
            assert document["detail-type"] == detail["eventDescriptor"] == event.type
            assert document["time"] == detail["eventTime"] == event.event_time
            assert document["resources"] == detail["resources"] == [str(r) for r in event.resources]
            assert detail["eventId"] == event_id
            assert json.dumps(detail["data"]) == json.dumps(event.decoded_data())
            assert (shown["road"], shown["arrivals"], shown["flags"]) == ("eventbridge", 1, [])


def test_a_function_that_the_rule_calls_itself(tmp_path: Path, port: int, package: LambdaService) -> None:
    document = over_eventbridge(event("PACKAGE_DELIVERED", DELIVERY, "1"))
    with pytest.raises(FunctionError, match=r"^NotTaken: the hub cannot be reached"):
        package.invoke(document)
    with hub(tmp_path, port) as place:
        # Lambda itself tries an event again that its function failed with.
        assert package.invoke(document) == {"status": "accepted", "position": 1}
        assert package.invoke(document) == {"status": "duplicate", "position": 1}
        assert (
            package.invoke({**document, "detail": {}, "resources": [], "id": "x"})["status"] == "quarantined"
        )
        package.instance.logged("event x is in the hub's quarantine: malformed_event")
        assert kept(place) == ["event-1"]
        with pytest.raises(FunctionError, match=r"^ValueError: the input is neither"):
            package.invoke({"hello": "world"})
        place.hub.ended(signal.SIGTERM)
    with hub(tmp_path, port) as place:
        # The kept connection is to a hub that is no more.
        assert package.invoke(document)["status"] == "duplicate"
        assert place.get("/v1/events/event-1")["arrivals"] == 3


def test_a_fifo_queue_keeps_its_groups_in_order_over_failures(
    tmp_path: Path, bus: PartnerBus, port: int
) -> None:
    """moto forgets the order of what it gives again, so the batch is handed over again here."""
    sqs = bus.client("sqs")
    attributes = {"FifoQueue": "true", "ContentBasedDeduplication": "true"}
    queue = sqs.create_queue(QueueName="events.fifo", Attributes=attributes)["QueueUrl"]
    for number in range(10):
        body = json.dumps(over_eventbridge(event("PACKAGE_DELIVERED", DELIVERY, str(number))))
        sqs.send_message(QueueUrl=queue, MessageBody=body, MessageGroupId="ab"[number % 2])
    batch = records(sqs, queue)
    ids = [{"itemIdentifier": record["messageId"]} for record in batch]
    assert [record["attributes"]["MessageGroupId"] for record in batch] == list("ababababab")
    with running(tmp_path, port) as function:
        assert function.invoke({"Records": batch}) == {"batchItemFailures": ids}
        with hub(tmp_path, port) as place:
            # One that no hub takes: what is behind it in its group stays, the other group goes on.
            too_large = {**batch[4], "body": "x" * 1_100_000}
            given = [*batch[:4], too_large, *batch[5:]]
            left = [ids[number] for number in (4, 6, 8)]
            assert function.invoke({"Records": given}) == {"batchItemFailures": left}
            again = [batch[number] for number in (4, 6, 8)]
            assert function.invoke({"Records": again}) == {"batchItemFailures": []}
            numbers = [
                int(item["eventId"].removeprefix("event-")) for item in place.get("/v1/events")["items"]
            ]
    for group in (0, 1):
        assert [n for n in numbers if n % 2 == group] == list(range(group, 10, 2))
