"""The contract of volumes: arrivals by the hour, counted once each, added up, read and forgotten."""

from tests.contract.harness import MILESTONE, T0, arrival

from milepost.domain.instant import HOUR
from milepost.domain.volume import Span
from milepost.store import Reached, Store, VolumeKey

HOUR_0 = T0 // HOUR
DELIVERED = "PACKAGE_DELIVERED"
BEGINNING = Reached(0, 0)
OTHER = "businessProduct/bp-2/order/o-1/delivery/d-1"


async def _count(
    store: Store, behind: Reached = BEGINNING, limit: int = 100, from_hour: int = 0
) -> tuple[dict[VolumeKey, int], Reached]:
    return await store.read(lambda tx: tx.volumes.count(behind, limit, from_hour))


class VolumesContract:
    async def test_arrivals_are_counted_by_hour_first_ones_and_copies(self, store: Store) -> None:
        await store.append([arrival("1", "1"), arrival("2", "2", at=T0 + HOUR, descriptor=MILESTONE)])
        await store.append([arrival("1", "1", road="eventbridge"), arrival("1", "1", at=T0 + 2 * HOUR)])
        await store.append([arrival("3", "3", resources=[OTHER])])
        found, reached = await _count(store)
        assert found == {
            ("bp-1", DELIVERED, "webhook", HOUR_0): 1,
            ("bp-1", MILESTONE, "webhook", HOUR_0 + 1): 1,
            ("bp-1", DELIVERED, "eventbridge", HOUR_0): 1,
            ("bp-1", DELIVERED, "webhook", HOUR_0 + 2): 1,
            ("bp-2", DELIVERED, "webhook", HOUR_0): 1,
        }
        assert reached == Reached(3, 2)
        assert await _count(store, reached) == ({}, reached)

    async def test_counting_goes_on_where_it_was_in_bounded_steps(self, store: Store) -> None:
        await store.append([arrival(str(n), str(n)) for n in range(5)])
        await store.append([arrival(str(n), str(n), road="eventbridge") for n in range(3)])
        total: dict[VolumeKey, int] = {}
        behind = BEGINNING
        for position, copy in ((2, 2), (4, 3), (5, 3)):
            found, behind = await _count(store, behind, 2)
            assert behind == Reached(position, copy)
            for key, events in found.items():
                total[key] = total.get(key, 0) + events
        assert total == {
            ("bp-1", DELIVERED, "webhook", HOUR_0): 5,
            ("bp-1", DELIVERED, "eventbridge", HOUR_0): 3,
        }

    async def test_conflicts_are_copies_and_what_is_too_old_is_passed(self, store: Store) -> None:
        await store.append([arrival(data={"a": 1}), arrival(data={"a": 2}, at=T0 + HOUR)])
        found, reached = await _count(store)
        assert found == {
            ("bp-1", DELIVERED, "webhook", HOUR_0): 1,
            ("bp-1", DELIVERED, "webhook", HOUR_0 + 1): 1,
        }
        found, again = await _count(store, from_hour=HOUR_0 + 1)
        assert (found, again) == ({("bp-1", DELIVERED, "webhook", HOUR_0 + 1): 1}, reached)

    async def test_counts_add_up_are_read_by_hours_and_forgotten(self, store: Store) -> None:
        first: VolumeKey = ("bp-1", DELIVERED, "webhook", 10)
        later: VolumeKey = ("bp-1", DELIVERED, "webhook", 11)
        other: VolumeKey = ("bp-2", MILESTONE, "eventbridge", 11)
        nobodys: VolumeKey = ("", "watched", "", 11)
        await store.write(lambda tx: tx.volumes.add({first: 2, later: 1}))
        await store.write(lambda tx: tx.volumes.add({later: 3, other: 1, nobodys: 1}))
        await store.write(lambda tx: tx.volumes.add({}))

        async def between(first: int, last: int, *products: str) -> dict[VolumeKey, int]:
            return await store.read(lambda tx: tx.volumes.between(first, last, products, None))

        assert await between(10, 11, "bp-1", "bp-2", "") == {first: 2, later: 4, other: 1, nobodys: 1}
        assert await between(10, 10, "bp-1", "bp-2") == {first: 2}
        assert await between(10, 11, "bp-2") == {other: 1}
        assert await between(10, 11) == {}
        await store.write(lambda tx: tx.volumes.forget(11))
        assert await between(0, 20, "bp-1") == {later: 4}

    async def test_counts_are_narrowed_to_hours_of_the_week(self, store: Store) -> None:
        keys: list[VolumeKey] = [("bp-1", DELIVERED, "webhook", hour) for hour in range(500)]
        await store.write(lambda tx: tx.volumes.add(dict.fromkeys(keys, 1)))
        found = await store.read(lambda tx: tx.volumes.between(10, 400, ["bp-1"], {3, 167}))
        assert sorted(hour for *_, hour in found) == [167, 171, 335, 339]

    async def test_spans_are_the_first_and_last_hour_and_the_sum(self, store: Store) -> None:
        hours = {5: 1, 9: 2, 12: 4, 30: 8}
        await store.write(
            lambda tx: tx.volumes.add(
                {
                    **{("bp-1", DELIVERED, "webhook", hour): events for hour, events in hours.items()},
                    ("bp-2", MILESTONE, "eventbridge", 9): 1,
                    ("", "watched", "", 9): 1,
                }
            )
        )
        found = await store.read(lambda tx: tx.volumes.spans(6, 20, None))
        assert found == {
            ("bp-1", DELIVERED, "webhook"): Span(9, 12, 6),
            ("bp-2", MILESTONE, "eventbridge"): Span(9, 9, 1),
        }
        assert list(await store.read(lambda tx: tx.volumes.spans(0, 40, ["bp-2"]))) == list(found)[1:]
        assert await store.read(lambda tx: tx.volumes.spans(0, 40, [])) == {}
