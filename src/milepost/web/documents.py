"""The shapes of the view documents and of what is joined to them when they are read.

These describe, for `/openapi.json` and for tests, what the folds produce (`domain.tracker`, `delivery`, `order`,
`timeline`); the API sends the folds' documents as they are and does not rebuild them from these.
"""

from typing import Any

from msgspec import Struct


class Document(Struct, rename="camel"):
    """A JSON object with camelCase keys."""


class Hydration(Document):
    """What is still being asked of the Buy with Prime API about this, or was given up."""

    state: str
    """open or gaveUp."""
    tries: int
    due_at: str
    error: str
    """Why the last try did not answer; empty before the first."""


class LocalizedText(Document):
    locale: str
    text: str


class Address(Document):
    locality: str | None
    region: str | None
    country: str | None


class MilestoneDocument(Document):
    """One scan of a carrier. `standing` says what the fold made of it."""

    code: str
    raw_code: str
    occurred_at: str | None
    local_date: str | None
    zone: str | None
    message: str | None
    locale: str | None
    messages: list[LocalizedText]
    address: Address
    standing: str
    generation: int
    """Which life of the number it belongs to: carriers use numbers again."""
    flags: list[str]
    observed_at: str | None
    position: int


class OriginalEstimate(Document):
    earliest: str | None
    latest: str | None
    earliest_date: str | None
    latest_date: str | None


class Estimate(Document):
    """An estimated delivery window; the dates are local, as written."""

    earliest: str | None
    latest: str | None
    earliest_date: str | None
    latest_date: str | None
    zone: str | None
    original: OriginalEstimate | None
    revisions: int


class ConditionDocument(Document):
    """Something that rides on a stage: a delay, a failed attempt, a contradiction."""

    code: str
    kind: str | None
    source: str
    raised_at: str | None
    cleared_at: str | None
    count: int | None
    evidence: dict[str, Any]


class CorrectionDocument(Document):
    """What an agent knew better. `standing`: counts, or overtaken, contradicted or corrected by what came after it,
    withdrawn or expired."""

    id: str
    order_id: str
    state: str
    """A delivery's state, a tracker's stage."""
    occurred_at: str
    told_at: str
    author: str
    reason: str
    """Empty once its order was erased."""
    expires_at: str | None
    standing: str
    ended_at: str | None
    position: int


class TrackerInstants(Document):
    first_info_at: str | None
    first_possession_at: str | None
    first_out_for_delivery_at: str | None
    first_attempt_at: str | None
    ready_at: str | None
    delivered_at: str | None
    return_started_at: str | None


class TrackerOrder(Document):
    order_id: str
    delivery_id: str | None


class TrackerDocument(Document):
    """One tracking number of one carrier."""

    business_product_id: str
    carrier_code: str
    tracking_number: str
    tracking_url: str | None
    stage: str
    stage_entered_at: str | None
    generation: int
    orphan: bool
    orders: list[TrackerOrder]
    estimated_delivery: Estimate | None
    last_scan_at: str | None
    instants: TrackerInstants
    failed_attempts: int
    milestones: list[MilestoneDocument]
    conditions: list[ConditionDocument]
    corrections: list[CorrectionDocument]
    last_fact_at: str | None
    position: int
    hydration: Hydration | None = None


class DeliveryTracker(Document):
    carrier_code: str
    tracking_number: str
    tracking_url: str | None
    stage: str
    estimated_delivery: Estimate | None
    milestones: list[MilestoneDocument]
    corrections: list[CorrectionDocument]
    shipped_at: str | None
    delivered_at: str | None
    hydration: Hydration | None = None


class DeliveryLineItem(Document):
    id: str
    quantity: str | None
    unit: str | None


class ShipEvidence(Document):
    kind: str
    type: str | None
    position: int
    at: str | None
    inferred: bool


class CaptureSummary(Document):
    """Whether payment for a delivery may be collected, and how far that is; `/v1/captures/{id}` has all of it."""

    id: str
    """The same for life: the key under which to collect once."""
    state: str
    """NOT_READY until it shipped; then READY, SENT, ACKED, FAILED, HELD or VOID."""
    reason: str | None
    """Why it is held, void or failed."""
    ready_at: str | None
    sent_at: str | None


class DeliveryEvents(Document):
    """When the events of the delivery were published; null for those that never came."""

    in_transit: str | None
    delivered: str | None
    cancelled: str | None


class DeliveryDocument(Document):
    """One parcel of an order."""

    id: str
    business_product_id: str
    order_id: str
    state: str
    reason: str | None
    shipped_at: str | None
    shipped_on: str | None
    shipped_at_zone: str | None
    shipped_at_source: str | None
    delivered_at: str | None
    delivered_on: str | None
    delivered_at_zone: str | None
    delivered_at_source: str | None
    ship_evidence: ShipEvidence | None
    claimed_state: str | None
    """What Buy with Prime's order side says by itself, without the carrier."""
    events: DeliveryEvents
    estimated_delivery: Estimate | None
    line_items: list[DeliveryLineItem]
    trackers: list[DeliveryTracker]
    conditions: list[ConditionDocument]
    corrections: list[CorrectionDocument]
    capture: CaptureSummary | None
    position: int
    hydration: Hydration | None = None


class Alias(Document):
    alias_id: str
    alias_type: str | None


class Summary(Document):
    state: str
    deliveries: int
    pending: int
    in_transit: int
    delivered: int
    cancelled: int
    worst_condition: str | None


class Customer(Document):
    name: str | None
    email: str | None


class AuthorizationDocument(Document):
    """Until when payment of an order may be collected, as somebody told."""

    authorized_at: str | None
    capture_before: str
    told_at: str


class LineItemDelivery(Document):
    delivery_id: str
    quantity: str | None


class OrderLineItem(Document):
    id: str
    title: str | None
    quantity: Any
    unit: str | None
    price: Any
    deliveries: list[LineItemDelivery]


class OrderDocument(Document):
    """An order and its deliveries, as they stand."""

    id: str
    business_product_id: str
    aliases: list[Alias]
    state: str
    summary: Summary
    customer: Customer | None
    payment: dict[str, Any] | None
    authorization: AuthorizationDocument | None
    created_at: str | None
    total_price: Any
    line_items: list[OrderLineItem]
    deliveries: list[DeliveryDocument]
    conditions: list[ConditionDocument]
    """Of the order as a whole; a delivery's stand with the delivery."""
    position: int
    destination: str | None = None
    """The region that it goes to, such as US-OR; null where the API tells none."""
    hydration: Hydration | None = None


class TimelineDocument(Document):
    """One entry of an order's timeline."""

    occurred_at: str | None
    published_at: str | None
    received_at: str | None
    kind: str
    code: str
    delivery_id: str | None
    carrier_code: str | None
    tracking_number: str | None
    text: str
    position: int | None
    """Of its record; of a capture's entry the first evidence's, null where that is no record."""


class ExplainedFact(Document):
    """What the fold did with one fact."""

    position: int
    about: str
    """The order, delivery or tracker whose fold read it."""
    kind: str
    type: str
    what: str
    used: bool
    rule: str
    text: str
    received_at: str
    published_at: str | None
    arrivals: int
    """How often it arrived; 1 for what Milepost journalled itself."""
    flags: list[str]


class OrderExplanation(Document):
    view: OrderDocument
    facts: list[ExplainedFact]
    state: str


class DeliveryExplanation(Document):
    view: DeliveryDocument
    facts: list[ExplainedFact]
    state: str


class TrackerExplanation(Document):
    view: TrackerDocument
    facts: list[ExplainedFact]
    state: str
