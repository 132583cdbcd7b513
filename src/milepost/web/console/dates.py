"""Local days as pages say them: a day, a window of days, and how far a day is from today.

A day is the one that was written where the parcel is (tracking.md 9.1): it is never reckoned anew from an instant.
"""

from collections.abc import Mapping
from datetime import date
from typing import Any

from milepost.domain.instant import Instant, to_datetime


def day_words(day: str) -> str:
    """`23 Jan 2025`; what is no date stands as it is."""
    read = _date(day)
    return day if read is None else f"{read.day} {read:%b %Y}"


def window_words(estimate: Mapping[str, Any] | None) -> str:
    """The days of an estimate: one, or from the first to the last; empty without any."""
    first, last = _ends(estimate)
    if not first or not last or first == last:
        return day_words(first or last)
    one, other = _date(first), _date(last)
    if one is None or other is None or one.year != other.year:
        return f"{day_words(first)} – {day_words(last)}"
    start = f"{one.day}" if one.month == other.month else f"{one.day} {one:%b}"
    return f"{start}–{day_words(last)}" if one.month == other.month else f"{start} – {day_words(last)}"


def last_day(estimate: Mapping[str, Any] | None) -> str:
    """The last day of an estimate; empty without any."""
    first, last = _ends(estimate)
    return last or first


def from_today(day: str, today: str) -> str:
    """Where a day is, seen from today: `today`, `in 3 days`, `2 days ago`; empty for what is no date."""
    distance = days_between(today, day)
    if distance is None:
        return ""
    named = {0: "today", 1: "tomorrow", -1: "yesterday"}
    return named.get(distance) or (f"in {distance} days" if distance > 0 else f"{-distance} days ago")


def days_between(first: str, second: str) -> int | None:
    """From the first day to the second; None where one is no date."""
    one, other = _date(first), _date(second)
    return None if one is None or other is None else (other - one).days


def utc_day(at: Instant) -> str:
    """The day of an instant in UTC, for what has no place."""
    return to_datetime(at).date().isoformat()


def _ends(estimate: Mapping[str, Any] | None) -> tuple[str, str]:
    given = estimate or {}
    return given.get("earliestDate") or "", given.get("latestDate") or ""


def _date(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
