"""Publishing: each event record becomes a message a matching destination, sent until it is delivered or given up.

Two halves. `prepare` is a consumer's handler: it enqueues messages in the checkpoint's transaction, under ids
made from position and destination, so that a batch prepared again adds nothing. `run` takes turns: one write
keeps what came of the attempts that ended while the last one ran, gives back what was not sent, and claims what
is due under a lease; `lanes` sends it outside any transaction. Results are fenced: one that comes after the
lease was taken over is dropped.

At least once with one id and one body: a message is sent again only after a failed or unknown attempt
(design, flow 7). A crash between sending and recording leaves the lease to run out, then it is sent again.
How bytes travel is a transport's; which bytes are sent, and how often, is said by whoever publishes.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import structlog
from msgspec import Struct

from milepost.domain.attempt import Destination, Message
from milepost.domain.breaker import POLICY, Policy
from milepost.domain.errors import StoreUnavailable
from milepost.domain.instant import SECOND, Instant
from milepost.domain.record import Record
from milepost.domain.retry import STANDARD, Schedule
from milepost.pipeline.consumer import Effects
from milepost.pipeline.lanes import Claimed, Lanes
from milepost.pipeline.sending import (
    Copies,
    Copy,
    Outcome,
    Parcel,
    Render,
    Sender,
    as_journalled,
    one_copy,
)
from milepost.pipeline.settling import Settled, keep, settle
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

PAGE = 500
CLAIM = 256
"""Most messages taken in one turn."""
LINGER_S = 0.004
"""How long an outcome may wait for others, real time, while its lane has enough to do."""

log = structlog.get_logger()


def message_id(position: int, destination_id: str, copy: int = 0) -> str:
    """The same record for the same destination always has the same id."""
    return f"{position}-{destination_id}" + (f"~{copy}" if copy else "")


def wants(destination: Destination, record: Record) -> bool:
    """Whether an event record is for this destination; for a disabled one it is kept until that is enabled."""
    return (
        not destination.event_types or record.type in destination.event_types
    ) and destination.business_product_id in ("", record.business_product_id)


class _Turn(Struct, frozen=True):
    """What one write did."""

    kept: list[bool]
    claimed: list[Claimed]
    blocked: list[str]
    """Lanes whose breaker is open."""


class Publisher:
    """The engine behind every destination. Times are `clock`'s; `wait` waits by it; `random` is 0 up to 1.

    Sending takes real time, whatever the clock does: `pace` is how many times as fast as that the clock runs now,
    and `lease` and `look_again` are real milliseconds. `lease` must be longer than twice any sender's deadline;
    `look_again` is the longest wait for a signal, and the wait when everything due is leased to somebody. At most
    `concurrency` sends run at once in a lane, and at most `in_flight` messages are held in all.
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
        copies: Copies = one_copy,
        render: Render = as_journalled,
        probe: Callable[[str], None] = lambda point: None,
    ) -> None:
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
        self._copies = copies
        self._probe = probe
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
        )

    async def prepare(self, records: Sequence[Record]) -> Effects:
        """A consumer's handler: what must be enqueued for these records."""
        events = [r for r in records if r.kind == "event"]
        now = self._clock()

        def matching(tx: Transaction) -> list[Message]:
            destinations = _destinations(tx)
            return [
                _message(record, destination, number, copy, now)
                for record in events
                for destination in destinations
                if wants(destination, record)
                for number, copy in enumerate(self._copies(tx, record, destination))
            ]

        messages = await self._store.read(matching) if events else []
        loop = asyncio.get_running_loop()

        def enqueue(tx: Transaction) -> None:
            if messages:
                tx.attempts.enqueue(messages)
                # Claiming is a write too, so it runs after this one has committed.
                loop.call_soon_threadsafe(self._wake.set)

        return enqueue

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

    async def run(self, stop: asyncio.Event) -> None:
        """Send what is due until `stop` is set, then finish the attempts that are under way."""
        watcher = asyncio.create_task(self._wake_on(stop))
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
            claim = partial(self._claim, now=now, until=until, limit=room, room=self._lanes.room())

        def turn(tx: Transaction) -> _Turn:
            kept = keep(tx, settled, self._policy) if settled else []
            tx.attempts.release(returned)
            claimed = claim(tx) if claim is not None else []
            blocked = [lane for lane, b in tx.attempts.breakers().items() if b.state == "open"]
            return _Turn(kept, claimed, blocked)

        try:
            turned = await self._store.write(turn)
        except StoreUnavailable:
            # Not recorded, so not known: the leases run out and they are sent again.
            self._lanes.recorded()
            if settled:
                log.warning("publisher.attempts_not_recorded", messages=len(settled))
            raise
        if settled:
            self._probe("after-record")
            _log(settled, turned.kept)
        self._probe("after-claim")
        self._lanes.recorded(turned.blocked)
        self._lanes.add(turned.claimed)
        return len(settled), len(turned.claimed)

    def _claim(
        self, tx: Transaction, *, now: Instant, until: Instant, limit: int, room: Mapping[str, int]
    ) -> list[Claimed]:
        messages = tx.attempts.claim(now, until, limit, share=self._lanes.share, room=room)
        if not messages:
            return []
        destinations = tx.attempts.destinations_of({m.destination_id for m in messages})
        records = tx.journal.records({m.position for m in messages})
        return [Claimed(m, destinations.get(m.destination_id), records.get(m.position)) for m in messages]

    async def _last_turn(self) -> None:
        try:
            await self._turn(self._clock(), claiming=False)
        except StoreUnavailable as e:
            log.warning("publisher.store_unavailable", error=e.detail)

    async def _look_at(self, now: Instant) -> Instant:
        """When to look again, having looked at `now`: the next due time, at the latest soon, and not at once for
        what is due and could not be had."""
        due = await self._store.read(lambda tx: tx.attempts.next_due())
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


def _message(record: Record, destination: Destination, number: int, copy: Copy, now: Instant) -> Message:
    return Message(
        message_id(record.position, destination.id, number),
        destination.id,
        record.position,
        "pending",
        0,
        Instant(now + copy.delay),
        form=copy.form,
        created_at=now,
    )


def _destinations(tx: Transaction) -> list[Destination]:
    found: list[Destination] = []
    after = ""
    while page := tx.attempts.destinations(after, PAGE):
        found.extend(page)
        after = page[-1].id
    return found
