"""Migrations on PostgreSQL: the same schema as `schema` says, made once, and only where it is ours to make."""

import asyncio
import sys

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, select
from tests.postgres import Postgres

from milepost.domain.errors import Misconfigured, StoreUnavailable
from milepost.sql import migrations, open_store, schema_version
from milepost.sql.postgres_database import prepare, run
from milepost.sql.postgresql import address_of
from milepost.sql.schema import metadata, postgresql_metadata, search_terms

COLUMNS = """
SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), l.collname, a.attnotnull, a.attidentity::text,
  regexp_replace(pg_get_expr(d.adbin, d.adrelid), 'seq\\d+', 'seq')
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid LEFT JOIN pg_collation l ON l.oid = a.attcollation
  LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
  AND c.relname <> 'alembic_version' ORDER BY c.relname, a.attnum"""
INDEXES = """
SELECT indexname, replace(indexdef, current_schema() || '.', '') FROM pg_indexes
WHERE schemaname = current_schema() AND tablename <> 'alembic_version' ORDER BY indexname"""
CONSTRAINTS = """
SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
WHERE connamespace = current_schema()::regnamespace AND conrelid <> 'alembic_version'::regclass ORDER BY 1, 2"""
OPTIONS = """
SELECT relname, reloptions::text FROM pg_class WHERE relnamespace = current_schema()::regnamespace
  AND relkind = 'r' AND relname <> 'alembic_version' ORDER BY relname"""
SEQUENCES = """
SELECT count(*) FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind = 'S'"""


def catalogue(connection: Connection) -> dict[str, list[tuple[object, ...]]]:
    """What PostgreSQL itself says that there is."""
    queries = {"columns": COLUMNS, "indexes": INDEXES, "constraints": CONSTRAINTS, "options": OPTIONS}
    queries["sequences"] = SEQUENCES
    with connection.begin():
        return {
            name: [tuple(row) for row in connection.exec_driver_sql(query).all()]
            for name, query in queries.items()
        }


async def test_the_steps_make_the_schema(postgres_url: str) -> None:
    await prepare(postgres_url, migrate=True, read_only=False)

    def differences(connection: Connection) -> object:
        with connection.begin():
            context = MigrationContext.configure(connection)
            return compare_metadata(context, [metadata, postgresql_metadata])  # type: ignore[arg-type]

    def make(connection: Connection) -> None:
        with connection.begin():
            # The queries above want it to be there.
            connection.exec_driver_sql("CREATE TABLE alembic_version (version_num varchar(32))")
            metadata.create_all(connection)
            postgresql_metadata.create_all(connection)

    assert run(address_of(postgres_url), differences) == []
    migrated = run(address_of(postgres_url), catalogue)
    # Alembic compares no collation, no partial index and no storage setting: the catalogue does.
    await execute(postgres_url, "CREATE SCHEMA made")
    made_url = f"{postgres_url}?search_path=made"
    run(address_of(made_url), make)
    made = run(address_of(made_url), catalogue)
    for part, rows in made.items():
        assert migrated[part] == rows, part
    texts = [row for row in made["columns"] if row[2] == "text"]
    assert len(texts) > 40
    assert {row[3] for row in texts} == {"C"}
    assert "WHERE (key_hash IS NOT NULL)" in dict(made["indexes"])["records_key_hash"]  # type: ignore[arg-type]


async def test_the_end_of_the_journal_begins_at_nothing(postgres_url: str) -> None:
    await prepare(postgres_url, migrate=True, read_only=False)
    assert await fetch(postgres_url, "SELECT id, position FROM journal_end") == [(1, 0)]
    assert await fetch(postgres_url, "SELECT id, others, removed FROM counters") == [(1, 0, 0)]


async def test_the_end_of_the_journal_stays_one_page(postgres_url: str) -> None:
    """Whoever appends changes that row: no version of it may cost an entry in an index, or another page."""
    await prepare(postgres_url, migrate=True, read_only=False)
    connection = await asyncpg.connect(postgres_url)
    try:
        for _ in range(600):
            await connection.execute("UPDATE journal_end SET position = position + 1")
        await connection.execute("SELECT pg_stat_force_next_flush()")
        updates = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'journal_end'"
        made, hot = await connection.fetchrow(updates)
        assert made == hot == 600
        assert await connection.fetchval("SELECT pg_relation_size('journal_end')") == 8192
    finally:
        await connection.close()


async def test_what_there_is_stays_as_it_is(postgres_url: str) -> None:
    await prepare(postgres_url, migrate=True, read_only=False)
    await execute(postgres_url, "UPDATE journal_end SET position = 7")
    for read_only in (False, True):
        await prepare(postgres_url, migrate=True, read_only=read_only)
        await prepare(postgres_url, migrate=False, read_only=read_only)
    assert await fetch(postgres_url, "SELECT position FROM journal_end") == [(7,)]


async def test_what_was_folded_before_there_was_telling_is_not_told(postgres_url: str) -> None:
    run(address_of(postgres_url), lambda connection: migrations.upgrade(connection, "0003"))
    await execute(postgres_url, "INSERT INTO checkpoints VALUES ('projector', 7), ('hydrator', 5)")
    await prepare(postgres_url, migrate=True, read_only=False)
    told = "SELECT position FROM checkpoints WHERE consumer = 'telling'"
    assert await fetch(postgres_url, told) == [(7,)]


