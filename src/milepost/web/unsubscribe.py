"""`/unsubscribe/{token}`: where a shopper ends notifications, or picks which ones to get.

The link stands in every mail and needs no key: the token says whose choices they are and names no address. Looking
changes nothing, since scanners and mail programs open links unasked; a form does, or the one click of a mail program
(RFC 8058: a POST of `List-Unsubscribe=One-Click`). The page is `milepost.shopper.choosing`'s, what a pick means is
`domain.choosing`'s.
"""

from typing import Annotated, Any

import structlog
from litestar import Request, Response, get, post
from litestar.params import PathParameter, QueryParameter

from milepost.domain.choosing import offered, picked, silenced
from milepost.domain.contact import ALL, Choices, read_unsubscribe
from milepost.domain.errors import Invalid, NotFound
from milepost.shopper.catalogues import LOCALES
from milepost.shopper.choosing import State, choosing_page, no_such_page
from milepost.shopper.page import StyledPage
from milepost.store import Transaction
from milepost.web.authentication import PUBLIC
from milepost.web.choices import choose, chosen
from milepost.web.context import Context, Hub
from milepost.web.problems import problems
from milepost.web.shopper_pages import HTML, accepted, answer

ONE_CLICK = ("List-Unsubscribe", "One-Click")
"""The field and value of RFC 8058."""

Token = Annotated[str, PathParameter(description="The link's token.", max_length=4_096)]

log = structlog.get_logger()


def _no_link(request: Request[Any, Any, Any], error: NotFound) -> Response[str]:
    """For a person: the page for a link that is not good."""
    context: Context = request.app.state.context
    locale = accepted(request) or context.shop.locale
    return answer(no_such_page(locale, context.shop.brand), 404)


@get(
    "/unsubscribe/{token:str}",
    summary="Show a shopper what they may switch off",
    tags=["Notifications"],
    opt=PUBLIC,
    media_type=HTML,
    exception_handlers={NotFound: _no_link},
    responses=problems(404),
)
async def show_choices(
    context: Hub,
    request: Request[Any, Any, Any],
    token: Token,
    saved: Annotated[
        bool, QueryParameter(name="saved", description="Whether a choice was just saved.")
    ] = False,
) -> Response[str]:
    """A page in the shopper's language, without a script. It changes nothing, however often it is fetched."""
    key = read_unsubscribe(context.tracking_secrets, token, context.clock())
    found = await context.store.read(lambda tx: chosen(tx, [key]))
    return answer(_page(context, request, found, "saved" if saved else "asking"))


@post(
    "/unsubscribe/{token:str}",
    summary="End a shopper's notifications, or change which they get",
    tags=["Notifications"],
    opt=PUBLIC,
    media_type=HTML,
    status_code=200,
    exception_handlers={NotFound: _no_link},
    responses=problems(404),
)
async def change_choices(context: Hub, request: Request[Any, Any, Any], token: Token) -> Response[str]:
    """A form: `List-Unsubscribe=One-Click` (RFC 8058) or `wanted=nothing` ends all; `wanted=these` with a `group`
    for each group that is wanted, and `locale`, picks. 303 back to the page, for the one click 200. Again changes
    nothing."""
    key = read_unsubscribe(context.tracking_secrets, token, context.clock())
    form, now, kinds = await request.form(), context.clock(), context.shop.kinds
    one_click = form.get(ONE_CLICK[0]) == ONE_CLICK[1]
    wanted = "nothing" if one_click else form.get("wanted")
    if wanted not in ("nothing", "these"):
        raise Invalid("wanted must be nothing or these", field="wanted")
    groups = [group for group in form.getall("group", []) if isinstance(group, str)]
    locale = next((each for each in LOCALES if each == form.get("locale")), None)

    def write(tx: Transaction) -> Choices:
        before = chosen(tx, [key])
        if wanted == "nothing":
            after = silenced(before, now)
        else:
            after = picked(before, kinds, groups, locale or before.locale, now)
        if after != before:
            choose(tx, [key], after)
        return after

    after = await context.store.write(write)
    log.info("choices.changed", recipient=key[1], by="shopper", all_off=ALL in after.off)
    if one_click:
        return answer(_page(context, request, after, "saved"))
    return Response("", status_code=303, media_type=HTML, headers={"Location": "?saved=true"})


def _page(context: Context, request: Request[Any, Any, Any], choices: Choices, state: State) -> StyledPage:
    locale = choices.locale or accepted(request) or context.shop.locale
    groups = offered(choices, context.shop.kinds)
    silent: State = "silent" if ALL in choices.off else state
    return choosing_page(locale, context.shop.brand, groups, silent, blocked=bool(choices.blocked))


HANDLERS = [show_choices, change_choices]
