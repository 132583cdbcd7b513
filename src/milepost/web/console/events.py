"""`/events`: the inbox, newest first and live, with what became of each event; `/events/{position}`: one of them.

Nothing here posts an event again: the journal has each once, and a second copy would only be counted as one. What may
be sent again is a message to a subscriber.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from litestar import Request, Response, get, post
from litestar.params import PathParameter, QueryParameter

from milepost.domain.errors import Conflict, Invalid
from milepost.domain.instant import Instant, parse_instant
from milepost.store import Quarantined, Transaction
from milepost.web.attempts import resend_message
from milepost.web.console.acting import acting, said
from milepost.web.console.event_facts import EventFacts, facts_of
from milepost.web.console.forms import read_form, see_other
from milepost.web.console.outcome_words import FILTERS, OUTCOMES
from milepost.web.console.pages import ERRORS, page
from milepost.web.console.telling import tell_of_message
from milepost.web.console.wording import road
from milepost.web.context import Hub
from milepost.web.inbox import PAGE, Inbox, Wanted, look
from milepost.web.reading import Reach
from milepost.web.visiting import Looking, needs

ROADS: Final = (("", "Any"), *((each, road(each)) for each in ("webhook", "eventbridge", "replay")))
QUARANTINED = "quarantined"
_FIELDS: Final = ("type", "outcome", "road", "about", "product", "since", "until")

Before = Annotated[int | None, QueryParameter(name="before", ge=1, lt=1 << 53)]
Behind = Annotated[int | None, QueryParameter(name="after", ge=0, lt=1 << 53)]
Position = Annotated[int, PathParameter(ge=1, lt=1 << 53)]


@get("/events", opt=needs("operate"), exception_handlers=ERRORS, include_in_schema=False)
async def events(
    context: Hub,
    request: Request[Any, Any, Any],
    visitor: Looking,
    before: Before = None,
    after: Behind = None,
) -> Response[str]:
    query = asked(request.query_params)
    if query.get("outcome") == QUARANTINED:
        return see_other("/quarantine")
    wanted, wrong = read_wanted(query)
    reach = visitor.reach(query.get("product") or None)

    def read(tx: Transaction) -> tuple[Inbox, list[Quarantined]]:
        inbox = look(tx, reach, wanted, before=before, after=after)
        is_newest = before is None and after is None and not query
        return inbox, _quarantined(tx, visitor.business_products, inbox) if is_newest else []

    inbox, quarantined = await context.store.read(read)
    newest = inbox.items[0].position if inbox.items else inbox.looked_to
    return page(
        request,
        visitor,
        "events.html",
        now=context.clock(),
        inbox=inbox,
        lines=merged(inbox, quarantined),
        query=query,
        wrong=wrong,
        outcomes=OUTCOMES,
        filters=FILTERS,
        roads=ROADS,
        live="" if before or after or wrong else "/events/live?" + urlencode(query | {"after": newest}),
        newer="" if inbox.newer is None else "/events?" + urlencode(query | {"after": inbox.newer}),
        older="" if inbox.older is None else "/events?" + urlencode(query | {"before": inbox.older}),
    )


def asked(parameters: Mapping[str, str]) -> dict[str, str]:
    """The filters of a page's address that say something."""
    return {name: text[:300] for name in _FIELDS if (text := parameters.get(name, "").strip())}


def read_wanted(query: Mapping[str, str]) -> tuple[Wanted, str]:
    """What the filters mean, and what is wrong with them."""
    try:
        since, until = _time(query, "since"), _time(query, "until")
    except Invalid as e:
        return Wanted(), e.detail
    names = {name: query.get(name, "") for name in ("type", "outcome", "road", "about")}
    return Wanted(**names, since=since, until=until), ""


def _time(query: Mapping[str, str], name: str) -> Instant | None:
    """A time as a browser's field writes it, taken for UTC, or any ISO 8601 one. Raises `Invalid`."""
    text = query.get(name, "")
    if not text:
        return None
    bare = "T" in text and not text.endswith("Z") and "+" not in text and text.count("-") == 2
    try:
        return parse_instant(f"{text}Z" if bare else text)
    except ValueError as e:
        raise Invalid(f"{name} {text[:40]!r} is no time; one is written 2026-11-26T14:05") from e


def _quarantined(tx: Transaction, reach: Reach, inbox: Inbox) -> list[Quarantined]:
    """What came into quarantine since the oldest event of the newest page."""
    rows = tx.journal.newest_quarantined(None, PAGE, reach, state="waiting")
    oldest = inbox.items[-1].received_at if inbox.items else ""
    since = parse_instant(oldest) if oldest and inbox.older is not None else 0
    return [row for row in rows if row.received_at >= since]


def merged(inbox: Inbox, quarantined: list[Quarantined]) -> list[tuple[str, Any]]:
    """Events and quarantined bodies in one list: (`event` or `quarantined`, it). Events stay in the journal's order;
    a body stands above the first event that was not received after it."""
    lines: list[tuple[str, Any]] = []
    waiting = list(quarantined)
    for item in inbox.items:
        received = parse_instant(item.received_at)
        while waiting and waiting[0].received_at >= received:
            lines.append((QUARANTINED, waiting.pop(0)))
        lines.append(("event", item))
    return lines + [(QUARANTINED, row) for row in waiting]


@get("/events/{position:int}", opt=needs("operate"), exception_handlers=ERRORS, include_in_schema=False)
async def event(
    context: Hub, request: Request[Any, Any, Any], visitor: Looking, position: Position
) -> Response[str]:
    return await _event_page(context, request, visitor, position, request.query_params.get("done", ""))


async def _event_page(
    context: Hub,
    request: Request[Any, Any, Any],
    visitor: Looking,
    position: int,
    done: str = "",
    error: str = "",
) -> Response[str]:
    caller = acting(visitor)
    facts: EventFacts = await context.store.read(lambda tx: facts_of(tx, caller, position))
    return page(
        request,
        visitor,
        "event.html",
        now=context.clock(),
        status=409 if error else 200,
        event=facts.document,
        facts=facts,
        outcomes=OUTCOMES,
        done=done,
        error=error,
    )


@post(
    "/events/{position:int}/resend", opt=needs("operate"), exception_handlers=ERRORS, include_in_schema=False
)
async def resend(
    context: Hub, request: Request[Any, Any, Any], visitor: Looking, position: Position
) -> Response[str]:
    """A message about this event, to its subscriber, once more."""
    form = await read_form(request, visitor)
    try:
        again = await resend_message.fn(context, acting(visitor), form.get("message", ""))
    except Conflict as e:
        return await _event_page(context, request, visitor, position, error=said(e))
    await tell_of_message(context, visitor, again.id, again.subscriber_id, again.position)
    return see_other(f"/events/{position}?done=resent")


HANDLERS = [events, event, resend]
