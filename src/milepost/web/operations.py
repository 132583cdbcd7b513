"""`/v1/hydration`, `/v1/failures`: what did not go by itself, and setting it going again."""

from typing import Annotated

import structlog
from litestar import get, post
from litestar.params import JSONBody, QueryParameter

from milepost.domain.errors import Conflict, Invalid, NotFound
from milepost.domain.instant import format_instant
from milepost.store import Ask, FailedFold, Transaction
from milepost.web.authentication import OPERATE, Caller
from milepost.web.context import Hub
from milepost.web.documents import Document
from milepost.web.paging import After, Limit, Page, cut, decode_cursor, page_size
from milepost.web.problems import BODY_HANDLERS, problems
from milepost.web.reading import BusinessProduct

log = structlog.get_logger()


class HydrationItem(Document):
    """Something that is still being asked of the Buy with Prime API, or was given up."""

    business_product_id: str
    target: str
    """order/{orderId} or tracker/{carrierCode}/{trackingNumber}."""
    state: str
    """open or gaveUp."""
    tries: int
    due_at: str
    priority: int
    waiting: list[int]
    """Positions of the events that wait for the answer; none where it is asked because nothing was heard."""
    error: str


class RetryRequest(Document, forbid_unknown_fields=True):
    """Which ask to try again now."""

    business_product_id: str
    target: str


class FailureItem(Document):
    """A record, or the fold of a subject, that a consumer could not process. It stopped nothing."""

    consumer: str
    position: int
    business_product_id: str
    subject: str
    error: str
    at: str


@get(
    "/v1/hydration",
    summary="List open questions to Buy with Prime",
    tags=["Operations"],
    responses=problems(),
)
async def list_hydration(
    context: Hub,
    caller: Caller,
    business_product_id: BusinessProduct = None,
    in_state: Annotated[str | None, QueryParameter(name="state", description="open or gaveUp.")] = None,
    after: After = None,
    limit: Limit = 100,
) -> Page[HydrationItem]:
    """What thin events left out and the API has not answered yet, and what was given up; by target."""
    if in_state not in (None, "open", "gaveUp"):
        raise Invalid("state must be open or gaveUp", field="state")
    size, reach = page_size(limit), caller.reach(business_product_id)
    start = None if after is None else decode_cursor("hydration", after, tuple[str, str])
    asks = await context.store.read(lambda tx: tx.work.page(start, size + 1, reach, in_state))
    return cut("hydration", asks, size, lambda ask: (ask.business_product_id, ask.target), _ask)


def _ask(ask: Ask) -> HydrationItem:
    return HydrationItem(
        ask.business_product_id,
        ask.target,
        ask.state,
        ask.tries,
        format_instant(ask.due_at),
        ask.priority,
        list(ask.waiting),
        ask.error,
    )


@post(
    "/v1/hydration/retry",
    summary="Ask Buy with Prime again now",
    tags=["Operations"],
    opt=OPERATE,
    status_code=202,
    exception_handlers=BODY_HANDLERS,
    responses=problems(403, 404, 409),
)
async def retry_hydration(context: Hub, caller: Caller, data: JSONBody[RetryRequest]) -> HydrationItem:
    """Makes an open or given-up question due now. Answers with it; what comes of it shows in the views."""
    caller.reach(data.business_product_id)
    key = (data.business_product_id, data.target)

    def read(tx: Transaction) -> Ask | None:
        return tx.work.get([key]).get(key)

    ask: Ask | None = await context.store.read(read)
    if ask is None:
        raise NotFound(f"Nothing is being asked about {data.target!r}.")
    if context.hydrator is None:
        raise Conflict("No Buy with Prime API is configured (BWP_API_URL).")
    await context.hydrator.retry(*key)
    log.info("hydration.retried", by=caller.id, businessProductId=key[0])
    again: Ask | None = await context.store.read(read)
    return _ask(again or ask)


@get("/v1/failures", summary="List folds that failed", tags=["Operations"], responses=problems())
async def list_failures(
    context: Hub,
    caller: Caller,
    business_product_id: BusinessProduct = None,
    after: After = None,
    limit: Limit = 100,
) -> Page[FailureItem]:
    """Records that a consumer could not process, by position."""
    size, reach = page_size(limit), caller.reach(business_product_id)
    start = 0 if after is None else decode_cursor("failure", after, tuple[int, str, str])

    rows = await context.store.read(lambda tx: tx.views.failures(start, size + 1, reach))
    return cut("failure", rows, size, lambda row: (row.position, row.consumer, row.subject), _failure)


def _failure(row: FailedFold) -> FailureItem:
    return FailureItem(
        row.consumer, row.position, row.business_product_id, row.subject, row.error, format_instant(row.at)
    )


HANDLERS = [
    list_hydration,
    retry_hydration,
    list_failures,
]
