"""Hydration asks on one connection: what must still be asked of the API, and when."""

from collections.abc import Collection, Sequence

from sqlalchemy import Connection, Row, bindparam, delete, func, select, tuple_

from milepost.domain.instant import Instant
from milepost.sql import schema
from milepost.sql.statements import grouped, pack, unpack_numbers, upsert, visible
from milepost.store import Ask

_a = schema.asks.c
_TARGETS = (
    _a.business_product_id == bindparam("product"),
    _a.target.in_(bindparam("targets", expanding=True)),
)
_GET = select(schema.asks).where(*_TARGETS)
_DONE = delete(schema.asks).where(*_TARGETS)
_NEXT_PRIORITY = select(func.min(_a.priority)).where(_a.state == "open", _a.priority > bindparam("priority"))
_NEXT_DUE = select(func.min(_a.due_at)).where(_a.state == "open", _a.priority == bindparam("priority"))
_DUE = (
    select(schema.asks)
    .where(_a.state == "open", _a.priority == bindparam("priority"), _a.due_at <= bindparam("at"))
    .order_by(_a.due_at, _a.business_product_id, _a.target)
    .limit(bindparam("count"))
)


class SqlWork:
    """`milepost.store.Work` in one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def put(self, asks: Sequence[Ask]) -> None:
        rows = [
            {
                "business_product_id": ask.business_product_id,
                "target": ask.target,
                "priority": ask.priority,
                "due_at": ask.due_at,
                "tries": ask.tries,
                "waiting": pack(ask.waiting),
                "state": ask.state,
                "error": ask.error,
                "fingerprint": ask.fingerprint,
                "unchanged": ask.unchanged,
                "carrier_code": ask.carrier_code,
            }
            for ask in asks
        ]
        upsert(self._connection, schema.asks, rows, ("business_product_id", "target"))

    def get(self, targets: Collection[tuple[str, str]]) -> dict[tuple[str, str], Ask]:
        found: dict[tuple[str, str], Ask] = {}
        for product, names in grouped(targets):
            for row in self._connection.execute(_GET, {"product": product, "targets": names}).all():
                found[product, row.target] = _ask(row)
        return found

    def due(self, at: Instant, limit: int) -> list[Ask]:
        """Open asks whose time has come: lowest priority number first, then earliest."""
        found: list[Ask] = []
        for priority in self._priorities():
            values = {"priority": priority, "at": at, "count": limit - len(found)}
            found.extend(_ask(row) for row in self._connection.execute(_DUE, values).all())
            if len(found) >= limit:
                break
        return found

    def next_due(self) -> Instant | None:
        times = [
            self._connection.execute(_NEXT_DUE, {"priority": priority}).scalar_one()
            for priority in self._priorities()
        ]
        return min(times, default=None)

    def done(self, targets: Collection[tuple[str, str]]) -> None:
        for product, names in grouped(targets):
            self._connection.execute(_DONE, {"product": product, "targets": names})

    def page(
        self,
        after: tuple[str, str] | None,
        limit: int,
        business_products: Collection[str] | None,
        state: str | None,
    ) -> list[Ask]:
        statement = select(schema.asks).where(visible(_a.business_product_id, business_products))
        if after is not None:
            statement = statement.where(tuple_(_a.business_product_id, _a.target) > tuple_(*after))
        if state is not None:
            statement = statement.where(_a.state == state)
        ordered = statement.order_by(_a.business_product_id, _a.target).limit(limit)
        return [_ask(row) for row in self._connection.execute(ordered).all()]

    def count(self) -> dict[str, int]:
        statement = select(_a.state, func.count()).group_by(_a.state)
        return dict(self._connection.execute(statement).all())

    def _priorities(self) -> list[int]:
        """The priorities in use, lowest first: a step each along the index, not a scan of what is not due."""
        found: list[int] = []
        priority: int | None = -(2**31)
        while True:
            priority = self._connection.execute(_NEXT_PRIORITY, {"priority": priority}).scalar()
            if priority is None:
                return found
            found.append(priority)


def _ask(row: Row[*tuple[object, ...]]) -> Ask:
    return Ask(
        row.business_product_id,
        row.target,
        row.priority,
        row.due_at,
        row.tries,
        unpack_numbers(row.waiting),
        row.state,
        row.error,
        row.fingerprint,
        row.unchanged,
        row.carrier_code,
    )
