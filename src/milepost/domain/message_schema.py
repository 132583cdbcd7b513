"""The JSON Schemas of Milepost's own messages: every type that a subscriber may get, described field by field.

They are derived from the structs here, which say what `intent_data` and `capture` put into `data`; tests hold real
messages against them. Within one `version` fields are only added, so a schema lets unknown ones through, and whoever
reads a message should, too. A list that was cut so that a message stays below 20 KB is marked by `truncated`.
"""

from functools import cache
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from milepost.domain import intent
from milepost.domain.intent import VERSION, Reason

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

Time = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
"""ISO 8601, UTC."""
Day = Annotated[str, Meta(extra_json_schema={"format": "date"})]
"""A local date, as the carrier wrote it."""

STANDING: Final = (
    "What was made of it: counts, or annotates, historyFill, contradicted, corrected, superseded, setAside or "
    "unmapped, which leave the stage alone."
)


class _Data(Struct, rename="camel"):
    """An object of a message."""


class Window(_Data):
    """A span of time: as written (a date, or a time), and as local dates."""

    earliest: str | None
    latest: str | None
    earliest_date: Day | None
    latest_date: Day | None


class Estimate(Window):
    """When a parcel is expected."""

    zone: str | None
    """How the zone is known: offset-explicit, utc, date-only or unknown."""
    original: Window | None
    """What was promised first."""
    revisions: int


class Item(_Data):
    """What of a line item is in a delivery."""

    id: str
    quantity: Any
    unit: str | None


class OrderItem(_Data):
    """A line item of an order."""

    id: str
    title: str | None
    quantity: Any
    unit: str | None


class Summary(_Data):
    """How many deliveries stand where."""

    state: str
    deliveries: int
    pending: int
    in_transit: int
    delivered: int
    cancelled: int
    worst_condition: str | None


class TrackerOfDelivery(_Data):
    """A tracking number of a delivery."""

    carrier_code: str
    tracking_number: str
    tracking_url: str | None
    stage: str


class DeliveryOfOrder(_Data, kw_only=True):
    """A delivery as it stands. `shippedOn` and `deliveredOn` are the local days; the zones say how they are known."""

    id: str
    state: str
    """PENDING, IN_TRANSIT, DELIVERED or CANCELLED."""
    reason: str | None
    shipped_at: Time | None
    shipped_on: Day | None
    shipped_at_zone: str | None
    delivered_at: Time | None
    delivered_on: Day | None
    delivered_at_zone: str | None
    estimated_delivery: Estimate | None
    line_items: list[Item]
    trackers: list[TrackerOfDelivery]


class OrderData(_Data, kw_only=True):
    """Of `order.updated`: the order as it stands."""

    order_id: str
    state: str
    summary: Summary
    line_items: list[OrderItem]
    deliveries: list[DeliveryOfOrder]
    truncated: bool = False


class DeliveryData(DeliveryOfOrder, kw_only=True):
    """Of `delivery.shipped`, `delivery.delivered` and `delivery.cancelled`: each told once in a delivery's life."""

    order_id: str
    delivery_id: str
    inferred: bool
    """No event said that it shipped: it was seen from something later."""
    truncated: bool = False


class Place(_Data):
    locality: str | None
    region: str | None
    country: str | None


class Milestone(_Data):
    """One scan of the carrier."""

    code: str
    occurred_at: Time | None
    local_date: Day | None
    zone: str | None
    message: str | None
    address: Place
    standing: Annotated[str, Meta(description=STANDING)]


class OrderOfTracker(_Data):
    order_id: str
    delivery_id: str | None


class TrackerData(_Data, kw_only=True):
    """Of `tracker.updated`: the tracker as it stands, with its newest milestones."""

    carrier_code: str
    tracking_number: str
    tracking_url: str | None
    stage: str
    stage_entered_at: Time | None
    estimated_delivery: Estimate | None
    last_scan_at: Time | None
    failed_attempts: int
    orders: list[OrderOfTracker]
    milestones: list[Milestone]
    truncated: bool = False


class CaptureItem(_Data):
    id: str
    amount: str


class Suggestion(_Data):
    """An amount that may be collected, from the order's prices; no instruction."""

    currency_code: str
    amount: str
    line_items: list[CaptureItem]
    method: str


class CaptureData(_Data, kw_only=True):
    """Of `capture.ready`: a delivery shipped, so its payment may be collected. `captureId` is the same for life: use
    it as the idempotency key."""

    capture_id: str
    order_id: str
    delivery_id: str
    line_items: list[Item]
    evidence: list[dict[str, Any]]
    """What showed that it shipped."""
    inferred: bool
    suggestion: Suggestion | None


class ConditionData(_Data, kw_only=True):
    """Of `condition.raised` and `condition.cleared`. The ids are those of what it is about."""

    subject: str
    code: str
    kind: str | None
    source: str | None
    raised_at: Time | None
    cleared_at: Time | None
    count: int | None
    evidence: dict[str, Any] | None
    order_id: str | None = None
    delivery_id: str | None = None
    carrier_code: str | None = None
    tracking_number: str | None = None
    truncated: bool = False


class Trial(_Data):
    """Of `test`: nothing happened."""

    subscriber_id: str


DATA: Final[dict[str, type[Struct]]] = {
    intent.ORDER_UPDATED: OrderData,
    intent.DELIVERY_SHIPPED: DeliveryData,
    intent.DELIVERY_DELIVERED: DeliveryData,
    intent.DELIVERY_CANCELLED: DeliveryData,
    intent.TRACKER_UPDATED: TrackerData,
    intent.CAPTURE_READY: CaptureData,
    intent.CONDITION_RAISED: ConditionData,
    intent.CONDITION_CLEARED: ConditionData,
    intent.TEST: Trial,
}
"""`data` by type."""


@cache
def schema_of(type: str) -> dict[str, Any]:
    """The schema of one type of message. Raises `KeyError` for a type that there is not."""
    data = DATA[type]
    body = msgspec.defstruct(
        "Message",
        [
            ("type", Literal[type]),
            ("timestamp", Time),
            ("version", Literal[VERSION]),
            ("business_product_id", str),
            ("reason", Reason),
            ("data", data),
        ],
        rename="camel",
    )
    derived = msgspec.json.schema(body)
    definitions = derived["$defs"]
    message = definitions.pop("Message")
    return {
        "$schema": DIALECT,
        "$id": f"urn:milepost:schema:{type}:{VERSION}",
        **message,
        "title": type,
        "$defs": definitions,
    }
