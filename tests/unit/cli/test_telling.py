"""What commands print for people, from what a hub or a sandbox answers; at 80 columns where that matters."""

from typing import Any

import pytest
from typer.testing import CliRunner

from milepost.cli.client import HubClient, console
from milepost.cli.forwarding import Forwarded
from milepost.cli.listen import Log, Plan
from milepost.cli.main import app
from milepost.cli.sandbox_publishing import _answer


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """By path, what is answered whatever the method; a narrow terminal reads it."""
    known: dict[str, Any] = {}
    monkeypatch.setattr(console, "width", 80)
    monkeypatch.setattr(HubClient, "_json", lambda self, method, path, **request: known[path])
    return known


def told(*arguments: str, code: int = 0) -> str:
    ran = CliRunner().invoke(app, list(arguments))
    assert ran.exit_code == code, ran.output
    return ran.output


# ── Clock ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("pace", "words"),
    [(1.0, ", at the real pace; "), (26_880.0, ", at 26880 times the real pace; "), (0.0, ", at a stand; ")],
)
def test_the_clock_is_told_by_the_pace_it_really_has(
    answers: dict[str, Any], pace: float, words: str
) -> None:
    now = "2025-01-21T01:00:00Z"
    answers["/sandbox/clock"] = {"now": now, "speed": 26_880.0, "pace": pace, "nextStepAt": None}
    assert words in told("sandbox", "clock", "show")


# ── At 80 columns ──────────────────────────────────────────────────────────────────────────────────────────


def test_an_order_of_the_world_is_told_whole(answers: dict[str, Any]) -> None:
    deliveries = [f"16e20914-fb61-58dc-9dae-3bd3efb0160{n}" for n in range(3)]
    order = {
        "orderId": "322-EY22-2AFLXA",
        "state": "IN_TRANSIT",
        "scenario": "stalled-over-a-weekend",
        "stepsLeft": 7,
        "deliveryIds": deliveries,
    }
    answers["/sandbox/orders"] = {
        "items": [order, order | {"scenario": None, "deliveryIds": []}],
        "next": None,
    }
    assert told("sandbox", "orders").splitlines() == [
        "322-EY22-2AFLXA In transit stalled-over-a-weekend, 7 steps to happen",
        f"  {', '.join(deliveries)}",
        "322-EY22-2AFLXA In transit no scenario, 7 steps to happen",
        "  no deliveries",
    ]


def test_the_names_of_scenarios_are_never_cut(answers: dict[str, Any]) -> None:
    title = "Two packages; the second ship event does not erase the first, whatever is asked between them"
    answers["/sandbox/scenarios"] = {
        "items": [{"name": "stalled-over-a-weekend", "title": title}],
        "next": None,
    }
    printed = told("sandbox", "scenarios", "list")
    assert "stalled-over-a-weekend  Two packages" in printed
    assert " ".join(printed.split()).endswith(title)


def test_event_sources_are_told_whole_and_their_absence_in_a_sentence(answers: dict[str, Any]) -> None:
    answers["/sandbox/event-sources"] = {"items": [], "next": None}
    assert told("sandbox", "event-sources", "list").startswith("there is no event source yet")
    name = f"aws.partner/buywithprime.amazon.com/{'x' * 60}"
    source = {"name": name, "account": "123456789012", "region": "us-east-1", "state": "PENDING", "url": None}
    answers["/sandbox/event-sources"]["items"].append(source)
    assert told("sandbox", "event-sources", "list").splitlines() == [
        f"{name} PENDING",
        "  account 123456789012, us-east-1",
    ]


def test_rule_and_position_of_a_milestone_are_never_cut(answers: dict[str, Any]) -> None:
    milestone = {
        "code": "AVAILABLE_FOR_PICKUP",
        "occurredAt": "2025-01-21T12:10:00Z",
        "standing": "superseded",
        "address": {"locality": "Mountain View", "region": "CA"},
    }
    tracker = {"carrierCode": "ups", "trackingNumber": "1Z679A7B0000000001", "milestones": [milestone]}
    fact = {
        "about": "tracker ups/1Z679A7B0000000001",
        "position": 123_456,
        "kind": "snapshot",
        "what": "AVAILABLE_FOR_PICKUP",
        "text": "Available for pickup at 2025-01-21T12:10:00Z: an answer that came later has it no more.",
        "rule": "design 8",
        "used": True,
    }
    path = "/v1/trackers/ups/1Z679A7B0000000001/explain"
    answers[path] = {"state": "The parcel is there.", "view": tracker, "facts": [fact]}
    printed = told("explain", "ups/1Z679A7B0000000001")
    assert "Available for pickup  design 8  123456" in printed
    assert "…" not in printed
    for word in ("ups", "Mountain", "CA", "later", "more."):
        assert word in printed.split()


PRODUCT = "businessProduct/bp-3458afa5-01af-c189-a99e-eac9e99125ae"


def test_events_of_the_journal_are_told_without_the_business_product(answers: dict[str, Any]) -> None:
    event = {
        "position": 7,
        "receivedAt": "2025-01-21T12:10:00Z",
        "type": "PACKAGE_DELIVERED",
        "resources": [f"{PRODUCT}/order/322-ABCD-EFGH12", PRODUCT],
    }
    answers["/v1/events"] = {"items": [event], "next": None}
    assert told("tail", "--no-follow").endswith(f" PACKAGE_DELIVERED order/322-ABCD-EFGH12, {PRODUCT}\n")
    assert f"{PRODUCT}/order/322-ABCD-EFGH12" in told("tail", "--no-follow", "--json")


