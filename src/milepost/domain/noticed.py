"""What was noticed of an order so far: the little that is kept so that each occasion is given exactly once.

One is kept for each order, as a short JSON array, and compared with the next view (`noticing`). Which occasions
were given is kept by kind and ordinal, so that it does not matter which batch brought what; what may be so, cease
and be so again (delivered, an exception, something the shopper must do) is also kept as it was at the last fold,
because only becoming so is news. The position up to which facts were folded, and which parcels were known by then,
tell a scan that is new from one that is only understood otherwise now. No tracking number is kept: a checksum is
enough to know it.
"""

from collections.abc import Iterable, Mapping
from typing import Any
from zlib import crc32

import msgspec
from msgspec import Struct

from milepost.domain.record import tracker_subject

Document = Mapping[str, Any]


class DeliveryNoticed(Struct, frozen=True, array_like=True):
    """A delivery as it was last noticed."""

    id: str
    told: tuple[str, ...] = ()
    """Every occasion that was given, as `occasion_key` names it, oldest first."""
    open: tuple[str, ...] = ()
    """What was so at the last fold, of what may be so again."""
    estimate: str = ""
    """The local day of which the shopper knows, or would if it had been sent; empty: none was known yet."""
    parcels: tuple[int, ...] = ()
    """Checksums of its trackers."""
    newest: int = 0
    """The highest position of a scan, so that a standing is written whenever scans are new."""
    unmapped: int = 0
    """Scans whose code nobody knew."""


class OrderNoticed(Struct, frozen=True, array_like=True):
    """An order as it was last noticed."""

    position: int = 0
    """Up to which facts were folded when this was written; 0 before that."""
    told: tuple[str, ...] = ()
    """What was given of the order as a whole."""
    deliveries: tuple[DeliveryNoticed, ...] = ()
    """Those it shows, then those it once showed."""

    def same_but_position(self, other: "OrderNoticed") -> bool:
        return self.told == other.told and self.deliveries == other.deliveries


read_noticed = msgspec.json.Decoder(OrderNoticed).decode
write_noticed = msgspec.json.Encoder().encode


def occasion_key(kind: str, ordinal: str) -> str:
    """How standings name an occasion of their subject."""
    return f"{kind}/{ordinal}" if ordinal else kind


def next_ordinal(told: Iterable[str], kind: str) -> str:
    """The ordinal of the next of a kind that is counted: none for the first, then 2, 3, …"""
    given = sum(key.partition("/")[0] == kind for key in told)
    return str(given + 1) if given else ""


def parcel_sums(delivery: Document) -> tuple[int, ...]:
    """Checksums of a delivery's trackers, sorted."""
    return tuple(sorted({parcel_sum(tracker) for tracker in delivery["trackers"]}))


def parcel_sum(tracker: Document) -> int:
    return crc32(tracker_subject(tracker["carrierCode"], tracker["trackingNumber"]).encode())
