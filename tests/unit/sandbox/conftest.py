"""A standing world and who looks at it: a client of its API, and a browser at its page."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.unit.sandbox.asking import Asking, config
from tests.unit.sandbox.markup import Browser

from milepost.sandbox.program import Sandbox


@pytest.fixture
async def asking(tmp_path: Path) -> AsyncIterator[Asking]:
    sandbox = Sandbox(config(tmp_path))
    await sandbox.open()
    made = Asking(sandbox)
    yield made
    await made.close()
    await sandbox.close()


@pytest.fixture
async def browser(tmp_path: Path) -> AsyncIterator[Browser]:
    sandbox = Sandbox(config(tmp_path))
    await sandbox.open()
    looking = Browser(sandbox)
    yield looking
    await looking.close()
    await sandbox.close()
