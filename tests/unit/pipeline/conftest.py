"""Fixtures of the pipeline's tests."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.unit.pipeline.publishing import Rig


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    made = await Rig(tmp_path / "publisher.db").open()
    yield made
    await made.close()
