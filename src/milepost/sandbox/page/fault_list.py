"""The faults as the page shows them: a field each, in two groups, with what it does in a few words.

What a fault does is `faulty`'s and the queries'; a test compares this list with `Faults`.
"""

from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import fields

from milepost.sandbox.faults import Faults

Kind = Literal["rate", "seconds", "count", "switch", "types"]


class FaultField(Struct, frozen=True):
    """One input of the form."""

    name: str
    label: str
    about: str
    kind: Kind
    value: Any
    is_on: bool


_PUBLISHING: dict[str, tuple[str, str, Kind]] = {
    "duplicate": ("Duplicate", "events sent more than once", "rate"),
    "duplicate_count": ("Copies", "how often such an event is sent in all", "count"),
    "reorder": ("Reorder", "events held back, so that later ones overtake them", "rate"),
    "reorder_seconds": ("Held back by", "at most so many seconds", "seconds"),
    "delay": ("Delay", "events that are delayed, when the delay is above 0", "rate"),
    "delay_seconds": ("Delayed by", "seconds between what happens and its event", "seconds"),
    "delay_types": ("Delayed types", "event types; empty for all", "types"),
    "drop": ("Drop", "events never sent", "rate"),
    "both_roads": ("Both roads", "events posted again as the EventBridge document", "rate"),
    "legacy_names": ("Former names", "events sent again under a former name", "rate"),
    "two_subscriptions": ("Two subscriptions", "events sent again with another key", "rate"),
    "data_empty": ("Empty data", "events whose data is {}", "rate"),
    "oversize": ("Oversize", "events sent again with more than 1 MiB", "rate"),
    "clock_skew": ("Clock skew", "events whose eventTime is minutes off", "rate"),
    "wrong_credentials": ("Wrong credentials", "events whose first try carries wrong ones", "rate"),
}
_API: dict[str, tuple[str, str, Kind]] = {
    "api_down": ("API down", "the token endpoint and the API answer 503", "switch"),
    "throttling": ("Throttling", "every query is answered ThrottlingError", "switch"),
    "throttling_rate": ("Throttling rate", "queries answered ThrottlingError", "rate"),
    "server_error_rate": ("Server errors", "requests answered 503", "rate"),
    "slow_seconds": ("Slow", "seconds until the API answers", "seconds"),
    "tracker_null_seconds": ("Tracker null", "seconds without a tracker after shipping", "seconds"),
    "order_behind_seconds": ("Order behind", "seconds that the order query lags", "seconds"),
    "order_ahead_seconds": ("Order ahead", "seconds that the order query is early", "seconds"),
}
GROUPS = {"Publishing": _PUBLISHING, "The API": _API}
_ADJECTIVES = frozenset({"duplicate_count", "reorder_seconds", "delay", "delay_types"})
"""They say how another fault works, and do nothing alone."""


def listed(faults: Faults) -> dict[str, list[FaultField]]:
    """Every field, by group."""
    known = {f.name: f for f in fields(Faults)}
    return {
        group: [
            FaultField(
                known[name].encode_name,
                label,
                about,
                kind,
                " ".join(value) if kind == "types" else value,
                name not in _ADJECTIVES and value != known[name].default,
            )
            for name, (label, about, kind) in rows.items()
            for value in [getattr(faults, name)]
        ]
        for group, rows in GROUPS.items()
    }


def how_many_on(faults: Faults) -> int:
    return sum(field.is_on for group in listed(faults).values() for field in group)
