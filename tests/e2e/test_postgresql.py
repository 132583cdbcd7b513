"""The commands on PostgreSQL: beside hubs that serve, and when none does."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from tests.e2e.processes import Place, environment, place, run, started
from tests.postgres import Postgres


@pytest.fixture
def url(postgres_url: str) -> str:
    """With a password, which nothing may print. The server does not ask for it."""
    return postgres_url.replace("postgres@", "postgres:word-of-the-test@")


@pytest.fixture
def hub(url: str, tmp_path: Path) -> Iterator[Place]:
    with place(tmp_path, database=url) as here:
        yield here


def findings(here: Place) -> dict[str, dict[str, Any]]:
    ran = here.run("doctor", "--json")
    assert "word-of-the-test" not in ran.out
    return {finding["check"]: finding for finding in ran.json()}


async def test_commands_beside_a_serving_hub_and_after_it(hub: Place, url: str) -> None:
    hub.deliver()
    seen = findings(hub)
    assert [finding for finding in seen.values() if not finding["ok"]] == []
    assert seen["server"]["found"].startswith("PostgreSQL 1")
    assert seen["durability"]["found"] == "what is committed is on disk"
    assert "milepost serve (pid " in seen["leases"]["found"]
    assert "projector" in seen["leases"]["found"]
    assert "postgres:***@" in seen["database"]["found"]
    assert not {"writer lock", "disk"} & set(seen)

    again = hub.run("migrate")
    assert again.code == 0
    assert "is up to date" in again.out
    assert "word-of-the-test" not in again.out

    verified = hub.run("rebuild", "--verify", "--json").json()
    assert (verified["equal"], verified["differences"]) == (True, [])
    assert verified["position"] > 0

    refused = hub.run("rebuild")
    assert refused.code == 1
    assert "milepost serve (pid " in refused.err
    assert "stop every hub" in refused.err

    assert hub.hub.ended(signal.SIGTERM) == 0
    # What its views were is gone: the rebuild makes them anew.
    await execute(url, "DELETE FROM views")
    damaged = hub.run("rebuild", "--verify", "--json")
    assert damaged.code == 1
    rebuilt = hub.run("rebuild", "--json").json()
    assert rebuilt["position"] >= verified["position"]
    assert hub.run("rebuild", "--verify", "--json").json()["equal"] is True


def test_a_database_made_and_rebuilt_beside_a_hub_that_only_ingests(
    url: str, postgres: Postgres, tmp_path: Path
) -> None:
    env = environment(DATABASE_URL=url, INSECURE="true")
    assert "is not there yet; `milepost serve` makes it" in run(["doctor"], tmp_path, env).out
    made = run(["migrate", "--json"], tmp_path, env).json()
    assert made["before"] is None
    assert made["after"]
    assert "word-of-the-test" not in made["database"]
    with started(["serve", "--port", "0", "--ingest-only"], tmp_path, env) as ingesting:
        ingesting.url()
        assert run(["rebuild", "--json"], tmp_path, env).json()["position"] == 0
    wrong = run(["migrate", "--database", postgres.url("no_such_database")], tmp_path, env)
    assert wrong.code == 2
    assert "does not exist" in wrong.err
    assert "Traceback" not in wrong.err


async def execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
