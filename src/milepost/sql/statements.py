"""The few statements that every part of the store writes the same way, and the one place where dialects differ.

`upsert` and `insert_new` are built once a table and dialect (building one costs more than running it).
"""

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, Protocol, TypeVar

import msgspec
from sqlalchemy import ColumnElement, Connection, Table, func, select, true, union_all
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.dml import Insert
from sqlalchemy.sql.elements import UnaryExpression
from sqlalchemy.sql.operators import custom_op

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)

CHUNK = 500
"""Bound values a statement: far below every driver's limit, and few different statements to keep compiled."""
_LOOKED_UP = 50
"""Business products that are looked up one by one for a page; more are found together."""

_INSERTS: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


@lru_cache(maxsize=256)
def _upsert(dialect: str, table: Table, keys: tuple[str, ...], changed: tuple[str, ...]) -> Insert:
    statement = _INSERTS[dialect](table)
    if not changed:
        return statement.on_conflict_do_nothing()  # type: ignore[no-any-return]
    values = {name: statement.excluded[name] for name in changed}
    return statement.on_conflict_do_update(index_elements=list(keys), set_=values)  # type: ignore[no-any-return]


def upsert(
    connection: Connection, table: Table, rows: Sequence[dict[str, Any]], keys: tuple[str, ...]
) -> None:
    """Insert rows, or replace the row with the same `keys`. Every row names the same columns."""
    if rows:
        changed = tuple(name for name in rows[0] if name not in keys)
        connection.execute(_upsert(connection.dialect.name, table, keys, changed), rows)


def insert_new(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Insert rows; one that is there already stays as it is."""
    if rows:
        connection.execute(_upsert(connection.dialect.name, table, (), ()), rows)


def chunks(values: Iterable[T], size: int = CHUNK) -> Iterator[list[T]]:
    """The values in lists of at most `size`."""
    listed = list(values)
    for start in range(0, len(listed), size):
        yield listed[start : start + size]


def grouped(pairs: Iterable[tuple[K, T]]) -> Iterator[tuple[K, list[T]]]:
    """(group, members) in chunks: one equality and one IN list use an index where row values do not."""
    groups: dict[K, dict[T, None]] = {}
    for group, member in pairs:
        groups.setdefault(group, {})[member] = None
    for group, members in groups.items():
        for chunk in chunks(members):
            yield group, chunk


def visible(column: ColumnElement[str], business_products: Collection[str] | None) -> ColumnElement[bool]:
    """Rows of these business products; None means all, an empty collection none."""
    return true() if business_products is None else column.in_(sorted(business_products))


def firsts_of_each(
    number: ColumnElement[int],
    product: ColumnElement[str],
    business_products: Collection[str] | None,
    wanted: Sequence[ColumnElement[bool]],
    order: ColumnElement[Any],
    limit: int,
) -> ColumnElement[bool]:
    """Rows of these business products, for a page in the order of their numbers. Each of several has its own first
    numbers looked up in an index, and only those are sorted: SQLite would sort every row that they have."""
    if business_products is None or not 1 < len(set(business_products)) <= _LOOKED_UP:
        return visible(product, business_products)
    firsts = (
        select(number).where(*wanted, product == one).order_by(order).limit(limit).subquery()
        for one in sorted(set(business_products))
    )
    return number.in_(union_all(*(select(first) for first in firsts)))


def aside(connection: Connection, column: ColumnElement[T]) -> ColumnElement[T]:
    """The column in a condition for which no index is used. Where rows are asked for in the order of their numbers,
    SQLite, which has no statistics, would find all that fit by an index and sort them for every page."""
    if connection.dialect.name != "sqlite":
        return column
    return UnaryExpression(column, operator=custom_op("+"), type_=column.type)


class _OfOrder(Protocol):
    @property
    def order_id(self) -> str: ...


Row = TypeVar("Row", bound=_OfOrder)


def of_orders(
    connection: Connection, table: Table, orders: Collection[tuple[str, str]], decode: Callable[[bytes], Row]
) -> dict[tuple[str, str], list[Row]]:
    """A ledger's documents by (business product, order id), in the order of their numbers."""
    c = table.c
    found: dict[tuple[str, str], list[Row]] = {}
    for product, ids in grouped(sorted(orders)):
        mine = (c.business_product_id == product, c.order_id.in_(ids))
        statement = select(c.document).where(*mine).order_by(c.number)
        for document in connection.execute(statement).scalars():
            each = decode(document)
            # By the document: a column of PostgreSQL's cannot hold every id as it is.
            found.setdefault((product, each.order_id), []).append(each)
    return found


def by_number(
    connection: Connection,
    table: Table,
    after: int,
    limit: int,
    decode: Callable[[bytes], T],
    *where: ColumnElement[bool],
) -> list[tuple[int, T]]:
    """(number, document) of a ledger's rows with a number above `after`, lowest first."""
    c = table.c
    statement = select(c.number, c.document).where(c.number > after, *where).order_by(c.number).limit(limit)
    return [(number, decode(document)) for number, document in connection.execute(statement).all()]


def extent(
    connection: Connection, number: ColumnElement[int], *where: ColumnElement[bool]
) -> tuple[int, int]:
    """(how many rows, the highest number or 0)."""
    row = connection.execute(select(func.count(), func.coalesce(func.max(number), 0)).where(*where)).one()
    return row[0], row[1]


def pack(values: Iterable[str | int]) -> str:
    """A list of short values as JSON text; most are empty."""
    listed = list(values)
    return msgspec.json.encode(listed).decode() if listed else ""


def unpack_texts(packed: str) -> tuple[str, ...]:
    return msgspec.json.decode(packed, type=tuple[str, ...]) if packed else ()


def unpack_numbers(packed: str) -> tuple[int, ...]:
    return msgspec.json.decode(packed, type=tuple[int, ...]) if packed else ()
