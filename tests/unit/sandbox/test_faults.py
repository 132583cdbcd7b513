"""Faults as settings: what options say, what is refused, and that the page lists each."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from milepost.domain.errors import Invalid
from milepost.sandbox.faults import WORDS, Faults, changed, every_field, parse_options, parse_words

PAGE = Path(__file__).parents[3] / "docs" / "faults.md"


def test_options_say_what_is_wrong_and_how_often() -> None:
    options = [
        "duplicate=0.2",
        "duplicate-count=5",
        "tracker-null=120s",
        "delay=2h",
        "delay-types=PACKAGE_DELIVERED+DELIVERY_IN_TRANSIT",
        "drop",
        "api-down",
    ]
    assert parse_options(options) == Faults(
        duplicate=0.2,
        duplicate_count=5,
        tracker_null_seconds=120.0,
        delay_seconds=7200.0,
        delay_types=("PACKAGE_DELIVERED", "DELIVERY_IN_TRANSIT"),
        drop=1.0,
        api_down=True,
    )


@pytest.mark.parametrize(
    "option",
    [
        "dublicate=0.2",
        "duplicate=1.2",
        "duplicate=-1",
        "duplicate=often",
        "duplicate=nan",
        "duplicate-count=0",
        "duplicate-count=21",
        "tracker-null=120",
        "tracker-null",
        "tracker-null=-5s",
        "api-down=perhaps",
        "delay-types=PACKAGE_EATEN",
        "",
    ],
)
def test_a_wrong_option_is_named(option: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse_options([option])
    word = option.partition("=")[0]
    named = WORDS.get(word, word)
    assert named in refused.value.detail or word in refused.value.detail


@given(st.text(max_size=30))
def test_any_text_is_an_option_or_refused(text: str) -> None:
    try:
        parse_options([text])
    except Invalid:
        return
    assert text.partition("=")[0].strip() in WORDS


@given(
    st.dictionaries(
        st.sampled_from(list(WORDS)), st.none() | st.booleans() | st.floats() | st.text(), max_size=4
    )
)
def test_any_words_of_a_file_are_faults_or_refused(words: dict[str, Any]) -> None:
    try:
        faults = parse_words(words)
    except Invalid:
        return
    assert msgspec.json.decode(msgspec.json.encode(faults), type=Faults) == faults


def test_a_document_replaces_what_it_names_and_leaves_the_others() -> None:
    faults = changed(Faults(drop=0.5, throttling=True), {"throttling": False, "slowSeconds": 2})
    assert faults == Faults(drop=0.5, slow_seconds=2.0)


@pytest.mark.parametrize("document", [{"droop": 1}, {"drop": "often"}, {"drop": 2}, {"slowSeconds": -1}])
def test_a_wrong_document_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(Invalid):
        changed(Faults(), document)


def test_an_orders_own_faults_count_where_they_say_something() -> None:
    everybody = Faults(duplicate=0.2, drop=0.1)
    assert everybody.over(Faults(drop=0.9)) == Faults(duplicate=0.2, drop=0.9)
    assert everybody.over(Faults()) == everybody


def test_the_page_lists_every_word_and_every_field() -> None:
    text = PAGE.read_text()
    assert set(re.findall(r"^\| `([a-z-]+)[^`]*` \|", text, re.MULTILINE)) == set(WORDS)
    for field in every_field(Faults()):
        assert f"`{field}`" in text
