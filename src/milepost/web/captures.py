"""`/v1/captures`: the ledger of payments that may be collected, and what whoever collects them does to it.

The states and what leads from one to another are `domain.capture`'s, moving is `pipeline.capturing`'s. The pages of
the list are `capture_lists`'.
"""

from typing import Annotated

import structlog
from litestar import get, post
from litestar.params import JSONBody, PathParameter, QueryParameter
from msgspec import Meta

from milepost.domain.capture import ASKED, Capture, move
from milepost.domain.errors import Conflict, Invalid, NotFound
from milepost.domain.instant import format_instant
from milepost.pipeline.capturing import resend, transition
from milepost.store import Transaction
from milepost.web.authentication import OPERATE, Caller, Principal
from milepost.web.capture_lists import (
    CaptureItem,
    Wanted,
    capture_page,
    deadlines_of,
    ledger_item,
    wanted_states,
)
from milepost.web.context import Context, Hub
from milepost.web.documents import Document
from milepost.web.paging import After, Limit, Page, page_size
from milepost.web.problems import BODY_HANDLERS, problems
from milepost.web.reading import BusinessProduct

CaptureId = Annotated[str, PathParameter(description="The capture's id.", max_length=128)]

log = structlog.get_logger()


class CaptureStep(Document):
    """One step of a capture's life."""

    at: str
    state: str
    by: str
    """projector, publisher, a subscriber's id, or an API key's."""
    reason: str


class CaptureDocument(CaptureItem):
    """A capture with its history."""

    history: list[CaptureStep]
    actions: list[str]
    """What may be done to it now."""


class CaptureRequest(Document, forbid_unknown_fields=True):
    """Why; it stands in the history."""

    reason: Annotated[str, Meta(max_length=500)] = ""


@get("/v1/captures", summary="List captures, oldest first", tags=["Captures"], responses=problems())
async def list_captures(
    context: Hub,
    caller: Caller,
    business_product_id: BusinessProduct = None,
    in_state: Annotated[
        str | None,
        QueryParameter(
            name="state", description="Only in this state; NOT_READY with `expired` alone.", max_length=16
        ),
    ] = None,
    unacknowledged: Annotated[
        bool,
        QueryParameter(
            name="unacknowledged", description="Only what shipped and nobody has said was collected."
        ),
    ] = False,
    expired: Annotated[
        bool,
        QueryParameter(
            name="expired",
            description="Only where the authorization ended before it shipped, shipped by now or not.",
        ),
    ] = False,
    order_id: Annotated[
        str | None, QueryParameter(name="orderId", description="Only of this order.", max_length=512)
    ] = None,
    after: After = None,
    limit: Limit = 100,
) -> Page[CaptureItem]:
    """In the order in which they became ready. A delivery that has not shipped has no capture; with `expired` those
    whose deadline passed come first, as NOT_READY, and a page may be short or empty while `next` is not null."""
    if order_id is not None and expired:
        raise Invalid("orderId and expired do not go together", field="expired")
    reach = caller.reach(business_product_id)
    wanted = Wanted(wanted_states(in_state, unacknowledged, expired), expired, order_id)
    size, now = page_size(limit), context.clock()
    return await context.store.read(lambda tx: capture_page(tx, wanted, after, size, reach, now))


@get("/v1/captures/{capture_id:str}", summary="Show a capture", tags=["Captures"], responses=problems(404))
async def get_capture(context: Hub, caller: Caller, capture_id: CaptureId) -> CaptureDocument:
    """One capture with its evidence, its history, and what may be done to it now."""
    return await context.store.read(lambda tx: _document(tx, _visible(tx, capture_id, caller)))


@post(
    "/v1/captures/{capture_id:str}/acknowledge",
    summary="Say that payment was collected",
    tags=["Captures"],
    opt=OPERATE,
    status_code=200,
    exception_handlers=BODY_HANDLERS,
    responses=problems(403, 404, 409),
)
async def acknowledge(
    context: Hub, caller: Caller, capture_id: CaptureId, data: JSONBody[CaptureRequest | None] = None
) -> CaptureDocument:
    """The end of a capture: it is never sent again. Again changes nothing."""
    return await _move(context, caller, capture_id, "acknowledge", data)


@post(
    "/v1/captures/{capture_id:str}/fail",
    summary="Say that payment could not be collected",
    tags=["Captures"],
    opt=OPERATE,
    status_code=200,
    exception_handlers=BODY_HANDLERS,
    responses=problems(403, 404, 409),
)
async def fail(
    context: Hub, caller: Caller, capture_id: CaptureId, data: JSONBody[CaptureRequest | None] = None
) -> CaptureDocument:
    """It stays to be collected: acknowledge, resend or void it. Again changes nothing."""
    return await _move(context, caller, capture_id, "fail", data)


