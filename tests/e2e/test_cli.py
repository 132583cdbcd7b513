"""The `milepost` command as people and scripts use it: real processes, their standard output, their exit codes.

0 is ok, 1 failed, 2 misused. Standard output of `--json` is one JSON document and nothing else.
"""

import contextlib
import json
import re
import shlex
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from tests.e2e.processes import KEY, PASSWORD, USERNAME, Place, environment, place, run, started
from typer.testing import CliRunner

from milepost.cli.main import app


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with place(tmp_path_factory.mktemp("cli")) as running:
        yield running


@pytest.fixture(scope="module")
def order(hub: Place) -> dict[str, Any]:
    """An order with a delivered parcel."""
    return hub.deliver()


def parcel(order: dict[str, Any]) -> dict[str, Any]:
    """Its delivered parcel."""
    found: dict[str, Any] = next(d for d in order["deliveries"] if d["state"] == "DELIVERED")
    return found


# ── trigger ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_triggered_event_and_what_must_come_before_it_are_told(hub: Place) -> None:
    ran = hub.run("trigger", "PACKAGE_DELIVERY_IN_TRANSIT", "--sandbox", hub.sandbox_url)
    assert ran.code == 0
    assert "PACKAGE_DELIVERY_IN_TRANSIT businessProduct/" in ran.out
    assert "eventId" in ran.out


@pytest.mark.parametrize(("form", "detail"), [([], False), (["--eventbridge"], True)])
def test_an_event_posted_straight_to_a_handler_is_in_its_journal(
    hub: Place, form: list[str], detail: bool
) -> None:
    to = f"{hub.hub_url}/webhooks/buy-with-prime"
    login = ["--username", USERNAME, "--password", PASSWORD]
    ran = hub.run("trigger", "PACKAGE_DELIVERED", "--to", to, *form, *login, "--json")
    (sent,) = ran.json()["events"]
    assert sent["answer"].startswith('200 {"status":"accepted"')
    kept = hub.get(f"/v1/events/{sent['eventId']}")
    assert kept["type"] == "PACKAGE_DELIVERED"
    assert ("detail" in kept["body"]) is detail


def test_what_trigger_refuses(hub: Place) -> None:
    to = f"{hub.hub_url}/webhooks/buy-with-prime"
    unknown = hub.run("trigger", "PACKAGE_LOST_IN_SPACE", "--sandbox", hub.sandbox_url)
    assert unknown.code == 2
    assert "PACKAGE_LOST_IN_SPACE is not an event type" in unknown.err
    assert unknown.out == ""
    assert hub.run("trigger", "PACKAGE_DELIVERED", "--to", to, "--sandbox", hub.sandbox_url).code == 2
    assert hub.run("trigger", "PACKAGE_DELIVERED", "--eventbridge").code == 2
    denied = hub.run("trigger", "PACKAGE_DELIVERED", "--to", to, "--username", "x", "--password", "y")
    assert denied.code == 1
    assert "401" in denied.err


# ── tail, orders, track, explain ───────────────────────────────────────────────────────────────────────────────


def test_tail_lists_events_oldest_first_and_goes_on_where_it_is_told(
    hub: Place, order: dict[str, Any]
) -> None:
    events = hub.run("tail", "--no-follow", "--json").json()
    positions = [event["position"] for event in events]
    assert positions == sorted(positions)
    later = hub.run("tail", "--no-follow", "--json", "--after", str(positions[0])).json()
    assert [event["position"] for event in later][: len(positions) - 1] == positions[1:]
    (newest,) = hub.run("tail", "--no-follow", "--json", "--limit", "1").json()
    assert newest["position"] >= positions[-1]
    delivered = hub.run("tail", "--no-follow", "--type", "DELIVERY_COMPLETED")
    assert delivered.code == 0
    assert order["id"] in delivered.out
    assert all(" PACKAGE_DELIVERED " in line for line in delivered.out.splitlines())


