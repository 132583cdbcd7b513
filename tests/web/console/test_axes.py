"""Axes, held against what an axis has to do: enclose what stands on it, in few round numbers at one distance."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milepost.web.console.axes import HEIGHT, LABELS, Scale, labelled, percent, plain, share_of, ticks

numbers = st.floats(-1e9, 1e9, allow_nan=False).map(lambda value: round(value, 6))
few = st.integers(3, 12)


def is_round(step: float) -> bool:
    """1, 2, 2.5 or 5 times a power of ten."""
    lead = step / 10.0 ** math.floor(math.log10(step) + 1e-9)
    return any(math.isclose(lead, base, rel_tol=1e-6) for base in (1, 2, 2.5, 5, 10))


@given(numbers, numbers, few)
def test_ticks_enclose_the_range_in_few_round_numbers(one: float, other: float, most: int) -> None:
    low, high = sorted((one, other))
    found = ticks(low, high, most)
    slack = 1e-6 * max(abs(low), abs(high), 1.0)
    assert 2 <= len(found) <= most
    assert found[0] <= low + slack
    assert found[-1] >= high - slack
    steps = [after - before for before, after in itertools.pairwise(found)]
    assert all(math.isclose(step, steps[0], rel_tol=1e-6, abs_tol=1e-9) for step in steps)
    assert is_round(steps[0]), steps[0]
    assert 0.0 in found or not low <= 0.0 <= high, "what crosses nothing has a tick there"


@given(st.integers(0, 10**9), few)
def test_counts_have_whole_ticks(high: int, most: int) -> None:
    found = ticks(0, high, most, whole=True)
    assert all(not value % 1 for value in found)
    assert found[0] == 0
    assert found[-1] >= high
    assert len(found) <= most


@given(numbers.filter(lambda value: abs(value) > 0.001), few)
def test_no_more_room_is_left_than_a_step(high: float, most: int) -> None:
    low, high = min(0.0, high), max(0.0, high)
    found = ticks(low, high, most)
    step = found[1] - found[0]
    assert found[-1] - high < step * (1 + 1e-6)
    assert low - found[0] < step * (1 + 1e-6)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 100, [0, 25, 50, 75, 100]),
        (0, 0, [0, 0.25, 0.5, 0.75, 1]),
        (7, 7, [0, 2, 4, 6, 8]),
        (0, 0.3, [0, 0.1, 0.2, 0.3]),
        (91.5, 98.2, [90, 92, 94, 96, 98, 100]),
        (-3, 4, [-4, -2, 0, 2, 4]),
    ],
)
def test_ticks_are_those_that_a_person_would_choose(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high, max(5, len(expected))) == expected


@pytest.mark.parametrize(("low", "high", "most"), [(2, 1, 5), (0, math.inf, 5), (math.nan, 1, 5), (0, 1, 2)])
def test_what_is_no_range_is_refused(low: float, high: float, most: int) -> None:
    with pytest.raises(ValueError, match="no ticks"):
        ticks(low, high, most)


@given(st.lists(numbers, min_size=1, max_size=20))
def test_every_value_stands_inside_the_plot_and_higher_ones_higher(values: list[float]) -> None:
    scale = Scale(values, 0.0, None)
    heights = [scale.y(value) for value in sorted(values)]
    assert all(-0.01 <= height <= HEIGHT + 0.01 for height in heights)
    assert heights == sorted(heights, reverse=True)


@given(st.integers(0, 400))
def test_labels_are_few_and_the_last_is_always_there(count: int) -> None:
    texts = [f"day {number}" for number in range(count)]
    found = labelled(texts, [percent((place + 0.5) / count) for place in range(count)])
    assert len(found) <= LABELS
    assert [label.text for label in found[-1:]] == texts[-1:]
    assert len({label.text for label in found}) == len(found)
    narrow = [label for label in found if not label.is_wide]
    assert not found or narrow[-1] == found[-1], "a phone shows the last one too"
    assert len(narrow) <= LABELS // 2 + 1


def test_a_word_at_an_edge_stays_inside() -> None:
    assert [label.anchor for label in labelled(["a", "b", "c"], [1.0, 50.0, 99.0])] == [
        "start",
        "middle",
        "end",
    ]


@pytest.mark.parametrize(
    ("value", "said"), [(1204, "1,204"), (2.5, "2.5"), (2.0, "2"), (1 / 3, "0.33"), (0, "0"), (-1.2, "-1.2")]
)
def test_numbers_have_no_more_decimals_than_they_need(value: float, said: str) -> None:
    assert plain(value) == said


def test_a_share_of_nothing_is_not_a_number() -> None:
    assert (share_of(1, 3), share_of(0, 7), share_of(0, 0)) == ("33.3 %", "0.0 %", "–")
