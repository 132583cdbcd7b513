"""Which keys a database has and where they lie, and sealing all its secrets anew by the first.

A SQLite file must not be in use meanwhile: the hub that has it read its keys when it started. On PostgreSQL hubs go
on, provided that each of them was given the new key before: rows are taken one at a time, and one that a hub writes
in that moment is the hub's.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec import Struct
from sqlalchemy import Connection

from milepost.domain.errors import Misconfigured
from milepost.sql import lock, migrations
from milepost.sql.key_file import key_path, put_first, read_keys, secrets_beside
from milepost.sql.postgresql import address_of, is_address
from milepost.sql.sealed_rows import Standing, count, reseal, standing
from milepost.sql.secrets import SETTING, Key, Secrets, given_keys, new_key
from milepost.sql.sqlite import path_of, write_engine
from milepost.sql.sqlite_database import guarded, real_clock

Progress = Callable[[int, int], None]
"""Told of rows done, and of all there are."""


class Rotated(Struct, frozen=True):
    """What a rotation did."""

    changed: int
    """Rows that were sealed anew."""
    after: Standing


def key_sources(url: str, encryption_key: str | None) -> dict[str, str]:
    """Where the keys of a database lie, by their ids, the one that seals first. Raises `Misconfigured`."""
    found = {key.id: SETTING for key in given_keys(encryption_key)}
    if not is_address(url):
        path = key_path(path_of(url))
        for key in read_keys(path):
            found.setdefault(key.id, str(path))
    return found


def rotate_keys(
    url: str, encryption_key: str | None, *, new: bool = False, progress: Progress = lambda done, of: None
) -> Rotated:
    """Seal every secret by the first key; with `new`, by one that is made and put first in the key file.

    Raises `Misconfigured` without a key, for one that is missing, and for `new` where the setting gives the keys;
    `StoreLocked` when a hub has the file."""
    keys = given_keys(encryption_key)
    if new and (keys or is_address(url)):
        raise Misconfigured(
            f"keys come from {SETTING} here: put a new one first there (`milepost keys new` makes one)"
        )
    if is_address(url):
        return _on_server(url, keys, progress)
    path = path_of(url)
    if not path.exists():
        raise Misconfigured(f"{path} does not exist")
    held = lock.acquire(path, "milepost keys rotate", real_clock())
    try:
        return _in_file(path, keys, new, progress)
    finally:
        held.release()


def _in_file(path: Path, keys: Sequence[Key], new: bool, progress: Progress) -> Rotated:
    engine = write_engine(path)

    def rotate() -> Rotated:
        with engine.connect() as connection:
            migrations.ensure(connection, str(path), migrate=False)
            secrets = secrets_beside(path, keys, writing=True)
            with connection.begin():
                standing(connection, secrets).check(secrets)
                if new:
                    put_first(key_path(path), new_key())
                    secrets = secrets_beside(path, keys, writing=True)
                return _rotated(connection, secrets, progress)

    try:
        return guarded(rotate)
    finally:
        engine.dispose()


def _on_server(url: str, keys: Sequence[Key], progress: Progress) -> Rotated:
    from milepost.sql.postgres_database import run

    where, secrets = address_of(url), Secrets(keys)
    if not keys:
        raise Misconfigured(f"there is no key: set {SETTING} (`milepost keys new` makes one)")

    def rotate(connection: Connection) -> Rotated:
        migrations.ensure(connection, where.shown, migrate=False)
        # Each row is a transaction of its own, so that no hub waits for more than one.
        alone = connection.execution_options(isolation_level="AUTOCOMMIT")
        standing(alone, secrets).check(secrets)
        return _rotated(alone, secrets, progress)

    return run(where, rotate)


def _rotated(connection: Connection, secrets: Secrets, progress: Progress) -> Rotated:
    total = count(connection)
    changed = reseal(connection, secrets, progress=lambda done: progress(done, total))
    return Rotated(changed, standing(connection, secrets))
