"""A hub's pipeline over one database whose clock a test moves, for the tests of retention: what comes in, what
the consumers and the sweeper make of it, and what is left in every table."""

import random
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

from msgspec.structs import replace
from tests.unit.domain.history import BP, Arrived

from milepost import sql
from milepost.domain.condition import Policy
from milepost.domain.envelope import parse_event
from milepost.domain.instant import DAY, MINUTE, Instant, parse_instant
from milepost.pipeline.consumer import Consumer
from milepost.pipeline.hydrator import NAME as HYDRATOR
from milepost.pipeline.hydrator import Hydrator
from milepost.pipeline.projector import NAME as PROJECTOR
from milepost.pipeline.projector import Projector
from milepost.pipeline.rebuild import Difference, verify
from milepost.pipeline.retention import Retention
from milepost.pipeline.sweeper import Sweeper
from milepost.store import Arrival, Counts, NewRecord, Receipt, Store

DAYS = 120
START = parse_instant("2025-03-01T00:00:00Z")


class Place:
    """Everything a test of retention touches."""

    def __init__(self, folder: Path, *, url: str | None = None, **settings: Any) -> None:
        self.path = folder / "hub.db"
        self.url = url or f"sqlite:///{self.path}"
        self.now = START
        self._settings = settings
        self._copies = 0

    async def open(self) -> "Place":
        self.store: Store = await sql.open_store(self.url, clock=self.clock, owner="test")
        self.projector = Consumer(
            self.store, PROJECTOR, Projector(self.store, Policy(), self.clock).prepare, self.clock
        )
        hydrator = Hydrator(self.store, {}, self.clock, random=random.Random(1))
        self.hydrator = Consumer(self.store, HYDRATOR, hydrator.prepare, self.clock)
        self.sweeper = Sweeper(self.store, Policy(), self.clock)
        settings: dict[str, Any] = {"pause_s": 0.0, "days": DAYS, **self._settings}
        self.retention = Retention(self.store, Policy(), self.clock, settings.pop("days"), **settings)
        return self

    async def close(self) -> None:
        await self.store.close()

    def clock(self) -> Instant:
        return self.now

    def later(self, days: float) -> None:
        self.now = Instant(self.now + int(days * DAY))

    async def come(self, *arrivals: Arrived) -> list[Receipt]:
        """Journal these now. Answers and conditions as the hydrator and the sweeper would."""
        receipts: list[Receipt] = []
        for arrived in arrivals:
            if arrived.kind == "event":
                given = Arrival(parse_event(arrived.body), arrived.body, self.now, arrived.road)
                receipts += await self.store.append([given])
            else:
                record = NewRecord(
                    arrived.kind,  # type: ignore[arg-type]
                    BP,
                    arrived.type,
                    self.now,
                    arrived.published_at,
                    arrived.road,
                    arrived.body,
                )
                added = await self.store.write(lambda tx, r=record: tx.journal.add([r]))  # type: ignore[misc]
                receipts.append(Receipt("accepted", added[0]))
        return receipts

    async def settle(self, *, answered: bool = True, sweep: bool = True) -> None:
        """Consume everything; `answered` ends every question to the API; `sweep` lets the sweeper look twice."""
        for _ in range(3):
            await self.projector.catch_up()
            await self.hydrator.catch_up()
            if not sweep or not await self._swept():
                break
        if answered:
            asks = await self.store.read(lambda tx: tx.work.page(None, 500, None, None))
            await self.store.write(lambda tx: tx.work.done([(a.business_product_id, a.target) for a in asks]))

    async def _swept(self) -> int:
        found = await self.sweeper.sweep()
        self.now = Instant(self.now + 2 * MINUTE)
        return found + await self.sweeper.sweep()

    async def give_up(self, target: str) -> None:
        """Let the question about a target be given up."""
        ask = (await self.store.read(lambda tx: tx.work.get([(BP, target)])))[BP, target]
        await self.store.write(lambda tx: tx.work.put([replace(ask, state="gaveUp")]))

    async def counts(self) -> Counts:
        return await self.store.read(lambda tx: tx.journal.counts(PROJECTOR))

    async def differences(self) -> list[Difference]:
        """Between the views and what a rebuild of a copy gives."""
        self._copies += 1
        copy = self.path.with_name(f"copy-{self._copies}.db")
        with closing(sqlite3.connect(self.path)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
        opened = await sql.open_store(f"sqlite:///{copy}", clock=self.clock, owner="copy", sealed=True)
        try:
            return await verify(opened, Projector(opened, Policy(), self.clock).prepare, self.clock)
        finally:
            await opened.close()
            copy.unlink()

    async def positions(self) -> list[int]:
        return [record.position for record in await self.store.read(lambda tx: tx.journal.after(0, 100_000))]

    def rows_with(self, *words: str) -> list[tuple[str, str]]:
        """(table, word) of every row of any table that holds one of these words."""
        found: set[tuple[str, str]] = set()
        with closing(sqlite3.connect(self.path)) as connection:
            tables = [
                name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            ]
            for table in tables:
                for row in connection.execute(f"SELECT * FROM {table}"):
                    text = "\x00".join(_texts(row))
                    found.update((table, word) for word in words if word in text)
        return sorted(found)


def _texts(row: Iterable[object]) -> Iterable[str]:
    for value in row:
        yield value.decode(errors="replace") if isinstance(value, bytes) else str(value)
