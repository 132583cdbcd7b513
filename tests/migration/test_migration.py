"""Migrations: what they make is what `schema` says, what was there stays, and what is not ours is refused."""

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine
from tests.contract.harness import T0, arrival

from milepost.domain.attempt import Attempt, Destination, Message
from milepost.domain.errors import Misconfigured, StoreLocked, StoreUnavailable
from milepost.domain.instant import Instant
from milepost.sql import copy_database, inspect, migrate, migrations, open_store, schema_version
from milepost.sql.lock import acquire
from milepost.sql.schema import metadata


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "an odd name.db"


@pytest.fixture
def url(path: Path) -> str:
    return f"sqlite:///{path}"


def sql(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def objects(path: Path) -> dict[str, str]:
    """Every table and index by name, as SQLite would write it; a column that was added has its own white space."""
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE '%alembic%'"
        ).fetchall()
    return {name: re.sub(r" ?([(),]) ?", r"\1", " ".join(text.split())) for name, text in rows}


def test_the_steps_make_the_schema(url: str, path: Path, tmp_path: Path) -> None:
    assert migrate(url) == migrations.steps()[-1] == migrations.newest()
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()
    # Alembic compares no WITHOUT ROWID, no autoincrement and no partial index: the statements themselves do.
    made = create_engine(f"sqlite:///{tmp_path / 'made.db'}")
    metadata.create_all(made)
    made.dispose()
    assert objects(path) == objects(tmp_path / "made.db")


def test_versions(url: str, path: Path) -> None:
    assert schema_version(url) is None
    assert not path.exists()
    assert inspect(url).exists is False
    migrate(url)
    assert schema_version(url) == migrations.newest()
    assert migrate(url) == migrations.newest()
    seen = inspect(url)
    assert (seen.schema_version, seen.problems, seen.holder) == (migrations.newest(), (), None)
    assert seen.counts is not None
    assert seen.counts.records == 0


async def test_what_was_there_stays(url: str, path: Path) -> None:
    store = await open_store(url)
    await store.append([arrival(), arrival()])
    await store.close()
    migrate(url)
    store = await open_store(url, migrate=False)
    try:
        found = await store.read(lambda tx: tx.journal.counts("projector"))
        assert (found.events, found.duplicates) == (1, 1)
        assert await store.append([arrival()]) != []
    finally:
        await store.close()
    assert oct(path.stat().st_mode & 0o777) == "0o600"


async def test_messages_of_the_first_schema_are_sent_and_their_attempts_kept(url: str, path: Path) -> None:
    engine = create_engine(url)
    with engine.connect() as connection:
        migrations.upgrade(connection, "0001")
    engine.dispose()
    sql(
        path,
        "INSERT INTO destinations VALUES ('on', 'webhook', x'7b7d', '', '', 1)",
        "INSERT INTO destinations VALUES ('off', 'webhook', x'7b7d', '[\"PACKAGE_DELIVERED\"]', 'bp', 0)",
        "INSERT INTO messages VALUES ('1.on', 'on', 1, 'pending', 1, 500, NULL, 1, 1, 500)",
        "INSERT INTO messages VALUES ('1.off', 'off', 1, 'pending', 0, 500, NULL, 0, 0, 500)",
        "INSERT INTO messages VALUES ('0.on', 'on', 0, 'delivered', 1, 400, NULL, 1, 1, 400)",
        "INSERT INTO attempts VALUES ('1.on', 1, 450, 7, 'failed', 503, 'answered 503')",
    )
    store = await open_store(url)
    try:
        on = Destination("on", "webhook", b"{}")
        off = Destination("off", "webhook", b"{}", ("PACKAGE_DELIVERED",), "bp", enabled=False)
        assert await store.read(lambda tx: tx.attempts.destinations("", 9)) == [off, on]
        (attempt,) = await store.read(lambda tx: tx.attempts.attempts((0, 0), 9))
        assert attempt == Attempt("1.on", 1, Instant(450), 7, "failed", 503, "answered 503")
        # What a disabled destination missed is held for it, as the second schema has it.
        assert await store.read(lambda tx: tx.attempts.count()) == {"pending": 1, "held": 1, "delivered": 1}
        at, until = Instant(600), Instant(900)
        (message,) = await store.write(lambda tx: tx.attempts.claim(at, until, 9, share=9, room={}))
        assert message == Message("1.on", "on", 1, "pending", 1, Instant(500), until, 2)
        await store.write(lambda tx: tx.attempts.enable("off"))
        taken = await store.write(lambda tx: tx.attempts.claim(at, until, 9, share=9, room={}))
        assert [m.id for m in taken] == ["1.off"]
    finally:
        await store.close()


