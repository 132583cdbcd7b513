"""What becomes of a message after an attempt, and the write that keeps it: attempts, states, breakers.

2xx is delivered; 410 ends the message and disables its destination (Standard Webhooks); everything else waits
for the schedule (`domain.retry`), and what the schedule gives up is `failed` and stays visible. A destination that
does nothing but fail for longer than our patience (`domain.failing`) is disabled; what is for it is held.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Literal

import structlog
from msgspec import Struct
from msgspec.structs import replace

from milepost.domain import breaker as breakers
from milepost.domain import failing
from milepost.domain.attempt import Attempt, Message
from milepost.domain.breaker import Breaker, Policy
from milepost.domain.errors import LeaseLost, StoreUnavailable
from milepost.domain.instant import Instant
from milepost.domain.record import Record
from milepost.domain.retry import Schedule, next_due
from milepost.pipeline.erased import about_erased
from milepost.pipeline.lanes import Done
from milepost.pipeline.sending import EXCERPT, GONE, Ledgering, Outcome, Told
from milepost.store import Transaction

log = structlog.get_logger()


class Settled(Struct, frozen=True):
    """An attempt to keep, its message afterwards, and what it says of its lane's endpoint."""

    attempt: Attempt
    message: Message
    lane: str
    failed: bool | None
    """Whether the endpoint failed; None when it had no part in it."""
    at: Instant
    gone: bool = False
    record: Record | None = None


class Kept(Struct, frozen=True):
    """What came of storing them: which were stored, and how far destinations that do nothing but fail have used up
    our patience (in percent; at 100 it was disabled)."""

    stored: list[bool]
    failing: dict[str, int] = {}


def settle(done: Done, now: Instant, *, schedule: Schedule, random: Callable[[], float]) -> Settled:
    """What to keep of an attempt that ended at `now`."""
    message, outcome = done.claimed.message, done.outcome
    attempt = attempt_of(done)
    due = None
    if attempt.outcome != "delivered" and not outcome.ends and outcome.status != GONE:
        tries = attempt.number - message.earlier
        due = next_due(schedule, tries, now, outcome.retry_after, random, since=message.created_at)
    after = replace(
        message,
        state="delivered" if attempt.outcome == "delivered" else "failed" if due is None else "pending",
        tries=attempt.number,
        due_at=due if due is not None else message.due_at,
        lease_until=None,
        manual=False,
    )
    failed = breakers.is_failure(outcome.status) if done.tried and not outcome.ends else None
    gone = done.tried and outcome.status == GONE
    return Settled(attempt, after, done.claimed.lane, failed, now, gone, done.claimed.record)


def attempt_of(done: Done) -> Attempt:
    """The fact that is kept of it, whatever becomes of the message."""
    message, outcome = done.claimed.message, done.outcome
    reached = outcome.reached and done.tried
    return Attempt(
        message.id,
        message.tries + 1,
        done.started_at,
        outcome.duration_ms,
        _named(outcome, reached),
        outcome.status if reached else None,
        _storable(outcome.error[:EXCERPT]),
        _storable(outcome.target),
        _storable(outcome.response[:EXCERPT]),
        outcome.retry_after,
        message.manual,
    )


def _storable(text: str) -> str:
    """What every store takes of words from outside: whole characters, no NUL."""
    return text.replace("\0", "").encode(errors="replace").decode()


def _named(outcome: Outcome, reached: bool) -> Literal["delivered", "failed", "unknown"]:
    if outcome.status is not None and 200 <= outcome.status < 300:
        return "delivered"
    return "unknown" if outcome.status is None and reached else "failed"


