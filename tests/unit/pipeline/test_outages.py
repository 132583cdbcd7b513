"""Destinations that are down for long: everything in order per order where asked, within the rate, and an end of
patience with those that never come back."""

import random
from collections.abc import Sequence
from typing import Any

import pytest
import structlog
from tests.unit.pipeline.publishing import Rig
from tests.unit.pipeline.replays import begin_replay

from milepost.domain.attempt import Destination
from milepost.domain.instant import DAY, HOUR, MINUTE, SECOND, Instant
from milepost.domain.selection import Selection
from milepost.pipeline import replaying
from milepost.pipeline.sending import Outcome, Parcel


class Endpoint:
    """Down until it is up; notes what it took, and when."""

    batch = 1

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.up = True
        self.poison: set[str] = set()
        self.calls: list[Instant] = []
        self.taken: list[tuple[Instant, str, int]] = []

    async def send(self, destination: Destination, parcels: Sequence[Parcel]) -> Sequence[Outcome]:
        now = self.rig.clock.now()
        self.calls.append(now)
        if not self.up or parcels[0].message.id in self.poison:
            return [Outcome(503)]
        self.taken += [(now, p.message.sequence, p.message.position) for p in parcels]
        return [Outcome(200)]


async def reaching(rig: Rig, seed: int = 1, **more: Any) -> Endpoint:
    """The rig with a subscriber behind such an endpoint."""
    endpoint = Endpoint(rig)
    rig.other = endpoint
    rig.random = random.Random(seed).random
    await rig.restart()
    await rig.add(Destination("s", "other", b"{}", **more))
    return endpoint


async def until(rig: Rig, at: int) -> None:
    """Step the clock to whatever is due, up to that time."""
    while True:
        await rig.publish()
        due = await rig.publisher.next_due()
        if due is None or due > at:
            break
        rig.clock.advance(max(1, due - rig.clock.now()))
    rig.clock.advance(max(0, at - rig.clock.now()))


@pytest.mark.parametrize("hours", [30, 72])
async def test_after_an_outage_everything_comes_in_order_and_within_the_rate(rig: Rig, hours: int) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    draw = random.Random(seed)
    rate, orders = 2.0, [f"o-{n}" for n in range(12)]
    endpoint = await reaching(rig, seed, ordered=True, rate=rate)
    endpoint.up = False
    start, count = rig.clock.now(), 0
    for hour in range(hours):
        for _ in range(draw.randrange(1, 8)):
            await rig.events(count, order=draw.choice(orders))
            count += 1
        await until(rig, start + (hour + 1) * HOUR)
        if hour % 25 == 7:
            await rig.restart()
    assert endpoint.taken == []
    endpoint.up = True
    back = rig.clock.now()
    await until(rig, back + 30 * HOUR)
    assert await rig.counts() == {"delivered": count}
    assert sorted(p for _, _, p in endpoint.taken) == [*range(1, count + 1)]
    for order in orders:
        positions = [p for _, sequence, p in endpoint.taken if sequence == f"bp-1/order/{order}"]
        assert positions == sorted(positions)
    _within(rate, endpoint.calls)


@pytest.mark.parametrize("new_ids", [False, True])
async def test_scenario_26_down_for_30_hours_then_a_replay_from_there_in_order(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, new_ids: bool
) -> None:
    """What it missed comes by itself when it is back; and once more, from where it went down, when it asks for that
    (it lost what it had): whole, nothing older, in order per order, also with restarts between the pages."""
    monkeypatch.setattr(replaying, "CHUNK", 7)
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    draw = random.Random(seed)
    orders = [f"o-{n}" for n in range(5)]
    endpoint = await reaching(rig, seed, ordered=True)
    before = 10
    await rig.events(*range(before), order=draw.choice(orders))
    await until(rig, rig.clock.now() + HOUR)
    down, count = rig.clock.now(), before
    endpoint.up = False
    for hour in range(30):
        for _ in range(draw.randrange(1, 4)):
            await rig.events(count, order=draw.choice(orders))
            count += 1
        await until(rig, down + (hour + 1) * HOUR)
    endpoint.up = True
    await until(rig, rig.clock.now() + 30 * HOUR)
    missed = [*range(before + 1, count + 1)]
    _in_order(endpoint, missed, before)
    endpoint.taken.clear()
    selection, now = Selection(since=down), rig.clock.now()
    await rig.store.write(lambda tx: begin_replay(tx, "s", selection, id="r-1", now=now, new_ids=new_ids))
    while await rig.replaying.step():
        if draw.random() < 0.5:
            await rig.restart()
        if draw.random() < 0.7:
            await until(rig, rig.clock.now() + SECOND)
    await until(rig, rig.clock.now() + MINUTE)
    _in_order(endpoint, missed, 0)


