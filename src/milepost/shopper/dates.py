"""Days and windows as shoppers read them.

A day is the one that was written where the parcel is, whoever looks from wherever (tracking.md 9.1, scenario 18): a
view gives it as a local date, and it is never counted again from an instant. A time of day is told only where it was
written with its offset. Nothing is called today or tomorrow: a mail is read when it is read.
"""

from collections.abc import Mapping
from datetime import date, datetime, time
from gettext import NullTranslations
from typing import Any, Final

from babel.dates import format_date, format_time
from msgspec import Struct

_WHOLE_DAY: Final = frozenset({time(0, 0), time(23, 59)})
"""Times of day that only mean the day's beginning or end."""
NO_BREAK: Final = "\u00a0"


def day_text(day: object, says: NullTranslations, locale: str) -> str:
    """A local date (YYYY-MM-DD) in words; empty where there is none that can be read."""
    read = _date(day)
    if read is None:
        return ""
    # Translators: how a day is written, in the letters of Unicode's date patterns.
    return format_date(read, says.gettext("EEEE, MMMM d"), locale=locale)


class Window(Struct, frozen=True):
    """When something is expected. A line is not broken within a day or within the hours."""

    days: str
    """A day or a range of days."""
    hours: str = ""
    """Of that one day, where they are known."""
    text: str = ""
    """Both."""


def window_of(estimate: Mapping[str, Any] | None, says: NullTranslations, locale: str) -> Window | None:
    """An estimate of the views in words; None where nothing is estimated."""
    if estimate is None:
        return None
    first = day_text(estimate["earliestDate"], says, locale).replace(" ", NO_BREAK)
    last = day_text(estimate["latestDate"], says, locale).replace(" ", NO_BREAK)
    if not first and not last:
        return None
    if not first or not last:
        days = says.gettext("from %(day)s") if first else says.gettext("by %(day)s")
        return _days(days % {"day": first or last})
    between = says.gettext("%(first)s – %(last)s")
    if first != last:
        return _days(between % {"first": first, "last": last})
    start, end = (_hour(estimate[key], locale) for key in ("earliest", "latest"))
    if not start or not end or start == end:
        return _days(first)
    hours = between % {"first": start, "last": end}
    return Window(first, hours, says.gettext("%(day)s, %(hours)s") % {"day": first, "hours": hours})


def _days(words: str) -> Window:
    return Window(words, text=words)


def _hour(written: str | None, locale: str) -> str:
    """The time of day in the zone it was written in; empty where none was, or it only means a whole day."""
    try:
        moment = datetime.fromisoformat(written or "")
    except ValueError:
        return ""
    zoned = moment.tzinfo is not None and not (written or "").endswith(("Z", "z"))
    if not zoned or moment.time().replace(second=0, microsecond=0) in _WHOLE_DAY:
        return ""
    return format_time(moment.timetz(), "short", tzinfo=moment.tzinfo, locale=locale)


def _date(text: object) -> date | None:
    try:
        return date.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
