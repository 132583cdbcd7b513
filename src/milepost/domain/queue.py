"""Work queues: what somebody should look at, worked out from views (tracking.md 9.7, 12).

| queue                 | holds                                                | from              |
|-----------------------|------------------------------------------------------|-------------------|
| never-scanned         | NEVER_SCANNED                                        | order view        |
| stalled               | STALLED, TRACKING_EXPIRED                            | order view        |
| late, will-be-late    | LATE, WILL_BE_LATE                                   | order view        |
| attempted             | ATTEMPT_FAILED, as the carrier says                  | order view        |
| customer-action       | CUSTOMER_ACTION, as the carrier says                 | order view        |
| exception             | EXCEPTION, a parcel that is LOST, an UNDELIVERABLE   | order view        |
| contradiction         | CONTRADICTION of every kind                          | order view        |
| pickup-ageing         | PICKUP_AGING                                         | order view        |
| return-unconfirmed    | RETURN_UNCONFIRMED                                   | order view        |
| authorization-…       | AUTHORIZATION_EXPIRING, AUTHORIZATION_EXPIRED        | order view        |
| orphans               | ORPHAN: a tracker that no order has                  | tracker view      |
| unmapped-codes        | UNMAPPED_CODE                                        | tracker view      |
| captures-held, -failed| captures that are HELD, or FAILED                    | the ledger itself |

`items_of_order` and `items_of_tracker` are functions of one view document and nothing else, so a rebuild gives the
same rows. A delivery is in a queue once: of several trackers or kinds the one that began first stands for it. What a
carrier reported of a delivery that has ended is nobody's work any more, contradictions and unconfirmed returns apart.
What people do about an item (`Mark`) is theirs and in no view. What a queue tells its reader is `queue_guide`'s.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Literal, NamedTuple, get_args

from msgspec import Struct

from milepost.domain.condition import COUNTING
from milepost.domain.delivery import UNDELIVERABLE
from milepost.domain.instant import Instant, parse_instant, readable_instant
from milepost.domain.record import order_subject, tracker_subject

QueueName = Literal[
    "never-scanned",
    "stalled",
    "late",
    "will-be-late",
    "attempted",
    "customer-action",
    "exception",
    "contradiction",
    "pickup-ageing",
    "return-unconfirmed",
    "orphans",
    "unmapped-codes",
    "authorization-expiring",
    "authorization-expired",
    "captures-held",
    "captures-failed",
]
NAMES: Final[tuple[QueueName, ...]] = get_args(QueueName)
OF_CAPTURES: Final[Mapping[QueueName, Literal["HELD", "FAILED"]]] = {
    "captures-held": "HELD",
    "captures-failed": "FAILED",
}
"""The queues that are read from the ledger, and of which state."""

_QUEUE_OF: Final[Mapping[str, QueueName]] = {
    "NEVER_SCANNED": "never-scanned",
    "STALLED": "stalled",
    "TRACKING_EXPIRED": "stalled",
    "LATE": "late",
    "WILL_BE_LATE": "will-be-late",
    "ATTEMPT_FAILED": "attempted",
    "CUSTOMER_ACTION": "customer-action",
    "EXCEPTION": "exception",
    "CONTRADICTION": "contradiction",
    "PICKUP_AGING": "pickup-ageing",
    "RETURN_UNCONFIRMED": "return-unconfirmed",
    "AUTHORIZATION_EXPIRING": "authorization-expiring",
    "AUTHORIZATION_EXPIRED": "authorization-expired",
}
_OF_TRACKER: Final[Mapping[str, QueueName]] = {"ORPHAN": "orphans", "UNMAPPED_CODE": "unmapped-codes"}
_UNDER_WAY: Final = frozenset({"PENDING", "IN_TRANSIT"})
_LASTING: Final = frozenset({"CONTRADICTION", "RETURN_UNCONFIRMED"})
"""Conditions that somebody must look at even when the delivery has ended."""
_AT_THE_DESTINATION: Final = frozenset(
    {"OUT_FOR_DELIVERY", "DELIVERY_ATTEMPTED", "AVAILABLE_FOR_PICKUP", "DELIVERED"}
)
_LONGEST_DETAIL: Final = 200
_END_OF_TIME: Final = Instant(2**63 - 1)


class QueueItem(Struct, frozen=True):
    """One thing in one queue. Texts are empty where nothing is known."""

    queue: QueueName
    business_product_id: str
    subject: str
    """`order/{id}`, `order/{id}/delivery/{id}`, `tracker/{carrier code}/{number}`, or a capture's id: unique within
    business product and queue."""
    since: Instant
    """When the condition began, as its view has it."""
    order_id: str = ""
    delivery_id: str = ""
    carrier_code: str = ""
    tracking_number: str = ""
    region: str = ""
    """Where it goes, as far as a scan at its destination told: `US-WA`, or the country alone."""
    state: str = ""
    """The tracker's stage, else the delivery's state, else the order's."""
    detail: str = ""
    """The condition's code, a contradiction's kind, unmapped codes, a capture's reason."""
    count: int = 1
    """How bad it is, where that is counted: attempts, steps of waiting for pickup, unmapped scans."""


class Mark(Struct, frozen=True):
    """What people did about one item. It is about one raising: (business product, queue, subject, since)."""

    assignee: str = ""
    """Who has it; empty: nobody."""
    snoozed_until: Instant | None = None
    handled_count: int | None = None
    """It was handled when it was so bad; one that got worse is back. None: nobody has handled it."""
    reason: str = ""
    """Why it is snoozed, or what was done about it."""
    by: str = ""
    """Who did that last."""
    at: Instant = Instant(0)

    def hides_until(self, count: int) -> Instant:
        """Until when an item is out of sight: 0 when it isn't, the end of time when it was handled."""
        if self.handled_count is not None and count <= self.handled_count:
            return _END_OF_TIME
        return self.snoozed_until or Instant(0)


