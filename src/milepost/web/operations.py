"""`/v1/quarantine`, `/v1/hydration`, `/v1/failures`: what did not go by itself, and setting it going again."""

import base64
from typing import Annotated, Any

import structlog
from litestar import get, post
from litestar.params import JSONBody, PathParameter, QueryParameter

from milepost.domain.errors import Conflict, Invalid, NotFound
from milepost.domain.instant import format_instant
from milepost.store import Ask, FailedFold, Quarantined, Transaction
from milepost.web.authentication import OPERATE, Caller, Principal
from milepost.web.context import Hub
from milepost.web.documents import Document
from milepost.web.paging import After, Limit, Page, cut, decode_cursor, page_size
from milepost.web.problems import BODY_HANDLERS, problems
from milepost.web.reading import BusinessProduct

EntryId = Annotated[int, PathParameter(description="The entry's id.")]

log = structlog.get_logger()


class QuarantineItem(Document):
    """What came in and could not be read, or was not allowed in."""

    id: int
    received_at: str
    road: str
    code: str
    reason: str
    """Why, for people."""
    size: int
    """Bytes of the body."""
    business_product_ids: list[str]
    """Those that the sender's credential was bound to; empty when it was bound to all."""
    released_at: str | None
    position: int | None
    """Where its record is, once it was released."""


class QuarantineEntry(QuarantineItem):
    """A quarantined body as received: as text, or in base64 when it isn't UTF-8."""

    body: str | None
    body_base64: str | None


class ReleaseReceipt(Document):
    """What became of a released body."""

    status: str
    """accepted or duplicate."""
    position: int


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


@get("/v1/quarantine", summary="List what could not be read", tags=["Operations"], responses=problems())
async def list_quarantine(
    context: Hub,
    caller: Caller,
    released: Annotated[
        bool | None,
        QueryParameter(name="released", description="Only released ones, or only those that are not."),
    ] = None,
    after: After = None,
    limit: Limit = 100,
) -> Page[QuarantineItem]:
    """Bodies in quarantine, oldest first. A key that is bound to business products sees what came from senders
    bound to nothing beyond them, since a body that can't be read may be about any of a sender's."""
    size, start = page_size(limit), 0 if after is None else decode_cursor("quarantine", after, int)
    reach = caller.business_products
    rows = await context.store.read(lambda tx: tx.journal.quarantined(start, size + 1, reach, released))
    return cut("quarantine", rows, size, lambda row: row.id, lambda row: QuarantineItem(**_entry(row)))


@get(
    "/v1/quarantine/{entry_id:int}",
    summary="Show a quarantined body",
    tags=["Operations"],
    responses=problems(404),
)
async def get_quarantined(context: Hub, caller: Caller, entry_id: EntryId) -> QuarantineEntry:
    """One entry with its body as received."""
    row = await context.store.read(lambda tx: _visible(tx, entry_id, caller))
    try:
        text, encoded = row.body.decode(), None
    except UnicodeDecodeError:
        text, encoded = None, base64.b64encode(row.body).decode()
    return QuarantineEntry(**_entry(row), body=text, body_base64=encoded)


@post(
    "/v1/quarantine/{entry_id:int}/release",
    summary="Ingest a quarantined body again",
    tags=["Operations"],
    opt=OPERATE,
    status_code=200,
    responses=problems(403, 404),
)
async def release_quarantined(context: Hub, caller: Caller, entry_id: EntryId) -> ReleaseReceipt:
    """After a fix: reads the body anew and journals it. Again on a released one gives the same position and
    counts nothing. Answers 400 `malformed_event` while the body still can't be read; it stays in quarantine."""
    products = tuple(sorted(caller.business_products or ()))
    await context.store.read(lambda tx: _visible(tx, entry_id, caller))
    receipt = await context.ingest.release(entry_id, context.clock(), products)
    log.info(
        "quarantine.released", id=entry_id, by=caller.id, status=receipt.status, position=receipt.position
    )
    return ReleaseReceipt(receipt.status, receipt.position)


def _visible(tx: Transaction, id: int, caller: Principal) -> Quarantined:
    row = tx.journal.quarantine_entry(id) if 0 < id < 2**63 else None
    reach = caller.business_products
    bound = row is not None and bool(row.business_product_ids) and reach is not None
    seen = reach is None or (bound and row is not None and reach.issuperset(row.business_product_ids))
    if row is None or not seen:
        raise NotFound(f"There is no quarantined body {id}.")
    return row


def _entry(row: Quarantined) -> dict[str, Any]:
    return {
        "id": row.id,
        "received_at": format_instant(row.received_at),
        "road": row.road,
        "code": row.code,
        "reason": row.reason,
        "size": len(row.body),
        "business_product_ids": list(row.business_product_ids),
        "released_at": None if row.released_at is None else format_instant(row.released_at),
        "position": row.position,
    }


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
    list_quarantine,
    get_quarantined,
    release_quarantined,
    list_hydration,
    retry_hydration,
    list_failures,
]
