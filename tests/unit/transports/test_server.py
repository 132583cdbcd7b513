"""The server over real sockets: deadlines, caps, garbage, and stopping."""

import asyncio
import contextlib
import socket
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.transports.serving import Served, serving

from milepost.domain.errors import Misconfigured
from milepost.transports.asgi import Receive, Scope, Send, read_body, respond
from milepost.transports.server import Limits, serve

SHORT = Limits(request_seconds=0.3, idle_seconds=30.0)
GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n"


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    body = await read_body(receive, 1_000_000)
    await respond(send, 200, [(b"x-lines", b"%d" % len(scope["headers"]))], b"ok:" + body)


async def early(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers before the body is read."""
    await respond(send, 401, [], b"no")


async def answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """(status, body) of the next response."""
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)
    length = next(int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"content-length:"))
    return int(head[9:12]), await asyncio.wait_for(reader.readexactly(length), 60)


async def closed(reader: asyncio.StreamReader) -> bool:
    try:
        return await asyncio.wait_for(reader.read(), 60) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET / HT",
        b"GET / HTTP/1.1\r\nhost: x\r\n",
        POST,
        POST + b"12345",
        GET + b"GET / HTTP/1.1\r\nho",
    ],
    ids=["nothing", "half a line", "half a header", "no body", "half a body", "half a pipelined header"],
)
async def test_a_request_that_does_not_arrive_in_time_is_closed(serve_app: Any, sent: bytes) -> None:
    served = await serve_app(echo, SHORT)
    reader, writer = await served.open()
    writer.write(sent)
    if sent.startswith(GET):
        assert await answer(reader) == (200, b"ok:")

    assert await closed(reader)
    writer.close()


async def test_a_body_that_drips_is_closed_though_every_read_brings_something(serve_app: Any) -> None:
    served = await serve_app(echo, SHORT)
    reader, writer = await served.open()
    writer.write(b"POST / HTTP/1.1\r\ncontent-length: 100000\r\n\r\n")

    async def drip() -> None:
        while True:
            writer.write(b"x")
            await asyncio.sleep(0.01)

    dripping = asyncio.create_task(drip())
    assert await closed(reader)
    dripping.cancel()
    writer.close()


async def test_a_body_that_stays_out_after_an_early_answer_is_closed_too(serve_app: Any) -> None:
    served = await serve_app(early, SHORT)
    reader, writer = await served.open()
    writer.write(POST + b"123")

    assert await answer(reader) == (401, b"no")
    assert await closed(reader)
    writer.close()


async def test_good_clients_are_served_while_slow_ones_are_closed(serve_app: Any) -> None:
    served = await serve_app(echo, SHORT)
    slow = [await served.open() for _ in range(100)]
    for n, (_, writer) in enumerate(slow):
        writer.write(b"GET / HTTP/1.1\r\n" if n % 2 else POST + b"x")
    reader, writer = await served.open()
    closing = asyncio.gather(*(closed(r) for r, _ in slow))
    answered = 0
    while not closing.done() or not answered:
        writer.write(POST + b"0123456789")
        assert await answer(reader) == (200, b"ok:0123456789")
        answered += 1

    assert all(await closing)
    for _, w in [*slow, (reader, writer)]:
        w.close()


async def test_an_idle_connection_is_closed_and_a_used_one_kept(serve_app: Any) -> None:
    served = await serve_app(echo, Limits(request_seconds=30.0, idle_seconds=0.5))
    reader, writer = await served.open()
    for _ in range(3):
        writer.write(GET)
        assert await answer(reader) == (200, b"ok:")

    assert await closed(reader)
    writer.close()


async def test_a_slow_answer_is_no_late_request(serve_app: Any) -> None:
    checks = asyncio.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await checks.wait()
        await respond(send, 200, [], b"late")

    served = await serve_app(slow, Limits(request_seconds=0.1, idle_seconds=0.1))
    reader, writer = await served.open()
    writer.write(GET)
    # A second connection that sends nothing: once it was closed, the first had been checked as well.
    other, other_writer = await served.open()
    assert await closed(other)
    checks.set()

    assert await answer(reader) == (200, b"late")
    writer.close()
    other_writer.close()


async def test_pipelined_requests_are_answered_in_order(serve_app: Any) -> None:
    served = await serve_app(echo)
    reader, writer = await served.open()
    writer.write(b"".join(POST + b"%010d" % n for n in range(20)))

    assert [await answer(reader) for _ in range(20)] == [(200, b"ok:%010d" % n) for n in range(20)]
    writer.close()


async def test_header_lines_and_size_are_capped(serve_app: Any) -> None:
    served = await serve_app(echo)

    def lines(count: int) -> bytes:
        return b"".join(b"x-%d: y\r\n" % n for n in range(count))

    def request(header: bytes) -> bytes:
        return b"GET / HTTP/1.1\r\nconnection: close\r\n" + header + b"\r\n"

    assert (await served.raw(request(lines(99)))).startswith(b"HTTP/1.1 200")
    assert (await served.raw(request(lines(100)))).startswith(b"HTTP/1.1 400")
    assert (await served.raw(request(b"x: " + b"y" * 32_000 + b"\r\n"))).startswith(b"HTTP/1.1 200")
    assert (await served.raw(request(b"x: " + b"y" * 33_000 + b"\r\n")))[9:12] in (b"400", b"431")
    assert (await served.raw(b"GET /" + b"y" * 33_000))[9:12] in (b"400", b"431")


async def test_an_upgrade_is_ignored_and_one_with_a_body_refused(serve_app: Any) -> None:
    """A body behind Upgrade (Java's client sends h2c with every POST) must not be taken for an empty one."""
    served = await serve_app(echo)
    upgrade = b"host: x\r\nconnection: upgrade\r\nupgrade: h2c\r\n"

    assert (await served.raw(b"GET / HTTP/1.1\r\n" + upgrade + b"\r\n")).startswith(b"HTTP/1.1 200")
    refused = await served.raw(b"POST / HTTP/1.1\r\n" + upgrade + b"content-length: 3\r\n\r\nabc")
    assert refused.startswith(b"HTTP/1.1 400")
    assert b"Upgrade" in refused


async def test_trailers_are_capped(serve_app: Any) -> None:
    served = await serve_app(echo)
    chunked = b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n"
    trailers = b"".join(b"x-%d: y\r\n" % n for n in range(200))

    assert (await served.raw(chunked + trailers + b"\r\n")).startswith(b"HTTP/1.1 400")


async def test_what_comes_after_a_refusal_has_an_end(serve_app: Any) -> None:
    served = await serve_app(early, Limits(request_bytes=100_000, request_seconds=600.0, drain_seconds=600.0))
    reader, writer = await served.open()
    writer.write(b"POST / HTTP/1.1\r\ncontent-length: 1000000000\r\n\r\n")
    assert await answer(reader) == (401, b"no")

    async def flood() -> None:
        while True:
            writer.write(b"x" * 10_000)
            await writer.drain()

    with pytest.raises(ConnectionError):
        await asyncio.wait_for(flood(), 60)
    writer.close()


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"NONSENSE\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nbad header\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nZZ\r\n",
    ],
)
async def test_garbage_gets_a_problem_document(serve_app: Any, sent: bytes) -> None:
    served = await serve_app(echo)

    got = await served.raw(sent)
    assert got.startswith(b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/problem+json\r\n")
    assert b'"code":"bad_request"' in got
    assert (await served.raw(b"GET / HTTP/1.0\r\n\r\n")).startswith(b"HTTP/1.1 200")


async def test_garbage_behind_a_request_is_not_taken_for_its_answer(serve_app: Any) -> None:
    release = asyncio.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await release.wait()
        await respond(send, 200, [], b"")

    served = await serve_app(slow)

    assert await served.raw(POST + b"0123456789" + b"\0garbage") == b""
    release.set()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(
    junk=st.one_of(
        st.binary(min_size=1, max_size=300),
        st.lists(st.sampled_from([GET, POST, b"0123456789", b"\r\n", b"x: y\r\n", b"\0", b"HTTP/1.1"])).map(
            b"".join
        ),
    )
)
async def test_no_bytes_stop_the_server(junk: bytes) -> None:
    async with serving(echo, Limits(request_seconds=1.0)) as served:
        reader, writer = await served.open()
        writer.write(junk)
        writer.write_eof()
        with contextlib.suppress(ConnectionResetError):
            await asyncio.wait_for(reader.read(), 60)
        assert (await served.raw(b"GET / HTTP/1.0\r\n\r\n")).startswith(b"HTTP/1.1 200")
        writer.close()


async def test_stopping_finishes_what_is_in_flight(serve_app: Any) -> None:
    entered, release = asyncio.Event(), asyncio.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        entered.set()
        await release.wait()
        await respond(send, 200, [], b"done")

    served: Served = await serve_app(slow)
    reader, writer = await served.open()
    idle, idle_writer = await served.open()
    writer.write(GET)
    await asyncio.wait_for(entered.wait(), 60)

    served.stop.set()
    assert await closed(idle)
    with pytest.raises(ConnectionRefusedError):
        await served.open()
    assert not served.task.done()
    release.set()
    assert await answer(reader) == (200, b"done")
    await asyncio.wait_for(served.task, 60)
    writer.close()
    idle_writer.close()


async def test_stopping_does_not_wait_for_ever(serve_app: Any) -> None:
    entered, cancelled = asyncio.Event(), asyncio.Event()

    async def stuck(scope: Scope, receive: Receive, send: Send) -> None:
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    served: Served = await serve_app(stuck, Limits(drain_seconds=0.1))
    _, writer = await served.open()
    writer.write(GET)
    await asyncio.wait_for(entered.wait(), 60)
    served.stop.set()

    await asyncio.wait_for(served.task, 60)
    assert cancelled.is_set()
    writer.close()


async def test_an_address_in_use_is_told_and_nothing_announced() -> None:
    announced: list[int] = []
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(Misconfigured, match="something listens there already"):
            await serve(
                echo, "127.0.0.1", taken.getsockname()[1], stop=asyncio.Event(), ready=announced.append
            )

    assert announced == []


@pytest.mark.parametrize("host", ["127.0.0.1", "no-such-host.invalid"])
async def test_where_nobody_can_listen_the_program_says_so(host: str) -> None:
    """A port that is taken and a host that is none are settings to mend, not a traceback."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(Misconfigured, match=r"--port chooses another|no address to listen on"):
            await serve(_never, host, port, stop=asyncio.Event(), ready=lambda port: None)


async def _never(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError("nothing was listening")
