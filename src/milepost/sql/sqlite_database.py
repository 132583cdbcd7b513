"""A SQLite file as a whole: opened, migrated, copied and looked at. `database` says what each means."""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from msgspec.structs import replace
from sqlalchemy import Engine

from milepost.domain.errors import Misconfigured, StoreUnavailable
from milepost.domain.instant import Instant
from milepost.sql import lock, migrations
from milepost.sql.inspection import Inspection, with_books
from milepost.sql.sqlite import (
    BUSY_TIMEOUT,
    create_file,
    insert_records,
    path_of,
    read_engine,
    storage_failure,
    write_engine,
)
from milepost.sql.store import SqliteStore
from milepost.sql.transaction import SqlTransaction

T = TypeVar("T")


def real_clock() -> Instant:
    """Labels locks, for people."""
    return Instant(time.time_ns() // 1_000_000)


async def open_store(
    url: str,
    *,
    clock: Callable[[], Instant],
    owner: str,
    migrate: bool,
    read_only: bool,
    busy_timeout: int,
) -> SqliteStore:
    """`busy_timeout` is in milliseconds."""
    path = path_of(url)
    held = await asyncio.to_thread(_prepare, path, clock, owner, migrate, read_only, busy_timeout)
    store = SqliteStore(path, held, busy_timeout)
    try:
        await store.start()
    except BaseException:
        await store.close()
        raise
    return store


def migrate(url: str, *, clock: Callable[[], Instant] = real_clock, owner: str) -> None:
    """Bring the schema up to date under the writer's lock."""
    _prepare(path_of(url), clock, owner, True, False, BUSY_TIMEOUT).release()  # type: ignore[union-attr]


def schema_version(url: str) -> str | None:
    """Takes no lock."""
    path = path_of(url)
    if not path.exists() or path.stat().st_size == 0:
        return None
    engine = read_engine(path, beside_writer=False)
    try:
        return _guarded(lambda: _version(engine))
    finally:
        engine.dispose()


def copy(source: str, target: str) -> None:
    """As the file is between two commits, whoever writes it."""
    origin, path = path_of(source), path_of(target)
    if not origin.exists():
        raise Misconfigured(f"{origin} does not exist")
    create_file(path)

    def back_up() -> None:
        with (
            closing(sqlite3.connect(f"{origin.resolve().as_uri()}?mode=ro", uri=True)) as reading,
            closing(sqlite3.connect(path)) as writing,
        ):
            reading.backup(writing)

    _guarded(back_up)


def inspect(url: str, projector: str, *, check: bool) -> Inspection:
    """`check` reads all of the file."""
    path = path_of(url)
    seen = Inspection(str(path), path.exists(), schema_version(url), migrations.newest(), file=path)
    seen = replace(seen, holder=lock.holder_of(path))
    if seen.schema_version is None:
        return seen
    problems: tuple[str, ...] = ()
    engine = read_engine(path, beside_writer=False)
    try:
        with engine.connect() as connection:
            if check:
                found = connection.exec_driver_sql("PRAGMA integrity_check(20)").scalars().all()
                problems = tuple(text for text in found if text != "ok")
            if seen.schema_version == seen.newest_version:
                seen = with_books(seen, SqlTransaction(connection, insert_records), projector)
    except Exception as error:
        judged = storage_failure(error)
        if judged is None:
            raise
        problems = (*problems, judged[0].detail)
    finally:
        engine.dispose()
    return replace(seen, problems=problems, size=path.stat().st_size)


def _prepare(
    path: Path, clock: Callable[[], Instant], owner: str, migrate: bool, read_only: bool, busy_timeout: int
) -> lock.Lock | None:
    """Take the lock (unless for reading) and see to the schema."""
    if read_only:
        if not path.exists():
            raise Misconfigured(f"{path} does not exist")
        engine = read_engine(path, beside_writer=False, busy_timeout=busy_timeout)
        _checked(engine, path, migrate=False)
        return None
    if not path.exists() and not migrate:
        raise Misconfigured(f"{path} does not exist; create it with `milepost migrate`")
    held = lock.acquire(path, owner, clock())
    try:
        create_file(path)
        _checked(write_engine(path, busy_timeout), path, migrate=migrate)
    except BaseException:
        held.release()
        raise
    return held


def _checked(engine: Engine, path: Path, *, migrate: bool) -> None:
    try:
        _guarded(lambda: _ensure(engine, path, migrate))
    finally:
        engine.dispose()


def _ensure(engine: Engine, path: Path, migrate: bool) -> None:
    with engine.connect() as connection:
        migrations.ensure(connection, str(path), migrate=migrate)


def _version(engine: Engine) -> str | None:
    with engine.connect() as connection:
        return migrations.version(connection)


def _guarded(function: Callable[[], T]) -> T:
    """Run it with the database's own failures named."""
    try:
        return function()
    except (Misconfigured, StoreUnavailable):
        raise
    except Exception as error:
        judged = storage_failure(error)
        if judged is None:
            raise
        raise judged[0] from error
