"""`/subscribers/{id}/replay`: sending past messages to a subscriber again: what to send, counted first, then begun.

Counting changes nothing, so the form that asks for it is read by a plain GET and its answer can be kept as a link;
only beginning and cancelling are posted.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from litestar import Request, Response, get, post
from litestar.params import PathParameter

from milepost.domain.errors import Ambiguous, Conflict, Invalid, MilepostError, NotFound
from milepost.store import Transaction
from milepost.web.console.acting import acting, said
from milepost.web.console.forms import read_form, see_other
from milepost.web.console.pages import ERRORS, page
from milepost.web.console.subscribers import SubscriberId
from milepost.web.console.telling import tell_of_subscriber
from milepost.web.context import Context, Hub
from milepost.web.replays import Cancelled, NewReplay, ReplayDocument, begin_replay, cancel_replay
from milepost.web.subscribers import managed
from milepost.web.visiting import Looking, Visitor, needs

_FIELDS = ("order", "product", "from", "to", "newIds")


@get(
    "/subscribers/{subscriber_id:str}/replay",
    opt=needs("operate"),
    exception_handlers=ERRORS,
    include_in_schema=False,
)
async def plan(
    context: Hub, request: Request[Any, Any, Any], visitor: Looking, subscriber_id: SubscriberId
) -> Response[str]:
    """The form; with `count` also how many messages it would be."""
    query = request.query_params
    return await _page(context, request, visitor, subscriber_id, _asked(query), count="count" in query)


async def _page(
    context: Context,
    request: Request[Any, Any, Any],
    visitor: Visitor,
    subscriber_id: str,
    wanted: Mapping[str, str],
    *,
    count: bool = False,
    error: str = "",
) -> Response[str]:
    caller = acting(visitor)

    def read(tx: Transaction) -> str:
        found = managed(tx, caller, subscriber_id)
        return found.name or found.id

    name = await context.store.read(read)
    counted: ReplayDocument | None = None
    if count:
        try:
            asked = _replay(subscriber_id, wanted, dry_run=True)
            counted = await begin_replay.fn(context, caller, asked)
        except (Invalid, NotFound, Ambiguous) as e:
            error = said(e)
    return page(
        request,
        visitor,
        "replay.html",
        now=context.clock(),
        status=400 if error else 200,
        id=subscriber_id,
        name=name,
        wanted=wanted,
        counted=counted,
        error=error,
    )


@post(
    "/subscribers/{subscriber_id:str}/replay",
    opt=needs("operate"),
    exception_handlers=ERRORS,
    include_in_schema=False,
)
async def begin(
    context: Hub, request: Request[Any, Any, Any], visitor: Looking, subscriber_id: SubscriberId
) -> Response[str]:
    wanted = _asked(await read_form(request, visitor))
    try:
        asked = _replay(subscriber_id, wanted, dry_run=False)
        begun: ReplayDocument = await begin_replay.fn(context, acting(visitor), asked)
    except MilepostError as e:
        if isinstance(e, Invalid | Ambiguous | Conflict):
            return await _page(context, request, visitor, subscriber_id, wanted, error=said(e))
        raise
    told = {
        "replay": None if begun.replay is None else begun.replay.id,
        "order": asked.order_id,
        "from": asked.begin,
        "to": asked.to,
        "newIds": "yes" if asked.new_ids else None,
    }
    await tell_of_subscriber(context, visitor, "replay.begun", subscriber_id, told)
    return see_other(f"/subscribers/{subscriber_id}?done=replay")


@post(
    "/subscribers/{subscriber_id:str}/replays/{replay_id:str}/cancel",
    opt=needs("operate"),
    exception_handlers=ERRORS,
    include_in_schema=False,
)
async def cancel(
    context: Hub,
    request: Request[Any, Any, Any],
    visitor: Looking,
    subscriber_id: SubscriberId,
    replay_id: Annotated[str, PathParameter(max_length=128)],
) -> Response[str]:
    await read_form(request, visitor)
    caller = acting(visitor)

    def check(tx: Transaction) -> None:
        managed(tx, caller, subscriber_id)
        replay = tx.attempts.replay(replay_id)
        if replay is None or replay.destination_id != subscriber_id:
            raise NotFound(f"There is no replay {replay_id!r} to this subscriber.")

    await context.store.read(check)
    cancelled: Cancelled = await cancel_replay.fn(context, caller, replay_id)
    told = {"replay": replay_id, "dropped": cancelled.dropped}
    await tell_of_subscriber(context, visitor, "replay.cancelled", subscriber_id, told)
    return see_other(f"/subscribers/{subscriber_id}?done=cancelled")


def _asked(given: Mapping[str, str]) -> dict[str, str]:
    return {name: text[:600] for name in _FIELDS if (text := given.get(name, "").strip())}


def _replay(subscriber_id: str, wanted: Mapping[str, str], *, dry_run: bool) -> NewReplay:
    """The form as the API takes it: times without a zone are UTC, as the field's label says."""
    return NewReplay(
        subscriber_id,
        order_id=wanted.get("order"),
        business_product_id=wanted.get("product"),
        begin=_bound(wanted.get("from")),
        to=_bound(wanted.get("to")),
        new_ids="newIds" in wanted,
        dry_run=dry_run,
    )


def _bound(text: str | None) -> int | str | None:
    if text is None:
        return None
    if text.isascii() and text.isdigit() and len(text) <= 15:
        return int(text)
    bare = "T" in text and not text.endswith("Z") and "+" not in text and text.count("-") == 2
    return f"{text}Z" if bare else text


HANDLERS = [plan, begin, cancel]
