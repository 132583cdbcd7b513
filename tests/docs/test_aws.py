"""docs/aws.md: its commands are run in their order, from nothing to a replay, and its tables name what there is.

The hub, the sandbox and every command are real processes; AWS is the fake of `tests.partner_bus`, and `aws` is
`tests.deploy.aws_cli`.
"""

import json
import re
import shlex
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from moto.events.models import events_backends
from tests.deploy.account import settings
from tests.deploy.stack import taught, template
from tests.e2e.processes import KEY, PASSWORD, USERNAME, WAIT_S, Program, environment, free_port
from tests.partner_bus import ACCOUNT, REGION, PartnerBus

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "aws.md").read_text("utf-8")
SOURCE = "aws.partner/buywithprime/my-shop-delivered"
STAYS = ("milepost sandbox", "milepost serve")
CHECKED_ONLY = "aws sqs start-message-move-task"
"""The fake has no such call; its options are checked against the service's model."""
ANSWERS = {
    "aws events describe-event-source": '"State": "PENDING"',
    "aws cloudformation deploy": '"QueueUrl"',
    "aws cloudformation describe-stacks": "MILEPOST_SQS_QUEUE_URL",
    "aws iam create-access-key": '"SecretAccessKey"',
    "milepost doctor --aws": f"event source {SOURCE}: ACTIVE",
    "milepost doctor --source": f'"check": "event source {SOURCE}"',
    "aws events put-events": '"FailedEntryCount": 0',
    "milepost tail --no-follow --limit": "smoke-test",
    "milepost trigger": "PACKAGE_DELIVERED",
    "milepost tail --no-follow --type": "businessProduct/bp-",
    CHECKED_ONLY: '"SourceArn": "arn:aws:sqs:',
    "aws events start-replay": '"State"',
}
"""What a command must print, by how its line begins."""


def lines() -> list[str]:
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    found = [re.sub(r"\s+# .*$", "", line) for block in blocks for line in block.splitlines()]
    return [line for line in found if line]


class Reader:
    """Who follows the page: the environment so far, the programs that stay up, and where they are."""

    def __init__(self, folder: Path, bus: PartnerBus, programs: ExitStack) -> None:
        self.folder = folder
        self._programs = programs
        hub, sandbox = f"http://127.0.0.1:{free_port()}", f"http://127.0.0.1:{free_port()}"
        self.places = {
            "http://127.0.0.1:4566": bus.url,
            "http://127.0.0.1:8481": sandbox,
            "--port 8481": f"--port {sandbox.rpartition(':')[2]}",
        }
        self.sandbox = sandbox
        aws = folder / "bin" / "aws"
        aws.parent.mkdir()
        aws.write_text(f'#!/bin/sh\nexec {sys.executable} -m tests.deploy.aws_cli "$@"\n', "utf-8")
        aws.chmod(0o755)
        (folder / "deploy").symlink_to(ROOT / "deploy")
        self.env = environment(
            DATABASE_URL=f"sqlite:///{folder / 'hub.db'}",
            PORT=hub.rpartition(":")[2],
            URL=hub,
            API_KEY=KEY,
            WEBHOOK_USERNAME=USERNAME,
            WEBHOOK_PASSWORD=PASSWORD,
            BWP_API_URL=sandbox,
            BWP_CLIENT_ID="sandbox",
            BWP_CLIENT_SECRET="sandbox",
            BWP_TARGET_ID="sandbox",
        )
        own = {n: v for n, v in settings("").items() if n not in ("AWS_REGION", "AWS_ENDPOINT_URL")}
        path = f"{aws.parent}:{self.env['PATH']}"
        self.env |= own | {"PATH": path, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "NO_PROXY": "127.0.0.1"}

    def follow(self, line: str) -> str:
        """Do what a line says; what it printed."""
        for printed, meant in self.places.items():
            line = line.replace(printed, meant)
        if line.startswith("export "):
            name = line.removeprefix("export ").partition("=")[0]
            self.env[name] = self._run(f'{line} && printf %s "${name}"')
            return self.env[name]
        if line.startswith(STAYS):
            program = Program(shlex.split(line)[1:], self.folder, self.env)
            self._programs.callback(program.end)
            return program.url()
        if line.startswith(CHECKED_ONLY):
            # Its inner commands are asked in earnest.
            return self._run(line.replace("aws sqs", "env AWS_CHECK_ONLY=1 aws sqs", 1))
        return self._run(line)

    def prints(self, line: str, wanted: str) -> bool:
        return wanted in self.follow(line)

    def _run(self, line: str) -> str:
        ran = subprocess.run(
            ["bash", "-o", "pipefail", "-c", line],
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=WAIT_S,
            check=False,
        )
        assert ran.returncode == 0, (line, ran.stdout[-3000:], ran.stderr[-3000:])
        return ran.stdout

    def subscribe(self) -> None:
        """As docs/eventbridge.md shows it."""
        page = (ROOT / "docs" / "eventbridge.md").read_text("utf-8")
        (mutation,) = re.findall(r"^```graphql\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
        form = b"grant_type=client_credentials&client_id=sandbox&client_secret=sandbox"
        token = self._post("/token", form)["access_token"]
        headers = {"authorization": f"Bearer {token}", "x-api-target-id": "sandbox"}
        answer = self._post("/graphql", json.dumps({"query": mutation}).encode(), headers)
        assert answer["data"], answer

    def _post(self, path: str, body: bytes, headers: dict[str, str] | None = None) -> Any:
        request = urllib.request.Request(f"{self.sandbox}{path}", body, headers or {}, method="POST")
        with urllib.request.urlopen(request, timeout=WAIT_S) as answer:
            return json.load(answer)


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    with PartnerBus() as bus, taught(), ExitStack() as programs:
        yield Reader(tmp_path, bus, programs)


def announced() -> bool:
    return SOURCE in events_backends[ACCOUNT][REGION].event_sources


def until(wanted: Callable[[], Any], what: str) -> None:
    """Wait for what another process does in its own time, and gives no signal of."""
    deadline = time.monotonic() + WAIT_S
    while not wanted():
        assert time.monotonic() < deadline, f"{what} within {WAIT_S:g} s"
        time.sleep(0.05)


@pytest.mark.timeout(300)
def test_whoever_follows_the_page_ends_with_events_in_the_hub(reader: Reader) -> None:
    assert [start for start in ANSWERS if not any(line.startswith(start) for line in lines())] == []
    for line in lines():
        wanted = next((text for start, text in ANSWERS.items() if line.startswith(start)), "")
        if line.startswith("milepost tail"):  # events take a moment through the queue
            until(partial(reader.prints, line, wanted), f"{wanted} by {line}")
            continue
        told = reader.follow(line)
        assert wanted in told, (line, told)
        assert told.strip(), line
        if line.startswith("milepost sandbox"):
            reader.subscribe()
            until(announced, "the sandbox has announced the source")


def test_the_tables_name_every_parameter_and_every_alarm() -> None:
    written = template()
    named = re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.*?) \|", _section("## 2."), re.MULTILINE)))
    assert sorted(named) == sorted(written["Parameters"])
    alarms = re.findall(r"^\| `(\w+Alarm)` \|", _section("## Alarms"), re.MULTILINE)
    resources = written["Resources"].items()
    assert sorted(alarms) == sorted(n for n, r in resources if r["Type"] == "AWS::CloudWatch::Alarm")


def _section(heading: str) -> str:
    return PAGE.partition(f"\n{heading}")[2].partition("\n## ")[0]
