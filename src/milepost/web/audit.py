"""The audit log: writing an entry, from whatever form or route did something.

`audit` is called in the transaction that does it, so that nothing is done without an entry, and none tells of what
was not done.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol

from milepost.domain.audit_entry import LONGEST_DETAIL, AuditEntry
from milepost.domain.instant import Instant
from milepost.store import Transaction

_NOTHING: Mapping[str, object] = MappingProxyType({})


class Actor(Protocol):
    """A `Visitor` of the console or a `Principal` of the API."""

    @property
    def id(self) -> str: ...


def audit(
    tx: Transaction,
    actor: Actor | str,
    action: str,
    subject: str,
    details: Mapping[str, object] = _NOTHING,
    *,
    at: Instant,
    business_product_id: str = "",
) -> None:
    """Write down that `actor` did `action` (`thing.done`) to `subject` (an id), of this business product (empty: of
    several, or of the hub). No secret and nothing of a shopper goes into `details`."""
    told = {name: str(value)[:LONGEST_DETAIL] for name, value in details.items() if value is not None}
    who = actor if isinstance(actor, str) else actor.id
    tx.audit.add(AuditEntry(at, who, action, subject, business_product_id, told))
