"""Running a sandbox or a hub beside a test: in a thread with a loop of its own, so that the test may block.

The test speaks to it by HTTP as anybody does, and looks into it with `call`. What the fixtures offer is elsewhere.
"""

import asyncio
import http.client
import json
import logging
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from typing import Any, Protocol, TypeVar
from urllib.parse import quote

import structlog

START_S, STOP_S, REQUEST_S, CALL_S = 60.0, 3.0, 60.0, 600.0
"""The longest that anything takes; only a failure takes so long. After `STOP_S` a program's end is not waited for."""
LOOK_S = 0.01
"""How often whoever waits looks again: not everything that is waited for gives a signal."""
HOST = "127.0.0.1"

T = TypeVar("T")


class Program(Protocol):
    """`hub.Hub` and `sandbox.program.Sandbox` are such."""

    async def open(self) -> None: ...
    async def run(self, stop: asyncio.Event, ready: Callable[[int], None]) -> None: ...
    async def close(self) -> None: ...


class Host:
    """A program that runs in a thread. `url` is where it listens."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._listening: Future[int] = Future()
        self._threads = ThreadPoolExecutor(1, type(program).__name__)

    def start(self) -> None:
        """Return once it listens. Raises what kept it from that."""
        self._ended = self._threads.submit(asyncio.run, self._live())
        either: list[Future[Any]] = [self._listening, self._ended]
        wait(either, START_S, FIRST_COMPLETED)
        if self._ended.done():
            self._ended.result()
        self.port = self._listening.result(0)
        self.url = f"http://{HOST}:{self.port}"

    def stop(self) -> None:
        """End it. Raises what went wrong in it meanwhile."""
        # Its loop is closed when it ended by itself.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._stop.set)
        self._threads.shutdown()
        self._ended.result(0)

    def call(self, asked: Coroutine[Any, Any, T]) -> T:
        """What a coroutine in the program's loop returns, or raises."""
        return asyncio.run_coroutine_threadsafe(asked, self._loop).result(CALL_S)

    def ask(
        self, method: str, path: str, body: str | None = None, headers: Mapping[str, str] | None = None
    ) -> Any:
        """One request, its answer as JSON. Raises `KeyError` for a 404, and `ValueError` for any other error."""
        # A connection of its own: no proxy of the environment, and nothing left open at the end.
        connection = http.client.HTTPConnection(HOST, self.port, timeout=REQUEST_S)
        try:
            connection.request(method, path, None if body is None else body.encode(), dict(headers or {}))
            response = connection.getresponse()
            status, answer = response.status, json.loads(response.read() or b"null")
        finally:
            connection.close()
        if status < 400:
            return answer
        why = answer.get("detail") or answer.get("error_description") or answer.get("error")
        raise (KeyError if status == 404 else ValueError)(f"{method} {path}: {why or f'HTTP {status}'}")

    def pages(self, path: str) -> Iterator[dict[str, Any]]:
        """The items of a list, of all its pages."""
        after: str | None = ""
        while after is not None:
            page = self.ask("GET", f"{path}?limit=500{after and f'&after={quote(after)}'}")
            yield from page["items"]
            after = page["next"]

    async def _live(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        await self._program.open()
        try:
            running = asyncio.create_task(self._program.run(self._stop, self._listening.set_result))
            stopping = asyncio.create_task(self._stop.wait())
            await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            done, _ = await asyncio.wait({running}, timeout=STOP_S)
            if not done:
                # A handler that never answers is no reason to wait for it.
                running.cancel()
            with suppress(asyncio.CancelledError):
                await running
        finally:
            await self._program.close()


def until(look: Callable[[], T | None], seconds: float) -> T | None:
    """What `look` finds as soon as it finds something; None when it has not found anything for so long."""
    deadline = time.monotonic() + seconds
    while (found := look()) is None and time.monotonic() < deadline:
        time.sleep(LOOK_S)
    return found


@contextmanager
def hosted(program: Program) -> Iterator[Host]:
    """The program listening, and ended at the end."""
    host = Host(program)
    with _logged():
        try:
            host.start()
            yield host
        finally:
            host.stop()


@contextmanager
def _logged() -> Iterator[None]:
    """What the program logs goes to logging, which pytest shows with a failure; a test's own output stays its own.
    A project that has configured structlog keeps what it has."""
    if structlog.is_configured():
        yield
        return
    structlog.configure(
        processors=[
            structlog.stdlib.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.LogfmtRenderer(key_order=["event"]),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=lambda *names: logging.getLogger("milepost"),
    )
    try:
        yield
    finally:
        structlog.reset_defaults()
