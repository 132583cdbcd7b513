"""What becomes of a message: into the journal or into quarantine, and counted.

Messages of one group of a FIFO queue are settled one after the other, all others together. How messages are
received, deleted and let go is `sqs`'s.
"""

import asyncio
import traceback
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final

import structlog
from msgspec import Struct

from milepost.domain.envelope import parse_event
from milepost.domain.errors import Forbidden, Malformed, MilepostError, StoreUnavailable, TooLarge
from milepost.domain.instant import SECOND, Instant
from milepost.pipeline.ingest import Ingest
from milepost.store import Receipt
from milepost.transports.sqs_queue import Message

ROAD: Final = "eventbridge"
MAX_BODY: Final = 1_048_576
MOST_RELEASE_S: Final = 900
REMEMBERED: Final = 10_000
"""Messages in quarantine whose coming again is noticed."""

log = structlog.get_logger()


class Outcomes(Struct):
    """How many messages ended how, since the start. `replayed` are among accepted and duplicate; the last four
    are of the queue's side."""

    received: int = 0
    accepted: int = 0
    duplicate: int = 0
    malformed: int = 0
    forbidden: int = 0
    repeated: int = 0
    unstored: int = 0
    failed: int = 0
    replayed: int = 0
    deleted: int = 0
    undeleted: int = 0
    released: int = 0
    extended: int = 0


class Batch:
    """What became of the messages of one receive."""

    def __init__(self) -> None:
        self.done: list[Message] = []
        """In the journal or in quarantine."""
        self.failed: dict[str, int] = {}
        """By receipt: in how many seconds to try again."""
        self.away: StoreUnavailable | None = None


