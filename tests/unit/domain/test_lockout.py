"""Lock-out: how many wrong tries there may be, and how long nobody may try after them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milepost.domain.instant import DAY, MINUTE, Instant
from milepost.domain.lockout import LIMITS, LONGEST_LOCK, Counted, Tries, forgiven, is_locked, tried

T0 = Instant(1_000_000_000)
NONE = Tries("key")


def after(count: int, counted: Counted = "name", at: Instant = T0) -> Tries:
    tries = NONE
    for _ in range(count):
        tries = tried(tries, counted, at)
    return tries


@pytest.mark.parametrize(
    ("counted", "count", "minutes"),
    [
        *(("name", 4, 0), ("name", 5, 1), ("name", 6, 2), ("name", 7, 4), ("name", 8, 8), ("name", 9, 15)),
        *(("name", 500, 15), ("address", 29, 0), ("address", 30, 1), ("address", 34, 15)),
    ],
)
def test_the_table(counted: Counted, count: int, minutes: int) -> None:
    tries = after(count, counted)
    assert is_locked(tries, T0) is (minutes > 0)
    assert not is_locked(tries, Instant(T0 + minutes * MINUTE))
    if minutes:
        assert is_locked(tries, Instant(T0 + minutes * MINUTE - 1))


def test_a_right_try_forgets_a_name() -> None:
    assert forgiven(after(5), "name") is None


def test_a_right_try_forgets_only_itself_of_an_address() -> None:
    tries = forgiven(after(30, "address"), "address")
    assert tries is not None
    assert (tries.wrong, is_locked(tries, T0)) == (29, False)
    assert is_locked(tried(tries, "address", T0), T0)
    assert forgiven(after(1, "address"), "address") is None


def test_a_day_later_it_begins_anew() -> None:
    later = Instant(T0 + DAY)
    assert tried(after(9), "name", later).wrong == 1
    assert tried(after(9), "name", Instant(later - 1)).wrong == 10


@given(st.lists(st.integers(0, DAY - 1), max_size=40))
def test_nobody_has_more_tries_than_the_table_gives(pauses: list[int]) -> None:
    """Whoever tries as soon as it is possible again: how many tries fit into the time."""
    tries, now, made = NONE, T0, 0
    for pause in pauses:
        now = Instant(now + pause)
        if is_locked(tries, now):
            now = tries.locked_until
        tries, made = tried(tries, "name", now), made + 1
        assert tries.locked_until <= now + LONGEST_LOCK
    free = LIMITS["name"]
    least = sum(min(MINUTE << min(n, 10), LONGEST_LOCK) for n in range(max(made - free, 0)))
    assert now - T0 >= least
