"""`/v1/queues`: what somebody should look at, and what is done about it.

What is in a queue is `domain.queue`'s, its words are `domain.queue_guide`'s, pages are `queue_lists`', actions
`queue_actions`'.
"""

from typing import Annotated, Any

from litestar import Request, Response, get, post
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody, PathParameter, QueryParameter

from milepost.domain.errors import Invalid
from milepost.web.authentication import OPERATE, Caller
from milepost.web.context import Hub
from milepost.web.paging import After, Limit, Page, page_size
from milepost.web.problems import BODY_HANDLERS, problems
from milepost.web.queue_actions import ActionRequest, ActionResult, act
from milepost.web.queue_lists import (
    QueueEntry,
    QueueSummary,
    csv_of,
    queue_of,
    queue_page,
    summaries,
    wanted_items,
)
from milepost.web.reading import BusinessProduct
from milepost.web.streaming import Streamed, while_good

QueueNamed = Annotated[
    str, PathParameter(description="The queue's name, as /v1/queues lists it.", max_length=40)
]


@get("/v1/queues", summary="List work queues", tags=["Queues"], responses=problems(404))
async def list_queues(
    context: Hub, caller: Caller, business_product_id: BusinessProduct = None
) -> Page[QueueSummary]:
    """Every queue with what it means, what to do about it, and how much is open: counted up to 10,000."""
    reach, now = caller.reach(business_product_id), context.clock()
    return Page(await context.store.read(lambda tx: summaries(tx, reach, now)), None)


@get(
    "/v1/queues/{name:str}",
    summary="List what is in a queue",
    tags=["Queues"],
    responses={
        **problems(404),
        200: ResponseSpec(Page[QueueEntry], description="A page of it; with text/csv all of it."),
    },
)
async def get_queue(
    context: Hub,
    caller: Caller,
    request: Request[Any, Any, Any],
    name: QueueNamed,
    business_product_id: BusinessProduct = None,
    carrier: Annotated[
        str | None, QueryParameter(description="Only of this carrier, in any case.", max_length=128)
    ] = None,
    region: Annotated[
        str | None, QueryParameter(description="Only to this region: US-WA, or a country.", max_length=128)
    ] = None,
    older_than_hours: Annotated[
        int | None, QueryParameter(name="olderThanHours", description="Only what began so long ago.")
    ] = None,
    assignee: Annotated[
        str | None,
        QueryParameter(description="Only what this person has; `nobody`: what nobody has.", max_length=200),
    ] = None,
    standing: Annotated[
        str | None,
        QueryParameter(
            name="state", description="open (when left out), snoozed, handled or all.", max_length=16
        ),
    ] = None,
    in_format: Annotated[
        str | None, QueryParameter(name="format", description="csv, or json.", max_length=8)
    ] = None,
    after: After = None,
    limit: Limit = 100,
) -> Response[Any]:
    """What began first comes first. With `Accept: text/csv` or `format=csv` all of it as one file."""
    reach, now = caller.reach(business_product_id), context.clock()
    wanted = wanted_items(
        queue_of(name),
        now,
        carrier=carrier,
        region=region,
        older_than_hours=older_than_hours,
        assignee=assignee,
        standing=standing,
    )
    if in_format not in (None, "csv", "json"):
        raise Invalid("format must be csv or json", field="format")
    if in_format == "csv" or (in_format is None and "text/csv" in request.headers.get("accept", "")):
        saved = {"Content-Disposition": f'attachment; filename="{wanted.queue}.csv"'}
        lines = while_good(context, caller, csv_of(context.store, wanted, reach, now))
        return Streamed(lines, media_type="text/csv", headers=saved)
    size = page_size(limit)
    return Response(await context.store.read(lambda tx: queue_page(tx, wanted, after, size, reach, now)))


@post(
    "/v1/queues/{name:str}/actions",
    summary="Do something to items of a queue",
    tags=["Queues"],
    opt=OPERATE,
    status_code=200,
    exception_handlers=BODY_HANDLERS,
    responses=problems(403, 404, 409),
)
async def act_on_queue(
    context: Hub,
    caller: Caller,
    name: QueueNamed,
    data: JSONBody[ActionRequest],
    business_product_id: BusinessProduct = None,
) -> ActionResult:
    """Up to 200 items at once. What left the queue meanwhile is counted as gone; what could not be done says why."""
    reach = caller.reach(business_product_id)
    return await act(context, queue_of(name), data, reach, caller.id)


HANDLERS = [list_queues, get_queue, act_on_queue]
