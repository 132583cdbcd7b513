"""The rows that hold secrets, all of a database at once: what seals them, sealing what is in clear, and rotation.

Sealed are the settings of every destination (webhook authentication, signing keys, headers, OAuth secrets) and, of
the sandbox's documents, auth profiles, event sources and the keys that it signs with. API keys and the sandbox's
credentials are hashes and stay so. One row is sealed and opened where it is written and read (`destinations`,
`views`); the walks here are for the start, for `milepost keys` and for `milepost doctor`.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import structlog
from msgspec import Struct
from sqlalchemy import Column, ColumnElement, Connection, Table, bindparam, func, select, true, update

from milepost.domain.errors import Misconfigured
from milepost.domain.webhook_settings import has_secrets
from milepost.sql import schema
from milepost.sql.secrets import Altered, Place, Secrets, sealed_by
from milepost.store import ViewKind

SEALED_VIEWS: frozenset[ViewKind] = frozenset(("authProfile", "eventSource", "signingKeys"))
"""Kinds of views whose documents are sealed."""
_BATCH = 200

log = structlog.get_logger()


class Standing(Struct, frozen=True):
    """How the secrets of a database are kept."""

    keys: tuple[str, ...]
    """Ids of the keys that are there, the one that seals first."""
    sealed: dict[str, int]
    """Rows by the id of the key that sealed them."""
    clear: int
    """Rows in clear."""
    exposed: int
    """Rows in clear that hold a secret."""
    altered: tuple[str, ...]
    """Rows that their own key does not open."""

    @property
    def missing(self) -> tuple[str, ...]:
        """Ids of keys that are wanted and not there."""
        return tuple(sorted(self.sealed.keys() - set(self.keys)))

    def check(self, secrets: Secrets) -> None:
        """Raise `Misconfigured` when a key is missing: nobody can be told anything then. What was altered is said,
        and stops nobody else."""
        if self.missing:
            raise Misconfigured(secrets.missing(self.missing))
        for row in self.altered:
            log.error("store.secret_altered", row=row)


class _Kept(Struct, frozen=True):
    """A table that holds secrets."""

    table: Table
    content: Column[Any]
    keys: tuple[Column[Any], ...]
    cursor: Column[Any]
    """Unique, and walked by."""
    where: ColumnElement[bool]


class _Row(Struct, frozen=True):
    kept: _Kept
    cursor: object
    place: Place
    content: bytes

    def holds_secret(self) -> bool:
        return self.kept.table is not schema.destinations or has_secrets(self.content)


_d, _v = schema.destinations.c, schema.views.c
_KEPT = (
    _Kept(schema.destinations, _d.settings, (_d.id,), _d.id, true()),
    _Kept(
        schema.views,
        _v.document,
        (_v.kind, _v.business_product_id, _v.id),
        _v.number,
        _v.kind.in_(sorted(SEALED_VIEWS)),
    ),
)


def destination_place(id: str) -> Place:
    """Where the settings of a destination are sealed for."""
    return ("destinations", id)


def view_place(kind: ViewKind, business_product_id: str, id: str) -> Place:
    """Where the document of a view is sealed for."""
    return ("views", kind, business_product_id, id)


def standing(connection: Connection, secrets: Secrets) -> Standing:
    """Look at every row, and try to open it. The connection has no transaction begun, or one that may go on."""
    sealed: Counter[str] = Counter()
    clear = exposed = 0
    altered = []
    for row in _rows(connection):
        sealer = sealed_by(row.content)
        if sealer is None:
            clear += 1
            exposed += row.holds_secret()
            continue
        sealed[sealer] += 1
        if sealer in secrets.ids:
            try:
                secrets.open(row.place, row.content)
            except Altered:
                altered.append(" ".join(row.place))
    return Standing(secrets.ids, dict(sealed), clear, exposed, tuple(altered))


def reseal(
    connection: Connection,
    secrets: Secrets,
    *,
    only_clear: bool = False,
    progress: Callable[[int], None] = lambda done: None,
) -> int:
    """Seal every row (or what is in clear) by the first key; how many that changed. What others change meanwhile is
    left to them: they seal it themselves. Rows that were altered stay as they are."""
    changed = 0
    for done, row in enumerate(_rows(connection), 1):
        sealer = sealed_by(row.content)
        if sealer is None or not (only_clear or sealer == next(iter(secrets.ids), None)):
            changed += _sealed_anew(connection, secrets, row)
        progress(done)
    return changed


def count(connection: Connection) -> int:
    """How many rows there are to look at."""
    return sum(
        connection.execute(select(func.count()).select_from(kept.table).where(kept.where)).scalar_one()
        for kept in _KEPT
    )


def _sealed_anew(connection: Connection, secrets: Secrets, row: _Row) -> int:
    try:
        sealed = secrets.seal(row.place, secrets.open(row.place, row.content))
    except Altered:
        return 0
    kept = row.kept
    statement = (
        update(kept.table)
        .where(kept.cursor == bindparam("at"), kept.content == bindparam("before"))
        .values({kept.content.name: bindparam("sealed")})
    )
    values = {"at": row.cursor, "before": row.content, "sealed": sealed}
    return connection.execute(statement, values).rowcount


def _rows(connection: Connection) -> Iterator[_Row]:
    """All of them, so many at a time."""
    for kept in _KEPT:
        statement = select(kept.cursor, kept.content, *kept.keys).where(kept.where).order_by(kept.cursor)
        last: object = None
        while True:
            page = statement if last is None else statement.where(kept.cursor > last)
            rows = connection.execute(page.limit(_BATCH)).all()
            for cursor, content, *key in rows:
                yield _Row(kept, cursor, (str(kept.table.name), *key), content)
            if len(rows) < _BATCH:
                break
            last = rows[-1][0]
