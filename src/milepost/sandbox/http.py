"""How the sandbox answers HTTP: a raw ASGI app over an exact table of routes, with one way to fail.

A group of routes is an object with `routes()`; `api` puts the groups together. What a route does is its
group's. Errors are problem documents.

`/` and `/sandbox/…` drive the world and need no key: they are for whoever sits at this machine. So they answer
only callers on loopback who name a loopback host (a page that had its own name resolve to 127.0.0.1 does not),
and no request that a page of another origin made the browser send. `--open` lets anybody drive it.
"""

import ipaddress
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar
from urllib.parse import parse_qsl, urlsplit

import msgspec
import structlog
from msgspec import Struct

from milepost.domain.errors import Forbidden, Invalid, MilepostError, NotFound
from milepost.transports.asgi import (
    JSON_TYPE,
    PROBLEM_TYPE,
    Disconnected,
    Receive,
    Scope,
    Send,
    read_body,
    respond,
    respond_problem,
)

BODY_LIMIT = 1024 * 1024
_FARTHEST = 1 << 53
"""No position or time of a page is behind this; a database takes no numbers without end."""

T = TypeVar("T")
log = structlog.get_logger()


class Request(Struct, frozen=True):
    """One request, whole. Header names are lower case; of a repeated query parameter the last one holds."""

    method: str
    path: str
    headers: Mapping[str, str]
    query: Mapping[str, str]
    body: bytes


class Response(Struct, frozen=True):
    """One answer."""

    status: int = 200
    headers: Sequence[tuple[bytes, bytes]] = ()
    body: bytes = b""


Handler = Callable[[Request], Awaitable[Response]]
Routes = Mapping[tuple[str, str], Handler]
"""(method, path) to what answers it. Paths are exact: ids stand in the query string or in the body."""


class RouteGroup(Protocol):
    def routes(self) -> Routes: ...


def json_response(value: Any, status: int = 200) -> Response:
    return Response(status, (JSON_TYPE,), msgspec.json.encode(value))


def decoded(body: bytes, type: type[T]) -> T:
    """The body as a Struct. Raises `Invalid` saying which field is wrong; no body is an empty object."""
    try:
        return msgspec.json.decode(body or b"{}", type=type)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise Invalid(f"the body is not what this takes: {e}", field="body") from e


def number_in(query: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    """A whole number from the query string, clamped to its bounds. Raises `Invalid` for anything else."""
    text = query.get(name)
    if text is None:
        return default
    try:
        return min(most, max(least, int(text)))
    except ValueError as e:
        raise Invalid(f"{name} must be a whole number", field=name) from e


def place_in(query: Mapping[str, str], numbers: int = 1) -> tuple[list[int], str] | None:
    """Where the page before ended, by its `next`: so many numbers and an id, joined by colons; None for the first
    page. Raises `Invalid` for what is no `next` of a page."""
    text = query.get("after")
    if text is None:
        return None
    try:
        *parts, last_id = text.split(":", numbers)
        if len(parts) != numbers:
            raise ValueError(text)
        return [min(_FARTHEST, max(0, int(part))) for part in parts], last_id
    except ValueError as e:
        raise Invalid("after is the next of the page before", field="after") from e


class RoutedApp:
    """The ASGI app over groups of routes."""

    def __init__(self, groups: Sequence[RouteGroup], *, open_to_all: bool = False) -> None:
        """`open_to_all` lets anybody who reaches this app drive the world."""
        self._open = open_to_all
        self._routes: dict[tuple[str, str], Handler] = {}
        for group in groups:
            for route, handler in group.routes().items():
                assert route not in self._routes, f"{route} is routed twice"
                self._routes[route] = handler

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        try:
            response = await self._answer(scope, receive)
        except Disconnected:
            return
        except MilepostError as e:
            await respond_problem(send, e)
            return
        except Exception:
            log.exception("sandbox.request_failed", method=scope["method"], path=scope["path"])
            await respond_problem(send, MilepostError("the sandbox failed; its log says why"))
            return
        await respond(send, response.status, [*response.headers], response.body)

    async def _answer(self, scope: Scope, receive: Receive) -> Response:
        method, path = scope["method"], scope["path"]
        headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope["headers"]}
        if not self._open and (path == "/" or path.startswith("/sandbox/")):
            _check_driver(scope, method, headers)
        handler = self._routes.get(("GET" if method == "HEAD" else method, path))
        if handler is None:
            return self._unrouted(method, path)
        try:
            query = dict(parse_qsl(scope.get("query_string", b"").decode("latin-1"), max_num_fields=100))
        except ValueError as e:
            raise Invalid("the query string cannot be read", field="query") from e
        return await handler(Request(method, path, headers, query, await read_body(receive, BODY_LIMIT)))

    def _unrouted(self, method: str, path: str) -> Response:
        """404, or 405 with what the path takes."""
        taken = sorted(m for m, known in self._routes if known == path)
        if not taken:
            raise NotFound(f"nothing is at {path}")
        document = {
            "type": "urn:milepost:problem:method_not_allowed",
            "title": "This address doesn't take that method",
            "status": 405,
            "detail": f"{path} takes no {method}",
            "code": "method_not_allowed",
        }
        allow = (*taken, "HEAD") if "GET" in taken else taken
        headers = (PROBLEM_TYPE, (b"allow", ", ".join(allow).encode()))
        return Response(405, headers, msgspec.json.encode(document))


def _check_driver(scope: Scope, method: str, headers: Mapping[str, str]) -> None:
    """Raises `Forbidden` unless whoever asks sits at this machine and means this address."""
    client = scope.get("client")
    if client is not None and not _is_loopback(client[0]):
        raise Forbidden("the sandbox is driven from its own machine; start it with --open to let others")
    if not _is_loopback(_host_of("//" + headers.get("host", ""))):
        raise Forbidden("the sandbox is driven by a loopback address; start it with --open to allow others")
    origin = headers.get("origin")
    if method not in ("GET", "HEAD") and origin is not None and urlsplit(origin).netloc != headers["host"]:
        raise Forbidden("a page of another origin may not drive the sandbox")


def _host_of(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _is_loopback(host: str) -> bool:
    if host.rstrip(".") == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
        mapped = getattr(address, "ipv4_mapped", None)
        return (mapped or address).is_loopback
    except ValueError:
        return False
