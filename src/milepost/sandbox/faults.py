"""What a developer can make the sandbox do wrong on purpose: the faults by name, and how an option says them.

`Faults` are settings: those that are on for everybody are held by `ActiveFaults`, in memory only, so that a restart
is a healthy sandbox; those of a scenario are kept with its orders. Rates are parts of 1, decided by the seed for
each event, never by chance. What publishing does by them is `faulty`'s; queries look at the rest themselves.
docs/faults.md lists them all (a test compares).
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import fields, replace

from milepost.domain.errors import Invalid
from milepost.domain.event import BY_NAME, canonical_type
from milepost.domain.instant import SECOND
from milepost.sandbox.durations import parse_duration

_MOST_COPIES = 20
_LONGEST_S = 400 * 86_400.0


class Faults(Struct, frozen=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """The faults that are on."""

    duplicate: float = 0.0
    """The part of events that is sent more than once."""
    duplicate_count: int = 2
    """How often such an event is sent in all."""
    reorder: float = 0.0
    """The part of events that is held back, so that later ones overtake it."""
    reorder_seconds: float = 30.0
    """By how much at most; copies come this much later at most, too."""
    delay: float = 1.0
    """The part of events that is delayed by `delay_seconds`."""
    delay_seconds: float = 0.0
    """How much later they are published than they happened."""
    delay_types: tuple[str, ...] = ()
    """The event types that are delayed; every one when empty."""
    drop: float = 0.0
    """The part of events that is never sent."""
    both_roads: float = 0.0
    """The part of events that is posted a second time as the EventBridge document, as an API destination does."""
    legacy_names: float = 0.0
    """The part of events that is sent a second time under a former name, where the type has one."""
    two_subscriptions: float = 0.0
    """The part of events that is sent a second time as through another subscription: another key, one eventId."""
    data_empty: float = 0.0
    """The part of events whose `data` is empty, whatever their page shows."""
    oversize: float = 0.0
    """The part of events that is sent a second time with more than 1 MiB."""
    clock_skew: float = 0.0
    """The part of events whose eventTime is minutes off."""
    wrong_credentials: float = 0.0
    """The part of events whose first attempt carries credentials that are wrong."""

    api_down: bool = False
    """`/token` and `/graphql` answer 503."""
    throttling: bool = False
    """Every query is answered ThrottlingError."""
    throttling_rate: float = 0.0
    """The part of queries that is answered ThrottlingError."""
    server_error_rate: float = 0.0
    """The part of requests to `/graphql` that is answered 503."""
    slow_seconds: float = 0.0
    """How long `/graphql` takes to answer, in real seconds."""
    tracker_null_seconds: float = 0.0
    """For so long after a package went in transit its tracker is null, in both queries."""
    order_behind_seconds: float = 0.0
    """For so long after a change the order query answers the order as it was before."""
    order_ahead_seconds: float = 0.0
    """The order query answers the order as it is going to be so much later."""

    def over(self, own: "Faults") -> "Faults":
        """These, with those of one order where that says something of its own."""
        differing = {f.name: v for f in fields(own) if (v := getattr(own, f.name)) != f.default}
        return replace(self, **differing) if differing else self


class ActiveFaults:
    """The faults that are on `now`, for everybody who asks."""

    def __init__(self, faults: Faults | None = None) -> None:
        self.now = faults or Faults()


WORDS: dict[str, str] = {
    "duplicate": "duplicate",
    "duplicate-count": "duplicate_count",
    "reorder": "reorder",
    "reorder-within": "reorder_seconds",
    "delay": "delay_seconds",
    "delay-rate": "delay",
    "delay-types": "delay_types",
    "drop": "drop",
    "both-roads": "both_roads",
    "legacy-names": "legacy_names",
    "two-subscriptions": "two_subscriptions",
    "data-empty": "data_empty",
    "oversize": "oversize",
    "clock-skew": "clock_skew",
    "wrong-credentials": "wrong_credentials",
    "api-down": "api_down",
    "throttling": "throttling_rate",
    "server-error": "server_error_rate",
    "slow": "slow_seconds",
    "tracker-null": "tracker_null_seconds",
    "order-behind": "order_behind_seconds",
    "order-ahead": "order_ahead_seconds",
}
"""The words of options and scenario files, and the field that each sets."""

_SECONDS = frozenset(f for f in WORDS.values() if f.endswith("_seconds"))
_RATES = frozenset(WORDS.values()) - _SECONDS - {"duplicate_count", "delay_types", "api_down"}


def parse_options(options: Iterable[str]) -> Faults:
    """The faults of options like `duplicate=0.2`, `tracker-null=120s`, `drop=0.1`; a word alone is all of it.

    Raises `Invalid` naming the option."""
    words: dict[str, object] = {}
    for option in options:
        word, equals, value = option.partition("=")
        words[word.strip()] = value.strip() if equals else True
    return parse_words(words)


def parse_words(words: Mapping[str, object]) -> Faults:
    """The faults of words and their values, as a scenario file or options give them. Raises `Invalid`."""
    found: dict[str, Any] = {}
    for word, value in words.items():
        field = WORDS.get(word)
        if field is None:
            raise Invalid(f"there is no fault {word!r}; there are {', '.join(WORDS)}", field=word)
        try:
            found[field] = _value(field, value)
        except (TypeError, ValueError, Invalid) as e:
            raise Invalid(
                f"fault {word}: {value!r} is not what it takes ({_takes(field)})", field=word
            ) from e
    return checked(Faults(**found))


def changed(faults: Faults, document: Mapping[str, object]) -> Faults:
    """The faults with what a JSON document names replaced. Raises `Invalid` for unknown names and wrong values."""
    try:
        whole = {**msgspec.to_builtins(faults), **document}
        return checked(msgspec.convert(whole, Faults))
    except msgspec.ValidationError as e:
        raise Invalid(f"faults: {e}", field="faults") from e


def checked(faults: Faults) -> Faults:
    """The same faults. Raises `Invalid` for a rate outside 0 to 1, a time below 0, a type that isn't one."""
    for field in _RATES:
        if not 0 <= getattr(faults, field) <= 1:
            raise Invalid(f"{field} must be 0 to 1", field=field)
    for field in _SECONDS:
        if not 0 <= getattr(faults, field) <= _LONGEST_S:
            raise Invalid(f"{field} must be 0 to {_LONGEST_S:.0f} seconds", field=field)
    if not 1 <= faults.duplicate_count <= _MOST_COPIES:
        raise Invalid(f"duplicate_count must be 1 to {_MOST_COPIES}", field="duplicate_count")
    for named in faults.delay_types:
        if canonical_type(named) not in BY_NAME:
            raise Invalid(f"delay_types: {named} is no event type", field="delay_types")
    return faults


def every_field(faults: Faults) -> dict[str, object]:
    """All fields by their JSON names, those that are off too."""
    return {f.encode_name: getattr(faults, f.name) for f in fields(faults)}


def _value(field: str, value: object) -> object:
    if field == "api_down":
        if value in (True, "true", "on", "1"):
            return True
        if value in (False, "false", "off", "0"):
            return False
        raise ValueError
    if field == "delay_types":
        listed = value.split("+") if isinstance(value, str) else value
        if not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
            raise TypeError
        return tuple(each.strip() for each in listed)
    if value is True:
        if field in _RATES:
            return 1.0
        raise ValueError
    if field in _SECONDS:
        return parse_duration(value) / SECOND
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise TypeError
    return int(value) if field == "duplicate_count" else float(value)


def _takes(field: str) -> str:
    if field == "api_down":
        return "on or off"
    if field == "delay_types":
        return "event types joined by +"
    if field in _SECONDS:
        return "a duration like 120s or 2h"
    return "a number of copies" if field == "duplicate_count" else "a part of 1, like 0.2"
