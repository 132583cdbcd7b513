"""The addresses of the sandbox's page, and what each shows.

    GET  /                                  orders, newest first; ?after= goes on
    GET  /sandbox/order?id=                 one order, with what moves it on and what it published
    GET  /sandbox/published                 events, newest first; ?before= goes on
    GET  /sandbox/published/event?position= one event: its body, each message, every attempt
    GET  /sandbox/published/subscriptions   where events go, and how it goes there
    GET  /sandbox/world                     scenarios to start, faults to turn on
    GET  /sandbox/page.css
    POST /sandbox/page/…                    what the forms do (`forms`)

Reading is in `order_details` and `publishing`. Everything is escaped where it is written: documents are callers'.
"""

from collections.abc import Awaitable, Callable, Sequence
from importlib import resources
from typing import Any
from urllib.parse import urlencode

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined
from msgspec import Struct

from milepost.domain.errors import HTTP_STATUS, MilepostError, NotFound
from milepost.domain.instant import Instant
from milepost.domain.record import tracker_identity
from milepost.pipeline.publisher import Publisher
from milepost.sandbox.clock import WorldClock
from milepost.sandbox.driving import MOST_ORDERS
from milepost.sandbox.faults import ActiveFaults
from milepost.sandbox.http import Request, Response, Routes, number_in
from milepost.sandbox.keeper import MIXED, Keeper
from milepost.sandbox.lookups import decoded
from milepost.sandbox.page.fault_list import how_many_on, listed
from milepost.sandbox.page.forms import STANDING, Forms, order_path
from milepost.sandbox.page.order_details import Row, details_of, row_of
from milepost.sandbox.page.publishing import endpoints, event_at, events_before, events_of
from milepost.sandbox.page.wording import length, spoken, when
from milepost.sandbox.reading import parcels
from milepost.sandbox.scenarios import library
from milepost.sandbox.world import WorldOrder
from milepost.store import Store, Transaction, View

