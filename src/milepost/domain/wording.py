"""What codes mean in plain words: event types, milestones, conditions, settlements, states of captures.

For people, in timelines and pages. A code that nobody has documented gets a sentence too. Nothing is decided here.
"""

import re

_HUMPS = re.compile(r"(?<=[a-z])(?=[A-Z])|[_.]")

EVENT_TEXTS = {
    "PACKAGE_DELIVERY_IN_TRANSIT": "The delivery was shipped.",
    "PACKAGE_DELIVERED": "The delivery was delivered.",
    "PACKAGE_DELIVERY_CANCELLED": "The delivery was cancelled. A refund request follows.",
    "PACKAGE_TRACKER_MILESTONE_CHANGED": "The carrier reported something new about the parcel.",
    "REFUND_REQUESTED": "A refund was requested; the merchant must process it.",
    "REFUND_COMPLETED": "The refund was completed.",
    "RETURN_STARTED": "The shopper started a return.",
    "RETURN_COMPLETED": "The return was completed.",
    "RETURN_ITEM_GRADED": "A returned item was graded.",
    "RETURN_PACKAGE_IN_TRANSIT": "The return parcel is on its way.",
    "RETURN_PACKAGE_DELIVERED": "The return parcel arrived.",
    "RETURN_PACKAGE_DELIVERY_FAILED": "The return parcel could not be delivered.",
}

MILESTONE_TEXTS = {
    "PENDING": "The carrier has no tracking information yet.",
    "INFO_RECEIVED": "The carrier was told of the parcel but does not have it yet.",
    "IN_TRANSIT": "The carrier has the parcel and it is on its way.",
    "DELAYED": "The carrier says that the parcel is delayed.",
    "OUT_FOR_DELIVERY": "The parcel is out for delivery.",
    "AVAILABLE_FOR_PICKUP": "The parcel is ready to be picked up.",
    "DELIVERY_ATTEMPTED": "The carrier tried to deliver and failed.",
    "DELIVERED": "The parcel was delivered.",
    "EXCEPTION": "Something went wrong with the parcel at the carrier.",
    "LOST": "The carrier says that the parcel is lost.",
    "UNDELIVERABLE": "The carrier says that the parcel cannot be delivered.",
    "RETURN_TO_SENDER": "The parcel is going back to the sender.",
    "CUSTOMER_ACTION": "The carrier waits for the recipient to do something.",
}
"""The 13 codes of PackageMilestoneStatus (buy-with-prime.md 5.2)."""

CONDITION_TEXTS = {
    "LATE": "The promised day has passed and the delivery is not there.",
    "WILL_BE_LATE": "The delivery is expected after the promised day.",
    "NEVER_SCANNED": "Shipped days ago, and no carrier has scanned it.",
    "STALLED": "No scan for days while the parcel should be moving.",
    "PICKUP_AGING": "The parcel has been waiting to be picked up for days.",
    "TRACKING_EXPIRED": "Nothing new for 90 days: tracking has ended, the last state stays.",
    "RETURN_UNCONFIRMED": "The parcel was on its way back; nobody has confirmed that it arrived.",
    "CONTRADICTION": "The sources contradict each other.",
    "UNMAPPED_CODE": "The carrier reported a code that Milepost does not know.",
    "ORPHAN": "No order is known for this parcel.",
    "DELAYED": "The carrier says that the parcel is delayed.",
    "EXCEPTION": "Something went wrong with the parcel at the carrier.",
    "CUSTOMER_ACTION": "The carrier waits for the recipient to do something.",
    "ATTEMPT_FAILED": "The carrier tried to deliver and failed.",
    "AUTHORIZATION_EXPIRING": "Payment can soon no longer be collected, and something has not shipped.",
    "AUTHORIZATION_EXPIRED": "Payment can no longer be collected, and something has not shipped.",
}

CONTRADICTION_TEXTS = {
    "cancelled_but_moving": "The delivery was cancelled, yet it was moving.",
    "delivered_retracted": "The parcel was reported delivered, yet the carrier scanned it again later.",
    "delivered_without_tracker": "The order says delivered; the carrier has not said so.",
    "tracker_without_delivered": "The carrier says delivered; no event of the order has said so.",
    "moving_without_ship_event": "The carrier moves the parcel; no event of the order has said that it shipped.",
}

SETTLEMENT_TEXTS = {
    "noNewMilestone": "Asking the carrier's tracker again showed nothing new; the event is settled as it is.",
    "gaveUp": "Milepost gave up asking Buy with Prime about this event.",
}

CAPTURE_TEXTS = {
    "READY": "It shipped: payment may be collected.",
    "SENT": "A subscriber was told that payment may be collected.",
    "ACKED": "It was acknowledged that payment is collected.",
    "FAILED": "Telling that payment may be collected failed.",
    "HELD": "Payment is held back for now.",
    "VOID": "Payment will not be collected.",
}
"""The states of a capture that a ledger shows."""

HOLD_TEXTS = {
    "cancelled_but_moving": "the delivery was cancelled, yet it was moving",
    "evidence_withdrawn": "what showed that it shipped did not happen",
    "order_not_known": "nobody has said yet what is in the parcel",
    "inferred": "it is inferred, and a person looks at it first",
}
"""Why a fold holds payment back (`eligibility`); people give reasons of their own."""


def hold_text(reason: str) -> str:
    """Why payment is held, void or failed, as the part of a sentence behind `Reason:`; without a full stop."""
    return HOLD_TEXTS.get(reason, reason.rstrip("."))


def spoken(code: str) -> str:
    """A state, a stage, a milestone or another code within a sentence: `OUT_FOR_DELIVERY` is `out for delivery`."""
    return _HUMPS.sub(" ", code).lower()


def milestone_name(code: str) -> str:
    """What a milestone is called: `Out for delivery`; a code that nobody knows stands as the carrier wrote it."""
    return spoken(code).capitalize() if code in MILESTONE_TEXTS else code


def event_text(type: str) -> str:
    """A plain sentence for an event type, known or not."""
    return EVENT_TEXTS.get(type, f"Buy with Prime published {type}.")


def milestone_text(code: str, raw_code: str | None = None) -> str:
    """A plain sentence for a milestone code, known or not."""
    unknown = f"The carrier reported {raw_code or code}, a code that Milepost does not know; the stage stays."
    return MILESTONE_TEXTS.get(code, unknown)


def condition_text(code: str, kind: str | None = None) -> str:
    """A plain sentence for a condition; `kind` is a contradiction's."""
    if kind is not None and kind in CONTRADICTION_TEXTS:
        return CONTRADICTION_TEXTS[kind]
    return CONDITION_TEXTS.get(code, f"The condition {code} holds.")


def capture_text(state: str) -> str:
    """A plain sentence for a capture that came to this state."""
    return CAPTURE_TEXTS.get(state, f"The capture is {spoken(state)}.")
