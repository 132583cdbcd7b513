"""A proxy before PostgreSQL that loses a request, or the answer to one, and the connection with it."""

import asyncio
from collections import deque
from types import TracebackType
from typing import Literal, Self

What = Literal["request", "answer"]


class LossyProxy:
    """Passes everything on, until what a client sends holds `mark`: once, the request does not arrive, or its answer
    does not come back. Listens on a free loopback port from when the block is entered."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._marks: deque[tuple[What, bytes]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self.lost = 0
        """How many connections were lost so far."""

    def lose(self, what: What, mark: bytes) -> None:
        """Once, from now on; or after what was to be lost before has been."""
        self._marks.append((what, mark))

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        server, to_server = await asyncio.open_connection("127.0.0.1", self._to)
        deaf = asyncio.Event()

        async def requests() -> None:
            while data := await client.read(65_536):
                if self._marks and self._marks[0][1] in data:
                    what, _ = self._marks.popleft()
                    self.lost += 1
                    if what == "request":
                        return
                    deaf.set()
                to_server.write(data)

        async def answers() -> None:
            while (data := await server.read(65_536)) and not deaf.is_set():
                to_client.write(data)

        ways = [asyncio.ensure_future(requests()), asyncio.ensure_future(answers())]
        self._tasks.update(ways)
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        for writer in (to_server, to_client):
            writer.close()
