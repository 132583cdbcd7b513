"""`/v1/replays`: sending past messages to a subscriber again, counted first if one likes.

A replay is asked for by an order, types, positions or times, or (nothing of these) is of everything that the
subscriber wants. With the same ids a receiver that has a message finds the duplicate; with new ones it takes it for
new, and each is linked to the one that it repeats. A late subscriber's backfill stands in the same list. Beginning,
counting and cancelling is `pipeline.history`'s.
"""

import secrets
from typing import Annotated

import structlog
from litestar import get, post
from litestar.params import JSONBody, PathParameter, QueryParameter
from msgspec import Meta, field
from msgspec.structs import replace

from milepost.domain.attempt import Destination, Replay, ReplayState
from milepost.domain.errors import Ambiguous, Conflict, Invalid, NotFound
from milepost.domain.instant import Instant, format_instant, parse_instant
from milepost.domain.record import order_subject
from milepost.domain.selection import Selection, selection_of
from milepost.pipeline import history
from milepost.pipeline.subscribers import Matching
from milepost.store import Transaction
from milepost.web.authentication import OPERATE, Caller, Principal
from milepost.web.context import Hub
from milepost.web.documents import Document
from milepost.web.paging import After, Limit, Page, cut, decode_cursor, encode_cursor, page_size
from milepost.web.problems import BODY_HANDLERS, problems
from milepost.web.subscriber_documents import Rate, Word, Words
from milepost.web.subscribers import is_within, managed, types_of

MOST_RUNNING = 5
"""Replays of one subscriber that are under way at a time."""
LOOKED_THROUGH = 2_000
NEWEST = 10
"""Of a subscriber's replays, those that its page shows."""

ReplayId = Annotated[str, PathParameter(description="The replay's id.", max_length=128)]
OfSubscriber = Annotated[
    str | None, QueryParameter(name="subscriberId", description="Only to this subscriber.", max_length=128)
]
InState = Annotated[
    ReplayState | None,
    QueryParameter(name="state", description="running, done or cancelled; all without it."),
]
Position = Annotated[int, Meta(ge=0, lt=1 << 53)]

log = structlog.get_logger()


class ReplayItem(Document):
    """History that is, or was, sent to a subscriber."""

    id: str
    subscriber_id: str
    kind: str
    """replay, or backfill: the history of a late subscriber, who is live afterwards."""
    state: str
    """running, done or cancelled. Done: everything is on its way; `GET /v1/messages` shows how far."""
    cursor: int
    """The position up to which the journal was gone through."""
    until: int
    """The last position; of a backfill the publisher's, as it is now."""
    enqueued: int
    """Messages so far."""
    new_ids: bool
    rate: float
    subjects: list[str]
    """The order that it is about; empty: all."""
    types: list[str]
    since: str | None
    before: str | None
    created_at: str
    ended_at: str | None


class NewReplay(Document, forbid_unknown_fields=True):
    """What to send again, to whom. Times are when something was journalled; positions are inclusive."""

    subscriber_id: Word
    order_id: Annotated[str, Meta(min_length=1, max_length=512)] | None = None
    business_product_id: Word | None = None
    """Only of this one; needed where an order's id is ambiguous."""
    types: Words = field(default_factory=list)
    begin: Position | str | None = field(default=None, name="from")
    """A position or an ISO 8601 time; from the start without it."""
    to: Position | str | None = None
    """A position or an ISO 8601 time (not included); up to now without it."""
    new_ids: bool = False
    rate: Rate = 0.0
    """Most messages a second; 0: as fast as the subscriber takes them."""
    dry_run: bool = False
    """Only count."""


class ReplayDocument(Document):
    """What a replay sends, or (a dry run) would send."""

    messages: int | None
    """Of a dry run: how many."""
    replay: ReplayItem | None
    """Null for a dry run."""
    more: bool = False
    """A dry run looks at 100,000 records at most: there may be more messages in those behind."""


class Cancelled(Document):
    replay: ReplayItem
    dropped: int
    """Messages that were still to be sent, and now are not."""


