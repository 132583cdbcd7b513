"""The store as an object over one PostgreSQL database, which other hubs may have open too.

Appends run on the event loop of those who wait for them; write functions in one thread, read functions in a few.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar
from uuid import uuid4

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from milepost.domain.errors import StoreUnavailable
from milepost.domain.instant import Instant
from milepost.sql import schema
from milepost.sql.append import row_of
from milepost.sql.batch import AppendCall
from milepost.sql.last_position import LastPosition
from milepost.sql.postgres_append import Appender
from milepost.sql.postgres_database import prepare
from milepost.sql.postgres_listening import Listener
from milepost.sql.postgres_session import Session, WritingSession
from milepost.sql.postgres_worker import ReadWorker, WriteWorker
from milepost.sql.postgresql import Address, address_of, connect, engine_of, trouble_of
from milepost.sql.sealed_rows import Standing, reseal, standing
from milepost.sql.secrets import SETTING, Key, Secrets
from milepost.sql.transaction import SqlTransaction
from milepost.store import Arrival, Receipt, Transaction

T = TypeVar("T")
log = structlog.get_logger()

READERS = 4

LOOK_AROUND_MS = 2_000
"""How long a write function waits for its turn until it looks whether a hub that hung has it."""


async def open_postgres(
    url: str,
    *,
    clock: Callable[[], Instant],
    owner: str,
    migrate: bool,
    read_only: bool,
    patience_ms: int,
    keys: Sequence[Key] | None = (),
) -> "PostgresStore":
    """Open the database of `url`, creating and migrating its schema unless told not to.

    `owner` is what the server shows the connections as. `clock` is not needed: what has a time here has the server's.
    `patience_ms` is how long a call waits for a database that is away, and for another process's lock; without `keys`
    (None) secrets stay sealed, and nothing is looked at. Raises
    `Misconfigured` for an address or a schema that cannot be used, `StoreUnavailable` when there is no server."""
    address = address_of(url)
    await prepare(url, migrate=migrate, read_only=read_only)
    secrets = Secrets(keys or ())
    store = PostgresStore(address.named(owner), secrets, read_only=read_only, patience_ms=patience_ms)
    try:
        await store.start()
        if keys is not None and not read_only:
            await _seal_clear(store, secrets)
    except BaseException:
        await store.close()
        raise
    return store


async def _seal_clear(store: "PostgresStore", secrets: Secrets) -> None:
    """Seal what lies in clear, where there is a key. Raises `Misconfigured` when one is missing."""

    def look(tx: Transaction) -> Standing:
        assert isinstance(tx, SqlTransaction)
        return standing(tx.connection, secrets)

    def seal(tx: Transaction) -> int:
        assert isinstance(tx, SqlTransaction)
        return reseal(tx.connection, secrets, only_clear=True)

    found = await store.read(look)
    found.check(secrets)
    if found.clear and secrets.can_seal:
        log.info("store.secrets_sealed", rows=await store.write(seal))
    elif found.exposed:
        log.warning("store.secrets_in_clear", rows=found.exposed, hint=f"set {SETTING}")


class PostgresStore:
    """`milepost.store.Store`. Belongs to the event loop it was made on."""

    def __init__(self, address: Address, secrets: Secrets, *, read_only: bool, patience_ms: int) -> None:
        self.address = address
        self._secrets = secrets
        self._loop = asyncio.get_running_loop()
        self._patience_s = patience_ms / 1000
        # Appends wait for a lock no longer than for anything else; write functions take their turn.
        self._appending: AsyncEngine = engine_of(address, max(1, patience_ms))
        self._writing: AsyncEngine = engine_of(address, LOOK_AROUND_MS)
        self._engine: AsyncEngine = engine_of(address)
        self._last = LastPosition(self._loop)
        self._local = threading.local()
        self._readers: list[ReadWorker] = []
        self._pool = ThreadPoolExecutor(READERS, thread_name_prefix="milepost-reader")
        self._closed = False
        self._appender: Appender | None = None
        self._listener: Listener | None = None
        self._turns = ThreadPoolExecutor(1, thread_name_prefix="milepost-writer")
        self._writer: WriteWorker | None = None
        if not read_only:
            name = uuid4().hex
            session = WritingSession(self._appending, f"{name}/append")
            self._appender = Appender(session, self._patience_s, self._committed)
            self._writer = WriteWorker(
                WritingSession(self._writing, f"{name}/write"), secrets, self._patience_s
            )

    async def append(self, arrivals: Sequence[Arrival]) -> list[Receipt]:
        """Journal arrivals durably, each once, and count every duplicate. Returns after the commit."""
        if self._closed or self._appender is None:
            raise self._refused()
        if not arrivals:
            return []
        future: asyncio.Future[list[Receipt]] = self._loop.create_future()
        self._appender.put(AppendCall(arrivals, [row_of(arrival) for arrival in arrivals], future))
        return await future

    async def write(self, function: Callable[[Transaction], T]) -> T:
        """Run `function` in a write transaction of its own and commit it."""
        if self._closed or self._writer is None:
            raise self._refused()
        return await self._loop.run_in_executor(self._turns, self._write, self._writer, function)

    async def read(self, function: Callable[[Transaction], T]) -> T:
        """Run `function` on one consistent state of the database, beside the writer."""
        if self._closed:
            raise self._refused()
        return await self._loop.run_in_executor(self._pool, self._read, function)

    async def changed(self, position: int, timeout: float) -> int:
        """Wait until the last position is above `position`, or `timeout` seconds; the last position known."""
        return await self._last.wait(position, timeout)

    async def size(self) -> int:
        """0: nobody has to wait while the server vacuums."""
        return 0

    async def compact(self, again: bool = False) -> bool:
        """VACUUM of every table that held what was replaced. What of it the server's own files still hold is the
        operator's to see to (docs/erasure.md)."""
        if self._closed or self._writer is None:
            raise self._refused()
        try:
            connection = await connect(self.address)
            try:
                await connection.execute(f"VACUUM {', '.join(sorted(schema.metadata.tables))}")
            finally:
                await connection.close()
        except Exception as error:
            trouble = trouble_of(error)
            if trouble is None:
                raise
            raise trouble.failure from error
        return True

    async def close(self) -> None:
        """Finish what was accepted, commit, end the connections. Again is harmless."""
        if self._closed:
            return
        self._closed = True
        self._last.close()
        if self._appender is not None:
            await self._appender.close()
        await self._loop.run_in_executor(None, self._shut)
        if self._listener is not None:
            await self._listener.close()
        await self._appending.dispose()
        await self._writing.dispose()
        await self._engine.dispose()

    async def start(self) -> None:
        """Learn the journal's last position: `changed` starts from it."""
        self._last.reached(await self.read(lambda tx: tx.journal.last_position()))
        if self._appender is not None:
            self._listener = Listener(self.address, self._last)

    def _refused(self) -> StoreUnavailable:
        if self._closed:
            return StoreUnavailable("the store is closed")
        return StoreUnavailable("the store was opened for reading only")

    def _committed(self, last: int) -> None:
        self._last.reached(last)
        if self._listener is not None:
            self._listener.say()

    def _write(self, writer: WriteWorker, function: Callable[[Transaction], T]) -> T:
        result, last = writer.write(function)
        if last:
            # From here: whoever asked for the write may be gone, and what it journalled is there all the same.
            with suppress(RuntimeError):  # the event loop is gone, and with it everybody who waited
                self._loop.call_soon_threadsafe(self._committed, last)
        return result

    def _read(self, function: Callable[[Transaction], T]) -> T:
        reader: ReadWorker | None = getattr(self._local, "reader", None)
        if reader is None:
            reader = ReadWorker(Session(self._engine), self._secrets, self._patience_s)
            self._local.reader = reader
            self._readers.append(reader)
        return reader.read(function)

    def _shut(self) -> None:
        self._turns.shutdown(wait=True)
        self._pool.shutdown(wait=True)
        for reader in self._readers:
            reader.close()
        if self._writer is not None:
            self._writer.close()
