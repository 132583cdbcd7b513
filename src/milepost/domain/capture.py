"""Captures: the signal that payment for a delivery may be collected, as a ledger (tracking.md 10).

One capture an (order, delivery), for life: its id is made from these, so that whoever collects can use it as the
idempotency key, and importing everything anew gives the same one. It says what may be collected for and why, never
how much: amounts are a suggestion, where the order's prices are known.

Its states, and what moves it from one to another (`move`). `=` changes nothing and is no error, an empty cell is
refused:

| action      | READY  | SENT  | FAILED | HELD       | ACKED | VOID  | who and when                                  |
|-------------|--------|-------|--------|------------|-------|-------|-----------------------------------------------|
| take        | SENT   | =     | SENT   | =          | =     | =     | publisher: a subscriber took the message      |
| give_up     | FAILED | =     | =      | =          | =     | =     | publisher: no subscriber took it, for good    |
| acknowledge | ACKED  | ACKED | ACKED  | ACKED      | =     | ACKED | a subscriber's answer, API, CLI: collected    |
| fail        | FAILED | FAILED| =      |            |       |       | API, CLI: whoever collects could not          |
| hold        | HELD   | HELD  | HELD   | =          |       |       | projector: a contradiction; API, CLI          |
| release     |        |       |        | as it was  |       |       | projector: it is resolved; API, CLI           |
| void        | VOID   | VOID  | VOID   | VOID       |       | =     | API, CLI: never to be collected               |

ACKED is the end: nothing leads out of it, and its message is never sent again. Before that it is sent again only
after an attempt that failed or whose end is unknown, or when whoever collects said that it failed (`may_repeat`).
VOID ends too, except that what was collected all the same is known to be: money that moved is a fact. A release goes
back to the state before the hold, or to SENT when a subscriber took it meanwhile; one that began held becomes READY.
When it is created, and by which evidence, is decided in `telling`.
"""

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Final, Literal, get_args

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from milepost.domain.errors import Conflict
from milepost.domain.instant import Instant

CaptureState = Literal["NOT_READY", "READY", "SENT", "ACKED", "FAILED", "HELD", "VOID"]
"""NOT_READY stands in no ledger: a delivery without a capture is so."""
Action = Literal["take", "give_up", "acknowledge", "fail", "hold", "release", "void"]
Asked = Literal["acknowledge", "fail", "hold", "release", "void"]
"""What somebody may ask for, by API or CLI."""
ASKED: Final[tuple[str, ...]] = get_args(Asked)

PROJECTOR: Final = "projector"
"""Who moves a capture by what was folded: its holds are lifted by what is folded later, other people's are not."""

HISTORY: Final = 100
"""Most transitions that are kept: the first and the newest."""

_AS_IT_WAS: Final = "NOT_READY"
_TABLE: Final[Mapping[Action, Mapping[CaptureState, CaptureState]]] = {
    "take": {
        "READY": "SENT",
        "SENT": "SENT",
        "FAILED": "SENT",
        "HELD": "HELD",
        "ACKED": "ACKED",
        "VOID": "VOID",
    },
    "give_up": {
        s: "FAILED" if s == "READY" else s for s in ("READY", "SENT", "FAILED", "HELD", "ACKED", "VOID")
    },
    "acknowledge": dict.fromkeys(("READY", "SENT", "FAILED", "HELD", "ACKED", "VOID"), "ACKED"),
    "fail": dict.fromkeys(("READY", "SENT", "FAILED"), "FAILED"),
    "hold": dict.fromkeys(("READY", "SENT", "FAILED", "HELD"), "HELD"),
    "release": {"HELD": _AS_IT_WAS},
    "void": dict.fromkeys(("READY", "SENT", "FAILED", "HELD", "VOID"), "VOID"),
}
_WORDS: Final[Mapping[Action, str]] = {
    "take": "sent",
    "give_up": "given up",
    "acknowledge": "acknowledged",
    "fail": "marked as failed",
    "hold": "held",
    "release": "released",
    "void": "voided",
}


class Transition(Struct, frozen=True, rename="camel"):
    """One step of a capture's life."""

    at: Instant
    state: CaptureState
    by: str
    """projector, publisher, a subscriber's id, or an API key's."""
    reason: str = ""


