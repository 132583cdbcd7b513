"""`milepost doctor --aws` as people and scripts read it: what is added to the other findings, and the exit code."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.deploy.account import SOURCE, Account, settings
from tests.partner_bus import PartnerBus
from typer.testing import CliRunner, Result

from milepost.cli.client import console
from milepost.cli.main import app


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Account]:
    """The account, its settings, and an empty folder to stand in. No hub answers."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(console, "width", 400)
    with PartnerBus() as bus:
        for name, value in settings(bus.url).items():
            monkeypatch.setenv(name, value)
        yield Account(bus)


def doctor(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["doctor", "--url", "http://127.0.0.1:9", *arguments])


def told(*arguments: str) -> dict[str, dict[str, Any]]:
    """The findings of AWS, by what was looked at: those that are not there without `--aws`."""
    plain = {finding["check"] for finding in json.loads(doctor("--json").stdout)}
    found = json.loads(doctor("--json", *arguments).stdout)
    assert all(set(finding) == {"check", "ok", "found", "mend"} for finding in found)
    return {finding["check"]: finding for finding in found if finding["check"] not in plain}


def test_aws_is_looked_at_only_when_it_is_asked_for(account: Account) -> None:
    assert not any("event source" in finding["check"] for finding in json.loads(doctor("--json").stdout))
    found = told("--aws")
    assert found[f"event source {SOURCE}"]["found"].startswith("PENDING")
    assert not found[f"event source {SOURCE}"]["ok"]


def test_a_source_that_is_named_is_looked_at_and_its_queue(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs = account.deploy()
    monkeypatch.setenv("MILEPOST_SQS_QUEUE_URL", outputs["QueueUrl"])
    found = told("--source", SOURCE.rpartition("/")[2])
    assert all(finding["ok"] for finding in found.values())
    assert found[f"event source {SOURCE}"]["found"] == "ACTIVE"


def test_what_is_wrong_is_told_with_how_to_mend_it(account: Account) -> None:
    ran = doctor("--aws")
    assert ran.exit_code == 1
    lines = [line.strip() for line in ran.stdout.splitlines()]
    (number,) = (n for n, line in enumerate(lines) if f"event source {SOURCE}: PENDING" in line)
    assert lines[number].startswith("✗")
    assert lines[number + 1].startswith("→ deploy deploy/aws/milepost.yaml (docs/aws.md)")


def test_queues_of_two_regions_are_looked_at_in_theirs(account: Account, tmp_path: Path) -> None:
    account.deploy()
    west = account.bus.client("sqs", "us-west-2").create_queue(QueueName="west")["QueueUrl"]
    assert west
    (tmp_path / "milepost.toml").write_text(
        f"""[[sqs_queues]]
url = "{account.outputs["QueueUrl"]}"

[[sqs_queues]]
url = "https://sqs.us-west-2.amazonaws.com/123456789012/west"
""",
        "utf-8",
    )
    found = json.loads(doctor("--json", "--aws").stdout)
    regions = [finding["found"] for finding in found if finding["check"] == "AWS credentials"]
    assert [words.rpartition(" ")[2] for words in regions] == ["us-east-1", "us-west-2"]
    assert "queue west" in {finding["check"] for finding in found}


def test_settings_of_aws_that_are_wrong_are_a_finding(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    assert "nobody" in told("--aws")["AWS"]["found"]