def test_tail_follows_until_it_is_interrupted(hub: Place, order: dict[str, Any]) -> None:
    with started(["tail", "--after", "0", "--json"], hub.folder, hub.env) as tail:
        tail.line("PACKAGE_DELIVERED")  # it follows
        to = f"{hub.hub_url}/webhooks/buy-with-prime"
        login = ["--username", USERNAME, "--password", PASSWORD]
        (sent,) = hub.run("trigger", "BUYABILITY_CHANGED", "--to", to, *login, "--json").json()["events"]
        assert json.loads(tail.line(sent["eventId"]))["type"] == "BUYABILITY_CHANGED"
        assert tail.ended(signal.SIGINT) == 0
        assert tail.log == []


def test_an_event_by_both_roads_is_one_and_its_lag_is_told(hub: Place) -> None:
    to = f"{hub.hub_url}/webhooks/buy-with-prime"
    login = ["--username", USERNAME, "--password", PASSWORD]
    named = ["--to", to, "--eventbridge", *login, "--json"]
    (sent,) = hub.run("trigger", "REFUND_COMPLETED", *named).json()["events"]
    document = hub.get(f"/v1/events/{sent['eventId']}")["body"]
    assert hub.send(json.dumps(document["detail"]).encode()) == 200
    replayed = {**document, "id": "another", "replay-name": "again"}
    assert hub.send(json.dumps(replayed).encode()) == 200
    shown = hub.get(f"/v1/events/{sent['eventId']}")
    assert (shown["arrivals"], shown["roads"]) == (3, ["eventbridge", "webhook", "replay"])
    lags = [arrival["behindMs"] for arrival in shown["arrivalLog"]]
    assert lags[0] == 0 < lags[1] <= lags[2]
    roads = {road["road"]: road for road in hub.run("roads", "--json").json()["roads"]}
    assert roads["webhook"]["behind"] == {"n": 1, "p50Ms": lags[1], "p90Ms": lags[1], "p99Ms": lags[1]}
    assert roads["replay"]["arrivals"] == 1
    told = hub.run("roads")
    assert told.code == 0
    assert "REFUND_COMPLETED by webhook" in told.out
    line = next(
        line for line in hub.run("tail", "--no-follow").out.splitlines() if "REFUND_COMPLETED" in line
    )
    assert line.endswith("x3 by eventbridge, webhook, replay")


def test_orders_are_listed_shown_and_found(hub: Place, order: dict[str, Any]) -> None:
    listed = hub.run("orders")
    assert listed.code == 0
    assert next(line for line in listed.out.splitlines() if line.startswith(order["id"]))
    assert order["id"] in [item["id"] for item in hub.run("orders", "--json").json()]
    shown = hub.run("orders", order["id"])
    assert shown.code == 0
    tracker = parcel(order)["trackers"][0]
    assert f"tracker {tracker['carrierCode']} {tracker['trackingNumber']} Delivered" in shown.out
    assert "Package delivered." in shown.out
    assert hub.run("orders", order["id"], "--json").json()["deliveries"][0]["id"]
    found = hub.run("orders", "--search", tracker["trackingNumber"], "--json").json()
    assert {item["orderId"] for item in found} == {order["id"]}
    named = hub.run("orders", "--search", order["id"])
    assert named.code == 0
    assert order["id"] in named.out
    assert hub.run("orders", "--search", "nobody-has-this").code == 1


def test_an_order_as_it_was_known_at_a_time(hub: Place, order: dict[str, Any]) -> None:
    before = hub.run("orders", order["id"], "--as-of", "2020-01-01T00:00:00Z", "--json")
    assert (before.code, before.out) == (1, "")
    assert "Nothing was known of order" in before.err
    later = hub.run("orders", order["id"], "--as-of", "2999-01-01T00:00:00Z", "--json").json()
    assert later["state"] == hub.get(f"/v1/orders/{order['id']}")["state"]
    assert hub.run("orders", order["id"], "--as-of", "soon").code == 1


