"""Erasures: what is left, in every table and every byte; what is not told; what a kill between two writes leaves."""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.unit.domain.history import BP, DELIVERED, ORDER, SHIPPED, UPS, USPS, event
from tests.unit.pipeline.erasing import (
    CANARIES,
    EMAIL,
    OTHER,
    OTHERS_EMAIL,
    Erasing,
    Killed,
    customer,
    fill,
    history,
)

from milepost.domain.attempt import Attempt, Destination, Message
from milepost.domain.breaker import POLICY
from milepost.domain.condition import Policy
from milepost.domain.envelope import parse_event
from milepost.domain.erasure import ERASED, TASK_COMPLETED, TASK_FAILED, task_erasure_id
from milepost.domain.instant import DAY, Instant
from milepost.domain.queue import Mark
from milepost.pipeline.consumer import Consumer
from milepost.pipeline.erased import erased_among
from milepost.pipeline.hydrator import NAME as HYDRATOR
from milepost.pipeline.hydrator import Hydrator
from milepost.pipeline.projector import NAME as PROJECTOR
from milepost.pipeline.projector import Projector
from milepost.pipeline.settling import Settled, keep
from milepost.pipeline.telling import Followed
from milepost.store import Arrival, ItemKey, Transaction

POINTS = (
    "erasure-marked",
    "erasure-redacting",
    "erasure-ledgers",
    "erasure-followed",
    "erasure-redacted",
    "erasure-compacted",
)


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Erasing]:
    made = await Erasing(tmp_path).open()
    yield made
    await made.close()


async def test_scenario_32_an_erased_order_keeps_counts_and_the_skeleton_of_its_timeline(
    place: Erasing,
) -> None:
    await fill(place)
    before = await place.counts()
    flat = await place.store.read(lambda tx: tx.views.dump())
    told = await place.store.read(
        lambda tx: [r.position for r in tx.journal.after(0, 500) if r.kind == "intent"]
    )
    assert place.bytes_with(*CANARIES)
    await place.ask()
    erasure = await place.erase()
    assert erasure.records >= 6
    assert erasure.done_at == place.now
    after = await place.counts()
    assert (after.arrivals, after.events, after.duplicates, after.conflicts, after.quarantined) == (
        before.arrivals,
        before.events,
        before.duplicates,
        before.conflicts,
        before.quarantined,
    )
    assert after.failed_folds == before.failed_folds == 0
    assert after.records == before.records + 1
    assert await place.differences() == []
    mine = [canary for canary in CANARIES if "quackenbush" not in canary.lower()]
    assert place.rows_with(EMAIL, EMAIL.lower()) == []
    records = await place.store.read(
        lambda tx: tx.journal.of_subjects([(BP, f"order/{ORDER}")])[BP, f"order/{ORDER}"]
    )
    assert all(ERASED in record.flags for record in records)
    assert [word for _, word in place.rows_with(*mine) if word == EMAIL] == []
    intents = await place.store.read(
        lambda tx: [r.position for r in tx.journal.after(0, 500) if r.kind == "intent"]
    )
    assert intents == told, "an erasure is no news"
    new = await place.store.read(lambda tx: tx.views.dump())
    assert skeleton(new) == skeleton(flat)


def skeleton(dump: list[tuple[str, ...]]) -> list[object]:
    """States, stages, times and codes of every view."""
    found: list[object] = []
    for row in dump:
        document = next((c for c in row if c.startswith("{")), None)
        if row[0] != "view" or document is None:
            continue
        view = msgspec.json.decode(document)
        milestones = [
            (m["code"], m["occurredAt"], m["standing"], m["address"]) for m in view.get("milestones", ())
        ]
        deliveries = [
            (d["id"], d["state"], d["shippedAt"], d["deliveredAt"], d["lineItems"])
            for d in view.get("deliveries", ())
        ]
        found.append((view.get("id"), view.get("state"), view.get("stage"), milestones, deliveries))
    return found


