"""Appending on PostgreSQL: what queued up while the last batch was committed is the next, by one statement.

Runs on the event loop of those who wait, over the bare driver: nothing is handed to another thread. Positions come
from the one row of `journal_end`, which is held until the commit, so that they have no gaps and become visible in
their order, whichever hub gives them. A batch with something that is there already goes the thorough way, by the
rule in `append`.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection

from milepost.domain.errors import StoreUnavailable
from milepost.sql.append import Appended, Row, append, count
from milepost.sql.batch import THOROUGH_BATCHES, AppendCall, divided, joined, next_batch, own
from milepost.sql.postgres_session import MOVE, WritingSession, persist
from milepost.sql.postgresql import sqlstate
from milepost.store import Arrival, Receipt

_QUICK = f"""
WITH mark AS (
  {MOVE} WHERE id = $1 AND commits = $2 RETURNING id
), place AS (
  UPDATE journal_end SET position = position + $3 FROM mark WHERE journal_end.id = 1
  RETURNING position - $3 AS base
), kept AS (
  INSERT INTO records (position, kind, business_product_id, type, received_at, published_at, road, flags, body,
                       key_hash, event_hash)
  SELECT place.base + given.n, 'event', a, b, c, d, e, f, g, h, i
  FROM place, unnest($4::text[], $5::text[], $6::bigint[], $7::bigint[], $8::text[], $9::text[], $10::bytea[],
                     $11::bytea[], $12::bytea[])
  WITH ORDINALITY AS given(a, b, c, d, e, f, g, h, i, n)
)
SELECT base FROM place"""  # noqa: S608 - a statement of ours
"""A batch of new events as one transaction: the writer's count, the journal's end, the records."""

_INSERT = """
WITH place AS (
  UPDATE journal_end SET position = position + $1 WHERE id = 1 RETURNING position - $1 AS base
), kept AS (
  INSERT INTO records (position, kind, business_product_id, type, received_at, published_at, road, flags, origin,
                       body, key_hash, event_hash)
  SELECT place.base + given.n, a, b, c, d, e, f, g, h, i, j, k
  FROM place, unnest($2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::text[], $8::text[],
                     $9::bigint[], $10::bytea[], $11::bytea[], $12::bytea[])
  WITH ORDINALITY AS given(a, b, c, d, e, f, g, h, i, j, k, n)
)
SELECT base FROM place"""
# In a statement of its own: the next one sees what whoever had the row before has committed.
_HOLD = "SELECT position FROM journal_end WHERE id = 1 FOR UPDATE"
_KNOWN = (
    "SELECT key_hash FROM records WHERE key_hash = ANY($1::bytea[]) AND key_hash IS NOT NULL"
    " UNION ALL SELECT event_hash FROM records WHERE event_hash = ANY($2::bytea[]) AND event_hash IS NOT NULL"
)
_WHERE = "SELECT position FROM records WHERE key_hash = $1 OR event_hash = $2"

_THERE_ALREADY, _HOLDS_NUL = "23505", "22021"
_STATEMENT_S = 60.0
"""When a server that says nothing is given up."""


class Appender:
    """Owns the session that appends. `on_commit(last position)` is called after records were added."""

    def __init__(self, session: WritingSession, patience_s: float, on_commit: Callable[[int], None]) -> None:
        self._session = session
        self._patience_s = patience_s
        self._on_commit = on_commit
        self._waiting: deque[AppendCall] = deque()
        self._task: asyncio.Task[None] | None = None
        self._repeats = 0
        """Batches still to be taken the thorough way, since one of late held duplicates."""
        self._kept: Appended | None = None
        """What a thorough batch came to, whose commit may not have been answered."""
        self._prepared: tuple[Any, Any] = (None, None)
        """A connection, and the quick statement prepared on it."""

    def put(self, call: AppendCall) -> None:
        """Queue a call; its future is answered after the commit."""
        self._waiting.append(call)
        if self._task is None:
            self._task = asyncio.ensure_future(self._run())

    async def close(self) -> None:
        """Finish everything queued."""
        while self._task is not None:
            await asyncio.wait((self._task,))
        await self._session.close()

    async def _run(self) -> None:
        try:
            while self._waiting:
                await self._append(next_batch(self._waiting))
        finally:
            self._task = None

    async def _append(self, calls: list[AppendCall]) -> None:
        """Commit these calls together; when one of them is at fault, each alone."""
        arrivals, rows = joined(calls)
        try:
            appended = await persist(
                self._session,
                lambda: self._attempt(arrivals, rows),
                lambda: self._recall(rows),
                self._patience_s,
            )
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the callers', never the task's end
            refused = isinstance(error, StoreUnavailable)
            if not refused and len(calls) > 1:
                for call in calls:
                    await self._append([call])
                return
            for call in calls:
                if not call.future.done():
                    call.future.set_exception(own(error) if isinstance(error, StoreUnavailable) else error)
            return
        for call, receipts in divided(calls, appended.receipts):
            if not call.future.done():
                call.future.set_result(receipts)
        if appended.last:
            self._on_commit(appended.last)

    async def _attempt(self, arrivals: Sequence[Arrival], rows: Sequence[Row]) -> Appended:
        self._kept = None
        if self._repeats:
            self._repeats -= 1
        else:
            try:
                return await self._append_new(rows)
            except Exception as error:
                code = sqlstate(error)
                if code == _THERE_ALREADY:
                    self._repeats = THOROUGH_BATCHES
                elif code != _HOLDS_NUL:
                    raise
                self._session.in_doubt = False
        return await self._session.run(lambda connection: self._append_any(connection, arrivals, rows))

    async def _append_new(self, rows: Sequence[Row]) -> Appended:
        """All of them, none of which is there already, by one statement."""
        session = self._session
        connection, statement = self._prepared
        if connection is not session.driver:
            statement = await session.driver.prepare(_QUICK)
            self._prepared = (session.driver, statement)
        columns = [*zip(*rows, strict=True)]
        del columns[7], columns[0]  # an event's kind and origin are always the same
        session.committing()
        base = await self._ask(statement, len(rows), *columns)
        if base is None:
            raise session.forgotten()
        session.committed()
        return _all_new(base + 1, len(rows))

    async def _ask(self, statement: Any, how_many: int, *columns: Sequence[Any]) -> int | None:
        session = self._session
        try:
            base: int | None = await statement.fetchval(
                session.id, session.commits, how_many, *columns, timeout=_STATEMENT_S
            )
        except TimeoutError:
            session.driver.terminate()
            raise
        return base

    def _append_any(
        self, connection: Connection, arrivals: Sequence[Arrival], rows: Sequence[Row]
    ) -> Appended:
        """New ones, duplicates and conflicts."""
        session = self._session
        with connection.begin():
            session.mark(connection, alone=False)
            appended = append(connection, arrivals, rows, insert_records)
            count(connection, appended.counted)
            self._kept = appended
            session.committing()
        session.committed()
        return appended

    async def _recall(self, rows: Sequence[Row]) -> Appended:
        """What a batch came to that was committed although its answer was lost."""
        if self._kept is not None:
            return self._kept
        first: int = await self._session.driver.fetchval(_WHERE, rows[0][9], rows[0][10])
        return _all_new(first, len(rows))


def insert_records(connection: Connection, rows: Sequence[Row]) -> list[int | None]:
    """Insert rows at the journal's end; the position of each, None for one whose hash is there already.

    From then on to the end of the transaction nobody else appends."""
    run = connection.exec_driver_sql
    keys = [row[9] for row in rows if row[9] is not None]
    events = [row[10] for row in rows if row[10] is not None]
    known: set[bytes | None] = set()
    if keys or events:
        run(_HOLD)
        known.update(run(_KNOWN, (keys, events)).scalars())
    new: list[Row] = []
    places: list[int | None] = []
    for row in rows:
        if row[9] in known or row[10] in known:
            places.append(None)
            continue
        new.append(row)
        places.append(len(new))
        known.update(digest for digest in row[9:] if digest is not None)
    if not new:
        return places
    base: int = run(_INSERT, (len(new), *_columns(new))).scalar_one()
    return [None if place is None else base + place for place in places]


def _columns(rows: Sequence[Row]) -> list[Sequence[Any]]:
    """The rows as columns; PostgreSQL has no NUL in texts (see `schema`)."""
    columns: list[Sequence[Any]] = [*zip(*rows, strict=True)]
    for place in (1, 2, 5):
        columns[place] = [text.replace("\0", "\u2400") for text in columns[place]]
    return columns


def _all_new(first: int, how_many: int) -> Appended:
    receipts = [Receipt("accepted", position) for position in range(first, first + how_many)]
    return Appended(receipts, receipts[-1].position)
