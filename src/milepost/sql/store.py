"""The store as an object over one SQLite file: appends and writes through `writer`, reads on a pool beside it."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection

from milepost.domain.errors import StoreUnavailable
from milepost.sql.append import row_of
from milepost.sql.batch import AppendCall
from milepost.sql.last_position import LastPosition
from milepost.sql.lock import Lock
from milepost.sql.secrets import Secrets
from milepost.sql.sqlite import (
    BUSY_TIMEOUT,
    insert_new,
    insert_records,
    read_engine,
    storage_failure,
    write_engine,
)
from milepost.sql.transaction import SqlTransaction
from milepost.sql.writer import CompactCall, WriteCall, Writer
from milepost.store import Arrival, Receipt, Transaction

T = TypeVar("T")

READERS = 4


class SqliteStore:
    """`milepost.store.Store`. Belongs to the event loop it was made on. `lock` None opens it for reading only."""

    def __init__(
        self, path: Path, lock: Lock | None, secrets: Secrets, busy_timeout: int = BUSY_TIMEOUT
    ) -> None:
        self.path = path
        self._lock = lock
        self._secrets = secrets
        self._loop = asyncio.get_running_loop()
        self._readers = read_engine(path, beside_writer=lock is not None, busy_timeout=busy_timeout)
        self._local = threading.local()
        self._connections: list[Connection] = []
        self._pool = ThreadPoolExecutor(READERS, thread_name_prefix="milepost-reader")
        self._closed = False
        self._last = LastPosition(self._loop)
        self._writer: Writer | None = None
        if lock is not None:
            engine = write_engine(path, busy_timeout)
            self._writer = Writer(
                path, engine, insert_new, insert_records, secrets, self._loop, self._last.reached
            )

    async def append(self, arrivals: Sequence[Arrival]) -> list[Receipt]:
        """Journal arrivals durably, each once, and count every duplicate. Returns after the commit."""
        writer = self._writing()
        if not arrivals:
            return []
        future: asyncio.Future[list[Receipt]] = self._loop.create_future()
        writer.put(AppendCall(arrivals, [row_of(arrival) for arrival in arrivals], future))
        return await future

    async def write(self, function: Callable[[Transaction], T]) -> T:
        """Run `function` in a write transaction of its own and commit it."""
        writer = self._writing()
        future: asyncio.Future[T] = self._loop.create_future()
        writer.put(WriteCall(function, future))
        return await future

    async def read(self, function: Callable[[Transaction], T]) -> T:
        """Run `function` on one consistent state of the database, beside the writer."""
        if self._closed:
            raise StoreUnavailable("the store is closed")
        return await self._loop.run_in_executor(self._pool, self._read, function)

    async def changed(self, position: int, timeout: float) -> int:
        """Wait until the last position is above `position`, or `timeout` seconds; the last position known."""
        return await self._last.wait(position, timeout)

    async def size(self) -> int:
        """Bytes of the file: `compact` copies them while nobody can write."""
        return await asyncio.to_thread(lambda: self.path.stat().st_size)

    async def compact(self, again: bool = False) -> bool:
        """Write the file anew, then cut the log to nothing; `again` the log alone. False while readers need it."""
        writer = self._writing()
        future: asyncio.Future[bool] = self._loop.create_future()
        writer.put(CompactCall(again, future))
        return await future

    async def close(self) -> None:
        """Finish what was accepted, commit, release the lock. Again is harmless."""
        if self._closed:
            return
        self._closed = True
        self._last.close()
        await self._loop.run_in_executor(None, self._shut)

    async def start(self) -> None:
        """Learn the journal's last position: `changed` starts from it. Whoever had a lease when this process got
        the lock is gone, so that nobody need wait for it to run out."""
        self._last.reached(await self.read(lambda tx: tx.journal.last_position()))
        if self._writer is not None:
            left = [lease for lease in await self.read(lambda tx: tx.leases.all()) if lease.owner]
            if left:

                def free(tx: Transaction) -> None:
                    for lease in left:
                        tx.leases.give_up(lease.name, lease.owner)

                await self.write(free)

    def _writing(self) -> Writer:
        if self._closed:
            raise StoreUnavailable("the store is closed")
        if self._writer is None:
            raise StoreUnavailable("the store was opened for reading only")
        return self._writer

    def _read(self, function: Callable[[Transaction], T]) -> T:
        try:
            connection: Connection | None = getattr(self._local, "connection", None)
            if connection is None:
                connection = self._readers.connect()
                self._local.connection = connection
                self._connections.append(connection)
            with connection.begin():
                return function(SqlTransaction(connection, insert_records, self._secrets))
        except Exception as error:
            judged = storage_failure(error)
            if judged is None:
                raise
            failure, reopen = judged
            if reopen:
                self._drop_reader()
            raise failure from error

    def _drop_reader(self) -> None:
        connection: Connection | None = getattr(self._local, "connection", None)
        if connection is not None:
            self._local.connection = None
            self._connections.remove(connection)
            connection.close()

    def _shut(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._pool.shutdown(wait=True)
        for connection in self._connections:
            connection.close()
        self._readers.dispose()
        if self._lock is not None:
            self._lock.release()
