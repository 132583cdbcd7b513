"""The timeline as an order's page shows it: lanes that can be switched off, days as they were where the parcel was,
the newest first, and the times of an entry that differ.

The entries are the API's (`web.timeline`); nothing is added to them and nothing left out but what the page was asked
to leave out.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from milepost.domain.instant import MINUTE, Instant, format_instant, parse_instant
from milepost.web.console.dates import day_words

Document = Mapping[str, Any]

LANES: Final[Mapping[str, str]] = {
    "order": "Order",
    "delivery": "Delivery",
    "tracker": "Carrier",
    "payment": "Payment",
    "message": "Messages",
    "note": "Notes, corrections",
    "condition": "Conditions",
}
"""What each lane is called, in the order of the chips."""
_BY_KIND: Final = {
    "milestone": "tracker",
    "snapshot": "delivery",
    "condition": "condition",
    "authorization": "payment",
    "capture": "payment",
    "note": "note",
    "correction": "note",
    "notification": "message",
}
_OF_LEDGERS: Final = frozenset({"capture", "notification"})
AT_ONCE: Final = 80
"""Entries on one page."""
DATE: Final = len("2025-01-20")
"""The entries' times are UTC, so a day begins each."""
APART: Final = 5 * MINUTE
"""Times of an entry that differ by less tell nobody anything."""


class Shown(Struct, frozen=True):
    """An entry on the page. `at` is when it occurred, else was published, else received; the other two stand only
    where they differ from it."""

    entry: Document
    lane: str
    at: str | None
    known_at: str | None
    """From when on it was known: what `asOf` takes to show the order as it was then."""
    published_at: str | None
    received_at: str | None


class Day(Struct, frozen=True):
    """The entries of one local day."""

    date: str
    title: str
    entries: Sequence[Shown]


class Chip(Struct, frozen=True):
    """A lane to switch on or off. `lanes` is what the address names once it was."""

    name: str
    count: int
    on: bool
    lanes: str | None


class Lanes(Struct, frozen=True):
    """What of a timeline is shown."""

    days: Sequence[Day]
    chips: Sequence[Chip]
    older: int | None
    """Where the next page begins; None on the last."""
    newer: int | None
    count: int


def lane_of(entry: Document) -> str:
    """The lane of an entry."""
    kind = entry["kind"]
    if kind in _BY_KIND:
        return _BY_KIND[kind]
    if entry["code"].startswith("PACKAGE_TRACKER") or (kind == "settlement" and entry["trackingNumber"]):
        return "tracker"
    return "delivery" if entry["deliveryId"] is not None else "order"


def chosen(text: str | None) -> frozenset[str]:
    """The lanes that an address names, those there are; all of them where it names none."""
    named = frozenset((text or "").split(",")) & LANES.keys()
    return named or frozenset(LANES)


def lanes_of(
    entries: Sequence[Document],
    order: Document,
    received: Mapping[int, Instant],
    on: Collection[str],
    delivery_id: str | None,
    start: int,
) -> Lanes:
    """A page of the timeline: the entries of these lanes (and of one delivery, where it is named), newest first, from
    number `start` on. `received` says when each record was."""
    with_lanes = [
        (lane_of(entry), entry)
        for entry in entries
        if delivery_id is None or entry["deliveryId"] == delivery_id
    ]
    local_days = _local_days(order)
    dated = [
        (_day(entry, local_days), number, lane, entry)
        for number, (lane, entry) in enumerate(with_lanes)
        if lane in on
    ]
    dated.sort(key=lambda row: row[:2], reverse=True)
    start = max(0, min(start, len(dated) - 1))
    rows = dated[start : start + AT_ONCE]
    days: dict[str, list[Shown]] = {}
    for day, _, lane, entry in rows:
        days.setdefault(day, []).append(_shown(entry, lane, received))
    older = start + AT_ONCE
    return Lanes(
        [Day(day, day_words(day) if day else "Without a time", listed) for day, listed in days.items()],
        _chips([lane for lane, _ in with_lanes], on),
        older if older < len(dated) else None,
        max(0, start - AT_ONCE) if start else None,
        len(dated),
    )


def _chips(lanes: Sequence[str], on: Collection[str]) -> list[Chip]:
    """A lane is switched by a click; where all are on, the first click leaves only that one."""
    chips = []
    for lane, name in LANES.items():
        is_on = lane in on
        if len(on) == len(LANES):
            left: Iterable[str] = (lane,)
        else:
            left = [each for each in LANES if (each in on) != (each == lane)]
        named = ",".join(left)
        whole = not named or named.count(",") == len(LANES) - 1
        chips.append(Chip(name, lanes.count(lane), is_on, None if whole else named))
    return chips


def _local_days(order: Document) -> dict[tuple[str | None, ...], str]:
    """The local day of each scan, as it was written."""
    return {
        (tracker["carrierCode"], tracker["trackingNumber"], scan["code"], scan["occurredAt"]): scan[
            "localDate"
        ]
        for delivery in order["deliveries"]
        for tracker in delivery["trackers"]
        for scan in tracker["milestones"]
        if scan["localDate"] is not None
    }


def _day(entry: Document, local_days: Mapping[tuple[str | None, ...], str]) -> str:
    if entry["kind"] == "milestone":
        key = (entry["carrierCode"], entry["trackingNumber"], entry["code"], entry["occurredAt"])
        if key in local_days:
            return local_days[key]
    at: str | None = entry["occurredAt"] or entry["publishedAt"] or entry["receivedAt"]
    return at[:DATE] if at else ""


def _shown(entry: Document, lane: str, received: Mapping[int, Instant]) -> Shown:
    published, came = entry["publishedAt"], _received_at(entry, received)
    at = entry["occurredAt"] or published or came
    differs = [time if time is not None and _apart(at, time) else None for time in (published, came)]
    return Shown(entry, lane, at, came or at, *differs)


def _received_at(entry: Document, received: Mapping[int, Instant]) -> str | None:
    """When the hub heard of it. A ledger's entry names the record of its evidence, not one of its own; a scan's own
    `receivedAt` is when an answer first showed it, which may have come in later."""
    at = None if entry["kind"] in _OF_LEDGERS else received.get(entry["position"] or 0)
    return entry["receivedAt"] if at is None else format_instant(at)


def _apart(one: str | None, other: str) -> bool:
    return one is not None and one != other and abs(parse_instant(one) - parse_instant(other)) > APART
