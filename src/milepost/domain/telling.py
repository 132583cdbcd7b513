"""What must be told of an order or a tracker: what it is now against what was last told of it.

`tell_order` and `tell_tracker` compare the standing of a freshly folded view with the one that was kept, and give
the intents, the captures that are due or held, and the standing to keep. Nothing here depends on which batch brought
what: whoever tells after every fold tells each change, whoever tells after many tells what is left of them.

`delivery.shipped`, `.delivered` and `.cancelled` are told once in a delivery's life; what changes them later (a
reopening, a correction, a time that is known better) goes by `order.updated`. Reasons: a step back, or a delivery
that is gone, is a `correction`, and so is a time that was told otherwise, unless something is new beside it; what was
only filled in about the past is `history_fill`.

What messages say is `intent_data`'s, when a capture is due `eligibility`'s, and written by the pipeline's `telling`.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from milepost.domain import intent as types
from milepost.domain.apportion import Priced, priced
from milepost.domain.capture import Capture, capture_id
from milepost.domain.eligibility import carriers_of, due_capture
from milepost.domain.evidence import CANCELLED, DELIVERED, IN_TRANSIT, PENDING
from milepost.domain.instant import Instant, parse_instant
from milepost.domain.intent import Intent, Reason
from milepost.domain.intent_data import condition_data, delivery_data, order_data, tracker_data
from milepost.domain.record import delivery_subject, order_subject, told_subject, tracker_subject
from milepost.domain.standing import (
    SHIPPED,
    TOLD_CANCELLED,
    TOLD_DELIVERED,
    DeliveryStanding,
    OrderStanding,
    TrackerStanding,
    condition_name,
    order_standing,
    read_order,
    read_tracker,
    tracker_standing,
    without_count,
)

Document = Mapping[str, Any]

_RANK = {PENDING: 0, CANCELLED: 1, IN_TRANSIT: 2, DELIVERED: 3}
_AFTER_DELIVERY = frozenset((DELIVERED, "RETURNING", "RETURNED"))
_encode = msgspec.json.Encoder().encode


class Birth(Struct, frozen=True):
    """A capture that is due, unless there is one; `shipped` tells that the delivery shipped, and goes with it."""

    capture: Capture
    priced: Priced | None
    shipped: Intent


class Hold(Struct, frozen=True):
    """A capture that is to be held for a reason, or (none) no longer: as it would be made now. None: the order does
    not show its delivery any more."""

    id: str
    order: tuple[str, str]
    """(business product, order id)."""
    capture: Capture | None
    priced: Priced | None
    reason: str


class Said(Struct, frozen=True):
    """What is to be told of one order or tracker."""

    standing: bytes
    """To be kept."""
    intents: Sequence[Intent]
    births: Sequence[Birth] = ()
    holds: Sequence[Hold] = ()


# ── Orders ─────────────────────────────────────────────────────────────────────────────────────────────────


def tell_order(
    order: Document, told: bytes | None, at: Instant, now: Instant, *, review_inferred: bool = False
) -> Said | None:
    """What is to be told of an order's view; None when nothing is. `at` is when the newest fact became so;
    `review_inferred` holds captures that are inferred."""
    before = None if told is None else read_order(told)
    known = {} if before is None else {d.id: d for d in before.deliveries}
    after = order_standing(order, known, review_inferred=review_inferred)
    if after == before:
        return None
    return _Order(order, before, after, known, at, now).tell()


def hush_order(order: Document, told: bytes | None, *, review_inferred: bool = False) -> bytes | None:
    """The standing to be kept of an order that only a remap changed, of which nobody is told anything; None when it
    is as it was. What payment hangs on stays as it was told: no capture follows from a remap. When something comes
    about the order, that is compared."""
    before = None if told is None else read_order(told)
    known = {} if before is None else {d.id: d for d in before.deliveries}
    after = order_standing(order, known, review_inferred=review_inferred)
    nothing = DeliveryStanding("", 0, "", "")
    deliveries = []
    for delivery in after.deliveries:
        old = known.get(delivery.id, nothing)
        deliveries.append(replace(delivery, flags=old.flags, hold=old.hold))
    after = replace(after, deliveries=tuple(deliveries))
    return None if after == before else _encode(after)


class _Order:
    """One order that changed, while it is told."""

    def __init__(
        self,
        order: Document,
        before: OrderStanding | None,
        after: OrderStanding,
        known: Mapping[str, DeliveryStanding],
        at: Instant,
        now: Instant,
    ) -> None:
        self._order, self._before, self._after, self._known = order, before, after, known
        self._id = order["id"]
        self._at, self._now = at, now
        self._about = (told_subject(order_subject(self._id)),)
        self._intents: list[Intent] = []
        self._births: list[Birth] = []
        self._holds: list[Hold] = []

    def tell(self) -> Said:
        shown = {d["id"]: d for d in self._order["deliveries"]}
        for new in self._after.deliveries:
            old = self._known.get(new.id)
            if new != old:
                delivery = shown.get(new.id)
                if old is not None and old.flags & SHIPPED and old.hold != new.hold:
                    self._hold(delivery, new)
                if delivery is not None:
                    self._tell_delivery(delivery, old, new)
        self._tell_order()
        return Said(_encode(self._after), self._intents, self._births, self._holds)

    def _tell_delivery(self, delivery: Document, old: DeliveryStanding | None, new: DeliveryStanding) -> None:
        carriers = carriers_of(delivery)
        fresh = new.flags & ~(0 if old is None else old.flags)
        if fresh:
            self._tell_state(delivery, new, fresh, carriers)
        known = () if old is None else old.conditions
        if new.conditions != known:
            ids = {"orderId": self._id, "deliveryId": new.id}
            subject = delivery_subject(new.id)
            for kind, when, data in _condition_changes(delivery["conditions"], known, subject, self._at):
                told = Intent(kind, when, "new", {**data, **ids}, self._about, self._id, new.id, carriers)
                self._intents.append(told)

    def _tell_state(
        self, delivery: Document, new: DeliveryStanding, fresh: int, carriers: tuple[str, ...]
    ) -> None:
        order, data = self._order, delivery_data(delivery)
        told = (data, self._about, self._id, new.id, carriers)
        if fresh & SHIPPED:
            # That it shipped became known together with how it ended, or after that.
            reason: Reason = "history_fill" if new.flags & (TOLD_DELIVERED | TOLD_CANCELLED) else "new"
            when = _at(delivery["shippedAt"] or delivery["shipEvidence"]["at"], self._at)
            shipped = Intent(types.DELIVERY_SHIPPED, when, reason, *told)
            capture = due_capture(order, delivery, new.hold, self._now)
            self._births.append(Birth(capture, priced(order, delivery), shipped))
        if fresh & TOLD_DELIVERED:
            when = _at(delivery["deliveredAt"], self._at)
            self._intents.append(Intent(types.DELIVERY_DELIVERED, when, "new", *told))
        if fresh & TOLD_CANCELLED:
            when = _at(delivery["events"]["cancelled"], self._at)
            self._intents.append(Intent(types.DELIVERY_CANCELLED, when, "new", *told))

    def _hold(self, delivery: Document | None, new: DeliveryStanding) -> None:
        product = self._order["businessProductId"]
        made = None if delivery is None else due_capture(self._order, delivery, new.hold, self._now)
        prices = None if delivery is None else priced(self._order, delivery)
        capture = capture_id(product, self._id, new.id)
        self._holds.append(Hold(capture, (product, self._id), made, prices, new.hold))

    def _tell_order(self) -> None:
        order, before, after = self._order, self._before, self._after
        known = () if before is None else before.conditions
        if after.conditions != known:
            subject = order_subject(self._id)
            for kind, when, data in _condition_changes(order.get("conditions", ()), known, subject, self._at):
                told = Intent(kind, when, "new", {**data, "orderId": self._id}, self._about, self._id)
                self._intents.append(told)
        if before is None or _updates(after) != _updates(before):
            carriers = tuple(dict.fromkeys(c for d in order["deliveries"] for c in carriers_of(d)))
            reason: Reason = "new" if before is None else _order_reason(before, after)
            data = order_data(order)
            updated = Intent(
                types.ORDER_UPDATED, self._at, reason, data, self._about, self._id, None, carriers
            )
            self._intents.append(updated)


def _updates(standing: OrderStanding) -> object:
    """What `order.updated` tells of. Conditions have messages of their own; flags and holds follow from the rest."""
    shown = [
        (d.id, d.state, d.reason, d.shipped_at, d.delivered_at, d.estimate, d.items)
        for d in standing.deliveries
        if d.state
    ]
    return standing.state, standing.worst, standing.items, shown


def _order_reason(before: OrderStanding, after: OrderStanding) -> Reason:
    known = {d.id: d for d in before.deliveries}
    new, corrected, filled = before.items != after.items, False, False
    for delivery in after.deliveries:
        old = known.get(delivery.id)
        if old is None or not old.state:
            new = new or bool(delivery.state)
            continue
        if not delivery.state or _RANK.get(delivery.state, 0) < _RANK.get(old.state, 0):
            return "correction"
        new = new or _news(old) != _news(delivery)
        for earlier, later in (
            (old.shipped_at, delivery.shipped_at),
            (old.delivered_at, delivery.delivered_at),
        ):
            corrected = corrected or (earlier is not None and later != earlier)
            filled = filled or (earlier is None and later is not None)
    if new or not (corrected or filled):
        return "new"
    return "correction" if corrected else "history_fill"


def _news(delivery: DeliveryStanding) -> object:
    return delivery.state, delivery.reason, delivery.estimate, delivery.items


# ── Trackers ───────────────────────────────────────────────────────────────────────────────────────────────


def tell_tracker(tracker: Document, told: bytes | None, at: Instant) -> Said | None:
    """What is to be told of a tracker's view; None when nothing is."""
    before = None if told is None else read_tracker(told)
    after = tracker_standing(tracker)
    if after == before:
        return None
    carrier, number = tracker["carrierCode"], tracker["trackingNumber"]
    subject, orders = tracker_subject(carrier, number), tracker["orders"]
    about = tuple(dict.fromkeys(told_subject(order_subject(o["orderId"])) for o in orders))
    about = about or (told_subject(subject),)
    order_id = orders[0]["orderId"] if orders else None
    intents: list[Intent] = []
    known = () if before is None else before.conditions
    if after.conditions != known:
        ids = {"carrierCode": carrier, "trackingNumber": number}
        # Once an order shows it, what is open is told of the delivery.
        for kind, when, data in _condition_changes(
            tracker["conditions"], known, subject, at, raising=not orders
        ):
            intents.append(Intent(kind, when, "new", {**data, **ids}, about, order_id, None, (carrier,)))
    if _news_of_tracker(before, after):
        reason: Reason = "new" if before is None else _tracker_reason(before, after)
        data = tracker_data(tracker)
        intents.append(Intent(types.TRACKER_UPDATED, at, reason, data, about, order_id, None, (carrier,)))
    return Said(_encode(after), intents)


