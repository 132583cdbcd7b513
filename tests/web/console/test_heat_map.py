"""Heat maps and ageing grids: what is tinted, and that every number can be read and opened."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milepost.web.console.heat_map import LEVELS, Cell, ageing, heat
from milepost.web.console.pages import environment


def levels(values: list[float | None], worst: object = None) -> list[int]:
    cells = [None if value is None else Cell(value, f"{value}") for value in values]
    return [level for _, level in heat("Title", "Lane", ["c"], [("row", cells)], worst=worst).rows[0][1]]  # type: ignore[arg-type]


@given(st.lists(st.none() | st.floats(0, 100), min_size=1, max_size=30))
def test_higher_values_have_higher_levels_and_what_is_unknown_has_none(values: list[float | None]) -> None:
    found = levels(values)
    assert all(0 <= level <= LEVELS for level in found)
    known = sorted((value, level) for value, level in zip(values, found, strict=True) if value is not None)
    assert [level for _, level in known] == sorted(level for _, level in known)
    assert all(not level for value, level in zip(values, found, strict=True) if value is None)


def test_the_bad_end_is_tinted() -> None:
    assert levels([97.0, 92.0, 81.0]) == [5, 3, 0]
    assert levels([97.0, 92.0, 81.0], "low") == [0, 2, 5]
    assert levels([97.0, 92.0, 81.0], "high") == [5, 3, 0]
    assert levels([7.0, 7.0]) == [0, 0], "where all are alike there is nothing to notice"
    assert heat("T", "L", [], [], worst="low").tone == "bad"
    assert heat("T", "L", [], []).tone == "accent"


def test_what_is_too_little_to_be_said_counts_for_no_other_cell() -> None:
    thin = Cell(None, "–", "n 3")
    chart = heat(
        "T", "L", ["a", "b", "c"], [("UPS", [thin, Cell(80, "80 %"), Cell(90, "90 %")])], worst="low"
    )
    assert [level for _, level in chart.rows[0][1]] == [0, 5, 0]


@given(st.lists(st.integers(0, 1_000), min_size=1, max_size=8))
def test_an_ageing_grid_adds_up_and_opens_its_rows(counts: list[int]) -> None:
    ages = [f"{n} d" for n in range(len(counts))]
    chart = ageing("Ages", "Stage", ages, [("In transit", [(count, f"/rows/{count}") for count in counts])])
    (name, cells) = chart.rows[0]
    assert (name, chart.columns) == ("In transit", [*ages, "All"])
    total = cells[-1][0]
    assert total is not None
    assert total.value == sum(counts)
    for (cell, level), count in zip(cells, counts, strict=False):
        assert (cell is None) == (count == 0)
        assert cell is None or (cell.value, cell.href) == (count, f"/rows/{count}")
        assert (level > 0) == (count > 0)


@pytest.mark.parametrize("evil", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>'])
def test_what_stands_in_a_cell_is_text(evil: str) -> None:
    chart = heat(evil, evil, [evil], [(evil, [Cell(1, evil, evil)])])
    source = "{% import 'charts.html' as charts %}{{ charts.heat(chart) }}"
    page = environment.from_string(source).render(chart=chart)
    assert "<script" not in page
    assert "<img" not in page
    assert page.count("&lt;") >= 6
