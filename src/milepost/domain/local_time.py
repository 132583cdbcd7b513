"""Local days and hours where a delivery goes: what "that day" and "at night" mean to the shopper.

Views keep instants, the local date that was written and where its zone came from (tracking.md 9.1), but no offset; so
the destination's zone is, in this order: that of the place where the parcel was scanned last on its last mile; the
offset that the carrier wrote with the estimated delivery, which is a time at the destination; the business calendar's
zone, if the newest scans fall on the days they were written with there; the middle of the offsets for which they
do. An offset that the business calendar's zone has at that time is taken as that zone, so that summer time begins
and ends. Where a parcel set out says nothing of where it goes; scans in UTC, or without a zone, say nothing by
their time.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Any

from milepost.domain.instant import HOUR, Instant, instant_of, parse_instant, parse_stamp, to_datetime
from milepost.domain.place import zone_of as zone_of_place

Document = Mapping[str, Any]

_WESTMOST, _EASTMOST = -12 * HOUR, 14 * HOUR
_LAST_MILE = frozenset({"OUT_FOR_DELIVERY", "AVAILABLE_FOR_PICKUP", "DELIVERY_ATTEMPTED", "DELIVERED"})
WRITTEN_THERE = frozenset({"offset-explicit", "date-only", "unknown"})
"""Zones of which the date as it was written is the local one."""


def zone_of(delivery: Document, otherwise: tzinfo) -> tzinfo:
    """The zone where a delivery goes, as far as its view tells; `otherwise` is the business calendar's."""
    if (arrived := _zone_of_arrival(delivery)) is not None:
        return arrived
    estimate = delivery["estimatedDelivery"] or {}
    for text in (estimate.get("latest"), estimate.get("earliest")):
        if text is not None and parse_stamp(text).zone == "offset-explicit":
            moment = datetime.fromisoformat(text)
            there = moment.tzinfo or UTC
            return otherwise if moment.astimezone(otherwise).utcoffset() == moment.utcoffset() else there
    return _zone_of_scans(delivery, otherwise)


def _zone_of_arrival(delivery: Document) -> tzinfo | None:
    """Of the newest scan that was made where it goes, of those whose place is known."""
    near = [m for t in delivery["trackers"] for m in t["milestones"] if m["code"] in _LAST_MILE]
    near.sort(key=lambda m: (m["occurredAt"] or m["observedAt"], m["position"]), reverse=True)
    zones = (zone_of_place(m["address"]["country"], m["address"]["region"]) for m in near)
    return next((zone for zone in zones if zone is not None), None)


def _zone_of_scans(delivery: Document, otherwise: tzinfo) -> tzinfo:
    """The newest scans first, for as long as one offset fits them: a parcel may have crossed zones."""
    scans = [
        (parse_instant(m["occurredAt"]), m["localDate"])
        for tracker in delivery["trackers"]
        for m in tracker["milestones"]
        if m["zone"] == "offset-explicit" and m["occurredAt"] is not None
    ]
    if not scans:
        return otherwise
    scans.sort(reverse=True)
    low, high = _WESTMOST, _EASTMOST
    for at, day in scans:
        midnight = instant_of(datetime.combine(date.fromisoformat(day), time(), UTC))
        least, most = midnight - at, midnight - at + 24 * HOUR - 1
        if max(low, least) > min(high, most):
            break
        low, high = max(low, least), min(high, most)
    usual = _there(scans[0][0], otherwise).utcoffset() or timedelta()
    if low <= usual / timedelta(milliseconds=1) <= high:
        return otherwise
    return timezone(timedelta(hours=round((low + high) / 2 / HOUR)))


def _there(at: Instant, zone: tzinfo) -> datetime:
    """What the calendar and the clock on the wall show; at the ends of the calendar in UTC."""
    try:
        return to_datetime(at).astimezone(zone)
    except OverflowError:
        return to_datetime(at)


@lru_cache(maxsize=8_192)
def local_day(at: Instant, zone: tzinfo) -> str:
    """YYYY-MM-DD of an instant there; at the ends of the calendar in UTC, since programs that know no time write
    0001-01-01T00:00:00Z."""
    return _there(at, zone).date().isoformat()


def day_of_scan(milestone: Document, delivery: Document, otherwise: tzinfo) -> str:
    """The local day of a milestone of a delivery's view: as it was written where it was written there, else by its
    instant in the delivery's zone; of one without a time, by when it was first seen."""
    if milestone["localDate"] is not None and milestone["zone"] in WRITTEN_THERE:
        return str(milestone["localDate"])
    at = parse_instant(milestone["occurredAt"] or milestone["observedAt"])
    return local_day(at, zone_of(delivery, otherwise))


def end_of_quiet(now: Instant, zone: tzinfo, quiet_hours: tuple[int, int]) -> Instant | None:
    """When the quiet hours that it is now are over; None: these are none. From and to are minutes after midnight, by
    the clock on the wall there: an hour that is skipped or repeated is only as long as the wall shows it."""
    local = _there(now, zone)
    begin, end = quiet_hours
    minute = local.hour * 60 + local.minute
    over_midnight = begin > end
    quiet = minute >= begin or minute < end if over_midnight else begin <= minute < end
    if not quiet:
        return None
    day = local.date() + timedelta(days=1 if over_midnight and minute >= begin else 0)
    return max(_on_the_wall(day, end, zone), Instant(now + 1))


def _on_the_wall(day: date, minute: int, zone: tzinfo) -> Instant:
    """The last instant at which the wall shows this time: after a repeated hour, and after a skipped one."""
    moment = datetime.combine(day, time(minute // 60, minute % 60), zone)
    return max(instant_of(moment), instant_of(moment.replace(fold=1)))


def latest(times: Iterable[str | None]) -> Instant | None:
    """The latest of the times that are there."""
    return max((parse_instant(text) for text in times if text is not None), default=None)
