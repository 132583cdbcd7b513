"""Measuring parcels: from an order's view document to a `Measure` of each parcel (tracking.md 8).

Days are local at the destination as far as it is known: by the scans (`local_time`), else by the region that the
order goes to, UTC otherwise; and the promise is the day that was written.

What a tracker's milestones say comes before what events and answers say of the delivery (D4); an event's DELIVERED
counts for a tracker that shows none, unless that one took its DELIVERED back or went home. A first possession of
which only DELIVERED tells is no scan: nobody knows how long that parcel was under way.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, tzinfo
from functools import lru_cache
from typing import Any, Final, NamedTuple

from msgspec import Struct

from milepost.domain.business_calendar import BusinessCalendar
from milepost.domain.condition import COUNTING
from milepost.domain.instant import Instant, parse_instant, parse_stamp
from milepost.domain.leg import POSSESSION
from milepost.domain.local_time import WRITTEN_THERE, local_day, zone_of
from milepost.domain.measure import (
    CANCELLED,
    COMPLETE,
    CUSTOMER_ACTION,
    DELAYED,
    DELIVERED_BY,
    DWELLING,
    EXCEPTION,
    FALSE_DELIVERED,
    FIRST_OF_DELIVERY,
    FIRST_OF_ORDER,
    LOST,
    RETURNING,
    SHIP_EVENT,
    SHIPPED_BY,
    SHORT,
    STAGES,
    UNDELIVERABLE,
    Measure,
)
from milepost.domain.milestone import STAGE_OF
from milepost.domain.place import region_of
from milepost.domain.place import zone_of as zone_of_place
from milepost.domain.record import tracker_subject

Document = Mapping[str, Any]

_MARK_OF: Final = {
    "EXCEPTION": EXCEPTION,
    "CUSTOMER_ACTION": CUSTOMER_ACTION,
    "DELAYED": DELAYED,
    "LOST": LOST,
    "UNDELIVERABLE": UNDELIVERABLE,
    "RETURN_TO_SENDER": RETURNING,
}
_MARK_OF_STAGE: Final = {"RETURNING": RETURNING, "RETURNED": RETURNING}
_LAST_MILE: Final = ("DELIVERED", "OUT_FOR_DELIVERY", "AVAILABLE_FOR_PICKUP", "DELIVERY_ATTEMPTED")
_STAGE_OF_STATE: Final = {"PENDING": "PENDING", "IN_TRANSIT": "IN_TRANSIT", "DELIVERED": "DELIVERED"}
_OUTCOMES: Final = frozenset({"DELIVERED", "LOST", "UNDELIVERABLE"})
_ENDED_BADLY: Final = frozenset({"UNDELIVERABLE", "RETURNING", "RETURNED", "LOST"})
_EPOCH: Final = date(1970, 1, 1).toordinal()
_LONGEST_CODE: Final = 64
_CALENDAR: Final = BusinessCalendar()
_NUMBERS: Final = {stage: number for number, stage in enumerate(STAGES)}
_DWELLING: Final = frozenset(DWELLING)


class _Walk(Struct):
    """What the scans of one tracker tell, oldest first."""

    stage: str = "UNKNOWN"
    stage_at: int | None = None
    last_at: int | None = None
    first_scan: Document | None = None
    delivered: Document | None = None
    near: Document | None = None
    """The newest scan that was made where it goes, with a region."""
    first: dict[str, int] = {}
    """When each code was scanned first."""
    dwell: dict[str, int] = {}
    """Seconds in each stage that was left."""
    attempts: int = 0
    flags: int = 0


class _Promise(NamedTuple):
    begins_on: int | None
    on: int | None
    ends_at: int | None
    estimated_on: int | None
    revisions: int


_NO_PROMISE: Final = _Promise(None, None, None, None, 0)


def measures_of(order: Document) -> list[Measure]:
    """A row for every parcel of an order's view, in the order in which the view shows them."""
    ordered_at = _instant(order["createdAt"])
    country, _, region = (order.get("destination") or "").partition("-")
    usual = zone_of_place(country, region) or UTC
    rows: list[Measure] = []
    for delivery in order["deliveries"]:
        first = len(rows)
        zone = zone_of(delivery, usual)
        trackers = delivery["trackers"] or (None,)
        rows += [_parcel(order, delivery, tracker, zone, ordered_at) for tracker in trackers]
        rows[first].flags |= FIRST_OF_DELIVERY
    if rows:
        rows[0].flags |= FIRST_OF_ORDER
        _tell_of_order(rows, _is_short(order))
    return rows


