"""`/`: the console's first page."""

from typing import Any

from litestar import Request, Response, get

from milepost.web.console.pages import ERRORS, page
from milepost.web.context import Hub
from milepost.web.visiting import Looking, needs


@get("/", opt=needs("orders"), exception_handlers=ERRORS, include_in_schema=False)
async def front(context: Hub, request: Request[Any, Any, Any], visitor: Looking) -> Response[str]:
    return page(request, visitor, "front.html", now=context.clock())


HANDLERS = [front]