@get("/v1/replays", summary="List replays", tags=["Subscribers"], opt=OPERATE, responses=problems(403, 404))
async def list_replays(
    context: Hub,
    caller: Caller,
    subscriber_id: OfSubscriber = None,
    in_state: InState = None,
    after: After = None,
    limit: Limit = 100,
) -> Page[ReplayItem]:
    """Replays and backfills, oldest first, with how far each is."""
    size, start = page_size(limit), "" if after is None else decode_cursor("replay", after, str)

    def read(tx: Transaction) -> Page[ReplayItem]:
        if subscriber_id is not None:
            managed(tx, caller, subscriber_id)
        kept: list[Replay] = []
        last, looked, more = start, 0, True
        while more and len(kept) <= size and looked < LOOKED_THROUGH:
            rows = tx.attempts.replays(last, size + 1, destination_id=subscriber_id, state=in_state)
            kept.extend(_visible(tx, caller, rows))
            looked, more = looked + len(rows), len(rows) > size
            last = rows[-1].id if rows else last
        if len(kept) <= size and more:
            return Page([_item(tx, replay) for replay in kept], encode_cursor("replay", last))
        return cut("replay", kept, size, lambda replay: replay.id, lambda replay: _item(tx, replay))

    return await context.store.read(read)


@post(
    "/v1/replays",
    summary="Send past messages again",
    tags=["Subscribers"],
    opt=OPERATE,
    status_code=202,
    exception_handlers=BODY_HANDLERS,
    responses=problems(403, 404, 409),
)
async def begin_replay(context: Hub, caller: Caller, data: JSONBody[NewReplay]) -> ReplayDocument:
    """Of what was published so far. With `dryRun` only the messages are counted."""
    now = context.clock()
    replay_id = f"rpl_{now:013x}{secrets.token_hex(5)}"
    planned = await context.store.read(lambda tx: _planned(tx, caller, data, replay_id, now))
    if data.dry_run:
        counted = await history.count(context.store, planned, Matching().wants)
        return ReplayDocument(counted.messages, None, counted.more)

    def write(tx: Transaction) -> ReplayItem:
        found = managed(tx, caller, data.subscriber_id)
        running = tx.attempts.replays("", MOST_RUNNING, destination_id=found.id, state="running")
        if len(running) >= MOST_RUNNING:
            raise Conflict(f"{MOST_RUNNING} replays to this subscriber are under way; cancel one first.")
        if found.after is None:
            raise Conflict(
                "The history of this subscriber is still being sent; a replay can begin after that."
            )
        tx.attempts.put_replay(planned)
        return _item(tx, planned)

    item = await context.store.write(write)
    context.published()
    log.info("replay.begun", id=replay_id, subscriber=data.subscriber_id, new_ids=data.new_ids, by=caller.id)
    return ReplayDocument(None, item)


@get(
    "/v1/replays/{replay_id:str}",
    summary="Show a replay",
    tags=["Subscribers"],
    opt=OPERATE,
    responses=problems(403, 404),
)
async def get_replay(context: Hub, caller: Caller, replay_id: ReplayId) -> ReplayItem:
    """One replay, with how far it is."""
    return await context.store.read(lambda tx: _item(tx, _found(tx, caller, replay_id)))


@post(
    "/v1/replays/{replay_id:str}/cancel",
    summary="Cancel a replay",
    tags=["Subscribers"],
    opt=OPERATE,
    status_code=200,
    responses=problems(403, 404, 409),
)
async def cancel_replay(context: Hub, caller: Caller, replay_id: ReplayId) -> Cancelled:
    """What of it is still to be sent is not. A subscriber whose backfill is cancelled is live from now on,
    without the rest of its history."""
    now = context.clock()

    def write(tx: Transaction) -> Cancelled:
        found = _found(tx, caller, replay_id)
        dropped = history.cancel(tx, replay_id, now)
        if dropped is None:
            raise Conflict(f"This replay is {found.state}.", state=found.state)
        after = tx.attempts.replay(replay_id)
        assert after is not None
        return Cancelled(_item(tx, after), dropped)

    cancelled = await context.store.write(write)
    context.published()
    log.info("replay.cancelled", id=replay_id, dropped=cancelled.dropped, by=caller.id)
    return cancelled


