"""Looking up a session, an account or a page of the audit log never reads all that there are."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import create_engine, event

from milepost.domain.instant import Instant
from milepost.sql import schema
from milepost.sql.audit import SqlAudit
from milepost.sql.users import SqlUsers

NOW = Instant(10**12)


class Parts:
    """The store's parts, and how SQLite goes about what they do: a line each table that a statement reads."""

    def __init__(self, connection: Any) -> None:
        self.users, self.audit = SqlUsers(connection), SqlAudit(connection)
        self.lines: list[str] = []

    def note(self, connection: Any, cursor: Any, statement: str, parameters: Any, *more: Any) -> None:
        explained = connection.connection.cursor()
        explained.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
        self.lines += [row[3] for row in explained.fetchall()]


@pytest.fixture
def parts() -> Iterator[Parts]:
    engine = create_engine("sqlite://")
    schema.metadata.create_all(engine)
    with engine.connect() as connection:
        made = Parts(connection)
        event.listen(engine, "before_cursor_execute", made.note)
        yield made
    engine.dispose()


@pytest.mark.parametrize(
    "do",
    [
        lambda p: p.users.session(b"x"),
        lambda p: p.users.sessions("usr_1", 9),
        lambda p: p.users.note_seen(b"x", NOW),
        lambda p: p.users.end_sessions("usr_1", ["ses_1"]),
        lambda p: p.users.by_sign_in_name("ada"),
        lambda p: p.users.page("usr_1", 9),
        lambda p: p.users.invitation(b"x"),
        lambda p: p.users.void_invitations("usr_1"),
        lambda p: p.users.tries(["a", "b"]),
        lambda p: p.users.clean(NOW, 9),
        lambda p: p.audit.actions(9),
        *(
            lambda p, reach=reach, who=who, what=what: p.audit.page(5, 9, reach, who, what, newest_first=True)
            for reach in (None, ["bp-1"], ["bp-1", "bp-2"])
            for who in (None, "usr_1")
            for what in (None, "note.added")
        ),
    ],
)
def test_it_is_looked_up(parts: Parts, do: Callable[[Parts], object]) -> None:
    do(parts)
    assert parts.lines
    assert not [line for line in parts.lines if line.startswith("SCAN") or "TEMP B-TREE" in line], parts.lines
