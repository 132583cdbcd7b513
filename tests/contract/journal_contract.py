"""The contract of the journal: identity, arrivals, order, durability, quarantine, checkpoints."""

import asyncio
from random import Random
from typing import Any

import pytest
from tests.contract.harness import MILESTONE, ORDER, T0, Harness, arrival, counts

from milepost.domain.errors import NotFound, StoreUnavailable
from milepost.domain.instant import Instant
from milepost.domain.record import order_subject
from milepost.store import ArrivalRow, NewRecord, Receipt, Store, Transaction


def snapshot(order_id: str = "o-1", at: int = T0) -> NewRecord:
    body = b'{"query":"order","askedAt":1,"observedAt":2,"answer":null,"orderId":"%s"}' % order_id.encode()
    return NewRecord("snapshot", "bp-1", "order", Instant(at), Instant(at - 5), "hydration", body, None)


class JournalContract:
    async def test_a_new_event_is_kept_as_it_came(self, store: Store) -> None:
        given = arrival(descriptor="DELIVERY_COMPLETED", road="eventbridge", data={"order": {"id": "o-1"}})
        assert await store.append([given]) == [Receipt("accepted", 1)]
        record = (await store.read(lambda tx: tx.journal.records([1, 99])))[1]
        assert (record.kind, record.business_product_id, record.type) == (
            "event",
            "bp-1",
            "PACKAGE_DELIVERED",
        )
        assert (record.received_at, record.published_at) == (T0, given.event.published_at)
        assert (record.road, record.flags, record.origin) == ("eventbridge", given.event.flags, None)
        assert record.body == given.body
        assert record.event() == given.event

    async def test_flags_of_the_parse_are_kept(self, store: Store) -> None:
        given = arrival(descriptor="SOMETHING_NEW")
        assert given.event.flags
        await store.append([given])
        assert (await store.read(lambda tx: tx.journal.records([1])))[1].flags == given.event.flags

    @pytest.mark.parametrize(
        ("key", "event_id"),
        [("k-1", "e-1"), ("k-1", "e-2"), ("k-2", "e-1"), ("k-1", ""), ("", "e-1")],
        ids=["both", "by key", "by event id", "key alone", "event id alone"],
    )
    async def test_either_match_is_a_duplicate(self, store: Store, key: str, event_id: str) -> None:
        await store.append([arrival("k-0", "e-0"), arrival("k-1", "e-1")])
        again = arrival(key, event_id, road="eventbridge", subscription_id="sub-2", at=T0 + 7)
        assert await store.append([again]) == [Receipt("duplicate", 2)]
        rows = await store.read(lambda tx: tx.journal.arrivals([1, 2]))
        assert len(rows[1]) == 1
        assert rows[2] == [
            ArrivalRow(2, T0, "webhook", "sub-1", "k-1", "e-1", False),
            ArrivalRow(2, Instant(T0 + 7), "eventbridge", "sub-2", key, event_id, False),
        ]
        assert (await counts(store)).records == 2

    async def test_an_event_with_one_id_only_is_found_by_it(self, store: Store) -> None:
        assert await store.append([arrival("k-1", ""), arrival("", "e-2")]) == [
            Receipt("accepted", 1),
            Receipt("accepted", 2),
        ]
        assert await store.append([arrival("k-1", "e-9"), arrival("k-9", "e-2")]) == [
            Receipt("duplicate", 1),
            Receipt("duplicate", 2),
        ]

    async def test_duplicates_inside_a_batch(self, store: Store) -> None:
        given = [arrival(), arrival(), arrival("k-2", "e-2"), arrival("k-2", "e-3"), arrival("k-4", "e-4")]
        assert await store.append(given) == [
            Receipt("accepted", 1),
            Receipt("duplicate", 1),
            Receipt("accepted", 2),
            Receipt("duplicate", 2),
            Receipt("accepted", 3),
        ]
        found = await counts(store)
        assert (found.events, found.duplicates, found.last_position) == (3, 2, 3)

    async def test_on_two_matches_the_lower_position_wins(self, store: Store) -> None:
        await store.append([arrival("k-1", "e-1"), arrival("k-2", "e-2")])
        assert await store.append([arrival("k-2", "e-1")]) == [Receipt("duplicate", 1)]
        assert await store.append([arrival("k-1", "e-2")]) == [Receipt("duplicate", 1)]

    async def test_a_former_name_and_the_order_of_resources_do_not_matter(self, store: Store) -> None:
        other = "businessProduct/bp-1/order/o-2"
        await store.append([arrival(resources=[ORDER, other])])
        again = arrival(descriptor="ITEM_DELIVERED", resources=[other, ORDER])
        assert await store.append([again]) == [Receipt("duplicate", 1)]

    @pytest.mark.parametrize(
        "other",
        [
            arrival(descriptor="PACKAGE_DELIVERY_IN_TRANSIT"),
            arrival(resources=["businessProduct/bp-1/order/o-1/delivery/d-2"]),
            arrival(resources=["businessProduct/bp-2/order/o-1/delivery/d-1"]),
            arrival("e-1", "k-1"),
        ],
        ids=["type", "resource", "business product", "ids exchanged"],
    )
    async def test_the_same_ids_elsewhere_are_another_record(self, store: Store, other: object) -> None:
        await store.append([arrival()])
        assert await store.append([other]) == [Receipt("accepted", 2)]  # type: ignore[list-item]

    async def test_a_conflict_is_kept_once_and_counted_every_time(self, store: Store) -> None:
        await store.append([arrival(data={"a": 1})])
        differing = arrival(data={"a": 2}, road="eventbridge")
        assert await store.append([differing]) == [Receipt("duplicate", 1, conflict=True)]
        assert (
            await store.append([differing, arrival(data={"a": 2})])
            == [Receipt("duplicate", 1, conflict=True)] * 2
        )
        assert await store.append([arrival(data={"a": 3})]) == [Receipt("duplicate", 1, conflict=True)]
        records = await store.read(lambda tx: tx.journal.after(0, 10))
        assert [(r.kind, r.origin) for r in records] == [("event", None), ("conflict", 1), ("conflict", 1)]
        assert records[1].body == differing.body
        assert records[1].road == "eventbridge"
        rows = await store.read(lambda tx: tx.journal.arrivals([1]))
        assert [row.conflict for row in rows[1]] == [False, True, True, True, True]
        found = await counts(store)
        assert (found.events, found.duplicates, found.conflicts, found.records) == (1, 4, 4, 3)

    async def test_a_conflict_inside_a_batch(self, store: Store) -> None:
        given = [
            arrival(data={"a": 1}),
            arrival(data={"a": 2}),
            arrival("k-2", "e-2"),
            arrival(data={"a": 2}),
        ]
        receipts = await store.append(given)
        assert [r.status for r in receipts] == ["accepted", "duplicate", "accepted", "duplicate"]
        assert [r.conflict for r in receipts] == [False, True, False, True]
        assert receipts[1].position == receipts[3].position == receipts[0].position
        records = await store.read(lambda tx: tx.journal.after(0, 10))
        assert sorted(r.kind for r in records) == ["conflict", "event", "event"]

    async def test_the_same_data_written_otherwise_is_no_conflict(self, store: Store) -> None:
        await store.append([arrival(data={"a": 1, "b": [1, {"c": 2}]})])
        again = arrival(data={"b": [1, {"c": 2}], "a": 1}, subscription_id="sub-2")
        assert await store.append([again]) == [Receipt("duplicate", 1)]

    async def test_events_are_listed_in_order_and_by_business_product(self, store: Store) -> None:
        other = "businessProduct/bp-2/order/o-1/delivery/d-1"
        await store.append([arrival(), arrival(data={"x": 1}), arrival(resources=[other])])
        await store.append([arrival("k-3", "e-3", descriptor="PACKAGE_DELIVERY_IN_TRANSIT")])

        def events(tx: Transaction, **how: object) -> list[tuple[int, str]]:
            given = {"after": 0, "limit": 10, "business_products": None, "type": None, **how}
            return [(r.position, r.business_product_id) for r in tx.journal.events(**given)]  # type: ignore[arg-type]

        everything = await store.read(events)
        assert [product for _, product in everything] == ["bp-1", "bp-2", "bp-1"]
        assert everything == sorted(everything)
        assert await store.read(lambda tx: events(tx, business_products=["bp-2"])) == everything[1:2]
        assert await store.read(lambda tx: events(tx, business_products=[])) == []
        assert await store.read(lambda tx: events(tx, business_products={"bp-1", "bp-2"})) == everything
        assert await store.read(lambda tx: events(tx, type="PACKAGE_DELIVERY_IN_TRANSIT")) == everything[2:]
        assert await store.read(lambda tx: events(tx, after=everything[0][0], limit=1)) == everything[1:2]

    async def test_after_goes_on_where_it_stopped(self, store: Store) -> None:
        await store.append([arrival(f"k-{n}", f"e-{n}") for n in range(25)])
        seen: list[int] = []
        while page := await store.read(lambda tx: tx.journal.after(seen[-1] if seen else 0, 10)):
            seen.extend(record.position for record in page)
        assert seen == list(range(1, 26))
        assert await store.read(lambda tx: tx.journal.last_position()) == 25

    async def test_after_reads_no_more_bytes_than_asked_and_one_record_at_least(self, store: Store) -> None:
        bodies = [b'{"n":"%s"}' % (b"x" * length) for length in (10, 20, 90_000, 10, 10)]
        given = [NewRecord("snapshot", "bp-1", "order", T0, T0, "hydration", body) for body in bodies]
        await store.write(lambda tx: tx.journal.add(given))

        async def read(position: int, limit: int, size: int) -> list[int]:
            found = await store.read(lambda tx: tx.journal.after(position, limit, size))
            return [record.position for record in found]

        first_two = len(bodies[0]) + len(bodies[1])
        assert await read(0, 10, first_two) == [1, 2]
        assert await read(0, 10, first_two - 1) == [1]
        assert await read(0, 10, 0) == [1]
        assert await read(2, 10, 100) == [3]
        assert await read(3, 10, 100) == [4, 5]
        assert await read(3, 1, 100) == [4]
        assert await read(5, 10, 100) == []

    async def test_what_milepost_journals_itself_is_never_a_duplicate(self, store: Store) -> None:
        await store.append([arrival()])
        positions = await store.write(lambda tx: tx.journal.add([snapshot(), snapshot(), snapshot("o-2")]))
        assert positions == [2, 3, 4]
        record = (await store.read(lambda tx: tx.journal.records([3])))[3]
        assert (record.kind, record.type, record.road) == ("snapshot", "order", "hydration")
        assert (record.received_at, record.published_at) == (T0, T0 - 5)
        settled = NewRecord("settlement", "bp-1", "gaveUp", T0, T0, "hydration", b"{}", 1)
        assert await store.write(lambda tx: tx.journal.add([settled])) == [5]
        assert (await store.read(lambda tx: tx.journal.records([5])))[5].origin == 1
        assert await store.write(lambda tx: tx.journal.add([])) == []
        assert (await counts(store)).events == 1

    async def test_of_subjects_gives_each_its_records(self, store: Store) -> None:
        await store.append([arrival(f"k-{n}", f"e-{n}") for n in range(6)])
        shared = order_subject("o-1")
        index = {n: ("bp-1", [shared, order_subject(f"own-{n}")]) for n in (3, 1, 2)}
        await store.write(lambda tx: tx.views.index({**index, 4: ("bp-2", [shared])}))
        await store.write(lambda tx: tx.views.index(index))
        wanted = [("bp-1", shared), ("bp-2", shared), ("bp-1", "order/own-2"), ("bp-1", "order/none")]
        found = await store.read(lambda tx: tx.journal.of_subjects(wanted))
        listed = {subject: [r.position for r in records] for subject, records in found.items()}
        assert listed == dict(zip(wanted, [[1, 2, 3], [4], [2], []], strict=True))

    async def test_of_subjects_takes_many_at_once(self, store: Store) -> None:
        await store.append([arrival(f"k-{n}", f"e-{n}") for n in range(1_300)])
        subjects = {n: (f"bp-{n % 3}", [f"order/{n}"]) for n in range(1, 1_301)}
        await store.write(lambda tx: tx.views.index(subjects))
        wanted = [(product, names[0]) for product, names in subjects.values()]
        found = await store.read(lambda tx: tx.journal.of_subjects(wanted))
        assert [[r.position for r in found[key]] for key in wanted] == [[n] for n in range(1, 1_301)]

    async def test_quarantine_keeps_and_lists(self, store: Store) -> None:
        def put(tx: Transaction) -> list[int]:
            bound: list[tuple[str, ...]] = [(), ("bp-1",), ("bp-1", "bp-2")]
            return [
                tx.journal.quarantine(b"\xff{", "malformed_event", f"reason {n}", T0, "webhook", products)
                for n, products in enumerate(bound)
            ]

        first, second, third = await store.write(put)
        assert first < second < third
        entry = await store.read(lambda tx: tx.journal.quarantine_entry(second))
        assert entry is not None
        assert (entry.body, entry.code, entry.reason) == (b"\xff{", "malformed_event", "reason 1")
        assert (entry.received_at, entry.road, entry.business_product_ids) == (T0, "webhook", ("bp-1",))
        assert (entry.released_at, entry.position) == (None, None)

        async def listed(*args: object) -> list[int]:
            entries = await store.read(lambda tx: tx.journal.quarantined(*args))  # type: ignore[arg-type]
            return [e.id for e in entries]

        assert await listed(0, 10, None, None) == [first, second, third]
        assert await listed(first, 1, None, False) == [second]
        assert await listed(0, 10, ["bp-1"], None) == [second]
        assert await listed(0, 10, ["bp-1", "bp-2"], None) == [second, third]
        assert await listed(0, 10, [], None) == []
        assert await listed(0, 10, None, True) == []
        assert await store.read(lambda tx: tx.journal.quarantine_entry(third + 1)) is None
        assert (await counts(store)).quarantined == 3

    async def test_a_release_is_ingested_once(self, store: Store) -> None:
        given = arrival(at=T0 + 9)

        def put(tx: Transaction) -> list[int]:
            kept = (given.body, "unbound_business_product", "no", T0, "webhook", ())
            return [tx.journal.quarantine(*kept), tx.journal.quarantine(*kept)]

        first, second = await store.write(put)
        at = Instant(T0 + 10)
        receipt = await store.write(lambda tx: tx.journal.append_released(first, given, at))
        assert receipt == Receipt("accepted", 1)
        again = await store.write(lambda tx: tx.journal.append_released(first, given, at))
        assert again == Receipt("duplicate", 1)
        found = await counts(store)
        assert (found.arrivals, found.events, found.duplicates, found.quarantined) == (2, 1, 0, 1)
        # The same bytes came twice: the second release is a duplicate arrival of the first.
        receipt = await store.write(lambda tx: tx.journal.append_released(second, given, at))
        assert receipt == Receipt("duplicate", 1)
        found = await counts(store)
        assert (found.arrivals, found.events, found.duplicates, found.quarantined) == (2, 1, 1, 0)
        entry = await store.read(lambda tx: tx.journal.quarantine_entry(first))
        assert entry is not None
        assert (entry.released_at, entry.position) == (at, 1)
        assert len(await store.read(lambda tx: tx.journal.quarantined(0, 10, None, True))) == 2
        with pytest.raises(NotFound):
            await store.write(lambda tx: tx.journal.append_released(99, given, at))

    async def test_who_released_or_dismissed_is_kept(self, store: Store) -> None:
        given, at = arrival(at=T0 + 9), Instant(T0 + 10)

        def put(tx: Transaction) -> list[int]:
            codes = ("malformed_event", "malformed_event", "unbound_business_product")
            return [tx.journal.quarantine(b"{", code, "no", T0, "webhook", ("bp-1",)) for code in codes]

        first, second, third = await store.write(put)
        assert await store.write(lambda tx: tx.journal.dismiss(first, at, "usr_1"))
        assert not await store.write(lambda tx: tx.journal.dismiss(first, at, "usr_2"))
        assert not await store.write(lambda tx: tx.journal.dismiss(99, at, "usr_2"))
        await store.write(lambda tx: tx.journal.append_released(second, given, at, "usr_3"))
        assert not await store.write(lambda tx: tx.journal.dismiss(second, at, "usr_2"))

        async def listed(before: int | None, limit: int, *who: str, **fields: Any) -> list[int]:
            rows = await store.read(
                lambda tx: tx.journal.newest_quarantined(before, limit, who or None, **fields)
            )
            return [row.id for row in rows]

        assert await listed(None, 9) == [third, second, first]
        assert await listed(third, 1) == [second]
        assert await listed(None, 9, state="waiting") == [third]
        assert await listed(None, 9, state="released") == [second]
        assert await listed(None, 9, state="dismissed") == [first]
        assert await listed(None, 9, code="malformed_event") == [second, first]
        assert await listed(None, 9, "bp-2") == []
        entries = await store.read(lambda tx: [tx.journal.quarantine_entry(n) for n in (first, second)])
        assert [(e.dismissed_at, e.handled_by) for e in entries if e is not None] == [
            (at, "usr_1"),
            (None, "usr_3"),
        ]
        released = await store.read(lambda tx: tx.journal.quarantined_at(1))
        assert released is not None
        assert released.id == second
        assert await store.read(lambda tx: tx.journal.quarantined_at(2)) is None
        found = await counts(store)
        assert (found.quarantined, found.dismissed, found.waiting) == (2, 1, 1)
        # One that was dismissed can be let in after all.
        receipt = await store.write(lambda tx: tx.journal.append_released(first, given, at, "usr_4"))
        assert receipt == Receipt("duplicate", 1)
        assert await listed(None, 9, state="dismissed") == []
        assert ((await counts(store)).dismissed, (await counts(store)).waiting) == (0, 1)

    async def test_what_was_received_is_read_from_either_end(self, store: Store) -> None:
        kinds = ("PACKAGE_DELIVERED", "REFUND_REQUESTED", "PACKAGE_DELIVERED", "PACKAGE_DELIVERED")
        for number, kind in enumerate(kinds):
            road = "eventbridge" if number == 2 else "webhook"
            await store.append([arrival(f"k-{number}", f"e-{number}", descriptor=kind, road=road)])
        await store.append([arrival("k-0", "e-0", descriptor=kinds[0], data={"another": True})])
        await store.write(lambda tx: tx.journal.add([snapshot()]))

        async def read(low: int, high: int, limit: int, who: Any = None, **fields: Any) -> list[int]:
            rows = await store.read(lambda tx: tx.journal.received(low, high, limit, who, **fields))
            return [row.position for row in rows]

        # The conflicting copy stands at 5; the snapshot at 6 is nothing that was received.
        assert await read(0, 99, 9) == [5, 4, 3, 2, 1]
        assert await read(0, 99, 2, newest_first=False) == [1, 2]
        assert await read(1, 4, 9) == [3, 2]
        assert await read(0, 99, 9, type="REFUND_REQUESTED") == [2]
        assert await read(0, 99, 9, road="eventbridge") == [3]
        assert await read(0, 99, 9, ["bp-2"]) == []
        assert await read(0, 99, 1, ["bp-1"]) == [5]

    async def test_checkpoints(self, store: Store) -> None:
        assert await store.read(lambda tx: tx.journal.checkpoint("projector")) == 0
        await store.write(lambda tx: tx.journal.set_checkpoint("projector", 7))
        await store.write(lambda tx: tx.journal.set_checkpoint("publisher", 3))
        await store.write(lambda tx: tx.journal.set_checkpoint("projector", 9))
        found = await store.read(lambda tx: [tx.journal.checkpoint(n) for n in ("projector", "publisher")])
        assert found == [9, 3]

    async def test_sixty_four_appenders_with_overlapping_ids(self, store: Store) -> None:
        random = Random(5)
        drawn = [[random.randrange(150) for _ in range(12)] for _ in range(64)]

        async def append(ids: list[int]) -> list[Receipt]:
            receipts: list[Receipt] = []
            for n in ids:
                receipts.extend(await store.append([arrival(f"k-{n}", f"e-{n}", descriptor=MILESTONE)]))
                # What was acknowledged is visible at once.
                assert receipts[-1].position in await store.read(
                    lambda tx, p=receipts[-1].position: tx.journal.records([p])  # type: ignore[misc]
                )
            return receipts

        answers = await asyncio.gather(*map(append, drawn))
        positions: dict[int, set[int]] = {}
        accepted: list[int] = []
        for ids, receipts in zip(drawn, answers, strict=True):
            for n, receipt in zip(ids, receipts, strict=True):
                positions.setdefault(n, set()).add(receipt.position)
                accepted.extend([receipt.position] if receipt.status == "accepted" else [])
        assert all(len(found) == 1 for found in positions.values())
        assert sorted(accepted) == list(range(1, len(positions) + 1))
        found = await counts(store)
        assert (found.events, found.arrivals) == (len(positions), 64 * 12)
        rows = await store.read(lambda tx: tx.journal.arrivals(range(1, len(positions) + 1)))
        assert sum(map(len, rows.values())) == 64 * 12

    async def test_an_appender_that_goes_away_stalls_nobody(self, store: Store) -> None:
        tasks = [asyncio.ensure_future(store.append([arrival(f"k-{n}", f"e-{n}")])) for n in range(20)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(result, list) for result in done[1::2])
        assert await store.append([arrival("k-1", "e-1")])
        assert (await counts(store)).events == 20

    async def test_one_callers_bad_arrival_is_its_own(self, store: Store) -> None:
        bad = arrival("k-bad", "e-bad", at=2**70)
        results = await asyncio.gather(
            store.append([arrival()]),
            store.append([bad, arrival("k-3", "e-3")]),
            store.append([arrival("k-2", "e-2")]),
            return_exceptions=True,
        )
        assert [isinstance(result, Exception) for result in results] == [False, True, False]
        assert (await counts(store)).events == 2

    async def test_unavailable_is_said_and_passes(self, harness: Harness, store: Store) -> None:
        if not harness.can_be_unavailable:
            pytest.skip("this database cannot be made unavailable here")
        await store.append([arrival()])
        with harness.unavailable():
            results = await asyncio.gather(
                store.append([arrival("k-2", "e-2"), arrival("k-3", "e-3")]),
                store.write(lambda tx: tx.journal.add([snapshot()])),
                return_exceptions=True,
            )
            assert [type(result) for result in results] == [StoreUnavailable] * 2
            assert len(await store.read(lambda tx: tx.journal.after(0, 10))) == 1
        assert await store.append([arrival("k-3", "e-3")]) == [Receipt("accepted", 2)]
        found = await counts(store)
        assert (found.events, found.records) == (2, 2)

    async def test_changed_is_a_signal(self, store: Store) -> None:
        assert await store.changed(0, 0) == 0
        waiting = [asyncio.ensure_future(store.changed(at, 30)) for at in (0, 0, 1)]
        await asyncio.sleep(0)
        waiting[1].cancel()
        await store.append([arrival()])
        assert await waiting[0] == 1
        assert not waiting[2].done()
        await store.append([arrival()])  # a duplicate adds no record
        await store.write(lambda tx: tx.journal.set_checkpoint("projector", 1))
        assert not waiting[2].done()
        await store.write(lambda tx: tx.journal.add([snapshot()]))
        assert await waiting[2] == 2
        assert await store.changed(1, 30) == 2
        assert await store.changed(2, 0.001) == 2

    async def test_close_finishes_what_was_accepted(self, harness: Harness) -> None:
        store = await harness.open("closing")
        tasks = [asyncio.ensure_future(store.append([arrival(f"k-{n}", f"e-{n}")])) for n in range(50)]
        tasks.append(asyncio.ensure_future(store.write(lambda tx: tx.journal.add([snapshot()]))))  # type: ignore[arg-type]
        waiting = asyncio.ensure_future(store.changed(1_000, 30))
        await asyncio.sleep(0)
        await store.close()
        await store.close()
        assert all(await asyncio.gather(*tasks))
        assert await waiting <= 51
        for attempt in (store.append([arrival()]), store.read(lambda tx: tx.journal.last_position())):
            with pytest.raises(StoreUnavailable):
                await attempt
        again = await harness.open("closing")
        try:
            assert (await counts(again)).records == 51
            assert await again.changed(0, 30) == 51
        finally:
            await again.close()
