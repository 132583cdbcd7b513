"""A thread with an event loop and a session of its own: write and read functions run here, one after the other.

So a fold that computes for long stalls nobody's acknowledgement. `Store`'s functions are sync; each statement of
theirs is awaited on this thread's loop, below them.
"""

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import uvloop
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from milepost.sql.postgres_append import insert_records
from milepost.sql.postgres_session import Session, WritingSession, persist
from milepost.sql.postgresql import LOCKED, sqlstate
from milepost.sql.secrets import Secrets
from milepost.sql.transaction import SqlTransaction
from milepost.store import Transaction

T = TypeVar("T")


class _Worker:
    """An event loop that runs while there is something to do, in whichever thread asks."""

    def __init__(self, patience_s: float) -> None:
        self._loop = uvloop.new_event_loop()
        self._patience_s = patience_s

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self._loop.run_until_complete(coroutine)

    def _end(self, session: Session) -> None:
        self._run(session.close())
        self._loop.close()


class ReadWorker(_Worker):
    """Runs read functions."""

    def __init__(self, session: Session, secrets: Secrets, patience_s: float) -> None:
        super().__init__(patience_s)
        self._session = session
        self._secrets = secrets

    def read(self, function: Callable[[Transaction], T]) -> T:
        """Call the function with one state of the database; again, if the connection was lost meanwhile."""

        def look(connection: Connection) -> T:
            with connection.begin():
                return function(SqlTransaction(connection, insert_records, self._secrets))

        async def attempt() -> T:
            return await self._session.run(look)

        return self._run(persist(self._session, attempt, attempt, self._patience_s))

    def close(self) -> None:
        """End the connection and the loop."""
        self._end(self._session)


class WriteWorker(_Worker):
    """Runs write functions: of all hubs on the database, one at a time."""

    def __init__(self, session: WritingSession, secrets: Secrets, patience_s: float) -> None:
        super().__init__(patience_s)
        self._session = session
        self._secrets = secrets
        self._kept: Any = None
        """What came of the function whose commit may not have been answered."""

    def write(self, function: Callable[[Transaction], T]) -> tuple[T, int]:
        """Call the function in a transaction and commit it: its result, and the last position it journalled at (0:
        none). It may be called again, but is committed once."""

        async def attempt() -> tuple[T, int]:
            while True:
                try:
                    return await self._session.run(lambda connection: self._transact(connection, function))
                except DBAPIError as error:
                    if sqlstate(error) != LOCKED:
                        raise
                    # Its turn has not come. Others take as long as they need; those that hung are ended.
                    await self._session.failed(error)
                    await self._session.ready()

        async def recall() -> tuple[T, int]:
            kept: tuple[T, int] = self._kept
            return kept

        try:
            return self._run(persist(self._session, attempt, recall, self._patience_s))
        finally:
            self._kept = None

    def close(self) -> None:
        """End the connection and the loop."""
        self._end(self._session)

    def _transact(self, connection: Connection, function: Callable[[Transaction], T]) -> tuple[T, int]:
        connection.info.pop("failure", None)
        with connection.begin():
            self._session.mark(connection, alone=True)
            work = SqlTransaction(connection, insert_records, self._secrets)
            result = function(work)
            failure: BaseException | None = connection.info.get("failure")
            if failure is not None:
                raise failure
            work.finish()
            self._kept = (result, work.journal.added)
            self._session.committing()
        self._session.committed()
        return result, work.journal.added
