"""The delivery fold: everything known of one delivery to one view (tracking.md 9.4, D1-D5).

A delivery's state is decided from a set of claims, never from the latest thing to arrive: every time compared
here is an event's published time, an answer's observed time or a scan's occurred time. What arrives when plays
no part. The rules, with the design's changes (flow 4):

- **D1** DELIVERED over IN_TRANSIT over PENDING, over events, order answers and possession by a carrier. A
  tracker's DELIVERED is possession too but does not make the delivery DELIVERED: D3 folds the two apart and
  compares them, and could find no difference if one were made from the other.
- **D2** A cancellation without movement is final. One with reason UNDELIVERABLE after movement is a normal end.
  Any other with movement, and any with DELIVERED evidence or movement after it, leaves the physical truth and
  raises CONTRADICTION, kind cancelled_but_moving. While no answer has told the reason, it counts as another.
- **D3** needs time, so it is `condition`'s; the document shows both sides: `claimedState` (what events and
  order answers say), `events` (published times) and `deliveredAt`; each tracker's `stage`, `shippedAt` and
  `deliveredAt`.
- **D4** `shippedAt`: the first scan, else the ship event's published time, else when an answer first showed it,
  and `deliveredAt` likewise; each with its source, its zone's provenance and the local date as written.
- **D5** Trackers and line items are many-to-many: every tracker that an answer named stays.
- **T11** An agent's correction is a claim that outranks what was claimed before the time it speaks of. It is ship
  evidence only where there is no other, and then `inferred`.

The claims are gathered in `evidence`, the delivery's trackers in `parcel`. Which deliveries an order has is
`order`'s, scans are `tracker`'s.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from msgspec import Struct

from milepost.domain.correction import counting, explain_corrections
from milepost.domain.evidence import CANCELLED, DELIVERED, IN_TRANSIT, PENDING, Claim, Evidence
from milepost.domain.fact import ConditionFact
from milepost.domain.instant import Instant, Stamp, format_instant, parse_instant
from milepost.domain.parcel import (
    Parcel,
    Possession,
    latest_estimate,
    parcels_of,
    possession_of,
    tracker_document,
    written,
)
from milepost.domain.trace import TraceEntry
from milepost.domain.tracker import Tracker
from milepost.domain.wording import spoken

UNDELIVERABLE = "UNDELIVERABLE"
RETURN_TO_SENDER = "RETURN_TO_SENDER"

CONTRADICTION = "CONTRADICTION"
CANCELLED_BUT_MOVING = "cancelled_but_moving"

_STATES = frozenset({PENDING, IN_TRANSIT, DELIVERED, CANCELLED})
_FORWARD = frozenset(
    {"IN_TRANSIT", "OUT_FOR_DELIVERY", "AVAILABLE_FOR_PICKUP", "DELIVERY_ATTEMPTED", "DELIVERED"}
)
"""Milestones that mean movement towards the recipient."""

Source = Literal["possession", "milestone", "event", "snapshot", "correction"]


class Delivery(Struct, frozen=True):
    """A delivery as its facts make it. `document` is the delivery view."""

    id: str
    document: dict[str, Any]
    state: str
    position: int
    """The highest position among its facts and its trackers' facts."""
    terms: tuple[str, ...]
    trace: tuple[TraceEntry, ...]


class _Decision(NamedTuple):
    state: str
    reason: str | None
    contradiction: dict[str, Any] | None


def fold_delivery(
    business_product_id: str,
    order_id: str,
    evidence: Evidence,
    trackers: Mapping[str, Tracker],
    explain: bool = False,
) -> Delivery:
    """One delivery's view from its evidence and its trackers (by `record.tracker_subject`)."""
    parcels = parcels_of(order_id, evidence, trackers)
    first = min(filter(None, map(possession_of, parcels)), key=Possession.order, default=None)
    ship_evidence = _ship_evidence(evidence, first)
    decision = _decide(evidence, parcels, ship_evidence)
    shipped, shipped_source = _shipped(evidence, first)
    delivered, delivered_source = (None, None)
    if decision.state == DELIVERED:
        delivered, delivered_source = _delivered(evidence, parcels)
    position = max([evidence.position, *(p.tracker.position for p in parcels if p.tracker is not None)])
    document = {
        "id": evidence.delivery_id,
        "businessProductId": business_product_id,
        "orderId": order_id,
        "state": decision.state,
        "reason": decision.reason,
        "shippedAt": written(shipped.at if shipped else None),
        "shippedOn": shipped.local_date if shipped else None,
        "shippedAtZone": shipped.zone if shipped else None,
        "shippedAtSource": shipped_source,
        "deliveredAt": written(delivered.at if delivered else None),
        "deliveredOn": delivered.local_date if delivered else None,
        "deliveredAtZone": delivered.zone if delivered else None,
        "deliveredAtSource": delivered_source,
        "shipEvidence": ship_evidence,
        "claimedState": _claimed_state(evidence),
        "events": _events(evidence),
        "estimatedDelivery": latest_estimate(parcels),
        "lineItems": _line_items(evidence),
        "trackers": [tracker_document(p) for p in parcels],
        "conditions": _conditions(evidence, decision.contradiction, parcels),
        "corrections": _corrections(evidence, decision.state),
        "capture": None,
        "position": position,
    }
    terms = dict.fromkeys([evidence.delivery_id.lower(), *(p.tracking_number.lower() for p in parcels)])
    trace = tuple(_trace(evidence, decision, first)) if explain else ()
    return Delivery(evidence.delivery_id, document, decision.state, position, tuple(terms), trace)


