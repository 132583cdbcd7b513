"""Views, the indexes that reading needs, flags and failed folds, on one connection.

Everything here but the sandbox's own documents is remade from the journal by a rebuild: `clear` forgets it, `dump`
writes it out for comparing; what is in work queues (`queues`) goes with its views. Folding is the domain's, deciding
what to fold the projector's. Those of the sandbox's documents that hold secrets are sealed (`sealed_rows`).
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from msgspec.structs import replace
from sqlalchemy import Connection, Row, Select, bindparam, delete, func, literal, select, tuple_, update

from milepost.domain.errors import Misconfigured
from milepost.domain.instant import Instant
from milepost.sql import queues, schema, statements
from milepost.sql.parcels import MEASURED, SqlParcels
from milepost.sql.sealed_rows import SEALED_VIEWS, view_place
from milepost.sql.secrets import Altered, Secrets
from milepost.sql.statements import chunks, extent, grouped, insert_new, pack, unpack_texts, upsert, visible
from milepost.store import FailedFold, Found, View, ViewKind

Key = tuple[ViewKind, str, str]
"""(kind, business product, id)."""

_v, _t, _f = schema.views.c, schema.search_terms.c, schema.failures.c
_s, _d = schema.record_subjects.c, schema.shared_deliveries.c
_FIELDS = (
    _v.kind,
    _v.business_product_id,
    _v.id,
    _v.document,
    _v.state,
    _v.parent,
    _v.position,
    _v.check_at,
    _v.terms,
)
_COMPARED = tuple(field for field in _FIELDS if field is not _v.check_at)
"""What two builds must agree on; `check_at` also moves when the sweeper looked and found nothing."""
_KEYED = (
    _v.kind == bindparam("kind"),
    _v.business_product_id == bindparam("business_product_id"),
    _v.id.in_(bindparam("ids", expanding=True)),
)
_GET = select(*_FIELDS).where(*_KEYED)
_GET_TERMS = select(_v.id, _v.terms).where(*_KEYED)
_DELETE = delete(schema.views).where(*_KEYED)
_DELETE_TERM = delete(schema.search_terms).where(
    _t.term == bindparam("d_term"),
    _t.kind == bindparam("d_kind"),
    _t.business_product_id == bindparam("d_product"),
    _t.id == bindparam("d_id"),
)
_INDEXED = select(_s.subject, _s.position).where(
    _s.business_product_id == bindparam("business_product_id"),
    _s.subject.in_(bindparam("subjects", expanding=True)),
)
_UNINDEX_ALL = delete(schema.record_subjects).where(
    _s.business_product_id == bindparam("business_product_id"),
    _s.subject.in_(bindparam("subjects", expanding=True)),
)
_UNINDEX_ONE = delete(schema.record_subjects).where(
    _s.business_product_id == bindparam("d_product"),
    _s.subject == bindparam("d_subject"),
    _s.position == bindparam("d_position"),
)
_SHARING = (
    select(_d.delivery_id, _d.order_id)
    .where(_d.business_product_id == bindparam("business_product_id"))
    .where(_d.delivery_id.in_(bindparam("deliveries", expanding=True)))
    .order_by(_d.delivery_id, _d.order_id)
)
_UNSHARE = (
    delete(schema.shared_deliveries)
    .where(_d.business_product_id == bindparam("business_product_id"))
    .where(_d.order_id.in_(bindparam("orders", expanding=True)))
)
_RECHECK = (
    update(schema.views)
    .where(_v.kind == bindparam("d_kind"), _v.business_product_id == bindparam("d_product"))
    .where(_v.id == bindparam("d_id"))
    .values(check_at=bindparam("d_check_at"))
)
_FOLDED = ("order", "delivery", "tracker")
"""The kinds that a rebuild remakes; the others are the sandbox's own documents."""
_END = "\U0010ffff"
"""Sorts behind every character that a term can go on with."""


