"""`/attempts/{message}`: one message to a subscriber: what was sent, every try and its answer; sending it again."""

from typing import Annotated, Any

from litestar import Request, Response, get, post
from litestar.params import PathParameter

from milepost.domain.errors import Conflict
from milepost.web.attempts import MessageDocument, get_message, resend_message
from milepost.web.console.acting import acting, said
from milepost.web.console.event_facts import pretty, quoted
from milepost.web.console.forms import read_form, see_other
from milepost.web.console.pages import ERRORS, page
from milepost.web.console.telling import tell_of_message
from milepost.web.context import Context, Hub
from milepost.web.visiting import Looking, Visitor, needs

MessageId = Annotated[str, PathParameter(max_length=256)]


@get("/attempts/{message_id:str}", opt=needs("operate"), exception_handlers=ERRORS, include_in_schema=False)
async def message(
    context: Hub, request: Request[Any, Any, Any], visitor: Looking, message_id: MessageId
) -> Response[str]:
    return await _page(context, request, visitor, message_id)


async def _page(
    context: Context, request: Request[Any, Any, Any], visitor: Visitor, message_id: str, error: str = ""
) -> Response[str]:
    found: MessageDocument = await get_message.fn(context, acting(visitor), message_id)
    subscriber = await context.store.read(lambda tx: tx.attempts.destination(found.subscriber_id))
    kind = await context.store.read(lambda tx: tx.journal.records([found.position]).get(found.position))
    return page(
        request,
        visitor,
        "attempt.html",
        now=context.clock(),
        status=409 if error else 200,
        message=found,
        subscriber=subscriber,
        of_event=kind is not None and kind.kind in ("event", "conflict"),
        body=None if found.body is None else pretty(found.body.encode()),
        done=request.query_params.get("done", ""),
        error=error,
    )


@post(
    "/attempts/{message_id:str}/resend",
    opt=needs("operate"),
    exception_handlers=ERRORS,
    include_in_schema=False,
)
async def resend(
    context: Hub, request: Request[Any, Any, Any], visitor: Looking, message_id: MessageId
) -> Response[str]:
    await read_form(request, visitor)
    try:
        again = await resend_message.fn(context, acting(visitor), message_id)
    except Conflict as e:
        return await _page(context, request, visitor, message_id, said(e))
    await tell_of_message(context, visitor, again.id, again.subscriber_id, again.position)
    return see_other(f"/attempts/{quoted(message_id)}?done=resent")


HANDLERS = [message, resend]
