"""What doctor is told of a PostgreSQL database, sound and not."""

import time

import asyncpg
import pytest
from tests.postgres import Postgres

from milepost.domain.errors import StoreUnavailable
from milepost.sql import inspect, migrate, migrations, schema_version, shown


async def execute(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


def test_an_empty_database_is_none_yet(postgres_url: str) -> None:
    assert schema_version(postgres_url) is None
    seen = inspect(postgres_url)
    assert (seen.exists, seen.schema_version, seen.counts) == (True, None, None)
    assert seen.server is not None


def test_a_sound_database(postgres_url: str) -> None:
    assert migrate(postgres_url) == schema_version(postgres_url) == migrations.newest()
    seen = inspect(postgres_url)
    assert (seen.schema_version, seen.newest_version, seen.problems) == (migrations.newest(),) * 2 + ((),)
    assert seen.counts is not None
    assert (seen.counts.records, seen.leases, seen.asks, seen.holder, seen.file) == (0, (), {}, None, None)
    assert seen.size > 1_000_000
    assert seen.server is not None
    assert (seen.server.standby, seen.server.unsafe) == (False, ())
    assert int(seen.server.version.split(".")[0]) >= 14
    assert 0 < seen.server.connections < seen.server.max_connections < 200


async def test_leases_are_shown(postgres_url: str) -> None:
    migrate(postgres_url)
    await execute(
        postgres_url, "INSERT INTO leases VALUES ('projector', 'me', 3, 99, 'milepost serve (pid 1)')"
    )
    (lease,) = inspect(postgres_url).leases
    assert (lease.name, lease.label, lease.fence) == ("projector", "milepost serve (pid 1)", 3)


async def test_a_setting_that_may_lose_events_is_found(postgres: Postgres, postgres_url: str) -> None:
    migrate(postgres_url)
    name = postgres_url.rpartition("/")[2]
    # Every connection of a hub has this one on, whatever the database says: nothing to complain about.
    await postgres.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
    assert unsafe(postgres_url) == ()
    await postgres.execute("ALTER SYSTEM SET full_page_writes = off")
    try:
        await postgres.execute("SELECT pg_reload_conf()")
        deadline = time.monotonic() + 20
        while unsafe(postgres_url) == () and time.monotonic() < deadline:
            continue
        assert unsafe(postgres_url) == ("full_page_writes = off",)
    finally:
        await postgres.execute("ALTER SYSTEM RESET full_page_writes")
        await postgres.execute("SELECT pg_reload_conf()")


def unsafe(url: str) -> tuple[str, ...]:
    server = inspect(url).server
    assert server is not None
    return server.unsafe


async def test_what_is_damaged_is_found(postgres_url: str) -> None:
    migrate(postgres_url)
    await execute(
        postgres_url,
        "UPDATE journal_end SET position = 4",
        "ALTER TABLE asks SET UNLOGGED",
        "INSERT INTO search_terms VALUES ('a', '', '', '1'), ('a', '', '', '2')",
    )
    with pytest.raises(asyncpg.UniqueViolationError):
        await execute(postgres_url, "CREATE UNIQUE INDEX CONCURRENTLY half ON search_terms (term)")
    assert inspect(postgres_url).problems == (
        "the index half was never finished",
        "the table asks would be empty after a crash",
        "the journal's end is at 4, its last record at 0",
    )
    assert inspect(postgres_url, check=False).problems == ()


async def test_a_newer_schema_is_told_and_not_read(postgres_url: str) -> None:
    migrate(postgres_url)
    await execute(postgres_url, "UPDATE alembic_version SET version_num = '9999'")
    seen = inspect(postgres_url)
    assert (seen.schema_version, seen.counts) == ("9999", None)


def test_a_server_that_is_not_there() -> None:
    with pytest.raises(StoreUnavailable) as caught:
        inspect("postgresql://me:secret@127.0.0.1:1/x")
    assert "secret" not in caught.value.detail
    assert shown("postgresql://me:secret@h/x?search_path=a") == "postgresql://me:***@h/x?search_path=a"
    assert shown("sqlite:///milepost.db") == "sqlite:///milepost.db"
