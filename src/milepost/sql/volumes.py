"""Events by the hour, on one connection."""

from collections.abc import Collection, Mapping

from sqlalchemy import Connection, delete, select

from milepost.sql import schema
from milepost.sql.statements import grouped, upsert, visible
from milepost.store.volumes import VolumeKey

_v = schema.volumes.c
_KEY = ("business_product_id", "family", "road", "hour")


class SqlVolumes:
    """`milepost.store.Volumes` in one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, counts: Mapping[VolumeKey, int]) -> None:
        known: dict[VolumeKey, int] = {}
        for product, hours in grouped((product, hour) for product, _, _, hour in sorted(counts)):
            there = (_v.business_product_id == product, _v.hour.in_(hours))
            for row in self._connection.execute(select(schema.volumes).where(*there)).all():
                known[row.business_product_id, row.family, row.road, row.hour] = row.events
        rows = [
            {**dict(zip(_KEY, key, strict=True)), "events": known.get(key, 0) + count}
            for key, count in counts.items()
        ]
        upsert(self._connection, schema.volumes, rows, _KEY)

    def between(
        self, first: int, last: int, business_products: Collection[str] | None
    ) -> dict[VolumeKey, int]:
        mine = visible(_v.business_product_id, business_products)
        statement = select(schema.volumes).where(_v.hour >= first, _v.hour <= last, mine)
        return {
            (row.business_product_id, row.family, row.road, row.hour): row.events
            for row in self._connection.execute(statement).all()
        }

    def forget(self, before: int) -> None:
        self._connection.execute(delete(schema.volumes).where(_v.hour < before))