# ── State (D1, D2) ─────────────────────────────────────────────────────────────────────────────────────────


def _decide(
    evidence: Evidence, parcels: Sequence[Parcel], ship_evidence: Mapping[str, Any] | None
) -> _Decision:
    """D1 over everything but cancellations, then D2."""
    believed, told = evidence.believed(), evidence.corrected()
    claimed = {claim.state for claim in believed} | ({told.code} if told is not None else set())
    truth = DELIVERED if DELIVERED in claimed else IN_TRANSIT if ship_evidence is not None else PENDING
    cancelled = min((claim for claim in believed if claim.state == CANCELLED), default=None)
    if cancelled is None:
        return _Decision(truth, None, None)
    answers = (package for _, package in evidence.answers if package.state == CANCELLED)
    reason = next((package.reason for package in answers if package.reason is not None), None)
    if ship_evidence is None:
        return _Decision(CANCELLED, reason, None)
    if truth == IN_TRANSIT and reason == UNDELIVERABLE and not _belied(evidence, parcels, cancelled.at):
        return _Decision(CANCELLED, reason, None)
    moved_at = parse_instant(ship_evidence["at"])
    contradiction = {
        "code": CONTRADICTION,
        "kind": CANCELLED_BUT_MOVING,
        "source": "hub",
        "raisedAt": format_instant(max(cancelled.at, moved_at)),
        "clearedAt": None,
        "count": None,
        "evidence": {
            "cancelledAt": format_instant(cancelled.at),
            "reason": reason,
            "movedAt": ship_evidence["at"],
        },
    }
    return _Decision(truth, None, contradiction)


def _claimed_state(evidence: Evidence) -> str:
    """What events and order answers alone claim, carriers left aside: D3 holds it against the trackers."""
    claimed = {claim.state for claim in evidence.claims}
    return next((state for state in (DELIVERED, IN_TRANSIT, CANCELLED) if state in claimed), PENDING)


def _belied(evidence: Evidence, parcels: Sequence[Parcel], cancelled_at: Instant) -> bool:
    """Whether UNDELIVERABLE was no normal end: movement after it, or a carrier that says it was delivered.

    Amazon's word counts when it is newer than its last word of the cancellation: an answer taken between the
    event and the answer that confirms it was merely stale. Of a parcel on its way back scans are expected.
    """
    confirmed_at = max(c.at for c in evidence.claims if c.state == CANCELLED)
    if any(c.state == IN_TRANSIT and c.at > confirmed_at for c in evidence.claims):
        return True
    listed = [parcel.milestones() for parcel in parcels]
    outbound = [milestones for milestones in listed if all(m["code"] != RETURN_TO_SENDER for m in milestones)]
    return any(_forward_after(m, cancelled_at) for milestones in outbound for m in milestones)


def _forward_after(milestone: Mapping[str, Any], cancelled_at: Instant) -> bool:
    if milestone["code"] == DELIVERED and milestone["standing"] != "contradicted":
        return True
    occurred = milestone["occurredAt"]
    return milestone["code"] in _FORWARD and occurred is not None and parse_instant(occurred) > cancelled_at


# ── Times and evidence (D4) ────────────────────────────────────────────────────────────────────────────────