def _in_order(endpoint: Endpoint, missed: Sequence[int], before: int) -> None:
    """It took each of these once, after as many others, and those of an order by their positions."""
    taken = [(sequence, position) for _, sequence, position in endpoint.taken[before:]]
    assert sorted(position for _, position in taken) == missed
    for order in {sequence for sequence, _ in taken}:
        positions = [position for sequence, position in taken if sequence == order]
        assert positions == sorted(positions)


def _within(rate: float, calls: Sequence[Instant]) -> None:
    """In any ten seconds and more no more than the rate, and a tenth."""
    for first, at in enumerate(calls):
        last = first
        while last < len(calls) and calls[last] < at + 10 * SECOND:
            last += 1
        assert last - first <= 1.1 * rate * 10, (at, last - first)


async def test_a_pile_goes_out_at_its_rate(rig: Rig) -> None:
    """Not below nine tenths of it either."""
    endpoint = await reaching(rig, rate=5.0)
    await rig.events(*range(300))
    start = rig.clock.now()
    await until(rig, start + 50 * SECOND)
    assert 0.9 * 250 <= len(endpoint.taken) <= 1.1 * 250
    await until(rig, start + 2 * MINUTE)
    assert len(endpoint.taken) == 300
    _within(5.0, endpoint.calls)


async def test_a_rate_that_is_taken_away_holds_nothing_back(rig: Rig) -> None:
    endpoint = await reaching(rig, rate=0.001)
    await rig.events(*range(20))
    await rig.publish()
    assert len(endpoint.taken) == 1
    await rig.add(Destination("s", "other", b"{}"))
    await rig.publish()
    await rig.publish()
    assert len(endpoint.taken) == 20


async def test_a_rate_holds_up_nobody_else(rig: Rig) -> None:
    endpoint = await reaching(rig, rate=1.0)
    await rig.add(Destination("t", "other", b"{}"))
    await rig.events(*range(400))
    await rig.publish()
    assert len(endpoint.taken) == 401


async def test_what_follows_a_message_that_fails_for_good_goes_on(rig: Rig) -> None:
    endpoint = await reaching(rig, ordered=True)
    await rig.events(1, 2, 3, order="o-1")
    await rig.events(4, order="o-2")
    endpoint.poison = {"1-s"}
    await rig.publish()
    assert [p for _, _, p in endpoint.taken] == [4]
    await until(rig, rig.clock.now() + 80 * HOUR)
    assert [p for _, _, p in endpoint.taken] == [4, 2, 3]
    assert await rig.counts() == {"failed": 1, "delivered": 3}


