"""Leases on one connection. Taking one is a write, so that it runs alone; what a lease is for is `pipeline`'s."""

from msgspec.structs import asdict, replace
from sqlalchemy import Connection, bindparam, select, update

from milepost.domain.instant import Instant
from milepost.sql import schema
from milepost.sql.statements import upsert
from milepost.store import Lease

_l = schema.leases.c
_FIELDS = (_l.name, _l.owner, _l.fence, _l.until, _l.label)
_BY_NAME = select(*_FIELDS).where(_l.name == bindparam("wanted"))
_FENCE = select(_l.fence).where(_l.name == bindparam("wanted"))


class SqlLeases:
    """`milepost.store.Leases` in one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def take(self, name: str, owner: str, label: str, now: Instant, until: Instant) -> Lease | None:
        row = self._connection.execute(_BY_NAME, {"wanted": name}).one_or_none()
        held = None if row is None else Lease(*row)
        if held is None:
            taken = Lease(name, owner, 1, until, label)
        elif held.owner == owner:
            taken = replace(held, until=until, label=label)
        elif held.until <= now:
            taken = Lease(name, owner, held.fence + 1, until, label)
        else:
            return None
        upsert(self._connection, schema.leases, [asdict(taken)], ("name",))
        return taken

    def give_up(self, name: str, owner: str) -> None:
        # The row stays: its fence must never be given to somebody else again.
        self._connection.execute(
            update(schema.leases)
            .where(_l.name == name, _l.owner == owner)
            .values(owner="", until=0, label="")
        )

    def holds(self, name: str, fence: int) -> bool:
        return self._connection.execute(_FENCE, {"wanted": name}).scalar() == fence

    def all(self) -> list[Lease]:
        return [Lease(*row) for row in self._connection.execute(select(*_FIELDS).order_by(_l.name)).all()]
