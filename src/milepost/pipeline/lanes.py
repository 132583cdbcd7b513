"""Lanes: what is claimed and not settled yet, by endpoint, and the workers that send it.

Destinations that share an endpoint share a lane, and at most `concurrency` sends run at once in it, so that one
that hangs holds up nobody else. A lane asks for more ahead of time (`room`), as much as it lately got rid of:
a fast one is never idle while the store is asked, a hanging one holds little. What need not be sent after all
(its lease ran low while it waited, its endpoint's breaker opened, its destination is gone, we are stopping) is
given back unsent. What is claimed again while it is held here (the clock was stepped over its lease) is not sent
twice: the new claim is a longer lease of the old one. Storing what came of it is the publisher's.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

import structlog
from msgspec import Struct
from msgspec.structs import replace

from milepost.domain.attempt import Destination, Message
from milepost.domain.breaker import is_failure
from milepost.domain.instant import Instant
from milepost.domain.record import Record
from milepost.pipeline.sending import GONE, Outcome, Parcel, Render, Sender

log = structlog.get_logger()

ENOUGH = 64
"""Attempts that are worth a write of their own."""
MOST_AHEAD = 64
"""Times its concurrency that the fastest lane may hold."""


class Claimed(Struct, frozen=True):
    """A claimed message with all that sending it takes; None for what is not there any more."""

    message: Message
    destination: Destination | None
    record: Record | None

    @property
    def lane(self) -> str:
        return self.message.destination_id if self.destination is None else self.destination.lane


class Done(Struct, frozen=True):
    """An attempt that was made, and what came of it. `tried`: the endpoint had a part in it."""

    claimed: Claimed
    started_at: Instant
    outcome: Outcome
    tried: bool = True


Refused = Callable[[Sequence[Claimed]], Awaitable[Collection[int]]]
"""The positions of those that must not be sent any more, though they could when they were claimed."""


class _Lane:
    __slots__ = ("ahead", "filled", "held", "queue", "settled", "workers")

    def __init__(self, ahead: int) -> None:
        self.ahead = ahead
        """What it may hold: twice as much each time that it ran empty, less again when it gets rid of little."""
        self.filled = False
        """The store gave all that it may hold: there may be more."""
        self.queue: deque[Claimed] = deque()
        self.workers = 0
        self.held = 0
        """Claimed and neither taken back nor taken as done yet."""
        self.settled = 0
        """Done since room was last asked for."""


class Lanes:
    """`news` is called whenever something is done, given back or broken: with True when whoever stores that should
    not wait for more of it, since a lane is about to run empty or nothing else is under way."""

    def __init__(
        self,
        senders: Mapping[str, Sender],
        clock: Callable[[], Instant],
        *,
        render: Render,
        concurrency: int,
        reserve: Callable[[], int],
        news: Callable[[bool], None],
        probe: Callable[[str], None],
        refused: Refused | None = None,
    ) -> None:
        """No send begins with less than `reserve()` milliseconds of its lease left. `refused` is asked right before
        each; what it names is given back."""
        self._senders = senders
        self._clock = clock
        self._render = render
        self._concurrency = concurrency
        self._reserve = reserve
        self._news = news
        self._probe = probe
        self._refused = refused
        self._lanes: dict[str, _Lane] = {}
        self._leases: dict[tuple[str, bool], Message] = {}
        """The newest claim of each message until it is taken; one asked for by hand goes beside one under way."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._done: list[Done] = []
        self._returned: list[Message] = []
        self._failure: BaseException | None = None
        self._stopping = False
        self._waiting: list[asyncio.Future[None]] = []
        """Workers whose send failed: they go on once that is recorded, unless a breaker opened over it."""
        self._recording: list[asyncio.Future[None]] = []
        self.held = 0
        """Claimed and not settled, in all lanes."""

    @property
    def share(self) -> int:
        """What a lane may take that holds nothing."""
        return 2 * self._concurrency

    def room(self) -> dict[str, int]:
        """What each lane that holds something, or did of late, may take more."""
        room: dict[str, int] = {}
        for key, lane in [*self._lanes.items()]:
            if lane.settled and not lane.queue:
                lane.ahead = min(2 * lane.ahead, MOST_AHEAD * self._concurrency)
            elif lane.settled < lane.ahead // 16:
                lane.ahead = max(self.share, lane.ahead // 2)
            room[key] = max(0, lane.ahead - lane.held)
            if not lane.held and not lane.settled:
                del self._lanes[key]
            lane.settled = 0
        return room

    def add(self, claimed: Sequence[Claimed]) -> None:
        """Send these as their lanes come to them."""
        for item in claimed:
            key = _key(item.message)
            is_held = key in self._leases
            self._leases[key] = item.message
            if is_held:
                continue
            lane = self._lanes.setdefault(item.lane, _Lane(self.share))
            lane.queue.append(item)
            lane.held += 1
            lane.filled = lane.held >= lane.ahead
            self.held += 1
            if lane.workers < self._concurrency:
                lane.workers += 1
                task = asyncio.create_task(self._work(lane))
                self._tasks.add(task)
                task.add_done_callback(self._ended)

    def take(self) -> tuple[list[Done], list[Message]]:
        """What was done and what is to be given back, since this was last asked. Raises what broke a worker."""
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        done = [self._renewed(d) for d in self._done]
        returned = [self._newest(message) for message in self._returned]
        self._done.clear()
        self._returned.clear()
        self._recording.extend(self._waiting)
        self._waiting.clear()
        return done, returned

    def recorded(self, closed: Collection[str] = ()) -> None:
        """What was last taken is recorded; nothing is to be tried in these lanes now, and what waits there is
        given back."""
        self._drop(closed)
        for waiting in self._recording:
            if not waiting.done():
                waiting.set_result(None)
        self._recording.clear()

    @property
    def has_news(self) -> bool:
        return bool(self._done or self._returned or self._failure)

    def _drop(self, lanes: Collection[str]) -> None:
        for key in lanes:
            if (lane := self._lanes.get(key)) is not None:
                while lane.queue:
                    self._give_back(lane, lane.queue.popleft())

    async def stop(self) -> None:
        """Give back what waits and finish what is under way."""
        self._stopping = True
        self._recording.extend(self._waiting)
        self.recorded([*self._lanes])
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._stopping = False

    # ── Sending ────────────────────────────────────────────────────────────────────────────────────────────

    async def _work(self, lane: _Lane) -> None:
        """Send until the lane is empty."""
        try:
            while lane.queue:
                first = lane.queue.popleft()
                lease_until = self._leases[_key(first.message)].lease_until or 0
                if self._clock() > lease_until - self._reserve():
                    # It waited too long; whoever claims it next sends it.
                    self._give_back(lane, first)
                elif await self._attempt(lane, first) and not self._stopping:
                    self._waiting.append(waiting := asyncio.get_running_loop().create_future())
                    await waiting
        finally:
            lane.workers -= 1

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failure = error
            self._news(True)

    async def _attempt(self, lane: _Lane, first: Claimed) -> bool:
        """Send it, with what may travel in the same call; returns whether the endpoint failed."""
        destination = first.destination
        if destination is None:
            self._settle(lane, first, self._clock(), Outcome(None, "the destination was removed", ends=True))
            return False
        sender = self._senders.get(destination.kind)
        if sender is None:
            words = f"nothing here sends to a {destination.kind} destination"
            self._settle(lane, first, self._clock(), Outcome(None, words))
            return False
        batch, parcels = [], []
        items = await self._allowed(lane, [first, *_companions(lane.queue, destination, sender.batch - 1)])
        started_at = self._clock()
        for item in items:
            body = self._rendered(item, destination)
            if isinstance(body, bytes):
                batch.append(item)
                parcels.append(Parcel(item.message, body))
            else:
                self._settle(lane, item, started_at, body)
        if not parcels:
            return False
        outcomes = await self._send(sender, destination, parcels)
        self._probe("after-send")
        for item, outcome in zip(batch, outcomes, strict=True):
            self._settle(lane, item, started_at, outcome, tried=True)
        if any(outcome.status == GONE for outcome in outcomes):
            self._drop_destination(lane, destination.id)
        return all(is_failure(outcome.status) and not outcome.ends for outcome in outcomes)

    async def _allowed(self, lane: _Lane, items: list[Claimed]) -> list[Claimed]:
        """Without those that are refused by now."""
        refused = await self._refused(items) if self._refused is not None else ()
        for item in items if refused else ():
            if item.message.position in refused:
                self._give_back(lane, item)
        return [item for item in items if item.message.position not in refused]

    def _rendered(self, item: Claimed, destination: Destination) -> bytes | Outcome:
        if item.record is None:
            return Outcome(None, "the record was erased", ends=True)
        try:
            return self._render(item.record, destination, item.message)
        except Exception as e:
            log.exception("publisher.render_failed", destination=destination.id, message=item.message.id)
            return Outcome(None, f"could not be rendered: {type(e).__name__}")

    async def _send(
        self, sender: Sender, destination: Destination, parcels: Sequence[Parcel]
    ) -> Sequence[Outcome]:
        try:
            outcomes = await sender.send(destination, parcels)
            if len(outcomes) == len(parcels):
                return outcomes
            error = f"the sender answered {len(outcomes)} outcomes for {len(parcels)} parcels"
        except Exception as e:
            log.exception("publisher.sender_failed", destination=destination.id)
            error = f"{type(e).__name__}: {e}"
        return [Outcome(None, error)] * len(parcels)

    def _settle(
        self, lane: _Lane, item: Claimed, started_at: Instant, outcome: Outcome, *, tried: bool = False
    ) -> None:
        lane.settled += 1
        self._let_go(lane)
        self._done.append(Done(item, started_at, outcome, tried))
        hungry = lane.filled and len(lane.queue) < self._concurrency
        self._news(hungry or not self.held or len(self._done) >= ENOUGH)

    def _give_back(self, lane: _Lane, item: Claimed) -> None:
        self._let_go(lane)
        self._returned.append(item.message)
        self._news(False)

    def _let_go(self, lane: _Lane) -> None:
        lane.held -= 1
        self.held -= 1

    def _renewed(self, done: Done) -> Done:
        claimed = done.claimed
        newest = self._newest(claimed.message)
        return done if newest is claimed.message else replace(done, claimed=replace(claimed, message=newest))

    def _newest(self, message: Message) -> Message:
        """As it was claimed last; whoever asks takes it away."""
        return self._leases.pop(_key(message))

    def _drop_destination(self, lane: _Lane, destination_id: str) -> None:
        for item in [i for i in lane.queue if i.message.destination_id == destination_id]:
            lane.queue.remove(item)
            self._give_back(lane, item)


def _key(message: Message) -> tuple[str, bool]:
    return message.id, message.manual


def _companions(queue: deque[Claimed], destination: Destination, most: int) -> list[Claimed]:
    """Up to so many others for this destination, as that was when they were claimed, taken out of the queue."""
    if most <= 0 or not queue:
        return []
    found: list[Claimed] = []
    others: list[Claimed] = []
    for item in queue:
        (found if len(found) < most and item.destination == destination else others).append(item)
    queue.clear()
    queue.extend(others)
    return found
