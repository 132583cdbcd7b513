"""What is done with subscribers, each in one write: taking one on, a test message.

A new subscriber begins live behind the journal's end, or with history: then it is put without a beginning and a
backfill goes through the journal first (`replaying`), which puts it live in the write in which it has caught up with
the publisher. Which records are whose is `subscribers`'.
"""

from msgspec import Struct
from msgspec.json import encode
from msgspec.structs import replace

from milepost.domain.attempt import Destination, Message, Replay
from milepost.domain.errors import Conflict
from milepost.domain.instant import Instant
from milepost.domain.intent import TEST
from milepost.domain.message import trial_intent
from milepost.pipeline.fanout import message_id
from milepost.pipeline.history import begin_backfill
from milepost.pipeline.positions import position_at
from milepost.store import NewRecord, Transaction

MOST_SUBSCRIBERS = 20_000
PAGE = 500


class Start(Struct, frozen=True):
    """Where a new subscriber begins: above a position of the journal, at a time, or (neither) now."""

    after: int | None = None
    at: Instant | None = None


def take_on(tx: Transaction, destination: Destination, start: Start, backfill_id: str) -> Replay | None:
    """Put a new subscriber, live or with a backfill to work off; the backfill."""
    last = tx.journal.last_position()
    after = start.after if start.at is None else position_at(tx, Instant(start.at - 1))
    if after is None or after >= last:
        tx.attempts.put_destination(replace(destination, after=last))
        return None
    return begin_backfill(tx, destination, after, id=backfill_id, now=destination.created_at)


def send_test(tx: Transaction, destination: Destination, business_product_id: str, now: Instant) -> Message:
    """Journal a test message and enqueue it for this one subscriber. Raises `Conflict` for a disabled one."""
    if not destination.enabled:
        raise Conflict("This subscriber is disabled; enable it first.")
    intent = trial_intent(destination.id, now)
    record = NewRecord("intent", business_product_id, TEST, now, now, "", encode(intent))
    # Enqueued after it was journalled, which on a server holds the journal's end: so nothing comes between.
    (position,) = tx.journal.add([record])
    message = Message(
        message_id(position, destination.id), destination.id, position, "pending", 0, now, created_at=now
    )
    tx.attempts.enqueue([message])
    return message


def running_replays(tx: Transaction, destination_id: str) -> list[Replay]:
    """What of the journal is being sent to a subscriber now."""
    return tx.attempts.replays("", PAGE, destination_id=destination_id, state="running")
