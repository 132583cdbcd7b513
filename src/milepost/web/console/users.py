"""`/users`: who may sign in, for admins: invited, changed, disabled, enabled, given a link. As `/v1/users` does it.

A link is shown once, on the page that answers the form which made it; it is kept nowhere.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Final, NamedTuple

from litestar import Request, Response, get, post
from litestar.params import PathParameter, QueryParameter

from milepost.domain.errors import Conflict, Forbidden, Invalid, MilepostError
from milepost.domain.instant import Instant
from milepost.domain.role import ROLES
from milepost.domain.user import User
from milepost.store import Transaction
from milepost.web import user_actions
from milepost.web.audit import entries
from milepost.web.console.forms import read_form, see_other
from milepost.web.console.pages import ERRORS, page
from milepost.web.context import Context, Hub
from milepost.web.sessions import new_token
from milepost.web.user_actions import Manager, Wanted, setup_path
from milepost.web.visiting import Looking, Visitor, needs

ADMIN: Final = needs("admin")
A_PAGE: Final = 100
_RECENT: Final = 10
MOST_OFFERED: Final = 100
"""Business products that a form lists; others can be written."""
TICKED: Final = "product:"
"""What the name of a box begins with."""
MEANINGS: Final = {
    "agent": "Agent: looks orders up and helps shoppers",
    "analyst": "Analyst: looks orders up and reads the metrics",
    "operator": "Operator: all of that, and events, subscribers, mapping",
    "admin": "Admin: everything, users too",
}
DONE: Final = {
    "changed": "Saved. With another role or reach, they have to sign in again.",
    "disabled": "Disabled: they are signed out everywhere, and cannot sign in.",
    "enabled": "Enabled: they can sign in with the password they had.",
}


class Offered(NamedTuple):
    """The business products that a form offers, each with whether it is ticked, and whether others may be written."""

    products: Sequence[tuple[str, bool]]
    others: bool


UserId = Annotated[str, PathParameter(max_length=128)]


@get("/users", opt=ADMIN, exception_handlers=ERRORS, include_in_schema=False)
async def show_users(
    context: Hub,
    request: Request[Any, Any, Any],
    visitor: Looking,
    after: Annotated[str, QueryParameter(name="after", max_length=128)] = "",
) -> Response[str]:
    return await _users_page(context, request, visitor, after)


@post("/users", opt=ADMIN, exception_handlers=ERRORS, include_in_schema=False)
async def invite_user(context: Hub, request: Request[Any, Any, Any], visitor: Looking) -> Response[str]:
    fields = await read_form(request, visitor)
    now, token = context.clock(), new_token()
    try:
        wanted = _wanted(fields)
        name = fields.get("signInName", "")
        user = await context.store.write(
            lambda tx: user_actions.invite(tx, visitor, wanted, name, token, now)
        )
    except (Invalid, Conflict, Forbidden) as e:
        return await _users_page(context, request, visitor, "", fields, e)
    return _link_page(context, request, visitor, user, token)


@get("/users/{user_id:str}", opt=ADMIN, exception_handlers=ERRORS, include_in_schema=False)
async def show_user(
    context: Hub,
    request: Request[Any, Any, Any],
    visitor: Looking,
    user_id: UserId,
    done: Annotated[str, QueryParameter(name="done", max_length=16)] = "",
) -> Response[str]:
    return await _user_page(context, request, visitor, user_id, done=done)


@post("/users/{user_id:str}", opt=ADMIN, exception_handlers=ERRORS, include_in_schema=False)
async def change_user(
    context: Hub, request: Request[Any, Any, Any], visitor: Looking, user_id: UserId
) -> Response[str]:
    fields, now = await read_form(request, visitor), context.clock()
    try:
        wanted = _wanted(fields)
        await context.store.write(lambda tx: user_actions.change(tx, visitor, user_id, wanted, now))
    except (Invalid, Conflict, Forbidden) as e:
        return await _user_page(context, request, visitor, user_id, fields, e)
    return see_other(f"/users/{user_id}?done=changed")


@post("/users/{user_id:str}/disable", opt=ADMIN, exception_handlers=ERRORS, include_in_schema=False)
async def disable_user(
    context: Hub, request: Request[Any, Any, Any], visitor: Looking, user_id: UserId
) -> Response[str]:
    return await _do(context, request, visitor, user_id, user_actions.disable, "disabled")


@post("/users/{user_id:str}/enable", opt=ADMIN, exception_handlers=ERRORS, include_in_schema=False)
async def enable_user(
    context: Hub, request: Request[Any, Any, Any], visitor: Looking, user_id: UserId
) -> Response[str]:
    return await _do(context, request, visitor, user_id, user_actions.enable, "enabled")


@post("/users/{user_id:str}/link", opt=ADMIN, exception_handlers=ERRORS, include_in_schema=False)
async def make_link(
    context: Hub, request: Request[Any, Any, Any], visitor: Looking, user_id: UserId
) -> Response[str]:
    """A link for somebody who forgot the password, or lost the last one. All sessions of theirs end."""
    await read_form(request, visitor)
    now, token = context.clock(), new_token()
    try:
        user = await context.store.write(lambda tx: user_actions.make_link(tx, visitor, user_id, token, now))
    except Conflict as e:
        return await _user_page(context, request, visitor, user_id, error=e)
    return _link_page(context, request, visitor, user, token)


async def _do(
    context: Context,
    request: Request[Any, Any, Any],
    visitor: Visitor,
    user_id: str,
    action: Callable[[Transaction, Manager, str, Instant], User],
    done: str,
) -> Response[str]:
    await read_form(request, visitor)
    now = context.clock()
    try:
        await context.store.write(lambda tx: action(tx, visitor, user_id, now))
    except Conflict as e:
        return await _user_page(context, request, visitor, user_id, error=e)
    return see_other(f"/users/{user_id}?done={done}")


def _wanted(fields: Mapping[str, str]) -> Wanted:
    """What a form says a user is to be. Raises `Invalid`."""
    role = next((each for each in ROLES if each == fields.get("role")), None)
    if role is None:
        raise Invalid("role must be one of those that are listed", field="role")
    products = tuple(_chosen(fields))
    if any(len(each) > 200 or not each.isprintable() for each in products):
        raise Invalid("These are no ids of business products.", field="businessProducts")
    return Wanted(fields.get("name", ""), role, products)


def _chosen(fields: Mapping[str, str]) -> Sequence[str]:
    """The business products that a form names, ticked or written, each once."""
    ticked = [name.removeprefix(TICKED) for name in fields if name.startswith(TICKED)]
    return list(dict.fromkeys((*ticked, *fields.get("businessProducts", "").split())))


def _offered(tx: Transaction, visitor: Visitor, chosen: Sequence[str]) -> Offered:
    """The business products to choose from: those chosen, then those that are known, of the visitor's own."""
    own = visitor.business_products
    known = sorted(tx.journal.business_products() if own is None else own)
    listed = [*chosen, *(product for product in known if product not in chosen)]
    shown = listed[: max(MOST_OFFERED, len(chosen))]
    return Offered(
        [(product, product in chosen) for product in sorted(shown)], own is None or shown != listed
    )


