"""Both databases: what a simulation proves, it proves on SQLite and on PostgreSQL."""

from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path

import pytest
from tests.postgres import Postgres

_numbers = count(1)


@pytest.fixture(params=["sqlite", "postgresql"])
async def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    """An empty database of each kind, for a hub of its own."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'hub.db'}"
        return
    server: Postgres = request.getfixturevalue("postgres")
    name = f"simulation_{next(_numbers)}"
    yield await server.create(name)
    await server.drop(name)
