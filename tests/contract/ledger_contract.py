"""The contract of the ledger: captures for life, and what was last told."""

from typing import Any

from msgspec.structs import replace
from tests.contract.harness import T0, Harness

from milepost.domain.capture import Capture, Transition, capture_id
from milepost.domain.instant import Instant
from milepost.store import Store


def capture(delivery: str = "d-1", order: str = "o-1", product: str = "bp-1", **more: Any) -> Capture:
    state = more.pop("state", "READY")
    return Capture(
        capture_id(product, order, delivery),
        product,
        order,
        delivery,
        state,
        T0,
        more.pop("evidence", ()),
        more.pop("line_items", ()),
        (Transition(T0, state, "projector"),),
        **more,
    )


async def put(store: Store, *captures: Capture) -> None:
    await store.write(lambda tx: tx.ledger.put_captures(captures))


async def page(store: Store, *args: Any, **more: Any) -> list[str]:
    found = await store.read(lambda tx: tx.ledger.capture_page(*args, **more))
    assert [number for number, _ in found] == sorted({number for number, _ in found})
    return [c.delivery_id for _, c in found]


class LedgerContract:
    async def test_a_capture_comes_back_as_it_was_put(self, store: Store) -> None:
        full = capture(
            evidence=({"kind": "event", "at": "2025-01-20T12:34:56Z", "position": 3, "eventId": "e"},),
            line_items=({"id": "i", "quantity": "1", "unit": None},),
            inferred=True,
            reason="why",
            suggestion={"currencyCode": "USD", "amount": "1.00", "lineItems": [], "method": "m"},
            sent_at=Instant(T0 + 1),
            carrier_codes=("ups",),
            position=9,
        )
        await put(store, full)
        assert await store.read(lambda tx: tx.ledger.capture(full.id)) == full
        assert await store.read(lambda tx: tx.ledger.capture("cap_other")) is None
        key = ("bp-1", "o-1", "d-1")
        others = {("bp-1", "o-1", "d-2"), ("bp-2", "o-1", "d-1")}
        assert await store.read(lambda tx: tx.ledger.captures({key} | others)) == {key: full}
        assert await store.read(lambda tx: tx.ledger.captures(())) == {}

    async def test_moving_one_on_adds_none_and_keeps_its_place(self, store: Store) -> None:
        await put(store, capture("d-1"), capture("d-2"))
        moved = replace(capture("d-1"), state="SENT")
        await put(store, moved)
        await put(store, capture("d-3", state="HELD"))
        assert await page(store, 0, 10, None) == ["d-1", "d-2", "d-3"]
        assert await store.read(lambda tx: tx.ledger.count_captures()) == {"SENT": 1, "READY": 1, "HELD": 1}
        of = await store.read(lambda tx: tx.ledger.captures_of_orders([("bp-1", "o-1"), ("bp-1", "o-2")]))
        assert {k: [c.delivery_id for c in v] for k, v in of.items()} == {
            ("bp-1", "o-1"): ["d-1", "d-2", "d-3"]
        }
        assert of["bp-1", "o-1"][0] == moved

    async def test_the_extent_is_how_many_there_are_and_the_newest_number(self, store: Store) -> None:
        await put(store, *(capture(f"d-{n}", product=f"bp-{n % 2}") for n in range(5)))
        await put(store, replace(capture("d-0", product="bp-0"), state="SENT"))
        numbers = [n for n, _ in await store.read(lambda tx: tx.ledger.capture_page(0, 9, None))]
        assert await store.read(lambda tx: tx.ledger.capture_extent(None)) == (5, numbers[-1])
        assert await store.read(lambda tx: tx.ledger.capture_extent(["bp-1"])) == (2, numbers[3])
        assert await store.read(lambda tx: tx.ledger.capture_extent([])) == (0, 0)

    async def test_pages_by_state_and_business_product(self, store: Store) -> None:
        given = [
            capture(f"d-{n}", product=f"bp-{n % 2}", state=("READY", "HELD", "ACKED")[n % 3])
            for n in range(9)
        ]
        await put(store, *given)
        assert await page(store, 0, 4, None) == ["d-0", "d-1", "d-2", "d-3"]
        numbers = await store.read(lambda tx: tx.ledger.capture_page(0, 4, None))
        assert await page(store, numbers[-1][0], 100, None) == ["d-4", "d-5", "d-6", "d-7", "d-8"]
        assert await page(store, 0, 100, ["bp-1"]) == ["d-1", "d-3", "d-5", "d-7"]
        assert await page(store, 0, 100, []) == []
        assert await page(store, 0, 100, None, ["HELD", "ACKED"]) == [
            "d-1",
            "d-2",
            "d-4",
            "d-5",
            "d-7",
            "d-8",
        ]
        assert await page(store, 0, 100, ["bp-0"], ["READY"]) == ["d-0", "d-6"]
        for state, most, reach, wanted in (
            ("HELD", 9, None, 3),
            ("HELD", 2, None, 2),
            ("HELD", 9, ["bp-0"], 1),
            ("VOID", 9, None, 0),
        ):
            count = await store.read(
                lambda tx, args=(state, most, reach): tx.ledger.count_in_state(*args)  # type: ignore[misc]
            )
            assert count == wanted

    async def test_what_was_told_is_replaced_and_forgotten(self, store: Store) -> None:
        one, other = ("bp-1", "order/o-1"), ("bp-2", "order/o-1")
        await store.write(lambda tx: tx.ledger.tell({one: b"[1]", other: b"[2]"}))
        await store.write(lambda tx: tx.ledger.tell({one: b"[3]"}))
        wanted = [one, other, ("bp-1", "order/o-2")]
        assert await store.read(lambda tx: tx.ledger.told(wanted)) == {one: b"[3]", other: b"[2]"}
        await store.write(lambda tx: tx.ledger.tell({one: b"", ("bp-1", "order/o-2"): b""}))
        assert await store.read(lambda tx: tx.ledger.told(wanted)) == {other: b"[2]"}
        await store.write(lambda tx: tx.ledger.tell({}))

    async def test_thousands_are_read_together(self, store: Store) -> None:
        told = {("bp-1", f"order/{n}"): b"[%d]" % n for n in range(1_200)}
        await store.write(lambda tx: tx.ledger.tell(told))
        await put(store, *(capture(order=f"o-{n}") for n in range(1_200)))
        assert await store.read(lambda tx: tx.ledger.told(told)) == told
        keys = [("bp-1", f"o-{n}", "d-1") for n in range(1_200)]
        assert (await store.read(lambda tx: tx.ledger.captures(keys))).keys() == set(keys)

    async def test_a_rebuild_touches_no_ledger_and_a_crash_leaves_it(
        self, harness: Harness, store: Store
    ) -> None:
        await put(store, capture())
        await store.write(lambda tx: tx.ledger.tell({("bp-1", "order/o-1"): b"[1]"}))
        await store.write(lambda tx: tx.views.clear())
        left = await harness.crash()
        try:
            assert await left.read(lambda tx: tx.ledger.capture(capture().id)) == capture()
            told = await left.read(lambda tx: tx.ledger.told([("bp-1", "order/o-1")]))
            assert told == {("bp-1", "order/o-1"): b"[1]"}
        finally:
            await left.close()
