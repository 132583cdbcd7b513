"""Fixtures of the read side's tests: one real store and one world a test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.web.world import START, World

from milepost.sql import open_store
from milepost.store import Store


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await open_store(f"sqlite:///{tmp_path / 'milepost.db'}", clock=lambda: START)
    yield opened
    await opened.close()


@pytest.fixture
async def world(store: Store) -> World:
    return World(store)
