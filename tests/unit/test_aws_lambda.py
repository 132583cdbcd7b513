"""The Lambda handler over real sockets: to a real hub, and to a server whose answers a test writes."""

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes import EventBridgeEvent, SQSEvent
from tests.e2e.running import KEY, SEEDS, SENDER, Client, event, over_eventbridge, served

from milepost import aws_lambda
from milepost.aws_lambda import NotTaken, Relay
from milepost.config import Config
from milepost.hub import Hub

DELIVERY = "businessProduct/bp-1/order/order-1/delivery/box-1"
CLIENT = {"MILEPOST_OAUTH_CLIENT_ID": "lambda", "MILEPOST_OAUTH_CLIENT_SECRET": "client-secret"}
LOGIN = {"MILEPOST_WEBHOOK_USERNAME": SENDER[0], "MILEPOST_WEBHOOK_PASSWORD": SENDER[1]}
API_KEY = {"MILEPOST_WEBHOOK_API_KEY": "key-of-the-hub"}


class Context:
    """What Lambda gives a handler; the time that is left runs."""

    def __init__(self, seconds: float = 10.0) -> None:
        self._until = time.monotonic() + seconds

    def get_remaining_time_in_millis(self) -> int:
        return max(0, int((self._until - time.monotonic()) * 1000))


def document(id: str, **changes: Any) -> dict[str, Any]:
    return over_eventbridge(event("PACKAGE_DELIVERED", DELIVERY, id, **changes), f"bridge-{id}")


def batch(*bodies: Any, queue: str = "events", groups: str = "") -> dict[str, Any]:
    """Records of a queue; of a FIFO queue's groups, a letter a record."""
    records = []
    for number, body in enumerate(bodies):
        attributes = {"ApproximateReceiveCount": "1", "SentTimestamp": "1737376496000"}
        if groups:
            attributes["MessageGroupId"] = groups[number]
        records.append(
            {
                "messageId": f"message-{number}",
                "receiptHandle": "handle",
                "body": body if isinstance(body, str) else json.dumps(body),
                "attributes": attributes,
                "messageAttributes": {},
                "md5OfBody": "d41d8cd98f00b204e9800998ecf8427e",
                "eventSource": "aws:sqs",
                "eventSourceARN": f"arn:aws:sqs:us-east-1:123456789012:{queue}",
                "awsRegion": "us-east-1",
            }
        )
    return {"Records": records}


def failures(*numbers: int) -> dict[str, Any]:
    return {"batchItemFailures": [{"itemIdentifier": f"message-{number}"} for number in numbers]}


Make = Callable[..., Relay]


@pytest.fixture
def relay_to() -> Iterator[Make]:
    """Relays to a hub that knows them by these settings, closed at the end."""
    made: list[Relay] = []

    def make(url: str, *known_by: dict[str, str]) -> Relay:
        settings = {name: value for one in known_by for name, value in one.items()}
        made.append(Relay({"MILEPOST_URL": url, **settings}))
        return made[-1]

    yield make
    for relay in made:
        relay.close()


# ── A real hub ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Client]:
    config = Config(
        database_url=f"sqlite:///{tmp_path / 'hub.db'}",
        port=0,
        api_key=KEY,  # type: ignore[arg-type]
        webhook_username=SENDER[0],
        webhook_password=SENDER[1],  # type: ignore[arg-type]
        webhook_api_key="key-of-the-hub",  # type: ignore[arg-type]
        oauth_client_id="lambda",
        oauth_client_secret="client-secret",  # type: ignore[arg-type]
        webhook_credentials=[{"username": "other", "password": "o", "business_products": ["bp-2"]}],  # type: ignore[arg-type]
    )
    made = Hub(config)
    async with served(made) as base, aiohttp.ClientSession() as http:
        yield Client(made, base, "", http)


async def run(relay: Relay, given: Any, seconds: float = 10.0) -> Any:
    """One invocation, away from the loop that the hub runs in."""
    return await asyncio.to_thread(relay.handle, given, Context(seconds))


async def kept(hub: Client) -> list[str]:
    return sorted(item["eventId"] for item in await hub.events())


