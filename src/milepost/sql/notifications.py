"""Notifications, and what people chose about them, on one connection."""

from collections.abc import Collection, Mapping, Sequence

import msgspec
from sqlalchemy import Connection, and_, delete, func, or_, select

from milepost.domain.instant import Instant
from milepost.domain.notification import Notification, NotificationState, decode
from milepost.sql import schema
from milepost.sql.statements import by_number, chunks, extent, grouped, of_orders, upsert, visible

_n, _c = schema.notifications.c, schema.choices.c
# As literals, by which SQLite knows that the partial index fits: this is asked all the time.
_UNDER_WAY = schema.notifications_under_way


class SqlNotifications:
    """`milepost.store.Notifications` in one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, notifications: Sequence[Notification]) -> int:
        new = {n.id: n for n in reversed(notifications)}
        known = self.get(new)
        self.put([n for n in notifications if n.id not in known and new[n.id] is n])
        return len(new) - len(known)

    def put(self, notifications: Sequence[Notification]) -> None:
        rows = [
            {
                "id": n.id,
                "business_product_id": n.business_product_id,
                "order_id": n.order_id,
                "state": n.state,
                "due_at": n.due_at if n.lease_until is None else n.lease_until,
                "rule": n.rule,
                "document": msgspec.json.encode(n),
            }
            for n in notifications
        ]
        upsert(self._connection, schema.notifications, rows, ("id",))

    def get(self, ids: Collection[str]) -> dict[str, Notification]:
        found: dict[str, Notification] = {}
        for chunk in chunks(sorted(ids)):
            statement = select(_n.document).where(_n.id.in_(chunk))
            for document in self._connection.execute(statement).scalars():
                notification = decode(document)
                found[notification.id] = notification
        return found

    def due(self, now: Instant, limit: int) -> list[Notification]:
        statement = select(_n.document).where(_UNDER_WAY, _n.due_at <= now)
        rows = self._connection.execute(statement.order_by(_n.due_at, _n.number).limit(limit)).scalars()
        return [decode(document) for document in rows]

    def next_due(self) -> Instant | None:
        found = self._connection.execute(
            select(_n.due_at).where(_UNDER_WAY).order_by(_n.due_at).limit(1)
        ).scalar()
        return None if found is None else Instant(found)

    def of_orders(self, orders: Collection[tuple[str, str]]) -> dict[tuple[str, str], list[Notification]]:
        return of_orders(self._connection, schema.notifications, orders, decode)

    def page(
        self,
        after: int,
        limit: int,
        business_products: Collection[str] | None,
        states: Collection[NotificationState] = (),
    ) -> list[tuple[int, Notification]]:
        where = [visible(_n.business_product_id, business_products)]
        if states:
            where.append(_n.state.in_(sorted(states)))
        return by_number(self._connection, schema.notifications, after, limit, decode, *where)

    def extent(self, business_products: Collection[str] | None) -> tuple[int, int]:
        return extent(self._connection, _n.number, visible(_n.business_product_id, business_products))

    def count(self) -> dict[str, int]:
        return dict(self._connection.execute(select(_n.state, func.count()).group_by(_n.state)).all())

    def suppressed(self) -> dict[int, int]:
        rows = select(_n.rule, func.count()).where(schema.notifications_suppressed).group_by(_n.rule)
        return dict(self._connection.execute(rows).all())

    def health(self, business_products: Collection[str] | None) -> tuple[dict[str, int], dict[int, int], int]:
        mine = visible(_n.business_product_id, business_products)
        by_both = select(_n.state, _n.rule, func.count()).where(mine).group_by(_n.state, _n.rule)
        states: dict[str, int] = {}
        rules: dict[int, int] = {}
        for state, rule, count in self._connection.execute(by_both).all():
            states[state] = states.get(state, 0) + count
            if state == "SUPPRESSED":
                rules[rule] = rules.get(rule, 0) + count
        orders = select(_n.business_product_id, _n.order_id).where(mine).distinct().subquery()
        return states, rules, self._connection.execute(select(func.count()).select_from(orders)).scalar_one()

    def choices(self, keys: Collection[tuple[str, str]]) -> dict[tuple[str, str], bytes]:
        found: dict[tuple[str, str], bytes] = {}
        for product, recipients in grouped(sorted(keys)):
            mine = (_c.business_product_id == product, _c.recipient.in_(recipients))
            for row in self._connection.execute(select(schema.choices).where(*mine)).all():
                found[product, row.recipient] = row.document
        return found

    def choose(self, choices: Mapping[tuple[str, str], bytes]) -> None:
        rows = [
            {"business_product_id": product, "recipient": recipient, "document": document}
            for (product, recipient), document in choices.items()
            if document
        ]
        upsert(self._connection, schema.choices, rows, ("business_product_id", "recipient"))
        for product, recipients in grouped(sorted(key for key, document in choices.items() if not document)):
            gone = (_c.business_product_id == product, _c.recipient.in_(recipients))
            self._connection.execute(delete(schema.choices).where(*gone))

    def choice_page(
        self, after: tuple[str, str], limit: int, business_products: Collection[str] | None
    ) -> list[tuple[tuple[str, str], bytes]]:
        product, recipient = after
        above = or_(
            _c.business_product_id > product,
            and_(_c.business_product_id == product, _c.recipient > recipient),
        )
        mine = visible(_c.business_product_id, business_products)
        statement = select(schema.choices).where(above, mine)
        rows = self._connection.execute(
            statement.order_by(_c.business_product_id, _c.recipient).limit(limit)
        ).all()
        return [((row.business_product_id, row.recipient), row.document) for row in rows]
