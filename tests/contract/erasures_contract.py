"""The contract of erasures: what was asked for, what is erased for good, and bodies that are rewritten in place."""

from msgspec.structs import replace
from tests.contract.attempts_contract import attempt, claim, destination, enqueue, message, put
from tests.contract.harness import T0, Harness, arrival, counts

from milepost.domain.erasure import ERASED, TASK_COMPLETED, Erasure
from milepost.domain.instant import Instant
from milepost.store import FailedFold, Store

TASK = "businessProduct/bp-1/personalDataDeletionTask/t-1"


def erasure(id: str = "era_1", state: str = "ASKED", product: str = "bp-1") -> Erasure:
    return Erasure(id, product, state, T0, "key_1", ("o-1",))  # type: ignore[arg-type]


class ErasuresContract:
    async def test_an_erasure_comes_back_and_is_moved_on_under_its_id(self, store: Store) -> None:
        one, other = erasure(), replace(erasure("era_2", product="bp-2"), shopper=True, task_id="t-1")
        await store.write(lambda tx: [tx.erasures.put(each) for each in (one, other)])
        moved = replace(one, state="DONE", position=7, records=3, done_at=Instant(T0 + 1))
        await store.write(lambda tx: tx.erasures.put(moved))
        assert await store.read(lambda tx: tx.erasures.get("era_1")) == moved
        assert await store.read(lambda tx: tx.erasures.get("era_3")) is None
        listed = await store.read(lambda tx: tx.erasures.page(0, 10, None))
        assert [each for _, each in listed] == [moved, other]
        first = listed[0][0]
        assert await store.read(lambda tx: tx.erasures.page(first, 10, None)) == listed[1:]
        assert [e for _, e in await store.read(lambda tx: tx.erasures.page(0, 10, ["bp-1"]))] == [moved]
        assert await store.read(lambda tx: tx.erasures.page(0, 10, [])) == []

    async def test_only_what_is_to_be_done_is_under_way(self, store: Store) -> None:
        states = ("UNCLAIMED", "WAITING", "ASKED", "REDACTED", "REFOLDED", "DONE")
        made = [erasure(f"era_{state}", state) for state in states]
        await store.write(lambda tx: [tx.erasures.put(each) for each in made])
        found = await store.read(lambda tx: tx.erasures.under_way(10))
        assert [each.state for each in found] == ["ASKED", "REDACTED", "REFOLDED"]
        assert len(await store.read(lambda tx: tx.erasures.under_way(1))) == 1

    async def test_what_is_erased_is_erased_of_one_business_product(self, store: Store) -> None:
        assert not await store.read(lambda tx: tx.erasures.any_erased())
        mine, others = ("bp-1", "order/o-1"), ("bp-2", "order/o-1")
        await store.write(lambda tx: tx.erasures.mark({mine: T0}))
        assert await store.read(lambda tx: tx.erasures.any_erased())
        assert await store.read(lambda tx: tx.erasures.erased([mine, others])) == {mine: T0}
        assert await store.read(lambda tx: tx.erasures.erased([])) == {}

    async def test_a_rewritten_body_is_flagged_once_and_its_duplicates_are_no_conflicts(
        self, harness: Harness, store: Store
    ) -> None:
        whole = arrival(data={"name": "Jane"})
        (receipt,) = await store.append([whole])
        for _ in range(2):
            await store.write(lambda tx: tx.erasures.rewrite({receipt.position: arrival().body}, ERASED))
        (record,) = (await store.read(lambda tx: tx.journal.records([receipt.position]))).values()
        assert (record.body, record.flags) == (arrival().body, (ERASED,))
        (again,) = await store.append([whole])
        assert (again.status, again.position, again.conflict) == ("duplicate", receipt.position, False)
        found = await counts(store)
        assert (found.records, found.duplicates, found.conflicts) == (1, 1, 0)
        left = await harness.crash()
        try:
            kept = (await left.read(lambda tx: tx.journal.records([receipt.position])))[receipt.position]
            assert kept == record
        finally:
            await left.close()

    async def test_a_quarantined_body_is_rewritten_with_the_reason_that_quotes_it(self, store: Store) -> None:
        entry = await store.write(
            lambda tx: tx.journal.quarantine(b"Jane", "malformed", "odd Jane", T0, "webhook", ())
        )
        await store.write(lambda tx: tx.erasures.rewrite_quarantined({entry: b"{}"}, "gone"))
        found = await store.read(lambda tx: tx.journal.quarantine_entry(entry))
        assert found is not None
        assert (found.body, found.reason, found.code) == (b"{}", "gone", "malformed")

    async def test_events_of_some_types_are_found_within_a_stretch_of_the_journal(self, store: Store) -> None:
        given = [
            arrival(f"k-{n}", f"e-{n}", descriptor=TASK_COMPLETED, resources=[TASK])
            if n % 2
            else arrival(f"k-{n}", f"e-{n}")
            for n in range(6)
        ]
        positions = [receipt.position for receipt in await store.append(given)]
        first, last = positions[0], positions[-1]
        found = await store.read(lambda tx: tx.erasures.events([TASK_COMPLETED], (first, last), 10))
        assert [record.position for record in found] == [positions[1], positions[3], positions[5]]
        found = await store.read(
            lambda tx: tx.erasures.events([TASK_COMPLETED], (positions[1], last - 1), 10)
        )
        assert [record.position for record in found] == [positions[3]]
        assert len(await store.read(lambda tx: tx.erasures.events([TASK_COMPLETED], (0, last), 2))) == 2

    async def test_what_receivers_answered_goes_and_attempts_stay(self, store: Store) -> None:
        (receipt,) = await store.append([arrival()])
        await put(store, destination())
        await enqueue(store, message("m-1", position=receipt.position))
        (claimed,) = await claim(store)
        tried = attempt("m-1", 1, status=500, error="error Jane", response="hello Jane")
        assert await store.write(lambda tx: tx.attempts.record([(tried, claimed)])) == [True]
        assert await store.write(lambda tx: tx.erasures.blank_attempts([receipt.position])) == 1
        listed = await store.read(lambda tx: tx.attempts.attempts((0, 0), 10, "m-1"))
        assert [(a.number, a.status, a.error, a.response) for a in listed] == [(1, 500, "", "")]
        assert await store.write(lambda tx: tx.erasures.blank_attempts([receipt.position])) == 0

    async def test_the_projectors_failures_go_and_others_lose_their_words(self, store: Store) -> None:
        failures = [
            FailedFold(name, 3, "bp-1", "order/o-1", "ValueError: Jane", T0)
            for name in ("projector", "hydrator")
        ]
        await store.write(lambda tx: tx.views.fail(failures))
        keys = {("bp-1", "order/o-1"), ("bp-2", "order/o-1")}
        failing = await store.read(lambda tx: tx.erasures.failing(keys, "projector"))
        assert failing == {("bp-1", "order/o-1")}
        await store.write(lambda tx: tx.erasures.forget_failures([3], "projector"))
        left = await store.read(lambda tx: tx.views.failures(0, 10, None))
        assert [(f.consumer, f.error) for f in left] == [("hydrator", "")]
        assert await store.read(lambda tx: tx.erasures.failing(keys, "projector")) == set()

    async def test_what_failed_about_a_subject_loses_its_words_wherever_it_stands(self, store: Store) -> None:
        failures = [
            FailedFold("telling", 9, product, subject, "ValueError: Jane", T0)
            for product, subject in (("bp-1", "order/o-1"), ("bp-1", "order/o-2"), ("bp-2", "order/o-3"))
        ]
        await store.write(lambda tx: tx.views.fail(failures))
        keys = {("bp-1", "order/o-1"), ("bp-1", "order/o-3")}
        await store.write(lambda tx: tx.erasures.blank_failures(keys))
        left = await store.read(lambda tx: tx.views.failures(0, 10, None))
        assert {f.subject: f.error for f in left} == {
            "order/o-1": "",
            "order/o-2": "ValueError: Jane",
            "order/o-3": "ValueError: Jane",
        }

    async def test_a_compacted_database_holds_what_it_held(self, store: Store) -> None:
        given = [arrival(f"k-{n}", f"e-{n}", data={"n": "x" * 500}) for n in range(300)]
        receipts = await store.append(given)
        assert await store.size() >= 0
        await store.write(
            lambda tx: tx.erasures.rewrite({r.position: arrival().body for r in receipts[:200]}, ERASED)
        )
        assert await store.compact()
        assert await store.compact(again=True)
        found = await store.read(lambda tx: tx.journal.after(0, 1_000))
        assert [r.position for r in found] == [r.position for r in receipts]
        assert found[-1].body == given[-1].body
        (more,) = await store.append([arrival("k-more", "e-more")])
        assert more.position == receipts[-1].position + 1