def _parcel(
    order: Document, delivery: Document, tracker: Document | None, zone: tzinfo, ordered_at: Instant | None
) -> Measure:
    scans: Sequence[Document] = () if tracker is None else tracker["milestones"]
    walk, events = _walk(scans), delivery["events"]
    stage = _stage(delivery, tracker)
    shipped_at, shipped_on, shipped_by = _shipped(delivery, walk, zone)
    delivered_at, delivered_on, delivered_by = _delivered(delivery, stage, walk, zone)
    first, dwell = walk.first.get, walk.dwell.get
    promise = _promise(tracker, zone)
    return Measure(
        business_product_id=order["businessProductId"],
        order_id=order["id"],
        delivery_id=delivery["id"],
        tracker="" if tracker is None else _tracker_id(tracker["carrierCode"], tracker["trackingNumber"]),
        carrier="" if tracker is None else tracker["carrierCode"].upper()[:_LONGEST_CODE],
        origin=_region(walk.first_scan),
        destination=_region(walk.near) or order.get("destination") or "",
        delivery_state=delivery["state"],
        stage=_NUMBERS[stage],
        shipped_by=shipped_by,
        delivered_by=delivered_by,
        ordered_at=ordered_at,
        shipped_at=shipped_at,
        first_scan_at=None if walk.first_scan is None else _at(walk.first_scan),
        label_at=first("INFO_RECEIVED"),
        ship_event_at=_instant(events["inTransit"]),
        out_at=first("OUT_FOR_DELIVERY"),
        attempted_at=first("DELIVERY_ATTEMPTED"),
        ready_at=first("AVAILABLE_FOR_PICKUP"),
        delivered_at=delivered_at,
        delivered_event_at=_instant(events["delivered"]),
        returning_at=first("RETURN_TO_SENDER"),
        last_scan_at=walk.last_at,
        stage_at=walk.stage_at if walk.stage == stage else None,
        ordered_on=None if ordered_at is None else _day(local_day(ordered_at, zone)),
        shipped_on=shipped_on,
        delivered_on=delivered_on,
        promised_from=promise.begins_on,
        promised_on=promise.on,
        promise_ends_at=promise.ends_at,
        estimated_on=promise.estimated_on,
        revisions=promise.revisions,
        attempts=walk.attempts,
        milestones=len(scans),
        flags=walk.flags | _MARK_OF_STAGE.get(stage, 0) | _marks(delivery),
        order_due_at=None,
        order_days_late=None,
        in_pending=dwell("PENDING"),
        in_info_received=dwell("INFO_RECEIVED"),
        in_in_transit=dwell("IN_TRANSIT"),
        in_out_for_delivery=dwell("OUT_FOR_DELIVERY"),
        in_available_for_pickup=dwell("AVAILABLE_FOR_PICKUP"),
        in_lost=dwell("LOST"),
        in_undeliverable=dwell("UNDELIVERABLE"),
        in_returning=dwell("RETURNING"),
    )


# ── Scans ──────────────────────────────────────────────────────────────────────────────────────────────────


