"""The local bus: the seeds' documents to the letter, dropped while pending, and ids as the pages or as AWS."""

import asyncio
import json
import uuid
from base64 import b64encode
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from msgspec.structs import replace
from tests.unit.transports.receiver import Received, Receiver, answering

from milepost.domain.attempt import Attempt, Destination, Message
from milepost.domain.envelope import parse_event
from milepost.domain.errors import Misconfigured
from milepost.domain.instant import MINUTE, parse_instant
from milepost.domain.retry import Schedule
from milepost.pipeline.consumer import Consumer
from milepost.pipeline.publisher import Publisher
from milepost.pipeline.sending import Outcome, Parcel
from milepost.sandbox import event_sources
from milepost.sandbox.clock import WorldClock
from milepost.sandbox.event_sources import Target
from milepost.sandbox.eventbridge_road import EventBridgeRoad
from milepost.sandbox.events import render
from milepost.sandbox.local_bus import LocalBus, bus_document
from milepost.sql import open_store
from milepost.store import Arrival, Store
from milepost.transports.eventbridge import EventBridgeSettings
from milepost.transports.webhook_sender import (
    BasicAuthConfig,
    ClientParameters,
    OAuthConfig,
    Pair,
    WebhookSender,
)

SEEDS = Path(__file__).parents[2] / "seeds"
START = parse_instant("2025-01-20T12:35:00Z")
NAME = "aws.partner/buywithprime/shop"
ACCOUNT = "123456789012"
SETTINGS = msgspec.json.encode(
    {
        "source": NAME,
        "account": ACCOUNT,
        "region": "us-east-1",
        "subscription": {"eventType": "PACKAGE_DELIVERED", "apiVersion": "2024-11-01"},
    }
)
DESTINATION = Destination("subscription-1", "eventbridge", SETTINGS)


