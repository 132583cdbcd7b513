"""The fan-out: which destinations each record is for, and the messages that are enqueued for that.

It is what the publisher's consumer does with a batch. Matching may be slow (filters), so it is done outside the
write; the write looks whether any destination has changed since, and if so matches anew. So a destination that is
put live in a write with `after` at this consumer's checkpoint gets everything above that, once.

Destinations are gone through in pages, and of what matches only ids are kept: ten thousand of them are no ten
thousand decoded things. While there is nobody to publish to, the journal is not read at all: `Following` moves its
checkpoint to the end now and then.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence

import structlog
from msgspec import Struct

from milepost.domain.attempt import Destination, Message
from milepost.domain.instant import Instant
from milepost.domain.record import Record
from milepost.pipeline.consumer import Consumer, Effects
from milepost.pipeline.sending import Copies, Copy, SequenceOf, Wants
from milepost.store import Store, Transaction

PAGE = 500
"""Destinations that are looked at together."""
CHUNK = 500
"""Messages that are made and enqueued together."""
BATCH = 500
MOST = 20_000
"""Messages that one batch may come to: with many destinations it has fewer records."""
REST_S = 1.0
"""While there is nobody, how often the checkpoint is moved to the journal's end."""


log = structlog.get_logger()


def message_id(position: int, destination_id: str, copy: int = 0) -> str:
    """The same record for the same destination always has the same id."""
    return f"{position}-{destination_id}" + (f"~{copy}" if copy else "")


def wants(destination: Destination, record: Record) -> bool:
    """A `Wants`: whether an event record is for this destination, by type and business product."""
    return (
        record.kind == "event"
        and (not destination.event_types or record.type in destination.event_types)
        and destination.business_product_id in ("", record.business_product_id)
    )


def no_sequence(record: Record) -> str:
    """A `SequenceOf` of a publisher that has no ordered destinations."""
    return ""


class Match(Struct, frozen=True, gc=False):
    """One message to be made: of which record (by its place in the batch), for whom."""

    number: int
    destination_id: str
    ordered: bool
    copy_number: int
    copy: Copy


Version = tuple[int, int]


class Fanout:
    """`enqueued` is called, on the event loop, when messages are about to be committed."""

    def __init__(
        self,
        store: Store,
        clock: Callable[[], Instant],
        *,
        wants: Wants,
        sequence_of: SequenceOf,
        copies: Copies,
        enqueued: Callable[[], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._wants = wants
        self._sequence_of = sequence_of
        self._copies = copies
        self._enqueued = enqueued
        self._known: tuple[Version, tuple[Destination, ...]] | None = None
        """All destinations as of a version, when they are few."""

    async def prepare(self, records: Sequence[Record]) -> Effects:
        """A consumer's handler: what must be enqueued for these records."""
        now = self._clock()
        version, matches = await self._store.read(lambda tx: self._match(tx, records))
        loop = asyncio.get_running_loop()

        def enqueue(tx: Transaction) -> None:
            found = matches
            if tx.attempts.destinations_version() != version:
                _, found = self._match(tx, records)
            if found:
                self._enqueue(tx, records, found, now)
                # Claiming is a write too, so it runs after this one has committed.
                loop.call_soon_threadsafe(self._enqueued)

        return enqueue

    def batch(self) -> int:
        """How many records may be taken together, as far as is known."""
        if self._known is None:
            return 1  # By the first one it is learnt how many destinations there are.
        return max(1, min(BATCH, MOST // max(1, self._known[0][0])))

    def _match(self, tx: Transaction, records: Sequence[Record]) -> tuple[Version, list[Match]]:
        version = tx.attempts.destinations_version()
        return version, [match for page in self._pages(tx, version) for match in self._of(tx, page, records)]

    def _pages(self, tx: Transaction, version: Version) -> Iterator[Sequence[Destination]]:
        known = self._known
        if known is not None and known[0] == version and version[0] <= PAGE:
            yield known[1]
            return
        after = ""
        while page := tx.attempts.destinations(after, PAGE):
            after = page[-1].id
            self._known = version, tuple(page) if version[0] <= PAGE else ()
            yield page
        if not version[0]:
            self._known = version, ()

    def _of(
        self, tx: Transaction, destinations: Sequence[Destination], records: Sequence[Record]
    ) -> Iterator[Match]:
        for number, record in enumerate(records):
            for destination in destinations:
                after = destination.after
                if after is not None and record.position > after and self._wanted(destination, record):
                    for copy_number, copy in enumerate(self._copies(tx, record, destination)):
                        yield Match(number, destination.id, destination.ordered, copy_number, copy)

    def _wanted(self, destination: Destination, record: Record) -> bool:
        """What cannot be told of one destination is no reason that the others get nothing."""
        try:
            return self._wants(destination, record)
        except Exception:
            log.exception("publisher.match_failed", destination=destination.id, position=record.position)
            return False

    def _enqueue(
        self, tx: Transaction, records: Sequence[Record], matches: Sequence[Match], now: Instant
    ) -> None:
        sequences: dict[int, str] = {}
        for start in range(0, len(matches), CHUNK):
            chunk = matches[start : start + CHUNK]
            for match in chunk:
                if match.ordered and match.number not in sequences:
                    sequences[match.number] = self._sequence_of(records[match.number])
            tx.attempts.enqueue([_message(records[m.number], m, sequences, now) for m in chunk])


def _message(record: Record, match: Match, sequences: Mapping[int, str], now: Instant) -> Message:
    return Message(
        message_id(record.position, match.destination_id, match.copy_number),
        match.destination_id,
        record.position,
        "pending",
        0,
        Instant(now + match.copy.delay),
        form=match.copy.form,
        created_at=now,
        sequence=sequences.get(match.number, "") if match.ordered else "",
    )


class Following(Consumer):
    """The consumer behind a fan-out, that costs nothing while there is nobody to publish to."""

    def __init__(
        self,
        store: Store,
        name: str,
        fanout: Fanout,
        clock: Callable[[], Instant],
        *,
        probe: Callable[[str], None] = lambda point: None,
    ) -> None:
        super().__init__(store, name, fanout.prepare, clock, probe=probe)
        self._fanout = fanout
        self._look = asyncio.Event()
        self._nobody = True
        """As far as is known, there is no destination."""

    def notify(self) -> None:
        """There may be somebody to publish to now."""
        self._look.set()

    async def step(self) -> int:
        self._look.clear()
        if self._nobody:
            self._nobody = await self._pass()
            if self._nobody:
                return 0
        self._batch = self._fanout.batch()
        moved = await super().step()
        if not moved:
            self._nobody = await self._store.read(lambda tx: tx.attempts.destinations_version()[0] == 0)
        return moved

    async def _pass(self) -> bool:
        """Pass over everything that is journalled; False, and nothing done, when there is somebody."""

        def move(tx: Transaction) -> int | None:
            if tx.attempts.destinations_version()[0]:
                return None
            last = tx.journal.last_position()
            if tx.journal.checkpoint(self.name) != last:
                tx.journal.set_checkpoint(self.name, last)
            return last

        last = await self._store.write(move)
        if last is not None:
            self.position = last
        return last is not None

    async def _wait(self, stop: asyncio.Event) -> None:
        await super()._wait(stop)
        if self._nobody and not stop.is_set():
            ended = asyncio.ensure_future(stop.wait())
            noticed = asyncio.ensure_future(self._look.wait())
            try:
                await asyncio.wait((ended, noticed), timeout=REST_S, return_when=asyncio.FIRST_COMPLETED)
            finally:
                ended.cancel()
                noticed.cancel()
