"""The contract of the accountant's books: rows are added once and never changed, periods are closed once.

What the `books` of `books_contract` are, transactions and counts, is another matter."""

from typing import Any

from msgspec.structs import replace
from tests.contract.harness import T0, Harness

from milepost.domain.accounting import Entry, EntryKind, Period, entry_id
from milepost.domain.instant import Instant
from milepost.store import Store


def entry(
    delivery: str = "d-1",
    kind: EntryKind = "shipped",
    revision: int = 1,
    sign: int = 1,
    *,
    order: str = "o-1",
    product: str = "bp-1",
    **more: Any,
) -> Entry:
    period = more.pop("period", "2025-01")
    fields: dict[str, Any] = {
        "status": "provisional",
        "reason": "new",
        "occurred_at": T0,
        "destination_date": f"{period}-20",
        "origin_date": f"{period}-20",
        "zone": "utc",
        "tax_period": period,
        "posting_period": period,
        "posted_at": T0,
        "evidence": {"kind": "event", "position": 3, "eventId": "e"},
    } | more
    made = entry_id(product, order, delivery, kind, revision, sign)
    return Entry(made, product, order, delivery, kind, revision, sign, **fields)  # type: ignore[arg-type]


async def post(store: Store, *entries: Entry) -> None:
    await store.write(lambda tx: tx.books.post(entries))


async def page(store: Store, *args: Any, **more: Any) -> list[Entry]:
    found = await store.read(lambda tx: tx.books.page(*args, **more))
    assert [number for number, _ in found] == sorted({number for number, _ in found})
    return [e for _, e in found]


async def due(store: Store, now: int = T0, limit: int = 10) -> list[str]:
    return [e.delivery_id for e in await store.read(lambda tx: tx.books.to_settle(Instant(now), limit))]


