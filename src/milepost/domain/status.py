"""The status of an order for the shopper who placed it: what may be shown outside, made from the order's view.

State, estimated delivery, milestones by local day, and items. What is not named here does not get out: no note, no
address or place (a carrier's own message may hold one, so milestones say our sentence for their code), no condition,
no customer, no price, no tracking number or carrier's link, no id of Milepost's. A milestone that a later scan
belied, that was retracted, or whose code Milepost does not know is left out: a shopper is told what stands.

Dates are those that were written where the parcel was, whoever looks from wherever (tracking.md 9.1).
"""

from collections.abc import Iterable, Mapping
from typing import Any

from milepost.domain.wording import MILESTONE_TEXTS

Document = Mapping[str, Any]

_SHOWN = frozenset({"counts", "historyFill"})
_UNDER_WAY = frozenset({"PENDING", "IN_TRANSIT"})


def status_of(order: Document) -> dict[str, Any]:
    """The shopper's document of an order view."""
    items = {item["id"]: item for item in order["lineItems"]}
    summary = order["summary"]
    return {
        "orderId": order["id"],
        "state": order["state"],
        "summary": {k: summary[k] for k in ("deliveries", "pending", "inTransit", "delivered", "cancelled")},
        "estimatedDelivery": _whole_estimate(order["deliveries"]),
        "items": [_item(item, item["quantity"], item["unit"]) for item in items.values()],
        "deliveries": [_delivery(delivery, items) for delivery in order["deliveries"]],
    }


def _delivery(delivery: Document, items: Mapping[str, Document]) -> dict[str, Any]:
    nothing = {"title": None}
    return {
        "state": delivery["state"],
        "stages": [{"carrierCode": t["carrierCode"], "stage": t["stage"]} for t in delivery["trackers"]],
        "shippedOn": delivery["shippedOn"],
        "deliveredOn": delivery["deliveredOn"],
        "estimatedDelivery": _estimate(delivery),
        "items": [
            _item(items.get(held["id"], nothing), held["quantity"], held["unit"])
            for held in delivery["lineItems"]
        ],
        "days": _days(m for tracker in delivery["trackers"] for m in tracker["milestones"]),
    }


def _item(item: Document, quantity: object, unit: object) -> dict[str, Any]:
    return {"title": item["title"], "quantity": quantity, "unit": unit}


def _estimate(delivery: Document) -> dict[str, str | None] | None:
    """The window of local days; none of a delivery that has ended."""
    estimate = delivery["estimatedDelivery"]
    if estimate is None or delivery["state"] not in _UNDER_WAY:
        return None
    first, last = estimate["earliestDate"], estimate["latestDate"]
    return {"earliest": first or last, "latest": last or first} if first or last else None


def _whole_estimate(deliveries: Iterable[Document]) -> dict[str, str | None] | None:
    """From the first day of any delivery under way to the last day of any."""
    windows = [window for delivery in deliveries if (window := _estimate(delivery)) is not None]
    if not windows:
        return None
    return {
        "earliest": min(filter(None, (w["earliest"] for w in windows)), default=None),
        "latest": max(filter(None, (w["latest"] for w in windows)), default=None),
    }


def _days(milestones: Iterable[Document]) -> list[dict[str, Any]]:
    """Milestones by the local day on which they occurred, oldest first; those without a day come first."""
    shown = [m for m in milestones if m["standing"] in _SHOWN and m["code"] in MILESTONE_TEXTS]
    days: dict[str, list[dict[str, Any]]] = {}
    for milestone in sorted(shown, key=lambda m: (m["occurredAt"] or "", m["code"])):
        days.setdefault(milestone["localDate"] or "", []).append(
            {
                "code": milestone["code"],
                "text": MILESTONE_TEXTS[milestone["code"]],
                "occurredAt": None if milestone["zone"] == "date-only" else milestone["occurredAt"],
            }
        )
    return [{"date": day or None, "milestones": days[day]} for day in sorted(days)]
