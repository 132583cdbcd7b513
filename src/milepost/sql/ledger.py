"""Captures and what was told, on one connection."""

from collections.abc import Collection, Mapping, Sequence

import msgspec
from sqlalchemy import Connection, delete, func, select

from milepost.domain.capture import Capture, CaptureState
from milepost.sql import schema
from milepost.sql.statements import by_number, extent, grouped, of_orders, upsert, visible
from milepost.store.ledger import CaptureKey

_c, _t = schema.captures.c, schema.told.c
_decode = msgspec.json.Decoder(Capture).decode


class SqlLedger:
    """`milepost.store.Ledger` in one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def put_captures(self, captures: Sequence[Capture]) -> None:
        rows = [
            {
                "id": capture.id,
                "business_product_id": capture.business_product_id,
                "order_id": capture.order_id,
                "delivery_id": capture.delivery_id,
                "state": capture.state,
                "document": msgspec.json.encode(capture),
            }
            for capture in captures
        ]
        upsert(self._connection, schema.captures, rows, ("id",))

    def captures(self, keys: Collection[CaptureKey]) -> dict[CaptureKey, Capture]:
        orders = {(product, order) for product, order, _ in keys}
        every = (c for captures in self.captures_of_orders(orders).values() for c in captures)
        found = {(c.business_product_id, c.order_id, c.delivery_id): c for c in every}
        return {key: capture for key, capture in found.items() if key in keys}

    def capture(self, id: str) -> Capture | None:
        document = self._connection.execute(select(_c.document).where(_c.id == id)).scalar_one_or_none()
        return None if document is None else _decode(document)

    def captures_of_orders(self, orders: Collection[tuple[str, str]]) -> dict[tuple[str, str], list[Capture]]:
        return of_orders(self._connection, schema.captures, orders, _decode)

    def capture_page(
        self,
        after: int,
        limit: int,
        business_products: Collection[str] | None,
        states: Collection[CaptureState] = (),
    ) -> list[tuple[int, Capture]]:
        where = [visible(_c.business_product_id, business_products)]
        if states:
            where.append(_c.state.in_(sorted(states)))
        return by_number(self._connection, schema.captures, after, limit, _decode, *where)

    def capture_extent(self, business_products: Collection[str] | None) -> tuple[int, int]:
        return extent(self._connection, _c.number, visible(_c.business_product_id, business_products))

    def count_captures(self) -> dict[str, int]:
        return dict(self._connection.execute(select(_c.state, func.count()).group_by(_c.state)).all())

    def count_in_state(
        self, state: CaptureState, most: int, business_products: Collection[str] | None
    ) -> int:
        some = select(_c.number).where(_c.state == state, visible(_c.business_product_id, business_products))
        counted = select(func.count()).select_from(some.limit(most).subquery())
        return self._connection.execute(counted).scalar_one()

    def told(self, keys: Collection[tuple[str, str]]) -> dict[tuple[str, str], bytes]:
        found: dict[tuple[str, str], bytes] = {}
        for product, subjects in grouped(sorted(keys)):
            mine = (_t.business_product_id == product, _t.subject.in_(subjects))
            for row in self._connection.execute(select(schema.told).where(*mine)).all():
                found[product, row.subject] = row.document
        return found

    def tell(self, told: Mapping[tuple[str, str], bytes]) -> None:
        rows = [
            {"business_product_id": product, "subject": subject, "document": document}
            for (product, subject), document in told.items()
            if document
        ]
        upsert(self._connection, schema.told, rows, ("business_product_id", "subject"))
        for product, subjects in grouped(sorted(key for key, document in told.items() if not document)):
            gone = (_t.business_product_id == product, _t.subject.in_(subjects))
            self._connection.execute(delete(schema.told).where(*gone))
