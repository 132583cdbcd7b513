"""The accountant's books on one connection."""

from collections.abc import Collection, Sequence

import msgspec
from sqlalchemy import Connection, and_, bindparam, func, or_, select, update

from milepost.domain.accounting import Entry, Period
from milepost.domain.instant import Instant
from milepost.sql import schema
from milepost.sql.statements import by_number, chunks, extent, insert_new, of_orders, upsert, visible

_e, _p = schema.entries.c, schema.periods.c
_LOOK_AGAIN = (
    update(schema.entries)
    .where(
        _e.business_product_id == bindparam("product"),
        _e.order_id == bindparam("order"),
        _e.id == bindparam("row"),
    )
    .values(settles_at=bindparam("at"))
)
_NEXT_PRODUCT = select(func.min(_e.business_product_id)).where(_e.business_product_id > bindparam("after"))
_decode = msgspec.json.Decoder(Entry).decode


class SqlBooks:
    """`milepost.store.Books` in one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def post(self, entries: Sequence[Entry]) -> None:
        rows = [
            {
                "id": entry.id,
                "business_product_id": entry.business_product_id,
                "order_id": entry.order_id,
                "period": entry.posting_period,
                "settles_at": entry.settles_at,
                "document": msgspec.json.encode(entry),
            }
            for entry in entries
        ]
        insert_new(self._connection, schema.entries, rows)

    def of_orders(self, orders: Collection[tuple[str, str]]) -> dict[tuple[str, str], list[Entry]]:
        return of_orders(self._connection, schema.entries, orders, _decode)

    def page(
        self,
        after: int,
        limit: int,
        business_products: Collection[str] | None,
        period: str | None = None,
        order_id: str | None = None,
    ) -> list[tuple[int, Entry]]:
        if order_id is not None and business_products is None:
            business_products = self._business_products()  # an order is found under its business product
        where = [visible(_e.business_product_id, business_products)]
        if order_id is not None:
            where.append(_e.order_id == order_id)
        if period is not None:
            where.append(_e.period == period)
        return by_number(self._connection, schema.entries, after, limit, _decode, *where)

    def _business_products(self) -> list[str]:
        """All that have rows."""
        found: list[str] = []
        last = ""
        while (product := self._connection.execute(_NEXT_PRODUCT, {"after": last}).scalar()) is not None:
            found.append(product)
            last = product
        return found

    def extent(self, business_products: Collection[str] | None) -> tuple[int, int]:
        return extent(self._connection, _e.number, visible(_e.business_product_id, business_products))

    def to_settle(self, now: Instant, limit: int) -> list[Entry]:
        statement = select(_e.document).where(_e.settles_at.is_not(None), _e.settles_at <= now)
        rows = self._connection.execute(statement.order_by(_e.settles_at, _e.number).limit(limit)).scalars()
        return [_decode(document) for document in rows]

    def look_again(self, rows: Sequence[tuple[Entry, Instant | None]]) -> None:
        changed = [
            {"product": row.business_product_id, "order": row.order_id, "row": row.id, "at": when}
            for row, when in rows
        ]
        if changed:
            self._connection.execute(_LOOK_AGAIN, changed)

    def closed(self, business_products: Collection[str]) -> set[tuple[str, str]]:
        found: set[tuple[str, str]] = set()
        for chunk in chunks(sorted(set(business_products))):
            statement = select(_p.business_product_id, _p.period).where(_p.business_product_id.in_(chunk))
            found.update((row.business_product_id, row.period) for row in self._connection.execute(statement))
        return found

    def close(self, period: Period) -> bool:
        key = (period.business_product_id, period.period)
        if key in self.closed({period.business_product_id}):
            return False
        row = {name: getattr(period, name) for name in Period.__struct_fields__}
        upsert(self._connection, schema.periods, [row], ("business_product_id", "period"))
        return True

    def periods(
        self, after: tuple[str, str], limit: int, business_products: Collection[str] | None
    ) -> list[Period]:
        product, name = after
        above = or_(
            _p.business_product_id > product, and_(_p.business_product_id == product, _p.period > name)
        )
        statement = select(schema.periods).where(above, visible(_p.business_product_id, business_products))
        rows = self._connection.execute(
            statement.order_by(_p.business_product_id, _p.period).limit(limit)
        ).all()
        return [Period(*row) for row in rows]
