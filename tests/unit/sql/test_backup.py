"""Backups of a SQLite database: one state of it, on disk, its owner's alone; a restore that loses nothing."""

import asyncio
import hashlib
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.contract.harness import T0, arrival
from tests.unit.sql.test_secrets import SUBSCRIBER

from milepost.domain.errors import Misconfigured, StoreLocked, StoreUnavailable
from milepost.sql import Backup, back_up, inspect, migrate, migrations, open_store, restore, schema_version
from milepost.sql.backup import look_at
from milepost.sql.key_file import key_path, read_keys
from milepost.sql.sqlite import write_engine
from milepost.store import Store

FAST = 10_000.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "hub").mkdir()
    return tmp_path / "hub" / "an odd name.db"


@pytest.fixture
def url(path: Path) -> str:
    return f"sqlite:///{path}"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / "kept").mkdir()
    return tmp_path / "kept" / "the first.backup"


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    opened = await open_store(url)
    yield opened
    await opened.close()


async def fill(store: Store, first: int = 0, count: int = 50) -> None:
    await store.append(
        [arrival(f"k-{n}", f"e-{n}", data={"fill": "x" * 900}) for n in range(first, first + count)]
    )


async def filled(url: str, count: int = 50) -> None:
    """A database of so many records that nobody has open."""
    store = await open_store(url)
    await fill(store, count=count)
    await store.close()


def records_of(path: Path) -> list[int]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as connection:
        return [
            position for (position,) in connection.execute("SELECT position FROM records ORDER BY position")
        ]


def restored(url: str, source: Path, *, replace: bool = False) -> Path | None:
    return restore(url, source, None, replace=replace, now=lambda: T0).kept


# ── Backing up ─────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_backup_is_one_whole_file_of_its_owner_alone(store: Store, url: str, target: Path) -> None:
    await fill(store)
    seen: list[tuple[bool, Backup]] = []
    made = await asyncio.to_thread(
        back_up, url, target, verify=lambda copy, found: seen.append((target.exists(), found))
    )
    assert seen == [(False, made)]  # it had not its name before it was verified
    assert (made.position, made.records, made.schema_version) == (50, 50, migrations.newest())
    assert made.size == target.stat().st_size
    assert made.sha256 == hashlib.sha256(target.read_bytes()).hexdigest()
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert list(target.parent.iterdir()) == [target]
    assert records_of(target) == list(range(1, 51))
    assert look_at(target) == made


async def test_the_writer_goes_on_and_the_copy_is_of_one_moment(store: Store, url: str, target: Path) -> None:
    await fill(store, count=20_000)
    began, loop = asyncio.Event(), asyncio.get_running_loop()
    copying = asyncio.create_task(
        asyncio.to_thread(
            back_up, url, target, rate=40.0, progress=lambda *at: loop.call_soon_threadsafe(began.set)
        )
    )
    await asyncio.wait_for(began.wait(), 60)
    written = 0
    while not copying.done():
        await fill(store, 20_000 + 10 * written, 10)
        written += 1
    made = await copying
    assert written > 3
    assert made.position == made.records == 20_000
    assert await store.read(lambda tx: tx.journal.last_position()) == 20_000 + 10 * written


async def test_what_was_deleted_is_not_in_it(url: str, path: Path, target: Path) -> None:
    await filled(url)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA secure_delete = OFF")
        connection.execute("CREATE TABLE gone (canary)")
        connection.executemany(
            "INSERT INTO gone VALUES (?)", [(f"canary-{n}-" + "z" * 500,) for n in range(200)]
        )
        connection.commit()
        connection.execute("DROP TABLE gone")
        connection.commit()
    assert b"canary-7-" in path.read_bytes()
    back_up(url, target, rate=FAST)
    assert b"canary-" not in target.read_bytes()


async def test_it_is_held_to_its_rate_and_tells_how_far_it_is(url: str, target: Path) -> None:
    await filled(url, 20_000)
    told: list[tuple[int, int]] = []
    back_up(url, target, rate=FAST, progress=lambda *at: told.append(at))
    assert len(told) > 1
    assert told == sorted(told)
    assert {of for _, of in told} == {told[0][1]}
    assert all(done <= of for done, of in told)


