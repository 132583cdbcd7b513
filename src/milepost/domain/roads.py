"""The roads that events come by: how far one is behind the other, and what one of them did not bring.

The same event comes by webhook and by EventBridge where a merchant subscribed to it on both; each is one record with
several arrivals. These are sums over what the journal lists of them; where it lists them from is the store's matter.
Replays of an archive come when somebody wants them to: they are counted, and never measured.
"""

from collections.abc import Sequence
from math import ceil

from msgspec import Struct

from milepost.domain.instant import Instant

REPLAY = "replay"
LIVE = ("webhook", "eventbridge")
"""The roads that Buy with Prime itself sends by."""

GRACE_MS = 5 * 60_000
"""An event that came less long ago may still be on its way by the other road."""

IN_USE_MS = 7 * 86_400_000
"""A road that brought nothing for longer is not in use."""

_SHOWN = 10
"""Positions of missed events that are named, the newest."""


class Passage(Struct, frozen=True):
    """One arrival of an event, without its body."""

    position: int
    business_product_id: str
    type: str
    received_at: Instant
    road: str
    first: bool
    """Whether it brought the event, rather than a further copy."""


class Crossing(Struct, frozen=True):
    """An event that came by both roads: when it first came by each."""

    position: int
    business_product_id: str
    type: str
    first_road: str
    first_at: Instant
    other_road: str
    other_at: Instant

    @property
    def lag_ms(self) -> int:
        """How far the other road was behind, in milliseconds; 0 where two machines' clocks say less."""
        return max(0, self.other_at - self.first_at)


class Behind(Struct, frozen=True):
    """How far a road was behind the first, over the `n` events that the other road brought first."""

    n: int
    p50_ms: int | None = None
    p90_ms: int | None = None
    p99_ms: int | None = None


class RoadUse(Struct, frozen=True):
    """One road, lately."""

    road: str
    arrivals: int
    first: int
    """Events that it brought first."""
    expected: int
    """Events that it could be expected to bring: see `measure`."""
    missed: int
    """Those of them that came by the other road only."""
    missed_positions: tuple[int, ...]
    """The newest of them."""
    behind: Behind
    last_at: Instant | None
    """Its last arrival that is known from what was measured."""


class Measured(Struct, frozen=True):
    """Every road, and what was looked at."""

    roads: tuple[RoadUse, ...]
    arrivals: int
    """Passages looked at, replays left out."""
    events: int
    """Events that came first among them."""
    since: Instant | None
    """The oldest of them; None when there is none."""
    crossings: int


def measure(
    passages: Sequence[Passage], replays: Sequence[Passage], crossings: Sequence[Crossing], now: Instant
) -> Measured:
    """Sum up the newest passages (live roads'), replays and crossings.

    A road is expected to bring an event when it brought another of the same business product and type within seven
    days, before this one: subscriptions are made a type at a time, so what it never brings it was never asked to.
    What came less than `GRACE_MS` ago is left out. An event that a replay brought first is nobody's.
    """
    recent = [p for p in passages if now - p.received_at <= IN_USE_MS]
    again = [p for p in replays if now - p.received_at <= IN_USE_MS]
    expected, missed = _missing(recent, crossings, now)
    others = {p.road for p in recent} - set(LIVE)
    roads = []
    for road in (*LIVE, *sorted(others), REPLAY):
        mine = [p for p in (again if road == REPLAY else recent) if p.road == road]
        positions = sorted(missed.get(road, ()), reverse=True)
        roads.append(
            RoadUse(
                road,
                len(mine),
                sum(p.first for p in mine),
                expected.get(road, 0),
                len(positions),
                tuple(positions[:_SHOWN]),
                percentiles([c.lag_ms for c in crossings if c.other_road == road]),
                max((*(p.received_at for p in mine), *_times(crossings, road)), default=None),
            )
        )
    since = min((p.received_at for p in recent), default=None)
    return Measured(tuple(roads), len(recent), sum(p.first for p in recent), since, len(crossings))


def percentiles(lags_ms: Sequence[int]) -> Behind:
    """By nearest rank: each is a lag that was measured."""
    if not lags_ms:
        return Behind(0)
    ordered = sorted(lags_ms)
    p50, p90, p99 = (ordered[ceil(len(ordered) * share / 100) - 1] for share in (50, 90, 99))
    return Behind(len(ordered), p50, p90, p99)


def _times(crossings: Sequence[Crossing], road: str) -> list[Instant]:
    return [c.first_at if c.first_road == road else c.other_at for c in crossings if road in _ends(c)]


def _ends(crossing: Crossing) -> tuple[str, str]:
    return crossing.first_road, crossing.other_road


def _missing(
    passages: Sequence[Passage], crossings: Sequence[Crossing], now: Instant
) -> tuple[dict[str, int], dict[str, list[int]]]:
    """By road: how many events it could be expected to bring, and the positions of those that it did not."""
    in_use = _in_use(passages, crossings, now)
    brought: dict[int, set[str]] = {}
    for passage in passages:
        brought.setdefault(passage.position, set()).add(passage.road)
    expected: dict[str, int] = {}
    missed: dict[str, list[int]] = {}
    for event in passages:
        if not event.first or now - event.received_at < GRACE_MS:
            continue
        for road, since in in_use.get((event.business_product_id, event.type), {}).items():
            if since > event.received_at:
                continue
            expected[road] = expected.get(road, 0) + 1
            if road not in brought[event.position]:
                missed.setdefault(road, []).append(event.position)
    return expected, missed


def _in_use(
    passages: Sequence[Passage], crossings: Sequence[Crossing], now: Instant
) -> dict[tuple[str, str], dict[str, Instant]]:
    """By business product and type: since when, as far as is known, each road brings such events."""
    found: dict[tuple[str, str], dict[str, Instant]] = {}

    def note(product: str, type: str, road: str, at: Instant) -> None:
        if now - at <= IN_USE_MS:
            roads = found.setdefault((product, type), {})
            roads[road] = min(at, roads.get(road, at))

    for p in passages:
        note(p.business_product_id, p.type, p.road, p.received_at)
    for c in crossings:
        note(c.business_product_id, c.type, c.first_road, c.first_at)
        note(c.business_product_id, c.type, c.other_road, c.other_at)
    return found
