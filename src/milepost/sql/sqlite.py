"""What is SQLite's own: addresses, connections and their settings, errors, and inserting at the journal's end.

WAL with synchronous=FULL: a commit returns after the log is on disk, and readers never wait for the writer.
"""

import sqlite3
from collections.abc import Sequence
from functools import cache
from itertools import chain
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import NullPool

from milepost.domain.errors import Misconfigured, StoreUnavailable
from milepost.sql.append import Row

BUSY_TIMEOUT = 5_000
"""Milliseconds to wait for somebody else's lock (a backup, a shell) before giving up."""

WAL_PAGES = 12_000
"""Pages after which a commit copies the log into the database. 16 MB: an index page that many commits changed
is copied once, which saves a quarter of the processor time per event against SQLite's own 4 MB."""

_READERS_MS = 250
"""How long a compaction waits for readers before it gives way to who writes."""

WAL_LIMIT = 64 * 1024 * 1024
"""Bytes the log is cut back to; beyond it the writer waits a moment for readers so that it can start over."""

_BUSY, _LOCKED, _NOMEM, _READONLY, _IOERR, _CORRUPT, _FULL = 5, 6, 7, 8, 10, 11, 13
_CANTOPEN, _PROTOCOL, _NOTADB = 14, 15, 26
_UNAVAILABLE = {
    _BUSY: "the database is locked by another process",
    _LOCKED: "the database is locked",
    _NOMEM: "out of memory",
    _READONLY: "the database is read-only",
    _IOERR: "the disk failed",
    _CORRUPT: "the database file is damaged",
    _FULL: "the disk is full",
    _CANTOPEN: "the database file cannot be opened",
    _PROTOCOL: "the database is locked by another process",
    _NOTADB: "the file is not a database",
}
_PASSING = frozenset({_BUSY, _LOCKED, _NOMEM, _FULL})
"""After these the same connection can go on; after the others a new one is opened."""

_PAGES_AT_ONCE = 4_000

_ROWS_A_STATEMENT = 64
"""Most rows in one INSERT. The driver lets go of the interpreter once a statement and must win it back from the
event loop each time: a statement a row would cost a batch more in waiting than in writing."""


_INTO = (
    "INSERT INTO records (kind, business_product_id, type, received_at, published_at, road, flags, origin,"
    " body, key_hash, event_hash) VALUES "
)
_ROW = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


@cache
def _insert(rows: int, conflicting: str) -> str:
    """The INSERT of so many rows; there are few, so that every one stays prepared."""
    return f"{_INTO}{', '.join([_ROW] * rows)}{conflicting}"


def path_of(url: str) -> Path:
    """The file of `sqlite:///relative.db` or `sqlite:////absolute.db`. Raises `Misconfigured` for anything else."""
    try:
        parsed = make_url(url)
    except ArgumentError as e:
        raise Misconfigured(f"{url!r} is no database URL; try sqlite:///milepost.db") from e
    if parsed.get_backend_name() != "sqlite":
        shown = parsed.render_as_string(hide_password=True)
        raise Misconfigured(f"{shown}: SQLite and PostgreSQL are supported, as in sqlite:///milepost.db")
    if not parsed.database or parsed.database == ":memory:":
        raise Misconfigured("the journal must outlive the process: name a file, as in sqlite:///milepost.db")
    if parsed.query or parsed.host:
        raise Misconfigured(f"{url!r}: a SQLite URL is sqlite:/// and a path, nothing else")
    path = Path(parsed.database)
    if not path.parent.is_dir():
        raise Misconfigured(f"{path.parent} is not a directory; create it or set another DATABASE_URL")
    return path


def create_file(path: Path) -> None:
    """Make the database file, if there is none, readable by its owner alone: it holds personal data."""
    try:
        path.touch(mode=0o600, exist_ok=True)
    except OSError as e:
        raise StoreUnavailable(f"cannot create {path}: {e.strerror}", path=str(path)) from e


def write_engine(path: Path, busy_timeout: int = BUSY_TIMEOUT) -> Engine:
    """Connections for writing; the file must be there (a vanished one is never silently begun anew)."""
    return _engine(path, "rw", "BEGIN IMMEDIATE", busy_timeout, _WRITER)


def read_engine(path: Path, *, beside_writer: bool, busy_timeout: int = BUSY_TIMEOUT) -> Engine:
    """Connections that cannot write. Beside a writer they may still keep the log's index in order."""
    mode = "rw" if beside_writer else "ro"
    return _engine(path, mode, "BEGIN", busy_timeout, _READER)


_WRITER = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA fullfsync = ON",  # only macOS has it: there fsync alone does not reach the disk
    "PRAGMA foreign_keys = OFF",
    "PRAGMA cache_size = -32768",
    "PRAGMA temp_store = MEMORY",
    f"PRAGMA wal_autocheckpoint = {WAL_PAGES}",
    f"PRAGMA journal_size_limit = {WAL_LIMIT}",
)
_READER = ("PRAGMA query_only = ON", "PRAGMA cache_size = -8192", "PRAGMA temp_store = MEMORY")


