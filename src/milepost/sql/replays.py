"""Replays on one connection: which there are and how far each is. What they send is `attempts`'."""

from msgspec.structs import asdict
from sqlalchemy import ColumnElement, Connection, literal_column, select

from milepost.domain.attempt import Replay, ReplayState
from milepost.sql import schema
from milepost.sql.statements import upsert

_r = schema.replays.c
_REPLAYS = select(*(_r[name] for name in Replay.__struct_fields__))
# As a literal, by which SQLite knows that the partial index fits: this is asked all the time.
_RUNNING: ColumnElement[bool] = _r.state == literal_column("'running'")


class SqlReplays:
    """The part of `milepost.store.Attempts` that is about replays."""

    _connection: Connection

    def put_replay(self, replay: Replay) -> None:
        upsert(self._connection, schema.replays, [asdict(replay)], ("id",))

    def replay(self, id: str) -> Replay | None:
        row = self._connection.execute(_REPLAYS.where(_r.id == id)).one_or_none()
        return None if row is None else Replay(*row)

    def replays(
        self, after: str, limit: int, *, destination_id: str | None = None, state: ReplayState | None = None
    ) -> list[Replay]:
        statement = _REPLAYS.where(_r.id > after)
        if destination_id is not None:
            statement = statement.where(_r.destination_id == destination_id)
        if state is not None:
            statement = statement.where(_RUNNING if state == "running" else _r.state == state)
        rows = self._connection.execute(statement.order_by(_r.id).limit(limit)).all()
        return [Replay(*row) for row in rows]

    def newest_replays(self, destination_id: str, limit: int) -> list[Replay]:
        statement = _REPLAYS.where(_r.destination_id == destination_id).order_by(_r.id.desc()).limit(limit)
        return [Replay(*row) for row in self._connection.execute(statement).all()]
