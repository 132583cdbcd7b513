"""Rows of the datasets that show how things stand: views as stored, and entries of the ledgers (`feed` names the
columns). Facts are `feed_facts`'.

Views are read tolerantly: one that an older version folded lacks what it did not know, and erased fields may be null.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from milepost.domain.accounting import Entry
from milepost.domain.capture import PROJECTOR, Capture, held_by
from milepost.domain.feed import Cell, Row
from milepost.domain.feed_facts import MAPPED
from milepost.domain.instant import readable_instant
from milepost.domain.mapping import ONLY_STANDARD, Mappings
from milepost.domain.notification import Notification

Document = Mapping[str, Any]


def order_row(number: int, order: Document) -> Row:
    """The row of an order's view."""
    summary, payment = order.get("summary") or {}, order.get("payment") or {}
    total, authorization = order.get("totalPrice") or {}, order.get("authorization") or {}
    counted = ("deliveries", "pending", "inTransit", "delivered", "cancelled", "worstCondition")
    return (
        number,
        order.get("id"),
        order.get("businessProductId"),
        order.get("state"),
        *(summary.get(name) for name in counted),
        readable_instant(order.get("createdAt")),
        order.get("destination"),
        total.get("amount"),
        total.get("currencyCode"),
        payment.get("state"),
        readable_instant(authorization.get("authorizedAt")),
        readable_instant(authorization.get("captureBefore")),
        _joined(alias.get("aliasId") for alias in order.get("aliases") or ()),
        len(order.get("lineItems") or ()),
        order.get("position"),
    )


def delivery_row(number: int, delivery: Document) -> Row:
    """The row of a delivery's view."""
    evidence, trackers = delivery.get("shipEvidence") or {}, delivery.get("trackers") or ()
    first = trackers[0] if trackers else {}
    return (
        number,
        delivery.get("id"),
        delivery.get("businessProductId"),
        delivery.get("orderId"),
        delivery.get("state"),
        delivery.get("reason"),
        delivery.get("claimedState"),
        *_when(delivery, "shipped"),
        *_when(delivery, "delivered"),
        readable_instant(evidence.get("at")),
        evidence.get("kind"),
        evidence.get("inferred"),
        *_estimate(delivery.get("estimatedDelivery")),
        len(trackers),
        first.get("carrierCode"),
        first.get("trackingNumber"),
        len(delivery.get("lineItems") or ()),
        _open(delivery),
        delivery.get("position"),
    )


def tracker_row(number: int, tracker: Document) -> Row:
    """The row of a tracker's view."""
    orders, instants = tracker.get("orders") or (), tracker.get("instants") or {}
    first = orders[0] if orders else {}
    return (
        number,
        tracker.get("businessProductId"),
        tracker.get("carrierCode"),
        tracker.get("trackingNumber"),
        first.get("orderId"),
        first.get("deliveryId"),
        len(orders),
        tracker.get("stage"),
        readable_instant(tracker.get("stageEnteredAt")),
        tracker.get("generation"),
        tracker.get("orphan"),
        *_estimate(tracker.get("estimatedDelivery")),
        readable_instant(instants.get("firstInfoAt")),
        readable_instant(instants.get("firstPossessionAt")),
        readable_instant(instants.get("firstOutForDeliveryAt")),
        readable_instant(instants.get("firstAttemptAt")),
        readable_instant(instants.get("readyAt")),
        readable_instant(instants.get("deliveredAt")),
        readable_instant(instants.get("returnStartedAt")),
        readable_instant(tracker.get("lastScanAt")),
        readable_instant(tracker.get("lastFactAt")),
        tracker.get("failedAttempts"),
        len(tracker.get("milestones") or ()),
        _open(tracker),
        tracker.get("position"),
    )


def milestone_rows(number: int, tracker: Document, mappings: Mappings = ONLY_STANDARD) -> Iterator[Row]:
    """The rows of a tracker's scans, oldest first. `mappings` are the versions of what codes mean."""
    # The version that a tracker is folded with is the one that held at its newest fact.
    version = mappings.at(tracker.get("position") or 0).version
    of = tracker.get("businessProductId"), tracker.get("carrierCode"), tracker.get("trackingNumber")
    for part, scan in enumerate(tracker.get("milestones") or ()):
        address, code = scan.get("address") or {}, scan.get("code")
        yield (
            number,
            part,
            *of,
            scan.get("generation"),
            code,
            MAPPED.get(code),
            readable_instant(scan.get("occurredAt")),
            scan.get("localDate"),
            scan.get("zone"),
            readable_instant(scan.get("observedAt")),
            scan.get("standing"),
            _joined(scan.get("flags") or ()),
            address.get("region"),
            address.get("country"),
            scan.get("position"),
            version,
        )


def entry_row(number: int, entry: Entry) -> Row:
    """The row of one of the accountant's rows."""
    evidence = entry.evidence
    return (
        number,
        entry.id,
        entry.business_product_id,
        entry.order_id,
        entry.delivery_id,
        entry.kind,
        entry.revision,
        entry.sign,
        entry.status,
        entry.reason,
        entry.occurred_at,
        entry.destination_date or None,
        entry.origin_date or None,
        entry.zone or None,
        entry.tax_period,
        entry.posting_period,
        entry.posted_at,
        evidence.get("kind"),
        evidence.get("position"),
        evidence.get("eventId") or None,
    )


def notification_row(number: int, notification: Notification) -> Row:
    """The row of a notification, without whom it was for and what was said about it: an answer of a mail server may
    hold the address, an agent's reason anything."""
    return (
        number,
        notification.id,
        notification.business_product_id,
        notification.order_id,
        notification.delivery_id or None,
        notification.kind,
        notification.ordinal or None,
        notification.state,
        notification.rule or None,
        notification.channel,
        notification.locale or None,
        notification.occurred_at,
        notification.decided_at,
        notification.due_at,
        notification.sent_at,
        notification.tries,
        len(notification.covers),
        notification.by_hand,
    )


def capture_row(number: int, capture: Capture) -> Row:
    """The row of a capture. Why people hold or void one is their text, and is left out."""
    suggestion = capture.suggestion or {}
    collected = [step.at for step in capture.history if step.state == "ACKED"]
    return (
        number,
        capture.id,
        capture.business_product_id,
        capture.order_id,
        capture.delivery_id,
        capture.state,
        capture.ready_at,
        capture.sent_at,
        collected[0] if collected else None,
        capture.inferred,
        capture.reason or None if held_by(capture) == PROJECTOR else None,
        suggestion.get("amount"),
        suggestion.get("currencyCode"),
        _joined(capture.carrier_codes),
        len(capture.line_items),
    )


def _when(delivery: Document, what: str) -> tuple[Cell, ...]:
    """(instant, local day, how the day is known, by what it is known)."""
    return (
        readable_instant(delivery.get(f"{what}At")),
        delivery.get(f"{what}On"),
        delivery.get(f"{what}AtZone"),
        delivery.get(f"{what}AtSource"),
    )


def _estimate(estimate: Any) -> tuple[Cell, ...]:
    estimate = estimate or {}
    promise = estimate.get("original") or {}
    return (
        estimate.get("earliestDate"),
        estimate.get("latestDate"),
        promise.get("earliestDate"),
        promise.get("latestDate"),
        estimate.get("revisions"),
    )


def _open(document: Document) -> str | None:
    conditions = document.get("conditions") or ()
    return _joined(dict.fromkeys(c.get("code") for c in conditions if c.get("clearedAt") is None))


def _joined(texts: Any) -> str | None:
    return " ".join(text for text in texts if isinstance(text, str)) or None
