"""Backups of a SQLite database: one consistent copy of it while a hub serves, and putting one in its place.

`VACUUM INTO` copies one state of the database into one file, without a log and without free pages: what was deleted
or erased is not in it, whatever the pages of the original still hold. It reads beside the writer and takes no lock;
while it runs the original's log cannot start over and grows by what is written meanwhile. The keys that seal secrets
are no part of a backup. PostgreSQL has tools of its own for all this.
"""

import hashlib
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from secrets import token_hex

from msgspec import Struct

from milepost.domain.errors import Misconfigured, StoreUnavailable
from milepost.domain.instant import Instant, format_instant
from milepost.sql import lock, migrations
from milepost.sql.key_file import secrets_beside, sync_folder
from milepost.sql.postgresql import is_address
from milepost.sql.sealed_rows import standing
from milepost.sql.secrets import Secrets, given_keys
from milepost.sql.sqlite import empty_log, path_of, read_engine, write_engine
from milepost.sql.sqlite_database import guarded, real_clock

Progress = Callable[[int, int], None]
"""Told of bytes done, and of all there are, roughly."""

RATE = 50.0
"""Megabytes a second: what a disk writes beside a hub that commits."""
_OPCODES = 1_000
"""Of SQLite's, after which it says how far it is: about a millisecond."""
_SYNCED = 8 * 1024 * 1024
"""Bytes after which a copy goes to disk: less is waiting then when a hub's commit wants there too."""
_READERS_MS = 500
"""How long whoever reads a database that is replaced is waited for."""
_ELSEWHERE = (
    "is PostgreSQL's, which is backed up and restored by its own tools: pg_dump and pg_restore, or pg_basebackup with"
    " WAL archiving; docs/backup.md says how, and how to verify what came of it"
)


class Backup(Struct, frozen=True):
    """What a backup holds."""

    schema_version: str
    position: int
    """Of its last record: what was acknowledged up to there is in it."""
    records: int
    size: int
    """Bytes."""
    sha256: str
    keys: tuple[str, ...]
    """Ids of the keys that sealed its secrets: without them nobody reads those."""


class Restored(Struct, frozen=True):
    """What a restore did."""

    backup: Backup
    schema_version: str
    """After it was migrated."""
    kept: Path | None
    """Where what was there before lies now."""
    missing: tuple[str, ...]
    """Ids of keys that its secrets want and that are not there."""


def back_up(
    url: str,
    target: Path,
    *,
    rate: float = RATE,
    verify: Callable[[Path, Backup], None] = lambda copy, made: None,
    progress: Progress = lambda done, of: None,
) -> Backup:
    """Copy the database into a new file, readable by its owner alone, at most `rate` megabytes a second.

    The file has its name once it is whole, on disk, found sound, and `verify` was called with it. Raises
    `Misconfigured` when there is nothing to copy, something at the target already, or for PostgreSQL;
    `StoreUnavailable` when it cannot be written or turns out damaged."""
    source = _file_of(url)
    if not source.exists():
        raise Misconfigured(f"{source} does not exist")
    if target.exists():
        raise Misconfigured(f"{target} exists already; a backup is a new file")
    with _new_file(target) as partial:
        guarded(lambda: _copy(source, partial, rate, progress))
        made = look_at(partial)
        verify(partial, made)
        partial.rename(target)
        sync_folder(target.parent)
    return made


def look_at(path: Path) -> Backup:
    """What a backup holds, after all of it was read. Raises `Misconfigured` for a file that is no backup, or of a
    newer Milepost, and `StoreUnavailable` for one that is damaged."""
    if not path.is_file():
        raise Misconfigured(f"{path} does not exist")
    log = path.with_name(path.name + "-wal")
    if log.exists() and log.stat().st_size:
        raise Misconfigured(f"{path} is in use, or not whole without {log.name}: a backup is one file")
    problems, found = guarded(lambda: _facts(path))
    if problems:
        raise StoreUnavailable(f"{path} is damaged: {'; '.join(problems)}", path=str(path))
    return found


def restore(
    url: str,
    source: Path,
    encryption_key: str | None,
    *,
    replace: bool,
    now: Callable[[], Instant] = real_clock,
    progress: Progress = lambda done, of: None,
) -> Restored:
    """Put a backup in the place of the database, brought up to this version's schema; what was there is kept beside.

    Nothing is touched before the backup was read whole and found sound. Raises `StoreLocked` when a hub has the
    database, `Misconfigured` when there is one and `replace` is false, and what `look_at` raises."""
    path, keys = _file_of(url).resolve(), given_keys(encryption_key)
    held = lock.acquire(path, "milepost restore", now())
    try:
        if path.exists() and not replace:
            raise Misconfigured(f"{path} is there; --yes puts the backup in its place, and keeps it beside")
        found = look_at(source)
        with _new_file(path) as partial:
            _copy_file(source, partial, progress)
            guarded(lambda: _migrate(partial))
            kept = _set_aside(path, now())
            partial.replace(path)
            sync_folder(path.parent)
        missing = tuple(set(found.keys) - set(secrets_beside(path, keys, writing=False).ids))
        return Restored(found, migrations.newest(), kept, tuple(sorted(missing)))
    finally:
        held.release()


