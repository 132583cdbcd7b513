"""What the raw ASGI endpoints share: reading a body within a limit, and answering.

No routing and no framework: an endpoint is `async (scope, receive, send) -> None`, routed to by the hub.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec

from milepost.domain.errors import MilepostError, TooLarge, problem

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[..., Awaitable[None]]
"""`(scope, receive, send)`; loosely, because every framework has types of its own for the three."""
Headers = list[tuple[bytes, bytes]]

JSON_TYPE = (b"content-type", b"application/json")
PROBLEM_TYPE = (b"content-type", b"application/problem+json")


class Disconnected(Exception):
    """The client left before its request was complete; there is nobody to answer."""


async def read_body(receive: Receive, limit: int) -> bytes:
    """The whole body. Raises `TooLarge` as soon as more than `limit` bytes came, `Disconnected`."""
    message = await receive()
    if message["type"] == "http.disconnect":
        raise Disconnected
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False) and len(body) <= limit:
        return body
    whole = bytearray(body)
    while len(whole) <= limit:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        whole += message.get("body", b"")
        if len(whole) <= limit and not message.get("more_body", False):
            return bytes(whole)
    raise too_large(limit)


def too_large(limit: int) -> TooLarge:
    return TooLarge(f"the body is larger than {limit} bytes", limit=limit)


def declared_length(headers: MutableMapping[bytes, bytes]) -> int:
    """Content-Length, or 0 when there is none (a chunked body is counted while it comes)."""
    try:
        return int(headers.get(b"content-length", b"0"))
    except ValueError:
        return 0


async def respond(send: Send, status: int, headers: Headers, body: bytes) -> None:
    """One whole response."""
    headers = [*headers, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def respond_problem(send: Send, error: MilepostError, *headers: tuple[bytes, bytes]) -> None:
    """The error as an RFC 9457 problem document."""
    status, document = problem(error)
    await respond(send, status, [PROBLEM_TYPE, *headers], msgspec.json.encode(document))


METHOD_NOT_ALLOWED = msgspec.json.encode(
    {
        "type": "urn:milepost:problem:method_not_allowed",
        "title": "This address takes POST only",
        "status": 405,
        "detail": "send the request with POST",
        "code": "method_not_allowed",
    }
)


async def respond_method_not_allowed(send: Send) -> None:
    """405 of an endpoint that takes POST only."""
    await respond(send, 405, [PROBLEM_TYPE, (b"allow", b"POST")], METHOD_NOT_ALLOWED)
