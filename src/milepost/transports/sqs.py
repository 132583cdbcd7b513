"""Events from Amazon SQS: what an EventBridge rule sends to a queue, into the journal.

Each queue has a few pollers. A message is deleted only after the journal's commit, or when its body is in
quarantine; until then it stays invisible to others, however long the commit takes. So every message ends as one
of these, counted in `outcomes` (`received` is the sum of the first seven):

| outcome    | the event is                                          | the message                             |
|------------|-------------------------------------------------------|-----------------------------------------|
| accepted   | in the journal, durably                               | deleted                                 |
| duplicate  | counted as one more arrival of its record             | deleted                                 |
| malformed  | in quarantine: no event, too large, not text          | deleted                                 |
| forbidden  | in quarantine: of a business product not bound here   | deleted                                 |
| repeated   | in quarantine since it came before                    | deleted                                 |
| unstored   | not kept: the store is away                           | visible again after the pause           |
| failed     | not kept: a bug here, logged                          | visible again, later each time          |

A delete that fails is tried again; after that the message comes again (`undeleted`) and is a duplicate. While
AWS or the store is away only one poller tries, after pauses that grow. The queue's own dead-letter queue takes
what was received too often; nothing here sends there.

Calls to AWS are `sqs_queue`'s, what becomes of a message's body is `sqs_settling`'s, pauses are `sqs_trouble`'s.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from random import Random
from typing import Any, Final, Protocol, TypeVar

from milepost.domain.errors import Misconfigured, StoreUnavailable
from milepost.domain.instant import Instant, format_instant
from milepost.pipeline.ingest import Ingest
from milepost.transports.sqs_queue import MOST, Message, Queue, QueueError, check_installed
from milepost.transports.sqs_settling import Batch, Outcomes, Settler
from milepost.transports.sqs_trouble import Parts

T = TypeVar("T")

WAIT_S: Final = 20
VISIBILITY_S: Final = 30
STOP_S: Final = 10.0
"""Seconds that commits under way have to end when the receiver is stopped."""
GRACE_S: Final = 0.25
"""Seconds that a receive has to end then: one that brings messages is back sooner, an idle one is given up."""
BATCHES: Final = 4
"""Receives of one poller that may be under way to the journal while it receives the next."""
DELETE_TRIES: Final = 5
AT_ONCE_S: Final = 0.25
"""An empty answer sooner than this is one that did not wait for messages."""
WAIT_FOR_THE_END_S: Final = 2
"""The long poll of whoever only waits until nothing comes any more: long enough to ask all of SQS's servers."""


