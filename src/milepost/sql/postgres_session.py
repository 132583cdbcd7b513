"""A connection to PostgreSQL that is opened when it is needed and anew after it was lost; and committing over it
exactly once, wherever it is lost.

A session belongs to one event loop. It runs the functions of the parts (`journal`, `views` …), which know nothing of
event loops, by SQLAlchemy's way from a sync function to an async driver.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

import structlog
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from milepost.domain.errors import StoreUnavailable
from milepost.sql.postgresql import LOCKED, Trouble, sqlstate, trouble_of, unreachable

if TYPE_CHECKING:
    import asyncpg

T = TypeVar("T")
log = structlog.get_logger()

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.02, 0.5
"""Between two tries to reach the database."""
_CLOSE_S = 2.0

_REGISTER = (
    "INSERT INTO writers (id, commits, since) VALUES ($1, 0, extract(epoch FROM now()) * 1000)"
    " ON CONFLICT (id) DO UPDATE SET commits = writers.commits + 1, since = excluded.since RETURNING commits"
)
# By their last commit: a day is longer than any is in doubt. A writer whose row is gone makes another.
_TIDY = (
    "DELETE FROM writers WHERE id IN (SELECT id FROM writers"
    " WHERE since < (extract(epoch FROM now()) - 86400) * 1000 FOR UPDATE SKIP LOCKED)"
)
# A hub that is paused in the middle of a write keeps all others from writing, and from taking its leases: so long.
_IDLE = "SET idle_in_transaction_session_timeout = '3s'"
# Between two messages of one command the server does not call a transaction idle, so it ends none that was left
# there; whoever waits for such a one does it.
_END_SILENT = (
    "SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM pg_stat_activity"
    " WHERE datname = current_database() AND usename = current_user AND application_name LIKE 'milepost%'"
    " AND pid <> pg_backend_pid() AND backend_xid IS NOT NULL"
    " AND wait_event = 'ClientRead' AND state_change < clock_timestamp() - interval '3 s'"
)
# $2 is the count before what is in doubt: two more means that it did not happen, three that it did. Its answer may be
# lost like any other; asked again it is the same.
_SETTLE = (
    "UPDATE writers SET commits = CASE WHEN commits <= $2 + 1 THEN commits + 2 ELSE commits END"
    " WHERE id = $1 RETURNING commits"
)
MOVE = "UPDATE writers SET commits = commits + 1, since = extract(epoch FROM now()) * 1000"
"""Counts a commit of the writer it is told of."""
_MARK = f"{MOVE} WHERE id = $1 AND commits = $2"
_MARK_ALONE = (
    "WITH alone AS MATERIALIZED"  # noqa: S608 - a statement of ours
    " (SELECT pg_advisory_xact_lock(hashtext('milepost write'), hashtext(current_schema())))"
    f" {MOVE} FROM alone WHERE id = $1 AND commits = $2"
)


class Patience:
    """Growing pauses until a time is over."""

    def __init__(self, seconds: float) -> None:
        self._until = asyncio.get_running_loop().time() + seconds
        self._pause = FIRST_PAUSE_S

    async def pause(self) -> bool:
        """Wait a little; False, without waiting, when the time is over."""
        left = self._until - asyncio.get_running_loop().time()
        if left <= 0:
            return False
        await asyncio.sleep(min(self._pause, left))
        self._pause = min(2 * self._pause, LONGEST_PAUSE_S)
        return True


class Session:
    """One connection for reading: each function on one state of the database, and unable to write."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._connection: AsyncConnection | None = None
        self.failing = False
        """The last that was asked of the database was refused."""
        self.driver: asyncpg.Connection = None
        """The driver's own connection, while there is one."""

    async def ready(self) -> bool:
        """See to it that there is a connection; whether what was in doubt had been committed."""
        if self._connection is not None and self.driver.is_closed():
            await self.drop()
        if self._connection is None:
            await self._open()
        return False

    async def run(self, function: Callable[[Connection], T]) -> T:
        """Call a sync function with the connection. It begins and ends its own transaction."""
        assert self._connection is not None
        return await self._connection.run_sync(function)

    async def failed(self, error: BaseException) -> Trouble | None:
        """What a failure means (None: it is not the database's); a broken connection is given up."""
        closed = self._connection is None or self.driver.is_closed()
        trouble = trouble_of(error, closed=closed)
        if (trouble is not None and trouble.kind == "lost") or closed or self._left_open():
            await self.drop()
        return trouble

    async def drop(self) -> None:
        """Give the connection up without a word to the server. Never raises."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                if self.driver is not None:
                    self.driver.terminate()
                await connection.invalidate()
                await connection.close()
            except Exception as error:  # noqa: BLE001 - a broken connection may not even close
                log.warning("store.disconnect", error=str(error))
            self.driver = None

    async def close(self) -> None:
        """Take leave of the server. Never raises; a server that does not answer is not waited for."""
        if self._connection is None:
            return
        if not self.driver.is_closed():
            try:
                await self.driver.close(timeout=_CLOSE_S)
            except Exception as error:  # noqa: BLE001 - same
                log.warning("store.disconnect", error=str(error))
        await self.drop()

    async def _open(self) -> None:
        connection: Any = self._engine.connect()
        try:
            self._connection = await connection
            self.driver = (await self._connection.get_raw_connection()).driver_connection
            await self._set_up(self._connection)
        except Exception as error:
            await self.drop()
            raise unreachable(error) from error

    async def _set_up(self, connection: AsyncConnection) -> None:
        await connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)

    def _left_open(self) -> bool:
        """Whether even the rollback failed: what comes next must not become part of this one."""
        return bool(self.driver.is_in_transaction())


class WritingSession(Session):
    """One connection that commits. Where it is lost in the middle of a commit, what became of that is found out
    before anything else is done: each commit moves this writer's count, which only this writer moves."""

    def __init__(self, engine: AsyncEngine, id: str) -> None:
        super().__init__(engine)
        self.id = id
        self.commits: int | None = None
        """As the database has it; None while there is no row."""
        self.in_doubt = False
        """A commit was asked for and has not been answered."""
        self._settling = False
        """It is being asked what became of that."""

    async def ready(self) -> bool:
        await super().ready()
        if self.commits is None:
            self.commits = await self.driver.fetchval(_REGISTER, self.id)
            self.in_doubt = False
        if not self.in_doubt:
            return False
        # This waits for the transaction that is in doubt, if it still runs, and keeps it from being committed if it
        # has not begun yet: it would find another count than it expects.
        self._settling = True
        found: int | None = await self.driver.fetchval(_SETTLE, self.id, self.commits)
        self._settling = False
        happened = found == self.commits + 3
        log.warning("store.settled", committed=happened)
        self.commits, self.in_doubt = found, False
        return happened

    async def failed(self, error: BaseException) -> Trouble | None:
        trouble = await super().failed(error)
        if self._settling:
            # What failed is the question, not what it is about: that is as much in doubt as before.
            self._settling = False
            log.warning("store.not_settled", error=sqlstate(error) or type(error).__name__)
        elif self._connection is not None or sqlstate(error) == "25006":
            self.in_doubt = False  # it answered: no
        if self._connection is not None and sqlstate(error) == LOCKED:
            await self._end_silent()
        return trouble

    async def _end_silent(self) -> None:
        """End the connections of hubs that are in the middle of a write and have said nothing for three seconds."""
        try:
            ended = await self.driver.fetchval(_END_SILENT)
        except Exception as error:  # noqa: BLE001 - the next that waits tries again
            log.warning("store.silent_writers_not_ended", error=str(error))
        else:
            if ended:
                log.warning("store.silent_writers_ended", connections=ended)

    def mark(self, connection: Connection, *, alone: bool) -> None:
        """Count the commit that ends this transaction; `alone` waits until no other write function runs."""
        statement = _MARK_ALONE if alone else _MARK
        if connection.exec_driver_sql(statement, (self.id, self.commits)).rowcount != 1:
            raise self.forgotten()

    def forgotten(self) -> StoreUnavailable:
        """The count in the database is not the one expected: begin another. Nothing was written."""
        self.commits = None
        return StoreUnavailable("the database forgot this writer: nothing was written")

    def committing(self) -> None:
        """What is sent next is the commit."""
        self.in_doubt = True

    def committed(self) -> None:
        """It was answered."""
        assert self.commits is not None
        self.commits += 1
        self.in_doubt = False

    async def _set_up(self, connection: AsyncConnection) -> None:
        await self.driver.execute(_IDLE)
        if self.commits is None:
            await self.driver.execute(_TIDY)


