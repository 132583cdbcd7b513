"""Answers that are given again: for how long, to whom, and what never is."""

import asyncio

import pytest

from milepost.domain.instant import Instant
from milepost.pipeline.insight_answers import LONGEST_S, MOST, TIMES, Answers
from milepost.pipeline.insight_results import Loading

NOW = Instant(1_800_000_000_000)


class Work:
    """What takes `took_s` by the test's clock, and counts how often it was done."""

    def __init__(self, took_s: float = 0.5) -> None:
        self.done, self.at, self.took_s = 0, 0.0, took_s
        self.answers = Answers(monotonic=lambda: self.at)

    async def __call__(self) -> int:
        self.done += 1
        self.at += self.took_s
        return self.done

    async def asked(self, key: str = "all", now: Instant = NOW) -> int:
        return await self.answers.get(key, now, self)


async def test_an_answer_holds_ten_times_as_long_as_it_took() -> None:
    work = Work(0.5)
    assert await work.asked() == 1
    work.at += 0.5 * TIMES - 0.1
    assert await work.asked() == 1
    work.at += 0.2
    assert await work.asked() == 2


async def test_no_answer_holds_longer_than_the_longest() -> None:
    work = Work(60.0)
    assert await work.asked() == 1
    work.at += LONGEST_S - 0.1
    assert await work.asked() == 1
    work.at += 0.2
    assert await work.asked() == 2


async def test_what_takes_no_time_is_never_kept() -> None:
    work = Work(0.0)
    assert [await work.asked(), await work.asked()] == [1, 2]


async def test_another_key_or_another_time_has_its_own_answer() -> None:
    work = Work()
    assert await work.asked("one") == 1
    assert await work.asked("other") == 2
    assert await work.asked("one", Instant(NOW + int(LONGEST_S * 1_000) + 1)) == 3
    assert await work.asked("one", NOW) == 4


async def test_who_asks_meanwhile_waits_for_the_same_answer() -> None:
    answers, going, done = Answers(), asyncio.Event(), 0

    async def slow() -> int:
        nonlocal done
        done += 1
        await going.wait()
        return done

    first = asyncio.create_task(answers.get("all", NOW, slow))
    second = asyncio.create_task(answers.get("all", NOW, slow))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    going.set()
    assert await second == 1
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_neither_loading_nor_a_failure_is_kept() -> None:
    at, told = 0.0, 0
    answers = Answers(monotonic=lambda: at)

    async def loading() -> Loading:
        nonlocal at, told
        at, told = at + 1, told + 1
        return Loading(told, 10)

    async def failing() -> int:
        nonlocal at
        at += 1
        raise ValueError(str(at))

    assert await answers.get("all", NOW, loading) == Loading(1, 10)
    assert await answers.get("all", NOW, loading) == Loading(2, 10)
    for seconds in ("3.0", "4.0"):
        with pytest.raises(ValueError, match=seconds):
            await answers.get("other", NOW, failing)


async def test_only_so_many_are_kept() -> None:
    work = Work()
    work.took_s = 1.0
    await work.asked("first")
    work.took_s = 0.0
    for number in range(MOST):
        await work.asked(str(number))
    assert await work.asked("first") == MOST + 2


async def test_without_keeping_each_asks_for_itself() -> None:
    work = Work()
    work.answers = Answers(longest_s=0.0, monotonic=lambda: work.at)
    assert [await work.asked(), await work.asked()] == [1, 2]