async def test_what_was_folded_before_there_was_telling_is_not_told(url: str, path: Path) -> None:
    """Or the first rebuild would tell all of history."""
    engine = create_engine(url)
    with engine.connect() as connection:
        migrations.upgrade(connection, "0003")
    engine.dispose()
    sql(path, "INSERT INTO checkpoints VALUES ('projector', 7), ('hydrator', 5)")
    store = await open_store(url)
    try:
        assert await store.read(lambda tx: tx.journal.checkpoint("telling")) == 7
    finally:
        await store.close()


async def test_a_newer_database_is_refused(url: str, path: Path) -> None:
    migrate(url)
    sql(path, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(Misconfigured, match="newer Milepost"):
        await open_store(url)
    with pytest.raises(Misconfigured, match="newer Milepost"):
        migrate(url)
    assert schema_version(url) == "9999"
    assert inspect(url).counts is None


async def test_an_older_database_is_left_alone_unless_told(url: str, path: Path) -> None:
    sql(
        path, "CREATE TABLE alembic_version (version_num TEXT)"
    )  # killed between the table and the first step
    for read_only in (False, True):
        with pytest.raises(Misconfigured, match="milepost migrate"):
            await open_store(url, migrate=False, read_only=read_only)
    assert await _opens(url)


async def test_a_foreign_database_is_refused(url: str, path: Path) -> None:
    sql(path, "CREATE TABLE records (x)")
    with pytest.raises(Misconfigured, match="another program"):
        await open_store(url)
    assert list(objects(path)) == ["records"]


async def test_what_is_no_database_is_refused(url: str, path: Path) -> None:
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(StoreUnavailable, match="not a database"):
        await open_store(url)
    assert path.read_bytes() == b"not a database at all" * 100


def test_a_broken_step_leaves_nothing(url: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step is one transaction: what fails in its middle can be run again."""
    from alembic import op

    execute = op.execute

    def fail(*args: object, **kwargs: object) -> None:
        raise RuntimeError("killed here")

    monkeypatch.setattr(op, "execute", fail)
    with pytest.raises(RuntimeError, match="killed here"):
        migrate(url)
    assert objects(path) == {}
    monkeypatch.setattr(op, "execute", execute)
    assert migrate(url) == migrations.newest()


def test_migrating_takes_the_lock(url: str, path: Path) -> None:
    held = acquire(path, "milepost serve", T0)
    with pytest.raises(StoreLocked, match="milepost serve"):
        migrate(url)
    held.release()
    migrate(url)


async def test_a_copy_is_one_state_of_a_database_in_use(url: str, tmp_path: Path) -> None:
    copied = f"sqlite:///{tmp_path / 'copy.db'}"
    store = await open_store(url)
    try:
        await store.append([arrival()])
        copy_database(url, copied)
    finally:
        await store.close()
    assert inspect(copied).counts is not None
    store = await open_store(copied, migrate=False)
    try:
        assert await store.read(lambda tx: tx.journal.last_position()) == 1
    finally:
        await store.close()
    with pytest.raises(Misconfigured):
        copy_database(f"sqlite:///{tmp_path / 'nothing.db'}", copied)


async def _opens(url: str) -> bool:
    store = await open_store(url)
    await store.close()
    return True
