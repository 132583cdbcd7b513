"""Notifications, built from the settings: the channels that are named, the shop as shoppers know it, the notifier.

Part of `people`. What may be sent when is `pipeline.outbox`'s and `domain.notification_rules`'.
"""

from collections.abc import Callable, Mapping, Sequence
from random import Random

import structlog

from milepost.config import Config
from milepost.domain.errors import Misconfigured
from milepost.domain.instant import Instant
from milepost.domain.notification_policy import NotificationPolicy
from milepost.pipeline.letters import LetterWriter
from milepost.pipeline.notifier import NAME, Notifier
from milepost.pipeline.outbox import Outbox
from milepost.pipeline.waiting import waiting_by
from milepost.shopper.composing import Brand
from milepost.store import Store
from milepost.transports.email import EmailChannel, parse_smtp_url
from milepost.transports.mail_message import parse_sender
from milepost.transports.notification_webhook import NotificationWebhook

Made = EmailChannel | NotificationWebhook

log = structlog.get_logger()


def channels(config: Config, clock: Callable[[], Instant]) -> Sequence[Made]:
    """The channels that the settings name, not opened yet; none while notifications are off. Raises `Misconfigured`,
    which says what is missing."""
    if not config.notifications:
        return ()
    if not config.tracking_secrets:
        raise Misconfigured(
            "notifications are on, so MILEPOST_TRACKING_SECRET is needed (32 characters or more): it signs the links"
            " in them, and what shoppers chose is kept under a hash that it makes of their address"
        )
    if not config.notification_channels:
        raise Misconfigured("notifications are on, but MILEPOST_NOTIFICATION_CHANNELS names none")
    makers = {"email": _email, "webhook": _webhook}
    return [makers[name](config, clock) for name in dict.fromkeys(config.notification_channels)]


def _email(config: Config, clock: Callable[[], Instant]) -> Made:
    if config.smtp_url is None or config.mail_from is None:
        raise Misconfigured(
            "notifications go by email, so MILEPOST_SMTP_URL and MILEPOST_MAIL_FROM are needed; or name other"
            " channels in MILEPOST_NOTIFICATION_CHANNELS"
        )
    sender = parse_sender(config.mail_from, config.mail_reply_to)
    return EmailChannel(parse_smtp_url(config.smtp_url.get_secret_value()), sender, clock)


def _webhook(config: Config, clock: Callable[[], Instant]) -> Made:
    url, secret = config.notification_webhook_url, config.notification_webhook_secret
    if url is None or secret is None:
        raise Misconfigured(
            "notifications go by webhook, so MILEPOST_NOTIFICATION_WEBHOOK_URL and"
            " MILEPOST_NOTIFICATION_WEBHOOK_SECRET are needed"
        )
    return NotificationWebhook(url, secret, clock)


def brand_of(config: Config) -> Brand:
    """The shop, as shoppers know it."""
    return Brand(
        config.shop_name, config.shop_url, config.shop_color, config.support_email, config.public_url
    )


class Notifying:
    """The notifier of one hub. `store` is fenced by the lease `pipeline.notifier.NAME`."""

    def __init__(
        self,
        config: Config,
        policy: NotificationPolicy,
        store: Store,
        clock: Callable[[], Instant],
        probe: Callable[[str], None],
    ) -> None:
        """Only with notifications on. Raises `Misconfigured`."""
        self._channels = channels(config, clock)
        secrets = config.tracking_secrets
        if config.public_url is None:
            log.warning(
                "notifier.no_public_url",
                hint="set MILEPOST_PUBLIC_URL: without it notifications have no link to opt out by",
            )
        random = Random().random  # noqa: S311 - jitter, not a secret
        self.notifier = Notifier(
            store,
            Outbox(policy, secrets, random=random),
            self._channels,
            LetterWriter(brand_of(config), secrets[0], clock).write,
            clock,
            wait=waiting_by(clock),
            probe=probe,
        )

    async def open(self) -> None:
        for channel in self._channels:
            await channel.open()

    async def close(self) -> None:
        for channel in self._channels:
            await channel.close()

    def counters(self) -> Mapping[str, int]:
        """What became of notifications since this process started, by name."""
        return {f"{NAME}.{name}": count for name, count in self.notifier.counts.items()}
