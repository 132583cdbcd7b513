"""`/queues` and `/queues/{name}`: what somebody should look at, what to do about it, and doing it to many at once.

Pages read and do what `/v1/queues` does, by the same functions; an address has the same parameters. Kept filters are
`queue_filters`'.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, NamedTuple
from urllib.parse import quote, urlencode

import msgspec
from litestar import Request, Response, get, post
from litestar.params import PathParameter, QueryParameter

from milepost.domain.errors import Invalid
from milepost.domain.instant import HOUR, Instant, format_instant, parse_instant
from milepost.domain.queue_guide import ACTIONS, GUIDES, QueueAction
from milepost.store import SavedFilter, Transaction
from milepost.web.console.forms import read_form, see_other
from milepost.web.console.pages import ERRORS, page
from milepost.web.console.telling import only_one, tell
from milepost.web.context import Hub
from milepost.web.paging import Page
from milepost.web.queue_actions import MOST, OF_MONEY, ActionRequest, act
from milepost.web.queue_lists import (
    NOBODY,
    QueueEntry,
    QueueSummary,
    csv_of,
    queue_of,
    queue_page,
    summaries,
    summary,
    unsigned,
)
from milepost.web.queue_query import FIELDS, Asked, asked_by, asked_of, filters_of
from milepost.web.reading import Reach, decoded
from milepost.web.streaming import Streamed, while_good
from milepost.web.visiting import Looking, Visitor, needs

A_PAGE: Final = 100
MANY: Final = 2
SNOOZES: Final = ((4, "4 hours"), (24, "1 day"), (72, "3 days"), (168, "1 week"))
"""In hours."""
AGES: Final = (("", "Any"), ("24", "1 day"), ("48", "2 days"), ("72", "3 days"), ("168", "1 week"))
STATES: Final = (("", "Open"), ("snoozed", "Snoozed"), ("handled", "Handled"), ("all", "All of them"))
DONE: Final[Mapping[QueueAction, str]] = {
    "note": "noted",
    "snooze": "snoozed",
    "assign": "assigned",
    "handled": "marked as handled",
    "reopen": "opened again",
    "ask": "asked about again; answers show as they come",
    "release": "released",
    "resend": "sent again",
}
WRONG: Final = {
    "nothing": "Tick what you mean first; nothing was done.",
    "text": "Write the note first; nothing was done.",
    "kept": "The filter is kept.",
    "renamed": "The filter has its new name.",
    "deleted": "The filter is gone.",
}

Named = Annotated[str, PathParameter(max_length=40)]


class Row(NamedTuple):
    """An entry, and where it leads."""

    entry: QueueEntry
    href: str
    snoozed: bool


class Seen(NamedTuple):
    """What a queue's page is made of."""

    summary: QueueSummary
    entries: Page[QueueEntry]
    rows: Sequence[Row]
    filters: Sequence[SavedFilter]


@get("/queues", opt=needs("orders"), exception_handlers=ERRORS, include_in_schema=False)
async def show_queues(context: Hub, request: Request[Any, Any, Any], visitor: Looking) -> Response[str]:
    now = context.clock()

    def read(tx: Transaction) -> tuple[list[QueueSummary], list[SavedFilter]]:
        return summaries(tx, visitor.reach(), now), filters_of(tx, visitor)

    queues, kept = await context.store.read(read)
    links = [(saved, asked_by(saved).path(), GUIDES[saved.queue].title) for saved in kept]
    return page(request, visitor, "queues.html", now=now, queues=queues, kept=links)


