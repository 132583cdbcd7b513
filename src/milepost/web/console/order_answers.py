"""The four answers at the top of an order's page: where is it, when does it come and will the estimate be met, what
went wrong, and what has the customer been told (tracking.md 6, agent search).

Made from the order's document as the API shows it, and from its notifications; nothing is decided here that a fold or
the sweeper has not decided. Days are those where each parcel goes.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC
from typing import Any, Final

from msgspec import Struct

from milepost.domain.delivery_news import is_delivered, open_conditions, scans_of
from milepost.domain.instant import Instant, readable_instant
from milepost.domain.local_time import local_day, zone_of
from milepost.domain.notification import Notification
from milepost.domain.notification_wording import rule_text
from milepost.domain.wording import capture_text, condition_text, hold_text
from milepost.shopper.parcels import carrier_name
from milepost.web.console.dates import day_words, days_between, from_today, last_day, window_words
from milepost.web.console.order_links import parcel_anchor
from milepost.web.console.wording import ago, spoken, tone
from milepost.web.notification_documents import last_message, last_sent

Document = Mapping[str, Any]

MOST_LINES: Final = 4
"""Of one answer; the parcels below have the rest."""
_OVER: Final = frozenset({"DELIVERED", "CANCELLED"})
_NOT_COMING: Final = {
    "RETURNING": "It is on its way back to the sender.",
    "RETURNED": "It went back to the sender.",
    "LOST": "The carrier says that it is lost.",
    "UNDELIVERABLE": "The carrier says that it cannot be delivered.",
}
_AT_RISK: Final = (
    "CONTRADICTION",
    "EXCEPTION",
    "CUSTOMER_ACTION",
    "TRACKING_EXPIRED",
    "NEVER_SCANNED",
    "STALLED",
    "DELAYED",
)
"""Open conditions under which an estimate is not to be counted on, the worst first."""
_COUNTS: Final = {
    "delivered": "delivered",
    "inTransit": "on the way",
    "pending": "not shipped",
    "cancelled": "cancelled",
}
_WORST: Final = {"bad": 0, "warn": 1, "active": 2, "neutral": 3, "good": 4}


class Line(Struct, frozen=True):
    """One parcel's part of an answer, or one thing of it; `anchor` names where on the page it stands."""

    text: str
    tone: str = "neutral"
    anchor: str = ""
    label: str = ""
    at: str | None = None
    """Since when, for the page to say how long ago."""
    name: str = ""
    """In two words, where a card has no room for the text."""


class Answer(Struct, frozen=True):
    """What a card says: the short of it, then its lines."""

    text: str
    tone: str
    lines: Sequence[Line] = ()
    more: int = 0
    """How many lines were left out."""


def where(order: Document, now: Instant) -> Answer:
    """Where is it?"""
    deliveries = order["deliveries"]
    if not deliveries:
        return Answer("No parcel of it is known yet", "neutral", _asked(order))
    said = _each(deliveries, lambda delivery: _place(delivery, now))
    if len(said) == 1:
        return Answer(said[0].text, said[0].tone, _asked(order))
    counts = order["summary"]
    parts = [f"{counts[key]} {word}" for key, word in _COUNTS.items() if counts[key]]
    unfinished = [line for line in said if deliveries[_place_of(line)]["state"] not in _OVER]
    return _cut(f"{len(said)} parcels: {', '.join(parts)}", tone(order["state"]), unfinished or said)


def when_expected(order: Document, now: Instant) -> Answer:
    """When does it come, and will the estimate be met?"""
    deliveries = [d for d in order["deliveries"] if d["state"] != "CANCELLED"]
    if not deliveries:
        cancelled = bool(order["deliveries"])
        return Answer("It does not come: it was cancelled" if cancelled else "Nobody has said yet", "neutral")
    said = _each(order["deliveries"], lambda delivery: _promise(delivery, now))
    said = [line for line in said if line.text]
    if len(said) == 1:
        short, _, rest = said[0].text.partition(". ")
        lines = [Line(rest)] if rest else []
        return Answer(short, said[0].tone, lines)
    worst = min(said, key=lambda line: _WORST[line.tone])
    same = sum(line.tone == worst.tone for line in said)
    heads = {
        "bad": f"{same} of {len(said)} late or not coming",
        "warn": f"{same} of {len(said)} at risk",
        "active": "All on time, as far as is known",
        "neutral": f"{same} of {len(said)} without an estimate",
        "good": "All arrived",
    }
    said.sort(key=lambda line: _WORST[line.tone])
    return _cut(heads[worst.tone], worst.tone, said)


