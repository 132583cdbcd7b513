"""Answers of Insights that are given again for a while: over a million parcels one takes a good part of a second.

An answer is kept ten times as long as it took to work out, so that a small shop's are as good as new and many who ask
for the same take a tenth of a processor at most. Who asks while it is being worked out waits for that same answer.
What is kept is of one filter, the business products of who asks among it: nobody is given what is another's.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, Final, TypeVar

from msgspec import Struct

from milepost.domain.instant import Instant
from milepost.pipeline.insight_results import Loading

T = TypeVar("T")

TIMES: Final = 10
LONGEST_S: Final = 10.0
MOST: Final = 64
"""Answers that are kept; the oldest goes first."""


class _Kept(Struct):
    now: Instant
    """The time that the answer is of."""
    task: asyncio.Task[Any] | None = None
    until: float | None = None
    """By the monotonic clock; None: it is being worked out."""


class Answers:
    """`longest_s`: how long an answer is kept at most; 0: never, and nobody waits for another's."""

    def __init__(
        self, *, longest_s: float = LONGEST_S, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._longest_s = longest_s
        self._monotonic = monotonic
        self._kept: dict[Hashable, _Kept] = {}

    async def get(self, key: Hashable, now: Instant, work_out: Callable[[], Awaitable[T]]) -> T:
        """What was worked out for this key a moment ago, or is now. A failure is everybody's who waits for it, and
        is not kept; nor is `Loading`."""
        if not self._longest_s:
            return await work_out()
        kept = self._kept.get(key)
        if kept is None or not self._holds(kept, now):
            self._kept.pop(key, None)
            kept = self._kept[key] = _Kept(now)
            kept.task = asyncio.create_task(self._work_out(kept, work_out))
            while len(self._kept) > MOST:
                del self._kept[next(iter(self._kept))]
        assert kept.task is not None
        found: T = await asyncio.shield(kept.task)
        return found

    def _holds(self, kept: _Kept, now: Instant) -> bool:
        near = abs(now - kept.now) <= self._longest_s * 1_000
        return near and (kept.until is None or self._monotonic() < kept.until)

    async def _work_out(self, kept: _Kept, work_out: Callable[[], Awaitable[T]]) -> T:
        begun, keep_s = self._monotonic(), 0.0
        try:
            found = await work_out()
            if not isinstance(found, Loading):
                keep_s = min(self._longest_s, (self._monotonic() - begun) * TIMES)
            return found
        finally:
            kept.until = self._monotonic() + keep_s
