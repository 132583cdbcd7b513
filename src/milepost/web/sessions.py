"""Sessions of the console: the cookie, who is behind it, and what every form of a session carries.

A token is 256 random bits and in the browser only; its SHA-256 is kept. What forms carry is derived from the token,
so nothing more is stored and no page can make it up. A cookie opens the console and nothing under `/v1`.
"""

import base64
import hashlib
import hmac
import secrets
from typing import Any

from litestar import Response
from litestar.connection import ASGIConnection
from litestar.datastructures import Cookie
from msgspec import Struct

from milepost.domain.instant import SECOND, Instant
from milepost.domain.session import ABSOLUTE, MOST, Session, is_over
from milepost.domain.user import User
from milepost.store import Transaction
from milepost.web.context import Context
from milepost.web.visiting import Visitor

COOKIE = "milepost_session"
_LONGEST_BROWSER = 200
_LONGEST_TOKEN = 128


class Found(Struct, frozen=True):
    """Who is behind a cookie."""

    visitor: Visitor
    session: Session
    user: User


def new_token() -> str:
    """A new token of a session or a link; the only time it is seen."""
    return secrets.token_urlsafe(32)


def hash_of_token(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def begin(tx: Transaction, user: User, token: str, now: Instant, browser: str, address: str) -> None:
    """A new session, and an end to those that are too many."""
    name = f"ses_{secrets.token_hex(8)}"
    session = Session(
        hash_of_token(token), name, user.id, now, now, browser[:_LONGEST_BROWSER], address[:_LONGEST_TOKEN]
    )
    former = tx.users.sessions(user.id, 2 * MOST)
    tx.users.end_sessions(user.id, [each.id for each in former[MOST - 1 :]])
    tx.users.put_session(session)


def found(tx: Transaction, token: str, now: Instant) -> Found | None:
    """Who has this token; None: nobody, or not any more."""
    hashed = hash_of_token(token)
    kept = tx.users.session(hashed)
    if kept is None or is_over(kept[0], now) or kept[1].state != "active":
        return None
    session, user = kept
    visitor = Visitor(user.id, user.name, user.role, user.reach, form_token_of(token), hashed)
    return Found(visitor, session, user)


def is_signed_in(tx: Transaction, visitor: Visitor, now: Instant) -> bool:
    """Whether a visitor is who they were, for an answer that goes on for long. Without sign-in: always."""
    if visitor.session is None:
        return True
    kept = tx.users.session(visitor.session)
    if kept is None or is_over(kept[0], now) or kept[1].state != "active":
        return False
    return (kept[1].role, kept[1].reach) == (visitor.role, visitor.business_products)


def form_token_of(token: str) -> str:
    """What every form of this session carries."""
    derived = hmac.digest(token.encode("utf-8", "surrogatepass"), b"milepost form", hashlib.sha256)
    return base64.urlsafe_b64encode(derived[:24]).decode()


def token_in(context: Context, connection: ASGIConnection[Any, Any, Any, Any]) -> str | None:
    """The token of a request's cookie."""
    token = connection.cookies.get(_name(_is_secure(context, connection)))
    return token if token and len(token) <= _LONGEST_TOKEN else None


def give(
    context: Context, connection: ASGIConnection[Any, Any, Any, Any], answer: Response[Any], token: str
) -> Response[Any]:
    """The answer, with the session's cookie. It is as long as a session may be; the hub decides when it is over."""
    answer.set_cookie(_cookie(context, connection, token, ABSOLUTE // SECOND))
    return answer


def take(
    context: Context, connection: ASGIConnection[Any, Any, Any, Any], answer: Response[Any]
) -> Response[Any]:
    """The answer, by which the browser forgets its cookie."""
    answer.set_cookie(_cookie(context, connection, "", 0))
    return answer


def _cookie(
    context: Context, connection: ASGIConnection[Any, Any, Any, Any], token: str, seconds: int
) -> Cookie:
    """Lax, so that a link to a page in a mail or a chat opens it; a form of another site comes without it."""
    secure = _is_secure(context, connection)
    return Cookie(
        _name(secure), value=token, max_age=seconds, path="/", httponly=True, samesite="lax", secure=secure
    )


def _name(secure: bool) -> str:
    """`__Host-`: no other host of the same site can set one (RFC 6265bis 4.1.3.2)."""
    return f"__Host-{COOKIE}" if secure else COOKIE


def _is_secure(context: Context, connection: ASGIConnection[Any, Any, Any, Any]) -> bool:
    """Whether browsers reach this hub by TLS, which ends in front of it: the setting says so."""
    return (context.public_url or "").startswith("https:") or connection.scope["scheme"] == "https"