def what_went_wrong(order: Document) -> Answer:
    """What went wrong?"""
    several = len(order["deliveries"]) > 1
    lines: list[Line] = [_condition(c) for c in open_conditions(order)]
    over = sum(1 for c in order["conditions"] if c["clearedAt"] is not None)
    for place, delivery in enumerate(order["deliveries"], 1):
        anchor, label = parcel_anchor(place), f"Parcel {place}" if several else ""
        lines += [_condition(c, anchor, label) for c in open_conditions(delivery)]
        over += sum(1 for c in delivery["conditions"] if c["clearedAt"] is not None)
        capture = delivery["capture"]
        if capture is not None and capture["state"] in ("HELD", "FAILED"):
            because = f" Reason: {hold_text(capture['reason'])}." if capture["reason"] else ""
            text = f"{capture_text(capture['state'])}{because}"
            lines.append(Line(text, "warn", anchor, label, name="Payment held or failed"))
    if any(
        holder["hydration"] is not None and holder["hydration"]["state"] == "gaveUp"
        for holder in (order, *(t for d in order["deliveries"] for t in d["trackers"]))
    ):
        lines.append(
            Line(
                "Milepost gave up asking Buy with Prime about it; this may be out of date.",
                "warn",
                name="Not up to date",
            )
        )
    past = f"{over} earlier {'problem is' if over == 1 else 'problems are'} over" if over else ""
    if not lines:
        return Answer("Nothing that we know of", "good", [Line(past)] if past else ())
    lines.sort(key=lambda line: _WORST[line.tone])
    head = lines[0].text if len(lines) == 1 else f"{lines[0].name}, and {len(lines) - 1} more"
    return _cut(head, lines[0].tone, lines if len(lines) > 1 else [Line("", at=lines[0].at)])


def what_was_told(notifications: Sequence[Notification], notifying: bool) -> Answer:
    """What has the customer been told?"""
    last = last_sent(notifications)
    states = [n.state for n in notifications]
    lines = []
    if waiting := states.count("WAITING") + states.count("SENDING"):
        lines.append(Line(f"{waiting} more {'is' if waiting == 1 else 'are'} about to be sent", "active"))
    if lost := states.count("UNCERTAIN") + states.count("FAILED"):
        lines.append(Line(f"{lost} failed or may not have arrived", "warn"))
    if kept := [n for n in notifications if n.state == "SUPPRESSED"]:
        rule = rule_text(kept[-1].rule) or kept[-1].reason
        lines.append(
            Line(f"{len(kept)} kept back; the last because: {rule}" if rule else f"{len(kept)} kept back")
        )
    if last is None:
        nothing = "Nothing" if notifying or notifications else "Nothing: notifications are off"
        return Answer(nothing, "neutral", lines)
    message = last_message(last)
    text = message.text.removeprefix("The shopper was told that ").rstrip(".")
    return Answer(text[:1].upper() + text[1:], "neutral", [Line("", at=message.sent_at), *lines])


# ── One parcel ─────────────────────────────────────────────────────────────────────────────────────────────


def today_of(delivery: Document, now: Instant) -> str:
    """The local day it is now where a delivery goes; in UTC where nothing tells."""
    return local_day(now, zone_of(delivery, UTC))


def verdict(delivery: Document, now: Instant) -> Line:
    """When one delivery comes, and whether its estimate will be met."""
    return _promise(delivery, now)


def _place(delivery: Document, now: Instant) -> Line:
    state, stages = delivery["state"], [t["stage"] for t in delivery["trackers"]]
    if state == "CANCELLED":
        because = f" ({spoken(delivery['reason'])})" if delivery["reason"] else ""
        return Line(f"Cancelled{because}", "neutral")
    scans = scans_of(delivery)
    last = _last_scan(scans, now)
    if state == "DELIVERED":
        day = f" on {day_words(delivery['deliveredOn'])}" if delivery["deliveredOn"] else ""
        place = _place_name(scans[-1]) if scans else ""
        return Line(f"Delivered{day}" + (f" in {place}" if place else ""), "good")
    if state == "PENDING" and not scans:
        return Line("Not shipped yet", "neutral")
    stage = next((each for each in stages if each not in ("UNKNOWN", "PENDING")), state)
    carriers = ", ".join(dict.fromkeys(carrier_name(t["carrierCode"]) for t in delivery["trackers"]))
    said = spoken(stage) + (f" with {carriers}" if carriers else "")
    return Line(f"{said}; {last}", tone(stage))


