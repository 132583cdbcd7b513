"""The hub that a test holds: it asks the test's Buy with Prime, is subscribed to it, and follows its clock."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic_settings import PydanticBaseSettingsSource

from milepost.config import Config
from milepost.hub import Hub
from milepost.pipeline import hydrator, projector
from milepost.store import Transaction
from milepost.testing.hosting import Host, hosted, until
from milepost.testing.sandbox import BuyWithPrime

WORD = "milepost-test"
NEVER_S = 86_400.0


class NotSettled(AssertionError):
    """The hub did not come to rest; says what is left."""


class MilepostHub:
    """A hub that runs. `api_key` reads everything; user name and password are the webhook's."""

    username = password = api_key = WORD

    def __init__(self, host: Host, hub: Hub, source: BuyWithPrime) -> None:
        self.url = host.url
        self.webhook_url = f"{host.url}/webhooks/buy-with-prime"
        self._host = host
        self._hub = hub
        self._source = source

    def get(self, path: str) -> Any:
        """A document of the hub's API, like "/v1/events". Raises `KeyError` for a 404, else `ValueError`."""
        return self._host.ask("GET", path, headers={"authorization": f"Bearer {self.api_key}"})

    def order(self, order_id: str) -> dict[str, Any]:
        """The order as the hub shows it. Raises `KeyError` for one that it has not heard of."""
        found: dict[str, Any] = self.get(f"/v1/orders/{order_id}")
        return found

    def wait_until_settled(self, timeout: float = 30.0) -> None:
        """Return once the hub has everything that was published and has asked and folded all it can by this time.
        Raises `NotDelivered` and `NotSettled`, each after so many seconds."""
        __tracebackhide__ = True
        self._source.wait_until_delivered(timeout)
        self._wait(timeout)
        self._host.call(self._hub.sweep())
        self._wait(timeout)

    def _wait(self, timeout: float) -> None:
        __tracebackhide__ = True
        if until(lambda: None if self._host.call(self._left()) else True, timeout) is None:
            left = self._host.call(self._left())
            raise NotSettled(f"the hub has not settled within {timeout:g} s: {left}")

    async def _left(self) -> str:
        """What is to be done yet; by a clock that stands still, only what is due."""
        clock = self._source.clock
        now, stands_still = clock.now(), clock.speed == 0
        if stands_still:
            # It rests by real time, and may have been told of a later one.
            self._hub.hydrator.nudge()

        def look(tx: Transaction) -> str:
            last = tx.journal.last_position()
            for name in (projector.NAME, hydrator.NAME):
                if tx.journal.checkpoint(name) < last:
                    return f"the {name} has not read the whole journal"
            asks = tx.work.due(now, 1) if stands_still else tx.work.page(None, 1, None, "open")
            return f"{asks[0].target} is still to be asked about {asks[0].error}".strip() if asks else ""

        return await self._hub.store.read(look)


class _OnlyGiven(Config):
    """Settings that nothing of the environment and no milepost.toml in the test's folder has a part in."""

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: Any, init_settings: PydanticBaseSettingsSource, *others: Any, **named: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


def config(folder: Path, source: BuyWithPrime) -> Config:
    """The settings of a hub that lives in `folder` and asks `source`."""
    return _OnlyGiven.model_validate(
        {
            "database_url": f"sqlite:///{folder / 'milepost.db'}",
            "port": 0,
            "webhook_username": WORD,
            "webhook_password": WORD,
            "api_key": WORD,
            "bwp_api_url": source.url,
            "bwp_client_id": source.client_id,
            "bwp_client_secret": source.client_secret,
            "bwp_target_id": source.target_id,
            "queries_per_minute": 1_000_000,
            # It sweeps when it is waited for: by the test's clock, not by the real one.
            "sweep_interval_s": NEVER_S,
        }
    )


@contextmanager
def running(folder: Path, source: BuyWithPrime) -> Iterator[MilepostHub]:
    """A hub that lives in `folder` until the end, subscribed to what `source` publishes from now on."""
    hub = Hub(config(folder, source), clock=source.clock.now)
    with hosted(hub) as host:
        made = MilepostHub(host, hub, source)
        source.subscribe(made.webhook_url, None, made.username, made.password)
        yield made
