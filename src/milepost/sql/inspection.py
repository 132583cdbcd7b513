"""What `doctor` can see of a database, whichever it is, beside the hubs that use it."""

from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy import Connection

from milepost.sql.append import InsertRecords
from milepost.sql.lock import Holder
from milepost.sql.sealed_rows import Standing, standing
from milepost.sql.secrets import Secrets
from milepost.sql.transaction import SqlTransaction
from milepost.store import Counts, Lease


class Server(Struct, frozen=True):
    """The PostgreSQL server that a database is on."""

    version: str
    standby: bool
    unsafe: tuple[str, ...]
    """Settings by which it may lose what it said was committed, as `name = value`."""
    connections: int
    """Of all programs, now."""
    max_connections: int
    """How many it has for programs that are no superuser's."""


class Inspection(Struct, frozen=True):
    """What was seen of a database, without taking a lock of it."""

    shown: str
    """Its path, or its address without the password."""
    exists: bool
    schema_version: str | None
    """None: no Milepost database yet."""
    newest_version: str
    problems: tuple[str, ...] = ()
    """What is damaged; empty is good."""
    counts: Counts | None = None
    """None unless the schema is up to date, as with `asks` and `leases`."""
    asks: dict[str, int] = {}
    """Hydration's, by state."""
    leases: tuple[Lease, ...] = ()
    secrets: Standing | None = None
    """How they are kept; None like `counts`."""
    size: int = 0
    """Bytes on disk, without the log."""
    open_key_file: Path | None = None
    """SQLite's key file, where others than its owner may read it."""
    file: Path | None = None
    """SQLite's."""
    holder: Holder | None = None
    """Who holds a SQLite file's lock now."""
    server: Server | None = None
    """PostgreSQL's."""


def with_books(
    seen: Inspection, connection: Connection, insert: InsertRecords, secrets: Secrets, projector: str
) -> Inspection:
    """The same with what the tables say."""
    tx = SqlTransaction(connection, insert, secrets)
    return replace(
        seen,
        counts=tx.journal.counts(projector),
        asks=tx.work.count(),
        leases=tuple(tx.leases.all()),
        secrets=standing(connection, secrets),
    )
