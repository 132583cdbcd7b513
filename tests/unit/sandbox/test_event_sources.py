"""Partner event sources: names, states, and the two ways an event goes on from one."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from moto.core.exceptions import JsonRESTError
from tests.partner_bus import ACCOUNT, PartnerBus
from tests.unit.transports.receiver import Receiver

from milepost.domain.errors import Conflict, Invalid, NotFound
from milepost.domain.instant import MINUTE, SECOND, Instant, parse_instant
from milepost.sandbox import event_sources
from milepost.sandbox.announcing import Announcer
from milepost.sandbox.associating import EventSourceRoutes, check_target
from milepost.sandbox.event_sources import DestinationNameTaken, EventSource, Target
from milepost.sandbox.http import RoutedApp
from milepost.sql import open_store
from milepost.store import Store, Transaction
from milepost.transports.eventbridge import EventBridgeClient

T = TypeVar("T")
NOW = parse_instant("2025-01-20T12:00:00Z")
WHOLE = "aws.partner/buywithprime/shop"
TARGET = Target("http://127.0.0.1:9/hook")


class Rig:
    """A store with event sources, and the routes over it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.now = NOW

    async def create(
        self, name: str = "shop", account: str = ACCOUNT, region: str = "us-east-1"
    ) -> EventSource:
        return await self.do(lambda tx: event_sources.create(tx, name, account, region, "bp-1"))

    async def do(self, function: Callable[[Transaction], T]) -> T:
        return await self.store.write(function)

    async def get(self, name: str = "shop") -> EventSource | None:
        return await self.do(lambda tx: event_sources.get(tx, name))

    async def ask(
        self, method: str, path: str, body: Any = None, *, announcer: Announcer | None = None
    ) -> tuple[int, Any]:
        app = RoutedApp([EventSourceRoutes(self.store, announcer, "http://fake")])
        transport = httpx.ASGITransport(app)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8481") as client:
            content = b"" if body is None else msgspec.json.encode(body)
            answer = await client.request(method, path, content=content)
            return answer.status_code, answer.json()

    def announcer(self, client: EventBridgeClient) -> Announcer:
        async def wait(until: Instant, signal: asyncio.Event) -> None:
            await signal.wait()

        return Announcer(self.store, client, lambda: self.now, wait=wait, random=lambda: 0.5)


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    store = await open_store(f"sqlite:///{tmp_path / 'sources.db'}", owner="test")
    yield Rig(store)
    await store.close()


@pytest.fixture
def bus() -> Iterator[PartnerBus]:
    with PartnerBus() as made:
        yield made


# ── Names and states ───────────────────────────────────────────────────────────────────────────────────────


async def test_a_source_has_the_whole_name_and_is_pending(rig: Rig) -> None:
    source = await rig.create()
    assert (source.name, source.state, source.target_id) == (WHOLE, "PENDING", "bp-1")
    assert source.arn == f"arn:aws:events:us-east-1::event-source/{WHOLE}"
    assert await rig.get() == await rig.get(WHOLE) == source


async def test_a_name_is_taken_by_whoever_comes_first(rig: Rig) -> None:
    await rig.create()
    for name in ("shop", WHOLE):
        with pytest.raises(DestinationNameTaken, match="is there already"):
            await rig.create(name, "210987654321", "eu-west-1")
    await rig.create("Shop")
    assert await rig.do(lambda tx: event_sources.remove(tx, "shop"))
    assert not await rig.do(lambda tx: event_sources.remove(tx, "shop"))
    assert (await rig.create(account="210987654321")).account == "210987654321"


@pytest.mark.parametrize(
    ("name", "account", "region", "field"),
    [
        ("", ACCOUNT, "us-east-1", "name"),
        ("a b", ACCOUNT, "us-east-1", "name"),
        ("ä", ACCOUNT, "us-east-1", "name"),
        ("shop\n", ACCOUNT, "us-east-1", "name"),
        ("a//b", ACCOUNT, "us-east-1", "name"),
        ("x" * (257 - len("aws.partner/buywithprime/")), ACCOUNT, "us-east-1", "name"),
        ("shop", "12345678901", "us-east-1", "account"),
        ("shop", "example-aws-account-id", "us-east-1", "account"),
        ("shop", "١٢٣٤٥٦٧٨٩٠١٢", "us-east-1", "account"),
        ("shop", ACCOUNT, "mars", "region"),
        ("shop", ACCOUNT, "us-east-1.evil.example/", "region"),
    ],
)
async def test_what_aws_would_not_take_is_invalid(
    rig: Rig, name: str, account: str, region: str, field: str
) -> None:
    with pytest.raises(Invalid) as caught:
        await rig.create(name, account, region)
    assert caught.value.context["field"] == field
    assert await rig.get(name) is None