def _file_of(url: str) -> Path:
    if is_address(url):
        raise Misconfigured(f"the database {_ELSEWHERE}")
    return path_of(url)


@contextmanager
def _new_file(target: Path) -> Iterator[Path]:
    """An empty file beside the target, its owner's alone, gone afterwards unless it was renamed."""
    partial = target.with_name(f".{target.name}.{token_hex(4)}.partial")
    try:
        os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        yield partial
    except OSError as e:
        raise StoreUnavailable(f"{target} cannot be written: {e.strerror}", path=str(target)) from e
    finally:
        for suffix in ("", "-wal", "-shm", "-journal"):
            with suppress(OSError):
                partial.with_name(partial.name + suffix).unlink(missing_ok=True)


def _copy(source: Path, target: Path, rate: float, progress: Progress) -> None:
    """One state of the database, on disk when this returns."""
    with (
        closing(
            sqlite3.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None)
        ) as reading,
        target.open("rb") as file,
    ):
        pace = _Pace(reading, file.fileno(), rate, progress)
        reading.set_progress_handler(pace, _OPCODES)
        try:
            reading.execute("VACUUM INTO ?", (str(target),))
        except sqlite3.OperationalError:
            if pace.stopped is not None:
                raise pace.stopped from None
            raise
        os.fsync(file.fileno())


class _Pace:
    """Called by SQLite while it copies: keeps it to a rate, has what was copied go to disk, says how far it is."""

    def __init__(self, reading: sqlite3.Connection, target: int, rate: float, progress: Progress) -> None:
        (pages,), (free,), (size,) = (
            reading.execute(f"PRAGMA {name}").fetchone()
            for name in ("page_count", "freelist_count", "page_size")
        )
        self._total = (pages - free) * size
        self._target = target
        self._rate = rate * 1e6
        self._progress = progress
        self._began = time.monotonic()
        self._synced = 0
        self.stopped: BaseException | None = None
        """What ended it from outside; SQLite itself says no more than that it was interrupted."""

    def __call__(self) -> int:
        try:
            self._keep_pace()
        except BaseException as e:  # noqa: BLE001 - raised again behind SQLite
            self.stopped = e
            return 1
        return 0

    def _keep_pace(self) -> None:
        done = os.fstat(self._target).st_size
        if done - self._synced >= _SYNCED:
            os.fsync(self._target)
            self._synced = done
            self._progress(min(done, self._total), self._total)
            ahead = done / self._rate - (time.monotonic() - self._began)
            if ahead > 0:
                time.sleep(ahead)


def _facts(path: Path) -> tuple[list[str], Backup]:
    """What is damaged, and what is in it."""
    engine = read_engine(path, beside_writer=False)
    try:
        with engine.connect() as connection:
            version = migrations.known_version(connection, str(path))
            if version is None:
                raise Misconfigured(f"{path} is no backup: there is nothing in it")
            with connection.begin():
                found = connection.exec_driver_sql("PRAGMA integrity_check(20)").scalars().all()
                position, records = connection.exec_driver_sql(
                    "SELECT coalesce(max(position), 0), count(*) FROM records"
                ).one()
                told = connection.exec_driver_sql(
                    "SELECT 1 FROM sqlite_master WHERE name = 'destinations'"
                ).all()
                keys = tuple(sorted(standing(connection, Secrets()).sealed)) if told else ()
    finally:
        engine.dispose()
    problems = [text for text in found if text != "ok"]
    return problems, Backup(version, position, records, path.stat().st_size, _sha256(path), keys)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _copy_file(source: Path, target: Path, progress: Progress) -> None:
    total, done = source.stat().st_size, 0
    with source.open("rb") as reading, target.open("wb") as writing:
        while chunk := reading.read(_SYNCED):
            writing.write(chunk)
            done += len(chunk)
            progress(done, total)
        writing.flush()
        os.fsync(writing.fileno())


def _migrate(path: Path) -> None:
    """Bring it up to this version, all of it in the file itself."""
    engine = write_engine(path)
    try:
        with engine.connect() as connection:
            migrations.ensure(connection, str(path), migrate=True)
            empty_log(connection)
    finally:
        engine.dispose()


def _set_aside(path: Path, now: Instant) -> Path | None:
    """Keep what is there under another name, with its log; where it lies now. The name itself stays taken until
    another file takes it, so that a start in between finds a database; its log goes with it, since SQLite would
    apply it to whatever has the name."""
    if not path.exists():
        return None
    with suppress(Exception):  # a damaged one, say: then the log lies beside it
        _empty(path)
    stamp = format_instant(now).replace(":", "").replace("-", "").partition(".")[0].rstrip("Z")
    kept = path.with_name(f"{path.name}.before-{stamp}Z")
    os.link(path, kept)
    for suffix in ("-wal", "-shm"):
        with suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(kept.with_name(kept.name + suffix))
    sync_folder(path.parent)
    return kept


def _empty(path: Path) -> None:
    engine = write_engine(path, _READERS_MS)
    try:
        with engine.connect() as connection:
            empty_log(connection)
    finally:
        engine.dispose()
