"""The contract of a notification's states: kept whole, due while under way, counted by state and rule."""

from typing import Any

import pytest
from msgspec.structs import replace
from tests.contract.harness import T0

from milepost.domain.instant import MINUTE, Instant
from milepost.domain.notification import STATES, Notification, Transition, move, notification_id
from milepost.store import Store


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


class NotificationStatesContract:
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
