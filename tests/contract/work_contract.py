"""The contract of work and credentials, and what a crash leaves of both and of attempts."""

from typing import Any

from msgspec.structs import replace
from tests.contract.attempts_contract import OPEN, message
from tests.contract.harness import T0, Harness

from milepost.domain.instant import Instant
from milepost.store import ApiKey, Ask, Store


def ask(target: str, priority: int = 1, due: int = 0, product: str = "bp-1", **more: Any) -> Ask:
    return Ask(
        product, target, priority, Instant(T0 + due), more.pop("tries", 0), more.pop("waiting", ()), **more
    )


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
