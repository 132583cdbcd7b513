"""The contract of work queues: items replaced by owner, pages and counts in order, marks that outlive a rebuild."""

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace
from tests.contract.harness import T0, Harness

from milepost.domain.instant import Instant
from milepost.domain.queue import Mark, QueueItem
from milepost.store import ItemKey, ItemPlace, SavedFilter, Store, Transaction, View, WantedItems

LATE = WantedItems("late")


def item(number: int, product: str = "bp-1", **more: Any) -> QueueItem:
    given: dict[str, Any] = {"queue": "late", "since": Instant(T0 + number), "order_id": f"o-{number}"} | more
    return QueueItem(business_product_id=product, subject=f"order/o-{number}/delivery/d", **given)


def owner(item: QueueItem) -> tuple[str, str]:
    return item.business_product_id, f"order/{item.order_id}"


def key(item: QueueItem) -> ItemKey:
    return ItemKey(item.business_product_id, owner(item)[1], item.queue, item.subject, item.since)


async def put(store: Store, *items: QueueItem) -> None:
    found: dict[tuple[str, str], list[QueueItem]] = {}
    for each in items:
        found.setdefault(owner(each), []).append(each)
    await store.write(lambda tx: tx.queues.put(found))


async def numbers(
    store: Store, wanted: WantedItems = LATE, reach: Sequence[str] | None = None, now: int = T0, **more: Any
) -> list[int]:
    at, limit = more.get("after"), more.get("limit", 100)
    found = await store.read(lambda tx: tx.queues.page(wanted, at, limit, reach, Instant(now)))
    return [each.since - T0 for each in found]


