"""The road of a merchant on AWS: sandbox, partner event source, bus, rule, queue, hub, each field and each mishap.

The sandbox and the hub are the real ones, EventBridge and SQS are `tests.partner_bus`. Single rules of receiving
are `tests/unit/transports/test_sqs.py`'s.
"""

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.e2e.processes import environment, run, started
from tests.e2e.running import (
    KEY,
    WAIT_S,
    Client,
    Document,
    event,
    hub_config,
    over_eventbridge,
    served,
    until,
)
from tests.partner_bus import ACCOUNT, PartnerBus, bus_arn
from tests.simulation.crash import HubProcess
from tests.unit.sandbox.asking import Asking

from milepost.domain.errors import StoreUnavailable
from milepost.domain.retry import Schedule
from milepost.hub import Hub
from milepost.sandbox import event_sources
from milepost.sandbox.program import Sandbox, SandboxConfig

SOURCE = "aws.partner/buywithprime/of-the-test"
DELIVERY = "businessProduct/bp-1/order/order-1/delivery/box-1"
TYPES = ("PACKAGE_DELIVERY_IN_TRANSIT", "PACKAGE_TRACKER_MILESTONE_CHANGED", "PACKAGE_DELIVERED")
SUBSCRIBE = """
mutation subscribe($input: CreateEventSubscriptionInput!) {
  createEventSubscription(input: $input) { subscriptionId }
}
"""


@pytest.fixture
def bus() -> Iterator[PartnerBus]:
    with PartnerBus() as made:
        yield made


class Road:
    """A partner bus whose events a rule sends to one queue, and what a test does at both ends."""

    def __init__(self, bus: PartnerBus, tmp_path: Path) -> None:
        self.bus = bus
        self.tmp_path = tmp_path
        self.partner = bus.client("events")
        self._stack = AsyncExitStack()

    def associate(self) -> str:
        """An event source, its bus and its queue, whose URL this returns."""
        self.partner.create_partner_event_source(Name=SOURCE, Account=ACCOUNT)
        return self.bus.queue(SOURCE)

    def put(self, *bodies: Document) -> list[Document]:
        """PutPartnerEvents, as Buy with Prime does it with webhook bodies; the answer's entries."""
        entries = [
            {
                "Source": SOURCE,
                "DetailType": body["eventDescriptor"],
                "Detail": json.dumps(body),
                "Resources": body["resources"],
                "Time": datetime.fromisoformat(body["eventTime"]).astimezone(UTC),
            }
            for body in bodies
        ]
        answers: list[Document] = self.partner.put_partner_events(Entries=entries)["Entries"]
        return answers

    async def hub(self, queue_url: str, sandbox: str = "http://127.0.0.1:9", **settings: Any) -> Client:
        """A real hub that receives from the queue."""
        given = {"sqs_queue_url": queue_url, "sqs_pollers": 1, **settings}
        hub = Hub(hub_config(self.tmp_path, sandbox, **given))
        base = await self._stack.enter_async_context(served(hub))
        http = await self._stack.enter_async_context(aiohttp.ClientSession())
        return Client(hub, base, sandbox, http)

    async def stop(self) -> None:
        """End the hubs."""
        await self._stack.aclose()
        self._stack = AsyncExitStack()

    async def came(self, client: Client, count: int) -> None:
        """So many arrivals are in the hub's books, and the queue is empty."""

        async def all_came() -> bool:
            counts = await client.hub.store.read(lambda tx: tx.journal.counts("projector"))
            return counts.arrivals >= count

        await until(all_came, f"{count} arrivals")

        async def is_empty() -> bool:
            return self.bus.depth(client.hub.config.sqs_queue_url or "") == 0

        await until(is_empty, "the queue is empty")


@pytest.fixture
async def road(bus: PartnerBus, tmp_path: Path) -> AsyncIterator[Road]:
    made = Road(bus, tmp_path)
    yield made
    await made.stop()


def in_transit(n: int | str, **changes: Any) -> Document:
    return event(TYPES[0], DELIVERY, str(n), **changes)


# ── From the sandbox's world ───────────────────────────────────────────────────────────────────────────────


