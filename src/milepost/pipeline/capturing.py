"""Moving captures: what people, subscribers and the publisher do to them, each in one write transaction.

The state table is `domain.capture`'s; here a move is written together with what it means for the messages that tell
the capture: held ones are kept back, void and acknowledged ones dropped, released ones go on. Captures are made by
the projector (`telling`), never here.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from milepost.domain.apportion import Priced, suggest
from milepost.domain.attempt import Message
from milepost.domain.capture import (
    ASKED,
    PROJECTOR,
    Action,
    Capture,
    acknowledges,
    held_by,
    may_repeat,
    move,
    sendable,
)
from milepost.domain.eligibility import REVIEW_INFERRED
from milepost.domain.errors import Conflict, Invalid, NotFound
from milepost.domain.instant import Instant, parse_instant
from milepost.domain.intent import CAPTURE_READY, Intent, decode
from milepost.domain.intent_data import fitted
from milepost.domain.record import Record, order_subject, told_subject
from milepost.domain.standing import read_order
from milepost.domain.telling import Birth, Hold
from milepost.pipeline.fanout import message_id
from milepost.pipeline.sending import Ruling, Told
from milepost.store import CaptureKey, NewRecord, Transaction

ROAD = "projector"
"""Of intents: no road of events."""
PAGE = 500
"""Messages of one capture that a resend looks at together."""

PUBLISHER = "publisher"

_encode = msgspec.json.Encoder().encode


def transition(tx: Transaction, capture_id: str, action: str, by: str, reason: str, now: Instant) -> Capture:
    """Do what somebody asks for: acknowledge, fail, hold, release or void. Again is harmless.

    Raises `NotFound`, `Invalid` for another word, and `Conflict` where the capture's state does not allow it."""
    if action not in ASKED:
        raise Invalid(f"{action!r} is nothing that can be done to a capture: {', '.join(ASKED)}")
    return moved(tx, _found(tx, capture_id), action, by, reason, now)  # type: ignore[arg-type]


def resend(tx: Transaction, capture_id: str, now: Instant) -> Capture:
    """Send its message again, under the same id, to every subscriber that has not taken it; where whoever collects
    said that it failed, also to those that have.

    What is being sent at this moment is left to its attempt, whose answer may acknowledge.

    Raises `NotFound`, and `Conflict` when it must not be sent, was never told, is being sent, or every subscriber
    took it."""
    capture = _found(tx, capture_id)
    if capture.state in ("ACKED", "VOID", "HELD"):
        raise Conflict(f"capture {capture_id} is {capture.state}, so it is not sent", state=capture.state)
    wanted = ("pending", "failed", "delivered") if may_repeat(capture) else ("pending", "failed")
    looked = under_way = sent = 0
    for page in _pages(tx, capture.position):
        looked += len(page)
        there = tx.attempts.destinations_of({message.destination_id for message in page})
        for message in page:
            if message.state not in wanted or message.destination_id not in there:
                continue
            if _is_under_way(message, now):
                under_way += 1
                continue
            tx.attempts.resend(message.id, now)
            sent += 1
    if not sent:
        left = "no subscriber is left that did not take it" if looked else "no subscriber wanted it"
        detail = "it is being sent" if under_way else left
        raise Conflict(f"capture {capture_id} is not sent again: {detail}", state=capture.state)
    return capture


def _is_under_way(message: Message, now: Instant) -> bool:
    return message.lease_until is not None and message.lease_until > now


def not_again(tx: Transaction, records: Sequence[Record], destination_id: str) -> set[int]:
    """The positions of those that nobody may send to this destination (again), whoever asks for it: what they tell is
    acknowledged or void, or it took the message and nobody said that collecting failed."""
    asked = {record.position: _key_of(record) for record in records if tells_capture(record)}
    if not asked:
        return set()
    captures = tx.ledger.captures(asked.values())
    taken = tx.attempts.delivered([message_id(position, destination_id) for position in asked])
    found = set()
    for position, key in asked.items():
        capture = captures.get(key)
        repeats = capture is not None and may_repeat(capture)
        ended = capture is not None and sendable(capture) == "drop"
        if ended or (message_id(position, destination_id) in taken and not repeats):
            found.add(position)
    return found


def tells_capture(record: Record) -> bool:
    """Whether this is the record that tells a capture: there is one, and each subscriber gets it under one id."""
    return record.type == CAPTURE_READY and record.kind == "intent"


