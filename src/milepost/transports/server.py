"""The HTTP server of the hub and of the sandbox: uvicorn's httptools protocol, with limits, inside our own loop.

uvicorn has no deadline for a request to arrive, no cap on its header, and takes over signals; so its protocol is
kept and its server is not. What is added:

- a request (headers and body) has 10 seconds from its first byte, a new connection 10 seconds to send one, and
  an idle one is closed after 75. One periodic check looks at all connections: no timer a request;
- header lines 100, header 32 KiB, a whole request 4 MiB on the wire (so that chunk framing, trailers, and what is
  sent after a 413 have an end);
- garbage is answered with a problem document and the connection closed;
- `serve` binds before it announces, and on `stop` finishes what is in flight.

Routing, authentication and the limit of requests in flight are the app's. Addresses in forwarding headers are
not believed.
"""

import asyncio
import errno
import socket
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import msgspec
import structlog
import uvicorn
from msgspec import Struct
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from milepost.domain.errors import Misconfigured
from milepost.transports.asgi import App, Scope
from milepost.transports.whole import LARGEST, WholeRequest

_log = structlog.get_logger()


class Limits(Struct, frozen=True):
    """What one connection may take. Times in seconds, sizes in bytes."""

    request_seconds: float = 10.0
    idle_seconds: float = 75.0
    drain_seconds: float = 10.0
    header_bytes: int = 32_768
    header_lines: int = 100
    request_bytes: int = 4_194_304
    backlog: int = 2_048


class _Refusal(Exception):
    """Raised inside the parser's callbacks: a request that is not taken. The parser gives up on it."""


class Connections(ServerState):
    """The server's connections, and the check that closes those out of time."""

    def __init__(self, limits: Limits, whole: Mapping[bytes, App]) -> None:
        super().__init__()
        self.limits = limits
        self.whole = whole
        self.none_left = asyncio.Event()
        self.none_left.set()

    def close_late(self, now: float) -> int:
        """Close connections whose request is late or that idle for too long; returns how many."""
        requested_by = now - self.limits.request_seconds
        used_by = now - self.limits.idle_seconds
        late = [
            connection
            for connection in self.connections
            if isinstance(connection, Connection) and connection.is_late(requested_by, used_by)
        ]
        for connection in late:
            # Not close(): that waits for a peer who may not read either.
            connection.transport.abort()
        return len(late)


class Connection(HttpToolsProtocol):
    """One client connection: uvicorn's, with a note of since when it waits for what.

    `_since` is the loop's time at the first byte of the request being received (or of connecting), 0 when none
    is; `_idle_since` the time of the last whole response, 0 while a request is being answered."""

    server_state: Connections

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._limits = self.server_state.limits
        self._since = self.loop.time()
        self._idle_since = 0.0
        self._received = 0
        self._in_headers = True
        self._reason = "this is not an HTTP/1.1 request"
        self._whole = self.server_state.whole
        self._request: WholeRequest | None = None
        """The one being received whole."""
        self.server_state.none_left.clear()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if not self.connections:
            self.server_state.none_left.set()

    def is_late(self, requested_by: float, used_by: float) -> bool:
        if self._since:
            # While reading is paused it is not the client that we wait for.
            return self._since < requested_by and not self.flow.read_paused
        return 0 < self._idle_since < used_by

    def data_received(self, data: bytes) -> None:
        if not self._since:
            self._since = self.loop.time()
            self._idle_since = 0.0
        self._received += len(data)
        super().data_received(data)
        if self._received > self._limits.header_bytes and not self.transport.is_closing():
            if self._in_headers:
                self._refuse(431, "the request's header is too large")
            elif self._received > self._limits.request_bytes:
                self.transport.abort()

    def on_message_begin(self) -> None:
        # As uvicorn's, but for the scope, which a whole request has a smaller one of.
        self.url = b""
        self.expect_100_continue = False
        self.headers = []
        if not self._since:  # pipelined behind the request that ended in the same bytes
            self._since = self.loop.time()

    def on_header(self, name: bytes, value: bytes) -> None:
        # As uvicorn's, with the cap. Trailers come this way too.
        if len(self.headers) >= self._limits.header_lines:
            self._reason = "the request has too many header lines"
            raise _Refusal
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self._received > self._limits.header_bytes and self._header_size() > self._limits.header_bytes:
            self._reason = "the request's header is too large"
            raise _Refusal
        upgrade = self.parser.should_upgrade()
        if upgrade and self._announces_body():
            # The parser would skip the body, and an event would be taken for an empty one.
            self._reason = "a request with Upgrade and a body is not taken; send it as plain HTTP/1.1"
            raise _Refusal
        self._in_headers = False
        if self.url in self._whole and not upgrade and self._is_whole():
            self._request = self._whole_request()
            # What uvicorn's protocol looks at in its cycle, a whole request has, too.
            self.cycle = self._request  # type: ignore[assignment]
            return
        self._begin_scope()
        super().on_headers_complete()
        if upgrade:  # ignored, but the parser reads nothing more on this connection
            self.cycle.keep_alive = False

    def _is_whole(self) -> bool:
        """Small, of known length, and alone on its connection: see `whole`."""
        if self.expect_100_continue or not (self.cycle is None or self.cycle.response_complete):
            return False
        length = b""
        for name, value in self.headers:
            if name == b"content-length":
                length = value
            elif name == b"transfer-encoding":
                return False
        return length.isdigit() and len(length) < 6 and int(length) <= LARGEST

    def _begin_scope(self) -> None:
        url, headers, expected = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expected
        self.headers.extend(headers)

    def _whole_request(self) -> WholeRequest:
        version = self.parser.get_http_version()
        scope: Scope = {
            "type": "http",
            "http_version": version,
            "method": self.parser.get_method().decode("ascii"),
            "path": self.url.decode("ascii"),
            "query_string": b"",
            "headers": self.headers,
            "client": self.client,
        }
        keep_alive = version != "1.0" and self.parser.should_keep_alive()
        return WholeRequest(
            self._whole[self.url], scope, self.transport, keep_alive, self.on_response_complete
        )

    def _header_size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    def _announces_body(self) -> bool:
        return any(
            name == b"transfer-encoding" or (name == b"content-length" and value.strip(b"0"))
            for name, value in self.headers
        )

    def on_message_complete(self) -> None:
        self._since = 0.0
        self._received = 0
        self._in_headers = True
        request, self._request = self._request, None
        if request is None:
            super().on_message_complete()
            return
        request.more_body = False
        task = self.loop.create_task(request.run())
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    def on_response_complete(self) -> None:
        # As uvicorn's, without its timer a request.
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        if self.flow.read_paused:
            if self._since:  # we held the next request up, so its time starts now
                self._since = self.loop.time()
            self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
        else:
            self._idle_since = self.loop.time()

    def send_400_response(self, msg: str) -> None:
        """What uvicorn calls when the parser gives up."""
        self._refuse(400, self._reason)

    def _refuse(self, status: int, detail: str) -> None:
        code = "bad_request" if status == 400 else "header_too_large"
        document = {
            "type": f"urn:milepost:problem:{code}",
            "title": "The request cannot be read",
            "status": status,
            "detail": detail,
            "code": code,
        }
        body = msgspec.json.encode(document)
        # While another request waits for its answer, a 400 would be taken for that.
        cycle = self.cycle
        if cycle is None or cycle.response_complete or (cycle.more_body and not cycle.response_started):
            self.transport.write(
                b"%bcontent-type: application/problem+json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
                % (STATUS_LINE[status], len(body), body)
            )
        self.transport.close()