class SqsReceiver:
    """Receives from the queue at `url`. `outcomes`, `oldest_age_ms` and `last_success` may be read at any time.

    What comes may be of `business_product_ids` only (empty: all). `clock` gives milliseconds UTC; `random`
    spreads pauses and `sleep` is how they are waited for. `wait_s` and `visibility_s` are whole seconds.
    """

    def __init__(
        self,
        url: str,
        ingest: Ingest,
        *,
        clock: Callable[[], Instant],
        random: Random,
        business_product_ids: tuple[str, ...] = (),
        pollers: int = 2,
        wait_s: int = WAIT_S,
        visibility_s: int = VISIBILITY_S,
        stop_s: float = STOP_S,
        name: str | None = None,
        sleep: Callable[[float], Coroutine[Any, Any, None]] = asyncio.sleep,
    ) -> None:
        """`name` is how logs and numbers call it, else as AWS does. Raises `Misconfigured` without the extra aws."""
        check_installed()
        self.url = url
        self.name = name or name_of(url)
        self.oldest_age_ms = 0
        """How long the oldest message of the last receive had been waiting; 0 when that brought none."""
        self.last_success: Instant | None = None
        """When the queue last answered a receive."""
        self.parts = Parts(self.name, random)
        self._in_sequence = name_of(url).endswith(".fifo")
        self._settler = Settler(self.name, ingest, business_product_ids, clock, in_sequence=self._in_sequence)
        self.outcomes = self._settler.outcomes
        self._clock = clock
        self._pollers = pollers
        self._wait_s = wait_s
        self._visibility_s = visibility_s
        self._stop_s = stop_s
        self._sleep = sleep
        self._random = random
        self._in_hand: dict[str, Message] = {}
        """By receipt: received, and neither deleted nor released."""
        self._doomed: list[Message] = []
        self._deleters: set[asyncio.Task[None]] = set()
        self._late = False

    async def run(self, stop: asyncio.Event, *, until_empty: bool = False) -> None:
        """Receive until `stop` is set, then finish what was received: delete what is committed, let the rest be
        visible at once. With `until_empty` it ends when nothing comes any more, or when nothing can."""
        self._queue = Queue(
            self.url,
            wait_s=min(self._wait_s, WAIT_FOR_THE_END_S) if until_empty else self._wait_s,
            visibility_s=self._visibility_s,
            connections=3 * self._pollers + 2,
        )
        self._late = False
        self.parts.forget()
        self._in_hand.clear()
        self._doomed.clear()
        self._deleters.clear()
        self._trying = asyncio.Lock()
        self._stopping = asyncio.create_task(stop.wait())
        pollers = [asyncio.create_task(self._poll(stop, until_empty)) for _ in range(self._pollers)]
        others = [asyncio.create_task(self._keep_invisible()), asyncio.create_task(self._hurry(stop))]
        try:
            await asyncio.gather(*pollers)
            await self._deleted()
        finally:
            tasks = [*pollers, *others, *self._deleters, self._stopping]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._queue.close()

    # ── Receiving ──────────────────────────────────────────────────────────────────────────────────────────

    async def _poll(self, stop: asyncio.Event, until_empty: bool) -> None:
        """One loop: the next messages are received while earlier ones are committed and deleted."""
        handling: set[asyncio.Task[None]] = set()
        try:
            while not stop.is_set() and not (until_empty and self.parts.hopeless):
                if self.parts.pause_s:
                    # One poller at a time tries again, and the others find it mended.
                    async with self._trying:
                        await self._before_stop(self._sleep(self.parts.pause_s))
                        ready = not stop.is_set() and await self._store_answers()
                        messages = await self._receive() if ready else None
                        if messages == []:
                            # There is nothing to store, so nothing says that the store is still away.
                            self.parts.storing.worked()
                        await self._handle(messages or [], stop)
                    continue
                alone = not self._in_hand
                messages = await self._receive()
                if messages:
                    handling.add(asyncio.create_task(self._handle(messages, stop)))
                    # The rest of a FIFO queue's group comes only when these are deleted.
                    await self._fewer(handling, 0 if self._in_sequence else BATCHES)
                    if self._in_sequence:
                        await self._deleted()
                elif messages is not None and until_empty and alone:
                    return
        finally:
            await self._fewer(handling, 0)

    async def _fewer(self, handling: set[asyncio.Task[None]], most: int) -> None:
        """Return when no more than so many of these are under way. Raises what one of them raised."""
        while len(handling) > most:
            done, _ = await asyncio.wait(handling, return_when=asyncio.FIRST_COMPLETED)
            handling -= done
            for task in done:
                task.result()

    async def _store_answers(self) -> bool:
        """Whether the store is worth a message. Each receive in vain brings one nearer to the dead letters."""
        if not self.parts.storing.failures:
            return True
        try:
            return await self._before_stop(self._settler.check_store()) is not None
        except StoreUnavailable as e:
            self.parts.storing.failed(e.code, e.detail)
            return False

    async def _receive(self) -> list[Message] | None:
        """What one long poll brings; None when it failed or was given up."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            messages = await self._before_stop(self._queue.receive(), GRACE_S)
        except QueueError as e:
            self.parts.receiving.failed(e.kind, str(e))
            return None
        if messages is None:
            return None
        now = self._clock()
        self.parts.receiving.worked()
        self.last_success = now
        self.oldest_age_ms = max((now - m.sent_at for m in messages if m.sent_at is not None), default=0)
        self.outcomes.received += len(messages)
        if not messages and self._wait_s and loop.time() - started < AT_ONCE_S:
            # It does not wait as it was asked to; without a pause this would be a tight loop.
            await self._before_stop(self._sleep(1.0))
        return messages

    async def _before_stop(self, work: Coroutine[Any, Any, T], grace_s: float = 0) -> T | None:
        """What `work` gives, or None when the stop comes first and it does not end within `grace_s` seconds."""
        doing = asyncio.ensure_future(work)
        try:
            both: set[asyncio.Future[Any]] = {doing, self._stopping}
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if not doing.done():
                await asyncio.wait({doing}, timeout=grace_s)
            return doing.result() if doing.done() else None
        finally:
            if not doing.done():
                doing.cancel()
                await asyncio.gather(doing, return_exceptions=True)

    # ── What becomes of a message ──────────────────────────────────────────────────────────────────────────

    async def _handle(self, messages: Sequence[Message], stop: asyncio.Event) -> None:
        """Everything from received to deleted or visible again."""
        if not messages:
            return
        self._in_hand.update((message.handle, message) for message in messages)
        batch = Batch() if self._late else await self._settler.settle(messages)
        if batch.away is not None:
            self.parts.storing.failed(batch.away.code, batch.away.detail)
        elif batch.done:
            self.parts.storing.worked()
        done = {message.handle for message in batch.done}
        left = [message for message in messages if message.handle not in done]
        self.outcomes.unstored += len(left) - len(batch.failed)
        self._delete_soon(batch.done)
        await self._release(left, batch.failed, stop)
        if len(self._doomed) > MOST * self._pollers:
            await self._deleted()

    # ── What becomes of it in the queue ────────────────────────────────────────────────────────────────────

    def _delete_soon(self, messages: Iterable[Message]) -> None:
        """What waits while others are deleted is deleted together, whichever polls it came by."""
        self._doomed.extend(messages)
        if self._doomed and len(self._deleters) < self._pollers:
            self._deleters.add(asyncio.create_task(self._delete_all()))

    async def _delete_all(self) -> None:
        try:
            while self._doomed:
                some, self._doomed[:MOST] = self._doomed[:MOST], []
                await self._delete_some(some)
        finally:
            # At once, not by a callback: what is doomed in between would find nobody to delete it.
            self._deleters.discard(asyncio.current_task())

    async def _deleted(self) -> None:
        """Return when nothing waits to be deleted."""
        while self._deleters:
            await asyncio.wait(self._deleters)

    async def _delete_some(self, messages: list[Message]) -> None:
        left, part = messages, self.parts.deleting
        for attempt in range(DELETE_TRIES):
            if attempt:
                await self._sleep(0.1 * 2**attempt * (1 - self._random.random() / 2))
            try:
                deleted = await self._queue.delete(left)
            except QueueError as e:
                part.failed(e.kind, str(e))
                if part.operators or self._late:
                    break
                continue
            part.worked()
            left = deleted.failed
            self.outcomes.deleted += deleted.count
            self.outcomes.undeleted += len(deleted.refused)
            if not left or self._late:
                break
        self.outcomes.undeleted += len(left)
        for message in messages:
            self._in_hand.pop(message.handle, None)

    async def _release(
        self, messages: Sequence[Message], failed: Mapping[str, int], stop: asyncio.Event
    ) -> None:
        """Let others have these: at once when we stop, otherwise when we look again ourselves. `failed` has the
        seconds for some of them, by receipt."""
        soon = int(self.parts.storing.pause_s)
        for some in _tens(messages):
            for message in some:
                self._in_hand.pop(message.handle, None)
            seconds = [0 if stop.is_set() else failed.get(message.handle, soon) for message in some]
            self.outcomes.released += await self._show(list(zip(some, seconds, strict=True)))

    async def _show(self, messages: Sequence[tuple[Message, int]]) -> int:
        """Let them be visible in so many seconds; for how many that was done. For the rest their time runs on."""
        try:
            shown = len(messages) - await self._queue.show_in(messages)
        except QueueError as e:
            self.parts.hiding.failed(e.kind, str(e))
            return 0
        self.parts.hiding.worked()
        return shown

    async def _keep_invisible(self) -> None:
        """What is in hand stays invisible, however long it takes."""
        while True:
            await self._sleep(self._visibility_s / 3)
            for some in _tens(list(self._in_hand.values())):
                # Some may have been let go while the others were prolonged.
                still = [(m, self._visibility_s) for m in some if m.handle in self._in_hand]
                if still:
                    self.outcomes.extended += await self._show(still)

    async def _hurry(self, stop: asyncio.Event) -> None:
        """Give up what is not committed so many seconds after the stop."""
        await stop.wait()
        await self._sleep(self._stop_s)
        self._late = True
        self._settler.give_up()


def name_of(url: str) -> str:
    """The queue's name, which ends its URL."""
    return url.rstrip("/").rpartition("/")[2]


