"""`/v1/erasures`: asking for personal data to be erased, and how far that is.

What an erasure does, and when, is the pipeline's (`eraser`). An email address that is asked about is looked up and
kept nowhere.
"""

import secrets
from typing import Annotated, Literal

import msgspec
import structlog
from litestar import get, post
from litestar.params import JSONBody, PathParameter, QueryParameter
from msgspec import Meta
from msgspec.structs import replace

from milepost.domain.erasure import MOST_ORDERS, Erasure, task_erasure_id
from milepost.domain.errors import Ambiguous, Conflict, Invalid, NotFound
from milepost.domain.instant import Instant, format_instant
from milepost.pipeline.redacting import COMPACT, orders_by_email, tally
from milepost.store import Transaction, View
from milepost.web.authentication import ADMIN, Caller, Principal
from milepost.web.context import Context, Hub
from milepost.web.documents import Document
from milepost.web.paging import After, Limit, Page, cut, decode_cursor, page_size
from milepost.web.problems import BODY_HANDLERS, problems
from milepost.web.reading import BusinessProduct, Reach, find_view

log = structlog.get_logger()


class ErasureRequest(Document, forbid_unknown_fields=True):
    """Whose data: some orders, or every order of an email address."""

    orders: Annotated[
        list[Annotated[str, Meta(min_length=1, max_length=512)]], Meta(max_length=MOST_ORDERS)
    ] = msgspec.field(default_factory=list)
    email: Annotated[str, Meta(min_length=3, max_length=256)] | None = None
    when: Literal["now", "task"] = "now"
    """`task`: not before Amazon says that its task is completed."""
    task_id: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    """Of the task that you began with Buy with Prime; its events name no order."""


class ErasureDocument(Document):
    """An erasure, and how far it is."""

    id: str
    business_product_id: str
    state: str
    """UNCLAIMED, WAITING, ASKED, REDACTED, REFOLDED or DONE."""
    asked_at: str
    asked_by: str
    """An API key's id, or the position of the event that asked for it."""
    orders: list[str]
    shopper: bool
    """Asked for by email: whatever orders the shopper has when it begins belong to it."""
    records: int
    """How many records were rewritten."""
    done_at: str | None
    task_id: str | None
    task_outcome: str | None
    """COMPLETED or FAILED, once Amazon said so."""
    attention: str | None
    """What somebody has to do for it to go on."""


class ErasureTally(Document):
    """What would be erased."""

    business_product_id: str
    orders: list[str]
    records: int
    """That are about these orders now, those that were rewritten already among them."""
    erased: int
    """How many were."""
    captures: int
    notifications: int


_UNCLAIMED = (
    "Amazon deleted somebody's data: POST /v1/erasures with this taskId says whose orders those were."
)
_UNKNOWN = (
    "A deletion task failed that nobody has told of. Nothing is to be done here until one is completed."
)
_FAILED = "Amazon says that the task failed: begin another one, or erase at once without waiting for it."
_LARGE = (
    "The database file is too large to be written anew without asking (MILEPOST_ERASURE_COMPACT_MB); nobody can write"
    " meanwhile. Say when: milepost erase --compact --yes, or POST /v1/erasures/compaction?confirm=true."
)


@get(
    "/v1/erasures",
    summary="List erasures, oldest first",
    tags=["Erasures"],
    opt=ADMIN,
    responses=problems(403),
)
async def list_erasures(
    context: Hub,
    caller: Caller,
    business_product_id: BusinessProduct = None,
    after: After = None,
    limit: Limit = 100,
) -> Page[ErasureDocument]:
    """Those that are done among them, for good: they are the proof. Tasks of Amazon's that nobody asked for are
    UNCLAIMED."""
    reach, size = caller.reach(business_product_id), page_size(limit)
    start = 0 if after is None else decode_cursor("erasures", after, int)
    rows = await context.store.read(lambda tx: tx.erasures.page(start, size + 1, reach))
    large = await _is_large(context)
    return cut("erasures", rows, size, lambda row: row[0], lambda row: _document(row[1], large))


@get(
    "/v1/erasures/{erasure_id:str}",
    summary="Show an erasure",
    tags=["Erasures"],
    opt=ADMIN,
    responses=problems(403, 404),
)
async def get_erasure(
    context: Hub,
    caller: Caller,
    erasure_id: Annotated[str, PathParameter(description="The erasure's id.", max_length=128)],
) -> ErasureDocument:
    """How far it is."""
    large = await _is_large(context)
    return await context.store.read(lambda tx: _document(_visible(tx, erasure_id, caller), large))


@post(
    "/v1/erasures",
    summary="Ask for personal data to be erased",
    tags=["Erasures"],
    opt=ADMIN,
    exception_handlers=BODY_HANDLERS,
    responses=problems(403, 404, 409),
)
async def ask_erasure(
    context: Hub, caller: Caller, data: JSONBody[ErasureRequest], business_product_id: BusinessProduct = None
) -> ErasureDocument:
    """Answers 201 at once; look at its state. There is no way back. An order that is not known is 404. The same task
    again is the same erasure, of further orders too while it waits."""
    _check(data)
    reach, now = caller.reach(business_product_id), context.clock()

    def write(tx: Transaction) -> Erasure:
        product, orders = _wanted(tx, data, reach)
        erasure = _asked(tx, data, Erasure("", product, "ASKED", now, caller.id, orders))
        tx.erasures.put(erasure)
        return erasure

    erasure = await context.store.write(write)
    _begin(context)
    log.info("erasure.asked", id=erasure.id, state=erasure.state, orders=len(erasure.orders), by=caller.id)
    return _document(erasure)


