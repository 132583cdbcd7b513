"""What tests of every kind share: one real PostgreSQL a run; an empty database a test, of it or of either kind."""

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from tests.postgres import Postgres
from tests.sqlite_template import copied

from milepost.sql import open_store

_numbers = count(1)

# How fast a machine is, and what runs beside a test, is no property of what is tested.
settings.register_profile(
    "milepost", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("milepost")


def pytest_collection_finish() -> None:
    """Ten thousand collected tests stay to the end: looking through them for garbage again and again is a tenth of a
    run's time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


@pytest.fixture(scope="session", autouse=True)
def _migrated_once() -> Iterator[None]:
    with copied():
        yield


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server of this test process's own."""
    with Postgres() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_template(postgres: Postgres) -> str:
    """A database with the schema and nothing in it: `Postgres.create` copies it faster than migrating."""

    async def make() -> str:
        store = await open_store(await postgres.create("milepost_template"))
        await store.close()
        return "milepost_template"

    with ThreadPoolExecutor(1) as thread:  # an event loop may run in this one
        return thread.submit(asyncio.run, make()).result()


@pytest.fixture
async def postgres_database(postgres: Postgres, postgres_template: str) -> AsyncIterator[str]:
    """The name of a database with the schema and nothing in it, gone after the test."""
    name = f"milepost_{next(_numbers)}"
    await postgres.create(name, postgres_template)
    yield name
    await postgres.drop(name)


@pytest.fixture
async def postgres_url(postgres: Postgres) -> AsyncIterator[str]:
    """An empty database, gone after the test."""
    name = f"milepost_{next(_numbers)}"
    yield await postgres.create(name)
    await postgres.drop(name)


@pytest.fixture(params=["sqlite", "postgresql"])
async def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    """For a test that holds on either: an empty database of each, gone after the test."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'hub.db'}"
        return
    server: Postgres = request.getfixturevalue("postgres")
    name = f"milepost_{next(_numbers)}"
    yield await server.create(name, request.getfixturevalue("postgres_template"))
    await server.drop(name)
