"""The tracker fold: every fact about one tracking number to one view (tracking.md 9.3, T1-T12).

The fold reads a set: any order of the facts and any number of copies give the same canonical view. It gathers
what the answers show (`gathering`), merges it into scans and retracts some (`milestone`), walks them (`leg`),
and writes the view (here). Why a fact was used or set aside is told in `tracker_trace`.

A milestone event adds no state of its own: it says that something changed, and what changed is in an answer.
Milestones without `occurredAt` are kept and shown; they set the stage only where no dated one does, by when
they were first seen. A null answer and an empty list retract nothing (T8, T12). An agent's correction (T11) is one
more kind of `leg.Step`, and no scan: it stands in `corrections`, never among the milestones.
"""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from milepost.domain.correction import Told, counting, told_of
from milepost.domain.fact import Fact
from milepost.domain.gathering import Gathered
from milepost.domain.instant import DAY, Instant, Stamp
from milepost.domain.leg import Binding, Condition, Leg, ReturnClaim, Step, Window, mark_history, steps, walk
from milepost.domain.mapping import ONLY_STANDARD, CodeMapping, Mappings, code_term
from milepost.domain.milestone import (
    CONDITION_OF,
    KNOWN,
    REUSED_NUMBER_SUSPECTED,
    STAGE_OF,
    Scan,
    Scans,
    written,
)
from milepost.domain.record import tracker_subject
from milepost.domain.trace import TraceEntry
from milepost.domain.tracker_trace import explain_tracker

TRACKING_EXPIRED = "TRACKING_EXPIRED"

Document = dict[str, Any]


class Generation(Struct, frozen=True):
    """One use of the number. An order's parcel is in the first generation that the order is bound to."""

    number: int
    orders: tuple[str, ...]
    stage: str
    shipped: Stamp | None
    shipped_code: str
    shipped_position: int
    delivered: Stamp | None
    delivered_position: int
    shipped_is_told: bool = False
    """No scan shows that the carrier had it: a correction says so."""
    delivered_is_told: bool = False


class Tracker(Struct, frozen=True):
    """A tracker as its facts make it. `document` is the tracker view. Times and stage are those of the newest
    generation; `of_order` gives another's."""

    business_product_id: str
    carrier_code: str
    tracking_number: str
    document: Document
    stage: str
    position: int
    """The highest position among its facts; 0 without any."""
    orders: tuple[tuple[str, str | None], ...]
    """(order id, delivery id) it is known to carry; sorted."""
    shipped: Stamp | None
    """First possession by the carrier: the first milestone of IN_TRANSIT or later that counts."""
    shipped_code: str
    """The code of that milestone; empty without one. A milestone without a time gives a code and no stamp."""
    shipped_position: int
    """The lowest position of a fact that showed it; 0 without one."""
    delivered: Stamp | None
    """The DELIVERED milestone that counts; None when it was contradicted or retracted."""
    delivered_position: int
    """The lowest position of a fact that showed it; 0 without one."""
    terms: tuple[str, ...]
    trace: tuple[TraceEntry, ...]
    generations: tuple[Generation, ...] = ()
    """Every use of the number, oldest first."""

    def of_order(self, order_id: str) -> Generation:
        """The generation that carried this order's parcel; the newest when the order isn't bound to any."""
        bound = (g for g in self.generations if order_id in g.orders)
        return next(bound, self.generations[-1])


class Folded(Struct, frozen=True):
    """What the fold decided: what the view is written from."""

    scans: Scans
    listed: list[Scan]
    """Every scan, oldest first; superseded ones and those set aside too."""
    legs: list[Leg]
    windows: list[Window]
    told: list[Told]
    """Every correction, those that have ended too."""


