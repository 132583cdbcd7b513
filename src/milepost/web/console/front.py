"""`/`: one box that leads to an order or a parcel by any handle, and what is going on while nothing is looked for.

A search that finds exactly one order (or tracker of no order) by its whole handle goes straight there, so that a
customer on the phone is found in one step. The items are those of `/v1/search` (`web.search.search_items`), put
together by order. Who may not serve customers finds nothing by a name or an address.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from litestar import Request, Response, get
from litestar.params import QueryParameter
from msgspec import Struct

from milepost.domain.errors import Invalid
from milepost.domain.instant import DAY, Instant
from milepost.domain.volume import hour_of
from milepost.pipeline.projector import NAME as PROJECTOR
from milepost.store import Found, Transaction, View
from milepost.web.console.dates import from_today, last_day, utc_day, window_words
from milepost.web.console.forms import see_other
from milepost.web.console.order_links import Here, named_products, parcel_anchor
from milepost.web.console.pages import ERRORS, page
from milepost.web.context import Hub
from milepost.web.notification_documents import last_messages
from milepost.web.paging import decode_cursor, encode_cursor
from milepost.web.reading import Reach, decoded, path_of
from milepost.web.search import LONGEST_TERM, impersonal, item_of, search_items, term_of
from milepost.web.visiting import Looking, Visitor, needs

MOST: Final = 100
"""Items that a search looks at; of more the page says so."""
RECENT: Final = 25
COUNTED: Final = 500
"""The newest orders, of which the cards say how many are in which state: so it costs the same however many there
are."""
STATES: Final = ("IN_TRANSIT", "PENDING", "DELIVERED", "CANCELLED")
_CURSOR: Final = "console orders"


class Hit(Struct, frozen=True):
    """An order that was found, or a tracker of none; what it was found by, and the item that says how it stands."""

    path: str
    anchor: str
    """Of the parcel that was found, with its `#`; empty where it is the order that was, or several were."""
    item: dict[str, Any]
    matched: Sequence[str]
    is_exact: bool
    expected: str
    """The estimated delivery against today; empty without one."""

    @property
    def href(self) -> str:
        return self.path + self.anchor


class Result(Struct, frozen=True):
    """What a search found."""

    hits: Sequence[Hit]
    is_cut: bool


class Today(Struct, frozen=True):
    """How the hub is."""

    events: int
    behind: int
    """Records that are journalled and not folded yet."""


class Recent(Struct, frozen=True):
    """What is going on: the newest orders, and how many of them are in which state."""

    hits: Sequence[Hit]
    counts: dict[str, int]
    counted: int
    older: str | None
    today: Today


@get("/", opt=needs("orders"), exception_handlers=ERRORS, include_in_schema=False)
async def front(
    context: Hub,
    request: Request[Any, Any, Any],
    visitor: Looking,
    q: Annotated[str, QueryParameter(name="q")] = "",
    show: Annotated[str, QueryParameter(name="show", max_length=8)] = "",
    in_state: Annotated[str | None, QueryParameter(name="state", max_length=32)] = None,
    after: Annotated[str | None, QueryParameter(name="after", max_length=1_024)] = None,
) -> Response[str]:
    """`show=all` lists what a search found even where it found only one."""
    now = context.clock()
    if not q.strip():
        wanted = in_state if in_state in STATES else None
        recent = await context.store.read(lambda tx: _recent(tx, visitor, wanted, after, now))
        ready, _ = context.ready()
        return page(
            request, visitor, "front.html", now=now, recent=recent, states=STATES, state=wanted, ready=ready
        )
    try:
        term = term_of(q)
    except Invalid:
        too_long = f"Nothing is found by more than {LONGEST_TERM} characters."
        return page(request, visitor, "found.html", now=now, q=q[:LONGEST_TERM], found=None, problem=too_long)
    found = await context.store.read(lambda tx: _search(tx, term, visitor, now))
    exact = [hit for hit in found.hits if hit.is_exact]
    if len(exact) == 1 and show != "all":
        return see_other(_straight(exact[0], q.strip() if len(found.hits) > 1 else ""))
    return page(request, visitor, "found.html", now=now, q=q.strip(), found=found, problem="")


def _straight(hit: Hit, found: str) -> str:
    """Where a search leads that found only this; an order's page leads back to what else was `found`, if anything."""
    if not found or hit.item["orderId"] is None:
        return hit.href
    return f"{hit.path}{'&' if '?' in hit.path else '?'}{urlencode({'found': found})}{hit.anchor}"


