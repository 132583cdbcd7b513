"""Moving captures: what people, subscribers and the publisher do to them, each in one write transaction.

The state table is `domain.capture`'s; here a move is written together with what it means for the messages that tell
the capture: held ones are kept back, void and acknowledged ones dropped, released ones go on. Captures are made by
the projector (`telling`), never here.
"""

from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from milepost.domain.attempt import Attempt
from milepost.domain.capture import ASKED, Action, Capture, acknowledges, move, sendable
from milepost.domain.errors import Conflict, Invalid, NotFound
from milepost.domain.instant import Instant, parse_instant
from milepost.domain.intent import CAPTURE_READY, Intent, decode
from milepost.domain.record import Record, order_subject, told_subject
from milepost.store import CaptureKey, NewRecord, Transaction

ROAD = "projector"
"""Of intents: no road of events."""
MOST_MESSAGES = 500
"""Messages of one capture that a resend looks at."""

PUBLISHER = "publisher"


def transition(tx: Transaction, capture_id: str, action: str, by: str, reason: str, now: Instant) -> Capture:
    """Do what somebody asks for: acknowledge, fail, hold, release or void. Again is harmless.

    Raises `NotFound`, `Invalid` for another word, and `Conflict` where the capture's state does not allow it."""
    if action not in ASKED:
        raise Invalid(f"{action!r} is nothing that can be done to a capture: {', '.join(ASKED)}")
    return moved(tx, _found(tx, capture_id), action, by, reason, now)  # type: ignore[arg-type]


def resend(tx: Transaction, capture_id: str, now: Instant) -> Capture:
    """Send its message again, under the same id, to every subscriber that has not taken it.

    Raises `NotFound`, and `Conflict` when it must not be sent, was never told, or every subscriber took it."""
    capture = _found(tx, capture_id)
    if capture.state in ("ACKED", "VOID", "HELD"):
        raise Conflict(f"capture {capture_id} is {capture.state}, so it is not sent", state=capture.state)
    messages = tx.attempts.messages(None, MOST_MESSAGES, position=capture.position)
    untaken = [m for m in messages if m.state in ("pending", "failed")]
    if not untaken:
        detail = "no subscriber is left that did not take it" if messages else "no subscriber wanted it"
        raise Conflict(f"capture {capture_id} is not sent again: {detail}", state=capture.state)
    for message in untaken:
        tx.attempts.resend(message.id, now)
    return capture


def moved(tx: Transaction, capture: Capture, action: Action, by: str, reason: str, now: Instant) -> Capture:
    """Move a capture and settle its messages. Raises `Conflict` where the table refuses it."""
    after = move(capture, action, by, reason, now)
    if after is capture:
        return capture
    if after.state == "READY" and after.position == 0:
        after = announced(tx, [after], now)[0]
    tx.ledger.put_captures([after])
    if after.state != capture.state and after.position:
        _settle_messages(tx, after, capture)
    return after


class CaptureLedger:
    """What the publisher asks before it sends the message of a capture, and tells when it has."""

    def may_send(self, tx: Transaction, records: Sequence[Record]) -> tuple[set[int], set[int]]:
        """Of records about to be sent the positions whose messages are to be held, and those to be dropped."""
        asked = {key: record.position for record in records if (key := _key_of(record)) is not None}
        hold: set[int] = set()
        drop: set[int] = set()
        for key, capture in tx.ledger.captures(asked.keys()).items():
            verdict = sendable(capture)
            if verdict == "hold":
                hold.add(asked[key])
            elif verdict == "drop":
                drop.add(asked[key])
        return hold, drop

    def sent(
        self, tx: Transaction, record: Record, destination_id: str, attempt: Attempt, now: Instant
    ) -> None:
        """One attempt was recorded, in this transaction; a subscriber's answer may say that it collected."""
        key = _key_of(record)
        capture = None if key is None else tx.ledger.captures((key,)).get(key)
        if capture is None:
            return
        if attempt.outcome == "delivered":
            capture = moved(tx, capture, "take", destination_id, "", now)
            if acknowledges(attempt.response):
                moved(tx, capture, "acknowledge", destination_id, "its answer says so", now)
        elif _given_up(tx, record.position):
            moved(tx, capture, "give_up", PUBLISHER, "no subscriber took it", now)


def _key_of(record: Record) -> CaptureKey | None:
    """The capture that a record tells of; None for any other record."""
    if record.kind != "intent" or record.type != CAPTURE_READY:
        return None
    intent = decode(record.body)
    return record.business_product_id, intent.order_id or "", intent.delivery_id or ""


def _given_up(tx: Transaction, position: int) -> bool:
    """Whether every subscriber's message about it failed for good."""
    messages = tx.attempts.messages(None, MOST_MESSAGES, position=position)
    states = {message.state for message in messages}
    return len(messages) < MOST_MESSAGES and "failed" in states and states <= {"failed", "dropped"}


def _settle_messages(tx: Transaction, after: Capture, before: Capture) -> None:
    positions = (after.position,)
    if after.state == "HELD":
        tx.attempts.hold(positions)
    elif after.state in ("ACKED", "VOID"):
        tx.attempts.drop(positions, f"capture {after.state}")
    elif before.state == "HELD":
        tx.attempts.unhold(positions)


def announced(tx: Transaction, captures: list[Capture], now: Instant) -> list[Capture]:
    """Journal the one intent of each capture, and note its position. Last in a write: it takes the journal's
    end."""
    positions = tx.journal.add([ready_record(capture, now) for capture in captures])
    return [replace(c, position=p) for c, p in zip(captures, positions, strict=True)]


def ready_record(capture: Capture, now: Instant) -> NewRecord:
    """The intent that tells subscribers of a capture."""
    shipped_at = capture.evidence[0]["at"] if capture.evidence else None
    intent = Intent(
        CAPTURE_READY,
        capture.ready_at if shipped_at is None else parse_instant(shipped_at),
        "new",
        ready_data(capture),
        (told_subject(order_subject(capture.order_id)),),
        capture.order_id,
        capture.delivery_id,
        capture.carrier_codes,
    )
    body = msgspec.json.encode(intent)
    return NewRecord("intent", capture.business_product_id, CAPTURE_READY, now, now, ROAD, body)


def ready_data(capture: Capture) -> dict[str, object]:
    """What the message says of it."""
    return {
        "captureId": capture.id,
        "orderId": capture.order_id,
        "deliveryId": capture.delivery_id,
        "lineItems": list(capture.line_items),
        "evidence": list(capture.evidence),
        "inferred": capture.inferred,
        "suggestion": capture.suggestion,
    }


def _found(tx: Transaction, capture_id: str) -> Capture:
    capture = tx.ledger.capture(capture_id)
    if capture is None:
        raise NotFound(f"there is no capture {capture_id}")
    return capture
