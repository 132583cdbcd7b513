"""Sending to EventBridge: entries and their sizes, partial failures, and whatever an endpoint answers."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from moto.core.exceptions import JsonRESTError
from tests.partner_bus import ACCOUNT, PartnerBus
from tests.unit.transports.receiver import Answer, Received, Receiver, answering

from milepost.domain.attempt import Destination, Message
from milepost.domain.errors import Misconfigured
from milepost.domain.instant import Instant, parse_instant
from milepost.pipeline.sending import Outcome, Parcel
from milepost.transports.eventbridge import (
    MOST_BYTES,
    MOST_ENTRIES,
    AwsCredentials,
    EventBridgeClient,
    EventBridgeSettings,
    PartnerEventsSender,
    check_size,
    entry_of,
    entry_size,
    requests_of,
)

NOW = parse_instant("2025-01-20T12:00:00Z")
SOURCE = "aws.partner/buywithprime/test"
DESTINATION = Destination(
    "subscription", "eventbridge", msgspec.json.encode(EventBridgeSettings(SOURCE, ACCOUNT))
)


def body(n: int, padding: int = 0) -> bytes:
    event = {
        "idempotencyKey": f"key-{n}",
        "eventDescriptor": "PACKAGE_DELIVERED",
        "resources": [f"businessProduct/bp/order/o-{n}/delivery/d-ü{n}"],
        "eventId": f"event-{n}",
        "apiVersion": "2024-11-01",
        "subscriptionId": "subscription",
        "eventTime": "2025-01-20T12:34:56Z",
        "data": {"padding": "x" * padding} if padding else {},
    }
    return msgspec.json.encode(event)


def parcel(n: int, padding: int = 0) -> Parcel:
    return Parcel(Message(f"{n}", "subscription", n, "pending", 0, NOW), body(n, padding))


@pytest.fixture
def bus() -> Iterator[PartnerBus]:
    with PartnerBus() as made:
        made.client("events").create_partner_event_source(Name=SOURCE, Account=ACCOUNT)
        yield made


@pytest.fixture
async def sender(bus: PartnerBus) -> AsyncIterator[PartnerEventsSender]:
    async with EventBridgeClient(lambda: NOW, bus.url) as client:
        yield PartnerEventsSender(client)


async def sent_to(url: str, *parcels: Parcel, deadline_s: float = 30.0) -> list[Outcome]:
    async with EventBridgeClient(lambda: NOW, url, deadline_s=deadline_s) as client:
        return [*await PartnerEventsSender(client).send(DESTINATION, parcels)]


async def test_twenty_events_are_one_request(bus: PartnerBus, sender: PartnerEventsSender) -> None:
    queue = bus.queue(SOURCE)
    outcomes = await sender.send(DESTINATION, [parcel(n) for n in range(20)])
    assert [o.status for o in outcomes] == [200] * 20
    assert {o.target for o in outcomes} == {f"{SOURCE} at {bus.url}"}
    (request,) = bus.requests
    assert request[7] == {
        "Time": NOW // 1000 + 34 * 60 + 56,
        "Source": SOURCE,
        "Resources": ["businessProduct/bp/order/o-7/delivery/d-ü7"],
        "DetailType": "PACKAGE_DELIVERED",
        "Detail": body(7).decode(),
    }
    documents = {d["detail"]["eventId"]: d for d in map(json.loads, bus.received(queue))}
    assert sorted(documents) == sorted(f"event-{n}" for n in range(20))
    assert json.loads(outcomes[7].response) == {"EventId": documents["event-7"]["id"]}


async def test_twenty_one_are_two_requests(bus: PartnerBus, sender: PartnerEventsSender) -> None:
    outcomes = await sender.send(DESTINATION, [parcel(n) for n in range(21)])
    assert [o.status for o in outcomes] == [200] * 21
    assert [len(request) for request in bus.requests] == [20, 1]


async def test_only_refused_entries_have_failed(bus: PartnerBus, sender: PartnerEventsSender) -> None:
    refused = {
        1: ("ThrottlingException", "slower"),
        3: ("InternalFailure", "oh"),
        4: ("MalformedDetail", "no"),
    }
    bus.refuse = lambda number, entry: refused.get(number)
    outcomes = await sender.send(DESTINATION, [parcel(n) for n in range(6)])
    assert [o.status for o in outcomes] == [200, 429, 200, 500, 400, 200]
    assert outcomes[1].error == "ThrottlingException: slower"
    assert outcomes[0].error == ""
    assert not any(o.ends for o in outcomes)


async def test_an_oversize_event_fails_alone(bus: PartnerBus, sender: PartnerEventsSender) -> None:
    outcomes = await sender.send(DESTINATION, [parcel(0), parcel(1, MOST_BYTES), parcel(2)])
    assert [(o.status, o.reached) for o in outcomes] == [(200, True), (400, False), (200, True)]
    assert "EventBridge takes 1,048,576 in one request" in outcomes[1].error
    assert [len(request) for request in bus.requests] == [2]


async def test_large_events_share_no_request(bus: PartnerBus, sender: PartnerEventsSender) -> None:
    outcomes = await sender.send(DESTINATION, [parcel(n, 400_000) for n in range(5)])
    assert [o.status for o in outcomes] == [200] * 5
    assert [len(request) for request in bus.requests] == [2, 2, 1]


# aiohttp warns of a body over one MiB; this one is just over it with JSON's escapes.
@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
async def test_exactly_one_mebibyte_is_taken(bus: PartnerBus, sender: PartnerEventsSender) -> None:
    room = MOST_BYTES - entry_size(entry_of(body(1, 1), SOURCE)) + 1
    (taken,) = await sender.send(DESTINATION, [parcel(1, room)])
    (refused,) = await sender.send(DESTINATION, [parcel(1, room + 1)])
    assert (taken.status, refused.status) == (200, 400)
    assert len(bus.requests) == 1


async def test_a_source_that_is_not_there_is_refused(sender: PartnerEventsSender) -> None:
    settings = msgspec.json.encode(EventBridgeSettings("aws.partner/buywithprime/other", ACCOUNT))
    (outcome,) = await sender.send(Destination("d", "eventbridge", settings), [parcel(1)])
    assert outcome.status == 400
    assert outcome.error.startswith("NotAuthorizedForSourceException")


@pytest.mark.parametrize(
    ("code", "status"), [("ThrottlingException", 429), ("InternalException", 500), ("AccessDenied", 400)]
)
async def test_a_refused_request_is_every_parcels(
    bus: PartnerBus, sender: PartnerEventsSender, code: str, status: int
) -> None:
    bus.fail_with = JsonRESTError(code, "not now")
    outcomes = await sender.send(DESTINATION, [parcel(1), parcel(2)])
    assert [(o.status, o.error) for o in outcomes] == [(status, f"{code}: not now")] * 2


async def test_an_endpoint_that_is_down_was_not_reached() -> None:
    async with Receiver() as receiver:
        url = receiver.url
    outcomes = await sent_to(url, parcel(1), parcel(2))
    assert [(o.status, o.reached) for o in outcomes] == [(None, False)] * 2
    assert "Could not connect" in outcomes[0].error


async def test_an_endpoint_that_hangs_is_left_at_the_deadline() -> None:
    gone = asyncio.Event()

    async def hang(received: Received) -> web.StreamResponse:
        await gone.wait()
        return web.Response()

    async with Receiver(hang) as receiver:
        # The second request of the same call has no time left.
        outcomes = await sent_to(receiver.url, parcel(1, 600_000), parcel(2, 600_000), deadline_s=0.5)
        gone.set()
    assert [(o.status, o.reached, o.error) for o in outcomes] == [
        (None, True, "no answer within 0.5 s"),
        (None, True, "no answer within 0.5 s"),
    ]


def answering_body(text: str, status: int = 200) -> Answer:
    async def answer(received: Received) -> web.StreamResponse:
        return web.Response(status=status, text=text, content_type="application/x-amz-json-1.1")

    return answer


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not JSON",
        "[]",
        "null",
        "{}",
        '{"Entries": null}',
        '{"Entries": 7}',
        '{"Entries": [null, 3, "x"]}',
        '{"Entries": [{}, {}]}',
        '{"Entries": {"EventId": "a"}}',
        '{"FailedEntryCount": "many", "Entries": [{"EventId": ""}]}',
    ],
)
async def test_an_answer_that_cannot_be_read_is_no_delivery(text: str) -> None:
    async with Receiver(answering_body(text)) as receiver:
        outcomes = await sent_to(receiver.url, parcel(1), parcel(2))
    assert [(o.status, o.reached) for o in outcomes] == [(None, True)] * 2
    assert all(o.error for o in outcomes)


async def test_entries_that_the_answer_leaves_out_are_unknown() -> None:
    async with Receiver(answering_body('{"FailedEntryCount": 0, "Entries": [{"EventId": "a"}]}')) as receiver:
        outcomes = await sent_to(receiver.url, parcel(1), parcel(2))
    assert [o.status for o in outcomes] == [200, None]


@pytest.mark.parametrize("status", [301, 307, 403, 404, 410, 429, 500, 503])
async def test_an_error_status_is_the_outcome(status: int) -> None:
    async with Receiver(answering(status, Retry_After="7")) as receiver:
        (outcome,) = await sent_to(receiver.url, parcel(1))
        assert len(receiver.received) == 1
    assert (outcome.status, outcome.retry_after) == (status, 7_000)
    assert outcome.error


async def test_a_connection_that_breaks_is_unknown() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        (outcome,) = await sent_to(f"http://127.0.0.1:{port}", parcel(1))
    assert (outcome.status, outcome.reached) == (None, True)


@pytest.mark.parametrize(
    "settings",
    [b"{}", b"[", b'{"source": 1, "account": "2"}', b'{"source": "s", "account": "a", "region": "@/"}'],
)
async def test_settings_that_cannot_be_used_are_an_outcome(bus: PartnerBus, settings: bytes) -> None:
    async with EventBridgeClient(lambda: NOW, bus.url) as client:
        destination = Destination("d", "eventbridge", settings)
        (outcome,) = await PartnerEventsSender(client).send(destination, [parcel(1)])
    assert (outcome.status, outcome.reached) == (None, False)
    assert outcome.error
    assert bus.requests == []


async def test_a_body_that_is_no_event_fails_alone(bus: PartnerBus, sender: PartnerEventsSender) -> None:
    bad = [b"", b"{}", b'{"eventDescriptor": "\xff"}', body(1).replace(b"2025-01-20T12:34:56Z", b"yesterday")]
    message = Message("m", "subscription", 1, "pending", 0, NOW)
    outcomes = await sender.send(DESTINATION, [*(Parcel(message, b) for b in bad), parcel(2)])
    assert [o.status for o in outcomes] == [400, 400, 400, 400, 200]
    assert [len(request) for request in bus.requests] == [1]


async def test_without_credentials_a_fake_gets_made_up_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    async with Receiver(answering_body('{"Entries": [{"EventId": "a"}]}')) as receiver:
        await sent_to(receiver.url, parcel(1))
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "environment")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        await sent_to(receiver.url, parcel(1))
        given = AwsCredentials("given", "secret", "session")
        async with EventBridgeClient(lambda: NOW, receiver.url, credentials=given) as client:
            await PartnerEventsSender(client).send(DESTINATION, [parcel(1)])
        used = [r.headers["authorization"].split("/")[0] for r in receiver.received]
        assert used == [f"AWS4-HMAC-SHA256 Credential={key}" for key in ("sandbox", "environment", "given")]
        assert receiver.received[-1].headers["x-amz-security-token"] == "session"
        assert "/us-east-1/events/aws4_request" in receiver.received[0].headers["authorization"]
        assert receiver.received[0].headers["x-amz-target"] == "AWSEvents.PutPartnerEvents"


async def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiobotocore", None)
    monkeypatch.setitem(sys.modules, "aiobotocore.config", None)
    with pytest.raises(Misconfigured, match=r'pip install "milepost\[aws\]"'):
        await EventBridgeClient(lambda: NOW).open()


def test_the_client_is_imported_only_when_it_is_opened() -> None:
    code = "import sys, milepost.transports.eventbridge;print([m for m in sys.modules if 'boto' in m])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


@given(st.text(), st.lists(st.text(max_size=20), max_size=3), st.booleans())
def test_the_size_is_counted_in_utf8(detail: str, resources: list[str], timed: bool) -> None:
    try:
        expected = len("".join([SOURCE, "T", detail, *resources]).encode())
    except UnicodeEncodeError:
        return
    entry: dict[str, Any] = {"Source": SOURCE, "DetailType": "T", "Detail": detail, "Resources": resources}
    if timed:
        entry["Time"] = Instant(0)
    assert entry_size(entry) == check_size(entry) == expected + (14 if timed else 0)


@given(st.lists(st.integers(1, MOST_BYTES), max_size=60))
def test_requests_keep_the_order_and_the_limits(sizes: list[int]) -> None:
    given_entries: dict[int, tuple[dict[str, Any], int]] = {n: ({}, size) for n, size in enumerate(sizes)}
    requests = [list(request) for request in requests_of(given_entries)]
    assert [n for request in requests for n in request] == list(range(len(sizes)))
    totals = [sum(sizes[n] for n in request) for request in requests]
    assert all(total <= MOST_BYTES for total in totals)
    assert all(len(request) <= MOST_ENTRIES for request in requests)
    for request, following, total in zip(requests, requests[1:], totals, strict=False):
        assert len(request) == MOST_ENTRIES or total + sizes[following[0]] > MOST_BYTES
