"""Working off backfills and replays, page by page, beside what is published live.

What is selected is matched outside the write; the write looks whether cursor and destinations are still what they
were, enqueues, and moves the cursor on: so a crash anywhere repeats a page and sends nothing twice. While a
destination has much to be sent already, or is disabled, nothing is added for it.

A backfill ends in the write in which its cursor reaches the publisher's checkpoint: there the destination is put
live, `after` that checkpoint. What is published next begins above it, since the publisher matches anew when a
destination has changed: no gap, no overlap.
"""

import asyncio
from collections.abc import Callable, Sequence

import structlog
from msgspec import Struct
from msgspec.structs import replace

from milepost.domain.attempt import Destination, Message, Replay
from milepost.domain.errors import StoreUnavailable
from milepost.domain.instant import SECOND, Instant
from milepost.domain.record import Record
from milepost.pipeline.capturing import tells_capture
from milepost.pipeline.fanout import message_id, no_sequence
from milepost.pipeline.history import CONSUMER, page, repeatable
from milepost.pipeline.pacing import Pace
from milepost.pipeline.sending import SequenceOf, Wants
from milepost.pipeline.waiting import Wait
from milepost.store import Store, Transaction

PILE = 2_000
"""Messages still to be sent to a destination above which nothing of history is added."""
CHUNK = 500
"""Most messages added in one write."""
AT_ONCE = 50
"""Replays that go on in one round, by age, those behind the last round's first."""
PAUSE = SECOND // 5
"""How long one that cannot go on now is left alone."""

log = structlog.get_logger()


class _Look(Struct, frozen=True):
    """What one replay could do next, as of a read."""

    replay: Replay
    destination: Destination
    version: tuple[int, int]
    records: Sequence[Record]
    end: int
    room: int


