"""When payment for a delivery may be collected: the capture that ship evidence makes due, and what speaks against it.

The first ship evidence makes a capture due (tracking.md 10): a carrier's scan, the ship event, an answer that shows
it; DELIVERED alone is enough, and marked `inferred`, as is an answer without the event. A label never is.

Three things hold it back, as `hold_reason` says, and a fourth: an agent's word alone is looked at by somebody who may
let payment be collected, and so is everything inferred where somebody wants to look at it. The other contradictions
(a delivery that was retracted, an event that is missing) are about the arrival or about what Milepost was not told;
they do not make it doubtful that the parcel left, so they hold nothing.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal

from milepost.domain.capture import PROJECTOR, Capture, Transition, capture_id
from milepost.domain.delivery import CANCELLED_BUT_MOVING
from milepost.domain.instant import Instant

ORDER_NOT_KNOWN: Final = "order_not_known"
"""No answer has shown the order yet, so nobody knows what is in the parcel."""
EVIDENCE_WITHDRAWN: Final = "evidence_withdrawn"
"""What showed that it shipped did not happen (T8), or the order no longer shows the delivery."""
REVIEW_INFERRED: Final = "inferred"
"""It is inferred, from an agent's correction or where whoever runs the hub wants to review that. It holds only what
was never let go."""

Document = Mapping[str, Any]


def hold_reason(order: Document, delivery: Document, *, review_inferred: bool = False) -> str:
    """Why payment must not be collected for a delivery of which there was ship evidence; empty when it may."""
    for condition in delivery["conditions"]:
        if condition["kind"] == CANCELLED_BUT_MOVING and condition["clearedAt"] is None:
            return CANCELLED_BUT_MOVING
    first = delivery["shipEvidence"]
    if first is None:
        return EVIDENCE_WITHDRAWN
    if not order["lineItems"]:
        return ORDER_NOT_KNOWN
    # Who corrects what a parcel's state is, is not who lets payment be collected.
    is_doubtful = first["kind"] == "correction" or (review_inferred and _inferred(delivery, first))
    return REVIEW_INFERRED if is_doubtful else ""


def due_capture(order: Document, delivery: Document, hold: str, now: Instant) -> Capture:
    """The capture of a delivery that shipped, as it is made at this moment."""
    product, order_id, delivery_id = order["businessProductId"], order["id"], delivery["id"]
    first = delivery["shipEvidence"]
    state: Literal["HELD", "READY"] = "HELD" if hold else "READY"
    return Capture(
        capture_id(product, order_id, delivery_id),
        product,
        order_id,
        delivery_id,
        state,
        now,
        () if first is None else tuple(_evidence(delivery, first)),
        tuple(delivery["lineItems"]),
        (Transition(now, state, PROJECTOR, hold),),
        first is not None and _inferred(delivery, first),
        hold,
        carrier_codes=carriers_of(delivery),
    )


def carriers_of(delivery: Document) -> tuple[str, ...]:
    """The codes of the carriers of a delivery, each once."""
    return tuple(dict.fromkeys(tracker["carrierCode"] for tracker in delivery["trackers"]))


def _inferred(delivery: Document, first: Document) -> bool:
    unscanned = first["kind"] != "milestone" and delivery["events"]["inTransit"] is None
    return bool(first["inferred"]) or unscanned


def _evidence(delivery: Document, first: Document) -> Iterator[dict[str, Any]]:
    """The ship evidence, then what else shows it: the ship event, and each carrier's first possession. The local
    date is the one that decides a tax period. No tracking number: what stays in the ledger for ever leads to nobody's
    door."""
    yield {
        "kind": first["kind"],
        "type": first["type"],
        "at": first["at"],
        "position": first["position"],
        "localDate": delivery["shippedOn"],
        "zone": delivery["shippedAtZone"],
    }
    shipped = delivery["events"]["inTransit"]
    if shipped is not None and shipped != first["at"]:
        yield {"kind": "event", "type": "PACKAGE_DELIVERY_IN_TRANSIT", "at": shipped}
    for tracker in delivery["trackers"]:
        if tracker["shippedAt"] is not None and tracker["shippedAt"] != first["at"]:
            yield {"kind": "milestone", "at": tracker["shippedAt"], "carrierCode": tracker["carrierCode"]}
