"""The books over a real store: rows committed with the views, once, whatever crashes, is rebuilt or removed."""

from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from tests.unit.domain.history import (
    BOX,
    BP,
    CANCELLED,
    DELIVERED,
    ORDER,
    SHIPPED,
    UPS,
    Arrived,
    event,
    order_answer,
    package,
    scan,
    tracker_answer,
)
from tests.unit.pipeline.bookkeeping import SETTLE, Killed, World, net, stated
from tests.unit.pipeline.projecting import keep

from milepost.domain.accounting import Period
from milepost.domain.condition import Policy
from milepost.domain.errors import Conflict, Invalid
from milepost.domain.instant import Instant, parse_instant
from milepost.domain.record import order_subject
from milepost.pipeline.booking import close_period
from milepost.pipeline.consumer import Consumer
from milepost.pipeline.projector import NAME, Projector
from milepost.pipeline.telling import BOOKED


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    made = await World(database_url).open()
    yield made
    await made.close()


KNOWN = order_answer("2025-01-28T00:00:00Z", package(tracker=UPS))
SHIP = event(SHIPPED, "2025-01-29T20:00:00Z", id="the-ship-event")
ARRIVE = event(DELIVERED, "2025-02-01T08:00:00Z", id="the-arrival")


def scans(*codes_and_times: tuple[str, str], at: str = "2025-03-01T00:00:00Z") -> Arrived:
    return tracker_answer(at, UPS, *(scan(code, when) for code, when in codes_and_times))


LATE = scans(("IN_TRANSIT", "2025-01-29T21:00:00Z"), ("DELIVERED", "2025-01-31T23:30:00-08:00"))


async def test_scenario_19_a_delivery_at_2330_on_month_end_is_in_that_months_period(world: World) -> None:
    await world.come(KNOWN, SHIP, LATE, ARRIVE)
    (row,) = [e for e in await world.entries() if e.kind == "delivered"]
    assert row.occurred_at == parse_instant("2025-02-01T07:30:00Z")
    assert (row.destination_date, row.origin_date, row.zone) == (
        "2025-01-31",
        "2025-01-31",
        "offset-explicit",
    )
    assert (row.tax_period, row.posting_period) == ("2025-01", "2025-01")


async def test_a_row_names_the_event_that_shows_it(world: World) -> None:
    await world.come(KNOWN, SHIP)
    (shipped,) = await world.entries()
    assert shipped.evidence == {
        "kind": "event",
        "type": SHIPPED,
        "at": "2025-01-29T20:00:00Z",
        "source": "event",
        "position": 2,
        "eventId": "the-ship-event",
    }
    await world.come(ARRIVE)
    arrived = (await world.entries())[-1]
    assert arrived.evidence["eventId"] == "the-arrival"
    (record,) = (
        await world.store.read(lambda tx: tx.journal.records([arrived.evidence["position"]]))
    ).values()
    assert record.event().event_id == "the-arrival"


async def test_an_event_that_is_not_the_newest_fact_is_found_all_the_same(world: World) -> None:
    await world.come(KNOWN, SHIP, ARRIVE, scans(("IN_TRANSIT", "2025-01-29T21:00:00Z")))
    arrived = (await world.entries())[-1]
    assert (arrived.kind, arrived.evidence["position"], arrived.evidence["eventId"]) == (
        "delivered",
        3,
        "the-arrival",
    )


async def test_an_answer_that_shows_it_is_named_by_its_position(world: World) -> None:
    await world.come(KNOWN, order_answer("2025-02-02T00:00:00Z", package(state="DELIVERED", tracker=UPS)))
    rows = {e.kind: e.evidence for e in await world.entries()}
    assert {kind: (e["kind"], e["position"], e["eventId"]) for kind, e in rows.items()} == {
        "shipped": ("snapshot", 2, None),
        "delivered": ("snapshot", 2, None),
    }


