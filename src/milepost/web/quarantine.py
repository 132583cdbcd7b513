"""`/v1/quarantine`: bodies that could not be read or were not allowed in, and letting them in after all.

A body is released as it came, after a fix of Milepost, or mended by hand; either way it goes the way that every event
goes, once. Or it is dismissed: it stays, and nobody has to look at it again.
"""

import base64
from typing import Annotated, Any

import structlog
from litestar import get, post
from litestar.params import JSONBody, PathParameter, QueryParameter
from msgspec import Meta

from milepost.domain.errors import Conflict, NotFound
from milepost.domain.instant import format_instant
from milepost.store import Quarantined, Transaction
from milepost.web.authentication import OPERATE, Caller, Principal
from milepost.web.context import Context, Hub
from milepost.web.documents import Document
from milepost.web.paging import After, Limit, Page, cut, decode_cursor, page_size
from milepost.web.problems import BODY_HANDLERS, problems

LARGEST_MENDED = 4 * 1024 * 1024
"""Bytes of a request with a mended body: the largest event, escaped."""

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
    dismissed_at: str | None
    """When somebody said that nothing is to be done about it."""
    handled_by: str | None
    """Who released or dismissed it."""


class QuarantineEntry(QuarantineItem):
    """A quarantined body as received: as text, or in base64 when it isn't UTF-8."""

    body: str | None
    body_base64: str | None


class Retry(Document, forbid_unknown_fields=True):
    """What to ingest in the place of a quarantined body."""

    body: Annotated[str, Meta(min_length=1)] | None = None
    """The event, mended; the body as it came without it."""


class ReleaseReceipt(Document):
    """What became of a released body."""

    status: str
    """accepted or duplicate."""
    position: int


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
    row = await context.store.read(lambda tx: visible_entry(tx, entry_id, caller))
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
    return await retry(context, caller, entry_id, None)


@post(
    "/v1/quarantine/{entry_id:int}/retry",
    summary="Ingest a quarantined body, mended",
    tags=["Operations"],
    opt=OPERATE,
    status_code=200,
    exception_handlers=BODY_HANDLERS,
    responses=problems(403, 404),
    request_max_body_size=LARGEST_MENDED,
)
async def retry_quarantined(
    context: Hub, caller: Caller, entry_id: EntryId, data: JSONBody[Retry]
) -> ReleaseReceipt:
    """As release, with `body` in the place of what came. The original stays in quarantine beside the record, with
    who mended it. Answers 400 `malformed_event` for a body that can't be read either."""
    return await retry(context, caller, entry_id, None if data.body is None else data.body.encode())


async def retry(context: Context, caller: Principal, entry_id: int, body: bytes | None) -> ReleaseReceipt:
    """Ingest a quarantined body, or `body` in its place. Raises `NotFound`, `Malformed`, `UnboundBusinessProduct`."""
    products = tuple(sorted(caller.business_products or ()))
    await context.store.read(lambda tx: visible_entry(tx, entry_id, caller))
    receipt = await context.ingest.release(entry_id, context.clock(), products, body=body, by=caller.id)
    log.info(
        "quarantine.released",
        id=entry_id,
        by=caller.id,
        mended=body is not None,
        status=receipt.status,
        position=receipt.position,
    )
    return ReleaseReceipt(receipt.status, receipt.position)


@post(
    "/v1/quarantine/{entry_id:int}/dismiss",
    summary="Say that nothing is to be done about a quarantined body",
    tags=["Operations"],
    opt=OPERATE,
    status_code=200,
    responses=problems(403, 404, 409),
)
async def dismiss_quarantined(context: Hub, caller: Caller, entry_id: EntryId) -> QuarantineItem:
    """It stays readable and counted, and can still be released."""
    now = context.clock()

    def write(tx: Transaction) -> Quarantined:
        visible_entry(tx, entry_id, caller)
        if not tx.journal.dismiss(entry_id, now, caller.id):
            raise Conflict("This body was released or dismissed already.")
        return visible_entry(tx, entry_id, caller)

    row = await context.store.write(write)
    log.info("quarantine.dismissed", id=entry_id, by=caller.id)
    return QuarantineItem(**_entry(row))


def visible_entry(tx: Transaction, id: int, caller: Principal) -> Quarantined:
    """Raises `NotFound`, also for what came from a sender that was bound to more than the caller is."""
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
        "dismissed_at": None if row.dismissed_at is None else format_instant(row.dismissed_at),
        "handled_by": row.handled_by or None,
    }


HANDLERS = [
    list_quarantine,
    get_quarantined,
    release_quarantined,
    retry_quarantined,
    dismiss_quarantined,
]
