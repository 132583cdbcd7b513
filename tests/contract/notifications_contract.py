"""The contract of notifications and choices: added once for life, found by what is due, by order and by state, and
what people chose kept until it is forgotten."""

from typing import Any

from msgspec.structs import replace
from tests.contract.harness import T0, Harness

from milepost.domain.instant import Instant
from milepost.domain.notification import Notification, NotificationState, Transition
from milepost.store import Store


def notification(number: int, **fields: Any) -> Notification:
    """One that is WAITING and due so many milliseconds after T0."""
    made: dict[str, Any] = {"product": "bp-1", "order_id": "o-1", "state": "WAITING", "due": number} | fields
    due = Instant(T0 + made["due"])
    return Notification(
        f"ntf_{number}",
        made["product"],
        made["order_id"],
        f"d-{number}",
        "shipped",
        "",
        made["state"],
        T0,
        T0,
        due,
        (Transition(T0, made["state"], "projector"),),
        lease_until=made.get("lease"),
    )


async def put(store: Store, *notifications: Notification) -> None:
    await store.write(lambda tx: tx.notifications.put(notifications))


class NotificationsContract:
    async def test_each_is_added_once_for_life(self, store: Store) -> None:
        first, second = notification(1), notification(2)
        assert await store.write(lambda tx: tx.notifications.add([first, second, first])) == 2
        moved = replace(first, state="SENT")
        await put(store, moved)
        again = [replace(first, order_id="o-9"), notification(3)]
        assert await store.write(lambda tx: tx.notifications.add(again)) == 1
        found = await store.read(lambda tx: tx.notifications.get(["ntf_1", "ntf_2", "ntf_9"]))
        assert found == {"ntf_1": moved, "ntf_2": second}

    async def test_what_is_due_is_what_waits_and_what_lost_its_sender(self, store: Store) -> None:
        leased = notification(3, state="SENDING", due=-9, lease=Instant(T0 + 40))
        others: list[NotificationState] = ["SENT", "FAILED", "UNCERTAIN", "SUPPRESSED"]
        ended = [notification(10 + n, state=state, due=-5) for n, state in enumerate(others)]
        await put(store, notification(1, due=30), notification(2, due=20), leased, *ended)

        async def due(at: int, limit: int = 10) -> list[str]:
            rows = await store.read(lambda tx: tx.notifications.due(Instant(T0 + at), limit))
            return [n.id for n in rows]

        assert await store.read(lambda tx: tx.notifications.next_due()) == T0 + 20
        assert await due(19) == []
        assert await due(30) == ["ntf_2", "ntf_1"]
        assert await due(40) == ["ntf_2", "ntf_1", "ntf_3"]
        assert await due(40, 1) == ["ntf_2"]
        await put(store, *(notification(n, state="SENT") for n in (1, 2, 3)))
        assert await store.read(lambda tx: tx.notifications.next_due()) is None

    async def test_pages_are_by_number_within_business_products_and_states(self, store: Store) -> None:
        made = [
            notification(n, product=f"bp-{n % 2}", state=("WAITING", "SENT")[n % 3 > 0]) for n in range(6)
        ]
        await put(store, *made)

        async def ids(*asked: Any) -> list[str]:
            return [n.id for _, n in await store.read(lambda tx: tx.notifications.page(*asked))]

        assert await ids(0, 10, None) == [n.id for n in made]
        assert await ids(0, 10, {"bp-1"}) == ["ntf_1", "ntf_3", "ntf_5"]
        assert await ids(0, 10, set()) == []
        assert await ids(0, 10, None, ("WAITING",)) == ["ntf_0", "ntf_3"]
        first = await store.read(lambda tx: tx.notifications.page(0, 2, None))
        assert await ids(first[-1][0], 2, None) == ["ntf_2", "ntf_3"]
        # A number is for life, however often the row is put.
        await put(store, *reversed(made))
        assert await ids(0, 10, None) == [n.id for n in made]
        assert await store.read(lambda tx: tx.notifications.count()) == {"WAITING": 2, "SENT": 4}

    async def test_an_orders_are_found_as_they_were_decided(self, store: Store) -> None:
        made = [notification(n, order_id=f"o-{n % 2}") for n in range(4)]
        other = notification(9, product="bp-2", order_id="o-1")
        await put(store, *made, other)
        keys = [("bp-1", "o-1"), ("bp-2", "o-1"), ("bp-2", "o-0")]
        found = await store.read(lambda tx: tx.notifications.of_orders(keys))
        assert found == {("bp-1", "o-1"): [made[1], made[3]], ("bp-2", "o-1"): [other]}

    async def test_choices_hold_until_they_are_forgotten(self, store: Store) -> None:
        keys = [("bp-1", "r-1"), ("bp-1", "r-2"), ("bp-2", "r-1")]
        await store.write(lambda tx: tx.notifications.choose(dict.fromkeys(keys, b"{}")))
        changed = {keys[0]: b'{"off":["all"]}', keys[1]: b""}
        await store.write(lambda tx: tx.notifications.choose(changed))
        found = await store.read(lambda tx: tx.notifications.choices([*keys, ("bp-9", "r-9")]))
        assert found == {keys[0]: b'{"off":["all"]}', keys[2]: b"{}"}

        async def page(*asked: Any) -> list[tuple[str, str]]:
            return [key for key, _ in await store.read(lambda tx: tx.notifications.choice_page(*asked))]

        assert await page(("", ""), 10, None) == [keys[0], keys[2]]
        assert await page(("", ""), 1, None) == [keys[0]]
        assert await page(keys[0], 10, None) == [keys[2]]
        assert await page(("", ""), 10, {"bp-2"}) == [keys[2]]
        assert await page(("", ""), 10, set()) == []

    async def test_a_crash_leaves_what_was_committed(self, harness: Harness) -> None:
        store = await harness.open()
        try:
            await put(store, notification(1))
            await store.write(lambda tx: tx.notifications.choose({("bp-1", "r-1"): b"{}"}))
            left = await harness.crash()
            try:
                assert await left.read(lambda tx: tx.notifications.get(["ntf_1"])) == {
                    "ntf_1": notification(1)
                }
                assert await left.read(lambda tx: tx.notifications.choices([("bp-1", "r-1")]))
            finally:
                await left.close()
        finally:
            await store.close()