def newest_replays(tx: Transaction, caller: Principal, subscriber_id: str) -> list[ReplayItem]:
    """The newest replays and backfills to a subscriber, newest first, as far as the caller may see them."""
    rows = tx.attempts.newest_replays(subscriber_id, NEWEST)
    return [_item(tx, replay) for replay in _visible(tx, caller, rows)]


def _planned(tx: Transaction, caller: Principal, wanted: NewReplay, id: str, now: Instant) -> Replay:
    """What was asked for, as a replay. Raises `NotFound`, `Ambiguous` and `Invalid`."""
    found = managed(tx, caller, wanted.subscriber_id)
    first, since = _bound(wanted.begin, "from")
    last, before = _bound(wanted.to, "to")
    product, subjects = wanted.business_product_id or "", tuple[str, ...]()
    if product:
        caller.reach(product)
    if wanted.order_id is not None:
        product = _product_of(tx, caller, wanted)
        subjects = (order_subject(wanted.order_id),)
    selection = Selection(product, subjects, since, before, _types(wanted, found))
    plan = history.planned(tx, found.id, selection, id=id, now=now, new_ids=wanted.new_ids, rate=wanted.rate)
    assert plan.until is not None
    cursor = plan.cursor if first is None else max(plan.cursor, first - 1)
    until = plan.until if last is None else min(plan.until, last)
    return replace(plan, cursor=min(cursor, until), until=until)


def _types(wanted: NewReplay, found: Destination) -> tuple[str, ...]:
    return types_of(wanted.types, found.form)


def _bound(given: int | str | None, name: str) -> tuple[int | None, Instant | None]:
    """(position, time). Raises `Invalid`."""
    if not isinstance(given, str):
        return given, None
    try:
        return None, parse_instant(given)
    except ValueError as e:
        raise Invalid(f"{name} is a position or an ISO 8601 time", field=name) from e


def _product_of(tx: Transaction, caller: Principal, wanted: NewReplay) -> str:
    """The business product of the order. Raises `NotFound` and `Ambiguous`."""
    assert wanted.order_id is not None
    found = (
        []
        if "\x00" in wanted.order_id
        else tx.views.find("order", wanted.order_id, caller.reach(wanted.business_product_id))
    )
    if not found:
        raise NotFound(f"There is no order {wanted.order_id!r}.")
    if len(found) > 1:
        raise Ambiguous("Several business products have this order; say which with businessProductId.")
    return found[0].business_product_id


def _found(tx: Transaction, caller: Principal, replay_id: str) -> Replay:
    """Raises `NotFound`."""
    found = None if "\x00" in replay_id else tx.attempts.replay(replay_id)
    if found is None or not _visible(tx, caller, [found]):
        raise NotFound(f"There is no replay {replay_id!r}.")
    return found


def _visible(tx: Transaction, caller: Principal, replays: list[Replay]) -> list[Replay]:
    if caller.business_products is None:
        return replays
    products = caller.business_products
    own = tx.attempts.destinations_of({replay.destination_id for replay in replays})
    return [
        r
        for r in replays
        if r.destination_id in own
        and is_within(own[r.destination_id], products)
        and selection_of(r.filter).business_product_id in ("", *products)
    ]


def _item(tx: Transaction, replay: Replay) -> ReplayItem:
    selection = selection_of(replay.filter)
    until = replay.until
    if until is None:
        until = tx.journal.checkpoint(history.CONSUMER) if replay.state == "running" else replay.cursor
    return ReplayItem(
        replay.id,
        replay.destination_id,
        replay.kind,
        replay.state,
        replay.cursor,
        max(until, replay.cursor),
        replay.enqueued,
        replay.new_ids,
        replay.rate,
        list(selection.subjects),
        list(selection.types),
        None if selection.since is None else format_instant(selection.since),
        None if selection.before is None else format_instant(selection.before),
        format_instant(replay.created_at),
        None if replay.ended_at is None else format_instant(replay.ended_at),
    )


HANDLERS = [list_replays, begin_replay, get_replay, cancel_replay]