async def _users_page(
    context: Context,
    request: Request[Any, Any, Any],
    visitor: Visitor,
    after: str,
    given: Mapping[str, str] | None = None,
    error: MilepostError | None = None,
) -> Response[str]:
    fields = dict(given or {})
    chosen = _chosen(fields)

    def read(tx: Transaction) -> tuple[list[User], Offered]:
        users = user_actions.visible_users(tx, visitor, after, A_PAGE + 1)
        return users, _offered(tx, visitor, chosen)

    users, offered = await context.store.read(read)
    shown = users[:A_PAGE]
    return page(
        request,
        visitor,
        "users.html",
        now=context.clock(),
        status=200 if error is None else 400,
        users=shown,
        next_href=f"/users?after={shown[-1].id}" if len(users) > A_PAGE else "",
        given=dict.fromkeys(("name", "signInName", "role"), "") | fields,
        offered=offered,
        error=error,
        field="" if error is None else str(error.context.get("field", "")),
        meanings=MEANINGS,
    )


async def _user_page(
    context: Context,
    request: Request[Any, Any, Any],
    visitor: Visitor,
    user_id: str,
    given: Mapping[str, str] | None = None,
    error: MilepostError | None = None,
    done: str = "",
) -> Response[str]:
    def read(tx: Transaction) -> dict[str, Any]:
        user = user_actions.visible_user(tx, visitor, user_id)
        recent = entries(tx, 0, _RECENT, visitor.business_products, user.id, newest_first=True)
        chosen = user.business_products if given is None else _chosen(given)
        return {"user": user, "recent": recent, "offered": _offered(tx, visitor, chosen)}

    content = await context.store.read(read)
    user: User = content["user"]
    now = {"name": user.name, "role": user.role}
    return page(
        request,
        visitor,
        "user.html",
        now=context.clock(),
        status=200 if error is None else (409 if isinstance(error, Conflict) else 400),
        given=now | dict(given or {}),
        error=error,
        said=DONE.get(done, ""),
        meanings=MEANINGS,
        **content,
    )


def _link_page(
    context: Context, request: Request[Any, Any, Any], visitor: Visitor, user: User, token: str
) -> Response[str]:
    base = context.public_url or str(request.base_url)
    link = base.rstrip("/") + setup_path(token)
    return page(request, visitor, "user_link.html", now=context.clock(), user=user, link=link)


HANDLERS = [show_users, invite_user, show_user, change_user, disable_user, enable_user, make_link]
