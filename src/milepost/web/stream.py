"""`/v1/stream`: records as they are journalled and views as they change, as server-sent events.

A message is named after its record's kind (`event`, `conflict`, `snapshot`, `condition`, `settlement`,
`intent`, `note`, `authorization`); its `id` is the position, so a client that lost the connection goes on with
`Last-Event-ID` and misses no record. `view` messages say which views the projector has rewritten since; they carry
no id, and after a reconnect a client reads again what it shows. A comment comes when there is nothing to say.

The journal wakes a stream; nothing is buffered for a slow client, whose next batch is read when it took the last.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Annotated, Any, TypeVar

import msgspec
import structlog
from litestar import Response, get
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import HeaderParameter, QueryParameter
from litestar.response import Stream
from msgspec import Struct

from milepost.domain.errors import Invalid, Overloaded, StoreUnavailable
from milepost.domain.event import canonical_type
from milepost.domain.instant import format_instant
from milepost.domain.record import Record, subjects_of
from milepost.pipeline.projector import NAME as PROJECTOR
from milepost.store import Transaction, ViewKind
from milepost.web.authentication import Caller, Principal, stored
from milepost.web.context import Context, Hub
from milepost.web.documents import Document
from milepost.web.events import event_items
from milepost.web.problems import problems
from milepost.web.reading import BusinessProduct, Reach

BATCH = 200
"""Records read at once."""
MOST = 200
"""Streams open at once; one more is refused with `overloaded`."""
FIRST_LOOK_S = 0.05
"""How soon a stream looks whether the projector has caught up with what it told; each look waits twice as long."""

T = TypeVar("T")
log = structlog.get_logger()


class StreamedRecord(Document):
    """A record that isn't an event."""

    position: int
    kind: str
    type: str
    business_product_id: str
    subjects: list[str]
    received_at: str
    published_at: str


class StreamedView(Document):
    """A view that was written anew."""

    kind: str
    business_product_id: str
    id: str
    state: str
    position: int


class _Batch(Struct):
    """What one look at the store found."""

    messages: list[bytes]
    position: int
    """The highest position looked at."""
    viewed: int
    """The highest position whose views were told."""
    behind: bool
    """The projector has not caught up with what was told."""
    full: bool
    """There may be more at once."""


class _Follower:
    """One client's way through the journal."""

    def __init__(self, context: Context, caller: Principal, reach: Reach, type: str | None) -> None:
        self._context = context
        self._caller = caller
        self._reach = reach
        self._type = type

    async def messages(self, after: int | None) -> AsyncIterator[bytes]:
        """Encoded messages until the hub closes, the key is revoked or the client goes."""
        context = self._context
        try:
            position, viewed = await context.store.read(lambda tx: self._start(tx, after))
            yield b": following\n\n"
            pause = FIRST_LOOK_S
            while not context.closing.is_set():
                batch = await context.store.read(lambda tx, p=position, v=viewed: self._look(tx, p, v))  # type: ignore[misc]
                if batch is None:
                    return
                for message in batch.messages:
                    yield message
                position, viewed = batch.position, batch.viewed
                if batch.full:
                    continue
                pause = FIRST_LOOK_S if batch.messages else min(pause * 2, context.heartbeat_s)
                wait_s = pause if batch.behind else context.heartbeat_s
                last = await until_closing(context, context.store.changed(position, wait_s))
                if last is not None and last <= position and wait_s == context.heartbeat_s:
                    yield b": nothing new\n\n"
        except StoreUnavailable as e:
            log.warning("stream.store_unavailable", error=e.code)

    def _start(self, tx: Transaction, after: int | None) -> tuple[int, int]:
        position = tx.journal.last_position() if after is None else after
        return position, min(position, tx.journal.checkpoint(PROJECTOR))

    def _look(self, tx: Transaction, position: int, viewed: int) -> _Batch | None:
        """None when the key is no longer good."""
        if self._caller.hash is not None and stored(tx, self._caller.hash) is None:
            return None
        records = tx.journal.after(position, BATCH)
        mine = [
            record for record in records if self._reach is None or record.business_product_id in self._reach
        ]
        messages = self._records(tx, mine)
        if records:
            position = records[-1].position
        checkpoint = min(tx.journal.checkpoint(PROJECTOR), position)
        if checkpoint > viewed:
            written = [r for r in tx.journal.after(viewed, BATCH) if r.position <= checkpoint]
            messages += self._views(tx, written)
            # Positions may have gaps, so the last record need not stand at the checkpoint.
            viewed = written[-1].position if len(written) == BATCH else checkpoint
        return _Batch(
            messages, position, viewed, viewed < position, len(records) == BATCH or viewed < checkpoint
        )

    def _records(self, tx: Transaction, records: list[Record]) -> list[bytes]:
        events = [record for record in records if record.kind == "event"]
        items = {item.position: item for item in event_items(tx, events)}
        return [
            encode(record.kind, items.get(record.position) or _record(record), record.position)
            for record in records
            if self._type is None or record.type == self._type
        ]

    def _views(self, tx: Transaction, records: list[Record]) -> list[bytes]:
        if self._type is not None:
            return []
        keys: dict[tuple[ViewKind, str, str], None] = {}
        for record in records:
            if self._reach is None or record.business_product_id in self._reach:
                for subject in subjects_of(record):
                    kind, _, view_id = subject.partition("/")
                    if kind == "order":
                        keys["order", record.business_product_id, view_id] = None
                    elif kind == "tracker":
                        keys["tracker", record.business_product_id, view_id] = None
        views = tx.views.get(list(keys))
        return [
            encode("view", StreamedView(v.kind, v.business_product_id, v.id, v.state, v.position))
            for v in views.values()
        ]


