"""`milepost demo`, which is what `make run` starts, as a user runs it."""

from pathlib import Path

from tests.e2e.processes import environment, run

DEMO = "demo --no-stay --json --seconds 10 --orders 4 --port 0 --sandbox-port 0 --folder played"


def test_the_demo_plays_its_world_to_the_end_and_again_doubles_nothing(tmp_path: Path) -> None:
    env = environment()
    first = run(DEMO.split(), tmp_path, env).json()
    assert first["finished"] is True
    assert first["arrivals"] == first["events"] + first["duplicates"]
    assert first["events"] > 0
    assert first["duplicates"] > 0, "the demo sends some events twice"
    assert first["pending"] == first["failedFolds"] == 0
    assert set(first["orders"]) <= {"DELIVERED", "CANCELLED"}
    assert sum(first["orders"].values()) == 4
    again = run(DEMO.split(), tmp_path, env).json()
    assert again["finished"] is True
    kept = ("arrivals", "events", "duplicates", "orders", "failedFolds")
    assert {name: again[name] for name in kept} == {name: first[name] for name in kept}


def test_a_demo_of_a_size_is_loaded_once_and_its_views_are_what_a_rebuild_makes(tmp_path: Path) -> None:
    env = environment()
    command = [
        "demo",
        "--size",
        "30",
        "--days",
        "20",
        "--no-stay",
        "--json",
        "--until",
        "2026-06-01T00:00:00Z",
        "--folder",
        "large",
    ]
    first = run(command, tmp_path, env).json()
    assert first["deliveries"] == 30
    assert first["records"] > 30 * 10
    again = run(command, tmp_path, env).json()
    assert again["records"] == first["records"]
    there = ["--database", "sqlite:///large/hub.db"]
    verified = run(["rebuild", "--verify", "--json", *there], tmp_path, env).json()
    assert verified == {"position": first["records"], "equal": True, "differences": []}
    refused = run([*command, "--seed", "8"], tmp_path, env)
    refused = run([*command, "--seed", "8"], tmp_path, env)
    assert refused.code == 1
    assert "another history" in refused.err
