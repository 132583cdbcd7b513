"""The contract of extents: how many of something there are, and up to which number; what exports are bounded by."""

from typing import Any

from tests.contract.harness import T0

from milepost.domain.accounting import Entry, entry_id
from milepost.domain.notification import Notification
from milepost.store import Store

REACHES: tuple[list[str] | None, ...] = (None, ["bp-1"], [])


def entry(n: int) -> Entry:
    product = f"bp-{n % 2}"
    key: Any = (product, f"o-{n}", f"d-{n}", "shipped", 1, 1)
    days = ("2025-01-20", "2025-01-20", "utc", "2025-01", "2025-01")
    return Entry(entry_id(*key), *key, "provisional", "new", T0, *days, T0, {})


def notification(n: int) -> Notification:
    return Notification(f"ntf_{n}", f"bp-{n % 2}", f"o-{n}", "", "shipped", "", "WAITING", T0, T0, T0, ())


class ExtentsContract:
    async def test_the_extent_of_the_books(self, store: Store) -> None:
        assert await store.read(lambda tx: tx.books.extent(None)) == (0, 0)
        await store.write(lambda tx: tx.books.post([entry(n) for n in range(5)]))
        numbers = [n for n, _ in await store.read(lambda tx: tx.books.page(0, 9, None))]
        found = await store.read(lambda tx: [tx.books.extent(reach) for reach in REACHES])
        assert found == [(5, numbers[-1]), (2, numbers[3]), (0, 0)]

    async def test_the_extent_of_the_notifications(self, store: Store) -> None:
        assert await store.read(lambda tx: tx.notifications.extent(None)) == (0, 0)
        await store.write(lambda tx: tx.notifications.add([notification(n) for n in range(5)]))
        numbers = [n for n, _ in await store.read(lambda tx: tx.notifications.page(0, 9, None))]
        found = await store.read(lambda tx: [tx.notifications.extent(reach) for reach in REACHES])
        assert found == [(5, numbers[-1]), (2, numbers[3]), (0, 0)]
