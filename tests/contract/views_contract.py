"""The contract of views: paging, search, isolation of business products, the sweeper's times, flags, failures."""

from typing import Any

from tests.contract.harness import T0, Harness

from milepost.domain.instant import Instant
from milepost.store import FailedFold, Store, Transaction, View, ViewKind

BOTH = ("bp-1", "bp-2")


def view(id: str, product: str = "bp-1", kind: ViewKind = "delivery", **more: Any) -> View:
    given = {"document": b'{"id":"%s"}' % id.encode(), "state": "PENDING", **more}
    return View(kind, product, id, **given)


async def put(store: Store, *views: View) -> None:
    await store.write(lambda tx: tx.views.put(views))


class ViewsContract:
    async def test_a_view_comes_back_as_it_was_put(self, store: Store) -> None:
        full = view(
            "d-1", parent="o-1", position=7, check_at=T0, terms=("1z999", "ann"), document=b'{"n":"\xc3\xa9"}'
        )
        await put(store, full, view("d-1", "bp-2"), view("d-1", kind="order"))
        keys: list[tuple[ViewKind, str, str]] = [
            ("delivery", "bp-1", "d-1"),
            ("delivery", "bp-2", "d-1"),
            ("order", "bp-1", "d-1"),
            ("order", "bp-2", "d-1"),
        ]
        found = await store.read(lambda tx: tx.views.get(keys))
        assert found == {keys[0]: full, keys[1]: view("d-1", "bp-2"), keys[2]: view("d-1", kind="order")}

    async def test_put_replaces_and_the_last_of_a_batch_holds(self, store: Store) -> None:
        await put(store, view("d-1", terms=("old",), check_at=T0), view("d-1", state="DELIVERED"))
        key: tuple[ViewKind, str, str] = ("delivery", "bp-1", "d-1")
        assert (await store.read(lambda tx: tx.views.get([key])))[key].state == "DELIVERED"
        assert await store.read(lambda tx: tx.views.search("old", 10, None)) == []
        assert await store.read(lambda tx: tx.views.due(T0, 10)) == []

    async def test_many_at_once(self, store: Store) -> None:
        many = [view(f"d-{n}", f"bp-{n % 2}", terms=(f"t{n}",)) for n in range(1_200)]
        await put(store, *many)
        keys = [(v.kind, v.business_product_id, v.id) for v in many]
        found = await store.read(lambda tx: tx.views.get(keys))
        assert [found[key] for key in keys] == many
        await store.write(lambda tx: tx.views.remove(keys[1:]))
        assert list(await store.read(lambda tx: tx.views.get(keys))) == keys[:1]
        assert await store.read(lambda tx: tx.views.search("t1", 10, None)) == []

    async def test_find_shows_ambiguity_and_hides_the_rest(self, store: Store) -> None:
        await put(store, *(view("d-1", f"bp-{n:02}") for n in range(12)), view("d-2"))

        async def found(business_products: list[str] | None) -> list[str]:
            views = await store.read(lambda tx: tx.views.find("delivery", "d-1", business_products))
            return [v.business_product_id for v in views]

        assert await found(["bp-03"]) == ["bp-03"]
        assert await found(["bp-05", "bp-04", "bp-99"]) == ["bp-04", "bp-05"]
        assert len(await found(None)) == 10
        assert await found([]) == []

    async def test_pages_are_in_the_order_first_seen(self, store: Store) -> None:
        ids = [f"d-{n}" for n in (5, 3, 9, 1, 7)]
        await put(store, *map(view, ids), view("d-0", "bp-2"), view("o-1", kind="order"))
        await put(store, view("d-3", state="DELIVERED"))  # an update moves nothing

        async def pages(business_products: tuple[str, ...] | None, state: str | None = None) -> list[str]:
            seen: list[str] = []
            after: tuple[int, str, str] | None = None
            while True:
                page = await store.read(
                    lambda tx, at=after: tx.views.page("delivery", at, 2, business_products, state)  # type: ignore[misc]
                )
                assert len(page) <= 2
                if not page:
                    return seen
                seen.extend(v.id for _, v in page)
                number, last = page[-1]
                after = (number, last.business_product_id, last.id)

        assert await pages(None) == [*ids, "d-0"]
        assert await pages(("bp-1",)) == ids
        assert await pages(("bp-2",)) == ["d-0"]
        assert await pages(()) == []
        assert await pages(BOTH, "PENDING") == ["d-5", "d-9", "d-1", "d-7", "d-0"]

    async def test_the_extent_is_how_many_there_are_and_the_newest_number(self, store: Store) -> None:
        await put(store, *(view(f"d-{n}", f"bp-{n % 2}") for n in range(5)), view("o-1", kind="order"))

        async def extent(business_products: tuple[str, ...] | None) -> tuple[int, int]:
            return await store.read(lambda tx: tx.views.extent("delivery", business_products))

        numbers = [n for n, _ in await store.read(lambda tx: tx.views.page("delivery", None, 9, None))]
        assert await extent(None) == (5, numbers[-1])
        assert await extent(("bp-1",)) == (2, numbers[3])
        assert await extent(()) == (0, 0)
        assert await store.read(lambda tx: tx.views.extent("tracker", None)) == (0, 0)

    async def test_pages_go_back_from_the_newest_view_too(self, store: Store) -> None:
        await put(store, *(view(f"d-{n}") for n in range(5)))
        await put(store, view("d-1", state="DELIVERED"))
        seen: list[str] = []
        after: tuple[int, str, str] | None = None
        while page := await store.read(
            lambda tx, at=after: tx.views.page("delivery", at, 2, None, newest_first=True)  # type: ignore[misc]
        ):
            seen += [v.id for _, v in page]
            number, last = page[-1]
            after = (number, last.business_product_id, last.id)
        assert seen == ["d-4", "d-3", "d-2", "d-1", "d-0"]

    async def test_pages_of_several_business_products_are_merged(self, store: Store) -> None:
        mine = [f"bp-{n}" for n in (1, 2, 4)]
        every = [
            view(f"d-{n:02}", f"bp-{n % 5}", state="PENDING" if n % 2 else "DELIVERED") for n in range(40)
        ]
        await put(store, *every)

        async def pages(state: str | None, newest_first: bool) -> list[str]:
            seen: list[str] = []
            after: tuple[int, str, str] | None = None
            while page := await store.read(
                lambda tx, at=after: tx.views.page(  # type: ignore[misc]
                    "delivery", at, 3, mine, state, newest_first=newest_first
                )
            ):
                seen += [v.id for _, v in page]
                number, last = page[-1]
                after = (number, last.business_product_id, last.id)
            return seen

        for state in (None, "PENDING"):
            expected = [v.id for v in every if v.business_product_id in mine and state in (None, v.state)]
            assert await pages(state, newest_first=False) == expected
            assert await pages(state, newest_first=True) == expected[::-1]

    async def test_a_cursor_survives_a_rebuild(self, store: Store) -> None:
        await put(store, view("d-1"), view("d-2"), view("d-3"))
        number, second = (await store.read(lambda tx: tx.views.page("delivery", None, 2, None)))[1]
        await store.write(lambda tx: tx.views.clear())
        await put(store, view("d-1"), view("d-2"), view("d-3"))
        cursor = (number, second.business_product_id, second.id)
        page = await store.read(lambda tx: tx.views.page("delivery", cursor, 10, None))
        assert [v.id for _, v in page] == ["d-3"]

    async def test_a_cursor_tells_nothing_of_another_business_product(self, store: Store) -> None:
        await put(store, view("d-1"), view("d-2"), view("d-3"), view("secret", "bp-2"))
        at_secret, at_nothing = (0, "bp-2", "secret"), (0, "bp-2", "no-such-id")

        async def page(cursor: tuple[int, str, str]) -> list[str]:
            rows = await store.read(lambda tx: tx.views.page("delivery", cursor, 10, ["bp-1"]))
            return [v.id for _, v in rows]

        assert await page(at_secret) == await page(at_nothing) == ["d-1", "d-2", "d-3"]

    async def test_terms_with_a_beginning_are_paged_and_counted(self, store: Store) -> None:
        await put(
            store,
            view("d-1", terms=("\x1fa/x", "\x1fa/y")),
            view("d-2", terms=("\x1fa/x",)),
            view("d-3", "bp-2", terms=("\x1fa/x", "\x1fb")),
            view("d-4", terms=("a/x",)),
        )
        whole = await store.read(lambda tx: tx.views.termed("\x1fa/", None, 10))
        assert [(f.term[1:], f.business_product_id, f.id) for f in whole] == [
            ("a/x", "bp-1", "d-1"),
            ("a/x", "bp-1", "d-2"),
            ("a/x", "bp-2", "d-3"),
            ("a/y", "bp-1", "d-1"),
        ]
        for place, found in enumerate(whole):
            rest = await store.read(lambda tx, found=found: tx.views.termed("\x1fa/", found, 2))
            assert rest == whole[place + 1 : place + 3]
        assert await store.read(lambda tx: tx.views.tally("\x1fa/", 10, None)) == [
            ("\x1fa/x", 3),
            ("\x1fa/y", 1),
        ]
        assert await store.read(lambda tx: tx.views.tally("\x1f", 1, ("bp-2",))) == [("\x1fa/x", 1)]

    async def test_search_finds_whole_terms_then_beginnings(self, store: Store) -> None:
        await put(
            store,
            view("d-1", terms=("1z99", "ann@example.com")),
            view("d-2", terms=("1z999",)),
            view("d-3", "bp-2", terms=("1z99",)),
            view("d-4", terms=("1z9_", "1z9%", "1z98\U0001f4e6")),
            view("o-1", kind="order", terms=("1z99",)),
        )

        async def search(term: str, limit: int, products: tuple[str, ...] | None) -> list[tuple[str, str]]:
            found = await store.read(lambda tx: tx.views.search(term, limit, products))
            return [(f.term, f.id) for f in found]

        assert await search("1z99", 10, ("bp-1",)) == [("1z99", "d-1"), ("1z99", "o-1"), ("1z999", "d-2")]
        assert await search("1z99", 2, None) == [("1z99", "d-1"), ("1z99", "d-3")]
        assert await search("1z99", 10, ("bp-2",)) == [("1z99", "d-3")]
        assert await search("1z9%", 10, None) == [("1z9%", "d-4")]
        assert await search("1z98", 10, None) == [("1z98\U0001f4e6", "d-4")]
        assert await search("ann@", 10, ("bp-1",)) == [("ann@example.com", "d-1")]
        assert await search("", 10, None) == []
        await put(store, view("d-1", terms=("1z99", "bob@example.com")))
        assert await search("ann@", 10, None) == []
        assert await search("bob@", 10, None) == [("bob@example.com", "d-1")]
        await store.write(lambda tx: tx.views.remove([("delivery", "bp-1", "d-1")]))
        assert await search("bob@", 10, None) == []
        assert await search("1z99", 1, ("bp-2",)) == [("1z99", "d-3")]

    async def test_due_and_recheck(self, store: Store) -> None:
        await put(
            store,
            view("d-1", check_at=Instant(T0 + 5)),
            view("d-2", check_at=T0),
            view("d-3"),
            view("d-4", check_at=Instant(T0 + 6)),
        )

        async def due(at: int, limit: int = 10) -> list[str]:
            return [v.id for v in await store.read(lambda tx: tx.views.due(Instant(at), limit))]

        assert await due(T0 - 1) == []
        assert await due(T0 + 5) == ["d-2", "d-1"]
        assert await due(T0 + 9, 1) == ["d-2"]
        before = await store.read(lambda tx: tx.views.get([("delivery", "bp-1", "d-1")]))
        await store.write(
            lambda tx: tx.views.recheck(
                {("delivery", "bp-1", "d-2"): None, ("delivery", "bp-1", "d-1"): Instant(T0 + 9)}
            )
        )
        assert await due(T0 + 9) == ["d-4", "d-1"]
        after = await store.read(lambda tx: tx.views.get([("delivery", "bp-1", "d-1")]))
        key: tuple[ViewKind, str, str] = ("delivery", "bp-1", "d-1")
        assert (after[key].document, after[key].state) == (before[key].document, before[key].state)

    async def test_flags_are_a_set(self, store: Store) -> None:
        await store.write(lambda tx: tx.views.flag({1: ["keyReuse"], 2: ["conflict", "keyReuse"]}))
        await store.write(lambda tx: tx.views.flag({1: ["keyReuse", "conflict"]}))
        found = await store.read(lambda tx: tx.views.flags([1, 2, 3]))
        assert found == {1: ("conflict", "keyReuse"), 2: ("conflict", "keyReuse")}

    async def test_failures_are_listed_once_each(self, store: Store) -> None:
        def failure(position: int, subject: str, product: str = "bp-1", error: str = "boom") -> FailedFold:
            return FailedFold("projector", position, product, subject, error, T0)

        given = [failure(2, "order/b"), failure(2, "order/a"), failure(1, "order/c", "bp-2")]
        await store.write(lambda tx: tx.views.fail(given))
        await store.write(lambda tx: tx.views.fail([failure(2, "order/b", error="again")]))
        listed = await store.read(lambda tx: tx.views.failures(0, 10, None))
        assert [(f.position, f.subject, f.error) for f in listed] == [
            (1, "order/c", "boom"),
            (2, "order/a", "boom"),
            (2, "order/b", "again"),
        ]
        assert listed[0] == given[2]
        assert await store.read(lambda tx: tx.views.failures(1, 1, ["bp-1"])) == listed[1:2]
        behind = (2, "projector", "order/a")
        assert await store.read(lambda tx: tx.views.failures(behind, 10, None)) == listed[2:]
        assert (await store.read(lambda tx: tx.journal.counts("projector"))).failed_folds == 3
        assert (await store.read(lambda tx: tx.journal.counts("publisher"))).failed_folds == 0

    async def test_two_builds_of_the_same_dump_the_same(self, store: Store) -> None:
        def build(tx: Transaction, views: list[View], at: int) -> None:
            tx.views.put(views)
            tx.views.index({1: ("bp-1", ["order/o-1", "event/e-1"])})
            tx.views.flag({1: ["keyReuse"]})
            tx.views.fail([FailedFold("projector", 1, "bp-1", "order/o-1", "boom", Instant(at))])

        views = [view("d-1", terms=("b", "a"), check_at=T0), view("d-2"), view("o-1", kind="order")]
        world = view("o-1", kind="world", terms=("w",))
        await put(store, world)
        await store.write(lambda tx: build(tx, views, T0))
        first = await store.read(lambda tx: tx.views.dump())
        assert len(first) == 3 + 2 + 2 + 1 + 1
        assert first == sorted(first)
        await store.write(lambda tx: tx.views.clear())
        assert await store.read(lambda tx: tx.views.dump()) == []
        assert await store.read(lambda tx: tx.views.find("world", "o-1", None)) == [world]
        assert len(await store.read(lambda tx: tx.views.search("w", 10, None))) == 1
        await store.write(lambda tx: build(tx, [*views[::-1], views[0]], T0 + 9))
        assert await store.read(lambda tx: tx.views.dump()) == first
        await put(store, view("d-2", state="DELIVERED"))
        assert await store.read(lambda tx: tx.views.dump()) != first

    async def test_another_consumers_failures_outlive_a_rebuild(self, store: Store) -> None:
        await store.write(lambda tx: tx.views.fail([FailedFold("publisher", 1, "bp-1", "", "boom", T0)]))
        await store.write(lambda tx: tx.views.clear())
        assert await store.read(lambda tx: tx.views.dump()) == []
        assert len(await store.read(lambda tx: tx.views.failures(0, 10, None))) == 1

    async def test_views_survive_a_reopen(self, harness: Harness) -> None:
        store = await harness.open("views")
        await put(store, view("d-1", terms=("x",), check_at=T0))
        first = await store.read(lambda tx: tx.views.dump())
        await store.close()
        again = await harness.open("views")
        try:
            assert await again.read(lambda tx: tx.views.dump()) == first
        finally:
            await again.close()