@pytest.mark.parametrize(
    "region", ["us-east-1", "ap-southeast-4", "us-gov-west-1", "cn-northwest-1", "il-central-1"]
)
async def test_any_region_of_aws_will_do(rig: Rig, region: str) -> None:
    assert (await rig.create("a.b/c_D-9", region=region)).region == region


async def test_an_association_makes_it_active_and_its_end_pending(rig: Rig) -> None:
    await rig.create()
    assert (await rig.do(lambda tx: event_sources.associate(tx, "shop", TARGET))).state == "ACTIVE"
    assert (await rig.do(lambda tx: event_sources.dissociate(tx, "shop"))).state == "PENDING"


async def test_a_deleted_source_stays_as_long_as_a_target_does(rig: Rig) -> None:
    await rig.create()
    await rig.do(lambda tx: event_sources.associate(tx, "shop", TARGET))
    await rig.do(lambda tx: event_sources.remove(tx, "shop"))
    kept = await rig.get()
    assert kept is not None
    assert kept.state == "DELETED"
    with pytest.raises(Conflict):
        await rig.do(lambda tx: event_sources.associate(tx, "shop", TARGET))
    await rig.do(lambda tx: event_sources.dissociate(tx, "shop"))
    assert await rig.get() is None


async def test_a_deleted_name_may_be_made_again_and_is_pending(rig: Rig) -> None:
    await rig.create()
    await rig.do(lambda tx: event_sources.associate(tx, "shop", TARGET))
    await rig.do(lambda tx: event_sources.remove(tx, "shop"))
    assert (await rig.create()).state == "PENDING"


async def test_sources_of_nobody_are_not_found(rig: Rig) -> None:
    with pytest.raises(NotFound, match=WHOLE):
        await rig.do(lambda tx: event_sources.associate(tx, "shop", TARGET))
    with pytest.raises(NotFound, match=WHOLE):
        await rig.do(lambda tx: event_sources.dissociate(tx, "shop"))


# ── Routes ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_the_list_shows_every_source_and_no_secret(rig: Rig) -> None:
    await rig.create()
    await rig.create("other", region="eu-central-1")
    given = {
        "name": "shop",
        "url": "http://127.0.0.1:9/x",
        "basicAuthConfig": {"username": "u", "password": "pw"},
    }
    status, associated = await rig.ask("POST", "/sandbox/event-sources", given)
    assert status == 200
    status, listed = await rig.ask("GET", "/sandbox/event-sources")
    assert listed["items"] == [
        {
            "name": WHOLE,
            "arn": f"arn:aws:events:us-east-1::event-source/{WHOLE}",
            "account": ACCOUNT,
            "region": "us-east-1",
            "targetId": "bp-1",
            "state": "ACTIVE",
            "url": "http://127.0.0.1:9/x",
            "error": "",
            "tries": 0,
            "dueAt": None,
        },
        {
            "name": "aws.partner/buywithprime/other",
            "arn": "arn:aws:events:eu-central-1::event-source/aws.partner/buywithprime/other",
            "account": ACCOUNT,
            "region": "eu-central-1",
            "targetId": "bp-1",
            "state": "PENDING",
            "url": None,
            "error": "",
            "tries": 0,
            "dueAt": None,
        },
    ]
    assert associated == listed["items"][0]
    status, dissociated = await rig.ask("DELETE", "/sandbox/event-sources?name=shop")
    assert (status, dissociated["state"], dissociated["url"]) == (200, "PENDING", None)


async def test_the_list_has_pages(rig: Rig) -> None:
    for n in range(5):
        await rig.create(f"shop-{n}")
    names: list[str] = []
    following = ""
    while following is not None:
        where = f"&after={following}" if following else ""
        _, answer = await rig.ask("GET", f"/sandbox/event-sources?limit=2{where}")
        assert len(answer["items"]) <= 2
        names += [item["name"] for item in answer["items"]]
        following = answer["next"]
    assert names == [f"{WHOLE}-{n}" for n in range(5)]