class Bus:
    """A store with one EventBridge subscription, published through the local bus."""

    def __init__(self, path: Path, *, mint_ids: bool = False) -> None:
        self.url = f"sqlite:///{path}"
        self.mint_ids = mint_ids
        self.clock = WorldClock(START, 0)

    async def open(self) -> "Bus":
        self.store: Store = await open_store(self.url, owner="test")
        self.road = EventBridgeRoad(
            self.store,
            self.clock.now,
            wait=self.clock.wait,
            random=lambda: 0.5,
            real_now=self.clock.now,
            seed=1,
            mint_ids=self.mint_ids,
            allow=("127.0.0.0/8",),
        )
        await self.road.open()
        self.publisher = Publisher(
            self.store,
            {"eventbridge": self.road.sender},
            self.clock.now,
            wait=self.clock.wait,
            random=lambda: 0.5,
            schedule=Schedule((0, MINUTE, MINUTE, MINUTE)),
            render=render,
        )
        self.consumer = Consumer(self.store, "publisher", self.publisher.prepare, self.clock.now)
        return self

    async def subscribe(self) -> None:
        def write(tx: Any) -> None:
            event_sources.create(tx, "shop", ACCOUNT, "us-east-1", "bp")
            tx.attempts.put_destination(DESTINATION)

        await self.store.write(write)

    async def associate(self, url: str, **auth: Any) -> None:
        await self.store.write(lambda tx: event_sources.associate(tx, NAME, Target(url, **auth)))

    async def event(self, n: int = 1, **changes: Any) -> None:
        document = {
            "eventDescriptor": "PACKAGE_DELIVERED",
            "resources": [f"businessProduct/bp/order/o-{n}/delivery/d-{n}"],
            "eventId": f"event-{n}",
            "apiVersion": "2024-11-01",
            "eventTime": "2025-01-20T12:34:56Z",
            "data": {"order": {"id": f"o-{n}", "note": "<id> ü \\ \u2028"}},
            **changes,
        }
        body = msgspec.json.encode(document)
        await self.store.append([Arrival(parse_event(body), body, START, "sandbox")])

    async def publish(self) -> int:
        await self.consumer.catch_up()
        return await self.publisher.send_due()

    async def retry(self) -> int:
        self.clock.advance(MINUTE + MINUTE // 2)
        return await self.publisher.send_due()

    async def resend(self, id: str) -> None:
        await self.store.write(lambda tx: tx.attempts.resend(id, self.clock.now()))

    async def messages(self) -> list[Message]:
        return await self.store.read(lambda tx: tx.attempts.messages(None, 100))

    async def attempts(self) -> list[Attempt]:
        return await self.store.read(lambda tx: tx.attempts.attempts((0, 0, ""), 100))

    async def close(self) -> None:
        await self.road.close()
        await self.store.close()


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[Bus]:
    made = await Bus(tmp_path / "bus.db").open()
    await made.subscribe()
    yield made
    await made.close()


@pytest.fixture
async def minting(tmp_path: Path) -> AsyncIterator[Bus]:
    made = await Bus(tmp_path / "minting.db", mint_ids=True).open()
    await made.subscribe()
    yield made
    await made.close()


# ── The document ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("seed", ["milestone", "in_transit", "delivered"])
def test_the_document_is_the_seeds_key_for_key(seed: str) -> None:
    body = (SEEDS / f"{seed}.webhook.json").read_bytes()
    settings = EventBridgeSettings(
        "aws.partner/buywithprime/partner-event-source-name", "example-aws-account-id", "us-east-1"
    )
    document = bus_document(body, settings)
    expected = json.loads((SEEDS / f"{seed}.eventbridge.json").read_bytes())
    # As text, so that the order of keys counts at every depth.
    assert json.dumps(json.loads(document)) == json.dumps(expected)


@pytest.mark.parametrize("seed", ["milestone", "in_transit", "delivered"])
async def test_what_is_posted_is_the_seeds_document(bus: Bus, seed: str) -> None:
    """Sent by the bus itself, with the seed's own account and name, which are no real ones."""
    expected = json.loads((SEEDS / f"{seed}.eventbridge.json").read_bytes())
    settings = {"source": expected["source"], "account": expected["account"], "region": expected["region"]}
    name = expected["source"].rpartition("/")[2]
    await bus.store.write(lambda tx: event_sources.create(tx, name, ACCOUNT, "us-east-1", "bp"))
    parcel = Parcel(Message("m", "d", 1, "pending", 0, START), (SEEDS / f"{seed}.webhook.json").read_bytes())
    async with Receiver() as receiver:
        await bus.store.write(lambda tx: event_sources.associate(tx, name, Target(receiver.url)))
        destination = Destination("d", "eventbridge", msgspec.json.encode(settings))
        (outcome,) = await bus.road.sender.send(destination, [parcel])
        assert outcome.status == 200
        assert json.dumps(json.loads(receiver.received[0].body)) == json.dumps(expected)


async def test_an_active_source_is_posted_to_as_an_api_destination_does(bus: Bus) -> None:
    async with Receiver() as receiver:
        await bus.associate(f"{receiver.url}/hook?x=1")
        await bus.event()
        assert await bus.publish() == 1
        (received,) = receiver.received
        assert list(json.loads(received.body).items()) == [
            ("version", "0"),
            ("id", "event-1"),
            ("detail-type", "PACKAGE_DELIVERED"),
            ("source", NAME),
            ("account", ACCOUNT),
            ("time", "2025-01-20T12:34:56Z"),
            ("region", "us-east-1"),
            ("resources", ["businessProduct/bp/order/o-1/delivery/d-1"]),
            (
                "detail",
                {
                    "idempotencyKey": b64encode(b"subscription-1#event-1").decode(),
                    "eventDescriptor": "PACKAGE_DELIVERED",
                    "resources": ["businessProduct/bp/order/o-1/delivery/d-1"],
                    "eventId": "event-1",
                    "apiVersion": "2024-11-01",
                    "subscriptionId": "subscription-1",
                    "eventTime": "2025-01-20T12:34:56Z",
                    "data": {"order": {"id": "o-1", "note": "<id> ü \\ \u2028"}},
                },
            ),
        ]
        names = ("content-type", "user-agent", "range", "accept-encoding", "connection")
        assert {name: received.headers[name] for name in names} == {
            "content-type": "application/json; charset=utf-8",
            "user-agent": "Amazon/EventBridge/ApiDestinations",
            "range": "bytes=0-1048575",
            "accept-encoding": "gzip,deflate",
            "connection": "close",
        }
        assert "authorization" not in received.headers
        (attempt,) = await bus.attempts()
        assert (attempt.outcome, attempt.target) == ("delivered", f"{receiver.url}/hook?x=1")


async def test_an_event_sent_by_both_roads_is_one_document_here(bus: Bus) -> None:
    """The form `bridge` is for webhooks: a document is not put into a document."""
    await bus.event()
    (record,) = await bus.store.read(lambda tx: tx.journal.after(0, 1))
    message = Message("m", DESTINATION.id, 1, "pending", 0, START)
    assert render(record, DESTINATION, replace(message, form="bridge")) == render(
        record, DESTINATION, message
    )


async def test_each_kind_of_connection_authenticates(bus: Bus) -> None:
    async def answer(received: Received) -> web.StreamResponse:
        return web.json_response({"access_token": "token", "expires_in": 900})

    async with Receiver(answer) as receiver:
        oauth = OAuthConfig(ClientParameters("id", "secret"), f"{receiver.url}/token")
        ways: list[dict[str, Any]] = [
            {"basic_auth_config": BasicAuthConfig("user", "pass")},
            {"api_key_config": Pair("X-Api-Key", "key")},
            {"oauth": oauth},
        ]
        for n, auth in enumerate(ways, 1):
            await bus.associate(f"{receiver.url}/hook", **auth)
            await bus.event(n)
            await bus.publish()
        got = [r.headers for r in receiver.received if r.path == "/hook"]
        assert got[0]["authorization"] == f"Basic {b64encode(b'user:pass').decode()}"
        assert got[1]["x-api-key"] == "key"
        assert "authorization" not in got[1]
        assert got[2]["authorization"] == "Bearer token"


# ── Pending, retried, refused ──────────────────────────────────────────────────────────────────────────────


async def test_while_pending_an_event_is_dropped_and_a_resend_arrives_later(bus: Bus) -> None:
    async with Receiver() as receiver:
        await bus.event()
        await bus.publish()
        (message,) = await bus.messages()
        (attempt,) = await bus.attempts()
        assert (message.state, attempt.outcome, attempt.status) == ("failed", "failed", None)
        assert f"{NAME} is PENDING" in attempt.error
        assert await bus.retry() == 0

        await bus.associate(receiver.url)
        await bus.event(2)
        await bus.publish()
        assert [json.loads(r.body)["id"] for r in receiver.received] == ["event-2"]
        await bus.resend(message.id)
        await bus.publish()
        assert [json.loads(r.body)["id"] for r in receiver.received] == ["event-2", "event-1"]
        assert {m.state for m in await bus.messages()} == {"delivered"}


async def test_many_dropped_events_keep_no_later_one_waiting(bus: Bus) -> None:
    """A pending source is no outage: its breaker stays closed."""
    for n in range(1, 21):
        await bus.event(n)
    await bus.publish()
    assert {m.state for m in await bus.messages()} == {"failed"}
    async with Receiver() as receiver:
        await bus.associate(receiver.url)
        await bus.event(21)
        await bus.publish()
        assert [json.loads(r.body)["id"] for r in receiver.received] == ["event-21"]


async def test_dissociated_again_it_drops_again(bus: Bus) -> None:
    async with Receiver() as receiver:
        await bus.associate(receiver.url)
        await bus.store.write(lambda tx: event_sources.dissociate(tx, NAME))
        await bus.event()
        await bus.publish()
        assert receiver.received == []


async def test_a_deleted_source_delivers_nothing(bus: Bus) -> None:
    async with Receiver() as receiver:
        await bus.associate(receiver.url)
        await bus.store.write(lambda tx: event_sources.remove(tx, NAME))
        await bus.event()
        await bus.publish()
        assert receiver.received == []
        (attempt,) = await bus.attempts()
        assert f"{NAME} is DELETED" in attempt.error


async def test_a_failed_post_is_retried_with_the_same_document(bus: Bus) -> None:
    async with Receiver(answering(503)) as receiver:
        await bus.associate(receiver.url)
        await bus.event()
        await bus.publish()
        await bus.retry()
        receiver.answer = answering(200)
        await bus.retry()
        first, second, third = receiver.received
        assert first.body == second.body == third.body
        assert [a.status for a in await bus.attempts()] == [503, 503, 200]


async def test_a_private_address_is_refused(bus: Bus) -> None:
    await bus.associate("http://10.0.0.1:9/")
    await bus.event()
    await bus.publish()
    (attempt,) = await bus.attempts()
    assert attempt.outcome == "failed"
    assert "10.0.0.1" in attempt.error


async def test_a_receiver_that_hangs_is_left_at_the_deadline(bus: Bus) -> None:
    gone = asyncio.Event()

    async def hang(received: Received) -> web.StreamResponse:
        await gone.wait()
        return web.Response()

    async with (
        Receiver(hang) as receiver,
        WebhookSender(bus.clock.now, allow=("127.0.0.0/8",), deadline_s=0.2) as post,
    ):
        await bus.associate(receiver.url)
        (outcome,) = await sent(LocalBus(bus.store, post, seed=1))
        gone.set()
    assert outcome.error == "no answer within 0.2 s"
    assert outcome.status is None


async def sent(sender: LocalBus, body: bytes | None = None) -> list[Outcome]:
    given = (SEEDS / "delivered.webhook.json").read_bytes() if body is None else body
    message = Message("m", DESTINATION.id, 1, "pending", 0, START)
    return [*await sender.send(DESTINATION, [Parcel(message, given)])]


@pytest.mark.parametrize(
    "body", [b"", b"{}", b'{"eventDescriptor": "T", "resources": ["x"], "eventTime": "2025-01-20"}']
)
async def test_what_is_no_event_is_refused_in_words(bus: Bus, body: bytes) -> None:
    async with Receiver() as receiver, WebhookSender(bus.clock.now) as post:
        await bus.associate(receiver.url)
        (outcome,) = await sent(LocalBus(bus.store, post, seed=1), body)
        assert receiver.received == []
    assert (outcome.status, outcome.reached) == (400, False)
    assert outcome.error


async def test_an_event_larger_than_eventbridge_takes_is_refused(bus: Bus) -> None:
    async with Receiver() as receiver:
        await bus.associate(receiver.url)
        await bus.event(data={"padding": "x" * 1024 * 1024})
        await bus.publish()
        assert receiver.received == []
        (attempt,) = await bus.attempts()
        assert "EventBridge takes 1,048,576 in one request" in attempt.error


# ── Ids ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_minted_id_stays_over_retries_and_a_restart_and_changes_with_a_resend(minting: Bus) -> None:
    async with Receiver(answering(503)) as receiver:
        await minting.associate(receiver.url)
        await minting.event()
        await minting.publish()
        await minting.close()
        await minting.open()
        receiver.answer = answering(200)
        await minting.retry()
        (message,) = await minting.messages()
        receiver.answer = answering(503)
        await minting.resend(message.id)
        await minting.publish()
        receiver.answer = answering(200)
        await minting.retry()
        await minting.resend(message.id)
        await minting.publish()
        documents = [json.loads(r.body) for r in receiver.received]
        ids = [document["id"] for document in documents]
        assert len(ids) == 5
        assert ids[0] == ids[1]
        assert ids[2] == ids[3]
        assert len({ids[0], ids[2], ids[4]}) == 3
        assert {uuid.UUID(minted).version for minted in ids} == {4}
        assert {document["detail"]["eventId"] for document in documents} == {"event-1"}
        keys = {document["detail"]["idempotencyKey"] for document in documents}
        assert keys == {b64encode(b"subscription-1#event-1").decode()}


async def test_minted_ids_differ_between_events(minting: Bus) -> None:
    async with Receiver() as receiver:
        await minting.associate(receiver.url)
        await minting.event(1)
        await minting.event(2)
        await minting.publish()
        assert len({json.loads(r.body)["id"] for r in receiver.received}) == 2


@pytest.mark.parametrize("endpoint", ["", "127.0.0.1:4566", "ftp://x", "http://", "http://x:0", "http://[::"])
async def test_an_endpoint_must_be_a_url(bus: Bus, endpoint: str) -> None:
    with pytest.raises(Misconfigured, match="http or https URL"):
        road(bus, endpoint=endpoint)


async def test_an_endpoint_mints_its_own_ids(bus: Bus) -> None:
    with pytest.raises(Misconfigured, match="mints its own"):
        road(bus, endpoint="http://127.0.0.1:4566", mint_ids=True)


def road(bus: Bus, **changes: Any) -> EventBridgeRoad:
    now = bus.clock.now
    return EventBridgeRoad(
        bus.store, now, wait=bus.clock.wait, random=lambda: 0.5, real_now=now, seed=1, **changes
    )
