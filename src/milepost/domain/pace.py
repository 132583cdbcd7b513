"""How an endpoint has answered of late: from the newest attempts to it, as far as they are known."""

from collections.abc import Sequence

from msgspec import Struct

from milepost.domain.attempt import Attempt
from milepost.domain.instant import Instant


class Pace(Struct, frozen=True):
    """Over `n` attempts. Percentiles are the nearest rank, of those that were delivered."""

    n: int
    delivered: int
    last_success: Instant | None
    """The newest delivered attempt among them; None: there is none among them."""
    p50_ms: int | None
    p95_ms: int | None


def pace_of(attempts: Sequence[Attempt]) -> Pace:
    """How it went, in whatever order the attempts are given."""
    good = [attempt for attempt in attempts if attempt.outcome == "delivered"]
    took = sorted(attempt.duration_ms for attempt in good)
    return Pace(
        len(attempts),
        len(good),
        max((attempt.started_at for attempt in good), default=None),
        _rank(took, 50),
        _rank(took, 95),
    )


def _rank(ordered: Sequence[int], percent: int) -> int | None:
    """The smallest value that `percent` of a hundred are not above."""
    return ordered[-(-len(ordered) * percent // 100) - 1] if ordered else None
