"""Lengths of time as people write them: `90s`, `2h`, `1d12h`, and ranges of them: `2h..10h`."""

import re

from milepost.domain.errors import Invalid
from milepost.domain.instant import DAY, HOUR, MINUTE, SECOND

_UNITS = {"ms": 1, "s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_WHOLE = re.compile(rf"[+-]?(?:{_PART.pattern})+")
_LONGEST = 400 * DAY


def parse_duration(value: object) -> int:
    """Milliseconds of text like `2h` or `1d12h30m`, signed if it says so, or of a number of them.

    Raises `Invalid` for anything else, and for more than 400 days."""
    if isinstance(value, int) and not isinstance(value, bool):
        length = value
    elif isinstance(value, str) and _WHOLE.fullmatch(value):
        length = round(sum(float(count) * _UNITS[unit] for count, unit in _PART.findall(value)))
        length = -length if value.startswith("-") else length
    else:
        raise Invalid(f"{value!r} is no length of time; one is written 90s, 2h or 1d12h", field="duration")
    if abs(length) > _LONGEST:
        raise Invalid(f"{value!r} is longer than 400 days", field="duration")
    return length


def parse_range(value: object) -> tuple[int, int]:
    """The least and the most milliseconds of text like `2h..10h`; of a single length twice the same.

    Raises `Invalid`."""
    if isinstance(value, str) and ".." in value:
        least, most = map(parse_duration, value.split("..", 1))
    else:
        least = most = parse_duration(value)
    if least > most:
        raise Invalid(f"{value!r} ends before it begins", field="duration")
    return least, most
