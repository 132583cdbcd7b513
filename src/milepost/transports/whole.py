"""A request that is taken whole: the lean way through the server for small requests with a short answer.

uvicorn's cycle serves every kind of request and response; for an endpoint that reads a small body and answers
once, most of that is ceremony, and costs as much as the endpoint. `WholeRequest` is the same ASGI conversation
with less of it: the app starts when the body is complete, gets it in one message, and its answer leaves in one
write. Requests that are larger, chunked, upgraded or that wait for 100 Continue go uvicorn's way, to the same
app. It stands where uvicorn's protocol expects its own cycle, and has what that looks at.
"""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from milepost.transports.asgi import App, Message, Scope

LARGEST: Final = 65_536
"""Bytes of a body that is taken whole; reading never has to pause for one."""

_log = structlog.get_logger()


class _NobodyWaits:
    """uvicorn's protocol wakes whoever waits for the body; here nobody does."""

    def set(self) -> None:
        return None


_NOBODY_WAITS = _NobodyWaits()


class WholeRequest:
    """One request and its answer. `complete` is called when the answer was written."""

    __slots__ = (
        "_app",
        "_complete",
        "_head",
        "_taken",
        "_transport",
        "body",
        "disconnected",
        "keep_alive",
        "message_event",
        "more_body",
        "response_complete",
        "response_started",
        "scope",
    )

    def __init__(
        self,
        app: App,
        scope: Scope,
        transport: asyncio.Transport,
        keep_alive: bool,
        complete: Callable[[], None],
    ) -> None:
        self._app = app
        self.scope = scope
        self.body = bytearray()
        self.more_body = True
        self.keep_alive = keep_alive
        self.disconnected = False
        self.response_started = False
        self.response_complete = False
        self.message_event = _NOBODY_WAITS
        self._transport = transport
        self._complete = complete
        self._head = b""
        self._taken = False

    async def run(self) -> None:
        """Let the app answer. One that doesn't, or fails before it did, closes the connection."""
        try:
            await self._app(self.scope, self._receive, self._send)
        except Exception as e:  # noqa: BLE001 - a bug must cost one request, not the server
            _log.error("request failed", error=type(e).__name__)
        finally:
            if not self.response_complete and not self.disconnected:
                self._transport.close()

    async def _receive(self) -> Message:
        if self._taken:
            return {"type": "http.disconnect"}
        self._taken = True
        return {"type": "http.request", "body": bytes(self.body), "more_body": False}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            lines = [STATUS_LINE[message["status"]]]
            for name, value in message["headers"]:
                lines += (name, b": ", value, b"\r\n")
            if not self.keep_alive:
                lines.append(b"connection: close\r\n")
            lines.append(b"\r\n")
            self._head = b"".join(lines)
            self.response_started = True
            return
        self.response_complete = True
        if self.disconnected:
            return
        self._transport.write(self._head + message["body"])
        if not self.keep_alive:
            self._transport.close()
        self._complete()
