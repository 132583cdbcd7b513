"""The channel `webhook`: what a shopper is to be told, posted to the merchant's own notification system.

The document is `Composed.document`, without an address; whose it is follows from its order. It is signed by Standard
Webhooks, and its `webhook-id` is the notification's id at every try, so that a receiver can tell a copy: what nobody
knows of is therefore simply sent again. The address comes from the settings, so it may be a private one.
"""

from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

import msgspec
from pydantic import SecretStr

from milepost.domain.attempt import Destination, Message
from milepost.domain.breaker import is_failure
from milepost.domain.errors import Misconfigured
from milepost.domain.instant import Instant
from milepost.domain.notification import Notification
from milepost.domain.webhook_settings import StandardSignature, StandardWebhooks, WebhookSettings
from milepost.domain.webhook_signature import Secret
from milepost.pipeline.channels import Outcome
from milepost.pipeline.sending import GONE, Parcel
from milepost.shopper.composing import Composed
from milepost.transports.webhook_sender import DEADLINE_S, WebhookSender

_EVERYWHERE = ("0.0.0.0/0", "::/0")
_NAME: Final = "notifications"


class NotificationWebhook:
    """Posts to one URL. Open it inside a running loop, close it after the notifier."""

    name: Final = "webhook"

    def __init__(
        self, url: str, secret: SecretStr, clock: Callable[[], Instant], *, deadline_s: float = DEADLINE_S
    ) -> None:
        """`secret` is `whsec_…`. Raises `Misconfigured` when it is none, or the URL is."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
            raise Misconfigured(
                "MILEPOST_NOTIFICATION_WEBHOOK_URL is no address, as in https://shop.example/notify"
            )
        try:
            Secret.parse(secret.get_secret_value())
        except Misconfigured as e:
            raise Misconfigured(f"MILEPOST_NOTIFICATION_WEBHOOK_SECRET: {e.detail}") from e
        signature = StandardSignature(StandardWebhooks((secret.get_secret_value(),)))
        settings = msgspec.json.encode(WebhookSettings(url, signature=signature))
        self._destination = Destination(_NAME, "webhook", settings, endpoint=url)
        self._clock = clock
        self._sender = WebhookSender(clock, allow=_EVERYWHERE, deadline_s=deadline_s)

    async def open(self) -> None:
        await self._sender.open()

    async def close(self) -> None:
        await self._sender.close()

    async def send(
        self, notification: Notification, composed: Composed, address: str, unsubscribe: str | None
    ) -> Outcome:
        """Post it once. Never raises."""
        now = self._clock()
        message = Message(notification.id, _NAME, 0, "pending", notification.tries, now)
        parcel = Parcel(message, msgspec.json.encode(composed.document))
        (answer,) = await self._sender.send(self._destination, [parcel])
        if answer.status is not None and 200 <= answer.status < 300:
            return Outcome("sent")
        if answer.status == GONE:
            return Outcome("refused", "answered 410: it does not want this any more")
        after = None if answer.retry_after is None else Instant(now + answer.retry_after)
        known = answer.status is not None or not answer.reached
        return Outcome("again" if known else "unknown", answer.error, after, is_out=is_failure(answer.status))
