"""What each work queue tells its reader: a title, what it means, and what to do about it, in plain words.

Also what may be done to its items at once. What is in a queue is `queue`'s.
"""

from collections.abc import Mapping
from typing import Final, Literal, get_args

from msgspec import Struct

from milepost.domain.queue import QueueName

QueueAction = Literal["note", "snooze", "assign", "handled", "reopen", "ask", "release", "resend"]
ACTIONS: Final[tuple[QueueAction, ...]] = get_args(QueueAction)
_MARKS: Final[tuple[QueueAction, ...]] = ("assign", "snooze", "handled", "reopen")
_PARCEL: Final[tuple[QueueAction, ...]] = (*_MARKS, "note", "ask")


class Guide(Struct, frozen=True):
    """How a queue is presented."""

    title: str
    meaning: str
    advice: str
    actions: tuple[QueueAction, ...] = _PARCEL


GUIDES: Final[Mapping[QueueName, Guide]] = {
    "never-scanned": Guide(
        "Never scanned",
        "Said to be shipped days ago, and no carrier has scanned it.",
        "Never scanned is not the same as not shipped: ask the warehouse whether it was handed over, "
        "and send a new parcel only when it was not.",
    ),
    "stalled": Guide(
        "Stalled",
        "It was moving, and nothing was heard of it for days.",
        "Open a search with the carrier, and tell the shopper what you know before they ask.",
    ),
    "late": Guide(
        "Late",
        "The promised day is over, and it has not come.",
        "Write to the shopper first: say when it is expected now, and what you offer if it does not come.",
    ),
    "will-be-late": Guide(
        "Will be late",
        "The estimate is later than what was promised.",
        "Tell the shopper the new day now; there is nothing to chase yet.",
    ),
    "attempted": Guide(
        "Delivery attempted",
        "The carrier was there and could not deliver.",
        "Check the address with the shopper, and ask whether the carrier comes again or it must be picked up.",
    ),
    "customer-action": Guide(
        "Customer must act",
        "The carrier waits for the shopper: customs, an address, an appointment.",
        "Tell the shopper exactly what the carrier needs, and by when; it goes back if nobody acts.",
    ),
    "exception": Guide(
        "Exception, lost or undeliverable",
        "The carrier reports a problem, has lost the parcel, or could not deliver it.",
        "Read the carrier's last message; a lost or undeliverable parcel needs a claim and a replacement or refund.",
    ),
    "contradiction": Guide(
        "Contradiction",
        "Buy with Prime and the carrier say different things.",
        "Believe neither yet: ask again, and collect or refund nothing until they agree.",
    ),
    "pickup-ageing": Guide(
        "Waiting for pickup",
        "It lies at a pickup point, and nobody has come for it.",
        "Remind the shopper where it is and until when; it goes back after about a week.",
    ),
    "return-unconfirmed": Guide(
        "Return not confirmed",
        "It is on its way back, and nobody has said that it arrived.",
        "Ask the warehouse whether it came in, and refund by what they find.",
    ),
    "orphans": Guide(
        "Orphans",
        "The carrier reports a parcel that no order of yours is known to have.",
        "Ask again; if it stays, the order's events are not subscribed to, or it is not your parcel.",
        (*_MARKS, "ask"),
    ),
    "unmapped-codes": Guide(
        "Unmapped codes",
        "The carrier sent a code that Milepost does not know.",
        "It is shown and changes no state: map the code if it means something, and nothing else is to be done.",
        _MARKS,
    ),
    "authorization-expiring": Guide(
        "Authorization expires soon",
        "Payment can be collected for only hours more, and something has not shipped.",
        "Ship it today, or ask for a new authorization before this one ends.",
    ),
    "authorization-expired": Guide(
        "Authorization expired",
        "The time to collect payment is over, and something has not shipped.",
        "Do not ship it as it is: get a new authorization first, or cancel what is left.",
    ),
    "captures-held": Guide(
        "Captures held",
        "Payment is not being collected, because somebody or a contradiction holds it back.",
        "Find out why it is held, and release it once the parcel is known to have shipped.",
        ("assign", "note", "release"),
    ),
    "captures-failed": Guide(
        "Captures failed",
        "It shipped, and collecting the payment failed.",
        "Look at the attempts for the reason, mend it, and send it again.",
        ("assign", "note", "resend"),
    ),
}
"""Of each of `queue.NAMES`, in the order in which they are shown."""