class Settler:
    """Settles the messages of the queue named `queue` and counts them in `outcomes`; what they bring may be of
    `business_product_ids` only (empty: all). `in_sequence` is for a FIFO queue. `clock` gives milliseconds UTC."""

    def __init__(
        self,
        queue: str,
        ingest: Ingest,
        business_product_ids: tuple[str, ...],
        clock: Callable[[], Instant],
        *,
        in_sequence: bool,
    ) -> None:
        self.outcomes = Outcomes()
        self._queue = queue
        self._in_sequence = in_sequence
        self._ingest = ingest
        self._bound = business_product_ids
        self._clock = clock
        self._settling: set[asyncio.Task[None]] = set()
        self._poison: OrderedDict[str, None] = OrderedDict()
        self._logged: dict[str, Instant] = {}

    async def settle(self, messages: Sequence[Message]) -> Batch:
        """Each once; what `give_up` ended is neither done nor failed."""
        batch = Batch()
        if self._in_sequence:
            ways = [self._settle_all(lane, batch) for lane in _groups(messages)]
        else:
            ways = [self._settle_together(messages, batch)]
        tasks = [asyncio.create_task(way) for way in ways]
        self._settling.update(tasks)
        await asyncio.gather(*tasks, return_exceptions=True)
        self._settling.difference_update(tasks)
        return batch

    async def check_store(self) -> bool:
        """True: the store takes writes. Raises `StoreUnavailable`."""
        await self._ingest.check_store()
        return True

    def give_up(self) -> None:
        """End what is under way. What is committed all the same comes again and is a duplicate."""
        for task in self._settling:
            task.cancel()

    async def _settle_together(self, messages: Sequence[Message], batch: Batch) -> None:
        """All at once; each alone when a bug made that fail, so that it costs only its own message."""
        bodies = [_plain(message) for message in messages]
        plain = [
            (message, body)
            for message, body in zip(messages, bodies, strict=True)
            if body is not None and message.id not in self._poison
        ]
        alone = messages
        try:
            answers = await self._ingest.ingest_together([body for _, body in plain], self._bound, ROAD)
        except StoreUnavailable as e:
            batch.away = e
            return
        except Exception as e:  # noqa: BLE001 - it is found and logged below, message by message
            log.debug("sqs.alone", queue=self._queue, error=type(e).__name__)
        else:
            for (message, body), answer in zip(plain, answers, strict=True):
                if isinstance(answer, StoreUnavailable):
                    batch.away = answer
                    continue
                self._count(message, body, answer)
                batch.done.append(message)
            done = {message.handle for message, _ in plain}
            alone = [message for message in messages if message.handle not in done]
        await asyncio.gather(*(self._settle_all([message], batch) for message in alone))

    async def _settle_all(self, lane: Sequence[Message], batch: Batch) -> None:
        """One after the other; behind one that could not be kept none is tried."""
        for message in lane:
            try:
                await self._settle(message)
            except StoreUnavailable as e:
                batch.away = e
                return
            except Exception as e:  # noqa: BLE001 - a bug must cost a message its time, not the receiver its life
                where = "".join(traceback.format_tb(e.__traceback__))
                log.error("sqs.failed", queue=self._queue, error=type(e).__name__, where=where)
                self.outcomes.failed += 1
                # What is left alone for a while does not use up its receives at once.
                batch.failed[message.handle] = min(MOST_RELEASE_S, 2 ** min(message.receives, 20))
                return
            batch.done.append(message)

    async def _settle(self, message: Message) -> None:
        """Into the journal or into quarantine, durably. Raises `StoreUnavailable`."""
        if message.id in self._poison:
            self.outcomes.repeated += 1
            return
        try:
            body = await self._body(message)
            receipt = await self._ingest.ingest(body, self._bound, ROAD)
        except (Malformed, TooLarge, Forbidden) as e:
            self._refused(message, e)
            return
        self._count(message, body, receipt)

    def _count(self, message: Message, body: bytes, answer: Receipt | MilepostError) -> None:
        outcomes = self.outcomes
        if isinstance(answer, MilepostError):
            self._refused(message, answer)
            return
        if answer.status == "accepted":
            outcomes.accepted += 1
        else:
            outcomes.duplicate += 1
        if b'"replay-name"' in body and parse_event(body).road == "replay":
            outcomes.replayed += 1

    async def _body(self, message: Message) -> bytes:
        """The body's bytes. Raises `Malformed` and `TooLarge`, both after quarantining, and `StoreUnavailable`."""
        plain = _plain(message)
        if plain is not None:
            return plain
        error: Malformed | TooLarge
        body = message.body.encode("utf-8", "surrogatepass")
        if len(body) > MAX_BODY:
            error = TooLarge(f"the body is larger than {MAX_BODY} bytes", limit=MAX_BODY)
        else:
            error = Malformed("the body is not text: it holds half a surrogate pair", field="body")
        await self._ingest.quarantine(body, error, self._bound, ROAD)
        raise error

    def _refused(self, message: Message, error: MilepostError) -> None:
        """It is in quarantine. Should its delete fail, it comes again and need not be kept again."""
        if isinstance(error, Forbidden):
            self.outcomes.forbidden += 1
        else:
            self.outcomes.malformed += 1
        self._poison[message.id] = None
        if len(self._poison) > REMEMBERED:
            self._poison.popitem(last=False)
        now = self._clock()
        # One line a second for each kind: a flood of them must not become a flood of lines.
        if not 0 <= now - self._logged.get(error.code, Instant(-SECOND)) < SECOND:
            self._logged[error.code] = now
            log.warning("sqs.refused", queue=self._queue, code=error.code, field=error.context.get("field"))


def _groups(messages: Sequence[Message]) -> list[list[Message]]:
    """What must be settled one after the other in a FIFO queue: the messages of a group."""
    groups: dict[str, list[Message]] = {}
    for message in messages:
        groups.setdefault(message.group, []).append(message)
    return list(groups.values())


def _plain(message: Message) -> bytes | None:
    """The body's bytes; None for one that is too large or not text."""
    try:
        body = message.body.encode()
    except UnicodeEncodeError:
        return None
    return body if len(body) <= MAX_BODY else None
