"""The contract of taking things away: records with all that hangs on them, never the last, and counts that still
add up; what stays is untouched."""

import pytest
from msgspec.structs import replace
from tests.contract.attempts_contract import attempt, claim, destination, enqueue, message, put
from tests.contract.harness import MILESTONE, T0, arrival, counts
from tests.contract.journal_contract import snapshot

from milepost.store import FailedFold, Store, Transaction

BP = "bp-1"


async def journalled(store: Store) -> None:
    """Two events, the first twice and once with other data (position 3), then a snapshot."""
    await store.append([arrival("k-1", "e-1"), arrival("k-2", "e-2", descriptor=MILESTONE)])
    await store.append([arrival("k-1", "e-1", at=T0 + 5), arrival("k-1", "e-1", data={"a": 1}, at=T0 + 9)])
    await store.write(lambda tx: tx.journal.add([snapshot()]))


class RetentionContract:
    async def test_removed_records_are_gone_and_counted(self, store: Store) -> None:
        await journalled(store)
        before = await counts(store)
        assert await store.write(lambda tx: tx.journal.remove([1, 3])) == 2
        after = await counts(store)
        assert after.removed == 2
        assert (after.arrivals, after.events, after.duplicates) == (4, 2, 2)
        assert (after.records, after.last_position) == (before.records, before.last_position)
        left = await store.read(lambda tx: tx.journal.after(0, 9))
        assert [record.position for record in left] == [2, 4]
        assert await store.read(lambda tx: tx.journal.arrivals([1])) == {1: []}
        assert await store.read(lambda tx: tx.journal.last_arrivals([1, 2, 3, 4])) == {}
        assert await store.write(lambda tx: tx.journal.remove([1, 3])) == 0
        assert (await counts(store)).removed == 2

    async def test_what_was_removed_can_come_anew_at_a_position_of_its_own(self, store: Store) -> None:
        await journalled(store)
        await store.write(lambda tx: tx.journal.remove([1, 2, 3]))
        (receipt,) = await store.append([arrival("k-1", "e-1")])
        assert (receipt.status, receipt.position) == ("accepted", 5)
        assert (await counts(store)).events == 3

    async def test_the_last_record_stays(self, store: Store) -> None:
        await journalled(store)
        with pytest.raises(ValueError, match="last"):
            await store.write(lambda tx: tx.journal.remove([1, 4]))
        assert (await counts(store)).removed == 0
        assert await store.write(lambda tx: tx.journal.remove([])) == 0

    async def test_a_body_that_was_released_goes_with_its_record(self, store: Store) -> None:
        given, other = arrival(), arrival("k-2", "e-2")

        def release(tx: Transaction) -> None:
            for one in (given, other):
                entry = tx.journal.quarantine(one.body, "malformed_event", "", T0, "webhook", (BP,))
                tx.journal.append_released(entry, one, T0)
            tx.journal.quarantine(b"{}", "malformed_event", "", T0, "webhook", ())

        await store.write(release)
        await store.write(lambda tx: tx.journal.remove([1]))
        left = await store.read(lambda tx: tx.journal.quarantined(0, 9, None, None))
        assert [(entry.id, entry.position) for entry in left] == [(2, 2), (3, None)]
        bound = await store.read(lambda tx: tx.journal.quarantined(0, 9, [BP], None))
        assert [entry.id for entry in bound] == [2]
        assert (await counts(store)).quarantined == 1

    async def test_the_last_arrival_of_each(self, store: Store) -> None:
        await journalled(store)
        assert await store.read(lambda tx: tx.journal.last_arrivals([1, 2, 3])) == {1: T0 + 9}

    async def test_positions_of_subjects_up_to_a_limit(self, store: Store) -> None:
        index = {p: (BP, ["order/1", f"tracker/{p}"]) for p in (3, 1, 2)}
        await store.write(lambda tx: tx.views.index({**index, 4: ("bp-2", ["order/1"])}))
        one, other = (BP, "order/1"), (BP, "tracker/2")
        assert await store.read(lambda tx: tx.journal.positions_of([one, other], 9)) == {
            one: [1, 2, 3],
            other: [2],
        }
        found = await store.read(lambda tx: tx.journal.positions_of([one, other], 9, after=2))
        assert found == {one: [3]}
        assert await store.read(lambda tx: tx.journal.positions_of([one, other], 2)) == {one: [1, 2]}
        assert await store.read(lambda tx: tx.journal.positions_of([], 2)) == {}

    async def test_unindexed_with_flags_and_failures(self, store: Store) -> None:
        await journalled(store)
        about = {1: (BP, ["order/1", "event/e"]), 2: (BP, ["order/2", "event/e"]), 3: (BP, ["order/1"])}

        def fill(tx: Transaction) -> None:
            tx.views.index({**about, 4: ("bp-2", ["order/1"])})
            tx.views.flag({1: ["conflict"], 2: ["keyReuse", "conflict"]})
            tx.views.fail([FailedFold("hydrator", p, BP, "", "no", T0) for p in (1, 2)])

        await store.write(fill)
        assert await store.read(lambda tx: tx.views.failed([1, 3])) == {1}
        await store.write(lambda tx: tx.views.unindex({p: about[p] for p in (1, 3)}))
        keys = [(BP, "order/1"), (BP, "order/2"), (BP, "event/e"), ("bp-2", "order/1")]
        assert await store.read(lambda tx: tx.journal.positions_of(keys, 9)) == {
            (BP, "order/2"): [2],
            (BP, "event/e"): [2],
            ("bp-2", "order/1"): [4],
        }
        assert await store.read(lambda tx: tx.views.flags([1, 2])) == {2: ("conflict", "keyReuse")}
        assert [f.position for f in await store.read(lambda tx: tx.views.failures(0, 9, None))] == [2]
        await store.write(lambda tx: tx.views.unflag({2: ["keyReuse"], 9: ["keyReuse"]}))
        assert await store.read(lambda tx: tx.views.flags([2])) == {2: ("conflict",)}

    async def test_notes_of_shared_deliveries(self, store: Store) -> None:
        notes = [(BP, "d", "o-2"), (BP, "d", "o-1"), (BP, "e", "o-2"), ("bp-2", "d", "o-1")]
        for _ in range(2):
            await store.write(lambda tx: tx.views.share(notes))
        wanted = [(BP, "d"), (BP, "e"), (BP, "f")]
        assert await store.read(lambda tx: tx.views.sharing(wanted)) == {
            (BP, "d"): ("o-1", "o-2"),
            (BP, "e"): ("o-2",),
        }
        await store.write(lambda tx: tx.views.unshare([(BP, "o-2")]))
        assert await store.read(lambda tx: tx.views.sharing(wanted)) == {(BP, "d"): ("o-1",)}
        assert await store.read(lambda tx: tx.views.dump()) == [], "nothing is folded from notes"
        await store.write(lambda tx: tx.views.clear())
        assert await store.read(lambda tx: tx.views.sharing([("bp-2", "d")])) == {}

    async def test_messages_are_forgotten_with_their_attempts(self, store: Store) -> None:
        await put(store, destination())
        await enqueue(store, message("m-1", position=1), message("m-2", position=2))
        assert await store.read(lambda tx: tx.attempts.unsettled([1, 2, 3])) == {1, 2}
        claimed = next(m for m in await claim(store) if m.id == "m-1")
        done = replace(claimed, state="delivered", tries=1, lease_until=None)
        result = [(attempt("m-1", 1, outcome="delivered"), done)]
        assert await store.write(lambda tx: tx.attempts.record(result)) == [True]
        assert await store.read(lambda tx: tx.attempts.unsettled([1, 2, 3])) == {2}
        assert await store.write(lambda tx: tx.attempts.forget([1, 3])) == 1
        assert await store.read(lambda tx: tx.attempts.attempts((0, 0), 9)) == []
        left = await store.read(lambda tx: tx.attempts.messages(None, 9))
        assert [each.position for each in left] == [2]

    async def test_nobody_appends_between_freezing_and_the_end(self, store: Store) -> None:
        await journalled(store)

        def look(tx: Transaction) -> tuple[int, int]:
            tx.journal.freeze()
            return tx.journal.last_position(), tx.journal.remove([1])

        assert await store.write(look) == (4, 1)
        (receipt,) = await store.append([arrival("k-9", "e-9")])
        assert receipt.position == 5
