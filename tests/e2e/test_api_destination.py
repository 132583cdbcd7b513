"""A world's events through a partner event source, a rule and an API destination into a real hub.

The sandbox and the hub are the real ones; EventBridge is `tests.partner_bus` and `tests.api_destination`, whose
clock a test moves. Nothing is asked of an API here: what comes in is what counts.
"""

import asyncio
import json
import random
from base64 import b64decode
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.api_destination import ApiDestinations, Auth, api_key, basic, oauth
from tests.e2e.processes import free_port
from tests.e2e.publishing import DETAIL_KEYS, KEYS, TYPES, World, publishing
from tests.e2e.running import KEY, SENDER, Client, served
from tests.partner_bus import ACCOUNT, PartnerBus
from tests.unit.transports.serving import Clock

from milepost.config import Config
from milepost.domain.instant import DAY, MINUTE
from milepost.hub import Hub
from milepost.sandbox import event_sources
from milepost.store import Arrival, Receipt

KEYS_OF_THE_HUB = "a-new-key-of-the-hub,an-old-key-of-the-hub"
CLIENT = ("eventbridge", "client-secret-of-the-test")
GRANT = {"grant_type": "client_credentials"}


@pytest.fixture
def bus() -> Iterator[PartnerBus]:
    with PartnerBus() as made:
        yield made


@pytest.fixture
async def world(tmp_path: Path, bus: PartnerBus) -> AsyncIterator[World]:
    async with publishing(tmp_path, bus.url) as made:
        yield made


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def destinations(bus: PartnerBus, clock: Clock) -> ApiDestinations:
    seed = random.randrange(1_000_000)
    print(f"seed {seed}")
    return ApiDestinations(bus, clock, random.Random(seed).random)


@pytest.fixture
def port() -> int:
    """The hub's, known before it is up."""
    return free_port()


@asynccontextmanager
async def hub(tmp_path: Path, port: int, **changes: Any) -> AsyncIterator[Client]:
    """A hub that all three kinds of authentication let into; `changes` replace settings, None takes them away."""
    settings = {
        "database_url": f"sqlite:///{tmp_path / 'milepost.db'}",
        "port": port,
        "webhook_username": SENDER[0],
        "webhook_password": SENDER[1],
        "webhook_api_key": KEYS_OF_THE_HUB,
        "oauth_client_id": CLIENT[0],
        "oauth_client_secret": CLIENT[1],
        "api_key": KEY,
        **changes,
    }
    made = Hub(Config.load(**settings))
    async with served(made) as base, aiohttp.ClientSession() as http:
        yield Client(made, base, "", http)


def by_key(value: str = "a-new-key-of-the-hub") -> Auth:
    return api_key("X-Api-Key", value)


def by_oauth(port: int, secret: str = CLIENT[1], **body: str) -> Auth:
    return oauth(f"http://127.0.0.1:{port}/oauth/token", CLIENT[0], secret, **(body or GRANT))


def hook(port: int) -> str:
    return f"http://127.0.0.1:{port}/webhooks/buy-with-prime"


async def to_the_end(destinations: ApiDestinations, clock: Clock) -> None:
    """Every attempt that there will be."""
    while (due := destinations.next_due) is not None:
        clock.pass_(max(0, due - clock()))
        await destinations.deliver_due()


async def delivered(world: World, destinations: ApiDestinations, port: int, auth: Auth) -> tuple[str, str]:
    """Subscribe to deliveries through an API destination, and let the world publish them all."""
    await world.subscribe("delivered")
    made = destinations.set_up(event_sources.whole_name("delivered"), hook(port), auth)
    await world.live(40 * DAY)
    assert len(destinations.deliveries) == len(await world.records(TYPES["delivered"])) > 3
    return made


async def event_ids(world: World) -> list[str]:
    return sorted(record.event().event_id for record in await world.records(TYPES["delivered"]))


async def kept(client: Client) -> list[str]:
    return sorted(item["eventId"] for item in await client.events())


