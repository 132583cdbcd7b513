"""Charts: what they draw is what they were given, nothing is drawn where nothing is known, and text stays text."""

import re
from html import escape
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milepost.web.console import charts
from milepost.web.console.axes import HEIGHT
from milepost.web.console.charts import Bar, Bin, Marker, Point, Series, Share
from milepost.web.console.pages import environment

counts = st.lists(st.integers(0, 10_000), min_size=1, max_size=40)
values = st.lists(st.none() | st.floats(0, 1e6), min_size=1, max_size=60)
EVIL = "</title><script>alert(1)</script>\" onload='x'"


def draw(macro: str, chart: object) -> str:
    source = "{% import 'charts.html' as charts %}{{ charts[macro](chart) }}"
    return environment.from_string(source).render(macro=macro, chart=chart)


def points(given: list[float | None]) -> list[Point]:
    return [Point(f"day {number}", value, f"of {number}") for number, value in enumerate(given)]


def spots(paths: list[str]) -> list[tuple[float, float]]:
    """The corners of some paths."""
    return [
        (float(x), float(y)) for path in paths for x, y in re.findall(r"[ML](-?[\d.e+]+),(-?[\d.e+]+)", path)
    ]


@given(values)
def test_a_line_goes_through_every_value_and_through_nothing_else(given: list[float | None]) -> None:
    chart = charts.line("Title", [Series("Name", points(given))])
    drawn = spots([stroke.line for stroke in chart.strokes])
    assert len(drawn) == sum(value is not None for value in given)
    assert all(0 <= x <= 100 and -0.01 <= y <= HEIGHT + 0.01 for x, y in drawn)
    gaps = sum(
        value is None and other is not None for value, other in zip([None, *given], given, strict=False)
    )
    assert len(chart.strokes) == gaps
    assert [hit.says[0] for hit in chart.hits] == [point.label for point in points(given)]
    assert [len(hit.dots) for hit in chart.hits] == [int(value is not None) for value in given]


@given(values)
def test_hits_cover_the_whole_width_once(given: list[float | None]) -> None:
    chart = charts.line("Title", [Series("Name", points(given))])
    assert chart.hits[0].x == pytest.approx(0, abs=0.01)
    assert chart.hits[-1].x + chart.hits[-1].width == pytest.approx(100, abs=0.01)
    for one, following in zip(chart.hits, chart.hits[1:], strict=False):
        assert one.x + one.width == pytest.approx(following.x, abs=0.01)


def test_what_is_not_mature_yet_is_marked_and_said() -> None:
    given = [Point("Mon", 90.0), Point("Tue", 95.0, "19 of 20", "/rows"), Point("Wed", 40.0, is_mature=False)]
    chart = charts.line("On time", [Series("On time", given)], say=lambda v: f"{v:.0f} %", high=100)
    assert chart.open_from == pytest.approx(66.667)
    assert chart.hits[1].says == ("Tue", "95 % (19 of 20)")
    assert chart.hits[2].says == ("Wed", "40 %", "may still change")
    assert chart.ticks[-1].text == "0 %" or chart.ticks[0].text == "0 %"
    assert chart.about == "On time: 90 % on Mon, 40 % on Wed, between 40 % and 95 %."
    page = draw("line", chart)
    assert 'class="young"' in page
    assert "may still change" in page
    assert '<a href="/rows">95 %</a>' in page
    assert charts.line("On time", [Series("On time", given[:2])]).open_from is None


def test_a_value_alone_between_gaps_is_a_dot() -> None:
    chart = charts.line("Title", [Series("Name", points([None, 5.0, None]))])
    assert [stroke.dot is not None for stroke in chart.strokes] == [True]
    assert draw("line", chart).count("<circle") == 2, "the dot, and the one under the pointer"


def test_a_chart_without_values_says_so() -> None:
    nothing = charts.line("Title", [Series("Name", points([None, None]))])
    assert nothing.about == "There are no values."
    for macro, chart in (
        ("line", nothing),
        ("line", charts.line("Title", [])),
        ("histogram", charts.histogram("Title", [])),
    ):
        page = draw(macro, chart)
        assert "Nothing to draw" in page
        assert 'role="img"' not in page


def test_series_of_one_chart_have_the_same_days() -> None:
    with pytest.raises(ValueError, match="one point for each day"):
        charts.line("Title", [Series("a", points([1.0])), Series("b", points([1.0, 2.0]))])