@pytest.mark.parametrize("verbose", [False, True])
def test_what_a_handler_answered_is_told_within_a_narrow_line(
    answers: dict[str, Any], capsys: pytest.CaptureFixture[str], verbose: bool
) -> None:
    resource = f"{PRODUCT}/order/322-ABCD-EFGH12/delivery/0ba37cb1-3cc3-586d-e293-ff0cc76096a8"
    plan = Plan("", (), "", ("", "", ""), ("", "", ""), verbose=verbose, json=False)
    name = "PACKAGE_TRACKER_MILESTONE_CHANGED"
    Log(plan).tell(Forwarded(0.0, name, "e", "k", (resource,), 2, 503, 12, b"{}", b"", "nothing answers"))
    line = capsys.readouterr().out.splitlines()[0]
    assert f" {name} 503 in 12 ms try 2 " in line[:80]
    assert line.endswith(f" {resource if verbose else resource.removeprefix(f'{PRODUCT}/')} nothing answers")


def test_how_long_an_attempt_took_is_apart_from_its_error() -> None:
    attempt = {
        "outcome": "failed",
        "status": None,
        "error": "nobody is there, until it arrives",
        "durationMs": 0,
    }
    assert _answer(attempt) == "[red]failed[/]: nobody is there, until it arrives (0 ms)"
    answered = attempt | {"outcome": "delivered", "status": 200, "durationMs": 3}
    assert _answer(answered) == "[green]delivered[/]: answered 200 in 3 ms"


# ── Misuse ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("arguments", [["orders"], ["orders", "--search", "ada"], ["quarantine", "list"]])
@pytest.mark.parametrize("limit", ["0", "-1"])
def test_a_list_of_nothing_is_misuse(answers: dict[str, Any], arguments: list[str], limit: str) -> None:
    told(*arguments, "--limit", limit, code=2)


@pytest.mark.parametrize("more", [[], ["--search", "ada"]])
def test_only_one_order_is_shown_as_it_was_known(answers: dict[str, Any], more: list[str]) -> None:
    assert "--as-of needs an order id" in told("orders", *more, "--as-of", "2025-01-21T09:00:00Z", code=2)


# ── Roads ──────────────────────────────────────────────────────────────────────────────────────────────────


def road(name: str, **more: Any) -> dict[str, Any]:
    lag = {"n": 0, "p50Ms": None, "p90Ms": None, "p99Ms": None}
    counts = {"arrivals": 0, "first": 0, "expected": 0, "missed": 0, "missedPositions": []}
    return {"road": name, "behind": lag, "lastArrivalAt": None} | counts | more


def test_roads_stand_beside_each_other_in_a_narrow_terminal(answers: dict[str, Any]) -> None:
    lag = {"n": 1000, "p50Ms": 340, "p90Ms": 1_234, "p99Ms": 754_000}
    crossing = {
        "position": 17,
        "businessProductId": "bp-1",
        "type": "PACKAGE_DELIVERED",
        "firstRoad": "webhook",
        "firstAt": "2025-01-21T01:00:00Z",
        "otherRoad": "eventbridge",
        "otherAt": "2025-01-21T01:12:34Z",
        "lagMs": 754_000,
    }
    answers["/v1/roads"] = {
        "roads": [
            road("webhook", arrivals=1200, first=1188, expected=1150, lastArrivalAt="2025-01-21T01:12:00Z"),
            road("eventbridge", arrivals=800, expected=1150, missed=350, missedPositions=[9, 8], behind=lag),
            road("replay"),
        ],
        "arrivals": 2000,
        "events": 1188,
        "since": "2025-01-21T01:00:00Z",
        "graceMs": 300_000,
        "crossings": 1000,
        "slowest": [crossing],
    }
    lines = told("roads").splitlines()
    assert lines[0].startswith("the newest 2,000 arrivals (1,188 new events) since ")
    assert lines[2].split() == ["road", "arrivals", "first", "missed", "behind", "p50", "p90", "p99", "last"]
    assert lines[3].split()[:6] == ["webhook", "1,200", "1,188", "0", "of", "1,150"]
    assert " ".join(lines[4].split()).startswith("eventbridge 800 0 350 of 1,150 1,000 340 ms 1.2 s 13 min")
    assert max(map(len, lines[2:5])) <= 80
    assert "replay" not in " ".join(lines)
    assert any("eventbridge did not bring 350 events" in line and "9, 8, …" in line for line in lines)
    assert "PACKAGE_DELIVERED by eventbridge 13 min after webhook" in lines[-1]


def test_no_event_is_told_as_none(answers: dict[str, Any]) -> None:
    roads = [road("webhook"), road("eventbridge"), road("replay")]
    answers["/v1/roads"] = {"roads": roads, "arrivals": 0, "events": 0, "since": None, "crossings": 0}
    assert told("roads") == "no event came within the last seven days\n"


def test_tail_marks_what_came_by_both_roads_or_by_a_replay(answers: dict[str, Any]) -> None:
    seen = {
        "receivedAt": "2025-01-21T01:00:00Z",
        "type": "PACKAGE_DELIVERED",
        "flags": [],
        "resources": ["r"],
    }
    ways = (["webhook"], ["webhook", "eventbridge"], ["replay"])
    items = [{**seen, "position": n, "arrivals": len(way), "roads": way} for n, way in enumerate(ways)]
    answers["/v1/events"] = {"items": items, "next": None}
    first, second, third = told("tail", "--no-follow").splitlines()
    assert first.endswith(" r")
    assert second.endswith(" r x2 by webhook, eventbridge")
    assert third.endswith(" r by replay")
