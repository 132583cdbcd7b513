"""Erasures: what comes, is written or was read while one is done, and what comes after it."""

import sqlite3
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec
import pytest
from tests.unit.domain.history import (
    BP,
    DELIVERED,
    ORDER,
    SHIPPED,
    UPS,
    Arrived,
    event,
    package,
    tracker_answer,
)
from tests.unit.pipeline.erasing import (
    EMAIL,
    OTHER,
    OTHERS_EMAIL,
    URL,
    WORDS,
    Erasing,
    customer,
    fill,
    history,
    personal_scan,
)

from milepost.domain.condition import Policy
from milepost.domain.contact import Choices, read_choices, write_choices
from milepost.domain.errors import StoreUnavailable
from milepost.domain.instant import SECOND, Instant
from milepost.domain.notification import Notification, Transition
from milepost.domain.record import Record
from milepost.pipeline.consumer import Consumer, Effects
from milepost.pipeline.erased import erased_among
from milepost.pipeline.eraser import AGAIN_MS
from milepost.pipeline.projector import NAME as PROJECTOR
from milepost.pipeline.projector import Projector
from milepost.store import FailedFold, Transaction


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Erasing]:
    made = await Erasing(tmp_path).open()
    yield made
    await made.close()


async def test_what_the_projector_read_before_it_was_rewritten_is_not_folded_as_it_came(
    place: Erasing,
) -> None:
    await fill(place)
    await place.ask()
    await place.erase()
    data = {"order": {"id": ORDER, "customer": customer()}}
    await place.come(event(DELIVERED, "2025-02-01T10:00:00Z", f"{ORDER}-8f1c-box-1", data=data, id="late"))
    prepare = Projector(place.store, Policy(), place.clock).prepare

    async def late(records: Sequence[Record]) -> Effects:
        # The batch was read; the eraser follows the journal to its end before it is folded.
        await place.eraser.look()
        return await prepare(records)

    await Consumer(place.store, PROJECTOR, late, place.clock).catch_up()
    assert place.rows_with(EMAIL, EMAIL.lower()) == []
    assert await place.differences() == []


async def test_a_tracker_that_is_first_named_after_the_erasure_is_erased_too(place: Erasing) -> None:
    await place.come(*history())
    await place.settle(answered=False)
    await place.ask()
    await place.erase()
    second = ("usps", "9400-SECOND")
    box = f"{ORDER}-box-2"

    def seen(at: str, scanned: str) -> Arrived:
        return tracker_answer(at, second, personal_scan("IN_TRANSIT", scanned), trackingUrl=URL)

    await place.come(seen("2025-02-01T09:00:00Z", "2025-02-01T08:00:00Z"))
    await place.settle(answered=False)
    assert place.rows_with(WORDS, URL)
    data = {
        "order": {
            "id": ORDER,
            "packageInformation": {"details": [package(box, "IN_TRANSIT", tracker=second, trackingUrl=URL)]},
        }
    }
    await place.come(event(SHIPPED, "2025-02-01T10:00:00Z", box, data=data, id="names-it"))
    await place.settle(answered=False)
    await place.come(seen("2025-02-01T12:00:00Z", "2025-02-01T11:00:00Z"))
    for _ in range(2):
        await place.eraser.look()
        await place.projector.catch_up()
    assert place.rows_with(WORDS, URL) == []
    assert await place.differences() == []
    assert await place.store.read(lambda tx: erased_among(tx, {(BP, f"tracker/{second[0]}/{second[1]}")}))


async def test_an_order_that_could_not_be_folded_keeps_its_records_when_its_tracker_is_erased(
    place: Erasing,
) -> None:
    await place.come(*history(), *history(OTHER, email=OTHERS_EMAIL, tracker=UPS))
    await place.settle(answered=False)

    def forget(tx: Transaction) -> None:
        """As if the other order's fold had failed, and the tracker's had not."""
        key = ("tracker", BP, f"{UPS[0]}/{UPS[1]}")
        (view,) = tx.views.get([key]).values()  # type: ignore[list-item]
        document = msgspec.json.decode(view.document)
        document["orders"] = [one for one in document["orders"] if one["orderId"] == ORDER]
        tx.views.put([msgspec.structs.replace(view, document=msgspec.json.encode(document))])

    await place.store.write(forget)
    await place.ask()
    await place.erase()
    view = await place.store.read(lambda tx: tx.views.get([("order", BP, OTHER)])["order", BP, OTHER])
    assert msgspec.json.decode(view.document)["customer"]["email"] == OTHERS_EMAIL
    assert await place.differences() == []