BASIC = {"username": "u", "password": "p"}
OAUTH = {
    "clientParameters": {"clientId": "c", "clientSecret": "s"},
    "authEndpoint": "https://auth.example/token",
    "httpMethod": "POST",
}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"name": "shop", "url": "http://127.0.0.1:9/"}, 200),
        ({"name": WHOLE, "url": "https://shop.example/hook", "oAuthConfig": OAUTH}, 200),
        (
            {
                "name": "shop",
                "url": "https://shop.example/",
                "apiKeyConfig": {"key": "X-Api-Key", "value": "v"},
            },
            200,
        ),
        ({"name": "nobody", "url": "http://127.0.0.1:9/"}, 404),
        ({"name": "shop"}, 400),
        ({"url": "http://127.0.0.1:9/"}, 400),
        ({"name": "shop", "url": 1}, 400),
        ({"name": "shop", "url": "http://127.0.0.1:9/", "more": 1}, 400),
        ({"name": "shop", "url": "http://u:p@127.0.0.1:9/"}, 400),
        ({"name": "shop", "url": "http://127.0.0.1:99999/"}, 400),
        ({"name": "shop", "url": "ftp://127.0.0.1/"}, 400),
        ({"name": "shop", "url": "http:///x"}, 400),
        ({"name": "shop", "url": "http://[::1/"}, 400),
        ({"name": "shop", "url": "http://127.0.0.1/\r\nx"}, 400),
        ({"name": "shop", "url": "http://127.0.0.1/", "oAuthConfig": {**OAUTH, "authEndpoint": "x"}}, 400),
        ({"name": "shop", "url": "http://127.0.0.1/", "apiKeyConfig": {"key": "a b", "value": "v"}}, 400),
        (
            {"name": "shop", "url": "http://127.0.0.1/", "apiKeyConfig": {"key": "a", "value": "v\r\nb: c"}},
            400,
        ),
        ({"name": "shop", "url": "http://127.0.0.1/", "oAuthConfig": OAUTH, "basicAuthConfig": BASIC}, 400),
        ([], 400),
    ],
)
async def test_an_association_is_checked(rig: Rig, body: Any, status: int) -> None:
    await rig.create()
    answered, problem = await rig.ask("POST", "/sandbox/event-sources", body)
    assert answered == status, problem
    source = await rig.get()
    assert source is not None
    assert source.state == ("ACTIVE" if status == 200 else "PENDING")


@pytest.mark.parametrize("query", ["", "?name=", "?name=nobody"])
async def test_what_to_dissociate_must_be_named(rig: Rig, query: str) -> None:
    status, _ = await rig.ask("DELETE", f"/sandbox/event-sources{query}")
    assert status == (404 if query.endswith("nobody") else 400)


@pytest.mark.parametrize("query", ["?after=x", "?after=x:y", "?limit=x"])
async def test_a_broken_cursor_is_refused(rig: Rig, query: str) -> None:
    assert (await rig.ask("GET", f"/sandbox/event-sources{query}"))[0] == 400


@given(st.text())
def test_any_url_is_taken_or_invalid(url: str) -> None:
    try:
        check_target(Target(url))
    except Invalid:
        return
    assert url.lower().startswith("http")


# ── At an endpoint ─────────────────────────────────────────────────────────────────────────────────────────


async def test_a_source_is_made_and_taken_back_at_the_endpoint(rig: Rig, bus: PartnerBus) -> None:
    events = bus.client("events")
    async with EventBridgeClient(lambda: rig.now, bus.url) as client:
        announcer = rig.announcer(client)
        source = await rig.create()
        assert (await announcer.states([source]))[0].state == "PENDING"
        assert await announcer.announce_due() == 1
        assert events.describe_event_source(Name=WHOLE)["State"] == "PENDING"
        assert await announcer.announce_due() == 0

        _, listed = await rig.ask("GET", "/sandbox/event-sources", announcer=announcer)
        assert [(s["state"], s["error"]) for s in listed["items"]] == [("PENDING", "")]
        bus.queue(WHOLE)
        _, listed = await rig.ask("GET", "/sandbox/event-sources", announcer=announcer)
        assert [(s["state"], s["error"]) for s in listed["items"]] == [("ACTIVE", "")]

        assert await rig.do(lambda tx: event_sources.remove(tx, "shop"))
        with pytest.raises(DestinationNameTaken, match="not told yet"):
            await rig.create()
        assert await announcer.announce_due() == 1
        assert events.describe_event_source(Name=WHOLE)["State"] == "DELETED"
        assert await rig.get() is None
        await rig.create()