class World:
    """A sandbox that publishes to the bus whatever happens in its world."""

    def __init__(self, sandbox: Sandbox, base: str, bus: PartnerBus) -> None:
        self.sandbox = sandbox
        self.base = base
        self.asking = Asking(sandbox)
        self._bus = bus

    async def subscribe(self) -> dict[str, str]:
        """To the three types; the subscriptions by type."""
        made = {}
        for number, event_type in enumerate(TYPES):
            source = {"account": ACCOUNT, "name": f"source-{number}"}
            destination = {"eventBridge": {"region": "us-east-1", "partnerEventSource": source}}
            answer = await self.asking.query(
                SUBSCRIBE, {"input": {"eventType": event_type, "destination": destination}}
            )
            made[event_type] = answer["data"]["createEventSubscription"]["subscriptionId"]
        await self.sandbox.eventbridge.announce_due()
        return made

    def associate(self) -> str:
        """Every source with a bus, each with a rule to the same queue, whose URL this returns."""
        (url,) = {
            self._bus.queue(event_sources.whole_name(f"source-{number}")) for number in range(len(TYPES))
        }
        return url

    async def deliver(self) -> list[Document]:
        """Let a parcel live up to its delivery; what was published about it."""
        await self.asking.post("/sandbox/events", {"type": TYPES[2]})
        records = await self.sandbox.store.read(lambda tx: tx.journal.after(0, 1_000))
        published: list[Document] = [json.loads(record.body) for record in records if record.kind == "event"]
        await until(self.settled, "everything is published")
        return published

    async def settled(self) -> bool:
        counts = await self.sandbox.store.read(lambda tx: tx.attempts.count())
        return not counts.get("pending") and bool(counts.get("delivered"))


@pytest.fixture
async def world(tmp_path: Path, bus: PartnerBus) -> AsyncIterator[World]:
    (tmp_path / "world").mkdir()
    sandbox = Sandbox(
        SandboxConfig(
            port=0,
            database_url=f"sqlite:///{tmp_path / 'world' / 'sandbox.db'}",
            seed=7,
            speed=1.0,
            eventbridge_endpoint=bus.url,
            schedule=Schedule((0, 100, 100, 100, 100, 100, 100)),
        )
    )
    async with served(sandbox) as base:
        made = World(sandbox, base, bus)
        yield made
        await made.asking.close()


async def test_every_field_of_every_event_is_there_at_the_hubs_end(
    world: World, road: Road, bus: PartnerBus
) -> None:
    subscriptions = await world.subscribe()
    client = await road.hub(world.associate(), world.base)
    published = await world.deliver()
    assert {body["eventDescriptor"] for body in published} == set(TYPES)
    await road.came(client, len(published))
    minted = {entry["EventId"] for a in await _attempts(world) for entry in [json.loads(a.response)]}
    for body in published:
        shown = await client.get(f"/v1/events/{body['eventId']}")
        document = shown["body"]
        number = TYPES.index(body["eventDescriptor"])
        assert list(document) == [
            *("version", "id", "detail-type", "source", "account", "time", "region", "resources", "detail")
        ]
        assert document["version"] == "0"
        assert document["id"] in minted
        assert document["detail-type"] == body["eventDescriptor"]
        assert document["source"] == f"aws.partner/buywithprime/source-{number}"
        assert document["account"] == ACCOUNT
        assert document["time"] == body["eventTime"]
        assert document["region"] == "us-east-1"
        assert document["resources"] == body["resources"]
        detail = document["detail"]
        for field in ("eventDescriptor", "resources", "eventId", "apiVersion", "eventTime", "data"):
            assert detail[field] == body[field], field
        assert detail["subscriptionId"] == subscriptions[body["eventDescriptor"]]
        assert detail["idempotencyKey"]
        for field in ("idempotencyKey", "resources", "eventId", "apiVersion", "subscriptionId", "eventTime"):
            assert shown[field] == detail[field], field
        assert (shown["type"], shown["road"], shown["flags"]) == (body["eventDescriptor"], "eventbridge", [])
        assert [arrival["road"] for arrival in shown["arrivalLog"]] == ["eventbridge"]
    await client.settled()
    for body in published:
        names = dict(zip(*[iter(body["resources"][0].split("/"))] * 2, strict=True))
        if "tracker" in names:
            tracker = await client.get(f"/v1/trackers/{names['carrier']}/{names['tracker']}")
            assert tracker["stage"] == "DELIVERED"
        else:
            delivery = await client.get(f"/v1/deliveries/{names['delivery']}")
            assert (delivery["state"], delivery["orderId"]) == ("DELIVERED", names["order"])
            assert (delivery["businessProductId"], bool(delivery["lineItems"])) == (
                names["businessProduct"],
                True,
            )