class Capture(Struct, frozen=True, rename="camel"):
    """A capture as the ledger keeps it."""

    id: str
    business_product_id: str
    order_id: str
    delivery_id: str
    state: CaptureState
    ready_at: Instant
    """When ship evidence was first folded."""
    evidence: tuple[dict[str, Any], ...]
    """What showed that it shipped: `{kind, type, at, position, eventId, localDate, zone}` each."""
    line_items: tuple[dict[str, Any], ...]
    """`{id, quantity, unit}` each, as the delivery had them when it became ready."""
    history: tuple[Transition, ...]
    inferred: bool = False
    """No ship event: the delivery was seen delivered, or in an answer."""
    reason: str = ""
    """Why it is held, void or failed."""
    suggestion: dict[str, Any] | None = None
    """A suggested amount: `{currencyCode, amount, lineItems: [{id, amount}], method}`."""
    sent_at: Instant | None = None
    """When a subscriber first took it."""
    carrier_codes: tuple[str, ...] = ()
    """Of its parcels, when it became ready: what subscribers filter by."""
    position: int = 0
    """Of the intent that subscribers are told it by, once in its life; 0 until it was first READY."""


def capture_id(business_product_id: str, order_id: str, delivery_id: str) -> str:
    """The same (order, delivery) always has the same id."""
    stem = "\x00".join((business_product_id, order_id, delivery_id))
    return f"cap_{blake2b(stem.encode('utf-8', 'surrogatepass'), digest_size=15).hexdigest()}"


def move(capture: Capture, action: Action, by: str, reason: str, at: Instant) -> Capture:
    """The capture after one action; the very same when that changes nothing. Raises `Conflict` where the table
    refuses it."""
    state = _TABLE[action].get(capture.state)
    if state is None:
        detail = f"capture {capture.id} is {capture.state}, so it cannot be {_WORDS[action]}"
        raise Conflict(f"{detail}: {_why(capture.state, action)}", state=capture.state)
    if action == "take" and capture.sent_at is None:
        capture = replace(capture, sent_at=at)
    if state == _AS_IT_WAS:
        state = _before_hold(capture)
    takes_over = state == "HELD" and held_by(capture) == PROJECTOR and action == "hold"
    if state == capture.state and not (takes_over and (by, reason) != (PROJECTOR, capture.reason)):
        return capture
    kept = capture.history
    if len(kept) >= HISTORY:
        kept = (kept[0], *kept[len(kept) - HISTORY + 2 :])
    history = (*kept, Transition(at, state, by, reason))
    return replace(capture, state=state, reason=_standing_reason(state, reason), history=history)


def _why(state: CaptureState, action: Action) -> str:
    if state == "ACKED":
        return "payment was collected"
    if state == "VOID":
        return "it is never to be collected"
    return "release it first" if state == "HELD" and action == "fail" else "only a held one can be"


def _before_hold(capture: Capture) -> CaptureState:
    """The state before the hold that is on now; SENT when a subscriber, to whom it was under way, first took it
    since."""
    before = [step for step in capture.history if step.state != "HELD"]
    if not before:
        return "READY"
    taken = capture.sent_at is not None and (before[-1].state == "READY" or capture.sent_at > before[-1].at)
    return "SENT" if taken else before[-1].state


def _standing_reason(state: CaptureState, reason: str) -> str:
    return reason if state in ("HELD", "VOID", "FAILED") else ""


def held_by(capture: Capture) -> str:
    """Who holds it; empty when nobody does. Somebody else may take a hold over from the projector."""
    return capture.history[-1].by if capture.state == "HELD" else ""


def sendable(capture: Capture) -> Literal["send", "hold", "drop"]:
    """What becomes of messages that tell it: sent, kept for later, or not sent any more."""
    if capture.state == "HELD":
        return "hold"
    return "drop" if capture.state in ("ACKED", "VOID") else "send"


def may_repeat(capture: Capture) -> bool:
    """Whether its message may be sent again to one that took it: only where whoever collects said that this failed.
    (What the publisher gave up nobody took.)"""
    return capture.state == "FAILED"


class _Answer(Struct):
    status: str = ""


def acknowledges(answer: str) -> bool:
    """Whether a subscriber's answer to the message says that payment was collected:
    `{"status": "acknowledged"}`, or "captured"."""
    try:
        status = msgspec.json.decode(answer, type=_Answer).status
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return False
    return status.lower() in ("acknowledged", "captured")
