"""Bodies as they came by a second road: one a road and record, on one connection.

The journal keeps the body of the first arrival. Where the same event comes by the other road too, its envelope is
another one, and the first of those is kept here; further arrivals are only counted. What a replay brings is what its
road brought before, and a copy whose `data` differs is a record of its own, so neither is kept.
"""

from collections.abc import Collection, Iterable
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, delete, select

from milepost.domain.erasure import ERASED
from milepost.domain.roads import REPLAY
from milepost.sql import schema
from milepost.sql.statements import chunks

_b, _r = schema.road_bodies.c, schema.records.c
_THERE = select(_b.position, _b.road).where(_b.position.in_(bindparam("positions", expanding=True)))
_KEPT = select(_b.road, _b.body).where(_b.position == bindparam("position")).order_by(_b.road)
# An erasure has a lock on the records that it rewrites, and forgets what is kept here before it lets go of it: who
# gets a share of the lock first is forgotten with the rest. Nobody waits for it, so that nobody waits in a circle.
_UNERASED = (
    select(_r.position)
    .where(_r.position.in_(bindparam("positions", expanding=True)), ~_r.flags.contains(f'"{ERASED}"'))
    .with_for_update(read=True, skip_locked=True)
)
FORGET = delete(schema.road_bodies).where(_b.position.in_(bindparam("positions", expanding=True)))


class SecondBody(NamedTuple):
    """A body that came for the record at `position`, whose own came by another road."""

    position: int
    road: str
    body: bytes


def is_other_road(road: str, first: str) -> bool:
    """Whether a body by this road is worth keeping beside one that came by `first`."""
    return road not in (first, REPLAY)


def keep(connection: Connection, given: Iterable[SecondBody]) -> None:
    """Keep the first of each record and road."""
    fresh: dict[tuple[int, str], SecondBody] = {}
    for each in given:
        fresh.setdefault((each.position, each.road), each)
    for chunk in chunks({position for position, _ in fresh}):
        for position, road in connection.execute(_THERE, {"positions": chunk}).all():
            fresh.pop((position, road), None)
    allowed: set[int] = set()
    for chunk in chunks({position for position, _ in fresh}):
        allowed.update(connection.execute(_UNERASED, {"positions": chunk}).scalars())
    rows = [each._asdict() for each in fresh.values() if each.position in allowed]
    if rows:
        connection.execute(schema.road_bodies.insert(), rows)


def others(connection: Connection, position: int) -> dict[str, bytes]:
    """The bodies of a record that came by other roads than the first one, by road."""
    return {row.road: row.body for row in connection.execute(_KEPT, {"position": position}).all()}


def forget(connection: Connection, positions: Collection[int]) -> None:
    """Take them away for good."""
    for chunk in chunks(positions):
        connection.execute(FORGET, {"positions": chunk})
