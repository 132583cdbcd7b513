"""Destinations, messages and every attempt to send one, on one connection. When to try again is `retry`'s."""

from collections.abc import Collection, Sequence
from typing import Any

from msgspec.structs import replace
from sqlalchemy import Connection, Row, bindparam, delete, func, select, tuple_, update

from milepost.domain.attempt import Attempt, Destination, Message
from milepost.domain.instant import Instant
from milepost.sql import schema
from milepost.sql.statements import insert_new, pack, unpack_texts, upsert

_m, _a, _d = schema.messages.c, schema.attempts.c, schema.destinations.c
_READY = (
    select(schema.messages)
    .where(
        _m.state == "pending",
        _m.late == bindparam("late"),
        _m.ready_at <= bindparam("at"),
        _m.destination_id.not_in(bindparam("exclude", expanding=True)),
    )
    .order_by(_m.ready_at, _m.position, _m.id)
    .limit(bindparam("count"))
)
_NEXT = select(func.min(_m.ready_at)).where(_m.state == "pending", _m.late == bindparam("late"))
_CLAIM = (
    update(schema.messages)
    .where(_m.id == bindparam("claimed"))
    .values(fence=_m.fence + 1, lease_until=bindparam("lease"), ready_at=bindparam("ready"))
)
_ATTEMPT_FIELDS = (
    _a.message_id,
    _a.number,
    _a.started_at,
    _a.duration_ms,
    _a.outcome,
    _a.status,
    _a.error,
)


class SqlAttempts:
    """`milepost.store.Attempts` in one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def put_destination(self, destination: Destination) -> None:
        row = {
            "id": destination.id,
            "kind": destination.kind,
            "settings": destination.settings,
            "event_types": pack(destination.event_types),
            "business_product_id": destination.business_product_id,
            "enabled": destination.enabled,
        }
        upsert(self._connection, schema.destinations, [row], ("id",))

    def destinations(self, after: str, limit: int) -> list[Destination]:
        statement = select(schema.destinations).where(_d.id > after).order_by(_d.id).limit(limit)
        return [
            Destination(
                row.id,
                row.kind,
                row.settings,
                unpack_texts(row.event_types),
                row.business_product_id,
                row.enabled,
            )
            for row in self._connection.execute(statement).all()
        ]

    def remove_destination(self, id: str) -> None:
        """Forget a destination; its messages and attempts are a history and stay."""
        self._connection.execute(delete(schema.destinations).where(_d.id == id))

    def enqueue(self, messages: Sequence[Message]) -> None:
        rows = [{"id": m.id, "destination_id": m.destination_id, **_state(m)} for m in messages]
        insert_new(self._connection, schema.messages, rows)

    def claim(
        self, at: Instant, lease_until: Instant, limit: int, exclude: Collection[str] = ()
    ) -> list[Message]:
        """Take due messages that nobody holds: first tries ahead of late ones, then earliest."""
        rows: list[Row[*tuple[Any, ...]]] = []
        for late in (False, True):
            values = {"late": late, "at": at, "count": limit - len(rows), "exclude": list(exclude)}
            if len(rows) < limit:
                rows.extend(self._connection.execute(_READY, values).all())
        taken = [replace(m, lease_until=lease_until, fence=m.fence + 1) for m in map(_message, rows)]
        if taken:
            self._connection.execute(
                _CLAIM,
                [{"claimed": m.id, "lease": lease_until, "ready": max(m.due_at, lease_until)} for m in taken],
            )
        return taken

    def record(self, attempt: Attempt, message: Message) -> bool:
        """Keep an attempt and its message's new state; nothing at all when the fence is no longer the newest."""
        changed = self._connection.execute(
            update(schema.messages)
            .where(_m.id == message.id, _m.fence == message.fence)
            .values(**_state(message))
        )
        if changed.rowcount != 1:
            return False
        row = {
            "message_id": attempt.message_id,
            "number": attempt.number,
            "started_at": attempt.started_at,
            "duration_ms": attempt.duration_ms,
            "outcome": attempt.outcome,
            "status": attempt.status,
            "error": attempt.error,
        }
        upsert(self._connection, schema.attempts, [row], ("message_id", "number"))
        return True

    def next_due(self) -> Instant | None:
        times = [self._connection.execute(_NEXT, {"late": late}).scalar() for late in (False, True)]
        return min((time for time in times if time is not None), default=None)

    def message(self, id: str) -> Message | None:
        row = self._connection.execute(select(schema.messages).where(_m.id == id)).one_or_none()
        return None if row is None else _message(row)

    def attempts(
        self,
        after: tuple[int, int] | tuple[int, int, str],
        limit: int,
        message_id: str | None = None,
    ) -> list[Attempt]:
        key = tuple_(_a.started_at, _a.number, _a.message_id)
        if len(after) == 2:
            key = tuple_(_a.started_at, _a.number)
        statement = select(*_ATTEMPT_FIELDS).where(key > tuple_(*after))
        if message_id is not None:
            statement = statement.where(_a.message_id == message_id)
        ordered = statement.order_by(_a.started_at, _a.number, _a.message_id).limit(limit)
        return [Attempt(*row) for row in self._connection.execute(ordered).all()]

    def count(self) -> dict[str, int]:
        statement = select(_m.state, func.count()).group_by(_m.state)
        return dict(self._connection.execute(statement).all())


def _state(message: Message) -> dict[str, object]:
    return {
        "position": message.position,
        "state": message.state,
        "tries": message.tries,
        "due_at": message.due_at,
        "lease_until": message.lease_until,
        "fence": message.fence,
        "late": message.tries > 0,
        "ready_at": max(message.due_at, message.lease_until or message.due_at),
    }


def _message(row: Row[*tuple[Any, ...]]) -> Message:
    return Message(
        row.id,
        row.destination_id,
        row.position,
        row.state,
        row.tries,
        row.due_at,
        row.lease_until,
        row.fence,
    )
