"""Destinations on one connection, and what enabling or disabling one means for its messages."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, Row, delete, false, func, select, update

from milepost.domain.attempt import Destination
from milepost.sql import schema
from milepost.sql.statements import chunks, pack, unpack_texts, upsert

_d, _m, _b = schema.destinations.c, schema.messages.c, schema.breakers.c
_ALL = select(schema.destinations)
_DISABLED = select(_d.id).where(_d.enabled == false())


class SqlDestinations:
    """The part of `milepost.store.Attempts` that is about destinations."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def destinations_version(self) -> tuple[int, int]:
        statement = select(func.count(), func.coalesce(func.max(_d.version), 0)).select_from(
            schema.destinations
        )
        count, newest = self._connection.execute(statement).one()
        return count, newest

    def _next_version(self) -> int:
        return self.destinations_version()[1] + 1

    def put_destination(self, destination: Destination) -> None:
        row = {
            "id": destination.id,
            "kind": destination.kind,
            "settings": destination.settings,
            "event_types": pack(destination.event_types),
            "business_product_id": destination.business_product_id,
            "enabled": destination.enabled,
            "endpoint": destination.endpoint,
            "reason": destination.reason,
            "name": destination.name,
            "form": destination.form,
            "filter": destination.filter,
            "ordered": destination.ordered,
            "rate": destination.rate,
            "after": destination.after,
            "failing_since": destination.failing_since,
            "created_at": destination.created_at,
            "version": self._next_version(),
        }
        before = self.destination(destination.id)
        upsert(self._connection, schema.destinations, [row], ("id",))
        self._move(destination.id, destination.enabled)
        if before is not None and before.lane != destination.lane:
            self._leave(before.lane)

    def destination(self, id: str) -> Destination | None:
        return self.destinations_of([id]).get(id)

    def destinations(self, after: str, limit: int) -> list[Destination]:
        statement = _ALL.where(_d.id > after).order_by(_d.id).limit(limit)
        return [_destination(row) for row in self._connection.execute(statement).all()]

    def destinations_of(self, ids: Collection[str]) -> dict[str, Destination]:
        found: dict[str, Destination] = {}
        for chunk in chunks(sorted(ids)):
            rows = self._connection.execute(_ALL.where(_d.id.in_(chunk))).all()
            found.update((row.id, _destination(row)) for row in rows)
        return found

    def remove_destination(self, id: str) -> None:
        """Forget a destination; its messages and attempts are a history and stay."""
        before = self.destination(id)
        self._connection.execute(delete(schema.destinations).where(_d.id == id))
        if before is not None:
            self._leave(before.lane)

    def disable(self, id: str, reason: str) -> bool:
        return self._set(id, enabled=False, reason=reason)

    def enable(self, id: str) -> bool:
        return self._set(id, enabled=True, reason="")

    def _set(self, id: str, *, enabled: bool, reason: str) -> bool:
        changed = self._connection.execute(
            update(schema.destinations)
            .where(_d.id == id)
            .values(enabled=enabled, reason=reason, version=self._next_version())
        )
        if changed.rowcount:
            self._move(id, enabled)
        return bool(changed.rowcount)

    def _move(self, id: str, enabled: bool) -> None:
        """Its messages between `held` and `pending`."""
        before, after = ("held", "pending") if enabled else ("pending", "held")
        self._connection.execute(
            update(schema.messages).where(_m.destination_id == id, _m.state == before).values(state=after)
        )

    def _leave(self, lane: str) -> None:
        """Forget the breaker of a lane that no destination has part in any more."""
        others = select(_d.id).where(func.coalesce(func.nullif(_d.endpoint, ""), _d.id) == lane)
        self._connection.execute(delete(schema.breakers).where(_b.lane == lane, ~others.exists()))

    def _disabled(self) -> set[str]:
        return set(self._connection.execute(_DISABLED).scalars())


def _destination(row: Row[*tuple[Any, ...]]) -> Destination:
    return Destination(
        row.id,
        row.kind,
        row.settings,
        unpack_texts(row.event_types),
        row.business_product_id,
        row.enabled,
        row.endpoint,
        row.reason,
        row.name,
        row.form,
        row.filter,
        row.ordered,
        row.rate,
        row.after,
        row.failing_since,
        row.created_at,
    )
