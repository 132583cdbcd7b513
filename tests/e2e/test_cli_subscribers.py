"""`milepost subscribers`, `attempts` and `replay` against a real hub, and what a real receiver gets of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import standardwebhooks
from tests.e2e.processes import Place, place
from tests.e2e.recorder import Recorder


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with place(tmp_path_factory.mktemp("subscribers"), EGRESS_ALLOW="127.0.0.0/8") as running:
        yield running


@pytest.fixture
def receiver() -> Iterator[Recorder]:
    made = Recorder()
    yield made
    made.close()


def test_a_subscriber_hears_of_a_parcel_and_can_verify_it(hub: Place, receiver: Recorder) -> None:
    made = hub.run("subscribers", "add", "OMS", "--to", receiver.url, "--ordered", "--json").json()
    order = hub.deliver()
    wanted = {"order.updated", "delivery.shipped", "capture.ready", "delivery.delivered", "tracker.updated"}
    count = 1
    while not wanted <= {
        got.document["type"] for got in receiver.wait(count) if _is_about(got.document, order)
    }:
        count = len(receiver.got) + 1
    webhook = standardwebhooks.Webhook(made["secret"])
    for got in receiver.got:
        assert webhook.verify(got.body, got.headers) == got.document
    ids = [got.headers["webhook-id"] for got in receiver.got]
    assert len(set(ids)) == len(ids)
    assert all(one.endswith(made["id"]) for one in ids)
    shown = hub.run("subscribers", "show", made["id"])
    assert made["secret"] not in shown.out
    assert "delivered" in shown.out

    tried = hub.run("attempts", "--subscriber", made["id"], "--since", "1h", "--json").json()
    assert {attempt["outcome"] for attempt in tried} == {"delivered"}
    message = hub.run("attempts", "--message", ids[0], "--json").json()
    assert message["body"].encode() == receiver.got[0].body
    before = len(receiver.got)
    again = hub.run("attempts", "--message", ids[0], "--resend")
    assert again.code == 0
    assert receiver.wait(before + 1)[-1].headers["webhook-id"] == ids[0]
    hub.run("subscribers", "remove", made["id"])


def _is_about(document: dict[str, object], order: dict[str, object]) -> bool:
    data = document["data"]
    assert isinstance(data, dict)
    return document["type"] == "tracker.updated" or data.get("orderId") == order["id"]


def test_a_late_one_gets_history_and_a_replay_counts_first(hub: Place, receiver: Recorder) -> None:
    hub.deliver()
    add = ("subscribers", "add", "late", "--to", receiver.url, "--amazon", "--from", "start", "--json")
    made = hub.run(*add).json()
    events = hub.get("/v1/events?limit=500")["items"]
    got = receiver.wait(len(events))
    assert {g.document["eventId"] for g in got} == {event["eventId"] for event in events}
    dry = hub.run("replay", made["id"], "--type", "PACKAGE_DELIVERED", "--dry-run", "--json").json()
    delivered = [event for event in events if event["type"] == "PACKAGE_DELIVERED"]
    assert dry["messages"] == len(delivered) >= 1
    before = len(receiver.got)
    done = hub.run("replay", made["id"], "--type", "PACKAGE_DELIVERED", "--new-ids", "--json").json()
    assert (done["state"], done["enqueued"]) == ("done", len(delivered))
    again = receiver.wait(before + len(delivered))[before:]
    assert all(g.headers["webhook-id"].endswith(f"~r{done['id']}") for g in again)
    listed = hub.run("replay")
    assert "backfill" in listed.out
    assert done["id"] in listed.out
    assert hub.run("replay", "--cancel", done["id"]).code == 1
    hub.run("subscribers", "remove", made["id"])


def test_a_test_message_says_how_it_ended(hub: Place, receiver: Recorder) -> None:
    made = hub.run(
        "subscribers", "add", "tested", "--to", receiver.url, "--signature", "v1a", "--json"
    ).json()
    ran = hub.run("subscribers", "test", made["id"])
    assert (ran.code, "delivered 204" in ran.out) == (0, True), ran
    receiver.status = 500
    ran = hub.run("subscribers", "test", made["id"])
    assert (ran.code, "failed 500" in ran.out) == (1, True), ran
    receiver.status = 204
    for action, word in (("disable", "disabled"), ("enable", "live")):
        assert word in hub.run("subscribers", action, made["id"]).out
    rotated = hub.run("subscribers", "rotate", made["id"], "--overlap", "2")
    assert rotated.out.count("whpk_") == 2
    assert "whsk_" not in rotated.out
    assert made["id"] in hub.run("subscribers", "list").out
    assert hub.run("subscribers", "remove", made["id"]).code == 0
    assert hub.run("subscribers", "show", made["id"]).code == 1


def test_what_is_misused_is_told(hub: Place, tmp_path: Path) -> None:
    for arguments in (
        ("subscribers", "add", "x"),
        ("subscribers", "add", "x", "--to", "https://a.example", "--bus", "b"),
        ("subscribers", "add", "x", "--to", "https://a.example", "--username", "u"),
        ("subscribers", "add", "x", "--to", "https://a.example", "--client-id", "u"),
        ("attempts", "--resend"),
    ):
        assert hub.run(*arguments).code == 2, arguments
    refused = hub.run("subscribers", "add", "x", "--to", "http://10.1.2.3/hook")
    assert refused.code == 1
    assert "MILEPOST_EGRESS_ALLOW" in refused.err
