"""A PostgreSQL database copied into a SQLite file: every row of every table, all of one moment."""

import asyncio
import random
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Float,
    Integer,
    LargeBinary,
    Table,
    create_engine,
    select,
)

from milepost.domain.errors import Misconfigured
from milepost.sql import copy_database, migrate, schema_version
from milepost.sql.postgres_copy import ROWS
from milepost.sql.postgres_database import run
from milepost.sql.postgresql import address_of
from milepost.sql.schema import metadata

MANY = 2 * ROWS + 7
"""Rows a table, but for one that is empty: more than two batches."""
TAILS = ("", "ä", "\0", "📦", "\x7f", " " * 40)


def made_up(column: Column[Any], number: int, chance: random.Random) -> object:
    """A value that a column may have; another for each number."""
    if column.nullable and chance.random() < 0.3:
        return None
    if isinstance(column.type, Boolean):
        return chance.random() < 0.5
    if isinstance(column.type, LargeBinary):
        return number.to_bytes(4) + chance.randbytes(chance.randrange(60))
    if isinstance(column.type, BigInteger):
        return number if column.primary_key else chance.choice((number, -number, 2**62 + number))
    if isinstance(column.type, Integer):
        return number
    if isinstance(column.type, Float):
        return number / 8
    return f"{number:04}{chance.choice(TAILS)}"


def rows_of(connection: Connection, table: Table) -> list[tuple[object, ...]]:
    return [tuple(row) for row in connection.execute(select(table).order_by(*table.primary_key.columns))]


def test_every_row_of_every_table_is_in_the_copy(postgres_url: str, tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    migrate(postgres_url)

    def fill(connection: Connection) -> dict[str, list[tuple[object, ...]]]:
        kept = {}
        with connection.begin():
            for table in metadata.sorted_tables:
                numbers = chance.sample(range(2, 9000), 0 if table.name == "asks" else MANY)
                rows = [{c.name: made_up(c, n, chance) for c in table.columns} for n in numbers]
                if rows:
                    connection.execute(table.insert(), rows)
                kept[table.name] = rows_of(connection, table)
        return kept

    original = run(address_of(postgres_url), fill)
    assert len(original) > 15
    copy_database(postgres_url, f"sqlite:///{tmp_path / 'copy.db'}")
    engine = create_engine(f"sqlite:///{tmp_path / 'copy.db'}")
    with engine.connect() as connection:
        copied = {table.name: rows_of(connection, table) for table in metadata.sorted_tables}
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
    engine.dispose()
    for name, rows in original.items():
        assert copied[name] == rows, name
    assert schema_version(f"sqlite:///{tmp_path / 'copy.db'}") == schema_version(postgres_url)


async def test_a_copy_is_of_one_moment_whoever_writes(postgres_url: str, tmp_path: Path) -> None:
    """Every transaction moves a checkpoint and adds a record: in any copy the two agree."""
    migrate(postgres_url)
    connection = await asyncpg.connect(postgres_url)
    await connection.execute(
        "INSERT INTO checkpoints VALUES ('projector', 0);"
        " INSERT INTO search_terms SELECT md5(i::text), '', '', '' FROM generate_series(1, 20000) i"
    )
    enough = asyncio.Event()

    async def write() -> int:
        position = 0
        while not enough.is_set():
            position += 1
            async with connection.transaction():
                await connection.execute("UPDATE checkpoints SET position = $1", position)
                await connection.execute(
                    "INSERT INTO records VALUES ($1, 'event', '', '', 0, 0, '', '', NULL, '', NULL, NULL)",
                    position,
                )
        return position

    writing = asyncio.create_task(write())
    try:
        for name in ("first.db", "second.db"):
            await asyncio.to_thread(copy_database, postgres_url, f"sqlite:///{tmp_path / name}")
    finally:
        enough.set()
        written = await writing
        await connection.close()
    ends = []
    for name in ("first.db", "second.db"):
        with closing(sqlite3.connect(tmp_path / name)) as copy:
            (last,) = copy.execute("SELECT coalesce(max(position), 0) FROM records").fetchone()
            assert copy.execute("SELECT position FROM checkpoints").fetchone() == (last,)
            ends.append(last)
    assert ends[0] < ends[1] < written


def test_what_cannot_be_copied(postgres_url: str, tmp_path: Path) -> None:
    target = f"sqlite:///{tmp_path / 'copy.db'}"
    with pytest.raises(Misconfigured, match="run `milepost migrate`"):
        copy_database(postgres_url, target)
    assert not (tmp_path / "copy.db").exists()
    migrate(postgres_url)
    (tmp_path / "copy.db").write_text("precious")
    with pytest.raises(Misconfigured, match="exists already"):
        copy_database(postgres_url, target)
    assert (tmp_path / "copy.db").read_text() == "precious"
    with pytest.raises(Misconfigured, match="a copy is a SQLite file"):
        copy_database(postgres_url, postgres_url)
