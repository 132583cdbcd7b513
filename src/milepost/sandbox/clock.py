"""The sandbox's clock: real, faster, or stepped by a caller. Every wait in scenarios and retries follows it.

A faster clock starts in the past and runs at `speed` until it has caught up with the real time, then goes on
at the real pace: what is published never lies in the future of whoever receives it, unless a caller put the clock
ahead: by a step, or by a speed that is set when there is nothing to catch up with. A speed of 0 stands still until
`advance` or `go_to` is called.
"""

import asyncio
import time
from collections.abc import Callable

from milepost.domain.instant import SECOND, Instant


def real_now() -> Instant:
    """The machine's time."""
    return Instant(time.time_ns() // 1_000_000)


class WorldClock:
    """`now()` for whoever needs a time, `wait` for whoever needs one to come. It never goes back."""

    def __init__(
        self, start: Instant | None = None, speed: float = 1.0, *, real: Callable[[], Instant] = real_now
    ) -> None:
        self.speed = speed
        self._real = real
        self._real_start = real()
        self._start = self._real_start if start is None else start
        self._waiting: set[asyncio.Event] = set()
        self._free = False
        """Whether it keeps its speed beyond the real time."""

    def now(self) -> Instant:
        if self.speed == 0:
            return self._start
        real = self._real()
        moved = self._moved(real)
        return moved if self._free or self._is_ahead else min(moved, real)

    @property
    def pace(self) -> float:
        """How many times as fast as real it runs now; 0 while it stands."""
        if self.speed == 0 or self._free:
            return self.speed
        real = self._real()
        is_behind = not self._is_ahead and self._moved(real) < real
        return self.speed if is_behind else 1.0

    @property
    def _is_ahead(self) -> bool:
        return self._start > self._real_start and not self._free

    def _moved(self, real: Instant) -> Instant:
        speed = 1.0 if self._is_ahead else self.speed
        return Instant(self._start + round((real - self._real_start) * speed))

    def advance(self, milliseconds: int) -> Instant:
        """Step the clock forward and wake who waits for it; returns the new time."""
        return self._set(Instant(self.now() + max(0, milliseconds)), self.speed)

    def go_to(self, at: Instant) -> Instant:
        """Step the clock forward to a time; one that has passed leaves it where it is."""
        return self._set(max(at, self.now()), self.speed)

    def set_speed(self, speed: float) -> Instant:
        """Go on from here so many times as fast as real; a clock that is behind, until it has caught up."""
        now = self.now()
        self._free = self._real() - now < SECOND
        return self._set(now, speed)

    def _set(self, at: Instant, speed: float) -> Instant:
        self._start, self._real_start, self.speed = at, self._real(), speed
        for event in tuple(self._waiting):
            event.set()
        return self.now()

    async def wait(self, until: Instant, signal: asyncio.Event) -> None:
        """Return when this clock has reached `until`, or when `signal` is set, whichever is first."""
        while not signal.is_set() and (left_s := self._real_seconds(until)) > 0:
            await self._sleep(left_s, signal)

    def _real_seconds(self, until: Instant) -> float:
        left = until - self.now()
        if left <= 0:
            return 0.0
        if self.speed == 0:
            return 3_600.0
        # Fast until it has caught up, real after that: the shorter estimate, looked at again when it has passed.
        return max(0.001, left / 1000 / max(1.0, self.pace))

    async def _sleep(self, seconds: float, signal: asyncio.Event) -> None:
        stepped = asyncio.Event()
        self._waiting.add(stepped)
        waits = [asyncio.ensure_future(e.wait()) for e in (signal, stepped)]
        try:
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._waiting.discard(stepped)
            for wait in waits:
                wait.cancel()
