"""A notification as its shopper reads it: subject, text and HTML of a mail, and the document for a webhook.

`compose` is given what the ledger knows (the notification and those it covers), the order's view as it is now, and
the shop's looks; it keeps nothing and asks nobody. What a message may show of an order is `parcels`', what it is
about `scenes`', its words `sentences`', its two parts `mail`'s and its templates'.
"""

from collections.abc import Mapping, Sequence
from gettext import NullTranslations
from typing import Any, Final

from msgspec import Struct

from milepost.domain.instant import Instant, format_instant
from milepost.domain.notification import Notification
from milepost.shopper.catalogues import LOCALES as LOCALES
from milepost.shopper.catalogues import catalogue, nearest
from milepost.shopper.local_days import is_estimate_over, promised_day
from milepost.shopper.mail import Button, Mail, html_of, text_of
from milepost.shopper.parcels import MOST_PARCELS, Parcel, one_line, parcel_of, safe_url
from milepost.shopper.scenes import scene_of, shown_deliveries
from milepost.shopper.sentences import wording_of

Document = Mapping[str, Any]

_AT_THE_CARRIER: Final = frozenset(
    {"attempt_failed", "ready_for_pickup", "pickup_reminder", "customer_action"}
)
"""Kinds after which the carrier's page helps more than the order's."""
_AT_THE_SHOP: Final = frozenset({"returning", "lost"})
"""Kinds after which only the shop can help."""
_NOT_ESTIMATED: Final = frozenset({"attempt_failed", "customer_action", "correction"})
"""Kinds of which an estimate that was made before says nothing any more."""


class Brand(Struct, frozen=True):
    """The shop, as shoppers know it."""

    shop_name: str
    shop_url: str | None
    color: str
    """#rrggbb."""
    support_email: str | None
    public_url: str | None
    """Under which address shoppers reach this hub."""


class Links(Struct, frozen=True):
    """Where a message leads; each holds its own token."""

    tracking: str | None
    unsubscribe: str | None


class Composed(Struct, frozen=True):
    """A message in one language."""

    kind: str
    locale: str
    subject: str
    text: str
    html: str
    preheader: str
    document: dict[str, Any]
    """What the webhook channel posts. No address is in it, neither the shopper's nor a place's."""


def compose(
    notification: Notification,
    order: Mapping[str, Any],
    *,
    kind: str,
    covers: Sequence[Notification],
    locale: str,
    brand: Brand,
    links: Links,
) -> Composed:
    """The message of a notification, about its delivery and those that it covers; about the whole order where it
    names none. `kind` is what it tells: `all_delivered` may stand in for a last `delivered`. The nearest of `LOCALES`
    is used. Raises KeyError for a kind that there is not."""
    locale = nearest(locale)
    says = catalogue(locale)
    told = (notification, *covers)
    deliveries = shown_deliveries(order, kind, told)
    titles = {item["id"]: item for item in order["lineItems"]}
    shown = deliveries[:MOST_PARCELS]
    estimated = [is_estimated(delivery, kind, notification.decided_at) for delivery in shown]
    parcels = [
        parcel_of(delivery, titles, says, locale, beside=len(shown), estimated=still)
        for delivery, still in zip(shown, estimated, strict=True)
    ]
    shop, support = one_line(brand.shop_name), one_line(brand.support_email)
    words = wording_of(kind, scene_of(told, kind, deliveries, parcels, shop, says, locale))
    mail = Mail(
        locale=locale,
        subject=one_line(words.subject, 200),
        preheader=_preheader(parcels, says),
        headline=words.headline,
        sentences=words.sentences,
        parcels=parcels,
        more=len(deliveries) - len(shown),
        order_name=order_name(order),
        shop_name=shop,
        shop_url=safe_url(brand.shop_url),
        color=brand.color,
        support_email=support,
        button=_button(kind, parcels, links, support, says),
        tracking=safe_url(links.tracking),
        unsubscribe=safe_url(links.unsubscribe),
    )
    text, html = text_of(mail), html_of(mail)
    document = _document(notification, kind, mail, text, html)
    return Composed(kind, locale, mail.subject, text, html, mail.preheader, document)


