"""`/v1/messages` and `/v1/attempts`: what is sent to subscribers, every try to do so, and sending one again.

Both belong to their subscriber and to the business product of their record: a key that is bound to some sees what of
its own went to the subscribers it manages. What was sent to one that was removed, or about a record that was, only a
key of all of them sees.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Annotated

import structlog
from litestar import get, post
from litestar.params import PathParameter, QueryParameter

from milepost.domain.attempt import Attempt, Destination, Message, MessageState
from milepost.domain.errors import Conflict, NotFound
from milepost.domain.instant import Instant, format_instant
from milepost.domain.message import render
from milepost.domain.record import Record
from milepost.pipeline.capturing import not_again
from milepost.store import Transaction
from milepost.web.authentication import OPERATE, Caller, Principal
from milepost.web.context import Hub
from milepost.web.documents import Document
from milepost.web.paging import MAX_LIMIT, After, Limit, Page, cut, decode_cursor, encode_cursor, page_size
from milepost.web.problems import problems
from milepost.web.reading import parse_time
from milepost.web.subscriber_documents import AttemptDocument, attempt_document
from milepost.web.subscribers import is_about, is_within, managed

LOOKED_THROUGH = 2_000
"""Rows that one page looks through; one with a filter that fits few may be short, and yet have a next."""
MESSAGES, ASKED = 200, 500
"""Messages of a subscriber that are read together, and about how many of them attempts are asked for, a page."""
_LAST = 1 << 53
"""Behind every time."""

MessageId = Annotated[str, PathParameter(description="The message's id.", max_length=256)]
OfSubscriber = Annotated[
    str | None, QueryParameter(name="subscriberId", description="Only this subscriber's.", max_length=128)
]
OfMessage = Annotated[
    str | None, QueryParameter(name="messageId", description="Only this message's.", max_length=256)
]
OfPosition = Annotated[
    int | None,
    QueryParameter(name="position", description="Only about this record.", ge=0, lt=1 << 53),
]
InState = Annotated[
    MessageState | None,
    QueryParameter(
        name="state", description="pending, waiting, held, delivered, failed or dropped; all without it."
    ),
]
Outcome = Annotated[
    str | None, QueryParameter(name="outcome", description="delivered, failed or unknown; all without it.")
]
Since = Annotated[
    str | None, QueryParameter(name="since", description="ISO 8601 time: only attempts that began later.")
]

log = structlog.get_logger()


class MessageItem(Document):
    """A record for a subscriber."""

    id: str
    subscriber_id: str
    position: int
    type: str | None
    """Null once the record was removed."""
    state: str
    reason: str
    """Why it was dropped."""
    tries: int
    due_at: str
    """When the next attempt is due, while it is pending."""
    created_at: str
    sequence: str
    """What it is about, where one goes after the other."""
    origin: str
    """The message that it repeats under a new id."""
    replay_id: str
    manual: bool
    """The next attempt was asked for by hand."""


class MessageDocument(MessageItem):
    """A message with what is sent, and every attempt."""

    body: str | None
    """As it is sent; null once the record or the subscriber is gone."""
    attempts: list[AttemptDocument]


@get("/v1/messages", summary="List messages", tags=["Subscribers"], opt=OPERATE, responses=problems(403, 404))
async def list_messages(
    context: Hub,
    caller: Caller,
    subscriber_id: OfSubscriber = None,
    position: OfPosition = None,
    in_state: InState = None,
    after: After = None,
    limit: Limit = 100,
) -> Page[MessageItem]:
    """Messages by the position of what they are about, oldest first."""
    size = page_size(limit)
    start = None if after is None else decode_cursor("message", after, tuple[int, str])

    def read(tx: Transaction) -> Page[MessageItem]:
        if subscriber_id is not None:
            managed(tx, caller, subscriber_id)
        kept: list[Message] = []
        where, looked, more = start, 0, True
        while more and len(kept) <= size and looked < LOOKED_THROUGH:
            rows = tx.attempts.messages(
                where, size + 1, position=position, destination_id=subscriber_id, state=in_state
            )
            kept.extend(visible_messages(tx, caller, rows))
            looked, more = looked + len(rows), len(rows) > size
            where = (rows[-1].position, rows[-1].id) if rows else where
        records = tx.journal.records({m.position for m in kept[:size]})
        if len(kept) <= size and more and where is not None:
            return Page([_item(m, records) for m in kept], encode_cursor("message", where))
        return cut("message", kept, size, lambda m: (m.position, m.id), lambda m: _item(m, records))

    return await context.store.read(read)


@get(
    "/v1/messages/{message_id:str}",
    summary="Show a message",
    tags=["Subscribers"],
    opt=OPERATE,
    responses=problems(403, 404),
)
async def get_message(context: Hub, caller: Caller, message_id: MessageId) -> MessageDocument:
    """One message with what is sent for it, and its attempts."""

    def read(tx: Transaction) -> MessageDocument:
        found, destination = _message(tx, caller, message_id)
        records = tx.journal.records({found.position})
        item = _item(found, records)
        record = records.get(found.position)
        body = None
        if record is not None and destination is not None:
            body = render(record, destination, found).decode("utf-8", "replace")
        attempts = tx.attempts.attempts((0, 0, ""), 500, found.id)
        fields = {name: getattr(item, name) for name in item.__struct_fields__}
        return MessageDocument(**fields, body=body, attempts=[attempt_document(a) for a in attempts])

    return await context.store.read(read)


@post(
    "/v1/messages/{message_id:str}/resend",
    summary="Send a message again",
    tags=["Subscribers"],
    opt=OPERATE,
    status_code=202,
    responses=problems(403, 404, 409),
)
async def resend_message(context: Hub, caller: Caller, message_id: MessageId) -> MessageItem:
    """Now, with the same id, whatever became of it. For a disabled subscriber it is kept until that is enabled.

    409 `conflict` for a `capture.ready` that the subscriber took, unless the capture is FAILED, and for one that is
    acknowledged or void."""
    now = context.clock()

    def write(tx: Transaction) -> MessageItem:
        found, destination = _message(tx, caller, message_id)
        if destination is None:
            raise Conflict("The subscriber of this message was removed.")
        records = tx.journal.records({found.position})
        if not records:
            raise Conflict("The record of this message was removed.")
        if not_again(tx, list(records.values()), destination.id):
            raise Conflict(
                "This message tells that payment may be collected, and is not sent again: the subscriber took it,"
                " or the capture is acknowledged or void."
            )
        again = tx.attempts.resend(found.id, now)
        return _item(again or found, records)

    item = await context.store.write(write)
    context.published()
    log.info("message.resent", id=message_id, by=caller.id)
    return item


@get("/v1/attempts", summary="List attempts", tags=["Subscribers"], opt=OPERATE, responses=problems(403, 404))
async def list_attempts(
    context: Hub,
    caller: Caller,
    subscriber_id: OfSubscriber = None,
    message_id: OfMessage = None,
    outcome: Outcome = None,
    since: Since = None,
    after: After = None,
    limit: Limit = 100,
) -> Page[AttemptDocument]:
    """Every try to send a message, in the order in which they began. All of one subscriber (no `since`) come by
    the positions of their messages."""
    size, earliest = page_size(limit), parse_time(since, "since") or Instant(0)

    def fits(attempt: Attempt) -> bool:
        return attempt.started_at >= earliest and outcome in (None, attempt.outcome)

    def read(tx: Transaction) -> Page[AttemptDocument]:
        if message_id is not None:
            found, _ = _message(tx, caller, message_id)
            if subscriber_id not in (None, found.destination_id):
                raise NotFound(f"There is no message {message_id!r} of subscriber {subscriber_id!r}.")
        elif subscriber_id is not None:
            managed(tx, caller, subscriber_id)
            if since is None:
                return _of_subscriber(tx, caller, subscriber_id, after, size, fits)
        return _in_time(tx, caller, (message_id, subscriber_id), after, size, earliest, fits)

    return await context.store.read(read)


Fits = Callable[[Attempt], bool]


def _in_time(
    tx: Transaction,
    caller: Principal,
    of: tuple[str | None, str | None],
    after: str | None,
    size: int,
    earliest: Instant,
    fits: Fits,
) -> Page[AttemptDocument]:
    """Those of a message, of a subscriber, or (neither) all."""
    message_id, subscriber_id = of
    start = (
        (int(earliest), -1, "") if after is None else decode_cursor("attempt", after, tuple[int, int, str])
    )
    kept: list[Attempt] = []
    where, looked, more = start, 0, True
    while more and len(kept) <= size and looked < LOOKED_THROUGH:
        rows = tx.attempts.attempts(where, size + 1, message_id)
        kept.extend(a for a in visible_attempts(tx, caller, rows, subscriber_id) if fits(a))
        looked, more = looked + len(rows), len(rows) > size
        where = _at(rows[-1]) if rows else where
    if len(kept) <= size and more:
        return Page([attempt_document(a) for a in kept], encode_cursor("attempt", where))
    return cut("attempt", kept, size, _at, attempt_document)


def _of_subscriber(
    tx: Transaction, caller: Principal, subscriber_id: str, after: str | None, size: int, fits: Fits
) -> Page[AttemptDocument]:
    """Message by message, and those of one as they began. A cursor is behind an attempt, or behind a message."""
    where = (-1, "", 0, 0) if after is None else decode_cursor("attempts", after, tuple[int, str, int, int])
    begun = tx.attempts.message(where[1]) if where[1] and "\x00" not in where[1] else None
    rows = [begun] if begun is not None and begun.destination_id == subscriber_id else []
    kept: list[tuple[int, Attempt]] = []
    looked, asked, more = 0, 0, True
    while True:
        visible = {message.id for message in visible_messages(tx, caller, rows)}
        for message in rows:
            behind = (where[2], where[3], message.id) if message.id == where[1] else (0, 0, "")
            if message.tries and message.id in visible:
                kept.extend((message.position, a) for a in _fitting(tx, message, behind, size, fits))
                asked += 1
            where = (message.position, message.id, _LAST, 0)
            if len(kept) > size:
                position, last = kept[size - 1]
                cursor = encode_cursor("attempts", (position, last.message_id, last.started_at, last.number))
                return Page([attempt_document(a) for _, a in kept[:size]], cursor)
        if not more or looked >= LOOKED_THROUGH or asked >= ASKED:
            break
        rows = tx.attempts.messages(where[:2], MESSAGES, destination_id=subscriber_id)
        looked, more = looked + len(rows), len(rows) == MESSAGES
    following = encode_cursor("attempts", where) if more else None
    return Page([attempt_document(a) for _, a in kept], following)


def _fitting(
    tx: Transaction, message: Message, behind: tuple[int, int, str], size: int, fits: Fits
) -> list[Attempt]:
    """A message's attempts, or of very many more than a page has."""
    kept: list[Attempt] = []
    while len(kept) <= size:
        rows = tx.attempts.attempts(behind, MAX_LIMIT, message.id)
        kept.extend(filter(fits, rows))
        if len(rows) < MAX_LIMIT:
            break
        behind = _at(rows[-1])
    return kept


