"""The contract of parcels' measures: replaced by order, told by revision, forgotten and dumped with the views."""

from typing import Any

import pytest
from msgspec.structs import replace
from tests.contract.harness import T0, arrival
from tests.contract.notification_states_contract import made, suppressed

from milepost.domain.measure import Measure
from milepost.store import Store, Transaction

_TEXTS = {
    "business_product_id": "bp-1",
    "order_id": "o-1",
    "delivery_id": "d-1",
    "tracker": "ups/1Z",
    "carrier": "UPS",
}
_COUNTS = ("stage", "shipped_by", "delivered_by", "revisions", "attempts", "milestones", "flags")


def parcel(order: str = "o-1", **more: Any) -> Measure:
    """A measure of which little is known."""
    nothing: dict[str, Any] = dict.fromkeys(Measure.__struct_fields__)
    texts = {"origin": "US-WA", "destination": "", "delivery_state": "PENDING", **_TEXTS, "order_id": order}
    return Measure(**nothing | texts | dict.fromkeys(_COUNTS, 0) | more)


async def put(store: Store, *rows: Measure) -> None:
    """These are all rows of the orders they name."""
    orders: dict[tuple[str, str], list[Measure]] = {}
    for row in rows:
        orders.setdefault((row.business_product_id, row.order_id), []).append(row)
    await store.write(lambda tx: tx.parcels.put(orders))


async def stored(store: Store) -> dict[int, Measure]:
    def read(tx: Transaction) -> dict[int, Measure]:
        return tx.parcels.get([row[1] for row in tx.parcels.changed(0, 100)])

    return await store.read(read)


class ParcelsContract:
    async def test_a_measure_comes_back_as_it_was_put(self, store: Store) -> None:
        full = {name: n + 1 for n, name in enumerate(Measure.__struct_fields__[8:])}
        rows = [
            parcel(**full),
            parcel(delivery_id="d-2", tracker=""),
            parcel("o\0-2", business_product_id="bp-2"),
        ]
        await put(store, *rows)
        found = list((await stored(store)).values())
        assert found[:2] == rows[:2]
        assert len(found) == await store.read(lambda tx: tx.parcels.count()) == 3

    async def test_what_changed_is_told_by_revision_and_what_did_not_is_not(self, store: Store) -> None:
        await put(store, parcel("o-1"), parcel("o-2"))
        before = await store.read(lambda tx: tx.parcels.state())
        await put(store, parcel("o-1"), parcel("o-2", attempts=1), parcel("o\0-3"))
        after = await store.read(lambda tx: tx.parcels.state())
        changed = await store.read(lambda tx: tx.parcels.changed(before.revision, 10))
        assert [row[0] for row in changed] == [before.revision + 1, before.revision + 2]
        assert after.revision == before.revision + 2
        await put(store, parcel("o\0-3"))
        assert (await store.read(lambda tx: tx.parcels.state())) == after
        assert len(await store.read(lambda tx: tx.parcels.changed(0, 2))) == 2

    async def test_a_row_keeps_its_number_and_leaves_it_when_it_goes(self, store: Store) -> None:
        await put(store, parcel(), parcel(delivery_id="d-2"))
        one, two = sorted(await stored(store))
        start = (await store.read(lambda tx: tx.parcels.state())).revision
        await put(store, parcel(delivery_id="d-2", attempts=3))
        assert {number: row.attempts for number, row in (await stored(store)).items()} == {two: 3}
        assert [n for _, n in await store.read(lambda tx: tx.parcels.gone(start, 10))] == [one]
        await store.write(lambda tx: tx.views.remove([("order", "bp-1", "o-1")]))
        assert await stored(store) == {}
        assert [n for _, n in await store.read(lambda tx: tx.parcels.gone(0, 10))] == [one, two]
        await put(store, parcel())
        assert max(await stored(store)) > two

    async def test_of_what_went_the_newest_numbers_are_kept_and_up_to_where_they_are_not(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("milepost.sql.parcels.GONE_KEPT", 2)
        monkeypatch.setattr("milepost.sql.parcels.PRUNE_EVERY", 4)
        await put(store, *(parcel(f"o-{n}") for n in range(6)))
        assert (await store.read(lambda tx: tx.parcels.state())).floor == 0
        for n in range(6):
            await store.write(lambda tx, n=n: tx.parcels.remove([("bp-1", f"o-{n}")]))  # type: ignore[misc]
        state = await store.read(lambda tx: tx.parcels.state())
        assert (state.revision, state.floor) == (12, 10)
        assert [revision for revision, _ in await store.read(lambda tx: tx.parcels.gone(0, 10))] == [11, 12]

    async def test_it_is_a_view_and_goes_with_the_views(self, store: Store) -> None:
        await put(store, parcel())
        dumped = [row for row in await store.read(lambda tx: tx.views.dump()) if row[0] == "parcel"]
        assert [row[1:5] for row in dumped] == [("bp-1", "o-1", "d-1", "ups/1Z")]
        before = await store.read(lambda tx: tx.parcels.state())
        await store.write(lambda tx: tx.parcels.measured(7))
        assert (await store.read(lambda tx: tx.parcels.state())).behind == 7
        await store.write(lambda tx: tx.views.clear())
        after = await store.read(lambda tx: tx.parcels.state())
        assert (after.epoch, after.behind) == (before.epoch + 1, None)
        assert await stored(store) == {}
        await put(store, parcel())
        assert dumped == [row for row in await store.read(lambda tx: tx.views.dump()) if row[0] == "parcel"]

    async def test_how_long_events_took_to_come(self, store: Store) -> None:
        await store.append(
            [arrival("1", "1", at=T0 + 500), arrival("2", "2", at=T0 + 40, road="eventbridge")]
        )
        other = ["businessProduct/bp-2/order/o-1/delivery/d-1"]
        await store.append([arrival("3", "3", at=T0 + 7, resources=other), arrival("4", "4", road="replay")])
        published = (await store.read(lambda tx: tx.journal.records([1])))[1].published_at
        late = T0 - published
        assert await store.read(lambda tx: tx.journal.lags(10, None)) == [late + 7, late + 40, late + 500]
        assert await store.read(lambda tx: tx.journal.lags(1, ["bp-1"])) == [late + 40]

    async def test_what_became_of_notifications(self, store: Store) -> None:
        rows = [suppressed(made(), 5), suppressed(made("o-2"), 5), made("o-2", "delivered")]
        rows.append(replace(made("o-9", product="bp-2"), state="SENT"))
        await store.write(lambda tx: tx.notifications.put(rows))
        assert await store.read(lambda tx: tx.notifications.health(["bp-1"])) == (
            {"SUPPRESSED": 2, "WAITING": 1},
            {5: 2},
            2,
        )
        assert (await store.read(lambda tx: tx.notifications.health(None)))[2] == 3
