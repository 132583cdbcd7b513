"""A database as a whole, whichever its URL names: opened, migrated, copied and looked at.

What each of the two does for it is in `sqlite_database` and `postgres_database`. PostgreSQL's modules are loaded
when a URL asks for them, since they need an extra.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from milepost.domain.errors import Misconfigured
from milepost.domain.instant import Instant
from milepost.sql import migrations, sqlite_database
from milepost.sql.inspection import Inspection
from milepost.sql.postgresql import address_of, is_address
from milepost.sql.secrets import given_keys
from milepost.sql.sqlite import BUSY_TIMEOUT
from milepost.sql.sqlite_database import real_clock

if TYPE_CHECKING:
    from milepost.store import Store


def is_shared(url: str) -> bool:
    """Whether the database is a server's: several hubs may have it open, and it may be away for a while."""
    return is_address(url)


def shown(url: str) -> str:
    """The URL for people: without a password. Raises `Misconfigured` for one that is not understood."""
    return address_of(url).shown if is_address(url) else url


async def open_store(
    url: str,
    *,
    clock: Callable[[], Instant] = real_clock,
    owner: str = "milepost",
    migrate: bool = True,
    read_only: bool = False,
    busy_timeout: int = BUSY_TIMEOUT,
    encryption_key: str | None = None,
    sealed: bool = False,
) -> "Store":
    """Open the database of `url` (`sqlite:///milepost.db`, `postgresql://…`), migrating it unless told not to.

    A SQLite file is created, too. `owner` and `clock` label its lock, or PostgreSQL's connections; `busy_timeout` is
    how long, in milliseconds, a lock that somebody else has is waited for, or a server that is gone.

    Secrets are sealed by the keys of `encryption_key`, which is the setting, or of a SQLite database's key file, and
    what lies in clear is sealed at once; `sealed` leaves them as they are and needs no key: for a copy, by which
    nobody is told anything. Raises `StoreLocked` when another hub holds a file (not with `read_only`),
    `Misconfigured` for a URL, a schema, a key or a server that cannot be used, `StoreUnavailable` when it cannot be
    reached.
    """
    keys = None if sealed else given_keys(encryption_key)
    if not is_address(url):
        return await sqlite_database.open_store(
            url,
            clock=clock,
            owner=owner,
            migrate=migrate,
            read_only=read_only,
            busy_timeout=busy_timeout,
            keys=keys,
        )
    from milepost.sql.postgres_database import require_driver

    require_driver()
    from milepost.sql.postgres_store import open_postgres

    return await open_postgres(
        url,
        clock=clock,
        owner=owner,
        migrate=migrate,
        read_only=read_only,
        patience_ms=busy_timeout,
        keys=keys,
    )


def migrate(url: str, *, clock: Callable[[], Instant] = real_clock, owner: str = "milepost migrate") -> str:
    """Bring the schema up to date; the version it has then. A SQLite file must not be in use, PostgreSQL may be."""
    if is_address(url):
        from milepost.sql import postgres_database

        postgres_database.migrate(url)
    else:
        sqlite_database.migrate(url, clock=clock, owner=owner)
    return migrations.newest()


def schema_version(url: str) -> str | None:
    """The schema's version; None when there is no Milepost database yet."""
    if not is_address(url):
        return sqlite_database.schema_version(url)
    from milepost.sql import postgres_database

    return postgres_database.schema_version(url)


def copy_database(source: str, target: str) -> None:
    """Copy a database, also one that hubs are writing, into a new SQLite file: one consistent state of it.

    Raises `Misconfigured` when there is nothing to copy, or something there already."""
    if is_address(target):
        raise Misconfigured("a copy is a SQLite file, as in sqlite:///copy.db")
    if not is_address(source):
        sqlite_database.copy(source, target)
        return
    from milepost.sql import postgres_copy

    postgres_copy.copy(source, target)


def inspect(
    url: str, projector: str = "projector", *, check: bool = True, encryption_key: str | None = None
) -> Inspection:
    """Look at a database beside whoever uses it: schema, holders, damage (`check`; it may read all), counts, and how
    secrets are kept."""
    keys = given_keys(encryption_key)
    if not is_address(url):
        return sqlite_database.inspect(url, projector, check=check, keys=keys)
    from milepost.sql import postgres_inspection

    return postgres_inspection.inspect(url, projector, check=check, keys=keys)
