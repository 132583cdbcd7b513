"""The one thread that writes: it takes everything that is queued, commits it, and answers after the commit.

Appends that queued up while the last commit ran share one transaction (natural batches, no timer); between two
batches one write function runs in a transaction of its own, so that neither starves the other. Answers reach
the event loop by one call a commit. A caller that went away, or one whose rows are bad, stalls nobody. After a
failure the next batch tries afresh, on a new connection where the old one may be broken.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import Connection, Engine

from milepost.domain.errors import StoreUnavailable
from milepost.sql.append import Appended, InsertNew, InsertRecords, Row, append, count
from milepost.sql.batch import THOROUGH_BATCHES, AppendCall, divided, joined, next_batch, own
from milepost.sql.secrets import Secrets
from milepost.sql.sqlite import WAL_LIMIT, compact, storage_failure
from milepost.sql.transaction import SqlTransaction
from milepost.store import Arrival, Receipt

log = structlog.get_logger()

Answer = tuple["asyncio.Future[Any]", Any, BaseException | None]


class WriteCall:
    """One function of `Store.write`."""

    __slots__ = ("function", "future")

    def __init__(self, function: Callable[[SqlTransaction], Any], future: "asyncio.Future[Any]") -> None:
        self.function = function
        self.future = future


class CompactCall:
    """A `Store.compact`."""

    __slots__ = ("again", "future")

    def __init__(self, again: bool, future: "asyncio.Future[bool]") -> None:
        self.again = again
        self.future = future


class Writer:
    """Owns the write connection. `on_commit(last position)` is called on the event loop after records were added."""

    def __init__(
        self,
        path: Path,
        engine: Engine,
        insert_new: InsertNew,
        insert: InsertRecords,
        secrets: Secrets,
        loop: asyncio.AbstractEventLoop,
        on_commit: Callable[[int], None],
    ) -> None:
        self._path = path
        self._wal = path.with_name(path.name + "-wal")
        self._engine = engine
        self._insert_new = insert_new
        self._insert = insert
        self._secrets = secrets
        self._repeats = 0
        """Batches still to be taken the thorough way, since one of late held duplicates."""
        self._loop = loop
        self._on_commit = on_commit
        self._connection: Connection | None = None
        self._inode = path.stat().st_ino
        self._wal_limit = WAL_LIMIT
        self._failing = False
        self._appends: deque[AppendCall] = deque()
        self._writes: deque[WriteCall | CompactCall] = deque()
        self._closing = False
        self._idle = False
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="milepost-writer", daemon=True)
        self._thread.start()

    def put(self, call: AppendCall | WriteCall | CompactCall) -> None:
        """Queue a call; its future is answered on the event loop."""
        if isinstance(call, AppendCall):
            self._appends.append(call)
        else:
            self._writes.append(call)
        if self._idle:
            self._wake.set()

    def close(self) -> None:
        """Finish everything queued, then end. Blocks."""
        self._closing = True
        self._wake.set()
        self._thread.join()

    def _run(self) -> None:
        while self._wait():
            if self._appends:
                self._append(next_batch(self._appends))
            if self._writes:
                call = self._writes.popleft()
                self._compact(call) if isinstance(call, CompactCall) else self._write(call)
        self._disconnect()
        self._engine.dispose()

    def _wait(self) -> bool:
        """Until there is something to do; False when closing and nothing is left."""
        # A call is queued before `_idle` is read, and `_idle` is set before the queues are: one of the two sees
        # the other, so that no call waits while this thread sleeps.
        self._idle = True
        while not self._appends and not self._writes:
            if self._closing:
                return False
            self._wake.wait()
            self._wake.clear()
        self._idle = False
        return True

    def _append(self, calls: list[AppendCall]) -> None:
        """Commit these calls together; when one of them is at fault, each alone."""
        arrivals, rows = joined(calls)
        try:
            appended = self._append_new(rows) or self._append_any(arrivals, rows)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the callers', never the thread's end
            failure = self._failed(error)
            if failure is None and len(calls) > 1:
                for call in calls:
                    self._append([call])
                return
            self._answer([(call.future, None, own(failure) if failure else error) for call in calls], 0)
            return
        self._committed()
        answers: list[Answer] = [(c.future, part, None) for c, part in divided(calls, appended.receipts)]
        self._answer(answers, appended.last)

    def _append_new(self, rows: Sequence[Row]) -> Appended | None:
        """All of them in one statement, which costs one hand-over of the interpreter instead of six; None when
        that is not possible, or not promising."""
        if self._repeats:
            self._repeats -= 1
            return None
        first = self._insert_new(self._connected(), rows)
        if first is None:
            self._repeats = THOROUGH_BATCHES
            return None
        receipts = [Receipt("accepted", position) for position in range(first, first + len(rows))]
        return Appended(receipts, receipts[-1].position)

    def _append_any(self, arrivals: Sequence[Arrival], rows: Sequence[Row]) -> Appended:
        """New ones, duplicates and conflicts."""
        with self._connected().begin() as transaction:
            appended = append(transaction.connection, arrivals, rows, self._insert)
            count(transaction.connection, appended.counted)
            return appended

    def _write(self, call: WriteCall) -> None:
        if call.future.cancelled():
            return
        try:
            with self._connected().begin() as transaction:
                work = SqlTransaction(transaction.connection, self._insert, self._secrets)
                result = call.function(work)
                work.finish()
                last = work.journal.added
        except BaseException as error:  # noqa: BLE001 - its caller's, never the thread's end
            self._answer([(call.future, None, self._failed(error) or error)], 0)
            return
        self._committed()
        self._answer([(call.future, result, None)], last)

    def _compact(self, call: CompactCall) -> None:
        if call.future.cancelled():
            return
        try:
            done = compact(self._connected(), again=call.again)
        except BaseException as error:  # noqa: BLE001 - its caller's, never the thread's end
            self._answer([(call.future, None, self._failed(error) or error)], 0)
            return
        self._committed()
        self._answer([(call.future, done, None)], 0)

    def _answer(self, answers: list[Answer], last: int) -> None:
        with suppress(RuntimeError):  # the event loop is gone, and with it everybody who waited
            self._loop.call_soon_threadsafe(self._deliver, answers, last)

    def _deliver(self, answers: list[Answer], last: int) -> None:
        for future, result, error in answers:
            if future.done():
                continue
            if error is None:
                future.set_result(result)
            elif isinstance(error, StopIteration):
                future.set_exception(RuntimeError("a write function raised StopIteration"))
            else:
                future.set_exception(error)
        if last:
            self._on_commit(last)

    def _connected(self) -> Connection:
        """The write connection, opened when there is none. Raises `StoreUnavailable` when its file is gone."""
        try:
            inode = self._path.stat().st_ino
        except OSError as e:
            raise StoreUnavailable(f"{self._path} is gone: {e.strerror}") from e
        if inode != self._inode:
            # What SQLite holds open is a file without a name: a commit to it would be lost with the process.
            raise StoreUnavailable(f"{self._path} was replaced by another file; restart the hub")
        if self._connection is None:
            self._connection = self._engine.connect()
        return self._connection

    def _failed(self, error: BaseException) -> StoreUnavailable | None:
        """What the database's own failure means for callers (None: it is not the database's), and mend it."""
        judged = storage_failure(error)
        if (judged is not None and judged[1]) or self._left_open():
            self._disconnect()
        if judged is None:
            return None
        if not self._failing:
            self._failing = True
            log.error("store.unavailable", reason=judged[0].detail)
        return judged[0]

    def _left_open(self) -> bool:
        """Whether even the rollback failed: the next batch must not become part of this one."""
        if self._connection is None:
            return False
        driver = self._connection.connection.dbapi_connection
        return self._connection.in_transaction() or driver is None or bool(driver.in_transaction)

    def _committed(self) -> None:
        if self._failing:
            self._failing = False
            log.info("store.recovered")
        with suppress(OSError):
            size = self._wal.stat().st_size
            if size > self._wal_limit:
                self._shorten_log(size)

    def _shorten_log(self, size: int) -> None:
        """Long reads kept the log from starting over: wait a moment for them, at this size and each quarter on."""
        assert self._connection is not None
        cursor = self._connection.connection.cursor()
        try:
            (wait,) = cursor.execute("PRAGMA busy_timeout").fetchone()
            cursor.execute("PRAGMA busy_timeout = 50").fetchall()
            (busy, *_) = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            cursor.execute(f"PRAGMA busy_timeout = {int(wait)}").fetchall()
        except Exception as error:  # noqa: BLE001 - the commit stands whatever becomes of the log's length
            log.warning("store.checkpoint", error=str(error))
            busy = 1
        finally:
            cursor.close()
        self._wal_limit = size + WAL_LIMIT // 4 if busy else WAL_LIMIT

    def _disconnect(self) -> None:
        if self._connection is not None:
            try:
                self._connection.close()
            except Exception as error:  # noqa: BLE001 - a broken connection may not even close
                log.warning("store.disconnect", error=str(error))
            self._connection = None
