"""A hub in a process of its own that can kill itself at a named moment: what the crash tests start.

    python -m tests.simulation.hub_process [POINT COUNT]

Settings come from the environment as for `milepost serve`. With POINT it sends itself SIGKILL when its probe
hears of that point for the COUNTth time: after-receive, after-commit, mid-projector, mid-hydrator, mid-hydration.
"""

import asyncio
import os
import signal
import sys

import structlog
import uvloop

from milepost.cli.serve import opened, stop_on_signal
from milepost.config import Config
from milepost.hub import Hub


class Killer:
    """A probe that ends the process, without a word, when `point` has come `count` times."""

    def __init__(self, point: str | None, count: int) -> None:
        self._point = point
        self._left = count

    def __call__(self, point: str) -> None:
        if point == self._point:
            self._left -= 1
            if self._left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)


async def main() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    point = sys.argv[1] if len(sys.argv) > 1 else None
    hub = Hub(Config.load(), probe=Killer(point, int(sys.argv[2]) if point else 0))
    stop: asyncio.Event = stop_on_signal()
    if await opened(hub.open(), stop) is None:
        return
    try:
        await hub.run(stop, lambda port: print(f"listens on {port}", flush=True))
    finally:
        await hub.close()


if __name__ == "__main__":
    uvloop.run(main())
