"""One event made up on the spot, for a handler that has no world behind it (`milepost trigger EVENT --to URL`).

Ids that are not given are drawn; the resource has the form that the catalogue documents for the type, and
PACKAGE_DELIVERED carries the order object of its page in `data`. An event that the sandbox's world causes is
`keeper`'s.
"""

import random
from base64 import b64encode

import msgspec
from msgspec import Raw, Struct

from milepost.domain.envelope import EMPTY, Bridge, Event, format_eventbridge, format_webhook
from milepost.domain.event import BY_NAME, canonical_type
from milepost.domain.instant import SECOND, Instant, format_instant
from milepost.domain.resource import BUSINESS_PRODUCT, Resource
from milepost.sandbox.default_query import default_answer
from milepost.sandbox.events import API_VERSION
from milepost.sandbox.world import uuid_text


class Named(Struct, frozen=True):
    """The ids that the caller gives; None for those to draw."""

    business_product_id: str | None = None
    order_id: str | None = None
    delivery_id: str | None = None
    carrier_code: str | None = None
    tracking_number: str | None = None


class Example(Struct, frozen=True):
    """The event and the bytes to post."""

    event: Event
    body: bytes


def example_document(
    descriptor: str, named: Named, draw: random.Random, now: Instant, eventbridge: bool
) -> Example:
    """An event of the type `descriptor` names (any name; an unknown type gets a delivery's resource)."""
    given = {
        "order": named.order_id,
        "delivery": named.delivery_id,
        "carrier": named.carrier_code or "ups",
        "tracker": named.tracking_number or f"1Z{draw.randrange(10**16):016d}",
    }
    known = BY_NAME.get(canonical_type(descriptor))
    form = known.resource_form if known is not None else ("order", "delivery")
    product = named.business_product_id or f"bp-{uuid_text(draw)}"
    pairs = tuple((key, given.get(key) or uuid_text(draw)) for key in form)
    resource = Resource.of(((BUSINESS_PRODUCT, product), *pairs))
    event_id, subscription = uuid_text(draw), uuid_text(draw)
    published_at = Instant(now // SECOND * SECOND)
    delivered = known is not None and known.name == "PACKAGE_DELIVERED"
    event = Event(
        b64encode(f"{subscription}#{event_id}".encode()).decode(),
        descriptor,
        canonical_type(descriptor),
        (resource,),
        event_id,
        API_VERSION,
        subscription,
        format_instant(published_at),
        published_at,
        Raw(msgspec.json.encode(_delivered(resource, given, draw))) if delivered else EMPTY,
    )
    if not eventbridge:
        return Example(event, format_webhook(event))
    bridge = Bridge(
        "0",
        uuid_text(draw),
        descriptor,
        "aws.partner/buywithprime/milepost-example",
        "123456789012",
        event.event_time,
        "us-east-1",
        (str(resource),),
    )
    return Example(event, format_eventbridge(event, bridge))


def _delivered(resource: Resource, given: dict[str, str | None], draw: random.Random) -> dict[str, object]:
    tracker = {
        "packageTrackerIdentifier": {"trackingNumber": given["tracker"], "carrierCode": given["carrier"]},
        "trackingUrl": f"https://track.example.com/{given['carrier']}/{given['tracker']}",
    }
    detail = {
        "id": resource.delivery_id,
        "state": "DELIVERED",
        "packageTracker": tracker,
        "packageInformationDetailsFor": {
            "orderLineItems": [{"lineItem": {"id": f"{draw.randrange(10**10):010d}"}}]
        },
    }
    return default_answer(
        "PACKAGE_DELIVERED",
        {
            "id": resource.order_id,
            "aliases": [{"aliasId": f"shop-{draw.randrange(10**6)}", "aliasType": "EXTERNAL_ID"}],
            "packageInformation": {"details": [detail]},
        },
    )
