"""Days and windows in words: the local date as it was written, a range, hours only where their zone was written."""

from typing import Any

import pytest

from milepost.shopper.catalogues import catalogue
from milepost.shopper.dates import Window, day_text, window_of


def estimate(earliest: str | None, latest: str | None) -> dict[str, Any]:
    """As views write one: the day is that of the text."""
    days = {"earliestDate": earliest and earliest[:10], "latestDate": latest and latest[:10]}
    return {"earliest": earliest, "latest": latest, **days}


def text(earliest: str | None, latest: str | None, locale: str = "en") -> str:
    window = window_of(estimate(earliest, latest), catalogue(locale), locale)
    return "" if window is None else window.text.replace("\u00a0", " ").replace("\u202f", " ")


@pytest.mark.parametrize(
    ("locale", "expected"), [("en", "Thursday, January 22"), ("es", "jueves 22 de enero")]
)
def test_a_day_is_written_as_people_write_it(locale: str, expected: str) -> None:
    assert day_text("2026-01-22", catalogue(locale), locale) == expected


@pytest.mark.parametrize("day", ["", None, "soon", "2026-02-30", "2026-01-22T10:00:00Z", 7])
def test_what_is_no_day_is_nothing(day: object) -> None:
    assert day_text(day, catalogue("en"), "en") == ""


def test_scenario_18_a_date_alone_is_that_date_for_whoever_looks() -> None:
    assert text("2026-01-22", "2026-01-22") == "Thursday, January 22"


def test_a_window_is_a_range() -> None:
    assert text("2026-01-22", "2026-01-24") == "Thursday, January 22 – Saturday, January 24"
    assert text("2026-01-30", "2026-02-02", "es") == "viernes 30 de enero – lunes 2 de febrero"


def test_one_end_of_a_window_says_which() -> None:
    assert text(None, "2026-01-24") == "by Saturday, January 24"
    assert text("2026-01-22", None) == "from Thursday, January 22"
    assert text(None, "2026-01-24", "es") == "a más tardar el sábado 24 de enero"


def test_hours_are_told_where_their_zone_was_written() -> None:
    assert (
        text("2026-01-22T14:00:00-08:00", "2026-01-22T18:00:00-08:00")
        == "Thursday, January 22, 2:00 PM – 6:00 PM"
    )
    assert (
        text("2026-01-22T14:00:00+01:00", "2026-01-22T18:00:00+01:00", "es")
        == "jueves 22 de enero, 14:00 – 18:00"
    )


@pytest.mark.parametrize(
    ("earliest", "latest"),
    [
        ("2026-01-22T14:00:00Z", "2026-01-22T18:00:00Z"),
        ("2026-01-22T14:00:00", "2026-01-22T18:00:00"),
        ("2026-01-22T00:00:00-08:00", "2026-01-22T23:59:59-08:00"),
        ("2026-01-22T18:00:00-08:00", "2026-01-22T18:00:00-08:00"),
        ("2026-01-22", "2026-01-22T18:00:00-08:00"),
    ],
)
def test_other_hours_are_not(earliest: str, latest: str) -> None:
    assert text(earliest, latest) == "Thursday, January 22"


def test_hours_of_different_days_are_left_out() -> None:
    assert (
        text("2026-01-22T14:00:00-08:00", "2026-01-23T18:00:00-08:00")
        == "Thursday, January 22 – Friday, January 23"
    )


def test_nothing_is_expected_where_nothing_is_known() -> None:
    assert window_of(None, catalogue("en"), "en") is None
    assert window_of(estimate(None, None), catalogue("en"), "en") is None


def test_a_line_is_not_broken_within_a_day() -> None:
    window = window_of(estimate("2026-01-22", "2026-01-24"), catalogue("en"), "en")
    assert window == Window(
        days := "Thursday,\u00a0January\u00a022 – Saturday,\u00a0January\u00a024", text=days
    )
