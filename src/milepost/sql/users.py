"""Users of the console on one connection, with their sessions, one-time links and tries to sign in."""

from collections.abc import Collection
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, Table, and_, bindparam, delete, or_, select, update

from milepost.domain.errors import Conflict
from milepost.domain.instant import Instant
from milepost.domain.lockout import FORGOTTEN_AFTER, Tries
from milepost.domain.session import ABSOLUTE, IDLE, Session
from milepost.domain.user import LIFETIMES, Invitation, User, folded
from milepost.sql import schema
from milepost.sql.statements import chunks, upsert

_u, _s, _i, _t = schema.users.c, schema.sessions.c, schema.invitations.c, schema.tries.c
_SESSION = (
    select(schema.sessions, _u.document)
    .join(schema.users, _u.id == _s.user_id)
    .where(_s.hash == bindparam("wanted"))
)
_decode = msgspec.json.Decoder(User).decode


class SqlUsers:
    """`milepost.store.Users` in one transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def put(self, user: User) -> None:
        name = folded(user.sign_in_name)
        held = select(_u.id).where(_u.folded == name, _u.id != user.id)
        if self._connection.execute(held).first() is not None:
            raise Conflict("Somebody has this sign-in name already.", field="signInName")
        row = {
            "id": user.id,
            "folded": name,
            "document": msgspec.json.encode(user),
            "disabled_at": user.disabled_at,
        }
        upsert(self._connection, schema.users, [row], ("id",))

    def get(self, id: str) -> User | None:
        document = self._connection.execute(select(_u.document).where(_u.id == id)).scalar_one_or_none()
        return None if document is None else _decode(document)

    def by_sign_in_name(self, folded: str) -> User | None:
        statement = select(_u.document).where(_u.folded == folded)
        document = self._connection.execute(statement).scalar_one_or_none()
        return None if document is None else _decode(document)

    def page(self, after: str, limit: int) -> list[User]:
        statement = select(_u.document).where(_u.id > after).order_by(_u.id).limit(limit)
        return [_decode(document) for document in self._connection.execute(statement).scalars()]

    def named(self, ids: Collection[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        for chunk in chunks(sorted(ids)):
            statement = select(_u.document).where(_u.id.in_(chunk))
            users = map(_decode, self._connection.execute(statement).scalars())
            found.update({user.id: user.name for user in users})
        return found

    def any(self) -> bool:
        return self._connection.execute(select(_u.id).limit(1)).first() is not None

    def is_admin_besides(self, id: str) -> bool:
        statement = select(_u.document).where(_u.id != id, _u.disabled_at.is_(None))
        users = map(_decode, self._connection.execute(statement).scalars())
        return any(
            user.role == "admin" and user.state == "active" and not user.business_products for user in users
        )

    def put_session(self, session: Session) -> None:
        self._connection.execute(schema.sessions.insert(), msgspec.structs.asdict(session))

    def session(self, hash: bytes) -> tuple[Session, User] | None:
        row = self._connection.execute(_SESSION, {"wanted": hash}).one_or_none()
        return None if row is None else (_session(row), _decode(row.document))

    def sessions(self, user_id: str, limit: int) -> list[Session]:
        mine = select(schema.sessions).where(_s.user_id == user_id)
        newest = mine.order_by(_s.seen_at.desc(), _s.hash.desc()).limit(limit)
        return [_session(row) for row in self._connection.execute(newest).all()]

    def note_seen(self, hash: bytes, at: Instant) -> None:
        later = (_s.hash == hash, _s.seen_at < at)
        self._connection.execute(update(schema.sessions).where(*later).values(seen_at=at))

    def end_sessions(self, user_id: str, ids: Collection[str] | None = None) -> int:
        statement = delete(schema.sessions).where(_s.user_id == user_id)
        if ids is not None:
            statement = statement.where(_s.id.in_(sorted(ids)))
        return self._connection.execute(statement).rowcount

    def put_invitation(self, invitation: Invitation) -> None:
        self._connection.execute(schema.invitations.insert(), msgspec.structs.asdict(invitation))

    def invitation(self, hash: bytes) -> Invitation | None:
        row = self._connection.execute(select(schema.invitations).where(_i.hash == hash)).one_or_none()
        if row is None:
            return None
        return Invitation(row.hash, row.purpose, Instant(row.created_at), row.user_id)

    def void_invitations(self, user_id: str) -> None:
        self._connection.execute(delete(schema.invitations).where(_i.user_id == user_id))

    def tries(self, keys: Collection[str]) -> dict[str, Tries]:
        statement = select(schema.tries).where(_t.key.in_(sorted(keys)))
        rows = self._connection.execute(statement).all()
        return {
            row.key: Tries(row.key, row.wrong, Instant(row.last_at), Instant(row.locked_until))
            for row in rows
        }

    def put_tries(self, tries: Collection[Tries]) -> None:
        upsert(self._connection, schema.tries, [msgspec.structs.asdict(each) for each in tries], ("key",))

    def forget_tries(self, keys: Collection[str]) -> None:
        self._connection.execute(delete(schema.tries).where(_t.key.in_(sorted(keys))))

    def clean(self, now: Instant, limit: int) -> int:
        over = or_(_s.seen_at <= now - IDLE, _s.created_at <= now - ABSOLUTE)
        ages = LIFETIMES.items()
        late = (
            (_i.created_at <= now - min(LIFETIMES.values())),
            or_(*((_i.purpose == purpose) & (_i.created_at <= now - age) for purpose, age in ages)),
        )
        return (
            self._remove(schema.sessions, _s.hash, over, limit)
            + self._remove(schema.invitations, _i.hash, and_(*late), limit)
            + self._remove(schema.tries, _t.key, _t.last_at <= now - FORGOTTEN_AFTER, limit)
        )

    def _remove(self, table: Table, key: Any, where: Any, limit: int) -> int:
        some = select(key).where(where).limit(limit)
        return self._connection.execute(delete(table).where(key.in_(some))).rowcount


def _session(row: Row[*tuple[Any, ...]]) -> Session:
    return Session(
        row.hash,
        row.id,
        row.user_id,
        Instant(row.created_at),
        Instant(row.seen_at),
        row.browser,
        row.address,
    )
