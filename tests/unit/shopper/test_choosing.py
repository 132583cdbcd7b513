"""The shopper's page: every text of it in every language, its style sheet named, whatever a shop is called."""

import re

import pytest
from jinja2 import Environment

from milepost.domain.choosing import GROUPS
from milepost.shopper import choosing
from milepost.shopper.catalogues import LOCALES, SOURCE, catalogue
from milepost.shopper.choosing import State, choosing_page, no_such_page
from milepost.shopper.composing import Brand
from milepost.shopper.mail import environment
from milepost.shopper.page import LANGUAGES

BRAND = Brand("Kettle", "https://shop.example", "#2457a6", "help@shop.example", None)
STATES: tuple[State, ...] = ("asking", "saved", "silent")


def sentences() -> set[str]:
    """What the page says, in the source's language."""
    found: set[str] = set()
    source = environment(SOURCE)
    assert source.loader is not None
    for name in ("page.html", "choosing.html", "no_link.html"):
        text, _, _ = source.loader.get_source(source, name)
        taken = Environment(extensions=["jinja2.ext.i18n"], autoescape=True).extract_translations(text)  # type: ignore[attr-defined]
        found |= {message if isinstance(message, str) else message[0] for _, _, message in taken}
    for words in choosing._GROUPS.values():
        found |= set(words(catalogue(SOURCE)))
    return found


@pytest.mark.parametrize("locale", [locale for locale in LOCALES if locale != SOURCE])
def test_every_sentence_is_translated(locale: str) -> None:
    says = catalogue(locale)
    assert len(sentences()) > 20
    assert [text for text in sentences() if says.gettext(text) == text] == []


def test_every_language_and_every_group_has_a_name() -> None:
    assert set(LANGUAGES) == set(LOCALES)
    assert set(choosing._GROUPS) == set(GROUPS)


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("locale", LOCALES)
def test_boxes_stand_as_they_are_given(locale: str, state: State) -> None:
    page = choosing_page(locale, BRAND, {"dates": True, "pickup": False}, state, blocked=False)
    boxes = re.findall(r'name="group" value="(\w+)"( checked)?>', page.html)
    assert boxes == [("dates", " checked"), ("pickup", "")]
    assert f'<html lang="{locale}">' in page.html
    assert f'<option value="{locale}" lang="{locale}" selected>' in page.html


def test_what_a_shop_is_called_stays_text() -> None:
    evil = Brand("</style><script>x</script>", "javascript:alert(1)", "#ffffff", '"><b>', None)
    for page in (choosing_page("en", evil, {}, "silent", blocked=True), no_such_page("es", evil)):
        assert "<script" not in page.html
        assert "javascript:" not in page.html
        assert "<b>" not in page.html
        assert page.html.count("</style>") == 1


def test_the_hash_goes_with_the_colours() -> None:
    hashes = {
        no_such_page("en", Brand("Kettle", None, color, None, None)).style_hash
        for color in ("#000000", "#ffe600", "#ffffff")
    }
    assert len(hashes) == 3
