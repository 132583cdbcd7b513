"""Authorizations: until when payment of an order may be collected, and what time makes of that (tracking.md 10).

Buy with Prime's events do not tell it; the merchant's order management does, and what it told is a fact of its order
like any other. The newest that was told holds. While something of the order has not shipped, nothing may be collected
for it, so a deadline that comes near is worth a warning, and one that passed is money that was lost or must be
authorised anew:

| code                   | holds                                                            |
|------------------------|------------------------------------------------------------------|
| AUTHORIZATION_EXPIRING | from 48 hours before the deadline, while something waits to ship |
| AUTHORIZATION_EXPIRED  | from the deadline on, while something waits to ship              |

Raising and clearing them is `condition`'s and the sweeper's; captures are `capture`'s.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from milepost.domain.fact import AuthorizationFact, Fact
from milepost.domain.instant import HOUR, Instant, format_instant, parse_instant

AUTHORIZATION_EXPIRING = "AUTHORIZATION_EXPIRING"
AUTHORIZATION_EXPIRED = "AUTHORIZATION_EXPIRED"


def fold_authorization(facts: Iterable[Fact]) -> dict[str, Any] | None:
    """The authorization of an order view: `{authorizedAt, captureBefore, toldAt}`; None while nobody told one."""
    told = [fact.authorization for fact in facts if isinstance(fact, AuthorizationFact)]
    if not told:
        return None
    newest = max(told, key=lambda each: (each.at, each.capture_before, each.authorized_at or 0))
    authorized_at = newest.authorized_at
    return {
        "authorizedAt": None if authorized_at is None else format_instant(authorized_at),
        "captureBefore": format_instant(newest.capture_before),
        "toldAt": format_instant(newest.at),
    }


def waits_to_ship(order: Mapping[str, Any]) -> bool:
    """Whether something of an order view has neither shipped nor been cancelled; an order of which no delivery is
    known yet waits as a whole."""
    deliveries = order["deliveries"]
    return not deliveries or any(map(waits, deliveries))


def waits(delivery: Mapping[str, Any]) -> bool:
    """Whether a delivery has neither shipped nor been cancelled."""
    return delivery["shipEvidence"] is None and delivery["state"] != "CANCELLED"


def deadline(order: Mapping[str, Any]) -> Instant | None:
    """Until when payment of an order view may be collected, as far as anybody told."""
    authorization = order.get("authorization")
    return None if authorization is None else parse_instant(authorization["captureBefore"])


def deadlines(order: Mapping[str, Any], warning_hours: int) -> Iterator[tuple[str, Instant, dict[str, Any]]]:
    """What the deadline of an order view makes true, from when, and the evidence."""
    before = deadline(order)
    if before is None or not waits_to_ship(order):
        return
    evidence = {"captureBefore": format_instant(before)}
    warning = Instant(before - warning_hours * HOUR)
    yield AUTHORIZATION_EXPIRING, warning, {**evidence, "hours": warning_hours}
    yield AUTHORIZATION_EXPIRED, before, evidence
