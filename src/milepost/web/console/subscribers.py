"""`/subscribers`: the systems that are told and how sending to each goes; `/subscribers/{id}`: one, and what is done
with it. No secret is shown, but a new key once, right after it was made. `replays` and `attempts` beside this module
have the pages behind it.
"""

from collections.abc import Iterable
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from litestar import Request, Response, get, post
from litestar.params import PathParameter, QueryParameter
from msgspec import Struct

from milepost.domain.attempt import Attempt, Destination
from milepost.domain.errors import Conflict, Invalid
from milepost.domain.failing import stage
from milepost.domain.instant import DAY, Instant
from milepost.domain.pace import Pace, pace_of
from milepost.store import Transaction
from milepost.web.attempts import list_attempts, visible_attempts
from milepost.web.authentication import Principal
from milepost.web.console.acting import acting, said
from milepost.web.console.forms import read_form, see_other
from milepost.web.console.pages import ERRORS, page
from milepost.web.console.telling import tell_of_subscriber
from milepost.web.context import Context, Hub
from milepost.web.paging import Page
from milepost.web.replays import ReplayItem, newest_replays
from milepost.web.subscriber_actions import disable_subscriber, enable_subscriber, rotate_key, test_subscriber
from milepost.web.subscriber_documents import (
    AttemptDocument,
    RotatedDocument,
    Rotation,
    SubscriberItem,
    fields_of,
)
from milepost.web.subscribers import managed, subscribers_after
from milepost.web.visiting import Looking, Visitor, needs

PAGE: Final = 25
MEASURED: Final = 200
"""The newest attempts of a subscriber that its pace is measured on."""
NEWEST: Final = 20
BACKLOG: Final = 1_000
"""Messages still to be sent are counted up to here."""
DONE: Final = {
    "tested": "A test message is on its way; it stands among the attempts as soon as it was sent.",
    "enabled": "It is sent to again, with everything that was kept for it.",
    "disabled": "Nothing is sent to it now; what comes for it is kept.",
    "replay": "The replay has begun.",
    "cancelled": "The replay was cancelled; what was still to be sent of it is not.",
}

SubscriberId = Annotated[str, PathParameter(max_length=128)]


class Shown(Struct):
    """A subscriber, and how sending to it goes."""

    item: SubscriberItem
    state: str
    tone: str
    failing_since: Instant | None
    warning: int | None
    """How many percent of the days after which it is disabled it has been failing."""
    backlog: int
    pace: Pace
    recent: list[Attempt]
    """The newest attempts that the visitor may see, newest first."""


@get("/subscribers", opt=needs("operate"), exception_handlers=ERRORS, include_in_schema=False)
async def subscribers(
    context: Hub,
    request: Request[Any, Any, Any],
    visitor: Looking,
    after: Annotated[str, QueryParameter(name="after", max_length=128)] = "",
) -> Response[str]:
    caller = acting(visitor)

    def read(tx: Transaction) -> list[Shown]:
        found = subscribers_after(tx, caller.business_products, after, PAGE + 1)
        return [_shown(tx, caller, context, one) for one in found]

    rows = await context.store.read(read)
    older = "/subscribers?" + urlencode({"after": rows[PAGE - 1].item.id}) if len(rows) > PAGE else ""
    return page(
        request,
        visitor,
        "subscribers.html",
        now=context.clock(),
        rows=rows[:PAGE],
        most=BACKLOG,
        next=older,
        first="/subscribers" if after else "",
    )


def _shown(tx: Transaction, caller: Principal, context: Context, found: Destination) -> Shown:
    now = context.clock()
    recent = visible_attempts(tx, caller, tx.attempts.recent_attempts(found.id, MEASURED))
    warning = stage(found.failing_since, now, round(context.disable_after_days * DAY)) or None
    state, tone = state_of(found)
    return Shown(
        SubscriberItem(**fields_of(found, now)),
        state,
        tone,
        found.failing_since,
        warning,
        tx.attempts.backlog(found.id, BACKLOG),
        pace_of(recent),
        recent[:NEWEST],
    )


def state_of(found: Destination) -> tuple[str, str]:
    """How a subscriber stands, in two words at most, and how bad that is."""
    if not found.enabled:
        return "Disabled", "bad"
    if found.failing_since is not None:
        return "Failing", "warn"
    return ("Live", "good") if found.after is not None else ("Getting history", "active")


@get(
    "/subscribers/{subscriber_id:str}",
    opt=needs("operate"),
    exception_handlers=ERRORS,
    include_in_schema=False,
)
async def subscriber(
    context: Hub, request: Request[Any, Any, Any], visitor: Looking, subscriber_id: SubscriberId
) -> Response[str]:
    done = DONE.get(request.query_params.get("done", ""), "")
    return await _page(context, request, visitor, subscriber_id, done=done)


