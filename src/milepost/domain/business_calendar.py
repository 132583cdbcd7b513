"""The business calendar: weekends, holidays, and business-day arithmetic on instants in one time zone.

Used by the conditions that time makes true (tracking.md 9.7). What holds after how many days is `condition`'s.
No clock is read here.
"""

from datetime import UTC, date, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from msgspec import Struct

from milepost.domain.instant import Instant, instant_of, to_datetime

LAST_INSTANT = Instant(253_402_300_799_999)
"""The end of the year 9999: what arithmetic past the calendar's end gives."""

_SATURDAY = 5


class BusinessCalendar(Struct, frozen=True):
    """Monday to Friday in `timezone` (an IANA name), without `holidays`."""

    timezone: str = "UTC"
    holidays: frozenset[date] = frozenset()

    @property
    def zone(self) -> tzinfo:
        """Raises zoneinfo.ZoneInfoNotFoundError or ValueError for a name that is none."""
        return UTC if self.timezone == "UTC" else ZoneInfo(self.timezone)

    def is_business_day(self, day: date) -> bool:
        return day.weekday() < _SATURDAY and day not in self.holidays

    def after_business_days(self, at: Instant, days: int) -> Instant:
        """The instant `days` business days after `at`, at the same time on the wall.

        Time stands still on days off: from a weekend or a holiday, counting starts when the next business
        day does. Friday 15:00 and one day is Monday 15:00; Saturday and one day is Tuesday 00:00. A wall
        time that the zone skips or repeats on that day is taken as before the change.
        """
        try:
            local = to_datetime(at).astimezone(self.zone)
            if not self.is_business_day(local.date()):
                local = datetime(local.year, local.month, local.day, tzinfo=self.zone)
                local = self._next_business_day(local)
            for _ in range(days):
                local = self._next_business_day(local)
            return instant_of(local.replace(fold=0))
        except OverflowError:
            return LAST_INSTANT

    def _next_business_day(self, local: datetime) -> datetime:
        local += timedelta(days=1)
        while not self.is_business_day(local.date()):
            local += timedelta(days=1)
        return local

    def end_of_day(self, day: date, zone: tzinfo | None = None) -> Instant:
        """The first instant after `day` in `zone` (by default the calendar's)."""
        try:
            midnight = datetime(day.year, day.month, day.day) + timedelta(days=1)  # noqa: DTZ001 - zone follows
            return instant_of(midnight.replace(tzinfo=zone or self.zone))
        except OverflowError:
            return LAST_INSTANT
