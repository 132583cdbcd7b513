"""Erasing an order of a served hub: nothing of its shopper is left in any byte, counts and timeline stay.

Done-when 4 of "People who must know", and scenario 32 of tracking.md 13, against real processes."""

import io
import json
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from tests.e2e.processes import WAIT_S, Place, place
from tests.e2e.recorder import Recorder

from milepost.domain.feed import DATASETS

ORDER, BOX = "CANARY-ORDER-1", "canary-box-1"
NAME, EMAIL, NOTED = "Zebulon Quackenbush", "canary.zebulon@example.com", "rang Quackenbush at 555-0142-9931"
CANARIES = (NAME, EMAIL, "quackenbush", "555-0142-9931", "canary.zebulon")


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Place]:
    with place(tmp_path, EGRESS_ALLOW="127.0.0.0/8") as running:
        yield running


def post(url: str, body: dict[str, Any]) -> None:
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"content-type": "application/json"}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=WAIT_S):
        pass


def bytes_with(folder: Path, words: tuple[str, ...]) -> list[tuple[str, str]]:
    """(file, word) of every file of the hub's database that holds one of these words in any case."""
    found: list[tuple[str, str]] = []
    for path in sorted(folder.glob("hub.db*")):
        held = path.read_bytes().lower()
        found += [(path.name, word) for word in words if word.lower().encode() in held]
    return found


def until(hub: Place, is_so: Any, path: str = f"/v1/orders/{ORDER}") -> Any:
    """What the hub answers, once it is so."""
    deadline, last = time.monotonic() + WAIT_S, None
    while time.monotonic() < deadline:
        try:
            if is_so(last := hub.get(path)):
                return last
        except urllib.error.HTTPError as refused:
            refused.close()
        time.sleep(0.05)  # a fold gives no signal to another process
    raise AssertionError(f"{path} does not become so: {last}")


def lived(hub: Place) -> dict[str, Any]:
    """An order with a customer, delivered, noted about, told of to somebody who fails, and named in quarantine."""
    world = {
        "id": ORDER,
        "customer": {"contact": {"name": NAME, "email": EMAIL}},
        "packageInformation": {"details": [{"id": BOX}]},
    }
    post(f"{hub.sandbox_url}/sandbox/orders", {"order": world})
    assert hub.run("trigger", "PACKAGE_DELIVERED", "--order", ORDER).code == 0
    order: dict[str, Any] = until(hub, lambda o: o["state"] == "DELIVERED" and o["customer"] is not None)
    assert hub.run("notes", "add", ORDER, NOTED).code == 0
    resource = f"businessProduct/{order['businessProductId']}/order/{ORDER}"
    odd = {"resources": [resource], "eventTime": EMAIL, "eventDescriptor": "X", "idempotencyKey": "k"}
    assert hub.send(json.dumps(odd).encode()) == 400
    return order


def skeleton(hub: Place) -> list[tuple[Any, ...]]:
    entries = hub.get(f"/v1/orders/{ORDER}/timeline?limit=500")["items"]
    return [(e["kind"], e["code"], e["occurredAt"], e["publishedAt"], e["position"]) for e in entries]


def exported(hub: Place, dataset: str, form: str = "jsonl") -> str:
    """A dataset as a file of this form, as text; a Parquet file decoded."""
    headers = {"authorization": f"Bearer {hub.key}"}
    request = urllib.request.Request(f"{hub.hub_url}/v1/exports/{dataset}?format={form}", headers=headers)
    with urllib.request.urlopen(request, timeout=WAIT_S) as answer:
        held: bytes = answer.read()
    if form == "parquet":
        return str(pyarrow.parquet.read_table(io.BytesIO(held)).to_pylist())
    return held.decode()


def test_scenario_32_nothing_of_an_erased_order_is_left_in_any_byte(hub: Place) -> None:
    receiver = Recorder()
    receiver.status = 500
    try:
        assert hub.run("subscribers", "add", "OMS", "--to", receiver.url, "--amazon").code == 0
        order = lived(hub)
        receiver.wait(1)
        before, facts = skeleton(hub), exported(hub, "facts")
        folder = hub.folder / "run"
        assert {word for _, word in bytes_with(folder, CANARIES)} >= {NAME, EMAIL, NOTED.split(" at ")[1]}

        dry = hub.run("erase", "--order", ORDER)
        assert dry.code == 0
        assert "nothing was changed" in dry.out
        assert until(hub, lambda o: True)["customer"] == order["customer"]
        done = hub.run("erase", "--order", ORDER, "--yes", "--wait", "--json").json()
        assert done["state"] == "DONE"
        assert done["records"] > 0

        assert bytes_with(folder, CANARIES) == []
        for dataset in DATASETS:
            for form in ("csv", "jsonl", "parquet"):
                text = exported(hub, dataset, form).lower()
                assert [word for word in CANARIES if word.lower() in text] == [], (dataset, form)
        assert exported(hub, "facts").startswith(facts), "rows that were told before stay what they were"
        assert until(hub, lambda o: True)["customer"] is None
        assert hub.get(f"/v1/search?q={EMAIL}")["items"] == []
        assert skeleton(hub) == before
        verified = hub.run("rebuild", "--verify")
        assert verified.code == 0, verified
        assert hub.run("backup", "run/hub.db.backup").code == 0
        assert bytes_with(folder, CANARIES) == [], "nor is it in a backup"
        assert EMAIL not in json.dumps(hub.get("/v1/erasures"))
        listed = hub.run("erase", "--list")
        assert done["id"] in listed.out
    finally:
        receiver.close()


def test_a_shopper_is_erased_by_email_once_amazons_task_is_completed(hub: Place) -> None:
    lived(hub)
    caused = hub.run("trigger", "PERSONAL_DATA_DELETION_TASK_FAILED", "--order", ORDER, "--json").json()
    task = caused["events"][-1]["resources"][0].rpartition("/")[2]
    wanting = until(hub, lambda page: page["items"], "/v1/erasures")["items"][0]
    assert (wanting["state"], wanting["taskId"], wanting["taskOutcome"]) == ("UNCLAIMED", task, "FAILED")
    asked = hub.run("erase", "--email", EMAIL, "--task", task, "--yes", "--json").json()
    assert (asked["id"], asked["state"], asked["orders"]) == (wanting["id"], "WAITING", [ORDER])
    assert hub.run("trigger", "PERSONAL_DATA_DELETION_TASK_COMPLETED", "--order", ORDER).code == 0
    path = f"/v1/erasures/{asked['id']}"
    assert until(hub, lambda erasure: erasure["state"] == "DONE", path)["taskOutcome"] == "COMPLETED"
    assert bytes_with(hub.folder / "run", CANARIES) == []
