"""The contract of leases: one holder at a time, and a fence that tells an earlier one."""

from tests.contract.harness import T0

from milepost.domain.instant import Instant
from milepost.store import Lease, Store

UNTIL = Instant(T0 + 30)


async def take(store: Store, owner: str, at: int = 0) -> Lease | None:
    now = Instant(T0 + at)
    return await store.write(
        lambda tx: tx.leases.take("projector", owner, f"hub {owner}", now, Instant(now + 30))
    )


class LeasesContract:
    async def test_one_has_it_until_it_runs_out(self, store: Store) -> None:
        assert await take(store, "a") == Lease("projector", "a", 1, UNTIL, "hub a")
        assert await take(store, "b", 29) is None
        assert await take(store, "a", 20) == Lease("projector", "a", 1, Instant(T0 + 50), "hub a")
        assert await take(store, "b", 49) is None
        assert await take(store, "b", 50) == Lease("projector", "b", 2, Instant(T0 + 80), "hub b")
        assert not await store.read(lambda tx: tx.leases.holds("projector", 1))
        assert await store.read(lambda tx: tx.leases.holds("projector", 2))
        assert not await store.read(lambda tx: tx.leases.holds("sweeper", 1))

    async def test_one_that_is_given_up_can_be_taken_at_once(self, store: Store) -> None:
        await take(store, "a")
        await store.write(lambda tx: tx.leases.give_up("projector", "b"))
        assert await take(store, "b", 1) is None
        await store.write(lambda tx: tx.leases.give_up("projector", "a"))
        assert await take(store, "b", 1) == Lease("projector", "b", 2, Instant(T0 + 31), "hub b")
        assert not await store.read(lambda tx: tx.leases.holds("projector", 1))

    async def test_each_piece_of_work_has_its_own(self, store: Store) -> None:
        await take(store, "a")
        await store.write(lambda tx: tx.leases.take("hydrator", "b", "", T0, UNTIL))
        listed = await store.read(lambda tx: tx.leases.all())
        assert [(lease.name, lease.owner) for lease in listed] == [("hydrator", "b"), ("projector", "a")]