async def _page(
    context: Context,
    request: Request[Any, Any, Any],
    visitor: Visitor,
    subscriber_id: str,
    *,
    done: str = "",
    error: str = "",
    rotated: RotatedDocument | None = None,
) -> Response[str]:
    caller = acting(visitor)

    def read(tx: Transaction) -> tuple[Shown, list[ReplayItem]]:
        found = managed(tx, caller, subscriber_id)
        return _shown(tx, caller, context, found), newest_replays(tx, caller, found.id)

    shown, replays = await context.store.read(read)
    answer = page(
        request,
        visitor,
        "subscriber.html",
        now=context.clock(),
        status=409 if error else 200,
        shown=shown,
        one=shown.item,
        wants=wants_in_words(shown.item),
        replays=replays,
        most=BACKLOG,
        days=context.disable_after_days,
        done=done,
        error=error,
        rotated=rotated,
    )
    if rotated is not None:
        answer.headers["Cache-Control"] = "no-store"
    return answer


def wants_in_words(item: SubscriberItem) -> list[tuple[str, str]]:
    """What a subscriber gets, as pairs of a name and a sentence."""
    form = {
        "amazon": "Amazon's events as they came",
        "milepost": "Milepost's messages: what an order, a delivery or a tracker became",
    }
    rate = f"At most {item.rate:g} a second" if item.rate else "As fast as it takes them"
    return [
        ("It gets", form.get(item.form, item.form)),
        ("Types", _listed(item.event_types, "All")),
        ("Business products", _listed(item.business_product_ids, "All")),
        ("Carriers", _listed(item.carriers, "All")),
        ("Only if", item.expression or "Always"),
        ("Order", "One after the other, by order" if item.ordered else "As they come"),
        ("Rate", rate),
    ]


def _listed(names: Iterable[str], otherwise: str) -> str:
    return ", ".join(names) or otherwise


@get(
    "/subscribers/{subscriber_id:str}/attempts",
    opt=needs("operate"),
    exception_handlers=ERRORS,
    include_in_schema=False,
)
async def attempts(
    context: Hub,
    request: Request[Any, Any, Any],
    visitor: Looking,
    subscriber_id: SubscriberId,
    outcome: Annotated[str, QueryParameter(name="outcome", max_length=20)] = "",
    after: Annotated[str, QueryParameter(name="after", max_length=1_000)] = "",
) -> Response[str]:
    """Every attempt, by the positions of the messages."""
    caller = acting(visitor)
    found: Page[AttemptDocument] = await list_attempts.fn(
        context,
        caller,
        subscriber_id=subscriber_id,
        outcome=outcome or None,
        after=after or None,
        limit=50,
    )
    name = await context.store.read(lambda tx: managed(tx, caller, subscriber_id).name)
    kept = {"outcome": outcome} if outcome else {}
    return page(
        request,
        visitor,
        "subscriber_attempts.html",
        now=context.clock(),
        id=subscriber_id,
        name=name or subscriber_id,
        attempts=found.items,
        outcome=outcome,
        next="" if found.next is None else "?" + urlencode(kept | {"after": found.next}),
        first="?" + urlencode(kept) if after else "",
    )


@post(
    "/subscribers/{subscriber_id:str}/{action:str}",
    opt=needs("operate"),
    exception_handlers=ERRORS,
    include_in_schema=False,
)
async def act(
    context: Hub,
    request: Request[Any, Any, Any],
    visitor: Looking,
    subscriber_id: SubscriberId,
    action: Annotated[str, PathParameter(max_length=20)],
) -> Response[str]:
    """test, enable, disable or rotate."""
    form, caller = await read_form(request, visitor), acting(visitor)
    try:
        if action == "test":
            await test_subscriber.fn(context, caller, subscriber_id)
            await tell_of_subscriber(context, visitor, "subscriber.tested", subscriber_id)
            return see_other(f"/subscribers/{subscriber_id}?done=tested")
        if action == "enable":
            await enable_subscriber.fn(context, caller, subscriber_id)
            await tell_of_subscriber(context, visitor, "subscriber.enabled", subscriber_id)
            return see_other(f"/subscribers/{subscriber_id}?done=enabled")
        if action == "disable":
            await disable_subscriber.fn(context, caller, subscriber_id)
            await tell_of_subscriber(context, visitor, "subscriber.disabled", subscriber_id)
            return see_other(f"/subscribers/{subscriber_id}?done=disabled")
        if action != "rotate":
            raise Invalid("There is no such thing to do with a subscriber.")
        rotation = Rotation(_hours(form.get("overlap", "24")))
        rotated = await rotate_key.fn(context, caller, subscriber_id, rotation)
        told = {"overlapHours": f"{rotation.overlap_hours:g}"}
        await tell_of_subscriber(context, visitor, "subscriber.rotated", subscriber_id, told)
        return await _page(context, request, visitor, subscriber_id, rotated=rotated)
    except Conflict as e:
        return await _page(context, request, visitor, subscriber_id, error=said(e))


def _hours(text: str) -> float:
    """Raises `Invalid`."""
    if not (text.isascii() and text.isdigit() and len(text) <= len("720") and int(text) <= 720):
        raise Invalid("The old key signs along for 0 to 720 hours.", field="overlap")
    return float(text)


HANDLERS = [subscribers, subscriber, attempts, act]