async def test_one_that_is_interrupted_leaves_nothing(url: str, target: Path) -> None:
    await filled(url, 20_000)

    def interrupt(done: int, of: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        back_up(url, target, rate=FAST, progress=interrupt)
    assert list(target.parent.iterdir()) == []


async def test_what_is_no_new_file_is_refused(url: str, path: Path, target: Path) -> None:
    with pytest.raises(Misconfigured, match="does not exist"):
        back_up(url, target)
    await filled(url)
    target.write_text("somebody's")
    with pytest.raises(Misconfigured, match="exists already"):
        back_up(url, target)
    assert target.read_text() == "somebody's"
    with pytest.raises(StoreUnavailable, match="cannot be written"):
        back_up(url, path.parent / "no such folder" / "x")
    with pytest.raises(Misconfigured, match="pg_dump"):
        back_up("postgresql://me:word@db.example/milepost", target)
    with pytest.raises(Misconfigured, match="pg_dump"):
        restored("postgresql://me:word@db.example/milepost", target)


# ── Restoring ──────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_restore_is_what_the_backup_was_and_keeps_what_was_there(
    url: str, path: Path, target: Path
) -> None:
    await filled(url)
    back_up(url, target, rate=FAST)
    before = hashlib.sha256(target.read_bytes()).hexdigest()
    store = await open_store(url)
    await fill(store, 50, 10)
    with pytest.raises(StoreLocked):
        await asyncio.to_thread(restored, url, target, replace=True)
    await store.close()
    with pytest.raises(Misconfigured, match="--yes"):
        restored(url, target)
    kept = restored(url, target, replace=True)
    assert kept is not None
    assert len(records_of(kept)) == 60
    assert records_of(path) == list(range(1, 51))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert hashlib.sha256(target.read_bytes()).hexdigest() == before
    store = await open_store(url)
    await fill(store, 50, 10)
    assert await store.read(lambda tx: tx.journal.last_position()) == 60
    await store.close()
    assert inspect(url).problems == ()
    assert restored(f"sqlite:///{path.parent / 'elsewhere.db'}", target) is None


async def test_the_log_of_a_killed_hub_goes_with_its_own_file(url: str, path: Path, target: Path) -> None:
    await filled(url)
    back_up(url, target, rate=FAST)
    program = f"""
import asyncio, os, signal
from tests.contract.harness import arrival
from milepost.sql import open_store
async def main():
    store = await open_store({url!r})
    await store.append([arrival(f"k-{{n}}", f"e-{{n}}") for n in range(50, 90)])
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
"""
    killed = subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[3], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert path.with_name(path.name + "-wal").stat().st_size > 0
    kept = restored(url, target, replace=True)
    assert kept is not None
    assert not path.with_name(path.name + "-wal").exists()
    with closing(sqlite3.connect(kept)) as connection:
        assert connection.execute("SELECT count(*) FROM records").fetchall() == [(90,)]
    assert records_of(path) == list(range(1, 51))


async def test_a_log_that_somebody_reads_by_is_kept_beside_its_file(
    url: str, path: Path, target: Path
) -> None:
    await filled(url)
    back_up(url, target, rate=FAST)
    reading = sqlite3.connect(path, isolation_level=None)
    reading.execute("BEGIN")
    reading.execute("SELECT count(*) FROM records").fetchall()
    store = await open_store(url)
    await fill(store, 50, 40)
    await store.close()
    kept = restored(url, target, replace=True)
    assert reading.execute("SELECT count(*) FROM records").fetchall() == [(50,)]
    reading.close()
    assert kept is not None
    with closing(sqlite3.connect(kept)) as connection:
        assert connection.execute("SELECT count(*) FROM records").fetchall() == [(90,)]
    assert records_of(path) == list(range(1, 51))


async def test_a_damaged_database_is_replaced_and_kept_too(url: str, path: Path, target: Path) -> None:
    await filled(url)
    back_up(url, target, rate=FAST)
    path.write_bytes(b"damaged beyond reading" * 500)
    kept = restored(url, target, replace=True)
    assert kept is not None
    assert kept.read_bytes().startswith(b"damaged")
    assert records_of(path) == list(range(1, 51))