class SqlViews:
    """`milepost.store.Views` in one transaction."""

    def __init__(self, connection: Connection, secrets: Secrets) -> None:
        self._connection = connection
        self._secrets = secrets

    def index(self, subjects: Mapping[int, tuple[str, Sequence[str]]]) -> None:
        rows = [
            {"business_product_id": product, "subject": subject, "position": position}
            for position, (product, listed) in subjects.items()
            for subject in listed
        ]
        insert_new(self._connection, schema.record_subjects, rows)

    def unindex(self, subjects: Mapping[int, tuple[str, Sequence[str]]]) -> None:
        gone = {(product, subject) for product, listed in subjects.values() for subject in listed}
        for product, names in grouped(gone):
            values = {"business_product_id": product, "subjects": names}
            indexed: dict[str, list[int]] = {}
            for subject, position in self._connection.execute(_INDEXED, values).all():
                indexed.setdefault(subject, []).append(position)
            # Hardly ever has a subject a record that stays, so that whole ones can go at once.
            shared = [s for s, listed in indexed.items() if not subjects.keys() >= set(listed)]
            whole = sorted(indexed.keys() - set(shared))
            if whole:
                self._connection.execute(_UNINDEX_ALL, {**values, "subjects": whole})
            rows = [
                {"d_product": product, "d_subject": subject, "d_position": position}
                for subject in shared
                for position in indexed[subject]
                if position in subjects
            ]
            if rows:
                self._connection.execute(_UNINDEX_ONE, rows)
        for chunk in chunks(subjects):
            for table in (schema.record_flags, schema.failures):
                self._connection.execute(delete(table).where(table.c.position.in_(chunk)))

    def put(self, views: Sequence[View]) -> None:
        """Insert or replace views; their search terms are touched only where they changed."""
        latest = {(v.kind, v.business_product_id, v.id): v for v in views}
        packed = {key: pack(sorted(set(view.terms))) for key, view in latest.items()}
        known = self._terms(latest)
        self._forget_terms({k: known[k] for k in latest if k in known and known[k] != packed[k]})
        insert_new(
            self._connection,
            schema.search_terms,
            [
                {"term": term, "kind": key[0], "business_product_id": key[1], "id": key[2]}
                for key, view in latest.items()
                if known.get(key, "") != packed[key]
                for term in set(view.terms)
            ],
        )
        rows = [
            {
                "kind": view.kind,
                "id": view.id,
                "business_product_id": view.business_product_id,
                "parent": view.parent,
                "state": view.state,
                "position": view.position,
                "check_at": view.check_at,
                "terms": packed[key],
                "document": self._sealed(view),
            }
            for key, view in latest.items()
        ]
        upsert(self._connection, schema.views, rows, ("kind", "id", "business_product_id"))

    def remove(self, keys: Collection[Key]) -> None:
        self._forget_terms(self._terms(keys))
        for values in _by_product(keys):
            self._connection.execute(_DELETE, values)
        owned = [key for key in keys if key[0] in ("order", "tracker")]
        queues.forget_items(self._connection, [(product, f"{kind}/{name}") for kind, product, name in owned])
        orders = [(product, view_id) for kind, product, view_id in keys if kind == "order"]
        if orders:
            SqlParcels(self._connection).remove(orders)

    def get(self, keys: Collection[Key]) -> dict[Key, View]:
        found: dict[Key, View] = {}
        for values in _by_product(keys):
            for row in self._connection.execute(_GET, values).all():
                view = self._view(row)
                found[view.kind, view.business_product_id, view.id] = view
        return found

    def find(self, kind: ViewKind, id: str, business_products: Collection[str] | None) -> list[View]:
        mine = visible(_v.business_product_id, business_products)
        statement = select(*_FIELDS).where(_v.kind == kind, _v.id == id, mine)
        return self._views(statement.order_by(_v.business_product_id).limit(10))

    def page(
        self,
        kind: ViewKind,
        after: tuple[int, str, str] | None,
        limit: int,
        business_products: Collection[str] | None,
        state: str | None = None,
        *,
        newest_first: bool = False,
        walk: bool = False,
    ) -> list[tuple[int, View]]:
        """Views of a kind, oldest first or newest. A cursor from before a rebuild goes on behind the same view."""
        of_kind = statements.aside(self._connection, _v.kind) if walk else _v.kind
        wanted = [of_kind == kind]
        if after is not None:
            number = self._number(kind, after, business_products)
            wanted.append(_v.number < number if newest_first else _v.number > number)
        if state is not None:
            wanted.append(_v.state == state)
        order = _v.number.desc() if newest_first else _v.number
        mine = statements.firsts_of_each(
            _v.number, _v.business_product_id, business_products, wanted, order, limit
        )
        statement = select(*_FIELDS, _v.number).where(*wanted, mine)
        rows = self._connection.execute(statement.order_by(order).limit(limit)).all()
        return [(row[9], self._view(row)) for row in rows]

    def extent(self, kind: ViewKind, business_products: Collection[str] | None) -> tuple[int, int]:
        mine = visible(_v.business_product_id, business_products)
        return extent(self._connection, _v.number, _v.kind == kind, mine)

    def due(self, at: Instant, limit: int) -> list[View]:
        statement = select(*_FIELDS).where(_v.check_at.is_not(None), _v.check_at <= at)
        return self._views(statement.order_by(_v.check_at, _v.number).limit(limit))

    def recheck(self, checks: Mapping[Key, Instant | None]) -> None:
        rows = [
            {"d_kind": kind, "d_product": product, "d_id": view_id, "d_check_at": check_at}
            for (kind, product, view_id), check_at in checks.items()
        ]
        if rows:
            self._connection.execute(_RECHECK, rows)

    def search(self, term: str, limit: int, business_products: Collection[str] | None) -> list[Found]:
        """Views by a term, lower case: whole matches first, then those it begins."""
        if not term:
            return []
        fields = select(_t.term, _t.kind, _t.business_product_id, _t.id).where(
            visible(_t.business_product_id, business_products)
        )
        ordered = fields.order_by(_t.term, _t.kind, _t.business_product_id, _t.id)
        rows = self._connection.execute(ordered.where(_t.term == term).limit(limit)).all()
        if len(rows) < limit:
            longer = ordered.where(_t.term > term, _t.term < term + _END).limit(limit - len(rows))
            rows = [*rows, *self._connection.execute(longer).all()]
        return [Found(*row) for row in rows]

    def termed(self, beginning: str, after: Found | None, limit: int) -> list[Found]:
        fields = (_t.term, _t.kind, _t.business_product_id, _t.id)
        statement = select(*fields).where(_t.term >= beginning, _t.term < beginning + _END)
        if after is not None:
            place = (after.term, after.kind, after.business_product_id, after.id)
            statement = statement.where(tuple_(*fields) > tuple_(*map(literal, place)))
        rows = self._connection.execute(statement.order_by(*fields).limit(limit)).all()
        return [Found(*row) for row in rows]

    def tally(
        self, beginning: str, limit: int, business_products: Collection[str] | None
    ) -> list[tuple[str, int]]:
        mine = visible(_t.business_product_id, business_products)
        statement = select(_t.term, func.count()).where(
            _t.term >= beginning, _t.term < beginning + _END, mine
        )
        rows = self._connection.execute(statement.group_by(_t.term).order_by(_t.term).limit(limit)).all()
        return [(term, count) for term, count in rows]

    def flag(self, flags: Mapping[int, Sequence[str]]) -> None:
        rows = [{"position": p, "flag": flag} for p, listed in flags.items() for flag in listed]
        insert_new(self._connection, schema.record_flags, rows)

    def unflag(self, flags: Mapping[int, Sequence[str]]) -> None:
        c = schema.record_flags.c
        for position, listed in flags.items():
            self._connection.execute(
                delete(schema.record_flags).where(c.position == position, c.flag.in_(listed))
            )

    def flags(self, positions: Collection[int]) -> dict[int, tuple[str, ...]]:
        found: dict[int, tuple[str, ...]] = {}
        c = schema.record_flags.c
        for chunk in chunks(positions):
            statement = select(c.position, c.flag).where(c.position.in_(chunk))
            for position, flag in self._connection.execute(statement.order_by(c.position, c.flag)).all():
                found[position] = (*found.get(position, ()), flag)
        return found

    def fail(self, failures: Sequence[FailedFold]) -> None:
        rows = [
            {
                "position": f.position,
                "consumer": f.consumer,
                "subject": f.subject,
                "business_product_id": f.business_product_id,
                "error": f.error,
                "at": f.at,
            }
            for f in failures
        ]
        upsert(self._connection, schema.failures, rows, ("position", "consumer", "subject"))

    def failures(
        self, after: int | tuple[int, str, str], limit: int, business_products: Collection[str] | None
    ) -> list[FailedFold]:
        key = tuple_(_f.position, _f.consumer, _f.subject)
        behind = _f.position > after if isinstance(after, int) else key > tuple_(*after)
        statement = (
            select(_f.consumer, _f.position, _f.business_product_id, _f.subject, _f.error, _f.at)
            .where(behind, visible(_f.business_product_id, business_products))
            .order_by(_f.position, _f.consumer, _f.subject)
            .limit(limit)
        )
        return [FailedFold(*row) for row in self._connection.execute(statement).all()]

    def failed(self, positions: Collection[int]) -> set[int]:
        found: set[int] = set()
        for chunk in chunks(positions):
            statement = select(_f.position).where(_f.position.in_(chunk)).distinct()
            found.update(self._connection.execute(statement).scalars())
        return found

    def share(self, claims: Collection[tuple[str, str, str]]) -> None:
        rows = [
            {"business_product_id": product, "delivery_id": delivery, "order_id": order}
            for product, delivery, order in sorted(claims)
        ]
        insert_new(self._connection, schema.shared_deliveries, rows)

    def sharing(self, deliveries: Collection[tuple[str, str]]) -> dict[tuple[str, str], tuple[str, ...]]:
        found: dict[tuple[str, str], tuple[str, ...]] = {}
        for product, ids in grouped(deliveries):
            values = {"business_product_id": product, "deliveries": ids}
            for delivery, order in self._connection.execute(_SHARING, values).all():
                found[product, delivery] = (*found.get((product, delivery), ()), order)
        return found

    def unshare(self, orders: Collection[tuple[str, str]]) -> None:
        for product, ids in grouped(orders):
            self._connection.execute(_UNSHARE, {"business_product_id": product, "orders": ids})

    def clear(self, consumer: str = "projector") -> None:
        """Forget every view of the journal, index, flag and this consumer's failures."""
        self._connection.execute(delete(schema.views).where(_v.kind.in_(_FOLDED)))
        self._connection.execute(delete(schema.search_terms).where(_t.kind.in_(_FOLDED)))
        self._connection.execute(delete(schema.queue_items))
        self._connection.execute(delete(schema.record_subjects))
        self._connection.execute(delete(schema.record_flags))
        self._connection.execute(delete(schema.shared_deliveries))
        self._connection.execute(delete(schema.failures).where(_f.consumer == consumer))
        SqlParcels(self._connection).clear()

    def dump(self, consumer: str = "projector") -> list[tuple[str, ...]]:
        """Everything `clear` would forget, as sorted text rows; without the numbers pages go by and the
        times of failures, which no second build could have, and without the notes on shared deliveries."""
        selected: tuple[tuple[str, Select[*tuple[object, ...]]], ...] = (
            ("view", select(*_COMPARED).where(_v.kind.in_(_FOLDED))),
            ("term", select(_t.term, _t.kind, _t.business_product_id, _t.id).where(_t.kind.in_(_FOLDED))),
            ("queue", select(*queues.COMPARED)),
            ("subject", select(schema.record_subjects)),
            ("flag", select(schema.record_flags)),
            ("parcel", select(*MEASURED)),
            (
                "failure",
                select(_f.position, _f.subject, _f.business_product_id, _f.error).where(
                    _f.consumer == consumer
                ),
            ),
        )
        return sorted(
            (name, *map(_text, row))
            for name, statement in selected
            for row in self._connection.execute(statement)
        )

    def _views(self, statement: Select[*tuple[object, ...]]) -> list[View]:
        return [self._view(row) for row in self._connection.execute(statement).all()]

    def _sealed(self, view: View) -> bytes:
        if view.kind not in SEALED_VIEWS:
            return view.document
        return self._secrets.seal(view_place(view.kind, view.business_product_id, view.id), view.document)

    def _view(self, row: Row[*tuple[Any, ...]]) -> View:
        view = _view(row)
        if view.kind not in SEALED_VIEWS:
            return view
        place = view_place(view.kind, view.business_product_id, view.id)
        try:
            return replace(view, document=self._secrets.open(place, view.document))
        except Altered as e:
            raise Misconfigured(f"{e}; take a backup, or remove the row") from e

    def _number(
        self, kind: ViewKind, after: tuple[int, str, str], business_products: Collection[str] | None
    ) -> int:
        number, product, view_id = after
        seen = visible(_v.business_product_id, business_products)
        statement = select(_v.number).where(
            _v.kind == kind, _v.id == view_id, _v.business_product_id == product, seen
        )
        return self._connection.execute(statement).scalar() or number

    def _terms(self, keys: Collection[Key]) -> dict[Key, str]:
        """The stored terms of those views that exist, packed."""
        found: dict[Key, str] = {}
        for values in _by_product(keys):
            kind, product = values["kind"], values["business_product_id"]
            for view_id, terms in self._connection.execute(_GET_TERMS, values).all():
                found[kind, product, view_id] = terms  # type: ignore[index]
        return found

    def _forget_terms(self, terms: Mapping[Key, str]) -> None:
        rows = [
            {"d_term": term, "d_kind": kind, "d_product": product, "d_id": view_id}
            for (kind, product, view_id), packed in terms.items()
            for term in unpack_texts(packed)
        ]
        if rows:
            self._connection.execute(_DELETE_TERM, rows)


def _by_product(keys: Collection[Key]) -> list[dict[str, object]]:
    """The values of one statement each: a kind, a business product and a chunk of ids."""
    pairs = (((kind, product), view_id) for kind, product, view_id in keys)
    return [
        {"kind": kind, "business_product_id": product, "ids": ids} for (kind, product), ids in grouped(pairs)
    ]


def _view(row: Row[*tuple[Any, ...]]) -> View:
    """A view from the `_FIELDS` of a row, by place: by name costs four times as much."""
    kind, product, view_id, document, state, parent, position, check_at, terms = row[:9]
    return View(kind, product, view_id, document, state, parent, position, check_at, unpack_texts(terms))


def _text(value: object) -> str:
    """As text; NUL as PostgreSQL keeps it, so that a copy of it on SQLite compares."""
    text = value.decode() if isinstance(value, bytes) else "" if value is None else str(value)
    return text.replace("\0", "\u2400")
