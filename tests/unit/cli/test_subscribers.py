"""What `subscribers`, `attempts` and `replay` print for people."""

from typing import Any

import pytest
from typer.testing import CliRunner

from milepost.cli.client import HubClient, console
from milepost.cli.main import app

ATTEMPT = {
    "messageId": "7-sub_1",
    "number": 3,
    "startedAt": "2025-01-20T12:00:00Z",
    "durationMs": 12,
    "outcome": "failed",
    "status": 503,
    "error": "answered 503",
    "target": "https://oms.example/hook",
    "response": "[bold]busy[/]",
    "retryAfterMs": None,
    "manual": False,
}
HEALTH = {
    "failingSince": "2025-01-18T12:00:00Z",
    "warning": 70,
    "disabledAfterDays": 5.0,
    "pending": 1234,
    "waiting": 0,
    "held": 0,
    "delivered": 9,
    "failed": 2,
    "dropped": 0,
    "lastAttempt": ATTEMPT,
    "backfill": {"replayId": "rpl_1", "kind": "backfill", "cursor": 500, "until": 2000, "enqueued": 3},
}
SUBSCRIBER = {
    "id": "sub_1",
    "name": "[red]OMS[/]",
    "kind": "webhook",
    "form": "milepost",
    "url": "https://oms.example/hook",
    "bus": None,
    "region": None,
    "source": None,
    "auth": "none",
    "headers": [],
    "keys": [{"scheme": "v1a", "publicKey": "whpk_AAAA", "until": "2025-01-21T12:00:00Z"}],
    "eventTypes": ["delivery.shipped"],
    "businessProductIds": ["bp-1"],
    "carriers": ["UPS"],
    "expression": "data.n > 1",
    "ordered": True,
    "rate": 5.0,
    "enabled": True,
    "reason": "",
    "live": False,
    "createdAt": "2025-01-20T12:00:00Z",
}
REPLAY = {
    "id": "rpl_1",
    "subscriberId": "sub_1",
    "kind": "replay",
    "state": "running",
    "cursor": 5,
    "until": 10,
    "enqueued": 1500,
    "newIds": True,
}


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Any]]:
    """By path, what is answered one after the other, the last for good; a wide terminal reads it."""
    known: dict[str, list[Any]] = {}

    def answer(self: HubClient, method: str, path: str, **request: Any) -> Any:
        left = known[path]
        return left.pop(0) if len(left) > 1 else left[0]

    monkeypatch.setattr(console, "width", 160)
    monkeypatch.setattr(HubClient, "_json", answer)
    return known


def told(*arguments: str, code: int = 0) -> str:
    ran = CliRunner().invoke(app, list(arguments))
    assert ran.exit_code == code, ran.output
    return ran.output


def test_a_subscriber_is_shown_with_how_it_goes_there(answers: dict[str, list[Any]]) -> None:
    answers["/v1/subscribers/sub_1"] = [SUBSCRIBER | {"health": HEALTH}]
    out = told("subscribers", "show", "sub_1")
    for words in (
        "sub_1 [red]OMS[/]  messages to https://oms.example/hook  history",
        "types: delivery.shipped",
        "where: data.n > 1",
        "most a second: 5",
        "signs v1a whpk_AAAA until ",
        "1,234",
        "disabled after 5 days of that",
        "70 % of that time is over",
        "history: 500 of 2,000 (rpl_1)",
        "failed 503 7-sub_1 try 3, 12 ms answered 503",
        "[bold]busy[/]",
    ):
        assert words in out, words


def test_subscribers_are_listed_with_why_one_is_disabled(answers: dict[str, list[Any]]) -> None:
    bus = {"url": None, "bus": "orders", "region": "eu-west-1", "form": "amazon", "live": True}
    off = SUBSCRIBER | {"enabled": False, "reason": "nothing but failures for 5.0 days"}
    answers["/v1/subscribers"] = [{"items": [off, SUBSCRIBER | bus], "next": None}]
    first, second = told("subscribers", "list").splitlines()
    assert first.endswith("disabled (nothing but failures for 5.0 days)")
    assert "Amazon's events to orders in eu-west-1  live" in second