def _pages(tx: Transaction, position: int) -> Iterator[Sequence[Message]]:
    """Every message about a position."""
    after = None
    while page := tx.attempts.messages(after, PAGE, position=position):
        yield page
        after = page[-1].position, page[-1].id


def moved(tx: Transaction, capture: Capture, action: Action, by: str, reason: str, now: Instant) -> Capture:
    """Move a capture and settle its messages. Raises `Conflict` where the table refuses it."""
    after = move(capture, action, by, reason, now)
    if after is capture:
        return capture
    if action == "release" and held_by(capture) != PROJECTOR and (against := _contradiction(tx, capture)):
        after = move(after, "hold", PROJECTOR, against, now)
    after = _settled(tx, after, capture, now)
    if after.state == "READY" and not after.position:
        # Last of all: it takes the journal's end.
        (position,) = tx.journal.add([ready_record(after, now)])
        after = replace(after, position=position)
    tx.ledger.put_captures([after])
    return after


def _contradiction(tx: Transaction, capture: Capture) -> str:
    """What speaks against collecting, as far as it was folded; a hold of somebody else's only stood before it. That
    it is inferred does not: whoever releases it has reviewed it."""
    key = (capture.business_product_id, order_subject(capture.order_id))
    told = tx.ledger.told((key,)).get(key)
    deliveries = () if told is None else read_order(told).deliveries
    found = next((d.hold for d in deliveries if d.id == capture.delivery_id), "")
    return "" if found == REVIEW_INFERRED else found


class CaptureLedger:
    """The publisher's `Ledgering`: asked before the message of a capture is sent, and told when it was."""

    def concerns(self, record: Record) -> bool:
        return tells_capture(record)

    def may_send(self, tx: Transaction, records: Sequence[Record]) -> Ruling:
        asked = {_key_of(record): record.position for record in records if tells_capture(record)}
        found = {asked[key]: sendable(c) for key, c in tx.ledger.captures(asked.keys()).items()}
        hold = [position for position, verdict in found.items() if verdict == "hold"]
        drop = [position for position, verdict in found.items() if verdict == "drop"]
        return Ruling(hold, drop, "the capture is acknowledged or void")

    def sent(self, tx: Transaction, record: Record, destination_id: str, outcome: Told) -> None:
        """Taken by a subscriber, whose answer may say that it collected; or given up by the last one."""
        key = _key_of(record)
        capture = tx.ledger.captures((key,)).get(key)
        if capture is None:
            return
        attempt = outcome.attempt
        now = Instant(attempt.started_at + attempt.duration_ms)
        if attempt.outcome == "delivered":
            capture = moved(tx, capture, "take", destination_id, "", now)
            if acknowledges(attempt.response):
                moved(tx, capture, "acknowledge", destination_id, "its answer says so", now)
        elif (
            outcome.message.state == "failed" and capture.state == "READY" and _given_up(tx, record.position)
        ):
            moved(tx, capture, "give_up", PUBLISHER, "no subscriber took it", now)


def _key_of(record: Record) -> CaptureKey:
    """The capture that an intent tells of."""
    intent = decode(record.body)
    return record.business_product_id, intent.order_id or "", intent.delivery_id or ""


def _given_up(tx: Transaction, position: int) -> bool:
    """Whether every subscriber's message about it failed for good."""
    states = tx.attempts.count(position=position).keys()
    return "failed" in states and states <= {"failed", "dropped"}


def fold_captures(
    tx: Transaction,
    births: Sequence[Birth],
    holds: Sequence[Hold],
    intents: Sequence[NewRecord],
    now: Instant,
) -> None:
    """What a fold says of captures, written: those that are due are made, once and for all; contradictions hold
    them, and their end releases what nobody else holds. Then everything is journalled, the `intents` too.

    A capture that is there already, of an order that was removed and came back, was told of: its delivery is not told
    to have shipped again, but what speaks against it counts."""
    if not births and not holds:
        tx.journal.add(intents)
        return
    orders = {(b.capture.business_product_id, b.capture.order_id) for b in births} | {h.order for h in holds}
    known = _Known(tx.ledger.captures_of_orders(orders))
    changed: dict[str, Capture] = {}
    records: list[NewRecord] = []
    announced: dict[str, int] = {}
    again: list[Hold] = []
    for birth in births:
        made = birth.capture
        if known.get(made.id) is not None:
            order = (made.business_product_id, made.order_id)
            again.append(Hold(made.id, order, made, birth.priced, made.reason))
            continue
        after = known.with_suggestion(made, birth.priced)
        known.put(after)
        changed[after.id] = after
        records.append(intent_record(after.business_product_id, birth.shipped, now))
    for hold in (*again, *holds):
        before = known.get(hold.id)
        if before is not None and (after := _refolded(before, hold, known, now)) is not before:
            after = _settled(tx, after, before, now)
            known.put(after)
            changed[after.id] = after
    for capture in changed.values():
        if capture.state == "READY" and not capture.position:
            announced[capture.id] = len(records)
            records.append(ready_record(capture, now))
    positions = tx.journal.add([*records, *intents])
    for capture_id, index in announced.items():
        changed[capture_id] = replace(changed[capture_id], position=positions[index])
    tx.ledger.put_captures(list(changed.values()))