@pytest.mark.parametrize("kind", ["API key", "Basic", "OAuth", "OAuth without a grant, in JSON"])
async def test_every_event_reaches_the_hub_with_every_field(
    tmp_path: Path, world: World, bus: PartnerBus, clock: Clock, port: int, kind: str
) -> None:
    destinations = ApiDestinations(
        bus, clock, random.Random(1).random, token_request="json" if "JSON" in kind else "form"
    )
    auth = {
        "API key": by_key(),
        "Basic": basic(*SENDER),
        "OAuth": by_oauth(port),
        "OAuth without a grant, in JSON": by_oauth(port, audience="milepost"),
    }[kind]
    for name in TYPES:
        await world.subscribe(name)
        destinations.set_up(event_sources.whole_name(name), hook(port), auth)
    await world.live(40 * DAY)
    ids_of_the_bus = {json.loads(a.response)["EventId"] for a in await world.attempts()}
    async with hub(tmp_path, port) as client:
        while destinations.waiting:
            await destinations.deliver_due()
            clock.pass_(1_000)
        assert {tuple(delivery.statuses) for delivery in destinations.deliveries} == {(200,)}
        assert destinations.tokens_fetched == (3 if "OAuth" in kind else 0)
        for name, event_type in TYPES.items():
            records = await world.records(event_type)
            assert len(records) > 3
            for record in records:
                event = record.event()
                shown = await client.get(f"/v1/events/{event.event_id}")
                document = shown["body"]
                detail = document["detail"]
                assert list(document) == KEYS
                assert list(detail) == DETAIL_KEYS
                assert document["version"] == "0"
                assert document["id"] in ids_of_the_bus
                assert document["detail-type"] == detail["eventDescriptor"] == event_type
                assert document["source"] == f"aws.partner/buywithprime/{name}"
                assert document["account"] == ACCOUNT
                assert document["time"] == detail["eventTime"] == event.event_time
                assert document["region"] == "us-east-1"
                assert document["resources"] == detail["resources"] == [str(r) for r in event.resources]
                assert detail["eventId"] == event.event_id
                assert detail["subscriptionId"] == world.subscriptions[name]
                assert detail["apiVersion"] == "2024-11-01"
                key = b64decode(detail["idempotencyKey"]).decode()
                assert key == f"{world.subscriptions[name]}#{event.event_id}"
                assert json.dumps(detail["data"]) == json.dumps(event.decoded_data())
                assert (shown["road"], shown["arrivals"], shown["flags"]) == ("eventbridge", 1, [])
                assert shown["type"] == shown["eventDescriptor"] == event_type
                assert shown["idempotencyKey"] == detail["idempotencyKey"]
                assert shown["subscriptionId"] == detail["subscriptionId"]
        counts = await client.numbers()
        assert counts["events_total"] == len(destinations.deliveries)


async def test_what_a_hub_missed_while_it_was_down_comes_when_it_is_up(
    tmp_path: Path, world: World, destinations: ApiDestinations, clock: Clock, port: int
) -> None:
    _, queue = await delivered(world, destinations, port, by_key())
    for _ in range(5):
        await destinations.deliver_due()
        clock.pass_(10 * MINUTE)
    assert {status for d in destinations.deliveries for status in d.statuses} == {None}
    async with hub(tmp_path, port) as client:
        await to_the_end(destinations, clock)
        assert await kept(client) == await event_ids(world)
        assert (await client.numbers())["duplicates_total"] == 0
    assert destinations.dead_letters(queue) == []


async def test_a_store_that_hangs_is_answered_in_aws_s_time_and_its_events_are_kept_once(
    tmp_path: Path, world: World, destinations: ApiDestinations, clock: Clock, port: int
) -> None:
    """With the real constants: the hub's, and the five seconds of an API destination."""
    await delivered(world, destinations, port, by_key())
    async with hub(tmp_path, port) as client:
        commits = Gate(client.hub)
        await destinations.deliver_due()
        assert {tuple(d.statuses) for d in destinations.deliveries} == {(503,)}
        problems = {json.loads(d.attempts[0].body)["code"] for d in destinations.deliveries}
        assert problems == {"store_unavailable"}
        assert {d.attempts[0].retry_after for d in destinations.deliveries} == {1_000}
        commits.opened.set()
        await to_the_end(destinations, clock)
        assert {tuple(d.statuses) for d in destinations.deliveries} == {(503, 200)}
        assert await kept(client) == await event_ids(world)
        # Every first try was committed after all, so its second was a duplicate.
        assert (await client.numbers())["duplicates_total"] == len(destinations.deliveries)


async def test_an_answer_that_comes_too_late_for_the_destination_loses_and_doubles_nothing(
    tmp_path: Path, world: World, bus: PartnerBus, clock: Clock, port: int
) -> None:
    destinations = ApiDestinations(bus, clock, random.Random(2).random, timeout_s=0.3)
    await delivered(world, destinations, port, by_key())
    async with hub(tmp_path, port) as client:
        commits = Gate(client.hub)
        await destinations.deliver_due()
        assert {tuple(d.statuses) for d in destinations.deliveries} == {(None,)}
        commits.opened.set()
        await to_the_end(destinations, clock)
        assert {tuple(d.statuses) for d in destinations.deliveries} == {(None, 200)}
        assert await kept(client) == await event_ids(world)


class Gate:
    """Holds the commits of a hub's events back until `opened` is set: a slow disk."""

    def __init__(self, hub: Hub) -> None:
        self.opened = asyncio.Event()
        self._append = hub.store.append
        hub.ingest._append = self._held

    async def _held(self, arrivals: Any) -> list[Receipt]:
        given: list[Arrival] = list(arrivals)
        await self.opened.wait()
        return await self._append(given)


