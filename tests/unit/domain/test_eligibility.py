"""When a capture is due, by which evidence, and what holds it."""

from typing import Any

import pytest
from tests.unit.domain.history import (
    BOX,
    CANCELLED,
    DELIVERED,
    SHIPPED,
    UPS,
    Arrived,
    condition,
    correction,
    event,
    fold,
    order_answer,
    package,
    scan,
    tracker_answer,
)

from milepost.domain.capture import Capture
from milepost.domain.eligibility import due_capture, hold_reason
from milepost.domain.instant import parse_instant

NOW = parse_instant("2025-04-01T00:00:00Z")
KNOWN = order_answer("2025-02-28T00:00:00Z", package(BOX, "PENDING", tracker=UPS, items=[("item", "1")]))
SHIP = event(SHIPPED, "2025-03-01T10:00:00Z")
ARRIVE = event(DELIVERED, "2025-03-05T10:00:00Z")
SCANNED = tracker_answer("2025-03-02T06:00:00Z", UPS, scan("IN_TRANSIT", "2025-03-01T20:00:00-08:00"))
SHOWN = order_answer("2025-03-03T00:00:00Z", package(BOX, "IN_TRANSIT", tracker=UPS, items=[("item", "1")]))


def made(*facts: Arrived) -> Capture:
    folded = fold(*facts)
    delivery = folded.delivery()
    return due_capture(folded.document, delivery, hold_reason(folded.document, delivery), NOW)


@pytest.mark.parametrize(
    ("facts", "kinds", "inferred"),
    [
        ((KNOWN, SHIP), ["event"], False),
        ((KNOWN, SCANNED), ["milestone"], False),
        ((KNOWN, SHIP, SCANNED), ["event", "milestone"], False),
        ((SHOWN,), ["snapshot"], True),
        ((KNOWN, ARRIVE), ["event"], True),
        ((KNOWN, ARRIVE, SHIP), ["event"], False),
        ((KNOWN, ARRIVE, SCANNED), ["milestone"], False),
    ],
)
def test_its_evidence(facts: tuple[Arrived, ...], kinds: list[str], inferred: bool) -> None:
    capture = made(*facts)
    assert ([e["kind"] for e in capture.evidence], capture.inferred) == (kinds, inferred)
    assert (capture.state, capture.ready_at) == ("READY", NOW)


def test_the_local_day_of_the_first_scan_is_kept() -> None:
    first = made(KNOWN, SCANNED).evidence[0]
    assert (first["at"], first["localDate"], first["zone"]) == (
        "2025-03-02T04:00:00Z",
        "2025-03-01",
        "offset-explicit",
    )


def test_no_evidence_leads_to_a_tracking_number() -> None:
    assert UPS[1] not in str(made(KNOWN, SHIP, SCANNED))


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ((KNOWN, SHIP), ""),
        ((SHIP,), "order_not_known"),
        ((KNOWN, SHIP, event(CANCELLED, "2025-03-04T10:00:00Z")), "cancelled_but_moving"),
        ((KNOWN,), "evidence_withdrawn"),
        (
            (
                KNOWN,
                ARRIVE,
                condition(
                    "CONTRADICTION", True, "2025-03-07T00:00:00Z", kind="delivered_without_tracker", hours=24
                ),
            ),
            "",
        ),
    ],
)
def test_what_holds_it(facts: Any, reason: str) -> None:
    capture = made(*facts)
    assert (capture.state, capture.reason) == ("HELD" if reason else "READY", reason)


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ((KNOWN, ARRIVE), "inferred"),
        ((KNOWN, SHIP, ARRIVE), ""),
        ((KNOWN, SCANNED), ""),
        ((ARRIVE,), "order_not_known"),
    ],
)
def test_what_is_inferred_is_held_where_that_is_reviewed(facts: Any, reason: str) -> None:
    order = fold(*facts).document
    (delivery,) = order["deliveries"]
    assert hold_reason(order, delivery, review_inferred=True) == reason


def test_an_agents_word_alone_waits_for_somebody_who_may_let_money_go() -> None:
    told = correction("IN_TRANSIT", "2025-03-01T12:00:00Z")
    assert made(KNOWN, told).state == "HELD"
    assert made(KNOWN, told).reason == "inferred"
    assert made(KNOWN, told, SHIP).state == made(KNOWN, told, SCANNED).state == "READY"
