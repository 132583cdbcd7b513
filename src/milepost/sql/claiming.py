"""Which pending messages can be taken now, and when the next one can: the two questions that lanes decide.

Both step through one partial index of what is pending from one destination to the next (a loose index scan), so
that what waits for a lane that is full, or whose breaker is open, is never read.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import (
    CTE,
    Boolean,
    ColumnElement,
    Connection,
    Label,
    Row,
    Select,
    bindparam,
    func,
    literal_column,
    select,
)

from milepost.domain.breaker import Breaker, allows
from milepost.domain.instant import Instant
from milepost.sql import schema

Rows = list[Row[*tuple[Any, ...]]]

_m, _d = schema.messages.c, schema.destinations.c
# SQLite uses a partial index only where the statement itself, not a bound value, repeats its condition.
_PENDING: ColumnElement[str] = literal_column("'pending'")
_LATE = bindparam("late", type_=Boolean)


def _waiting() -> CTE:
    """The destinations that anything pending is for, one after the other; the last row is null."""
    found = (
        select(func.min(_m.destination_id).label("id"))
        .where(_m.state == _PENDING, _m.late == _LATE)
        .cte("waiting", recursive=True)
    )
    following = (
        select(func.min(_m.destination_id))
        .where(_m.state == _PENDING, _m.late == _LATE, _m.destination_id > found.c.id)
        .correlate(found)
        .scalar_subquery()
    )
    return found.union_all(select(following).where(found.c.id.is_not(None)))


def _lane(waiting: CTE) -> Label[str]:
    return func.coalesce(func.nullif(_d.endpoint, ""), waiting.c.id).label("lane")


def _ready() -> Select[*tuple[Any, ...]]:
    """At most `share` of each destination in a lane that isn't excluded, earliest first."""
    waiting = _waiting()
    own = schema.messages.alias("own")
    first = (
        select(own.c.id)
        .where(own.c.state == _PENDING, own.c.late == _LATE, own.c.destination_id == waiting.c.id)
        .where(own.c.ready_at <= bindparam("at"))
        .order_by(own.c.ready_at, own.c.position)
        .limit(bindparam("share"))
        .correlate(waiting)
    )
    lane = _lane(waiting)
    return (
        select(schema.messages, lane, _d.rate)
        .select_from(waiting)
        .outerjoin(schema.destinations, _d.id == waiting.c.id)
        .join(schema.messages, _m.id.in_(first))
        .where(lane.not_in(bindparam("exclude", expanding=True)))
        .where(waiting.c.id.not_in(bindparam("resting", expanding=True)))
        .order_by(_m.ready_at, _m.position, _m.id)
        .limit(bindparam("count"))
    )


def _next() -> Select[*tuple[Any, ...]]:
    """(lane, destination, when its earliest is ready) of each destination that anything is pending for."""
    waiting = _waiting()
    own = schema.messages.alias("own")
    earliest = (
        select(func.min(own.c.ready_at))
        .where(own.c.state == _PENDING, own.c.late == _LATE, own.c.destination_id == waiting.c.id)
        .correlate(waiting)
        .scalar_subquery()
    )
    return (
        select(_lane(waiting), waiting.c.id, earliest.label("ready_at"))
        .select_from(waiting)
        .outerjoin(schema.destinations, _d.id == waiting.c.id)
        .where(waiting.c.id.is_not(None))
    )


_READY = _ready()
_NEXT = _next()


def ready(
    connection: Connection,
    at: Instant,
    limit: int,
    share: int,
    room: Mapping[str, int],
    paced: Mapping[str, int],
    breakers: Mapping[str, Breaker],
) -> tuple[Rows, set[str]]:
    """The rows to claim, and the lanes whose one row is a probe: first tries ahead of late ones."""
    left, pace = dict(room), dict(paced)
    probing: set[str] = set()
    for lane, breaker in breakers.items():
        allowed = allows(breaker, at)
        if allowed == "probe":
            probing.add(lane)
        if allowed != "all":
            left[lane] = 1 if allowed == "probe" else 0
    # A lane may have more room than others, but with many of them no one's pile need be read that deep.
    most = max(share, min(max(left.values(), default=0), 2 * limit // max(1, len(left))))
    rows: Rows = []
    for late in (False, True):
        _fill(connection, rows, left, pace, limit, {"late": late, "at": at, "share": most}, share)
    return rows, probing & {row.lane for row in rows}


def _fill(
    connection: Connection,
    rows: Rows,
    left: dict[str, int],
    pace: dict[str, int],
    limit: int,
    values: Mapping[str, object],
    share: int,
) -> None:
    """Add what lanes have room for, and rates. A pile for one that has little, from many destinations, can be all
    that is read: then the others are looked for behind it."""
    taken = {row.id for row in rows}
    while len(rows) < limit:
        full = [lane for lane, count in left.items() if count <= 0]
        resting = [destination for destination, count in pace.items() if count <= 0]
        found = connection.execute(
            _READY, {**values, "count": limit, "exclude": full, "resting": resting}
        ).all()
        fresh = (row for row in found if row.id not in taken)
        kept = _fitting(fresh, left, pace, share, limit - len(rows))
        rows.extend(kept)
        taken.update(row.id for row in kept)
        if len(found) < limit:
            return


def _fitting(
    rows: Iterable[Row[*tuple[Any, ...]]], room: dict[str, int], pace: dict[str, int], share: int, most: int
) -> Rows:
    """The first `most` that their lanes have room for (destinations that share a lane come with a share each) and
    their destinations' rates allow."""
    kept: Rows = []
    for row in rows:
        left = room.get(row.lane, share)
        allowed = pace.get(row.destination_id, 1) if row.rate else left
        if left > 0 and allowed > 0 and len(kept) < most:
            room[row.lane] = left - 1
            if row.rate:
                pace[row.destination_id] = allowed - 1
            kept.append(row)
    return kept


def next_ready(
    connection: Connection, breakers: Mapping[str, Breaker], resting: Mapping[str, Instant]
) -> Instant | None:
    """When the next row can be claimed."""
    earliest: int | None = None
    for late in (False, True):
        for lane, destination, ready_at in connection.execute(_NEXT, {"late": late}).all():
            ready_at = max(ready_at, resting.get(destination, 0))  # noqa: PLW2901 - the later of the two
            breaker = breakers.get(lane)
            if breaker is not None and breaker.state != "closed":
                ready_at = max(ready_at, breaker.until)  # noqa: PLW2901 - the later of the two
            earliest = ready_at if earliest is None else min(earliest, ready_at)
    return None if earliest is None else Instant(earliest)
