"""The retry schedule: the table, its jitter, Retry-After and its cap."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milepost.domain.instant import DAY, HOUR, MINUTE, SECOND, Instant, parse_instant
from milepost.domain.retry import (
    RETRY_AFTER_CAP,
    STANDARD,
    STANDARD_DELAYS,
    Schedule,
    next_due,
    parse_retry_after,
    span,
)

NOW = parse_instant("2025-01-20T12:34:56Z")


def middle() -> float:
    return 0.5


def test_the_standard_schedule_spans_three_days_in_ten_attempts() -> None:
    due, failed_at = [], Instant(0)
    for tries in range(1, 11):
        at = next_due(STANDARD, tries, failed_at, None, middle)
        if at is None:
            break
        due.append(at - failed_at)
        failed_at = at
    assert due == [
        5 * SECOND, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR,
    ]  # fmt: skip
    assert failed_at > 72 * HOUR
    assert next_due(STANDARD, 10, failed_at, None, middle) is None


def test_an_exhausted_schedule_ends_whatever_the_destination_asks_for() -> None:
    assert next_due(Schedule((0, 1_000)), 2, NOW, 60_000, middle) is None


@given(st.integers(1, 9), st.floats(0, 1, exclude_max=True), st.none() | st.integers(0, 10 * DAY))
def test_jitter_stays_within_a_fifth_and_retry_after_never_shortens(
    tries: int, draw: float, retry_after: int | None
) -> None:
    base = STANDARD_DELAYS[tries]
    at = next_due(STANDARD, tries, NOW, retry_after, lambda: draw)
    assert at is not None
    delay = at - NOW
    alone = next_due(STANDARD, tries, NOW, None, lambda: draw)
    assert alone is not None
    assert 0.8 * base - 1 <= alone - NOW <= 1.2 * base + 1
    asked = 0 if retry_after is None else min(retry_after, RETRY_AFTER_CAP)
    assert delay == max(alone - NOW, asked)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("120", 120_000),
        (" 7 ", 7_000),
        ("9" * 400, RETRY_AFTER_CAP),
        ("Mon, 20 Jan 2025 12:35:56 GMT", 60_000),
        ("Mon, 20 Jan 2025 12:00:00 GMT", 0),
        ("soon", None),
        ("-5", None),
        ("", None),
        ("１２", None),
    ],
)
def test_retry_after_reads_seconds_and_dates(text: str, expected: int | None) -> None:
    assert parse_retry_after(text, NOW) == expected


@given(st.text())
def test_retry_after_is_total(text: str) -> None:
    result = parse_retry_after(text, NOW)
    assert result is None or result >= 0


@pytest.mark.parametrize("retry_after", [None, 0, RETRY_AFTER_CAP, 99 * RETRY_AFTER_CAP])
@pytest.mark.parametrize("spread", [0.0, 0.5, 0.999999])
def test_no_attempt_is_later_than_the_span_of_its_schedule(retry_after: int | None, spread: float) -> None:
    at, tries = NOW, 1
    while (due := next_due(STANDARD, tries, at, retry_after, lambda: spread, since=NOW)) is not None:
        at, tries = due, tries + 1
    assert at - NOW <= span(STANDARD)
    if retry_after == RETRY_AFTER_CAP:
        assert at - NOW >= span(STANDARD) - RETRY_AFTER_CAP
