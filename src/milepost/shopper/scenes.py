"""What a message is about: which deliveries, and what its sentences may say of them.

Of several deliveries a day or a carrier is named only where it is the same for all. What the order's view may no
longer tell comes out of the notifications' `data`: `before` (the day that was expected before the estimate moved),
`attempt` (the number of a failed one) and `code` (of an exception: UNDELIVERABLE). What is not there is left out.
"""

from collections.abc import Iterable, Mapping, Sequence
from gettext import NullTranslations
from typing import Any, Final

from milepost.domain.delivery import UNDELIVERABLE
from milepost.domain.evidence import CANCELLED
from milepost.domain.notification import Notification
from milepost.shopper.dates import day_text
from milepost.shopper.local_days import day_of, delivered_day, promised_day, shipped_day
from milepost.shopper.parcels import Parcel
from milepost.shopper.sentences import Scene

Document = Mapping[str, Any]

_CODES: Final[Mapping[str, str]] = {
    "out_for_delivery": "OUT_FOR_DELIVERY",
    "attempt_failed": "DELIVERY_ATTEMPTED",
    "ready_for_pickup": "AVAILABLE_FOR_PICKUP",
    "pickup_reminder": "AVAILABLE_FOR_PICKUP",
}
"""By which milestone a kind's day is known."""
_FIRST: Final = frozenset({"ready_for_pickup", "pickup_reminder"})
"""Kinds that count from the first such milestone."""


def shown_deliveries(order: Document, kind: str, told: Iterable[Notification]) -> Sequence[Document]:
    """The deliveries that a message shows: those it is about, or the whole order's. Cancelled ones are not among
    those that were all delivered."""
    ids = {notification.delivery_id for notification in told}
    if kind == "all_delivered":
        return [d for d in order["deliveries"] if d["state"] != CANCELLED]
    return [d for d in order["deliveries"] if d["id"] in ids or "" in ids]


def scene_of(
    told: Sequence[Notification],
    kind: str,
    deliveries: Sequence[Document],
    parcels: Sequence[Parcel],
    shop: str,
    says: NullTranslations,
    locale: str,
) -> Scene:
    """What the sentences of a message may speak of. `told` are the notifications that it tells. A delivery that the
    view has no more counts as one."""
    data = told[0].data if len(deliveries) == 1 else {}
    attempt = data.get("attempt")
    return Scene(
        says,
        count=max(1, len(deliveries)),
        shop=shop,
        carrier=_same(c.name for p in parcels for c in p.carriers) or says.gettext("The carrier"),
        day=day_text(_same(_day(d, kind) for d in deliveries), says, locale),
        before=day_text(data.get("before"), says, locale),
        attempt=attempt if isinstance(attempt, int) else 0,
        undeliverable=all(each.data.get("code") == UNDELIVERABLE for each in told),
        expected=bool(parcels) and all(parcel.window is not None for parcel in parcels),
    )


def day_told(delivery: Document, kind: str, says: NullTranslations, locale: str) -> str:
    """The day that a message of this kind names of one delivery, in words; empty where none is known."""
    return day_text(_day(delivery, kind), says, locale)


def _day(delivery: Document, kind: str) -> str:
    if kind in ("delivered", "all_delivered"):
        return delivered_day(delivery)
    if kind == "shipped":
        return shipped_day(delivery)
    if kind == "estimate_missed":
        return promised_day(delivery)
    code = _CODES.get(kind)
    return day_of(delivery, code, last=kind not in _FIRST) if code else ""


def _same(values: Iterable[str]) -> str:
    """The one value of all; empty where they differ or there is none."""
    found = set(values)
    return found.pop() if len(found) == 1 else ""
