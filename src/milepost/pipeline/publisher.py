"""Publishing: each record becomes a message a matching destination, sent until it is delivered or given up.

Two halves. `prepare` is a consumer's handler: it enqueues messages in the checkpoint's transaction, under ids
made from position and destination, so that a batch prepared again adds nothing (`fanout`). `run` takes turns: one
write keeps what came of the attempts that ended while the last one ran, gives back what was not sent, and claims
what is due under a lease, as far as rates allow (`pacing`); `lanes` sends it outside any transaction. Results are
fenced: one that comes after the lease was taken over is dropped.

At least once with one id and one body: a message is sent again only after a failed or unknown attempt
(design, flow 7). A crash between sending and recording leaves the lease to run out, then it is sent again.
How bytes travel is a transport's; which bytes are sent, and how often, is said by whoever publishes.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial

import structlog
from msgspec import Struct
from msgspec.structs import replace

from milepost.domain.attempt import Message
from milepost.domain.breaker import POLICY, Policy
from milepost.domain.errors import LeaseLost, StoreUnavailable
from milepost.domain.failing import PATIENCE
from milepost.domain.instant import SECOND, Instant
from milepost.domain.record import Record
from milepost.domain.retry import STANDARD, Schedule
from milepost.pipeline.consumer import Effects
from milepost.pipeline.fanout import Fanout, message_id, no_sequence, wants
from milepost.pipeline.lanes import Claimed, Lanes
from milepost.pipeline.pacing import Pacing
from milepost.pipeline.sending import (
    Copies,
    Copy,
    Ledgering,
    Outcome,
    Parcel,
    Render,
    Sender,
    SequenceOf,
    Wants,
    as_journalled,
    one_copy,
)
from milepost.pipeline.settling import Kept, Settled, keep, settle, still_failing
from milepost.pipeline.waiting import Wait
from milepost.store import Store, Transaction

__all__ = [
    "Copies",
    "Copy",
    "Outcome",
    "Parcel",
    "Publisher",
    "Render",
    "Sender",
    "as_journalled",
    "message_id",
    "one_copy",
    "wants",
]

CLAIM = 256
"""Most messages taken in one turn."""
LINGER_S = 0.004
"""How long an outcome may wait for others, real time, while its lane has enough to do."""

log = structlog.get_logger()


class _Turn(Struct, frozen=True):
    """What one write did."""

    kept: Kept
    claimed: list[Claimed]
    blocked: list[str]
    """Lanes whose breaker is open."""
    version: tuple[int, int] | None
    """Of the destinations, when that was looked at."""
    failing: Mapping[str, int]
    """Those of `Publisher.failing` that still are."""


class Publisher:
    """The engine behind every destination. Times are `clock`'s; `wait` waits by it; `random` is 0 up to 1.

    Sending takes real time, whatever the clock does: `pace` is how many times as fast as that the clock runs now,
    and `lease` and `look_again` are real milliseconds. `lease` must be longer than twice any sender's deadline;
    `look_again` is the longest wait for a signal, and the wait when everything due is leased to somebody. At most
    `concurrency` sends run at once in a lane, and at most `in_flight` messages are held in all. A destination that
    does nothing but fail for `patience` milliseconds of the clock is disabled (0: never).
    """

    def __init__(
        self,
        store: Store,
        senders: Mapping[str, Sender],
        clock: Callable[[], Instant],
        *,
        wait: Wait,
        random: Callable[[], float],
        schedule: Schedule = STANDARD,
        policy: Policy = POLICY,
        lease: int = 60 * SECOND,
        look_again: int = 5 * SECOND,
        pace: Callable[[], float] = lambda: 1.0,
        concurrency: int = 8,
        in_flight: int = 1_024,
        patience: int = PATIENCE,
        wants: Wants = wants,
        sequence_of: SequenceOf = no_sequence,
        copies: Copies = one_copy,
        render: Render = as_journalled,
        ledger: Ledgering | None = None,
        probe: Callable[[str], None] = lambda point: None,
    ) -> None:
        self.failing: dict[str, int] = {}
        """Destinations that have done nothing but fail for long, and what of our patience that has used up, in
        percent; as far as this process saw it."""
        self._store = store
        self._clock = clock
        self._wait = wait
        self._random = random
        self._schedule = schedule
        self._policy = policy
        self._lease = lease
        self._look_again = look_again
        self._pace = pace
        self._in_flight = in_flight
        self._patience = patience
        self._ledger = ledger
        self._probe = probe
        self._concurrency = concurrency
        self._pacing = Pacing(concurrency)
        self._version: tuple[int, int] | None = None
        self._wake = asyncio.Event()
        self._soon: asyncio.TimerHandle | None = None
        self._lanes = Lanes(
            senders,
            clock,
            render=render,
            concurrency=concurrency,
            reserve=lambda: self._by_clock(lease // 2),
            news=self._news,
            probe=probe,
            refused=None if ledger is None else partial(_refused, store, ledger),
        )
        self.fanout = Fanout(
            store, clock, wants=wants, sequence_of=sequence_of, copies=copies, enqueued=self.notify
        )

    async def prepare(self, records: Sequence[Record]) -> Effects:
        """A consumer's handler: what must be enqueued for these records."""
        return await self.fanout.prepare(records)

    def notify(self) -> None:
        """Look for due messages now: somebody enqueued some without `prepare`, or changed a destination."""
        self._wake.set()

    async def resend(self, id: str) -> Message | None:
        """Send a message again, by hand, whatever became of it; None: there is no such message."""
        now = self._clock()
        message = await self._store.write(lambda tx: tx.attempts.resend(id, now))
        self._wake.set()
        return message

    async def enable(self, destination_id: str) -> bool:
        """Take a disabled destination up again, with everything that was kept for it; False: there is none."""
        found = await self._store.write(lambda tx: tx.attempts.enable(destination_id))
        self._wake.set()
        return found

    async def next_due(self) -> Instant | None:
        """When the next message can be sent, as far as the store and rates know; None: there is none."""
        resting = self._pacing.resting(self._clock())
        return await self._store.read(lambda tx: tx.attempts.next_due(resting))

    async def run(self, stop: asyncio.Event) -> None:
        """Send what is due until `stop` is set, then finish the attempts that are under way."""
        watcher = asyncio.create_task(self._wake_on(stop))
        self._pacing = Pacing(self._concurrency)
        try:
            while not stop.is_set():
                self._wake.clear()
                try:
                    at = self._clock()
                    _, begun = await self._turn(at)
                    if begun < CLAIM and not self._wake.is_set():
                        await self._wait(await self._look_at(at), self._wake)
                except StoreUnavailable as e:
                    log.warning("publisher.store_unavailable", error=e.detail)
                    self._wake.clear()
                    if not stop.is_set():
                        await self._wait(Instant(self._clock() + SECOND), self._wake)
        finally:
            watcher.cancel()
            await self._lanes.stop()
            await self._last_turn()

    async def send_due(self) -> int:
        """Send everything that is due now and wait for the outcomes; returns how many attempts were made."""
        total = 0
        while True:
            self._wake.clear()
            ended, _ = await self._turn(self._clock())
            total += ended
            if self._lanes.held and not self._lanes.has_news:
                await self._wake.wait()
            elif not ended and not self._lanes.has_news:
                return total

    def _news(self, is_pressing: bool) -> None:
        """Something ended. What can wait waits a moment, so that one write keeps many."""
        if is_pressing:
            self._wake.set()
        elif self._soon is None:
            self._soon = asyncio.get_running_loop().call_later(LINGER_S, self._look_now)

    def _look_now(self) -> None:
        self._soon = None
        self._wake.set()

    async def _wake_on(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._wake.set()

    # ── Turns ──────────────────────────────────────────────────────────────────────────────────────────────

    async def _turn(self, now: Instant, *, claiming: bool = True) -> tuple[int, int]:
        """Keep what ended and claim what there is room for, in one write; returns how many attempts ended, and
        how many messages were claimed."""
        done, returned = self._lanes.take()
        settled = [settle(d, now, schedule=self._schedule, random=self._random) for d in done]
        room = min(CLAIM, self._in_flight - self._lanes.held) if claiming else 0
        if not settled and not returned and room <= 0:
            self._lanes.recorded()
            return 0, 0
        until = Instant(now + self._by_clock(self._lease))
        claim = None
        if room > 0:
            claim = partial(
                self._claim,
                now=now,
                until=until,
                limit=room,
                room=self._lanes.room(),
                paced=self._pacing.allowed(now),
            )

        def turn(tx: Transaction) -> _Turn:
            kept = Kept([])
            if settled:
                kept = keep(tx, settled, self._policy, patience=self._patience, ledger=self._ledger)
            tx.attempts.release(returned)
            claimed = claim(tx) if claim is not None else []
            blocked = [lane for lane, b in tx.attempts.breakers().items() if b.state == "open"]
            rated = self._pacing or any(c.destination is not None and c.destination.rate for c in claimed)
            version = tx.attempts.destinations_version() if rated or self.failing else None
            failing = self.failing
            if failing and version != self._version:
                # Somebody may have enabled or removed one.
                failing = still_failing(tx, failing, now, self._patience)
            return _Turn(kept, claimed, blocked, version, failing)

        try:
            turned = await self._store.write(turn)
        except (StoreUnavailable, LeaseLost):
            # Not recorded, so not known: the leases run out and they are sent again.
            self._lanes.recorded()
            self._ended(settled, returned)
            if settled:
                log.warning("publisher.attempts_not_recorded", messages=len(settled))
            raise
        self.failing = dict(turned.failing)
        if settled:
            self._probe("after-record")
            _log(settled, turned.kept.stored)
            self._learn(settled, turned.kept.failing)
        self._probe("after-claim")
        self._ended(settled, returned)
        self._given(turned, now)
        self._lanes.recorded(turned.blocked)
        self._lanes.add(turned.claimed)
        return len(settled), len(turned.claimed)

    def _claim(
        self,
        tx: Transaction,
        *,
        now: Instant,
        until: Instant,
        limit: int,
        room: Mapping[str, int],
        paced: Mapping[str, int],
    ) -> list[Claimed]:
        messages = tx.attempts.claim(now, until, limit, share=self._lanes.share, room=room, paced=paced)
        if not messages:
            return []
        destinations = tx.attempts.destinations_of({m.destination_id for m in messages})
        records = tx.journal.records({m.position for m in messages})
        claimed = [Claimed(m, destinations.get(m.destination_id), records.get(m.position)) for m in messages]
        return claimed if self._ledger is None else _ruled(tx, self._ledger, claimed)

    def _ended(self, settled: Sequence[Settled], returned: Sequence[Message]) -> None:
        if not self._pacing:
            return
        self._pacing.ended([*(replace(s.message, manual=s.attempt.manual) for s in settled), *returned])

    def _given(self, turned: _Turn, now: Instant) -> None:
        """What was claimed counts against rates; those that somebody may have changed are learnt anew."""
        if turned.version is None:
            return
        if turned.version != self._version:
            self._version = turned.version
            self._pacing.forget()
        destinations = {c.destination.id: c.destination for c in turned.claimed if c.destination is not None}
        self._pacing.given(now, [c.message for c in turned.claimed], destinations)

    def _learn(self, settled: Sequence[Settled], failing: Mapping[str, int]) -> None:
        """Warn of destinations that do nothing but fail, once at each stage."""
        for destination, reached in failing.items():
            if reached > self.failing.get(destination, 0):
                said = "publisher.destination_disabled" if reached == 100 else "publisher.destination_failing"
                log.warning(said, destination=destination, patience_used_percent=reached)
        self.failing.update(failing)
        for destination in {s.message.destination_id for s in settled if s.attempt.outcome == "delivered"}:
            self.failing.pop(destination, None)

    async def _last_turn(self) -> None:
        try:
            await self._turn(self._clock(), claiming=False)
        except LeaseLost:
            # Whoever leads now sends it again once the messages' leases have run out.
            log.info("publisher.lease_lost")
        except StoreUnavailable as e:
            log.warning("publisher.store_unavailable", error=e.detail)

    async def _look_at(self, now: Instant) -> Instant:
        """When to look again, having looked at `now`: the next due time, at the latest soon, and not at once for
        what is due and could not be had."""
        due = await self.next_due()
        latest = Instant(now + self._by_clock(self._look_again))
        return latest if due is None or due <= now else min(due, latest)

    def _by_clock(self, real: int) -> int:
        """So many real milliseconds, in the clock's at its present pace."""
        return round(real * self._pace())


def _log(settled: Sequence[Settled], kept: Sequence[bool]) -> None:
    """What did not go well. What did is in the store, and a line each would cost more than sending it."""
    for result, is_kept in zip(settled, kept, strict=True):
        if result.attempt.outcome != "delivered" or not is_kept:
            log.info(
                "publisher.attempt",
                message=result.message.id,
                destination=result.message.destination_id,
                number=result.attempt.number,
                outcome=result.attempt.outcome,
                status=result.attempt.status,
                error=result.attempt.error,
                duration_ms=result.attempt.duration_ms,
                state=result.message.state,
                fenced=not is_kept,
            )


def _ruled(tx: Transaction, ledger: Ledgering, claimed: list[Claimed]) -> list[Claimed]:
    """Without those that must not be sent: they are given back, and held or dropped."""
    asked = _concerned(ledger, claimed)
    if not asked:
        return claimed
    ruling = ledger.may_send(tx, asked)
    refused: Collection[int] = {*ruling.hold, *ruling.drop}
    if not refused:
        return claimed
    tx.attempts.release([c.message for c in claimed if c.message.position in refused])
    tx.attempts.hold(ruling.hold)
    tx.attempts.drop(ruling.drop, ruling.reason)
    return [c for c in claimed if c.message.position not in refused]


def _concerned(ledger: Ledgering, claimed: Sequence[Claimed]) -> list[Record]:
    records = {c.message.position: c.record for c in claimed if c.record is not None}
    return [record for record in records.values() if ledger.concerns(record)]


async def _refused(store: Store, ledger: Ledgering, claimed: Sequence[Claimed]) -> Collection[int]:
    """Asked again right before sending, since what is claimed may have waited in its lane meanwhile. What is refused
    is given back, and held or dropped when it is claimed next, unless that was done already."""
    asked = _concerned(ledger, claimed)
    if not asked:
        return ()
    try:
        ruling = await store.read(lambda tx: ledger.may_send(tx, asked))
    except StoreUnavailable:
        return {record.position for record in asked}
    return {*ruling.hold, *ruling.drop}
