"""What Milepost's own messages say: the `data` of each type of intent, from a view.

A message is no copy of a view: it has what whoever runs a shop needs, and never a name, an email or a street. It
stays below `LIMIT` bytes, so that it fits into any destination: lists that are too long are cut, and `truncated` says
so; the API has the whole.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

LIMIT: Final = 16_000
"""Bytes of `data`, encoded: with its envelope a message stays below 20 KB."""
_MOST: Final = 50
"""Elements of any list."""
_LONGEST: Final = 300
"""Characters of a text, once lists are short and it is too much all the same."""

Data = dict[str, Any]
Document = Mapping[str, Any]

_encode = msgspec.json.Encoder().encode


def order_data(order: Document) -> Data:
    """Of `order.updated`."""
    return fitted(
        {
            "orderId": order["id"],
            "state": order["state"],
            "summary": order["summary"],
            "lineItems": [
                {"id": i["id"], "title": i["title"], "quantity": i["quantity"], "unit": i["unit"]}
                for i in order["lineItems"]
            ],
            "deliveries": [_delivery(d) for d in order["deliveries"]],
        }
    )


def delivery_data(delivery: Document) -> Data:
    """Of `delivery.shipped`, `.delivered` and `.cancelled`."""
    evidence = delivery["shipEvidence"]
    return fitted(
        {
            "orderId": delivery["orderId"],
            "deliveryId": delivery["id"],
            **_delivery(delivery),
            "inferred": evidence is not None and evidence["inferred"],
        }
    )


def _delivery(delivery: Document) -> Data:
    return {
        "id": delivery["id"],
        "state": delivery["state"],
        "reason": delivery["reason"],
        "shippedAt": delivery["shippedAt"],
        "shippedOn": delivery["shippedOn"],
        "shippedAtZone": delivery["shippedAtZone"],
        "deliveredAt": delivery["deliveredAt"],
        "deliveredOn": delivery["deliveredOn"],
        "deliveredAtZone": delivery["deliveredAtZone"],
        "estimatedDelivery": delivery["estimatedDelivery"],
        "lineItems": delivery["lineItems"],
        "trackers": [
            {
                "carrierCode": t["carrierCode"],
                "trackingNumber": t["trackingNumber"],
                "trackingUrl": t["trackingUrl"],
                "stage": t["stage"],
            }
            for t in delivery["trackers"]
        ],
    }


def tracker_data(tracker: Document) -> Data:
    """Of `tracker.updated`: the newest milestones, oldest first."""
    milestones: Sequence[Document] = tracker["milestones"]
    data = {
        "carrierCode": tracker["carrierCode"],
        "trackingNumber": tracker["trackingNumber"],
        "trackingUrl": tracker["trackingUrl"],
        "stage": tracker["stage"],
        "stageEnteredAt": tracker["stageEnteredAt"],
        "estimatedDelivery": tracker["estimatedDelivery"],
        "lastScanAt": tracker["lastScanAt"],
        "failedAttempts": tracker["failedAttempts"],
        "orders": tracker["orders"],
        "milestones": [
            {
                "code": m["code"],
                "occurredAt": m["occurredAt"],
                "localDate": m["localDate"],
                "zone": m["zone"],
                "message": m["message"],
                "address": m["address"],
                "standing": m["standing"],
            }
            for m in milestones[-_MOST:]
        ],
    }
    fitting = fitted(data)
    return fitting | {"truncated": True} if len(milestones) > _MOST else fitting


def condition_data(subject: str, condition: Document) -> Data:
    """Of `condition.raised` and `condition.cleared`; whoever tells it adds the ids."""
    keys = ("code", "kind", "source", "raisedAt", "clearedAt", "count", "evidence")
    return fitted({"subject": subject, **{key: condition.get(key) for key in keys}})


def fitted(data: Data) -> Data:
    """The same while it is small enough, which it nearly always is; otherwise with shorter lists, then texts."""
    if len(_encode(data)) <= LIMIT:
        return data
    most = _MOST
    while most:
        short: Data = _cut(data, most, None) | {"truncated": True}
        if len(_encode(short)) <= LIMIT:
            return short
        most //= 2
    return {**_cut(data, 1, _LONGEST), "truncated": True}


def _cut(value: Any, most: int, longest: int | None) -> Any:
    if isinstance(value, Mapping):
        return {key: _cut(each, most, longest) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_cut(each, most, longest) for each in value[-most:]]
    return value[:longest] if isinstance(value, str) and longest is not None else value