HANDLED: Final = _END_OF_TIME
"""What `Mark.hides_until` says of an item that was handled."""


class _Seen(NamedTuple):
    """A condition of a delivery, and the tracker it is of."""

    since: Instant
    carrier_code: str
    tracking_number: str
    detail: str
    times: int


def items_of_order(order: Mapping[str, Any]) -> tuple[QueueItem, ...]:
    """What of an order view's document is in a queue, in a fixed order."""
    product, order_id = order["businessProductId"], order["id"]
    found: list[QueueItem] = []
    for condition in _open(order):
        queue, since = _QUEUE_OF.get(condition["code"]), parse_instant(condition["raisedAt"])
        if queue is not None:
            subject, code = order_subject(order_id), condition["code"]
            found.append(
                QueueItem(queue, product, subject, since, order_id, state=order["state"], detail=code)
            )
    for delivery in order["deliveries"]:
        found += _items_of_delivery(product, order_id, delivery)
    return tuple(found)


def _items_of_delivery(product: str, order_id: str, delivery: Mapping[str, Any]) -> Iterator[QueueItem]:
    seen: dict[QueueName, list[_Seen]] = {}
    under_way = delivery["state"] in _UNDER_WAY
    for condition in _open(delivery):
        queue = _QUEUE_OF.get(condition["code"])
        if queue is not None and (under_way or condition["code"] in _LASTING):
            seen.setdefault(queue, []).append(_seen(condition))
    ended = list(_ended_badly(delivery))
    if ended:
        seen.setdefault("exception", []).extend(ended)
    if not seen:
        return
    region, stages = _destination(delivery["trackers"]), _stages(delivery["trackers"])
    for queue, conditions in seen.items():
        first = min(conditions)
        tracker = (first.carrier_code, first.tracking_number)
        if not first.tracking_number and delivery["trackers"]:
            shown = delivery["trackers"][0]
            tracker = (shown["carrierCode"], shown["trackingNumber"])
        yield QueueItem(
            queue,
            product,
            f"{order_subject(order_id)}/delivery/{delivery['id']}",
            first.since,
            order_id,
            delivery["id"],
            *tracker,
            region,
            stages.get(tracker, delivery["state"]),
            first.detail,
            max(each.times for each in conditions),
        )


def _seen(condition: Mapping[str, Any]) -> _Seen:
    evidence = condition["evidence"] or {}
    return _Seen(
        parse_instant(condition["raisedAt"]),
        evidence.get("carrierCode") or "",
        evidence.get("trackingNumber") or "",
        condition["kind"] or condition["code"],
        condition["count"] or 1,
    )


def _ended_badly(delivery: Mapping[str, Any]) -> Iterator[_Seen]:
    """A parcel that the carrier lost, and a delivery that could not be made."""
    if delivery["state"] in _UNDER_WAY:
        for tracker in delivery["trackers"]:
            if tracker["stage"] in ("LOST", "UNDELIVERABLE"):
                times = (_when(m) for m in tracker["milestones"] if m["code"] == tracker["stage"])
                since = min(times, default=Instant(0))
                yield _Seen(since, tracker["carrierCode"], tracker["trackingNumber"], tracker["stage"], 1)
    elif delivery["state"] == "CANCELLED" and delivery["reason"] == UNDELIVERABLE:
        shipped = (delivery["shipEvidence"] or {}).get("at")
        at = readable_instant(delivery["events"]["cancelled"] or shipped)
        yield _Seen(at or Instant(0), "", "", UNDELIVERABLE, 1)


def _when(milestone: Mapping[str, Any]) -> Instant:
    return parse_instant(milestone["occurredAt"] or milestone["observedAt"])


def items_of_tracker(tracker: Mapping[str, Any]) -> tuple[QueueItem, ...]:
    """What of a tracker view's document is in a queue by itself. Everything else about a parcel is its order's."""
    owners = tracker["orders"]
    owner = owners[0] if owners else {"orderId": "", "deliveryId": ""}
    found: list[QueueItem] = []
    for condition in _open(tracker):
        queue = _OF_TRACKER.get(condition["code"])
        if queue is None:
            continue
        codes = ", ".join((condition["evidence"] or {}).get("codes", ()))
        found.append(
            QueueItem(
                queue,
                tracker["businessProductId"],
                tracker_subject(tracker["carrierCode"], tracker["trackingNumber"]),
                parse_instant(condition["raisedAt"]),
                owner["orderId"],
                owner["deliveryId"] or "",
                tracker["carrierCode"],
                tracker["trackingNumber"],
                _destination([tracker]),
                tracker["stage"],
                codes[:_LONGEST_DETAIL] or condition["code"],
                condition["count"] or 1,
            )
        )
    return tuple(found)


def _open(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    # Views of orders that were folded before orders had conditions have none.
    for condition in document.get("conditions", ()):
        if condition["clearedAt"] is None:
            yield condition


def _stages(trackers: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], str]:
    return {(t["carrierCode"], t["trackingNumber"]): t["stage"] for t in trackers}


def _destination(trackers: Iterable[Mapping[str, Any]]) -> str:
    """The place of the last scan that only happens where a parcel goes to."""
    scans = [
        (_when(milestone), _place(milestone["address"] or {}))
        for tracker in trackers
        for milestone in tracker["milestones"]
        if milestone["code"] in _AT_THE_DESTINATION and milestone["standing"] in COUNTING
    ]
    return max((scan for scan in scans if scan[1]), default=(0, ""))[1]


def _place(address: Mapping[str, Any]) -> str:
    country, region = address.get("country") or "", address.get("region") or ""
    return f"{country}-{region}".strip("-")