class AccountingContract:
    async def test_a_row_comes_back_as_it_was_posted(self, store: Store) -> None:
        full = entry(settles_at=Instant(T0 + 7), evidence={"at": "2025-01-20T12:34:56Z", "eventId": None})
        await post(store, full)
        assert await page(store, 0, 10, None) == [full]
        key = ("bp-1", "o-1")
        assert await store.read(lambda tx: tx.books.of_orders([key, ("bp-2", "o-1")])) == {key: [full]}
        assert await store.read(lambda tx: tx.books.of_orders([])) == {}

    async def test_a_row_is_posted_once_and_stays_as_it_was(self, store: Store) -> None:
        first = entry()
        await post(store, first, first)
        await post(store, replace(first, status="settled"), entry(revision=2))
        await post(store)
        assert await page(store, 0, 10, None) == [first, entry(revision=2)]

    async def test_rows_of_an_order_are_in_the_order_of_their_posting(self, store: Store) -> None:
        given = [entry(), entry(sign=-1), entry(revision=2), entry(kind="delivered"), entry("d-2")]
        for each in given:
            await post(store, each)
        await post(store, entry(order="o-2"))
        found = await store.read(lambda tx: tx.books.of_orders([("bp-1", "o-1")]))
        assert found == {("bp-1", "o-1"): given}

    async def test_pages_by_posting_period_and_business_product(self, store: Store) -> None:
        given = [
            entry(f"d-{n}", product=f"bp-{n % 2}", posting_period=f"2025-0{1 + n % 3}", period="2025-01")
            for n in range(9)
        ]
        await post(store, *given)
        assert await page(store, 0, 4, None) == given[:4]
        numbers = await store.read(lambda tx: tx.books.page(0, 4, None))
        assert await page(store, numbers[-1][0], 100, None) == given[4:]
        assert await page(store, 0, 100, ["bp-1"]) == given[1::2]
        assert await page(store, 0, 100, []) == []
        assert await page(store, 0, 100, None, "2025-02") == given[1::3]
        assert await page(store, 0, 100, ["bp-0"], period="2025-01") == [given[0], given[6]]
        assert await page(store, 0, 100, None, "2024-01") == []

    async def test_pages_of_one_order(self, store: Store) -> None:
        given = [entry(f"d-{n}", product=f"bp-{n % 3}", order=f"o-{n % 2}") for n in range(9)]
        await post(store, *given)
        assert await page(store, 0, 100, None, order_id="o-1") == given[1::2]
        assert await page(store, 0, 2, None, order_id="o-1") == given[1:4:2]
        assert await page(store, 0, 100, ["bp-0"], order_id="o-1") == [given[3]]
        assert await page(store, 0, 100, None, "2025-02", "o-1") == []
        assert await page(store, 0, 100, [], order_id="o-1") == []

    async def test_provisional_rows_are_due_at_their_time_oldest_first(self, store: Store) -> None:
        await post(
            store,
            entry("late", settles_at=Instant(T0 + 1)),
            entry("second", settles_at=T0),
            entry("never"),
            entry("first", settles_at=Instant(T0 - 5)),
        )
        assert await due(store) == ["first", "second"]
        assert await due(store, limit=1) == ["first"]
        assert await due(store, T0 + 1) == ["first", "second", "late"]

    async def test_a_row_is_looked_at_again_when_that_is_asked_for(self, store: Store) -> None:
        one, other, third = entry("d-1", settles_at=T0), entry("d-2", settles_at=T0), entry("d-3")
        await post(store, one, other, third)
        again = [(one, None), (third, Instant(T0 - 1)), (entry("other"), None)]
        await store.write(lambda tx: tx.books.look_again(again))
        assert await due(store) == ["d-3", "d-2"]
        await store.write(lambda tx: tx.books.look_again([]))
        assert await page(store, 0, 10, None) == [one, other, third]

    async def test_a_period_is_closed_once_for_its_business_product(self, store: Store) -> None:
        made = Period("bp-1", "2025-01", T0, "key-1")
        assert await store.write(lambda tx: tx.books.close(made))
        again = Period("bp-1", "2025-01", Instant(T0 + 1), "key-2")
        assert not await store.write(lambda tx: tx.books.close(again))
        assert await store.write(lambda tx: tx.books.close(Period("bp-2", "2025-02", T0, "key-1")))
        assert await store.read(lambda tx: tx.books.closed(["bp-1", "bp-3"])) == {("bp-1", "2025-01")}
        assert await store.read(lambda tx: tx.books.closed([])) == set()
        assert await store.read(lambda tx: tx.books.periods(("", ""), 10, ["bp-1"])) == [made]

    async def test_closed_periods_are_paged_by_business_product_and_month(self, store: Store) -> None:
        given = [Period(f"bp-{n}", f"2025-0{m}", T0, "k") for n in (1, 2) for m in (1, 2, 3)]
        for each in reversed(given):
            await store.write(lambda tx, each=each: tx.books.close(each))  # type: ignore[misc]
        assert await store.read(lambda tx: tx.books.periods(("", ""), 4, None)) == given[:4]
        assert await store.read(lambda tx: tx.books.periods(("bp-2", "2025-01"), 10, None)) == given[4:]
        assert await store.read(lambda tx: tx.books.periods(("bp-1", "2024-99"), 1, None)) == given[:1]
        assert await store.read(lambda tx: tx.books.periods(("", ""), 10, ["bp-2"])) == given[3:]
        assert await store.read(lambda tx: tx.books.periods(("", ""), 10, [])) == []

    async def test_thousands_are_posted_and_read_together(self, store: Store) -> None:
        given = [entry(order=f"o-{n}", settles_at=T0) for n in range(1_200)]
        await post(store, *given)
        await post(store, *given)
        found = await store.read(lambda tx: tx.books.of_orders([("bp-1", f"o-{n}") for n in range(1_200)]))
        assert {order: entries[0].order_id for (_, order), entries in found.items()} == {
            f"o-{n}": f"o-{n}" for n in range(1_200)
        }
        await store.write(lambda tx: tx.books.look_again([(e, None) for e in given]))
        assert await due(store) == []

    async def test_a_rebuild_touches_no_books_and_a_crash_leaves_them(
        self, harness: Harness, store: Store
    ) -> None:
        await post(store, entry(settles_at=T0))
        await store.write(lambda tx: tx.books.close(Period("bp-1", "2025-01", T0, "k")))
        await store.write(lambda tx: tx.views.clear())
        left = await harness.crash()
        try:
            assert await page(left, 0, 10, None) == [entry(settles_at=T0)]
            assert await due(left) == ["d-1"]
            assert await left.read(lambda tx: tx.books.closed(["bp-1"])) == {("bp-1", "2025-01")}
        finally:
            await left.close()
