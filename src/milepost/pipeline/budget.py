"""How many queries may be asked: a budget per minute, over a sliding minute, so that no two halves of adjoining
minutes add up to twice of it. Times are passed in."""

from collections import deque

from milepost.domain.instant import MINUTE, Instant


class Budget:
    """At most `per_minute` queries within any 60 seconds."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._spent: deque[Instant] = deque()

    def room(self, now: Instant) -> int:
        """How many queries may be asked now."""
        while self._spent and self._spent[0] <= now - MINUTE:
            self._spent.popleft()
        return self._per_minute - len(self._spent)

    def use(self, now: Instant) -> tuple[int, int]:
        """(queries asked within the last minute, how many may be)."""
        return self._per_minute - self.room(now), self._per_minute

    def spend(self, now: Instant, queries: int) -> None:
        """Count queries that are asked now."""
        self._spent.extend([now] * queries)

    def frees_at(self, now: Instant) -> Instant:
        """When there is room again; `now` when there is some."""
        return now if self.room(now) > 0 else Instant(self._spent[0] + MINUTE)
