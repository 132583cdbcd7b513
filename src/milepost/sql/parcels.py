"""Measures of parcels, on one connection.

Who writes knows the whole order, so that its rows are replaced: those that were there keep their numbers, and those
that would stay the same are left alone. Every write moves the one row of `parcels_state`; there is one writer at a
time (`store`). Updates go past SQLAlchemy's parameters, which cost several times what the update does.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from operator import attrgetter, itemgetter
from typing import Any

import msgspec
from sqlalchemy import Connection, Dialect, bindparam, delete, func, insert, select, update

from milepost.domain.measure import Measure
from milepost.sql.parcel_tables import parcels, parcels_gone, parcels_state
from milepost.sql.statements import chunks, grouped
from milepost.store.parcels import COLUMNS, OrderKey, ParcelState

GONE_KEPT = 50_000
"""Numbers of rows that went that are kept: a copy in memory that missed more than these is read anew."""
PRUNE_EVERY = 10_000
"""Revisions between two looks for what is more."""

_p, _g, _s = parcels.c, parcels_gone.c, parcels_state.c
FIELDS = Measure.__struct_fields__
MEASURED = tuple(parcels.c[name] for name in FIELDS)
"""The columns of a measure, which two builds must agree on."""
_KEYS = ("business_product_id", "order_id", "delivery_id", "tracker")
_VALUES = tuple(name for name in FIELDS if name not in _KEYS)

_NEW = ("revision", "digest", *FIELDS)
_value_of = attrgetter(*_VALUES)
_of_new = attrgetter(*FIELDS)
_encode = msgspec.msgpack.Encoder().encode

_OF_ORDERS = select(_p.number, _p.digest, *(_p[key] for key in _KEYS)).where(
    _p.business_product_id == bindparam("product"), _p.order_id.in_(bindparam("orders", expanding=True))
)
_CHANGE = ("revision", "digest", *_VALUES)
_UPDATE = (
    update(parcels).where(_p.number == bindparam("which")).values({name: bindparam(name) for name in _CHANGE})
)
_INSERT = insert(parcels)
_DELETE = delete(parcels).where(_p.number == bindparam("which"))
_CHANGED = (
    select(_p.revision, _p.number, *(_p[name] for name in COLUMNS))
    .where(_p.revision > bindparam("after"))
    .order_by(_p.revision)
    .limit(bindparam("at_most"))
)
_EDGE = select(_g.revision).order_by(_g.revision.desc()).limit(1).offset(bindparam("kept"))
_GONE = (
    select(_g.revision, _g.number)
    .where(_g.revision > bindparam("after"))
    .order_by(_g.revision)
    .limit(bindparam("at_most"))
)


class SqlParcels:
    """`milepost.store.parcels.Parcels` in one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def put(self, orders: Mapping[OrderKey, Sequence[Measure]]) -> None:
        known = self._known(orders)
        changed: list[tuple[int, int, Measure]] = []
        new: list[tuple[int, Measure]] = []
        for row in (row for rows in orders.values() for row in rows):
            key = (row.business_product_id, row.order_id, row.delivery_id, row.tracker)
            digest = _digest(row)
            number, stored = known.pop(_as_kept(key), (None, None))
            if number is None:
                new.append((digest, row))
            elif stored != digest:
                changed.append((number, digest, row))
        self._write(changed, new, [number for number, _ in known.values()])

    def remove(self, orders: Collection[OrderKey]) -> None:
        self._write([], [], [number for number, _ in self._known(orders).values()])

    def state(self) -> ParcelState:
        row = self._connection.execute(select(_s.epoch, _s.revision, _s.behind, _s.floor)).one()
        return ParcelState(*row)

    def count(self) -> int:
        return self._connection.execute(select(func.count()).select_from(parcels)).scalar_one()

    def changed(self, after: int, limit: int) -> Sequence[Sequence[Any]]:
        return self._connection.execute(_CHANGED, {"after": after, "at_most": limit}).all()

    def gone(self, after: int, limit: int) -> list[tuple[int, int]]:
        rows = self._connection.execute(_GONE, {"after": after, "at_most": limit}).all()
        return [(revision, number) for revision, number in rows]

    def get(self, numbers: Collection[int]) -> dict[int, Measure]:
        found: dict[int, Measure] = {}
        for chunk in chunks(numbers):
            statement = select(_p.number, *MEASURED).where(_p.number.in_(chunk))
            for row in self._connection.execute(statement).all():
                found[row[0]] = Measure(*row[1:])
        return found

    def measured(self, up_to: int | None) -> None:
        self._connection.execute(update(parcels_state).values(behind=up_to))

    def clear(self) -> None:
        """Forget every row; nothing is left to be measured but what is folded from now on."""
        self._connection.execute(delete(parcels))
        self._connection.execute(delete(parcels_gone))
        self._connection.execute(update(parcels_state).values(epoch=_s.epoch + 1, behind=None))

    def _known(self, orders: Iterable[OrderKey]) -> dict[tuple[str, ...], tuple[int, int]]:
        """The numbers of these orders' rows, and their digests."""
        found: dict[tuple[str, ...], tuple[int, int]] = {}
        for product, ids in grouped(orders):
            values = {"product": product, "orders": ids}
            for number, digest, *key in self._connection.execute(_OF_ORDERS, values).all():
                found[_as_kept(key)] = number, digest
        return found

    def _write(
        self,
        changed: Sequence[tuple[int, int, Measure]],
        new: Sequence[tuple[int, Measure]],
        gone: Sequence[int],
    ) -> None:
        """(number, digest, row) of those that changed, (digest, row) of new ones, numbers of those that went."""
        count = len(changed) + len(new) + len(gone)
        if not count:
            return
        revision = self._connection.execute(select(_s.revision)).scalar_one() + 1
        if changed:
            statement, order = _update(self._connection.dialect)
            rows = [order((r, d, *_value_of(row), n)) for r, (n, d, row) in enumerate(changed, revision)]
            self._connection.exec_driver_sql(statement, rows)
        revision += len(changed)
        if new:
            named = [
                dict(zip(_NEW, (r, d, *_of_new(row)), strict=True))
                for r, (d, row) in enumerate(new, revision)
            ]
            self._connection.execute(_INSERT, named)
        revision += len(new)
        if gone:
            self._connection.execute(_DELETE, [{"which": number} for number in gone])
            left = [{"revision": r, "number": number} for r, number in enumerate(gone, revision)]
            self._connection.execute(insert(parcels_gone), left)
        last = revision + len(gone) - 1
        self._connection.execute(update(parcels_state).values(revision=last))
        if last // PRUNE_EVERY != (last - count) // PRUNE_EVERY:
            self._prune()

    def _prune(self) -> None:
        """Forget the numbers of what went long ago."""
        edge = self._connection.execute(_EDGE, {"kept": GONE_KEPT}).scalar()
        if edge is not None:
            self._connection.execute(delete(parcels_gone).where(_g.revision <= edge))
            self._connection.execute(update(parcels_state).values(floor=edge))


@lru_cache(maxsize=4)
def _update(dialect: Dialect) -> tuple[str, Callable[[tuple[Any, ...]], tuple[Any, ...]]]:
    """The update as the driver takes it, and what puts the values of `_CHANGE` and the number in its order."""
    compiled = _UPDATE.compile(dialect=dialect)
    names = (*_CHANGE, "which")
    return str(compiled), itemgetter(*(names.index(name) for name in compiled.positiontup or names))


def _digest(row: Measure) -> int:
    return int.from_bytes(blake2b(_encode(row), digest_size=8).digest(), "big", signed=True)


def _as_kept(key: Iterable[str]) -> tuple[str, ...]:
    """As PostgreSQL keeps texts: without NUL."""
    return tuple(part.replace("\0", "\u2400") for part in key)