@post(
    "/v1/captures/{capture_id:str}/hold",
    summary="Hold a capture back",
    tags=["Captures"],
    opt=OPERATE,
    status_code=200,
    exception_handlers=BODY_HANDLERS,
    responses=problems(403, 404, 409),
)
async def hold(
    context: Hub, caller: Caller, capture_id: CaptureId, data: JSONBody[CaptureRequest | None] = None
) -> CaptureDocument:
    """Its message is not sent while it is held. Again changes nothing."""
    return await _move(context, caller, capture_id, "hold", data)


@post(
    "/v1/captures/{capture_id:str}/release",
    summary="Let go of a held capture",
    tags=["Captures"],
    opt=OPERATE,
    status_code=200,
    exception_handlers=BODY_HANDLERS,
    responses=problems(403, 404, 409),
)
async def release(
    context: Hub, caller: Caller, capture_id: CaptureId, data: JSONBody[CaptureRequest | None] = None
) -> CaptureDocument:
    """Back to the state before it was held, and its message goes on. 409 `conflict` when it isn't held."""
    return await _move(context, caller, capture_id, "release", data)


@post(
    "/v1/captures/{capture_id:str}/void",
    summary="Say that payment will not be collected",
    tags=["Captures"],
    opt=OPERATE,
    status_code=200,
    exception_handlers=BODY_HANDLERS,
    responses=problems(403, 404, 409),
)
async def void(
    context: Hub, caller: Caller, capture_id: CaptureId, data: JSONBody[CaptureRequest | None] = None
) -> CaptureDocument:
    """Its message is not sent any more. Again changes nothing."""
    return await _move(context, caller, capture_id, "void", data)


@post(
    "/v1/captures/{capture_id:str}/resend",
    summary="Send a capture's message again",
    tags=["Captures"],
    opt=OPERATE,
    status_code=200,
    responses=problems(403, 404, 409),
)
async def resend_capture(context: Hub, caller: Caller, capture_id: CaptureId) -> CaptureDocument:
    """Under the same id, to every subscriber that has not taken it; once `fail` said that collecting failed, to every
    one. 409 `conflict` when there is none."""
    now = context.clock()

    def write(tx: Transaction) -> CaptureDocument:
        _visible(tx, capture_id, caller)
        return _document(tx, resend(tx, capture_id, now))

    shown = await context.store.write(write)
    context.published()
    log.info("capture.resent", id=capture_id, by=caller.id)
    return shown


async def _move(
    context: Context, caller: Principal, capture_id: str, action: str, data: CaptureRequest | None
) -> CaptureDocument:
    """Do it, or say which actions the capture's state leaves."""
    now, reason = context.clock(), "" if data is None else data.reason.strip()

    def write(tx: Transaction) -> CaptureDocument:
        before = _visible(tx, capture_id, caller)
        try:
            return _document(tx, transition(tx, capture_id, action, caller.id, reason, now))
        except Conflict as e:
            left = _actions(before)
            way_out = f"; what can be done: {', '.join(left)}" if left else "; nothing can be done to it"
            raise Conflict(e.detail + way_out, state=before.state, actions=left) from e

    shown = await context.store.write(write)
    context.published()
    log.info("capture.moved", id=capture_id, action=action, state=shown.state, by=caller.id)
    return shown


def _visible(tx: Transaction, id: str, caller: Principal) -> Capture:
    """The capture of that id, for who may see it. Raises `NotFound`."""
    capture = None if "\x00" in id else tx.ledger.capture(id)
    reach = caller.business_products
    if capture is None or (reach is not None and capture.business_product_id not in reach):
        raise NotFound(f"There is no capture {id!r}. A delivery that has not shipped has none yet.")
    return capture


def _document(tx: Transaction, capture: Capture) -> CaptureDocument:
    item = ledger_item(capture, deadlines_of(tx, [capture]).get(capture.id))
    steps = [
        CaptureStep(format_instant(step.at), step.state, step.by, step.reason) for step in capture.history
    ]
    shown = {name: getattr(item, name) for name in item.__struct_fields__}
    return CaptureDocument(**shown, history=steps, actions=_actions(capture))


def _actions(capture: Capture) -> list[str]:
    """What the table allows in its state, and changes something."""
    found: list[str] = []
    for action in ASKED:
        try:
            after = move(capture, action, "", "", capture.ready_at)  # type: ignore[arg-type]
        except Conflict:
            continue
        if after is not capture:
            found.append(action)
    return found


HANDLERS = [list_captures, get_capture, acknowledge, fail, hold, release, void, resend_capture]
