"""Answering for a request whose work takes too long, while that work goes on.

A timer a request would cost the hot path more than everything else here. So requests under way stand in one dict,
oldest first, and one timer, armed only while there are any, looks at the oldest of them. What it answers for is
no longer waited for by its sender, but still under way: its own answer must not follow.
"""

import asyncio
from collections.abc import Awaitable, Callable

from milepost.transports.asgi import Send

LOOKS = 16
"""How often the timer looks in the time that a request has."""


class AnsweredLate(Exception):
    """The request was answered for already."""


class LateAnswers:
    """The requests under way. `answer` is called with the `send` of each that took longer than `seconds`."""

    def __init__(self, seconds: float, answer: Callable[[Send], Awaitable[None]]) -> None:
        self._seconds = seconds
        self._answer = answer
        self._since: dict[Send, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._answers: set[asyncio.Future[None]] = set()

    def watch(self, send: Send) -> None:
        """From now on the time of this request runs."""
        loop = asyncio.get_running_loop()
        self._since[send] = loop.time()
        if self._timer is None:
            self._timer = loop.call_later(self._seconds / LOOKS, self._look, loop)

    def done(self, send: Send) -> None:
        """Its work has ended, well or not. Raises `AnsweredLate` when it was answered for."""
        if self._since.pop(send, None) is None:
            raise AnsweredLate

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        late_since = loop.time() - self._seconds
        for send, since in list(self._since.items()):
            if since > late_since:
                break
            del self._since[send]
            answer = asyncio.ensure_future(self._answer(send), loop=loop)
            self._answers.add(answer)
            answer.add_done_callback(self._answers.discard)
        self._timer = loop.call_later(self._seconds / LOOKS, self._look, loop) if self._since else None
