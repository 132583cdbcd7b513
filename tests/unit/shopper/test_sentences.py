"""Every kind has words, for one parcel and for several, in every language, whatever is known."""

from itertools import product

import pytest
from msgspec.structs import replace

from milepost.domain.notification import KINDS
from milepost.shopper.catalogues import LOCALES, catalogue
from milepost.shopper.sentences import Scene, Wording, wording_of

KNOWN = {
    "day": "Friday, January 23",
    "before": "Thursday, January 22",
    "attempt": 2,
    "undeliverable": True,
    "expected": True,
}


def scene(locale: str = "en", count: int = 1, **known: object) -> Scene:
    says = catalogue(locale)
    return replace(Scene(says, count, "Shop & Sons 100%", says.gettext("The carrier")), **known)


def texts(words: Wording) -> list[str]:
    return [words.subject, words.headline, *words.sentences]


@pytest.mark.parametrize(("locale", "kind"), [*product(LOCALES, KINDS)])
def test_every_kind_has_words(locale: str, kind: str) -> None:
    for count, known in product((1, 3), ({}, KNOWN)):
        words = wording_of(kind, scene(locale, count, **known))
        assert "Shop & Sons 100%" in words.subject
        assert words.sentences
        for text in texts(words):
            assert text
            assert "%(" not in text
            assert "  " not in text
        assert all(sentence.endswith(".") for sentence in words.sentences)
        assert not words.subject.endswith(".")


@pytest.mark.parametrize(("locale", "kind"), [*product(LOCALES, KINDS)])
def test_several_parcels_are_spoken_of_as_several(locale: str, kind: str) -> None:
    one, several = (texts(wording_of(kind, scene(locale, count))) for count in (1, 3))
    assert one != several
    assert "3" in " ".join(several)


@pytest.mark.parametrize("kind", KINDS)
def test_languages_differ(kind: str) -> None:
    english, spanish = (texts(wording_of(kind, scene(locale))) for locale in LOCALES)
    assert all(a != b for a, b in zip(english, spanish, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_said_to_be_today(kind: str) -> None:
    """A mail is read when it is read."""
    for known in ({}, KNOWN):
        said = " ".join(texts(wording_of(kind, scene(**known)))).lower()
        assert not [word for word in ("today", "tomorrow", "tonight", "yesterday", "soon as") if word in said]


@pytest.mark.parametrize(
    ("kind", "word"),
    [("delayed", "delay"), ("lost", "lost"), ("returning", "back"), ("cancelled", "cancelled")],
)
def test_bad_news_is_called_by_its_name(kind: str, word: str) -> None:
    assert word in wording_of(kind, scene()).headline


def test_what_is_known_is_said() -> None:
    assert "attempt number 2" in " ".join(wording_of("attempt_failed", scene(attempt=2)).sentences)
    assert "attempt number" not in " ".join(wording_of("attempt_failed", scene(attempt=1)).sentences)
    assert wording_of("delayed", scene()).sentences[-1] == "There is no new date yet."
    assert len(wording_of("delayed", scene(expected=True)).sentences) == 1
    assert "cannot be delivered" in wording_of("exception", scene(undeliverable=True)).sentences[0]


def test_a_kind_that_there_is_not() -> None:
    with pytest.raises(KeyError):
        wording_of("never_scanned", scene())
