"""A ready reply: what an agent can send to a shopper who asks where an order is, as plain text in their language.

Of each delivery it says what the shopper would be told now, with the sentences of notifications, and nothing that
those would not say: no place, no note, no condition of ours. What a parcel shows is `parcels`', its words are
`sentences`'.
"""

from collections.abc import Iterator, Mapping, Sequence
from gettext import NullTranslations
from typing import Any, Final

from milepost.domain.delivery_news import State, open_conditions, scans_of, states_of
from milepost.domain.evidence import PENDING
from milepost.domain.instant import Instant
from milepost.shopper.catalogues import catalogue, nearest
from milepost.shopper.composing import Brand, is_estimated, order_name
from milepost.shopper.dates import NO_BREAK
from milepost.shopper.local_days import shipped_day
from milepost.shopper.parcels import MOST_PARCELS, Parcel, one_line, parcel_of, safe_url
from milepost.shopper.scenes import day_told
from milepost.shopper.sentences import Scene, wording_of

Document = Mapping[str, Any]

_BY_STATE: Final[Sequence[tuple[State, str]]] = (
    ("delivered", "delivered"),
    ("returning", "returning"),
    ("lost", "lost"),
    ("cancelled", "cancelled"),
    ("undeliverable", "exception"),
    ("customer_action", "customer_action"),
)
"""What decides before where the parcel is, the weightiest first."""
_ON_THE_WAY: Final[Sequence[tuple[State, str]]] = (
    ("exception", "exception"),
    ("estimate_missed", "estimate_missed"),
    ("delayed", "delayed"),
)
"""What decides of a parcel that is neither at the door nor to be picked up."""


def reply(order: Document, locale: str | None, brand: Brand, now: Instant, link: str | None = None) -> str:
    """The text about an order's view, in the nearest language there is. `link` is the shopper's page, where it is to
    be told."""
    locale = nearest(locale)
    says = catalogue(locale)
    name = says.gettext("Order %(order)s") % {"order": order_name(order)}
    parts = [" · ".join(filter(None, (name, one_line(brand.shop_name))))]
    deliveries = order["deliveries"]
    titles = {item["id"]: item for item in order["lineItems"]}
    shown = deliveries[:MOST_PARCELS]
    if not deliveries:
        parts.append(_preparing(says))
    for place, delivery in enumerate(shown, 1):
        kind = kind_of(delivery)
        parcel = parcel_of(
            delivery,
            titles,
            says,
            locale,
            beside=len(shown),
            estimated=is_estimated(delivery, kind or "", now),
        )
        of_several = says.gettext("Parcel %(place)s of %(count)s") % {
            "place": place,
            "count": len(deliveries),
        }
        head = (of_several,) if len(deliveries) > 1 else ()
        parts.append("\n".join((*head, *_about(delivery, kind, parcel, brand, says, locale))))
    if (more := len(deliveries) - len(shown)) > 0:
        parts.append(
            says.ngettext("and %(num)s more parcel", "and %(num)s more parcels", more) % {"num": more}
        )
    if safe_url(link):
        parts.append(f"{says.gettext('Track your order')}:\n{safe_url(link)}")
    return "\n\n".join(parts).replace(NO_BREAK, " ") + "\n"


def kind_of(delivery: Document) -> str | None:
    """The kind of notification whose words fit a delivery now; None while nothing of it was shipped."""
    states = states_of(delivery)
    for state, kind in _BY_STATE:
        if state in states:
            return kind
    stages = {tracker["stage"] for tracker in delivery["trackers"]}
    if "AVAILABLE_FOR_PICKUP" in stages:
        aged = any(condition["code"] == "PICKUP_AGING" for condition in open_conditions(delivery))
        return "pickup_reminder" if aged else "ready_for_pickup"
    scans = scans_of(delivery)
    if scans and scans[-1]["code"] == "DELIVERY_ATTEMPTED":
        return "attempt_failed"
    if "OUT_FOR_DELIVERY" in stages:
        return "out_for_delivery"
    for state, kind in _ON_THE_WAY:
        if state in states:
            return kind
    if delivery["state"] == PENDING:
        return None
    return "in_transit" if scans and not shipped_day(delivery) else "shipped"


def _preparing(says: NullTranslations) -> str:
    return says.gettext("It is being prepared and has not been shipped yet.")


def _about(
    delivery: Document, kind: str | None, parcel: Parcel, brand: Brand, says: NullTranslations, locale: str
) -> Iterator[str]:
    """The lines about one parcel: what is in it, how it stands, when it is expected, who carries it."""
    for item in parcel.items:
        yield f"- {item.quantity} × {item.title}" if item.quantity else f"- {item.title}"
    if parcel.more:
        yield "- " + says.ngettext("and %(num)s more item", "and %(num)s more items", parcel.more) % {
            "num": parcel.more
        }
    if kind is None:
        yield _preparing(says)
    else:
        words = wording_of(kind, _scene(delivery, kind, parcel, brand, says, locale))
        yield " ".join((f"{words.headline}.", *words.sentences))
    if parcel.window is not None:
        yield says.gettext("Estimated delivery: %(window)s") % {"window": parcel.window.text}
    for carrier in parcel.carriers:
        named = f"{carrier.name} {carrier.tracking_number}"
        yield f"{named}: {carrier.url}" if carrier.url else named


def _scene(
    delivery: Document, kind: str, parcel: Parcel, brand: Brand, says: NullTranslations, locale: str
) -> Scene:
    carriers = {carrier.name for carrier in parcel.carriers}
    attempts = sum(scan["code"] == "DELIVERY_ATTEMPTED" for scan in scans_of(delivery))
    return Scene(
        says,
        count=1,
        shop=one_line(brand.shop_name),
        carrier=carriers.pop() if len(carriers) == 1 else says.gettext("The carrier"),
        day=day_told(delivery, kind, says, locale),
        attempt=attempts,
        undeliverable="undeliverable" in states_of(delivery),
        expected=parcel.window is not None,
    )
