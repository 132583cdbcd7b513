"""`/v1/roads`: which roads events come by, how far one is behind the other, and what one of them did not bring.

`look` is what this page and `/metrics` measure from; the sums are `domain.roads`'.
"""

from collections.abc import Sequence

from litestar import get
from msgspec import Struct

from milepost.domain.instant import Instant, format_instant
from milepost.domain.roads import GRACE_MS, Behind, Crossing, Measured, RoadUse, measure
from milepost.store import Transaction
from milepost.web.authentication import Caller
from milepost.web.context import Hub
from milepost.web.documents import Document
from milepost.web.problems import problems
from milepost.web.reading import BusinessProduct, Reach

CROSSINGS = 1_000
"""The newest events by both roads, whose lag is measured."""

PASSAGES = 2_000
"""The newest arrivals that are counted: about as many events by two roads as crossings."""

MORE_PASSAGES = 10_000
"""Where those are all too young to tell what one road missed."""

_SLOWEST = 5


class LagDocument(Document):
    """How far a road was behind the first: over `n` events that came by the other road first."""

    n: int
    p50_ms: int | None
    p90_ms: int | None
    p99_ms: int | None


class RoadDocument(Document):
    """One road, lately."""

    road: str
    arrivals: int
    """How often it brought an event, copies included."""
    first: int
    """Events that it brought first."""
    behind: LagDocument
    expected: int
    """Events of a business product and type that this road brings, five minutes old and older."""
    missed: int
    """Those of them that came by the other road only."""
    missed_positions: list[int]
    """The newest of them, at most ten."""
    last_arrival_at: str | None
    """The last one that is known from what was looked at."""


class CrossingDocument(Document):
    """An event that came by both roads."""

    position: int
    business_product_id: str
    type: str
    first_road: str
    first_at: str
    other_road: str
    other_at: str
    lag_ms: int


class RoadsDocument(Document):
    """The roads, and what was looked at."""

    roads: list[RoadDocument]
    arrivals: int
    """How many arrivals were looked at, the newest; replays are counted apart."""
    events: int
    """Events that came first among them."""
    since: str | None
    """The oldest of them."""
    grace_ms: int
    """A road is given so long before an event counts as missed."""
    crossings: int
    """How many events by both roads were measured, the newest."""
    slowest: list[CrossingDocument]
    """Those of them that took longest."""


class Looked(Struct):
    """What one read found."""

    measured: Measured
    crossings: Sequence[Crossing]


def look(tx: Transaction, reach: Reach, now: Instant) -> Looked:
    """Measure the roads as they are now, at a cost that does not grow with the journal."""
    crossings = tx.journal.crossings(CROSSINGS, reach)
    passages = tx.journal.passages(PASSAGES, reach, replays=False)
    if len(passages) == PASSAGES and now - passages[-1].received_at < GRACE_MS:
        passages = tx.journal.passages(MORE_PASSAGES, reach, replays=False)
    replays = tx.journal.passages(PASSAGES, reach, replays=True)
    return Looked(measure(passages, replays, crossings, now), crossings)


@get("/v1/roads", summary="Compare the roads that events come by", tags=["Events"], responses=problems())
async def show_roads(
    context: Hub, caller: Caller, business_product_id: BusinessProduct = None
) -> RoadsDocument:
    """How often each road brought an event and brought it first, how far it was behind, and which events it did not
    bring although it brings their like. Every number is of the newest arrivals, of seven days at most, and stands
    beside how many it is made of. Replays are counted, not measured."""
    reach, now = caller.reach(business_product_id), context.clock()
    looked = await context.store.read(lambda tx: look(tx, reach, now))
    measured = looked.measured
    slowest = sorted(looked.crossings, key=lambda c: c.lag_ms, reverse=True)[:_SLOWEST]
    return RoadsDocument(
        [_road(road) for road in measured.roads],
        measured.arrivals,
        measured.events,
        None if measured.since is None else format_instant(measured.since),
        GRACE_MS,
        measured.crossings,
        [_crossing(crossing) for crossing in slowest],
    )


def _road(use: RoadUse) -> RoadDocument:
    return RoadDocument(
        use.road,
        use.arrivals,
        use.first,
        _lag(use.behind),
        use.expected,
        use.missed,
        list(use.missed_positions),
        None if use.last_at is None else format_instant(use.last_at),
    )


def _lag(behind: Behind) -> LagDocument:
    return LagDocument(behind.n, behind.p50_ms, behind.p90_ms, behind.p99_ms)


def _crossing(crossing: Crossing) -> CrossingDocument:
    return CrossingDocument(
        crossing.position,
        crossing.business_product_id,
        crossing.type,
        crossing.first_road,
        format_instant(crossing.first_at),
        crossing.other_road,
        format_instant(crossing.other_at),
        crossing.lag_ms,
    )


HANDLERS = [show_roads]