def fold_tracker(
    business_product_id: str,
    carrier_code: str,
    tracking_number: str,
    facts: Sequence[Fact],
    explain: bool = False,
    mappings: Mappings = ONLY_STANDARD,
) -> Tracker:
    """Fold the facts of one tracker, in any order and with any copies, to its view. `mappings` says what codes mean:
    the version that holds is the newest that was journalled before the newest of the facts.

    Total: whatever the answers look like, there is a view. `explain` fills `trace`, one entry or more a fact.
    """
    gathered = Gathered(carrier_code, tracking_number, facts)
    position = max(gathered.facts, default=0)
    folded = _fold(gathered, mappings.at(position))
    leg = folded.legs[-1]
    orders = gathered.orders()
    generations = tuple(_generation(each) for each in folded.legs)
    newest = generations[-1]
    carrier = _spelling(gathered, carrier_code)
    last_fact_at = _last_fact_at(gathered, folded)
    estimate = _estimate(folded.windows, leg, gathered.ship_events)
    urls = [a.tracker.tracking_url for a in gathered.answers if a.tracker.tracking_url]
    document: Document = {
        "businessProductId": business_product_id,
        "carrierCode": carrier,
        "trackingNumber": tracking_number,
        "trackingUrl": urls[-1] if urls else None,
        "stage": leg.stage,
        "stageEnteredAt": _entered_at(leg),
        "generation": leg.generation,
        "orphan": not orders,
        "orders": [{"orderId": order, "deliveryId": delivery} for order, delivery in orders],
        "estimatedDelivery": estimate,
        "lastScanAt": _time(leg.last),
        "instants": _instants(leg),
        "failedAttempts": leg.attempts,
        "milestones": _milestones(folded),
        "conditions": _conditions(gathered, leg, bool(orders), last_fact_at),
        "corrections": [told.document() for told in folded.told],
        "lastFactAt": None if last_fact_at is None else written(last_fact_at),
        "position": position,
    }
    return Tracker(
        business_product_id,
        carrier,
        tracking_number,
        document,
        leg.stage,
        position,
        tuple(orders),
        newest.shipped,
        newest.shipped_code,
        newest.shipped_position,
        newest.delivered,
        newest.delivered_position,
        (tracking_number.lower(), *_code_terms(folded, gathered.carrier)),
        explain_tracker(gathered, folded.scans, folded.told, carrier) if explain else (),
        generations,
    )


def _code_terms(folded: Folded, carrier: str) -> list[str]:
    """By which it is found when one of its codes is mapped, or mapped otherwise."""
    codes = {scan.key[0] for scan in folded.scans.all} - KNOWN
    return sorted(code_term(code, carrier) for code in codes)


def _fold(gathered: Gathered, mapping: CodeMapping) -> Folded:
    scans = Scans(gathered.answers, mapping, gathered.carrier)
    windows = gathered.windows()
    told = told_of(gathered.facts.values(), tracker_subject(gathered.carrier, gathered.number))
    others: list[Binding | ReturnClaim | Told] = [*gathered.bindings(), *gathered.returns, *counting(told)]
    path, legs = _walk(scans.all, others, windows)
    retracted = scans.retracted()
    if retracted:
        standing = [scan for scan in scans.all if scan not in retracted]
        path, legs = _walk(standing, others, windows)
        for scan in retracted:
            scan.standing, scan.rule, scan.generation = "superseded", "T8", min(scan.generation, len(legs))
    mark_history(path)
    listed = [step for step in path if isinstance(step, Scan)]
    if len(listed) < len(scans.all):
        listed = sorted(scans.all, key=Scan.order)
    _suspect_reuse(listed, legs)
    return Folded(scans, listed, legs, windows, told)


def _walk(
    scans: Sequence[Scan], others: Sequence[Binding | ReturnClaim | Told], windows: Sequence[Window]
) -> tuple[list[Step], list[Leg]]:
    """Walk the scans; undated positional ones only where no dated one sets a stage."""
    undated = [scan for scan in scans if scan.occurred is None and scan.code in STAGE_OF]
    if not undated or not any(s.occurred is not None and s.code in STAGE_OF for s in scans):
        path = steps(scans, others)
        return path, walk(path, windows)
    path = steps([scan for scan in scans if scan not in undated], others)
    legs = walk(path, windows)
    for scan in undated:
        begun = [leg.generation for leg in legs if leg.started_at is None or leg.started_at <= scan.at]
        scan.standing, scan.rule, scan.generation = "setAside", "T1", begun[-1]
    return path, legs