@post(
    "/v1/erasures/preview",
    summary="Count what would be erased",
    tags=["Erasures"],
    opt=ADMIN,
    status_code=200,
    exception_handlers=BODY_HANDLERS,
    responses=problems(403, 404, 409),
)
async def preview_erasure(
    context: Hub, caller: Caller, data: JSONBody[ErasureRequest], business_product_id: BusinessProduct = None
) -> ErasureTally:
    """Changes nothing."""
    _check(data)
    reach = caller.reach(business_product_id)

    def read(tx: Transaction) -> ErasureTally:
        product, orders = _wanted(tx, data, reach)
        return ErasureTally(product, list(orders), *tally(tx, product, orders))

    return await context.store.read(read)


@post(
    "/v1/erasures/compaction",
    summary="Let the database go of erased bytes now",
    tags=["Erasures"],
    opt=ADMIN,
    status_code=202,
    responses=problems(403),
)
async def compact(
    context: Hub,
    caller: Caller,
    confirm: Annotated[
        bool, QueryParameter(name="confirm", description="Say that nobody need write for a while.")
    ] = False,
) -> None:
    """A SQLite file is written anew, however large it is; events that come meanwhile wait, or are answered 503 and
    sent again."""
    if caller.business_products is not None:
        raise NotFound("The database is of all business products; this key is bound to some.")
    if not confirm:
        raise Invalid(
            "confirm must be true: nobody can write while the file is written anew", field="confirm"
        )
    now = context.clock()
    await context.store.write(lambda tx: tx.journal.set_checkpoint(COMPACT, now))
    _begin(context)


def _check(data: ErasureRequest) -> None:
    if bool(data.orders) == (data.email is not None):
        raise Invalid("Name orders or an email, one of the two.", field="orders")
    if (data.when == "task") != (data.task_id is not None):
        raise Invalid('`taskId` goes with `"when": "task"`.', field="taskId")


def _wanted(tx: Transaction, data: ErasureRequest, reach: Reach) -> tuple[str, tuple[str, ...]]:
    """The business product and the orders. Raises `NotFound` and `Ambiguous`."""
    if data.email is not None:
        views: list[View] = orders_by_email(tx, reach, data.email)
        if not views:
            raise NotFound("No order of that email address is known.")
    else:
        views = [find_view(tx, "order", order, reach) for order in dict.fromkeys(data.orders)]
    products = sorted({view.business_product_id for view in views})
    if len(products) > 1:
        raise Ambiguous(
            "The orders are of several business products; say which with ?businessProductId=.",
            businessProductIds=products,
        )
    if len(views) > MOST_ORDERS:
        raise Invalid(
            f"There are more than {MOST_ORDERS} orders; name some of them at a time.", field="email"
        )
    return products[0], tuple(view.id for view in views)


def _asked(tx: Transaction, data: ErasureRequest, wanted: Erasure) -> Erasure:
    """The erasure to be kept; of a task that was heard of, or asked for, already: that one, moved on."""
    wanted = replace(wanted, shopper=data.email is not None, position=tx.journal.last_position())
    if data.task_id is None:
        return replace(wanted, id=f"era_{secrets.token_hex(12)}")
    name = task_erasure_id(wanted.business_product_id, data.task_id)
    known = tx.erasures.get(name)
    if known is None:
        return replace(wanted, id=name, task_id=data.task_id, state="WAITING")
    if known.state not in ("UNCLAIMED", "WAITING"):
        if known.orders == wanted.orders:
            return known
        raise Conflict(f"The erasure of task {data.task_id!r} has begun; ask for other orders on their own.")
    orders = tuple(dict.fromkeys((*known.orders, *wanted.orders)))
    if len(orders) > MOST_ORDERS:
        raise Conflict(
            f"The erasure of task {data.task_id!r} would be of more than {MOST_ORDERS} orders;"
            " ask for these on their own."
        )
    return replace(
        wanted,
        id=name,
        orders=orders,
        shopper=wanted.shopper or known.shopper,
        task_id=data.task_id,
        state="ASKED" if known.task_outcome == "COMPLETED" else "WAITING",
        task_outcome=known.task_outcome,
    )


def _visible(tx: Transaction, id: str, caller: Principal) -> Erasure:
    erasure = None if "\x00" in id else tx.erasures.get(id)
    reach = caller.business_products
    if erasure is None or (reach is not None and erasure.business_product_id not in reach):
        raise NotFound(f"There is no erasure {id!r}.")
    return erasure


async def _is_large(context: Context) -> bool:
    """Whether the database is written anew only when somebody asks for it."""
    return context.eraser is not None and await context.store.size() > context.eraser.largest


def _begin(context: Context) -> None:
    """Let this hub look now, if it is the one that erases; another looks within seconds."""
    if context.eraser is not None:
        context.eraser.nudge()


def _attention(erasure: Erasure, large: bool) -> str | None:
    failed = erasure.task_outcome == "FAILED"
    if erasure.state == "UNCLAIMED":
        return _UNKNOWN if failed else _UNCLAIMED
    if erasure.state == "WAITING":
        return _FAILED if failed else None
    return _LARGE if erasure.state == "REFOLDED" and large else None


def _document(erasure: Erasure, large: bool = False) -> ErasureDocument:
    return ErasureDocument(
        erasure.id,
        erasure.business_product_id,
        erasure.state,
        format_instant(erasure.asked_at),
        erasure.asked_by,
        list(erasure.orders),
        erasure.shopper,
        erasure.records,
        _time(erasure.done_at),
        erasure.task_id or None,
        erasure.task_outcome or None,
        _attention(erasure, large),
    )


def _time(at: Instant | None) -> str | None:
    return None if at is None else format_instant(at)


HANDLERS = [list_erasures, get_erasure, ask_erasure, preview_erasure, compact]
