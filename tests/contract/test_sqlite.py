"""The store contract on SQLite."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from tests.contract.harness import T0
from tests.contract.store_contract import StoreContract

from milepost.sql import open_store
from milepost.store import Store


class SqliteHarness:
    can_be_unavailable = True

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._crashes = 0

    async def open(self, name: str = "main") -> Store:
        url = f"sqlite:///{self._folder / name}.db"
        return await open_store(url, clock=lambda: T0, owner="contract", busy_timeout=20)

    async def crash(self, name: str = "main") -> Store:
        """The files as they are on disk now, with the log that nobody has copied back."""
        self._crashes += 1
        copy = f"{name}-crashed-{self._crashes}"
        for suffix in (".db", ".db-wal", ".db.key"):
            if (self._folder / f"{name}{suffix}").exists():
                shutil.copyfile(self._folder / f"{name}{suffix}", self._folder / f"{copy}{suffix}")
        return await self.open(copy)

    @contextmanager
    def unavailable(self, name: str = "main") -> Iterator[None]:
        """Somebody else holds the write lock."""
        outsider = sqlite3.connect(self._folder / f"{name}.db", isolation_level=None)
        with closing(outsider):
            outsider.execute("BEGIN IMMEDIATE")
            yield
            outsider.execute("ROLLBACK")


class TestSqlite(StoreContract):
    @pytest.fixture
    def harness(self, tmp_path: Path) -> SqliteHarness:
        return SqliteHarness(tmp_path)