def _shipped(evidence: Evidence, first: Possession | None) -> tuple[Stamp | None, Source | None]:
    """A carrier whose only scan is DELIVERED had the parcel by then, but shipped it before: that comes last."""
    if first is not None and first.stamp is not None and not first.inferred:
        return first.stamp, "possession"
    if (claim := evidence.first(IN_TRANSIT, answer=False)) is not None:
        return _stamp(claim.at), "event"
    if (claim := evidence.first(IN_TRANSIT, answer=True)) is not None:
        return _stamp(claim.at), "snapshot"
    if first is not None and not first.told:
        return (first.stamp, "possession") if first.stamp is not None else (_stamp(first.at), "snapshot")
    if first is not None:
        return first.stamp, "correction"
    earliest = next(iter(counting(evidence.corrections)), None)
    return (None, None) if earliest is None else (earliest.occurred, "correction")


def _delivered(evidence: Evidence, parcels: Sequence[Parcel]) -> tuple[Stamp | None, Source | None]:
    """Of several trackers' DELIVERED the last: then the whole delivery was there. A correction of the delivery stands
    over everything that occurred before it."""
    told = evidence.corrected()
    scans: list[tuple[Stamp, Source]] = [
        (generation.delivered, "correction" if generation.delivered_is_told else "milestone")
        for parcel in parcels
        if (generation := parcel.generation) is not None and generation.delivered is not None
        if told is None or generation.delivered.at > told.at
    ]
    if scans:
        return max(scans, key=lambda scan: (scan[0].at, scan[0].text, scan[1]))
    if told is not None and told.code == DELIVERED:
        return told.occurred, "correction"
    claims = [claim for claim in evidence.believed() if claim.state == DELIVERED]
    if (at := min((c.at for c in claims if not c.answer), default=None)) is not None:
        return _stamp(at), "event"
    at = min((claim.at for claim in claims), default=None)
    return (None, None) if at is None else (_stamp(at), "snapshot")


def _ship_evidence(evidence: Evidence, first: Possession | None) -> dict[str, Any] | None:
    """The first ship evidence (tracking.md 10). Only where there is none, DELIVERED alone, and only where there is
    not even that an agent's correction: then `inferred`.

    A label, INFO_RECEIVED and PENDING are none. At one time a scan comes before an event before an answer.
    """
    candidates: list[tuple[int, int, int, str, int, str]] = []
    for claim in evidence.claims:
        if claim.state in (IN_TRANSIT, DELIVERED):
            kind = "snapshot" if claim.kind == "snapshot" else "event"
            rank = 2 if claim.answer else 1
            inferred = int(claim.state == DELIVERED)
            candidates.append((inferred, claim.at, rank, claim.type, claim.position, kind))
    if first is not None and first.told:
        candidates.append((2, first.at, 0, first.code, first.position, "correction"))
    elif first is not None:
        candidates.append((int(first.inferred), first.at, 0, first.code, first.position, "milestone"))
    else:
        words = counting(evidence.corrections)
        candidates += [(2, told.at, 0, told.code, told.position, "correction") for told in words]
    if not candidates:
        return None
    doubt, at, _, what, position, kind = min(candidates)
    return {
        "kind": kind,
        "type": what,
        "position": position,
        "at": written(Instant(at)),
        "inferred": doubt > 0,
    }


def _events(evidence: Evidence) -> dict[str, str | None]:
    """When each of the three delivery events was first published, for D3 and for finding lost ones."""
    found: dict[str, Instant] = {}
    for claim in evidence.claims:
        if not claim.answer:
            found[claim.state] = min(claim.at, found.get(claim.state, claim.at))
    return {
        "inTransit": written(found.get(IN_TRANSIT)),
        "delivered": written(found.get(DELIVERED)),
        "cancelled": written(found.get(CANCELLED)),
    }


@lru_cache(maxsize=8_192)
def _stamp(at: Instant) -> Stamp:
    """The stamp of a time that is written in UTC: an event's or an answer's."""
    text = format_instant(at)
    return Stamp(at, text[:10], "utc", text)


def _corrections(evidence: Evidence, state: str) -> list[dict[str, Any]]:
    """As views show them. The last that counts holds, unless what occurred after it made another state."""
    told = evidence.corrected()
    for each in counting(evidence.corrections):
        if each is not told or each.code != state:
            each.standing = "overtaken"
    return [each.document() for each in evidence.corrections]


# ── Contents and conditions ────────────────────────────────────────────────────────────────────────────────


def _line_items(evidence: Evidence) -> list[dict[str, Any]]:
    """The newest list there is; quantities the newest known (an event's `data` has none)."""
    listed: list[str] = []
    amounts: dict[str, tuple[str, str | None]] = {}
    for _, package in evidence.answers:
        listed = listed or [item[0] for item in package.line_items]
        for item_id, quantity, unit in package.line_items:
            if quantity is not None and item_id not in amounts:
                amounts[item_id] = (quantity, unit)
    none = (None, None)
    return [
        {"id": i, "quantity": amounts.get(i, none)[0], "unit": amounts.get(i, none)[1]}
        for i in dict.fromkeys(listed)
    ]


