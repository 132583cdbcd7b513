"""Requests that are taken whole are answered as uvicorn's cycle answers them, in order, to the last byte."""

import asyncio

import pytest
from tests.unit.transports.serving import Served, serving

from milepost.transports.asgi import Receive, Scope, Send, read_body, respond
from milepost.transports.whole import LARGEST

PATH = "/echo"


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with what it was told; `fail` in the body makes it fail, `late` makes it slow."""
    body = await read_body(receive, 10_000_000)
    if body == b"fail":
        raise ValueError("as asked")
    if body == b"late":
        await asyncio.sleep(0.05)
    seen = f"{scope['method']} {scope['path']} {scope['http_version']} {len(body)} "
    await respond(send, 200, [(b"x-body", body[:20])], seen.encode() + body[:40])


def post(body: bytes, *lines: str, version: str = "1.1") -> bytes:
    head = [f"POST {PATH} HTTP/{version}", "Host: h", f"Content-Length: {len(body)}", *lines]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def chunked(body: bytes, *lines: str) -> bytes:
    head = [f"POST {PATH} HTTP/1.1", "Host: h", "Transfer-Encoding: chunked", *lines]
    return "\r\n".join(head).encode() + b"\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


CLOSE = "Connection: close"
CONVERSATIONS = {
    "one": post(b"{}", CLOSE),
    "empty": post(b"", CLOSE),
    "old protocol": post(b"{}", version="1.0"),
    "largest": post(b"a" * LARGEST, CLOSE),
    "too large to be taken whole": post(b"a" * (LARGEST + 1), CLOSE),
    "chunked": chunked(b"{}", CLOSE),
    "kept alive": post(b"1") + post(b"2") + post(b"3", CLOSE),
    "pipelined behind a slow one": post(b"late") + post(b"2") + chunked(b"3") + post(b"4", CLOSE),
    "whole behind chunked": chunked(b"late") + post(b"2") + post(b"3", CLOSE),
    "another path between": post(b"1") + b"GET /other HTTP/1.1\r\nHost: h\r\n\r\n" + post(b"3", CLOSE),
    "expects 100": post(b"{}", "Expect: 100-continue", CLOSE),
}


@pytest.mark.parametrize("name", list(CONVERSATIONS))
async def test_the_answers_are_the_same_either_way(name: str) -> None:
    async with (
        serving(echo, whole=[PATH.encode()]) as lean,
        serving(echo, whole=[]) as full,
    ):
        answer = await lean.raw(CONVERSATIONS[name])
        assert _without_close(answer) == _without_close(await full.raw(CONVERSATIONS[name]))
        assert b"HTTP/1.1 200" in answer


def _without_close(answer: bytes) -> bytes:
    """uvicorn says it only where the client did not."""
    return answer.replace(b"connection: close\r\n", b"")


async def test_a_body_that_comes_in_pieces_is_one_message() -> None:
    async with serving(echo, whole=[PATH.encode()]) as served:
        reader, writer = await served.open()
        whole = post(b"x" * 1000, CLOSE)
        for start in range(0, len(whole), 100):
            writer.write(whole[start : start + 100])
            await writer.drain()
        assert b" 1000 xxx" in await asyncio.wait_for(reader.read(), 60)
        writer.close()


async def test_an_app_that_fails_costs_its_connection_only() -> None:
    async with serving(echo, whole=[PATH.encode()]) as served:
        assert await served.raw(post(b"fail")) == b""
        assert b"200" in await served.raw(post(b"{}", CLOSE))


async def test_a_client_that_left_is_not_answered() -> None:
    async with serving(echo, whole=[PATH.encode()]) as served:
        await _leave(served)
        assert b"200" in await served.raw(post(b"{}", CLOSE))


async def _leave(served: Served) -> None:
    _, writer = await served.open()
    writer.write(post(b"late"))
    await writer.drain()
    writer.transport.abort()
