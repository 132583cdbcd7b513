"""API credentials over HTTP: what at Amazon is done in the merchant console, and `/token` for what comes of it.

    POST   /token                              client credentials in, a bearer token out; errors as in RFC 6749
    POST   /sandbox/credentials                {"name", "permissions": ["Read Order", …], "targetId"}: the answer
                                               is the only one that ever has the clientSecret
    GET    /sandbox/credentials                those there are, without secrets
    DELETE /sandbox/credentials?clientId=ID    revoke: its tokens are no longer good

The shape of `/token`'s errors is no page of Amazon's: it is that of OAuth 2.0 (RFC 6749 5.2).
"""

from typing import Any

from msgspec import Struct

from milepost.domain.errors import HTTP_STATUS, Invalid, MilepostError, TooManyRequests, Unauthenticated
from milepost.domain.instant import format_instant
from milepost.sandbox.credentials import Credential, Credentials
from milepost.sandbox.http import Request, Response, Routes, decoded, json_response, number_in, place_in
from milepost.sandbox.permissions import FULL_ACCESS, chosen, names

MAX_LIMIT = 100


class CreateCredentials(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    name: str
    permissions: tuple[str, ...] = (FULL_ACCESS,)
    target_id: str | None = None
    """The business product whose data they are for; by default the world's own."""


class CredentialRoutes:
    """The routes that make and revoke credentials. `target_id` is that of credentials that name none."""

    def __init__(self, credentials: Credentials, target_id: str) -> None:
        self._credentials = credentials
        self._target_id = target_id

    def routes(self) -> Routes:
        return {
            ("POST", "/sandbox/credentials"): self._create,
            ("GET", "/sandbox/credentials"): self._list,
            ("DELETE", "/sandbox/credentials"): self._revoke,
        }

    async def _create(self, request: Request) -> Response:
        asked = decoded(request.body, CreateCredentials)
        made, secret = await self._credentials.create(
            asked.name, asked.target_id or self._target_id, chosen(asked.permissions)
        )
        return json_response({**_shown(made), "clientSecret": secret}, 201)

    async def _list(self, request: Request) -> Response:
        limit = number_in(request.query, "limit", MAX_LIMIT, 1, MAX_LIMIT)
        where = place_in(request.query)
        after = None if where is None else (where[0][0], where[1])
        found = await self._credentials.page(after, limit + 1)
        page, more = found[:limit], len(found) > limit
        following = f"{page[-1][0]}:{page[-1][1].client_id}" if more else None
        return json_response({"items": [_shown(one) for _, one in page], "next": following})

    async def _revoke(self, request: Request) -> Response:
        client_id = request.query.get("clientId")
        if not client_id:
            raise Invalid("clientId says which credential", field="clientId")
        await self._credentials.revoke(client_id)
        return json_response({"clientId": client_id})


async def token_response(credentials: Credentials, form: bytes) -> Response:
    """The answer to a request to `/token`."""
    try:
        return json_response(await credentials.issue(form))
    except Invalid as e:
        wrong_grant = e.context.get("field") == "grant_type"
        return _refused(e, "unsupported_grant_type" if wrong_grant else "invalid_request")
    except Unauthenticated as e:
        return _refused(e, "invalid_client")
    except TooManyRequests as e:
        return _refused(e, "temporarily_unavailable")


def _refused(error: MilepostError, word: str) -> Response:
    return json_response({"error": word, "error_description": error.detail}, HTTP_STATUS[error.code])


def _shown(credential: Credential) -> dict[str, Any]:
    """A credential as everybody may see it: no secret, not even its hash."""
    return {
        "clientId": credential.client_id,
        "name": credential.name,
        "targetId": credential.target_id,
        "permissions": names(credential.scopes),
        "createdAt": format_instant(credential.created_at),
    }
