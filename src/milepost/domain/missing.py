"""What should have come next and did not: expected-next timers of deliveries and trackers (tracking.md 9.4 D3, 12.6).

| code         | of       | expected by                                                          | then asked |
|--------------|----------|----------------------------------------------------------------------|------------|
| notShipped   | delivery | 2 days after its order was made, while it is pending                 | order      |
| silent       | delivery | 2 days after it was shipped, or after the last scan of its trackers  | order      |
| pastEstimate | delivery | the end of the estimated local day and the grace, while under way    | order      |
| trackerAhead | delivery | 6 h after a tracker moved or was delivered, and no event said so     | order      |
| trackerBehind| tracker  | 2 days after its last scan, while no delivery of it is open          | tracker    |

An order's answer shows its trackers too, so a tracker is asked only where no open delivery asks already: the order
says delivered and the carrier does not, or no order is known.

Each timer is an instant that follows from the view document alone. What is overdue is asked when the timer ends and
again after the `PAUSES`; which of these moments fall between two looks is all that has to be remembered. What to do
about it is `pipeline.reconciler`'s, what a human is told `condition`'s.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

from msgspec import Struct

from milepost.domain.condition import Policy, end_of_promise, first_of
from milepost.domain.instant import DAY, HOUR, Instant, readable_instant
from milepost.domain.record import order_subject, tracker_subject

Document = Mapping[str, Any]
Code = Literal["notShipped", "silent", "pastEstimate", "trackerAhead", "trackerBehind"]

QUIET_MS = 2 * DAY
"""So long may nothing be heard of a parcel: carriers scan on most days."""

PAUSES = (0, 6 * HOUR, *(n * DAY for n in (1, 2, 3, 5, 7, 10, 14, 21, 30, 45, 60, 75)))
"""How long after a timer ended it is asked (again). After the last nobody asks by himself any more."""

OPEN_DELIVERIES = ("PENDING", "IN_TRANSIT")
OPEN_TRACKERS = (
    "UNKNOWN",
    "PENDING",
    "INFO_RECEIVED",
    "IN_TRANSIT",
    "OUT_FOR_DELIVERY",
    "AVAILABLE_FOR_PICKUP",
    "RETURNING",
    "UNDELIVERABLE",
)
"""The states in which more is to be expected."""


class Expected(Struct, frozen=True):
    """Something that should have been heard of by now, or will have to be."""

    code: Code
    since: str
    """What the timer runs from, as the document has it."""
    due_at: Instant


def of_delivery(delivery: Document, order: Document | None, policy: Policy) -> list[Expected]:
    """The timers of a delivery, from its view's document and its order's."""
    if delivery["state"] not in OPEN_DELIVERIES:
        return []
    return [*_next_of(delivery, order), *_estimate(delivery, policy), *_ahead(delivery, policy)]


def of_tracker(tracker: Document) -> list[Expected]:
    """The timer of a tracker whose deliveries are not open, or that has none."""
    if tracker["stage"] not in OPEN_TRACKERS:
        return []
    since = tracker["lastScanAt"] or tracker["stageEnteredAt"] or tracker["lastFactAt"]
    return list(_timer("trackerBehind", since, QUIET_MS))


def is_asked(expected: Iterable[Expected], after: Instant, until: Instant) -> bool:
    """Whether one of these is to be asked by a look at `until`, when the look before was at `after`."""
    return any(after < one.due_at + pause <= until for one in expected for pause in PAUSES)


def overdue(expected: Iterable[Expected], now: Instant) -> list[Expected]:
    """Those whose time has come, and that are not given up yet; the longest overdue first."""
    late = [one for one in expected if one.due_at <= now <= one.due_at + PAUSES[-1]]
    return sorted(late, key=lambda one: one.due_at)


def next_ask(expected: Iterable[Expected], now: Instant) -> Instant | None:
    """When it is asked next."""
    moments = (Instant(one.due_at + pause) for one in expected for pause in PAUSES)
    return min((at for at in moments if at > now), default=None)


def target_of(document: Document, kind: Literal["delivery", "tracker"]) -> str:
    """What is asked about it, as the subject that hydration asks."""
    if kind == "delivery":
        return order_subject(document["orderId"])
    return tracker_subject(document["carrierCode"], document["trackingNumber"])


def _next_of(delivery: Document, order: Document | None) -> Iterator[Expected]:
    shipped = (delivery["shipEvidence"] or {}).get("at")
    if shipped is None:
        yield from _timer("notShipped", (order or {}).get("createdAt"), QUIET_MS)
        return
    scans = [m["occurredAt"] for t in delivery["trackers"] for m in t["milestones"]]
    yield from _timer("silent", _last([shipped, *scans]), QUIET_MS)


def _estimate(delivery: Document, policy: Policy) -> Iterator[Expected]:
    estimate = delivery["estimatedDelivery"]
    day = estimate and (estimate["latestDate"] or estimate["earliestDate"])
    if day:
        end = end_of_promise(estimate["latest"] or estimate["earliest"], day, policy.calendar)
        yield Expected("pastEstimate", day, Instant(end + policy.late_grace_hours * HOUR))


def _ahead(delivery: Document, policy: Policy) -> Iterator[Expected]:
    """D3: the carrier is ahead of the order's events, so that one of them may have been lost."""
    trackers = delivery["trackers"]
    there = [t["deliveredAt"] for t in trackers if t["stage"] == "DELIVERED"]
    yield from _timer("trackerAhead", first_of(there), policy.tracker_without_delivered_hours * HOUR)
    if delivery["claimedState"] == "PENDING":
        moved = first_of(t["shippedAt"] for t in trackers)
        yield from _timer("trackerAhead", moved, policy.moving_without_ship_event_hours * HOUR)


def _timer(code: Code, since: str | None, after_ms: int) -> Iterator[Expected]:
    if since is not None and (at := readable_instant(since)) is not None:
        yield Expected(code, since, Instant(at + after_ms))


def _last(times: Iterable[str | None]) -> str | None:
    readable = ((at, text) for text in times if (at := readable_instant(text)) is not None)
    return max(readable, default=(None, None))[1]
