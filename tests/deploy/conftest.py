"""Fixtures of the tests of what is deployed at AWS."""

from collections.abc import Iterator

import pytest
from tests.deploy.account import Account, settings
from tests.partner_bus import PartnerBus


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    """A fresh account, and AWS's settings for it in the environment."""
    with PartnerBus() as bus:
        for name, value in settings(bus.url).items():
            monkeypatch.setenv(name, value)
        yield Account(bus)
