"""How pages say what documents hold in codes and instants: the filters of the templates.

Times are UTC, as the journal has them; a local day that a carrier wrote is shown as written, by whoever shows it.
"""

import re
from datetime import UTC, datetime
from typing import Final

from milepost.domain.instant import (
    DAY,
    HOUR,
    MINUTE,
    Instant,
    format_instant,
    parse_instant,
    readable_instant,
)
from milepost.domain.wording import CAPTURE_TEXTS, CONDITION_TEXTS, EVENT_TEXTS, MILESTONE_TEXTS, hold_text
from milepost.domain.wording import spoken as domain_spoken
from milepost.shopper.parcels import carrier_name
from milepost.web.console.dates import day_words

_TONES: Final = {
    "DELIVERED": "good",
    "IN_TRANSIT": "active",
    "OUT_FOR_DELIVERY": "active",
    "AVAILABLE_FOR_PICKUP": "active",
    "CANCELLED": "neutral",
    "READY": "active",
    "SENT": "active",
    "ACKED": "good",
    "HELD": "warn",
    "VOID": "neutral",
    "NOT_READY": "neutral",
    "PENDING": "neutral",
    "INFO_RECEIVED": "neutral",
    "UNKNOWN": "neutral",
    "RETURNING": "warn",
    "RETURNED": "warn",
    "WILL_BE_LATE": "warn",
    "DELAYED": "warn",
    "NEVER_SCANNED": "warn",
    "STALLED": "warn",
    "PICKUP_AGING": "warn",
    "ATTEMPT_FAILED": "warn",
    "CUSTOMER_ACTION": "warn",
    "AUTHORIZATION_EXPIRING": "warn",
    "TRACKING_EXPIRED": "neutral",
    "UNMAPPED_CODE": "neutral",
    "ORPHAN": "neutral",
}
_ROADS: Final = {"eventbridge": "EventBridge"}
_ANSWERS: Final = {"order": "order", "packageTracker": "tracker"}
"""What each query answers about."""
_CODES: Final = re.compile(r"(?P<begins>^|\. )?\b(?P<code>[A-Z]+(?:_[A-Z]+)*)\b")
_KNOWN: Final = frozenset({*MILESTONE_TEXTS, *CONDITION_TEXTS, *CAPTURE_TEXTS, *_TONES, "UNFULFILLABLE"})
_QUERY: Final = re.compile(r"^(?:order|packageTracker) of ")
_TRACKER: Final = re.compile(r"\b(?:tracker/([\w-]+)/|Carrier ([\w-]+)(?= had ))")
_SHORT: Final = 24
"""Ids of more characters are cut where they are only told apart."""
_INSTANTS: Final = re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?Z")


def tone(code: str) -> str:
    """How bad a state, a stage or a condition is: neutral, good, active, warn or bad."""
    return _TONES.get(code, "bad")


def spoken(code: str) -> str:
    """`OUT_FOR_DELIVERY`, `noNewMilestone` or `delivery.shipped` as a person says it."""
    return domain_spoken(code).capitalize()


def deed(action: str) -> str:
    """An action of the audit log as a person says it: `user.passwordSet` is `User: password set`."""
    subject, _, done = action.partition(".")
    return f"{subject.capitalize()}: {domain_spoken(done)}" if done else spoken(action)


def road(name: str, begins: bool = True) -> str:
    """The road that something came by; within a sentence it does not begin with a capital."""
    return _ROADS.get(name) or (spoken(name) if begins else spoken(name).lower())


def short(id: str) -> str:
    """As much of an id as tells it apart."""
    return id if len(id) <= _SHORT else f"{id[:8]}…"


def evidence(kind: str, type: str) -> str:
    """What a record is: `Event: package delivered`, `Answer about the tracker`."""
    if kind == "snapshot":
        return f"Answer about the {_ANSWERS.get(type, type)}"
    return f"{spoken(kind)}: {spoken(type).lower()}" if type else spoken(kind)


def resource(text: str) -> str:
    """What a resource names, without its business product: `Order 322-WW2N, delivery 8a0d2bd4…`, `UPS 1Z4`."""
    segments = text.split("/")
    names: list[str] = []
    carrier = ""
    for key, value in list(zip(segments[::2], segments[1::2], strict=False))[1:]:
        if key == "carrier":
            carrier = carrier_name(value)
        else:
            names.append(f"{(carrier if key == 'tracker' else '') or spoken(key).lower()} {short(value)}")
    said = ", ".join(names) or text
    return said[:1].upper() + said[1:]


def _instant(at: Instant | int | str) -> Instant:
    return parse_instant(at) if isinstance(at, str) else Instant(at)


def iso(at: Instant | int | str) -> str:
    """An instant for a machine."""
    return format_instant(_instant(at))


def when(at: Instant | int | str) -> str:
    """An instant for a person: `12 Nov 2026, 14:05 UTC`."""
    moment = datetime.fromtimestamp(_instant(at) / 1000, UTC)
    return f"{moment.day} {moment:%b %Y, %H:%M} UTC"


def clock(at: Instant | int | str) -> str:
    """The same, where the day stands above it: `14:05 UTC`."""
    return f"{datetime.fromtimestamp(_instant(at) / 1000, UTC):%H:%M} UTC"


def plain(text: str) -> str:
    """A sentence of the API's with its instants as `when` says them and the codes that are known in words; what looks
    like one and is none stands."""
    dated = _INSTANTS.sub(
        lambda found: found[0] if readable_instant(found[0]) is None else when(found[0]), text
    )
    named = _TRACKER.sub(_carrier, _QUERY.sub("The answer of ", dated))
    return _CODES.sub(_worded, named)


def _carrier(found: re.Match[str]) -> str:
    return f"{carrier_name(found[1])} " if found[1] else carrier_name(found[2])


def _worded(found: re.Match[str]) -> str:
    """A code in words, capital where it begins a sentence; an event's type in quotes, since it is a name."""
    code, begins = found["code"], found["begins"]
    if code in EVENT_TEXTS:
        return f"{begins or ''}“{spoken(code)}”"
    if code not in _KNOWN:
        return found[0]
    return spoken(code).lower() if begins is None else begins + spoken(code)


def ago(at: Instant | int | str, now: Instant) -> str:
    """How long ago it was, or how long it is until then: `3 h ago`, `in 2 days`."""
    distance = now - _instant(at)
    size = abs(distance)
    if size < MINUTE:
        return "just now"
    for unit, name in ((2 * DAY, "days"), (HOUR, "h"), (MINUTE, "min")):
        if size >= unit:
            count = size // (DAY if name == "days" else unit)
            return f"{count} {name} ago" if distance > 0 else f"in {count} {name}"
    return "just now"


FILTERS: Final = {
    "tone": tone,
    "spoken": spoken,
    "deed": deed,
    "road": road,
    "short": short,
    "evidence": evidence,
    "resource": resource,
    "iso": iso,
    "when": when,
    "clock": clock,
    "ago": ago,
    "day": day_words,
    "plain": plain,
    "carrier": carrier_name,
    "held": hold_text,
}
"""By the names that templates use."""
