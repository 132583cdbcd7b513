"""Events by the hour, on one connection."""

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    Select,
    bindparam,
    delete,
    func,
    literal_column,
    select,
)

from milepost.domain.instant import HOUR
from milepost.domain.volume import WEEK, Span
from milepost.sql import schema
from milepost.sql.statements import grouped, upsert, visible
from milepost.store.volumes import Reached, VolumeKey

_r, _a, _v = schema.records.c, schema.arrivals.c, schema.volumes.c
_KEY = ("business_product_id", "type", "road", "hour")


def _by_hour(received_at: ColumnElement[int], road: ColumnElement[str]) -> Select[Any]:
    # Written out: a bound value would be another one in GROUP BY.
    hour = received_at // literal_column(str(HOUR), Integer)
    return (
        select(_r.business_product_id, _r.type, road, hour, func.count())
        .where(_r.kind == "event", received_at >= bindparam("since"))
        .group_by(_r.business_product_id, _r.type, road, hour)
    )


_FIRST = _by_hour(_r.received_at, _r.road).where(
    _r.position > bindparam("behind"), _r.position <= bindparam("upto")
)
_COPIES = (
    _by_hour(_a.received_at, _a.road)
    .join_from(schema.arrivals, schema.records, _r.position == _a.position)
    .where(_a.id > bindparam("behind"), _a.id <= bindparam("upto"))
)
_LAST_RECORD = select(func.coalesce(func.max(_r.position), 0))
_LAST_COPY = select(func.coalesce(func.max(_a.id), 0))


class SqlVolumes:
    """`milepost.store.Volumes` in one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def count(self, behind: Reached, limit: int, from_hour: int) -> tuple[dict[VolumeKey, int], Reached]:
        found: dict[VolumeKey, int] = {}
        ends: list[int] = []
        for statement, last, begin in (
            (_FIRST, _LAST_RECORD, behind.position),
            (_COPIES, _LAST_COPY, behind.copy),
        ):
            # Positions and numbers may have gaps: so many of them hold no more rows than that.
            upto = max(begin, min(self._connection.execute(last).scalar_one(), begin + limit))
            values = {"since": from_hour * HOUR, "behind": begin, "upto": upto}
            for product, kind, road, hour, events in self._connection.execute(statement, values).all():
                key = (product, kind, road, hour)
                found[key] = found.get(key, 0) + events
            ends.append(upto)
        return found, Reached(*ends)

    def add(self, counts: Mapping[VolumeKey, int]) -> None:
        known: dict[VolumeKey, int] = {}
        for product, hours in grouped((product, hour) for product, _, _, hour in sorted(counts)):
            there = (_v.business_product_id == product, _v.hour.in_(hours))
            for row in self._connection.execute(select(schema.volumes).where(*there)).all():
                known[row.business_product_id, row.type, row.road, row.hour] = row.events
        rows = [
            {**dict(zip(_KEY, key, strict=True)), "events": known.get(key, 0) + count}
            for key, count in counts.items()
        ]
        upsert(self._connection, schema.volumes, rows, _KEY)

    def between(
        self, first: int, last: int, business_products: Collection[str], of_week: Collection[int] | None
    ) -> dict[VolumeKey, int]:
        statement = select(schema.volumes).where(
            _v.hour >= first, _v.hour <= last, visible(_v.business_product_id, business_products)
        )
        if of_week is not None:
            statement = statement.where((_v.hour % WEEK).in_(sorted(of_week)))
        return {
            (row.business_product_id, row.type, row.road, row.hour): row.events
            for row in self._connection.execute(statement).all()
        }

    def spans(
        self, first: int, last: int, business_products: Collection[str] | None
    ) -> dict[tuple[str, str, str], Span]:
        series = (_v.business_product_id, _v.type, _v.road)
        statement = (
            select(*series, func.min(_v.hour), func.max(_v.hour), func.sum(_v.events))
            .where(_v.hour >= first, _v.hour <= last, _v.business_product_id != "")
            .where(visible(_v.business_product_id, business_products))
            .group_by(*series)
        )
        return {
            (product, kind, road): Span(begin, end, int(events))
            for product, kind, road, begin, end, events in self._connection.execute(statement).all()
        }

    def forget(self, before: int) -> None:
        self._connection.execute(delete(schema.volumes).where(_v.hour < before))
