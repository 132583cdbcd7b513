"""Many more deliveries out of a few folded ones: what pages read is copied by SQL, each copy under ids of its own.

Folding a million deliveries takes hours; a page's speed depends on how many rows there are, how large their documents
are and how often a name occurs. So parcels, items of queues, views and their terms are copied; names stay what they
are, so that a common one leads to thousands of orders. The journal stays: what a copy shows of it, it lacks. On
SQLite alone, which has no statistics and so is the one whose plans go wrong.
"""

from sqlalchemy import Engine, Table, create_engine, text

from milepost.sql import schema

MINUTE_MS = 60_000
SPREAD = 97
"""Copies of a parcel differ by up to so many minutes."""
SLOWER = 89
"""A copy takes up to so many thousandths longer than its parcel did, so that there are as many lengths as in life."""
PIECE = 50
"""Copies a transaction."""
_COPIES = "WITH RECURSIVE copies(k) AS (SELECT :first UNION ALL SELECT k + 1 FROM copies WHERE k < :last)"
_FOLDED = "id NOT LIKE '%~%' AND kind IN ('order', 'delivery', 'tracker')"


def multiply(url: str, parcels: int, views: int) -> None:
    """Let there be `parcels` times as many parcels and items of queues, and `views` times as many views and terms.
    Nobody else may use the database. What was multiplied before is left as it is."""
    engine = create_engine(url)
    try:
        with engine.begin() as connection:
            done = connection.execute(text("SELECT EXISTS (SELECT 1 FROM parcels WHERE order_id LIKE '%~1')"))
            if done.scalar_one():
                return
        _repeat(engine, parcels, (_parcels(), _queue_items()))
        _repeat(engine, views, (_views(), _terms()))
        with engine.begin() as connection:
            connection.execute(
                text("UPDATE parcels_state SET revision = (SELECT max(revision) FROM parcels)")
            )
    finally:
        engine.dispose()


def _repeat(engine: Engine, times: int, statements: tuple[str, ...]) -> None:
    for statement in statements:
        for first in range(1, times, PIECE):
            with engine.begin() as connection:
                values = {"first": first, "last": min(first + PIECE, times) - 1}
                connection.execute(text(f"{_COPIES} {statement}"), values)


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
    return f"{length} * (1000 + k % {SLOWER}) / 1000"


def _queue_items() -> str:
    changed = {name: _of_copy(name) for name in ("subject", "owner", "order_id", "delivery_id")}
    changed["since"] = f"since - k * {MINUTE_MS}"
    return _copy(schema.queue_items, changed, "owner NOT LIKE '%~%'")


def _views() -> str:
    """A tracker's document names its number, an order's and a delivery's their ids. Nothing is to be swept."""
    handle = "substr(id, instr(id, '/') + 1)"
    document = f"CAST(replace(CAST(document AS TEXT), {handle}, {_of_copy(handle)}) AS BLOB)"
    changed = {"id": _of_copy("id"), "parent": _of_copy("parent"), "document": document}
    return _copy(schema.views, changed, _FOLDED, ("number", "check_at"))


def _terms() -> str:
    """Handles are each copy's own; a name, which has neither digit nor @, is everybody's."""
    changed = {
        "term": f"CASE WHEN term GLOB '*[0-9@]*' THEN {_of_copy('term')} ELSE term END",
        "id": _of_copy("id"),
    }
    return _copy(schema.search_terms, changed, _FOLDED)
