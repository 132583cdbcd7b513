"""Publications made into events: ids from the seed, bytes in the seeds' key order.

The same seed, order and serial number always give the same ids, so that a publication that a crash made the
sandbox repeat is the same event again. `eventId` looks like real ones (no RFC 4122 version); the
`idempotencyKey` is base64 of `<uuid>#<eventId>` as real samples decode to, though nobody may rely on that.
"""

from base64 import b64encode

import msgspec
from msgspec import Raw

from milepost.domain.envelope import Event, format_webhook
from milepost.domain.instant import SECOND, Instant, format_instant
from milepost.domain.resource import BUSINESS_PRODUCT, Resource
from milepost.sandbox.transitions import Publication
from milepost.sandbox.world import WorldOrder, dice, uuid_text

API_VERSION = "2024-11-01"


def subscription_id(seed: int) -> str:
    """The one subscription through which this sandbox publishes."""
    return uuid_text(dice(seed, "subscription"))


def event_body(seed: int, order: WorldOrder, serial: int, publication: Publication, at: Instant) -> bytes:
    """The webhook body of the order's event number `serial`, published at `at` (whole seconds)."""
    event_id = uuid_text(dice(seed, "event", order.business_product_id, order.id, serial))
    subscription = subscription_id(seed)
    published_at = Instant(at // SECOND * SECOND)
    return format_webhook(
        Event(
            b64encode(f"{subscription}#{event_id}".encode()).decode(),
            publication.type,
            publication.type,
            (Resource.of(((BUSINESS_PRODUCT, order.business_product_id), *publication.resource)),),
            event_id,
            API_VERSION,
            subscription,
            format_instant(published_at),
            published_at,
            Raw(msgspec.json.encode(publication.data)),
        )
    )
