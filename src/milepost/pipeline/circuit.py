"""The shared pause of everything that would ask one API: open after a failure, closed by the next answer.

Hydration of one merchant's orders must not hammer an API that is down, nor wait for another merchant's; so there
is one circuit a client. How long a pause lasts is `domain.hydration`'s.
"""

from random import Random

from milepost.domain.hydration import pause
from milepost.domain.instant import Instant


class Circuit:
    """Closed while `failures` is 0. After a failure nobody asks until `until`, and then one at a time."""

    def __init__(self, random: Random) -> None:
        self.failures = 0
        self.until = Instant(0)
        self._random = random

    def failed(self, now: Instant, retry_after: float | None) -> Instant:
        """Count a failure and pause; returns the end of the pause. Failures of tries that were under way when
        the pause began are the same failure."""
        if now >= self.until:
            self.failures += 1
            self.until = Instant(now + pause(self.failures, retry_after, self._random.random()))
        return self.until

    def answered(self) -> None:
        """The API answers, if only with a refusal."""
        self.failures = 0
        self.until = Instant(0)
