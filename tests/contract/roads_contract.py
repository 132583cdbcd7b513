"""The contract of what the journal says of roads: crossings, and the newest arrivals by live roads and by replays."""

from msgspec.structs import replace
from tests.contract.harness import MILESTONE, T0, arrival

from milepost.domain.erasure import ERASED
from milepost.domain.instant import Instant
from milepost.domain.roads import Crossing, Passage
from milepost.store import Arrival, Store, Transaction

OTHER = "businessProduct/bp-2/order/o-1/delivery/d-1"
DELIVERED = "PACKAGE_DELIVERED"


def copy(n: int, road: str, at: int, *, resource: str | None = None) -> Arrival:
    """The event `n`, by this road, so many milliseconds after the start."""
    if resource is None:
        return arrival(f"k-{n}", f"e-{n}", road=road, at=T0 + at)
    return arrival(f"k-{n}", f"e-{n}", road=road, at=T0 + at, resources=[resource])


async def _crossings(store: Store, limit: int = 10, products: list[str] | None = None) -> list[Crossing]:
    return await store.read(lambda tx: tx.journal.crossings(limit, products))


class RoadsContract:
    async def test_an_event_by_both_roads_is_one_crossing(self, store: Store) -> None:
        await store.append([copy(1, "webhook", 0), copy(2, "eventbridge", 5)])
        assert await _crossings(store) == []
        await store.append([copy(1, "eventbridge", 700)])
        await store.append([copy(2, "webhook", 40)])
        assert await _crossings(store) == [
            Crossing(2, "bp-1", DELIVERED, "eventbridge", Instant(T0 + 5), "webhook", Instant(T0 + 40)),
            Crossing(1, "bp-1", DELIVERED, "webhook", T0, "eventbridge", Instant(T0 + 700)),
        ]
        assert [c.lag_ms for c in await _crossings(store)] == [35, 700]
        assert [c.position for c in await _crossings(store, limit=1)] == [2]

    async def test_only_the_first_arrival_by_the_other_road_crosses(self, store: Store) -> None:
        await store.append([copy(1, "webhook", 0), copy(1, "webhook", 10), copy(1, "eventbridge", 20)])
        await store.append([copy(1, "eventbridge", 30), copy(1, "webhook", 40)])
        assert [(c.other_road, c.lag_ms) for c in await _crossings(store)] == [("eventbridge", 20)]

    async def test_a_replay_crosses_nothing(self, store: Store) -> None:
        await store.append([copy(1, "webhook", 0), copy(1, "replay", 10), copy(2, "replay", 20)])
        await store.append([copy(2, "webhook", 30), copy(2, "eventbridge", 50)])
        assert await _crossings(store) == []
        await store.append([copy(1, "eventbridge", 60)])
        assert [(c.position, c.lag_ms) for c in await _crossings(store)] == [(1, 60)]

    async def test_a_copy_with_other_data_crosses_too(self, store: Store) -> None:
        await store.append([arrival(data={"a": 1})])
        await store.append([arrival(data={"a": 2}, road="eventbridge", at=T0 + 8)])
        assert [(c.position, c.lag_ms) for c in await _crossings(store)] == [(1, 8)]

    async def test_crossings_of_other_business_products_are_left_out(self, store: Store) -> None:
        await store.append([copy(1, "webhook", 0), copy(1, "webhook", 0, resource=OTHER)])
        await store.append([copy(1, "eventbridge", 3), copy(1, "eventbridge", 4, resource=OTHER)])
        assert [c.business_product_id for c in await _crossings(store)] == ["bp-2", "bp-1"]
        assert [c.lag_ms for c in await _crossings(store, products=["bp-1"])] == [3]
        assert await _crossings(store, products=[]) == []

    async def test_passages_are_the_newest_arrivals_with_the_first_ones(self, store: Store) -> None:
        await store.append([copy(1, "webhook", 0), copy(2, "eventbridge", 10), copy(1, "eventbridge", 20)])
        await store.append([copy(2, "replay", 30), copy(3, "replay", 40)])
        await store.append([arrival("k-4", "e-4", descriptor=MILESTONE, at=T0 + 50)])

        def live(tx: Transaction, limit: int = 10, products: list[str] | None = None) -> list[Passage]:
            return tx.journal.passages(limit, products, replays=False)

        found = await store.read(live)
        assert found == [
            Passage(4, "bp-1", MILESTONE, Instant(T0 + 50), "webhook", first=True),
            Passage(1, "bp-1", DELIVERED, Instant(T0 + 20), "eventbridge", first=False),
            Passage(2, "bp-1", DELIVERED, Instant(T0 + 10), "eventbridge", first=True),
            Passage(1, "bp-1", DELIVERED, T0, "webhook", first=True),
        ]
        assert await store.read(lambda tx: live(tx, 2)) == found[:2]
        assert await store.read(lambda tx: live(tx, products=["bp-2"])) == []
        replays = await store.read(lambda tx: tx.journal.passages(10, ["bp-1"], replays=True))
        assert [(p.position, p.first) for p in replays] == [(3, True), (2, False)]

    async def test_what_milepost_journals_itself_is_no_passage(self, store: Store) -> None:
        await store.append([arrival(data={"a": 1}), arrival(data={"a": 2})])
        records = await store.read(lambda tx: tx.journal.after(0, 10))
        assert [record.kind for record in records] == ["event", "conflict"]
        found = await store.read(lambda tx: tx.journal.passages(10, None, replays=False))
        assert [(p.position, p.first) for p in found] == [(1, False), (1, True)]

    async def test_what_came_by_the_other_road_is_kept_as_it_came_first(self, store: Store) -> None:
        first, other = copy(1, "webhook", 0), _enveloped(copy(1, "eventbridge", 5))
        await store.append([first])
        assert await _other_bodies(store, 1) == {}
        again, replayed = _enveloped(copy(1, "eventbridge", 9), b"  "), _enveloped(copy(1, "replay", 9))
        await store.append([other, again, copy(1, "webhook", 7)])
        await store.append([again, replayed])
        assert await _other_bodies(store, 1) == {"eventbridge": other.body}
        assert (await store.read(lambda tx: tx.journal.records([1])))[1].body == first.body

    async def test_a_copy_with_other_data_has_its_body_in_a_record_of_its_own(self, store: Store) -> None:
        await store.append([arrival(data={"a": 1})])
        await store.append([arrival(data={"a": 2}, road="eventbridge")])
        assert await _other_bodies(store, 1) == {}

    async def test_what_is_removed_or_erased_is_so_of_every_road(self, store: Store) -> None:
        both = [_enveloped(copy(n, "eventbridge", 5)) for n in (1, 2)]
        await store.append([copy(1, "webhook", 0), copy(2, "webhook", 0), copy(3, "webhook", 0)])
        await store.append(both)
        assert await store.write(lambda tx: tx.journal.remove([1])) == 1
        await store.write(lambda tx: tx.erasures.rewrite({2: copy(2, "webhook", 0).body}, ERASED))
        assert [await _other_bodies(store, n) for n in (1, 2)] == [{}, {}]
        await store.append(both[1:])
        assert await _other_bodies(store, 2) == {}, "what was erased does not come back by the other road"


def _enveloped(given: Arrival, more: bytes = b" ") -> Arrival:
    """The same event in other bytes."""
    return replace(given, body=given.body + more)


async def _other_bodies(store: Store, position: int) -> dict[str, bytes]:
    return await store.read(lambda tx: tx.journal.other_bodies(position))
