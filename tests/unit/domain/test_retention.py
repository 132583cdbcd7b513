"""The rule of retention, and the horizons that closed orders are kept beyond."""

from typing import Any

import pytest
from tests.unit.domain.history import ORDER, SHIPPED, event, journal

from milepost.domain.condition import Policy, policy_from
from milepost.domain.errors import Misconfigured
from milepost.domain.instant import DAY, Instant
from milepost.domain.retention import Group, check_retention, horizons, kept_because, returns_under_way

NOW = Instant(1_000 * DAY)
POLICY = Policy()


def condition(code: str, cleared: bool = False) -> dict[str, Any]:
    return {"code": code, "clearedAt": "2025-01-01T00:00:00Z" if cleared else None}


def order(*states: str, conditions: tuple[dict[str, Any], ...] = ()) -> dict[str, Any]:
    return {"deliveries": [{"state": state, "conditions": conditions} for state in states]}


def tracker(stage: str, *conditions: dict[str, Any]) -> dict[str, Any]:
    return {"stage": stage, "conditions": conditions}


DONE = order("DELIVERED", "CANCELLED")


@pytest.mark.parametrize(
    ("reason", "silent", "group"),
    [
        (None, 120, {"orders": [DONE]}),
        ("recent", 119, {"orders": [DONE]}),
        ("recent", -1, {"orders": [DONE]}),
        (None, 120, {"orders": [DONE], "trackers": [tracker("DELIVERED")]}),
        (None, 120, {"orders": [order("CANCELLED")]}),
        # Closed by expiry (T12): shipped, never shipped, never heard of but by name.
        (None, 120, {"orders": [order("IN_TRANSIT", "DELIVERED")]}),
        (None, 120, {"orders": [order("PENDING")], "trackers": [tracker("INFO_RECEIVED")]}),
        (None, 120, {"orders": [order()]}),
        (None, 120, {"trackers": [tracker("IN_TRANSIT", condition("TRACKING_EXPIRED"))]}),
        # Somebody should look.
        ("condition", 500, {"orders": [order("DELIVERED", conditions=(condition("CONTRADICTION"),))]}),
        ("condition", 500, {"orders": [order("IN_TRANSIT", conditions=(condition("EXCEPTION"),))]}),
        ("condition", 500, {"orders": [DONE], "trackers": [tracker("LOST", condition("CUSTOMER_ACTION"))]}),
        ("condition", 500, {"trackers": [tracker("RETURNING", condition("RETURN_UNCONFIRMED"))]}),
        (None, 120, {"orders": [order("DELIVERED", conditions=(condition("CONTRADICTION", True),))]}),
        (None, 120, {"orders": [order("DELIVERED", conditions=(condition("ATTEMPT_FAILED"),))]}),
        (None, 120, {"orders": [order("IN_TRANSIT", conditions=(condition("LATE"),))]}),
        # A return.
        ("return", 500, {"orders": [DONE], "trackers": [tracker("RETURNING")]}),
        (None, 120, {"orders": [DONE], "trackers": [tracker("RETURNED")]}),
        ("return", 500, {"orders": [DONE], "returning": True}),
        # Time is not done with it; one of several orders decides for all.
        ("waiting", 500, {"orders": [DONE], "timed": True}),
        ("condition", 500, {"orders": [DONE, order("DELIVERED", conditions=(condition("CONTRADICTION"),))]}),
    ],
)
def test_why_a_group_stays(reason: str | None, silent: int, group: dict[str, Any]) -> None:
    given = Group(**{"orders": [], "trackers": [], "last_at": Instant(NOW - silent * DAY), **group})
    assert kept_because(given, NOW, 120, POLICY) == reason


@pytest.mark.parametrize(
    ("state", "reason"), [("PENDING", "open"), ("IN_TRANSIT", "open"), ("DELIVERED", None)]
)
def test_what_is_open_is_closed_by_nothing_but_expiry(state: str, reason: str | None) -> None:
    policy = policy_from({"tracking_expired_days": 200})
    group = Group([order("DELIVERED", state)], [], Instant(NOW - 199 * DAY))
    assert kept_because(group, NOW, 150, policy) == reason
    older = Group([order("DELIVERED", state)], [], Instant(NOW - 200 * DAY))
    assert kept_because(older, NOW, 150, policy) is None


def test_the_longest_horizon_is_how_long_tracking_may_tell_of_a_number() -> None:
    table = horizons(POLICY)
    assert [horizon.days for horizon in table] == sorted((h.days for h in table), reverse=True)
    assert {horizon.name: horizon.days for horizon in table} == {
        "tracking": 90,
        "return": 30,
        "outcome": 30,
        "queues": 29,
        "webhook": 14,
        "resends": 10,
    }


@pytest.mark.parametrize("days", [0, 90, 91, 36_500])
def test_closed_orders_may_be_kept_for_ever_or_past_every_horizon(days: int) -> None:
    check_retention(days, POLICY)


@pytest.mark.parametrize(
    ("days", "limits", "named"),
    [
        (89, {}, "'tracking' of 90 days"),
        (1, {}, "'tracking' of 90 days"),
        (90, {"tracking_expired_days": 120}, "'tracking' of 120 days"),
        (90, {"carriers": {"UPS": {"tracking_expired_days": 100}}}, "'tracking' of 100 days"),
        (28, {"tracking_expired_days": 10, "return_unconfirmed_days": 5}, "'outcome' of 30 days"),
        (90, {"return_unconfirmed_days": 99}, "'return' of 99 days"),
    ],
)
def test_less_is_refused_by_the_name_of_the_horizon(days: int, limits: dict[str, Any], named: str) -> None:
    with pytest.raises(Misconfigured, match=named) as refused:
        check_retention(days, policy_from(limits))
    assert f"MILEPOST_RETENTION_DAYS is {days}" in refused.value.detail


def test_a_return_is_under_way_until_it_is_completed() -> None:
    def told(type: str, id: str) -> Any:
        return event(type, "2025-03-01T10:00:00Z", path=f"return/{id}")

    begun = (told("RETURN_STARTED", "r-1"), told("RETURN_PACKAGE_DELIVERED", "r-2"))
    other = event(SHIPPED, "2025-03-01T10:00:00Z")
    assert returns_under_way(journal([other])) == set()
    assert returns_under_way(journal([*begun, other])) == {(ORDER, "r-1"), (ORDER, "r-2")}
    assert returns_under_way(journal([*begun, told("RETURN_COMPLETED", "r-1")])) == {(ORDER, "r-2")}
    assert returns_under_way(journal([told("RETURN_COMPLETED", "r-1"), begun[0]])) == set()
