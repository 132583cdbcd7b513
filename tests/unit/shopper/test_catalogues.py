"""Catalogues are whole: whatever the code and the templates say is translated, and filled in with the same things."""

import re
from io import BytesIO
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract
from babel.messages.pofile import read_po

import milepost.shopper
from milepost.shopper.catalogues import LOCALES, SOURCE, catalogue, nearest, source_of

PACKAGE = Path(milepost.shopper.__file__).parent
KEYWORDS = {"gettext": None, "ngettext": (1, 2), "one": None, "some": (1, 2)}
METHODS = {".py": "python", ".html": "jinja2.ext:babel_extract", ".txt": "jinja2.ext:babel_extract"}
OPTIONS = {".py": {}, ".html": {"silent": "false"}, ".txt": {"silent": "false"}}
TRANSLATED = [locale for locale in LOCALES if locale != SOURCE]

Key = str | tuple[str, ...]


def said() -> set[Key]:
    """Every message of the code and the templates."""
    found: set[Key] = set()
    for path in PACKAGE.rglob("*"):
        if (method := METHODS.get(path.suffix)) is not None:
            read = extract(method, BytesIO(path.read_bytes()), KEYWORDS, options=OPTIONS[path.suffix])
            found |= {key for _, key, _, _ in read}
    return found


def written(locale: str) -> Catalog:
    with source_of(locale).open("rb") as file:
        return read_po(file, locale=locale, abort_invalid=True)


def messages(locale: str) -> list[Message]:
    return [message for message in written(locale) if message.id]


def forms(text: Key) -> tuple[str, ...]:
    return (text,) if isinstance(text, str) else tuple(text)


def placeholders(text: str) -> list[str]:
    return sorted(re.findall(r"%\(\w+\)\w|%(?!\()", text))


def test_the_code_says_something() -> None:
    found = said()
    assert len(found) > 80
    assert "Track your order" in found
    assert ("Your parcel is delayed", "Your parcels are delayed") in found
    assert "Estimated delivery" in found, "the templates were not read"


@pytest.mark.parametrize("locale", TRANSLATED)
def test_what_is_said_is_in_the_catalogue_and_nothing_else(locale: str) -> None:
    known = {message.id for message in messages(locale)}
    assert said() - known == set(), "not translated"
    assert known - said() == set(), "nobody says this any more"
    assert not written(locale).obsolete


@pytest.mark.parametrize("locale", TRANSLATED)
def test_nothing_is_fuzzy_or_empty(locale: str) -> None:
    read = written(locale)
    for message in messages(locale):
        assert not message.fuzzy, message.id
        assert len(forms(message.string)) == (read.num_plurals if message.pluralizable else 1), message.id
        assert all(form.strip() for form in forms(message.string)), message.id
        assert list(message.check(read)) == [], message.id


@pytest.mark.parametrize("locale", TRANSLATED)
def test_placeholders_are_the_same(locale: str) -> None:
    for message in messages(locale):
        english = forms(message.id)
        for number, form in enumerate(forms(message.string)):
            assert placeholders(form) == placeholders(english[min(number, len(english) - 1)]), form


@pytest.mark.parametrize("locale", TRANSLATED)
def test_a_translation_differs_and_keeps_its_end(locale: str) -> None:
    """No English sentence was left, and a sentence stays one."""
    for message in messages(locale):
        for english, form in zip(forms(message.id), forms(message.string), strict=True):
            plain = re.sub(r"%\(\w+\)s", "", english)
            assert form != english or not re.search("[a-z]", plain), form
            assert form.endswith(".") == english.endswith("."), form


def test_a_catalogue_says_it_in_its_language() -> None:
    assert catalogue("en").gettext("Track your order") == "Track your order"
    assert catalogue("es").gettext("Track your order") == "Seguir tu pedido"
    assert (
        catalogue("es").ngettext("Your parcel is late", "Your parcels are late", 2)
        == "Tus paquetes llegan tarde"
    )
    assert catalogue("es") is catalogue("es")


@pytest.mark.parametrize(
    ("wanted", "locale"),
    [
        ("en", "en"),
        ("es", "es"),
        ("es-MX", "es"),
        ("es_419", "es"),
        (" ES ", "es"),
        ("en-GB", "en"),
        ("fr", "en"),
        ("", "en"),
        (None, "en"),
        ("../es", "en"),
    ],
)
def test_the_nearest_language(wanted: str | None, locale: str) -> None:
    assert nearest(wanted) == locale
