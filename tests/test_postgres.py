"""The PostgreSQL that tests use: it starts, keeps what it has committed through a crash, and ends connections."""

import asyncpg
import pytest
from tests.postgres import Postgres


async def test_it_keeps_what_was_committed(postgres: Postgres, postgres_url: str) -> None:
    connection = await asyncpg.connect(postgres_url)
    assert await connection.fetchval("SHOW fsync") == "on"
    await connection.execute("CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)")
    name = postgres_url.rsplit("/", 1)[1]
    assert await postgres.cut(name) == 1
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)):
        await connection.fetchval("SELECT 1")
    postgres.stop("immediate")
    postgres.start()
    for url in (postgres_url, postgres.url(name, tcp=False)):
        connection = await asyncpg.connect(url)
        assert await connection.fetchval("SELECT n FROM kept") == 7
        await connection.close()
