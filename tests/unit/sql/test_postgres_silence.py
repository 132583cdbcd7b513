"""A hub that was paused in the middle of a write: the others write again within seconds, wherever it stopped."""

import asyncio

import asyncpg
import pytest

from milepost import sql
from milepost.store import Store, Transaction

WITHIN_S = 60.0
"""Two seconds of waiting, three of silence; only a failure takes longer."""

_LOCK = "SELECT pg_advisory_xact_lock(hashtext('milepost write'), hashtext(current_schema()))"


def write(tx: Transaction) -> int:
    tx.journal.set_checkpoint("written", 1)
    return 1


async def paused(
    url: str, *, between_messages: bool, application: str = "milepost serve"
) -> asyncpg.Connection:
    """A connection as a hub leaves it that stops in a write: after a statement, or between two messages of one."""
    connection = await asyncpg.connect(url, server_settings={"application_name": application})
    await connection.execute("SET idle_in_transaction_session_timeout = '3s'; BEGIN")
    await connection.execute(f"{_LOCK}; SELECT pg_current_xact_id()")
    if between_messages:
        # The driver asks for a statement's parameters before it gives them, without ending the command.
        await connection.prepare("SELECT $1::bigint")
    return connection


@pytest.mark.parametrize("between_messages", [False, True])
async def test_who_is_silent_in_the_middle_of_a_write_is_ended(
    postgres_url: str, between_messages: bool
) -> None:
    store: Store = await sql.open_store(postgres_url)
    silent = await paused(postgres_url, between_messages=between_messages)
    ended = asyncio.Event()
    silent.add_termination_listener(lambda _: ended.set())
    try:
        async with asyncio.timeout(WITHIN_S):
            assert await store.write(write) == 1
            await ended.wait()
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
            await silent.execute("COMMIT")
    finally:
        silent.terminate()
        await store.close()


async def test_who_has_nothing_to_do_with_milepost_is_waited_for(postgres_url: str) -> None:
    store: Store = await sql.open_store(postgres_url)
    operator = await paused(postgres_url, between_messages=True, application="psql")
    try:
        writing = asyncio.create_task(store.write(write))
        # Longer than it takes to end a hub's connection; nothing happens, so that nothing tells of it.
        await asyncio.wait((writing,), timeout=6.0)
        assert not writing.done()
        await operator.execute("COMMIT")
        async with asyncio.timeout(WITHIN_S):
            assert await writing == 1
    finally:
        operator.terminate()
        await store.close()
