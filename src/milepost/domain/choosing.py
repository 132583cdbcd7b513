"""What a shopper picks from: kinds of notifications in groups that a person tells apart, and what a pick means.

What is switched off here is switched off for every channel: else the next channel would carry what a shopper does not
want any more. What choices are is `contact`'s; how a page of them looks is `milepost.shopper`'s.
"""

from collections.abc import Collection, Mapping
from typing import Final

from msgspec.structs import replace

from milepost.domain.contact import ALL, Choices
from milepost.domain.instant import Instant
from milepost.domain.notification import KINDS, Kind

GROUPS: Final[Mapping[str, tuple[Kind, ...]]] = {
    "shipped": ("shipped", "in_transit"),
    "arriving": ("out_for_delivery",),
    "delivered": ("delivered", "all_delivered", "correction"),
    "pickup": ("ready_for_pickup", "pickup_reminder"),
    "dates": ("delayed", "estimate_moved", "estimate_missed"),
    "trouble": ("attempt_failed", "customer_action", "exception", "returning", "lost", "cancelled"),
}
"""Every kind is in one of them."""


def offered(choices: Choices, switched_on: Collection[str]) -> dict[str, bool]:
    """The groups of which the shop tells anything, in their order, and whether the shopper hears of each by mail, of
    everything in it."""
    return {
        name: all(choices.wants(kind, "email") for kind in kinds)
        for name, kinds in GROUPS.items()
        if not frozenset(kinds).isdisjoint(switched_on)
    }


def picked(
    choices: Choices, switched_on: Collection[str], groups: Collection[str], locale: str | None, at: Instant
) -> Choices:
    """The choices of a shopper who was offered groups and wants to hear of these, in this language.

    Nothing wanted means nothing at all, also of kinds that the shop tells later."""
    wanted = {kind for name in groups for kind in GROUPS.get(name, ())}
    shown = {kind for name in offered(choices, switched_on) for kind in GROUPS[name]}
    if not wanted & shown:
        return silenced(replace(choices, locale=locale), at)
    before = set(choices.off) - {ALL} | (set(KINDS) if ALL in choices.off else set())
    kept = {each for each in before if each.partition("/")[0] not in shown or each.endswith("/webhook")}
    off = kept | (shown - wanted)
    return replace(choices, off=tuple(sorted(off)), locale=locale, changed_at=at)


def silenced(choices: Choices, at: Instant) -> Choices:
    """The choices of a shopper who wants no notification at all. Again changes nothing."""
    if ALL in choices.off:
        return choices
    return replace(choices, off=tuple(sorted({ALL, *choices.off})), changed_at=at)
