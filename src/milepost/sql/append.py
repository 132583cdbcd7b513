"""Appending arrivals: which are new, which are duplicates, which duplicates conflict (design, flow 6).

What differs by database is only how rows are inserted (`InsertRecords`); the rule is here, once. It runs inside
a transaction that the caller commits. Nothing here is async: `writer` batches, `journal` calls it for releases.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache

from msgspec import Struct
from sqlalchemy import Connection, Dialect, Select, bindparam, literal_column, select, update

from milepost.domain.erasure import ERASED
from milepost.domain.record import Record, canonical_data, conflict_hash, identity_hashes
from milepost.sql import bodies, schema
from milepost.sql.statements import chunks, pack, unpack_texts
from milepost.store import Arrival, Receipt

Row = tuple[str, str, str, int, int, str, str, int | None, bytes, bytes | None, bytes | None]
"""kind, business product, type, received, published, road, flags, origin, body, key hash, event hash."""

InsertRecords = Callable[[Connection, Sequence[Row]], list[int | None]]
"""Insert rows at the journal's end; the position of each, None for one whose hash is there already."""

InsertNew = Callable[[Connection, Sequence[Row]], int | None]
"""Insert rows in a transaction of their own if all are new; the first one's position, else None and nothing."""

_c = schema.records.c
RECORD_COLUMNS = (
    _c.position,
    _c.kind,
    _c.business_product_id,
    _c.type,
    _c.received_at,
    _c.published_at,
    _c.road,
    _c.flags,
    _c.origin,
    _c.body,
)
_BY_POSITION = select(*RECORD_COLUMNS).where(_c.position.in_(bindparam("positions", expanding=True)))
_BY_KEY = select(_c.key_hash, _c.position).where(_c.key_hash.in_(bindparam("hashes", expanding=True)))
_BY_EVENT = select(_c.event_hash, _c.position).where(_c.event_hash.in_(bindparam("hashes", expanding=True)))
_COUNTED = ("others", "duplicates", "conflicts", "quarantined", "removed", "dismissed")
_COUNT = (
    update(schema.counters)
    .where(schema.counters.c.id == literal_column("1"))
    .values({name: schema.counters.c[name] + bindparam(f"more_{name}") for name in _COUNTED})
)
_INSERT_ARRIVAL = schema.arrivals.insert()


class Appended(Struct, frozen=True):
    """Receipts in the order of the arrivals, and the position of the last record that was added (or 0)."""

    receipts: list[Receipt]
    last: int
    counted: Mapping[str, int] = {}
    """What the counters move by; the caller moves them, last of all in its transaction."""


def row_of(arrival: Arrival) -> Row:
    """The journal row of an arrival: made by the caller, so that the writer thread only hands it on."""
    event = arrival.event
    key_hash, event_hash = identity_hashes(event)
    flags = event.flags
    return (
        "event",
        event.resources[0].business_product_id,
        event.type,
        arrival.received_at,
        event.published_at,
        arrival.road,
        pack(flags) if flags else "",
        None,
        arrival.body,
        key_hash,
        event_hash,
    )


def record_of(row: Sequence[object]) -> Record:
    """A `Record` from the `RECORD_COLUMNS` of a row."""
    position, kind, product, type_, received_at, published_at, road, flags, origin, body = row
    return Record(
        position,  # type: ignore[arg-type]
        kind,  # type: ignore[arg-type]
        product,  # type: ignore[arg-type]
        type_,  # type: ignore[arg-type]
        received_at,  # type: ignore[arg-type]
        published_at,  # type: ignore[arg-type]
        road,  # type: ignore[arg-type]
        unpack_texts(flags) if flags else (),  # type: ignore[arg-type]
        origin,  # type: ignore[arg-type]
        body,  # type: ignore[arg-type]
    )


def count(connection: Connection, more: Mapping[str, int]) -> None:
    """Move the counters by so much. Handed to the driver as text: this is part of every batch.

    Last of all in a transaction: on PostgreSQL an append and a write function may both want the counters and the
    journal's end, and must take them in one order."""
    if not any(more.values()):
        return
    text, names = _count_text(connection.dialect)
    connection.exec_driver_sql(text, tuple(more.get(name, 0) for name in names))


@cache
def _count_text(dialect: Dialect) -> tuple[str, tuple[str, ...]]:
    """The statement in a driver's own words, and the counters in the order of its parameters."""
    compiled = _COUNT.compile(dialect=dialect)
    order = compiled.positiontup or ()
    return str(compiled), tuple(name.removeprefix("more_") for name in order if name.startswith("more_"))


