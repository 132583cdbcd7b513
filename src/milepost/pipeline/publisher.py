"""Publishing: each event record becomes a message a matching destination, sent until it is delivered or given up.

Two halves. `prepare` is a consumer's handler: it enqueues messages in the checkpoint's transaction, under ids
made from position and destination, so that a batch prepared again adds nothing. `run` claims due messages
under a lease, sends them through a `Sender` outside any transaction, and records attempt and next state in one
write, fenced: a result that comes after the lease was taken over is dropped.

At least once with one id and one body: a message is sent again only after a failed or unknown attempt
(design, flow 7). A crash between sending and recording leaves the lease to run out, then it is sent again.
2xx is delivered, 410 ends the message, everything else waits for the schedule (`domain.retry`); exhausted is
`failed`, and stays visible. How bytes travel is a transport's; which bytes are sent is the record's body.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Protocol

import structlog
from msgspec import Struct
from msgspec.structs import replace

from milepost.domain.attempt import Attempt, Destination, Message
from milepost.domain.errors import StoreUnavailable
from milepost.domain.instant import SECOND, Instant
from milepost.domain.record import Record
from milepost.domain.retry import STANDARD, Schedule, next_due
from milepost.pipeline.consumer import Effects
from milepost.store import Store, Transaction

GONE = 410
"""The one status by which a destination says that it never wants this again."""

PAGE = 500
CLAIM = 32
"""Messages taken in one write: what one destination can get ahead of the others."""

log = structlog.get_logger()


class Outcome(Struct, frozen=True):
    """What came of sending: an HTTP status, or an error in words where no answer came."""

    status: int | None
    error: str = ""
    retry_after: int | None = None
    """What the destination asked us to wait, in milliseconds."""
    duration_ms: int = 0
    reached: bool = True
    """False when the destination certainly did not get it (no connection, no token, address refused)."""
    target: str = ""
    """Where it went."""
    response: str = ""
    """The beginning of the answer's body, at most 1 KiB."""
    ends: bool = False
    """Another attempt can be of no use (larger than the destination takes): the message has failed."""


class Parcel(Struct, frozen=True):
    """A message with the bytes to send for it."""

    message: Message
    body: bytes


class Sender(Protocol):
    """Sends parcels to their destination. Answers an `Outcome` a parcel, in their order, for whatever happens
    within its own deadline; an exception counts as an unknown outcome of each."""

    @property
    def batch(self) -> int:
        """The most parcels that one call takes."""
        ...

    async def send(self, destination: Destination, parcels: Sequence[Parcel]) -> Sequence[Outcome]: ...


Wait = Callable[[Instant, asyncio.Event], Awaitable[None]]
"""Return when the clock has reached the instant, or when the event is set, whichever is first."""


class Copy(Struct, frozen=True):
    """One message to be made of a record: due so many milliseconds from now, and rendered in this form."""

    delay: int = 0
    form: str = ""


Copies = Callable[[Transaction, Record, Destination], Sequence[Copy]]
"""What a destination gets of a record that it wants: one copy, at once, unless a publisher is made to
misbehave. Called inside a read of the store."""

Render = Callable[[Record, Destination, Message], bytes]
"""The bytes to send. The same message is rendered the same at every attempt."""

_ONE = (Copy(),)


def one_copy(tx: Transaction, record: Record, destination: Destination) -> Sequence[Copy]:
    return _ONE


def as_journalled(record: Record, destination: Destination, message: Message) -> bytes:
    return record.body


def message_id(position: int, destination_id: str, copy: int = 0) -> str:
    """The same record for the same destination always has the same id."""
    return f"{position}-{destination_id}" + (f"~{copy}" if copy else "")


def wants(destination: Destination, record: Record) -> bool:
    """Whether an event record is for this destination."""
    return (not destination.event_types or record.type in destination.event_types) and (
        destination.business_product_id in ("", record.business_product_id)
    )