def _at(attempt: Attempt) -> tuple[int, int, str]:
    return attempt.started_at, attempt.number, attempt.message_id


def visible_messages(tx: Transaction, caller: Principal, messages: Iterable[Message]) -> list[Message]:
    """Of the caller's subscribers, and about its business products: a subscriber may have got more before it was
    limited to them."""
    rows = list(messages)
    if caller.business_products is None:
        return rows
    own = tx.attempts.destinations_of({m.destination_id for m in rows})
    records = tx.journal.records({m.position for m in rows})
    return [
        m
        for m in rows
        if m.destination_id in own
        and is_within(own[m.destination_id], caller.business_products)
        and is_about(caller, records.get(m.position))
    ]


def visible_attempts(
    tx: Transaction, caller: Principal, attempts: list[Attempt], subscriber_id: str | None = None
) -> list[Attempt]:
    """Those about the caller's business products; with `subscriber_id` only that one's."""
    if caller.business_products is None and subscriber_id is None:
        return attempts
    messages = [m for a in attempts if (m := tx.attempts.message(a.message_id)) is not None]
    own = [m for m in messages if subscriber_id in (None, m.destination_id)]
    seen = {m.id for m in visible_messages(tx, caller, own)}
    return [a for a in attempts if a.message_id in seen]


def _message(tx: Transaction, caller: Principal, id: str) -> tuple[Message, Destination | None]:
    """A message and its subscriber, if it is still there. Raises `NotFound`."""
    found = None if "\x00" in id else tx.attempts.message(id)
    if found is None or not visible_messages(tx, caller, [found]):
        raise NotFound(f"There is no message {id!r}.")
    return found, tx.attempts.destination(found.destination_id)


def _item(message: Message, records: Mapping[int, Record]) -> MessageItem:
    record = records.get(message.position)
    return MessageItem(
        message.id,
        message.destination_id,
        message.position,
        None if record is None else record.type,
        message.state,
        message.reason,
        message.tries,
        format_instant(message.due_at),
        format_instant(message.created_at),
        message.sequence,
        message.origin,
        message.replay,
        message.manual,
    )


HANDLERS = [list_messages, get_message, resend_message, list_attempts]
