"""Pacing by a clock that is told: rates hold within a tenth, whatever steps the clock makes."""

import random

import pytest

from milepost.domain.attempt import Destination, Message
from milepost.domain.instant import HOUR, SECOND, Instant
from milepost.pipeline.pacing import SLACK, Pace, Pacing

NOW = Instant(1_737_376_496_000)


def to(rate: float) -> dict[str, Destination]:
    return {"d": Destination("d", "webhook", b"{}", rate=rate)}


def some(count: int, start: int = 0) -> list[Message]:
    return [Message(f"m{n}", "d", n, "pending", 0, NOW) for n in range(start, start + count)]


@pytest.mark.parametrize("rate", [0.5, 1, 7, 40, 300, 1_500])
def test_a_rate_is_held_and_used_however_late_turns_come(rate: float) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    draw = random.Random(seed)
    pace, now, went = Pace(rate), float(NOW), 0
    seconds = max(60, round(100 / rate))
    while now < NOW + seconds * SECOND:
        at = Instant(round(now))
        count = pace.tokens(at)
        pace.take(at, count)
        went += count
        rests = pace.rests(at)
        # Somebody wakes when it is time, a little late.
        now = max(now, rests or now) + draw.uniform(0, 30)
    assert 0.9 * rate * seconds <= went <= 1.1 * rate * seconds


def test_after_a_long_rest_no_more_than_the_slack_is_caught_up_on() -> None:
    pace = Pace(100)
    pace.take(NOW, pace.tokens(NOW))
    assert pace.rests(NOW) is not None
    assert pace.tokens(Instant(NOW + HOUR)) == 1 + 100 * SLACK // SECOND


def test_a_clock_that_is_set_back_blocks_nobody() -> None:
    pace = Pace(2)
    pace.take(NOW, 1)
    assert pace.rests(NOW) == NOW + 500 - SLACK
    back = Instant(NOW - HOUR)
    assert pace.rests(back) is None
    assert pace.tokens(back) == 1


def test_only_as_many_are_under_way_as_there_are_hands() -> None:
    pacing = Pacing(concurrency=2)
    assert not pacing
    assert pacing.allowed(NOW) == {}
    pacing.given(NOW, some(1), to(2))
    assert pacing.allowed(NOW) == {"d": 0}
    assert pacing.resting(NOW) == {"d": NOW + 500 - SLACK}
    later = Instant(NOW + 10 * SECOND)
    assert pacing.allowed(later) == {"d": 1}
    pacing.given(later, some(1, 1), to(2))
    latest = Instant(NOW + 20 * SECOND)
    assert pacing.allowed(latest) == {"d": 0}
    assert pacing.resting(latest) == {}
    pacing.ended(some(2))
    assert pacing.allowed(latest) == {}
    assert not pacing


def test_at_a_high_rate_the_slack_may_be_under_way_at_once() -> None:
    pacing = Pacing(concurrency=2)
    pacing.given(NOW, some(2), to(100))
    later = Instant(NOW + SECOND)
    assert pacing.allowed(later) == {"d": 1 + 100 * SLACK // SECOND - 2}


def test_a_rate_that_was_changed_or_taken_away_is_learnt_anew() -> None:
    pacing = Pacing(concurrency=8)
    pacing.given(NOW, some(1), to(0.001))
    assert pacing.resting(NOW)
    pacing.forget()
    assert pacing.resting(NOW) == {}
    pacing.given(NOW, some(1, 1), to(0))
    assert not pacing
    pacing.ended(some(2))
