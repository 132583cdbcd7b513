"""Messages, every attempt to send one, and breakers, on one connection. When to try again is `retry`'s."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from msgspec.structs import asdict, replace
from sqlalchemy import (
    Row,
    Select,
    bindparam,
    case,
    delete,
    false,
    func,
    literal_column,
    select,
    true,
    tuple_,
    update,
)

from milepost.domain.attempt import Attempt, Message, MessageState
from milepost.domain.breaker import Breaker, probed
from milepost.domain.instant import Instant
from milepost.sql import schema
from milepost.sql.claiming import next_ready, ready
from milepost.sql.destinations import UNSETTLED
from milepost.sql.replays import SqlReplays
from milepost.sql.sequences import SqlSequences
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
_KNOWN = select(_m.id, _m.fence, _m.state, _m.tries).where(_m.id.in_(bindparam("ids", expanding=True)))
_AGAIN_FIELDS = (*_STATE_FIELDS, "created_at", "replay", "earlier", "sequence", "reason")
_AGAIN = (
    update(schema.messages)
    .where(_m.id == bindparam("again"))
    .values({name: bindparam(f"new_{name}") for name in _AGAIN_FIELDS})
)
_UNSETTLED = ("pending", "waiting", "held")
RECENT = 500
"""Attempts of all, and messages of a destination, among which its last attempt is looked for."""
_BREAKERS = select(schema.breakers)
_ATTEMPTS = select(*(_a[name] for name in Attempt.__struct_fields__))


def _newest(attempt: Attempt) -> tuple[int, int, str]:
    return attempt.started_at, attempt.number, attempt.message_id


class SqlAttempts(SqlSequences, SqlReplays):
    """`milepost.store.Attempts` in one transaction."""

    def enqueue(self, messages: Sequence[Message]) -> None:
        if not messages:
            return
        disabled = self._disabled()
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
                "replay": m.replay,
                "earlier": m.earlier,
                "reason": m.reason,
                **_state(_in_line(m), disabled),
            }
            for m in messages
        ]
        insert_new(self._connection, schema.messages, rows)
        self._promote((m.destination_id, m.sequence) for m in messages if m.sequence)

    def again(self, messages: Sequence[Message]) -> None:
        known = self._known(m.id for m in messages)
        self.enqueue([m for m in messages if m.id not in known])
        settled = [m for m in messages if m.id in known and known[m.id].state not in _UNSETTLED]
        if not settled:
            return
        disabled = self._disabled()
        rows = []
        for message in settled:
            tries = known[message.id].tries
            begun = _in_line(replace(message, tries=tries, earlier=tries))
            values = {name: getattr(begun, name) for name in _AGAIN_FIELDS if hasattr(begun, name)}
            values |= _state(begun, disabled)
            rows.append({"again": message.id, **{f"new_{name}": value for name, value in values.items()}})
        self._connection.execute(_AGAIN, rows)
        self._promote((m.destination_id, m.sequence) for m in settled if m.sequence)

    def claim(
        self,
        at: Instant,
        lease_until: Instant,
        limit: int,
        *,
        share: int,
        room: Mapping[str, int],
        paced: Mapping[str, int] | None = None,
    ) -> list[Message]:
        breakers = self.breakers()
        rows, probing = ready(self._connection, at, limit, share, room, paced or {}, breakers)
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
        known = self._known(message.id for _, message in results)
        held = [m.id in known and known[m.id].fence == m.fence for _, m in results]
        kept = [result for result, good in zip(results, held, strict=True) if good]
        if kept:
            disabled = self._disabled()
            rows = [
                {"settled": m.id, **{f"new_{name}": value for name, value in _state(m, disabled).items()}}
                for m in (_meanwhile(m, known[m.id].state) for _, m in kept)
            ]
            self._connection.execute(_SETTLE, rows)
            attempts = [attempt for attempt, _ in kept]
            upsert(self._connection, schema.attempts, [asdict(a) for a in attempts], ("message_id", "number"))
            self._learn(attempts, [m.destination_id for _, m in kept])
            self._promote((m.destination_id, m.sequence) for _, m in kept if m.sequence)
        return held

    def _known(self, ids: Iterable[str]) -> dict[str, Row[*tuple[Any, ...]]]:
        """(fence, state, tries) of those that are there, by id."""
        found: dict[str, Row[*tuple[Any, ...]]] = {}
        for chunk in chunks(ids):
            found.update((row.id, row) for row in self._connection.execute(_KNOWN, {"ids": chunk}))
        return found

    def next_due(self, resting: Mapping[str, Instant] | None = None) -> Instant | None:
        return next_ready(self._connection, self.breakers(), resting or {})

    def backlog(self, destination_id: str, most: int) -> int:
        own: Select[*tuple[Any, ...]] = select(_m.id).where(_m.destination_id == destination_id)
        # Each by the index that has it: what is pending, and what of a sequence is not settled.
        ways = (
            own.where(_m.state == literal_column("'pending'"), _m.late == false()),
            own.where(_m.state == literal_column("'pending'"), _m.late == true()),
            own.where(_m.sequence != literal_column("''"), _m.sequence > literal_column("''"), UNSETTLED),
        )
        counted = [
            self._connection.execute(
                select(func.count()).select_from(way.limit(most).subquery())
            ).scalar_one()
            for way in ways
        ]
        return min(most, max(counted[0] + counted[1], counted[2]))

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
        return next(iter(self.recent_attempts(destination_id, 1)), None)

    def recent_attempts(self, destination_id: str, limit: int) -> list[Attempt]:
        # One that was tried of late is among the newest of all; of one that was not, its newest messages are.
        newest = (_a.started_at.desc(), _a.number.desc(), _a.message_id.desc())
        recent = select(schema.attempts).order_by(*newest).limit(RECENT).subquery()
        late = (
            select(_m.id)
            .where(_m.destination_id == destination_id, _m.tries > 0)
            .order_by(_m.position.desc())
            .limit(RECENT)
        )
        r = recent.c
        ways: tuple[Select[*tuple[Any, ...]], ...] = (
            select(*(r[name] for name in Attempt.__struct_fields__))
            .join(schema.messages, _m.id == r.message_id)
            .where(_m.destination_id == destination_id)
            .order_by(r.started_at.desc(), r.number.desc(), r.message_id.desc()),
            _ATTEMPTS.where(_a.message_id.in_(late)).order_by(*newest),
        )
        found: dict[tuple[str, int], Attempt] = {}
        for way in ways:
            rows = [Attempt(*row) for row in self._connection.execute(way.limit(limit)).all()]
            found.update({(attempt.message_id, attempt.number): attempt for attempt in rows})
            if len(rows) == limit:
                break
        return sorted(found.values(), key=_newest, reverse=True)[:limit]

    def delivered(self, ids: Collection[str]) -> set[str]:
        return {row.id for row in self._known(ids).values() if row.state == "delivered"}

    def unsettled(self, positions: Collection[int]) -> set[int]:
        found: set[int] = set()
        for chunk in chunks(positions):
            statement = select(_m.position).where(_m.position.in_(chunk), UNSETTLED)
            found.update(self._connection.execute(statement).scalars())
        return found

    def count(self, destination_id: str | None = None, *, position: int | None = None) -> dict[str, int]:
        statement = select(_m.state, func.count()).group_by(_m.state)
        if destination_id is not None:
            statement = statement.where(_m.destination_id == destination_id)
        if position is not None:
            statement = statement.where(_m.position == position)
        return dict(self._connection.execute(statement).all())


def _in_line(message: Message) -> Message:
    """One of a sequence waits until it is promoted."""
    return replace(message, state="waiting") if message.sequence and message.state == "pending" else message


def _meanwhile(message: Message, state: MessageState) -> Message:
    """After an attempt, when its message was in this state by then."""
    if state in ("dropped", "delivered") and message.state != "delivered":
        return replace(message, state=state)
    return replace(message, state="held") if state == "held" and message.state == "pending" else message


def _state(message: Message, disabled: set[str]) -> dict[str, object]:
    state = message.state
    if state == "pending" and message.destination_id in disabled:
        state = "held"
    return {
        "state": state,
        "tries": message.tries,
        "due_at": message.due_at,
        "lease_until": message.lease_until,
        "late": message.tries > message.earlier and not message.manual,
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
        row.replay,
        row.earlier,
        row.reason,
    )
