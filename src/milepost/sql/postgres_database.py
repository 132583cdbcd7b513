"""A PostgreSQL database as a whole: whether it is one we can use, and its schema brought up to date beside hubs.

Whoever migrates holds an advisory lock, so that hubs that start together do it once. A step waits for the lock of a
table a moment only, since everybody else's statements queue behind it meanwhile, and tries again later.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from typing import TypeVar

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from milepost.domain.errors import MilepostError, Misconfigured, StoreUnavailable
from milepost.sql import migrations
from milepost.sql.postgresql import Address, address_of, engine_of, sqlstate, trouble_of

T = TypeVar("T")
log = structlog.get_logger()

OLDEST_SERVER = 14
LOCK_TIMEOUT_MS = 200
"""How long a step may wait for a table's lock: so long may a hub's statements have to queue behind it."""
PATIENCE_S, OTHERS_PATIENCE_S = 120.0, 900.0
"""For how long a step is tried again, and another process's migration is waited for, which may index a lot."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 2.0

_LOCKED_OUT = frozenset({"55P03", "40P01"})
"""No lock within the timeout, or a deadlock: the same step can be tried again."""
_SETTINGS = frozenset({"28000", "28P01", "3D000", "3F000", "42501"})
"""Wrong user, password, database or schema, or something that the user may not do."""
# In two halves, so that hubs in two schemas of one database don't wait for each other.
_TAKE = "SELECT pg_try_advisory_lock(hashtext('milepost migrate'), hashtext(current_schema()))"
_SERVER = (
    "SELECT current_setting('server_version_num')::int / 10000, current_setting('server_version'),"
    " current_setting('server_encoding'), pg_is_in_recovery(), current_schema(), current_setting('search_path')"
)


async def prepare(url: str, *, migrate: bool, read_only: bool) -> None:
    """See to it that the schema of the connection's `search_path` is ours and up to date, migrating it if told to.

    Raises `Misconfigured` for a server, database or schema that cannot be used, `StoreUnavailable` when the server
    cannot be reached or takes no writes, or when a table stays locked by somebody else."""
    # Alembic blocks, and takes a while to load: not on the loop of whoever may be serving already.
    await asyncio.to_thread(_prepare, address_of(url), migrate=migrate and not read_only, read_only=read_only)


def migrate(url: str) -> None:
    """Bring the schema up to date, beside whoever uses the database."""
    _prepare(address_of(url), migrate=True, read_only=False)


def schema_version(url: str) -> str | None:
    """None when there is no Milepost database there yet, but one could be made."""
    return run(address_of(url), migrations.version)


def run(where: Address, function: Callable[[Connection], T]) -> T:
    """Call the function with a connection of its own, no transaction begun, and block until it has returned.

    It may begin and end as many transactions as it likes. The database's own failures are named."""
    with ThreadPoolExecutor(1) as thread:  # whoever calls may have an event loop running in this one
        return thread.submit(asyncio.run, _call(where, function)).result()


def require_driver() -> None:
    """Raise `Misconfigured` when what PostgreSQL needs is not installed."""
    missing = [name for name in ("asyncpg", "greenlet") if find_spec(name) is None]
    if missing:
        raise Misconfigured(
            f"PostgreSQL needs {' and '.join(missing)}, which come with pip install 'milepost[postgresql]'"
        )


async def _call(where: Address, function: Callable[[Connection], T]) -> T:
    require_driver()
    engine = engine_of(where)
    try:
        async with engine.connect() as connection:
            return await connection.run_sync(function)
    except MilepostError:
        raise
    except Exception as error:
        failure = _named(error, where)
        if failure is None:
            raise
        raise failure from error
    finally:
        await engine.dispose()


def _prepare(where: Address, *, migrate: bool, read_only: bool) -> None:
    def prepared(connection: Connection) -> None:
        check_server(connection, where, read_only=read_only)
        _ensure(connection, where, migrate=migrate)

    run(where, prepared)


def check_server(connection: Connection, where: Address, *, read_only: bool) -> None:
    """Raise `Misconfigured` for a server or a database that Milepost cannot use, `StoreUnavailable` for a standby."""
    with connection.begin():
        major, version, encoding, standby, schema, path = connection.exec_driver_sql(_SERVER).one()
    if major < OLDEST_SERVER:
        raise Misconfigured(
            f"{where.shown}: PostgreSQL {version}; {OLDEST_SERVER} is the oldest that will do"
        )
    if encoding != "UTF8":
        raise Misconfigured(
            f"{where.shown} is encoded in {encoding}, which cannot hold every name; make one by"
            " CREATE DATABASE … TEMPLATE template0 ENCODING 'UTF8'"
        )
    if schema is None:
        raise Misconfigured(
            f"{where.shown}: none of the schemas in search_path ({path}) exists; CREATE SCHEMA"
        )
    if standby and not read_only:
        raise StoreUnavailable(f"{where.shown} is a standby, which takes no writes")


def _ensure(connection: Connection, where: Address, *, migrate: bool) -> None:
    if not migrate or migrations.version(connection) == migrations.newest():
        migrations.ensure(connection, where.shown, migrate=False)
        return
    _take_lock(connection, where)
    deadline = time.monotonic() + PATIENCE_S
    with connection.begin():
        connection.exec_driver_sql(f"SET lock_timeout = {LOCK_TIMEOUT_MS}")
    pause = _FIRST_PAUSE_S
    while True:
        try:
            migrations.ensure(connection, where.shown, migrate=True)
            return
        except DBAPIError as error:
            if sqlstate(error) not in _LOCKED_OUT:
                raise
            if time.monotonic() + pause > deadline:
                raise StoreUnavailable(
                    f"{where.shown}: somebody holds a table that has to be changed; pg_stat_activity says who"
                ) from error
            log.info("migrate.locked_out", again_s=pause)
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_S)


def _take_lock(connection: Connection, where: Address) -> None:
    """Hold the lock of who migrates until the connection ends.

    Asked for again and again, not waited for: a statement that waits holds a snapshot, and whoever has the lock may
    be making an index CONCURRENTLY, which waits for every snapshot to go."""
    deadline, pause = time.monotonic() + OTHERS_PATIENCE_S, _FIRST_PAUSE_S
    while True:
        with connection.begin():
            if connection.exec_driver_sql(_TAKE).scalar_one():
                return
        if time.monotonic() + pause > deadline:
            raise StoreUnavailable(f"{where.shown} is being migrated by another process; try again later")
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_S)


def _named(error: Exception, where: Address) -> MilepostError | None:
    """What callers get when the database itself failed; None for anything else."""
    code = sqlstate(error)
    cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
    text = f"{where.shown}: {cause or type(cause).__name__}"
    lost = isinstance(error, DBAPIError) and error.connection_invalidated
    if code in _SETTINGS:
        return Misconfigured(text)
    if isinstance(error, OSError | TimeoutError) or trouble_of(error, closed=lost) is not None:
        return StoreUnavailable(text)
    if not isinstance(error, DBAPIError) and type(error).__module__.startswith("asyncpg"):
        return Misconfigured(text)  # it would not even try to connect like that
    return None