def test_a_parcel_is_tracked(hub: Place, order: dict[str, Any]) -> None:
    tracker = parcel(order)["trackers"][0]
    ran = hub.run("track", tracker["carrierCode"], tracker["trackingNumber"])
    assert ran.code == 0
    assert ran.out.startswith(f"tracker {tracker['carrierCode']} {tracker['trackingNumber']} Delivered")
    document = hub.run("track", tracker["carrierCode"], tracker["trackingNumber"], "--json").json()
    assert document["stage"] == "DELIVERED"
    assert hub.run("track", "ups", "NO-SUCH-NUMBER").code == 1


def test_a_state_is_explained_in_short_and_whole(hub: Place, order: dict[str, Any]) -> None:
    short = hub.run("explain", order["id"])
    assert short.code == 0
    assert short.out.startswith(f"{order['id']}: The order is ")
    headings = [line for line in short.out.splitlines() if line and not line.startswith(" ")]
    assert len(headings) == 5, headings
    whole = hub.run("explain", order["id"], "--all")
    document = hub.run("explain", order["id"], "--json").json()
    assert len(whole.out.splitlines()) == 1 + len(document["facts"])
    for fact in document["facts"]:
        assert fact["text"] in whole.out
    tracker = parcel(order)["trackers"][0]
    number = f"{tracker['carrierCode']}/{tracker['trackingNumber']}"
    for named in (parcel(order)["id"], number):
        assert "because" in hub.run("explain", named).out
    assert hub.run("explain", "no-such-order").code == 1


# ── doctor, quarantine ─────────────────────────────────────────────────────────────────────────────────────────


def test_doctor_is_content_until_a_body_cannot_be_read(hub: Place, order: dict[str, Any]) -> None:
    findings = hub.run("doctor", "--json").json()
    assert [finding for finding in findings if not finding["ok"]] == []
    assert {"settings", "database", "writer lock", "journal", "Buy with Prime API", "hub"} <= {
        finding["check"] for finding in findings
    }
    assert hub.send(b'{"eventId": 1}') == 400
    (entry,) = hub.run("quarantine", "list", "--json").json()
    assert entry["code"] == "malformed_event"
    assert entry["reason"] in hub.run("quarantine", "list").out
    number = str(entry["id"])
    assert '{"eventId": 1}' in hub.run("quarantine", "show", number).out
    assert hub.run("quarantine", "show", number, "--json").json()["body"] == '{"eventId": 1}'
    again = hub.run("quarantine", "release", number, "--json")
    assert (again.code, again.out) == (1, ""), "it still cannot be read"
    assert "milepost:" in again.err
    worried = hub.run("doctor")
    assert worried.code == 1
    assert re.search(r"✗ quarantine: +1 body could not be read", worried.out)
    assert "milepost quarantine list" in worried.out


def test_doctor_without_settings_or_hub_says_what_to_do(tmp_path: Path) -> None:
    ran = run(["doctor", "--url", "http://127.0.0.1:9"], tmp_path, environment())
    assert ran.code == 1
    assert "set MILEPOST_WEBHOOK_USERNAME" in ran.out
    assert "nothing answers at http://127.0.0.1:9" in ran.out
    assert not list(tmp_path.iterdir()), "it only looks"


# ── bench, migrate, rebuild ────────────────────────────────────────────────────────────────────────────────────


def test_bench_accounts_for_every_event(hub: Place) -> None:
    report = hub.run("bench", "--events", "200", "--connections", "8", "--json").json()
    assert (report["sent"], report["acknowledged"], report["lost"], report["refused"]) == (200, 200, 0, 0)


