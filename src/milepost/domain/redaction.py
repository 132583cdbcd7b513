"""Redaction: a body, or an entry of a ledger, without what is personal in it, which every fold reads as before.

What stays is listed: ids, codes, types, times, quantities, money, titles of products, carriers and tracking numbers,
the place of a carrier's scan, the region that an order goes to, aliases (the merchant's numbers). Everything else
goes, whatever it is called: fields that nobody listed are left out of what came from others, and are null in what
Milepost wrote itself, whose readers expect them. So goes what a carrier's scan says in words, and the link to its
page, which opens for whoever has it.

The same facts follow from a redacted body but for what is gone: the same identity, states, stages, times and counts.
Redacting again changes nothing. When this is done is `pipeline.eraser`'s.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from milepost.domain.capture import Capture
from milepost.domain.contact import Choices
from milepost.domain.envelope import EMPTY, Event, format_eventbridge, format_webhook, parse_event
from milepost.domain.errors import Malformed
from milepost.domain.instant import parse_stamp
from milepost.domain.intent import Intent
from milepost.domain.notification import Notification
from milepost.domain.place import names_region
from milepost.domain.record import ConditionChange, Correction, Note, Settlement, Snapshot, Withdrawal

NOTHING: Final = b"{}"
"""What is left of a body of which nothing can be kept."""

_NOT_SAID: Final = "The reason was erased."

_OURS: Final = frozenset({"projector", "publisher", "notifier", "sweeper"})
"""Who writes reasons that name nobody. Anybody else's are words of people."""

Shape = Mapping[str, Any]
"""By field: KEEP, TIME, REGION, or the shape of what is in it. A list has its elements' shape; `OR_TEXT` beside
fields says that a text may stand in the place of the object."""
KEEP: Final = "keep"
TIME: Final = "time"
REGION: Final = "region"
OR_TEXT: Final = ""

_MONEY: Shape = {"amount": KEEP, "currencyCode": KEEP}
_AMOUNT: Shape = {"value": KEEP, "unit": KEEP}
_VALUE: Shape = {OR_TEXT: KEEP, "value": KEEP}
_ALIASES: Shape = {"aliasId": KEEP, "aliasType": KEEP}
_ITEMS: Shape = {"orderLineItems": {"lineItem": {"id": KEEP}, "amount": _AMOUNT}}
_SCAN: Shape = {
    "occurredAt": TIME,
    "status": {OR_TEXT: KEEP, "code": KEEP},
    "address": {"locality": KEEP, "region": KEEP, "country": KEEP, "countryCode": KEEP},
}
_TRACKER: Shape = {
    "packageTrackerIdentifier": {"trackingNumber": KEEP, "carrierCode": KEEP},
    "estimatedDeliveryDate": {"earliest": TIME, "latest": TIME},
    "milestones": _SCAN,
    "latestMilestone": _SCAN,
}
_PACKAGES: Shape = {
    "summary": {"state": KEEP},
    "details": {
        "id": KEEP,
        "state": KEEP,
        "reason": KEEP,
        "packageTracker": _TRACKER,
        "packageInformationDetailsFor": _ITEMS,
    },
}
_PRODUCT: Shape = {
    "id": KEEP,
    "productId": _VALUE,
    "externalId": _VALUE,
    "sku": _VALUE,
    "amazonSku": _VALUE,
    "title": KEEP,
    "price": _MONEY,
    "buyability": {"status": KEEP},
}
_REFUND: Shape = {
    "id": KEEP,
    "state": KEEP,
    "createdAt": TIME,
    "updatedAt": TIME,
    "refundTotal": {"totalAmount": _MONEY},
    "refundFor": _ITEMS,
}
_ORDER: Shape = {
    "id": KEEP,
    "aliases": _ALIASES,
    "recipients": {"shippingAddress": {"region": REGION, "countryCode": REGION}},
    "metadata": {"executionState": KEEP, "createdAt": TIME, "updatedAt": TIME},
    "lineItems": {
        "id": KEEP,
        "aliases": _ALIASES,
        "amount": _AMOUNT,
        "product": _PRODUCT,
        "packageInformation": _PACKAGES,
    },
    "packageInformation": _PACKAGES,
    "totalPrice": {"value": _MONEY},
    "payments": {"summary": {"state": KEEP, "amount": _MONEY}},
    "refunds": {"details": _REFUND},
    "returns": {"details": {"id": KEEP, "state": KEEP}},
}
_DATA: Shape = {"order": _ORDER, "packageTracker": _TRACKER, "product": _PRODUCT}
_SCALARS = (str, int, float, bool)

_TOLD: Final = frozenset(
    (
        "orderId",
        "deliveryId",
        "captureId",
        "carrierCode",
        "trackingNumber",
        "id",
        "state",
        "reason",
        "summary",
        "worstCondition",
        "deliveries",
        "pending",
        "inTransit",
        "delivered",
        "cancelled",
        "lineItems",
        "title",
        "quantity",
        "unit",
        "shippedAt",
        "shippedOn",
        "shippedAtZone",
        "deliveredAt",
        "deliveredOn",
        "deliveredAtZone",
        "estimatedDelivery",
        "earliest",
        "latest",
        "earliestDate",
        "latestDate",
        "zone",
        "original",
        "revisions",
        "trackers",
        "stage",
        "stageEnteredAt",
        "lastScanAt",
        "failedAttempts",
        "orders",
        "milestones",
        "code",
        "occurredAt",
        "localDate",
        "address",
        "locality",
        "region",
        "country",
        "standing",
        "inferred",
        "truncated",
        "subject",
        "kind",
        "source",
        "raisedAt",
        "clearedAt",
        "count",
        "evidence",
        "suggestion",
        "currencyCode",
        "amount",
        "method",
        "type",
        "at",
        "position",
        "eventId",
        "since",
        "businessDays",
        "international",
        "promised",
        "expected",
        "hours",
        "subscriberId",
    )
)
"""Fields of messages, and of what conditions are seen from, that say nothing of a person."""