class _Known:
    """The captures of some orders, those that are being made among them."""

    def __init__(self, of_orders: Mapping[tuple[str, str], Sequence[Capture]]) -> None:
        self._of_orders = {order: {c.id: c for c in captures} for order, captures in of_orders.items()}
        self._captures = {c.id: c for captures in of_orders.values() for c in captures}

    def get(self, capture_id: str) -> Capture | None:
        return self._captures.get(capture_id)

    def put(self, capture: Capture) -> None:
        self._captures[capture.id] = capture
        order = (capture.business_product_id, capture.order_id)
        self._of_orders.setdefault(order, {})[capture.id] = capture

    def with_suggestion(self, capture: Capture, of: Priced | None) -> Capture:
        if of is None:
            return capture
        earlier = self._of_orders.get((capture.business_product_id, capture.order_id), {})
        return replace(capture, suggestion=suggest(of, capture.delivery_id, list(earlier.values())))


def _refolded(before: Capture, hold: Hold, known: _Known, now: Instant) -> Capture:
    """A capture after a fold that holds it, or no longer does."""
    if before.state in ("ACKED", "VOID"):
        return before
    # What was once let go is not reviewed again.
    was_let_go = any(step.state != "HELD" for step in before.history)
    reason = "" if was_let_go and hold.reason == REVIEW_INFERRED else hold.reason
    after, made = before, hold.capture
    if not before.position and made is not None and made.evidence:
        # Nobody was told yet: it is told with what is known by now, whoever holds and releases it.
        after = replace(
            before,
            evidence=made.evidence,
            line_items=made.line_items,
            inferred=made.inferred,
            carrier_codes=made.carrier_codes,
        )
        after = known.with_suggestion(after, hold.priced)
    if after.state == "HELD" and held_by(after) != PROJECTOR:
        # Whoever holds it may release it, which asks again what speaks against it.
        return after
    if reason:
        return move(after, "hold", PROJECTOR, reason, now)
    return move(after, "release", PROJECTOR, "", now) if after.state == "HELD" else after


def _settled(tx: Transaction, after: Capture, before: Capture, now: Instant) -> Capture:
    """A capture that moved, with its messages; given up if its last one failed for good while it was held."""
    _settle_messages(tx, after, before)
    if (before.state, after.state) == ("HELD", "READY") and after.position and _given_up(tx, after.position):
        return move(after, "give_up", PUBLISHER, "no subscriber took it", now)
    return after


def _settle_messages(tx: Transaction, after: Capture, before: Capture) -> None:
    """What a move means for the messages that tell of it, if there are any."""
    if after.state == before.state or not before.position:
        return
    positions = (before.position,)
    if after.state == "HELD":
        tx.attempts.hold(positions)
    elif after.state in ("ACKED", "VOID"):
        tx.attempts.drop(positions, f"capture {after.state}")
    elif before.state == "HELD":
        tx.attempts.unhold(positions)


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
    return intent_record(capture.business_product_id, intent, now)


def intent_record(business_product_id: str, intent: Intent, now: Instant) -> NewRecord:
    """An intent, as it is journalled."""
    body = _encode(intent)
    return NewRecord("intent", business_product_id, intent.type, now, intent.at, ROAD, body)


def ready_data(capture: Capture) -> dict[str, Any]:
    """What the message says of it."""
    data = {
        "captureId": capture.id,
        "orderId": capture.order_id,
        "deliveryId": capture.delivery_id,
        "lineItems": list(capture.line_items),
        "evidence": list(capture.evidence),
        "inferred": capture.inferred,
        "suggestion": capture.suggestion,
    }
    return fitted(data)


def _found(tx: Transaction, capture_id: str) -> Capture:
    capture = tx.ledger.capture(capture_id)
    if capture is None:
        raise NotFound(f"there is no capture {capture_id}")
    return capture