def _last_scan(scans: Sequence[Document], now: Instant) -> str:
    if not scans:
        return "no carrier has scanned it yet"
    at = readable_instant(scans[-1]["occurredAt"])
    place = _place_name(scans[-1])
    return "last scan" + (f" {ago(at, now)}" if at is not None else "") + (f" in {place}" if place else "")


def _place_name(scan: Document) -> str:
    address = scan["address"] or {}
    return ", ".join(filter(None, (address.get("locality"), address.get("region"))))


def _promise(delivery: Document, now: Instant) -> Line:
    estimate = delivery["estimatedDelivery"]
    promised = last_day((estimate or {}).get("original"))
    if delivery["state"] == "CANCELLED":
        return Line("")
    if is_delivered(delivery):
        return _arrived(delivery, promised)
    stages = {tracker["stage"] for tracker in delivery["trackers"]}
    if (gone := next((stage for stage in _NOT_COMING if stage in stages), None)) is not None:
        return Line(_NOT_COMING[gone], "bad")
    if "AVAILABLE_FOR_PICKUP" in stages:
        return Line("It waits to be picked up", "active")
    codes = {condition["code"] for condition in open_conditions(delivery)}
    risk = next((code for code in _AT_RISK if code in codes), None)
    if estimate is None or not (expected := window_words(estimate)):
        if risk is not None:
            return Line(f"No estimate. {condition_text(risk)}", "warn")
        return Line("No estimate yet", "neutral")
    day = last_day(estimate)
    said = f"Expected {expected}, {from_today(day, today_of(delivery, now))}"
    if "LATE" in codes:
        return Line(f"{said}. Late: it was promised by {day_words(promised or day)}.", "bad")
    if "WILL_BE_LATE" in codes:
        return Line(f"{said}. It will be late: it was promised by {day_words(promised)}.", "warn")
    if risk is not None:
        return Line(f"{said}. At risk: {condition_text(risk)}", "warn")
    if (left := days_between(today_of(delivery, now), day)) is not None and left < 0:
        return Line(f"{said}. The estimated day is over and it is not there.", "warn")
    return Line(f"{said}. On time, as far as is known.", "active")


def _arrived(delivery: Document, promised: str) -> Line:
    arrived = delivery["deliveredOn"] or ""
    said = f"Arrived {day_words(arrived)}" if arrived else "Arrived"
    late = days_between(promised, arrived)
    if late is None:
        return Line(f"{said}. No day had been promised." if not promised else said, "good")
    if late > 0:
        days = "1 day" if late == 1 else f"{late} days"
        return Line(f"{said}. That was {days} after the promised {day_words(promised)}.", "warn")
    return Line(f"{said}. On time: it was promised by {day_words(promised)}.", "good")


def _condition(condition: Document, anchor: str = "", label: str = "") -> Line:
    text = condition_text(condition["code"], condition["kind"])
    code = condition["code"]
    return Line(text, tone(code), anchor, label, condition["raisedAt"], spoken(code))


# ── Several ────────────────────────────────────────────────────────────────────────────────────────────────


def _each(deliveries: Sequence[Document], say: Callable[[Document], Line]) -> list[Line]:
    """A line of each parcel, with where it stands."""
    found = []
    for place, delivery in enumerate(deliveries, 1):
        line = say(delivery)
        found.append(Line(line.text, line.tone, parcel_anchor(place), f"Parcel {place}"))
    return found


def _place_of(line: Line) -> int:
    return int(line.anchor.rpartition("-")[2]) - 1


def _cut(text: str, tone: str, lines: Sequence[Line]) -> Answer:
    return Answer(text, tone, lines[:MOST_LINES], max(0, len(lines) - MOST_LINES))


def _asked(order: Document) -> Sequence[Line]:
    """That an answer is still awaited."""
    asked = order["hydration"]
    waiting = asked is not None and asked["state"] == "open"
    return [Line("Milepost is asking Buy with Prime for the rest", "neutral")] if waiting else ()