def _search(tx: Transaction, term: str, visitor: Visitor, now: Instant) -> Result:
    reach = visitor.reach()
    items = search_items(tx, term, MOST, reach, personal=visitor.may("serve"))
    return Result(list(_hits(tx, items, reach, term, now)), len(items) == MOST)


def _hits(
    tx: Transaction, items: Sequence[dict[str, Any]], reach: Reach, term: str, now: Instant
) -> Iterator[Hit]:
    """One of each order, in the order in which its first item was found."""
    grouped: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for item in items:
        about = ("order", item["orderId"]) if item["orderId"] else ("tracker", item["id"])
        grouped.setdefault((item["businessProductId"], *about), []).append(item)
    name_product = named_products(tx, reach)
    for group in grouped.values():
        first = group[0]
        matched = list(dict.fromkeys(item["matched"] for item in group))
        path, anchor = _path(first, name_product), _anchor(tx, group)
        yield Hit(path, anchor, first, matched, term in matched, _expected(first, now))


def _path(item: dict[str, Any], name_product: bool) -> str:
    named = item["businessProductId"] if name_product else None
    if item["orderId"] is None:
        carrier, _, number = item["id"].partition("/")
        return path_of("trackers", carrier, number, businessProductId=named)
    return Here(item["orderId"], named).path()


def _anchor(tx: Transaction, group: Sequence[dict[str, Any]]) -> str:
    """To the parcel that was found, where it is one alone."""
    product, order_id = group[0]["businessProductId"], group[0]["orderId"]
    if order_id is None or any(item["kind"] == "order" for item in group):
        return ""
    view = tx.views.get([("order", product, order_id)]).get(("order", product, order_id))
    deliveries = [] if view is None else decoded(view)["deliveries"]
    wanted = {item["id"] for item in group if item["kind"] == "delivery"}
    numbers = {item["id"].lower() for item in group if item["kind"] == "tracker"}
    places = [
        place
        for place, delivery in enumerate(deliveries, 1)
        if delivery["id"] in wanted
        or any(f"{t['carrierCode']}/{t['trackingNumber']}".lower() in numbers for t in delivery["trackers"])
    ]
    return f"#{parcel_anchor(places[0])}" if len(places) == 1 else ""


def _expected(item: dict[str, Any], now: Instant) -> str:
    estimate = item["estimatedDelivery"]
    words = window_words(estimate)
    if item["state"] in ("DELIVERED", "CANCELLED"):
        return words
    return f"{words}, {from_today(last_day(estimate), utc_day(now))}" if words else ""


# ── Without a search ───────────────────────────────────────────────────────────────────────────────────────


def _recent(tx: Transaction, visitor: Visitor, state: str | None, after: str | None, now: Instant) -> Recent:
    reach = visitor.reach()
    newest = tx.views.page("order", None, COUNTED, reach, newest_first=True)
    start = None if after is None else decode_cursor(_CURSOR, after, tuple[int, str, str])
    if state is None and start is None:
        rows = newest[: RECENT + 1]
    else:
        rows = tx.views.page("order", start, RECENT + 1, reach, state, newest_first=True)
    counts = Counter(view.state for _, view in newest)
    older = None
    if len(rows) > RECENT:
        number, last = rows[RECENT - 1]
        older = encode_cursor(_CURSOR, (number, last.business_product_id, last.id))
    listed = list(_listed(tx, [view for _, view in rows[:RECENT]], visitor, now))
    return Recent(listed, dict(counts), len(newest), older, _today(tx, reach, now))


def _listed(tx: Transaction, views: Sequence[View], visitor: Visitor, now: Instant) -> Iterator[Hit]:
    told = last_messages(tx, {(view.business_product_id, view.id) for view in views})
    name_product = named_products(tx, visitor.reach())
    for view in views:
        document = decoded(view)
        document = document if visitor.may("serve") else impersonal(document)
        item = item_of(view, Found("", "order", view.business_product_id, view.id), document)
        item["lastMessage"] = told.get((view.business_product_id, view.id))
        named = view.business_product_id if name_product else None
        yield Hit(Here(view.id, named).path(), "", item, (), False, _expected(item, now))


def _today(tx: Transaction, reach: Reach, now: Instant) -> Today:
    """Since midnight, UTC. What is counted is a minute old at most; what is behind is counted in positions."""
    spans = tx.volumes.spans(hour_of(Instant(now - now % DAY)), hour_of(now), reach)
    behind = tx.journal.last_position() - tx.journal.checkpoint(PROJECTOR)
    return Today(sum(span.events for span in spans.values()), max(0, behind))


HANDLERS = [front]