async def test_a_backup_of_an_older_version_is_migrated(url: str, path: Path, target: Path) -> None:
    engine = write_engine(path)
    path.touch()
    with engine.connect() as connection:
        migrations.upgrade(connection, "0003")
    engine.dispose()
    made = back_up(url, target, rate=FAST)
    assert made.schema_version == "0003"
    elsewhere = path.parent / "elsewhere.db"
    done = restore(f"sqlite:///{elsewhere}", target, None, replace=False)
    assert (done.backup.schema_version, done.schema_version) == ("0003", migrations.newest())
    there = sorted(one.name for one in path.parent.iterdir() if "elsewhere" in one.name)
    assert there == ["elsewhere.db", "elsewhere.db.lock"]
    assert schema_version(f"sqlite:///{elsewhere}") == migrations.newest()
    assert look_at(target).schema_version == "0003"


async def test_what_is_no_sound_backup_touches_nothing(
    url: str, path: Path, target: Path, tmp_path: Path
) -> None:
    await filled(url, 500)
    back_up(url, target, rate=FAST)
    there = path.read_bytes()
    sound = target.read_bytes()
    for number, content in enumerate(
        (
            b"",
            b"no database at all" * 100,
            sound[: len(sound) // 2],
            sound[:200_000] + b"\xff" * 4_096 + sound[204_096:],
        )
    ):
        wrong = tmp_path / f"wrong-{number}"
        wrong.write_bytes(content)
        with pytest.raises((Misconfigured, StoreUnavailable)):
            restored(url, wrong, replace=True)
    with closing(sqlite3.connect(tmp_path / "other.db")) as connection:
        connection.execute("CREATE TABLE shop (id)")
    with pytest.raises(Misconfigured, match="another program"):
        restored(url, tmp_path / "other.db", replace=True)
    newer = tmp_path / "newer.db"
    newer.write_bytes(sound)
    with closing(sqlite3.connect(newer)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    with pytest.raises(Misconfigured, match="newer Milepost"):
        restored(url, newer, replace=True)
    with pytest.raises(Misconfigured, match="does not exist"):
        restored(url, tmp_path / "nothing", replace=True)
    assert path.read_bytes() == there
    assert not [one.name for one in path.parent.iterdir() if "partial" in one.name or "before" in one.name]


async def test_a_file_that_is_in_use_is_no_backup(url: str, path: Path, store: Store, tmp_path: Path) -> None:
    await fill(store)
    with pytest.raises(Misconfigured, match="a backup is one file"):
        await asyncio.to_thread(restored, f"sqlite:///{tmp_path / 'new.db'}", path)


async def test_the_keys_are_not_in_it_and_are_said_to_be_missing(url: str, path: Path, target: Path) -> None:
    store = await open_store(url)
    await store.write(lambda tx: tx.attempts.put_destination(SUBSCRIBER))
    await store.close()
    (key,) = read_keys(key_path(path))
    made = back_up(url, target, rate=FAST)
    assert made.keys == (key.id,)
    assert key.text.removeprefix("mpk_").encode() not in target.read_bytes()
    assert restore(url, target, None, replace=True).missing == ()
    elsewhere = f"sqlite:///{path.parent / 'elsewhere.db'}"
    assert restore(elsewhere, target, None, replace=False).missing == (key.id,)
    assert restore(elsewhere, target, key.text, replace=True).missing == ()
    store = await open_store(elsewhere, encryption_key=key.text)
    found = await store.read(lambda tx: tx.attempts.destination(SUBSCRIBER.id))
    assert found is not None
    assert found.settings == SUBSCRIBER.settings
    await store.close()


async def test_a_link_to_the_database_leads_to_it(url: str, path: Path, target: Path, tmp_path: Path) -> None:
    """The name that is replaced is the file's own: the link goes on leading to it."""
    await filled(url)
    link = tmp_path / "link.db"
    link.symlink_to(path)
    back_up(f"sqlite:///{link}", target, rate=FAST)
    kept = restored(f"sqlite:///{link}", target, replace=True)
    assert link.is_symlink()
    assert kept is not None
    assert kept.parent == path.parent
    assert link.stat().st_ino == path.stat().st_ino
    migrate(url)
