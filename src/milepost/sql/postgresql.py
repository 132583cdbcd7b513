"""What is PostgreSQL's own: addresses, connections, and which of its failures mean what.

The driver comes with the extra `postgresql`; nothing here is imported before an address asks for it.
"""

import socket
from typing import TYPE_CHECKING, Literal

from msgspec import Struct
from sqlalchemy import URL, event, make_url
from sqlalchemy.engine.interfaces import ExceptionContext
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.pool import NullPool

from milepost.domain.errors import Misconfigured, StoreUnavailable

if TYPE_CHECKING:
    import asyncpg
    from sqlalchemy.ext.asyncio import AsyncEngine

EXAMPLE = "postgresql://milepost:password@127.0.0.1/milepost"
_SCHEMES = frozenset({"postgresql", "postgres", "postgresql+asyncpg"})


class Address(Struct, frozen=True):
    """Where a database is, as each of the two that connect to it wants to be told."""

    url: URL
    """SQLAlchemy's; its driver is asyncpg."""
    dsn: str
    """asyncpg's, with the password."""

    @property
    def shown(self) -> str:
        """For people and logs: without the password."""
        url = self.url.set(drivername="postgresql").difference_update_query(["password"])
        return url.render_as_string(hide_password=True)

    def named(self, name: str) -> "Address":
        """The same, and the server shows its connections under a name, unless the address gives one itself."""
        if "application_name" in self.url.query:
            return self
        return _address(self.url.update_query_dict({"application_name": name[:63]}))


def is_address(url: str) -> bool:
    """Whether a database URL names PostgreSQL, whatever else may be wrong with it."""
    return url.partition(":")[0] in _SCHEMES


def address_of(url: str) -> Address:
    """The address in a `postgresql://` URL (`postgres://` and `postgresql+asyncpg://` are the same; a socket's
    folder is `?host=`). Raises `Misconfigured` for anything else, and never quotes a password."""
    try:
        parsed = make_url(url)
        port_is_good = parsed.port is None or 0 < parsed.port < 65_536
    except (ArgumentError, ValueError):
        # Not quoted: what cannot be taken apart may hold a password anywhere.
        raise Misconfigured(f"this is no database URL; one looks like {EXAMPLE}") from None
    if parsed.drivername not in _SCHEMES:
        shown = parsed.render_as_string(hide_password=True)
        raise Misconfigured(f"{shown}: a PostgreSQL URL looks like {EXAMPLE}")
    address = _address(parsed.set(drivername="postgresql+asyncpg"))
    if not port_is_good:
        raise Misconfigured(f"{address.shown}: {parsed.port} is no port")
    if not parsed.database:
        raise Misconfigured(f"{address.shown}: name the database, as in {EXAMPLE}")
    return address


def _address(url: URL) -> Address:
    return Address(url, url.set(drivername="postgresql").render_as_string(hide_password=False))


CONNECT_S = 10.0
"""How long one try to connect may take, in seconds."""

_SETTINGS = {
    "jit": "off",
    "statement_timeout": "0",
    "default_transaction_isolation": "read committed",
    # A client that is gone without a word must not hold what others wait for.
    "idle_in_transaction_session_timeout": "120s",
    "client_connection_check_interval": "2s",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}
_SILENCE = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 25_000}
"""Seconds until a silent server is asked, between questions, how many; milliseconds until unanswered bytes count."""
_SET = "SELECT " + ", ".join(f"set_config('{name}', '{value}', false)" for name, value in _SETTINGS.items())
# A commit is on disk before it is answered; whoever asked for more than that (a standby's disk, too) keeps it.
_DURABLE = (
    "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
)


async def connect(address: Address, lock_timeout_ms: int = 0) -> "asyncpg.Connection":
    """A connection with the settings that a store needs. `lock_timeout_ms` 0 waits for a lock without end."""
    import asyncpg

    connection = await asyncpg.connect(
        address.dsn,
        timeout=CONNECT_S,
        statement_cache_size=512,
        max_cached_statement_lifetime=0,
    )
    try:
        _notice_silence(connection)
        await connection.execute(f"{_SET}; {_DURABLE}; SET lock_timeout = {int(lock_timeout_ms)}")
    except BaseException:
        connection.terminate()
        raise
    return connection