def _engine(path: Path, mode: str, begin: str, busy_timeout: int, pragmas: Sequence[str]) -> Engine:
    uri = f"file:{quote(str(path.resolve()))}?mode={mode}"

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(
            uri, uri=True, isolation_level=None, check_same_thread=False, timeout=busy_timeout / 1000
        )
        try:
            for pragma in pragmas:
                connection.execute(pragma).fetchall()
        except BaseException:
            connection.close()
            raise
        return connection

    # What a statement was given is what people sent: no error, and so no log line, may quote it.
    engine = create_engine("sqlite://", creator=connect, poolclass=NullPool, hide_parameters=True)

    # The driver begins nothing by itself (isolation_level None): every transaction begins here.
    @event.listens_for(engine, "begin")
    def begin_transaction(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def insert_new(connection: Connection, rows: Sequence[Row]) -> int | None:
    """All rows by one statement that is a transaction of its own; the first one's position. None when one of
    them is there already, or too many for one statement: then nothing was inserted."""
    if len(rows) > _ROWS_A_STATEMENT:
        return None
    cursor = connection.connection.cursor()
    try:
        cursor.execute(_insert(len(rows), ""), [*chain.from_iterable(rows)])
        last: int = cursor.lastrowid
    except sqlite3.IntegrityError:
        return None
    finally:
        cursor.close()
    return last - len(rows) + 1


def insert_records(connection: Connection, rows: Sequence[Row]) -> list[int | None]:
    """As few statements as possible for all rows; SQLite gives each the position behind the last, without gaps."""
    cursor = connection.connection.cursor()
    try:
        inserted = 0
        for start in range(0, len(rows), _ROWS_A_STATEMENT):
            some = rows[start : start + _ROWS_A_STATEMENT]
            cursor.execute(_insert(len(some), " ON CONFLICT DO NOTHING"), [*chain.from_iterable(some)])
            inserted += cursor.rowcount
        if not inserted:
            return [None] * len(rows)
        first: int = cursor.lastrowid - inserted + 1
        if inserted == len(rows):
            return list(range(first, first + inserted))
        cursor.execute(
            "SELECT position, key_hash, event_hash FROM records WHERE position >= ? ORDER BY position",
            (first,),
        )
        # In order: a row that was passed over cannot have the hashes of a later one that was taken.
        kept = iter(cursor.fetchall())
        following = next(kept, None)
        positions: list[int | None] = []
        for row in rows:
            if following is not None and following[1:] == row[9:]:
                positions.append(following[0])
                following = next(kept, None)
            else:
                positions.append(None)
        return positions
    finally:
        cursor.close()


def compact(connection: Connection, *, again: bool) -> bool:
    """Write the file anew from what can be read of it, so that neither free pages nor the gaps in others hold what
    was there; then copy the log into it and cut that to nothing. `again`: the log alone. False when a reader still
    needs the log. Not within a transaction.

    The copy is made in a temporary file, whatever else is: it is as large as the database."""
    cursor = connection.connection.cursor()
    try:
        if not again:
            cursor.execute("PRAGMA temp_store = FILE")
            try:
                cursor.execute("VACUUM")
            finally:
                cursor.execute("PRAGMA temp_store = MEMORY")
        (wait,) = cursor.execute("PRAGMA busy_timeout").fetchone()
        cursor.execute(f"PRAGMA busy_timeout = {_READERS_MS}").fetchall()
        try:
            (busy, *_) = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        finally:
            cursor.execute(f"PRAGMA busy_timeout = {int(wait)}").fetchall()
        return not busy
    finally:
        cursor.close()


def storage_failure(error: BaseException) -> tuple[StoreUnavailable, bool] | None:
    """(the error callers get, whether to open a new connection), when the database itself failed; else None."""
    if isinstance(error, StoreUnavailable):
        return error, True
    cause = error.orig if isinstance(error, DBAPIError) else error
    if not isinstance(cause, sqlite3.Error):
        return None
    code = getattr(cause, "sqlite_errorcode", 0) & 0xFF
    if code not in _UNAVAILABLE:
        return None
    failure = StoreUnavailable(f"{_UNAVAILABLE[code]}: nothing was written", sqlite=str(cause))
    failure.__cause__ = cause
    return failure, code not in _PASSING


def wipe(connection: Connection) -> None:
    """Leave nothing of what the settings of destinations once were, nor of what pages held that are free now. Within
    a transaction, after `secure_delete` was turned on; what it takes is the room that is free."""
    for statement in (
        "CREATE TEMP TABLE kept AS SELECT * FROM destinations",
        "DELETE FROM destinations",
        "INSERT INTO destinations SELECT * FROM kept",
        "DROP TABLE kept",
    ):
        connection.exec_driver_sql(statement)
    free = connection.exec_driver_sql("PRAGMA freelist_count").scalar_one()
    size = connection.exec_driver_sql("PRAGMA page_size").scalar_one()
    if free:
        connection.exec_driver_sql("CREATE TABLE wiped (zeros)")
        for start in range(0, free, _PAGES_AT_ONCE):
            pages = min(_PAGES_AT_ONCE, free - start)
            connection.exec_driver_sql("INSERT INTO wiped VALUES (zeroblob(?))", (pages * size,))
        connection.exec_driver_sql("DROP TABLE wiped")


def empty_log(connection: Connection) -> bool:
    """Copy the log into the file and cut it to nothing; False when somebody still reads by it. Not within a
    transaction."""
    cursor = connection.connection.cursor()
    try:
        busy, *_ = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return not busy
    finally:
        cursor.close()
