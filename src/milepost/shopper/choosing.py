"""The page on which a shopper says what they want to be written about: one page in every language, without a script.

It is reached by the link at the end of a mail. What the groups hold and what a pick means is `domain.choosing`'s; the
request and its answer are `milepost.web.unsubscribe`'s.
"""

from collections.abc import Callable, Mapping
from gettext import NullTranslations
from typing import Final, Literal

from msgspec import Struct

from milepost.shopper.catalogues import LOCALES, catalogue, nearest
from milepost.shopper.composing import Brand
from milepost.shopper.page import LANGUAGES, StyledPage, styled_page

State = Literal["asking", "saved", "silent"]
"""Before anything was done; what was picked is saved; nothing is sent any more."""


class _Choice(Struct, frozen=True):
    """One box to tick."""

    name: str
    label: str
    detail: str
    is_on: bool


def choosing_page(
    locale: str, brand: Brand, groups: Mapping[str, bool], state: State, *, blocked: bool
) -> StyledPage:
    """The page for a shopper who hears of these groups or not; `blocked`: nothing is sent to them, whatever they
    pick."""
    says = catalogue(nearest(locale))
    choices = [_Choice(name, *_GROUPS[name](says), is_on) for name, is_on in groups.items()]
    languages = [(tag, LANGUAGES[tag]) for tag in LOCALES]
    return styled_page(
        "choosing.html",
        locale,
        brand,
        languages=languages,
        choices=choices,
        state=state,
        blocked=blocked,
    )


def no_such_page(locale: str, brand: Brand) -> StyledPage:
    """The page for a link that is not good, or not any more."""
    return styled_page("no_link.html", locale, brand)


def _shipped(says: NullTranslations) -> tuple[str, str]:
    return says.gettext("Shipped"), says.gettext("When a parcel is on its way to you.")


def _arriving(says: NullTranslations) -> tuple[str, str]:
    return says.gettext("Out for delivery"), says.gettext("On the day on which it should arrive.")


def _delivered(says: NullTranslations) -> tuple[str, str]:
    return says.gettext("Delivered"), says.gettext("When a parcel, or the whole order, has arrived.")


def _pickup(says: NullTranslations) -> tuple[str, str]:
    return says.gettext("Ready for pickup"), says.gettext("When a parcel waits for you to fetch it.")


def _dates(says: NullTranslations) -> tuple[str, str]:
    return says.gettext("Delays"), says.gettext("When a parcel is late, or expected on another day.")


def _trouble(says: NullTranslations) -> tuple[str, str]:
    return (
        says.gettext("Problems"),
        says.gettext("When the carrier could not deliver, or needs something from you."),
    )


_GROUPS: Final[Mapping[str, Callable[[NullTranslations], tuple[str, str]]]] = {
    "shipped": _shipped,
    "arriving": _arriving,
    "delivered": _delivered,
    "pickup": _pickup,
    "dates": _dates,
    "trouble": _trouble,
}
"""Of each of `domain.choosing.GROUPS`: what it is called, and when it is written."""
