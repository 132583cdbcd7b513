"""How an endpoint answers: percentiles of what was delivered, and the newest success."""

from hypothesis import given
from hypothesis import strategies as st

from milepost.domain.attempt import Attempt
from milepost.domain.instant import Instant
from milepost.domain.pace import Pace, pace_of


def _attempt(at: int, took_ms: int, outcome: str = "delivered") -> Attempt:
    return Attempt("m", at, Instant(at), took_ms, outcome)  # type: ignore[arg-type]


def test_only_what_was_delivered_is_measured() -> None:
    attempts = [_attempt(n, n * 10) for n in range(1, 21)] + [_attempt(99, 9_999, "failed")]
    assert pace_of(attempts) == Pace(21, 20, Instant(20), 100, 190)
    assert pace_of([_attempt(1, 5, "unknown")]) == Pace(1, 0, None, None, None)
    assert pace_of([]) == Pace(0, 0, None, None, None)


@given(st.lists(st.integers(0, 100_000), min_size=1, max_size=200))
def test_a_percentile_is_a_value_that_so_many_are_not_above(took: list[int]) -> None:
    pace = pace_of([_attempt(n, ms) for n, ms in enumerate(took)])
    for value, percent in ((pace.p50_ms, 50), (pace.p95_ms, 95)):
        assert value in took
        assert sum(ms <= value for ms in took) * 100 >= percent * len(took)
        assert sum(ms < value for ms in took) * 100 < percent * len(took)