def _tens(messages: Sequence[Message]) -> Iterator[Sequence[Message]]:
    return (messages[n : n + MOST] for n in range(0, len(messages), MOST))


# ── For whoever runs several ───────────────────────────────────────────────────────────────────────────────


class QueueSettings(Protocol):
    """A queue of the settings, and the business products that it is bound to."""

    @property
    def url(self) -> str: ...
    @property
    def business_products(self) -> tuple[str, ...]: ...


class Settings(Protocol):
    """The settings that say what to receive from."""

    @property
    def sqs_queue_url(self) -> str | None: ...
    @property
    def sqs_queues(self) -> Sequence[QueueSettings]: ...
    @property
    def sqs_pollers(self) -> int: ...


def receivers(
    settings: Settings, ingest: Ingest, clock: Callable[[], Instant], random: Random
) -> list[SqsReceiver]:
    """One receiver a queue; a second queue of one name, in another region or account, is `NAME.2`.

    Raises `Misconfigured` for a queue named twice, or without the extra aws."""
    queues = {one.url: one.business_products for one in settings.sqs_queues}
    plain = [settings.sqs_queue_url] if settings.sqs_queue_url else []
    if len(queues) < len(settings.sqs_queues) or queues.keys() & plain:
        raise Misconfigured("a queue is named twice: MILEPOST_SQS_QUEUE_URL and [[sqs_queues]] go by queue")
    made: list[SqsReceiver] = []
    of_name: Counter[str] = Counter()
    for url, bound in (queues | dict.fromkeys(plain, ())).items():
        name = name_of(url)
        of_name[name] += 1
        made.append(
            SqsReceiver(
                url,
                ingest,
                clock=clock,
                random=random,
                business_product_ids=bound,
                pollers=settings.sqs_pollers,
                name=name if of_name[name] == 1 else f"{name}.{of_name[name]}",
            )
        )
    return made


