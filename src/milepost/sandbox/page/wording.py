"""How the page writes times, sums of money and codes. Pure; everything is total, whatever a document holds."""

from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec import Struct

from milepost.domain.instant import DAY, HOUR, MINUTE, SECOND, Instant, format_instant, parse_instant

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DATE_LENGTH = len("2025-01-20")


class When(Struct, frozen=True):
    """A time twice: for machines, and for people."""

    iso: str
    text: str


def dig(value: object, *path: str | int) -> Any:
    """What is at a path of a JSON document; None where the document is of another shape."""
    for key in path:
        if isinstance(key, str):
            value = value.get(key) if isinstance(value, dict) else None
        else:
            value = value[key] if isinstance(value, list) and -len(value) <= key < len(value) else None
    return value


def mappings(value: object) -> list[dict[str, Any]]:
    """The objects in a list; none where it is no list."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def text(value: object) -> str:
    """A string or a number as text, anything else as nothing."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else ""


def instant(value: object) -> Instant | None:
    try:
        return parse_instant(value) if isinstance(value, str) else None
    except ValueError:
        return None


def day(at: Instant) -> str:
    """`Wed 22 Jan`."""
    moment = _moment(at)
    return f"{moment:%a} {moment.day} {moment:%b}"


def when(at: Instant) -> When:
    """`Wed 22 Jan 2025, 14:05`."""
    return When(format_instant(at), f"{day(at)} {_moment(at).year}, {_moment(at):%H:%M}")


def exactly(at: Instant) -> When:
    """`22 Jan 14:05:30.250`, for what is measured in milliseconds."""
    moment = _moment(at)
    return When(format_instant(at), f"{moment.day} {moment:%b %H:%M:%S}.{at % SECOND:03d}")


def written(value: object) -> When | None:
    """A time as a document has it; one that cannot be read as it is written there."""
    at = instant(value)
    if at is not None and isinstance(value, str):
        return When(value, day(at)) if len(value) == _DATE_LENGTH else when(at)
    return When("", value) if isinstance(value, str) and value else None


def window(earliest: object, latest: object) -> str:
    """`Wed 22 Jan – Thu 23 Jan`; one day where both are on it, nothing without either."""
    days = [day(at) for at in map(instant, (earliest, latest)) if at is not None]
    return " – ".join(dict.fromkeys(days))


def days_until(now: Instant, at: Instant) -> int:
    """Midnights (UTC) between the two."""
    return at // DAY - now // DAY


def length(milliseconds: int) -> str:
    """`3 d 4 h`, `20 min`, `45 s`: the two greatest units."""
    if milliseconds < SECOND:
        return f"{max(0, milliseconds)} ms" if milliseconds else "no time"
    parts = []
    for unit, name in ((DAY, "d"), (HOUR, "h"), (MINUTE, "min"), (SECOND, "s")):
        count, milliseconds = divmod(milliseconds, unit)
        if count:
            parts.append(f"{count} {name}")
    return " ".join(parts[:2])


def price(value: object) -> str:
    """`$14.95`, `14.95 EUR`; nothing where it is no sum."""
    amount, currency = text(dig(value, "amount")), text(dig(value, "currencyCode"))
    return f"${amount}" if amount and currency == "USD" else f"{amount} {currency}".strip()


def spoken(code: object) -> str:
    """`Out for delivery` of OUT_FOR_DELIVERY."""
    return text(code).replace("_", " ").capitalize()


def is_link(value: object) -> bool:
    """Whether a document's URL may be followed: nothing but http and https."""
    return isinstance(value, str) and value.startswith(("https://", "http://"))


def _moment(at: Instant) -> datetime:
    return _EPOCH + timedelta(milliseconds=at)
