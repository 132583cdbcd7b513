"""The lock that keeps a second hub off one SQLite file."""

import os
from pathlib import Path

import pytest
from tests.contract.harness import T0

from milepost.domain.errors import StoreLocked, StoreUnavailable
from milepost.sql.lock import acquire, holder_of, lock_path


def test_one_holder_and_its_name(tmp_path: Path) -> None:
    database = tmp_path / "x.db"
    assert holder_of(database) is None
    held = acquire(database, "milepost serve", T0)
    holder = holder_of(database)
    assert holder is not None
    assert (holder.pid, holder.owner, holder.since) == (os.getpid(), "milepost serve", T0)
    with pytest.raises(StoreLocked, match=rf"milepost serve \(pid {os.getpid()} on .*2025-01-20T12:34:56Z\)"):
        acquire(database, "another", T0)
    held.release()
    held.release()
    assert holder_of(database) is None
    acquire(database, "another", T0).release()


def test_another_name_of_the_same_file_is_the_same_lock(tmp_path: Path) -> None:
    database, link = tmp_path / "x.db", tmp_path / "link.db"
    database.touch()
    link.symlink_to(database)
    assert lock_path(link) == lock_path(database)
    held = acquire(link, "milepost serve", T0)
    with pytest.raises(StoreLocked):
        acquire(database, "another", T0)
    held.release()


def test_a_label_that_cannot_be_read_still_locks(tmp_path: Path) -> None:
    database = tmp_path / "x.db"
    held = acquire(database, "milepost serve", T0)
    lock_path(database).write_bytes(b"\xff not json")
    with pytest.raises(StoreLocked, match="another process"):
        acquire(database, "another", T0)
    holder = holder_of(database)
    assert holder is not None
    assert holder.owner == "another process"
    held.release()


def test_no_place_for_a_lock(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="lock file"):
        acquire(tmp_path / "nowhere" / "x.db", "milepost serve", T0)
