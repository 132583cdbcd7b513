"""Letters: what is sent to one shopper, and how its text and links are made.

A letter exists from right before it is sent until then, and is nowhere kept: the ledger has no address and no text
(rule 16 of tracking.md 11). What a message says is `shopper`'s.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from milepost.domain.contact import make_unsubscribe
from milepost.domain.instant import DAY, Instant
from milepost.domain.notification import Notification
from milepost.domain.tracking_token import Link, make_token
from milepost.shopper.composing import Brand, Composed, Links, compose

TRACKING_FOR: Final = 90 * DAY
"""So long a carrier keeps a number."""
UNSUBSCRIBE_FOR: Final = 366 * DAY
"""Mails are kept, and read late."""


class Letter(Struct, frozen=True):
    """A claimed notification with all that sending it takes, as it stands right now."""

    notification: Notification
    order: Mapping[str, Any]
    address: str
    """Empty: the order has none, and the channel needs none."""
    recipients: Sequence[str]
    """Every key of the recipient, the newest secret's first."""
    covers: Sequence[Notification]


class LetterWriter:
    """Writes letters in the name of one shop. `secret` signs links; without `brand.public_url` there are none."""

    def __init__(self, brand: Brand, secret: str, clock: Callable[[], Instant]) -> None:
        self._brand = brand
        self._secret = secret
        self._clock = clock

    def write(self, letter: Letter) -> tuple[Composed, str | None]:
        """What it says, and the link by which its reader opts out. Raises what `compose` raises."""
        notification = letter.notification
        links = self._links(letter)
        composed = compose(
            notification,
            letter.order,
            kind=notification.kind,
            covers=letter.covers,
            locale=notification.locale,
            brand=self._brand,
            links=links,
        )
        return composed, links.unsubscribe

    def _links(self, letter: Letter) -> Links:
        if self._brand.public_url is None:
            return Links(None, None)
        base, now = self._brand.public_url.rstrip("/"), self._clock()
        product, order_id = letter.notification.business_product_id, letter.notification.order_id
        token = make_token(self._secret, Link(product, order_id, Instant(now + TRACKING_FOR)))
        tracking = f"{base}/track/{token}"
        if not letter.recipients:
            return Links(tracking, None)
        until = Instant(now + UNSUBSCRIBE_FOR)
        unsubscribe = make_unsubscribe(self._secret, product, letter.recipients[0], until)
        return Links(tracking, f"{base}/unsubscribe/{unsubscribe}")
