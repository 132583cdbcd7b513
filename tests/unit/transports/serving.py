"""What the transport tests share: a clock that is set by hand, and the real server on a free port."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from milepost.domain.instant import Instant
from milepost.transports.asgi import App
from milepost.transports.server import Limits, serve


class Clock:
    """Milliseconds UTC, moved by hand."""

    def __init__(self) -> None:
        self.now = Instant(1_737_376_496_000)

    def __call__(self) -> Instant:
        return self.now

    def pass_(self, milliseconds: int) -> None:
        self.now = Instant(self.now + milliseconds)


class Served:
    """A running server."""

    def __init__(self, port: int, stop: asyncio.Event, task: asyncio.Task[None]) -> None:
        self.port = port
        self.stop = stop
        self.task = task
        self.url = f"http://127.0.0.1:{port}"

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def raw(self, data: bytes) -> bytes:
        """Everything the server answers to `data` until it closes."""
        reader, writer = await self.open()
        try:
            writer.write(data)
            return await asyncio.wait_for(reader.read(), 60)
        except ConnectionResetError:
            return b""
        finally:
            writer.close()


WHOLE = (b"/webhooks/buy-with-prime", b"/oauth/token")
"""Taken whole by default, as the hub has it; what is chunked or large goes uvicorn's way all the same."""


@asynccontextmanager
async def serving(
    app: App, limits: Limits | None = None, whole: Sequence[bytes] = WHOLE
) -> AsyncIterator[Served]:
    stop = asyncio.Event()
    port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(
        serve(
            app,
            "127.0.0.1",
            0,
            stop=stop,
            ready=port.set_result,
            limits=limits,
            whole=dict.fromkeys(whole, app),
        )
    )
    try:
        yield Served(await asyncio.wait_for(port, 60), stop, task)
    finally:
        stop.set()
        await asyncio.wait_for(task, 60)
