"""The audit log on one connection: rows are added, and read the newest first."""

from collections.abc import Collection
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, func, select

from milepost.domain.audit_entry import AuditEntry
from milepost.domain.instant import Instant
from milepost.sql import schema
from milepost.sql.statements import aside, visible

_a = schema.audit.c
_NEWEST = 2**63 - 1


class SqlAudit:
    """`milepost.store.Audit` in one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, entry: AuditEntry) -> None:
        row = {
            "at": entry.at,
            "actor": entry.actor,
            "action": entry.action,
            "subject": entry.subject,
            "business_product_id": entry.business_product_id,
            "details": msgspec.json.encode(dict(entry.details)).decode() if entry.details else "",
        }
        self._connection.execute(schema.audit.insert(), row)

    def actions(self, limit: int) -> list[str]:
        # One step of the index an action, however many entries each has.
        found: list[str] = []
        while len(found) < limit:
            beyond = select(func.min(_a.action)).where(_a.action > (found[-1] if found else ""))
            action = self._connection.execute(beyond).scalar()
            if action is None:
                break
            found.append(action)
        return found

    def page(
        self,
        beyond: int,
        limit: int,
        business_products: Collection[str] | None,
        actor: str | None = None,
        action: str | None = None,
        *,
        newest_first: bool = False,
    ) -> list[tuple[int, AuditEntry]]:
        there = _a.number < (beyond or _NEWEST) if newest_first else _a.number > beyond
        product: ColumnElement[str] = _a.business_product_id
        if business_products is not None and len(business_products) > 1:
            # By the index of one after the other, all that there are would have to be sorted.
            product = aside(self._connection, product)
        wanted = [there, visible(product, business_products)]
        if actor is not None:
            wanted.append(_a.actor == actor)
        if action is not None:
            wanted.append(_a.action == action)
        order = _a.number.desc() if newest_first else _a.number
        statement = select(schema.audit).where(*wanted).order_by(order).limit(limit)
        return [(row.number, _entry(row)) for row in self._connection.execute(statement).all()]


def _entry(row: Row[*tuple[Any, ...]]) -> AuditEntry:
    details = msgspec.json.decode(row.details, type=dict[str, str]) if row.details else {}
    return AuditEntry(Instant(row.at), row.actor, row.action, row.subject, row.business_product_id, details)
