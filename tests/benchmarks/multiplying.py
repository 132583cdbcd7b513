"""Many more deliveries out of a few folded ones: what pages read is copied by SQL, each copy under ids of its own.

Folding a million deliveries takes hours; a page's speed depends on how many rows there are, how large their documents
are and how often a name occurs. So parcels, items of queues, views and their terms are copied; names stay what they
are, so that a common one leads to thousands of orders. The journal stays: what a copy shows of it, it lacks.
"""

import asyncio
from collections.abc import Iterator

from sqlalchemy import Table, create_engine
from sqlalchemy.ext.asyncio import create_async_engine

from milepost.domain.queue import HANDLED
from milepost.sql import schema

MINUTE_MS = 60_000
SPREAD = 97
"""Copies of a parcel differ by up to so many minutes."""
SLOWER = 89
"""A copy takes up to so many thousandths longer than its parcel did, so that there are as many lengths as in life."""
PIECE = 50
"""Copies a transaction."""
_DONE = "SELECT EXISTS (SELECT 1 FROM parcels WHERE order_id LIKE '%~1')"
_FOLDED = "id NOT LIKE '%~%' AND kind IN ('order', 'delivery', 'tracker')"


async def multiply(url: str, times: int) -> None:
    """Let there be `times` times as many parcels, items of queues (every other one handled), views and terms. Nobody
    else may use the database. What was multiplied before is left as it is."""
    if url.startswith("sqlite"):
        await asyncio.to_thread(_multiply, url, times)
        return
    engine = create_async_engine(url.replace("postgresql:", "postgresql+asyncpg:", 1))
    try:
        async with engine.begin() as connection:
            done = (await connection.exec_driver_sql(_DONE)).scalar_one()
        for statement in () if done else _statements("postgresql", times):
            async with engine.begin() as connection:
                await connection.exec_driver_sql(statement)
    finally:
        await engine.dispose()


def _multiply(url: str, times: int) -> None:
    engine = create_engine(url)
    try:
        with engine.begin() as connection:
            done = connection.exec_driver_sql(_DONE).scalar_one()
        for statement in () if done else _statements("sqlite", times):
            with engine.begin() as connection:
                connection.exec_driver_sql(statement)
    finally:
        engine.dispose()


def _statements(dialect: str, times: int) -> Iterator[str]:
    """Each a transaction."""
    for statement in (_parcels(), _queue_items(), _views(dialect), _terms(dialect)):
        for first in range(1, times, PIECE):
            last = min(first + PIECE, times) - 1
            copies = f"SELECT {first} AS k UNION ALL SELECT k + 1 FROM copies WHERE k < {last}"
            yield f"WITH RECURSIVE copies(k) AS ({copies}) {statement}"
    yield "UPDATE parcels_state SET revision = (SELECT max(revision) FROM parcels)"
    yield "ANALYZE" if dialect == "postgresql" else "SELECT 1"


def _of_copy(column: str) -> str:
    return f"{column} || '~' || k"


def _copy(table: Table, changed: dict[str, str], where: str, without: tuple[str, ...] = ()) -> str:
    """A row of the copies; a column that isn't `changed` is as it was."""
    columns = [column.name for column in table.columns if column.name not in without]
    values = [changed.get(name, name) for name in columns]
    return (
        f"INSERT INTO {table.name} ({', '.join(columns)}) SELECT {', '.join(values)} "
        f"FROM {table.name} CROSS JOIN copies WHERE {where}"
    )


def _parcels() -> str:
    names = [column.name for column in schema.parcels.columns]
    changed = {name: _later(name) for name in names if name.endswith("_at")}
    changed |= {name: _longer(name) for name in names if name.startswith("in_")}
    changed |= {name: _of_copy(name) for name in ("order_id", "delivery_id")}
    changed["revision"] = "revision + k * (SELECT revision FROM parcels_state)"
    return _copy(schema.parcels, changed, "order_id NOT LIKE '%~%'", ("number",))


def _later(name: str) -> str:
    """A time of a copy: what the order led to is spread from the order on, in the order in which it happened."""
    begun = f"coalesce(ordered_at, {name})"
    return f"{begun} + k % {SPREAD} * {MINUTE_MS} + {_longer(f'({name} - {begun})')}"


def _longer(length: str) -> str:
    return f"CAST({length} AS BIGINT) * (1000 + k % {SLOWER}) / 1000"


def _queue_items() -> str:
    changed = {name: _of_copy(name) for name in ("subject", "owner", "order_id", "delivery_id")}
    changed["since"] = f"since - k * {MINUTE_MS}"
    changed["hidden_until"] = f"CASE k % 2 WHEN 1 THEN {HANDLED} ELSE hidden_until END"
    return _copy(schema.queue_items, changed, "owner NOT LIKE '%~%'")


def _views(dialect: str) -> str:
    """A tracker's document names its number, an order's and a delivery's their ids. Nothing is to be swept."""
    if dialect == "sqlite":
        handle, read, write = "substr(id, instr(id, '/') + 1)", "CAST(document AS TEXT)", "CAST({} AS BLOB)"
    else:
        handle, read = "substr(id, strpos(id, '/') + 1)", "convert_from(document, 'UTF8')"
        write = "convert_to({}, 'UTF8')"
    document = write.format(f"replace({read}, {handle}, {_of_copy(handle)})")
    changed = {"id": _of_copy("id"), "parent": _of_copy("parent"), "document": document}
    return _copy(schema.views, changed, _FOLDED, ("number", "check_at"))


def _terms(dialect: str) -> str:
    """Handles are each copy's own; a name, which has neither digit nor @, is everybody's."""
    is_handle = "term GLOB '*[0-9@]*'" if dialect == "sqlite" else "term ~ '[0-9@]'"
    changed = {
        "term": f"CASE WHEN {is_handle} THEN {_of_copy('term')} ELSE term END",
        "id": _of_copy("id"),
    }
    return _copy(schema.search_terms, changed, _FOLDED)
