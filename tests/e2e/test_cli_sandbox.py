"""Subcommands of `milepost sandbox` as people and scripts use them: a real sandbox and a hub that it publishes to."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.processes import Place, environment, place, run, started

SCENARIO = """
name: quick
title: A parcel that is there at once
orders:
  - {packages: [box]}
steps:
  - {at: 1m, state: IN_TRANSIT}
  - {after: 1m, milestone: DELIVERED, place: home}
ends:
  order:
    state: DELIVERED
    packages:
      box: {state: DELIVERED, stage: DELIVERED}
"""


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with place(tmp_path_factory.mktemp("sandbox")) as running:
        yield running


@pytest.fixture(scope="module")
def event(here: Place) -> dict[str, Any]:
    """A published event that the hub has taken, with its attempts."""
    order = here.deliver()
    listed = here.run("sandbox", "events", "--type", "PACKAGE_DELIVERED", "--json").json()
    found = next(e for e in listed if order["id"] in e["resources"][0])
    shown: dict[str, Any] = here.run("sandbox", "events", found["eventId"], "--json").json()
    return shown


# ── What goes out ──────────────────────────────────────────────────────────────────────────────────────────────


def test_events_are_listed_and_one_is_shown_with_each_attempt(here: Place, event: dict[str, Any]) -> None:
    (message,) = event["messages"]
    assert message["state"] == "delivered"
    assert [a["status"] for a in message["attempts"]] == [200]
    assert message["body"]["subscriptionId"] == message["subscriptionId"]
    listed = here.run("sandbox", "events", "--type", "PACKAGE_DELIVERED")
    assert listed.code == 0
    assert event["eventId"] in listed.out
    (newest,) = here.run("sandbox", "events", "--limit", "1", "--json").json()
    positions = [e["position"] for e in here.run("sandbox", "events", "--after", "0", "--json").json()]
    assert positions[0] == 1
    assert newest["position"] >= event["position"]
    shown = here.run("sandbox", "events", event["eventId"])
    assert "  1. " in shown.out
    assert "delivered: answered 200 in " in shown.out
    assert here.run("sandbox", "events", "no-such-event").code == 1


def test_an_event_is_sent_again_by_hand(here: Place, event: dict[str, Any]) -> None:
    (message,) = event["messages"]
    by_event = here.run("sandbox", "resend", event["eventId"])
    assert by_event.code == 0
    assert "delivered: answered 200 in " in by_event.out
    to = ["--to", message["subscriptionId"], "--json"]
    (again,) = here.run("sandbox", "resend", message["messageId"], *to).json()
    assert (again["attempt"]["manual"], again["attempt"]["status"]) == (True, 200)
    assert here.get(f"/v1/events/{event['eventId']}")["arrivals"] == 3, (
        "the hub counted one event three times"
    )
    assert here.run("sandbox", "resend", event["eventId"], "--to", "nobody").code == 1
    assert here.run("sandbox", "resend", "0-nothing").code == 1


def test_a_failure_is_told(tmp_path: Path) -> None:
    with started(
        ["sandbox", "--port", "0", "--hub", "http://127.0.0.1:9/", "--retry-schedule", "0s"],
        tmp_path,
        environment(),
    ) as sandbox:
        env = environment(SANDBOX_URL=sandbox.url())
        caused = run(["trigger", "PACKAGE_DELIVERED", "--json"], tmp_path, env).json()["events"][-1]
        again = run(["sandbox", "resend", caused["eventId"]], tmp_path, env)
        assert again.code == 1
        assert "failed: " in again.out
        shown = run(["sandbox", "subscriptions"], tmp_path, env)
        assert "1 failed; the last attempt failed: " in shown.out


def test_subscriptions_are_listed_with_their_health(here: Place, event: dict[str, Any]) -> None:
    items = here.run("sandbox", "subscriptions", "--json").json()
    (one,) = (i for i in items if i["subscriptionId"] == event["messages"][0]["subscriptionId"])
    assert one["auth"] == "basicAuthConfig"
    assert one["url"] == f"{here.hub_url}/webhooks/buy-with-prime"
    assert one["lastAttempt"]["status"] == 200
    listed = here.run("sandbox", "subscriptions")
    assert f"{one['subscriptionId']} PACKAGE_DELIVERED → {one['url']}" in listed.out
    assert here.login[1] not in listed.out
    enabled = here.run("sandbox", "subscriptions", "--enable", one["subscriptionId"], "--json").json()
    assert [(e["subscriptionId"], e["enabled"]) for e in enabled] == [(one["subscriptionId"], True)]
    assert here.run("sandbox", "subscriptions", "--enable", "nobody").code == 1


def test_credentials_are_made_listed_and_deleted(here: Place) -> None:
    create = ["sandbox", "credentials", "create", "--name", "of the test"]
    made = here.run(*create, "--permission", "Read Order", "--permission", "ORDER_EDIT", "--json").json()
    assert made["permissions"] == ["Read Order", "Edit Order Data"]
    whole = here.run(*create, "--permission", "Full access", "--target-id", "bp-1")
    assert whole.code == 0
    assert "target id      bp-1" in whole.out
    listed = here.run("sandbox", "credentials", "list", "--json").json()
    assert made["clientId"] in [one["clientId"] for one in listed]
    assert made["clientSecret"] not in str(listed)
    assert made["clientId"] in here.run("sandbox", "credentials", "list").out
    assert here.run("sandbox", "credentials", "delete", made["clientId"]).code == 0
    again = here.run("sandbox", "credentials", "delete", made["clientId"])
    assert (again.code, again.out) == (1, "")
    assert here.run(*create, "--permission", "Read Minds").code == 1
    assert here.run(*create).code == 2


def test_event_sources_are_associated(tmp_path: Path) -> None:
    """With --eventbridge the handler of the settings is subscribed by EventBridge sources."""
    env = environment()
    arguments = ["sandbox", "--port", "0", "--hub", "http://127.0.0.1:9/hook", "--eventbridge", "--mint-ids"]
    with started(arguments, tmp_path, env) as sandbox:
        env = environment(SANDBOX_URL=sandbox.url())
        sources = run(["sandbox", "event-sources", "list", "--json"], tmp_path, env).json()
        name = sources[0]["name"]
        assert sources[0]["state"] == "ACTIVE"
        one = ["sandbox", "event-sources"]
        assert run([*one, "dissociate", name, "--json"], tmp_path, env).json()["state"] == "PENDING"
        to = "http://127.0.0.1:9/other"
        told = run([*one, "associate", name, to, "--api-key", "x-key=secret"], tmp_path, env)
        assert told.out == f"{name} is ACTIVE\n"
        basic = [*one, "associate", name, to, "--username", "u"]
        assert run([*basic, "--password", "p", "--json"], tmp_path, env).json()["url"] == to
        assert run(basic, tmp_path, env).code == 2
        assert run([*one, "associate", name, to, "--api-key", "x"], tmp_path, env).code == 2
        assert run([*one, "associate", "nobody", to], tmp_path, env).code == 1
        assert f"{to}\n" in run([*one, "list"], tmp_path, env).out.replace(" ", "")


# ── What happens ───────────────────────────────────────────────────────────────────────────────────────────────


def test_a_scenario_is_lived_while_the_clock_is_moved(tmp_path: Path) -> None:
    env = environment()
    with started(["sandbox", "--port", "0", "--hub", "", "--speed", "0"], tmp_path, env) as sandbox:
        env = environment(SANDBOX_URL=sandbox.url())

        def ask(*arguments: str) -> Any:
            return run([*arguments, "--json"], tmp_path, env).json()

        assert "the world has no order yet" in run(["sandbox", "orders"], tmp_path, env).out
        begun = ask("sandbox", "clock", "show")
        assert begun["speed"] == 0
        (order_id,) = ask("trigger", "happy-path")["orderIds"]
        (tmp_path / "quick.yaml").write_text(SCENARIO, "utf-8")
        quick = ask("trigger", "quick.yaml")["orderIds"]
        quick += ask("sandbox", "scenarios", "start", "quick.yaml", "--orders", "2")["orderIds"]
        assert len(set(quick)) == 3
        moved = ask("sandbox", "clock", "advance", "1h")
        assert moved["now"] > begun["now"]
        states = {order["orderId"]: order["state"] for order in ask("sandbox", "orders")}
        assert [states[each] for each in quick] == ["DELIVERED"] * 3
        assert states[order_id] == "PENDING"
        ask("sandbox", "clock", "advance", "30d")
        (lived,) = (o for o in ask("sandbox", "orders") if o["orderId"] == order_id)
        assert (lived["state"], lived["stepsLeft"]) == ("DELIVERED", 0)
        assert order_id in run(["sandbox", "orders"], tmp_path, env).out
        assert ask("sandbox", "clock", "speed", "60")["speed"] == 60
        told = run(["sandbox", "clock", "show"], tmp_path, env).out
        assert "60 times the real pace; nothing is planned" in told


def test_scenarios_are_listed_and_started(here: Place) -> None:
    names = [one["name"] for one in here.run("sandbox", "scenarios", "list", "--json").json()]
    assert {"happy-path", "lost", "split"} <= set(names)
    assert "happy-path" in here.run("sandbox", "scenarios", "list").out
    started_here = here.run("sandbox", "scenarios", "start", "lost")
    assert started_here.code == 0
    assert "is placed" in started_here.out
    assert "the next step is at" in started_here.out


def test_what_is_no_scenario(here: Place) -> None:
    assert here.run("trigger", "no-such-scenario").code == 2
    assert here.run("trigger", "no-such-file.yaml").code == 2
    assert here.run("trigger", "happy-path", "--order", "322-ABCD-EFGH12").code == 2
    assert here.run("sandbox", "scenarios", "start", "no-such-scenario").code == 1
    (here.folder / "wrong.yaml").write_text(SCENARIO.replace("state: IN_TRANSIT", "state: LOST"), "utf-8")
    wrong = here.run("trigger", "wrong.yaml")
    assert wrong.code == 2
    assert "wrong.yaml" in wrong.err
    assert "steps[0].state" in wrong.err


def test_time_goes_forward_only(here: Place) -> None:
    assert here.run("sandbox", "clock", "advance", "--to", "2020-01-01T00:00:00Z").code == 1
    assert here.run("sandbox", "clock", "advance", "soon").code == 1
    assert here.run("sandbox", "clock", "advance").code == 2
    assert here.run("sandbox", "clock", "speed", "--", "-1").code == 2


def test_faults_are_turned_on_and_off(tmp_path: Path) -> None:
    env = environment()
    arguments = ["sandbox", "--port", "0", "--hub", "", "--fault", "drop=0.5", "--fault", "slow=10ms"]
    with started(arguments, tmp_path, env) as sandbox:
        env = environment(SANDBOX_URL=sandbox.url())

        def faults(*arguments: str) -> Any:
            return run(["sandbox", "faults", *arguments, "--json"], tmp_path, env).json()

        assert (faults("show")["drop"], faults("show")["slowSeconds"]) == (0.5, 0.01)
        now = faults("set", "duplicate=0.25", "tracker-null=2m", "api-down")
        assert (now["duplicate"], now["trackerNullSeconds"], now["apiDown"]) == (0.25, 120, True)
        assert now["drop"] == 0.5, "the others stay as they are"
        assert faults("set", "duplicate=0")["duplicate"] == 0
        told = run(["sandbox", "faults", "show"], tmp_path, env).out
        assert told.split() == ["drop=0.5", "api-down=on", "slow=10ms", "tracker-null=120s"]
        assert faults("clear", "drop", "api-down")["drop"] == 0
        assert faults("clear", "slowSeconds")["slowSeconds"] == 0
        assert faults("clear")["trackerNullSeconds"] == 0
        assert run(["sandbox", "faults", "show"], tmp_path, env).out == "no fault is on\n"
        for wrong in (["set", "bad-luck=1"], ["set", "drop=2"], ["set", "drop=x"], ["clear", "bad-luck"]):
            assert run(["sandbox", "faults", *wrong], tmp_path, env).code == 2


# ── The server's options ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "options",
    [
        ["--fault", "bad-luck=1"],
        ["--retry-schedule", "soon"],
        ["--egress-allow", "everywhere"],
        ["--oauth-endpoint", "http://127.0.0.1:9/token"],
        ["--username", "alone"],
    ],
    ids=lambda options: options[0],
)
def test_a_server_with_a_wrong_option_does_not_start(tmp_path: Path, options: list[str]) -> None:
    ran = run(["sandbox", "--port", "0", *options], tmp_path, environment())
    assert (ran.code, ran.out) == (2, "")
    assert "milepost: " in ran.err


def test_a_hub_that_wants_oauth_gets_it(tmp_path: Path) -> None:
    login = {"OAUTH_CLIENT_ID": "amazon", "OAUTH_CLIENT_SECRET": "word"}
    hub_env = environment(API_KEY="mp_key", **login)
    with started(["serve", "--port", "0"], tmp_path, hub_env) as hub:
        to = ["--hub", f"{hub.url()}/webhooks/buy-with-prime", "--oauth-endpoint", f"{hub.url()}/oauth/token"]
        keys = ["--oauth-client-id", "amazon", "--oauth-client-secret", "word"]
        with started(["sandbox", "--port", "0", *to, *keys], tmp_path, environment()) as sandbox:
            env = environment(SANDBOX_URL=sandbox.url())
            caused = run(["trigger", "PACKAGE_DELIVERED", "--json"], tmp_path, env).json()["events"][-1]
            (sent,) = run(["sandbox", "resend", caused["eventId"], "--json"], tmp_path, env).json()
            assert sent["attempt"]["status"] == 200


def test_a_sandbox_that_is_not_there_is_a_failure(here: Place) -> None:
    for arguments in (["orders"], ["events"], ["faults", "show"], ["credentials", "list"], ["clock", "show"]):
        away = here.run("sandbox", *arguments, "--json", "--sandbox", "http://127.0.0.1:9")
        assert (away.code, away.out) == (1, "")
        assert "Set MILEPOST_SANDBOX_URL, or pass --sandbox." in away.err
