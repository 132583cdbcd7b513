"""A SQLite file as a whole: opened, migrated, copied and looked at. `database` says what each means."""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import structlog
from msgspec.structs import replace
from sqlalchemy import Engine

from milepost.domain.errors import MilepostError, Misconfigured, StoreUnavailable
from milepost.domain.instant import Instant
from milepost.sql import lock, migrations
from milepost.sql.inspection import Inspection, with_books
from milepost.sql.key_file import is_open, key_path, secrets_beside
from milepost.sql.sealed_rows import reseal, standing
from milepost.sql.secrets import Key, Secrets
from milepost.sql.sqlite import (
    BUSY_TIMEOUT,
    create_file,
    empty_log,
    insert_records,
    path_of,
    read_engine,
    storage_failure,
    wipe,
    write_engine,
)
from milepost.sql.store import SqliteStore

T = TypeVar("T")
log = structlog.get_logger()


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
    keys: Sequence[Key] | None,
) -> SqliteStore:
    """`busy_timeout` is in milliseconds; without `keys` secrets stay sealed."""
    path = path_of(url)
    held = await asyncio.to_thread(_prepare, path, clock, owner, migrate, read_only, busy_timeout)
    try:
        secrets = await asyncio.to_thread(_secrets, path, keys, held is not None, busy_timeout)
        store = SqliteStore(path, held, secrets, busy_timeout)
    except BaseException:
        if held is not None:
            held.release()
        raise
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
        return guarded(lambda: _version(engine))
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

    guarded(back_up)


def inspect(url: str, projector: str, *, check: bool, keys: Sequence[Key]) -> Inspection:
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
                secrets = secrets_beside(path, keys, writing=False)
                seen = with_books(seen, connection, insert_records, secrets, projector)
    except MilepostError:
        raise
    except Exception as error:
        judged = storage_failure(error)
        if judged is None:
            raise
        problems = (*problems, judged[0].detail)
    finally:
        engine.dispose()
    shown = key_path(path) if is_open(key_path(path)) else None
    return replace(seen, problems=problems, size=path.stat().st_size, open_key_file=shown)


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


def _secrets(path: Path, keys: Sequence[Key] | None, writing: bool, busy_timeout: int) -> Secrets:
    """What seals and opens. Whoever writes has what is in clear sealed first."""
    if keys is None:
        return Secrets()
    secrets = secrets_beside(path, keys, writing=writing)
    if writing and guarded(lambda: _clear(path, secrets)):
        guarded(lambda: _seal_clear(path, secrets, busy_timeout))
    return secrets


def _clear(path: Path, secrets: Secrets) -> int:
    """How many rows lie in clear. Raises `Misconfigured` when a key is missing."""
    engine = read_engine(path, beside_writer=True)
    try:
        with engine.connect() as connection, connection.begin():
            found = standing(connection, secrets)
    finally:
        engine.dispose()
    found.check(secrets)
    return found.clear


def _seal_clear(path: Path, secrets: Secrets, busy_timeout: int) -> None:
    """Seal what an older Milepost kept in clear, in one transaction, and leave no trace of that in the file or its
    log."""
    engine = write_engine(path, busy_timeout)
    try:
        with engine.connect() as connection:
            with connection.begin():
                connection.exec_driver_sql("PRAGMA secure_delete = ON")
                sealed = reseal(connection, secrets, only_clear=True)
                wipe(connection)
            emptied = empty_log(connection)
    finally:
        engine.dispose()
    traces = "gone" if emptied else "in the log until it starts over"
    log.info("store.secrets_sealed", rows=sealed, traces=traces)


def _checked(engine: Engine, path: Path, *, migrate: bool) -> None:
    try:
        guarded(lambda: _ensure(engine, path, migrate))
    finally:
        engine.dispose()


def _ensure(engine: Engine, path: Path, migrate: bool) -> None:
    with engine.connect() as connection:
        migrations.ensure(connection, str(path), migrate=migrate)


def _version(engine: Engine) -> str | None:
    with engine.connect() as connection:
        return migrations.version(connection)


def guarded(function: Callable[[], T]) -> T:
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
