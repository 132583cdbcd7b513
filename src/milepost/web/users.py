"""`/v1/users`: who may sign in to the console. The same as its page does, for scripts and the `milepost` command.

A link to set a password is shown once, when it is made; after that only its hash exists.
"""

from typing import Annotated, Any, Literal

import structlog
from litestar import get, patch, post
from litestar.params import JSONBody, PathParameter
from msgspec import UNSET, Meta, UnsetType, field

from milepost.domain.instant import Instant, format_instant
from milepost.domain.role import Role
from milepost.domain.user import LIFETIMES, User
from milepost.store import Transaction
from milepost.web import user_actions
from milepost.web.authentication import ADMIN, Caller
from milepost.web.context import Context, Hub
from milepost.web.documents import Document
from milepost.web.paging import After, Limit, Page, cut, decode_cursor, page_size
from milepost.web.problems import BODY_HANDLERS, problems
from milepost.web.sessions import new_token
from milepost.web.user_actions import Wanted, setup_path

Text = Annotated[str, Meta(min_length=1, max_length=200)]
Products = Annotated[list[Text], Meta(max_length=1000)]
UserId = Annotated[str, PathParameter(description="The user's id.", max_length=128)]

log = structlog.get_logger()


class UserDocument(Document):
    """Somebody who may sign in to the console."""

    id: str
    name: str
    sign_in_name: str
    role: Role
    business_product_ids: list[str]
    """Those they see; empty means all."""
    state: Literal["invited", "active", "disabled"]
    created_at: str
    disabled_at: str | None


class SetupLink(Document):
    """A one-time link to set a password. It is shown this once."""

    path: str
    url: str | None
    """The whole address, where MILEPOST_PUBLIC_URL says what it is."""
    expires_at: str


class InvitedUser(UserDocument):
    """A user, and the link by which they set a password."""

    link: SetupLink


class NewUserRequest(Document, forbid_unknown_fields=True):
    """Who is invited."""

    name: Text
    sign_in_name: Text
    """An email address, or any other word; nothing is sent to it."""
    role: Role = "agent"
    business_product_ids: Products = field(default_factory=list)
    """Empty: those of the key that asks."""


class UserChange(Document, forbid_unknown_fields=True):
    """What is to be another; what is left out stays."""

    name: Text | UnsetType = UNSET
    role: Role | UnsetType = UNSET
    business_product_ids: Products | UnsetType = UNSET


@get("/v1/users", summary="List users", tags=["Users"], opt=ADMIN, responses=problems(403))
async def list_users(
    context: Hub, caller: Caller, after: After = None, limit: Limit = 100
) -> Page[UserDocument]:
    """Users of the console, oldest first, disabled ones among them; those within the key's business products."""
    size, start = page_size(limit), "" if after is None else decode_cursor("user", after, str)
    users = await context.store.read(lambda tx: user_actions.visible_users(tx, caller, start, size + 1))
    return cut("user", users, size, lambda user: user.id, _document)


@post(
    "/v1/users",
    summary="Invite a user",
    tags=["Users"],
    opt=ADMIN,
    exception_handlers=BODY_HANDLERS,
    responses=problems(403, 409),
)
async def invite_user(context: Hub, caller: Caller, data: JSONBody[NewUserRequest]) -> InvitedUser:
    """The answer holds a link, good once within seven days, by which the user sets a password. Pass it on; it can't
    be read again. A user can't be given more business products than the key has."""
    now, token = context.clock(), new_token()
    wanted = Wanted(data.name, data.role, tuple(data.business_product_ids))
    user = await context.store.write(
        lambda tx: user_actions.invite(tx, caller, wanted, data.sign_in_name, token, now)
    )
    log.info("user.invited", user=user.id, role=user.role, by=caller.id)
    return _invited(context, user, token, now)


@patch(
    "/v1/users/{user_id:str}",
    summary="Change a user",
    tags=["Users"],
    opt=ADMIN,
    exception_handlers=BODY_HANDLERS,
    responses=problems(403, 404, 409),
)
async def change_user(
    context: Hub, caller: Caller, user_id: UserId, data: JSONBody[UserChange]
) -> UserDocument:
    """With another role or other business products the user's sessions end. The last admin of all business products
    stays one (409)."""
    now = context.clock()

    def write(tx: Transaction) -> User:
        user = user_actions.visible_user(tx, caller, user_id)
        products = data.business_product_ids
        wanted = Wanted(
            user.name if data.name is UNSET else data.name,
            user.role if data.role is UNSET else data.role,
            user.business_products if products is UNSET else tuple(products),
        )
        return user_actions.change(tx, caller, user_id, wanted, now)

    user = await context.store.write(write)
    log.info("user.changed", user=user.id, role=user.role, by=caller.id)
    return _document(user)


@post(
    "/v1/users/{user_id:str}/disable",
    summary="Disable a user",
    tags=["Users"],
    opt=ADMIN,
    status_code=200,
    responses=problems(403, 404, 409),
)
async def disable_user(context: Hub, caller: Caller, user_id: UserId) -> UserDocument:
    """Sessions and links of theirs end at once. Again changes nothing."""
    now = context.clock()
    user = await context.store.write(lambda tx: user_actions.disable(tx, caller, user_id, now))
    log.info("user.disabled", user=user.id, by=caller.id)
    return _document(user)


@post(
    "/v1/users/{user_id:str}/enable",
    summary="Enable a user again",
    tags=["Users"],
    opt=ADMIN,
    status_code=200,
    responses=problems(403, 404),
)
async def enable_user(context: Hub, caller: Caller, user_id: UserId) -> UserDocument:
    """They sign in with the password that they had. Again changes nothing."""
    now = context.clock()
    user = await context.store.write(lambda tx: user_actions.enable(tx, caller, user_id, now))
    log.info("user.enabled", user=user.id, by=caller.id)
    return _document(user)


@post(
    "/v1/users/{user_id:str}/link",
    summary="Make a link to set a user's password",
    tags=["Users"],
    opt=ADMIN,
    responses=problems(403, 404, 409),
)
async def make_setup_link(context: Hub, caller: Caller, user_id: UserId) -> InvitedUser:
    """For somebody who forgot the password, or lost the link of the invitation. All sessions of theirs end, and
    former links are void; the password that was is good until another one is set."""
    now, token = context.clock(), new_token()
    user = await context.store.write(lambda tx: user_actions.make_link(tx, caller, user_id, token, now))
    log.info("user.link_made", user=user.id, by=caller.id)
    return _invited(context, user, token, now)


def _document(user: User) -> UserDocument:
    return UserDocument(**_fields(user))


def _invited(context: Context, user: User, token: str, now: Instant) -> InvitedUser:
    path = setup_path(token)
    url = None if context.public_url is None else context.public_url.rstrip("/") + path
    purpose: Literal["invite", "reset"] = "invite" if user.state == "invited" else "reset"
    link = SetupLink(path, url, format_instant(Instant(now + LIFETIMES[purpose])))
    return InvitedUser(**_fields(user), link=link)


def _fields(user: User) -> dict[str, Any]:
    return {
        "id": user.id,
        "name": user.name,
        "sign_in_name": user.sign_in_name,
        "role": user.role,
        "business_product_ids": list(user.business_products),
        "state": user.state,
        "created_at": format_instant(user.created_at),
        "disabled_at": None if user.disabled_at is None else format_instant(user.disabled_at),
    }


HANDLERS = [list_users, invite_user, change_user, disable_user, enable_user, make_setup_link]