def _conditions(
    evidence: Evidence, contradiction: dict[str, Any] | None, parcels: Sequence[Parcel]
) -> list[dict[str, Any]]:
    """The delivery's own, then its trackers' (their evidence then names the tracker)."""
    found = [contradiction] if contradiction is not None else []
    if evidence.conditions:
        found += raised(evidence.conditions)
    for parcel in parcels:
        if parcel.tracker is not None and parcel.current:
            where = {"carrierCode": parcel.tracker.carrier_code, "trackingNumber": parcel.tracking_number}
            listed = parcel.tracker.document["conditions"]
            found += [{**c, "evidence": {**c["evidence"], **where}} for c in listed]
    return found


def raised(facts: Sequence[ConditionFact]) -> list[dict[str, Any]]:
    """What the sweeper raised and cleared: the last raising of each; a higher count is the same one, worse."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for change in sorted(
        (f.change for f in facts), key=lambda c: (c.at, not c.raised, c.code, str(c.evidence))
    ):
        kind, count = change.evidence.get("kind"), change.evidence.get("count")
        key = (change.code, kind if isinstance(kind, str) else "")
        known = found.get(key)
        if change.raised:
            if known is None or known["clearedAt"] is not None:
                known = found[key] = {
                    "code": change.code,
                    "kind": key[1] or None,
                    "source": "hub",
                    "raisedAt": format_instant(change.at),
                    "clearedAt": None,
                }
            known |= {"count": count if isinstance(count, int) else None, "evidence": change.evidence}
        elif known is not None and known["clearedAt"] is None:
            known["clearedAt"] = format_instant(change.at)
    return [found[key] for key in sorted(found)]


# ── Explanation ────────────────────────────────────────────────────────────────────────────────────────────


def _trace(evidence: Evidence, decision: _Decision, first: Possession | None) -> Iterator[TraceEntry]:
    told: dict[tuple[str, bool], Claim] = {}
    outranked = {c for c in evidence.claims if c.state in (DELIVERED, CANCELLED)} - set(evidence.believed())
    for claim in sorted(evidence.claims):
        earlier = told.setdefault((claim.state, claim.answer), claim)
        used, rule, why = _verdict(claim, earlier, decision)
        if claim in outranked and claim.state != decision.state:
            used, rule, why = False, "T11", "an agent told of a later time, which outranks it"
        verb = "shows" if claim.answer else "says"
        text = (
            f"{claim.name} of {format_instant(claim.at)} {verb} {spoken(claim.state) or 'no state'}: {why}."
        )
        yield TraceEntry(claim.position, claim.kind, claim.type, used, rule, text)
    if first is not None:
        when = first.stamp.text if first.stamp is not None else "a time it doesn't tell"
        kind = "correction" if first.told else "snapshot"
        text = f"Carrier {first.carrier_code} had the parcel at {when}: it was shipped by then."
        yield TraceEntry(first.position, kind, first.code, True, "D4", text)
    for fact in evidence.conditions:
        verb = "raised" if fact.change.raised else "cleared"
        text = f"“{spoken(fact.change.code).capitalize()}” was {verb} at {format_instant(fact.change.at)}."
        yield TraceEntry(fact.position, "condition", fact.change.code, True, "D3", text)
    yield from explain_corrections(evidence.told, evidence.corrections)


def _verdict(claim: Claim, earlier: Claim, decision: _Decision) -> tuple[bool, str, str]:
    """(used, rule, why) of one claim, given the earliest of its sort and what was decided."""
    if claim.state not in _STATES:
        return False, "D1", "not a state that Milepost knows, so it claims nothing"
    if claim is not earlier:
        return False, "D1", f"told already by position {earlier.position}"
    if claim.state == CANCELLED:
        if decision.contradiction is not None:
            return (
                True,
                "D2",
                f"but there is movement, so {spoken(decision.state)} stays and the contradiction is shown",
            )
        moved = decision.reason == UNDELIVERABLE
        return True, "D2", "it could not be delivered, a normal end" if moved else "nothing shows movement"
    if claim.state == decision.state:
        return True, "D1", f"the delivery is {spoken(decision.state)}"
    if claim.state == PENDING:
        return False, "D1", f"that it is {spoken(decision.state)} is known from other evidence"
    return True, "D4", f"the delivery is {spoken(decision.state)}; this tells when it was shipped"
