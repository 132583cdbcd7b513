"""Hub conditions over time: nothing changes before the next check, and whatever differs is due (tracking.md 9.7)."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.domain.test_condition import condition, delivery, estimate, milestone, shipped, tracker

from milepost.domain.condition import (
    ALWAYS,
    Policy,
    SubjectKind,
    changes,
    check_at,
    evaluate,
    open_conditions,
)
from milepost.domain.instant import DAY, Instant, format_instant, parse_instant

POLICY = Policy()

START = parse_instant("2025-01-01T00:00:00Z")
TIMES = st.integers(START, START + 30 * DAY).map(lambda ms: format_instant(Instant(ms - ms % 1000)))
DATES = st.integers(0, 40).map(lambda days: format_instant(Instant(START + days * DAY))[:10])
STAGES = st.sampled_from(
    [
        "UNKNOWN",
        "PENDING",
        "INFO_RECEIVED",
        "IN_TRANSIT",
        "OUT_FOR_DELIVERY",
        "AVAILABLE_FOR_PICKUP",
        "DELIVERED",
        "RETURNING",
        "RETURNED",
        "UNDELIVERABLE",
        "LOST",
    ]
)
CODES = st.sampled_from(
    ["INFO_RECEIVED", "IN_TRANSIT", "OUT_FOR_DELIVERY", "DELIVERY_ATTEMPTED", "DELIVERED", "EXCEPTION"]
)
MILESTONES = st.lists(st.builds(milestone, CODES, TIMES, st.sampled_from(["US", "DE", ""])), max_size=4)
TRACKERS = st.builds(
    lambda stage, at, fact, milestones: tracker(stage, at, lastFactAt=fact, milestones=milestones),
    STAGES,
    TIMES,
    st.none() | TIMES,
    MILESTONES,
)
DELIVERIES = st.builds(
    lambda state, trackers, delivered, evidence, eta: delivery(
        state, *trackers, deliveredAt=delivered, shipEvidence=evidence, estimatedDelivery=eta
    ),
    st.sampled_from(["PENDING", "IN_TRANSIT", "DELIVERED", "CANCELLED"]),
    st.lists(TRACKERS, max_size=2),
    st.none() | TIMES,
    st.none() | st.builds(shipped, TIMES),
    st.none() | st.builds(estimate, DATES | TIMES, DATES | TIMES),
)
DOCUMENTS = st.tuples(st.just("tracker"), TRACKERS) | st.tuples(st.just("delivery"), DELIVERIES)


@given(DOCUMENTS, st.integers(START, START + 200 * DAY).map(Instant), st.floats(0, 1, exclude_max=True))
def test_nothing_changes_before_the_next_check(
    subject: tuple[SubjectKind, dict[str, Any]], now: Instant, fraction: float
) -> None:
    kind, document = subject
    evaluation = evaluate(document, kind, now, POLICY)
    until = evaluation.next_check_at or Instant(now + 10_000 * DAY)
    between = Instant(now + int((until - now) * fraction))

    assert until > now
    assert evaluate(document, kind, between, POLICY) == evaluation
    assert evaluate(document, kind, Instant(until - 1), POLICY) == evaluation


@given(DOCUMENTS, st.integers(START, START + 200 * DAY).map(Instant))
def test_a_document_is_due_whenever_it_differs_from_the_truth(
    subject: tuple[SubjectKind, dict[str, Any]], now: Instant
) -> None:
    kind, document = subject
    due = check_at(document, kind, POLICY)
    found = changes(
        document, kind, open_conditions(document, kind), evaluate(document, kind, now, POLICY).holding, now
    )

    assert not found or (due is not None and due <= now)


@given(DOCUMENTS, st.integers(START, START + 200 * DAY).map(Instant))
def test_what_was_journalled_is_not_journalled_again(
    subject: tuple[SubjectKind, dict[str, Any]], now: Instant
) -> None:
    kind, document = subject
    evaluation = evaluate(document, kind, now, POLICY)
    shown = [
        condition(code, evidence.get("kind"), count=evidence.get("count"), evidence=evidence)
        for code, evidence in evaluation.holding.items()
    ]
    after = {**document, "conditions": shown}

    again = evaluate(after, kind, now, POLICY).holding
    assert changes(after, kind, open_conditions(after, kind), again, now) == []
    assert again == evaluation.holding


def test_a_document_that_shows_a_condition_is_looked_at_now() -> None:
    """A view that was folded anew may no longer deserve what it shows; only a clock can tell."""
    document = tracker("IN_TRANSIT", "2025-01-21T10:00:00Z", conditions=[condition("STALLED")])

    assert check_at(document, "tracker", POLICY) == ALWAYS
    assert check_at({**document, "conditions": []}, "tracker", POLICY) == parse_instant(
        "2025-01-24T10:00:00Z"
    )
