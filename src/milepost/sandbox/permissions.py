"""Permissions of API credentials: which there are, what each is called, and what may be done with it.

One chooses them when one generates credentials: full access, or some. `ORDER_READ` is the one scope id that
Amazon's pages print; the other ids are inferred from it, and so are the permission for event subscriptions' name
and that the sandbox's own mutation takes Edit Order Data (buy-with-prime.md 2.1, 3). Two pages call the tracker's
permission by two names: both are understood. What an event type demands is `domain.event`'s catalogue.
"""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from milepost.domain.errors import Invalid
from milepost.domain.event import BY_NAME, PRIVACY, READ_ORDER, VIEW_TRACKER, EventType, canonical_type

FULL_ACCESS = "Full access"
"""What one chooses in place of single permissions to have them all."""
SANDBOX_TARGET = "sandbox"
"""The target id that reads every business product."""


class Permission(Struct, frozen=True):
    scope: str
    name: str
    """As the merchant console and the event pages call it."""
    other_names: tuple[str, ...] = ()


ORDER_READ = Permission("ORDER_READ", READ_ORDER)
ORDER_EDIT = Permission("ORDER_EDIT", "Edit Order Data")
TRACKER_READ = Permission("PACKAGE_TRACKER_READ", VIEW_TRACKER, ("View Package Tracking Milestone Changes",))
SUBSCRIPTIONS = Permission("EVENT_SUBSCRIPTION_FULL", "Manage Event Subscriptions")
PERMISSIONS: tuple[Permission, ...] = (
    ORDER_READ,
    ORDER_EDIT,
    TRACKER_READ,
    SUBSCRIPTIONS,
    Permission("BUYABILITY_READ", "Read Buyability"),
    Permission("INVENTORY_READ", "Read Inventory"),
    Permission("PRIVACY_MANAGE", PRIVACY),
)
EVERY_SCOPE = frozenset(p.scope for p in PERMISSIONS)

_BY_WORD: dict[str, Permission] = {
    word.lower(): p for p in PERMISSIONS for word in (p.scope, p.name, *p.other_names)
}

DEMANDED: dict[str, Permission] = {
    "order": ORDER_READ,
    "packageTracker": TRACKER_READ,
    "eventSubscription": SUBSCRIPTIONS,
    "eventSubscriptions": SUBSCRIPTIONS,
    "createEventSubscription": SUBSCRIPTIONS,
    "deleteEventSubscription": SUBSCRIPTIONS,
    "createAuthProfile": SUBSCRIPTIONS,
    "updateAuthProfile": SUBSCRIPTIONS,
    "deleteAuthProfile": SUBSCRIPTIONS,
    "createOrder": ORDER_EDIT,
    "updateOrder": ORDER_EDIT,
    "cancelOrder": ORDER_EDIT,
    "updateOrderPackageInformation": ORDER_EDIT,
}
"""The permission that each query and mutation demands."""


class Caller(Struct, frozen=True):
    """Who asks: a credential, and the business product that it speaks for in this request."""

    client_id: str
    target_id: str
    scopes: frozenset[str]

    @property
    def business_product_id(self) -> str | None:
        """The one whose data may be read and changed; None means any."""
        return None if self.target_id == SANDBOX_TARGET else self.target_id

    def has(self, permission: Permission) -> bool:
        return permission.scope in self.scopes

    def may_subscribe_to(self, event_type: EventType) -> bool:
        """Whether it has the permission that the event type demands; that for subscriptions is another."""
        return self.has(_BY_WORD[event_type.permission.lower()])


def chosen(words: Iterable[str]) -> frozenset[str]:
    """The scopes of permissions given by name or by scope id, in any case; "Full access" is all of them.

    Raises `Invalid` for a word that is none, and for none at all."""
    scopes: set[str] = set()
    for word in words:
        if word.strip().lower() == FULL_ACCESS.lower():
            return EVERY_SCOPE
        permission = _BY_WORD.get(word.strip().lower())
        if permission is None:
            known = ", ".join([FULL_ACCESS, *(p.name for p in PERMISSIONS)])
            raise Invalid(f"there is no permission {word!r}; there are {known}", field="permissions")
        scopes.add(permission.scope)
    if not scopes:
        raise Invalid(f"choose permissions, or {FULL_ACCESS!r}", field="permissions")
    return frozenset(scopes)


def names(scopes: Iterable[str]) -> Sequence[str]:
    """The names of these scopes, in the table's order; of all of them, "Full access"."""
    have = frozenset(scopes)
    return [FULL_ACCESS] if have >= EVERY_SCOPE else [p.name for p in PERMISSIONS if p.scope in have]


def event_type(name: str) -> EventType | None:
    """The catalogue's row of an event type, by its name or a former one."""
    return BY_NAME.get(canonical_type(name))
