"""Who asks, and what they may: API keys as bearer tokens, scopes, and the business products a key is bound to.

A key is 256 random bits behind `mp_`; only its SHA-256 is kept, so looking a key up compares hashes of secrets
and no slow hash is needed. `authorize` guards every route that does not say `public`. What lies outside a key's
business products does not exist for it: such an id is 404, never 403 (event-delivery.md, bar 31).
"""

import hashlib
import hmac
import secrets
from collections.abc import Collection
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from litestar.connection import ASGIConnection
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler
from litestar.params import SkipValidation
from msgspec import Struct

from milepost.domain.errors import Forbidden, NotFound, SignInNeeded, StoreUnavailable, Unauthenticated
from milepost.domain.session import is_to_note
from milepost.store import Scope, Transaction
from milepost.web import sessions
from milepost.web.context import Context
from milepost.web.visiting import Visitor, admit

PREFIX = "mp_"
RANK: dict[Scope, int] = {"read": 0, "operate": 1, "admin": 2}
PUBLIC: dict[str, Any] = {"public": True}
"""A route's `opt` that lets everybody in."""
OPERATE: dict[str, Any] = {"scope": "operate"}
ADMIN: dict[str, Any] = {"scope": "admin"}

_LONGEST_KEY = 512
_FORM_TOKEN = secrets.token_urlsafe(24)
"""Of forms while nobody needs to sign in."""
_THIS_MACHINE = frozenset({"localhost", "127.0.0.1", "::1"})


class Principal(Struct, frozen=True):
    """Who asks."""

    id: str
    """The key's id; `API_KEY` for the key from the settings, `insecure` without one."""
    scope: Scope
    business_products: frozenset[str] | None
    """None: all of them."""
    hash: bytes | None = None
    """Of a stored key, so that a long answer can look again whether it is still good."""

    def reach(self, business_product_id: str | None) -> Collection[str] | None:
        """The business products to look in, `None` for all: the key's, or the one that was asked for.

        Raises `NotFound` for one that the key isn't bound to.
        """
        if business_product_id is None:
            return self.business_products
        if self.business_products is not None and business_product_id not in self.business_products:
            raise NotFound("There is no such business product.", businessProductId=business_product_id)
        return frozenset({business_product_id})


Caller = NamedDependency[SkipValidation[Principal]]
"""The principal as a handler's parameter `caller`."""


def new_key() -> str:
    """A new API key; the only time it is seen."""
    return PREFIX + secrets.token_urlsafe(32)


def hash_of(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


async def authorize(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """The guard of every route. Raises `Unauthenticated` or `Forbidden`; leaves the principal in the scope."""
    if handler.opt.get("public"):
        return
    context: Context = connection.app.state.context
    if "permission" in handler.opt:
        admit(connection, handler, await _visitor(context, connection))
        return
    principal = await _principal(context, connection)
    needed: Scope = handler.opt.get("scope", "read")
    if RANK[principal.scope] < RANK[needed]:
        raise Forbidden(f"This needs a key of scope {needed}; this one has {principal.scope}.", scope=needed)
    connection.scope["user"] = principal


async def _visitor(context: Context, connection: ASGIConnection[Any, Any, Any, Any]) -> Visitor:
    """Who looks at the console: whoever the session's cookie belongs to. An API key opens no page. Raises
    `SignInNeeded` for a page, `Unauthenticated` for what a page sends."""
    if context.insecure and context.admin_key is None:
        here = _local(connection)
        return Visitor(here.id, "Nobody signed in", "admin", here.business_products, _FORM_TOKEN)
    found = await signed_in(context, connection)
    if found is not None:
        return found.visitor
    if connection.scope.get("method") == "GET":
        query = connection.url.query
        raise SignInNeeded(next=connection.url.path + (f"?{query}" if query else ""))
    raise Unauthenticated("You are not signed in, or not any more. Sign in, then send it again.")


async def signed_in(
    context: Context, connection: ASGIConnection[Any, Any, Any, Any]
) -> sessions.Found | None:
    """Who is behind the request's cookie. That they were seen is noted now and then, where that can be written."""
    token, now = sessions.token_in(context, connection), context.clock()
    if token is None:
        return None
    found = await context.store.read(lambda tx: sessions.found(tx, token, now))
    if found is not None and is_to_note(found.session, now):
        with suppress(StoreUnavailable):
            await context.store.write(lambda tx: tx.users.note_seen(found.session.hash, now))
    return found


async def _principal(context: Context, connection: ASGIConnection[Any, Any, Any, Any]) -> Principal:
    header = connection.headers.get("authorization")
    if header is None:
        if context.insecure and context.admin_key is None:
            return _local(connection)
        raise Unauthenticated("Send an API key: Authorization: Bearer mp_…")
    scheme, _, key = header.partition(" ")
    key = key.strip()
    if scheme.lower() != "bearer" or not key or len(key) > _LONGEST_KEY:
        raise Unauthenticated("The Authorization header is not `Bearer` and an API key.")
    hashed = hash_of(key)
    if context.admin_key is not None and hmac.compare_digest(hashed, hash_of(context.admin_key)):
        return Principal("API_KEY", "admin", None)
    found = await context.store.read(lambda tx: stored(tx, hashed))
    if found is None:
        raise Unauthenticated("This API key is unknown or was revoked.")
    return found


def stored(tx: Transaction, hashed: bytes) -> Principal | None:
    """The principal of a stored key that is still good."""
    key = tx.credentials.api_key_by_hash(hashed)
    if key is None or key.revoked_at is not None:
        return None
    return Principal(key.id, key.scope, frozenset(key.business_product_ids) or None, hashed)


def _local(connection: ASGIConnection[Any, Any, Any, Any]) -> Principal:
    """Without keys, only what this machine's own programs and pages send is let in: a page of another site, or
    a name that was pointed at this address (DNS rebinding), is not."""
    host = urlsplit(f"//{connection.headers.get('host', '')}").hostname
    origin = connection.headers.get("origin")
    if host not in _THIS_MACHINE or (origin is not None and urlsplit(origin).hostname not in _THIS_MACHINE):
        raise Unauthenticated("Without API keys, Milepost answers only to 127.0.0.1 and localhost.")
    return Principal("insecure", "admin", None)