@get("/queues/{name:str}", opt=needs("orders"), exception_handlers=ERRORS, include_in_schema=False)
async def show_queue(
    context: Hub,
    request: Request[Any, Any, Any],
    visitor: Looking,
    name: Named,
    after: Annotated[str | None, QueryParameter(name="after", max_length=2_000)] = None,
) -> Response[str]:
    asked, now = asked_of(queue_of(name), request.query_params), context.clock()
    wanted, reach = asked.wanted(now), visitor.reach(asked.business_product_id)

    def read(tx: Transaction) -> Seen:
        entries = queue_page(tx, wanted, after, A_PAGE, reach, now)
        if not visitor.may("serve"):
            entries = Page([unsigned(entry) for entry in entries.items], entries.next)
        head = summary(tx, wanted.queue, reach, now)
        return Seen(head, entries, _rows(tx, entries.items, now), filters_of(tx, visitor))

    seen = await context.store.read(read)
    return page(
        request,
        visitor,
        "queue.html",
        now=now,
        queue=seen.summary,
        rows=seen.rows,
        next=None if seen.entries.next is None else asked.path(after=seen.entries.next),
        asked=asked,
        given={name: asked.fields.get(name, "") for name in FIELDS},
        here_path=asked.path(),
        csv_path=f"/queues/{asked.queue}/csv" + (f"?{asked.query}" if asked.query else ""),
        tabs=_tabs(asked, seen.filters),
        own=[saved for saved in seen.filters if saved.owner == visitor.id and saved.queue == asked.queue],
        products=_products(visitor, asked, seen.entries.items),
        people=_people(visitor, asked),
        may_act=visitor.may("serve"),
        actions=_offered(visitor, seen.summary),
        snoozes=SNOOZES,
        ages=AGES,
        states=STATES,
        said=_said(request.query_params),
    )


def _rows(tx: Transaction, entries: Sequence[QueueEntry], now: Instant) -> list[Row]:
    """Each with the address of its parcel on its order's page, or of its tracker."""
    keys = {("order", e.business_product_id, e.order_id) for e in entries if e.order_id is not None}
    parcels: dict[tuple[str, str, str], int] = {}
    for (_, product, order), view in tx.views.get(keys).items():  # type: ignore[arg-type]
        for place, delivery in enumerate(decoded(view)["deliveries"], 1):
            parcels[product, order, delivery["id"]] = place
    return [Row(entry, _href(entry, parcels), _is_snoozed(entry, now)) for entry in entries]


def _is_snoozed(entry: QueueEntry, now: Instant) -> bool:
    until = None if entry.mark is None else entry.mark.snoozed_until
    return until is not None and parse_instant(until) > now


def _href(entry: QueueEntry, parcels: Mapping[tuple[str, str, str], int]) -> str:
    query = urlencode({"businessProductId": entry.business_product_id})
    if entry.order_id is None:
        carrier, number = entry.carrier_code or "", entry.tracking_number or ""
        return f"/trackers/{quote(carrier, safe='')}/{quote(number, safe='')}?{query}"
    place = parcels.get((entry.business_product_id, entry.order_id, entry.delivery_id or ""))
    anchor = "" if place is None else f"#parcel-{place}"
    return f"/orders/{quote(entry.order_id, safe='')}?{query}{anchor}"


def _tabs(asked: Asked, kept: Sequence[SavedFilter]) -> list[tuple[str, str, None, bool]]:
    """Everything open, and the filters that are kept for this queue."""
    plain = Asked(asked.queue, {})
    return [
        (plain.path(), "Everything open", None, not asked.query),
        *(
            (asked_by(saved).path(), saved.name, None, saved.query == asked.query)
            for saved in kept
            if saved.queue == asked.queue
        ),
    ]


def _products(visitor: Visitor, asked: Asked, entries: Sequence[QueueEntry]) -> list[tuple[str, str]]:
    """The business products to choose from, where there are several."""
    chosen = asked.business_product_id
    known = set(visitor.business_products or (entry.business_product_id for entry in entries))
    if chosen is not None:
        known.add(chosen)
    if len(known) < MANY and chosen is None:
        return []
    return [("", "All"), *((each, each) for each in sorted(known))]


def _people(visitor: Visitor, asked: Asked) -> list[tuple[str, str]]:
    """Whose items can be asked for: anybody's, one's own, nobody's, and whoever the address names."""
    people = {"": "Anybody", visitor.name: f"Me ({visitor.name})", NOBODY: "Nobody"}
    named = asked.fields.get("assignee", "")
    return list((people | {named: people.get(named, named)}).items())