class QueuesContract:
    async def test_items_come_back_as_they_were_put_oldest_first(self, store: Store) -> None:
        full = item(
            3,
            delivery_id="d",
            carrier_code="UPS",
            tracking_number="1Z",
            region="US-WA",
            state="IN_TRANSIT",
            detail="LATE",
            count=2,
        )
        await put(store, full, item(1), item(2, "bp-2"), item(4, queue="stalled"))
        assert await store.read(lambda tx: tx.queues.page(LATE, None, 9, None, T0)) == [
            item(1),
            item(2, "bp-2"),
            full,
        ]
        assert await store.read(lambda tx: tx.queues.find([key(full), key(item(9))])) == {key(full): full}

    async def test_an_owners_items_are_replaced_together(self, store: Store) -> None:
        two = [item(1), replace(item(1), queue="stalled")]
        await put(store, *two, item(2))
        worse = replace(two[0], count=3)
        await put(store, worse)
        assert await store.read(lambda tx: tx.queues.page(LATE, None, 9, None, T0)) == [worse, item(2)]
        assert await numbers(store, WantedItems("stalled")) == []
        await store.write(lambda tx: tx.queues.put({owner(worse): (), ("bp-2", "order/o-2"): ()}))
        assert await numbers(store) == [2]

    async def test_pages_follow_each_other_whatever_is_reached(self, store: Store) -> None:
        await put(store, *(item(n, f"bp-{n % 3}", since=Instant(T0 + n // 2)) for n in range(12)))
        for reach in (None, ["bp-1"], ["bp-0", "bp-2"], []):
            seen: list[tuple[int, str, str]] = []
            after: ItemPlace | None = None
            while True:
                place = after
                page = await store.read(
                    lambda tx, at=place, seen_by=reach: tx.queues.page(LATE, at, 2, seen_by, T0)  # type: ignore[misc]
                )
                if not page:
                    break
                seen += [(each.since, each.business_product_id, each.subject) for each in page]
                after = ItemPlace(*seen[-1])
            mine = [n for n in range(12) if reach is None or f"bp-{n % 3}" in reach]
            assert len(seen) == len(mine)
            assert seen == sorted(set(seen))

    async def test_filters(self, store: Store) -> None:
        ups = {"carrier_code": "UPS", "region": "US-WA"}
        await put(store, item(1, **ups), item(2, carrier_code="ups"), item(3, region="US-WA"), item(4))
        assert await numbers(store, replace(LATE, carrier_code="Ups")) == [1, 2]
        assert await numbers(store, replace(LATE, region="US-WA")) == [1, 3]
        assert await numbers(store, replace(LATE, until=Instant(T0 + 2))) == [1, 2]
        assert await numbers(store, replace(LATE, carrier_code="ups", region="US-WA")) == [1]

    async def test_counts_end_at_the_most_and_know_the_oldest(self, store: Store) -> None:
        await put(store, *(item(n, f"bp-{n % 2}") for n in range(1, 10)))
        for most, reach, wanted in (
            (100, None, (9, 1)),
            (5, None, (5, 1)),
            (100, ["bp-0"], (4, 2)),
            (100, ["bp-0", "bp-1"], (9, 1)),
            (100, [], (0, None)),
        ):
            count, oldest = await store.read(
                lambda tx, m=most, r=reach: tx.queues.count("late", m, r, T0)  # type: ignore[misc]
            )
            assert (count, None if oldest is None else oldest - T0) == wanted

    async def test_what_people_did_hides_an_item_until_it_is_raised_anew_or_gets_worse(
        self, store: Store
    ) -> None:
        await put(store, item(1), item(2), item(3, count=2))
        later = Instant(T0 + 100)
        marks = {
            key(item(1)): Mark("Ann", later, None, "calls back", "Ann", T0),
            key(item(3)): Mark(handled_count=2, by="Bob"),
        }
        await store.write(lambda tx: tx.queues.mark(marks))
        assert await store.read(lambda tx: tx.queues.marks([*marks, key(item(2))])) == marks
        assert await numbers(store) == [2]
        assert await numbers(store, now=later) == [1, 2]
        assert await numbers(store, replace(LATE, standing="snoozed")) == [1]
        assert await numbers(store, replace(LATE, standing="handled")) == [3]
        assert await numbers(store, replace(LATE, standing="all")) == [1, 2, 3]
        assert await numbers(store, replace(LATE, standing="all", assignee="Ann")) == [1]
        assert await numbers(store, replace(LATE, assignee="")) == [2]
        assert (await store.read(lambda tx: tx.queues.count("late", 9, None, T0)))[0] == 1
        await put(store, replace(item(3), count=3))
        assert await numbers(store) == [2, 3], "it got worse"
        anew = replace(item(1), since=Instant(T0 + 50))
        await put(store, anew)
        assert await numbers(store) == [2, 3, 50], "it was raised anew"
        await put(store, item(1))
        assert await numbers(store) == [2, 3], "and is the old one again"

    async def test_marks_are_no_view_and_go_when_they_are_forgotten(
        self, harness: Harness, store: Store
    ) -> None:
        await put(store, item(1), item(2))
        marks = {key(item(1)): Mark(handled_count=1), key(item(2)): Mark("Ann")}
        await store.write(lambda tx: tx.queues.mark(marks))
        before = await store.read(lambda tx: tx.views.dump())
        await store.write(lambda tx: tx.views.clear())
        assert await numbers(store, replace(LATE, standing="all")) == []
        await put(store, item(1), item(2))
        assert await store.read(lambda tx: tx.views.dump()) == before
        assert await numbers(store) == [2]
        left = await harness.crash()
        try:
            assert await left.read(lambda tx: tx.queues.marks(marks)) == marks
        finally:
            await left.close()
        await store.write(lambda tx: tx.queues.forget([owner(item(1)), ("bp-2", "order/o-2")]))
        assert await store.read(lambda tx: tx.queues.marks(marks)) == {key(item(2)): Mark("Ann")}

    async def test_items_go_with_the_view_they_were_worked_out_from(self, store: Store) -> None:
        orphan = QueueItem("orphans", "bp-1", "tracker/ups/1Z", T0)
        await store.write(
            lambda tx: (
                tx.views.put([View("order", "bp-1", "o-1", b"{}", "PENDING")]),
                tx.queues.put(
                    {
                        owner(item(1)): [item(1)],
                        ("bp-1", "tracker/ups/1Z"): [orphan],
                        owner(item(2)): [item(2)],
                    }
                ),
            )
        )
        gone = [("order", "bp-1", "o-1"), ("tracker", "bp-1", "ups/1Z"), ("delivery", "bp-1", "o-2")]
        await store.write(lambda tx: tx.views.remove(gone))  # type: ignore[arg-type]
        assert await numbers(store) == [2]
        assert await numbers(store, WantedItems("orphans")) == []

    async def test_thousands_at_once(self, store: Store) -> None:
        many = [item(n) for n in range(1_200)]
        await put(store, *many)
        marks = {key(each): Mark("Ann") for each in many}
        await store.write(lambda tx: tx.queues.mark(marks))
        assert await store.read(lambda tx: tx.queues.marks(marks)) == marks
        assert len(await numbers(store, replace(LATE, assignee="Ann"), limit=5_000)) == 1_200
        await store.write(lambda tx: tx.queues.put(dict.fromkeys(map(owner, many), ())))
        assert await numbers(store) == []

    async def test_saved_filters_are_ones_own_and_shared_ones(self, store: Store) -> None:
        mine = SavedFilter("f-1", "ann", False, "late", "UPS", "carrier=UPS", (), T0)
        theirs = replace(mine, id="f-2", owner="bob")
        shared = replace(mine, id="f-3", owner="bob", shared=True, name="A", business_product_ids=("bp-1",))
        for each in (mine, theirs, shared):
            await store.write(lambda tx, saved=each: tx.queues.put_filter(saved))  # type: ignore[misc]
        assert await store.read(lambda tx: tx.queues.filters("ann", None, 9)) == [shared, mine]
        renamed = replace(mine, name="0")
        await store.write(lambda tx: tx.queues.put_filter(renamed))
        await store.write(lambda tx: (tx.queues.remove_filter("f-3"), tx.queues.remove_filter("none")))
        assert await store.read(lambda tx: tx.queues.filters("ann", None, 9)) == [renamed]
        assert await store.read(lambda tx: tx.queues.filters("cid", None, 9)) == []

    async def test_what_others_share_is_bounded_for_each_who_may_see_it(self, store: Store) -> None:
        """Filters of other shops take no place, however many and however they sort."""
        first = SavedFilter("f-0", "ann", True, "late", "zz", "carrier=UPS", ("bp-1",), T0)
        both = replace(first, id="f-1", name="zy", business_product_ids=("bp-1", "bp-2"))
        everybodys = replace(first, id="f-2", name="zx", business_product_ids=())
        crowd = [
            replace(first, id=f"x-{n}", owner=f"x-{n}", name="a", business_product_ids=("bp-9",))
            for n in range(20)
        ]

        def put_all(tx: Transaction) -> None:
            for saved in (first, both, everybodys, *crowd):
                tx.queues.put_filter(saved)

        async def seen(owner: str, *products: str) -> list[str]:
            rows = await store.read(lambda tx: tx.queues.filters(owner, products or None, 3))
            return [saved.id for saved in rows]

        await store.write(put_all)
        assert await seen("bob", "bp-1") == ["f-0"]
        assert await seen("bob", "bp-1", "bp-2") == ["f-1", "f-0"]
        assert await seen("bob", "bp-2") == []
        assert len(await seen("bob", "bp-9")) == 3
        assert await seen("ann", "bp-9") == ["x-0", "x-1", "x-10", "f-2", "f-1", "f-0"], (
            "one's own are all there"
        )
        await store.write(lambda tx: tx.queues.put_filter(replace(both, business_product_ids=("bp-2",))))
        assert await seen("bob", "bp-2") == ["f-1"]
        await store.write(lambda tx: tx.queues.put_filter(replace(both, shared=False)))
        assert await seen("bob", "bp-1", "bp-2") == ["f-0"]
