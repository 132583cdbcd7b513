"""Every command line that README.md and these pages of docs/ print in `sh` blocks does what the page says.

Each is run by bash beside a real hub and sandbox, set up as `make run` does it, with ids that exist in place of
the words in capitals. What cannot be run so is named below, each with its reason; nothing is skipped otherwise.
"""

import json
import re
import shlex
import signal
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.e2e.processes import WAIT_S, Place, place, run

from milepost.config import Config

ROOT = Path(__file__).parents[2]
PAGES = (
    "README.md",
    "docs/cli.md",
    "docs/api.md",
    "docs/eventbridge.md",
    "docs/retention.md",
    "docs/erasure.md",
    "docs/captures.md",
    "docs/notifications.md",
    "docs/notification-texts.md",
    "docs/accounting.md",
    "docs/exports.md",
    "docs/subscribers.md",
    "docs/timeline.md",
    "docs/missing-events.md",
    "docs/secrets.md",
    "docs/backup.md",
    "docs/console-access.md",
    "examples/README.md",
    "docs/sandbox.md",
)
"""The last one moves the world's clock, so it is the last."""

ELSEWHERE = {
    "make run": "it plays `milepost demo`, which tests/e2e/test_demo.py does",
    "make test": "it runs this",
    "export PATH=": "the commands run with that PATH already",
    "export HUB=": "the hub of the test has an address of its own, and HUB is that",
    "export WEBHOOK_": "the handler of the examples reads it, in tests/e2e/test_examples.py",
    "export BWP_": "the same",
    "flask ": "tests/e2e/test_examples.py starts it by this line",
    "uvicorn ": "the same",
    "node ": "the same",
    "export MILEPOST_": "its values are the reader's; the names are checked against the settings",
}
"""How a line begins that is not run, and why."""
ENDS_WITH = {
    """curl -su sandbox:sandbox -d '{"eventId": 1}'""": (
        22,
        "the hub answers 400, which curl is told to fail at",
    ),
    "milepost serve": (1, "the file is held by the hub that runs already"),
    "milepost restore": (1, "the hub of the pages has the database"),
    "milepost keys rotate": (1, "the same"),
    "milepost doctor": (1, "there is a body in quarantine, as the pages have one posted"),
    "milepost retention --run": (1, "the hub of the pages keeps everything"),
    "milepost quarantine release": (1, "what is in quarantine there will never be readable"),
}
"""How a line begins that ends with another code than 0, with which, and why."""
FOLLOWING = ("milepost tail --type", "curl -sN ", "milepost listen ", "milepost sandbox --port")
"""How a line begins that ends only when it is interrupted; it must print something until then."""

BY_EVENTBRIDGE = """mutation { createEventSubscription(input: {
  eventType: "PACKAGE_DELIVERED" destination: { eventBridge: {
    region: "us-east-1" partnerEventSource: { account: "123456789012" name: "of-the-pages" }
  } }
}) { subscriptionId } }"""
JSON = {"content-type": "application/json"}
KEY_WANTED = '{"name": "of the test", "scope": "admin"}'


class Line(NamedTuple):
    page: str
    text: str


def lines() -> list[Line]:
    """Command lines, those over several lines in one, without comments."""
    found: list[Line] = []
    for page in PAGES:
        text = (ROOT / page).read_text("utf-8")
        for block in re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            pending = ""
            for line in block.splitlines(keepends=True):
                pending += line
                if line.endswith("\\\n"):
                    continue
                try:
                    words = shlex.split(pending, comments=True)
                except ValueError:  # a quotation goes on in the next line
                    continue
                if words:
                    found.append(Line(page, re.sub(r"\s+# .*$", "", pending.strip())))
                pending = ""
            assert not pending, f"{page}: {pending!r} does not end"
    return found


LINES = lines()


class Reader(NamedTuple):
    """The place that the pages' reader is at, and what the words in capitals stand for there."""

    place: Place
    words: dict[str, str]

    def command(self, text: str) -> str:
        for word, meant in self.words.items():
            text = text.replace(word, meant)
        return text


def sandbox_words(here: Place, event_id: str) -> dict[str, str]:
    """What the words of docs/sandbox.md stand for; its scenario file is written, too."""
    (scenario,) = re.findall(r"^```yaml\n(.*?)^```", (ROOT / PAGES[-1]).read_text("utf-8"), re.M | re.S)
    (here.folder / "late.yaml").write_text(scenario, "utf-8")
    made = here.run("sandbox", "credentials", "create", "--permission", "Read Order", "--json").json()
    event = here.run("sandbox", "events", event_id, "--json").json()
    form = b"grant_type=client_credentials&client_id=sandbox&client_secret=sandbox"
    token = post(f"{here.sandbox_url}/token", form)["access_token"]
    headers = {"authorization": f"Bearer {token}", "x-api-target-id": "sandbox"}
    answer = post(f"{here.sandbox_url}/graphql", json.dumps({"query": BY_EVENTBRIDGE}).encode(), headers)
    assert answer["data"], answer
    return {
        "SUBSCRIPTION_ID": event["messages"][0]["subscriptionId"],
        "CLIENT_ID": made["clientId"],
        "TOKEN": token,
        "SOURCE": "of-the-pages",
        "my-shop-delivered": "of-the-pages",
    }


