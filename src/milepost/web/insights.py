"""`/v1/insights`: numbers over many parcels, one by one or all together, and the parcels behind each.

What they mean is told beside each and in docs/insights.md; they are computed by `pipeline.insights`. Until its
columns are read (after a start), an answer is 202 and says how far that is.
"""

from datetime import date
from typing import Annotated, Any, cast, get_args

from litestar import Request, Response, get
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import PathParameter, QueryParameter
from msgspec import Struct

from milepost.domain.errors import Invalid
from milepost.pipeline.insight_results import Basis, Days, Filter, Loading, Overview, Result, Rows
from milepost.pipeline.insights import MOST_ROWS
from milepost.web.authentication import Caller, Principal
from milepost.web.context import Hub
from milepost.web.paging import After, Limit, page_size
from milepost.web.problems import problems
from milepost.web.reading import BusinessProduct
from milepost.web.streaming import Streamed, while_good

_LOADING = ResponseSpec(Loading, description="The columns are being read; ask again in a second.")
_CSV = "text/csv; charset=utf-8"

Carrier = Annotated[
    str | None,
    QueryParameter(name="carrier", description="Only this carrier's code; any case.", max_length=128),
]
Origin = Annotated[
    str | None,
    QueryParameter(
        name="origin",
        description="Only from this region, such as US-CA; empty: from an unknown one.",
        max_length=64,
    ),
]
Destination = Annotated[
    str | None,
    QueryParameter(
        name="destination",
        description="Only to this region; empty: to one that is not known.",
        max_length=64,
    ),
]
DateBasis = Annotated[
    str, QueryParameter(name="basis", description="Which local date counts: ordered, shipped or delivered.")
]
Since = Annotated[str | None, QueryParameter(name="since", description="From this day on, YYYY-MM-DD.")]
Until = Annotated[str | None, QueryParameter(name="until", description="Up to this day, included.")]
InDays = Annotated[
    str, QueryParameter(name="days", description="calendar, or business: days off are left out of lengths.")
]
Which = Annotated[
    str,
    QueryParameter(name="which", description="What a number says in `rows` or `allRows`.", max_length=128),
]
CsvOrJson = Annotated[
    str | None, QueryParameter(name="format", description="json, or csv: all rows as a file, without pages.")
]


class Asked(Struct, frozen=True):
    """The filter of a request, as text."""

    business_product_id: str | None
    carrier: str | None
    origin: str | None
    destination: str | None
    basis: str
    since: str | None
    until: str | None
    days: str

    def filter(self, caller: Principal) -> Filter:
        """Checked, and within what the caller may see. Raises `Invalid`, `NotFound`."""
        reach = caller.reach(self.business_product_id)
        return Filter(
            None if reach is None else frozenset(reach),
            self.carrier or None,
            self.origin,
            self.destination,
            _basis(self.basis),
            _day(self.since, "since"),
            _day(self.until, "until"),
            _days(self.days),
        )


def _basis(text: str) -> Basis:
    for known in get_args(Basis):
        if text == known:
            return cast("Basis", known)
    raise Invalid(f"basis is {text[:20]!r}; it must be ordered, shipped or delivered", field="basis")


def _days(text: str) -> Days:
    for known in get_args(Days):
        if text == known:
            return cast("Days", known)
    raise Invalid(f"days is {text[:20]!r}; it must be calendar or business", field="days")


def _day(text: str | None, field: str) -> date | None:
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError as e:
        raise Invalid(f"{field} {text[:20]!r} is not a day, YYYY-MM-DD", field=field) from e


def _answer(found: object) -> Response[Any]:
    if isinstance(found, Loading):
        return Response(found, status_code=202, headers={"Retry-After": "1"})
    return Response(found)


@get(
    "/v1/insights",
    summary="Numbers over many parcels",
    tags=["Insights"],
    responses={**problems(404), 200: ResponseSpec(Overview, description="Every number."), 202: _LOADING},
)
async def show_insights(
    context: Hub,
    caller: Caller,
    business_product_id: BusinessProduct = None,
    carrier: Carrier = None,
    origin: Origin = None,
    destination: Destination = None,
    basis: DateBasis = "shipped",
    since: Since = None,
    until: Until = None,
    days: InDays = "calendar",
) -> Response[Any]:
    """Every number, of one cohort at one time. Each says what it was divided by, over how many it was computed, and
    how much of its cohort is decided; those that leave out who is still under way say so and have another beside."""
    asked = Asked(business_product_id, carrier, origin, destination, basis, since, until, days)
    return _answer(await context.insights.overview(asked.filter(caller), context.clock()))


@get(
    "/v1/insights/{metric:str}",
    summary="One metric",
    tags=["Insights"],
    responses={
        **problems(404),
        200: ResponseSpec(Result, description="Its shape is the metric's."),  # type: ignore[arg-type]
        202: _LOADING,
    },
)
async def show_metric(
    context: Hub,
    caller: Caller,
    metric: Annotated[str, PathParameter(description="The metric's name, such as otd.", max_length=64)],
    business_product_id: BusinessProduct = None,
    carrier: Carrier = None,
    origin: Origin = None,
    destination: Destination = None,
    basis: DateBasis = "shipped",
    since: Since = None,
    until: Until = None,
    days: InDays = "calendar",
) -> Response[Any]:
    """One number, distribution or table. A name that there is none of is answered with those there are."""
    asked = Asked(business_product_id, carrier, origin, destination, basis, since, until, days)
    return _answer(await context.insights.metric(metric, asked.filter(caller), context.clock()))


@get(
    "/v1/insights/rows",
    summary="The parcels behind a number",
    tags=["Insights"],
    responses={
        **problems(404),
        200: ResponseSpec(Rows, description="A page of them, or all as CSV."),
        202: _LOADING,
    },
)
async def show_rows(
    context: Hub,
    caller: Caller,
    request: Request[Any, Any, Any],
    which: Which = "all",
    business_product_id: BusinessProduct = None,
    carrier: Carrier = None,
    origin: Origin = None,
    destination: Destination = None,
    basis: DateBasis = "shipped",
    since: Since = None,
    until: Until = None,
    days: InDays = "calendar",
    in_format: CsvOrJson = None,
    after: After = None,
    limit: Limit = 100,
) -> Response[Any]:
    """Ask with the filter that the number was asked with. As CSV (`format=csv`, or `Accept: text/csv`) all of them
    are sent, without pages."""
    asked = Asked(business_product_id, carrier, origin, destination, basis, since, until, days).filter(caller)
    if in_format not in (None, "json", "csv"):
        raise Invalid(f"format is {in_format[:20]!r}; it must be json or csv", field="format")
    now = context.clock()
    if in_format == "csv" or (in_format is None and "text/csv" in request.headers.get("accept", "")):
        pieces = await context.insights.csv(which, asked, now)
        if isinstance(pieces, Loading):
            return _answer(pieces)
        saved = {"Content-Disposition": 'attachment; filename="parcels.csv"'}
        return Streamed(while_good(context, caller, pieces), media_type=_CSV, headers=saved)
    size = min(page_size(limit), MOST_ROWS)
    return _answer(await context.insights.rows(which, asked, now, after, size))


HANDLERS = [show_insights, show_rows, show_metric]
