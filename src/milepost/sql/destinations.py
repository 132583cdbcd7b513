"""Destinations on one connection, and what enabling or disabling one means for its messages."""

from collections.abc import Collection, Iterable
from typing import Any

import structlog
from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    bindparam,
    delete,
    false,
    func,
    literal_column,
    select,
    update,
)

from milepost.domain.attempt import Attempt, Destination
from milepost.domain.instant import Instant
from milepost.domain.webhook_settings import has_secrets
from milepost.sql import schema
from milepost.sql.sealed_rows import destination_place
from milepost.sql.secrets import Altered, Secrets
from milepost.sql.statements import chunks, pack, unpack_texts, upsert

log = structlog.get_logger()

_NOTHING = b'{"url":"","bus":"","region":"","source":""}'
"""Settings of either kind that lead nowhere."""
_d, _m, _b, _r = schema.destinations.c, schema.messages.c, schema.breakers.c, schema.replays.c
_ALL = select(schema.destinations)
# SQLite uses a partial index only where the statement itself, not a bound value, repeats its condition.
UNSETTLED: ColumnElement[bool] = _m.state.in_(
    [literal_column(f"'{s}'") for s in ("pending", "waiting", "held")]
)
_DISABLED = select(_d.id).where(_d.enabled == false())

_COUNTER = "destinations"
"""Counts changes among the checkpoints, since what was removed leaves nothing behind that says so."""
_CHANGES = (
    select(schema.checkpoints.c.position).where(schema.checkpoints.c.consumer == _COUNTER).scalar_subquery()
)
_VERSION = select(select(func.count()).select_from(schema.destinations).scalar_subquery(), _CHANGES)
_RECOVERED = (
    update(schema.destinations)
    .where(_d.id.in_(bindparam("ids", expanding=True)), _d.failing_since.is_not(None))
    .values(failing_since=None)
)
_FAILING = (
    update(schema.destinations)
    .where(_d.id == bindparam("failing"), _d.failing_since.is_(None))
    .values(failing_since=bindparam("since"))
)


class SqlDestinations:
    """The part of `milepost.store.Attempts` that is about destinations."""

    def __init__(self, connection: Connection, secrets: Secrets) -> None:
        self._connection = connection
        self._secrets = secrets

    def destinations_version(self) -> tuple[int, int]:
        count, changes = self._connection.execute(_VERSION).one()
        return count, changes or 0

    def _changed(self) -> None:
        """One more change."""
        changes = (self._connection.execute(select(_CHANGES)).scalar() or 0) + 1
        row = {"consumer": _COUNTER, "position": changes}
        upsert(self._connection, schema.checkpoints, [row], ("consumer",))

    def put_destination(self, destination: Destination) -> None:
        self._changed()
        before, settings = self.destination(destination.id), destination.settings
        # Without a key what lies in clear may stay so; nothing new is added to it.
        new = before is None or before.settings != settings
        sealed = self._secrets.seal(
            destination_place(destination.id), settings, secret=new and has_secrets(settings)
        )
        row = {
            "id": destination.id,
            "kind": destination.kind,
            "settings": sealed,
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
        }
        upsert(self._connection, schema.destinations, [row], ("id",))
        if before is None or before.enabled != destination.enabled:
            self._move(destination.id, destination.enabled)
        if before is not None and before.lane != destination.lane:
            self._leave(before.lane)

    def destination(self, id: str) -> Destination | None:
        return self.destinations_of([id]).get(id)

    def destinations(self, after: str, limit: int) -> list[Destination]:
        statement = _ALL.where(_d.id > after).order_by(_d.id).limit(limit)
        # Row by row: what is sealed and what was opened of it are not held for all of them at once.
        return [self._destination(row) for row in self._connection.execute(statement)]

    def destinations_of(self, ids: Collection[str]) -> dict[str, Destination]:
        found: dict[str, Destination] = {}
        for chunk in chunks(sorted(ids)):
            rows = self._connection.execute(_ALL.where(_d.id.in_(chunk))).all()
            found.update((row.id, self._destination(row)) for row in rows)
        return found

    def remove_destination(self, id: str, at: Instant | None = None) -> None:
        """Forget a destination; its messages and attempts are a history and stay."""
        before = self.destination(id)
        self._changed()
        self._connection.execute(delete(schema.destinations).where(_d.id == id))
        # What is pending is found to be for nobody when it is to be sent; nobody would ever look at these.
        self._connection.execute(
            update(schema.messages)
            .where(_m.destination_id == id, UNSETTLED, _m.state.in_(("held", "waiting")))
            .values(state="dropped", reason="the destination was removed")
        )
        self._connection.execute(
            update(schema.replays)
            .where(_r.destination_id == id, _r.state == "running")
            .values(state="cancelled", ended_at=at)
        )
        if before is not None:
            self._leave(before.lane)

    def disable(self, id: str, reason: str) -> bool:
        return self._set(id, enabled=False, reason=reason)

    def enable(self, id: str) -> bool:
        return self._set(id, enabled=True, reason="", failing_since=None)

    def _set(self, id: str, *, enabled: bool, **more: object) -> bool:
        before = self._connection.execute(select(_d.enabled).where(_d.id == id)).scalar()
        self._changed()
        changed = self._connection.execute(
            update(schema.destinations).where(_d.id == id).values(enabled=enabled, **more)
        )
        if before is not None and before != enabled:
            self._move(id, enabled)
        return bool(changed.rowcount)

    def _move(self, id: str, enabled: bool) -> None:
        """Its messages between `held` and `pending`."""
        before, after = ("held", "pending") if enabled else ("pending", "held")
        self._connection.execute(
            update(schema.messages)
            .where(_m.destination_id == id, UNSETTLED, _m.state == before)
            .values(state=after)
        )

    def _learn(self, results: Iterable[Attempt], destinations: Iterable[str]) -> None:
        """Since when destinations have been failing, from attempts and their destinations. That is no change by
        which anybody is matched anew."""
        since: dict[str, Instant | None] = {}
        arrived: set[str] = set()
        for attempt, destination in sorted(
            zip(results, destinations, strict=True), key=lambda pair: pair[0].started_at
        ):
            if attempt.outcome == "delivered":
                since[destination] = None
                arrived.add(destination)
            elif since.get(destination) is None:
                since[destination] = attempt.started_at
        if arrived:
            self._connection.execute(_RECOVERED, {"ids": sorted(arrived)})
        failing = [{"failing": one, "since": at} for one, at in since.items() if at is not None]
        if failing:
            self._connection.execute(_FAILING, failing)

    def _leave(self, lane: str) -> None:
        """Forget the breaker of a lane that no destination has part in any more."""
        others = select(_d.id).where(func.coalesce(func.nullif(_d.endpoint, ""), _d.id) == lane)
        self._connection.execute(delete(schema.breakers).where(_b.lane == lane, ~others.exists()))

    def _disabled(self) -> set[str]:
        return set(self._connection.execute(_DISABLED).scalars())

    def _destination(self, row: Row[*tuple[Any, ...]]) -> Destination:
        return Destination(
            row.id,
            row.kind,
            self._opened(row.id, row.settings),
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

    def _opened(self, id: str, settings: bytes) -> bytes:
        """Its settings. By those that somebody altered nothing can be sent; everybody else goes on."""
        try:
            return self._secrets.open(destination_place(id), settings)
        except Altered as e:
            log.error("store.secret_altered", destination=id, error=str(e))
            return _NOTHING
