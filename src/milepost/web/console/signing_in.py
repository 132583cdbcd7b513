"""`/sign-in`, `/sign-out` and `/setup/{token}`: coming in, going out, setting a password by a one-time link.

Looking at a page changes nothing, so a program that opens links cannot use one up. What happens to tries, sessions
and links is `web.signing_in`'s.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from litestar import Request, Response, get, post
from litestar.params import PathParameter, QueryParameter

from milepost.domain.audit_entry import SIGNED_OUT
from milepost.domain.errors import (
    Conflict,
    Invalid,
    MilepostError,
    Overloaded,
    TooManyRequests,
    Unauthenticated,
)
from milepost.domain.password import complaint
from milepost.domain.user import User
from milepost.store import Transaction
from milepost.web import sessions, signing_in
from milepost.web.audit import audit
from milepost.web.authentication import PUBLIC, signed_in
from milepost.web.console.forms import read_form, read_strangers_form, see_other
from milepost.web.console.pages import ERRORS, page
from milepost.web.context import Context, Hub
from milepost.web.hashing import hashing
from milepost.web.remote import address_of
from milepost.web.signing_in import Browser
from milepost.web.user_actions import new_user
from milepost.web.visiting import SIGNED_IN, Looking

_LONGEST_NEXT = 500
_DIFFERENT = "The two are not the same. Write it once more in both."

Token = Annotated[str, PathParameter(max_length=128)]


@get("/sign-in", opt=PUBLIC, exception_handlers=ERRORS, include_in_schema=False)
async def show_sign_in(
    context: Hub,
    request: Request[Any, Any, Any],
    next: Annotated[str, QueryParameter(name="next", max_length=2_000)] = "/",
) -> Response[str]:
    """The form; for somebody who is signed in already, where they wanted to go."""
    if needs_no_sign_in(context) or await signed_in(context, request) is not None:
        return see_other(within(next))
    return await _sign_in_page(context, request, within(next))


@post("/sign-in", opt=PUBLIC, exception_handlers=ERRORS, include_in_schema=False)
async def sign_in(context: Hub, request: Request[Any, Any, Any]) -> Response[str]:
    """On to where they wanted to go, or the form again, saying no more than that something is wrong."""
    fields = await read_strangers_form(request, context.public_url)
    there, name = within(fields.get("next", "/")), fields.get("name", "").strip()
    if needs_no_sign_in(context):
        return see_other(there)
    try:
        password = fields.get("password", "")
        token = await signing_in.sign_in(context, name, password, browser_of(context, request))
    except Unauthenticated as e:
        return await _sign_in_page(context, request, there, name, e, 401)
    except TooManyRequests as e:
        return await _sign_in_page(context, request, there, name, e, 429)
    except Overloaded as e:
        return await _sign_in_page(context, request, there, name, e, 503)
    return sessions.give(context, request, see_other(there), token)


@post("/sign-out", opt=SIGNED_IN, exception_handlers=ERRORS, include_in_schema=False)
async def sign_out(context: Hub, request: Request[Any, Any, Any], visitor: Looking) -> Response[str]:
    """Ends the session, here and in the browser."""
    await read_form(request, visitor)
    token, now = sessions.token_in(context, request), context.clock()

    def write(tx: Transaction) -> None:
        found = None if token is None else sessions.found(tx, token, now)
        if found is not None:
            tx.users.end_sessions(found.user.id, [found.session.id])
            product = signing_in.product_of(found.user)
            audit(tx, visitor, SIGNED_OUT, found.user.id, at=now, business_product_id=product)

    await context.store.write(write)
    return sessions.take(context, request, see_other("/sign-in"))


@get("/setup/{token:str}", opt=PUBLIC, exception_handlers=ERRORS, include_in_schema=False)
async def show_setup(context: Hub, request: Request[Any, Any, Any], token: Token) -> Response[str]:
    """The form to set a password. It may be looked at as often as anybody wants."""
    _, user = await context.store.read(lambda tx: signing_in.invited(tx, token, context.clock()))
    return _setup_page(context, request, user, {}, {})


@post("/setup/{token:str}", opt=PUBLIC, exception_handlers=ERRORS, include_in_schema=False)
async def set_up(context: Hub, request: Request[Any, Any, Any], token: Token) -> Response[str]:
    """Sets the password, uses the link up, and signs in. Nothing is hashed for a link that is not good."""
    fields, now = await read_strangers_form(request, context.public_url), context.clock()
    _, known = await context.store.read(lambda tx: signing_in.invited(tx, token, now))
    wrong: dict[str, str] = {}
    user = known or _first_admin(context, fields, wrong)
    wrong |= password_complaints(fields, user.sign_in_name if user else "")
    if wrong or user is None:
        return _setup_page(context, request, known, fields, wrong)
    hashed, session = await hashing.hash(fields["password"]), sessions.new_token()
    browser = browser_of(context, request)
    await context.store.write(
        lambda tx: signing_in.set_by_link(tx, token, user, hashed, session, browser, now)
    )
    return sessions.give(context, request, see_other("/"), session)


def needs_no_sign_in(context: Context) -> bool:
    """Whether this hub lets everybody on its machine in."""
    return context.insecure and context.admin_key is None


def within(path: str) -> str:
    """A path of this console, to go on to; `/` for what leads anywhere else."""
    is_path = path.startswith("/") and not path.startswith(("//", "/\\")) and len(path) <= _LONGEST_NEXT
    return path if is_path and path.isprintable() and "\\" not in path and path.isascii() else "/"


def browser_of(context: Context, request: Request[Any, Any, Any]) -> Browser:
    """What somebody signs in with, as far as it tells."""
    name = "".join(each for each in request.headers.get("user-agent", "") if each.isprintable())
    return Browser(name, address_of(request, context.proxies), sessions.token_in(context, request))


def password_complaints(fields: Mapping[str, str], sign_in_name: str) -> dict[str, str]:
    """What is wrong with a new password that was written twice, by field."""
    password = fields.get("password", "")
    wrong = complaint(password, sign_in_name)
    if wrong is not None:
        return {"password": wrong}
    return {} if fields.get("again") == password else {"again": _DIFFERENT}


def _first_admin(context: Context, fields: Mapping[str, str], wrong: dict[str, str]) -> User | None:
    try:
        return new_user(fields.get("name", ""), fields.get("signInName", ""), "admin", (), context.clock())
    except (Invalid, Conflict) as e:
        wrong[str(e.context.get("field", "name"))] = e.detail
        return None


async def _sign_in_page(
    context: Context,
    request: Request[Any, Any, Any],
    there: str,
    name: str = "",
    error: MilepostError | None = None,
    status: int = 200,
) -> Response[str]:
    is_new = not await context.store.read(lambda tx: tx.users.any())
    return page(
        request,
        None,
        "sign_in.html",
        now=context.clock(),
        status=status,
        next=there,
        name=name[:200],
        error=None if error is None else error.detail,
        is_new=is_new,
    )


def _setup_page(
    context: Context,
    request: Request[Any, Any, Any],
    user: User | None,
    fields: Mapping[str, str],
    wrong: Mapping[str, str],
) -> Response[str]:
    given = {name: fields.get(name, "")[:200] for name in ("name", "signInName")}
    status = 400 if wrong else 200
    return page(
        request, None, "setup.html", now=context.clock(), status=status, user=user, given=given, wrong=wrong
    )


HANDLERS = [show_sign_in, sign_in, sign_out, show_setup, set_up]