def test_migrate_makes_a_database_once(tmp_path: Path) -> None:
    env = environment()
    made = run(["migrate", "--database", "sqlite:///made.db", "--json"], tmp_path, env).json()
    assert made["before"] is None
    assert made["after"]
    again = run(["migrate", "--database", "sqlite:///made.db"], tmp_path, env)
    assert again.code == 0
    assert "is up to date" in again.out


def test_views_are_verified_beside_the_serving_hub_and_not_remade(hub: Place, order: dict[str, Any]) -> None:
    verified = hub.run("rebuild", "--verify", "--json").json()
    assert verified["equal"] is True
    assert verified["differences"] == []
    assert verified["position"] > 0
    refused = hub.run("rebuild")
    assert (refused.code, refused.out) == (1, "")
    assert f"milepost serve (pid {hub.hub.process.pid}" in refused.err


# ── serve ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_serve_without_authentication_says_what_to_set(tmp_path: Path) -> None:
    ran = run(["serve", "--port", "0"], tmp_path, environment())
    assert (ran.code, ran.out) == (2, "")
    assert "MILEPOST_WEBHOOK_USERNAME" in ran.err
    assert "MILEPOST_OAUTH_CLIENT_ID" in ran.err
    wrong = run(["serve"], tmp_path, environment(PORT="many"))
    assert wrong.code == 2
    assert "MILEPOST_PORT" in wrong.err


def test_a_second_hub_on_one_file_says_who_holds_it(hub: Place) -> None:
    second = hub.run("serve", "--port", "0")
    assert (second.code, second.out) == (1, "")
    assert f"milepost serve (pid {hub.hub.process.pid}" in second.err


def test_sigterm_ends_serve_though_somebody_follows(tmp_path: Path) -> None:
    env = environment(WEBHOOK_USERNAME=USERNAME, WEBHOOK_PASSWORD=PASSWORD, API_KEY=KEY)
    with contextlib.ExitStack() as running:
        hub = running.enter_context(started(["serve", "--port", "0"], tmp_path, env))
        env["MILEPOST_URL"] = hub.url()
        to = f"{hub.url()}/webhooks/buy-with-prime"
        assert run(["trigger", "PACKAGE_DELIVERED", "--to", to], tmp_path, env).code == 0
        tail = running.enter_context(started(["tail", "--after", "0"], tmp_path, env))
        tail.line("PACKAGE_DELIVERED")
        assert hub.ended(signal.SIGTERM) == 0
        assert tail.ended() in (0, 1)


# ── What holds for every command ───────────────────────────────────────────────────────────────────────────────


def test_a_hub_that_is_not_there_or_refuses_the_key_is_a_failure(hub: Place) -> None:
    away = hub.run("orders", "--json", "--url", "http://127.0.0.1:9")
    assert (away.code, away.out) == (1, "")
    assert "nothing answers at http://127.0.0.1:9" in away.err
    refused = hub.run("orders", "--json", "--api-key", "mp_wrong")
    assert (refused.code, refused.out) == (1, "")
    assert "MILEPOST_API_KEY" in refused.err
    assert hub.run("orders", "--no-such-option").code == 2
    assert hub.run("no-such-command").code == 2


def commands(group: Any, *names: str) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            if command.invoke_without_command:
                yield (*names, name)
            yield from commands(command, *names, name)
        else:
            yield (*names, name)


COMMANDS = list(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("names", COMMANDS, ids=" ".join)
def test_help_has_an_example_of_the_command_that_can_be_read(names: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(app, [*names, "--help"], env={"COLUMNS": "300"})
    assert shown.exit_code == 0
    _, found, rest = shown.output.partition("Example: milepost ")
    assert found, shown.output
    words = shlex.split(rest.splitlines()[0])
    assert tuple(words[: len(names)]) == names
    command: Any = typer.main.get_command(app)
    for name in names:
        command = command.commands[name]
    # Raises a usage error for an option or an argument that the command doesn't have.
    command.make_context(names[-1], words[len(names) :])
