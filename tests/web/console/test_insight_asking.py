"""A filter out of an address and back: what is asked, within whose reach, and how it is said again."""

from datetime import date, timedelta
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from milepost.domain.errors import Invalid, NotFound
from milepost.domain.instant import parse_instant
from milepost.pipeline.insight_results import Filter
from milepost.web.console.insight_asking import PRESETS, Asked, asked_by
from milepost.web.visiting import Visitor

NOW = parse_instant("2026-11-26T09:00:00Z")
EVERYWHERE = Visitor("1", "Ada", "analyst", None)
BOUND = Visitor("2", "Bao", "analyst", frozenset({"bp-1", "bp-2"}))


def again(visitor: Visitor, asked: Asked) -> Asked:
    address = asked.address("/insights")
    return asked_by(visitor, dict(parse_qsl(urlsplit(address).query)), NOW)


def test_without_a_word_it_is_the_last_thirty_days_of_what_the_visitor_may_see() -> None:
    asked = asked_by(BOUND, {}, NOW)
    assert asked.filter == Filter(
        frozenset({"bp-1", "bp-2"}), since=date(2026, 10, 28), until=date(2026, 11, 26)
    )
    assert asked_by(EVERYWHERE, {}, NOW).filter.business_products is None


def test_empty_fields_of_the_form_ask_for_nothing() -> None:
    empty = dict.fromkeys(
        ("businessProductId", "carrier", "origin", "destination", "basis", "from", "to", "days"), ""
    )
    assert asked_by(EVERYWHERE, empty, NOW) == asked_by(EVERYWHERE, {}, NOW)


def test_a_business_product_of_others_is_not_there() -> None:
    assert asked_by(BOUND, {"businessProductId": "bp-2"}, NOW).filter.business_products == {"bp-2"}
    with pytest.raises(NotFound):
        asked_by(BOUND, {"businessProductId": "bp-3"}, NOW)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"basis": "returned"}, "basis"),
        ({"days": "lunar"}, "days"),
        ({"period": "12"}, "period"),
        ({"from": "yesterday"}, "from"),
        ({"to": "2026-13-01"}, "to"),
        ({"from": "2026-02-02", "to": "2026-02-01"}, "from"),
        ({"carrier": "x" * 300}, "carrier"),
        ({"carrier": "u\0ps"}, "carrier"),
    ],
)
def test_what_is_no_filter_is_refused_by_its_field(query: dict[str, str], field: str) -> None:
    with pytest.raises(Invalid) as refused:
        asked_by(EVERYWHERE, query, NOW)
    assert refused.value.context["field"] == field


def test_the_period_before_is_as_long_and_ends_the_day_before() -> None:
    asked = asked_by(EVERYWHERE, {"from": "2026-11-01", "to": "2026-11-07", "carrier": "ups"}, NOW)
    before = asked.before()
    assert before == Filter(None, "ups", since=date(2026, 10, 25), until=date(2026, 10, 31))
    assert asked_by(EVERYWHERE, {"period": "all"}, NOW).before() is None
    assert asked_by(EVERYWHERE, {"from": "2026-11-01"}, NOW).before() is None


def test_a_preset_keeps_the_rest_of_the_filter_and_takes_the_place_of_dates() -> None:
    asked = asked_by(EVERYWHERE, {"from": "2026-11-01", "destination": "OR"}, NOW)
    moved = asked_by(EVERYWHERE, dict(parse_qsl(urlsplit(asked.over("7")).query)), NOW)
    assert (moved.period, moved.filter.destination) == ("7", "OR")
    assert moved.filter.since == date(2026, 11, 20)


words = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1, max_size=20)
named = words.map(str.strip).filter(lambda word: word not in ("", "unknown"))
days = st.dates(date(2020, 1, 1), date(2030, 1, 1))


@given(
    visitor=st.sampled_from([EVERYWHERE, BOUND]),
    product=st.sampled_from(["", "bp-1"]),
    carrier=st.none() | named,
    places=st.tuples(st.none() | named, st.none() | named),
    basis=st.sampled_from(["ordered", "shipped", "delivered"]),
    length=st.sampled_from(["calendar", "business"]),
    period=st.sampled_from([name for name, _, _ in PRESETS]),
    since=st.none() | days,
    span=st.none() | st.integers(0, 400),
)
def test_an_address_asks_for_what_was_asked(
    visitor: Visitor,
    product: str,
    carrier: str | None,
    places: tuple[str | None, str | None],
    basis: str,
    length: str,
    period: str,
    since: date | None,
    span: int | None,
) -> None:
    query = {"basis": basis, "days": length, "period": period, "businessProductId": product}
    query |= {name: value for name, value in zip(("origin", "destination"), places, strict=True) if value}
    if carrier:
        query["carrier"] = carrier
    if since:
        query["from"] = since.isoformat()
        if span is not None:
            query["to"] = (since + timedelta(span)).isoformat()
    asked = asked_by(visitor, query, NOW)
    assert again(visitor, asked) == asked


def test_those_whose_region_nobody_knows_can_be_asked_for() -> None:
    asked = asked_by(EVERYWHERE, {"destination": "unknown"}, NOW)
    assert asked.filter.destination == ""
    assert again(EVERYWHERE, asked) == asked
