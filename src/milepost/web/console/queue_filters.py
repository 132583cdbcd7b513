"""Filters of a queue that somebody keeps: kept, renamed, deleted. Sharing one is for those who may serve shoppers."""

import secrets
from typing import Annotated, Any

from litestar import Request, Response, post
from litestar.params import PathParameter

from milepost.domain.errors import Forbidden
from milepost.store import SavedFilter, Transaction
from milepost.web.console.forms import read_form, see_other
from milepost.web.console.pages import ERRORS
from milepost.web.console.queues import Named
from milepost.web.context import Hub
from milepost.web.queue_lists import queue_of
from milepost.web.queue_query import asked_by, asked_of, keep, own_filter, rename
from milepost.web.visiting import Looking, needs

FilterId = Annotated[str, PathParameter(max_length=64)]


@post(
    "/queues/{name:str}/filters",
    opt=needs("orders"),
    status_code=303,
    exception_handlers=ERRORS,
    include_in_schema=False,
)
async def keep_filter(
    context: Hub, request: Request[Any, Any, Any], visitor: Looking, name: Named
) -> Response[str]:
    """Keep the filters that the address has, under a name."""
    form = await read_form(request, visitor)
    asked, now = asked_of(queue_of(name), request.query_params), context.clock()
    visitor.reach(asked.business_product_id)
    shared = form.get("shared") == "on"
    if shared and not visitor.may("serve"):
        raise Forbidden("Your role may keep filters for itself only.", permission="serve")
    chosen, made = form.get("name", ""), f"flt_{secrets.token_hex(8)}"
    await context.store.write(lambda tx: keep(tx, visitor, asked, chosen, made, now, shared=shared))
    return see_other(asked.path(done="kept"))


@post(
    "/queues/{name:str}/filters/{filter_id:str}/rename",
    opt=needs("orders"),
    status_code=303,
    exception_handlers=ERRORS,
    include_in_schema=False,
)
async def rename_filter(
    context: Hub, request: Request[Any, Any, Any], visitor: Looking, name: Named, filter_id: FilterId
) -> Response[str]:
    form = await read_form(request, visitor)
    queue_of(name)
    saved = await context.store.write(lambda tx: rename(tx, visitor, filter_id, form.get("name", "")))
    return see_other(asked_by(saved).path(done="renamed"))


@post(
    "/queues/{name:str}/filters/{filter_id:str}/delete",
    opt=needs("orders"),
    status_code=303,
    exception_handlers=ERRORS,
    include_in_schema=False,
)
async def delete_filter(
    context: Hub, request: Request[Any, Any, Any], visitor: Looking, name: Named, filter_id: FilterId
) -> Response[str]:
    await read_form(request, visitor)
    queue_of(name)

    def remove(tx: Transaction) -> SavedFilter:
        saved = own_filter(tx, visitor, filter_id)
        tx.queues.remove_filter(saved.id)
        return saved

    saved = await context.store.write(remove)
    return see_other(f"/queues/{saved.queue}?done=deleted")


HANDLERS = [keep_filter, rename_filter, delete_filter]