async def test_a_scan_that_comes_later_corrects_what_the_event_said(world: World) -> None:
    await world.come(KNOWN, SHIP)
    await world.come(ARRIVE)
    await world.come(LATE)
    assert await world.said("delivered") == [
        ("delivered", 1, 1, "provisional", "new", "2025-02", "2025-02"),
        ("delivered", -1, 1, "provisional", "correction", "2025-02", "2025-02"),
        ("delivered", 1, 2, "provisional", "correction", "2025-01", "2025-01"),
    ]


async def test_a_cancellation_without_movement_posts_nothing(world: World) -> None:
    await world.come(KNOWN, event(CANCELLED, "2025-01-29T00:00:00Z"))
    assert await world.entries() == []


async def test_a_shipment_whose_evidence_went_is_reversed_alone(world: World) -> None:
    await world.come(KNOWN, scans(("IN_TRANSIT", "2025-01-29T21:00:00Z")))
    other = scans(("INFO_RECEIVED", "2025-01-28T12:00:00Z"), at="2025-03-02T00:00:00Z")
    await world.come(other)
    assert await world.said() == [
        ("shipped", 1, 1, "provisional", "new", "2025-01", "2025-01"),
        ("shipped", -1, 1, "provisional", "withdrawn", "2025-01", "2025-01"),
    ]


async def test_a_delivery_reopened_is_reversed_and_stated_again_when_it_arrives(world: World) -> None:
    there = ("DELIVERED", "2025-02-01T07:00:00Z")
    out, again = ("OUT_FOR_DELIVERY", "2025-02-01T19:00:00Z"), ("DELIVERED", "2025-02-02T09:00:00Z")
    await world.come(KNOWN, SHIP, ARRIVE, scans(there))
    await world.come(scans(there, out, at="2025-03-02T00:00:00Z"))
    await world.come(scans(there, out, again, at="2025-03-03T00:00:00Z"))
    assert [
        (sign, revision, reason) for _, sign, revision, _, reason, *_ in await world.said("delivered")
    ] == [
        (1, 1, "new"),
        (-1, 1, "withdrawn"),
        (1, 2, "new"),
    ]


# ── Closed periods ─────────────────────────────────────────────────────────────────────────────────────────


async def test_a_correction_after_close_appears_as_a_reversal_in_the_first_open_period(world: World) -> None:
    await world.come(KNOWN, SHIP, ARRIVE)
    before = [e for e in await world.entries() if e.posting_period == "2025-02"]
    await world.close_month("2025-01")
    await world.close_month("2025-02")
    await world.come(LATE)
    entries = await world.entries()
    assert [e for e in entries if e.posting_period == "2025-02"] == before
    assert await world.said("delivered") == [
        ("delivered", 1, 1, "provisional", "new", "2025-02", "2025-02"),
        ("delivered", -1, 1, "provisional", "correction", "2025-02", "2025-03"),
        ("delivered", 1, 2, "provisional", "correction", "2025-01", "2025-03"),
    ]


async def test_what_is_learned_after_close_is_posted_to_the_first_open_period(world: World) -> None:
    await world.close_month("2025-01")
    await world.come(KNOWN, SHIP)
    assert await world.said() == [("shipped", 1, 1, "provisional", "new", "2025-01", "2025-02")]


async def test_a_period_is_closed_once_and_another_business_products_stays_open(world: World) -> None:
    closed = await world.close_month("2025-01")
    assert closed == Period(BP, "2025-01", world.now, "key-1")
    world.step(1)
    assert await world.close_month("2025-01") == closed
    await world.close_month("2024-12")
    assert (await world.close_month("2025-01")).period == "2025-01"
    assert (await world.close_month("2024-12")).period == "2024-12"
    await world.close_month("2025-01", "bp-other")
    await world.come(KNOWN, event(SHIPPED, "2025-02-05T20:00:00Z"))
    assert [e.posting_period for e in await world.entries()] == ["2025-02"]


async def test_a_period_that_has_not_ended_everywhere_stays_open(world: World) -> None:
    world.now = Instant(parse_instant("2025-04-01T12:00:00Z") - 1)
    with pytest.raises(Conflict) as refused:
        await world.close_month("2025-03")
    assert refused.value.context == {"endsAt": "2025-04-01T12:00:00Z"}
    world.now = Instant(world.now + 1)
    assert (await world.close_month("2025-03")).period == "2025-03"
    with pytest.raises(Invalid):
        await world.store.write(lambda tx: close_period(tx, BP, "2025-3", "key-1", world.now))


