"""`milepost listen` between a real sandbox and a handler that is down at first, then fails once, then works.

Processes of their own, as a developer has them; the handler is a server of the test, so that what came is seen.
"""

import asyncio
import base64
import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.e2e.processes import Program, Ran, environment, free_port, run, started

from milepost.domain.instant import Instant
from milepost.transports.signature import SignatureVerifier


class Request(NamedTuple):
    headers: dict[str, str]
    body: bytes


class Handler:
    """A webhook handler on a port that is chosen before it is up. The first `failing` requests are answered 500."""

    def __init__(self, failing: int = 0) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/hook"
        self.requests: list[Request] = []
        self._failing = failing

    @contextmanager
    def up(self) -> Iterator[None]:
        handler = self

        class Answering(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                handler.requests.append(Request({k.lower(): v for k, v in self.headers.items()}, body))
                self.send_response(500 if len(handler.requests) <= handler._failing else 200)
                self.send_header("content-length", "4")
                self.end_headers()
                self.wfile.write(b"here")

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", self.port), Answering)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


class Desk(NamedTuple):
    """A folder, and an environment that knows a running sandbox."""

    folder: Path
    env: dict[str, str]

    def run(self, *arguments: str) -> Ran:
        return run(list(arguments), self.folder, self.env)

    @contextmanager
    def listening(self, handler: Handler, *more: str) -> Iterator[Program]:
        with started(["listen", "--forward-to", handler.url, *more], self.folder, self.env) as program:
            yield program


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder, env = tmp_path_factory.mktemp("listen"), environment()
    world = ["sandbox", "--port", "0", "--hub", "", "--retry-schedule", "0s,100ms,100ms,100ms,100ms"]
    with started(world, folder, env) as sandbox:
        yield Desk(folder, env | {"MILEPOST_SANDBOX_URL": sandbox.url()})


def test_events_reach_a_handler_that_was_down_and_failed(desk: Desk) -> None:
    handler = Handler(failing=1)
    with desk.listening(handler, "--events", "PACKAGE_DELIVERED") as listen:
        said = listen.line("the sandbox presents user ").split()
        user, password = said[4], said[-1]
        listen.line("milepost listen passes 1 event types")
        (subscription,) = desk.run("sandbox", "subscriptions", "--json").json()
        assert subscription["eventType"] == "PACKAGE_DELIVERED"
        event_id = desk.run("trigger", "PACKAGE_DELIVERED", "--json").json()["events"][-1]["eventId"]
        refused = listen.line(" 503 in ")
        assert f"nothing answers at {handler.url}" in refused
        assert " PACKAGE_DELIVERED 503 in " in refused
        assert " order/" in refused
        assert "businessProduct/" not in refused
        with handler.up():
            assert "try " in listen.line(" 500 in ")
            assert "try " in listen.line(" 200 in ")
            assert listen.ended(signal.SIGINT) == 0
        assert "1 events came in " in listen.line("events came in")
        assert listen.line("events came in").endswith("the handler took 1 of them")
    failed, taken = handler.requests
    assert failed.body == taken.body
    assert json.loads(taken.body)["eventId"] == event_id
    assert json.loads(taken.body)["subscriptionId"] == subscription["subscriptionId"]
    presented = base64.b64decode(taken.headers["authorization"].removeprefix("Basic ")).decode()
    assert presented == f"{user}:{password}"
    headers = {name.encode(): value.encode() for name, value in taken.headers.items()}
    verifier = SignatureVerifier(f"{desk.env['MILEPOST_SANDBOX_URL']}/jwks.json", clock=lambda: Instant(0))
    asyncio.run(verifier.verify(headers, taken.body))
    assert desk.run("sandbox", "subscriptions", "--json").json() == [], "it unsubscribed"
    event = desk.run("sandbox", "events", event_id, "--json").json()
    statuses = [attempt["status"] for message in event["messages"] for attempt in message["attempts"]]
    assert statuses[-2:] == [500, 200]
    assert set(statuses[:-2]) == {503}
    shown = desk.run("sandbox", "events", event_id)
    assert f"milepost listen: nothing answers at {handler.url}" in shown.out


def test_documents_are_lines_and_sigterm_ends_it(desk: Desk) -> None:
    handler = Handler()
    login = ["--username", "chosen", "--password", "by me"]
    with handler.up(), desk.listening(handler, "--json", *login) as listen:
        listen.logged("milepost listen passes 12 event types")
        caused = desk.run("trigger", "PACKAGE_DELIVERY_CANCELLED", "--json").json()["events"]
        documents = [json.loads(listen.line(event["eventId"])) for event in caused]
        assert listen.ended(signal.SIGTERM) == 0
        assert all(json.loads(line) for line in listen.printed), "nothing but documents"
    assert [d["type"] for d in documents] == ["PACKAGE_DELIVERY_CANCELLED", "REFUND_REQUESTED"]
    assert {d["status"] for d in documents} == {200}
    assert {d["answer"] for d in documents} == {"here"}
    assert sorted(d["body"].encode() for d in documents) == sorted(r.body for r in handler.requests)
    basic = "Basic " + base64.b64encode(b"chosen:by me").decode()
    assert {r.headers["authorization"] for r in handler.requests} == {basic}
    assert desk.run("sandbox", "subscriptions", "--json").json() == []


def test_what_it_subscribed_to_before_it_was_denied_is_given_back(desk: Desk) -> None:
    permissions = ["--permission", "Manage Event Subscriptions", "--permission", "Read Order"]
    made = desk.run("sandbox", "credentials", "create", *permissions, "--json").json()
    keys = ["--client-id", made["clientId"], "--client-secret", made["clientSecret"]]
    to = ["--forward-to", "http://127.0.0.1:9/hook", "--target-id", made["targetId"]]
    denied = desk.run("listen", *to, *keys)
    assert denied.code == 1
    assert "PACKAGE_TRACKER_MILESTONE_CHANGED" in denied.err
    assert "AccessDeniedError" in denied.err
    assert desk.run("sandbox", "subscriptions", "--json").json() == []
    wrong = desk.run("listen", *to, "--client-id", made["clientId"], "--client-secret", "guessed")
    assert wrong.code == 1
    assert "gave no token" in wrong.err


def test_what_listen_refuses(desk: Desk) -> None:
    to = ["--forward-to", "http://127.0.0.1:9/hook"]
    away = desk.run("listen", *to, "--sandbox", "http://127.0.0.1:9")
    assert away.code == 1
    assert "nothing answers at http://127.0.0.1:9" in away.err
    assert desk.run("listen", *to, "--events", "PACKAGE_LOST").code == 2
    assert desk.run("listen", "--forward-to", "ftp://127.0.0.1/hook").code == 2
    assert desk.run("listen", *to, "--username", "alone").code == 2
    assert desk.run("listen").code == 2
