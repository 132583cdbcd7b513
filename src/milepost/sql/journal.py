"""The journal: records, arrivals, quarantine, checkpoints and the counts, on one connection.

The rule of what is new is `append`'s; batching is the writer's.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from itertools import chain

from sqlalchemy import ColumnElement, Connection, Row, bindparam, delete, exists, func, select, text, update

from milepost.domain.errors import NotFound
from milepost.domain.instant import Instant
from milepost.domain.record import Kind, Record
from milepost.domain.roads import Crossing, Passage
from milepost.sql import append as appending
from milepost.sql import bodies, roads, schema
from milepost.sql.append import RECORD_COLUMNS, InsertRecords, record_of, records_at
from milepost.sql.statements import chunks, grouped, pack, unpack_texts, upsert, visible
from milepost.store import Arrival, ArrivalRow, Counts, NewRecord, Quarantined, QuarantineState, Receipt

_records, _arrivals, _quarantine = schema.records.c, schema.arrivals.c, schema.quarantine.c
_bindings, _subjects = schema.quarantine_bindings.c, schema.record_subjects.c

_AFTER = (
    select(*RECORD_COLUMNS)
    .where(_records.position > bindparam("after"))
    .order_by(_records.position)
    .limit(bindparam("count"))
)
_LENGTHS = (
    select(func.length(_records.body))
    .where(_records.position > bindparam("after"))
    .order_by(_records.position)
    .limit(bindparam("count"))
)
_NEXT_PRODUCT = select(func.min(_subjects.business_product_id)).where(
    _subjects.business_product_id > bindparam("after")
)
_LAST = select(func.coalesce(func.max(_records.position), 0))
_OF_SUBJECTS = select(_subjects.subject, _subjects.position).where(
    _subjects.business_product_id == bindparam("business_product_id"),
    _subjects.subject.in_(bindparam("subjects", expanding=True)),
)
_SOME_OF_SUBJECTS = (
    _OF_SUBJECTS.where(_subjects.position > bindparam("after"))
    .order_by(_subjects.subject, _subjects.position)
    .limit(bindparam("count"))
)
_ARRIVALS = (
    select(
        _arrivals.position,
        _arrivals.received_at,
        _arrivals.road,
        _arrivals.subscription_id,
        _arrivals.idempotency_key,
        _arrivals.event_id,
        _arrivals.conflict,
    )
    .where(_arrivals.position.in_(bindparam("positions", expanding=True)))
    .order_by(_arrivals.id)
)
_LAST_ARRIVALS = (
    select(_arrivals.position, func.max(_arrivals.received_at))
    .where(_arrivals.position.in_(bindparam("positions", expanding=True)))
    .group_by(_arrivals.position)
)
_CHECKPOINT = select(schema.checkpoints.c.position).where(schema.checkpoints.c.consumer == bindparam("name"))
_FAILED = (
    select(func.count()).select_from(schema.failures).where(schema.failures.c.consumer == bindparam("name"))
)
_FREEZE = text("SELECT position FROM journal_end WHERE id = 1 FOR UPDATE")
"""Who appends holds this row until the commit."""
_REMOVE_BINDINGS = delete(schema.quarantine_bindings).where(
    _bindings.quarantine_id.in_(
        select(_quarantine.id).where(_quarantine.position.in_(bindparam("positions", expanding=True)))
    )
)
_REMOVE = (
    delete(schema.quarantine).where(_quarantine.position.in_(bindparam("positions", expanding=True))),
    delete(schema.arrivals).where(_arrivals.position.in_(bindparam("positions", expanding=True))),
    bodies.FORGET,
)
_REMOVE_RECORDS = delete(schema.records).where(_records.position.in_(bindparam("positions", expanding=True)))


_IN_STATE: dict[QuarantineState, tuple[ColumnElement[bool], ...]] = {
    "waiting": (_quarantine.released_at.is_(None), _quarantine.dismissed_at.is_(None)),
    "released": (_quarantine.released_at.is_not(None),),
    "dismissed": (_quarantine.released_at.is_(None), _quarantine.dismissed_at.is_not(None)),
}


class SqlJournal:
    """`milepost.store.Journal` in one transaction. `added` is the last position it journalled at, 0 before."""

    def __init__(self, connection: Connection, insert: InsertRecords) -> None:
        self._connection = connection
        self._insert = insert
        self._counted: Counter[str] = Counter()
        self.added = 0

    def add(self, records: Sequence[NewRecord]) -> list[int]:
        """Journal what Milepost itself found out; positions in order."""
        if not records:
            return []
        rows: list[appending.Row] = [
            (
                r.kind,
                r.business_product_id,
                r.type,
                r.received_at,
                r.published_at,
                r.road,
                "",
                r.origin,
                r.body,
                None,
                None,
            )
            for r in records
        ]
        positions = [p for p in self._insert(self._connection, rows) if p is not None]
        self._counted["others"] += len(positions)
        self.added = positions[-1]
        return positions

    def after(self, position: int, limit: int, size: int | None = None) -> list[Record]:
        if size is not None:
            limit = self._fitting(position, limit, size)
        rows = self._connection.execute(_AFTER, {"after": position, "count": limit}).all()
        return [record_of(row) for row in rows]

    def _fitting(self, position: int, limit: int, size: int) -> int:
        """How many of the next records have bodies of so many bytes together; one at least. Neither database reads a
        body to tell its length."""
        lengths = self._connection.execute(_LENGTHS, {"after": position, "count": limit}).scalars().all()
        found, total = 0, 0
        for length in lengths:
            total += length
            if found and total > size:
                break
            found += 1
        return max(1, found)

    def events(
        self, after: int, limit: int, business_products: Collection[str] | None, type: str | None
    ) -> list[Record]:
        statement = (
            select(*RECORD_COLUMNS)
            .where(
                _records.position > after,
                _records.kind == "event",
                visible(_records.business_product_id, business_products),
            )
            .order_by(_records.position)
            .limit(limit)
        )
        if type is not None:
            statement = statement.where(_records.type == type)
        return [record_of(row) for row in self._connection.execute(statement).all()]

    def received(
        self,
        low: int,
        high: int,
        limit: int,
        business_products: Collection[str] | None,
        *,
        type: str | None = None,
        road: str | None = None,
        newest_first: bool = True,
    ) -> list[Record]:
        conditions = [
            _records.position > low,
            _records.position < high,
            _records.kind.in_(("event", "conflict")),
            visible(_records.business_product_id, business_products),
        ]
        if type is not None:
            conditions.append(_records.type == type)
        if road is not None:
            conditions.append(_records.road == road)
        order = _records.position.desc() if newest_first else _records.position
        statement = select(*RECORD_COLUMNS).where(*conditions).order_by(order).limit(limit)
        return [record_of(row) for row in self._connection.execute(statement).all()]

    def records(self, positions: Collection[int]) -> dict[int, Record]:
        return records_at(self._connection, sorted(set(positions)))

    def of_subjects(self, subjects: Collection[tuple[str, str]]) -> dict[tuple[str, str], list[Record]]:
        """All indexed records of each (business product, subject), lowest position first."""
        positions: dict[tuple[str, str], list[int]] = {subject: [] for subject in subjects}
        for product, names in grouped(subjects):
            values = {"business_product_id": product, "subjects": names}
            for subject, position in self._connection.execute(_OF_SUBJECTS, values).all():
                positions[product, subject].append(position)
        # A record is often about several of the subjects: read it once.
        found = records_at(self._connection, sorted(set(chain.from_iterable(positions.values()))))
        return {
            subject: [found[p] for p in sorted(listed) if p in found] for subject, listed in positions.items()
        }

    def positions_of(
        self, subjects: Collection[tuple[str, str]], limit: int, *, after: int = 0
    ) -> dict[tuple[str, str], list[int]]:
        found: dict[tuple[str, str], list[int]] = {}
        for product, names in grouped(subjects):
            values = {"business_product_id": product, "subjects": names, "count": limit, "after": after}
            for subject, position in self._connection.execute(_SOME_OF_SUBJECTS, values).all():
                found.setdefault((product, subject), []).append(position)
                limit -= 1
            if limit <= 0:
                break
        return found

    def business_products(self) -> list[str]:
        """Every business product that an indexed record is about, sorted: one step in the index each."""
        found: list[str] = []
        product: str | None = ""
        while (product := self._connection.execute(_NEXT_PRODUCT, {"after": product}).scalar()) is not None:
            found.append(product)
        return found

    def last_position(self) -> int:
        last: int = self._connection.execute(_LAST).scalar_one()
        return last

    def arrivals(self, positions: Collection[int]) -> dict[int, list[ArrivalRow]]:
        """Every arrival of each event, the first included, in order. A conflict's are its original's."""
        found: dict[int, list[ArrivalRow]] = {position: [] for position in positions}
        for position, record in self.records(positions).items():
            if record.kind == "event":
                event = record.event()
                ids = (event.subscription_id, event.idempotency_key, event.event_id)
                found[position].append(ArrivalRow(position, record.received_at, record.road, *ids))
        for chunk in chunks(found):
            for row in self._connection.execute(_ARRIVALS, {"positions": chunk}).all():
                found[row[0]].append(ArrivalRow(*row))
        return found

    def of_kind(self, kind: Kind, after: int, upto: int) -> list[Record]:
        there = (_records.position > after, _records.position <= upto, _records.kind == kind)
        statement = select(*RECORD_COLUMNS).where(*there).order_by(_records.position)
        return [record_of(row) for row in self._connection.execute(statement).all()]

    def other_bodies(self, position: int) -> dict[str, bytes]:
        return bodies.others(self._connection, position)

    def crossings(self, limit: int, business_products: Collection[str] | None) -> list[Crossing]:
        return roads.crossings(self._connection, limit, business_products)

    def passages(
        self, limit: int, business_products: Collection[str] | None, *, replays: bool
    ) -> list[Passage]:
        return roads.passages(self._connection, limit, business_products, replays)

    def lags(self, limit: int, business_products: Collection[str] | None) -> list[int]:
        return roads.lags(self._connection, limit, business_products)

    def last_arrivals(self, positions: Collection[int]) -> dict[int, Instant]:
        found: dict[int, Instant] = {}
        for chunk in chunks(positions):
            rows = self._connection.execute(_LAST_ARRIVALS, {"positions": chunk}).all()
            found.update((position, at) for position, at in rows)
        return found

    def quarantine(
        self,
        body: bytes,
        code: str,
        reason: str,
        received_at: Instant,
        road: str,
        business_product_ids: tuple[str, ...],
    ) -> int:
        values = {
            "received_at": received_at,
            "road": road,
            "code": code,
            "reason": reason,
            "body": body,
            "business_product_ids": pack(business_product_ids),
        }
        result = self._connection.execute(schema.quarantine.insert(), values)
        assert result.inserted_primary_key is not None
        entry_id: int = result.inserted_primary_key[0]
        if business_product_ids:
            self._connection.execute(
                schema.quarantine_bindings.insert(),
                [
                    {"quarantine_id": entry_id, "business_product_id": product}
                    for product in dict.fromkeys(business_product_ids)
                ],
            )
        self._counted["quarantined"] += 1
        return entry_id

    def quarantined(
        self, after: int, limit: int, business_products: Collection[str] | None, released: bool | None
    ) -> list[Quarantined]:
        """Entries with id above `after`, lowest first. With business products given: only those whose sender
        was bound to nothing beyond them, since an unread body could be about any it was bound to."""
        statement = select(schema.quarantine).where(_quarantine.id > after, *_within(business_products))
        if released is not None:
            unset = _quarantine.released_at.is_(None)
            statement = statement.where(~unset if released else unset)
        rows = self._connection.execute(statement.order_by(_quarantine.id).limit(limit)).all()
        return [_quarantined(row) for row in rows]

    def newest_quarantined(
        self,
        before: int | None,
        limit: int,
        business_products: Collection[str] | None,
        *,
        state: QuarantineState | None = None,
        code: str | None = None,
    ) -> list[Quarantined]:
        statement = select(schema.quarantine).where(*_within(business_products))
        if before is not None:
            statement = statement.where(_quarantine.id < before)
        if state is not None:
            statement = statement.where(*_IN_STATE[state])
        if code is not None:
            statement = statement.where(_quarantine.code == code)
        rows = self._connection.execute(statement.order_by(_quarantine.id.desc()).limit(limit)).all()
        return [_quarantined(row) for row in rows]

    def quarantine_entry(self, id: int) -> Quarantined | None:
        row = self._connection.execute(select(schema.quarantine).where(_quarantine.id == id)).one_or_none()
        return None if row is None else _quarantined(row)

    def quarantined_at(self, position: int) -> Quarantined | None:
        statement = select(schema.quarantine).where(_quarantine.position == position).limit(1)
        row = self._connection.execute(statement).one_or_none()
        return None if row is None else _quarantined(row)

    def dismiss(self, id: int, at: Instant, by: str) -> bool:
        statement = update(schema.quarantine).where(_quarantine.id == id, *_IN_STATE["waiting"])
        dismissed = self._connection.execute(statement.values(dismissed_at=at, handled_by=by)).rowcount
        self._counted["dismissed"] += dismissed
        return dismissed > 0

    def append_released(self, id: int, arrival: Arrival, at: Instant, by: str = "") -> Receipt:
        """Ingest a quarantined body that can be read now, and move its count. Raises `NotFound`."""
        entry = self.quarantine_entry(id)
        if entry is None:
            raise NotFound(f"there is no quarantine entry {id}")
        if entry.position is not None:
            return Receipt("duplicate", entry.position)
        rows = [appending.row_of(arrival)]
        appended = appending.append(self._connection, [arrival], rows, self._insert)
        receipt = appended.receipts[0]
        self._connection.execute(
            update(schema.quarantine)
            .where(_quarantine.id == id)
            .values(released_at=at, position=receipt.position, handled_by=by or None)
        )
        self._counted.update(appended.counted)
        self._counted["quarantined"] -= 1
        self._counted["dismissed"] -= entry.dismissed_at is not None
        self.added = max(self.added, appended.last)
        return receipt

    def checkpoint(self, consumer: str) -> int:
        return self._connection.execute(_CHECKPOINT, {"name": consumer}).scalar() or 0

    def set_checkpoint(self, consumer: str, position: int) -> None:
        row = {"consumer": consumer, "position": position}
        upsert(self._connection, schema.checkpoints, [row], ("consumer",))

    def finish(self) -> None:
        """Move the counters by what was done; last of all in a transaction that writes."""
        appending.count(self._connection, self._counted)
        self._counted.clear()

    def counts(self, projector: str) -> Counts:
        self.finish()
        row = self._connection.execute(select(schema.counters)).one()
        # Positions are given without gaps: as many records were journalled as the last one says.
        last = self.last_position()
        events = last - row.others
        pending = max(0, last - self.checkpoint(projector))
        return Counts(
            events + row.duplicates + row.quarantined,
            events,
            row.duplicates,
            row.conflicts,
            row.quarantined,
            last,
            last,
            last - pending,
            pending,
            self._connection.execute(_FAILED, {"name": projector}).scalar_one(),
            row.removed,
            row.dismissed,
        )

    def freeze(self) -> None:
        if self._connection.dialect.name == "postgresql":
            self._connection.execute(_FREEZE)

    def remove(self, positions: Collection[int]) -> int:
        """Take records away for good, with what hangs on them; returns how many there were."""
        wanted = sorted(set(positions))
        # SQLite gives the position behind the highest that is there: the counts, and whatever names a position,
        # rest on none being given twice.
        if wanted and wanted[-1] >= self.last_position():
            raise ValueError("the journal's last record is not removed: its position would be given again")
        removed = 0
        for chunk in chunks(wanted):
            values = {"positions": chunk}
            self._connection.execute(_REMOVE_BINDINGS, values)
            for statement in _REMOVE:
                self._connection.execute(statement, values)
            removed += self._connection.execute(_REMOVE_RECORDS, values).rowcount
        self._counted["removed"] += removed
        return removed


def _quarantined(row: Row[*tuple[object, ...]]) -> Quarantined:
    return Quarantined(
        row.id,
        row.received_at,
        row.road,
        row.code,
        row.reason,
        row.body,
        unpack_texts(row.business_product_ids),
        row.released_at,
        row.position,
        row.dismissed_at,
        row.handled_by or "",
    )


def _within(business_products: Collection[str] | None) -> list[ColumnElement[bool]]:
    """Entries whose sender was bound to nothing beyond these: an unread body could be about any it was bound to."""
    if business_products is None:
        return []
    bound = exists().where(_bindings.quarantine_id == _quarantine.id)
    return [bound, ~bound.where(_bindings.business_product_id.not_in(sorted(business_products)))]
