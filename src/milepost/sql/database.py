"""Opening, migrating, copying and looking at a database as a whole. What is in it is the other modules'."""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from msgspec import Struct
from sqlalchemy import Engine

from milepost.domain.errors import Misconfigured, StoreUnavailable
from milepost.domain.instant import Instant
from milepost.sql import lock, migrations
from milepost.sql.lock import Holder
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
from milepost.store import Counts

T = TypeVar("T")


class Inspection(Struct, frozen=True):
    """What `doctor` can see of a database without its lock."""

    path: str
    exists: bool
    schema_version: str | None
    """None: no Milepost database yet."""
    newest_version: str
    holder: Holder | None
    """Who holds the lock now."""
    problems: tuple[str, ...] = ()
    """What the integrity check found; empty is good."""
    counts: Counts | None = None
    size: int = 0
    """Bytes of the database, without its log."""
    wal_size: int = 0


def real_clock() -> Instant:
    return Instant(time.time_ns() // 1_000_000)


async def open_store(
    url: str,
    *,
    clock: Callable[[], Instant] = real_clock,
    owner: str = "milepost",
    migrate: bool = True,
    read_only: bool = False,
    busy_timeout: int = BUSY_TIMEOUT,
) -> SqliteStore:
    """Open the database of `url` (`sqlite:///milepost.db`), creating and migrating it unless told not to.

    `owner` and `clock` label the lock; `busy_timeout` is in milliseconds. Raises `StoreLocked` when another
    hub holds it (not with `read_only`), `Misconfigured` for a URL or a schema that cannot be used,
    `StoreUnavailable` when the file cannot be.
    """
    path = path_of(url)
    held = await asyncio.to_thread(_prepare, path, clock, owner, migrate, read_only, busy_timeout)
    store = SqliteStore(path, held, busy_timeout)
    try:
        await store.start()
    except BaseException:
        await store.close()
        raise
    return store


def migrate(url: str, *, clock: Callable[[], Instant] = real_clock, owner: str = "milepost migrate") -> str:
    """Bring the schema up to date under the writer's lock; the version it has then."""
    _prepare(path_of(url), clock, owner, True, False, BUSY_TIMEOUT).release()  # type: ignore[union-attr]
    return migrations.newest()


def schema_version(url: str) -> str | None:
    """The schema's version; None when there is no Milepost database yet. Takes no lock."""
    path = path_of(url)
    if not path.exists() or path.stat().st_size == 0:
        return None
    engine = read_engine(path, beside_writer=False)
    try:
        return _guarded(lambda: _version(engine))
    finally:
        engine.dispose()


def copy_database(source: str, target: str) -> None:
    """Copy a database, also one that a hub is writing, into a new file: one consistent state of it."""
    origin, path = path_of(source), path_of(target)
    if not origin.exists():
        raise Misconfigured(f"{origin} does not exist")
    create_file(path)

    def copy() -> None:
        with (
            closing(sqlite3.connect(f"{origin.resolve().as_uri()}?mode=ro", uri=True)) as reading,
            closing(sqlite3.connect(path)) as writing,
        ):
            reading.backup(writing)

    _guarded(copy)


def inspect(url: str, projector: str = "projector", *, check: bool = True) -> Inspection:
    """Look at a database without its lock: schema, holder, integrity (`check`; reads all of it), counts."""
    path = path_of(url)
    holder, newest = lock.holder_of(path), migrations.newest()
    version = schema_version(url)
    if version is None:
        return Inspection(str(path), path.exists(), None, newest, holder)
    wal = path.with_name(path.name + "-wal")
    problems: tuple[str, ...] = ()
    counts = None
    engine = read_engine(path, beside_writer=False)
    try:
        with engine.connect() as connection:
            if check:
                found = connection.exec_driver_sql("PRAGMA integrity_check(20)").scalars().all()
                problems = tuple(text for text in found if text != "ok")
            if version == newest:
                counts = SqlTransaction(connection, insert_records).journal.counts(projector)
    except Exception as error:
        judged = storage_failure(error)
        if judged is None:
            raise
        problems = (*problems, judged[0].detail)
    finally:
        engine.dispose()
    wal_size = wal.stat().st_size if wal.exists() else 0
    return Inspection(
        str(path), True, version, newest, holder, problems, counts, path.stat().st_size, wal_size
    )


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
