"""`milepost captures` and `milepost notes`: what they ask a hub, and what they print of its answers."""

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from milepost.cli.client import HubClient, console
from milepost.cli.main import app

CAPTURE: dict[str, Any] = {
    "id": "cap_5b1a4f0c2d",
    "businessProductId": "bp-1",
    "orderId": "322-ABCD-EFGH12",
    "deliveryId": "delivery-1",
    "state": "HELD",
    "reason": "fraud [check]",
    "readyAt": "2025-01-20T12:00:00Z",
    "sentAt": None,
    "inferred": False,
    "evidence": [{"kind": "event", "type": "PACKAGE_DELIVERED", "at": "2025-01-20T12:00:00Z", "position": 7}],
    "lineItems": [{"id": "item-1", "quantity": "2", "unit": "unit"}],
    "suggestion": {"currencyCode": "USD", "amount": "12.50", "lineItems": [], "method": "m"},
    "captureBefore": "2025-01-19T12:00:00Z",
    "expiredBeforeShipped": True,
    "history": [
        {"at": "2025-01-20T12:00:00Z", "state": "READY", "by": "projector", "reason": ""},
        {"at": "2025-01-20T12:01:00Z", "state": "HELD", "by": "key_1", "reason": "fraud [check]"},
    ],
    "actions": ["acknowledge", "release", "void"],
}
WAITING = CAPTURE | {"id": None, "deliveryId": None, "state": "NOT_READY", "reason": None}
NOTE = {
    "position": 9,
    "orderId": "o",
    "deliveryId": "delivery-1",
    "text": "The shopper [bold]called[/].",
    "author": "ada",
    "at": "2025-01-20T12:00:00Z",
}

Asked = list[tuple[str, str, dict[str, Any]]]


class Hub:
    """What was asked of a hub, and what it answers by path."""

    def __init__(self) -> None:
        self.asked: Asked = []
        self.answers: dict[str, Any] = {}

    def answer(self, method: str, path: str, request: dict[str, Any]) -> Any:
        self.asked.append((method, path, request.get("json") or request.get("params") or {}))
        found = self.answers[path]
        return found.pop(0) if isinstance(found, list) else found

    def run(self, *arguments: str, code: int = 0) -> str:
        ran = CliRunner().invoke(app, list(arguments))
        assert ran.exit_code == code, ran.output
        return ran.output


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    hub = Hub()
    monkeypatch.setattr(console, "width", 200)
    monkeypatch.setattr(
        HubClient, "_json", lambda self, method, path, **request: hub.answer(method, path, request)
    )
    return hub


def test_a_list_is_followed_over_pages_that_are_empty(hub: Hub) -> None:
    """A page of what expired may be empty while there is more."""
    pages = [
        {"items": [], "next": "a"},
        {"items": [CAPTURE], "next": "b"},
        {"items": [WAITING], "next": None},
    ]
    hub.answers["/v1/captures"] = pages
    out = hub.run("captures", "list", "--expired")
    assert [request.get("after") for _, _, request in hub.asked] == [None, "a", "b"]
    assert all(request["expired"] == "true" for _, _, request in hub.asked)
    first, second = out.splitlines()
    assert first.startswith("cap_5b1a4f0c2d HELD 322-ABCD-EFGH12 collect before 2025-01-")
    assert second.startswith("no delivery known yet NOT_READY 322-ABCD-EFGH12")


def test_a_list_is_narrowed(hub: Hub) -> None:
    hub.answers["/v1/captures"] = {"items": [], "next": None}
    out = hub.run("captures", "list", "--state", "SENT", "--unacknowledged", "--order", "o-1")
    assert out == "no such capture\n"
    ((_, _, asked),) = hub.asked
    assert asked == {"state": "SENT", "unacknowledged": "true", "orderId": "o-1", "limit": 100}
    hub.run("captures", "list", "--order", "o-1", "--expired", code=2)


def test_a_capture_is_shown_whole(hub: Hub) -> None:
    hub.answers["/v1/captures/cap_5b1a4f0c2d"] = CAPTURE
    out = hub.run("captures", "show", "cap_5b1a4f0c2d")
    for words in (
        "cap_5b1a4f0c2d HELD: fraud [check]",
        "order 322-ABCD-EFGH12, delivery delivery-1",
        "(it shipped later)",
        "item-1 × 2",
        "suggested 12.50 USD",
        "evidence: PACKAGE_DELIVERED",
        "HELD by key_1: fraud [check]",
        "now: acknowledge, release, void",
    ):
        assert words in out
    assert json.loads(hub.run("captures", "show", "cap_5b1a4f0c2d", "--json")) == CAPTURE


@pytest.mark.parametrize("action", ["acknowledge", "fail", "hold", "release", "void"])
def test_a_capture_is_moved(hub: Hub, action: str) -> None:
    path = f"/v1/captures/cap_1/{action}"
    hub.answers[path] = CAPTURE
    assert "HELD: fraud [check]" in hub.run("captures", action, "cap_1", "--reason", "why")
    assert hub.asked == [("POST", path, {"reason": "why"})]


def test_a_message_is_sent_again(hub: Hub) -> None:
    hub.answers["/v1/captures/cap_1/resend"] = CAPTURE
    hub.run("captures", "resend", "cap_1")
    assert hub.asked[0][:2] == ("POST", "/v1/captures/cap_1/resend")


def test_a_deadline_is_told(hub: Hub) -> None:
    path = "/v1/orders/o-1/authorization"
    hub.answers[path] = {"authorizedAt": None, "captureBefore": "2025-02-01T00:00:00Z", "toldAt": ""}
    out = hub.run("captures", "authorize", "o-1", "--before", "2025-02-01", "--authorized", "2025-01-01")
    assert "payment of o-1 may be collected until" in out
    assert hub.asked == [("PUT", path, {"captureBefore": "2025-02-01", "authorizedAt": "2025-01-01"})]


def test_notes_are_added_and_listed(hub: Hub) -> None:
    hub.answers["/v1/orders/o/notes"] = NOTE
    assert hub.run("notes", "add", "o", "text", "--author", "ada") == "noted by ada, position 9\n"
    assert hub.asked == [("POST", "/v1/orders/o/notes", {"text": "text", "author": "ada"})]
    hub.answers["/v1/orders/o/notes"] = {"items": [NOTE], "next": None}
    assert "ada delivery-1 The shopper [bold]called[/]." in hub.run("notes", "list", "o")
    hub.answers["/v1/orders/o/notes"] = {"items": [], "next": None}
    assert hub.run("notes", "list", "o") == "nothing was noted\n"
