"""A real HTTP server that speaks the documented shapes of the Buy with Prime API, told by a test what to answer."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs

import msgspec
from aiohttp import web

Fault = Callable[[], web.StreamResponse]


class Request(msgspec.Struct):
    """A GraphQL request as it came."""

    headers: dict[str, str]
    query: str
    operation: str
    variables: dict[str, Any]

    @property
    def asked_for(self) -> str:
        if self.operation == "order":
            return str(self.variables["orderIdentifier"]["orderId"])
        return str(self.variables["packageTrackerInput"]["packageTrackerIdentifier"]["trackingNumber"])


class ApiServer:
    """`orders` and `trackers` are answered by id (null when unknown); `faults` and `token_faults` come first."""

    def __init__(self) -> None:
        self.url = ""
        self.orders: dict[str, Any] = {}
        self.trackers: dict[str, Any] = {}
        self.faults: deque[Fault] = deque()
        self.token_faults: deque[Fault] = deque()
        self.always: Fault | None = None
        """A fault for every query, after `faults`."""
        self.requests: list[Request] = []
        self.tokens: list[dict[str, str]] = []
        self.valid: set[str] = set()
        self.expires_in: object = 900
        self.open = asyncio.Event()
        """Queries are held at the door until it is set."""
        self.open.set()
        self.arrived = asyncio.Event()
        self.max_held = 0
        self._held = 0

    async def token(self, request: web.Request) -> web.StreamResponse:
        form = {k: v[0] for k, v in parse_qs(await request.text()).items()}
        self.tokens.append(form)
        if self.token_faults:
            return self.token_faults.popleft()()
        token = f"token-{len(self.tokens)}"
        self.valid.add(token)
        return web.json_response(
            {"access_token": token, "token_type": "Bearer", "expires_in": self.expires_in}
        )

    async def graphql(self, request: web.Request) -> web.StreamResponse:
        document = await request.json()
        one = Request(
            dict(request.headers), document["query"], document["operationName"], document["variables"]
        )
        self.requests.append(one)
        self._held += 1
        self.max_held = max(self.max_held, self._held)
        self.arrived.set()
        await self.open.wait()
        self._held -= 1
        if one.headers["Authorization"].removeprefix("Bearer ") not in self.valid:
            return web.json_response({"message": "Unauthorized"}, status=401)
        if self.faults:
            return self.faults.popleft()()
        if self.always is not None:
            return self.always()
        answers = self.orders if one.operation == "order" else self.trackers
        return web.json_response({"data": {one.operation: answers.get(one.asked_for)}})


def errors(
    kind: str, message: str = "no", *, code: int | None = None, op: str | None = "order", status: int = 200
) -> Fault:
    """HTTP 200 with errors, as documented."""
    classification: dict[str, object] = {"type": kind}
    if code is not None:
        classification["errorCode"] = code
    error = {"message": message, "path": [op], "extensions": {"classification": classification}}
    return lambda: web.json_response({"errors": [error], "data": {op: None} if op else None}, status=status)


def http(status: int, text: str = "", **headers: str) -> Fault:
    return lambda: web.Response(status=status, text=text, headers=headers)


@asynccontextmanager
async def serve() -> AsyncIterator[ApiServer]:
    server = ApiServer()
    app = web.Application()
    app.router.add_post("/token", server.token)
    app.router.add_post("/graphql", server.graphql)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    server.url = f"http://{host}:{port}"
    try:
        yield server
    finally:
        server.open.set()
        await runner.cleanup()
