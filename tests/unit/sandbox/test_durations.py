"""Lengths of time as people write them."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milepost.domain.errors import Invalid
from milepost.domain.instant import DAY, HOUR, MINUTE, SECOND
from milepost.sandbox.durations import parse_duration, parse_range


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("90s", 90 * SECOND),
        ("1d12h30m", DAY + 12 * HOUR + 30 * MINUTE),
        ("1.5h", 90 * MINUTE),
        ("-10m", -10 * MINUTE),
        ("5ms", 5),
        (250, 250),
    ],
)
def test_a_length(text: object, length: int) -> None:
    assert parse_duration(text) == length


@pytest.mark.parametrize("text", ["", "5", "h", "2 h", "1h-2h", "9999999d", True, None, 1.5])
def test_what_is_no_length_is_refused(text: object) -> None:
    with pytest.raises(Invalid):
        parse_duration(text)


@given(st.text() | st.integers() | st.floats() | st.none())
def test_anything_is_a_length_or_refused(value: object) -> None:
    with suppress(Invalid):
        assert abs(parse_duration(value)) <= 400 * DAY


def test_a_range() -> None:
    assert parse_range("2h..10h") == (2 * HOUR, 10 * HOUR)
    assert parse_range("2h") == (2 * HOUR, 2 * HOUR)
    with pytest.raises(Invalid, match="ends before"):
        parse_range("3h..2h")
