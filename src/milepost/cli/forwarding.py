"""A webhook on loopback that passes every request on to a handler and its answer back.

Headers and body go on as they came, so that the handler checks authorization and signature itself. The sender
gets the handler's own status, so that it tries again by its own schedule. A handler that is not up yet (somebody
is just restarting it) is tried for a few seconds before the sender hears of it. What is printed is `listen`'s.
"""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

import aiohttp
import msgspec
from aiohttp import web
from multidict import CIMultiDict

from milepost.domain.envelope import parse_event
from milepost.domain.errors import MilepostError

BODY_LIMIT = 4 * 1024 * 1024
ANSWER_LIMIT = 64 * 1024
UP_WITHIN_S = 3.0
"""How long a handler that is not there is waited for."""
DEADLINE_S = 9.0
"""Within this the sender has an answer: the sandbox's publisher waits ten seconds."""
_LOOK_AGAIN_S = 0.1
_REMEMBERED = 10_000

_HOP_BY_HOP = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Headers of one connection: the client makes its own."""
_PASSED_BACK = ("Content-Type", "Retry-After")
_ADDED = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")
"""Headers that the client would add by itself."""


class Forwarded(msgspec.Struct, frozen=True):
    """One request that was passed on, and what came of it."""

    at: float
    type: str
    event_id: str
    key: str
    resources: tuple[str, ...]
    attempt: int
    """How often this key has come, this time included."""
    status: int
    duration_ms: int
    body: bytes
    answer: bytes
    error: str = ""
    """Why the handler gave no answer."""

    @property
    def is_handled(self) -> bool:
        return 200 <= self.status < 300


class Forwarder:
    """Listens on a free port of loopback, from entering until leaving; `tell` gets each request's outcome."""

    def __init__(
        self,
        handler: str,
        tell: Callable[[Forwarded], None],
        *,
        up_within_s: float = UP_WITHIN_S,
        deadline_s: float = DEADLINE_S,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.url = ""
        """Where it listens: a path that nobody guesses, so that nobody else's request is passed on."""
        self._handler = handler
        self._tell = tell
        self._up_within_s = up_within_s
        self._deadline_s = deadline_s
        self._pause = pause
        self._path = f"/{secrets.token_urlsafe(9)}"
        self._came: dict[str, int] = {}

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=BODY_LIMIT)
        app.router.add_post(self._path, self._pass_on)
        self._http = aiohttp.ClientSession(auto_decompress=False, skip_auto_headers=_ADDED)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=self._deadline_s)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}{self._path}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """What is under way is answered first."""
        await self._runner.cleanup()
        await self._http.close()

    async def _pass_on(self, request: web.Request) -> web.Response:
        at, begun = time.time(), time.monotonic()
        body = await request.read()
        headers = CIMultiDict((k, v) for k, v in request.headers.items() if k.lower() not in _HOP_BY_HOP)
        status, error = 0, ""
        try:
            async with asyncio.timeout(self._deadline_s):
                answer = await self._answer_of_handler(headers, body, begun + self._up_within_s)
        except aiohttp.ClientConnectorError as e:
            status, error = 503, f"nothing answers at {self._handler} ({e.strerror or e})"
        except TimeoutError:
            status, error = 504, f"no answer within {self._deadline_s:g} s"
        except aiohttp.ClientError as e:
            status, error = 502, f"no whole answer: {str(e) or type(e).__name__}"
        if error:
            # The sender keeps it with the attempt.
            answer = web.Response(status=status, text=f"milepost listen: {error}")
        duration_ms = round((time.monotonic() - begun) * 1000)
        self._tell(self._outcome(at, body, answer, duration_ms, error))
        return answer

    async def _answer_of_handler(
        self, headers: CIMultiDict[str], body: bytes, up_until: float
    ) -> web.Response:
        while True:
            try:
                async with self._http.post(
                    self._handler, data=body, headers=headers, allow_redirects=False
                ) as response:
                    back = {name: response.headers[name] for name in _PASSED_BACK if name in response.headers}
                    return web.Response(status=response.status, body=await _beginning(response), headers=back)
            except aiohttp.ClientConnectorError:
                if time.monotonic() >= up_until:
                    raise
                await self._pause(_LOOK_AGAIN_S)

    def _outcome(
        self, at: float, body: bytes, answer: web.Response, duration_ms: int, error: str
    ) -> Forwarded:
        try:
            event = parse_event(body)
            name, event_id, key = event.descriptor, event.event_id, event.idempotency_key
            resources = tuple(map(str, event.resources))
        except MilepostError:
            name, event_id, key, resources = "(not an event)", "", "", ()
        attempt = self._came.pop(key, 0) + 1
        self._came[key] = attempt
        while len(self._came) > _REMEMBERED:
            del self._came[next(iter(self._came))]
        answered = answer.body if isinstance(answer.body, bytes) and not error else b""
        return Forwarded(
            at, name, event_id, key, resources, attempt, answer.status, duration_ms, body, answered, error
        )


async def _beginning(response: aiohttp.ClientResponse) -> bytes:
    """As much of an answer as is passed back."""
    found = bytearray()
    while len(found) < ANSWER_LIMIT and (chunk := await response.content.read(ANSWER_LIMIT - len(found))):
        found += chunk
    return bytes(found)