async def test_a_wrong_key_is_tried_again_and_then_dead_lettered_and_nothing_is_kept(
    tmp_path: Path, world: World, destinations: ApiDestinations, clock: Clock, port: int
) -> None:
    await world.subscribe("delivered")
    _, queue = destinations.set_up(
        event_sources.whole_name("delivered"), hook(port), by_key("wrong"), MaximumRetryAttempts=3
    )
    await world.live(40 * DAY)
    async with hub(tmp_path, port) as client:
        await to_the_end(destinations, clock)
        assert {tuple(d.statuses) for d in destinations.deliveries} == {(401,) * 4}
        assert await kept(client) == []
        assert (await client.numbers())["quarantined"] == 0
    letters = destinations.dead_letters(queue)
    assert sorted(document["detail"]["eventId"] for document, _ in letters) == await event_ids(world)
    for document, attributes in letters:
        assert list(document) == KEYS
        assert attributes == {
            "RULE_ARN": f"arn:aws:events:us-east-1:{ACCOUNT}:rule/aws.partner/buywithprime/delivered/delivered",
            "TARGET_ARN": destinations.deliveries[0].target["Arn"],
            "ERROR_CODE": "ERROR_FROM_TARGET",
            "ERROR_MESSAGE": "The target answered with status 401.",
            "EXHAUSTED_RETRY_CONDITION": "MaximumRetryAttempts",
            "RETRY_ATTEMPTS": "3",
        }


async def test_a_key_is_rotated_without_losing_an_event(
    tmp_path: Path, world: World, destinations: ApiDestinations, clock: Clock, port: int
) -> None:
    await world.subscribe("milestones")
    source = event_sources.whole_name("milestones")
    name, queue = destinations.set_up(source, hook(port), by_key("old"))

    async def live(days: int) -> None:
        await world.live(days * DAY)
        assert await destinations.deliver_due() > 0, "nothing was published"

    async with hub(tmp_path, port, webhook_api_key="old"):
        await live(1)
    async with hub(tmp_path, port, webhook_api_key="new, old"):
        await live(1)
        destinations.update(name, by_key("new"))
        await live(1)
    async with hub(tmp_path, port, webhook_api_key="new"):
        await live(1)
        assert {tuple(d.statuses) for d in destinations.deliveries} == {(200,)}
        # Also the other way round, by somebody who changes the connection first: it takes until the retry.
        destinations.update(name, by_key("newest"))
        await live(20)
        assert {d.statuses[0] for d in destinations.waiting} == {401}
    async with hub(tmp_path, port, webhook_api_key="newest,new") as client:
        await to_the_end(destinations, clock)
        published = {record.event().event_id for record in await world.records(TYPES["milestones"])}
        assert {item["eventId"] for item in (await client.get("/v1/events", limit=500))["items"]} == published
        assert (await client.numbers())["duplicates_total"] == 0
    assert destinations.dead_letters(queue) == []


async def test_a_client_secret_is_rotated_and_a_token_that_died_is_fetched_anew(
    tmp_path: Path, world: World, destinations: ApiDestinations, clock: Clock, port: int
) -> None:
    name, queue = await delivered(world, destinations, port, by_oauth(port, "old"))
    first, *others = destinations.deliveries
    for later in others:
        later.due = clock()
        later.ended = "dropped"  # put aside for the second half
    async with hub(tmp_path, port, oauth_client_secret="new,old"):
        await destinations.deliver_due()
        assert (first.statuses, destinations.tokens_fetched) == ([200], 1)
    for later in others:
        later.ended = ""
    # The token of the old secret is still kept when the hub no longer knows that secret.
    kept_tokens = dict(destinations._tokens)
    destinations.update(name, by_oauth(port, "new"))
    destinations._tokens.update(kept_tokens)
    async with hub(tmp_path, port, oauth_client_secret="new") as client:
        await to_the_end(destinations, clock)
        assert {tuple(later.statuses) for later in others} == {(401, 200)}
        assert destinations.tokens_fetched == 2
        assert await kept(client) == await event_ids(world)
    assert destinations.dead_letters(queue) == []


async def test_what_cannot_be_read_is_in_quarantine_and_in_the_dead_letters_and_not_sent_again(
    tmp_path: Path, world: World, bus: PartnerBus, destinations: ApiDestinations, clock: Clock, port: int
) -> None:
    _, queue = await delivered(world, destinations, port, by_key())
    broken = {"eventId": "broken", "idempotencyKey": "key", "resources": ["order/o"], "data": {}}
    entry = {
        "Source": event_sources.whole_name("delivered"),
        "DetailType": "PACKAGE_DELIVERED",
        "Detail": json.dumps(broken),
    }
    assert bus.client("events").put_partner_events(Entries=[entry])["FailedEntryCount"] == 0
    async with hub(tmp_path, port) as client:
        await to_the_end(destinations, clock)
        assert await kept(client) == await event_ids(world)
        (parked,) = (await client.get("/v1/quarantine"))["items"]
        assert (parked["code"], parked["road"]) == ("malformed_event", "webhook")
    ((document, attributes),) = destinations.dead_letters(queue)
    assert document["detail"] == broken
    assert (attributes["RETRY_ATTEMPTS"], "EXHAUSTED_RETRY_CONDITION" in attributes) == ("0", False)