@pytest.mark.parametrize("known_by", [LOGIN, API_KEY, CLIENT], ids=["Basic", "API key", "OAuth"])
async def test_a_document_is_journalled_as_it_is_and_told(
    hub: Client, known_by: dict[str, str], relay_to: Make
) -> None:
    relay = relay_to(hub.base, known_by)
    first = document("1", data={"text": "ß 😀 \u0000", "number": 12.5, "null": None})
    assert await run(relay, first) == {"status": "accepted", "position": 1}
    assert await run(relay, first) == {"status": "duplicate", "position": 1}
    shown = await hub.get("/v1/events/event-1")
    assert shown["body"] == first
    assert EventBridgeEvent(shown["body"]).get_id == "bridge-1"
    assert (shown["road"], shown["arrivals"], shown["flags"]) == ("eventbridge", 2, [])


async def test_a_document_grows_no_larger_on_the_way(hub: Client, relay_to: Make) -> None:
    """The hub takes 1 MiB, as EventBridge does; written in escapes this would be twice as long."""
    large = document("1", data={"text": "配" * 300_000})
    assert (await run(relay_to(hub.base, API_KEY), large))["status"] == "accepted"
    assert (await hub.get("/v1/events/event-1"))["body"] == large


async def test_half_a_surrogate_pair_goes_as_it_came(hub: Client, relay_to: Make) -> None:
    answer = await run(relay_to(hub.base, API_KEY), document("1", data={"text": "\ud800 配"}))
    assert answer["status"] in ("accepted", "quarantined")


async def test_the_same_event_by_webhook_and_through_lambda_is_one_with_two_arrivals(
    hub: Client, relay_to: Make
) -> None:
    relay = relay_to(f"{hub.base}/", API_KEY)
    body = json.loads((SEEDS / "delivered.webhook.json").read_text())
    bridged = json.loads((SEEDS / "delivered.eventbridge.json").read_text())
    assert (await hub.send(body))["status"] == "accepted"
    assert (await run(relay, bridged))["status"] == "duplicate"
    assert await run(relay, batch(bridged)) == failures()
    (item,) = await hub.events()
    assert item["arrivals"] == 3
    assert "conflict" not in item["flags"]


async def test_a_batch_is_journalled_and_nothing_comes_again(hub: Client, relay_to: Make) -> None:
    relay = relay_to(hub.base, API_KEY)
    given = batch(*(document(str(n)) for n in range(40)))
    assert len(list(SQSEvent(given).records)) == 40
    assert await run(relay, given) == failures()
    assert len(await kept(hub)) == 40


async def test_what_the_hub_puts_into_quarantine_is_done_and_said_in_the_log(
    hub: Client, caplog: pytest.LogCaptureFixture, relay_to: Make
) -> None:
    relay = relay_to(hub.base, API_KEY)
    given = batch("{", "secret-text", document("1", resources=["order/o"]), document("2"), '"\\ud800"')
    assert await run(relay, given) == failures()
    unreadable = {name: value for name, value in document("3").items() if name != "detail"}
    assert await run(relay, unreadable) == {"status": "quarantined", "code": "malformed_event"}
    other = relay_to(hub.base, {"MILEPOST_WEBHOOK_USERNAME": "other", "MILEPOST_WEBHOOK_PASSWORD": "o"})
    assert (await run(other, document("4")))["code"] == "unbound_business_product"
    assert await kept(hub) == ["event-2"]
    parked = (await hub.get("/v1/quarantine"))["items"]
    assert len(parked) == 6
    warned = [record.message for record in caplog.records if record.name == "milepost"]
    assert len(warned) == 6
    assert all("quarantine" in line and "secret-text" not in line for line in warned)


async def test_a_wrong_key_fails_everything_and_keeps_nothing(hub: Client, relay_to: Make) -> None:
    for wrong in ({"MILEPOST_WEBHOOK_API_KEY": "wrong"}, {**CLIENT, "MILEPOST_OAUTH_CLIENT_SECRET": "wrong"}):
        relay = relay_to(hub.base, wrong)
        with pytest.raises(NotTaken, match="401"):
            await run(relay, document("1"))
        assert await run(relay, batch(document("1"), document("2"))) == failures(0, 1)
    assert await kept(hub) == []


async def test_of_a_fifo_group_nothing_after_a_failure_is_sent(hub: Client, relay_to: Make) -> None:
    relay = relay_to(hub.base, API_KEY)
    # Larger than a hub takes: the one failure that a healthy hub answers an event with.
    too_large = document("large", data={"text": "x" * 1_100_000})
    bodies = [document("0"), too_large, document("2"), document("3"), document("4"), document("5")]
    given = batch(*bodies, queue="events.fifo", groups="aabbaa")
    assert await run(relay, given) == failures(1, 4, 5)
    assert await kept(hub) == ["event-0", "event-2", "event-3"]
    # The groups of a standard queue say nothing of an order.
    assert await run(relay, batch(*bodies, groups="aabbaa")) == failures(1)
    assert len(await kept(hub)) == 5


