"""Corrections: what an agent knows of a tracker or a delivery, better than those who reported it (tracking.md T11).

A correction says that a tracker is in a stage, or a delivery in a state, since a time. It outranks what occurred
before that time, and nothing that occurred after it: a carrier that scans the parcel tomorrow is believed.

| a correction | since                                                                    | leaves by           |
|--------------|--------------------------------------------------------------------------|---------------------|
| counts       | it was told (`record.Correction`)                                        | the two below       |
| withdrawn    | somebody took it back (`record.Withdrawal`)                              | – it is as if it    |
| expired      | its `expiresAt` came: the sweeper journals that, since no fold has a clock | had not been told |

What a counting one does is decided in `leg` for trackers and in `delivery` for deliveries. Cancelling is not among
what an agent can say: only Buy with Prime cancels a delivery, and a payment hangs on it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal

from msgspec import Struct

from milepost.domain.instant import Instant, Stamp, format_instant, readable_instant
from milepost.domain.record import Correction, Withdrawal, delivery_subject, order_subject, tracker_subject
from milepost.domain.trace import TraceEntry
from milepost.domain.wording import spoken

TRACKER_STAGES: Final = (
    "IN_TRANSIT",
    "OUT_FOR_DELIVERY",
    "AVAILABLE_FOR_PICKUP",
    "DELIVERED",
    "UNDELIVERABLE",
    "LOST",
    "RETURNING",
    "RETURNED",
)
"""The stages that an agent can know of. A label alone is nothing that anybody would need to correct."""
DELIVERY_STATES: Final = ("IN_TRANSIT", "DELIVERED")

EXPIRED_BY: Final = "sweeper"

Document = Mapping[str, Any]
Standing = Literal["counts", "contradicted", "corrected", "overtaken", "setAside", "withdrawn", "expired"]


class CorrectionFact(Struct, frozen=True):
    """An agent told what became of a tracker or a delivery."""

    position: int
    received_at: Instant
    correction: Correction
    occurred: Stamp


class WithdrawalFact(Struct, frozen=True):
    """A correction was withdrawn, or has expired."""

    position: int
    received_at: Instant
    withdrawal: Withdrawal


class Told(Struct, eq=False):
    """One correction while a fold has it in hand; for `leg` a step as a scan is one. Compared by identity."""

    correction: Correction
    position: int
    occurred: Stamp
    ended: Withdrawal | None
    standing: Standing = "counts"
    rule: str = "T11"
    generation: int = 1

    @property
    def at(self) -> Instant:
        return self.occurred.at

    @property
    def text(self) -> str:
        return format_instant(self.at)

    @property
    def code(self) -> str:
        """The stage or state that it says."""
        return self.correction.state

    def time(self) -> str:
        return self.text

    def stamp(self) -> Stamp:
        return self.occurred

    def document(self) -> dict[str, Any]:
        """As views show it."""
        told, ended = self.correction, self.ended
        expires_at = told.expires_at
        return {
            "id": told.id,
            "orderId": told.order_id,
            "state": told.state,
            "occurredAt": told.occurred_at,
            "toldAt": format_instant(told.at),
            "author": told.author,
            "reason": told.reason,
            "expiresAt": None if expires_at is None else format_instant(expires_at),
            "standing": self.standing,
            "endedAt": None if ended is None else format_instant(ended.at),
            "position": self.position,
        }


def told_of(facts: Iterable[object], subject: str) -> list[Told]:
    """The corrections among these facts that are about a tracker or a delivery, by the time they speak of."""
    ends: dict[str, Withdrawal] = {}
    found: list[CorrectionFact] = []
    for fact in facts:
        if isinstance(fact, CorrectionFact):
            if fact.correction.subject == subject:
                found.append(fact)
        elif isinstance(fact, WithdrawalFact):
            known = ends.get(fact.withdrawal.correction)
            if known is None or _first(fact.withdrawal) < _first(known):
                ends[fact.withdrawal.correction] = fact.withdrawal
    if not found:
        return []
    found.sort(key=lambda fact: (fact.occurred.at, fact.correction.at, fact.correction.id))
    told = [Told(f.correction, f.position, f.occurred, ends.get(f.correction.id)) for f in found]
    allowed = TRACKER_STAGES if subject.startswith("tracker/") else DELIVERY_STATES
    for each in told:
        if each.ended is not None:
            each.standing = each.ended.outcome
        elif each.code not in allowed:
            each.standing = "setAside"
    return told


def _first(withdrawal: Withdrawal) -> tuple[Instant, str, str, str]:
    return withdrawal.at, withdrawal.outcome, withdrawal.author, withdrawal.reason


def counting(told: Sequence[Told]) -> list[Told]:
    """Those that have not ended, and say something that is known."""
    return [each for each in told if each.ended is None and each.standing != "setAside"]


def next_expiry(document: Document, after: int = 0) -> Instant | None:
    """When the next correction of a tracker's or a delivery's view expires; None where none does any more."""
    return min((at for _, at in _open(document) if at > after), default=None)


def expired(document: Document, now: Instant) -> list[Withdrawal]:
    """What must be journalled of the view's corrections that have expired."""
    due = [(correction, at) for correction, at in _open(document) if at <= now]
    return [
        Withdrawal(
            correction["id"], "expired", at, EXPIRED_BY, about_of(_subject(document), correction["orderId"])
        )
        for correction, at in due
    ]


def about_of(subject: str, order_id: str) -> tuple[str, ...]:
    """Whose facts a correction of this subject is, and its end."""
    return order_subject(order_id), subject


def _open(document: Document) -> Iterator[tuple[Document, Instant]]:
    # Views that were folded before there were any have none.
    for correction in document.get("corrections", ()):
        at = readable_instant(correction["expiresAt"])
        if at is not None and correction["endedAt"] is None:
            yield correction, at


def _subject(document: Document) -> str:
    if "trackingNumber" in document:
        return tracker_subject(document["carrierCode"], document["trackingNumber"])
    return delivery_subject(document["id"])


_STOOD: Final[Mapping[Standing, str]] = {
    "counts": "it outranks what occurred before it",
    "contradicted": "a scan that occurred after it says otherwise",
    "corrected": "a later word gives another time for the delivery",
    "overtaken": "what was told or occurred after it holds",
    "setAside": "Milepost doesn't know this state",
    "withdrawn": "it was withdrawn, and counts as if it had not been told",
    "expired": "it has expired, and counts as if it had not been told",
}


def explain_corrections(
    facts: Iterable[CorrectionFact | WithdrawalFact], corrections: Sequence[Told]
) -> Iterator[TraceEntry]:
    """What was made of each of these facts that is one of the corrections, or the end of one."""
    by_id = {told.correction.id: told for told in corrections}
    for fact in facts:
        if isinstance(fact, CorrectionFact):
            told = by_id.get(fact.correction.id)
            if told is not None and told.position == fact.position:
                said = f"{told.correction.author} told that it was {spoken(told.code)} at {told.text}"
                text = f"{said}: {_STOOD[told.standing]}."
                counts = told.standing == "counts"
                yield TraceEntry(fact.position, "correction", told.code, counts, "T11", text)
        elif fact.withdrawal.correction in by_id:
            yield TraceEntry(
                fact.position, "withdrawal", fact.withdrawal.outcome, True, "T11", ending(fact.withdrawal)
            )


def ending(withdrawal: Withdrawal) -> str:
    """How a correction ended, in a sentence."""
    at = format_instant(withdrawal.at)
    if withdrawal.outcome == "expired":
        return f"A correction expired at {at} and counts no longer."
    return f"{withdrawal.author} withdrew a correction at {at}; it counts no longer."