def _suspect_reuse(scans: Sequence[Scan], legs: Sequence[Leg]) -> None:
    """T9: a scan from more than a day before the order was created is probably an earlier parcel's."""
    for leg in legs:
        created = [binding.at for binding in leg.orders.values() if binding.created]
        if not created:
            continue
        earliest = min(created) - DAY
        for scan in scans:
            if scan.generation == leg.generation and scan.occurred is not None and scan.at < earliest:
                scan.flags = (*scan.flags, REUSED_NUMBER_SUSPECTED)


def _generation(leg: Leg) -> Generation:
    possession, delivered = leg.possession or leg.told_possession, leg.delivered
    return Generation(
        leg.generation,
        tuple(sorted(leg.orders)),
        leg.stage,
        None if possession is None else possession.stamp(),
        "" if possession is None else possession.code,
        0 if possession is None else possession.position,
        None if delivered is None else delivered.stamp(),
        0 if delivered is None else delivered.position,
        isinstance(possession, Told),
        isinstance(delivered, Told),
    )


def _spelling(gathered: Gathered, carrier_code: str) -> str:
    """The carrier code as the newest answer wrote it, else as an event did."""
    if gathered.answers:
        return gathered.answers[-1].tracker.carrier_code
    return min(gathered.spellings, default=carrier_code)


# ── The view ───────────────────────────────────────────────────────────────────────────────────────────────


def _time(step: Scan | Told | None) -> str | None:
    return None if step is None else step.time()


def _entered_at(leg: Leg) -> str | None:
    if leg.stage == "RETURNED" and leg.returned_at is not None:
        return written(leg.returned_at)
    return _time(leg.entered)


def _instants(leg: Leg) -> Document:
    first = leg.first
    return {
        "firstInfoAt": _time(first.get("INFO_RECEIVED")),
        "firstPossessionAt": _time(leg.possession),
        "firstOutForDeliveryAt": _time(first.get("OUT_FOR_DELIVERY")),
        "firstAttemptAt": _time(first.get("DELIVERY_ATTEMPTED")),
        "readyAt": _time(first.get("AVAILABLE_FOR_PICKUP")),
        "deliveredAt": _time(leg.delivered),
        "returnStartedAt": _time(first.get("RETURN_TO_SENDER")),
    }


def _milestones(folded: Folded) -> list[Document]:
    return [
        {
            "code": scan.code,
            "rawCode": scan.raw_code,
            "occurredAt": scan.text,
            "localDate": None if scan.occurred is None else scan.occurred.local_date,
            "zone": None if scan.occurred is None else scan.occurred.zone,
            **_text_of(scan),
            "address": {
                "locality": scan.locality or None,
                "region": scan.region or None,
                "country": scan.country or None,
            },
            "standing": scan.standing,
            "generation": scan.generation,
            "flags": list(scan.flags),
            "observedAt": written(scan.first_observed),
            "position": scan.position,
        }
        for scan in folded.listed
    ]


def _text_of(scan: Scan) -> Document:
    """All the carrier's texts, and the one to show where a language isn't asked for: English, else the first."""
    messages = scan.messages
    if not messages:
        return {"message": None, "locale": None, "messages": []}
    locale, text = next((m for m in messages if m[0][:2].lower() == "en"), messages[0])
    return {
        "message": text,
        "locale": locale or None,
        "messages": [{"locale": known or None, "text": each} for known, each in messages],
    }


