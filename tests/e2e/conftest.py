"""Fixtures of the end-to-end tests: one fresh hub and one fresh sandbox a test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.e2e.running import Client, running


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[Client]:
    async with running(tmp_path) as started:
        yield started