async def _attempts(world: World) -> list[Any]:
    found = await world.sandbox.store.read(lambda tx: tx.attempts.attempts((0, 0, ""), 5_000))
    return [attempt for attempt in found if attempt.outcome == "delivered"]


async def test_what_comes_while_a_source_is_pending_is_dropped(
    world: World, road: Road, bus: PartnerBus
) -> None:
    await world.subscribe()
    names = [event_sources.whole_name(f"source-{number}") for number in range(3)]
    states = {road.partner.describe_event_source(Name=name)["State"] for name in names}
    assert states == {"PENDING"}
    dropped = await world.deliver()
    client = await road.hub(world.associate(), world.base)
    both = await world.deliver()
    await road.came(client, len(both) - len(dropped))
    shown = {item["eventId"] for item in await client.events()}
    assert shown == {body["eventId"] for body in both[len(dropped) :]}


async def test_entries_that_are_refused_come_later_and_none_twice(
    world: World, road: Road, bus: PartnerBus
) -> None:
    await world.subscribe()
    client = await road.hub(world.associate(), world.base)
    refused: set[str] = set()

    def refuse_once(number: int, entry: dict[str, Any]) -> tuple[str, str] | None:
        if entry["Detail"] in refused:
            return None
        refused.add(entry["Detail"])
        return "InternalFailure", "try again"

    bus.refuse = refuse_once
    published = await world.deliver()
    await road.came(client, len(published))
    assert len(refused) == len(published)
    assert sorted(i["eventId"] for i in await client.events()) == sorted(b["eventId"] for b in published)
    assert {item["arrivals"] for item in await client.events()} == {1}


# ── Batches, duplicates, order ─────────────────────────────────────────────────────────────────────────────


async def test_twenty_entries_come_and_twenty_one_do_not(road: Road) -> None:
    client = await road.hub(road.associate())
    with pytest.raises(Exception, match="less than or equal to 20"):
        road.put(*(in_transit(f"too-many-{n}") for n in range(21)))
    road.put(*(in_transit(n) for n in range(20)))
    await road.came(client, 20)
    assert sorted(i["eventId"] for i in await client.events()) == sorted(f"event-{n}" for n in range(20))


async def test_the_rest_of_a_request_comes_though_an_entry_failed(road: Road, bus: PartnerBus) -> None:
    client = await road.hub(road.associate())
    bus.refuse = lambda number, entry: ("ThrottlingException", "later") if number == 1 else None
    answers = road.put(in_transit(0), in_transit(1), in_transit(2))
    assert [answer.get("ErrorCode") for answer in answers] == [None, "ThrottlingException", None]
    await road.came(client, 2)
    bus.refuse = lambda number, entry: None
    road.put(in_transit(1))
    await road.came(client, 3)
    assert {item["arrivals"] for item in await client.events()} == {1}


async def test_a_partners_retry_has_another_id_and_is_a_duplicate(road: Road) -> None:
    client = await road.hub(road.associate())
    ids = [road.put(in_transit(1))[0]["EventId"] for _ in range(3)]
    await road.came(client, 3)
    (item,) = await client.events()
    shown = await client.get("/v1/events/event-1")
    assert (item["arrivals"], len(set(ids)), shown["body"]["id"] in ids) == (3, 3, True)
    assert [arrival["road"] for arrival in shown["arrivalLog"]] == ["eventbridge"] * 3


async def test_an_id_that_is_the_event_id_changes_nothing(road: Road, bus: PartnerBus) -> None:
    """As the seeds print it."""
    url = road.associate()
    client = await road.hub(url)
    same = over_eventbridge(in_transit(1), "event-1")
    bus.client("sqs").send_message(QueueUrl=url, MessageBody=json.dumps(same))
    await road.came(client, 1)
    road.put(in_transit(1), in_transit(2))
    await road.came(client, 3)
    assert [(i["eventId"], i["arrivals"]) for i in await client.events()] == [("event-1", 2), ("event-2", 1)]
    assert (await client.get("/v1/events/event-1"))["body"] == same


async def test_any_order_gives_the_same_delivery(road: Road, bus: PartnerBus) -> None:
    client = await road.hub(road.associate())
    later = event(TYPES[2], DELIVERY, "later", eventTime="2025-01-21T12:00:00Z")
    road.put(later)
    await road.came(client, 1)
    road.put(in_transit("earlier"))
    await road.came(client, 2)
    await client.folded()
    assert (await client.get("/v1/deliveries/box-1"))["state"] == "DELIVERED"