def _estimate(windows: Sequence[Window], leg: Leg, ship_events: Sequence[Instant]) -> Document | None:
    """The newest window, and beside it the promise: the first one seen after ship evidence, which then stays
    (tracking.md 8); without ship evidence the first one seen. A carrier that scanned nothing but DELIVERED had the
    parcel before that, nobody knows since when: then the ship event tells."""
    if leg.started_at is not None:
        windows = [w for w in windows if w.observed_at >= leg.started_at]
    if not windows:
        return None
    shipped_at: int | None = min(ship_events, default=None)
    if leg.possession is not None and leg.possession.code != "DELIVERED":
        shipped_at = leg.possession.at
    start = 0
    if shipped_at is not None:
        start = next((i for i, w in enumerate(windows) if w.observed_at >= shipped_at), 0)
    original = windows[start]
    later = {_bounds(w) for w in windows[start + 1 :]} - {_bounds(original)}
    current = windows[-1]
    written = current.latest or current.earliest
    return {
        **_window(current),
        "zone": None if written is None else written.zone,
        "original": _window(original),
        "revisions": len(later),
    }


def _bounds(window: Window) -> tuple[int | None, int | None]:
    earliest, latest = window.earliest, window.latest
    return None if earliest is None else earliest.at, None if latest is None else latest.at


def _window(window: Window) -> Document:
    earliest, latest = window.earliest, window.latest
    return {
        "earliest": None if earliest is None else earliest.text,
        "latest": None if latest is None else latest.text,
        "earliestDate": None if earliest is None else earliest.local_date,
        "latestDate": None if latest is None else latest.local_date,
    }


def _last_fact_at(gathered: Gathered, folded: Folded) -> Instant | None:
    """When the last new fact came in: an event, or the first answer to show a scan, a window or an order.
    Answers that repeat what was known are nothing new (T12 counts its 90 days from here)."""
    windows: dict[object, Instant] = {}
    for window in folded.windows:
        bounds = _bounds(window)
        windows[bounds] = min(window.received_at, windows.get(bounds, window.received_at))
    return max(
        (
            *(scan.first_received for scan in folded.scans.all),
            *gathered.told_at,
            *gathered.event_times.values(),
            *gathered.joins.values(),
            *windows.values(),
        ),
        default=None,
    )


def _conditions(gathered: Gathered, leg: Leg, adopted: bool, last_fact_at: Instant | None) -> list[Document]:
    """The newest generation's conditions, then the hub's by clock; ordered by code and kind, not by time."""
    found = [_condition(code, kind, condition) for (code, kind), condition in leg.conditions.items()]
    if not adopted and gathered.facts:
        found.append(_condition("ORPHAN", None, Condition(gathered.first_heard())))
    if gathered.conditions:
        found += _timed_conditions(gathered, last_fact_at)
    found.sort(key=lambda c: (c["code"], c["kind"] or "", c["source"]))
    return found


_CARRIER_CONDITIONS = frozenset(CONDITION_OF.values())


def _condition(code: str, kind: str | None, condition: Condition) -> Document:
    cleared_at = condition.cleared_at
    return {
        "code": code,
        "kind": kind,
        "source": "carrier" if code in _CARRIER_CONDITIONS else "hub",
        "raisedAt": written(condition.raised_at),
        "clearedAt": None if cleared_at is None else written(cleared_at),
        "count": condition.count,
        "evidence": condition.evidence,
    }


def _timed_conditions(gathered: Gathered, last_fact_at: Instant | None) -> list[Document]:
    """What the sweeper raised and cleared: for each subject, code and kind the latest change holds."""
    found: dict[tuple[str, str, str], Condition] = {}
    for fact in sorted(gathered.conditions, key=lambda f: (f.change.at, f.position)):
        change = fact.change
        kind, count = change.evidence.get("kind"), change.evidence.get("count")
        key = (change.code, kind if isinstance(kind, str) else "", change.subject)
        known = found.get(key)
        if change.raised:
            if known is None or known.cleared_at is not None:
                known = found[key] = Condition(change.at)
            known.count = count if isinstance(count, int) else None
            known.evidence = change.evidence
        elif known is not None and known.cleared_at is None:
            known.cleared_at = change.at
    for (code, _, _), condition in found.items():
        open_expiry = code == TRACKING_EXPIRED and condition.cleared_at is None
        if open_expiry and last_fact_at is not None and last_fact_at > condition.raised_at:
            condition.cleared_at = last_fact_at  # T12: something new reopens it
    return [
        _condition(code, kind or None, found[code, kind, subject]) for code, kind, subject in sorted(found)
    ]
