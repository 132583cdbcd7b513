"""The contract of notifications and choices: each once for life, due ones in order, and nothing of another's."""

from typing import Any

import pytest
from msgspec.structs import replace
from tests.contract.harness import T0, Harness

from milepost.domain.instant import MINUTE, Instant
from milepost.domain.notification import STATES, Notification, Transition, move, notification_id
from milepost.store import Store, Transaction


def made(order: str = "o-1", kind: Any = "shipped", *, product: str = "bp-1", due: int = 0) -> Notification:
    """One that is WAITING and due so many milliseconds after T0."""
    steps = (Transition(T0, "WAITING", "projector"),)
    named = notification_id(product, order, "d-1", kind, "")
    return Notification(
        named, product, order, "d-1", kind, "", "WAITING", T0, T0, Instant(T0 + due), steps, data={"day": "x"}
    )


def sending(row: Notification, lease: int) -> Notification:
    return move(row, "claim", T0, "notifier", lease_until=Instant(T0 + lease), tries=1, channel="email")


def suppressed(row: Notification, rule: int) -> Notification:
    return move(row, "suppress", T0, "notifier", rule=rule, reason="why")


async def put(store: Store, *rows: Notification) -> None:
    await store.write(lambda tx: tx.notifications.put(rows))


class NotificationsContract:
    async def test_a_notification_is_added_once_for_life(self, store: Store) -> None:
        row, other = made(), made("o-2")
        assert await store.write(lambda tx: tx.notifications.add([row, row])) == 1
        later = suppressed(row, 6)
        await put(store, later)
        assert await store.write(lambda tx: tx.notifications.add([row, other])) == 1
        found = await store.read(lambda tx: tx.notifications.get([row.id, other.id, "ntf_none"]))
        assert found == {row.id: later, other.id: other}

    async def test_it_is_kept_as_it_is(self, store: Store) -> None:
        row = replace(
            sending(made(), MINUTE),
            recipient="rcp_1",
            locale="es",
            covers=("ntf_2",),
            by_hand=True,
            sent_at=T0,
        )
        await put(store, row)
        assert await store.read(lambda tx: tx.notifications.get([row.id])) == {row.id: row}

    async def test_what_is_due_is_given_longest_due_first(self, store: Store) -> None:
        rows = [
            made("o-1", due=3),
            made("o-2", due=1),
            made("o-3", due=2),
            made("o-4", due=1),
            made("o-5", due=9),
        ]
        await store.write(lambda tx: tx.notifications.add(rows))

        async def due(at: int, limit: int = 10) -> list[str]:
            found = await store.read(lambda tx: tx.notifications.due(Instant(T0 + at), limit))
            return [row.order_id for row in found]

        assert await due(0) == []
        assert await due(3) == ["o-2", "o-4", "o-3", "o-1"]
        assert await due(3, limit=2) == ["o-2", "o-4"]

    async def test_one_that_is_being_sent_is_due_when_its_lease_has_run_out(self, store: Store) -> None:
        row = made()
        await put(store, sending(row, 10))
        assert await store.read(lambda tx: tx.notifications.next_due()) == T0 + 10
        assert await store.read(lambda tx: tx.notifications.due(Instant(T0 + 9), 10)) == []
        found = await store.read(lambda tx: tx.notifications.due(Instant(T0 + 10), 10))
        assert [n.id for n in found] == [row.id]

    @pytest.mark.parametrize("state", [s for s in STATES if s not in ("WAITING", "SENDING")])
    async def test_what_is_settled_is_never_due(self, store: Store, state: Any) -> None:
        await put(store, replace(made(), state=state))
        assert await store.read(lambda tx: tx.notifications.next_due()) is None
        assert await store.read(lambda tx: tx.notifications.due(Instant(T0 + MINUTE), 10)) == []

    async def test_those_of_orders_are_found_by_business_product(self, store: Store) -> None:
        mine = [made("o-1", "shipped"), made("o-1", "delivered"), made("o-2")]
        others = [made("o-1", product="bp-2"), made("o-3")]
        await store.write(lambda tx: tx.notifications.add([mine[1], *others, mine[0], mine[2]]))
        found = await store.read(lambda tx: tx.notifications.of_orders([("bp-1", "o-1"), ("bp-1", "o-2")]))
        assert found == {("bp-1", "o-1"): [mine[1], mine[0]], ("bp-1", "o-2"): [mine[2]]}

    async def test_pages_are_of_one_s_business_products_and_states(self, store: Store) -> None:
        rows = [made("o-1"), made("o-2", product="bp-2"), suppressed(made("o-3"), 13), made("o-4")]
        await put(store, *rows)

        async def page(after: int = 0, limit: int = 10, **more: Any) -> list[str]:
            def read(tx: Transaction) -> list[tuple[int, Notification]]:
                return tx.notifications.page(after, limit, more.get("products"), more.get("states", ()))

            return [row.order_id for _, row in await store.read(read)]

        assert await page() == ["o-1", "o-2", "o-3", "o-4"]
        assert await page(products={"bp-1"}) == ["o-1", "o-3", "o-4"]
        assert await page(products=set()) == []
        assert await page(states=("SUPPRESSED",)) == ["o-3"]
        assert await page(limit=2) == ["o-1", "o-2"]
        numbers = [n for n, _ in await store.read(lambda tx: tx.notifications.page(0, 10, None))]
        assert await page(after=numbers[1]) == ["o-3", "o-4"]

    async def test_they_are_counted_by_state_and_rule(self, store: Store) -> None:
        assert await store.read(lambda tx: (tx.notifications.count(), tx.notifications.suppressed())) == (
            {},
            {},
        )
        rows = [made("o-1"), *(suppressed(made(f"o-{n}"), rule) for n, rule in ((2, 6), (3, 6), (4, 13)))]
        await put(store, *rows, replace(sending(made("o-5"), 1), rule=6))
        counted = await store.read(lambda tx: tx.notifications.count())
        assert counted == {"WAITING": 1, "SUPPRESSED": 3, "SENDING": 1}
        assert await store.read(lambda tx: tx.notifications.suppressed()) == {6: 2, 13: 1}
        again = move(rows[1], "resend", T0, "key-1", by_hand=True)
        await put(store, again)
        assert await store.read(lambda tx: tx.notifications.suppressed()) == {6: 1, 13: 1}

    async def test_choices_hold_until_others_do_and_are_forgotten_when_empty(self, store: Store) -> None:
        mine, other = ("bp-1", "rcp_1"), ("bp-2", "rcp_1")
        await store.write(lambda tx: tx.notifications.choose({mine: b"{}", other: b'{"off":["all"]}'}))
        await store.write(lambda tx: tx.notifications.choose({mine: b'{"off":["shipped"]}'}))
        found = await store.read(lambda tx: tx.notifications.choices([mine, other, ("bp-1", "rcp_2")]))
        assert found == {mine: b'{"off":["shipped"]}', other: b'{"off":["all"]}'}
        await store.write(lambda tx: tx.notifications.choose({mine: b""}))
        assert await store.read(lambda tx: tx.notifications.choices([mine, other])) == {other: found[other]}

    async def test_choices_are_paged_by_key(self, store: Store) -> None:
        keys = [("bp-1", "rcp_1"), ("bp-1", "rcp_2"), ("bp-2", "rcp_0")]
        await store.write(lambda tx: tx.notifications.choose(dict.fromkeys(keys, b"{}")))

        async def page(
            after: tuple[str, str], limit: int, products: set[str] | None
        ) -> list[tuple[str, str]]:
            found = await store.read(lambda tx: tx.notifications.choice_page(after, limit, products))
            return [key for key, _ in found]

        assert await page(("", ""), 10, None) == keys
        assert await page(keys[0], 10, None) == keys[1:]
        assert await page(("", ""), 2, None) == keys[:2]
        assert await page(("", ""), 10, {"bp-2"}) == keys[2:]
        assert await page(("", ""), 10, set()) == []

    async def test_a_crash_leaves_what_was_committed(self, harness: Harness) -> None:
        store = await harness.open()
        try:
            row = made()
            await put(store, row)
            await store.write(lambda tx: tx.notifications.choose({("bp-1", "r-1"): b"{}"}))
            left = await harness.crash()
            try:
                assert await left.read(lambda tx: tx.notifications.get([row.id])) == {row.id: row}
                assert await left.read(lambda tx: tx.notifications.choices([("bp-1", "r-1")]))
            finally:
                await left.close()
        finally:
            await store.close()