def _notice_silence(connection: "asyncpg.Connection") -> None:
    """A server that vanishes without a word (a machine that lost its power) is noticed in seconds: TCP alone would
    wait for a quarter of an hour, and with it everybody who waits for a commit. The driver has no setting for it."""
    used = connection._transport.get_extra_info("socket")
    if used is None or used.family not in (socket.AF_INET, socket.AF_INET6):
        return
    used.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _SILENCE.items():
        if hasattr(socket, name):
            used.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def engine_of(address: Address, lock_timeout_ms: int = 0) -> "AsyncEngine":
    """SQLAlchemy over such connections, each closed after use; it may be used on several event loops."""
    from sqlalchemy.ext.asyncio import create_async_engine

    async def creator() -> "asyncpg.Connection":
        return await connect(address, lock_timeout_ms)

    # What a statement was given is what people sent: no error, and so no log line, may quote it.
    engine = create_async_engine(
        "postgresql+asyncpg://?prepared_statement_cache_size=512",
        async_creator=creator,
        poolclass=NullPool,
        hide_parameters=True,
    )

    # PostgreSQL gives up a transaction in which one statement failed, and answers its COMMIT without complaint:
    # whoever caught the failure must not take it for committed.
    @event.listens_for(engine.sync_engine, "handle_error")
    def remember(context: ExceptionContext) -> None:
        if context.connection is not None:
            context.connection.info["failure"] = context.sqlalchemy_exception or context.original_exception

    return engine


class Trouble(Struct, frozen=True):
    """What a failure of the database itself means: what callers get, and what helps."""

    kind: Literal["lost", "again", "refused"]
    """lost: connect again, and what was under way may or may not have been committed (if it was the commit);
    again: the same can be tried at once; refused: nothing was written, and waiting a moment won't help."""
    failure: StoreUnavailable


_LOST = {
    "25006": "the database is read-only",  # after a failover, the connection is to what is a standby now
    "25P03": "the connection was idle for too long",
    "40003": "the connection was lost",
    "53300": "the database has no connection left",
    "57P01": "the database is shutting down",
    "57P02": "the database crashed",
    "57P03": "the database is starting",
    "57P04": "the database was dropped",
    "57P05": "the connection was idle for too long",
}
_AGAIN = frozenset({"40001", "40P01"})
LOCKED = "55P03"
"""A lock was not to be had in time."""
_STALE = "0A000"
"""A prepared statement of before a migration; also of what is not supported at all."""
_REFUSED = {
    "53100": "the disk is full",
    "53200": "the database is out of memory",
    "53400": "a limit of the database is reached",
    LOCKED: "the database is locked by another process",
    "57014": "the statement was cancelled",
    "58030": "the disk failed",
    "42501": "the database user may not do this",
    "XX001": "the database is damaged",
    "XX002": "the database is damaged",
}


def trouble_of(error: BaseException, *, closed: bool = False) -> Trouble | None:
    """What a failure means; None when it is not the database's. `closed`: the connection is closed since."""
    if isinstance(error, StoreUnavailable):
        return Trouble("lost", error)
    code = sqlstate(error)
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    if code in _AGAIN:
        return Trouble("again", _failure("transactions are in each other's way", cause))
    if code == _STALE and "cached" in str(cause):
        return Trouble("lost", _failure("the schema was changed", cause))
    if code in _REFUSED:
        return Trouble("refused", _failure(_REFUSED[code], cause))
    if code in _LOST or code.startswith("08"):
        return Trouble("lost", _failure(_LOST.get(code, "the connection was lost"), cause))
    driver = isinstance(error, DBAPIError | OSError) or type(error).__module__.startswith("asyncpg")
    if driver and closed:
        return Trouble("lost", _failure("the connection was lost", cause))
    return None


def unreachable(error: BaseException) -> StoreUnavailable:
    """What callers get when no connection could be made, for whatever reason."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    return _failure("the database cannot be reached", cause)


def sqlstate(error: BaseException) -> str:
    """PostgreSQL's code, from the driver's own error or one that was made of it; "" when there is none."""
    seen: BaseException | None = error
    while seen is not None:
        code = getattr(seen, "sqlstate", None)
        if code:
            return str(code)
        seen = seen.orig if isinstance(seen, DBAPIError) else seen.__cause__
    return ""


def _failure(what: str, cause: BaseException) -> StoreUnavailable:
    # The server's own words are for the log alone: they name hosts and users, and callers are shown the rest.
    failure = StoreUnavailable(f"{what}: nothing was written")
    failure.__cause__ = cause
    return failure
