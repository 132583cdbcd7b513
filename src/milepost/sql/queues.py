"""Work queues, on one connection: items as views have them, marks and saved filters as people do."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    bindparam,
    delete,
    func,
    literal_column,
    select,
    true,
    tuple_,
    update,
)

from milepost.domain.instant import Instant
from milepost.domain.queue import HANDLED, Mark, QueueItem, QueueName
from milepost.sql import schema
from milepost.sql.queue_tables import UNHANDLED
from milepost.sql.statements import aside, grouped, pack, unpack_texts, upsert
from milepost.store.queues import ItemKey, ItemPlace, SavedFilter, WantedItems

_i, _m, _f = schema.queue_items.c, schema.queue_marks.c, schema.saved_filters.c
_p = schema.saved_filter_products.c
_ITEM = tuple(_i[name] for name in QueueItem.__struct_fields__)
COMPARED = (*_ITEM, _i.owner)
"""What two builds must agree on: everything but what people did."""
_KEY = ("queue", "since", "business_product_id", "subject")
_MARK_KEY = ("business_product_id", "owner", "queue", "subject", "since")
_OWNED = (
    _i.business_product_id == bindparam("business_product_id"),
    _i.owner.in_(bindparam("owners", expanding=True)),
)
_OF_OWNERS = select(_i.owner, *_ITEM).where(*_OWNED)
_DELETE_OF_OWNERS = delete(schema.queue_items).where(*_OWNED)
_DELETE = delete(schema.queue_items).where(*(_i[name] == bindparam(f"d_{name}") for name in _KEY))
_MARKED = (
    _m.business_product_id == bindparam("business_product_id"),
    _m.owner.in_(bindparam("owners", expanding=True)),
)
_MARK = (_m.assignee, _m.snoozed_until, _m.handled_count, _m.reason, _m.by, _m.at)
_MARKS = select(*(_m[name] for name in _MARK_KEY), *_MARK).where(*_MARKED)
_FORGET = delete(schema.queue_marks).where(*_MARKED)
_COPY_MARK = (
    update(schema.queue_items)
    .where(*(_i[name] == bindparam(f"d_{name}") for name in _KEY))
    .values(hidden_until=bindparam("d_hidden_until"), assignee=bindparam("d_assignee"))
)


class SqlQueues:
    """`milepost.store.Queues` in one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def put(self, found: Mapping[tuple[str, str], Sequence[QueueItem]]) -> None:
        gone: list[QueueItem] = []
        new: list[tuple[str, QueueItem]] = []
        for product, owners in grouped(found):
            known: dict[str, set[QueueItem]] = {}
            values = {"business_product_id": product, "owners": owners}
            for owner, *item in self._connection.execute(_OF_OWNERS, values).all():
                known.setdefault(owner, set()).add(QueueItem(*item))
            for owner in owners:
                there, wanted = known.get(owner, set()), set(found[product, owner])
                gone += there - wanted
                new += ((owner, item) for item in wanted - there)
        if gone:
            rows = [{f"d_{name}": getattr(item, name) for name in _KEY} for item in gone]
            self._connection.execute(_DELETE, rows)
        if new:
            self._insert(new)

    def _insert(self, new: Sequence[tuple[str, QueueItem]]) -> None:
        keys = [_key_of(owner, item) for owner, item in new]
        marks = self.marks(keys)
        rows = [
            {name: getattr(item, name) for name in QueueItem.__struct_fields__}
            | {"owner": owner}
            | _copied(marks.get(key, _NO_MARK), item.count)
            for (owner, item), key in zip(new, keys, strict=True)
        ]
        upsert(self._connection, schema.queue_items, rows, _KEY)

    def page(
        self,
        wanted: WantedItems,
        after: ItemPlace | None,
        limit: int,
        business_products: Collection[str] | None,
        now: Instant,
    ) -> list[QueueItem]:
        statement = self._of_queue(wanted.queue, business_products).where(_standing(wanted, now))
        if wanted.carrier_code is not None:
            statement = statement.where(func.lower(_i.carrier_code) == wanted.carrier_code.lower())
        if wanted.region is not None:
            statement = statement.where(_i.region == wanted.region)
        if wanted.until is not None:
            statement = statement.where(_i.since <= wanted.until)
        if wanted.assignee is not None:
            statement = statement.where(_i.assignee == wanted.assignee)
        if after is not None:
            place = tuple_(_i.since, _i.business_product_id, _i.subject)
            statement = statement.where(_i.since >= after.since, place > tuple_(*after))
        ordered = statement.order_by(_i.since, _i.business_product_id, _i.subject)
        return [QueueItem(*row) for row in self._connection.execute(ordered.limit(limit)).all()]

    def count(
        self, queue: QueueName, most: int, business_products: Collection[str] | None, now: Instant
    ) -> tuple[int, Instant | None]:
        wanted = _standing(WantedItems(queue), now)
        open_items = self._of_queue(queue, business_products).where(wanted)
        first = open_items.with_only_columns(_i.since).order_by(_i.since).limit(1)
        oldest = self._connection.execute(first).scalar()
        if oldest is None:
            return 0, None
        # In order, which no other index of the queue is in: which of several SQLite takes would be chance.
        some = open_items.with_only_columns(literal_column("1")).order_by(_i.since).limit(most).subquery()
        return self._connection.execute(select(func.count()).select_from(some)).scalar_one(), oldest

    def _of_queue(
        self, queue: QueueName, business_products: Collection[str] | None
    ) -> Select[*tuple[Any, ...]]:
        """One business product has an index in the order of its queue; of several the whole queue is walked."""
        statement = select(*_ITEM).where(_i.queue == queue)
        if business_products is None:
            return statement
        mine = sorted(business_products)
        if len(mine) == 1:
            return statement.where(_i.business_product_id == mine[0])
        return statement.where(aside(self._connection, _i.business_product_id).in_(mine))

    def find(self, keys: Collection[ItemKey]) -> dict[ItemKey, QueueItem]:
        found: dict[ItemKey, QueueItem] = {}
        wanted = set(keys)
        for product, owners in grouped((key.business_product_id, key.owner) for key in keys):
            values = {"business_product_id": product, "owners": owners}
            for owner, *fields in self._connection.execute(_OF_OWNERS, values).all():
                item = QueueItem(*fields)
                key = _key_of(owner, item)
                if key in wanted:
                    found[key] = item
        return found

    def marks(self, keys: Collection[ItemKey]) -> dict[ItemKey, Mark]:
        found: dict[ItemKey, Mark] = {}
        wanted = set(keys)
        for product, owners in grouped((key.business_product_id, key.owner) for key in keys):
            values = {"business_product_id": product, "owners": owners}
            for row in self._connection.execute(_MARKS, values).all():
                key = ItemKey(*row[:5])
                if key in wanted:
                    found[key] = Mark(*row[5:])
        return found

    def mark(self, marks: Mapping[ItemKey, Mark]) -> None:
        rows = [
            {**key._asdict(), **{name: getattr(mark, name) for name in Mark.__struct_fields__}}
            for key, mark in marks.items()
        ]
        upsert(self._connection, schema.queue_marks, rows, _MARK_KEY)
        items = self.find(marks)
        copies = [
            {f"d_{name}": getattr(key, name) for name in _KEY}
            | {f"d_{name}": value for name, value in _copied(marks[key], item.count).items()}
            for key, item in items.items()
        ]
        if copies:
            self._connection.execute(_COPY_MARK, copies)

    def forget(self, owners: Collection[tuple[str, str]]) -> None:
        for product, subjects in grouped(owners):
            self._connection.execute(_FORGET, {"business_product_id": product, "owners": subjects})

    def filters(self, owner: str, business_products: Collection[str] | None, limit: int) -> list[SavedFilter]:
        others = [_f.shared == true(), _f.owner != owner]
        if business_products is not None:
            mine = sorted(business_products)
            outside = select(_p.filter_id).where(_p.filter_id == _f.id, _p.business_product_id.not_in(mine))
            others += [
                _f.id.in_(select(_p.filter_id).where(_p.business_product_id.in_(mine))),
                ~outside.exists(),
            ]
        found = [*self._filters(limit, _f.owner == owner), *self._filters(limit, *others)]
        return sorted(found, key=lambda saved: (saved.name, saved.id))

    def _filters(self, limit: int, *wanted: ColumnElement[bool]) -> list[SavedFilter]:
        statement = select(schema.saved_filters).where(*wanted).order_by(_f.name, _f.id).limit(limit)
        return [
            SavedFilter(**{**row, "business_product_ids": unpack_texts(row["business_product_ids"])})
            for row in self._connection.execute(statement).mappings()
        ]

    def put_filter(self, saved: SavedFilter) -> None:
        row = {name: getattr(saved, name) for name in SavedFilter.__struct_fields__}
        row["business_product_ids"] = pack(saved.business_product_ids)
        upsert(self._connection, schema.saved_filters, [row], ("id",))
        self._connection.execute(delete(schema.saved_filter_products).where(_p.filter_id == saved.id))
        if saved.shared and saved.business_product_ids:
            rows = [
                {"business_product_id": product, "filter_id": saved.id}
                for product in dict.fromkeys(saved.business_product_ids)
            ]
            self._connection.execute(schema.saved_filter_products.insert(), rows)

    def remove_filter(self, id: str) -> None:
        self._connection.execute(delete(schema.saved_filters).where(_f.id == id))
        self._connection.execute(delete(schema.saved_filter_products).where(_p.filter_id == id))


_NO_MARK = Mark()


def forget_items(connection: Connection, owners: Iterable[tuple[str, str]]) -> None:
    """The items of these (business product, owner) go with their views."""
    for product, subjects in grouped(owners):
        connection.execute(_DELETE_OF_OWNERS, {"business_product_id": product, "owners": subjects})


def _key_of(owner: str, item: QueueItem) -> ItemKey:
    return ItemKey(item.business_product_id, owner, item.queue, item.subject, item.since)


def _copied(mark: Mark, count: int) -> dict[str, Any]:
    """What an item's row repeats of its mark."""
    return {"hidden_until": mark.hides_until(count), "assignee": mark.assignee}


def _standing(wanted: WantedItems, now: Instant) -> ColumnElement[bool]:
    if wanted.standing == "open":
        return and_(UNHANDLED, _i.hidden_until <= now)
    if wanted.standing == "handled":
        return _i.hidden_until == HANDLED
    if wanted.standing == "snoozed":
        return and_(UNHANDLED, _i.hidden_until > now)
    return true()
