"""The pytest plugin: a local Buy with Prime, and a hub, as fixtures for whoever tests a handler of their own.

    def test_each_parcel_counts_once(buy_with_prime):
        buy_with_prime.subscribe("http://127.0.0.1:3000/hook", ["PACKAGE_DELIVERED"])
        buy_with_prime.trigger("PACKAGE_DELIVERED")
        buy_with_prime.wait_until_delivered()
        ...

`buy_with_prime` is a sandbox on a free port of loopback with a database of its own, `milepost_hub` a hub that asks
it and is subscribed to it; each lives for one test. docs/testing.md tells how to use them.

Every pytest run of an environment that has Milepost loads this module, so it imports nothing that costs time: what
the fixtures give is in `sandbox` and `hub`, what runs it beside the test in `hosting`.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from milepost.testing.hub import MilepostHub, NotSettled
    from milepost.testing.sandbox import BuyWithPrime, Caused, Delivery, NotDelivered

__all__ = ["BuyWithPrime", "Caused", "Delivery", "MilepostHub", "NotDelivered", "NotSettled"]

CLOCKS = ("real", "stepped")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini(
        "milepost_clock", "the clock of buy_with_prime: real, or stepped by the test", default="real"
    )


def pytest_configure(config: pytest.Config) -> None:
    line = "milepost(clock, start, seed): how buy_with_prime is for this test; the clock is real or stepped"
    config.addinivalue_line("markers", line)
    if config.getini("milepost_clock") not in CLOCKS:
        raise pytest.UsageError(f"milepost_clock is {' or '.join(CLOCKS)}")


@pytest.fixture
def buy_with_prime(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> "Iterator[BuyWithPrime]":
    """A local Buy with Prime of this test's own: a world without orders, nobody subscribed."""
    try:
        from milepost.testing.sandbox import running
    except ModuleNotFoundError as e:
        raise pytest.UsageError(f"buy_with_prime needs {e.name}: pip install 'milepost[sandbox]'") from e

    asked = _asked(request)
    with running(tmp_path_factory.mktemp("buy-with-prime"), **asked) as started:
        yield started


@pytest.fixture
def milepost_hub(
    buy_with_prime: "BuyWithPrime", tmp_path_factory: pytest.TempPathFactory
) -> "Iterator[MilepostHub]":
    """A hub of this test's own, subscribed to what `buy_with_prime` publishes of packages, returns and refunds."""
    from milepost.testing.hub import running

    with running(tmp_path_factory.mktemp("milepost"), buy_with_prime) as started:
        yield started


def _asked(request: pytest.FixtureRequest) -> dict[str, Any]:
    """How the test wants its Buy with Prime: by its marker, else by the ini file."""
    asked = {"clock": request.config.getini("milepost_clock"), "start": None, "seed": 1}
    marker = request.node.get_closest_marker("milepost")
    if marker is not None:
        if marker.args or not set(marker.kwargs) <= set(asked):
            raise pytest.UsageError("the marker milepost takes clock, start and seed, by name")
        asked |= marker.kwargs
    if asked["clock"] not in CLOCKS:
        raise pytest.UsageError(f"the clock of buy_with_prime is {' or '.join(CLOCKS)}")
    return {"stepped": asked["clock"] == "stepped", "start": asked["start"], "seed": asked["seed"]}


def __getattr__(name: str) -> Any:
    """The classes, for annotations, loaded only for whoever names them."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from milepost.testing import hub, sandbox

    return getattr(hub if name in ("MilepostHub", "NotSettled") else sandbox, name)
