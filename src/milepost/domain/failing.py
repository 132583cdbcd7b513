"""A destination that does nothing but fail: how much of our patience that has used up.

When it is used up the destination is disabled, and what is for it is held until somebody enables it (Standard
Webhooks). What counts as failing is the store's to keep (`Destination.failing_since`), disabling is `settling`'s.
"""

from typing import Final

from milepost.domain.instant import DAY, Instant

PATIENCE: Final = 5 * DAY
STAGES: Final = (50, 70, 90, 100)
"""Percent of the patience: a warning at each, and the end at the last."""
TRIES: Final = 3
"""A destination is not disabled before a message was tried so often, or its breaker opened so often in a row: the
first tries are within seconds, and whoever gets an event a week would be disabled by two short failures."""


def stage(since: Instant | None, now: Instant, patience: int) -> int:
    """The last of `STAGES` that is passed at `now` by one that has been failing since then; 0 before the first.
    No patience (0) is endless patience."""
    if since is None or patience <= 0:
        return 0
    used = 100 * (now - since) // patience
    return max((s for s in STAGES if s <= used), default=0)


def reason(since: Instant, now: Instant) -> str:
    """Why it is disabled, in words."""
    return f"nothing but failures for {(now - since) / DAY:.1f} days"