def _offered(visitor: Visitor, queue: QueueSummary) -> frozenset[str]:
    return frozenset(a for a in queue.actions if a not in OF_MONEY or visitor.may("operate"))


def _said(given: Mapping[str, str]) -> tuple[str, str] | None:
    """(tone, text) of what a form that led here did; numbers and known words only, since anybody can make a link."""
    word = given.get("done", "")
    if word in WRONG:
        return ("warn" if word in ("nothing", "text") else "good"), WRONG[word]
    action = next((known for known in ACTIONS if known == word), None)
    if action is None:
        return None
    done, gone, refused = (_number(given.get(name, "")) for name in ("n", "gone", "refused"))
    parts = [f"{done} {DONE[action]}."]
    if gone:
        parts.append(f"{gone} had left this queue meanwhile.")
    if refused:
        parts.append(f"{refused} could not be: look at their orders for the reason.")
    return ("warn" if refused or not done else "good"), " ".join(parts)


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(MOST)) else 0


@get("/queues/{name:str}/csv", opt=needs("orders"), exception_handlers=ERRORS, include_in_schema=False)
async def download_queue(
    context: Hub, request: Request[Any, Any, Any], visitor: Looking, name: Named
) -> Streamed:
    """As `/v1/queues/{name}?format=csv`, for somebody who has signed in."""
    asked, now = asked_of(queue_of(name), request.query_params), context.clock()
    wanted, reach = asked.wanted(now), visitor.reach(asked.business_product_id)
    saved = {"Content-Disposition": f'attachment; filename="{asked.queue}.csv"'}
    lines = csv_of(context.store, wanted, reach, now, personal=visitor.may("serve"))
    return Streamed(while_good(context, visitor, lines), media_type="text/csv", headers=saved)


@post(
    "/queues/{name:str}",
    opt=needs("serve"),
    status_code=303,
    exception_handlers=ERRORS,
    include_in_schema=False,
)
async def act_on_rows(
    context: Hub, request: Request[Any, Any, Any], visitor: Looking, name: Named
) -> Response[str]:
    """Do something to the rows that are ticked; the page comes back as it was filtered."""
    form = await read_form(request, visitor)
    ids = [value for value in (await request.form()).getall("id", []) if isinstance(value, str)]
    asked, now = asked_of(queue_of(name), request.query_params), context.clock()
    reach: Reach = visitor.reach(asked.business_product_id)
    if not ids:
        return see_other(asked.path(done="nothing"))
    if form.get("action") == "note" and not form.get("text", "").strip():
        return see_other(asked.path(done="text"))
    data = _request(form, ids, now, visitor)
    result = await act(context, asked.queue, data, reach, visitor.name, money=visitor.may("operate"))
    if result.done:
        what = {"action": result.action, "items": result.done}
        await tell(context, visitor, "queue.acted", asked.queue, what, product=only_one(reach))
    counts = {"n": result.done, "gone": result.gone, "refused": len(result.refused)}
    told = {name: str(count) for name, count in counts.items() if count or name == "n"}
    return see_other(asked.path(done=result.action, **told))


def _request(form: Mapping[str, str], ids: Sequence[str], now: Instant, visitor: Visitor) -> ActionRequest:
    """What the form asks for, as the API takes it. Raises `Invalid`."""
    action = form.get("action", "")
    given: dict[str, object] = {"action": action, "ids": ids, "text": form.get("text", "")}
    if action == "mine":
        given |= {"action": "assign", "assignee": visitor.name[:200]}
    elif action == "assign":
        given["assignee"] = form.get("assignee", "")
    elif action == "snooze":
        hours = {str(count) for count, _ in SNOOZES}
        chosen = form.get("hours", "")
        if chosen not in hours:
            raise Invalid("hours must be one of those that are offered", field="hours")
        given["until"] = format_instant(Instant(now + int(chosen) * HOUR))
    try:
        return msgspec.convert(given, ActionRequest)
    except msgspec.ValidationError as e:
        raise Invalid(f"{e}; at most {MOST} at once") from e


HANDLERS = [show_queues, show_queue, download_queue, act_on_rows]
