"""`milepost accounting`: what it asks a hub, and what it prints of its answers."""

import json
from typing import Any

import pytest
from tests.unit.cli.test_captures import Hub

from milepost.cli.client import HubClient, console

ROW: dict[str, Any] = {
    "id": "ent_1",
    "businessProductId": "bp-1",
    "orderId": "322-ABCD-EFGH12",
    "deliveryId": "delivery-[1]",
    "kind": "shipped",
    "revision": 1,
    "sign": 1,
    "status": "provisional",
    "reason": "new",
    "occurredAt": "2025-02-01T07:30:00Z",
    "destinationDate": "2025-02-01",
    "originDate": "2025-01-31",
    "zone": "offset-explicit",
    "taxPeriod": "2025-01",
    "postingPeriod": "2025-01",
    "postedAt": "2025-02-02T00:00:00Z",
    "evidence": {"kind": "event", "position": 7, "eventId": "e"},
    "settlesAt": "2025-02-09T00:00:00Z",
}
ARRIVAL = ROW | {
    "id": "ent_2",
    "kind": "delivered",
    "sign": -1,
    "reason": "correction",
    "postingPeriod": "2025-02",
}
CLOSED = {
    "businessProductId": "bp-1",
    "period": "2025-01",
    "closedAt": "2025-02-10T00:00:00Z",
    "closedBy": "key_1",
}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    hub = Hub()
    monkeypatch.setattr(console, "width", 200)
    monkeypatch.setattr(
        HubClient, "_json", lambda self, method, path, **request: hub.answer(method, path, request)
    )
    return hub


def test_rows_are_listed_with_the_day_that_counts(hub: Hub) -> None:
    hub.answers["/v1/accounting/entries"] = [
        {"items": [ROW], "next": "cursor"},
        {"items": [ARRIVAL], "next": None},
    ]
    out = hub.run("accounting", "entries", "--order", "322-ABCD-EFGH12")
    first, second = out.splitlines()
    assert first == (
        "+ 2025-01 322-ABCD-EFGH12 delivery-[1] shipped 2025-01-31 (offset-explicit) provisional rev 1, new"
    )
    assert second.startswith("- 2025-02 ")
    assert "delivered 2025-02-01" in second
    assert second.endswith("rev 1, correction for 2025-01")
    assert hub.asked[0][2] == {"orderId": "322-ABCD-EFGH12", "limit": 100}
    assert hub.asked[1][2]["after"] == "cursor"


def test_rows_are_narrowed_and_printed_as_json(hub: Hub) -> None:
    hub.answers["/v1/accounting/entries"] = {"items": [ROW], "next": None}
    out = hub.run("accounting", "entries", "--period", "2025-01", "--business-product", "bp-1", "--json")
    assert json.loads(out) == [ROW]
    assert hub.asked[0][2] == {"period": "2025-01", "businessProductId": "bp-1", "limit": 100}


def test_where_nothing_is_that_is_said(hub: Hub) -> None:
    hub.answers["/v1/accounting/entries"] = {"items": [], "next": None}
    hub.answers["/v1/accounting/periods"] = {"items": [], "next": None}
    assert "no such row" in hub.run("accounting", "entries")
    assert "no period is closed" in hub.run("accounting", "periods")


def test_closed_periods_are_listed(hub: Hub) -> None:
    hub.answers["/v1/accounting/periods"] = {"items": [CLOSED], "next": None}
    assert hub.run("accounting", "periods").startswith("2025-01 bp-1 closed 2025-02-")
    assert json.loads(hub.run("accounting", "periods", "--json")) == [CLOSED]


def test_a_period_is_closed(hub: Hub) -> None:
    path = "/v1/accounting/periods/2025-01/close"
    hub.answers[path] = CLOSED
    assert hub.run("accounting", "close", "2025-01", "--business-product", "bp-1") == (
        "2025-01 of bp-1 is closed\n"
    )
    assert hub.asked == [("POST", path, {"businessProductId": "bp-1"})]
    assert json.loads(hub.run("accounting", "close", "2025-01", "--json")) == CLOSED