class _Claimed(Struct, frozen=True):
    message: Message
    destination: Destination | None
    record: Record | None

    @property
    def lane(self) -> str:
        return self.message.destination_id if self.destination is None else self.destination.lane


class Publisher:
    """The engine behind every destination. Times are `clock`'s; `wait` waits by it; `random` is 0 up to 1.

    `lease` (milliseconds of the clock) must be longer than twice any sender's deadline. At most `concurrency`
    attempts run at once a destination, and at most `in_flight` messages are held in all. `look_again` is the
    longest wait for a signal, and the wait when everything due is leased to somebody (milliseconds of the clock).
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
        lease: int = 60 * SECOND,
        look_again: int = 5 * SECOND,
        concurrency: int = 8,
        in_flight: int = 1_024,
        copies: Copies = one_copy,
        render: Render = as_journalled,
        probe: Callable[[str], None] = lambda point: None,
    ) -> None:
        self._store = store
        self._senders = senders
        self._clock = clock
        self._wait = wait
        self._random = random
        self._schedule = schedule
        self._lease = lease
        self._look_again = look_again
        self._in_flight = in_flight
        self._copies = copies
        self._render = render
        self._probe = probe
        self._wake = asyncio.Event()
        self._lanes: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(concurrency))
        self._lane_cap = 2 * concurrency
        self._held = Counter[str]()
        """Claimed messages that are not settled yet, by destination: a full lane claims no more."""
        self._tasks: set[asyncio.Task[None]] = set()

    async def prepare(self, records: Sequence[Record]) -> Effects:
        """A consumer's handler: what must be enqueued for these records."""
        events = [r for r in records if r.kind == "event"]
        now = self._clock()

        def matching(tx: Transaction) -> list[Message]:
            destinations = _destinations(tx).values()
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
        """Look for due messages now: somebody enqueued some without `prepare`."""
        self._wake.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Send what is due until `stop` is set, then finish the attempts that are under way."""
        watcher = asyncio.create_task(self._wake_on(stop))
        try:
            while not stop.is_set():
                self._wake.clear()
                try:
                    started = await self._start_due()
                    if not started:
                        await self._wait(await self._look_at(), self._wake)
                except StoreUnavailable as e:
                    log.warning("publisher.store_unavailable", error=e.detail)
                    await self._wait(Instant(self._clock() + SECOND), self._wake)
        finally:
            watcher.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def send_due(self) -> int:
        """Send everything that is due now and wait for the outcomes; returns how many attempts were started."""
        started = await self._start_due()
        total = started
        while started or self._tasks:
            await asyncio.gather(*self._tasks)
            started = await self._start_due()
            total += started
        return total

    async def _wake_on(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._wake.set()

    async def _start_due(self) -> int:
        """Claim what there is room for and start sending it."""
        room = min(CLAIM, self._in_flight - len(self._tasks))
        if room <= 0:
            return 0
        taken = dict(self._held)
        now = self._clock()
        until = Instant(now + self._lease)

        def claim(tx: Transaction) -> list[_Claimed]:
            messages = tx.attempts.claim(now, until, room, share=self._lane_cap, taken=taken)
            if not messages:
                return []
            destinations = tx.attempts.destinations_of({m.destination_id for m in messages})
            records = tx.journal.records({m.position for m in messages})
            return [
                _Claimed(m, destinations.get(m.destination_id), records.get(m.position)) for m in messages
            ]

        claimed = await self._store.write(claim)
        self._probe("after-claim")
        for item in claimed:
            task = asyncio.create_task(self._attempt(item, until))
            self._tasks.add(task)
            self._held[item.lane] += 1
            task.add_done_callback(partial(self._finished, item.lane))
        return len(claimed)

    def _finished(self, lane: str, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._held[lane] -= 1
        self._wake.set()

    async def _look_at(self) -> Instant:
        """When to look again: the next due time, at the latest soon, and not at once for what is leased."""
        now = self._clock()
        due = await self._store.read(lambda tx: tx.attempts.next_due())
        latest = Instant(now + self._look_again)
        return latest if due is None or due <= now else min(due, latest)

    async def _attempt(self, claimed: _Claimed, lease_until: Instant) -> None:
        message, destination = claimed.message, claimed.destination
        async with self._lanes[claimed.lane]:
            # The wait for this lane may have eaten the lease; whoever claims it next sends it.
            if self._clock() > lease_until - self._lease // 2:
                return
            started_at = self._clock()
            if destination is None:
                outcome = Outcome(None, "the destination was removed", reached=False, ends=True)
            elif claimed.record is None:
                outcome = Outcome(None, "the record was erased", reached=False, ends=True)
            else:
                outcome = await self._send(destination, message, claimed.record)
            self._probe("after-send")
            await self._record(message, started_at, outcome)

    async def _send(self, destination: Destination, message: Message, record: Record) -> Outcome:
        sender = self._senders.get(destination.kind)
        if sender is None:
            return Outcome(None, f"nothing here sends to a {destination.kind} destination", reached=False)
        try:
            parcel = Parcel(message, self._render(record, destination, message))
            (outcome,) = await sender.send(destination, [parcel])
            return outcome
        except Exception as e:
            log.exception("publisher.sender_failed", destination=destination.id, message=message.id)
            return Outcome(None, f"{type(e).__name__}: {e}")

    async def _record(self, message: Message, started_at: Instant, outcome: Outcome) -> None:
        attempt, after = settle(
            message, started_at, outcome, self._clock(), schedule=self._schedule, random=self._random
        )
        try:
            (kept,) = await self._store.write(lambda tx: self._keep(tx, attempt, after))
        except StoreUnavailable as e:
            # Not recorded, so not known: the lease runs out and it is sent again.
            log.warning("publisher.attempt_not_recorded", message=message.id, error=e.detail)
            return
        self._probe("after-record")
        log.info(
            "publisher.attempt",
            message=message.id,
            destination=message.destination_id,
            number=attempt.number,
            outcome=attempt.outcome,
            status=outcome.status,
            error=outcome.error,
            duration_ms=outcome.duration_ms,
            state=after.state,
            fenced=not kept,
        )

    def _keep(self, tx: Transaction, attempt: Attempt, after: Message) -> list[bool]:
        kept = tx.attempts.record([(attempt, after)])
        if kept[0] and attempt.status == GONE:
            tx.attempts.disable(after.destination_id, f"answered {GONE}")
        return kept


def settle(
    message: Message,
    started_at: Instant,
    outcome: Outcome,
    now: Instant,
    *,
    schedule: Schedule,
    random: Callable[[], float],
) -> tuple[Attempt, Message]:
    """The attempt to keep, and its message afterwards."""
    number = message.tries + 1
    delivered = outcome.status is not None and 200 <= outcome.status < 300
    unknown = outcome.status is None and outcome.reached
    attempt = Attempt(
        message.id,
        number,
        started_at,
        outcome.duration_ms,
        "delivered" if delivered else "unknown" if unknown else "failed",
        outcome.status if outcome.reached else None,
        outcome.error,
        outcome.target,
        outcome.response,
        outcome.retry_after,
        message.manual,
    )
    due = None
    if not delivered and not outcome.ends and outcome.status != GONE:
        due = next_due(schedule, number, now, outcome.retry_after, random)
    after = replace(
        message,
        state="delivered" if delivered else "failed" if due is None else "pending",
        tries=number,
        due_at=due if due is not None else message.due_at,
        lease_until=None,
        manual=False,
    )
    return attempt, after


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


def _destinations(tx: Transaction) -> dict[str, Destination]:
    found: dict[str, Destination] = {}
    after = ""
    while page := tx.attempts.destinations(after, PAGE):
        found.update((d.id, d) for d in page)
        after = page[-1].id
    return found