def records_at(connection: Connection, positions: Sequence[int]) -> dict[int, Record]:
    """The records at these positions; unknown ones are left out."""
    found: dict[int, Record] = {}
    for chunk in chunks(positions):
        for row in connection.execute(_BY_POSITION, {"positions": chunk}).all():
            found[row[0]] = record_of(row)
    return found


def append(
    connection: Connection, arrivals: Sequence[Arrival], rows: Sequence[Row], insert: InsertRecords
) -> Appended:
    """Journal arrivals (`rows` are theirs); the caller counts (`Appended.counted`) and commits."""
    positions = insert(connection, rows)
    if None not in positions:
        receipts = [Receipt("accepted", position) for position in positions if position]
        return Appended(receipts, receipts[-1].position)
    duplicates = [i for i, position in enumerate(positions) if position is None]
    answers, conflict_rows, second = _judge(connection, arrivals, rows, duplicates)
    kept = [p for p in insert(connection, conflict_rows) if p is not None] if conflict_rows else []
    connection.execute(_INSERT_ARRIVAL, [_arrival_values(arrivals[i], answers[i]) for i in duplicates])
    if second:
        bodies.keep(connection, second)
    counted = {
        "others": len(kept),
        "duplicates": len(duplicates),
        "conflicts": sum(answers[i].conflict for i in duplicates),
    }
    receipts = [
        answers[i] if position is None else Receipt("accepted", position)
        for i, position in enumerate(positions)
    ]
    last = max((p for p in (*positions, *kept) if p is not None), default=0)
    return Appended(receipts, last, counted)


def _judge(
    connection: Connection, arrivals: Sequence[Arrival], rows: Sequence[Row], duplicates: Sequence[int]
) -> tuple[dict[int, Receipt], list[Row], list[bodies.SecondBody]]:
    """What each duplicate is a duplicate of, the conflict rows of those whose `data` differs, and the bodies of
    those that came by another road."""
    originals = _originals(connection, [rows[i] for i in duplicates])
    records = records_at(connection, sorted(set(originals)))
    answers: dict[int, Receipt] = {}
    conflict_rows: list[Row] = []
    second: list[bodies.SecondBody] = []
    for i, original in zip(duplicates, originals, strict=True):
        arrival, record = arrivals[i], records[original]
        conflict = _differs(arrival, record)
        answers[i] = Receipt("duplicate", original, conflict)
        if conflict:
            identity = conflict_hash(original, arrival.event)
            conflict_rows.append(("conflict", *rows[i][1:7], original, arrival.body, identity, None))
        elif bodies.is_other_road(arrival.road, record.road):
            second.append(bodies.SecondBody(original, arrival.road, arrival.body))
    return answers, conflict_rows, second


def _originals(connection: Connection, rows: Sequence[Row]) -> list[int]:
    """The position each row is a duplicate of: of two matches the lower."""
    by_key = _positions(connection, _BY_KEY, {row[9] for row in rows})
    by_event = _positions(connection, _BY_EVENT, {row[10] for row in rows})
    found: list[int] = []
    for row in rows:
        matches = [p for p in (by_key.get(row[9]), by_event.get(row[10])) if p is not None]
        found.append(min(matches))
    return found


def _positions(
    connection: Connection, statement: Select[bytes, int], hashes: set[bytes | None]
) -> dict[bytes | None, int]:
    hashes.discard(None)
    found: dict[bytes | None, int] = {}
    for chunk in chunks(hashes):
        for row in connection.execute(statement, {"hashes": chunk}).all():
            found[row[0]] = row[1]
    return found


def _differs(arrival: Arrival, original: Record) -> bool:
    """Whether the canonical `data` of two copies differ; the same bytes need no parsing. What was erased of the
    original can't differ."""
    if arrival.body == original.body or ERASED in original.flags:
        return False
    return canonical_data(arrival.event) != canonical_data(original.event())


def _arrival_values(arrival: Arrival, receipt: Receipt) -> dict[str, object]:
    event = arrival.event
    return {
        "position": receipt.position,
        "received_at": arrival.received_at,
        "road": arrival.road,
        "subscription_id": event.subscription_id,
        "idempotency_key": event.idempotency_key,
        "event_id": event.event_id,
        "conflict": receipt.conflict,
    }
