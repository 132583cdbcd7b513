"""Probes, and numbers that add up at every scrape."""

import random

import pytest
from prometheus_client.parser import text_string_to_metric_families
from tests.web.test_problems import Broken
from tests.web.told import every_state
from tests.web.world import World, event

from milepost.domain.attempt import Message
from milepost.domain.errors import Malformed
from milepost.domain.instant import MINUTE, Instant
from milepost.store import Ask, Store, Transaction


async def _scrape(world: World) -> dict[str, float]:
    answer = await world.get("/metrics")
    assert answer.status_code == 200
    return {
        sample.name + "".join(f"[{value}]" for value in sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def _check_laws(numbers: dict[str, float]) -> None:
    assert (
        numbers["milepost_arrivals_total"]
        == numbers["milepost_events_total"]
        + numbers["milepost_duplicates_total"]
        + numbers["milepost_quarantined"]
    )
    assert numbers["milepost_conflicts_total"] <= numbers["milepost_duplicates_total"]
    assert numbers["milepost_records_total"] == numbers["milepost_folded_total"] + numbers["milepost_pending"]


@pytest.mark.parametrize("seed", range(3))
async def test_the_numbers_add_up_whatever_came_in(world: World, seed: int) -> None:
    """Random arrivals, against counts kept by hand."""
    dice = random.Random(seed)
    events: dict[int, int] = {}
    duplicates = conflicts = broken = 0
    for _ in range(60):
        number, copy = dice.randrange(8), dice.randrange(3)
        match dice.randrange(8):
            case 0 | 1 | 2 | 3:
                body = event("PACKAGE_DELIVERED", number, "order/o/delivery/d", data={"copy": copy})
                await world.event(body)
                if number in events:
                    duplicates += 1
                    conflicts += copy != events[number]
                else:
                    events[number] = copy
            case 4:
                with pytest.raises(Malformed):
                    await world.ingest.ingest(b"{")
                broken += 1
            case 5:
                await world.project()
            case 6:
                await world.answer("order", None, order_id="o")
            case _:
                numbers = await _scrape(world)
                _check_laws(numbers)
                assert numbers["milepost_events_total"] == len(events)
                assert numbers["milepost_duplicates_total"] == duplicates
                assert numbers["milepost_conflicts_total"] == conflicts
                assert numbers["milepost_quarantined"] == broken
    await world.project()
    numbers = await _scrape(world)
    _check_laws(numbers)
    assert numbers["milepost_pending"] == numbers["milepost_failed_folds"] == 0
    assert numbers["milepost_records_total"] == numbers["milepost_last_position"]


async def test_the_numbers_of_the_process_and_of_hydration_are_there(store: Store) -> None:
    world = World(store, counters=lambda: {"accepted": 3, "hydrationThrottled": 1})
    asks = [Ask("bp-1", f"order/{n}", 0, Instant(0), 0, (1,), "open" if n else "gaveUp") for n in range(3)]
    await store.write(lambda tx: tx.work.put(asks))
    for n, state in enumerate(("READY", "HELD", "READY")):
        await world.capture(f"delivery-{n}", state=state)
    numbers = await _scrape(world)
    assert (numbers["milepost_captures[READY]"], numbers["milepost_captures[HELD]"]) == (2, 1)
    assert numbers["milepost_process_total[accepted]"] == 3
    assert numbers["milepost_process_total[hydrationThrottled]"] == 1
    assert numbers["milepost_hydration_asks[open]"] == 2
    assert numbers["milepost_hydration_asks[gaveUp]"] == 1
    assert numbers["milepost_build_info[1.2.3]"] == 1


async def test_messages_are_counted_once_a_minute(world: World) -> None:
    def add(tx: Transaction) -> None:
        count = sum(tx.attempts.count().values())
        tx.attempts.enqueue([Message(f"m-{count}", "d", 1, "pending", 0, Instant(0))])

    await world.store.write(add)
    assert (await _scrape(world))["milepost_messages[pending]"] == 1
    await world.store.write(add)
    assert (await _scrape(world))["milepost_messages[pending]"] == 1
    world.now = Instant(world.now + MINUTE)
    assert (await _scrape(world))["milepost_messages[pending]"] == 2


async def test_notifications_are_counted_by_state_and_how_late_they_are(world: World) -> None:
    made = await every_state(world)
    numbers = await _scrape(world)
    assert {state: numbers[f"milepost_notifications[{state}]"] for state in made} == dict.fromkeys(made, 1)
    assert numbers["milepost_notifications_behind_seconds"] == 0
    world.now = Instant(made["WAITING"].due_at + 90_000)
    assert (await _scrape(world))["milepost_notifications_behind_seconds"] == 90


async def test_a_living_process_says_so(world: World) -> None:
    answer = await world.get("/healthz", None)
    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "version": "1.2.3"})


async def test_ready_as_long_as_the_store_takes_writes_and_the_consumers_move(store: Store) -> None:
    moving = True
    world = World(store, ready=lambda: (moving, {"projector": "ok" if moving else "stuck"}))
    answer = await world.get("/readyz", None)
    assert (answer.status_code, answer.json()["ready"]) == (200, True)
    moving = False
    answer = await world.get("/readyz", None)
    assert (answer.status_code, answer.json()["consumers"]) == (503, {"projector": "stuck"})
    moving = True
    await store.close()
    world.now = Instant(world.now + 1_000)
    answer = await world.get("/readyz", None)
    assert (answer.status_code, answer.json()["store"]) == (503, "store_unavailable")


async def test_a_hub_that_is_closing_is_not_ready(world: World) -> None:
    world.context.closing.set()
    assert (await world.get("/readyz", None)).status_code == 503


async def test_a_probe_of_a_broken_store_tells_nothing_of_it() -> None:
    broken = World(Broken(RuntimeError("secret")))  # type: ignore[arg-type]
    answer = await broken.get("/readyz", None)
    assert answer.status_code == 500
    assert "secret" not in answer.text
