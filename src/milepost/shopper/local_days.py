"""On which day something happened, where the parcel was: the only days that messages name.

A date that was written there is that date (tracking.md 9.1). A time in UTC has a local day only where its zone is
known: by the place of the scan, or by what else the delivery's view tells of the destination. Where nothing does, no
day is named: a wrong one would be worse.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone, tzinfo
from typing import Any, Final

from milepost.domain.delivery_news import scans_of
from milepost.domain.evidence import DELIVERED
from milepost.domain.instant import Instant, readable_instant, to_datetime
from milepost.domain.local_time import WRITTEN_THERE, local_day, zone_of
from milepost.domain.place import zone_of as zone_of_place

Document = Mapping[str, Any]

_NOWHERE: Final = timezone(timedelta(0), "nowhere")
"""Stands for a zone that nobody knows."""
_LAST_ZONE: Final = timezone(timedelta(hours=-12))
"""Where each day ends last."""


def day_of(delivery: Document, code: str, *, last: bool = True) -> str:
    """The local date of the last (or first) milestone of this code that stands; empty where none is known."""
    found = [scan for scan in scans_of(delivery) if scan["code"] == code]
    if not found:
        return ""
    scan = found[-1 if last else 0]
    return _local(delivery, scan["occurredAt"], scan["localDate"], scan["zone"], scan)


def shipped_day(delivery: Document) -> str:
    """Since when a carrier has it; empty where no carrier's scan says so."""
    if delivery["shippedAtSource"] != "possession":
        return ""
    first = next((scan for scan in scans_of(delivery) if scan["occurredAt"] == delivery["shippedAt"]), None)
    return _local(delivery, delivery["shippedAt"], delivery["shippedOn"], delivery["shippedAtZone"], first)


def delivered_day(delivery: Document) -> str:
    """When it arrived. An order that only says that it did is told by the place of the newest scan."""
    if delivery["deliveredAt"] is None:
        return day_of(delivery, DELIVERED)
    newest = next((scan for scan in reversed(scans_of(delivery)) if scan["address"]["region"]), None)
    at, day, zone = (delivery[key] for key in ("deliveredAt", "deliveredOn", "deliveredAtZone"))
    return _local(delivery, at, day, zone, newest)


def moment_of(delivery: Document, scan: Document) -> tuple[str, datetime | None]:
    """On which local day a milestone happened, and at what time where its zone is known. Where nothing tells the day
    there, it is the one that the milestone has: a page that lists everything leaves nothing out."""
    instant, zone = readable_instant(scan["occurredAt"]), _zone(delivery, scan)
    day = (
        _local(delivery, scan["occurredAt"], scan["localDate"], scan["zone"], scan) or scan["localDate"] or ""
    )
    if instant is None or zone is None or scan["zone"] == "date-only":
        return day, None
    return day, to_datetime(instant).astimezone(zone)


def promised_day(delivery: Document) -> str:
    """The last day of the first estimate after it shipped: the promise, by which it is late or not."""
    promise = (delivery["estimatedDelivery"] or {}).get("original") or {}
    return promise.get("latestDate") or promise.get("earliestDate") or ""


def is_estimate_over(delivery: Document, at: Instant) -> bool:
    """Whether the last estimated day was over everywhere, so that the estimate said nothing any more."""
    estimate = delivery["estimatedDelivery"] or {}
    last: str = estimate.get("latestDate") or estimate.get("earliestDate") or ""
    return last < local_day(at, _LAST_ZONE)


def _local(
    delivery: Document, at: str | None, day: str | None, written_in: str | None, scan: Document | None
) -> str:
    if day is not None and written_in in WRITTEN_THERE:
        return day
    instant, zone = readable_instant(at), _zone(delivery, scan)
    return "" if instant is None or zone is None else local_day(instant, zone)


def _zone(delivery: Document, scan: Document | None) -> tzinfo | None:
    if scan is not None:
        address = scan["address"]
        if (there := zone_of_place(address["country"], address["region"])) is not None:
            return there
    destination = zone_of(delivery, _NOWHERE)
    return None if destination is _NOWHERE else destination
