"""Access tokens that receivers give: OAuth 2.0 client credentials, fetched from a webhook's `authEndpoint`.

A token is fetched once for all who wait for it, kept until shortly before it expires, and fetched anew once
after it was refused. The endpoint is https; plain http is for loopback only, since what travels is a secret.
(The tokens that *we* give to Amazon are `oauth`'s.)
"""

import asyncio
from collections.abc import Callable

import aiohttp
import msgspec
from msgspec import Struct
from yarl import URL

from milepost.domain.errors import MilepostError
from milepost.domain.webhook_settings import OAuthConfig
from milepost.transports.egress import is_loopback

MARGIN_S = 10.0
"""A token is fetched anew this long before it expires."""
ANSWER_CAP = 64 * 1024
KEPT = 1_000
"""Most tokens in memory: beyond it those that have expired are forgotten, then the oldest."""
LONGEST_LIFE_S = 86_400.0
"""A token is fetched anew after a day, whatever lifetime it was given."""


class NoToken(MilepostError):
    """The receiver's token endpoint gave no token."""


class _Token(Struct, frozen=True):
    value: str
    good_until: float

    @property
    def header(self) -> str:
        return f"Bearer {self.value}"


class ReceiverTokens:
    """Give it a session whose addresses are checked. `monotonic` because a receiver's clock is no simulated one."""

    def __init__(
        self, session: aiohttp.ClientSession, *, deadline_s: float, monotonic: Callable[[], float]
    ) -> None:
        self._session = session
        self._deadline_s = deadline_s
        self._monotonic = monotonic
        self._tokens: dict[OAuthConfig, _Token] = {}
        self._fetching: dict[OAuthConfig, asyncio.Task[_Token]] = {}

    async def close(self) -> None:
        tasks = [*self._fetching.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def authorization(self, config: OAuthConfig, *, refused: str | None = None) -> str:
        """The value of the Authorization header; another one than `refused`. Raises `NoToken`, and what
        aiohttp raises where there is no answer."""
        known = self._tokens.get(config)
        # Somebody else may have fetched a new one since the refused request went out.
        if known is None or known.good_until <= self._monotonic() or known.header == refused:
            known = await self._fetch_once(config)
        return known.header

    async def _fetch_once(self, config: OAuthConfig) -> _Token:
        """Whoever waits for this token waits for one request, which outlives any of them."""
        task = self._fetching.get(config)
        if task is None:
            task = asyncio.create_task(self._fetch(config))
            self._fetching[config] = task
            task.add_done_callback(lambda done: self._fetched(config, done))
        return await asyncio.shield(task)

    def _fetched(self, config: OAuthConfig, task: asyncio.Task[_Token]) -> None:
        del self._fetching[config]
        if task.cancelled() or task.exception() is not None:
            return
        if len(self._tokens) >= KEPT:
            now = self._monotonic()
            live = [(c, t) for c, t in self._tokens.items() if t.good_until > now]
            self._tokens = dict(live[-(KEPT - 1) :])
        self._tokens[config] = task.result()

    async def _fetch(self, config: OAuthConfig) -> _Token:
        form = {
            "grant_type": "client_credentials",
            "client_id": config.client_parameters.client_id,
            "client_secret": config.client_parameters.client_secret,
            **{p.key: p.value for p in config.http_parameters.body_parameters},
        }
        async with (
            asyncio.timeout(self._deadline_s),
            self._session.request(
                config.http_method,
                _endpoint(config.auth_endpoint),
                data=form,
                headers={p.key: p.value for p in config.http_parameters.header_parameters},
                allow_redirects=False,
            ) as response,
        ):
            if response.status != 200:
                response.close()
                raise NoToken(f"the token endpoint answered {response.status}")
            body = bytearray()
            while len(body) <= ANSWER_CAP and (part := await response.content.read(16_384)):
                body += part
            if len(body) > ANSWER_CAP:
                response.close()
                raise NoToken("the token endpoint's answer is too large")
        return _token(bytes(body), self._monotonic())


def _endpoint(text: str) -> URL:
    try:
        url = URL(text)
        host = url.host or ""
    except (ValueError, TypeError) as e:
        raise NoToken("the token endpoint is not a URL") from e
    if url.scheme != "https" and not (url.scheme == "http" and is_loopback(host)):
        raise NoToken("a token endpoint is https, or http on loopback")
    if url.user is not None or url.password is not None:
        raise NoToken("a token endpoint's URL holds no credentials")
    return url


def _token(body: bytes, now: float) -> _Token:
    try:
        answer = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise NoToken("the token endpoint's answer is not JSON") from e
    value = answer.get("access_token") if isinstance(answer, dict) else None
    if not isinstance(value, str) or not value or not value.isascii() or not value.isprintable():
        raise NoToken("the token endpoint's answer has no access_token")
    lifetime = answer.get("expires_in")
    seconds = min(lifetime, LONGEST_LIFE_S) if isinstance(lifetime, int | float) else 0.0
    return _Token(value, now + max(0.0, seconds - MARGIN_S))