async def persist(
    session: Session,
    attempt: Callable[[], Awaitable[T]],
    recall: Callable[[], Awaitable[T]],
    patience_s: float,
) -> T:
    """Do it once, however often the connection is lost: `attempt` is repeated while it did not happen, `recall`
    gives the result of one that did although the answer was lost.

    Raises `StoreUnavailable` when that takes longer than `patience_s`, or the database refuses. Where the last one
    was refused nobody waits: what queued up meanwhile is told at once."""
    patience = Patience(0 if session.failing else patience_s)
    tried = happened = False
    while True:
        try:
            settled = await session.ready()
            happened = happened or (tried and settled)
            tried = True
            result = await (recall() if happened else attempt())
        except Exception as error:
            trouble = await session.failed(error)
            if trouble is None:
                raise
            if trouble.kind == "refused" or not await patience.pause():
                _refused(session, trouble.failure)
                raise trouble.failure from error
        else:
            if session.failing:
                session.failing = False
                log.info("store.recovered")
            return result


def _refused(session: Session, failure: StoreUnavailable) -> None:
    """Said once, not for every caller."""
    if not session.failing:
        session.failing = True
        cause = failure.__cause__
        said = None if cause is None else str(cause) or type(cause).__name__
        log.error("store.unavailable", reason=failure.detail, cause=said)