async def test_one_that_does_nothing_but_fail_is_warned_of_and_then_disabled(rig: Rig) -> None:
    endpoint = await reaching(rig)
    endpoint.up = False
    start, said = rig.clock.now(), []
    with structlog.testing.capture_logs() as logs:
        for number in range(6 * 4):
            await rig.events(number)
            await until(rig, start + (number + 1) * 6 * HOUR)
            known = await rig.store.read(lambda tx: tx.attempts.destination("s"))
            assert known is not None
            if not known.enabled:
                break
        said = [e for e in logs if e["event"].startswith("publisher.destination_")]
    assert [e["patience_used_percent"] for e in said] == [50, 70, 90, 100]
    assert 5 * DAY <= rig.clock.now() - start <= 5.5 * DAY
    assert known.reason == "nothing but failures for 5.0 days"
    assert rig.publisher.failing == {"s": 100}
    # What comes then is kept, and all of it comes once it is enabled again.
    await rig.events(1_000)
    calls = len(endpoint.calls)
    await until(rig, rig.clock.now() + 3 * DAY)
    assert len(endpoint.calls) == calls
    endpoint.up = True
    failed = (await rig.counts()).get("failed", 0)
    held = (await rig.counts())["held"]
    assert await rig.publisher.enable("s")
    await until(rig, rig.clock.now() + 30 * HOUR)
    assert await rig.counts() == {"delivered": held, "failed": failed}
    assert rig.publisher.failing == {}


async def test_one_that_was_enabled_or_removed_is_no_longer_failing_and_is_warned_of_anew(rig: Rig) -> None:
    endpoint = await reaching(rig)
    await rig.add(Destination("t", "other", b"{}"))
    endpoint.up = False
    start = rig.clock.now()

    async def fail_until(at: int) -> None:
        while (now := rig.clock.now()) < at:
            await rig.events(now)
            await until(rig, min(at, now + 6 * HOUR))

    await fail_until(start + 3 * DAY)
    assert rig.publisher.failing == {"s": 50, "t": 50}
    await rig.store.write(lambda tx: tx.attempts.remove_destination("t"))
    await rig.publisher.send_due()
    assert rig.publisher.failing == {"s": 50}
    assert await rig.publisher.enable("s")
    await rig.publisher.send_due()
    assert rig.publisher.failing == {}
    again = rig.clock.now()
    with structlog.testing.capture_logs() as logs:
        await fail_until(again + 3 * DAY)
    said = [e for e in logs if e["event"] == "publisher.destination_failing"]
    assert [(e["destination"], e["patience_used_percent"]) for e in said] == [("s", 50)]
    assert rig.publisher.failing == {"s": 50}


async def test_it_is_disabled_also_while_every_probe_is_another_message_s_first_try(rig: Rig) -> None:
    rig.patience = DAY // 2
    endpoint = await reaching(rig)
    endpoint.up = False
    await rig.events(*range(300))
    await rig.consumer.catch_up()
    start = rig.clock.now()
    while (due := await rig.publisher.next_due()) is not None:
        # Nobody is there all that time.
        rig.clock.advance(max(12 * MINUTE, due - rig.clock.now()))
        await rig.publisher.send_due()
    assert {a.number for a in await rig.attempts()} == {1}
    known = await rig.store.read(lambda tx: tx.attempts.destination("s"))
    assert known is not None
    assert not known.enabled
    assert 0.5 * DAY <= rig.clock.now() - start <= 0.6 * DAY


async def test_one_short_failure_after_a_quiet_week_disables_nobody(rig: Rig) -> None:
    endpoint = await reaching(rig)
    endpoint.up = False
    await rig.events(1)
    await rig.publish()
    rig.clock.advance(6 * DAY)
    await rig.events(2)
    await rig.consumer.catch_up()
    await rig.store.write(lambda tx: tx.attempts.drop([1], "not of this test"))
    await rig.publisher.send_due()
    known = await rig.store.read(lambda tx: tx.attempts.destination("s"))
    assert known is not None
    assert known.enabled
    endpoint.up = True
    rig.clock.advance(5 * SECOND * 2)
    await rig.publish()
    assert (await rig.message("2-s")).state == "delivered"


async def test_with_endless_patience_nobody_is_disabled(rig: Rig) -> None:
    rig.patience = 0
    endpoint = await reaching(rig)
    endpoint.up = False
    start = rig.clock.now()
    for day in range(9):
        await rig.events(day)
        await until(rig, start + (day + 1) * DAY)
    known = await rig.store.read(lambda tx: tx.attempts.destination("s"))
    assert known is not None
    assert known.enabled
    assert rig.publisher.failing == {}
