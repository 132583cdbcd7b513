"""How many events usually come: what the silence of a subscription, and what it did not bring, is measured against.

Events are counted by business product, type, road and hour, every arrival once. From these counts follow

- **usual**: by hour of the week (UTC), the mean of the weeks looked at without the fullest of them, so that one big
  day is not taken for the rule. It takes two weeks, both of them watched.
- **silence**: a road brings nothing of a type although by now `SILENT_AT` events were to be expected. Where events
  come by themselves and not all at once, chance does that once in eight thousand times. The next event ends it. A
  type too rare for that is looked at with its family: the order's events, or the milestones.
- **span**: from which hour to which a road brought a type. Nothing is expected of a road outside of that: what never
  came was never subscribed to, and of what stopped only a silence is said, not a loss.
- **a scope**: order events come, their deliveries have scans, and no milestone event ever comes.

Hours in which no hub was there to count are none of silence: each hub notes the hours it watches (`WATCHED`).
"""

from collections.abc import Iterable, Mapping
from typing import Literal

from msgspec import Struct

from milepost.domain.instant import HOUR, MINUTE, Instant
from milepost.domain.roads import LIVE

Counts = Mapping[tuple[str, str, str, int], int]
"""(business product, type, road, hour since 1970) to events."""
Family = Literal["order", "milestone"]

MILESTONE = "PACKAGE_TRACKER_MILESTONE_CHANGED"
WATCHED = "watched"
"""The type under which the hours are noted in which a hub watched, with business product and road empty."""
BEAT_MS = 15 * MINUTE
"""How often it is noted: four beats are a whole hour."""

WEEK = 7 * 24
"""Hours."""
KEPT_HOURS = 6 * WEEK
IN_USE_HOURS = 2 * WEEK
"""A road that brought nothing for longer is not in use; its silence is over, too."""
SILENT_AT = 9.0
"""Events that should have come: by chance nothing comes then with e^-9, once in 8,000 times."""
_LEAST_WEEKS = 2
LEAST_SCANNED = 3
"""Deliveries with scans and without any milestone event, of which it is said that a scope is missing."""

_ORDER = frozenset({"PACKAGE_DELIVERY_IN_TRANSIT", "PACKAGE_DELIVERED", "PACKAGE_DELIVERY_CANCELLED"})


class Silence(Struct, frozen=True):
    """A road that stopped to bring something."""

    business_product_id: str
    road: str
    type: str
    """An event type; or a family, where no type of it comes often enough to tell alone."""
    last_hour: int
    """The hour in which the last event came."""
    expected: float
    """How many would have come since, as a rule."""


class Span(Struct, frozen=True):
    """From which hour to which a road brought events of a type, and how many."""

    first: int
    last: int
    events: int


Spans = Mapping[tuple[str, str, str], Span]
"""By business product, type and road."""


class Scope(Struct, frozen=True):
    """Order events come and their parcels are scanned, but no milestone event comes."""

    business_product_id: str
    order_events: int
    """How many came in the last two weeks."""
    scanned: int
    """Deliveries with scans, of those looked at."""


def hour_of(at: Instant) -> int:
    return at // HOUR


def family_of(type: str) -> Family | None:
    """The family of the package events; other events have none."""
    return "milestone" if type == MILESTONE else "order" if type in _ORDER else None


def watched_hours(counts: Counts) -> dict[int, float]:
    """Which part of each hour somebody watched."""
    return {
        hour: min(1.0, beats * BEAT_MS / HOUR) for (_, t, _, hour), beats in counts.items() if t == WATCHED
    }


def counted_until(watched: Mapping[int, float], now: Instant) -> int:
    """The hour before which everything is counted: the newest that is noted as watched."""
    return min(hour_of(now), max(watched, default=0))


def hours_to_know(spans: Spans, until: int) -> dict[str, set[int]]:
    """By business product: the hours of the week in which a road of it brings nothing now."""
    found: dict[str, set[int]] = {}
    for (product, kind, road), span in spans.items():
        silent = range(span.last + 1, until)
        if silent and len(silent) < IN_USE_HOURS and road in LIVE and family_of(kind) is not None:
            found.setdefault(product, set()).update(hour % WEEK for hour in silent)
    return found


