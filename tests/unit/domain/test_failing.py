"""How much of our patience a failing destination has used up."""

import pytest

from milepost.domain.failing import PATIENCE, reason, stage
from milepost.domain.instant import DAY, HOUR, Instant

SINCE = Instant(1_737_376_496_000)


@pytest.mark.parametrize(
    ("days", "reached"),
    [(0, 0), (2.4, 0), (2.5, 50), (3.49, 50), (3.5, 70), (4.5, 90), (4.99, 90), (5, 100), (50, 100)],
)
def test_stages(days: float, reached: int) -> None:
    assert stage(SINCE, Instant(round(SINCE + days * DAY)), PATIENCE) == reached


def test_without_a_failure_or_a_limit_there_is_none() -> None:
    assert stage(None, SINCE, PATIENCE) == 0
    assert stage(SINCE, Instant(SINCE + 400 * DAY), 0) == 0
    assert stage(SINCE, Instant(SINCE - HOUR), PATIENCE) == 0


def test_the_reason_says_how_long() -> None:
    assert reason(SINCE, Instant(SINCE + 5 * DAY + 3 * HOUR)) == "nothing but failures for 5.1 days"