async def test_no_byte_of_the_files_holds_what_was_erased(place: Erasing) -> None:
    await place.come(*history())
    await place.settle(answered=False)
    for n in range(20):  # the view is written again and again: what it held before lies in free pages
        await place.come(
            event(DELIVERED, f"2025-01-22T11:00:{n:02}Z", f"{ORDER}-8f1c-box-1", id=f"again-{n}")
        )
        await place.settle(answered=False)
    handled = ItemKey(BP, f"order/{ORDER}", "late", f"order/{ORDER}", place.now)
    await place.store.write(lambda tx: tx.queues.mark({handled: Mark("Ann", reason=f"wrote to {EMAIL}")}))
    assert {word for _, word in place.bytes_with(*CANARIES)} == set(CANARIES)
    await place.ask()
    await place.erase()
    assert place.bytes_with(*CANARIES) == []
    found = await place.store.read(lambda tx: tx.views.search(EMAIL.lower(), 10, None))
    assert found == []
    assert await place.store.read(lambda tx: tx.queues.marks([handled])) == {}


@pytest.mark.parametrize("point", POINTS)
async def test_killed_between_two_writes_it_goes_on_where_it_was(tmp_path: Path, point: str) -> None:
    place = await Erasing(tmp_path).open()
    await fill(place)
    await place.ask()
    place.kill_at = (point, 1)
    with pytest.raises(Killed):
        await place.erase()
    await place.close()
    again = await Erasing(tmp_path).open()
    await again.erase()
    assert await again.differences() == []
    assert again.rows_with(EMAIL, EMAIL.lower()) == []
    assert [w for _, w in again.bytes_with(EMAIL)] == []
    await again.close()


async def test_what_still_comes_about_an_erased_order_is_erased_too(place: Erasing) -> None:
    await fill(place)
    await place.ask()
    await place.erase()
    data = {"order": {"id": ORDER, "customer": customer()}}
    late = event(DELIVERED, "2025-02-01T10:00:00Z", f"{ORDER}-8f1c-box-1", data=data, id="late")
    (receipt,) = await place.come(late)
    body = b'{"resources": ["businessProduct/%s/order/%s"], "x": "%s"' % (
        BP.encode(),
        ORDER.encode(),
        EMAIL.encode(),
    )
    await place.store.write(
        lambda tx: tx.journal.quarantine(body, "malformed", "odd", place.now, "webhook", ())
    )
    # It is folded before the eraser comes to it.
    await place.projector.catch_up()
    view = await place.store.read(lambda tx: tx.views.get([("order", BP, ORDER)])["order", BP, ORDER])
    assert msgspec.json.decode(view.document)["customer"] is None
    await place.eraser.look()
    assert place.rows_with(EMAIL, EMAIL.lower()) == []
    # The same event again, whole: it is a duplicate, and no conflict.
    given = Arrival(parse_event(late.body), late.body, place.now, "webhook")
    (again,) = await place.store.append([given])
    assert (again.position, again.conflict) == (receipt.position, False)
    assert place.rows_with(EMAIL) == []
    assert await place.differences() == []
    # Its bytes are let go of within a day.
    assert place.bytes_with(EMAIL)
    place.now = Instant(place.now + DAY)
    await place.eraser.look()
    assert place.bytes_with(EMAIL) == []


async def test_nothing_more_is_asked_about_what_is_erased(place: Erasing) -> None:
    await fill(place)
    assert await place.store.read(lambda tx: tx.work.page(None, 10, None, None))
    await place.ask()
    await place.erase()
    await place.come(event(SHIPPED, "2025-02-01T10:00:00Z", "another-box", order=ORDER))
    await place.settle(answered=False)
    keys = {(BP, f"order/{ORDER}"), (BP, f"tracker/{UPS[0]}/{UPS[1]}"), (BP, f"order/{OTHER}")}
    assert await place.store.read(lambda tx: erased_among(tx, keys)) == keys - {(BP, f"order/{OTHER}")}


async def test_a_tracker_that_another_order_shares_stays_that_orders(place: Erasing) -> None:
    await place.come(*history(), *history(OTHER, email=OTHERS_EMAIL, tracker=UPS))
    await place.settle(answered=False)
    await place.ask()
    await place.erase()
    tracker = (BP, f"tracker/{UPS[0]}/{UPS[1]}")
    assert await place.store.read(lambda tx: erased_among(tx, {tracker})) == set()
    view = await place.store.read(lambda tx: tx.views.get([("order", BP, OTHER)])["order", BP, OTHER])
    assert msgspec.json.decode(view.document)["customer"]["email"] == OTHERS_EMAIL
    assert await place.differences() == []
    await place.ask(OTHER, id="era_2")
    await place.erase("era_2")
    assert await place.store.read(lambda tx: erased_among(tx, {tracker})) == {tracker}
    assert place.bytes_with(*CANARIES, OTHERS_EMAIL) == []


