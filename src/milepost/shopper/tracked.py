"""Where each parcel of an order stands, in a shopper's words: what the tracking page shows (tracking.md 6).

Made from the order's view. What stands is told in our own sentences, since a carrier's may hold a name or a door;
where it happened only on the way, not where it is brought: that is where the shopper lives. No condition, no note, no
customer, no price gets out. A code that Milepost does not know is left out.

Days are those that were written where the parcel was (tracking.md 9.1). A time of day is told where the zone is
known.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from gettext import NullTranslations
from typing import Any, Final, Literal

from babel.dates import format_time
from msgspec import Struct

from milepost.domain.delivery_news import State, open_conditions, scans_of, states_of
from milepost.domain.instant import Instant
from milepost.shopper.dates import day_text
from milepost.shopper.local_days import delivered_day, is_estimate_over, moment_of
from milepost.shopper.parcels import Parcel, one_line, parcel_of

Document = Mapping[str, Any]
Tone = Literal["good", "active", "quiet", "bad"]

RECENT: Final = 3
"""So many of the newest events are shown at once; older ones a click away."""
_WHERE_IT_LIVES: Final = frozenset(
    {"OUT_FOR_DELIVERY", "AVAILABLE_FOR_PICKUP", "DELIVERY_ATTEMPTED", "DELIVERED", "CUSTOMER_ACTION"}
)


class Moment(Struct, frozen=True):
    """Something that happened; time and place are empty where they are not known, or not told."""

    time: str
    text: str
    place: str


class Day(Struct, frozen=True):
    """A local day, newest first, and what happened on it, newest first."""

    name: str
    moments: Sequence[Moment]


class Package(Struct, frozen=True):
    """One delivery, as its card shows it."""

    headline: str
    tone: Tone
    sentence: str
    """What follows from it; empty where the headline says it all."""
    warnings: Sequence[str]
    parcel: Parcel
    recent: Sequence[Day]
    earlier: Sequence[Day]
    steps_matter: bool
    """Whether the four steps still say something: not of what was cancelled, lost or sent back."""


class Tracked(Struct, frozen=True):
    """An order, as the page shows it."""

    name: str
    """What the shopper knows it by."""
    headline: str
    window: str
    """When the rest of it is expected; empty when nobody knows."""
    packages: Sequence[Package]


class _Standing(Struct, frozen=True):
    key: str
    tone: Tone
    day: str = ""


def tracked_of(order: Document, says: NullTranslations, locale: str, now: Instant) -> Tracked:
    """An order's view as its shopper sees it."""
    titles = {item["id"]: item for item in order["lineItems"]}
    packages = [_package(delivery, titles, says, locale, now) for delivery in order["deliveries"]]
    name = one_line(next((alias["aliasId"] for alias in order["aliases"]), order["id"]), 64)
    windows = {p.parcel.window.text for p in packages if p.parcel.window is not None}
    window = windows.pop() if len(windows) == 1 else ""
    return Tracked(name, _headline(packages, order["summary"], says), window, packages)


def _headline(packages: Sequence[Package], summary: Document, says: NullTranslations) -> str:
    if not packages:
        return says.gettext("Your order is being prepared")
    headlines = {package.headline for package in packages}
    if len(packages) == 1 or len(headlines) == 1:
        return packages[0].headline
    return says.gettext("%(delivered)s of %(count)s parcels delivered") % {
        "delivered": summary["delivered"],
        "count": summary["deliveries"] - summary["cancelled"],
    }


def _package(
    delivery: Document, titles: Mapping[str, Document], says: NullTranslations, locale: str, now: Instant
) -> Package:
    standing = _standing(delivery)
    headline, sentence = _HEADLINES[standing.key](says)
    if standing.day:
        day = day_text(standing.day, says, locale)
        headline = says.gettext("%(headline)s on %(day)s") % {"headline": headline, "day": day}
    moments = _moments(delivery, says, locale)
    is_estimated = standing.key not in _NOT_ESTIMATED and not is_estimate_over(delivery, now)
    return Package(
        headline,
        standing.tone,
        sentence,
        _warnings(delivery, standing.key, says),
        parcel_of(delivery, titles, says, locale, estimated=is_estimated),
        _days(moments[:RECENT]),
        _days(moments[RECENT:]),
        standing.key not in _ENDED_BADLY,
    )


def _standing(delivery: Document) -> _Standing:
    """The one thing to say of a parcel: an outcome before what a carrier waits for, that before where it is."""
    states = states_of(delivery)
    for state, tone in _OUTCOMES:
        if state in states:
            return _Standing(state, tone, delivered_day(delivery) if state == "delivered" else "")
    stages = {tracker["stage"] for tracker in delivery["trackers"]}
    last = scans_of(delivery)[-1:]
    if "customer_action" in states:
        return _Standing("customer_action", "bad")
    if "AVAILABLE_FOR_PICKUP" in stages:
        return _Standing("pickup", "active")
    if "exception" in states:
        return _Standing("exception", "bad")
    if last and last[0]["code"] == "DELIVERY_ATTEMPTED":
        return _Standing("attempted", "bad")
    if "OUT_FOR_DELIVERY" in stages:
        return _Standing("out", "active")
    if delivery["shipEvidence"] is not None or "IN_TRANSIT" in stages:
        return _Standing("moving", "active")
    return _Standing("label" if "INFO_RECEIVED" in stages else "preparing", "quiet")