async def test_a_number_that_another_order_has_by_now_is_that_orders_before_a_view_says_so(
    place: Erasing,
) -> None:
    await place.come(*history())
    await place.settle(answered=False)
    await place.ask()
    await place.erase()
    # The tracker's answer, then an order that shows it: one batch.
    scanned = personal_scan("OUT_FOR_DELIVERY", "2025-02-01T08:00:00Z")
    seen = tracker_answer("2025-02-01T09:00:00Z", UPS, scanned, trackingUrl=URL)
    await place.come(seen, history(OTHER, email=OTHERS_EMAIL, tracker=UPS)[1])
    await place.projector.catch_up()
    await place.eraser.look()
    assert place.rows_with(WORDS) == [("records", WORDS), ("views", WORDS)]
    assert await place.differences() == []


@pytest.mark.parametrize(
    "body",
    [
        '{"who": "José Nuñez"',
        '{"who": "JOSÉ NUÑEZ"',
        '{"who": "Jos\\u00e9 Nu\\u00F1ez"',
        '{"who": "JOS\\u00c9 NU\\u00d1EZ"',
        '{"where": "\\u00c9.NUNEZ@example.com"',
    ],
)
async def test_a_name_in_quarantine_is_found_however_it_is_written(place: Erasing, body: str) -> None:
    made = history(email="é.nunez@example.com")
    named = msgspec.json.decode(made[1].body)
    named["answer"]["customer"]["contact"]["name"] = "José Nuñez"
    made[1] = msgspec.structs.replace(made[1], body=msgspec.json.encode(named))
    await place.come(*made[:4])
    entry = await place.store.write(
        lambda tx: tx.journal.quarantine(body.encode(), "malformed", "odd", place.now, "webhook", ())
    )
    await place.settle(answered=False)
    await place.ask()
    await place.erase()
    found = await place.store.read(lambda tx: tx.journal.quarantine_entry(entry))
    assert found is not None
    assert found.body == b"{}"


async def test_what_is_written_while_views_are_not_folded_anew_yet_is_redacted_too(place: Erasing) -> None:
    await fill(place)
    await place.ask()
    await place.eraser.look()
    sent = Notification(
        "ntf_1",
        BP,
        ORDER,
        "",
        "shipped",
        "",
        "SENT",
        place.now,
        place.now,
        place.now,
        (Transition(place.now, "SENT", "notifier"),),
        recipient="rcp_canary",
    )
    failure = FailedFold("telling", 1, BP, f"order/{ORDER}", f"ValueError: {EMAIL}", place.now)

    def write(tx: Transaction) -> None:
        found = tx.erasures.get("era_1")
        assert found is not None
        assert found.state == "REDACTED"
        tx.notifications.add([sent])
        tx.notifications.choose({(BP, "rcp_canary"): write_choices(Choices(blocked=f"{EMAIL} asked"))})
        tx.views.fail([failure])

    await place.store.write(write)
    await place.erase()
    assert place.rows_with(EMAIL) == []
    # Who is blocked stays so, under a keyed hash.
    assert place.rows_with("rcp_canary") == [("choices", "rcp_canary")]
    kept = await place.store.read(lambda tx: tx.notifications.choices([(BP, "rcp_canary")]))
    assert read_choices(kept.values()).blocked


async def test_a_copy_that_cannot_be_made_is_not_tried_again_and_again(
    place: Erasing, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(place)
    compact, copies, is_full = place.store.compact, 0, True

    async def full(again: bool = False) -> bool:
        nonlocal copies
        copies += not again
        if is_full:
            raise StoreUnavailable("the disk is full")
        return await compact(again)

    async def state() -> str:
        for _ in range(3):
            await place.projector.catch_up()
            await place.eraser.look()
        found = await place.store.read(lambda tx: tx.erasures.get("era_1"))
        assert found is not None
        return found.state

    monkeypatch.setattr(place.store, "compact", full)
    await place.ask()
    assert (await state(), copies) == ("REFOLDED", 1), "nobody can write while it is tried"
    place.now = Instant(place.now + SECOND)
    await place.store.write(lambda tx: tx.journal.set_checkpoint("eraser.compact", place.now))
    assert (await state(), copies) == ("REFOLDED", 2), "somebody asked for it"
    place.now, is_full = Instant(place.now + AGAIN_MS), False
    assert (await state(), copies) == ("DONE", 3)


async def test_readers_that_stay_keep_neither_writers_nor_the_erasure_from_going_on(
    place: Erasing, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(place)
    await place.ask()
    await place.eraser.look()
    await place.projector.catch_up()
    monkeypatch.setattr("milepost.pipeline.eraser.FOLLOW_S", 0.01)
    reading = sqlite3.connect(place.path, isolation_level=None)
    try:
        reading.execute("BEGIN")
        reading.execute("SELECT count(*) FROM records").fetchone()
        await place.eraser.look()
        found = await place.store.read(lambda tx: tx.erasures.get("era_1"))
        assert found is not None
        assert found.state == "REFOLDED"
        await place.come(event(SHIPPED, "2025-02-01T10:00:00Z", "others-box", order=OTHER))
    finally:
        reading.close()
    assert (await place.erase()).state == "DONE"