def silences(counts: Counts, spans: Spans, watched: Mapping[int, float], until: int) -> list[Silence]:
    """The roads that are silent as of the hour `until`; by business product, road and type. `counts` are those of
    the hours to know, `spans` everything that is kept."""
    series: dict[tuple[str, str, str], dict[int, int]] = {}
    ranges: dict[tuple[str, str, str], tuple[int, int]] = {}
    for (product, kind, road), span in spans.items():
        if road in LIVE and (family := family_of(kind)) is not None:
            for name in (kind, family):
                first, last = ranges.get((product, road, name), (span.first, span.last))
                ranges[product, road, name] = min(first, span.first), max(last, span.last)
    for (product, kind, road, hour), events in counts.items():
        for name in {kind, family_of(kind) or kind}:
            hours = series.setdefault((product, road, name), {})
            hours[hour] = hours.get(hour, 0) + events
    found: list[Silence] = []
    for key, within in ranges.items():
        if (silence := _silence(key, within, series.get(key, {}), watched, until)) is not None:
            found.append(silence)
    told = {(s.business_product_id, s.road, family_of(s.type)) for s in found}
    kept = [s for s in found if (s.business_product_id, s.road, s.type) not in told]
    return sorted(kept, key=lambda s: (s.business_product_id, s.road, s.type))


def _silence(
    key: tuple[str, str, str],
    within: tuple[int, int],
    hours: Mapping[int, int],
    watched: Mapping[int, float],
    until: int,
) -> Silence | None:
    first, last = within
    if until - last > IN_USE_HOURS:
        return None
    usual: dict[int, float] = {}
    expected = 0.0
    for silent in range(last + 1, until):
        if silent in watched:
            of_week = silent % WEEK
            if of_week not in usual:
                usual[of_week] = _usual(
                    hours, watched, range(last - (last - of_week) % WEEK, first - 1, -WEEK)
                )
            expected += usual[of_week] * watched[silent]
    return Silence(*key, last, round(expected, 1)) if expected >= SILENT_AT else None


def _usual(hours: Mapping[int, int], watched: Mapping[int, float], same: Iterable[int]) -> float:
    """Events in one hour of the week: the mean of those that were watched, without the fullest."""
    seen = sorted(hours.get(hour, 0) for hour in same if hour in watched)
    return sum(seen[:-1]) / (len(seen) - 1) if len(seen) >= _LEAST_WEEKS else 0.0


def scopes(spans: Spans, scanned: Mapping[str, int]) -> list[Scope]:
    """The business products that lack milestone events, from the spans of two weeks. `scanned`: by business product,
    how many of the deliveries looked at have scans."""
    orders: dict[str, int] = {}
    with_milestones: set[str] = set()
    for (product, kind, _), span in spans.items():
        if kind == MILESTONE:
            with_milestones.add(product)
        elif kind in _ORDER:
            orders[product] = orders.get(product, 0) + span.events
    return [
        Scope(product, orders[product], scanned[product])
        for product in sorted(orders.keys() - with_milestones)
        if scanned.get(product, 0) >= LEAST_SCANNED
    ]


class HourVolume(Struct, frozen=True):
    """What came in one hour, and what usually comes in that hour of the week (None: not known yet)."""

    hour: int
    events: int
    usual: float | None


def by_hour(counts: Counts, watched: Mapping[int, float], until: int, hours: int) -> list[HourVolume]:
    """The last `hours` hours before `until`, oldest first, all live roads and types together. `counts` are those of
    these hours of the week, as far as they are kept."""
    totals: dict[int, int] = {}
    for (_, kind, road, hour), events in counts.items():
        if road in LIVE and kind != WATCHED:
            totals[hour] = totals.get(hour, 0) + events
    found = []
    for hour in range(until - hours, until):
        before = [h for h in range(hour - WEEK, hour - KEPT_HOURS - 1, -WEEK) if h in watched]
        usual = _usual(totals, watched, before) if len(before) >= _LEAST_WEEKS else None
        found.append(HourVolume(hour, totals.get(hour, 0), usual))
    return found


def kept_from(now: Instant) -> int:
    """The oldest hour that counts are kept of."""
    return hour_of(now) - KEPT_HOURS
