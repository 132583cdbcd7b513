"""Lanes by themselves: how much each asks for ahead, what is given back, and when storing is pressing."""

import asyncio
from collections.abc import Sequence

import pytest

from milepost.domain.attempt import Destination, Message
from milepost.domain.instant import Instant
from milepost.domain.record import Record
from milepost.pipeline.lanes import ENOUGH, Claimed, Lanes
from milepost.pipeline.sending import Outcome, Parcel, as_journalled

NOW = Instant(1_000_000)
LEASE_UNTIL = Instant(NOW + 60_000)


class Gate:
    """A sender that holds every call until it is opened; `status` is its answer to each parcel."""

    batch = 1

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.status: int | None = 200
        self.sent: list[str] = []

    async def send(self, destination: Destination, parcels: Sequence[Parcel]) -> Sequence[Outcome]:
        self.sent.extend(p.message.id for p in parcels)
        await self.open.wait()
        return [Outcome(self.status)] * len(parcels)


class Made:
    def __init__(self, concurrency: int = 2, reserve: int = 30_000) -> None:
        self.now = NOW
        self.gate = Gate()
        self.news: list[bool] = []
        self.lanes = Lanes(
            {"gate": self.gate},
            lambda: self.now,
            render=as_journalled,
            concurrency=concurrency,
            reserve=lambda: reserve,
            news=self.news.append,
            probe=lambda point: None,
        )

    def add(self, count: int, to: str = "d", start: int = 0) -> None:
        record = Record(1, "event", "bp", "t", NOW, NOW, "test", (), None, b"{}")
        self.lanes.add(
            [
                Claimed(
                    Message(f"{to}{n}", to, n, "pending", 0, NOW, LEASE_UNTIL, 1),
                    Destination(to, "gate", b"{}"),
                    record,
                )
                for n in range(start, start + count)
            ]
        )

    async def settle(self) -> None:
        """Let everything run that can."""
        for _ in range(50):
            await asyncio.sleep(0)


async def test_a_lane_that_runs_empty_asks_for_more_and_one_that_hangs_for_no_more() -> None:
    made = Made()
    assert made.lanes.share == 4
    made.add(4)
    await made.settle()
    assert made.lanes.room() == {"d": 0}
    assert made.gate.sent == ["d0", "d1"]
    made.gate.open.set()
    await made.settle()
    done, returned = made.lanes.take()
    assert (len(done), returned) == (4, [])
    assert made.lanes.room() == {"d": 8}
    made.add(8, start=4)
    await made.settle()
    made.lanes.take()
    assert made.lanes.room() == {"d": 16}
    # It rests: what it once held is forgotten.
    made.lanes.room()
    assert made.lanes.room() == {}


async def test_storing_is_pressing_when_a_lane_runs_low_or_nothing_is_under_way() -> None:
    made = Made()
    made.gate.open.set()
    made.add(1)
    await made.settle()
    assert made.news == [True]
    made.lanes.take()
    made.news.clear()
    made.gate.open.clear()
    made.add(3)
    made.add(1, to="slow")
    await made.settle()
    made.gate.open.set()
    await made.settle()
    # Three were less than it has room for, so there are no more: only the last of all is pressing.
    assert made.news == [False, False, False, True]
    made.lanes.take()
    made.news.clear()
    made.gate.open.clear()
    made.add(4)
    await made.settle()
    made.gate.open.set()
    await made.settle()
    # With as many waiting as are under way it has enough to do.
    assert made.news == [False, True, True, True]


async def test_enough_outcomes_are_worth_a_write() -> None:
    made = Made(concurrency=200)
    made.add(ENOUGH + 20)
    await made.settle()
    made.gate.open.set()
    await made.settle()
    assert made.news.index(True) == ENOUGH - 1


async def test_what_waited_until_its_lease_ran_low_is_given_back() -> None:
    made = Made(concurrency=1)
    made.add(3)
    await made.settle()
    made.now = Instant(LEASE_UNTIL - 30_000 + 1)
    made.gate.open.set()
    await made.settle()
    done, returned = made.lanes.take()
    assert [d.claimed.message.id for d in done] == ["d0"]
    assert [m.id for m in returned] == ["d1", "d2"]
    assert made.lanes.held == 0


async def test_after_a_failure_a_worker_waits_until_it_is_recorded() -> None:
    """So that an endpoint that fails fast is not hammered while its breaker is about to open."""
    made = Made(concurrency=2)
    made.gate.status = 503
    made.gate.open.set()
    made.add(4)
    await made.settle()
    assert made.gate.sent == ["d0", "d1"]
    made.lanes.take()
    made.lanes.recorded()
    await made.settle()
    assert made.gate.sent == ["d0", "d1", "d2", "d3"]
    made.add(2, start=4)
    await made.settle()
    assert len(made.gate.sent) == 4
    made.lanes.take()
    made.lanes.recorded(["d"])
    await made.settle()
    _, returned = made.lanes.take()
    assert [m.id for m in returned] == ["d4", "d5"]
    assert len(made.gate.sent) == 4


async def test_stopping_waits_for_nobody_s_record() -> None:
    made = Made(concurrency=1)
    made.gate.status = None
    made.gate.open.set()
    made.add(3)
    await made.settle()
    await made.lanes.stop()
    done, returned = made.lanes.take()
    assert (len(done), len(returned)) == (1, 2)


async def test_what_breaks_a_worker_is_raised_where_it_is_taken() -> None:
    class Killed(BaseException):
        pass

    def die(point: str) -> None:
        raise Killed

    made = Made()
    made.lanes._probe = die
    made.gate.open.set()
    made.add(1)
    await made.settle()
    assert made.news == [True]
    with pytest.raises(Killed):
        made.lanes.take()
