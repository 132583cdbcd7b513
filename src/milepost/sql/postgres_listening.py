"""What hubs on one database tell each other: that the journal has become longer.

A connection of its own says it, and hears it. Saying it costs the appends nothing: at most every few milliseconds one
notification says how far the journal is now. Where the connection was lost, the journal is looked at once more.
"""

import asyncio
from contextlib import suppress
from typing import Any

import structlog

from milepost.sql.last_position import LastPosition
from milepost.sql.postgres_session import LONGEST_PAUSE_S
from milepost.sql.postgresql import Address, connect

log = structlog.get_logger()

EVERY_S = 0.02
"""The shortest time between two notifications."""
_CLOSE_S = 2.0
_CHANNEL = "'milepost:' || left(current_schema(), 50)"
_LAST = "SELECT position FROM journal_end WHERE id = 1"


class Listener:
    """Keeps `last` in step with other processes on the database, and them with `said`. Belongs to one event loop."""

    def __init__(self, address: Address, last: LastPosition) -> None:
        self._address = address
        self._last = last
        self._said = 0
        self._to_say = asyncio.Event()
        self._task = asyncio.ensure_future(self._run())

    def say(self) -> None:
        """Others are to hear of what `last` is now."""
        self._to_say.set()

    async def close(self) -> None:
        """Stop listening."""
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def _run(self) -> None:
        while True:
            try:
                connection = await connect(self._address)
            except Exception as error:  # noqa: BLE001 - whatever it is, the database will be back or be missed
                log.debug("store.listen", error=str(error))
                await asyncio.sleep(LONGEST_PAUSE_S)
                continue
            try:
                await self._serve(connection)
            except Exception as error:  # noqa: BLE001 - same
                log.debug("store.listen", error=str(error))
            finally:
                await _leave(connection)
            await asyncio.sleep(EVERY_S)

    async def _serve(self, connection: Any) -> None:
        """Until the connection is lost."""
        channel = await connection.fetchval(f"SELECT {_CHANNEL}")
        lost = asyncio.Event()

        def end(connection: object) -> None:
            lost.set()
            self._to_say.set()

        connection.add_termination_listener(end)
        await connection.add_listener(channel, self._heard)
        # What was said while nobody listened.
        self._last.reached(await connection.fetchval(_LAST) or 0)
        while not lost.is_set():
            await self._to_say.wait()
            self._to_say.clear()
            if self._last.known > self._said and not lost.is_set():
                known = self._last.known
                await connection.execute("SELECT pg_notify($1, $2)", channel, str(known))
                self._said = known
                await asyncio.sleep(EVERY_S)

    def _heard(self, connection: object, pid: int, channel: str, payload: object) -> None:
        with suppress(ValueError):
            self._last.reached(int(str(payload)))


async def _leave(connection: Any) -> None:
    try:
        await connection.close(timeout=_CLOSE_S)
    except Exception as error:  # noqa: BLE001 - a broken connection may not even close
        log.debug("store.listen", error=str(error))
        connection.terminate()