async def serve(
    app: App,
    host: str,
    port: int,
    *,
    stop: asyncio.Event,
    ready: Callable[[int], None],
    limits: Limits | None = None,
    whole: Mapping[bytes, App] = MappingProxyType({}),
) -> None:
    """Serve `app` until `stop` is set, then finish what is in flight and return. Small requests to the paths in
    `whole` are taken whole and go straight to their endpoints, which answer in one message.

    Runs in the running loop and leaves signals alone. Port 0 takes a free one; `ready` gets the port once
    connections are accepted. Raises OSError: the address cannot be bound.
    """
    limits = limits or Limits()
    loop = asyncio.get_running_loop()
    connections = Connections(limits, whole)
    config = _config(app)

    def connect() -> asyncio.Protocol:
        return Connection(config=config, server_state=connections, app_state={}, _loop=loop)

    server = await loop.create_server(connect, sock=_bind(host, port), backlog=limits.backlog)
    check = loop.create_task(_check(connections, min(limits.request_seconds, limits.idle_seconds) / 10))
    try:
        ready(server.sockets[0].getsockname()[1])
        await stop.wait()
    finally:
        check.cancel()
        server.close()
        await _drain(connections, limits.drain_seconds)


def _config(app: App) -> uvicorn.Config:
    config = uvicorn.Config(
        app,
        http=Connection,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
    )
    config.load()
    return config


def _bind(host: str, port: int) -> socket.socket:
    """A listening address. A name is resolved here and its first address taken. Raises `Misconfigured`."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as e:
        raise Misconfigured(f"{host} is no address to listen on: {e.strerror}") from e
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as e:
        listener.close()
        why = "something listens there already" if e.errno == errno.EADDRINUSE else e.strerror
        raise Misconfigured(f"cannot listen on {host}:{port}: {why}; --port chooses another") from e
    return listener


async def _check(connections: Connections, interval: float) -> None:
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(interval)
        if closed := connections.close_late(loop.time()):
            _log.info("late connections closed", count=closed, left=len(connections.connections))


async def _drain(connections: Connections, seconds: float) -> None:
    """Let requests in flight end, cancel those that don't, and see the last answers out."""
    for connection in list(connections.connections):
        connection.shutdown()
    tasks: set[asyncio.Task[Any]] = set(connections.tasks)
    if tasks:
        _, unfinished = await asyncio.wait(tasks, timeout=seconds)
        for task in unfinished:
            task.cancel()
        if unfinished:
            _log.warning("requests cancelled while stopping", count=len(unfinished))
            await asyncio.wait(unfinished, timeout=1)
    try:
        await asyncio.wait_for(connections.none_left.wait(), 1)
    except TimeoutError:
        for connection in list(connections.connections):
            connection.transport.abort()
