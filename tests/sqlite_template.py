"""New SQLite databases of tests: migrated once a process, and from then on copied page by page.

Migrating takes a hundred times as long as copying, and nearly every test opens a database of its own. What a copy
holds is what the real steps wrote into the first one. Tests of the migrations themselves run the steps
(`tests/migration/conftest.py`).
"""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Connection

from milepost.sql import migrations

STEPS = migrations.upgrade
"""The real thing."""


class Template:
    """The first database that the steps made from nothing."""

    def __init__(self) -> None:
        self._pages: sqlite3.Connection | None = None
        self._one = threading.Lock()

    def upgrade(self, connection: Connection, to: str = "head") -> None:
        """As `migrations.upgrade`."""
        if connection.dialect.name != "sqlite" or to != "head" or migrations.version(connection) is not None:
            STEPS(connection, to)
            return
        database = connection.connection.driver_connection
        assert isinstance(database, sqlite3.Connection)
        with self._one:
            if self._pages is None:
                STEPS(connection, to)
                self._pages = sqlite3.connect(":memory:", check_same_thread=False)
                database.backup(self._pages)
            else:
                self._pages.backup(database)


@contextmanager
def copied() -> Iterator[None]:
    """While it lasts, new SQLite databases are copies."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(migrations, "upgrade", Template().upgrade)
        yield