class Replaying:
    """`added` is called when messages were enqueued. Times are `clock`'s, `wait` waits by it; `look_again` is how
    long nobody looks whether there is a new replay, unless `notify` says so."""

    def __init__(
        self,
        store: Store,
        clock: Callable[[], Instant],
        *,
        wants: Wants,
        sequence_of: SequenceOf = no_sequence,
        wait: Wait,
        added: Callable[[], None],
        look_again: int = 5 * SECOND,
    ) -> None:
        self._store = store
        self._clock = clock
        self._wants = wants
        self._sequence_of = sequence_of
        self._wait = wait
        self._added = added
        self._look_again = look_again
        self._wake = asyncio.Event()
        self._paces: dict[str, Pace] = {}
        self._after = ""
        """The last that went on: the next round begins behind it, so that those that cannot go on starve nobody."""

    def notify(self) -> None:
        """There is a new replay, or a destination takes more now."""
        self._wake.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Work off what there is until `stop` is set."""
        watcher = asyncio.create_task(self._wake_on(stop))
        try:
            while not stop.is_set():
                self._wake.clear()
                pause = SECOND
                try:
                    running, moved = await self._round()
                    pause = 0 if moved else PAUSE if running else self._look_again
                except StoreUnavailable as e:
                    log.warning("replaying.store_unavailable", error=e.detail)
                if pause:
                    await self._wait(Instant(self._clock() + pause), self._wake)
        finally:
            watcher.cancel()

    async def step(self) -> bool:
        """Let every replay go on by one page; whether any could."""
        return (await self._round())[1]

    async def _wake_on(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._wake.set()

    async def _round(self) -> tuple[bool, bool]:
        """Whether any replay is running, and whether any went on."""
        running = await self._store.read(lambda tx: _behind(tx, self._after))
        if len(running) < AT_ONCE:
            self._paces = {r.id: pace for r in running if (pace := self._paces.get(r.id)) is not None}
        self._paces |= {r.id: Pace(r.rate) for r in running if r.rate and r.id not in self._paces}
        moved = [await self._go_on(replay) for replay in running]
        self._after = running[-1].id if running else ""
        return bool(running), any(moved)

    async def _go_on(self, replay: Replay) -> bool:
        pace, now = self._paces.get(replay.id), self._clock()
        most = CHUNK if pace is None else min(CHUNK, pace.tokens(now))
        look = await self._store.read(lambda tx: _look(tx, replay)) if most else None
        if look is None or not look.room:
            return False
        wanted, end = self._wanted(look, min(most, look.room))
        added = await self._store.write(lambda tx: self._add(tx, look, wanted, end, now))
        if added is None:
            return False
        if pace is not None:
            pace.take(now, added)
        if added:
            self._added()
        return True

    def _wanted(self, look: _Look, most: int) -> tuple[list[Record], int]:
        """Those of the page that the destination wants, `most` of them, and how far that brings the replay."""
        wanted: list[Record] = []
        for record in look.records:
            if self._wants(look.destination, record):
                if len(wanted) == most:
                    return wanted, wanted[-1].position
                wanted.append(record)
        return wanted, look.end

    def _add(
        self, tx: Transaction, look: _Look, wanted: Sequence[Record], end: int, now: Instant
    ) -> int | None:
        """In the write. None: something has changed, and it is looked at again."""
        known = tx.attempts.replay(look.replay.id)
        if known != look.replay or tx.attempts.destinations_version() != look.version:
            return None
        destination = tx.attempts.destination(look.destination.id)
        if destination is None:
            return None
        until = tx.journal.checkpoint(CONSUMER) if known.until is None else known.until
        if known.kind == "backfill" and end < until and end == look.end:
            # What was published meanwhile is little, or else it is left to the next page.
            rest, reached = page(tx, known, end, until)
            if reached == until and len(rest) <= CHUNK:
                wanted = [*wanted, *(r for r in rest if self._wants(look.destination, r))]
                end = until
        if known.kind == "replay":
            # What was delivered since the look.
            wanted = repeatable(tx, known, wanted)
        messages = [self._message(record, destination, known, now) for record in wanted]
        if known.kind == "replay":
            tx.attempts.again([m for m in messages if not m.origin])
        tx.attempts.enqueue([m for m in messages if m.origin or known.kind == "backfill"])
        ended = end >= until
        if ended and known.kind == "backfill":
            # It may have been asked to begin above what is published by now.
            tx.attempts.put_destination(replace(destination, after=max(until, known.cursor)))
        tx.attempts.put_replay(
            replace(
                known,
                cursor=max(end, known.cursor),
                enqueued=known.enqueued + len(messages),
                state="done" if ended else "running",
                ended_at=now if ended else None,
            )
        )
        return len(messages)

    def _message(self, record: Record, destination: Destination, replay: Replay, now: Instant) -> Message:
        usual = message_id(record.position, destination.id)
        is_replay, has_new_id = replay.kind == "replay", replay.new_ids and not tells_capture(record)
        return Message(
            f"{usual}~r{replay.id}" if has_new_id else usual,
            destination.id,
            record.position,
            "pending",
            0,
            now,
            created_at=now,
            sequence=self._sequence_of(record) if destination.ordered else "",
            origin=usual if has_new_id else "",
            replay=replay.id if is_replay else "",
        )


def _behind(tx: Transaction, after: str) -> list[Replay]:
    """The next that are running, going round."""
    behind = tx.attempts.replays(after, AT_ONCE, state="running")
    if after and len(behind) < AT_ONCE:
        rest = tx.attempts.replays("", AT_ONCE - len(behind), state="running")
        behind += [replay for replay in rest if replay.id <= after]
    return behind


def _look(tx: Transaction, replay: Replay) -> _Look | None:
    """None: it cannot go on now."""
    destination = tx.attempts.destination(replay.destination_id)
    if destination is None or not destination.enabled:
        return None
    room = max(0, PILE - tx.attempts.backlog(destination.id, PILE))
    until = replay.until if replay.until is not None else tx.journal.checkpoint(CONSUMER)
    records, end = page(tx, replay, replay.cursor, until) if room else ((), replay.cursor)
    return _Look(replay, destination, tx.attempts.destinations_version(), records, end, room)