def _walk(scans: Sequence[Document]) -> _Walk:
    """Walk the scans that happened, as the view lists them: by time. The stages are `leg`'s, taken as decided."""
    walk = _Walk()
    after_contradicted = False
    for scan in scans:
        code, counts, at = scan["code"], scan["standing"] in COUNTING, _at(scan)
        if counts:
            _note(walk, scan, code, at)
        else:
            walk.flags |= FALSE_DELIVERED
        stage = _stage_after(walk.stage, code)
        if stage is None:
            continue
        walk.last_at = at
        if stage != walk.stage:
            if walk.stage_at is not None and counts and not after_contradicted and walk.stage in _DWELLING:
                walk.dwell[walk.stage] = walk.dwell.get(walk.stage, 0) + (at - walk.stage_at) // 1_000
            walk.stage, walk.stage_at, after_contradicted = stage, at, not counts
    return walk


def _note(walk: _Walk, scan: Document, code: str, at: int) -> None:
    walk.first.setdefault(code, at)
    walk.flags |= _MARK_OF.get(code, 0)
    if code == "DELIVERED":
        walk.delivered = scan
    elif code in POSSESSION:
        walk.first_scan = walk.first_scan or scan
        walk.attempts += code == "DELIVERY_ATTEMPTED"
    if code in _LAST_MILE and _region(scan):
        walk.near = scan


def _stage_after(stage: str, code: str) -> str | None:
    """The stage that a scan leads to (T1, T5-T7); None for a condition, which leads nowhere."""
    to = STAGE_OF.get(code)
    if to is None:
        return "OUT_FOR_DELIVERY" if code == "DELIVERY_ATTEMPTED" and stage in _OUTCOMES else None
    return stage if stage == "RETURNING" and to != "LOST" else to


def _at(scan: Document) -> int:
    """When it occurred; when it was first seen where it has no time or one in the future (T9)."""
    occurred = scan["occurredAt"]
    return parse_instant(
        scan["observedAt"] if occurred is None or "clock_suspect" in scan["flags"] else occurred
    )


def _on(scan: Document, zone: tzinfo) -> int:
    """Its local day: as it was written where it was written there (`local_time.day_of_scan`)."""
    if scan["localDate"] is not None and scan["zone"] in WRITTEN_THERE and not scan["flags"]:
        return _day(scan["localDate"])
    return _day(local_day(Instant(_at(scan)), zone))


def _region(scan: Document | None) -> str:
    if scan is None:
        return ""
    address = scan["address"]
    return region_of(address["country"], address["region"])


# ── The delivery ───────────────────────────────────────────────────────────────────────────────────────────


def _stage(delivery: Document, tracker: Document | None) -> str:
    """The tracker's; its delivery's where it tells none, and where that was cancelled."""
    stage = "UNKNOWN" if tracker is None else str(tracker["stage"])
    state = delivery["state"]
    if state == "CANCELLED":
        if delivery["reason"] != "UNDELIVERABLE":
            return "CANCELLED"
        return stage if stage in _ENDED_BADLY else "UNDELIVERABLE"
    if stage != "UNKNOWN" and stage in _NUMBERS:
        return stage
    return _STAGE_OF_STATE.get(state, "UNKNOWN")


def _marks(delivery: Document) -> int:
    flags = 0
    if delivery["state"] == "CANCELLED":
        flags = UNDELIVERABLE if delivery["reason"] == "UNDELIVERABLE" else CANCELLED
    events = delivery["events"]
    shipped, delivered = _instant(events["inTransit"]), _instant(events["delivered"])
    if shipped is not None and (delivered is None or shipped <= delivered):
        flags |= SHIP_EVENT
    return flags


def _shipped(delivery: Document, walk: _Walk, zone: tzinfo) -> tuple[int | None, int | None, int]:
    """(instant, day, source): the carrier's first scan, else the ship event, else the answer that showed it."""
    if walk.first_scan is not None:
        return _at(walk.first_scan), _on(walk.first_scan, zone), SHIPPED_BY.index("possession")
    at, source = _instant(delivery["events"]["inTransit"]), "event"
    if at is None and delivery["shippedAtSource"] == "snapshot":
        at, source = _instant(delivery["shippedAt"]), "snapshot"
    if at is None and walk.delivered is not None:
        return _at(walk.delivered), _on(walk.delivered, zone), SHIPPED_BY.index("possession")
    if at is None:
        return None, None, 0
    return at, _day(local_day(at, zone)), SHIPPED_BY.index(source)