def keep(
    tx: Transaction,
    settled: Sequence[Settled],
    policy: Policy,
    *,
    patience: int = failing.PATIENCE,
    ledger: Ledgering | None = None,
) -> Kept:
    """Store them, except where the lease was taken over meanwhile; those results are dropped."""
    stored = tx.attempts.record([(attempt, s.message) for attempt, s in _without_erased(tx, settled)])
    good = [s for s, is_stored in zip(settled, stored, strict=True) if is_stored]
    known = tx.attempts.breakers()
    changed = moved(known, good, policy)
    tx.attempts.put_breakers(changed)
    for message in {s.message.destination_id: s.message for s in good if s.gone}.values():
        tx.attempts.disable(message.destination_id, f"it answered {GONE} to message {message.id}")
    if ledger is not None:
        for s in good:
            if s.record is not None and ledger.concerns(s.record):
                _book(tx, ledger, s, s.record)
    if not patience:
        return Kept(stored)
    lanes = known | {after.lane: after for after in changed}
    return Kept(stored, _impatient(tx, good, lanes, patience))


def _without_erased(tx: Transaction, settled: Sequence[Settled]) -> Iterator[tuple[Attempt, Settled]]:
    """The attempts to keep. An answer may quote what it was sent: where that was erased meanwhile, it is not kept."""
    found = about_erased(tx, [s.record for s in settled if s.record is not None])
    for s in settled:
        erased = s.record is not None and s.record.position in found
        yield (replace(s.attempt, response="", error="") if erased else s.attempt), s


def _book(tx: Transaction, ledger: Ledgering, settled: Settled, record: Record) -> None:
    """What cannot be booked, whatever was answered, is no reason that no attempt is kept any more."""
    try:
        ledger.sent(tx, record, settled.message.destination_id, Told(settled.attempt, settled.message))
    except (StoreUnavailable, LeaseLost):
        raise
    except Exception:
        log.exception("publisher.ledger_failed", message=settled.message.id)


def _impatient(
    tx: Transaction, settled: Sequence[Settled], lanes: Mapping[str, Breaker], patience: int
) -> dict[str, int]:
    """Destinations of these results that have been failing for long; those for too long are disabled."""
    failed = {s.message.destination_id: s for s in settled if s.attempt.outcome != "delivered"}
    found: dict[str, int] = {}
    opened = {lane for lane, breaker in lanes.items() if breaker.opened >= failing.TRIES}
    for destination in tx.attempts.destinations_of(failed).values():
        last = failed[destination.id]
        since = destination.failing_since
        reached = failing.stage(since, last.at, patience)
        if not destination.enabled or since is None or not reached:
            continue
        if reached == 100 and not _lasting(last, opened):
            reached = failing.STAGES[-2]
        if reached == 100:
            tx.attempts.disable(destination.id, failing.reason(since, last.at))
        found[destination.id] = reached
    return found


def still_failing(tx: Transaction, known: Mapping[str, int], now: Instant, patience: int) -> dict[str, int]:
    """What is left of what was `known`, now that destinations were changed: nothing of one that was removed, or that
    was enabled and begins anew, also where an attempt from before failed since."""
    found: dict[str, int] = {}
    for destination in tx.attempts.destinations_of(known).values():
        if reached := failing.stage(destination.failing_since, now, patience):
            found[destination.id] = min(reached, known[destination.id])
    return found


def _lasting(last: Settled, opened: Collection[str]) -> bool:
    """Whether this is no short failure. Where a breaker lets a probe through now and then, each may be another
    message's first try."""
    return last.attempt.number - last.message.earlier >= failing.TRIES or last.lane in opened


def moved(known: dict[str, Breaker], settled: Sequence[Settled], policy: Policy) -> list[Breaker]:
    """The breakers that these results move, as they are afterwards."""
    changed: dict[str, Breaker] = {}
    for result in settled:
        before = changed.get(result.lane) or known.get(result.lane) or Breaker(result.lane)
        if result.failed:
            changed[result.lane] = breakers.failed(before, policy, result.at, result.attempt.retry_after)
        elif result.failed is False and not before.is_plain:
            changed[result.lane] = breakers.answered(before)
    return [after for lane, after in changed.items() if after != known.get(lane)]
