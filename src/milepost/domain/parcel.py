"""The trackers of one delivery: which they are, the use of each number that carried the order's parcel, and its
part of the delivery view (tracking.md 9.4, D5).

A number may be recycled (T5): another order's parcel on it is none of this delivery's, so only the generation
that the order is bound to counts. The tracker's own fold is `tracker`'s; what its scans mean for the delivery's
state is `delivery`'s.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from msgspec import Struct

from milepost.domain.evidence import DELIVERED, Evidence
from milepost.domain.instant import Instant, Stamp, format_instant, parse_instant
from milepost.domain.record import tracker_subject
from milepost.domain.tracker import Generation, Tracker

_STANDING = frozenset({"counts", "historyFill", "contradicted"})
"""What a tracker says of scans that happened; others were retracted, corrected or set aside."""


class Parcel(Struct):
    """One tracker of a delivery: how the answers name it, and its fold where there is one."""

    carrier_code: str
    tracking_number: str
    tracking_url: str | None
    tracker: Tracker | None = None
    generation: Generation | None = None
    """The use of the number that carried this order's parcel; numbers are recycled (T5)."""

    @property
    def current(self) -> bool:
        """Whether the tracker's document is about this use of the number."""
        return self.tracker is not None and self.generation is self.tracker.generations[-1]

    def milestones(self) -> list[dict[str, Any]]:
        """The scans of this use that happened, as far as anybody knows."""
        if self.tracker is None or self.generation is None:
            return []
        number = self.generation.number
        listed = self.tracker.document["milestones"]
        return [m for m in listed if m["standing"] in _STANDING and m["generation"] == number]


class Possession(NamedTuple):
    """A carrier had the parcel."""

    inferred: bool
    """The carrier's only scan is DELIVERED, or it has none."""
    undated: bool
    at: Instant
    """When it occurred; of an undated milestone when it was first observed."""
    carrier_code: str
    code: str
    position: int
    stamp: Stamp | None
    told: bool = False
    """No scan shows it: an agent told it (T11)."""

    def order(self) -> tuple[bool, bool, bool, Instant, str, str, str, int]:
        """First things first: scans before an agent's word, one before DELIVERED alone, dated before undated, the
        earlier before the later."""
        text = self.stamp.text if self.stamp is not None else ""
        return (
            self.told,
            self.inferred,
            self.undated,
            self.at,
            self.carrier_code,
            self.code,
            text,
            self.position,
        )


def parcels_of(order_id: str, evidence: Evidence, trackers: Mapping[str, Tracker]) -> list[Parcel]:
    """Every tracker that an answer gave the delivery, the newest answer's first; the newest tracking URL."""
    found: dict[str, Parcel] = {}
    for _, package in evidence.answers:
        shown = package.tracker
        if shown is None:
            continue
        subject = tracker_subject(shown.carrier_code, shown.tracking_number)
        parcel = found.get(subject)
        if parcel is None:
            parcel = found[subject] = Parcel(shown.carrier_code, shown.tracking_number, None)
            if (tracker := trackers.get(subject)) is not None:
                parcel.tracker, parcel.generation = tracker, tracker.of_order(order_id)
        parcel.tracking_url = parcel.tracking_url or shown.tracking_url
    return list(found.values())


def tracker_document(parcel: Parcel) -> dict[str, Any]:
    """The tracker's part of the delivery view; a tracker that nobody has folded yet is UNKNOWN."""
    tracker, generation = parcel.tracker, parcel.generation
    view = tracker.document if tracker is not None and parcel.current else {}
    # Only what a carrier says is held against the order's events (D3).
    shipped = generation.shipped if generation and not generation.shipped_is_told else None
    return {
        "carrierCode": tracker.carrier_code if tracker is not None else parcel.carrier_code,
        "trackingNumber": parcel.tracking_number,
        "trackingUrl": view.get("trackingUrl") or parcel.tracking_url,
        "stage": generation.stage if generation is not None else "UNKNOWN",
        "estimatedDelivery": view.get("estimatedDelivery"),
        "milestones": parcel.milestones(),
        "corrections": view.get("corrections", []),
        "shippedAt": written(shipped.at if shipped else None),
        "deliveredAt": written(generation.delivered.at if generation and generation.delivered else None),
    }


def possession_of(parcel: Parcel) -> Possession | None:
    """When the carrier had the parcel first, as far as its scans tell; None while it has only a label."""
    generation = parcel.generation
    if generation is None or not generation.shipped_code:
        return None
    code, stamp, position = generation.shipped_code, generation.shipped, generation.shipped_position
    carrier = parcel.carrier_code.lower()
    if stamp is not None:
        told = generation.shipped_is_told
        return Possession(told or code == DELIVERED, False, stamp.at, carrier, code, position, stamp, told)
    seen = [parse_instant(m["observedAt"]) for m in parcel.milestones() if m["code"] == code]
    return Possession(code == DELIVERED, True, min(seen), carrier, code, position, None) if seen else None


def latest_estimate(parcels: Sequence[Parcel]) -> dict[str, Any] | None:
    """Of several trackers' estimates the one that ends last: then the whole delivery is there."""
    documents = (p.tracker.document for p in parcels if p.tracker is not None and p.current)
    found: list[dict[str, Any]] = [e for d in documents if (e := d["estimatedDelivery"]) is not None]
    return max(found, key=lambda e: [e[k] or "" for k in ("latestDate", "latest", "earliest")], default=None)


@lru_cache(maxsize=8_192)
def written(at: Instant | None) -> str | None:
    """The time as views write it. One fold writes the same few times again and again, and so does the next."""
    return format_instant(at) if at is not None else None