async def until_closing(context: Context, waited: Awaitable[T]) -> T | None:
    """What `waited` gives, or None when the hub closes first."""
    waiting = asyncio.ensure_future(waited)
    closing = asyncio.ensure_future(context.closing.wait())
    try:
        await asyncio.wait({waiting, closing}, return_when=asyncio.FIRST_COMPLETED)
        return waiting.result() if waiting.done() else None
    finally:
        for task in (waiting, closing):
            task.cancel()


def encode(event: str, data: Struct, id: int | None = None) -> bytes:
    """One server-sent message. JSON as msgspec writes it has no line breaks."""
    head = f"event: {event}\n" if id is None else f"event: {event}\nid: {id}\n"
    return head.encode() + b"data: " + msgspec.json.encode(data) + b"\n\n"


def _record(record: Record) -> StreamedRecord:
    return StreamedRecord(
        record.position,
        record.kind,
        record.type,
        record.business_product_id,
        list(subjects_of(record)),
        format_instant(record.received_at),
        format_instant(record.published_at),
    )


def _position(text: str | None, field: str) -> int | None:
    if text is None or text == "":
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise Invalid(f"{field} must be a position", field=field)
    return int(text)


class _Open:
    """How many streams are open."""

    def __init__(self) -> None:
        self.count = 0

    async def counted(self, messages: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        self.count += 1
        try:
            async for message in messages:
                yield message
        finally:
            self.count -= 1


OPEN = _Open()
"""Of all kinds: the console's are among them."""


@get(
    "/v1/stream",
    summary="Follow the journal",
    tags=["Events"],
    responses={
        **problems(),
        200: ResponseSpec(str, description="Server-sent events.", media_type="text/event-stream"),
    },
    media_type="text/event-stream",
)
async def follow(
    context: Hub,
    caller: Caller,
    business_product_id: BusinessProduct = None,
    type: Annotated[
        str | None,
        QueryParameter(name="type", description="Only records of this type; no view messages then."),
    ] = None,
    after: Annotated[
        str | None,
        QueryParameter(name="after", description="Start behind this position; from now on without it."),
    ] = None,
    last_event_id: Annotated[
        str | None,
        HeaderParameter(
            name="Last-Event-ID", description="What a reconnecting client sends; wins over `after`."
        ),
    ] = None,
) -> Response[Any]:
    """Records as they are journalled, each with its position as `id`, and `view` messages as views change."""
    start = _position(last_event_id, "Last-Event-ID")
    if start is None:
        start = _position(after, "after")
    if OPEN.count >= MOST:
        raise Overloaded(f"{MOST} streams are open; close one.")
    wanted = None if type is None else canonical_type(type)
    follower = _Follower(context, caller, caller.reach(business_product_id), wanted)
    return Stream(OPEN.counted(follower.messages(start)), media_type="text/event-stream")


HANDLERS = [follow]
