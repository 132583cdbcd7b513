"""Telling over a real store: intents and captures committed with the views, once, whatever crashes or is rebuilt."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.domain.history import (
    BOX,
    BP,
    CANCELLED,
    DELIVERED,
    MILESTONE,
    ORDER,
    SECOND_BOX,
    SHIPPED,
    UPS,
    Arrived,
    event,
    order_answer,
    package,
    scan,
    tracker_answer,
)
from tests.unit.pipeline.projecting import dump, forget, handler, keep
from tests.unit.pipeline.telling import World

from milepost.domain import telling as rules
from milepost.domain.instant import parse_instant
from milepost.domain.record import order_subject, told_subject, tracker_subject
from milepost.pipeline.consumer import Consumer
from milepost.pipeline.projector import NAME
from milepost.pipeline.rebuild import verify
from milepost.pipeline.telling import NAME as TELLING
from milepost.store import Transaction


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = await World(tmp_path).open()
    yield made
    await made.close()


def known(state: str = "IN_TRANSIT", at: str = "2025-03-01T11:00:00Z", box: str = BOX) -> Arrived:
    prices = {"id": "item", "amount": {"unit": "ONE", "value": "1"}, "product": {"price": PRICE}}
    return order_answer(at, package(box, state, tracker=UPS, items=[("item", "1")]), lineItems=[prices])


PRICE = {"amount": "12.5", "currencyCode": "USD"}


def scans(at: str, *codes_and_times: tuple[str, str]) -> Arrived:
    return tracker_answer(at, UPS, *(scan(code, when) for code, when in codes_and_times))


SHIP = event(SHIPPED, "2025-03-01T10:00:00Z", id="the-ship-event")
ARRIVE = event(DELIVERED, "2025-03-05T10:00:00Z")


async def test_a_capture_keeps_what_it_rests_on(world: World) -> None:
    await world.come(known("PENDING", "2025-02-28T00:00:00Z"), SHIP)
    (capture,) = await world.captures()
    assert capture.state == "READY"
    assert capture.evidence == (
        {
            "kind": "event",
            "type": SHIPPED,
            "at": "2025-03-01T10:00:00Z",
            "position": 2,
            "eventId": "the-ship-event",
            "localDate": "2025-03-01",
            "zone": "utc",
        },
    )
    assert capture.suggestion is not None
    assert (capture.suggestion["amount"], capture.suggestion["currencyCode"]) == ("12.50", "USD")
    record = (await world.store.read(lambda tx: tx.journal.records([capture.position])))[capture.position]
    assert (record.kind, record.type) == ("intent", "capture.ready")
    ready = next(i for i in await world.intents() if i.type == "capture.ready")
    assert ready.at == parse_instant("2025-03-01T10:00:00Z")
    assert ready.data["captureId"] == capture.id
    assert ready.carrier_codes == ("ups",)


async def test_one_batch_or_one_record_at_a_time_makes_the_same_captures(tmp_path: Path) -> None:
    facts = (known("PENDING", "2025-02-28T00:00:00Z"), SHIP, known(), ARRIVE)
    ids = set()
    for step in (1, len(facts)):
        folder = tmp_path / str(step)
        folder.mkdir()
        world = await World(folder).open()
        for start in range(0, len(facts), step):
            await world.come(*facts[start : start + step])
        (capture,) = await world.captures()
        ids.add(capture.id)
        told = await world.told()
        assert sum(t.startswith("delivery.shipped") for t in told) == 1
        assert told.count("delivery.delivered") == told.count("capture.ready") == 1
        await world.close()
    assert len(ids) == 1


async def test_intents_are_indexed_apart_from_facts(world: World) -> None:
    await world.come(known(), scans("2025-03-02T00:00:00Z", ("IN_TRANSIT", "2025-03-01T08:00:00Z")))
    subject = (BP, order_subject(ORDER))
    told = (BP, told_subject(order_subject(ORDER)))
    found = await world.store.read(lambda tx: tx.journal.of_subjects([subject, told]))
    assert {record.kind for record in found[subject]} == {"snapshot"}
    assert {record.type for record in found[told]} == {
        "delivery.shipped",
        "capture.ready",
        "tracker.updated",
        "order.updated",
    }


# ── Once ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_rebuild_writes_views_only_and_the_same(world: World) -> None:
    await world.come(known("PENDING", "2025-02-28T00:00:00Z"), SHIP)
    await world.come(event(MILESTONE, "2025-03-01T09:00:00Z", tracker=UPS), ARRIVE)
    before = await dump(world.store), await world.told(), await world.captures()
    await world.rebuild()
    assert (await dump(world.store), await world.told(), await world.captures()) == before
    assert await verify(world.store, handler(world.store), world.clock) == []


async def test_a_rebuild_that_was_interrupted_goes_on_and_tells_what_came_meanwhile(world: World) -> None:
    await world.come(known("PENDING", "2025-02-28T00:00:00Z"), SHIP)
    told = await world.told()
    await forget(world.store)
    few = Consumer(world.store, NAME, handler(world.store), world.clock, batch=2)
    await few.step()
    assert await world.told() == told
    await world.come(ARRIVE)
    assert (await world.told())[len(told) :] == ["delivery.delivered", "order.updated"]


async def test_a_crash_between_fold_and_commit_tells_it_once(world: World) -> None:
    class Killed(BaseException):
        pass

    def kill(point: str) -> None:
        raise Killed

    await world.come(known("PENDING", "2025-02-28T00:00:00Z"))
    told = await world.told()
    dying = Consumer(world.store, NAME, handler(world.store), world.clock, probe=kill)
    await keep(world.store, SHIP)
    with pytest.raises(Killed):
        await dying.step()
    assert (await world.told(), await world.captures()) == (told, [])
    await world.close()
    await world.open()
    await world.projector.catch_up()
    assert (await world.told())[len(told) :] == ["delivery.shipped", "capture.ready", "order.updated"]
    assert len(await world.captures()) == 1


async def test_a_view_that_cannot_be_told_of_stops_nothing_and_is_told_later(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any) -> None:
        raise LookupError("a view nobody thought of")

    with monkeypatch.context() as patched:
        patched.setattr(rules, "order_standing", broken)
        await world.come(known("PENDING", "2025-02-28T00:00:00Z"), SHIP)
    failures = await world.store.read(lambda tx: tx.views.failures(0, 10, None))
    assert [(f.consumer, f.subject) for f in failures] == [(TELLING, order_subject(ORDER))]
    assert await world.captures() == []
    await world.come(ARRIVE)
    assert "delivery.shipped (history_fill)" in await world.told()
    (capture,) = await world.captures()
    assert capture.state == "READY"


async def test_an_order_that_retention_forgot_makes_no_second_capture(world: World) -> None:
    await world.come(known("PENDING", "2025-02-28T00:00:00Z"), SHIP)
    (capture,) = await world.captures()

    def forget_told(tx: Transaction) -> None:
        tx.ledger.tell({(BP, order_subject(ORDER)): b"", (BP, tracker_subject(*UPS)): b""})

    await world.store.write(forget_told)
    await world.come(ARRIVE)
    assert await world.captures() == [capture]
    told = await world.told()
    assert (told.count("capture.ready"), sum(t.startswith("delivery.shipped") for t in told)) == (1, 1)
    await world.store.write(forget_told)
    await world.come(event(CANCELLED, "2025-03-06T10:00:00Z"))
    assert [(c.id, c.state) for c in await world.captures()] == [(capture.id, "HELD")]


async def test_nothing_is_told_when_nothing_changed(world: World) -> None:
    await world.come(known(), SHIP)
    told = await world.told()
    again = known("IN_TRANSIT", "2025-03-01T15:00:00Z")
    await world.come(again)
    assert await world.told() == told


# ── Holds ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_capture_of_an_unknown_order_becomes_ready_with_the_order(world: World) -> None:
    await world.come(SHIP)
    (held,) = await world.captures()
    assert (held.state, held.reason, held.position) == ("HELD", "order_not_known", 0)
    assert "capture.ready" not in await world.told()
    await world.come(known())
    (ready,) = await world.captures()
    assert (ready.id, ready.state, ready.reason) == (held.id, "READY", "")
    assert [step.state for step in ready.history] == ["HELD", "READY"]
    assert ready.line_items == ({"id": "item", "quantity": "1", "unit": "ONE"},)
    assert ready.suggestion is not None
    assert (await world.told()).count("capture.ready") == 1
    assert ready.position > 0


async def test_what_a_person_holds_no_fold_lets_go(world: World) -> None:
    await world.come(SHIP)
    (held,) = await world.captures()
    mine = await world.do(held, "hold", "I look first")
    await world.come(known())
    (still,) = await world.captures()
    assert (still.state, still.reason) == ("HELD", "I look first")
    assert still.line_items, "it learns what is in it all the same"
    released = await world.do(mine, "release")
    assert released.state == "READY"
    assert (await world.told()).count("capture.ready") == 1


async def test_what_a_person_let_go_is_not_held_for_the_same_reason_again(world: World) -> None:
    await world.come(known(), SHIP, event(CANCELLED, "2025-03-04T10:00:00Z"))
    (held,) = await world.captures()
    assert (held.state, held.reason) == ("HELD", "cancelled_but_moving")
    await world.do(held, "release", "the parcel is in the shopper's hands")
    await world.come(scans("2025-03-05T00:00:00Z", ("IN_TRANSIT", "2025-03-04T12:00:00Z")))
    assert [c.state for c in await world.captures()] == ["READY"]


@pytest.fixture
async def reviewing(tmp_path: Path) -> AsyncIterator[World]:
    """Where captures are reviewed that are inferred."""
    made = await World(tmp_path, review_inferred=True).open()
    yield made
    await made.close()


async def test_where_it_is_asked_for_an_inferred_capture_waits_for_a_review(reviewing: World) -> None:
    await reviewing.come(known(), ARRIVE)
    (held,) = await reviewing.captures()
    assert (held.state, held.reason, held.inferred, held.position) == ("HELD", "inferred", True, 0)
    released = await reviewing.do(held, "release", "the shopper has it")
    assert released.state == "READY"
    again = scans("2025-03-06T00:00:00Z", ("RETURN_TO_SENDER", "2025-03-05T12:00:00Z"))
    await reviewing.come(known("DELIVERED", "2025-03-05T11:00:00Z"), again)
    await reviewing.rebuild()
    assert [c.state for c in await reviewing.captures()] == ["READY"]
    assert (await reviewing.told()).count("capture.ready") == 1


async def test_the_ship_event_that_comes_late_ends_the_review(reviewing: World) -> None:
    await reviewing.come(known(), ARRIVE)
    await reviewing.come(SHIP)
    (ready,) = await reviewing.captures()
    assert (ready.state, ready.inferred) == ("READY", False)
    assert [step.state for step in ready.history] == ["HELD", "READY"]


async def test_an_order_that_becomes_known_does_not_end_the_review(reviewing: World) -> None:
    await reviewing.come(ARRIVE)
    assert [c.reason for c in await reviewing.captures()] == ["order_not_known"]
    await reviewing.come(known())
    assert [(c.state, c.reason) for c in await reviewing.captures()] == [("HELD", "inferred")]


async def test_what_was_let_go_before_is_not_reviewed(world: World) -> None:
    """The switch is thrown later."""
    await world.come(known(), ARRIVE)
    world.review_inferred = True
    await world.close()
    await world.open()
    await world.come(known("DELIVERED", "2025-03-05T11:00:00Z"))
    (capture,) = await world.captures()
    assert (capture.state, capture.inferred, len(capture.history)) == ("READY", True, 1)


async def test_what_a_person_let_go_before_the_order_was_known_is_not_reviewed(reviewing: World) -> None:
    await reviewing.come(ARRIVE)
    (held,) = await reviewing.captures()
    await reviewing.do(held, "release")
    await reviewing.come(known())
    assert [c.state for c in await reviewing.captures()] == ["READY"]


# ── Scenarios of tracking.md 13, by number ─────────────────────────────────────────────────────────────────


async def test_scenario_06_the_answer_is_ahead_of_the_event_shipped_and_delivered_once(world: World) -> None:
    await world.come(SHIP, known("DELIVERED", "2025-03-05T10:30:00Z"))
    await world.come(ARRIVE)
    await world.come(scans("2025-03-05T11:00:00Z", ("DELIVERED", "2025-03-05T09:55:00Z")))
    told = await world.told()
    assert sum(t.startswith("delivery.shipped") for t in told) == 1
    assert sum(t.startswith("delivery.delivered") for t in told) == 1
    assert told.count("capture.ready") == 1
    assert len(await world.captures()) == 1
    shipped = next(i for i in await world.intents() if i.type == "delivery.shipped")
    assert shipped.reason == "history_fill", "whoever tells shoppers tells of the delivery alone"


async def test_scenario_11_a_reopened_delivery_fires_nothing_again(world: World) -> None:
    await world.come(known("PENDING", "2025-02-28T00:00:00Z"), SHIP)
    there = ("DELIVERED", "2025-03-05T17:00:00Z")
    moved = ("IN_TRANSIT", "2025-03-02T08:00:00Z")
    await world.come(scans("2025-03-05T17:05:00Z", moved, there), event(DELIVERED, "2025-03-05T17:01:00Z"))
    (acknowledged,) = await world.captures()
    await world.do(acknowledged, "acknowledge")
    before = len(await world.told())
    out = ("OUT_FOR_DELIVERY", "2025-03-06T09:00:00Z")
    await world.come(scans("2025-03-06T09:05:00Z", moved, there, out))
    told = (await world.told())[before:]
    assert "tracker.updated (correction)" in told
    assert "condition.raised" in told
    await world.come(scans("2025-03-06T15:05:00Z", moved, there, out, ("DELIVERED", "2025-03-06T15:00:00Z")))
    told = (await world.told())[before:]
    assert not [t for t in told if t.startswith(("delivery.", "capture."))]
    assert [c.state for c in await world.captures()] == ["ACKED"]


async def test_scenario_15_cancelled_then_scanned_holds_the_payment(world: World) -> None:
    await world.come(known("PENDING", "2025-02-28T00:00:00Z"), event(CANCELLED, "2025-03-01T10:00:00Z"))
    assert await world.captures() == []
    await world.come(scans("2025-03-02T00:00:00Z", ("IN_TRANSIT", "2025-03-01T20:00:00Z")))
    (held,) = await world.captures()
    assert (held.state, held.reason, held.position) == ("HELD", "cancelled_but_moving", 0)
    assert "capture.ready" not in await world.told()
    released = await world.do(held, "release", "it did ship")
    assert released.state == "READY"
    assert (await world.told()).count("capture.ready") == 1


async def test_scenario_19_a_scan_late_on_the_last_day_of_a_month_is_captured_with_that_day(
    world: World,
) -> None:
    late = tracker_answer("2025-04-01T07:00:00Z", UPS, scan("IN_TRANSIT", "2025-03-31T23:30:00-07:00"))
    await world.come(known("PENDING", "2025-03-30T00:00:00Z"), late)
    (capture,) = await world.captures()
    first = capture.evidence[0]
    assert (first["at"], first["localDate"], first["zone"]) == (
        "2025-04-01T06:30:00Z",
        "2025-03-31",
        "offset-explicit",
    )
    shipped = next(i for i in await world.intents() if i.type == "delivery.shipped")
    assert (shipped.data["shippedOn"], shipped.data["shippedAtZone"]) == ("2025-03-31", "offset-explicit")


async def test_two_parcels_of_an_order_are_two_captures_that_sum_to_the_cent(world: World) -> None:
    item = {
        "id": "item",
        "amount": {"unit": "ONE", "value": "3"},
        "product": {"price": PRICE | {"amount": "3.335"}},
    }
    boxes = (
        package(BOX, "IN_TRANSIT", items=[("item", "1")]),
        package(SECOND_BOX, "PENDING", items=[("item", "2")]),
    )
    await world.come(order_answer("2025-03-01T11:00:00Z", *boxes, lineItems=[item]))
    await world.come(event(SHIPPED, "2025-03-02T10:00:00Z", SECOND_BOX))
    captures = await world.captures()
    assert [c.suggestion["amount"] for c in captures if c.suggestion] == ["3.33", "6.67"]