def counters(receivers: Iterable[SqsReceiver]) -> dict[str, int]:
    """`sqs.QUEUE.OUTCOME` of each queue, with the age of the oldest message seen and when a receive last worked
    (milliseconds)."""
    counted: dict[str, int] = {}
    for receiver in receivers:
        found = {name: getattr(receiver.outcomes, name) for name in Outcomes.__struct_fields__}
        found |= {"oldest_age_ms": receiver.oldest_age_ms, "last_success_ms": receiver.last_success or 0}
        counted |= {f"sqs.{receiver.name}.{name}": count for name, count in found.items()}
    return counted


def readiness(receivers: Iterable[SqsReceiver]) -> tuple[list[str], dict[str, object]]:
    """Queues that only an operator can mend, and how each queue is, by its name.

    Anybody may see it: neither URLs nor AWS's words, which tell accounts and roles; the log has these."""
    broken: list[str] = []
    shown: dict[str, object] = {}
    for receiver in receivers:
        if receiver.parts.broken:
            broken.append(f"sqs.{receiver.name}")
        shown[receiver.name] = {
            "lastSuccess": None if receiver.last_success is None else format_instant(receiver.last_success),
            "oldestAgeMs": receiver.oldest_age_ms,
            "trouble": {part.name: part.kind for part in receiver.parts.failing},
        }
    return broken, shown
