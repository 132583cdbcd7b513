"""What `milepost queues` prints for people and for programs."""

from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from milepost.cli.client import HubClient
from milepost.cli.main import app

QUEUE = {
    "name": "late",
    "title": "Late",
    "meaning": "It has not come.",
    "advice": "Write to the shopper [first].",
    "actions": ["note"],
    "count": 10_000,
    "more": True,
    "oldestSince": "2025-01-20T12:00:00Z",
}
EMPTY = QUEUE | {"name": "stalled", "count": 0, "more": False, "oldestSince": None}
ITEM = {
    "orderId": "order-1",
    "deliveryId": "d-1",
    "carrierCode": "UPS",
    "trackingNumber": "1Z[bold]",
    "destinationRegion": "US-WA",
    "state": "IN_TRANSIT",
    "detail": "LATE",
    "since": "2025-01-20T12:00:00Z",
    "mark": {"assignee": "Ann"},
}
ORPHAN = ITEM | {"orderId": None, "carrierCode": None, "destinationRegion": None, "mark": None, "state": None}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, object]]]:
    """What the hub was asked; it has two queues, and two items in any of them."""
    seen: list[tuple[str, dict[str, object]]] = []

    def get(self: HubClient, path: str, **parameters: object) -> Any:
        seen.append((path, {name: value for name, value in parameters.items() if value is not None}))
        items = [QUEUE, EMPTY] if path == "/v1/queues" else [ITEM, ORPHAN]
        return {"items": items if "empty" not in path else [], "next": None}

    monkeypatch.setattr(HubClient, "get", get)
    return seen


def run(*words: str) -> str:
    result = CliRunner().invoke(app, ["queues", *words])
    assert result.exit_code == 0, result.output
    return result.output


def test_every_queue_says_how_much_and_what_to_do(asked: list[Any]) -> None:
    said = run("list")
    assert "10,000+" in said
    assert "Write to the shopper [first]." in said
    assert msgspec.json.decode(run("list", "--json")) == [QUEUE, EMPTY]


def test_what_is_in_a_queue_is_a_line_each(asked: list[Any]) -> None:
    lines = run("show", "late", "--carrier", "ups", "--older-than", "48", "--state", "all").splitlines()
    assert asked == [
        ("/v1/queues/late", {"carrier": "ups", "olderThanHours": 48, "state": "all", "limit": 100})
    ]
    assert "order-1 UPS 1Z[bold] to US-WA IN_TRANSIT LATE, Ann has it" in lines[0]
    assert "no order known 1Z[bold]" in lines[1]
    assert msgspec.json.decode(run("show", "late", "--json")) == [ITEM, ORPHAN]
    assert run("show", "empty") == "nothing is in this queue\n"
