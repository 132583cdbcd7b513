"""Order of messages on one connection: of a sequence only the head is pending or held, the others are waiting.

A sequence is what one destination is told about one order. Every message of one is added as `waiting`, and whatever
may have freed a sequence promotes its next: so one that was added twice, dropped or removed leaves nobody waiting for
what never comes. A message that was asked for by hand may go beside its sequence's head.
"""

from collections.abc import Collection, Iterable
from typing import Any

from sqlalchemy import (
    ColumnElement,
    and_,
    bindparam,
    case,
    delete,
    exists,
    func,
    literal_column,
    select,
    update,
)

from milepost.domain.attempt import Replay
from milepost.sql import schema
from milepost.sql.destinations import UNSETTLED, SqlDestinations
from milepost.sql.statements import chunks, grouped

_m, _a = schema.messages.c, schema.attempts.c

Sequence = tuple[str, str]
"""(destination, sequence)."""

_IN_SEQUENCE = and_(_m.sequence != literal_column("''"), UNSETTLED)
_WAITING = _m.state == literal_column("'waiting'")
_FREE = (
    select(_m.sequence, func.min(_m.position))
    .where(
        _IN_SEQUENCE,
        _m.destination_id == bindparam("destination"),
        _m.sequence.in_(bindparam("sequences", expanding=True)),
    )
    .group_by(_m.sequence)
    .having(func.sum(case((_WAITING, 0), else_=1)) == 0)
)
"""Sequences in which something waits, and for nothing; with the position of the next."""
_next = schema.messages.alias("next")
_PROMOTE = (
    update(schema.messages)
    .where(
        _m.id
        == select(func.min(_next.c.id))
        .where(
            _next.c.destination_id == bindparam("destination"),
            _next.c.sequence == bindparam("of_sequence"),
            _next.c.position == bindparam("at_position"),
            _next.c.state == literal_column("'waiting'"),
        )
        .scalar_subquery()
    )
    .values(state=bindparam("become"))
)
_HAD_ARRIVED = exists().where(_a.message_id == _m.id, _a.outcome == "delivered")


class SqlSequences(SqlDestinations):
    """The part of `milepost.store.Attempts` that takes messages out of their order, and puts the next in."""

    def drop(self, positions: Collection[int], reason: str) -> int:
        dropped = 0
        for chunk in chunks(positions):
            dropped += self._drop(_m.position.in_(chunk), reason)
        return dropped

    def drop_outside(self, destination_id: str, business_product_ids: Collection[str], reason: str) -> int:
        within = exists().where(
            schema.records.c.position == _m.position,
            schema.records.c.business_product_id.in_(list(business_product_ids)),
        )
        return self._drop(and_(_m.destination_id == destination_id, ~within), reason)

    def drop_replay(self, replay: Replay, reason: str) -> int:
        of_it: list[ColumnElement[bool]] = [_m.destination_id == replay.destination_id]
        if replay.kind == "replay":
            of_it.append(_m.replay == replay.id)
        return self._drop(and_(*of_it), reason)

    def hold(self, positions: Collection[int]) -> None:
        for chunk in chunks(positions):
            self._connection.execute(
                update(schema.messages)
                .where(_m.position.in_(chunk), _m.state == "pending")
                .values(state="held")
            )

    def unhold(self, positions: Collection[int]) -> None:
        disabled = self._disabled()
        for chunk in chunks(positions):
            self._connection.execute(
                update(schema.messages)
                .where(_m.position.in_(chunk), _m.state == "held", _m.destination_id.not_in(disabled))
                .values(state="pending")
            )

    def forget(self, positions: Collection[int]) -> int:
        forgotten = 0
        for chunk in chunks(positions):
            about = _m.position.in_(chunk)
            left = self._sequences(about)
            ids = select(_m.id).where(about)
            self._connection.execute(delete(schema.attempts).where(_a.message_id.in_(ids)))
            forgotten += self._connection.execute(delete(schema.messages).where(about)).rowcount
            self._promote(left)
        return forgotten

    def _drop(self, which: ColumnElement[bool], reason: str) -> int:
        """What had arrived, and a replay or somebody by hand made pending again, goes back to what it was."""
        left = self._sequences(which)
        changed = self._connection.execute(
            update(schema.messages)
            .where(which, UNSETTLED)
            .values(state=case((_HAD_ARRIVED, "delivered"), else_="dropped"), reason=reason)
        )
        self._promote(left)
        return changed.rowcount

    def _sequences(self, which: ColumnElement[bool]) -> list[Sequence]:
        rows = self._connection.execute(
            select(_m.destination_id, _m.sequence).where(which, _IN_SEQUENCE).distinct()
        )
        return [(destination, sequence) for destination, sequence in rows.all()]

    def _promote(self, sequences: Iterable[Sequence]) -> None:
        """The next of each of these that has no head becomes that."""
        promoted: list[dict[str, Any]] = []
        for destination, names in grouped(sequences):
            found = self._connection.execute(_FREE, {"destination": destination, "sequences": names}).all()
            promoted.extend(
                {"destination": destination, "of_sequence": sequence, "at_position": position}
                for sequence, position in found
            )
        if promoted:
            disabled = self._disabled()
            rows = [{**p, "become": "held" if p["destination"] in disabled else "pending"} for p in promoted]
            self._connection.execute(_PROMOTE, rows)