# ── Once ───────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_rebuild_posts_nothing(world: World) -> None:
    await world.come(KNOWN, SHIP, ARRIVE, LATE)
    before = await world.entries()
    await world.rebuild()
    assert await world.entries() == before
    await world.come(event(SHIPPED, "2025-02-03T00:00:00Z", id="once more"))
    assert await world.entries() == before


async def test_a_crash_between_fold_and_commit_posts_it_once(world: World) -> None:
    await world.come(KNOWN)
    with suppress(Killed):
        await world.dying().step()
    await keep(world.store, SHIP, ARRIVE)
    with pytest.raises(Killed):
        await world.dying().step()
    assert await world.entries() == []
    await world.close()
    await world.open()
    await world.projector.catch_up()
    assert [(kind, sign) for kind, sign, *_ in await world.said()] == [("shipped", 1), ("delivered", 1)]


async def test_rows_that_the_accountant_settled_meanwhile_are_what_is_reversed(world: World) -> None:
    """The change was folded before it was settled, and is written after that."""
    await world.come(KNOWN, SHIP)
    assert await world.accountant.settle() == 0
    at = await world.store.read(lambda tx: tx.journal.checkpoint(NAME))
    await keep(world.store, scans(("IN_TRANSIT", "2025-01-28T21:00:00Z")))
    effects = await world.folding()(await world.store.read(lambda tx: tx.journal.after(at, 10)))
    world.step(8)
    assert await world.accountant.settle() == 1
    await world.store.write(effects)
    entries = await world.entries()
    assert [(e.sign, e.revision, e.status, e.reason) for e in entries] == [
        (1, 1, "provisional", "new"),
        (-1, 1, "provisional", "settled"),
        (1, 2, "settled", "settled"),
        (-1, 2, "settled", "correction"),
        (1, 3, "provisional", "correction"),
    ]
    assert len(net(entries, stated)) == 1


async def test_an_order_that_was_there_before_the_books_is_booked_from_its_next_record_on(
    world: World,
) -> None:
    await keep(world.store, KNOWN, SHIP)
    unbooked = Projector(world.store, Policy(), world.clock).prepare
    await Consumer(world.store, NAME, unbooked, world.clock).catch_up()
    await world.projector.catch_up()
    await world.rebuild()
    assert await world.entries() == []
    await world.come(ARRIVE)
    assert [(kind, sign) for kind, sign, *_ in await world.said()] == [("shipped", 1), ("delivered", 1)]


async def test_an_order_that_was_removed_and_comes_back_keeps_its_rows(world: World) -> None:
    await world.come(KNOWN, SHIP)
    before = await world.entries()
    subject = (BP, f"{BOOKED}/{order_subject(ORDER)}")
    # As `removal` does it: the standing goes with the records, the rows stay.
    await world.store.write(lambda tx: (tx.ledger.tell({subject: b""}), tx.journal.remove([1, 2]))[0])
    await world.store.write(lambda tx: tx.views.unindex({1: (BP, [order_subject(ORDER)])}))
    await world.store.write(lambda tx: tx.views.unindex({2: (BP, [order_subject(ORDER)])}))
    await world.come(event(SHIPPED, "2025-03-05T00:00:00Z", id="a late one"))
    await world.come(event(SHIPPED, "2025-03-04T00:00:00Z", id="a later one"))
    assert await world.entries() == before
    await world.come(event(DELIVERED, "2025-03-06T00:00:00Z", id="it arrives after all"))
    after = await world.entries()
    assert after[: len(before)] == before
    assert [(e.kind, e.sign, e.reason) for e in after[len(before) :]] == [("delivered", 1, "new")]
    assert after[-1].delivery_id == BOX


async def test_a_provisional_row_has_its_time(world: World) -> None:
    await world.come(KNOWN, SHIP)
    (row,) = await world.entries()
    assert row.settles_at == world.now + SETTLE
