"""Forms: reading what a page of the console sent, and nobody else; and answering with another page.

A form is taken only from the console itself: it carries its visitor's token, and a browser that says where it comes
from says so. So a page of another site cannot send one with a visitor's cookie.
"""

import asyncio
import hmac
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from litestar import Request, Response

from milepost.domain.errors import Forbidden
from milepost.pipeline.projector import NAME as PROJECTOR
from milepost.web.context import Context
from milepost.web.visiting import Visitor

SAME = frozenset({"same-origin", "none"})


async def read_form(request: Request[Any, Any, Any], visitor: Visitor) -> Mapping[str, str]:
    """The fields of a form (the first value of each). Raises `Forbidden` for one that another site sent."""
    fields = await _fields(request)
    if request.headers.get("sec-fetch-site", "same-origin") not in SAME or not visitor.form_token:
        raise Forbidden("This form did not come from a page of this console.")
    if not hmac.compare_digest(fields.pop("form_token", "").encode(), visitor.form_token.encode()):
        raise Forbidden("This form is too old or not yours. Go back, reload the page and send it again.")
    return fields


async def read_strangers_form(request: Request[Any, Any, Any], public_url: str | None) -> Mapping[str, str]:
    """The fields of a form of somebody who has not signed in, so that it cannot carry a token: what the browser says
    of where it comes from must be here. Raises `Forbidden`: another site could sign somebody in as somebody else."""
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:
        ours = site in SAME
    else:
        # Every browser that does not say so much names at least the origin of a form.
        hosts = {request.headers.get("host", ""), urlsplit(public_url or "").netloc}
        ours = origin is None or urlsplit(origin).netloc in hosts - {""}
    if not ours:
        raise Forbidden("This form did not come from a page of this console.")
    return await _fields(request)


async def _fields(request: Request[Any, Any, Any]) -> dict[str, str]:
    form = await request.form()
    fields: dict[str, str] = {}
    for name, value in form.multi_items():
        if isinstance(value, str):
            fields.setdefault(name, value)
    return fields


def see_other(path: str) -> Response[str]:
    """Go on at another page, which a reload shows again without sending the form again."""
    return Response("", status_code=303, media_type="text/html", headers={"Location": path})


async def see_folded(context: Context, path: str) -> Response[str]:
    """The same once everything journalled so far is folded, so that the page shows what the form wrote; where folding
    lags further behind than `fold_wait_s`, without it."""
    until = await context.store.read(lambda tx: tx.journal.last_position())
    pause, loop = 0.01, asyncio.get_running_loop()
    deadline = loop.time() + context.fold_wait_s
    while loop.time() < deadline and not context.closing.is_set():
        if await context.store.read(lambda tx: tx.journal.checkpoint(PROJECTOR)) >= until:
            break
        await asyncio.sleep(pause)
        pause *= 2
    return see_other(path)
