"""A receiver in a process of its own that costs as little as possible: 200 to every POST, and a log of when.

    python -m tests.benchmarks.mock_receiver PORT

Paths that begin with `/hang` are never answered, those with `/fail` by 503. `GET /log` answers a line a request
it acknowledged (path, webhook-id or x-message-id, and when it came in nanoseconds of the machine's clock) and
forgets them. Nothing is parsed but HTTP.
"""

import asyncio
import sys
import time

import httptools
import uvloop

LOG: list[str] = []


class Protocol(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._path, self._id = "", ""

    def on_url(self, url: bytes) -> None:
        self._path += url.decode()

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() in (b"webhook-id", b"x-message-id"):
            self._id = value.decode()

    def on_message_complete(self) -> None:
        body, status = b"ok", b"200 OK"
        if self._path.startswith("/hang"):
            return
        if self._path == "/log":
            body = "\n".join(LOG).encode()
            LOG.clear()
        elif self._path.startswith("/fail"):
            status = b"503 Service Unavailable"
        elif self._path != "/healthz":
            LOG.append(f"{self._path} {self._id} {time.time_ns()}")
        head = b"HTTP/1.1 %b\r\ncontent-length: %d\r\n\r\n" % (status, len(body))
        self._transport.write(head + body)  # type: ignore[attr-defined]


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Protocol, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