def redact(body: bytes, kind: str) -> bytes:
    """A record's body (`kind` is the record's) or a quarantined one (`quarantine`) without what is personal.

    Total: of what cannot be read nothing is left."""
    try:
        return _REDACT.get(kind, _as_it_is)(body)
    except (Malformed, msgspec.MsgspecError, ValueError, RecursionError):
        return NOTHING


def redact_capture(capture: Capture) -> Capture:
    """A capture without the words that people gave as reasons."""
    history = tuple(step if step.by in _OURS else replace(step, reason="") for step in capture.history)
    said = history[-1].reason if history else ""
    return replace(capture, history=history, reason=capture.reason and said)


def redact_notification(notification: Notification) -> Notification:
    """A notification that no longer says to whom it was sent, nor why people wanted it otherwise."""
    history = tuple(step if step.by in _OURS else replace(step, reason="") for step in notification.history)
    said = history[-1].reason if history else ""
    return replace(
        notification,
        history=history,
        reason=notification.reason and said,
        recipient="",
        data=_told(notification.data),
    )


def redact_choices(choices: Choices) -> Choices:
    """What somebody chose, without the words of why they are blocked; they stay blocked."""
    return replace(choices, blocked=choices.blocked and _NOT_SAID)


def _as_it_is(body: bytes) -> bytes:
    return body


def _event(body: bytes) -> bytes:
    event = parse_event(body)
    data = event.data
    if data != EMPTY:
        data = Raw(msgspec.json.encode(_kept(event.decoded_data(), _DATA) or {}))
    return _written(replace(event, data=data, extra={}))


def _written(event: Event) -> bytes:
    if event.bridge is None:
        return format_webhook(event)
    return format_eventbridge(event, replace(event.bridge, time=_time(event.bridge.time) or "", extra={}))


def _snapshot(body: bytes) -> bytes:
    snapshot = msgspec.json.decode(body, type=Snapshot)
    shape = _ORDER if snapshot.query == "order" else _TRACKER
    answer = None if snapshot.answer is None else _kept(snapshot.answer, shape)
    return msgspec.json.encode(replace(snapshot, answer=answer))


def _intent(body: bytes) -> bytes:
    intent = msgspec.json.decode(body, type=Intent)
    return msgspec.json.encode(replace(intent, data=_told(intent.data)))


def _condition(body: bytes) -> bytes:
    change = msgspec.json.decode(body, type=ConditionChange)
    return msgspec.json.encode(replace(change, evidence=_told(change.evidence)))


def _settlement(body: bytes) -> bytes:
    return msgspec.json.encode(replace(msgspec.json.decode(body, type=Settlement), reason=""))


def _note(body: bytes) -> bytes:
    return msgspec.json.encode(replace(msgspec.json.decode(body, type=Note), text=""))


def _correction(body: bytes) -> bytes:
    return msgspec.json.encode(replace(msgspec.json.decode(body, type=Correction), reason=""))


def _withdrawal(body: bytes) -> bytes:
    return msgspec.json.encode(replace(msgspec.json.decode(body, type=Withdrawal), reason=""))


_REDACT: Final = {
    "event": _event,
    "conflict": _event,
    "quarantine": _event,
    "snapshot": _snapshot,
    "intent": _intent,
    "condition": _condition,
    "settlement": _settlement,
    "note": _note,
    "correction": _correction,
    "withdrawal": _withdrawal,
}
"""Authorizations and erasures hold nothing personal."""


def _kept(value: Any, shape: Any) -> Any:
    """What a shape lists of a value. A list keeps its length, since to some readers an empty one says something."""
    if isinstance(value, list):
        return [_kept(each, shape) for each in value]
    if isinstance(shape, str):
        if not isinstance(value, _SCALARS):
            return None
        return value if shape == KEEP else _time(value) if shape == TIME else _region(value)
    if isinstance(value, dict):
        return {name: _kept(each, shape[name]) for name, each in value.items() if name and name in shape}
    return value if OR_TEXT in shape and isinstance(value, _SCALARS) else None


def _time(value: object) -> str | None:
    """A time as it was written; None for anything else that stands in its place."""
    if not isinstance(value, str):
        return None
    try:
        parse_stamp(value)
    except ValueError:
        return None
    return value


def _region(value: object) -> str | None:
    """The name of a known region or country; None for anything else that stands in its place."""
    return value if isinstance(value, str) and names_region(value) else None


def _told(value: Any) -> Any:
    """Of a document of Milepost's own: null in the place of every field that is not listed."""
    if isinstance(value, Mapping):
        return {name: _told(each) if name in _TOLD else None for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_told(each) for each in value]
    return value
