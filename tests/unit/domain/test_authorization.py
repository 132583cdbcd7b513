"""Authorizations: the newest that was told holds, and when its deadline is worth a warning (scenario 28)."""

import random
from typing import Any

import msgspec
import pytest
from tests.unit.domain.history import (
    BOX,
    CANCELLED,
    ORDER,
    SHIPPED,
    Arrived,
    event,
    fold,
    order_answer,
    package,
)

from milepost.domain.authorization import deadlines
from milepost.domain.canonical import canonical
from milepost.domain.condition import Policy, changes, check_at, evaluate, open_conditions
from milepost.domain.instant import DAY, HOUR, Instant, parse_instant
from milepost.domain.record import Authorization, ConditionChange, order_subject

BEFORE = "2025-01-25T12:00:00Z"
END = parse_instant(BEFORE)
EXPIRING, EXPIRED = "AUTHORIZATION_EXPIRING", "AUTHORIZATION_EXPIRED"


def authorization(before: str, at: str, authorized: str | None = None) -> Arrived:
    told = Authorization(
        ORDER,
        parse_instant(before),
        parse_instant(at),
        (order_subject(ORDER),),
        None if authorized is None else parse_instant(authorized),
    )
    return Arrived("authorization", "authorization", told.at, msgspec.json.encode(told), "api")


def raised(code: str, at: str, raised: bool = True) -> Arrived:
    subject = order_subject(ORDER)
    change = ConditionChange(subject, code, raised, parse_instant(at), (subject,), {"captureBefore": BEFORE})
    return Arrived("condition", code, change.at, msgspec.json.encode(change), "sweeper")


def holding(document: dict[str, Any], now: int, **policy: int) -> list[str]:
    return list(evaluate(document, "order", Instant(now), Policy(**policy)).holding)  # type: ignore[arg-type]


def test_nobody_told_anything() -> None:
    document = fold(event(SHIPPED, "2025-01-20T08:00:00Z")).document
    assert (document["authorization"], document["conditions"]) == (None, [])
    assert check_at(document, "order", Policy()) is None


def test_the_newest_that_was_told_holds_whatever_came_first() -> None:
    facts = [
        authorization(BEFORE, "2025-01-20T08:00:00Z", "2025-01-18T00:00:00Z"),
        authorization("2025-01-30T00:00:00Z", "2025-01-21T08:00:00Z"),
        event(SHIPPED, "2025-01-20T09:00:00Z"),
        raised(EXPIRING, "2025-01-23T12:00:00Z"),
    ]
    expected = canonical(fold(*facts).document)
    assert expected["authorization"] == {
        "authorizedAt": None,
        "captureBefore": "2025-01-30T00:00:00Z",
        "toldAt": "2025-01-21T08:00:00Z",
    }
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    shuffled = random.Random(seed)
    for _ in range(24):
        shuffled.shuffle(facts)
        assert canonical(fold(*facts).document) == expected


def test_scenario_28_a_deadline_warns_48_hours_before_and_then_has_passed() -> None:
    document = fold(authorization(BEFORE, "2025-01-20T08:00:00Z")).document
    assert holding(document, END - 48 * HOUR - 1) == []
    assert holding(document, END - 48 * HOUR) == [EXPIRING]
    assert holding(document, END - 1) == [EXPIRING]
    assert holding(document, END) == [EXPIRED]
    assert holding(document, END + 1_000 * DAY) == [EXPIRED]
    assert check_at(document, "order", Policy()) == END - 48 * HOUR
    assert holding(document, END - 3 * HOUR, authorization_warning_hours=2) == []


@pytest.mark.parametrize(
    ("facts", "waiting"),
    [
        ([event(CANCELLED, "2025-01-20T09:00:00Z")], False),
        ([event(SHIPPED, "2025-01-20T09:00:00Z")], False),
        ([order_answer("2025-01-20T09:00:00Z", package(BOX, "PENDING"))], True),
        ([order_answer("2025-01-20T09:00:00Z", package(BOX, "DELIVERED"))], False),
        ([order_answer("2025-01-20T09:00:00Z", package(BOX, "DELIVERED"), package("b", "PENDING"))], True),
        ([order_answer("2025-01-20T09:00:00Z", package(BOX, "CANCELLED"), package("b", "CANCELLED"))], False),
    ],
)
def test_only_what_waits_to_ship_is_worth_a_warning(facts: list[Arrived], waiting: bool) -> None:
    document = fold(authorization(BEFORE, "2025-01-20T08:00:00Z"), *facts).document
    assert bool(list(deadlines(document, 48))) is waiting
    assert bool(holding(document, END)) is waiting


def test_a_shipment_clears_what_was_raised() -> None:
    told = authorization(BEFORE, "2025-01-20T08:00:00Z")
    facts = [told, raised(EXPIRING, "2025-01-23T12:00:00Z"), event(SHIPPED, "2025-01-24T08:00:00Z")]
    document = fold(*facts).document
    assert check_at(document, "order", Policy()) == 0
    opened = open_conditions(document, "order")
    (change,) = changes(document, "order", opened, {}, END)
    assert (change.subject, change.code, change.raised) == (order_subject(ORDER), EXPIRING, False)
    assert change.about == (order_subject(ORDER),)
    document = fold(*facts, raised(EXPIRING, "2025-01-24T09:00:00Z", raised=False)).document
    assert document["conditions"][0]["clearedAt"] == "2025-01-24T09:00:00Z"
    assert document["summary"]["worstCondition"] is None
    assert check_at(document, "order", Policy()) is None


def test_the_order_explains_what_was_told() -> None:
    folded = fold(authorization(BEFORE, "2025-01-20T08:00:00Z"), explain=True)
    (entry,) = folded.order.trace
    assert (entry.kind, entry.used) == ("authorization", True)
    assert BEFORE in entry.text
