"""Which roads events came by, newest first: what `SqlJournal` answers, in few indexed statements.

However big the journal is, no more than the newest `LOOKED_THROUGH` rows are looked at: what a scrape costs must not
grow, and a business product with few events among many others' is shown by what is found there.
"""

from collections.abc import Collection
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, exists, func, literal_column, select

from milepost.domain.roads import Crossing, Passage
from milepost.sql import schema
from milepost.sql.statements import visible

LOOKED_THROUGH = 20_000

_records, _arrivals = schema.records.c, schema.arrivals.c
_before = schema.arrivals.alias("before")

_REPLAY: ColumnElement[str] = literal_column("'replay'")
"""Written out: only so does a database see that the partial index on live arrivals holds what is asked for."""

_NEWEST_ARRIVALS = func.coalesce(
    select(_arrivals.id)
    .where(_arrivals.road != _REPLAY)
    .order_by(_arrivals.id.desc())
    .offset(LOOKED_THROUGH)
    .limit(1)
    .scalar_subquery(),
    0,
)
"""The id above which the newest live arrivals are."""

_LAST_ARRIVAL = select(func.coalesce(func.max(_arrivals.id), 0)).scalar_subquery()
_LAST_RECORD = select(func.coalesce(func.max(_records.position), 0)).scalar_subquery()

# Bounded from both sides though nothing is above the last: of a range with two ends PostgreSQL expects few rows and
# looks each of them up; of one with an open end it expects a third of the table, and reads all of it.
_NEWEST_LIVE = _arrivals.id.between(_NEWEST_ARRIVALS + 1, _LAST_ARRIVAL)
_NEWEST_ANY = _arrivals.id.between(_LAST_ARRIVAL - LOOKED_THROUGH + 1, _LAST_ARRIVAL)
_NEWEST_RECORDS = _records.position.between(_LAST_RECORD - LOOKED_THROUGH + 1, _LAST_RECORD)


def crossings(
    connection: Connection, limit: int, business_products: Collection[str] | None
) -> list[Crossing]:
    """Events that came by both live roads, by the first arrival on the second of them, newest first."""
    earlier = exists().where(
        _before.c.position == _arrivals.position,
        _before.c.road == _arrivals.road,
        _before.c.id < _arrivals.id,
    )
    statement = (
        select(
            _records.position,
            _records.business_product_id,
            _records.type,
            _records.road,
            _records.received_at,
            _arrivals.road,
            _arrivals.received_at,
        )
        .join_from(schema.arrivals, schema.records, _records.position == _arrivals.position)
        .where(
            _NEWEST_LIVE,
            _arrivals.road != _REPLAY,
            _records.road != _REPLAY,
            _records.road != _arrivals.road,
            ~earlier,
            visible(_records.business_product_id, business_products),
        )
        .order_by(_arrivals.id.desc())
        .limit(limit)
    )
    return [Crossing(*row) for row in connection.execute(statement).all()]


def passages(
    connection: Connection, limit: int, business_products: Collection[str] | None, replays: bool
) -> list[Passage]:
    """The newest arrivals by live roads, or by replays, newest first."""
    first = (
        select(
            _records.position,
            _records.business_product_id,
            _records.type,
            _records.received_at,
            _records.road,
        )
        .where(_NEWEST_RECORDS, _records.kind == "event")
        .where(_by(_records.road, replays), visible(_records.business_product_id, business_products))
        .order_by(_records.position.desc())
        .limit(limit)
    )
    again = (
        select(
            _arrivals.position,
            _records.business_product_id,
            _records.type,
            _arrivals.received_at,
            _arrivals.road,
        )
        .join_from(schema.arrivals, schema.records, _records.position == _arrivals.position)
        .where(_NEWEST_ANY if replays else _NEWEST_LIVE)
        .where(_by(_arrivals.road, replays), visible(_records.business_product_id, business_products))
        .order_by(_arrivals.id.desc())
        .limit(limit)
    )
    # Copies before firsts: in the same millisecond the copy came later.
    found = [*_passages(connection, again, first=False), *_passages(connection, first, first=True)]
    return sorted(found, key=lambda p: p.received_at, reverse=True)[:limit]


def lags(connection: Connection, limit: int, business_products: Collection[str] | None) -> list[int]:
    """Milliseconds from publishing to the first arrival, of the newest events that came by a live road."""
    statement = (
        select(_records.received_at - _records.published_at)
        .where(_NEWEST_RECORDS, _records.kind == "event", _records.road != _REPLAY)
        .where(visible(_records.business_product_id, business_products))
        .order_by(_records.position.desc())
        .limit(limit)
    )
    return list(connection.execute(statement).scalars())


def _by(road: ColumnElement[str], replays: bool) -> ColumnElement[bool]:
    return road == _REPLAY if replays else road != _REPLAY


def _passages(connection: Connection, statement: Select[Any], *, first: bool) -> list[Passage]:
    return [
        Passage(row[0], row[1], row[2], row[3], row[4], first) for row in connection.execute(statement).all()
    ]
