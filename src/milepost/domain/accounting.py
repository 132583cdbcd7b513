"""The accountant's rows: that a delivery shipped or arrived, when, and on which local day (tracking.md 10).

A row is never changed. What turns out otherwise is posted again: one row that reverses the last one (`sign` -1) and
one that states it anew, with the next revision. So the signs of the rows of one delivery and kind sum to 1 while it
is so, and to 0 when it is not (any more).

A row belongs to the tax period of the local day on which it happened, where it happened: it shipped on the day at the
origin, it arrived on the day at the destination. The other place's day is given beside it. A row is posted to its
tax period, or, when that is closed, to the first later one that is open.

What a row's `status` says: `provisional` may still be contradicted; `settled` was not, for as long as the settings
ask. Settling is a row of its own: a reversal of the provisional one and the settled one.

When rows are due is decided in `booking`.
"""

from hashlib import blake2b
from typing import Any, Final, Literal, get_args

from msgspec import Struct

from milepost.domain.instant import Instant

EntryKind = Literal["shipped", "delivered"]
ENTRY_KINDS: Final[tuple[EntryKind, ...]] = get_args(EntryKind)
EntryStatus = Literal["provisional", "settled"]
EntryReason = Literal["new", "correction", "settled", "withdrawn"]
"""Why a row was posted: something new; it turned out otherwise; it was not contradicted; it is not so any more."""


class Entry(Struct, frozen=True, rename="camel"):
    """One row of the accounting feed."""

    id: str
    """`entry_id`."""
    business_product_id: str
    order_id: str
    delivery_id: str
    kind: EntryKind
    revision: int
    """From 1. A reversal has the revision that it reverses."""
    sign: Literal[1, -1]
    """-1 reverses the row of the same kind and revision."""
    status: EntryStatus
    reason: EntryReason
    occurred_at: Instant
    destination_date: str
    """The local day at the destination, YYYY-MM-DD."""
    origin_date: str
    """The local day where it was sent from."""
    zone: str
    """How the day that decides the tax period is known: offset-explicit, utc, inferred-from-place, date-only or
    unknown."""
    tax_period: str
    """YYYY-MM of `origin_date` when it shipped, of `destination_date` when it was delivered."""
    posting_period: str
    """To which it is posted."""
    posted_at: Instant
    evidence: dict[str, Any]
    """What showed it: `{kind, type, at, source, position, eventId}`; `source` is possession, milestone, event or
    snapshot. No tracking number and no place."""
    settles_at: Instant | None = None
    """When a provisional row was to be settled, as it was posted; None where something contradicted it."""


class Period(Struct, frozen=True, rename="camel"):
    """A closed period of a business product."""

    business_product_id: str
    period: str
    closed_at: Instant
    closed_by: str


def entry_id(
    business_product_id: str, order_id: str, delivery_id: str, kind: str, revision: int, sign: int
) -> str:
    """The id of a row, the same whenever it is made: 128 bits."""
    parts = (business_product_id, order_id, delivery_id, kind, str(revision), str(sign))
    text = "\0".join(parts).encode("utf-8", "surrogatepass")
    return "ent_" + blake2b(text, digest_size=16, person=b"entry").hexdigest()
