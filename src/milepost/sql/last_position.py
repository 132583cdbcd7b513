"""The journal's last position as this process knows it, and waiting for it to move."""

import asyncio


class LastPosition:
    """Belongs to one event loop. Only ever goes up."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._signal: asyncio.Future[None] | None = None
        self._closed = False
        self.known = 0

    def reached(self, position: int) -> None:
        """The journal is at least this long; whoever waits hears of it."""
        if position > self.known:
            self.known = position
            self._wake()

    async def wait(self, position: int, timeout: float) -> int:
        """Until the last position is above `position`, or `timeout` seconds; the last position known."""
        deadline = self._loop.time() + timeout
        while self.known <= position and not self._closed:
            left = deadline - self._loop.time()
            if left <= 0:
                break
            if self._signal is None:
                self._signal = self._loop.create_future()
            # Shared by everybody who waits: `wait` does not cancel it when one of them goes.
            await asyncio.wait((self._signal,), timeout=left)
        return self.known

    def close(self) -> None:
        """Nobody waits any longer."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        if self._signal is not None:
            self._signal.set_result(None)
            self._signal = None