@given(counts)
def test_a_histogram_has_a_bar_for_each_bin_as_high_as_its_count(given: list[int]) -> None:
    chart = charts.histogram("Title", [Bin(n, n + 1, count) for n, count in enumerate(given)])
    for bar in chart.bars:
        assert bar.y + bar.height == pytest.approx(HEIGHT, abs=0.02)
    assert sum(bar.width for bar in chart.bars) == pytest.approx(100, abs=0.1)
    heights = [bar.height for bar in chart.bars]
    top = max(given)
    if top:
        tallest = max(heights)
        for height, count in zip(heights, given, strict=True):
            assert height == pytest.approx(tallest * count / top, abs=0.02)
    assert all(tick.text.replace(",", "").isdigit() for tick in chart.ticks), "there are no half parcels"


def test_markers_of_a_histogram_stand_where_they_belong_and_do_not_overlap() -> None:
    markers = [Marker("p50", 2.0), Marker("p90", 9.0), Marker("p99", 40.0)]
    chart = charts.histogram("Days", [Bin(n, n + 1, n) for n in range(10)], markers)
    assert [(line.at, line.anchor) for line in chart.lines] == [
        (20.0, "start"),
        (90.0, "end"),
        (100.0, "end"),
    ]
    assert len({line.row for line in chart.lines}) == 3
    assert chart.about == "45 values; p50 2, p90 9, p99 40."


@given(st.lists(st.floats(0, 1e6), max_size=20))
def test_bars_are_as_wide_as_their_share_of_the_largest(given: list[float]) -> None:
    chart = charts.bars("Title", [Bar(f"bar {n}", value) for n, value in enumerate(given)])
    assert all(0 <= width <= 100 for _, width, _ in chart.rows)
    if given and max(given):
        assert max(width for _, width, _ in chart.rows) == 100
        for (_, width, _), value in zip(chart.rows, given, strict=True):
            assert width == pytest.approx(100 * value / max(given), abs=0.001)


@given(counts)
def test_shares_lie_beside_each_other_and_make_a_whole(given: list[int]) -> None:
    chart = charts.shares("Title", [Share(f"share {n}", count) for n, count in enumerate(given)])
    left = 0.0
    for (_, at, width, _), count in zip(chart.parts, given, strict=True):
        assert at == pytest.approx(left, abs=0.05)
        assert width == pytest.approx(100 * count / sum(given), abs=0.001) if sum(given) else width == 0
        left += width
    assert left == pytest.approx(100 if sum(given) else 0, abs=0.1)


@given(values)
def test_a_sparkline_stays_in_its_box(given: list[float | None]) -> None:
    chart = charts.sparkline(given)
    drawn = spots([chart.line])
    known = sum(value is not None for value in given)
    assert len(drawn) == (known if known >= 2 else 0)
    assert all(0 <= x <= 100 and 0 <= y <= 24 for x, y in drawn)


@pytest.mark.parametrize(
    ("macro", "chart"),
    [
        (
            "line",
            charts.line(EVIL, [Series(EVIL, [Point(EVIL, 1.0, EVIL), Point(EVIL, 2.0)])], say=lambda _: EVIL),
        ),
        ("histogram", charts.histogram(EVIL, [Bin(0, 1, 5)], [Marker(EVIL, 0.5)], say=lambda _: EVIL)),
        ("bars", charts.bars(EVIL, [Bar(EVIL, 1, EVIL)], say=lambda _: EVIL)),
        ("shares", charts.shares(EVIL, [Share(EVIL, 1)])),
        ("sparkline", charts.sparkline([1, 2], say=lambda _: EVIL)),
    ],
    ids=lambda given: given if isinstance(given, str) else "",
)
def test_what_a_chart_is_told_is_text(macro: str, chart: object) -> None:
    page = draw(macro, chart)
    assert escape(EVIL).replace("&quot;", "&#34;").replace("&#x27;", "&#39;") in page
    assert "<script" not in page
    assert "style=" not in page
    tree = ElementTree.fromstring(f"<x>{page}</x>")
    assert not [each for each in tree.iter() if "onload" in each.attrib]


def test_a_picture_has_a_title_a_description_and_a_table_of_its_numbers() -> None:
    page = ElementTree.fromstring(
        draw("line", charts.line("On time", [Series("On time", points([1.0, 2.0]))]))
    )
    (picture,) = page.iterfind(".//svg[@role='img']")
    assert picture.findtext("title") == "On time"
    assert picture.findtext("desc") == "On time: 1 on day 0, 2 on day 1, between 1 and 2."
    cells = [" ".join("".join(cell.itertext()).split()) for cell in page.iterfind(".//tbody/tr/td")]
    assert cells == ["day 0", "1 of 0", "day 1", "2 of 1"]
