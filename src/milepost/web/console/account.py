"""`/account`: one's own account: who one is here, another password, where one is signed in."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

from litestar import Request, Response, get, post
from litestar.params import PathParameter, QueryParameter

from milepost.domain.audit_entry import SESSION_ENDED
from milepost.domain.errors import Forbidden, NotFound
from milepost.domain.instant import Instant
from milepost.domain.session import MOST, is_over
from milepost.domain.user import User
from milepost.store import Transaction
from milepost.web import sessions, signing_in
from milepost.web.audit import audit
from milepost.web.console.forms import read_form, see_other
from milepost.web.console.pages import ERRORS, page
from milepost.web.console.signing_in import browser_of, password_complaints
from milepost.web.context import Context, Hub
from milepost.web.hashing import hashing
from milepost.web.visiting import SIGNED_IN, Looking, Visitor

DONE: Final = {
    "password": "Your password was changed, and you are signed out everywhere else.",
    "ended": "That session has ended.",
    "others": "You are signed out everywhere else.",
}

_BROWSERS: Final = (
    *(
        ("Edg", "Edge"),
        ("OPR/", "Opera"),
        ("Firefox/", "Firefox"),
        ("FxiOS/", "Firefox"),
        ("CriOS/", "Chrome"),
    ),
    *(("Chrome/", "Chrome"), ("Safari/", "Safari")),
)
"""Each one says it is those that follow, too."""
_SYSTEMS: Final = (
    *(("Android", "Android"), ("iPhone", "iPhone"), ("iPad", "iPad"), ("Windows", "Windows")),
    *(("Mac OS", "Mac"), ("CrOS", "ChromeOS"), ("Linux", "Linux")),
)


@get("/account", opt=SIGNED_IN, exception_handlers=ERRORS, include_in_schema=False)
async def show_account(
    context: Hub,
    request: Request[Any, Any, Any],
    visitor: Looking,
    done: Annotated[str, QueryParameter(name="done", max_length=16)] = "",
) -> Response[str]:
    return await _account_page(context, request, visitor, done=done)


@post("/account/password", opt=SIGNED_IN, exception_handlers=ERRORS, include_in_schema=False)
async def change_password(context: Hub, request: Request[Any, Any, Any], visitor: Looking) -> Response[str]:
    """Wants the password that was; then every session ends, and a new one begins here."""
    fields = await read_form(request, visitor)
    user = await context.store.read(lambda tx: _self(tx, visitor))
    browser, now = browser_of(context, request), context.clock()
    wrong = password_complaints(fields, user.sign_in_name)
    if not wrong and not await signing_in.confirm(context, user, fields.get("current", ""), browser.address):
        wrong = {"current": "This is not your password."}
    if wrong:
        return await _account_page(context, request, visitor, wrong)
    hashed, token = await hashing.hash(fields["password"]), sessions.new_token()
    await context.store.write(lambda tx: signing_in.change_password(tx, user, hashed, token, browser, now))
    return sessions.give(context, request, see_other("/account?done=password"), token)


@post(
    "/account/sessions/{session_id:str}/end",
    opt=SIGNED_IN,
    exception_handlers=ERRORS,
    include_in_schema=False,
)
async def end_session(
    context: Hub,
    request: Request[Any, Any, Any],
    visitor: Looking,
    session_id: Annotated[str, PathParameter(max_length=64)],
) -> Response[str]:
    """One of one's own."""
    await read_form(request, visitor)
    now = context.clock()

    def write(tx: Transaction) -> None:
        user = _self(tx, visitor)
        if not tx.users.end_sessions(user.id, [session_id]):
            raise NotFound("There is no such session, or it has ended already.")
        _ended(tx, visitor, user, now)

    await context.store.write(write)
    return see_other("/account?done=ended")


@post("/account/sessions/end-others", opt=SIGNED_IN, exception_handlers=ERRORS, include_in_schema=False)
async def end_other_sessions(
    context: Hub, request: Request[Any, Any, Any], visitor: Looking
) -> Response[str]:
    """All but this one."""
    await read_form(request, visitor)
    now = context.clock()

    def write(tx: Transaction) -> None:
        user = _self(tx, visitor)
        others = [s.id for s in tx.users.sessions(user.id, 2 * MOST) if s.hash != visitor.session]
        if tx.users.end_sessions(user.id, others):
            _ended(tx, visitor, user, now)

    await context.store.write(write)
    return see_other("/account?done=others")


def browser_in(told: str) -> str:
    """`Firefox on Windows`: what a browser says of itself, in short, as far as it is one of the usual ones."""
    name = next((name for mark, name in _BROWSERS if mark in told), "")
    system = next((name for mark, name in _SYSTEMS if mark in told), "")
    return " on ".join(filter(None, (name, system))) or told[:40] or "Unknown"


def _ended(tx: Transaction, visitor: Visitor, user: User, now: Instant) -> None:
    product = signing_in.product_of(user)
    audit(tx, visitor, SESSION_ENDED, user.id, at=now, business_product_id=product)


def _self(tx: Transaction, visitor: Visitor) -> User:
    user = None if visitor.session is None else tx.users.get(visitor.id)
    if user is None:
        raise Forbidden("Nobody signs in to this hub, so there is no account.")
    return user


async def _account_page(
    context: Context,
    request: Request[Any, Any, Any],
    visitor: Visitor,
    wrong: Mapping[str, str] | None = None,
    done: str = "",
) -> Response[str]:
    now = context.clock()

    def read(tx: Transaction) -> dict[str, Any]:
        user = None if visitor.session is None else tx.users.get(visitor.id)
        kept = [] if user is None else tx.users.sessions(user.id, MOST)
        mine = [(each, each.hash == visitor.session) for each in kept if not is_over(each, now)]
        return {"user": user, "sessions": mine}

    content = await context.store.read(read)
    status = 400 if wrong else 200
    return page(
        request,
        visitor,
        "account.html",
        now=now,
        status=status,
        wrong=wrong or {},
        said=DONE.get(done, ""),
        browser=browser_in,
        **content,
    )


HANDLERS = [show_account, change_password, end_session, end_other_sessions]