async def test_a_replay_is_recognised_and_counts_as_arrivals(road: Road, bus: PartnerBus) -> None:
    client = await road.hub(road.associate())
    road.partner.create_archive(ArchiveName="kept", EventSourceArn=bus_arn(SOURCE))
    road.put(in_transit(1), in_transit(2))
    await road.came(client, 2)
    bus.replay(SOURCE, "kept", "after-the-outage")
    await road.came(client, 4)
    assert [(i["eventId"], i["arrivals"]) for i in await client.events()] in (
        [("event-1", 2), ("event-2", 2)],
        [("event-2", 2), ("event-1", 2)],
    )
    shown = await client.get("/v1/events/event-1")
    assert [arrival["road"] for arrival in shown["arrivalLog"]] == ["eventbridge", "replay"]
    outcomes = client.hub.receivers[0].outcomes
    assert (outcomes.accepted, outcomes.duplicate, outcomes.replayed) == (2, 2, 2)


async def test_one_event_by_both_roads_is_one_record_with_two_arrivals(road: Road) -> None:
    client = await road.hub(road.associate())
    road.put(in_transit(1))
    await road.came(client, 1)
    assert (await client.send(in_transit(1)))["status"] == "duplicate"
    await client.send(in_transit(2))
    road.put(in_transit(2))
    await road.came(client, 4)
    logs = [(await client.get(f"/v1/events/event-{n}"))["arrivalLog"] for n in (1, 2)]
    roads = [[arrival["road"] for arrival in log] for log in logs]
    assert roads == [["eventbridge", "webhook"], ["webhook", "eventbridge"]]
    assert all(arrival["lagMs"] > 0 for log in logs for arrival in log)


# ── Mishaps ────────────────────────────────────────────────────────────────────────────────────────────────


async def test_poison_is_in_quarantine_and_the_queue_empty(road: Road, bus: PartnerBus) -> None:
    url = road.associate()
    dead = bus.dead_letters(url, 1)
    client = await road.hub(url)
    sqs = bus.client("sqs")
    wrapped = {"Type": "Notification", "TopicArn": "arn:aws:sns:us-east-1:1:t", "Message": "{}"}
    for text in ("poison", json.dumps(wrapped)):
        sqs.send_message(QueueUrl=url, MessageBody=text)
    road.put(in_transit(1))
    await road.came(client, 3)
    items = (await client.get("/v1/quarantine"))["items"]
    assert [(item["road"], item["code"]) for item in items] == [("eventbridge", "malformed_event")] * 2
    assert "raw message delivery" in items[1]["reason"] or "raw message delivery" in items[0]["reason"]
    assert (bus.depth(url), bus.depth(dead), len(await client.events())) == (0, 0, 1)


async def test_what_another_business_products_queue_brings_is_kept_out(road: Road, bus: PartnerBus) -> None:
    url = road.associate()
    theirs = bus.client("sqs").create_queue(QueueName="theirs")["QueueUrl"]
    bus.rule(SOURCE, "theirs", {"Arn": f"arn:aws:sqs:us-east-1:{ACCOUNT}:theirs"})
    queues = [{"url": theirs, "business_products": ["bp-2"]}]
    client = await road.hub(url, sqs_queues=queues)
    road.put(in_transit(1), event(TYPES[0], DELIVERY.replace("bp-1", "bp-2"), "2"))
    # Each came by both queues; one of them may not bring it.
    await road.came(client, 4)
    items = (await client.get("/v1/quarantine"))["items"]
    assert [(item["code"], item["road"]) for item in items] == [("unbound_business_product", "eventbridge")]
    assert sorted(i["arrivals"] for i in await client.events()) == [1, 2]


async def test_what_a_killed_hub_had_received_comes_again_and_counts_once(
    road: Road, bus: PartnerBus, tmp_path: Path
) -> None:
    """kill -9 after the commit, before the delete; and before the commit."""
    url = road.associate()
    process = HubProcess(tmp_path, "http://127.0.0.1:9", SQS_QUEUE_URL=url, SQS_POLLERS="1")

    async def ended() -> bool:
        # What the killed process had received, or asked for, is visible again after half a minute.
        bus.let_visibility_run_out(url)
        return dying.done()

    for point, n in (("after-commit", 1), ("after-receive", 2)):
        await process.start(point, "1")
        dying = asyncio.create_task(process.died())
        road.put(in_transit(n))
        await until(ended, f"the hub is killed {point}")
        assert dying.result() == -signal.SIGKILL
        assert bus.depth(url) == n
    client = await road.hub(url, database_url=process.database_url)

    async def is_empty() -> bool:
        bus.let_visibility_run_out(url)
        return bus.depth(url) == 0

    await until(is_empty, "both messages are deleted")
    arrivals = {item["eventId"]: item["arrivals"] for item in await client.events()}
    assert arrivals.keys() == {"event-1", "event-2"}
    assert arrivals["event-1"] >= 2