async def test_the_order_within_a_fifo_group_is_kept(hub: Client, relay_to: Make) -> None:
    relay = relay_to(hub.base, API_KEY)
    given = batch(*(document(str(n)) for n in range(30)), queue="q.fifo", groups="abc" * 10)
    assert await run(relay, given) == failures()
    numbers = [int(item["eventId"].removeprefix("event-")) for item in await hub.events()]
    for group in range(3):
        mine = [number for number in numbers if number % 3 == group]
        assert mine == sorted(mine)
    assert len(numbers) == 30


async def test_connections_are_kept_and_a_closed_one_is_replaced(hub: Client, relay_to: Make) -> None:
    relay = relay_to(hub.base, API_KEY)
    await run(relay, batch(*(document(str(n)) for n in range(8))))
    idle = relay._connections._idle
    assert 1 <= len(idle) <= 8
    before = {id(connection) for connection in idle}
    await run(relay, document("8"))
    assert {id(connection) for connection in idle} == before
    for connection in idle:
        connection.sock.shutdown(2)
    assert await run(relay, batch(*(document(str(n)) for n in range(9, 30)))) == failures()
    assert len(await kept(hub)) == 30


async def test_a_token_that_the_hub_no_longer_knows_is_fetched_anew(hub: Client, relay_to: Make) -> None:
    relay = relay_to(hub.base, CLIENT)
    await run(relay, document("1"))
    assert relay._token[0].count(".") == 2
    relay._token = "a.stale.token", relay._token[1]
    assert await run(relay, batch(*(document(str(n)) for n in range(2, 20)))) == failures()
    assert relay._token[0] != "a.stale.token"


async def test_powertools_batch_processor_and_ours_answer_alike(hub: Client, relay_to: Make) -> None:
    relay = relay_to(hub.base, API_KEY)
    given = batch(document("1"), document("large", data={"text": "x" * 1_100_000}), document("3"))

    def one(record: Any) -> None:
        relay.handle(record.json_body, Context())

    processor = BatchProcessor(event_type=EventType.SQS)
    theirs = await asyncio.to_thread(
        process_partial_response, event=given, record_handler=one, processor=processor, context=None
    )
    assert await run(relay, given) == theirs == failures(1)


# ── Answers that no healthy hub gives ──────────────────────────────────────────────────────────────────────


class Script:
    """A server with one answer for every request."""

    def __init__(self) -> None:
        self.status = 200
        self.headers: dict[str, str] = {}
        self.body = b"{}"
        self.requests = 0
        self.gate = threading.Event()
        self.gate.set()
        script = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                script.requests += 1
                script.gate.wait()
                self.send_response(script.status)
                for name, value in {**script.headers, "content-length": str(len(script.body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(script.body)

            def log_message(self, *arguments: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *request: object) -> None:
                """A function that had no more time has closed its connection."""

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def script() -> Iterator[Script]:
    made = Script()
    thread = threading.Thread(target=made.server.serve_forever, args=(0.01,))
    thread.start()
    yield made
    made.gate.set()
    made.server.shutdown()
    thread.join()
    made.server.server_close()


PROBLEM = b'{"code": "%b", "status": %d}'


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"<html>welcome</html>"),
        (200, b"{}"),
        (200, b"[]"),
        (200, b'{"status": "ok"}'),
        (202, b'{"status": "accepted"}'),
        (204, b""),
        (302, b""),
        (400, b""),
        (400, PROBLEM % (b"bad_request", 400)),
        (400, PROBLEM % (b"invalid_request", 400)),
        (401, PROBLEM % (b"unauthenticated", 401)),
        (403, b"<html>blocked by a firewall</html>"),
        (403, PROBLEM % (b"forbidden", 403)),
        (404, PROBLEM % (b"not_found", 404)),
        (413, PROBLEM % (b"too_large", 413)),
        (429, b""),
        (500, PROBLEM % (b"malformed_event", 500)),
        (503, PROBLEM % (b"store_unavailable", 503)),
    ],
)
def test_only_what_a_hub_says_is_believed(script: Script, status: int, body: bytes, relay_to: Make) -> None:
    script.status, script.body = status, body
    relay = relay_to(script.url, API_KEY)
    with pytest.raises(NotTaken, match=str(status)):
        relay.handle(document("1"), Context())
    assert relay.handle(batch(document("1"), document("2")), Context()) == failures(0, 1)


