"""How a number is said: in its unit, with what it rests on, and never as more than it is."""

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milepost.pipeline.insight_results import Figure, Point, Unit
from milepost.web.console import insight_words as words


def figure(value: float | None = 0.6, unit: Unit = "share", **more: Any) -> Figure:
    told: dict[str, Any] = {"id": "on_time", "n": 10, "cohort": 10, "maturity": 1.0} | more
    return Figure(
        told.pop("id"),
        "On time",
        value,
        unit,
        6,
        10,
        told.pop("n"),
        told.pop("cohort"),
        told.pop("maturity"),
        "What it is.",
        **told,
    )


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.6, "share", "60.0 %"),
        (1.0, "days", "1.0 day"),
        (2.44, "days", "2.4 days"),
        (3.0, "hours", "3.0 hours"),
        (1204.0, "count", "1,204"),
        (1.5, "count", "1.5"),
        (250.0, "milliseconds", "250 ms"),
        (90_000.0, "milliseconds", "1.5 min"),
        (7_200_000.0, "milliseconds", "2.0 h"),
        (None, "share", "–"),
    ],
)
def test_a_value_in_its_unit(value: float | None, unit: Unit, text: str) -> None:
    assert words.valued(value, unit) == text


def test_a_percentile_over_too_few_says_over_how_many() -> None:
    assert words.told(figure(None, n=12, suppressed=True)) == "n = 12, fewer than 20"


def test_what_a_number_rests_on() -> None:
    assert words.resting(figure(n=1204)) == "n = 1,204"
    assert words.resting(figure(n=6, maturity=0.96)) == "n = 6 · 96 % decided"
    assert words.resting(figure(maturity=0.9999)) == "n = 10 · over 99 % decided"


@given(st.floats(0, 1))
def test_only_what_is_whole_is_called_so(maturity: float) -> None:
    said = words.resting(figure(maturity=maturity))
    assert ("decided" not in said) == (maturity == 1)
    assert "100 %" not in said
    assert ("· 0 %" in said) == (maturity == 0)


def test_more_on_time_is_good_and_more_exceptions_are_not() -> None:
    assert words.moved(figure(0.62), figure(0.6)) == ("+2.0 points", "good")
    assert words.moved(figure(0.58), figure(0.6)) == ("−2.0 points", "warn")
    assert words.moved(figure(0.1, id="exceptions"), figure(0.05)) == ("+5.0 points", "warn")
    assert words.moved(figure(2.0, "days"), figure(2.5, "days")) == ("−0.5", "good")
    assert words.moved(figure(0.6001), figure(0.6)) == ("unchanged", "neutral")


def test_without_both_there_is_nothing_to_compare() -> None:
    assert words.moved(figure(), None) is None
    assert words.moved(figure(None), figure()) is None
    assert words.moved(figure(), figure(None)) is None


def test_how_much_is_open_is_said_until_nearly_all_is_decided() -> None:
    assert words.undecided(figure(maturity=0.82)) == "18 %"
    assert words.undecided(figure(maturity=0.99)) == words.undecided(figure(maturity=None)) == ""


@pytest.mark.parametrize(
    ("since", "until", "text"),
    [
        (None, None, "of all time"),
        (date(2026, 11, 1), None, "shipped since 1 Nov 2026"),
        (None, date(2026, 11, 1), "shipped until 1 Nov 2026"),
        (date(2026, 10, 28), date(2026, 11, 26), "shipped from 28 Oct to 26 Nov 2026"),
        (date(2025, 12, 28), date(2026, 1, 3), "shipped from 28 Dec 2025 to 3 Jan 2026"),
    ],
)
def test_a_period_in_words(since: date | None, until: date | None, text: str) -> None:
    assert words.dated("shipped", since, until) == text


@pytest.mark.parametrize(
    ("start", "end", "text"),
    [
        (date(2026, 11, 3), date(2026, 11, 3), "3 Nov"),
        (date(2026, 11, 3), date(2026, 11, 9), "3 – 9 Nov"),
        (date(2026, 10, 28), date(2026, 11, 3), "28 Oct – 3 Nov"),
    ],
)
def test_a_point_of_a_trend_in_words(start: date, end: date, text: str) -> None:
    assert words.spanned(Point(start, end, figure())) == text
