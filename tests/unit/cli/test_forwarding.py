"""What `milepost listen` passes on: the request as it came, the handler's answer as it is."""

import asyncio
import base64
import socket
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from tests.unit.transports.receiver import Received, Receiver, answering

from milepost.cli.forwarding import Forwarded, Forwarder

BODY = (
    b'{"idempotencyKey":"key-1","eventDescriptor":"PACKAGE_DELIVERED","resources":'
    b'["businessProduct/bp-1/order/o-1/delivery/d-1"],"eventId":"event-1","apiVersion":"2024-11-01",'
    b'"subscriptionId":"sub-1","eventTime":"2025-01-20T12:34:56Z","data":{}}'
)
HEADERS = {
    "Authorization": "Basic " + base64.b64encode(b"user:word").decode(),
    "Content-Type": "application/json; charset=utf-8",
    "User-Agent": "the sender",
    "X-Amzn-Signature": "c2lnbmF0dXJl",
    "X-Amzn-Kid": "kid-1",
}


async def send(forwarder: Forwarder, body: bytes = BODY, **more: Any) -> tuple[int, bytes, Any]:
    async with (
        aiohttp.ClientSession() as http,
        http.post(forwarder.url, data=body, headers=HEADERS, **more) as answer,
    ):
        return answer.status, await answer.read(), answer.headers


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def test_a_request_is_passed_on_as_it_came() -> None:
    told: list[Forwarded] = []
    async with Receiver() as handler, Forwarder(f"{handler.url}/hook", told.append) as forwarder:
        status, answer, _ = await send(forwarder)
        (received,) = await handler.got(1)
    assert (status, answer) == (200, b'{"status": "accepted"}')
    assert (received.path, received.body) == ("/hook", BODY)
    assert {name: received.headers[name.lower()] for name in HEADERS} == HEADERS
    assert received.headers["host"] in handler.url
    assert set(received.headers) - {n.lower() for n in HEADERS} <= {
        "host",
        "content-length",
        "accept",
        "accept-encoding",
    }
    (one,) = told
    assert (one.type, one.event_id, one.status, one.attempt) == ("PACKAGE_DELIVERED", "event-1", 200, 1)
    assert one.resources == ("businessProduct/bp-1/order/o-1/delivery/d-1",)
    assert one.is_handled


@pytest.mark.parametrize("status", [202, 302, 400, 401, 410, 429, 500, 503])
async def test_the_sender_gets_the_handlers_answer(status: int) -> None:
    told: list[Forwarded] = []
    async with (
        Receiver(answering(status, retry_after="7", location="/elsewhere")) as handler,
        Forwarder(handler.url, told.append) as forwarder,
    ):
        answered, _, headers = await send(forwarder, allow_redirects=False)
        again, _, _ = await send(forwarder, allow_redirects=False)
        assert len(await handler.got(2)) == 2
    assert (answered, again) == (status, status)
    assert headers["Retry-After"] == "7"
    assert "Location" not in headers
    assert [one.attempt for one in told] == [1, 2]
    assert [one.is_handled for one in told] == [status == 202] * 2


async def test_a_handler_that_comes_up_in_time_gets_it() -> None:
    told: list[Forwarded] = []
    port = free_port()
    looks: list[float] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        return web.Response(status=202)

    server = web.Application()
    server.router.add_post("/hook", handle)
    runner = web.AppRunner(server, access_log=None)
    await runner.setup()

    async def look_again(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 2:
            await web.TCPSite(runner, "127.0.0.1", port).start()

    try:
        async with Forwarder(f"http://127.0.0.1:{port}/hook", told.append, pause=look_again) as forwarder:
            status, _, _ = await send(forwarder)
    finally:
        await runner.cleanup()
    assert (status, len(looks)) == (202, 2)
    assert [one.error for one in told] == [""]


async def test_a_handler_that_is_not_there_is_a_503() -> None:
    told: list[Forwarded] = []
    handler = f"http://127.0.0.1:{free_port()}/"
    async with Forwarder(handler, told.append, up_within_s=0.0) as forwarder:
        status, _, _ = await send(forwarder)
    assert (status, told[0].status) == (503, 503)
    assert f"nothing answers at {handler}" in told[0].error


async def test_a_handler_that_hangs_or_breaks_off_is_no_success() -> None:
    told: list[Forwarded] = []

    async def never(received: Received) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    async def break_off(received: Received) -> web.StreamResponse:
        transport = handler.requests[-1].transport
        assert transport is not None
        transport.abort()
        return web.Response()

    async with Receiver(never) as handler, Forwarder(handler.url, told.append, deadline_s=0.2) as forwarder:
        assert (await send(forwarder))[0] == 504
        handler.answer = break_off
        assert (await send(forwarder))[0] == 502
    assert [bool(one.error) for one in told] == [True, True]


async def test_only_its_own_path_is_passed_on() -> None:
    told: list[Forwarded] = []
    async with Receiver() as handler, Forwarder(handler.url, told.append) as forwarder:
        root = forwarder.url.rpartition("/")[0]
        async with aiohttp.ClientSession() as http:
            async with http.post(f"{root}/", data=BODY) as answer:
                assert answer.status == 404
            async with http.get(forwarder.url) as answer:
                assert answer.status == 405
        assert (await send(forwarder, b"not JSON \xff"))[0] == 200
        assert [r.body for r in handler.received] == [b"not JSON \xff"]
    assert told[0].type == "(not an event)"