async def test_a_shoppers_orders_are_found_when_it_begins(place: Erasing) -> None:
    await place.come(*history())
    await place.settle(answered=False)
    await place.ask(shopper=True)
    await place.come(*history(OTHER, tracker=USPS))
    await place.settle(answered=False)
    erasure = await place.erase()
    assert erasure.orders == (ORDER, OTHER)
    assert place.bytes_with(*CANARIES) == []


async def test_another_hub_that_folded_the_order_before_forgets_what_it_knew(place: Erasing) -> None:
    await fill(place)
    await place.ask()
    other = place.another_projector()
    await place.eraser.look()
    await other.catch_up()
    await place.eraser.look()
    # This one led before: it has the facts as they were.
    await place.come(event(DELIVERED, "2025-01-23T10:00:00Z", f"{ORDER}-8f1c-box-1", id="more"))
    await place.projector.catch_up()
    assert place.rows_with(EMAIL, EMAIL.lower()) == []
    assert await place.differences() == []


async def test_a_large_file_waits_until_it_is_asked_for(place: Erasing) -> None:
    await fill(place)
    place.eraser.largest = 0
    await place.ask()
    for _ in range(4):
        await place.projector.catch_up()
        await place.eraser.look()
    found = await place.store.read(lambda tx: tx.erasures.get("era_1"))
    assert found is not None
    assert found.state == "REFOLDED"
    await place.store.write(lambda tx: tx.journal.set_checkpoint("eraser.compact", place.now))
    assert (await place.erase()).state == "DONE"
    assert await place.store.read(lambda tx: tx.journal.checkpoint("eraser.compact")) == 0


async def test_a_completed_task_begins_its_erasure_and_an_unknown_one_wants_somebody(place: Erasing) -> None:
    await fill(place)
    known, unknown = task_erasure_id(BP, "task-1"), task_erasure_id(BP, "task-2")
    await place.ask(id=known, state="WAITING", task_id="task-1")
    await place.eraser.look()
    await place.come(
        event(TASK_FAILED, "2025-02-01T00:00:00Z", order=None, path="personalDataDeletionTask/task-1")
    )
    await place.eraser.look()
    found = await place.store.read(lambda tx: tx.erasures.get(known))
    assert found is not None
    assert (found.state, found.task_outcome) == ("WAITING", "FAILED")
    for task in ("task-1", "task-2"):
        path = f"personalDataDeletionTask/{task}"
        await place.come(event(TASK_COMPLETED, "2025-02-02T00:00:00Z", order=None, path=path, id=task))
    assert (await place.erase(known)).task_outcome == "COMPLETED"
    wanting = await place.store.read(lambda tx: tx.erasures.get(unknown))
    assert wanting is not None
    assert (wanting.state, wanting.orders) == ("UNCLAIMED", ())


async def test_either_database_is_left_without_what_was_erased(database_url: str, tmp_path: Path) -> None:
    place = await Erasing(tmp_path, url=database_url).open()
    try:
        await fill(place)
        before = await place.store.read(lambda tx: tx.views.dump())
        await place.ask(shopper=True)
        assert (await place.erase()).state == "DONE"
        after = await place.store.read(lambda tx: tx.views.dump())
        assert skeleton(after) == skeleton(before)
        records = await place.store.read(lambda tx: tx.journal.after(0, 500))
        held = [*(r.body for r in records), *(text.encode() for row in after for text in row)]
        entries = await place.store.read(lambda tx: tx.journal.quarantined(0, 10, None, None))
        held += [part for entry in entries for part in (entry.body, entry.reason.encode())]
        assert not any(EMAIL.lower().encode() in each.lower() for each in held)
    finally:
        await place.close()


