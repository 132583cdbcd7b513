"""Copying a PostgreSQL database into a SQLite file, beside hubs that serve: what `rebuild --verify` works on.

Everything comes from one snapshot, in batches, so that memory stays the same whatever the size. Nobody waits for
the copy; but while it runs the server keeps every version of a row that is changed, as it does for any backup.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import Connection, Table, select

from milepost.domain.errors import Misconfigured
from milepost.sql import migrations, sqlite_database
from milepost.sql.postgres_database import run
from milepost.sql.postgresql import address_of
from milepost.sql.schema import metadata
from milepost.sql.sqlite import path_of

ROWS = 250
"""A batch, read and written: a body may be a megabyte."""


def copy(source: str, target: str) -> None:
    """Every table as it is in one moment, into a new file with the same schema."""
    where, path = address_of(source), path_of(target)
    if path.exists() and path.stat().st_size:
        raise Misconfigured(f"{path} exists already; a copy needs a new file")

    def copied(connection: Connection) -> None:
        migrations.ensure(connection, where.shown, migrate=False)
        sqlite_database.migrate(target, owner="milepost copy")
        with _filling(path) as writing, _snapshot(connection) as reading:
            for table in metadata.sorted_tables:
                _copy_table(reading, writing, table)

    run(where, copied)


@contextmanager
def _snapshot(connection: Connection) -> Iterator[Connection]:
    connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    with connection.begin():
        yield connection


@contextmanager
def _filling(path: Path) -> Iterator[sqlite3.Connection]:
    """The new file, which is worth nothing until all is in it: so no log, and one commit."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -65536"):
            connection.execute(f"PRAGMA {pragma}").fetchall()
        connection.execute("BEGIN")
        yield connection
        connection.execute("COMMIT")


def _copy_table(reading: Connection, writing: sqlite3.Connection, table: Table) -> None:
    columns = [column.name for column in table.columns]
    insert = f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"  # noqa: S608 - names of ours
    writing.execute(f"DELETE FROM {table.name}")  # noqa: S608 - what a step put there
    rows = reading.execution_options(yield_per=ROWS).execute(
        select(table).order_by(*table.primary_key.columns)
    )
    for batch in rows.partitions():
        writing.executemany(insert, [tuple(row) for row in batch])
