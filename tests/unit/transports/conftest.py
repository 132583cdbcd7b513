"""Fixtures of the transport tests."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest
from tests.unit.transports.serving import Clock, Served, serving

from milepost.transports.asgi import App
from milepost.transports.server import Limits

Serve = Callable[..., Awaitable[Served]]


@pytest.fixture
async def serve_app() -> AsyncIterator[Serve]:
    """Starts a server for an app; all are stopped at the end of the test."""
    async with AsyncExitStack() as stack:

        async def start(app: App, limits: Limits | None = None) -> Served:
            return await stack.enter_async_context(serving(app, limits))

        yield start


@pytest.fixture
def clock() -> Clock:
    return Clock()
