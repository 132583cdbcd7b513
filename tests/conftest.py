"""What tests of every kind share: one real PostgreSQL a run, and an empty database of it a test."""

from collections.abc import AsyncIterator, Iterator
from itertools import count

import pytest
from tests.postgres import Postgres

_numbers = count(1)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server of this test process's own."""
    with Postgres() as server:
        yield server


@pytest.fixture
async def postgres_url(postgres: Postgres) -> AsyncIterator[str]:
    """An empty database, gone after the test."""
    name = f"milepost_{next(_numbers)}"
    yield await postgres.create(name)
    await postgres.drop(name)
