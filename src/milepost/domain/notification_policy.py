"""What shopkeepers settle about notifications: which kinds, by which channels, how long held, how many, when not.

Plain values, made from the settings; the rules over them are `noticing`'s and `notification_rules`'.
"""

from datetime import tzinfo
from typing import Final

from msgspec import Struct

from milepost.domain.business_calendar import BusinessCalendar
from milepost.domain.instant import HOUR, MINUTE
from milepost.domain.notification import Channel, Kind

URGENT: Final[frozenset[Kind]] = frozenset({"customer_action", "attempt_failed"})
"""Kinds that no cap and no quiet hours hold back (rules 12, 13)."""
_DELIVERED: Final[frozenset[Kind]] = frozenset({"delivered", "all_delivered"})


class NotificationPolicy(Struct, frozen=True):
    """The settings that the rules of tracking.md 11 leave open."""

    kinds: frozenset[Kind]
    """What is told; the others are switched off (rule 17)."""
    channels: tuple[Channel, ...] = ("email",)
    """In the order in which they are tried (rule 13)."""
    locale: str = "en"
    """For who chose no other."""
    hold_ms: int = 10 * MINUTE
    hold_delivered_ms: int = 30 * MINUTE
    digest_ms: int = 2 * HOUR
    """Rule 11's: deliveries of one order that reach one kind within this are told together."""
    per_day: int = 3
    """Most that are not urgent, an order and local day (rule 12)."""
    quiet_hours: tuple[int, int] | None = None
    """From and to, in minutes after local midnight; they may go over midnight (rule 13)."""
    timezone: str = "UTC"
    """IANA name: the business calendar's zone, for what no carrier's scan gives a zone to."""
    earlier_estimates: bool = False
    """Whether an estimate that moves to an earlier day is told, too (rule 9)."""

    @property
    def zone(self) -> tzinfo:
        """Of `timezone`."""
        return BusinessCalendar(self.timezone).zone

    def hold_of(self, kind: Kind) -> int:
        """Milliseconds that a notification of this kind is held (rule 6)."""
        return self.hold_delivered_ms if kind in _DELIVERED else self.hold_ms


def quiet_hours_from(text: str) -> tuple[int, int] | None:
    """Quiet hours as settings write them (`21:00-08:00`); None where that is empty, or from and to are the same."""
    if not text:
        return None
    begin, end = (int(part[:2]) * 60 + int(part[3:]) for part in text.split("-"))
    return None if begin == end else (begin, end)
