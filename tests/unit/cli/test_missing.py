"""What `milepost missing` prints for people, and `milepost doctor` makes of the same answer."""

from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from milepost.cli.client import HubClient, console
from milepost.cli.main import app
from milepost.web.findings import missing_findings

MILESTONE = "PACKAGE_TRACKER_MILESTONE_CHANGED"
NOTHING: dict[str, Any] = {
    "silent": [],
    "scopes": [],
    "losses": [],
    "orders": 0,
    "since": None,
    "graceMs": 21_600_000,
    "watchedHours": 30,
}
SOMETHING = NOTHING | {
    "silent": [
        {
            "businessProductId": "bp-1",
            "road": "webhook",
            "type": "order",
            "since": "2025-01-20T12:00:00Z",
            "expected": 12.5,
        }
    ],
    "scopes": [
        {
            "businessProductId": "bp-2",
            "missing": MILESTONE,
            "permission": "View Package Tracker Data",
            "orderEvents": 1_200,
            "scannedDeliveries": 7,
        }
    ],
    "losses": [
        {
            "road": "webhook",
            "type": "PACKAGE_DELIVERED",
            "expected": 80,
            "lost": 2,
            "lossRate": 0.025,
            "unheard": 1,
            "subjects": ["delivery/d-1"],
        }
    ],
    "orders": 200,
    "since": "2025-01-20T12:00:00Z",
    "watchedHours": 900,
}
OVERDUE = {
    "kind": "delivery",
    "businessProductId": "bp-1",
    "id": "d-1",
    "orderId": "o-1",
    "state": "IN_TRANSIT",
    "expected": [{"code": "pastEstimate", "since": "2025-01-22", "dueAt": "2025-01-23T02:00:00Z"}],
    "nextAskAt": "2025-01-24T02:00:00Z",
}


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    known: dict[str, Any] = {"/v1/missing": NOTHING, "/v1/missing/overdue": {"items": [], "next": None}}
    monkeypatch.setattr(console, "width", 80)
    monkeypatch.setattr(HubClient, "_json", lambda self, method, path, **request: known[path])
    return known


def told(*arguments: str) -> str:
    ran = CliRunner().invoke(app, ["missing", *arguments])
    assert ran.exit_code == 0, ran.output
    return ran.output


def test_that_nothing_is_missing_is_told_with_what_it_rests_on(answers: dict[str, Any]) -> None:
    assert told().splitlines() == [
        "no subscription is silent (over 30 hours; two weeks are needed to tell)",
        "no loss can be measured on 0 orders yet",
        "",
        "nothing is overdue",
    ]


def test_everything_that_is_missing_is_told(answers: dict[str, Any]) -> None:
    answers["/v1/missing"] = SOMETHING
    answers["/v1/missing/overdue"] = {"items": [OVERDUE] * 21, "next": None}
    printed = told()
    assert "silent order by webhook of bp-1 since " in printed
    assert "though 12.5 are usual in that time" in printed
    assert (
        f"bp-2 has 1,200 order events and 7 scanned deliveries, but no {MILESTONE}: subscribe to it"
        in printed
    )
    assert "2 (2.5%)" in printed
    assert printed.count("delivery d-1 IN_TRANSIT: should have come by 2025-01-22, asked again ") == 20
    assert printed.endswith("and more: GET /v1/missing/overdue lists them all\n")


def test_json_is_both_answers_in_one(answers: dict[str, Any]) -> None:
    answers["/v1/missing/overdue"] = {"items": [OVERDUE], "next": None}
    ran = CliRunner().invoke(app, ["missing", "--json"])
    assert msgspec.json.decode(ran.stdout_bytes) == {**NOTHING, "overdue": [OVERDUE]}


def test_the_doctor_finds_silence_and_a_missing_scope_wrong_and_tells_a_loss() -> None:
    assert [(f.check, f.ok, f.found) for f in missing_findings(NOTHING)] == [
        ("silent subscriptions", True, "none"),
        ("subscriptions", True, "none is missed"),
        ("losses", True, "nothing to measure yet"),
    ]
    assert [(f.check, f.ok, f.found) for f in missing_findings(SOMETHING)] == [
        ("silent subscriptions", False, "order by webhook since 2025-01-20T12:00:00Z"),
        ("subscriptions", False, f"bp-2 gets no {MILESTONE}"),
        ("losses", True, "2 of 80 PACKAGE_DELIVERED by webhook"),
    ]
    assert next(iter(missing_findings(NOTHING | {"losses": [SOMETHING["losses"][0] | {"lost": 0}]}))).ok
