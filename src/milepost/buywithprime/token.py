"""The access token: fetched by client credentials, refreshed early, one refresh at a time.

Tokens live 15 minutes, and many token requests in quick succession may be throttled (buy-with-prime.md 3), so
callers share one request, and a token that still lives is used on when its early refresh fails.
"""

import asyncio
from collections.abc import Callable
from urllib.parse import urlencode

import aiohttp
from msgspec import Struct

from milepost.buywithprime.wire import post, raise_for_status
from milepost.domain.errors import UpstreamDenied, UpstreamError, UpstreamUnavailable
from milepost.domain.instant import MINUTE, SECOND, Instant

EARLY = MINUTE
"""A token is refreshed this long before it ends (a tenth of its life when that is shorter), in milliseconds."""
_USUAL_LIFE_S = 900


class Token(Struct, frozen=True):
    """An access token and its times."""

    value: str
    fetched_at: Instant
    refresh_at: Instant
    ends_at: Instant


class TokenSource:
    """Hands out a token that lives. `session` gives the HTTP session to fetch it with."""

    def __init__(
        self,
        url: str,
        client_id: str,
        client_secret: str,
        session: Callable[[], aiohttp.ClientSession],
        clock: Callable[[], Instant],
    ) -> None:
        self._url = url
        self._form = urlencode(
            {"grant_type": "client_credentials", "client_id": client_id, "client_secret": client_secret}
        ).encode()
        self._session = session
        self._clock = clock
        self._token: Token | None = None
        self._refresh: asyncio.Task[Token] | None = None

    async def get(self) -> Token:
        """A token that lives. Raises `UpstreamDenied` for wrong credentials, `UpstreamThrottled`,
        `UpstreamUnavailable`; all callers of one refresh get the same."""
        token = self._token
        if token is not None and self._clock() < token.refresh_at:
            return token
        if self._refresh is None:
            self._refresh = asyncio.ensure_future(self._fetch())
            self._refresh.add_done_callback(self._refreshed)
        try:
            # Shielded: a caller that gives up must not end the refresh of the others.
            return await asyncio.shield(self._refresh)
        except UpstreamError:
            if token is not None and self._token is token and self._clock() < token.ends_at:
                return token
            raise

    def drop(self, token: Token) -> None:
        """This token was refused: don't hand it out again."""
        if self._token is token:
            self._token = None

    async def close(self) -> None:
        """End a refresh under way."""
        if self._refresh is not None:
            self._refresh.cancel()
            await asyncio.gather(self._refresh, return_exceptions=True)

    def _refreshed(self, refresh: asyncio.Task[Token]) -> None:
        self._refresh = None
        if not refresh.cancelled() and refresh.exception() is None:
            self._token = refresh.result()

    async def _fetch(self) -> Token:
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        asked_at = self._clock()
        answer = await post(self._session(), self._url, body=self._form, headers=headers)
        raise_for_status(answer, "token")
        value = answer.document.get("access_token")
        if answer.status >= 400:
            # RFC 6749 5.2: invalid_client and its like come as 400.
            raise UpstreamDenied(f"token: HTTP {answer.status}, credentials refused", answered=False)
        if not isinstance(value, str) or not value:
            raise UpstreamUnavailable("token: the answer holds no access_token", answered=False)
        life = _life(answer.document.get("expires_in"))
        refresh_at = Instant(asked_at + life - min(EARLY, life // 10))
        return Token(value, asked_at, refresh_at, Instant(asked_at + life))


def _life(expires_in: object) -> int:
    """Milliseconds a token lives, from `expires_in` seconds; Amazon's 15 minutes when the answer doesn't say."""
    if isinstance(expires_in, str) and expires_in.isdecimal():
        expires_in = int(expires_in)
    if isinstance(expires_in, bool) or not isinstance(expires_in, int | float) or not 0 < expires_in < 1e9:
        return _USUAL_LIFE_S * SECOND
    return int(expires_in * SECOND)
