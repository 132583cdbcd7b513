"""The contract of work, attempts and credentials."""

from typing import Any

from msgspec.structs import replace
from tests.contract.harness import T0, Harness

from milepost.domain.attempt import Attempt, Destination, Message
from milepost.domain.instant import Instant
from milepost.store import ApiKey, Ask, Store


def ask(target: str, priority: int = 1, due: int = 0, product: str = "bp-1", **more: Any) -> Ask:
    return Ask(
        product, target, priority, Instant(T0 + due), more.pop("tries", 0), more.pop("waiting", ()), **more
    )


def message(id: str, due: int = 0, tries: int = 0, **more: Any) -> Message:
    return Message(
        id, "dst-1", more.pop("position", 1), more.pop("state", "pending"), tries, Instant(T0 + due), **more
    )


def attempt(message_id: str, number: int, at: int = 0, **more: Any) -> Attempt:
    return Attempt(message_id, number, Instant(T0 + at), 12, more.pop("outcome", "failed"), **more)


OPEN: dict[str, Any] = {"share": 100, "taken": {}}
"""Claiming where no lane is full."""


class WorkContract:
    async def test_an_ask_comes_back_as_it_was_put(self, store: Store) -> None:
        full = ask(
            "tracker/ups/1z",
            0,
            5,
            tries=3,
            waiting=(4, 9),
            state="gaveUp",
            error="throttled",
            fingerprint="f",
            unchanged=2,
            carrier_code="UPS",
        )
        await store.write(lambda tx: tx.work.put([ask("order/o-1"), full]))
        wanted = [("bp-1", "tracker/ups/1z"), ("bp-2", "tracker/ups/1z")]
        assert await store.read(lambda tx: tx.work.get(wanted)) == {wanted[0]: full}
        changed = replace(full, state="open", waiting=(9,))
        await store.write(lambda tx: tx.work.put([changed]))
        assert await store.read(lambda tx: tx.work.get(wanted)) == {wanted[0]: changed}

    async def test_due_asks_go_by_priority_then_time(self, store: Store) -> None:
        given = [
            ask("late", 2, -9),
            ask("money", 0, -1),
            ask("money first", 0, -2),
            ask("shopper", 1, 0),
            ask("not yet", 0, 1),
            ask("given up", 0, -5, state="gaveUp"),
        ]
        await store.write(lambda tx: tx.work.put(given))
        due = await store.read(lambda tx: tx.work.due(T0, 10))
        assert [a.target for a in due] == ["money first", "money", "shopper", "late"]
        assert await store.read(lambda tx: tx.work.due(T0, 3)) == due[:3]
        assert await store.read(lambda tx: tx.work.next_due()) == T0 - 9
        await store.write(lambda tx: tx.work.done([("bp-1", a.target) for a in due]))
        assert await store.read(lambda tx: tx.work.due(T0, 10)) == []
        assert await store.read(lambda tx: tx.work.next_due()) == T0 + 1
        assert await store.read(lambda tx: tx.work.count()) == {"open": 1, "gaveUp": 1}
        await store.write(lambda tx: tx.work.done([("bp-1", "not yet"), ("bp-1", "never was")]))
        assert await store.read(lambda tx: tx.work.next_due()) is None

    async def test_asks_are_paged(self, store: Store) -> None:
        given = [ask("b"), ask("a"), ask("a", product="bp-2", state="gaveUp"), ask("c")]
        await store.write(lambda tx: tx.work.put(given))

        async def page(*args: Any) -> list[tuple[str, str]]:
            return [
                (a.business_product_id, a.target) for a in await store.read(lambda tx: tx.work.page(*args))
            ]

        assert await page(None, 2, None, None) == [("bp-1", "a"), ("bp-1", "b")]
        assert await page(("bp-1", "b"), 9, None, None) == [("bp-1", "c"), ("bp-2", "a")]
        assert await page(None, 9, ["bp-2"], None) == [("bp-2", "a")]
        assert await page(None, 9, None, "open") == [("bp-1", "a"), ("bp-1", "b"), ("bp-1", "c")]

    async def test_destinations(self, store: Store) -> None:
        full = Destination("dst-2", "webhook", b'{"url":"x"}', ("PACKAGE_DELIVERED",), "bp-1", False)
        plain = Destination("dst-1", "sqs", b"{}")
        for destination in (full, plain, replace(full, settings=b"{}"), full):
            await store.write(lambda tx, d=destination: tx.attempts.put_destination(d))  # type: ignore[misc]
        assert await store.read(lambda tx: tx.attempts.destinations("", 10)) == [plain, full]
        assert await store.read(lambda tx: tx.attempts.destinations("dst-1", 1)) == [full]
        await store.write(lambda tx: tx.attempts.remove_destination("dst-1"))
        assert await store.read(lambda tx: tx.attempts.destinations("", 10)) == [full]

    async def test_a_message_is_enqueued_once(self, store: Store) -> None:
        await store.write(lambda tx: tx.attempts.enqueue([message("m-1"), message("m-1", position=5)]))
        taken = await store.write(lambda tx: tx.attempts.claim(T0, Instant(T0 + 9), 10, **OPEN))
        await store.write(lambda tx: tx.attempts.enqueue([message("m-1"), message("m-2")]))
        assert await store.read(lambda tx: tx.attempts.message("m-1")) == taken[0]
        assert await store.read(lambda tx: tx.attempts.message("m-3")) is None
        assert await store.read(lambda tx: tx.attempts.count()) == {"pending": 2}

    async def test_claims_take_first_tries_first(self, store: Store) -> None:
        given = [
            message("retry early", -9, tries=2),
            message("retry", -1, tries=1),
            message("second", 0),
            message("first", -1),
            message("not yet", 1),
            message("done", -5, state="delivered"),
        ]
        await store.write(lambda tx: tx.attempts.enqueue(given))
        assert await store.read(lambda tx: tx.attempts.next_due()) == T0 - 9
        until = Instant(T0 + 30)
        taken = await store.write(lambda tx: tx.attempts.claim(T0, until, 3, **OPEN))
        assert [m.id for m in taken] == ["first", "second", "retry early"]
        assert {(m.fence, m.lease_until) for m in taken} == {(1, until)}
        taken = await store.write(lambda tx: tx.attempts.claim(T0, until, 3, **OPEN))
        assert [m.id for m in taken] == ["retry"]
        assert await store.write(lambda tx: tx.attempts.claim(T0, until, 3, **OPEN)) == []
        assert await store.read(lambda tx: tx.attempts.next_due()) == T0 + 1

    async def test_a_lease_runs_out_and_the_fence_holds(self, store: Store) -> None:
        await store.write(lambda tx: tx.attempts.enqueue([message("m-1")]))
        until, later = Instant(T0 + 30), Instant(T0 + 60)
        (mine,) = await store.write(lambda tx: tx.attempts.claim(T0, until, 1, **OPEN))
        assert await store.read(lambda tx: tx.attempts.next_due()) == until
        assert await store.write(lambda tx: tx.attempts.claim(Instant(until - 1), later, 1, **OPEN)) == []
        (theirs,) = await store.write(lambda tx: tx.attempts.claim(until, later, 1, **OPEN))
        assert (mine.fence, theirs.fence) == (1, 2)
        sent = replace(mine, state="delivered", tries=1, lease_until=None)
        assert await store.write(lambda tx: tx.attempts.record([(attempt("m-1", 1), sent)])) == [False]
        assert await store.read(lambda tx: tx.attempts.attempts((0, 0), 10)) == []
        retried = replace(theirs, tries=1, lease_until=None, due_at=Instant(T0 + 90))
        failed = attempt("m-1", 1, 31, status=503, error="busy")
        assert await store.write(lambda tx: tx.attempts.record([(failed, retried)])) == [True]
        assert await store.read(lambda tx: tx.attempts.message("m-1")) == retried
        assert await store.read(lambda tx: tx.attempts.next_due()) == T0 + 90
        (last,) = await store.write(
            lambda tx: tx.attempts.claim(Instant(T0 + 90), Instant(T0 + 99), 1, **OPEN)
        )
        sent = replace(last, state="delivered", tries=2, lease_until=None)
        assert await store.write(
            lambda tx: tx.attempts.record([(attempt("m-1", 2, 91, outcome="delivered", status=204), sent)])
        )
        assert await store.read(lambda tx: tx.attempts.next_due()) is None
        assert await store.read(lambda tx: tx.attempts.count()) == {"delivered": 1}
        listed = await store.read(lambda tx: tx.attempts.attempts((0, 0), 10))
        assert listed[0] == failed
        assert [a.number for a in listed] == [1, 2]

    async def test_attempts_are_paged_without_gaps(self, store: Store) -> None:
        names = [f"m-{n}" for n in range(5)]
        await store.write(lambda tx: tx.attempts.enqueue([message(name) for name in names]))
        taken = await store.write(lambda tx: tx.attempts.claim(T0, Instant(T0 + 9), 10, **OPEN))
        for held in taken:  # all at the same millisecond, each its message's first
            await store.write(lambda tx, m=held: tx.attempts.record([(attempt(m.id, 1), m)]))  # type: ignore[misc]
        seen: list[str] = []
        after: tuple[int, int] | tuple[int, int, str] = (0, 0)
        while page := await store.read(lambda tx, at=after: tx.attempts.attempts(at, 2)):  # type: ignore[misc]
            seen.extend(a.message_id for a in page)
            after = (page[-1].started_at, page[-1].number, page[-1].message_id)
        assert seen == names
        assert await store.read(lambda tx: tx.attempts.attempts((T0, 1), 10)) == []
        of_one = await store.read(lambda tx: tx.attempts.attempts((0, 0), 10, "m-3"))
        assert [a.message_id for a in of_one] == ["m-3"]

    async def test_api_keys(self, store: Store) -> None:
        key = ApiKey("key-1", "console", b"\x00" * 32, "read", ("bp-1",), T0)
        other = ApiKey("key-2", "admin", b"\x01" * 32, "admin", (), T0)
        await store.write(lambda tx: tx.credentials.put_api_key(key))
        await store.write(lambda tx: tx.credentials.put_api_key(other))
        assert await store.read(lambda tx: tx.credentials.api_key_by_hash(key.hash)) == key
        assert await store.read(lambda tx: tx.credentials.api_key_by_hash(b"\x02" * 32)) is None
        revoked = replace(key, revoked_at=Instant(T0 + 1))
        await store.write(lambda tx: tx.credentials.put_api_key(revoked))
        assert await store.read(lambda tx: tx.credentials.api_key_by_hash(key.hash)) == revoked
        assert await store.read(lambda tx: tx.credentials.api_keys("", 10)) == [revoked, other]
        assert await store.read(lambda tx: tx.credentials.api_keys("key-1", 10)) == [other]

    async def test_work_and_attempts_survive_a_crash(self, harness: Harness, store: Store) -> None:
        await store.write(lambda tx: tx.work.put([ask("order/o-1", waiting=(1,))]))
        await store.write(lambda tx: tx.attempts.enqueue([message("m-1")]))
        (held,) = await store.write(lambda tx: tx.attempts.claim(T0, Instant(T0 + 9), 1, **OPEN))
        left = await harness.crash()
        try:
            assert await left.read(lambda tx: tx.work.count()) == {"open": 1}
            assert await left.read(lambda tx: tx.attempts.message("m-1")) == held
        finally:
            await left.close()