def ended_notification(here: Place, order_id: str) -> str:
    """One of the order that is not under way, so that it may be sent again; nothing signals to another process."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        for item in here.get(f"/v1/notifications?orderId={order_id}")["items"]:
            if item["state"] in ("SENT", "SUPPRESSED"):
                return str(item["id"])
        time.sleep(0.05)
    raise AssertionError(f"nothing was told or kept back of {order_id} within {WAIT_S:g} s")


def post(url: str, body: bytes, headers: dict[str, str] | None = None) -> Any:
    request = urllib.request.Request(url, body, headers or {}, method="POST")
    with urllib.request.urlopen(request, timeout=WAIT_S) as answer:
        return json.load(answer)


@contextmanager
def receiver() -> Iterator[str]:
    """The address of a server that takes every message."""

    class Takes(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Takes) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/hook"
        finally:
            server.shutdown()
            serving.join()


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    folder = tmp_path_factory.mktemp("pages")
    (folder / ".curlrc").write_text(f"fail\nmax-time = {WAIT_S:g}\n", "utf-8")
    settings = {"OAUTH_CLIENT_ID": "ID", "OAUTH_CLIENT_SECRET": "SECRET", "TRACKING_SECRET": "s" * 32}
    settings |= {"INSECURE": "true", "EGRESS_ALLOW": "127.0.0.1"}
    settings |= {"NOTIFICATIONS": "true", "NOTIFICATION_CHANNELS": "webhook", "NOTIFICATION_HOLD_S": "0"}
    settings |= {"NOTIFICATION_HOLD_DELIVERED_S": "0", "NOTIFICATION_WEBHOOK_SECRET": "whsec_" + "c2Vj" * 8}
    with (
        receiver() as hook,
        place(
            folder,
            login=("sandbox", "sandbox"),
            key=None,
            NOTIFICATION_WEBHOOK_URL=hook,
            **settings,
        ) as here,
    ):
        forgotten = here.deliver()
        order = here.deliver()
        assert here.send(b'{"eventId": 1}') == 400
        delivery = next(d for d in order["deliveries"] if d["state"] == "DELIVERED")
        tracker = delivery["trackers"][0]
        words = {
            "http://127.0.0.1:3000/hook": f"{here.hub_url}/webhooks/buy-with-prime",
            "http://127.0.0.1:8480": here.hub_url,
            "http://127.0.0.1:8481": here.sandbox_url,
            "--port 8481": "--port 0",
            "CARRIER": tracker["carrierCode"],
            "TRACKING_NUMBER": tracker["trackingNumber"],
            "CUSTOMER": order["customer"]["email"] or shlex.quote(order["customer"]["name"]),
            "ORDER_ID": order["id"],
            "FORGOTTEN": forgotten["id"],
            "DELIVERY_ID": delivery["id"],
            "BUSINESS_PRODUCT": order["businessProductId"],
            "CAPTURE_ID": delivery["capture"]["id"],
            "NOTIFICATION_ID": ended_notification(here, order["id"]),
            "SHOPPER": order["customer"]["email"],
            "EVENT_ID": here.get("/v1/events")["items"][0]["eventId"],
            "ENTRY": str(here.get("/v1/quarantine")["items"][0]["id"]),
            "TIME": "2999-01-01T00:00:00Z",
        }
        link = post(f"{here.hub_url}/v1/orders/{order['id']}/tracking-link", b"{}", JSON)
        words["TRACKING_PATH"] = link["path"]
        added = here.run("subscribers", "add", "of the pages", "--to", hook, "--json").json()
        words["SUBSCRIBER"] = added["id"]
        words |= sandbox_words(here, words["EVENT_ID"])
        made = subprocess.run(
            [*f"curl -s {here.hub_url}/v1/keys -H Content-Type:application/json -d".split(), KEY_WANTED],
            capture_output=True,
            text=True,
            timeout=WAIT_S,
            check=True,
        )
        found = re.search(r'"key":"(mp_[\w-]+)"', made.stdout)
        assert found, made
        env = here.env | {"HOME": str(folder), "HUB": here.hub_url, "MILEPOST_API_KEY": found[1]}
        assert run(["migrate", "--database", "sqlite:///copy.db"], folder, env).code == 0
        yield Reader(here._replace(env=env), words)


RUN = [line for line in LINES if not line.text.startswith(tuple(ELSEWHERE))]


@pytest.mark.parametrize("line", RUN, ids=lambda line: f"{line.page}: {line.text[:60]}")
def test_a_printed_command_works(reader: Reader, line: Line) -> None:
    follows = line.text.startswith(FOLLOWING)
    wanted = next((code for text, (code, _) in ENDS_WITH.items() if line.text.startswith(text)), 0)
    process = subprocess.Popen(
        ["bash", "-c", f"exec {reader.command(line.text)}"],
        cwd=reader.place.folder,
        env=reader.place.env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    late = threading.Timer(WAIT_S, process.kill)
    late.start()
    try:
        first = b""
        if follows:
            assert process.stdout is not None
            first = process.stdout.readline()
            process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    finally:
        late.cancel()
        process.kill()
        process.communicate()
    assert follows or process.returncode == wanted, (line.text, out[-2000:], err[-2000:])
    assert first + out + err or wanted
    assert first.strip() or not follows
    assert b"Traceback" not in err


def test_the_settings_that_the_pages_export_exist() -> None:
    known = {f"MILEPOST_{name.upper()}" for name in Config.model_fields}
    exported = [line.text for line in LINES if line.text.startswith("export MILEPOST_")]
    named = {name for text in exported for name in re.findall(r"MILEPOST_\w+", text)}
    assert named
    assert named <= known


def test_the_tables_of_this_test_name_lines_that_are_there() -> None:
    for start in (*ELSEWHERE, *ENDS_WITH, *FOLLOWING):
        assert any(line.text.startswith(start) for line in LINES), start
    targets = (ROOT / "Makefile").read_text("utf-8")
    for start in ELSEWHERE:
        if start.startswith("make "):
            assert re.search(rf"^{start.removeprefix('make ')}:", targets, re.MULTILINE)
