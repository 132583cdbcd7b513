"""What Insights keeps of one parcel: times, local days, lengths and marks, as numbers (tracking.md 8).

A parcel is one tracker of a delivery, or a delivery that has none. Measures are a function of the set of facts, like
the view they are read from (`domain.measuring`); no clock plays a part: what depends on the time (overdue, still
moving since) is decided when a question is asked. Metrics are `pipeline.insights`'.
"""

from typing import Final

from msgspec import Struct

# Marks, the bits of `Measure.flags`.
EXCEPTION, CUSTOMER_ACTION, DELAYED, LOST, UNDELIVERABLE, RETURNING = 1, 2, 4, 8, 16, 32
CANCELLED: Final = 64
"""The delivery was cancelled and nothing of it moved, or as a normal end."""
FALSE_DELIVERED: Final = 128
"""A DELIVERED scan was contradicted by a later one (T5)."""
SHIP_EVENT: Final = 256
"""An in-transit event of the delivery was published, and not after its delivered event."""
FIRST_OF_DELIVERY, FIRST_OF_ORDER = 512, 1024
"""The row that stands for its delivery, for its order, where those are counted."""
SHORT: Final = 2048
"""Something of the order was not in any delivery that stands: cancelled, or fewer than were ordered."""
COMPLETE: Final = 4096
"""Every parcel of the order that was not cancelled was delivered."""

SHIPPED_BY: Final = ("", "possession", "event", "snapshot")
DELIVERED_BY: Final = ("", "milestone", "event", "snapshot")
"""Where a time comes from, by its number."""

STAGES: Final = (
    "UNKNOWN",
    "PENDING",
    "INFO_RECEIVED",
    "IN_TRANSIT",
    "OUT_FOR_DELIVERY",
    "AVAILABLE_FOR_PICKUP",
    "LOST",
    "UNDELIVERABLE",
    "RETURNING",
    "RETURNED",
    "DELIVERED",
    "CANCELLED",
)
"""Every stage a parcel can be in, by its number. CANCELLED is its delivery's, the others are the tracker's."""
DWELLING: Final = STAGES[1:9]
"""Stages that parcels stay in and leave."""


class Measure(Struct, array_like=True):
    """One parcel. Times are instants, days are counted from 1970-01-01, lengths are seconds; None: not known."""

    business_product_id: str
    order_id: str
    delivery_id: str
    tracker: str
    """`{carrier code, lower case}/{tracking number}`; empty for a delivery without one."""
    carrier: str
    """The carrier code, upper case; empty for a delivery without a tracker."""
    origin: str
    """The region of the carrier's first scan, such as US-CA; empty when not known."""
    destination: str
    """The region of the newest scan of the last mile; before there is one that of the order's recipient, if it is
    known; else empty."""
    delivery_state: str
    stage: int
    """Its number in STAGES."""
    shipped_by: int
    delivered_by: int
    ordered_at: int | None
    shipped_at: int | None
    first_scan_at: int | None
    label_at: int | None
    ship_event_at: int | None
    out_at: int | None
    """First out for delivery."""
    attempted_at: int | None
    """First failed attempt."""
    ready_at: int | None
    delivered_at: int | None
    delivered_event_at: int | None
    returning_at: int | None
    last_scan_at: int | None
    stage_at: int | None
    """Since when it is in its stage; None without a scan that began it."""
    ordered_on: int | None
    shipped_on: int | None
    delivered_on: int | None
    promised_from: int | None
    promised_on: int | None
    """Last day of the original estimate: the promise."""
    promise_ends_at: int | None
    """The end of that day at the destination."""
    estimated_on: int | None
    """Last day of the current estimate."""
    revisions: int
    attempts: int
    milestones: int
    flags: int
    order_due_at: int | None
    """When the last promise of the order's parcels ends; None without any."""
    order_days_late: int | None
    """Days that the worst of the order's promised parcels came after its promise (early: below 0); None before all
    of them came."""
    in_pending: int | None
    in_info_received: int | None
    in_in_transit: int | None
    in_out_for_delivery: int | None
    in_available_for_pickup: int | None
    in_lost: int | None
    in_undeliverable: int | None
    in_returning: int | None
    """How long it was in each stage that it left; visits that a contradicted scan begins or ends are left out."""
