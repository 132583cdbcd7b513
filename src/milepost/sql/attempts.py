"""Messages, every attempt to send one, and breakers, on one connection. When to try again is `retry`'s."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from msgspec.structs import asdict, replace
from sqlalchemy import Row, bindparam, case, delete, func, select, true, tuple_, update

from milepost.domain.attempt import Attempt, Message, MessageState
from milepost.domain.breaker import Breaker, probed
from milepost.domain.instant import Instant
from milepost.sql import schema
from milepost.sql.claiming import next_ready, ready
from milepost.sql.destinations import SqlDestinations
from milepost.sql.statements import chunks, insert_new, upsert

_m, _a, _b = schema.messages.c, schema.attempts.c, schema.breakers.c
_CLAIM = (
    update(schema.messages)
    .where(_m.id == bindparam("claimed"))
    .values(fence=_m.fence + 1, lease_until=bindparam("lease"), ready_at=bindparam("ready"))
)
_RELEASE = (
    update(schema.messages)
    .where(_m.id == bindparam("claimed"), _m.fence == bindparam("held_by"))
    .values(lease_until=None, ready_at=bindparam("ready"))
)
_RELEASE_ALL = (
    update(schema.messages)
    .where(_m.state.in_(("pending", "held")), _m.lease_until.is_not(None))
    .values(
        lease_until=None,
        fence=_m.fence + 1,
        ready_at=case((_m.manual == true(), 0), else_=_m.due_at),
    )
)
_LOSE_PROBES = update(schema.breakers).where(_b.state == "halfOpen").values(until=0)
_STATE_FIELDS = ("state", "tries", "due_at", "lease_until", "late", "ready_at", "manual")
_SETTLE = (
    update(schema.messages)
    .where(_m.id == bindparam("settled"))
    .values({name: bindparam(f"new_{name}") for name in _STATE_FIELDS})
)
_FENCES = select(_m.id, _m.fence).where(_m.id.in_(bindparam("ids", expanding=True)))
_BREAKERS = select(schema.breakers)
_ATTEMPTS = select(*(_a[name] for name in Attempt.__struct_fields__))


class SqlAttempts(SqlDestinations):
    """`milepost.store.Attempts` in one transaction."""

    def enqueue(self, messages: Sequence[Message]) -> None:
        disabled = self._disabled() if messages else set()
        rows = [
            {
                "id": m.id,
                "destination_id": m.destination_id,
                "position": m.position,
                "fence": m.fence,
                "form": m.form,
                "created_at": m.created_at,
                "sequence": m.sequence,
                "origin": m.origin,
                **_state(m, disabled),
            }
            for m in messages
        ]
        insert_new(self._connection, schema.messages, rows)

    def claim(
        self,
        at: Instant,
        lease_until: Instant,
        limit: int,
        *,
        share: int,
        room: Mapping[str, int],
    ) -> list[Message]:
        breakers = self.breakers()
        rows, probing = ready(self._connection, at, limit, share, room, breakers)
        claimed = [replace(m, lease_until=lease_until, fence=m.fence + 1) for m in map(_message, rows)]
        if claimed:
            self._connection.execute(
                _CLAIM,
                [
                    {"claimed": m.id, "lease": lease_until, "ready": max(m.due_at, lease_until)}
                    for m in claimed
                ],
            )
        self.put_breakers([probed(breakers[lane], lease_until) for lane in sorted(probing)])
        return claimed

    def release(self, messages: Sequence[Message]) -> None:
        if messages:
            rows = [{"claimed": m.id, "held_by": m.fence, "ready": _ready_at(m, None)} for m in messages]
            self._connection.execute(_RELEASE, rows)

    def release_all(self) -> None:
        self._connection.execute(_RELEASE_ALL)
        self._connection.execute(_LOSE_PROBES)

    def record(self, results: Sequence[tuple[Attempt, Message]]) -> list[bool]:
        fences: dict[str, int] = {}
        for ids in chunks(message.id for _, message in results):
            fences.update((row.id, row.fence) for row in self._connection.execute(_FENCES, {"ids": ids}))
        held = [fences.get(message.id) == message.fence for _, message in results]
        kept = [result for result, good in zip(results, held, strict=True) if good]
        if kept:
            disabled = self._disabled()
            rows = [
                {"settled": m.id, **{f"new_{name}": value for name, value in _state(m, disabled).items()}}
                for _, m in kept
            ]
            self._connection.execute(_SETTLE, rows)
            attempts = [asdict(attempt) for attempt, _ in kept]
            upsert(self._connection, schema.attempts, attempts, ("message_id", "number"))
        return held

    def next_due(self) -> Instant | None:
        return next_ready(self._connection, self.breakers())

    def breakers(self) -> dict[str, Breaker]:
        return {row.lane: Breaker(*row) for row in self._connection.execute(_BREAKERS).all()}

    def put_breakers(self, breakers: Sequence[Breaker]) -> None:
        upsert(self._connection, schema.breakers, [asdict(b) for b in breakers if not b.is_plain], ("lane",))
        for plain in chunks(b.lane for b in breakers if b.is_plain):
            self._connection.execute(delete(schema.breakers).where(_b.lane.in_(plain)))

    def message(self, id: str) -> Message | None:
        row = self._connection.execute(select(schema.messages).where(_m.id == id)).one_or_none()
        return None if row is None else _message(row)

    def messages(
        self,
        after: tuple[int, str] | None,
        limit: int,
        *,
        position: int | None = None,
        destination_id: str | None = None,
        state: MessageState | None = None,
    ) -> list[Message]:
        statement = select(schema.messages)
        if after is not None:
            # The first condition is what an index can be entered by.
            statement = statement.where(_m.position >= after[0], tuple_(_m.position, _m.id) > tuple_(*after))
        wanted = ((_m.position, position), (_m.destination_id, destination_id), (_m.state, state))
        for column, value in wanted:
            if value is not None:
                statement = statement.where(column == value)
        rows = self._connection.execute(statement.order_by(_m.position, _m.id).limit(limit)).all()
        return [_message(row) for row in rows]

    def resend(self, id: str, at: Instant) -> Message | None:
        found = self.message(id)
        if found is None:
            return None
        again = replace(
            found, state="pending", due_at=at, lease_until=None, fence=found.fence + 1, manual=True
        )
        values = {**_state(again, self._disabled()), "fence": again.fence}
        self._connection.execute(update(schema.messages).where(_m.id == id).values(values))
        destination = self.destination(found.destination_id)
        breaker = None if destination is None else self.breakers().get(destination.lane)
        if breaker is not None and breaker.state != "closed":
            self.put_breakers([replace(breaker, until=min(breaker.until, at))])
        return self.message(id)

    def attempts(
        self,
        after: tuple[int, int] | tuple[int, int, str],
        limit: int,
        message_id: str | None = None,
    ) -> list[Attempt]:
        key = tuple_(_a.started_at, _a.number, _a.message_id)
        if len(after) == 2:
            key = tuple_(_a.started_at, _a.number)
        statement = _ATTEMPTS.where(key > tuple_(*after))
        if message_id is not None:
            statement = statement.where(_a.message_id == message_id)
        ordered = statement.order_by(_a.started_at, _a.number, _a.message_id).limit(limit)
        return [Attempt(*row) for row in self._connection.execute(ordered).all()]

    def last_attempt(self, destination_id: str) -> Attempt | None:
        statement = (
            _ATTEMPTS.join(schema.messages, _m.id == _a.message_id)
            .where(_m.destination_id == destination_id)
            .order_by(_a.started_at.desc(), _a.number.desc(), _a.message_id.desc())
            .limit(1)
        )
        row = self._connection.execute(statement).one_or_none()
        return None if row is None else Attempt(*row)

    def unsettled(self, positions: Collection[int]) -> set[int]:
        found: set[int] = set()
        for chunk in chunks(positions):
            statement = select(_m.position).where(_m.position.in_(chunk), _m.state.in_(("pending", "held")))
            found.update(self._connection.execute(statement).scalars())
        return found

    def forget(self, positions: Collection[int]) -> int:
        forgotten = 0
        for chunk in chunks(positions):
            about = _m.position.in_(chunk)
            ids = select(_m.id).where(about)
            self._connection.execute(delete(schema.attempts).where(_a.message_id.in_(ids)))
            forgotten += self._connection.execute(delete(schema.messages).where(about)).rowcount
        return forgotten

    def count(self, destination_id: str | None = None) -> dict[str, int]:
        statement = select(_m.state, func.count()).group_by(_m.state)
        if destination_id is not None:
            statement = statement.where(_m.destination_id == destination_id)
        return dict(self._connection.execute(statement).all())


def _state(message: Message, disabled: set[str]) -> dict[str, object]:
    state = message.state
    if state in ("pending", "held"):
        state = "held" if message.destination_id in disabled else "pending"
    return {
        "state": state,
        "tries": message.tries,
        "due_at": message.due_at,
        "lease_until": message.lease_until,
        "late": message.tries > 0 and not message.manual,
        "ready_at": _ready_at(message, message.lease_until),
        "manual": message.manual,
    }


def _ready_at(message: Message, lease_until: Instant | None) -> int:
    """What was asked for by hand goes ahead of everything else that is due."""
    return max(0 if message.manual else message.due_at, lease_until or 0)


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
        row.form,
        row.created_at,
        row.manual,
        row.sequence,
        row.origin,
    )