_OUTCOMES: Final[Sequence[tuple[State, Tone]]] = (
    ("delivered", "good"),
    ("cancelled", "quiet"),
    ("returning", "bad"),
    ("lost", "bad"),
    ("undeliverable", "bad"),
)
_NOT_ESTIMATED: Final = frozenset({"attempted", "customer_action", "pickup"})
"""When what was estimated before says nothing any more."""
_ENDED_BADLY: Final = frozenset({"cancelled", "returning", "lost", "undeliverable"})

_Says = Callable[[NullTranslations], tuple[str, str]]
_HEADLINES: Final[Mapping[str, _Says]] = {
    "preparing": lambda s: (s.gettext("Being prepared"), ""),
    "label": lambda s: (
        s.gettext("Ready for the carrier"),
        s.gettext("The carrier was told of it and does not have it yet."),
    ),
    "moving": lambda s: (s.gettext("On its way"), ""),
    "out": lambda s: (s.gettext("Out for delivery"), ""),
    "pickup": lambda s: (
        s.gettext("Ready for pickup"),
        s.gettext("It waits for you where the carrier left it. The carrier says where, and what to bring."),
    ),
    "attempted": lambda s: (
        s.gettext("Not delivered yet"),
        s.gettext("The carrier tried and could not deliver it. The carrier says what happens next."),
    ),
    "customer_action": lambda s: (
        s.gettext("The carrier needs something from you"),
        s.gettext("It does not go on before that. The carrier says what it is."),
    ),
    "exception": lambda s: (s.gettext("Something went wrong at the carrier"), ""),
    "delivered": lambda s: (s.gettext("Delivered"), ""),
    "cancelled": lambda s: (s.gettext("Cancelled"), s.gettext("It was not sent.")),
    "returning": lambda s: (
        s.gettext("On its way back to us"),
        s.gettext("The carrier sends it back. Write to us, and we see what can be done."),
    ),
    "lost": lambda s: (
        s.gettext("Lost"),
        s.gettext("The carrier says that it is lost. Write to us, and we see what can be done."),
    ),
    "undeliverable": lambda s: (
        s.gettext("Cannot be delivered"),
        s.gettext("The carrier says so. Write to us, and we see what can be done."),
    ),
}
"""Of each standing: its headline, and what follows from it."""


def _warnings(delivery: Document, standing: str, says: NullTranslations) -> list[str]:
    """What rides on a parcel that is still to come."""
    if standing in _ENDED_BADLY or standing == "delivered":
        return []
    codes = {condition["code"] for condition in open_conditions(delivery)}
    found = []
    if "DELAYED" in codes:
        found.append(says.gettext("The carrier says that it is delayed."))
    if codes & {"LATE", "WILL_BE_LATE"}:
        found.append(says.gettext("It is later than first expected. We are sorry."))
    return found


# ── What happened ──────────────────────────────────────────────────────────────────────────────────────────


def _moments(delivery: Document, says: NullTranslations, locale: str) -> list[tuple[str, Moment]]:
    """(the day in words, what happened), newest first."""
    found = []
    for scan in reversed(scans_of(delivery)):
        text = _TEXTS.get(scan["code"])
        if text is None:
            continue
        day, at = moment_of(delivery, scan)
        time = "" if at is None else format_time(at, "short", locale=locale)
        found.append((day_text(day, says, locale), Moment(time, text(says), _place(scan))))
    return found


def _days(moments: Iterable[tuple[str, Moment]]) -> list[Day]:
    days: dict[str, list[Moment]] = {}
    for day, moment in moments:
        days.setdefault(day, []).append(moment)
    return [Day(name, each) for name, each in days.items()]


def _place(scan: Document) -> str:
    """Where it was on its way."""
    if scan["code"] in _WHERE_IT_LIVES:
        return ""
    address = scan["address"]
    return one_line(", ".join(filter(None, (address["locality"], address["region"]))), 60)


_TEXTS: Final[Mapping[str, Callable[[NullTranslations], str]]] = {
    "INFO_RECEIVED": lambda s: s.gettext("The carrier was told of the parcel."),
    "IN_TRANSIT": lambda s: s.gettext("The parcel is on its way."),
    "DELAYED": lambda s: s.gettext("The carrier says that it is delayed."),
    "OUT_FOR_DELIVERY": lambda s: s.gettext("The parcel is out for delivery."),
    "AVAILABLE_FOR_PICKUP": lambda s: s.gettext("The parcel is ready to be picked up."),
    "DELIVERY_ATTEMPTED": lambda s: s.gettext("The carrier tried to deliver it."),
    "DELIVERED": lambda s: s.gettext("The parcel was delivered."),
    "EXCEPTION": lambda s: s.gettext("Something went wrong at the carrier."),
    "LOST": lambda s: s.gettext("The carrier says that it is lost."),
    "UNDELIVERABLE": lambda s: s.gettext("The carrier says that it cannot be delivered."),
    "RETURN_TO_SENDER": lambda s: s.gettext("The parcel goes back to the sender."),
    "CUSTOMER_ACTION": lambda s: s.gettext("The carrier waits for you to do something."),
}
"""Of each milestone code (buy-with-prime.md 5.2) but PENDING, which says nothing."""
