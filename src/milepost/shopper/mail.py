"""The two parts of a mail, text and HTML, from its templates.

The HTML is what mail programs understand: tables, styles in the tags, at most 600 pixels wide, nothing that would
have to be fetched. Light colours stand in the tags; a style sheet with `prefers-color-scheme: dark` puts others in
their place where a program can. What goes into HTML is escaped, what goes into text is one line already.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from msgspec import Struct

from milepost.shopper.catalogues import catalogue
from milepost.shopper.colours import on, readable
from milepost.shopper.parcels import Parcel

_LIGHT: Final = {
    "page": "#f1f3f5",
    "card": "#ffffff",
    "box": "#f6f7f9",
    "ink": "#1d2025",
    "quiet": "#58606b",
    "rule": "#dce0e5",
    "faint": "#8d95a1",
}
_DARK: Final = {
    "page": "#121417",
    "card": "#1d2025",
    "box": "#272b32",
    "ink": "#eceef1",
    "quiet": "#a9b0bb",
    "rule": "#3b414a",
    "faint": "#6d7581",
}
"""What the templates call their colours. The shop's is joined to them as `accent`, what is written on it as `on`."""
_HARDEST: Final = (_LIGHT["page"], _DARK["box"])
"""Of each scheme, the background on which a coloured text is hardest to read."""


class Button(Struct, frozen=True):
    """The one thing to do."""

    label: str
    url: str


class Mail(Struct, frozen=True):
    """What the templates are given; empty texts are left out."""

    locale: str
    subject: str
    preheader: str
    headline: str
    sentences: Sequence[str]
    parcels: Sequence[Parcel]
    more: int
    """How many parcels are not shown."""
    order_name: str
    shop_name: str
    shop_url: str
    color: str
    support_email: str
    button: Button | None
    tracking: str
    unsubscribe: str


def text_of(mail: Mail) -> str:
    """The part for those who read plain text."""
    return _rendered("mail.txt", mail).strip() + "\n"


def html_of(mail: Mail) -> str:
    """The part for everybody else."""
    light, dark = (
        scheme | {"accent": (accent := readable(mail.color, hardest)), "on": on(accent)}
        for scheme, hardest in zip((_LIGHT, _DARK), _HARDEST, strict=True)
    )
    return _rendered("mail.html", mail, light=light, dark=dark)


def _rendered(template: str, mail: Mail, **more: Mapping[str, str]) -> str:
    given: dict[str, Any] = {name: getattr(mail, name) for name in mail.__struct_fields__}
    return environment(mail.locale).get_template(template).render(given, **more)


@cache
def environment(locale: str) -> Environment:
    """The templates, in one of `catalogues.LOCALES`."""
    environment = Environment(
        loader=PackageLoader(__package__),
        autoescape=select_autoescape(disabled_extensions=("txt",), default=True),
        extensions=["jinja2.ext.i18n"],
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    says = catalogue(locale)
    environment.install_gettext_callables(says.gettext, says.ngettext, newstyle=True)  # type: ignore[attr-defined]
    return environment