async def test_dead_letters_of_a_store_that_was_away_can_be_redriven(
    road: Road, bus: PartnerBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = road.associate()
    dead = bus.dead_letters(url, 2)
    client = await road.hub(url)
    append = client.hub.ingest._append

    async def away(arrivals: Any) -> Any:
        raise StoreUnavailable("the disk is full")

    monkeypatch.setattr(client.hub.ingest, "_append", away)
    road.put(in_transit(1))

    async def is_dead() -> bool:
        return bus.depth(dead) == 1

    await until(is_dead, "the queue gave it up")
    assert bus.depth(url) == 0
    assert await client.events() == []
    monkeypatch.setattr(client.hub.ingest, "_append", append)
    assert bus.redrive(dead, url) == 1
    await road.came(client, 1)
    assert [item["eventId"] for item in await client.events()] == ["event-1"]
    assert bus.depth(dead) == 0


async def test_a_hub_shows_its_queues(road: Road, bus: PartnerBus) -> None:
    url = road.associate()
    client = await road.hub(url, ingest_only=True)
    road.put(in_transit(1))
    await road.came(client, 1)
    async with aiohttp.ClientSession(headers={"authorization": f"Bearer {KEY}"}) as http:
        async with http.get(f"{client.base}/metrics") as answer:
            assert 'milepost_process_total{name="sqs.events.accepted"} 1.0' in await answer.text()
        async with http.get(f"{client.base}/readyz") as answer:
            shown = await answer.json()
            assert (answer.status, list(shown["consumers"]["queues"])) == (200, ["events"])
        bus.client("sqs").delete_queue(QueueUrl=url)

        async def is_broken() -> bool:
            async with http.get(f"{client.base}/readyz") as answer:
                told = (await answer.json())["consumers"]
                return answer.status == 503 and told["failing"] == ["sqs.events"]

        await until(is_broken, "the queue that is gone is shown")


# ── The command ────────────────────────────────────────────────────────────────────────────────────────────


def test_the_command_receives_until_the_queue_is_empty(road: Road, bus: PartnerBus, tmp_path: Path) -> None:
    url = road.associate()
    road.put(*(in_transit(n) for n in range(12)), in_transit(0))
    bus.client("sqs").send_message(QueueUrl=url, MessageBody="poison")
    env = environment(SQS_QUEUE_URL=url, SQS_POLLERS="1", LOG_LEVEL="error")
    (told,) = run(["receive", "--once", "--json"], tmp_path, env).json()
    assert (told["queue"], told["received"], told["accepted"], told["deleted"]) == (url, 14, 12, 14)
    assert (told["duplicate"], told["malformed"], bus.depth(url)) == (1, 1, 0)
    again = run(["receive", "--once"], tmp_path, env)
    assert (again.code, again.out.splitlines()) == (
        0,
        [f"milepost receives from {url}", "events: 0 received"],
    )


def test_the_command_says_what_is_wrong(bus: PartnerBus, tmp_path: Path) -> None:
    nothing = run(["receive"], tmp_path, environment())
    assert (nothing.code, "set MILEPOST_SQS_QUEUE_URL, or give --queue" in nothing.err) == (2, True)
    gone = run(["receive", "--once", "--queue", f"{bus.url}/{ACCOUNT}/gone"], tmp_path, environment())
    assert (gone.code, "gone: receiving: " in gone.err) == (1, True)


def test_the_command_stays_until_it_is_told_to_stop(road: Road, bus: PartnerBus, tmp_path: Path) -> None:
    url = road.associate()
    with started(["receive", "--queue", url], tmp_path, environment(SQS_POLLERS="1")) as receiving:
        receiving.line("milepost receives from")
        road.put(in_transit(1), in_transit(2))
        deadline = time.monotonic() + WAIT_S
        while bus.depth(url) and time.monotonic() < deadline:
            time.sleep(0.01)  # the queue of the fake gives no signal
        assert receiving.ended(signal.SIGTERM) == 0
        assert receiving.line("events: 2 received: 2 accepted, 2 deleted")