def _news_of_tracker(before: TrackerStanding | None, after: TrackerStanding) -> bool:
    """A tracker of which nothing is known yet is no news."""
    if before is None:
        return bool(after.milestones or after.estimate)
    return replace(before, conditions=()) != replace(after, conditions=())


def _tracker_reason(before: TrackerStanding, after: TrackerStanding) -> Reason:
    if after.doubted > before.doubted:
        return "correction"
    if before.stage == DELIVERED and after.stage not in _AFTER_DELIVERY:
        return "correction"
    moved = after.stage != before.stage or after.entered_at != before.entered_at
    news = moved or after.last_scan_at != before.last_scan_at or after.estimate != before.estimate
    return "new" if news else "history_fill"


# ── Conditions and small things ────────────────────────────────────────────────────────────────────────────


def _condition_changes(
    conditions: Sequence[Document],
    known: Sequence[str],
    subject: str,
    at: Instant,
    *,
    raising: bool = True,
) -> Iterator[tuple[str, Instant, dict[str, Any]]]:
    """(type, when, data) of each condition that was raised, and of each that was told and is no longer open."""
    still: set[str] = set()
    cleared: dict[str, Document] = {}
    for condition in conditions:
        name = condition_name(condition)
        if condition["clearedAt"] is not None:
            cleared[without_count(name)] = condition
            continue
        still.add(without_count(name))
        if raising and name not in known:
            data = condition_data(subject, condition)
            yield types.CONDITION_RAISED, _at(condition["raisedAt"], at), data
    for name in dict.fromkeys(map(without_count, known)):
        if name not in still:
            code, kind, _ = name.split("|", 2)
            condition = cleared.get(name) or {"code": code, "kind": kind or None}
            data = condition_data(subject, condition)
            yield types.CONDITION_CLEARED, _at(condition.get("clearedAt"), at), data


def _at(text: str | None, otherwise: Instant) -> Instant:
    return otherwise if text is None else parse_instant(text)
