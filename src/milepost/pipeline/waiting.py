"""Waiting by a clock: what loops that rest until a time, or until a signal, are given."""

import asyncio
from collections.abc import Awaitable, Callable

from milepost.domain.instant import Instant

Wait = Callable[[Instant, asyncio.Event], Awaitable[None]]
"""Return when the clock has reached the instant, or when the event is set, whichever is first."""


def waiting_by(clock: Callable[[], Instant]) -> Wait:
    """The wait for a clock that goes as fast as real time; how long is reckoned once, so that a clock that is set
    back meanwhile prolongs nothing."""

    async def wait(until: Instant, signal: asyncio.Event) -> None:
        left_s = (until - clock()) / 1000
        if left_s <= 0 or signal.is_set():
            return
        try:
            async with asyncio.timeout(left_s):
                await signal.wait()
        except TimeoutError:
            pass

    return wait