def test_a_redirect_is_not_followed_with_the_key(script: Script, relay_to: Make) -> None:
    script.status, script.headers = 307, {"Location": "/elsewhere"}
    relay = relay_to(script.url, API_KEY)
    with pytest.raises(NotTaken, match="307"):
        relay.handle(document("1"), Context())
    assert script.requests == 1


def test_an_answer_that_does_not_come_in_the_function_s_time_has_failed(
    script: Script, relay_to: Make
) -> None:
    script.gate.clear()
    relay = relay_to(script.url, API_KEY)
    started = time.monotonic()
    given = batch(*(document(str(n)) for n in range(20)), queue="q.fifo", groups="a" * 10 + "b" * 10)
    assert relay.handle(given, Context(1.0)) == failures(*range(20))
    with pytest.raises(NotTaken):
        relay.handle(document("1"), Context(1.0))
    assert time.monotonic() - started < 15.0, "twenty waits, one after the other"
    script.gate.set()


def test_what_waits_for_its_turn_when_time_is_up_has_failed_too(script: Script, relay_to: Make) -> None:
    script.gate.clear()
    relay = relay_to(script.url, API_KEY)
    count = 3 * aws_lambda.AT_ONCE
    assert relay.handle(batch(*(document(str(n)) for n in range(count))), Context(1.0)) == failures(
        *range(count)
    )
    script.gate.set()
    script.body = b'{"status": "accepted", "position": 1}'
    assert relay.handle(batch(*(document(str(n)) for n in range(count))), Context()) == failures()


def test_a_hub_that_is_away_fails_what_was_given(relay_to: Make) -> None:
    relay = relay_to("http://127.0.0.1:9", CLIENT)
    with pytest.raises(NotTaken, match="cannot be reached: ConnectionRefusedError"):
        relay.handle(document("1"), Context())
    assert relay.handle(batch(document("1")), Context()) == failures(0)


# ── Input and settings ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "given", [{}, [], None, "text", {"Records": []}, {"Records": [{"eventSource": "aws:s3"}]}]
)
def test_other_input_is_refused_by_name(given: Any, relay_to: Make) -> None:
    relay = relay_to("http://127.0.0.1:9", API_KEY)
    with pytest.raises(ValueError, match="neither an EventBridge document nor records"):
        relay.handle(given, Context())


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "MILEPOST_URL"),
        ({"MILEPOST_URL": "hub.example.com", **API_KEY}, "MILEPOST_URL"),
        ({"MILEPOST_URL": "https://hub.example.com"}, "MILEPOST_WEBHOOK_API_KEY"),
        ({"MILEPOST_URL": "https://h.example", "MILEPOST_WEBHOOK_USERNAME": "u"}, "go together"),
        ({"MILEPOST_URL": "https://h.example", "MILEPOST_OAUTH_CLIENT_SECRET": "s"}, "go together"),
    ],
)
def test_a_missing_setting_is_named(settings: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Relay(settings)


async def test_the_handler_reads_its_settings_from_the_environment_once(
    hub: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws_lambda._relay.cache_clear()
    try:
        for name in ("MILEPOST_URL", *API_KEY, *LOGIN, *CLIENT):
            monkeypatch.delenv(name, raising=False)
        with pytest.raises(ValueError, match="MILEPOST_URL"):
            aws_lambda.handler(document("1"), Context())
        monkeypatch.setenv("MILEPOST_URL", hub.base)
        monkeypatch.setenv("MILEPOST_WEBHOOK_API_KEY", "key-of-the-hub, an-old-one")
        assert (await asyncio.to_thread(aws_lambda.handler, document("1"), Context()))["position"] == 1
        monkeypatch.delenv("MILEPOST_URL")
        assert (await asyncio.to_thread(aws_lambda.handler, document("2"), None))["position"] == 2
    finally:
        aws_lambda._relay().close()
        aws_lambda._relay.cache_clear()


def test_the_module_needs_the_standard_library_alone() -> None:
    """Without site-packages, and alone in its folder as in a function's package."""
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); import aws_lambda; print(aws_lambda.handler.__name__)"
    )
    folder = str(Path(aws_lambda.__file__).parent)
    ran = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program, folder], capture_output=True, text=True, check=True
    )
    assert ran.stdout == "handler\n"
