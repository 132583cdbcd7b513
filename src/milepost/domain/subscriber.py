"""Subscribers as values: what beyond its columns a destination of a hub says, and what of that may be shown.

A subscriber is a `attempt.Destination` of kind `webhook` (settings: `webhook_settings`) or `eventBus` (settings
here). Whether a record is for it is `pipeline.subscribers`'; how bytes travel is a transport's.
"""

from typing import Final, Literal

from msgspec import Struct

WEBHOOK: Final = "webhook"
EVENT_BUS: Final = "eventBus"
Kind = Literal["webhook", "eventBus"]

SOURCE: Final = "milepost"
"""The `source` of what is put on an event bus, unless the subscriber says another."""

WARNINGS: Final = (50, 70, 90)
"""Percent of the days after which a failing subscriber is disabled, at which that is announced."""


class Filter(Struct, frozen=True, rename="camel", omit_defaults=True):
    """What a subscriber wants beyond its event types; whatever is empty lets everything through."""

    business_product_ids: tuple[str, ...] = ()
    carriers: tuple[str, ...] = ()
    """Carrier codes, in any case. What names no carrier is not among what is wanted then."""
    expression: str = ""
    """CEL over the message; what it fails on is not wanted."""


class EventBusSettings(Struct, frozen=True, rename="camel"):
    """The settings of an `eventBus` destination."""

    bus: str
    """A custom event bus: its name, or its ARN."""
    region: str = "us-east-1"
    source: str = SOURCE


def warning_of(failing_ms: int, disable_after_days: int) -> int | None:
    """How much of its time a failing subscriber has used up, in percent, by the warnings; None below the first, or
    where nobody is disabled."""
    if disable_after_days <= 0:
        return None
    share = 100 * failing_ms / (disable_after_days * 86_400_000)
    return max((level for level in WARNINGS if share >= level), default=None)
