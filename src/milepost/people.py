"""What the hub does for people, built from the settings: who follows the folds, and what runs behind the endpoints.

Part of `hub`, which starts it. What each part does is in its own module of `pipeline`.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from milepost.config import Config
from milepost.domain.business_calendar import BusinessCalendar
from milepost.domain.instant import DAY, SECOND, Instant
from milepost.domain.notification import CHANNELS, KINDS
from milepost.domain.notification_policy import NotificationPolicy, quiet_hours_from
from milepost.notifying import Notifying, brand_of, channels
from milepost.pipeline.accountant import NAME as ACCOUNTANT
from milepost.pipeline.accountant import Accountant
from milepost.pipeline.background import Part
from milepost.pipeline.booking import BookFollower
from milepost.pipeline.erased import NAME as ERASER
from milepost.pipeline.eraser import Eraser
from milepost.pipeline.noticing import Noticing, switch
from milepost.pipeline.notifier import NAME as NOTIFIER
from milepost.pipeline.telling import Follower
from milepost.store import Store
from milepost.web.context import Shop

MEGABYTE = 1_000_000
LEASES: tuple[str, ...] = (NOTIFIER, ACCOUNTANT, ERASER)
"""What only one hub on a database does at a time."""


def followers(config: Config) -> Sequence[Follower]:
    """What follows from every order that is folded. `rebuild` uses the same."""
    origin = BusinessCalendar(config.origin_timezone or config.timezone).zone
    booking = BookFollower(origin, int(config.accounting_settle_days * DAY))
    return [booking, Noticing(notification_policy(config))] if config.notifications else [booking]


def check(config: Config) -> None:
    """Raises `Misconfigured` for settings that belong together and don't."""
    channels(config, lambda: Instant(0))


def notification_policy(config: Config) -> NotificationPolicy:
    """What the shop settled about notifications."""
    return NotificationPolicy(
        kinds=frozenset(kind for kind in KINDS if kind in config.notification_kinds),
        channels=tuple(c for name in config.notification_channels for c in CHANNELS if c == name),
        locale=config.notification_locale,
        hold_ms=round(config.notification_hold_s * SECOND),
        hold_delivered_ms=round(config.notification_hold_delivered_s * SECOND),
        per_day=config.notifications_per_day,
        quiet_hours=quiet_hours_from(config.quiet_hours),
        timezone=config.timezone,
        earlier_estimates=config.notification_earlier_estimates,
    )


def shop_of(config: Config) -> Shop:
    """What shoppers meet when they are told of their orders."""
    return Shop(
        brand_of(config), config.notification_locale, config.notification_kinds, config.tracking_lookup
    )


class People:
    """The parts that concern people. `fenced` gives the store under a lease of `LEASES`."""

    def __init__(
        self,
        config: Config,
        store: Store,
        clock: Callable[[], Instant],
        fenced: Callable[[str], Store],
        probe: Callable[[str], None],
    ) -> None:
        self._config = config
        self._store = store
        self._clock = clock
        self.eraser = Eraser(fenced(ERASER), clock, largest=config.erasure_compact_mb * MEGABYTE)
        self._accountant = Accountant(fenced(ACCOUNTANT), clock)
        self.notifying: Notifying | None = None
        """None while notifications are off."""
        if config.notifications:
            self.notifying = Notifying(config, notification_policy(config), fenced(NOTIFIER), clock, probe)

    def parts(self) -> Sequence[Part]:
        """What runs behind the endpoints, and under which lease."""
        notifying = _nothing if self.notifying is None else self.notifying.notifier.run
        return (
            Part(ACCOUNTANT, self._accountant.run, ACCOUNTANT),
            Part(ERASER, self.eraser.run, ERASER),
            Part(NOTIFIER, notifying, NOTIFIER),
        )

    def notified(self) -> None:
        """One was made due: look now."""
        if self.notifying is not None:
            self.notifying.notifier.notify()

    def counters(self) -> Mapping[str, int]:
        """Counts of this process by name, for `/metrics`."""
        return {} if self.notifying is None else self.notifying.counters()

    def shown(self) -> Mapping[str, object]:
        """What `/readyz` tells of the parts beyond whether they run."""
        failing = {} if self.notifying is None else self.notifying.notifier.failing
        return {"failingChannels": sorted(failing)} if failing else {}

    async def open(self) -> None:
        """Open what the parts need besides the store."""
        await switch(self._store, self._config.notifications, self._clock())
        if self.notifying is not None:
            await self.notifying.open()

    async def close(self) -> None:
        """Close what `open` opened."""
        if self.notifying is not None:
            await self.notifying.close()


async def _nothing(stop: asyncio.Event) -> None:
    """A part that is switched off: its lease is held all the same, so that every hub looks alike."""
    await stop.wait()
