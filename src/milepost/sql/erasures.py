"""Erasures on one connection, and the only rewriting of what is journalled that there is."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, Select, delete, literal_column, select, update

from milepost.domain.erasure import UNDER_WAY, Erasure
from milepost.domain.instant import Instant
from milepost.domain.record import Record
from milepost.sql import bodies as road_bodies
from milepost.sql import schema
from milepost.sql.append import RECORD_COLUMNS, record_of
from milepost.sql.statements import by_number, chunks, grouped, pack, unpack_texts, upsert, visible
from milepost.store.erasures import Key

_e, _x = schema.erasures.c, schema.erased.c
_r, _q, _m, _a = schema.records.c, schema.quarantine.c, schema.messages.c, schema.attempts.c
_f = schema.failures.c
_ANY: Select[Any] = select(literal_column("1")).select_from(schema.erased).limit(literal_column("1"))
_decode = msgspec.json.Decoder(Erasure).decode


class SqlErasures:
    """`milepost.store.Erasures` in one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def put(self, erasure: Erasure) -> None:
        row = {
            "id": erasure.id,
            "business_product_id": erasure.business_product_id,
            "state": erasure.state,
            "document": msgspec.json.encode(erasure),
        }
        upsert(self._connection, schema.erasures, [row], ("id",))

    def get(self, id: str) -> Erasure | None:
        document = self._connection.execute(select(_e.document).where(_e.id == id)).scalar_one_or_none()
        return None if document is None else _decode(document)

    def under_way(self, limit: int) -> list[Erasure]:
        # DONE is named for the sake of the index, which leaves it out.
        wanted = (_e.state != literal_column("'DONE'"), _e.state.in_(UNDER_WAY))
        statement = select(_e.document).where(*wanted).order_by(_e.number).limit(limit)
        return [_decode(document) for document in self._connection.execute(statement).scalars()]

    def page(
        self, after: int, limit: int, business_products: Collection[str] | None
    ) -> list[tuple[int, Erasure]]:
        mine = visible(_e.business_product_id, business_products)
        return by_number(self._connection, schema.erasures, after, limit, _decode, mine)

    def mark(self, subjects: Mapping[Key, Instant]) -> None:
        rows = [
            {"business_product_id": product, "subject": subject, "erased_at": at}
            for (product, subject), at in subjects.items()
        ]
        upsert(self._connection, schema.erased, rows, ("business_product_id", "subject"))

    def erased(self, keys: Collection[Key]) -> dict[Key, Instant]:
        found: dict[Key, Instant] = {}
        for product, subjects in grouped(sorted(keys)):
            mine = (_x.business_product_id == product, _x.subject.in_(subjects))
            for row in self._connection.execute(select(schema.erased).where(*mine)).all():
                found[product, row.subject] = Instant(row.erased_at)
        return found

    def any_erased(self) -> bool:
        return self._connection.execute(_ANY).first() is not None

    def events(self, types: Collection[str], within: tuple[int, int], limit: int) -> list[Record]:
        there = (_r.position > within[0], _r.position <= within[1])
        wanted = (*there, _r.kind == "event", _r.type.in_(sorted(types)))
        statement = select(*RECORD_COLUMNS).where(*wanted).order_by(_r.position).limit(limit)
        return [record_of(row) for row in self._connection.execute(statement).all()]

    def rewrite(self, bodies: Mapping[int, bytes], flag: str) -> None:
        for chunk in chunks(sorted(bodies)):
            rows = self._connection.execute(select(_r.position, _r.flags).where(_r.position.in_(chunk))).all()
            for position, packed in rows:
                flags = dict.fromkeys((*(unpack_texts(packed) if packed else ()), flag))
                values = {"body": bodies[position], "flags": pack(tuple(flags))}
                self._connection.execute(update(schema.records).where(_r.position == position).values(values))
        road_bodies.forget(self._connection, sorted(bodies))

    def rewrite_quarantined(self, bodies: Mapping[int, bytes], reason: str) -> None:
        for number, body in bodies.items():
            values = {"body": body, "reason": reason}
            self._connection.execute(update(schema.quarantine).where(_q.id == number).values(values))

    def blank_attempts(self, positions: Sequence[int]) -> int:
        changed = 0
        for chunk in chunks(positions):
            about = select(_m.id).where(_m.position.in_(chunk))
            told = (_a.response != "") | (_a.error != "")
            statement = update(schema.attempts).where(_a.message_id.in_(about), told)
            changed += self._connection.execute(statement.values(response="", error="")).rowcount
        return changed

    def forget_failures(self, positions: Sequence[int], projector: str) -> None:
        for chunk in chunks(positions):
            here = _f.position.in_(chunk)
            self._connection.execute(delete(schema.failures).where(here, _f.consumer == projector))
            self._connection.execute(update(schema.failures).where(here).values(error=""))

    def blank_failures(self, keys: Collection[Key]) -> None:
        for product, subjects in grouped(sorted(keys)):
            mine = (_f.business_product_id == product, _f.subject.in_(subjects), _f.error != "")
            self._connection.execute(update(schema.failures).where(*mine).values(error=""))

    def failing(self, keys: Collection[Key], projector: str) -> set[Key]:
        found: set[Key] = set()
        for product, subjects in grouped(sorted(keys)):
            mine = (_f.consumer == projector, _f.business_product_id == product, _f.subject.in_(subjects))
            for subject in self._connection.execute(select(_f.subject).where(*mine).distinct()).scalars():
                found.add((product, subject))
        return found
