"""A real HTTP receiver for tests of what goes outward: it keeps what came and answers what it is told to."""

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import NamedTuple, Self

from aiohttp import web


class Received(NamedTuple):
    path: str
    headers: dict[str, str]
    body: bytes


Answer = Callable[[Received], Awaitable[web.StreamResponse]]


async def accept(received: Received) -> web.StreamResponse:
    return web.json_response({"status": "accepted"})


class Receiver:
    """Listens on a free port of loopback. `answer` may be replaced at any time."""

    def __init__(self, answer: Answer = accept) -> None:
        self.answer = answer
        self.received: list[Received] = []
        self.requests: list[web.Request] = []
        """The same as the server has them: what an answer in parts is written to."""
        self.url = ""
        self._came = asyncio.Condition()

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    async def got(self, count: int, seconds: float = 10.0) -> list[Received]:
        """What has come, once that is at least `count` requests."""
        async with asyncio.timeout(seconds), self._came:
            await self._came.wait_for(lambda: len(self.received) >= count)
        return self.received

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        received = Received(request.path, headers, await request.read())
        self.received.append(received)
        self.requests.append(request)
        async with self._came:
            self._came.notify_all()
        return await self.answer(received)


def answering(status: int, **headers: str) -> Answer:
    async def answer(received: Received) -> web.StreamResponse:
        return web.Response(status=status, headers={k.replace("_", "-"): v for k, v in headers.items()})

    return answer
