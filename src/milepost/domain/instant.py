"""Points in time: parsing what the API and its events write, and formatting what we write.

An `Instant` is an integer: milliseconds since 1970-01-01T00:00:00 UTC. Sub-second precision given by a
carrier is kept to the millisecond. Where a text came without a zone, `Stamp.zone` says so (zone provenance,
tracking.md 9.1), and where a date came without a time the local date is kept as it was written (scenario 18).
No clock is read here.
"""

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Literal, NewType

import msgspec

Instant = NewType("Instant", int)
"""Milliseconds since 1970-01-01T00:00:00 UTC."""

Zone = Literal["offset-explicit", "utc", "date-only", "unknown"]

SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
"""Lengths of time, in milliseconds."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DATE_LENGTH = len("2025-01-20")


_FIRST_SAFE_YEAR, _LAST_SAFE_YEAR = 2, 9998
"""In these years no offset or rounding leads out of the calendar."""


class Stamp(msgspec.Struct, frozen=True):
    """A time as somebody wrote it: the instant it means, the local date it names, where its zone came from."""

    at: Instant
    local_date: str
    """YYYY-MM-DD in the zone the text was written in; what a wall calendar there showed."""
    zone: Zone
    text: str


def instant_of(moment: datetime) -> Instant:
    """The instant of an aware datetime; a naive one is taken as UTC."""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return Instant(round(moment.timestamp() * 1000))


@lru_cache(maxsize=4_096)
def parse_instant(text: str) -> Instant:
    """ISO 8601 text to an instant; without a zone it is taken as UTC. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    at = Instant(round(moment.timestamp() * 1000))
    return at if _FIRST_SAFE_YEAR <= moment.year <= _LAST_SAFE_YEAR else _in_range(at, text)


def readable_instant(text: object) -> Instant | None:
    """The instant of a document's value; None where that is no text, or none that can be read."""
    if not isinstance(text, str):
        return None
    try:
        return parse_instant(text)
    except ValueError:
        return None


def _in_range(at: Instant, text: str) -> Instant:
    """Only instants that can be written again: an offset or a rounding may lead out of the calendar."""
    try:
        to_datetime(at)
    except OverflowError as e:
        raise ValueError(f"{text!r} is out of range") from e
    return at


@lru_cache(maxsize=8_192)
def parse_stamp(text: str) -> Stamp:
    """ISO 8601 text (a date alone is allowed) to a `Stamp`. Raises ValueError.

    A date alone means the end of nothing and the start of that day in UTC for ordering; its `local_date` is
    the date as written, whoever looks at it from wherever.
    """
    if len(text) <= _DATE_LENGTH:
        day = date.fromisoformat(text)
        moment = datetime(day.year, day.month, day.day, tzinfo=UTC)
        return Stamp(instant_of(moment), day.isoformat(), "date-only", text)
    moment = datetime.fromisoformat(text)
    at = _in_range(instant_of(moment), text)
    zone: Zone = "unknown"
    if moment.tzinfo is not None:
        zone = "utc" if text.endswith(("Z", "z")) else "offset-explicit"
    return Stamp(at, moment.date().isoformat(), zone, text)


@lru_cache(maxsize=8_192)
def format_instant(at: Instant) -> str:
    """ISO 8601 in UTC, whole seconds when there are no others: 2025-01-20T12:34:56Z."""
    moment = to_datetime(at)
    return moment.isoformat(timespec="milliseconds" if at % 1000 else "seconds")[:-6] + "Z"


def to_datetime(at: Instant) -> datetime:
    """The aware UTC datetime of an instant."""
    return _EPOCH + timedelta(milliseconds=at)