def is_estimated(delivery: Document, kind: str, at: Instant) -> bool:
    """Whether the estimate of a delivery still said something when this was decided: not when its last day was over
    everywhere. Of one that missed its promise only a later estimate does."""
    estimate = delivery["estimatedDelivery"] or {}
    last = estimate.get("latestDate") or estimate.get("earliestDate") or ""
    is_missed = kind == "estimate_missed" and last <= promised_day(delivery)
    return not (is_estimate_over(delivery, at) or is_missed or kind in _NOT_ESTIMATED)


def _preheader(parcels: Sequence[Parcel], says: NullTranslations) -> str:
    """What a mail program shows beside the subject: when it is expected, and what is in it."""
    windows = {parcel.window.text if parcel.window is not None else "" for parcel in parcels}
    window = windows.pop() if len(windows) == 1 else ""
    items = [item.title for parcel in parcels for item in parcel.items]
    others = len(items) - 1 + sum(parcel.more for parcel in parcels)
    expected = says.gettext("Estimated delivery: %(window)s") % {"window": window} if window else ""
    if not items:
        named = ""
    elif not others:
        named = one_line(items[0], 60)
    else:
        message = says.ngettext(
            "%(item)s and %(count)s more item", "%(item)s and %(count)s more items", others
        )
        named = message % {"item": one_line(items[0], 60), "count": others}
    return " · ".join(filter(None, (expected, named)))


def order_name(order: Document) -> str:
    """What the shopper knows the order by: the shop's own number where there is one."""
    return one_line(next((alias["aliasId"] for alias in order["aliases"]), order["id"]), 64)


def _button(
    kind: str, parcels: Sequence[Parcel], links: Links, support: str, says: NullTranslations
) -> Button | None:
    """What helps most: the order's tracking page, the carrier's page where the carrier waits for the shopper, and the
    shop where nobody else can do anything."""
    tracking = safe_url(links.tracking)
    carriers = [carrier for parcel in parcels for carrier in parcel.carriers if carrier.url]
    if kind in _AT_THE_SHOP and support:
        return Button(says.gettext("Write to us"), f"mailto:{support}")
    if carriers and (not tracking or (kind in _AT_THE_CARRIER and len(carriers) == 1)):
        carrier = carriers[0]
        return Button(says.gettext("Go to %(carrier)s") % {"carrier": carrier.name}, carrier.url)
    return Button(says.gettext("Track your order"), tracking) if tracking else None


def _document(notification: Notification, kind: str, mail: Mail, text: str, html: str) -> dict[str, Any]:
    return {
        "id": notification.id,
        "kind": kind,
        "ordinal": notification.ordinal,
        "orderId": notification.order_id,
        "deliveryId": notification.delivery_id or None,
        "businessProductId": notification.business_product_id,
        "occurredAt": format_instant(notification.occurred_at),
        "locale": mail.locale,
        "subject": mail.subject,
        "text": text,
        "html": html,
        "data": {
            "preheader": mail.preheader,
            "headline": mail.headline,
            "sentences": list(mail.sentences),
            "orderName": mail.order_name,
            "deliveries": [_delivery(parcel) for parcel in mail.parcels],
        },
        "links": {"tracking": mail.tracking or None, "unsubscribe": mail.unsubscribe or None},
    }


def _delivery(parcel: Parcel) -> dict[str, Any]:
    estimate = parcel.estimate
    return {
        "deliveryId": parcel.id,
        "items": [{"title": item.title, "quantity": item.quantity or None} for item in parcel.items],
        "moreItems": parcel.more,
        "steps": [{"step": step.key, "progress": step.progress} for step in parcel.steps],
        "estimatedDelivery": None
        if estimate is None
        else {
            "earliest": estimate["earliestDate"],
            "latest": estimate["latestDate"],
            "text": "" if parcel.window is None else parcel.window.text,
        },
        "carriers": [
            {
                "carrierCode": carrier.code,
                "trackingNumber": carrier.tracking_number,
                "trackingUrl": carrier.url or None,
            }
            for carrier in parcel.carriers
        ],
    }