def _delivered(
    delivery: Document, stage: str, walk: _Walk, zone: tzinfo
) -> tuple[int | None, int | None, int]:
    """(instant, day, source) of the delivery to the shopper."""
    scan = walk.delivered
    if stage == "DELIVERED" and scan is not None:
        return _at(scan), _on(scan, zone), DELIVERED_BY.index("milestone")
    at, source = _instant(delivery["deliveredAt"]), delivery["deliveredAtSource"]
    taken_back = walk.flags & FALSE_DELIVERED or stage in ("RETURNING", "RETURNED")
    if at is None or source not in ("event", "snapshot") or taken_back:
        return None, None, 0
    return at, _day(local_day(at, zone)), DELIVERED_BY.index(source)


def _promise(tracker: Document | None, zone: tzinfo) -> _Promise:
    """The original estimate and the current one. Where only its first day is known, that is the promise."""
    estimate = None if tracker is None else tracker["estimatedDelivery"]
    if estimate is None:
        return _NO_PROMISE
    original = estimate["original"]
    promised = original["latestDate"] or original["earliestDate"]
    written = original["latest"] or original["earliest"]
    return _Promise(
        _day_of(original["earliestDate"]),
        _day_of(promised),
        None if promised is None else _end_of(promised, written, zone),
        _day_of(estimate["latestDate"] or estimate["earliestDate"]),
        estimate["revisions"],
    )


# ── The order ──────────────────────────────────────────────────────────────────────────────────────────────


def _tell_of_order(rows: Sequence[Measure], short: bool) -> None:
    """What holds for the order as a whole; of parcels that were cancelled only that something is missing."""
    standing = [row for row in rows if not row.flags & CANCELLED]
    due_at = max((row.promise_ends_at for row in rows if row.promise_ends_at is not None), default=None)
    complete = bool(standing) and all(row.delivered_at is not None for row in standing)
    late = [
        None if row.delivered_on is None else row.delivered_on - row.promised_on
        for row in standing
        if row.promised_on is not None
    ]
    days_late = None if None in late else max((days for days in late if days is not None), default=None)
    flags = (SHORT if short else 0) | (COMPLETE if complete else 0)
    for row in rows:
        row.flags |= flags
        row.order_due_at, row.order_days_late = due_at, days_late


def _is_short(order: Document) -> bool:
    """Whether a line item is in no delivery that stands, or in fewer pieces than were ordered, where both are told.
    A cancelled delivery that was made anew lost nothing."""
    gone = {d["id"] for d in order["deliveries"] if d["state"] == "CANCELLED"}
    for item in order["lineItems"]:
        kept = [held for held in item["deliveries"] if held["deliveryId"] not in gone]
        if not kept:
            return True
        ordered, shipped = _number(item["quantity"]), [_number(held["quantity"]) for held in kept]
        if ordered is not None and None not in shipped and sum(filter(None, shipped)) < ordered:
            return True
    return bool(gone) and not order["lineItems"]


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None


# ── Numbers ────────────────────────────────────────────────────────────────────────────────────────────────


def _instant(text: str | None) -> Instant | None:
    return None if text is None else parse_instant(text)


@lru_cache(maxsize=4_096)
def _day(text: str) -> int:
    return date.fromisoformat(text).toordinal() - _EPOCH


def _day_of(text: str | None) -> int | None:
    return None if text is None else _day(text)


@lru_cache(maxsize=4_096)
def _end_of(promised: str, written: str | None, zone: tzinfo) -> int:
    """The end of the promised day where it was written, else in the destination's zone."""
    if written is not None and parse_stamp(written).zone == "offset-explicit":
        zone = datetime.fromisoformat(written).tzinfo or zone
    return _CALENDAR.end_of_day(date.fromisoformat(promised), zone)


@lru_cache(maxsize=4_096)
def _tracker_id(carrier_code: str, tracking_number: str) -> str:
    return tracker_subject(carrier_code, tracking_number).removeprefix("tracker/")