class Api:
    """The Buy with Prime API, as far as it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def order(self, order_id: str, business_product_id: str) -> dict[str, Any] | None:
        self.asked.append(order_id)
        return None

    async def package_tracker(
        self, carrier: str, number: str, business_product_id: str
    ) -> dict[str, Any] | None:
        self.asked.append(number)
        return None


async def test_the_hydrator_drops_what_it_was_to_ask_about_an_erased_order(place: Erasing) -> None:
    await fill(place)
    await place.ask()
    await place.erase()
    await place.come(
        event(SHIPPED, "2025-02-01T10:00:00Z", "another-box", order=ORDER),
        event(SHIPPED, "2025-02-01T10:00:00Z", "others-box", order=OTHER),
    )
    api = Api()
    hydrator = Hydrator(place.store, {"": api}, place.clock, random=random.Random(1))
    await Consumer(place.store, HYDRATOR, hydrator.prepare, place.clock).catch_up()
    await hydrator.drain()
    assert OTHER in api.asked
    assert not {ORDER, UPS[1]} & set(api.asked)
    left = await place.store.read(lambda tx: tx.work.page(None, 10, None, None))
    assert f"order/{ORDER}" not in {ask.target for ask in left}


class Listener:
    """A follower that is told of every order that something happened to."""

    name = "noticed"

    def __init__(self) -> None:
        self.heard: list[str] = []

    def follow(
        self, order: Mapping[str, Any], before: bytes | None, at: Instant, now: Instant
    ) -> Followed | None:
        self.heard.append(order["id"])
        return None

    def write(self, tx: Transaction, rows: Sequence[Any], now: Instant) -> None:
        raise AssertionError("there are none")


async def test_who_follows_the_folds_does_not_hear_of_an_erasure(place: Erasing) -> None:
    listener = Listener()
    prepare = Projector(place.store, Policy(), place.clock, followers=[listener]).prepare
    place.projector = Consumer(place.store, PROJECTOR, prepare, place.clock)
    await fill(place)
    assert set(listener.heard) == {ORDER, OTHER}
    listener.heard.clear()
    await place.ask()
    await place.erase()
    assert listener.heard == []
    await place.come(event(DELIVERED, "2025-02-01T10:00:00Z", f"{ORDER}-8f1c-box-1", id="later"))
    await place.projector.catch_up()
    assert listener.heard == [ORDER]


async def test_an_answer_to_what_was_erased_meanwhile_is_not_kept(place: Erasing) -> None:
    await fill(place)
    (record, *_) = await place.store.read(lambda tx: tx.journal.after(0, 1))
    destination = Destination("dst-1", "webhook", b"{}")
    message = Message("m-1", "dst-1", record.position, "pending", 0, place.now)

    def enqueue(tx: Transaction) -> None:
        tx.attempts.put_destination(destination)
        tx.attempts.enqueue([message])

    await place.store.write(enqueue)
    until = Instant(place.now + 30_000)
    (claimed,) = await place.store.write(
        lambda tx: tx.attempts.claim(place.now, until, 10, share=100, room={})
    )
    await place.ask()
    await place.erase()
    attempt = Attempt("m-1", 1, place.now, 5, "failed", 500, f"error {EMAIL}", "", f"echo {EMAIL}")
    settled = Settled(attempt, claimed, "dst-1", True, place.now, record=record)
    assert (await place.store.write(lambda tx: keep(tx, [settled], POLICY))).stored == [True]
    (kept,) = await place.store.read(lambda tx: tx.attempts.attempts((0, 0), 10, "m-1"))
    assert (kept.status, kept.error, kept.response) == (500, "", "")


async def test_a_copy_that_outlasts_the_lease_is_not_made_again(
    place: Erasing, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(place)
    copies, made, may_end = 0, asyncio.Event(), asyncio.Event()
    compact = place.store.compact

    async def slow(again: bool = False) -> bool:
        nonlocal copies
        copies += not again
        made.set()
        await may_end.wait()
        return await compact(again)

    monkeypatch.setattr(place.store, "compact", slow)
    await place.ask()
    for _ in range(2):
        await place.projector.catch_up()
        looking = asyncio.ensure_future(place.eraser.look())
        await asyncio.wait((looking, asyncio.ensure_future(made.wait())), return_when=asyncio.FIRST_COMPLETED)
        if made.is_set():
            break
    looking.cancel()
    await asyncio.gather(looking, return_exceptions=True)
    may_end.set()
    assert (await place.erase()).state == "DONE"
    assert copies == 1