def test_a_page_may_be_empty_and_not_the_last(answers: dict[str, list[Any]]) -> None:
    answers["/v1/attempts"] = [{"items": [], "next": "more"}, {"items": [ATTEMPT], "next": None}]
    assert "7-sub_1" in told("attempts", "--since", "7d")
    answers["/v1/attempts"] = [{"items": [], "next": None}]
    assert told("attempts", "--since", "2025-01-20") == "no attempt\n"


def test_a_replay_is_watched_to_its_end(answers: dict[str, list[Any]]) -> None:
    answers["/v1/replays"] = [{"messages": None, "replay": REPLAY}]
    answers["/v1/replays/rpl_1"] = [REPLAY, REPLAY | {"state": "done", "cursor": 10}]
    assert "rpl_1 replay to sub_1 done 10 of 10, 1,500 messages, new ids" in told("replay", "sub_1")
    assert "running 5 of 10" in told("replay", "sub_1", "--no-wait")


def test_a_dry_run_tells_a_number(answers: dict[str, list[Any]]) -> None:
    counted = {"messages": 12_345, "replay": None, "more": False}
    answers["/v1/replays"] = [counted, counted | {"more": True}]
    assert told("replay", "sub_1", "--dry-run") == "12,345 messages would be sent\n"
    assert told("replay", "sub_1", "--dry-run") == "at least 12,345 messages would be sent\n"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, Any]]:
    """What is asked for: method, path and body; a subscriber is answered."""
    calls: list[tuple[str, str, Any]] = []

    def answer(self: HubClient, method: str, path: str, **request: Any) -> Any:
        calls.append((method, path, request["json"]))
        return SUBSCRIBER | {"secret": None, "replayId": None}

    monkeypatch.setattr(HubClient, "_json", answer)
    return calls


def test_only_what_is_named_is_changed(asked: list[tuple[str, str, Any]]) -> None:
    for arguments, body in (
        (["--rate", "0", "--unordered"], {"rate": 0.0, "ordered": False}),
        (["--type", "", "--where", ""], {"eventTypes": [], "expression": ""}),
        (["--carrier", "UPS", "--carrier", "FEDEX"], {"carriers": ["UPS", "FEDEX"]}),
        (
            ["--to", "https://x.example/", "--no-auth", "--header", "X-Token: a:b"],
            {"url": "https://x.example/", "auth": None, "headers": [{"key": "X-Token", "value": "a:b"}]},
        ),
        (["--header", ""], {"headers": []}),
        (
            ["--username", "ada", "--password", "word"],
            {"auth": {"basicAuthConfig": {"username": "ada", "password": "word"}}},
        ),
        (["--source", "shop", "--region", "eu-west-1"], {"source": "shop", "region": "eu-west-1"}),
    ):
        told("subscribers", "change", "sub_1", *arguments)
        assert asked.pop() == ("PATCH", "/v1/subscribers/sub_1", body)
    for refused in ([], ["--header", "no colon"], ["--no-auth", "--username", "a", "--password", "b"]):
        told("subscribers", "change", "sub_1", *refused, code=2)
    assert asked == []


def test_one_is_added_with_headers_or_a_source(asked: list[tuple[str, str, Any]]) -> None:
    told("subscribers", "add", "OMS", "--to", "https://x.example/", "--header", "X-Token: word")
    _, path, body = asked.pop()
    assert (path, body["headers"]) == ("/v1/subscribers", [{"key": "X-Token", "value": "word"}])
    assert "source" not in body
    told("subscribers", "add", "bus", "--bus", "orders", "--source", "shop")
    _, _, body = asked.pop()
    assert (body["bus"], body["source"], body["headers"]) == ("orders", "shop", [])
