"""Fixtures of the console's tests: hashing passwords costs little, as nobody attacks these."""

import pytest

from milepost.web.hashing import hashing


@pytest.fixture(autouse=True)
def _cheap_hashing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "memory_kib", 64)