async def test_a_call_that_failed_is_seen_and_made_again(rig: Rig, bus: PartnerBus) -> None:
    async with Receiver() as receiver:
        down = receiver.url
    async with EventBridgeClient(lambda: rig.now, down) as client:
        announcer = rig.announcer(client)
        await rig.create()
        for delay in (5 * SECOND, 5 * MINUTE):
            assert await announcer.announce_due() == 1
            _, listed = await rig.ask("GET", "/sandbox/event-sources", announcer=announcer)
            (shown,) = listed["items"]
            assert shown["state"] == "PENDING"
            assert "Could not connect" in shown["error"]
            assert shown["dueAt"] is not None
            assert await announcer.announce_due() == 0
            rig.now = Instant(rig.now + delay)
    async with EventBridgeClient(lambda: rig.now, bus.url) as client:
        assert await rig.announcer(client).announce_due() == 1
    source = await rig.get()
    assert source is not None
    assert (source.call, source.error, source.tries) == (None, "", 0)
    assert bus.client("events").describe_event_source(Name=WHOLE)["Name"] == WHOLE


async def test_the_last_pace_goes_on(rig: Rig) -> None:
    async with Receiver() as receiver:
        down = receiver.url
    async with EventBridgeClient(lambda: rig.now, down) as client:
        announcer = rig.announcer(client)
        await rig.create()
        for _ in range(14):
            assert await announcer.announce_due() == 1
            source = await rig.get()
            assert source is not None
            assert source.due_at > rig.now
            rig.now = source.due_at


async def test_a_call_whose_answer_was_lost_is_repeated_without_harm(rig: Rig, bus: PartnerBus) -> None:
    bus.client("events").create_partner_event_source(Name=WHOLE, Account=ACCOUNT)
    async with EventBridgeClient(lambda: rig.now, bus.url) as client:
        announcer = rig.announcer(client)
        await rig.create()
        await announcer.announce_due()
        source = await rig.get()
        assert source is not None
        assert source.call is None


async def test_somebody_elses_source_at_the_endpoint_is_an_error(rig: Rig, bus: PartnerBus) -> None:
    bus.client("events").create_partner_event_source(Name=WHOLE, Account="210987654321")
    async with EventBridgeClient(lambda: rig.now, bus.url) as client:
        await rig.create()
        await rig.announcer(client).announce_due()
        source = await rig.get()
        assert source is not None
        assert source.error.startswith("ResourceAlreadyExistsException")


async def test_a_subscription_deleted_during_the_call_is_taken_back(rig: Rig, bus: PartnerBus) -> None:
    """The store is asked between the call's being counted and its being kept, as another request would."""
    async with EventBridgeClient(lambda: rig.now, bus.url) as client:

        class Meanwhile(EventBridgeClient):
            async def call(
                self, region: str, operation: str, *, until: float | None = None, **given: Any
            ) -> Any:
                if operation == "create_partner_event_source":
                    await rig.do(lambda tx: event_sources.remove(tx, "shop"))
                return await client.call(region, operation, **given)

        announcer = rig.announcer(Meanwhile(lambda: rig.now, bus.url))
        await rig.create()
        await announcer.announce_due()
        assert (await rig.get()) is not None
        await announcer.announce_due()
        assert await rig.get() is None
    assert bus.client("events").list_event_sources()["EventSources"] == []


async def test_a_state_that_cannot_be_read_is_null_with_the_reason(rig: Rig, bus: PartnerBus) -> None:
    async with EventBridgeClient(lambda: rig.now, bus.url) as client:
        announcer = rig.announcer(client)
        await rig.create()
        await announcer.announce_due()
        bus.fail_with = JsonRESTError("InternalException", "not now")
        _, listed = await rig.ask("GET", "/sandbox/event-sources", announcer=announcer)
        assert [(s["state"], s["error"]) for s in listed["items"]] == [(None, "InternalException: not now")]


async def test_at_an_endpoint_the_bus_is_associated_there(rig: Rig, bus: PartnerBus) -> None:
    async with EventBridgeClient(lambda: rig.now, bus.url) as client:
        announcer = rig.announcer(client)
        await rig.create()
        given = {"name": "shop", "url": "http://127.0.0.1:9/"}
        status, problem = await rig.ask("POST", "/sandbox/event-sources", given, announcer=announcer)
        assert status == 409
        assert "create the event bus there" in json.dumps(problem)
        status, _ = await rig.ask("DELETE", "/sandbox/event-sources?name=shop", announcer=announcer)
        assert status == 409


async def test_it_tells_of_a_new_source_as_soon_as_it_is_notified(rig: Rig, bus: PartnerBus) -> None:
    async with EventBridgeClient(lambda: rig.now, bus.url) as client:
        announcer = rig.announcer(client)
        stop = asyncio.Event()
        running = asyncio.create_task(announcer.run(stop))
        await rig.create()
        announcer.notify()
        async with asyncio.timeout(30):
            while (source := await rig.get()) is None or source.call is not None:
                await asyncio.sleep(0)
        stop.set()
        await running
