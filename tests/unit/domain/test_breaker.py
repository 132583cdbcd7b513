"""The breaker: its table, its pauses, and what holds after any history."""

from itertools import product
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milepost.domain.breaker import (
    POLICY,
    TABLE,
    Breaker,
    Policy,
    Sign,
    State,
    allows,
    answered,
    failed,
    is_failure,
    probed,
)
from milepost.domain.instant import HOUR, MINUTE, SECOND, Instant

CLOSED = Breaker("lane")


def opened(policy: Policy = POLICY, at: int = 0) -> Breaker:
    breaker = CLOSED
    for _ in range(policy.failures):
        breaker = failed(breaker, policy, Instant(at))
    return breaker


def test_the_table_names_every_step_that_can_happen() -> None:
    missing = set(product(get_args(State), get_args(Sign))) - set(TABLE)
    # Only a closed breaker counts failures, and it is never probed.
    assert missing == {("closed", "probed"), ("open", "exhausted"), ("halfOpen", "exhausted")}


def test_it_opens_after_so_many_failures_in_a_row() -> None:
    breaker = CLOSED
    for _ in range(POLICY.failures - 1):
        breaker = failed(breaker, POLICY, Instant(0))
        assert allows(breaker, Instant(0)) == "all"
    assert answered(breaker) == CLOSED
    breaker = failed(breaker, POLICY, Instant(7))
    assert (breaker.state, breaker.until) == ("open", 7 + 30 * SECOND)


def test_one_probe_when_the_pause_is_over() -> None:
    breaker = opened()
    assert allows(breaker, Instant(breaker.until - 1)) == "none"
    assert allows(breaker, breaker.until) == "probe"
    probing = probed(breaker, Instant(breaker.until + MINUTE))
    assert allows(probing, breaker.until) == "none"
    # Lost with its process: another goes when its lease has run out.
    assert allows(probing, probing.until) == "probe"
    assert probed(probing, Instant(10 * MINUTE)).until == 10 * MINUTE
    assert answered(probing) == CLOSED


def test_pauses_grow_up_to_the_last_and_start_over_after_an_answer() -> None:
    breaker, pauses = opened(), []
    for _ in range(7):
        at = breaker.until
        breaker = failed(probed(breaker, Instant(at + MINUTE)), POLICY, at)
        pauses.append(breaker.until - at)
    assert pauses == [MINUTE, 2 * MINUTE, *[5 * MINUTE] * 5]
    assert failed(answered(breaker), POLICY, Instant(0)).state == "closed"


def test_a_failure_of_what_was_under_way_prolongs_nothing() -> None:
    breaker = opened()
    assert failed(breaker, POLICY, Instant(29 * SECOND)) == breaker
    assert answered(breaker) == CLOSED


def test_the_endpoint_may_ask_for_more_up_to_the_longest() -> None:
    policy = Policy(1, (SECOND, MINUTE))
    assert failed(CLOSED, policy, Instant(0), 30 * SECOND).until == 30 * SECOND
    assert failed(CLOSED, policy, Instant(0), 10).until == SECOND
    assert failed(CLOSED, policy, Instant(0), HOUR).until == MINUTE


@pytest.mark.parametrize(
    ("status", "expected"),
    [(None, True), (408, True), (429, True), (500, True), (503, True), (200, False), (302, False),
     (401, False), (404, False), (410, False)],
)  # fmt: skip
def test_which_answers_are_failures(status: int | None, expected: bool) -> None:
    assert is_failure(status) is expected


_POLICIES = st.builds(
    Policy, st.integers(1, 6), st.lists(st.integers(1, HOUR), min_size=1, max_size=5).map(tuple)
)


@given(_POLICIES, st.lists(st.tuples(st.sampled_from(["fail", "answer", "try"]), st.integers(0, 2 * HOUR))))
def test_any_history(policy: Policy, history: list[tuple[str, int]]) -> None:
    """As the publisher uses it: a try happens only as far as it is allowed, and ends somehow."""
    breaker, now, in_a_row = CLOSED, 0, 0
    for what, passed in history:
        now += passed
        at = Instant(now)
        if what == "try" and allows(breaker, at) == "probe":
            breaker = probed(breaker, Instant(now + MINUTE))
            assert breaker.state == "halfOpen"
        elif what == "fail":
            in_a_row += 1
            before = breaker
            breaker = failed(breaker, policy, at)
            assert breaker.state != "halfOpen"
            if before.state == "closed":
                assert (breaker.state == "open") is (in_a_row >= policy.failures)
            if before.state != "open" and breaker.state == "open":
                assert breaker.until - now in policy.pauses
        elif what == "answer":
            in_a_row = 0
            breaker = answered(breaker)
            assert breaker.is_plain
        if breaker.state == "open":
            in_a_row = 0
            # Never longer than the longest pause: that is all a breaker can cost after an endpoint's return.
            assert breaker.until - now <= max(policy.pauses)
        assert allows(breaker, at) == "all" or breaker.state != "closed"