ORDERS_A_PAGE = 20
EVENTS_A_PAGE = 40
EVENTS_OF_ORDER = 12
_LAST = 1 << 53
_ONCE = frozenset({"moved", "parcel", "planned"})
"""What an address says of the form that was just sent."""
POLICY = "; ".join(
    (
        "default-src 'none'",
        "style-src 'self'",
        "img-src 'self' data:",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    # Not no-referrer: browsers would then post forms with the origin "null", which `http` refuses.
    (b"referrer-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)
HTML = (b"content-type", b"text/html; charset=utf-8")
CSS = (b"content-type", b"text/css; charset=utf-8")

Handler = Callable[[Request], Awaitable[Response]]


class PageRoutes:
    """The routes of the page."""

    def __init__(
        self, store: Store, keeper: Keeper, clock: WorldClock, faults: ActiveFaults, publisher: Publisher
    ) -> None:
        self._store = store
        self._keeper = keeper
        self._clock = clock
        self._faults = faults
        self._forms = Forms(keeper, clock, faults, publisher)
        self._templates = Environment(
            loader=PackageLoader("milepost.sandbox.page"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals["order_path"] = order_path
        self._templates.filters["spoken"] = spoken
        self._css = resources.files("milepost.sandbox.page").joinpath("page.css").read_bytes()

    def routes(self) -> Routes:
        pages = {
            "/": self._orders,
            "/sandbox/order": self._order,
            "/sandbox/published": self._published,
            "/sandbox/published/event": self._event,
            "/sandbox/published/subscriptions": self._subscriptions,
            "/sandbox/world": self._world,
        }
        shown = {("GET", path): self._guarded(page) for path, page in pages.items()}
        forms = {route: self._guarded(form) for route, form in self._forms.routes().items()}
        return {**shown, **forms, ("GET", "/sandbox/page.css"): self._style}

    # ── Pages ──────────────────────────────────────────────────────────────────────────────────────────────

    async def _orders(self, request: Request) -> Response:
        after = number_in(request.query, "after", _LAST, 0, _LAST)
        rows, following = await self._store.read(lambda tx: self._page(tx, after, self._clock.now()))
        has_subscriptions = await self._store.read(lambda tx: bool(tx.attempts.destinations("", 1)))
        return await self._html(
            request,
            "orders.html",
            rows=rows,
            following=following,
            is_first="after" not in request.query,
            planned=number_in(request.query, "planned", 0, 0, MOST_ORDERS),
            scenarios=library().values(),
            has_subscriptions=has_subscriptions,
            most_orders=MOST_ORDERS,
        )

    async def _order(self, request: Request) -> Response:
        order_id, product = request.query.get("id", ""), request.query.get("product") or None
        world = await self._keeper.order(order_id, product)
        if world is None:
            raise NotFound(f"the world has no order {order_id}")
        trackers = [t for _, p in parcels(world.order) if (t := tracker_identity(p.get("packageTracker")))]
        now = self._clock.now()
        events = await self._store.read(lambda tx: events_of(tx, order_id, trackers, EVENTS_OF_ORDER, now))
        moved = number_in(request.query, "moved", -1, -1, 1_000)
        shown, parcel = details_of(world, now), request.query.get("parcel", "")
        is_there = any(parcel == each.id for each in (*shown.parcels, *shown.returns))
        return await self._html(
            request,
            "order.html",
            order=shown,
            events=events,
            moved=moved,
            moved_parcel=parcel if is_there else "",
        )

    async def _published(self, request: Request) -> Response:
        before = number_in(request.query, "before", _LAST, 0, _LAST)
        start, now = before if "before" in request.query else None, self._clock.now()
        events, following = await self._store.read(lambda tx: events_before(tx, start, EVENTS_A_PAGE, now))
        return await self._html(
            request, "published.html", events=events, following=following, is_first=start is None
        )

    async def _event(self, request: Request) -> Response:
        position = number_in(request.query, "position", 0, 0, _LAST)
        event = await self._store.read(lambda tx: event_at(tx, position, self._clock.now()))
        return await self._html(request, "event.html", event=event)

    async def _subscriptions(self, request: Request) -> Response:
        return await self._html(request, "subscriptions.html", endpoints=await self._store.read(endpoints))

    async def _world(self, request: Request) -> Response:
        return await self._html(
            request,
            "world.html",
            scenarios=library().values(),
            groups=listed(self._faults.now),
            mixed=MIXED,
            standing=STANDING,
            most_orders=MOST_ORDERS,
        )

    async def _style(self, request: Request) -> Response:
        return Response(200, (CSS, *HEADERS[1:]), self._css)

    def _page(self, tx: Transaction, after: int, now: Instant) -> tuple[list[Row], int | None]:
        """A page of orders that were placed, newest first, and the number that the next goes on behind."""
        found: list[tuple[int, WorldOrder]] = []
        cursor = (after, "", "")
        while page := tx.views.page("world", cursor, ORDERS_A_PAGE + 1, None, newest_first=True):
            found += [(number, decoded(view)) for number, view in page if _placed_at(view) <= now]
            if len(found) > ORDERS_A_PAGE:
                break
            cursor = (page[-1][0], "", "")
        rows = [row_of(world, now) for _, world in found[:ORDERS_A_PAGE]]
        return rows, found[ORDERS_A_PAGE - 1][0] if len(found) > ORDERS_A_PAGE else None

    # ── Answering ──────────────────────────────────────────────────────────────────────────────────────────

    def _guarded(self, handler: Handler) -> Handler:
        """The handler, with its errors as a page."""

        async def guarded(request: Request) -> Response:
            try:
                return await handler(request)
            except MilepostError as e:
                status = HTTP_STATUS[e.code]
                detail = e.detail[:500].encode("utf-8", "replace").decode()
                return await self._html(request, "error.html", status, status=status, detail=detail)

        return guarded

    async def _html(self, request: Request, template: str, code: int = 200, **context: Any) -> Response:
        now, due = self._clock.now(), await self._keeper.next_due()
        clock = _Clock(
            when(now).iso,
            when(now).text,
            _pace(self._clock),
            self._clock.speed,
            "" if due is None else length(max(0, due - now)),
        )
        text = self._templates.get_template(template).render(
            clock=clock, faults_on=how_many_on(self._faults.now), back=_here(request), **context
        )
        return Response(code, (HTML, *HEADERS), text.encode("utf-8", "replace"))


class _Clock(Struct, frozen=True):
    """The world's time, as each page shows it on top."""

    iso: str
    text: str
    pace: str
    speed: float
    next_in: str
    """How long it is until something planned happens; empty when nothing is."""


class _Placed(Struct, frozen=True, rename="camel"):
    placed_at: Instant = Instant(0)


def _placed_at(view: View) -> Instant:
    """When an order was placed, without reading all of it."""
    return msgspec.json.decode(view.document, type=_Placed).placed_at


def _pace(clock: WorldClock) -> str:
    if clock.speed == 0:
        return "stands still"
    return "runs as real time does" if clock.pace == 1 else f"runs {clock.pace:g} times as fast"


def _here(request: Request) -> str:
    """The address of this page, for forms that lead back to it; after a failed form the front page."""
    if request.method not in ("GET", "HEAD"):
        return "/"
    kept: Sequence[tuple[str, str]] = [(k, v) for k, v in request.query.items() if k not in _ONCE]
    return f"{request.path}?{urlencode(kept)}" if kept else request.path
