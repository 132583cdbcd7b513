"""Here databases are migrated by the steps themselves, each of them anew."""

import pytest
from tests.sqlite_template import STEPS

from milepost.sql import migrations


@pytest.fixture(autouse=True)
def _by_the_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrations, "upgrade", STEPS)
