"""Events of the world made into bytes: once as a neutral record, then for each subscription as it is sent.

A **record** is what happened, published by nobody yet: no subscriptionId and no idempotencyKey. What a
subscription gets is rendered from it whenever it is sent, always the same: its own subscriptionId and
apiVersion, the event by the name that was subscribed to, and an idempotencyKey that stays the same over
retries (base64 of `<subscriptionId>#<eventId>`, as real samples decode to, though nobody may rely on that).
So one event through two subscriptions has one eventId and two keys (buy-with-prime.md 1.1).

The same seed, order and serial number always give the same eventId, so that a publication that a crash made
the sandbox repeat is the same event again. It looks like real ones (no RFC 4122 version). Forms of a message
that are wrong on purpose are rendered here too; which message gets which form is `faults`'.
"""

from base64 import b64encode
from functools import lru_cache

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from milepost.domain.attempt import Destination, Message
from milepost.domain.envelope import EMPTY, Bridge, Event, format_eventbridge, format_webhook
from milepost.domain.event import BY_NAME, canonical_type
from milepost.domain.instant import MINUTE, SECOND, Instant, format_instant
from milepost.domain.record import Record
from milepost.domain.resource import BUSINESS_PRODUCT, Resource
from milepost.sandbox.publication import Publication
from milepost.sandbox.world import WorldOrder, dice, uuid_text

API_VERSION = "2024-11-01"
SOURCE_PREFIX = "aws.partner/buywithprime/"
SKEW = 10 * MINUTE
"""By how much the clock is slow that stamps an event of the form `skew`."""
OVERSIZE = 1024 * 1024
"""Bytes of padding in an event of the form `oversize`: more than any receiver has to take."""


class Subscribed(Struct, frozen=True, rename="camel"):
    """What a destination's settings say of its subscription."""

    event_type: str = ""
    """The name that was subscribed to, an old one perhaps; empty where a destination takes every type."""
    api_version: str = API_VERSION


class _Settings(Struct, frozen=True):
    subscription: Subscribed = Subscribed()


def event_body(seed: int, order: WorldOrder, serial: int, publication: Publication, at: Instant) -> bytes:
    """The neutral body of the order's event number `serial`, published at `at` (whole seconds)."""
    return format_webhook(neutral_event(seed, order, serial, publication, at))


def neutral_event(seed: int, order: WorldOrder, serial: int, publication: Publication, at: Instant) -> Event:
    """The order's event number `serial` before anybody subscribed to it, published at `at` (whole seconds)."""
    published_at = Instant(at // SECOND * SECOND)
    return Event(
        "",
        publication.type,
        publication.type,
        (Resource.of(((BUSINESS_PRODUCT, order.business_product_id), *publication.resource)),),
        uuid_text(dice(seed, "event", order.business_product_id, order.id, serial)),
        API_VERSION,
        "",
        format_instant(published_at),
        published_at,
        Raw(msgspec.json.encode(publication.data)),
    )


def render(record: Record, destination: Destination, message: Message) -> bytes:
    """The bytes of one message: the event as this destination's subscription gets it, in the message's form."""
    forms = message.form.split(",") if message.form else ()
    event = as_subscribed(record.event(), destination, "second" in forms)
    if "legacy" in forms:
        event = replace(event, descriptor=legacy_name(event.type))
    if "empty" in forms:
        event = replace(event, data=EMPTY)
    if "skew" in forms:
        event = replace(event, event_time=format_instant(Instant(event.published_at - SKEW)))
    if "oversize" in forms and message.tries == 0:
        event = replace(event, extra={"padding": Raw(b'"' + b"x" * OVERSIZE + b'"')})
    # An EventBridge destination makes the document itself, of what its subscription gets.
    if "bridge" in forms and destination.kind == "webhook":
        return format_eventbridge(event, bridge_of(event, f"{SOURCE_PREFIX}{destination.id}", "0" * 12))
    return format_webhook(event)


def as_subscribed(event: Event, destination: Destination, second: bool = False) -> Event:
    """The event through this destination's subscription, or as if through a second one of the same."""
    subscribed = _subscribed(destination.settings)
    subscription = uuid_text(dice(0, "second", destination.id)) if second else destination.id
    return replace(
        event,
        descriptor=subscribed.event_type or event.descriptor,
        api_version=subscribed.api_version,
        subscription_id=subscription,
        idempotency_key=b64encode(f"{subscription}#{event.event_id}".encode()).decode(),
    )


def bridge_of(event: Event, source: str, account: str, region: str = "us-east-1", id: str = "") -> Bridge:
    """What EventBridge puts around an event; `id` equals `eventId`, as the seeds say, unless one is minted."""
    resources = tuple(map(str, event.resources))
    return Bridge(
        "0", id or event.event_id, event.descriptor, source, account, event.event_time, region, resources
    )


def legacy_name(type: str) -> str:
    """The newest former name of an event type; the type itself when it never had another."""
    known = BY_NAME.get(canonical_type(type))
    return known.former_names[0] if known is not None and known.former_names else type


@lru_cache(maxsize=1_024)
def _subscribed(settings: bytes) -> Subscribed:
    return msgspec.json.decode(settings, type=_Settings).subscription
