"""The languages that shoppers may read, and their gettext catalogues.

English is the language of the source, so it has no catalogue. Every other one is a `.po` file in `locales/`, as
translators write it; Babel compiles it in memory when it is first asked for, so that nothing built lies beside it.
What a message says is `sentences`' and the templates'.
"""

from functools import cache
from gettext import GNUTranslations, NullTranslations
from importlib import resources
from io import BytesIO
from typing import Final

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

SOURCE: Final = "en"
LOCALES: Final[tuple[str, ...]] = (SOURCE, "es")
"""Language tags. One more is one more name here and its `.po` file."""


def nearest(wanted: str | None) -> str:
    """The language that comes closest to a tag, as in es-MX or es_MX; English where none does."""
    language = _language(wanted or "")
    return language if language in LOCALES else SOURCE


def is_spoken(wanted: str) -> bool:
    """Whether there is a catalogue for the language of a tag."""
    return _language(wanted) in LOCALES


def _language(tag: str) -> str:
    return tag.replace("_", "-").partition("-")[0].strip().lower()


@cache
def catalogue(locale: str) -> NullTranslations:
    """The translations of one of `LOCALES`. What a catalogue lacks is said in English."""
    if locale == SOURCE:
        return NullTranslations()
    with source_of(locale).open("rb") as file:
        written = read_po(file, locale=locale)
    compiled = BytesIO()
    write_mo(compiled, written)
    compiled.seek(0)
    return GNUTranslations(compiled)


def source_of(locale: str) -> resources.abc.Traversable:
    """The `.po` file of a language."""
    return resources.files(__package__).joinpath("locales", f"{locale}.po")
