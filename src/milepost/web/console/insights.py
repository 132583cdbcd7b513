"""`/insights`: numbers over many parcels for those who run the shop, and the parcels behind each of them.

The numbers are `pipeline.insights`', the very ones that `/v1/insights` answers; here they are put on a page. Each
stands with what it rests on and what it means, and leads to its rows. While the columns are being read the page says
how far that is and asks again by itself.
"""

from collections.abc import Callable
from typing import Annotated, Any

from litestar import Request, Response, get
from litestar.params import QueryParameter

from milepost.domain.instant import Instant
from milepost.pipeline.insight_results import Figure, Loading, Overview
from milepost.shopper.parcels import carrier_name
from milepost.web.console import insight_charts as drawn
from milepost.web.console import insight_words as words
from milepost.web.console.insight_asking import (
    BASES,
    CSV,
    LENGTHS,
    PAGE,
    PRESETS,
    ROWS,
    UNKNOWN,
    Asked,
    asked_by,
)
from milepost.web.console.pages import ERRORS, HEADERS, environment, page
from milepost.web.context import Context, Hub
from milepost.web.streaming import Streamed, while_good
from milepost.web.visiting import Looking, Visitor, needs

environment.filters.update(words.FILTERS)
A_PAGE = 100
LEADING = (
    "otd",
    "otif",
    "first-attempt",
    "exceptions",
    "never-scanned",
    "false-delivered",
    "completeness",
    "estimates",
)
"""The metrics whose main figures stand at the top, beside those of the period before."""

Which = Annotated[str, QueryParameter(description="What a number says of its rows.", max_length=256)]
After = Annotated[str | None, QueryParameter(description="Where the page before ended.", max_length=1_024)]


@get(PAGE, opt=needs("insights"), exception_handlers=ERRORS, include_in_schema=False)
async def show_insights(context: Hub, request: Request[Any, Any, Any], visitor: Looking) -> Response[str]:
    now = context.clock()
    asked = asked_by(visitor, request.query_params, now)
    found = await context.insights.overview(asked.filter, now)
    if isinstance(found, Loading):
        return _loading(request, visitor, found, now)
    earlier = await _earlier(context, asked, now)
    told = await context.insights.notifications(asked.filter)
    return page(
        request,
        visitor,
        "insights.html",
        now=now,
        found=found,
        earlier=earlier,
        told=told,
        asked=asked,
        span=_span(asked),
        choices=_choices(found, asked, visitor),
        periods=[(asked.over(name), text, None, name == asked.period) for name, text, _ in PRESETS],
        rows_of=_opening(asked),
        words=words,
        drawn=drawn,
    )


@get(ROWS, opt=needs("insights"), exception_handlers=ERRORS, include_in_schema=False)
async def show_rows(
    context: Hub, request: Request[Any, Any, Any], visitor: Looking, which: Which, after: After = None
) -> Response[str]:
    now = context.clock()
    asked = asked_by(visitor, request.query_params, now)
    found = await context.insights.rows(which, asked.filter, now, after, A_PAGE)
    if isinstance(found, Loading):
        return _loading(request, visitor, found, now)
    return page(
        request,
        visitor,
        "insights_rows.html",
        now=now,
        found=found,
        back=asked.address(PAGE),
        whole=asked.address(CSV, which=which),
        following=asked.address(ROWS, which=which, after=found.next) if found.next else "",
        span=_span(asked),
        words=words,
    )


@get(CSV, opt=needs("insights"), exception_handlers=ERRORS, include_in_schema=False)
async def download_rows(
    context: Hub, request: Request[Any, Any, Any], visitor: Looking, which: Which
) -> Response[Any]:
    """All rows behind a number, as a file."""
    now = context.clock()
    asked = asked_by(visitor, request.query_params, now)
    found = await context.insights.csv(which, asked.filter, now)
    if isinstance(found, Loading):
        return _loading(request, visitor, found, now)
    headers = {**HEADERS, "Content-Disposition": 'attachment; filename="parcels.csv"'}
    pieces = while_good(context, visitor, found)
    return Streamed(pieces, media_type="text/csv; charset=utf-8", headers=headers)


async def _earlier(context: Context, asked: Asked, now: Instant) -> dict[str, Figure]:
    """The leading figures of the period before, by their ids; none where there was no such period."""
    before = asked.before()
    if before is None:
        return {}
    found = await context.insights.leading(LEADING, before, now)
    return {} if isinstance(found, Loading) else found


def _loading(
    request: Request[Any, Any, Any], visitor: Visitor, found: Loading, now: Instant
) -> Response[str]:
    again = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return page(request, visitor, "insights_loading.html", now=now, found=found, again=again)


def _span(asked: Asked) -> str:
    return words.dated(asked.filter.basis, asked.filter.since, asked.filter.until)


def _opening(asked: Asked) -> Callable[..., str]:
    """The address of the rows of a number, of one group's where that is said; empty where a number has none."""

    def rows_of(which: str | None, **within: Any) -> str:
        return asked.within(**within).address(ROWS, which=which) if which else ""

    return rows_of


def _choices(found: Overview, asked: Asked, visitor: Visitor) -> dict[str, list[tuple[str, str]]]:
    """What each filter offers, what it is set to among it, even when nothing has that any more."""
    choices, chosen = found.choices, asked.filter
    return {
        "business_products": _offered(choices.business_products, asked.business_product, "All"),
        "carriers": [
            (code, carrier_name(name) if code not in ("", UNKNOWN) else name)
            for code, name in _known_or_not(choices.carriers, chosen.carrier, "All carriers")
        ],
        "origins": _known_or_not(choices.origins, chosen.origin, "Anywhere"),
        "destinations": _known_or_not(choices.destinations, chosen.destination, "Anywhere"),
        "bases": list(BASES.items()),
        "days": list(LENGTHS.items()),
    }


def _offered(values: tuple[str, ...], chosen: str | None, every: str) -> list[tuple[str, str]]:
    offered = [value for value in values if value]
    if chosen and chosen.lower() not in map(str.lower, offered):
        offered.append(chosen)
    return [("", every), *((value, value) for value in offered)]


def _known_or_not(values: tuple[str, ...], chosen: str | None, every: str) -> list[tuple[str, str]]:
    return [*_offered(values, chosen, every), (UNKNOWN, "Not known")]


HANDLERS = [show_insights, show_rows, download_rows]
