"""A standing world and somebody who asks it, for whoever tests the API."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.unit.sandbox.asking import Asking, config

from milepost.sandbox.program import Sandbox


@pytest.fixture
async def asking(tmp_path: Path) -> AsyncIterator[Asking]:
    sandbox = Sandbox(config(tmp_path))
    await sandbox.open()
    made = Asking(sandbox)
    yield made
    await made.close()
    await sandbox.close()
