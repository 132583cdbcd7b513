"""What the tests of the books and of the accountant share: a store with a projector that books, an accountant, and a
clock that stands until it is stepped."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import tzinfo
from zoneinfo import ZoneInfo

from tests.unit.domain.history import BP, Arrived
from tests.unit.pipeline.projecting import forget, keep

from milepost import sql
from milepost.domain.accounting import Entry, Period
from milepost.domain.condition import Policy
from milepost.domain.instant import DAY, Instant, parse_instant
from milepost.pipeline.accountant import Accountant
from milepost.pipeline.booking import BookFollower, close_period
from milepost.pipeline.consumer import Consumer, Prepare
from milepost.pipeline.projector import NAME, Projector
from milepost.store import Store

SETTLE = 7 * DAY
ORIGIN = ZoneInfo("America/Los_Angeles")

Net = dict[tuple[str, str, str], tuple[object, ...]]
"""What stands of each (order, delivery, kind)."""


class World:
    """One database, and those who keep its books."""

    def __init__(self, url: str, *, origin: tzinfo = ORIGIN) -> None:
        self.url = url
        self.origin = origin
        self.now = parse_instant("2025-03-10T00:00:00Z")

    async def open(self) -> "World":
        self.store: Store = await sql.open_store(self.url, clock=self.clock, owner="test")
        self.projector = Consumer(self.store, NAME, self.folding(), self.clock)
        self.accountant = Accountant(self.store, self.clock)
        return self

    async def close(self) -> None:
        await self.store.close()

    def clock(self) -> Instant:
        return self.now

    def folding(self) -> Prepare:
        books = BookFollower(self.origin, SETTLE)
        return Projector(self.store, Policy(), self.clock, followers=[books]).prepare

    def dying(self, *, batch: int = 500) -> Consumer:
        """A projector that is killed between folding and committing."""
        return Consumer(self.store, NAME, self.folding(), self.clock, batch=batch, probe=kill)

    async def come(self, *arrived: Arrived) -> None:
        """Journal these and fold them."""
        await keep(self.store, *arrived)
        await self.projector.catch_up()

    def step(self, days: float) -> None:
        self.now = Instant(self.now + int(days * DAY))

    async def close_month(self, period: str, product: str = BP) -> Period:
        return await self.store.write(lambda tx: close_period(tx, product, period, "key-1", self.now))

    async def rebuild(self) -> None:
        """Views anew, as the command does it."""
        await forget(self.store)
        await self.projector.catch_up()

    async def entries(self) -> list[Entry]:
        return [e for _, e in await self.store.read(lambda tx: tx.books.page(0, 10_000, None))]

    async def said(self, kind: str | None = None) -> list[tuple[str, int, int, str, str, str, str]]:
        """(kind, sign, revision, status, reason, tax period, posting period) of every row, oldest first."""
        return [
            (e.kind, e.sign, e.revision, e.status, e.reason, e.tax_period, e.posting_period)
            for e in await self.entries()
            if kind is None or e.kind == kind
        ]


class Killed(BaseException):
    """What ends a process here."""


def kill(point: str) -> None:
    raise Killed


def net(entries: Sequence[Entry], what: Callable[[Entry], tuple[object, ...]]) -> Net:
    """What stands after all rows, each told by `what`; asserts that the signs sum to 0 or 1 after every one, and that
    a reversal takes back just the row before it."""
    standing: dict[tuple[str, str, str], Entry | None] = defaultdict(lambda: None)
    for entry in entries:
        key = (entry.order_id, entry.delivery_id, entry.kind)
        before = standing[key]
        if entry.sign == 1:
            assert before is None, (before, entry)
            standing[key] = entry
        else:
            assert before is not None, entry
            assert (before.revision, what(before), before.evidence) == (
                entry.revision,
                what(entry),
                entry.evidence,
            )
            standing[key] = None
    return {key: what(entry) for key, entry in standing.items() if entry is not None}


def stated(entry: Entry) -> tuple[object, ...]:
    """What a row says, whenever and in which period it was posted."""
    return (
        entry.occurred_at,
        entry.origin_date,
        entry.destination_date,
        entry.zone,
        entry.tax_period,
        entry.evidence["source"],
    )
