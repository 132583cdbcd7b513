"""A PostgreSQL database as a whole: whether it is one we can use, and its schema brought up to date beside hubs.

Whoever migrates holds an advisory lock, so that hubs that start together do it once. A step waits for the lock of a
table a moment only, since everybody else's statements queue behind it meanwhile, and tries again later.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from milepost.domain.errors import MilepostError, Misconfigured, StoreUnavailable
from milepost.sql import migrations
from milepost.sql.postgresql import Address, address_of

T = TypeVar("T")
log = structlog.get_logger()

OLDEST_SERVER = 14
LOCK_TIMEOUT_MS = 200
"""How long a step may wait for a table's lock: so long may a hub's statements have to queue behind it."""
PATIENCE_S = 120.0
"""For how long a step is tried again, and another process's migration is waited for."""
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 2.0
_CONNECT_TIMEOUT_S = 10.0

_LOCKED_OUT = frozenset({"55P03", "40P01"})
"""No lock within the timeout, or a deadlock: the same step can be tried again."""
_SETTINGS = frozenset({"28000", "28P01", "3D000", "3F000", "42501"})
"""Wrong user, password, database or schema, or something that the user may not do."""
_GONE = ("08", "25006", "53", "57P", "58")
"""How the codes begin of a server that is gone, going, not there yet, full, or read-only."""

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
    where = address_of(url)

    def ensure(connection: Connection) -> None:
        _check_server(connection, where, read_only=read_only)
        _ensure(connection, where, migrate=migrate and not read_only)

    # Alembic blocks, and takes a while to load: not on the loop of whoever may be serving already.
    await asyncio.to_thread(run, where, ensure)


def run(where: Address, function: Callable[[Connection], T]) -> T:
    """Call the function with a connection of its own, no transaction begun, and block until it has returned.

    It may begin and end as many transactions as it likes. The database's own failures are named."""
    with ThreadPoolExecutor(1) as thread:  # whoever calls may have an event loop running in this one
        return thread.submit(asyncio.run, _call(where, function)).result()


async def _call(where: Address, function: Callable[[Connection], T]) -> T:
    try:
        import asyncpg
        import greenlet  # type: ignore[import-untyped]  # noqa: F401 - SQLAlchemy's way to asyncpg
        from sqlalchemy.ext.asyncio import create_async_engine
    except ImportError as e:
        raise Misconfigured(
            "PostgreSQL needs more than is installed: pip install 'milepost[postgresql]'"
        ) from e

    async def connect() -> asyncpg.Connection:
        return await asyncpg.connect(
            where.dsn, timeout=_CONNECT_TIMEOUT_S, server_settings={"application_name": "milepost migrate"}
        )

    # What a statement was given is what people sent: no error, and so no log line, may quote it.
    engine = create_async_engine(
        "postgresql+asyncpg://", async_creator=connect, poolclass=NullPool, hide_parameters=True
    )
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


def _check_server(connection: Connection, where: Address, *, read_only: bool) -> None:
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
    deadline = time.monotonic() + PATIENCE_S
    _take_lock(connection, where, deadline)
    with connection.begin():
        connection.exec_driver_sql(f"SET lock_timeout = {LOCK_TIMEOUT_MS}")
    pause = _FIRST_PAUSE_S
    while True:
        try:
            migrations.ensure(connection, where.shown, migrate=True)
            return
        except DBAPIError as error:
            if _sqlstate(error) not in _LOCKED_OUT:
                raise
            if time.monotonic() + pause > deadline:
                raise StoreUnavailable(
                    f"{where.shown}: somebody holds a table that has to be changed; pg_stat_activity says who"
                ) from error
            log.info("migrate.locked_out", again_s=pause)
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_S)


def _take_lock(connection: Connection, where: Address, deadline: float) -> None:
    """Hold the lock of who migrates until the connection ends.

    Asked for again and again, not waited for: a statement that waits holds a snapshot, and whoever has the lock may
    be making an index CONCURRENTLY, which waits for every snapshot to go."""
    pause = _FIRST_PAUSE_S
    while True:
        with connection.begin():
            if connection.exec_driver_sql(_TAKE).scalar_one():
                return
        if time.monotonic() + pause > deadline:
            raise StoreUnavailable(f"{where.shown} is being migrated by another process; try again later")
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_S)


def _sqlstate(error: BaseException) -> str:
    """PostgreSQL's code, from the driver's own error or one that was made of it; "" when there is none."""
    seen: BaseException | None = error
    while seen is not None:
        code = getattr(seen, "sqlstate", None)
        if code:
            return str(code)
        seen = seen.orig if isinstance(seen, DBAPIError) else seen.__cause__
    return ""


def _named(error: Exception, where: Address) -> MilepostError | None:
    """What callers get when the database itself failed; None for anything else."""
    code = _sqlstate(error)
    cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
    text = f"{where.shown}: {cause}"
    if code in _SETTINGS:
        return Misconfigured(text)
    lost = isinstance(error, DBAPIError) and error.connection_invalidated
    if code.startswith(_GONE) or code in _LOCKED_OUT or lost or isinstance(error, OSError | TimeoutError):
        return StoreUnavailable(text)
    if not isinstance(error, DBAPIError) and type(error).__module__.startswith("asyncpg"):
        return Misconfigured(text)  # it would not even try to connect like that
    return None
