"""A browser at the page of a sandbox of its own."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.unit.sandbox.asking import config
from tests.unit.sandbox.markup import Browser

from milepost.sandbox.program import Sandbox


@pytest.fixture
async def browser(tmp_path: Path) -> AsyncIterator[Browser]:
    sandbox = Sandbox(config(tmp_path))
    await sandbox.open()
    looking = Browser(sandbox)
    yield looking
    await looking.close()
    await sandbox.close()
