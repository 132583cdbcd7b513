"""The catalogue of Buy with Prime event types: one row a type, with what Amazon's pages say of it.

Names changed twice (`ITEM_*`, then `DELIVERY_*`, then `PACKAGE_*`), and old subscriptions may go on sending
old names, so every former name leads to its canonical type. A type that is not in the catalogue is kept as it
is: it is journalled, shown and passed on, only not folded (design, flow 9).

Sources: the three seeds; buy-with-prime.md 1.2 to 1.4 and 2.4. Parsing lives in `envelope`.
"""

from typing import Literal

import msgspec

Query = Literal["order", "packageTracker", "none"]

KNOWN_API_VERSIONS = frozenset({"2024-01-01", "2024-04-01", "2024-11-01"})

READ_ORDER = "Read Order"
VIEW_TRACKER = "View Package Tracker Data"
PRIVACY = "Manage Shopper Privacy Requests"


class EventType(msgspec.Struct, frozen=True):
    """One event type as Amazon documents it."""

    name: str
    published_when: str
    """One sentence: what has happened when Amazon publishes it."""
    permission: str
    """The least permission that API credentials need to subscribe to it."""
    resource_form: tuple[str, ...]
    """The keys behind `businessProduct` that its resource carries, in order."""
    former_names: tuple[str, ...] = ()
    query: Query = "none"
    """The query that Milepost asks for what a thin event leaves out ("Handling the event")."""
    default_query: str = ""
    """The selection that fills `data` (buy-with-prime.md 2.4: inferred); empty where pages show `data: {}`."""
    folded: bool = False
    """Whether deliveries and trackers are folded from it."""


_DELIVERY = ("order", "delivery")
_RETURN = ("order", "return")
_REFUND = ("order", "refund")

_DELIVERED_SELECTION = (
    "order { id aliases { aliasId aliasType } packageInformation { details { id state "
    "packageTracker { packageTrackerIdentifier { trackingNumber carrierCode } trackingUrl } "
    "packageInformationDetailsFor { orderLineItems { lineItem { id } } } } } }"
)
_REFUND_SELECTION = (
    "order { id aliases { aliasId aliasType } refunds { details { id createdAt updatedAt state "
    "refundRequestReason refundStatusReason refundTotal { totalAmount { amount currencyCode } } "
    "refundFor { orderLineItems { lineItem { id } } } } } }"
)
_RETURN_SELECTION = "order { id aliases { aliasId aliasType } returns { details { id state } } }"
_BUYABILITY_SELECTION = (
    "product { externalId { value } id amazonSku { value } sku { value } buyability { status } }"
)

CATALOGUE: tuple[EventType, ...] = (
    EventType(
        "PACKAGE_DELIVERY_IN_TRANSIT",
        "One or more items in the order were shipped.",
        READ_ORDER,
        _DELIVERY,
        ("DELIVERY_IN_TRANSIT", "ITEM_IN_TRANSIT"),
        "order",
        folded=True,
    ),
    EventType(
        "PACKAGE_DELIVERED",
        "One or more items were delivered to their destination.",
        READ_ORDER,
        _DELIVERY,
        ("DELIVERY_COMPLETED", "ITEM_DELIVERED"),
        "order",
        _DELIVERED_SELECTION,
        folded=True,
    ),
    EventType(
        "PACKAGE_DELIVERY_CANCELLED",
        "One or more items were cancelled before or at delivery; REFUND_REQUESTED follows.",
        READ_ORDER,
        _DELIVERY,
        ("DELIVERY_CANCELLED", "ITEM_CANCELLED"),
        "order",
        folded=True,
    ),
    EventType(
        "PACKAGE_TRACKER_MILESTONE_CHANGED",
        "A milestone of a Buy with Prime tracking number was updated.",
        VIEW_TRACKER,
        ("carrier", "tracker"),
        query="packageTracker",
        folded=True,
    ),
    EventType(
        "REFUND_REQUESTED",
        "A refund is wanted; the merchant must process it.",
        READ_ORDER,
        _REFUND,
        default_query=_REFUND_SELECTION,
    ),
    EventType(
        "REFUND_COMPLETED",
        "A refund was fully processed.",
        READ_ORDER,
        _REFUND,
        default_query=_REFUND_SELECTION,
    ),
    EventType("RETURN_STARTED", "A shopper started a return.", READ_ORDER, _RETURN),
    EventType(
        "RETURN_COMPLETED",
        "A return was completed.",
        READ_ORDER,
        _RETURN,
        default_query=_RETURN_SELECTION,
    ),
    EventType("RETURN_ITEM_GRADED", "A returned item was graded.", READ_ORDER, _RETURN),
    EventType(
        "RETURN_PACKAGE_IN_TRANSIT",
        "A return parcel is on its way.",
        READ_ORDER,
        _RETURN,
        ("RETURN_DELIVERY_IN_TRANSIT",),
    ),
    EventType(
        "RETURN_PACKAGE_DELIVERED",
        "A return parcel arrived.",
        READ_ORDER,
        _RETURN,
        # One copy of Amazon's "Event Types" maps this name to RETURN_COMPLETED; the changelog, followed here,
        # does not (buy-with-prime.md 8, conflict 10).
        ("RETURN_DELIVERY_COMPLETED",),
    ),
    EventType(
        "RETURN_PACKAGE_DELIVERY_FAILED",
        "A return parcel could not be delivered.",
        READ_ORDER,
        _RETURN,
        ("RETURN_DELIVERY_FAILED",),
    ),
    EventType(
        "BUYABILITY_CHANGED",
        "An item gained or lost eligibility for Buy with Prime.",
        "Read Buyability",
        ("items",),
        default_query=_BUYABILITY_SELECTION,
    ),
    EventType(
        "INVENTORY_CHANGED",
        "A stock level changed, or an item has an error that needs the merchant.",
        "Read Inventory",
        ("item-quantities",),
    ),
    EventType(
        "PERSONAL_DATA_DELETION_TASK_COMPLETED",
        "A shopper's personal data was deleted.",
        PRIVACY,
        ("personalDataDeletionTask",),
    ),
    EventType(
        "PERSONAL_DATA_DELETION_TASK_FAILED",
        "A shopper's personal data could not be deleted.",
        PRIVACY,
        ("personalDataDeletionTask",),
    ),
    EventType(
        "PERSONAL_DATA_RETRIEVAL_TASK_COMPLETED",
        "A shopper's personal data is ready to be fetched.",
        PRIVACY,
        ("personalDataRetrievalTask",),
    ),
    EventType(
        "PERSONAL_DATA_RETRIEVAL_TASK_FAILED",
        "A shopper's personal data could not be fetched.",
        PRIVACY,
        ("personalDataRetrievalTask",),
    ),
)

BY_NAME: dict[str, EventType] = {t.name: t for t in CATALOGUE}
CANONICAL: dict[str, str] = {name: t.name for t in CATALOGUE for name in (t.name, *t.former_names)}
"""Every name, old and new, to the catalogue's name."""


def canonical_type(descriptor: str) -> str:
    """The catalogue's name for a descriptor, old or new; one that isn't in it comes back as it is."""
    return CANONICAL.get(descriptor, descriptor)
