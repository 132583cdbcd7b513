"""The world's clock: real, faster without ever passing the real one, or stepped."""

import asyncio

from milepost.domain.instant import DAY, HOUR, SECOND, Instant, parse_instant
from milepost.sandbox.clock import WorldClock

NOW = parse_instant("2025-01-20T12:00:00Z")


class Real:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> Instant:
        return self.now


def test_a_fast_clock_hurries_until_it_has_caught_up() -> None:
    real = Real()
    clock = WorldClock(Instant(NOW - DAY), 600.0, real=real)
    assert clock.now() == NOW - DAY
    real.now = Instant(NOW + 60 * SECOND)
    assert clock.now() == NOW - DAY + 10 * HOUR
    assert clock.pace == 600.0
    real.now = Instant(NOW + HOUR)
    assert clock.now() == real.now
    assert clock.pace == 1.0


def test_a_clock_that_starts_ahead_runs_at_the_real_pace() -> None:
    real = Real()
    clock = WorldClock(Instant(NOW + DAY), 600.0, real=real)
    real.now = Instant(NOW + SECOND)
    assert clock.now() == NOW + DAY + SECOND
    assert clock.pace == 1.0


async def test_a_stepped_clock_wakes_who_waits_for_it() -> None:
    clock = WorldClock(NOW, 0)
    waiting = asyncio.create_task(clock.wait(Instant(NOW + 2 * HOUR), asyncio.Event()))
    await asyncio.sleep(0)
    clock.advance(HOUR)
    for _ in range(10):
        await asyncio.sleep(0)
    assert not waiting.done()
    clock.advance(HOUR)
    async with asyncio.timeout(60):
        await waiting


async def test_a_signal_ends_every_wait() -> None:
    signal = asyncio.Event()
    waiting = asyncio.create_task(WorldClock(NOW, 0).wait(Instant(NOW + DAY), signal))
    await asyncio.sleep(0)
    signal.set()
    async with asyncio.timeout(60):
        await waiting


async def test_a_fast_clock_waits_as_short_as_it_is_fast() -> None:
    clock = WorldClock(Instant(WorldClock().now() - DAY), 1_000_000.0)
    async with asyncio.timeout(60):
        await clock.wait(Instant(clock.now() + HOUR), asyncio.Event())


def test_a_clock_is_put_forward_never_back() -> None:
    clock = WorldClock(NOW, 0)
    assert clock.go_to(Instant(NOW + HOUR)) == NOW + HOUR
    assert clock.go_to(NOW) == NOW + HOUR
    assert clock.advance(-HOUR) == NOW + HOUR


def test_the_speed_changes_from_now_on() -> None:
    real = Real()
    clock = WorldClock(Instant(NOW - DAY), 600.0, real=real)
    real.now = Instant(NOW + SECOND)
    assert clock.set_speed(0) == NOW - DAY + 600 * SECOND
    real.now = Instant(NOW + HOUR)
    assert clock.now() == NOW - DAY + 600 * SECOND
    clock.set_speed(1)
    real.now = Instant(NOW + 2 * HOUR)
    assert clock.now() == NOW - DAY + 600 * SECOND + HOUR


def test_a_real_clock_that_was_put_ahead_goes_on_there() -> None:
    real = Real()
    clock = WorldClock(real=real)
    clock.advance(DAY)
    real.now = Instant(NOW + SECOND)
    assert clock.now() == NOW + DAY + SECOND


def test_a_speed_that_is_set_with_nothing_to_catch_up_with_is_kept() -> None:
    real = Real()
    clock = WorldClock(real=real)
    clock.set_speed(600)
    real.now = Instant(NOW + 10 * SECOND)
    assert clock.now() == NOW + 6_000 * SECOND
    assert clock.advance(HOUR) == NOW + 6_000 * SECOND + HOUR
    clock.set_speed(1)
    real.now = Instant(NOW + 20 * SECOND)
    assert clock.now() == NOW + 6_010 * SECOND + HOUR
