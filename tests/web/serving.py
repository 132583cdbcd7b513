"""A world behind a real server, for what a client in the same process cannot see: streams that break off."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from tests.web.world import World

BOUND_S = 60.0


@asynccontextmanager
async def serving(world: World) -> AsyncIterator[str]:
    """Its address."""
    config = uvicorn.Config(world.app, host="127.0.0.1", port=0, log_config=None, lifespan="on", ws="none")
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    listening = config.bind_socket()
    running = asyncio.create_task(server.serve([listening]))
    try:
        async with asyncio.timeout(BOUND_S):
            while not server.started:  # which gives no signal
                await asyncio.sleep(0.01)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        world.context.closing.set()
        server.should_exit = True
        async with asyncio.timeout(BOUND_S):
            await running
        listening.close()