async def test_two_that_start_at_once_migrate_once(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgraded: list[object] = []
    upgrade = migrations.upgrade

    def counted(connection: Connection) -> None:
        upgraded.append(connection)
        upgrade(connection)

    monkeypatch.setattr(migrations, "upgrade", counted)
    await asyncio.gather(*(prepare(postgres_url, migrate=True, read_only=False) for _ in range(4)))
    assert len(upgraded) == 1
    assert await fetch(postgres_url, "SELECT version_num FROM alembic_version") == [(migrations.newest(),)]


async def test_two_schemas_of_a_database_are_two_databases(postgres_url: str) -> None:
    await execute(postgres_url, "CREATE SCHEMA first; CREATE SCHEMA second")
    await prepare(f"{postgres_url}?search_path=first", migrate=True, read_only=False)
    # The other's tables are seen by this one too, and are not its own.
    second = f"{postgres_url}?search_path=second,first"
    with pytest.raises(Misconfigured, match="run `milepost migrate`"):
        await prepare(second, migrate=False, read_only=True)
    await prepare(second, migrate=True, read_only=False)
    tables = "SELECT count(*) FROM pg_tables WHERE schemaname = $1"
    assert await fetch(postgres_url, tables, "first") == await fetch(postgres_url, tables, "second")
    with pytest.raises(Misconfigured, match=r"search_path \(nowhere\)"):
        await prepare(f"{postgres_url}?search_path=nowhere", migrate=True, read_only=False)


async def test_a_newer_database_is_refused(postgres_url: str) -> None:
    await prepare(postgres_url, migrate=True, read_only=False)
    await execute(postgres_url, "UPDATE alembic_version SET version_num = '9999'")
    for read_only in (False, True):
        with pytest.raises(Misconfigured, match="newer Milepost"):
            await prepare(postgres_url, migrate=True, read_only=read_only)


@pytest.mark.parametrize(
    "made",
    [
        "CREATE TABLE records (x int)",
        "CREATE TABLE alembic_version AS SELECT 'ae10' version_num; CREATE TABLE users (x int)",
    ],
)
async def test_a_foreign_database_is_refused(postgres_url: str, made: str) -> None:
    await execute(postgres_url, made)
    with pytest.raises(Misconfigured, match="another program"):
        await prepare(postgres_url, migrate=True, read_only=False)


async def test_an_empty_database_is_left_alone_unless_told(postgres_url: str) -> None:
    for read_only in (False, True):
        with pytest.raises(Misconfigured, match="milepost migrate"):
            await prepare(postgres_url, migrate=read_only, read_only=read_only)
    assert await fetch(postgres_url, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]


async def test_who_cannot_get_in_is_told_why(postgres: Postgres, postgres_url: str) -> None:
    await postgres.execute("CREATE ROLE reader LOGIN; CREATE ROLE asleep NOLOGIN")
    try:
        for user, match in (("reader", "permission denied"), ("asleep", "not permitted to log in")):
            with pytest.raises(Misconfigured, match=match):
                await prepare(
                    postgres_url.replace("postgres@", f"{user}:secret@"), migrate=True, read_only=False
                )
    finally:
        await postgres.execute("DROP ROLE reader; DROP ROLE asleep")
    with pytest.raises(Misconfigured, match="does not exist"):
        await prepare(postgres.url("no_such_database"), migrate=True, read_only=False)
    with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1:1/"):
        await prepare("postgresql://u:secret@127.0.0.1:1/x", migrate=True, read_only=False)


@pytest.mark.parametrize("missing", ["asyncpg", "greenlet"])
async def test_without_the_extra_it_is_said_what_to_install(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(Misconfigured, match=rf"{missing}.*pip install 'milepost\[postgresql\]'"):
        await open_store("postgresql://127.0.0.1:1/x")
    with pytest.raises(Misconfigured, match="pip install"):
        schema_version("postgresql://127.0.0.1:1/x")


async def test_of_several_servers_the_one_that_takes_writes_is_used(
    postgres: Postgres, postgres_url: str
) -> None:
    """As docs/postgresql.md has it for a failover."""
    name = postgres_url.rpartition("/")[2]
    hosts = f"host=127.0.0.1:1,127.0.0.1:{postgres.port}&target_session_attrs=read-write"
    await prepare(f"postgresql://postgres@/{name}?{hosts}", migrate=True, read_only=False)
    assert await fetch(postgres_url, "SELECT version_num FROM alembic_version") == [(migrations.newest(),)]


async def test_a_database_that_cannot_hold_every_name_is_refused(postgres: Postgres) -> None:
    await postgres.execute("CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    try:
        with pytest.raises(Misconfigured, match="LATIN1"):
            await prepare(postgres.url("latin"), migrate=True, read_only=False)
    finally:
        await postgres.drop("latin")


async def test_a_text_is_kept_bytewise(postgres_url: str) -> None:
    """NUL, which PostgreSQL refuses, is kept as its picture, asked for as such too; order is that of the bytes."""
    await prepare(postgres_url, migrate=True, read_only=False)
    terms = ["b", "a\0", "Z", "ä", "\U0001f4e6", "\uffee"]

    def keep(connection: Connection) -> list[str]:
        table = search_terms
        with connection.begin():
            rows = [{"term": t, "kind": "order", "business_product_id": "", "id": "1"} for t in terms]
            connection.execute(table.insert(), rows)
            wanted = connection.execute(table.select().where(table.c.term.in_(["a\0", "Z"]))).all()
            assert len(wanted) == 2
            return list(connection.execute(select(table.c.term).order_by(table.c.term)).scalars())

    assert run(address_of(postgres_url), keep) == ["Z", "a\u2400", "b", "ä", "\uffee", "\U0001f4e6"]


async def execute(url: str, statements: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statements)
    finally:
        await connection.close()


async def fetch(url: str, query: str, *values: object) -> list[tuple[object, ...]]:
    connection = await asyncpg.connect(url)
    try:
        return [tuple(row) for row in await connection.fetch(query, *values)]
    finally:
        await connection.close()
