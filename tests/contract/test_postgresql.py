"""The store contract on PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.contract.books_contract import STEPS, drawn
from tests.contract.harness import T0
from tests.contract.store_contract import StoreContract
from tests.postgres import Postgres

from milepost.sql.postgres_store import open_postgres
from milepost.store import Store

_numbers = count(1)


async def open_store(url: str) -> Store:
    return await open_postgres(
        url, clock=lambda: T0, owner="contract", migrate=True, read_only=False, patience_ms=300
    )


def at_once(coroutine: Any) -> None:
    """Run it to its end although an event loop runs in this thread."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, coroutine).result()


class PostgresHarness:
    can_be_unavailable = True

    def __init__(self, server: Postgres, template: str) -> None:
        self._server = server
        self._template = template
        self._made: dict[str, str] = {}

    async def open(self, name: str = "main") -> Store:
        if name not in self._made:
            self._made[name] = f"contract_{next(_numbers)}"
            await self._server.create(self._made[name], self._template)
        return await open_store(self._server.url(self._made[name]))

    async def crash(self, name: str = "main") -> Store:
        """The server, as if the power had failed, and come back. The old store goes on by itself."""
        await asyncio.to_thread(self._server.stop, "immediate")
        await asyncio.to_thread(self._server.start)
        return await self.open(name)

    @contextmanager
    def unavailable(self, name: str = "main") -> Iterator[None]:
        """The server has become a standby: it can be read, and takes no writes."""
        self._read_only(name, "on")
        try:
            yield
        finally:
            self._read_only(name, "off")

    def _read_only(self, name: str, value: str) -> None:
        database = self._made[name]
        at_once(
            self._server.execute(f'ALTER DATABASE "{database}" SET default_transaction_read_only = {value}')
        )
        at_once(self._server.cut(database))

    async def drop(self) -> None:
        for database in self._made.values():
            await self._server.drop(database)


class TestPostgresql(StoreContract):
    # Fewer than elsewhere: each crash is the server's, and takes a second or, on a busy machine, a few.
    @drawn(12)
    @given(steps=st.lists(STEPS, min_size=1, max_size=14))
    def test_the_books_add_up_after_every_step(
        self, harness: PostgresHarness, steps: list[tuple[str, Any]]
    ) -> None:
        asyncio.run(self.play(harness, f"books-{next(_numbers)}", steps))

    @pytest.fixture
    async def harness(self, postgres: Postgres, postgres_template: str) -> AsyncIterator[PostgresHarness]:
        made = PostgresHarness(postgres, postgres_template)
        yield made
        await made.drop()
